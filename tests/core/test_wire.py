"""Tests for the vendor's requests and replies as data."""

from __future__ import annotations

import json
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rodin_watchd.adapters.rodin_client import upload as multipart
from rodin_watchd.core import wire
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.wire import (
    TaskState,
    TaskStatus,
    is_loopback,
    plain,
    retry_after_seconds,
    usable_url,
    without_query,
)
from rodin_watchd.errors import (
    KeyRefusedError,
    NetworkError,
    NoCreditsError,
    OutcomeUnknownError,
    RodinWatchdError,
    Scope,
    TaskLimitError,
    TaskLostError,
    ThrottledError,
    UnknownCodeError,
    VendorAnswerError,
    VendorDownError,
    VendorRefusedError,
)
from rodin_watchd.model import Answer, Link, OptionValue, Task

ACCEPTED = {
    "error": None,
    "message": "Submitted.",
    "uuid": "task-1",
    "jobs": {"uuids": ["j"], "subscription_key": "sk"},
}
HTML = b"<html><body>502 Bad Gateway</body></html>"
NESTED = b"[" * 200_000


def answer(status: int, body: object = None, retry_after_seconds: float | None = None) -> Answer:
    """Make an answer; `body` is bytes, or is written as JSON."""
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), retry_after_seconds)


def said(code: str | None, message: str = "why") -> dict[str, Any]:
    """Make an error's body."""
    return {"error": code, "message": message}


# ---- submit ---------------------------------------------------------------------------------------------------------


def test_submit_fields_are_the_declared_options_in_plain_digits() -> None:
    """In the order of their declaration, whole numbers without a fraction and never with an exponent."""
    options: dict[str, OptionValue] = {
        "escore": 3.5,
        "seed": 7,
        "reference_scale": 1.0,
        "prompt": "rusty",
    }
    fields = (("prompt", "rusty"), ("seed", "7"), ("reference_scale", "1"), ("escore", "3.5"))
    assert wire.submit_fields(TEXTURE, options) == fields


@pytest.mark.parametrize("prompt", ["", " ", "\n\t", "\u3000", "\ufeff"])
def test_a_prompt_without_a_word_is_not_sent(prompt: str) -> None:
    """It means the same as none; one with words is sent as it was written."""
    assert wire.submit_fields(TEXTURE, {"prompt": prompt, "seed": 7}) == (("seed", "7"),)
    assert wire.submit_fields(TEXTURE, {"prompt": f"worn{prompt}  oak"}) == (("prompt", f"worn{prompt}  oak"),)


@pytest.mark.parametrize("key", ["model", "again", "quality"])
def test_an_option_that_is_not_declared_is_an_error(key: str) -> None:
    """It would be in the receipt, and paid for, and not sent."""
    with pytest.raises(ValueError, match=f"no such option: {key}"):
        wire.submit_fields(TEXTURE, {"seed": 7, key: "x"})


@pytest.mark.parametrize(
    ("consumed", "believed"),
    [
        ("0.5", "0.5"),
        ("1.50", "1.5"),
        ("0", "0"),
        ("-0.0", "0"),
        ("1", "1"),
        ('"0.5"', "0.5"),
        ("100", "100"),
        ("100.1", None),
        ("1e400", None),
        ("-0.5", None),
        ("NaN", None),
        ("Infinity", None),
        ('"NaN"', None),
        ('"half"', None),
        ("true", None),
        ("null", None),
        ("[0.5]", None),
        ("{}", None),
    ],
)
def test_what_the_task_took_is_believed_if_it_is_a_plain_number(consumed: str, believed: str | None) -> None:
    """Exactly, as text for the journal; whatever else an answer says there counts as not said."""
    body = json.dumps(ACCEPTED)[:-1] + f', "consumed": {consumed}}}'
    task = wire.read_submit(answer(201, body.encode()), 5.0)
    assert (None if task.credits is None else str(task.credits)) == believed


