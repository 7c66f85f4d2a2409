"""Each entry of the table of faults, as a client sees it."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import requests
from emulator_client import Api, fetch, running, until

from rodin_watchd.emulator.effects import EVIL_NAMES
from rodin_watchd.emulator.faults import CALL_SITES, CHARGED, FAULTS, KINDS, Site

if TYPE_CHECKING:
    from collections.abc import Callable

Seen: TypeAlias = "requests.Response | requests.RequestException"
Check: TypeAlias = "Callable[[Seen], bool]"


def attempt(call: Callable[[], requests.Response]) -> Seen:
    """Make a call and give what a client sees: the answer or the error."""
    try:
        return call()
    except requests.RequestException as error:
        return error


def answered(status: int, **headers: str) -> Check:
    """Expect this status and these headers; a header of "" must be absent."""

    def check(seen: Seen) -> bool:
        return (
            isinstance(seen, requests.Response)
            and seen.status_code == status
            and all(seen.headers.get(name.replace("_", "-"), "") == value for name, value in headers.items())
        )

    return check


def reply(status: int, true: Callable[[Any], bool]) -> Check:
    """Expect this status and JSON of which this is true."""
    return lambda seen: isinstance(seen, requests.Response) and seen.status_code == status and true(seen.json())


def page(status: int) -> Check:
    """Expect an HTML page under this status."""
    return lambda seen: (
        isinstance(seen, requests.Response)
        and seen.status_code == status
        and seen.headers["content-type"].startswith("text/html")
        and seen.text.startswith("<!DOCTYPE html>")
    )


def no_json(seen: Seen) -> bool:
    """Expect success whose body is there but is no JSON."""
    if not isinstance(seen, requests.Response) or not seen.ok or not seen.content.startswith(b'{"'):
        return False
    with pytest.raises(ValueError, match=r"(?i)json|unterminated|expecting"):
        seen.json()
    return True


def no_body(seen: Seen) -> bool:
    """Expect success without a body."""
    return isinstance(seen, requests.Response) and seen.ok and seen.content == b""


def closed(seen: Seen) -> bool:
    """Expect that the connection ended without an answer."""
    return isinstance(seen, requests.ConnectionError) and not isinstance(seen, requests.ConnectTimeout)


def too_late(seen: Seen) -> bool:
    """Expect that no answer came in time."""
    return isinstance(seen, requests.ReadTimeout)


def moved(status: int) -> Check:
    """Expect a redirect with this status, to another host."""
    return lambda seen: (
        isinstance(seen, requests.Response)
        and seen.status_code == status
        and urlsplit(seen.headers["location"]).path.startswith("/moved/")
    )


def sent(call: Callable[[], requests.Response]) -> requests.PreparedRequest:
    """Give the request that a call would send, without sending it."""
    taken: list[requests.PreparedRequest] = []

    def take(_session: requests.Session, request: requests.PreparedRequest, **_: object) -> requests.Response:
        taken.append(request)
        return requests.Response()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", take)
        call()
    return taken[0]


def on_the_wire(request: requests.PreparedRequest) -> bytes:
    """Give the bytes of a request."""
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.body or b""
    head = f"{request.method} {request.path_url} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
    return head.replace("Connection: keep-alive\r\n", "").encode() + (
        body if isinstance(body, bytes) else body.encode()
    )


def of_calls(site: Site, success: int) -> list[tuple[str, Check]]:
    """Give the faults that every call can have, with what they look like."""
    return [
        (f"{site}-429", answered(429, retry_after="")),
        (f"{site}-429=7", answered(429, retry_after="7")),
        *((f"{site}-{status}", page(status)) for status in (500, 502, 503, 504)),
        (f"{site}-closed", closed),
        (f"{site}-html", page(success)),
        (f"{site}-empty", no_body),
        (f"{site}-slow=3600", too_late),
        (f"{site}-slow=0", answered(success)),
        (f"{site}-redirect", moved(307)),
        (f"{site}-redirect=303", moved(303)),
    ]


def of_api_calls(site: Site) -> list[tuple[str, Check]]:
    """Give the faults that every call of the API can have, with what they look like."""
    return [
        *of_calls(site, 201),
        (f"{site}-truncated", no_json),
        (f"{site}-key-refused", reply(401, lambda body: body["error"] == "PERMISSION_DENIED")),
        (f"{site}-error", reply(201, lambda body: body["error"] == "UNKNOWN")),
        (f"{site}-error=INSUFFICIENT_FUND", reply(201, lambda body: body["error"] == "INSUFFICIENT_FUND")),
    ]


def list_names(body: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Give the names in a download list."""
    return [entry["name"] for entry in body["list"]]


