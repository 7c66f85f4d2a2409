"""Damaged answers of the vendor, as bodies and as bytes on the wire: a value, or an error that says what may be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from effort import searching
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import Wreck, damaged
from scripted_server import Conversation, ScriptedServer

from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.rodin_client.upload import Upload
from rodin_watchd.core import wire
from rodin_watchd.core.wire import RETRY_AFTER_LIMIT_SECONDS
from rodin_watchd.errors import OutcomeUnknownError, RodinWatchdError
from rodin_watchd.model import Answer, Link, Task

KEY = "sk-of-the-fuzz-tests-1234567"
LIMIT_BYTES = 5000
DEEP = 200_000
CHUNKED = "Transfer-Encoding: chunked"


def said(**reply: object) -> bytes:
    """Return a body."""
    return json.dumps(reply).encode()


BODIES = {
    "submit": said(error=None, uuid="u-1", jobs={"uuids": ["a", "b"], "subscription_key": "sub"}, message="Submitted."),
    "refusal": said(error="INSUFFICIENT_FUND", message="not enough credits", uuid=None),
    "status": said(error="OK", jobs=[{"uuid": "a", "status": "Done"}, {"uuid": "b", "status": "Generating"}]),
    "list": said(
        list=[{"url": "https://files.example/a.glb?s=1", "name": "a.glb"}, {"url": "x", "name": "preview.webp"}]
    ),
    "balance": said(balance=11.5),
    "page": b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    "deep list": b'{"list": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep object": b'{"jobs": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a number of a megabyte": b'{"balance": ' + b"9" * 1_000_000 + b"}",
    "a fraction of a megabyte": b'{"balance": 0.' + b"3" * 1_000_000 + b"}",
    "absurd exponents": b'{"balance": 1e999999999, "uuid": -1e-999999999, "jobs": [1E+400]}',
    "no numbers": b'{"balance": NaN, "uuid": Infinity, "error": -Infinity}',
    "many jobs": b'{"jobs": [' + b'{"status": "Done"},' * 50_000 + b'{"status": "Done"}]}',
    "half a character": b'{"uuid": "\\ud800", "error": "\\udfff", "message": "\\ud83d"}',
    "other encodings": '{"uuid": "ü"}'.encode("utf-16"),
}
READERS: dict[str, tuple[Callable[[Answer], object], type | tuple[type, ...]]] = {
    "submit": (lambda answer: wire.read_submit(answer, 0.0), Task),
    "status": (wire.read_status, wire.TaskStatus),
    "links": (wire.read_links, tuple),
    "balance": (wire.read_balance, Decimal),
}
STATUSES = st.sampled_from([200, 201, 202, 204, 302, 308, 400, 401, 402, 403, 404, 409, 429, 500, 502, 503, 599])


def check_told(error: RodinWatchdError) -> None:
    """Check that what people read is one line of bounded length without a secret."""
    assert error.message.isprintable()
    assert len(error.message) < 700
    assert KEY not in error.message
    assert "hush" not in error.message


@given(damaged(BODIES), STATUSES, st.sampled_from(sorted(READERS)))
@searching(300)
def test_damaged_bodies_are_values_or_errors_of_ours(wreck: Wreck, status: int, call: str) -> None:
    """Every reader takes every damaged body, deep ones and absurd numbers among them, and raises nothing else."""
    reader, kind = READERS[call]
    try:
        assert isinstance(reader(Answer(status, wreck.data)), kind)
    except RodinWatchdError as error:
        check_told(error)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("call", READERS)
def test_odd_bodies_are_values_or_errors_of_ours(name: str, call: str) -> None:
    """The same for each of them as it is, under a status of success."""
    reader, kind = READERS[call]
    try:
        assert isinstance(reader(Answer(201, BODIES[name])), kind)
    except RodinWatchdError as error:
        check_told(error)


# ---- on the wire ----------------------------------------------------------------------------------------------------


def reply(status: int, body: bytes, *headers: str) -> bytes:
    """Return an HTTP answer."""
    head = "\r\n".join((f"HTTP/1.1 {status} Fine", "Content-Type: application/json", *headers))
    length = "" if CHUNKED in headers else f"\r\nContent-Length: {len(body)}"
    return f"{head}{length}\r\n\r\n".encode("latin-1") + body


REPLIES = {
    **{f"{name} 201": reply(201, BODIES[name]) for name in ("submit", "refusal", "status", "list", "balance", "page")},
    **{f"{name} 500": reply(500, BODIES[name]) for name in ("submit", "page")},
    "throttled": reply(429, BODIES["refusal"], "Retry-After: 120", "Connection: close"),
    "dated": reply(503, b"", "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"),
    "moved": reply(302, b"", "Location: http://127.0.0.1:9/elsewhere?x=1"),
    "moved oddly": reply(307, b"", "Location: http://[::1/%zz"),
    "chunked": reply(201, b"1e\r\n" + b'{"balance": 3, "uuid": "u-17"}' + b"\r\n0\r\n\r\n", CHUNKED),
    "packed": reply(200, b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xabV\xca", "Content-Encoding: gzip"),
    "continued": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + reply(201, BODIES["submit"]),
    "old": b"HTTP/0.9\r\n\r\n" + BODIES["submit"],
    "file": reply(200, b"glTF" + bytes(3000)),
    "large file": reply(200, b"glTF" + bytes(2 * LIMIT_BYTES)),
    "many heads": b"HTTP/1.1 200 Fine\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    "long head": b"HTTP/1.1 200 Fine\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "silence": b"",
}


class Vendor:
    """A server that gives the next answer as it was told, whoever calls, and closes the connection."""

    def __init__(self) -> None:
        self.answer = b""

    def __call__(self, conversation: Conversation) -> None:
        """Read a request, however long, and answer it."""
        conversation.request()
        conversation.send(self.answer)


@contextmanager
def calling(url: str) -> Iterator[RodinClient]:
    """Give a client of its own: no connection of an example before."""
    with closing(RodinClient(url, KEY, timeouts=Timeouts(5, 5), max_calls=1)) as client:
        yield client


@pytest.fixture(scope="module")
def vendor() -> Iterator[tuple[Vendor, str]]:
    """Give a server, and its address."""
    vendor = Vendor()
    with ScriptedServer(vendor) as server:
        yield vendor, server.url


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Upload, Upload]:
    """Give a model and an image."""
    folder = tmp_path_factory.mktemp("uploads")
    made = []
    for name in ("model.glb", "image.png"):
        data = name.encode() * 50
        (folder / name).write_bytes(data)
        made.append(
            Upload(
                folder / name, len(data), hashlib.sha256(data).hexdigest(), name.partition(".")[0], name, "image/png"
            )
        )
    return made[0], made[1]


@given(damaged(REPLIES))
@example(Wreck("moved oddly", (), REPLIES["moved oddly"]))
@example(Wreck("many heads", (), REPLIES["many heads"]))
@searching(80)
def test_a_submit_is_never_repeated_whatever_comes_back(
    vendor: tuple[Vendor, str], uploads: tuple[Upload, Upload], wreck: Wreck
) -> None:
    """Once the last bytes have left, there is an answer to be kept, or the outcome is unknown; and nothing else."""
    vendor[0].answer = wreck.data
    left: list[bool] = []
    with calling(vendor[1]) as client:
        try:
            answer = client.submit(
                "/api/v2/rodin_texture_only", uploads, (("prompt", "oak"),), lambda: left.append(True)
            )
        except OutcomeUnknownError as error:
            check_told(error)
        else:
            assert len(answer.body) <= wire.BODY_LIMIT_BYTES + 64 * 1024
            assert KEY.encode() not in answer.body
            assert 0 <= (answer.retry_after_seconds or 0) <= RETRY_AFTER_LIMIT_SECONDS
    assert left == [True]


@given(damaged(REPLIES), st.sampled_from(["status", "links", "balance"]))
@searching(120)
def test_a_free_call_gives_a_value_or_an_error_of_ours(vendor: tuple[Vendor, str], wreck: Wreck, call: str) -> None:
    """Whatever the server sends: heads without end, cut bodies, wrong lengths, two answers at once."""
    vendor[0].answer = wreck.data
    with calling(vendor[1]) as client:
        calls = {
            "status": lambda: client.status("sub-key-1"),
            "links": lambda: client.links("u"),
            "balance": client.balance,
        }
        try:
            assert isinstance(calls[call](), (wire.TaskStatus, tuple, Decimal))
        except RodinWatchdError as error:
            check_told(error)


@given(damaged(REPLIES))
@example(Wreck("moved oddly", (), REPLIES["moved oddly"]))
@searching(120)
def test_a_download_is_whole_or_not_there(
    vendor: tuple[Vendor, str], tmp_path_factory: pytest.TempPathFactory, wreck: Wreck
) -> None:
    """What lies at the destination has the size and the digest that are told; after an error nothing does."""
    vendor[0].answer = wreck.data
    target = tmp_path_factory.getbasetemp() / "result.glb"
    with calling(vendor[1]) as client:
        try:
            size, digest = client.fetch(Link("a.glb", f"{vendor[1]}/a.glb?sig=hush"), target, LIMIT_BYTES)
        except RodinWatchdError as error:
            check_told(error)
            assert not target.exists()
        else:
            data = target.read_bytes()
            assert (size, digest) == (len(data), hashlib.sha256(data).hexdigest())
            assert 0 <= size <= LIMIT_BYTES
            target.unlink()
    assert not list(Path(target.parent).glob("*.part"))