@pytest.mark.parametrize(
    ("number", "text"), [(1e-7, "0.0000001"), (1e22, "1" + "0" * 22), (0.1, "0.1"), (100.0, "100"), (0, "0")]
)
def test_numbers_are_written_out(number: float, text: str) -> None:
    """No exponent is ever sent."""
    assert wire.submit_fields(TEXTURE, {"reference_scale": number}) == (("reference_scale", text),)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_sent_is_the_number_that_was_given(number: float) -> None:
    """Reading the text gives the same number."""
    assert float(wire.submit_fields(TEXTURE, {"escore": number})[0][1]) == number


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_never_sent(number: float) -> None:
    """NaN and the infinities are refused."""
    with pytest.raises(ValueError, match="finite"):
        wire.submit_fields(TEXTURE, {"escore": number})


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("error", [None, "", "OK", "absent"])
def test_an_accepted_submit_is_a_task(status: int, error: str | None) -> None:
    """Any 2xx with a uuid and without an error is accepted, and both tokens are kept."""
    body = {key: value for key, value in (ACCEPTED | {"error": error}).items() if (key, value) != ("error", "absent")}
    assert wire.read_submit(answer(status, body), 5.0) == Task("task-1", "sk", 5.0)


@pytest.mark.parametrize("jobs", [None, {}, [], "x", {"subscription_key": None}, {"subscription_key": 7}])
def test_a_task_without_a_subscription_key_is_still_a_task(jobs: object) -> None:
    """It was accepted and paid for, so its outcome is not unknown."""
    assert wire.read_submit(answer(201, ACCEPTED | {"jobs": jobs}), 5.0) == Task("task-1", "", 5.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b'{"error": null, "uuid": "task',
        b'["task-1"]',
        b"null",
        b"\xff\xfe\x00",
        NESTED,
        b'{"uuid": "task-1", "n": ' + b"9" * 5000 + b"}",
        b'{"uuid": "task-1", "n": 1e99999999999999999999}',
        b'{"uuid": "task-1"}' + b" " * wire.BODY_LIMIT_BYTES,
        json.dumps({"error": None, "message": "Submitted."}).encode(),
        json.dumps(ACCEPTED | {"uuid": ""}).encode(),
        json.dumps(ACCEPTED | {"uuid": 7}).encode(),
        json.dumps(ACCEPTED | {"uuid": "a\nb"}).encode(),
        json.dumps(said("UNKNOWN")).encode(),
        json.dumps({"error": {"code": 1}}).encode(),
        json.dumps(ACCEPTED | {"error": "UNKNOWN"}).encode(),
        json.dumps(ACCEPTED | {"error": "INSUFFICIENT_FUND"}).encode(),
    ],
)
def test_a_2xx_without_a_readable_task_is_an_unknown_outcome(body: bytes) -> None:
    """It may have been charged; an answer that names a task and an error at once may have been, too."""
    with pytest.raises(OutcomeUnknownError, match="HTTP 201"):
        wire.read_submit(answer(201, body), 0.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 302, 303, 300, 304, 100, 0, 600])
@pytest.mark.parametrize("body", [HTML, ACCEPTED, said("INSUFFICIENT_FUND")])
def test_a_submit_answered_by_the_machinery_between_is_an_unknown_outcome(status: int, body: object) -> None:
    """Whatever a 5xx or an odd status says, it does not prove that nothing was charged."""
    with pytest.raises(OutcomeUnknownError):
        wire.read_submit(answer(status, body), 0.0)


@pytest.mark.parametrize("status", [500, 503, 302, 303])
def test_what_breaks_off_a_submit_refuses_it(status: int) -> None:
    """Before the whole set was sent; unless it names a task."""
    with pytest.raises(VendorDownError, match=f"HTTP {status}"):
        wire.read_submit(answer(status, HTML), 0.0, early=True)
    with pytest.raises(OutcomeUnknownError):
        wire.read_submit(answer(status, ACCEPTED), 0.0, early=True)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_moved_address_is_not_a_submit(status: int) -> None:
    """The call belongs elsewhere and was not carried out; it concerns all sets and the owner can mend it."""
    with pytest.raises(VendorDownError, match="moved") as caught:
        wire.read_submit(answer(status, HTML), 0.0)
    assert caught.value.problem.scope is Scope.SERVICE
    assert "api.base_url" in caught.value.problem.advice