SUBMIT_FAULTS = [
    *of_api_calls(Site.SUBMIT),
    ("lost-answer", closed),
    *((f"charged-{status}", page(status)) for status in CHARGED),
    ("charged-429=API_PARALLELISM_LIMIT_REACHED", reply(429, lambda body: body["error"].startswith("API_PAR"))),
    ("charged-error=INVALID_REQUEST", reply(201, lambda body: body["error"] == "INVALID_REQUEST")),
    ("late-charge=0.01", closed),
    ("late-charge=0.01:429", page(429)),
    ("repeated-uuid", reply(201, lambda body: body["uuid"] and body["jobs"]["subscription_key"])),
    ("consumed=1.5", reply(201, lambda body: body["consumed"] == 1.5)),
    ("no-uuid", reply(201, lambda body: "uuid" not in body and body["jobs"]["subscription_key"])),
    ("no-subscription-key", reply(201, lambda body: "jobs" not in body and body["uuid"])),
]
STATUS_FAULTS = [
    *of_api_calls(Site.STATUS),
    ("status-404", reply(404, lambda body: body["error"] == "NO_SUCH_TASK")),
    ("empty-jobs", reply(201, lambda body: body["jobs"] == [])),
    ("missing-jobs", reply(201, lambda body: "jobs" not in body)),
    ("unknown-status", reply(201, lambda body: [job["status"] for job in body["jobs"]] == ["Queued"] * 3)),
    ("unknown-status=Odd=@x", reply(201, lambda body: [job["status"] for job in body["jobs"]] == ["Odd=@x"] * 3)),
]
LISTED = ["base_basic_pbr.glb", "preview.webp"]
DOWNLOAD_FAULTS = [
    *of_api_calls(Site.DOWNLOAD),
    ("download-404", reply(404, lambda body: body["error"] == "NO_SUCH_TASK")),
    ("empty-list", reply(201, lambda body: body["list"] == [])),
    ("missing-list", reply(201, lambda body: "list" not in body)),
    ("partial-list", reply(201, lambda body: list_names(body) == ["preview.webp"])),
    ("evil-names", reply(201, lambda body: list_names(body) == [*LISTED, *EVIL_NAMES.values()])),
    ("evil-name", reply(201, lambda body: list_names(body) == ["../../x", "preview.webp"])),
    ("evil-name=control", reply(201, lambda body: list_names(body)[0] == EVIL_NAMES["control"])),
    ("sub-folders", reply(201, lambda body: list_names(body) == [f"base/basic/{name}" for name in LISTED])),
    ("sub-folders=maps", reply(201, lambda body: list_names(body) == [f"maps/{name}" for name in LISTED])),
    ("same-names", reply(201, lambda body: list_names(body) == LISTED[:1] * 2)),
]
FILE_FAULTS = [
    *of_calls(Site.FILE, 200),
    ("file-truncated", lambda seen: isinstance(seen, requests.Response) and seen.ok and seen.content[:4] == b"glTF"),
    ("expired-link", answered(403, content_type="application/xml")),
    ("cut-download", lambda seen: isinstance(seen, requests.exceptions.ChunkedEncodingError)),
]
BALANCE_FAULTS = of_api_calls(Site.BALANCE)
TASK_FAULTS = {
    "failed-job": "Failed",
    "canceled-job": "Canceled",
    "cancelled-job": "Cancelled",
    "error-job": "Error",
    "failed-part": "Failed",
}
"""By fault, the word with which a task ends that it strikes."""


def in_turn(expected: list[tuple[str, Check]], first: int = 1) -> list[str]:
    """Give the faults so that each strikes one call, one after the other."""
    return [f"{fault}@{turn}" for turn, (fault, _) in enumerate(expected, first)]


def strike_all(api: Api, expected: list[tuple[str, Check]], call: Callable[..., requests.Response]) -> dict[str, Seen]:
    """Make a call for each fault, check what it looks like, and see that it was this fault that struck.

    Where no answer will come the client waits shortly, but long enough for the emulator to read an order.
    """
    seen = {}
    for turn, (fault, check) in enumerate(expected, 1):
        seen[fault] = attempt(partial(call, turn, timeout=1.5 if fault.endswith("3600") else 30.0))
        assert check(seen[fault]), (fault, seen[fault])
        until(partial(struck, api, turn))
    return seen


def struck(api: Api, times: int) -> bool:
    """Tell whether faults have struck this often."""
    counts: dict[str, int] = api.ledger()["faults"]
    return sum(counts.values()) == times