@pytest.mark.parametrize("status", [301, 308, 400, 402, 404, 408, 409, 429])
@pytest.mark.parametrize("body", [ACCEPTED, ACCEPTED | {"error": "INVALID_REQUEST"}])
def test_a_refusal_that_names_a_task_is_an_unknown_outcome(status: int, body: object) -> None:
    """Whoever says it, the vendor may have accepted and charged that task: it must not be thrown away."""
    with pytest.raises(OutcomeUnknownError, match=f"HTTP {status}"):
        wire.read_submit(answer(status, body), 0.0)


CODES: list[tuple[str, type[RodinWatchdError]]] = [
    ("INSUFFICIENT_FUND", NoCreditsError),
    ("API_INSUFFICIENT_FUNDS", NoCreditsError),
    ("NO_ACTIVE_SUBSCRIPTION", NoCreditsError),
    ("SUBSCRIPTION_PLAN_TOO_LOW", NoCreditsError),
    ("USER_NOT_FOUND", KeyRefusedError),
    ("GROUP_NOT_FOUND", KeyRefusedError),
    ("PERMISSION_DENIED", KeyRefusedError),
    ("API_NO_ACTIVE_SUBSCRIPTION", NoCreditsError),
    ("API_SUBSCRIPTION_PLAN_TOO_LOW", NoCreditsError),
    ("INSUFFICIENT_FUNDS", NoCreditsError),
    ("API_INSUFFICIENT_FUND", NoCreditsError),
    ("API_PERMISSION_DENIED", KeyRefusedError),
    ("API_PARALLELISM_LIMIT_REACHED", TaskLimitError),
    ("PARALLELISM_LIMIT_REACHED", TaskLimitError),
]
STATUSES: list[tuple[int, type[RodinWatchdError]]] = [
    (401, KeyRefusedError),
    (402, NoCreditsError),
    (403, KeyRefusedError),
    (407, NetworkError),
    (408, NetworkError),
    (429, ThrottledError),
]


@pytest.mark.parametrize("status", [200, 201, 400, 402, 403, 404])
@pytest.mark.parametrize(("code", "kind"), CODES)
def test_a_code_says_more_than_the_status(status: int, code: str, kind: type[RodinWatchdError]) -> None:
    """A complete answer with an account's code is that error, under 2xx and 4xx, for every call."""
    for call in (lambda a: wire.read_submit(a, 0.0), wire.read_status, wire.read_links, wire.read_balance):
        with pytest.raises(kind, match=f"HTTP {status}, {code}: .why") as caught:
            call(answer(status, said(code)))
        assert type(caught.value) is kind


@pytest.mark.parametrize("body", [HTML, b"", said(None), said("UNKNOWN")])
@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_a_status_decides_where_no_code_does(status: int, kind: type[RodinWatchdError], body: object) -> None:
    """401, 402, 403, 407, 408 and 429 concern the service, with or without JSON, for every call; waits are kept."""
    for call in (lambda a: wire.read_submit(a, 0.0), wire.read_status, wire.read_links, wire.read_balance):
        with pytest.raises(kind) as caught:
            call(answer(status, body, 7.0))
        assert caught.value.retry_after_seconds == 7.0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((404, HTML), (405, HTML), (404, said("NOT_FOUND")), (405, said("METHOD_NOT_ALLOWED"))),
        (404, {"statusCode": 404, "error": "Not Found", "message": "Cannot POST /api/v2/rodin"}),
    ],
)
def test_an_address_that_knows_no_such_call_is_no_sets_fault(status: int, body: object) -> None:
    """A wrong base URL refuses every set alike, as a page or as JSON: the service pauses instead of failing them one by one."""
    with pytest.raises(VendorDownError, match="does not know this call") as caught:
        wire.read_submit(answer(status, body), 0.0)
    assert "api.base_url" in caught.value.advice_given


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (status, body)
        for status in (400, 404, 405, 409, 410, 413, 415, 418, 422)
        for body in (said("INVALID_REQUEST"), said("API_INVALID_REQUEST"), HTML)
        if body is not HTML or status not in {404, 405, 418}
    ]
    + [
        *((201, said("INVALID_REQUEST")), (400, said("BAD_REQUEST")), (422, said("Unprocessable Entity"))),
        (400, said("The seed must be from 0 to 65535")),
    ],
)
def test_a_refused_set_is_the_sets_fault(status: int, body: object) -> None:
    """The documented code, and a complete 4xx about the request where no code says more, refuse the set."""
    with pytest.raises(VendorRefusedError, match=f"HTTP {status}"):
        wire.read_submit(answer(status, body), 0.0)


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, "MODEL_TOO_ODD"), (201, "API_BUSY"), (400, "API_NEW"), (422, "X"), (404, "GONE_FISHING"), (400, "UNKNOWN")],
)
def test_a_code_that_nobody_knows_is_no_sets_fault(status: int, code: str) -> None:
    """It concerns the service until somebody knows better, and people read the code as it was said."""
    with pytest.raises(UnknownCodeError, match=f"HTTP {status}, {code}: .why") as caught:
        wire.read_submit(answer(status, said(code)), 0.0)
    assert caught.value.problem.scope is Scope.SERVICE
    assert not caught.value.problem.documented


@pytest.mark.parametrize("prefix", ["", "API_"])
@pytest.mark.parametrize(
    "code", ["IMAGE_CONTENT_VIOLATION", "OBJECT_NOT_FOUND_ON_IMAGE", "IMAGE_LABEL_LENGTH_TOO_LONG"]
)
def test_a_code_about_the_image_says_what_to_change(prefix: str, code: str) -> None:
    """The artist reads plain words, and the vendor's own after them."""
    with pytest.raises(VendorRefusedError, match=f"{prefix}{code}: .why") as caught:
        wire.read_submit(answer(201, said(prefix + code)), 0.0)
    assert "image" in caught.value.message.partition("(")[0]
    assert "image" in caught.value.problem.advice
    assert caught.value.problem.documented


@pytest.mark.parametrize(("code", "kind"), [("Too Many Requests", ThrottledError), ("UNAUTHORIZED", KeyRefusedError)])
def test_a_reason_phrase_under_2xx_is_its_status(code: str, kind: type[RodinWatchdError]) -> None:
    """A gateway that answers 200 and says the status as a word means the status."""
    with pytest.raises(kind):
        wire.read_submit(answer(200, said(code)), 0.0)


def test_the_vendors_message_is_cleaned_and_bounded() -> None:
    """Control characters, line breaks and bidi overrides go, and so does what is beyond 300 characters."""
    with pytest.raises(VendorRefusedError) as caught:
        wire.read_submit(answer(400, said("INVALID_REQUEST", "bad\r\n\x1b[31m\u202eseed " + "x" * 5000)), 0.0)
    assert caught.value.message.startswith('The vendor refused the set (HTTP 400, INVALID_REQUEST: "bad [31m seed xxx')
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 380


@given(
    st.integers(0, 700),
    st.binary(max_size=300)
    | st.builds(
        lambda v: json.dumps(v).encode(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "uuid", "jobs", "list", "url", "name", "status", "balance"]), inner
                )
            ),
            max_leaves=12,
        ),
    ),
)
def test_hostile_answers_raise_nothing_but_our_own_errors(status: int, body: bytes) -> None:
    """Any status with any body is a value or an error of the project."""
    for call in (lambda a: wire.read_submit(a, 0.0), wire.read_status, wire.read_links, wire.read_balance):
        try:
            call(Answer(status, body))
        except RodinWatchdError as error:
            assert error.message.isprintable()  # noqa: PT017 - both ways are right, and this one is checked