def test_all_faults_are_tried_here() -> None:
    """No entry of the table is without a test, and each has its line for --help."""
    tables = (SUBMIT_FAULTS, STATUS_FAULTS, DOWNLOAD_FAULTS, FILE_FAULTS, BALANCE_FAULTS)
    tried = {fault.partition("=")[0] for table in tables for fault, _ in table} | set(TASK_FAULTS)
    tried |= {f"{site}-interim" for site in CALL_SITES}
    assert tried == set(KINDS) == set(FAULTS)
    assert all(meaning and "\n" not in meaning for meaning in FAULTS.values())


def test_submit_faults() -> None:
    """Each fault of a submit looks as it should, and charges exactly when it says that the order was accepted."""
    charging = (
        *("html", "truncated", "empty", "slow", "lost-answer", "charge", "no-uuid", "no-subscription-key"),
        *("uuid", "consumed"),
    )
    with running(*in_turn(SUBMIT_FAULTS)) as api:
        strike_all(api, SUBMIT_FAULTS, lambda turn, timeout: api.submit(timeout=timeout, texts={"seed": str(turn)}))
        charged = [
            str(turn) for turn, (fault, _) in enumerate(SUBMIT_FAULTS, 1) if any(word in fault for word in charging)
        ]
        until(lambda: len(api.ledger()["charges"]) == len(charged) == api.ledger()["uploads"]["accepted"])
        assert sorted(row["options"]["seed"] for row in api.ledger()["charges"]) == sorted(charged)
        assert api.ledger()["uploads"]["cut"] == 1  # submit-closed: refused without a word
        assert api.submit().status_code == 201


def test_status_faults() -> None:
    """Each fault of a status call looks as it should, and the next call is as it was."""
    with running(*in_turn(STATUS_FAULTS)) as api:
        submitted = api.submit().json()
        strike_all(api, STATUS_FAULTS, lambda _, timeout: api.status(submitted, timeout))
        assert api.words(submitted) == ["Done"] * 3


def test_download_faults() -> None:
    """Each fault of a download call looks as it should, and links under evil names lead to files like the others."""
    with running(*in_turn(DOWNLOAD_FAULTS)) as api:
        submitted = api.submit().json()
        seen = strike_all(api, DOWNLOAD_FAULTS, lambda _, timeout: api.download(submitted, timeout))
        evil = seen["evil-names"]
        assert isinstance(evil, requests.Response)
        assert {fetch(entry["url"]).status_code for entry in evil.json()["list"]} == {200}
        assert list(api.results(submitted)) == LISTED


def test_balance_faults() -> None:
    """Each fault of a balance call looks as it should."""
    with running(*in_turn(BALANCE_FAULTS)) as api:
        strike_all(api, BALANCE_FAULTS, lambda _, timeout: api.balance(timeout))
        assert api.balance().json() == {"balance": 100}


def test_file_faults() -> None:
    """Each fault of a result link looks as it should, and the file is whole afterwards."""
    with running(*in_turn(FILE_FAULTS)) as api:
        url = api.download(api.submit().json()).json()["list"][0]["url"]
        seen = strike_all(
            api, FILE_FAULTS, lambda _, timeout: requests.get(url, timeout=timeout, allow_redirects=False)
        )
        whole, truncated = fetch(url), seen["file-truncated"]
        assert isinstance(truncated, requests.Response)
        assert whole.content.startswith(truncated.content)
        assert len(truncated.content) == int(truncated.headers["content-length"]) == len(whole.content) // 2


def test_task_faults() -> None:
    """A struck task ends so in its last job; the others are Done."""
    with running(*(f"{fault}@{2 * turn}" for turn, fault in enumerate(TASK_FAULTS, 1))) as api:
        ends = [api.words(api.submit().json()) for _ in range(2 * len(TASK_FAULTS))]
        assert ends == [["Done", "Done", end] for word in TASK_FAULTS.values() for end in ("Done", word)]
        outcomes = [row["outcome"] for row in api.emulator.ledger()["charges"]]
        assert outcomes == [end for word in TASK_FAULTS.values() for end in ("Done", word)]


def test_a_fault_counts_only_the_calls_of_its_site() -> None:
    """`status-503=2@2` leaves the first status call alone, strikes two, and takes no notice of other calls."""
    with running("status-503=2@2", "balance-429") as api:
        submitted = api.submit().json()
        assert api.balance().status_code == 429
        assert [api.status(submitted).status_code for _ in range(4)] == [201, 503, 503, 201]
        assert api.balance().status_code == 429
        assert api.emulator.ledger()["faults"] == {"status-503": 2, "balance-429": 2}