# ---- status ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "verdict", "progress"),
    [
        ("", TaskState.WORKING, "waiting in the vendor's queue"),
        ("Waiting Waiting", TaskState.WORKING, "waiting in the vendor's queue"),
        ("Done Generating Waiting", TaskState.WORKING, "1 of 3 parts done"),
        ("Done Done Done", TaskState.DONE, "3 of 3 parts done"),
        ("Done Failed Generating", TaskState.WORKING, "1 of 3 parts done"),
        ("Done Failed", TaskState.FAILED, "1 of 2 parts done"),
        ("Canceled Done", TaskState.FAILED, "1 of 2 parts done"),
        ("Done Cancelled", TaskState.FAILED, "1 of 2 parts done"),
        ("Error Done", TaskState.FAILED, "1 of 2 parts done"),
        ("Done Dreaming", TaskState.WORKING, "1 of 2 parts done (the vendor says: Dreaming)"),
        ("Failed Dreaming", TaskState.WORKING, "0 of 2 parts done (the vendor says: Dreaming)"),
    ],
)
def test_a_task_is_over_when_all_its_parts_are(words: str, verdict: TaskState, progress: str) -> None:
    """All terminal is over, any failed is failed, none and unknown words are "not yet"."""
    jobs = [{"uuid": str(number), "status": word} for number, word in enumerate(words.split())]
    status = wire.read_status(answer(201, {"error": "OK", "jobs": jobs}))
    assert (status.verdict, status.progress) == (verdict, progress)


@pytest.mark.parametrize("body", [{}, {"jobs": None}, {"jobs": []}, {"error": "OK"}, {"error": "", "jobs": []}])
def test_missing_parts_are_not_yet(body: object) -> None:
    """Nothing to see is never "all done"."""
    assert wire.read_status(answer(201, body)) == TaskStatus(())
    assert wire.read_status(answer(201, body)).verdict is TaskState.WORKING


def test_unknown_words_are_named_once_and_cleaned() -> None:
    """Words that the contract does not name, entries without one included, are told for the log; at most ten."""
    jobs = [
        {"status": "Done"},
        {"status": "Drea\x07ming"},
        {"status": "Drea\x07ming"},
        {"status": 3},
        "x",
        {"status": "y" * 99},
    ]
    status = wire.read_status(answer(200, {"jobs": jobs}))
    assert status.unknown_words == ("Drea ming", "(empty)", "y" * 39 + "…")
    assert status.verdict is TaskState.WORKING
    assert len(TaskStatus(tuple(map(str, range(50)))).unknown_words) == 10
    assert TaskStatus(("Waiting", "Generating", "Done", "Failed", "Canceled")).unknown_words == ()


@pytest.mark.parametrize("call", [wire.read_status, wire.read_links])
@pytest.mark.parametrize(
    ("status", "body"), [(404, HTML), (404, b""), (400, said("NO_SUCH_TASK")), (200, said("NO_SUCH_TASK"))]
)
def test_a_task_that_is_not_known_is_lost_for_now(call: Any, status: int, body: object) -> None:  # noqa: ANN401 - a function
    """The caller asks again for a while."""
    with pytest.raises(TaskLostError):
        call(answer(status, body))


@pytest.mark.parametrize("call", [wire.read_status, wire.read_links, wire.read_balance])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, HTML),
        (503, {}),
        (200, HTML),
        (200, b""),
        (200, NESTED),
        (200, b'{"jobs": ['),
        (200, said("UNKNOWN")),
        (200, said("SOMETHING_ELSE")),
        (400, said("INVALID_REQUEST")),
        (302, HTML),
        (301, {}),
        (100, {}),
    ],
)
def test_an_answer_that_says_nothing_concerns_one_job(call: Any, status: int, body: object) -> None:  # noqa: ANN401 - a function
    """It is asked again under the job's deadline; a Retry-After is kept."""
    with pytest.raises(VendorAnswerError) as caught:
        call(answer(status, body, 3.0))
    assert caught.value.problem.scope is Scope.SET
    assert caught.value.retry_after_seconds == 3.0