def test_faults_on_one_call_add_up() -> None:
    """Two faults on one call work one after the other, and one that has nothing left to change does nothing."""
    with running("submit-html@1", "no-uuid@1", "empty-jobs@1", "lost-answer@2", "submit-truncated@2") as api:
        assert page(201)(attempt(api.submit))
        assert closed(attempt(api.submit))
        assert len(api.emulator.ledger()["charges"]) == 2


def test_slow_does_not_hold_up_others() -> None:
    """While one call waits for its slow answer, others are answered."""
    with running("status-slow=3600@1") as api:
        submitted = api.submit().json()
        assert too_late(attempt(lambda: api.status(submitted, timeout=0.2)))
        until(lambda: struck(api, 1))
        assert api.words(submitted) == ["Done"] * 3


@pytest.mark.parametrize("site", CALL_SITES)
def test_informational_answers_come_before_the_real_one(site: Site) -> None:
    """They stand on the wire as HTTP has them, each whole, and the real answer follows; `requests` cannot see that."""
    with running(f"{site}-interim=4@2") as api:
        submitted = api.submit(texts={"seed": "1"}).json()
        url = api.download(submitted).json()["list"][0]["url"]
        calls: dict[Site, Callable[[], requests.Response]] = {
            Site.SUBMIT: partial(api.submit, texts={"seed": "2"}),
            Site.STATUS: partial(api.status, submitted),
            Site.DOWNLOAD: partial(api.download, submitted),
            Site.BALANCE: api.balance,
            Site.FILE: partial(fetch, url),
        }
        if site in (Site.STATUS, Site.BALANCE, Site.FILE):  # the second call of its kind is struck
            calls[site]()
        request = sent(calls[site])
        address = urlsplit(request.url)
        with socket.create_connection((str(address.hostname), int(address.port or 0))) as line:
            line.sendall(on_the_wire(request))
            heads = b"".join(iter(lambda: line.recv(65536), b""))
        statuses = [part[9:12] for part in heads.split(b"\r\n\r\n") if part.startswith(b"HTTP/1.1 ")]
        assert statuses == [b"102", b"103", b"100", b"102", b"200" if site is Site.FILE else b"201"]
        assert len(api.ledger()["charges"]) == 1 + (site is Site.SUBMIT)


def test_a_late_charge_comes_by_the_vendors_clock() -> None:
    """The order is accepted and answered at once; the money goes when its time has come, and not before."""
    hands = [1000.0]
    with running("late-charge=60:429@1", clock=lambda: hands[0]) as api:
        assert api.submit().status_code == 429
        assert (api.balance().json()["balance"], api.ledger()["charges"]) == (100, [])
        hands[0] += 59
        assert api.balance().json()["balance"] == 100
        hands[0] += 2
        assert api.balance().json()["balance"] == 99.5
        assert [row["at"] for row in api.ledger()["charges"]] == [1061.0]


def test_a_repeated_uuid_is_that_of_the_task_before() -> None:
    """The second order is charged for a task of its own, which nobody hears of."""
    with running("repeated-uuid@2") as api:
        first, second = (api.submit(texts={"seed": seed}).json()["uuid"] for seed in ("1", "2"))
        charged = [row["task_uuid"] for row in api.ledger()["charges"]]
    assert (first == second, len(charged), charged[0], charged[1] != second) == (True, 2, first, True)


def test_what_was_consumed_is_what_was_charged() -> None:
    """A VALUE is charged and said; answers without a fault say the list price where that is asked for."""
    with running("consumed=0.25@2", consumed=True) as api:
        said = [api.submit(texts={"seed": seed}).json()["consumed"] for seed in ("1", "2")]
        assert (said, api.ledger()["spent"], api.ledger()["balance"]) == ([0.5, 0.25], "0.75", "99.25")
    with running() as api:
        assert "consumed" not in api.submit().json()


def test_who_follows_a_redirect_with_the_key_shows_in_the_ledger() -> None:
    """Redirects lead to the file host; a result is there to be had, and a key that comes along is noted."""
    with running("file-redirect@1", "status-redirect=307@1") as api:
        submitted = api.submit().json()
        url = api.download(submitted).json()["list"][0]["url"]
        assert (fetch(url).status_code, api.ledger()["key_leaks"]) == (200, [])
        leads = api.session.post(api.url("status"), json={}, allow_redirects=False, timeout=30).headers["location"]
        assert requests.post(leads, headers={"Authorization": "Bearer emulator-key"}, timeout=30).status_code == 404
        assert api.ledger()["key_leaks"] == ["/moved/api/v2/status"]