@pytest.mark.parametrize("value", [{}, "x", 7, True])
def test_a_list_that_is_none_cannot_be_read(value: object) -> None:
    """Something else in the place of a list is an answer that cannot be understood."""
    for call, key in ((wire.read_status, "jobs"), (wire.read_links, "list")):
        with pytest.raises(VendorAnswerError, match=key):
            call(answer(200, {key: value}))


# ---- links ----------------------------------------------------------------------------------------------------------


def links_of(*entries: object, loopback: bool = True) -> tuple[Link, ...]:
    """Read a list of results."""
    return wire.read_links(answer(201, {"error": "OK", "list": entries}), loopback=loopback)


def test_links_are_taken_as_they_come() -> None:
    """Names are hostile and kept for `safe_result_names`; one that is missing is empty."""
    entries = [{"url": "https://f.example/a?sig=1", "name": "../../a.glb"}, {"url": "http://127.0.0.1:9/b"}]
    assert links_of(*entries) == (Link("../../a.glb", "https://f.example/a?sig=1"), Link("", "http://127.0.0.1:9/b"))
    assert links_of() == ()
    assert wire.read_links(answer(201, {"list": None})) == ()
    assert wire.read_links(answer(201, {})) == ()


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "https://f.example/a",
        [],
        {"name": "a.glb"},
        {"name": "a.glb", "url": None},
        {"name": "a.glb", "url": ["https://f.example/a"]},
        {"name": 7, "url": "https://f.example/a"},
        {"name": ["a"], "url": "https://f.example/a"},
        {"name": "a.glb", "url": "http://f.example/a?token=hush"},
        {"name": "a.glb", "url": "ftp://f.example/a?token=hush"},
        {"name": "a.glb", "url": "file:///etc/passwd"},
        {"name": "a.glb", "url": "https:///a?token=hush"},
        {"name": "a.glb", "url": "https://u:hush@f.example/a"},
        {"name": "a.glb", "url": "https://[::1/a?token=hush"},
        {"name": "a.glb", "url": "https://f.example:99999/a?token=hush"},
        {"name": "a.glb", "url": "https://f.example/a\r\nX: hush?token=hush"},
        {"name": "a.glb", "url": "https://f.example\\@g.example/a"},
        {"name": "a.glb", "url": "https://f.example/" + "a" * 9000},
    ],
)
def test_an_entry_that_cannot_be_used_spoils_the_list(entry: object) -> None:
    """Without it the result would be delivered in part; no query, user or password is told."""
    with pytest.raises(VendorAnswerError) as caught:
        links_of({"url": "https://f.example/a", "name": "a.glb"}, entry)
    assert "token=hush" not in caught.value.message
    assert "u:hush" not in caught.value.message
    assert len(caught.value.message) < 500


def test_this_machine_is_a_file_host_only_where_allowed() -> None:
    """An API elsewhere cannot send the service to a port of its own machine."""
    with pytest.raises(VendorAnswerError):
        links_of({"url": "http://localhost:9/b", "name": "b.glb"}, loopback=False)


def test_a_list_has_a_bound() -> None:
    """Thousands of files with long signed links are believed; what counts is the size of the answer."""
    entries = [{"url": "https://f.example/a?signature=" + "0" * 900, "name": "a.glb"}] * 10_000
    assert len(links_of(*entries[:5_000])) == 5_000
    with pytest.raises(VendorAnswerError):
        links_of(*entries)


@pytest.mark.parametrize(
    ("name", "path", "shown"),
    [
        ("model", "/results/7f/base_basic_pbr.glb", "model.glb"),
        ("The chair v1.2", "/a/b.GLB", "The chair v1.2.glb"),
        ("textures/diffuse", "/x/texture%5Fdiffuse.png", "textures/diffuse.png"),
        ("", "/x/base.obj", ".obj"),
        ("base.fbx", "/x/y.glb", "base.fbx"),
        ("readme", "/x/readme.exe", "readme"),
        ("model", "/download", "model"),
    ],
)
def test_a_name_without_an_extension_takes_that_of_the_path(name: str, path: str, shown: str) -> None:
    """Names are for people: what the file is may be in its link alone."""
    [link] = links_of({"url": f"https://f.example{path}?x=.zip", "name": name})
    assert link.name == shown


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(
            (address, True)
            for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
        ),
        *((address, False) for address in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254")),
        *(
            (address, False)
            for address in ("100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0")
        ),
        *(
            (address, False)
            for address in ("fd00::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "ff02::1")
        ),
        *((address, False) for address in ("example.com", "", "08.8.8.8", "134744072")),
    ],
)
def test_an_address_is_public_or_it_is_not_called(address: str, public: bool) -> None:
    """Also where an IPv6 address only wraps an IPv4 one."""
    assert wire.is_public(address) is public


@pytest.mark.parametrize(
    ("jobs", "progress"),
    [
        ([{"status": "Waiting", "queue_length": 12}], "waiting in the vendor's queue, whose length is 12"),
        (
            [{"status": "Waiting"}, {"status": "Waiting", "queue_length": 0}],
            "waiting in the vendor's queue, whose length is 0",
        ),
        ([{"status": "Waiting", "queue_length": "12"}], "waiting in the vendor's queue"),
        ([{"status": "Waiting", "queue_length": -1}], "waiting in the vendor's queue"),
        ([{"status": "Waiting", "queue_length": True}], "waiting in the vendor's queue"),
        ([{"status": "Generating", "queue_length": 3}], "0 of 1 parts done"),
    ],
)
def test_the_length_of_the_queue_is_said(jobs: object, progress: str) -> None:
    """Where the vendor says it, and it is a plain number."""
    assert wire.read_status(answer(200, {"error": "OK", "jobs": jobs})).progress == progress


@pytest.mark.parametrize(
    ("name", "url", "model"),
    [
        ("MODEL.GLB", "https://f/x", True),
        ("a.usdz", "https://f/x", True),
        ("a.fbx", "https://f/x", True),
        ("a.obj", "https://f/x", True),
        ("a.stl", "https://f/x", True),
        ("preview.webp", "https://f/x.glb", False),
        ("glb", "https://f/x", False),
        ("", "https://f/x.glb?sig=1", True),
        ("My chair", "https://f/x.GLB", True),
        ("", "https://f/x?name=a.glb", False),
    ],
)
def test_a_list_without_a_model_is_incomplete(name: str, url: str, model: bool) -> None:
    """The name's extension tells; where there is no name, the address's."""
    preview = {"name": "preview.webp", "url": "https://f/p"}
    assert wire.has_model(links_of(preview, {"name": name, "url": url})) is model
    assert wire.has_model(()) is False


# ---- balance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "credits"),
    [
        ("12", "12"),
        ("11.5", "11.5"),
        ("0.1", "0.1"),
        ('"11.50"', "11.50"),
        ("0", "0"),
        ("1e2", "100"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("-1", "-1"),
        ("-0.5", "-0.5"),
        ('"-2.50"', "-2.5"),
    ],
)
def test_a_balance_is_read_exactly(raw: str, credits: str) -> None:  # noqa: A002 - the vendor's word
    """Whole numbers, fractions and text, below zero too, are taken without going through binary fractions."""
    assert wire.read_balance(answer(200, f'{{"balance": {raw}}}'.encode())) == Decimal(credits)


@pytest.mark.parametrize(
    "raw",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "true",
        "false",
        "null",
        "[]",
        '"x"',
        '""',
        '"NaN"',
        '"--1"',
        '"+1"',
        "-1e99",
        "-1" + "0" * 40,
        '"1_0"',
        '" 1"',
        '"\\u0661"',
        "1e99",
        "1e-99",
        "1" + "0" * 40,
    ],
)
def test_a_balance_that_is_no_amount_is_refused(raw: str) -> None:
    """Endless, absurd and foreign values are answers that cannot be understood."""
    with pytest.raises(VendorAnswerError, match="balance"):
        wire.read_balance(answer(200, f'{{"balance": {raw}}}'.encode()))


def test_an_unknown_address_of_the_balance_is_no_lost_task() -> None:
    """404 means a lost task only where a task was asked for."""
    with pytest.raises(VendorAnswerError, match="404"):
        wire.read_balance(answer(404, HTML))


# ---- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@f.example:8443/a/b.glb?sig=1#x", "https://f.example:8443/a/b.glb"),
        ("https://f.example", "https://f.example"),
        ("https://[::1/a?sig=1", "(an unreadable address)"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """Query, fragment, user and password are left out."""
    assert without_query(url) == shown


@given(st.text(max_size=200), st.integers(1, 100))
def test_plain_text_is_one_bounded_line(text: str, limit: int) -> None:
    """Whatever comes in, one printable line comes out, and cleaning it again changes nothing."""
    clean = plain(text, limit)
    assert clean.isprintable()
    assert len(clean) <= limit
    assert plain(clean, limit) == clean


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("999999999", 3600.0),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("9" * 400, None),
        (formatdate(1_000_030, usegmt=True), 30.0),
        (formatdate(999_000, usegmt=True), 0.0),
        (formatdate(9_000_000, usegmt=True), 3600.0),
        ("Mon, 12 Jan 1970 13:47:10 -0000", 30.0),
        ("Mon, 99 Jan 1970 13:47:10 GMT", None),
    ],
)
def test_a_wait_comes_in_seconds_or_as_a_date(header: str | None, wait: float | None) -> None:
    """Both forms of Retry-After are read, nonsense is not, and no answer can ask for more than an hour."""
    assert retry_after_seconds(header, now=1_000_000.0) == wait


@given(st.text(max_size=60))
def test_any_wait_is_bounded(header: str) -> None:
    """No header raises anything or asks for more than the limit."""
    assert 0.0 <= (retry_after_seconds(header, now=0.0) or 0.0) <= 3600.0


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("127.0.0.5", True),
        ("::1", True),
        ("127.0.0.1.example", False),
        ("127.1", False),
        ("10.0.0.1", False),
    ],
)
def test_this_machine_has_few_names(host: str, near: bool) -> None:
    """Only localhost and loopback addresses are this machine."""
    assert is_loopback(host) is near
    shown = f"[{host}]" if ":" in host else host
    assert usable_url(f"http://{shown}:8080/x", loopback=True) is near
    assert usable_url(f"https://{shown}/x", loopback=False)


# ---- multipart ------------------------------------------------------------------------------------------------------


def test_a_multipart_body_has_the_bytes_of_the_rfc() -> None:
    """Text parts have no file name; the closing line is one piece with the line break before it."""
    assert multipart.content_type("B") == "multipart/form-data; boundary=B"
    text = '--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nröst\r\n'
    assert multipart.text_part("B", "prompt", "röst") == text.encode()
    head = (
        b'--B\r\nContent-Disposition: form-data; name="model"; filename="model.glb"\r\n'
        b"Content-Type: model/gltf-binary\r\n\r\n"
    )
    assert multipart.file_head("B", "model", "chair.GLB", "model/gltf-binary") == head
    assert multipart.closing("B") == b"\r\n--B--\r\n"


@pytest.mark.parametrize("kind", ["", "image", "image/png\r\nX: 1", 'image/png"', "image/ png"])
def test_a_media_type_cannot_break_the_head(kind: str) -> None:
    """What is no media type is sent as plain bytes."""
    assert b"Content-Type: application/octet-stream\r\n\r\n" in multipart.file_head("B", "image", "a.png", kind)


@given(st.text(max_size=40))
def test_the_artists_name_is_never_sent(filename: str) -> None:
    """A part's file name is the part's own, with an extension of plain letters and digits at most."""
    stem, _, extension = multipart.part_filename("model", filename).partition(".")
    assert stem == "model"
    assert extension == "" or (extension.isascii() and extension.isalnum() and filename.lower().endswith(extension))
