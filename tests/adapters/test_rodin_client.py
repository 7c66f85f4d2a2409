"""Tests for the calls to the Rodin API, against scripted servers on loopback."""

from __future__ import annotations

import gc
import gzip
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import certifi
import pytest
from scripted_server import TIMEOUT_SECONDS, Conversation, Script, ScriptedServer, answering, response

from rodin_watchd import __version__
from rodin_watchd.adapters.rodin_client import RodinClient, Route, Timeouts, upload
from rodin_watchd.adapters.rodin_client.upload import Upload
from rodin_watchd.core import wire
from rodin_watchd.core.wire import TaskState
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    ConfigError,
    DiskError,
    DownloadError,
    KeyRefusedError,
    NetworkError,
    OutcomeUnknownError,
    RodinWatchdError,
    Scope,
    TaskLostError,
    ThrottledError,
    VendorAnswerError,
    VendorRefusedError,
)
from rodin_watchd.model import Link, Task

KEY = "sk-very-secret-0123456789"
TIMEOUTS = Timeouts(connect_seconds=5, read_seconds=TIMEOUT_SECONDS)
SAMPLES = Path(__file__).parent.parent / "samples"
IMPATIENT = Timeouts(connect_seconds=1000, read_seconds=0.2)
PATH = "/api/v2/rodin_texture_only"
FIELDS = (("prompt", "rusty röst"), ("seed", "7"))
ACCEPTED = b'{"error": null, "uuid": "task-1", "jobs": {"uuids": ["j"], "subscription_key": "sub"}}'
CLOSING = re.compile(rb"\r\n--[0-9a-f]{32}--\r\n\Z")


def client_for(
    url: str, *, key: str = KEY, timeouts: Timeouts = TIMEOUTS, verify: Literal[True] | str = True, max_calls: int = 4
) -> RodinClient:
    """Make a client."""
    return RodinClient(url, key, timeouts=timeouts, max_calls=max_calls, route=Route(verify=verify))


def upload_of(path: Path, content: bytes, kind: str) -> Upload:
    """Write a file and describe it."""
    path.write_bytes(content)
    return Upload(path, len(content), hashlib.sha256(content).hexdigest(), kind.partition("/")[0], path.name, kind)


@pytest.fixture
def model(tmp_path: Path) -> Upload:
    """Return a model of a few blocks, whose content holds what looks like boundaries."""
    return upload_of(tmp_path / "Stühle von Anna.GLB", b"\r\n----\r\n" + os.urandom(700_000), "model/gltf-binary")


@pytest.fixture
def image(tmp_path: Path) -> Upload:
    """Return an image."""
    return upload_of(tmp_path / "geheim.png", b"\x89PNG" + os.urandom(30_000), "image/png")


def nothing() -> None:
    """Agree to the closing boundary."""


def never() -> None:
    """Must not be asked."""
    raise AssertionError("the closing boundary was asked for")


def names_in(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


def parts_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """Take a multipart body apart, by the RFC: the head and the content of each part."""
    delimiter = b"\r\n" + body[: body.index(b"\r\n")]
    pieces = (b"\r\n" + body).split(delimiter)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    split = [piece.removeprefix(b"\r\n").partition(b"\r\n\r\n") for piece in pieces[1:-1]]
    return [(head, content) for head, _, content in split]


# ---- submit: what is sent -------------------------------------------------------------------------------------------


def test_a_submit_sends_the_set_as_documented(model: Upload, image: Upload) -> None:
    """The parts, their heads and their contents, the length, the key and a connection of its own."""
    with ScriptedServer(answering(response(201, ACCEPTED))) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    (request,) = server.requests
    assert request.line == f"POST {PATH} HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["connection"] == "close"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["user-agent"] == f"rodin-watchd/{__version__}"
    assert "transfer-encoding" not in request.headers
    assert request.headers["content-type"].endswith(f"boundary={request.body[2:34].decode()}")
    assert parts_of(request.body) == [
        (b'Content-Disposition: form-data; name="prompt"', "rusty röst".encode()),
        (b'Content-Disposition: form-data; name="seed"', b"7"),
        (
            b'Content-Disposition: form-data; name="model"; filename="model.glb"\r\nContent-Type: model/gltf-binary',
            model.path.read_bytes(),
        ),
        (
            b'Content-Disposition: form-data; name="image"; filename="image.png"\r\nContent-Type: image/png',
            image.path.read_bytes(),
        ),
    ]
    assert wire.read_submit(answer, 5.0) == Task("task-1", "sub", 5.0)


def test_a_submit_may_have_several_files_of_a_name_or_none(image: Upload) -> None:
    """In their order; and texts alone are a whole body, each with its own value and nothing more."""
    with ScriptedServer(*[answering(response(201, ACCEPTED))] * 2) as server, closing(client_for(server.url)) as client:
        views = [replace(image, part="images") for _ in range(3)]
        client.submit("/api/v2/rodin", views, FIELDS, nothing)
        left: list[bool] = []
        client.submit("/api/v2/rodin", (), FIELDS, lambda: left.append(True))
    several, texts = server.requests
    assert several.line == texts.line == "POST /api/v2/rodin HTTP/1.1"
    assert [head.split(b";")[1] for head, _ in parts_of(several.body)][2:] == [b' name="images"'] * 3
    assert [content for _, content in parts_of(several.body)][2:] == [image.path.read_bytes()] * 3
    assert parts_of(texts.body) == [
        (b'Content-Disposition: form-data; name="prompt"', "rusty röst".encode()),
        (b'Content-Disposition: form-data; name="seed"', b"7"),
    ]
    assert texts.headers["content-length"] == str(len(texts.body))
    assert left == [True]


def test_each_submit_has_a_connection_of_its_own(model: Upload, image: Upload) -> None:
    """No kept connection is used, so none can have been closed by the other side in the meantime."""
    kept = answering(response(200, b'{"balance": 1}'), response(201, ACCEPTED))
    with ScriptedServer(kept, answering(response(201, ACCEPTED))) as server, closing(client_for(server.url)) as client:
        client.balance()
        client.submit(PATH, (model, image), (), nothing)
        client.submit(PATH, (model, image), (), nothing)
        client.close()
    assert [len(conversation.requests) for conversation in server.conversations] == [1, 1, 1]


def test_nothing_but_the_closing_line_is_withheld(model: Upload, image: Upload) -> None:
    """When `before_closing` is called, the server can have all but the closing boundary line, and no byte of that."""
    seen: list[bytes] = []

    def before_closing() -> None:
        end = image.path.read_bytes()
        seen.append(server.conversation().wait_for(lambda data: data.endswith(end)))

    with ScriptedServer(answering(response(201, ACCEPTED))) as server, closing(client_for(server.url)) as client:
        client.submit(PATH, (model, image), FIELDS, before_closing)
    (before,) = seen
    body = server.requests[0].body
    rest = body[len(before.partition(b"\r\n\r\n")[2]) :]
    assert CLOSING.fullmatch(rest)
    assert body.endswith(image.path.read_bytes() + rest)


def test_the_closing_line_is_in_no_block_before(model: Upload, image: Upload) -> None:
    """Whatever the size of the blocks, the closing line is handed out alone, after `before_closing` has returned."""
    for size in (1 << 16, 699_999, 1 << 22):
        handed = bytearray()
        at_call: list[int] = []
        with upload.UploadBody((model, image), FIELDS, partial(note_length, handed, at_call)) as body:
            while block := body.read(size):
                handed += block
            assert body.read(size) == b""
            assert len(body) == len(handed)
        assert CLOSING.fullmatch(bytes(handed[at_call[0] :]))
        assert len(at_call) == 1


def note_length(handed: bytearray, lengths: list[int]) -> None:
    """Agree to the closing boundary, and note what was handed out before it."""
    lengths.append(len(handed))


class StopAskedError(Exception):
    """What a test raises instead of agreeing."""


@pytest.mark.parametrize(
    "error", [StopAskedError("stop"), BrokenPipeError("stop"), ConnectionResetError(104, "x"), StopIteration()]
)
def test_an_abort_never_sends_the_closing_line(model: Upload, image: Upload, error: Exception) -> None:
    """What `before_closing` raises comes out unchanged where the server says nothing; the closing line is never sent."""

    def before_closing() -> None:
        raise error

    def script(conversation: Conversation) -> None:
        while not conversation.received.endswith(image.path.read_bytes()):
            assert conversation.take()
        conversation.take_until_end()

    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        with pytest.raises(type(error)) as caught:
            client.submit(PATH, (model, image), FIELDS, before_closing)
        assert caught.value is error
        assert server.conversation().ended.wait(TIMEOUT_SECONDS)
        received = server.conversation().received
    boundary = re.search(rb"boundary=([0-9a-f]{32})", received)
    assert boundary
    assert b"--" + boundary[1] + b"--" not in received
    assert received.endswith(image.path.read_bytes())


@pytest.mark.parametrize("change", ["content", "longer", "shorter"])
@pytest.mark.parametrize("which", ["model", "image"])
def test_a_set_that_changed_is_never_closed(model: Upload, image: Upload, which: str, change: str) -> None:
    """Other bytes, more bytes or fewer bytes than announced: the closing line is not even asked for."""
    victim = model if which == "model" else image
    content = victim.path.read_bytes()
    changed = {"content": content[:100] + bytes([content[100] ^ 1]) + content[101:], "longer": content + b"x"}
    victim.path.write_bytes(changed.get(change, content[:-1]))
    with (
        ScriptedServer(Conversation.take_until_end) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(ChangedWhileTakenError, match=victim.filename),
    ):
        client.submit(PATH, (model, image), FIELDS, never)


def test_a_set_that_cannot_be_read_is_the_disks_fault(model: Upload, image: Upload, tmp_path: Path) -> None:
    """A missing file, a symbolic link and a folder are never sent, and no set is to blame."""
    link, folder = tmp_path / "link.png", tmp_path / "folder.png"
    link.symlink_to(image.path)
    folder.mkdir()
    with ScriptedServer(Conversation.take_until_end) as server, closing(client_for(server.url)) as client:
        for path in (tmp_path / "missing.png", link, folder):
            with pytest.raises(DiskError):
                client.submit(PATH, (model, replace(image, path=path)), FIELDS, never)


# ---- submit: what comes back ----------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_was_not_submitted_to(model: Upload, image: Upload) -> None:
    """A name that does not resolve and a port that refuses are network errors, before anything was asked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for url, reason in ((f"http://127.0.0.1:{port}", "refuses"), ("https://rodin.invalid", "resolved")):
        with closing(client_for(url)) as client, pytest.raises(NetworkError, match=reason):
            client.submit(PATH, (model, image), FIELDS, never)


def read_some(conversation: Conversation) -> None:
    """Read the head and no more."""
    conversation.head()


def read_some_and_reset(conversation: Conversation) -> None:
    """Read the head and break the connection."""
    conversation.head()
    conversation.reset()


@pytest.mark.parametrize("script", [read_some, read_some_and_reset])
def test_a_break_before_the_closing_line_is_no_submit(tmp_path: Path, image: Upload, script: Script) -> None:
    """The connection ends while the body is on its way: nothing was submitted."""
    large = upload_of(tmp_path / "large.glb", bytes(30_000_000), "model/gltf-binary")
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client, pytest.raises(NetworkError):
        client.submit(PATH, (large, image), FIELDS, never)


def test_a_server_that_takes_nothing_does_not_hold_a_submit(tmp_path: Path, image: Upload) -> None:
    """A block that is not taken in time ends the upload."""
    large = upload_of(tmp_path / "large.glb", bytes(30_000_000), "model/gltf-binary")
    done = threading.Event()
    with ScriptedServer(lambda _: done.wait(TIMEOUT_SECONDS)) as server, ExitStack() as stack:
        stack.callback(done.set)
        client = stack.enter_context(closing(client_for(server.url, timeouts=IMPATIENT)))
        with pytest.raises(NetworkError, match="too long"):
            client.submit(PATH, (large, image), FIELDS, never)


LINUX_TELLS = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what the other side has taken")


def narrow(server: ScriptedServer) -> None:
    """Let the server's system take only little that the server does not read."""
    server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@LINUX_TELLS
@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_still_to_be_sent_is_no_unknown_outcome(
    certificate: tuple[Path, Path], tls: ssl.SSLContext, model: Upload, image: Upload, encrypted: bool
) -> None:
    """A set that fits into the buffers of this machine, and that the other side does not take: nobody asks for its end."""
    done = threading.Event()
    server = ScriptedServer(lambda _: done.wait(TIMEOUT_SECONDS), tls=tls if encrypted else None)
    narrow(server)
    with server, ExitStack() as stack:
        stack.callback(done.set)
        client = stack.enter_context(closing(client_for(server.url, timeouts=IMPATIENT, verify=str(certificate[0]))))
        with pytest.raises(NetworkError, match="too long"):
            client.submit(PATH, (model, image), FIELDS, never)


@LINUX_TELLS
def test_an_early_refusal_is_read_while_the_rest_is_sent(model: Upload, image: Upload) -> None:
    """A server that answers and closes before it has taken the set is heard, and nobody asks for the set's end."""

    def script(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(response(413, b'{"error": null, "message": "early"}', "Connection: close"))
        conversation.sock.shutdown(socket.SHUT_WR)
        conversation.ended.wait(TIMEOUT_SECONDS)

    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        narrow(server)
        answer = client.submit(PATH, (model, image), FIELDS, never)
        server.conversation().ended.set()
    assert answer.status == 413


@pytest.mark.parametrize("status", [201, 302, 307, 401, 413, 429, 503])
def test_an_early_answer_is_returned(tmp_path: Path, image: Upload, status: int) -> None:
    """A server that answers and closes before the body is sent is heard, whatever it says: it may have charged."""
    large = upload_of(tmp_path / "large.glb", bytes(30_000_000), "model/gltf-binary")

    def script(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(
            response(status, b'{"error": null, "message": "early"}', "Connection: close", "Retry-After: 9")
        )
        conversation.sock.shutdown(socket.SHUT_WR)

    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (large, image), FIELDS, never)
    assert (answer.status, answer.retry_after_seconds) == (status, 9.0)


@pytest.mark.parametrize("sent", [b"HTTP/1.1 2", b"HTTP/1.1 201 Created\r\nX: y\r\n", b"SSH-2.0-OpenSSH\r\n\r\n"])
def test_an_early_answer_that_is_cut_is_an_unknown_outcome(tmp_path: Path, image: Upload, sent: bytes) -> None:
    """Something was said of the set, and nobody knows what; only silence proves that nothing was submitted."""
    large = upload_of(tmp_path / "large.glb", bytes(30_000_000), "model/gltf-binary")

    def script(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(sent)
        conversation.sock.shutdown(socket.SHUT_WR)
        conversation.take_until_end()

    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.submit(PATH, (large, image), FIELDS, never)


def then(*steps: Callable[[Conversation], object]) -> Script:
    """Read a whole request, then do these steps."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        for step in steps:
            step(conversation)

    return script


LOST_ANSWERS: dict[str, Script] = {
    "closed": then(),
    "reset": then(Conversation.reset),
    "garbage": then(lambda c: c.send(b"SSH-2.0-OpenSSH\r\n")),
    "half a head": then(lambda c: c.send(b"HTTP/1.1 2")),
    "endless head": then(lambda c: c.send(b"HTTP/1.1 201 Created\r\nX: " + b"x" * 200_000)),
    "bad length": then(lambda c: c.send(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}")),
}


@pytest.mark.parametrize("script", LOST_ANSWERS.values(), ids=LOST_ANSWERS)
def test_a_lost_answer_is_an_unknown_outcome(model: Upload, image: Upload, script: Script) -> None:
    """After the closing line has left, no break of the line says whether the set was accepted."""
    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError) as caught,
    ):
        client.submit(PATH, (model, image), FIELDS, nothing)
    assert len(server.conversations) == 1
    assert caught.value.problem.scope is Scope.SET


def until_the_client_leaves(send: bytes) -> Script:
    """Send this again and again until the client has gone."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.sock.settimeout(0.02)
        while not conversation.ended.is_set():
            conversation.send(send)
            try:
                if not conversation.sock.recv(1):
                    return
            except TimeoutError:
                continue

    return script


INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nX-Queue: 3\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nContent-Length: 7\r\n\r\n",
    b"HTTP/1.1 199\r\n\r\n",
)
"""Answers that are none yet (RFC 9110, section 15.2)."""


def in_packets(conversation: Conversation, *packets: bytes) -> None:
    """Send these bytes in packets of their own; the reader may still find several at once."""
    conversation.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for packet in packets:
        conversation.send(packet)


@pytest.mark.parametrize("interim", [*INTERIM, b"".join(INTERIM) * 50], ids=range(5))
def test_interim_answers_do_not_hide_the_paid_one(model: Upload, image: Upload, interim: bytes) -> None:
    """Any number of 1xx comes before the final answer, whole or split over packets: the accepted task is not lost."""
    final = response(201, ACCEPTED)
    whole = then(lambda c: c.send(interim + final))
    split = then(lambda c: in_packets(c, interim[:11], interim[11:-3], interim[-3:] + final[:5], final[5:]))
    with ScriptedServer(whole, split) as server, closing(client_for(server.url)) as client:
        answers = [client.submit(PATH, (model, image), FIELDS, nothing) for _ in range(2)]
    assert [wire.read_submit(answer, 0.0).uuid for answer in answers] == ["task-1"] * 2
    assert {answer.status for answer in answers} == {201}


def test_interim_answers_come_before_the_set_was_sent(tmp_path: Path, image: Upload) -> None:
    """One that comes during the upload neither ends it nor answers it; an answer behind it is heard, nothing is unclear."""
    large = upload_of(tmp_path / "large.glb", bytes(30_000_000), "model/gltf-binary")

    def patient(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(b"".join(INTERIM))
        conversation.swallow()
        conversation.send(response(201, ACCEPTED))

    def refusing(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(b"".join(INTERIM) + response(413, b"{}", "Connection: close"))
        conversation.sock.shutdown(socket.SHUT_WR)

    def leaving(conversation: Conversation) -> None:
        conversation.head()
        conversation.send(b"".join(INTERIM))

    with ScriptedServer(patient, refusing, leaving) as server, closing(client_for(server.url)) as client:
        assert wire.read_submit(client.submit(PATH, (large, image), FIELDS, nothing), 0.0).uuid == "task-1"
        assert client.submit(PATH, (large, image), FIELDS, never).status == 413
        with pytest.raises(OutcomeUnknownError):
            client.submit(PATH, (large, image), FIELDS, never)


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize("send", [SWITCHING, SWITCHING + response(201, ACCEPTED), b"".join(INTERIM)], ids=range(3))
def test_interim_answers_alone_are_an_unknown_outcome(model: Upload, image: Upload, send: bytes) -> None:
    """Another protocol was never asked for; and what only ever promises an answer has given none."""
    with (
        ScriptedServer(then(lambda c: c.send(send))) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.submit(PATH, (model, image), FIELDS, nothing)


def test_an_endless_stream_of_interim_answers_ends(model: Upload, image: Upload) -> None:
    """However fast they come, so many bytes are read and no more: the outcome is unknown."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        while True:
            conversation.send(INTERIM[1] * 1000)

    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.submit(PATH, (model, image), FIELDS, nothing)


def test_interim_answers_hide_no_free_call_and_no_result(tmp_path: Path) -> None:
    """Status, links, balance and the file host are read past them, on one kept connection."""
    hints = b"".join(INTERIM)
    script = answering(
        hints + response(200, b'{"jobs": [{"uuid": "j", "status": "Done"}]}'),
        hints + response(200, b'{"list": [{"url": "http://127.0.0.1:1/a.glb", "name": "a.glb"}]}'),
        hints + response(200, b'{"balance": 11.5}'),
    )
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        assert client.status("sub").verdict is TaskState.DONE
        assert [link.name for link in client.links("task-1")] == ["a.glb"]
        assert client.balance() == Decimal("11.5")
        client.close()
    assert len(server.conversations) == 1
    assert fetched(answering(hints + response(200, CONTENT)), tmp_path / "a.glb")[0] == len(CONTENT)


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


HEAD = b"HTTP/1.1 201 Created\r\n"
ODD_ANSWERS: dict[str, bytes] = {
    "no length": HEAD + b"\r\n" + ACCEPTED,
    "closes": HEAD + b"Connection: close\r\n\r\n" + ACCEPTED,
    "HTTP/1.0": b"HTTP/1.0 201 Created\r\n\r\n" + ACCEPTED,
    "no reason": b"HTTP/1.1 201\r\nContent-Length: %d\r\n\r\n" % len(ACCEPTED) + ACCEPTED,
    "line feeds": b"HTTP/1.1 201 Created\nContent-Length: %d\n\n" % len(ACCEPTED) + ACCEPTED,
    "chunks": HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(ACCEPTED[:9], ACCEPTED[9:]),
    "trailers": HEAD
    + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    + chunked(ACCEPTED, end=b"0\r\nX: 1\r\nY: 2\r\n\r\n"),
    "chunks without an end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(ACCEPTED, end=b""),
    "gzip": response(201, gzip.compress(ACCEPTED), "Content-Encoding: gzip"),
    "gzip in chunks": HEAD
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(*(gzip.compress(ACCEPTED)[n : n + 7] for n in range(0, 90, 7) if gzip.compress(ACCEPTED)[n : n + 7])),
    "gzip of the transfer": HEAD
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    + chunked(gzip.compress(ACCEPTED)[:20], gzip.compress(ACCEPTED)[20:]),
    "gzip of the transfer, in two fields": HEAD
    + b"Transfer-Encoding: GZIP\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked(gzip.compress(ACCEPTED)),
    "gzip of both": HEAD
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    + chunked(gzip.compress(gzip.compress(ACCEPTED))),
    "gzip of the transfer until the end": HEAD
    + b"Transfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    + gzip.compress(ACCEPTED),
    "a blank line first": b"\r\n" + response(201, ACCEPTED),
    "blank lines after an interim answer": INTERIM[2] + b"\r\n\n" + response(201, ACCEPTED),
    "an interim answer without its end": b"HTTP/1.1 100 Continue\r\n" + response(201, ACCEPTED),
    "an interim field without its end": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n" + response(201, ACCEPTED),
    "small letters": b"http/1.1 102 Processing\r\n\r\n" + response(201, ACCEPTED).replace(b"HTTP/1.1", b"http/1.1"),
    "another version": response(201, ACCEPTED).replace(b"HTTP/1.1", b"HTTP/2"),
    "gzip that is none": response(201, ACCEPTED, "Content-Encoding: gzip"),
    "an encoding nobody knows": response(201, ACCEPTED, "Content-Encoding: shredded"),
    "a mark of byte order": response(201, b"\xef\xbb\xbf" + ACCEPTED),
    "UTF-16": response(201, ACCEPTED.decode().encode("utf-16")),
    "another type": response(201, ACCEPTED, "Content-Type: text/html; charset=nonsense"),
    "many fields": response(201, ACCEPTED, *(f"X-{number}: {number}" for number in range(500))),
    "a long field": response(201, ACCEPTED, f"X: {'x' * 100_000}"),
    "a folded field": response(201, ACCEPTED, "X: 1\r\n Content-Length: 3"),
    "odd cookies": response(201, ACCEPTED, "Set-Cookie: =;;=\xff", "Set-Cookie: a=b; expires=never"),
    "an odd wait": response(201, ACCEPTED, "Retry-After: \xff"),
}


@pytest.mark.parametrize("data", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_a_paid_answer_in_odd_clothes_is_understood(model: Upload, image: Upload, data: bytes) -> None:
    """However a server or a proxy wraps it up: it was accepted and paid for, so its task must not be lost."""
    with ScriptedServer(then(lambda c: c.send(data))) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    assert wire.read_submit(answer, 0.0).uuid == "task-1"


def test_a_refusal_whose_head_was_cut_is_no_answer(model: Upload, image: Upload) -> None:
    """What comes next could have been anything: the outcome is unknown."""
    with (
        ScriptedServer(then(lambda c: c.send(b"HTTP/1.1 429 Too Many Requests\r\nRetry-"))) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.submit(PATH, (model, image), FIELDS, nothing)


@pytest.mark.parametrize("drip", [b"", b"H", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=repr)
def test_a_silent_or_dripping_answer_ends_in_time(model: Upload, image: Upload, drip: bytes) -> None:
    """Silence, and a head that comes byte by byte for ever, end as an unknown outcome and never hold the thread."""
    script = until_the_client_leaves(drip)
    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url, timeouts=IMPATIENT)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        client.submit(PATH, (model, image), FIELDS, nothing)


def test_half_a_head_is_an_unknown_outcome_too(model: Upload, image: Upload) -> None:
    """http.client takes a head that ends early for a whole one; without a body it says nothing."""
    with (
        ScriptedServer(then(lambda c: c.send(b"HTTP/1.1 201 Cre"))) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(OutcomeUnknownError),
    ):
        wire.read_submit(client.submit(PATH, (model, image), FIELDS, nothing), 0.0)


def test_a_cut_answer_is_handed_on_as_far_as_it_came(model: Upload, image: Upload) -> None:
    """A JSON object that came whole is as good as a whole answer, and half of one can only be an unknown outcome."""
    cut = answering(response(201, ACCEPTED[:40], length=500))
    loose = answering(response(201, ACCEPTED, length=500))
    with ScriptedServer(cut, loose) as server, closing(client_for(server.url)) as client:
        first = client.submit(PATH, (model, image), FIELDS, nothing)
        second = client.submit(PATH, (model, image), FIELDS, nothing)
    assert first.body == ACCEPTED[:40]
    with pytest.raises(OutcomeUnknownError):
        wire.read_submit(first, 0.0)
    assert wire.read_submit(second, 0.0).uuid == "task-1"


def test_a_huge_answer_is_not_read_to_its_end(model: Upload, image: Upload) -> None:
    """Nothing much above the limit is ever in memory, and what there is cannot be read."""
    huge = answering(response(201, b" " * 5_000_000 + ACCEPTED))
    with ScriptedServer(huge) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    assert wire.BODY_LIMIT_BYTES < len(answer.body) <= wire.BODY_LIMIT_BYTES + (64 << 10)
    with pytest.raises(OutcomeUnknownError):
        wire.read_submit(answer, 0.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_submit_follows_no_redirect(model: Upload, image: Upload, status: int) -> None:
    """One request is sent, whatever the answer says."""
    moved = answering(response(status, b"", "Location: /api/v2/again"))
    with ScriptedServer(moved) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    assert answer.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 400, 401, 500, 503])
def test_a_complete_answer_is_handed_on_raw(model: Upload, image: Upload, status: int) -> None:
    """Status, body and wait come out as they came in, for the journal."""
    script = answering(response(status, b"<html>\xff", "Retry-After: 5"))
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    assert (answer.status, answer.body, answer.retry_after_seconds) == (status, b"<html>\xff", 5.0)


def test_sixteen_uploads_at_once_need_little_memory(tmp_path: Path, image: Upload) -> None:
    """The memory of an upload is a few blocks, whatever the size of its files."""
    size = 8_000_000
    large = upload_of(tmp_path / "large.glb", bytes(size), "model/gltf-binary")
    gate = threading.Barrier(16)

    def script(conversation: Conversation) -> None:
        conversation.swallow()
        conversation.send(response(201, ACCEPTED))

    def together() -> None:
        gate.wait(TIMEOUT_SECONDS)

    def submit(_: int) -> int:
        return client.submit(PATH, (large, image), FIELDS, together).status

    gc.collect()
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client, ThreadPoolExecutor(16) as pool:
        tracemalloc.start()
        statuses = list(pool.map(submit, range(16)))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert statuses == [201] * 16
    assert peak < 2 * size  # sixteen whole files are 128 MB


# ---- submit: an answer before the end -------------------------------------------------------------------------------


def shut(conversation: Conversation) -> None:
    """Send no more, and read what comes; under TLS without the notice that it is so."""
    socket.socket.shutdown(conversation.sock, socket.SHUT_WR)
    conversation.take_until_end()


def notify_and_close(conversation: Conversation) -> None:
    """End TLS as it should be ended, if there is any, and close."""
    if isinstance(conversation.sock, ssl.SSLSocket):
        conversation.sock.settimeout(0.2)
        conversation.sock.unwrap()
    conversation.sock.close()


def stay(conversation: Conversation) -> None:
    """Read no more, and keep the connection until the client has gone."""
    conversation.ended.wait(TIMEOUT_SECONDS)


ENDS: dict[str, Callable[[Conversation], object]] = {
    "close": lambda conversation: conversation.sock.close(),
    "notice": notify_and_close,
    "reset": Conversation.reset,
    "half-close": shut,
    "stay": stay,
    "read on": Conversation.take_until_end,
}
PARTS = {"head": 0.0, "half": 0.5, "all but the last": 1.0}


def answering_early(answer: bytes, part: float, end: Callable[[Conversation], object]) -> Script:
    """Return a script that answers when it has read a part of the body, and then ends in its own way."""

    def script(conversation: Conversation) -> None:
        conversation.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a reset loses what waits to be sent
        _, headers = conversation.head()
        start = conversation.received.index(b"\r\n\r\n") + 4
        while len(conversation.received) < start + part * (int(headers["content-length"]) - 40):
            assert conversation.take()
        conversation.send(answer)
        end(conversation)

    return script


Early: TypeAlias = Callable[[ExitStack, Script, Timeouts], tuple[ScriptedServer, RodinClient]]


@pytest.fixture(params=["plain", "TLS", "through a proxy"])
def early(request: pytest.FixtureRequest, certificate: tuple[Path, Path], tls: ssl.SSLContext) -> Early:
    """Return what starts a server with one script, and a client of it."""

    def begin(stack: ExitStack, script: Script, timeouts: Timeouts) -> tuple[ScriptedServer, RodinClient]:
        def behind(conversation: Conversation) -> None:
            conversation.request()
            conversation.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            conversation.sock = tls.wrap_socket(conversation.sock, server_side=True)
            script(conversation)

        proxied = request.param == "through a proxy"
        server = ScriptedServer(behind if proxied else script, tls=tls if request.param == "TLS" else None)
        narrow(server)
        stack.enter_context(server)
        url, proxies = ("https://rodin.invalid", {"https": server.url}) if proxied else (server.url, {})
        verify = str(certificate[0])
        client = RodinClient(url, KEY, timeouts=timeouts, max_calls=1, route=Route(proxies, verify))

        def end_conversations() -> None:
            for conversation in server.conversations:
                conversation.ended.set()

        stack.callback(end_conversations)
        return server, stack.enter_context(closing(client))

    return begin


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("status", [201, 429])
def test_an_answer_before_the_end_is_never_lost(
    early: Early, tmp_path: Path, image: Upload, status: int, part: float, end: Callable[[Conversation], object]
) -> None:
    """Whatever the connection is made of, and however the server ends it, the answer is returned: it may have charged."""
    model = upload_of(tmp_path / "model.glb", bytes(3_000_000), "model/gltf-binary")
    with ExitStack() as stack:
        _, client = early(stack, answering_early(response(status, ACCEPTED), part, end), TIMEOUTS)
        assert client.submit(PATH, (model, image), FIELDS, nothing).status == status


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_withdrawal_loses_no_answer(
    early: Early, model: Upload, image: Upload, end: Callable[[Conversation], object]
) -> None:
    """The upload is taken back when the server has all but the closing line, and answers in that moment."""
    answered = threading.Event()
    asked = threading.Event()

    def script(conversation: Conversation) -> None:
        while not conversation.received.endswith(image.path.read_bytes()):
            assert conversation.take()
        assert asked.wait(TIMEOUT_SECONDS)
        conversation.send(response(201, ACCEPTED))
        answered.set()
        end(conversation)

    def before_closing() -> None:
        asked.set()
        assert answered.wait(TIMEOUT_SECONDS)
        raise StopAskedError

    with ExitStack() as stack:
        _, client = early(stack, script, TIMEOUTS)
        assert client.submit(PATH, (model, image), FIELDS, before_closing).status == 201


def test_a_set_that_changed_loses_no_answer(early: Early, model: Upload, image: Upload) -> None:
    """The server answers while a set is sent that turns out not to be what was announced."""
    image.path.write_bytes(b"changed")
    with ExitStack() as stack:
        script = answering_early(response(201, ACCEPTED), 0.9, stay)
        _, client = early(stack, script, TIMEOUTS)
        assert client.submit(PATH, (model, image), FIELDS, never).status == 201


UNCLEAR = {
    "half a status line": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 201 Created\r\nX: y\r\n",
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "one byte": b"H",
    "promises": b"".join(INTERIM),
}


@pytest.mark.parametrize("said", UNCLEAR.values(), ids=UNCLEAR)
def test_a_withdrawal_after_something_unreadable_is_unclear(
    early: Early, model: Upload, image: Upload, said: bytes
) -> None:
    """Something was said of the set, and nobody knows what; only silence proves that nothing was submitted."""

    def before_closing() -> None:
        raise StopAskedError

    with ExitStack() as stack:
        _, client = early(stack, answering_early(said, 0.5, lambda c: c.take_until_end()), TIMEOUTS)
        with pytest.raises(OutcomeUnknownError):
            client.submit(PATH, (model, image), FIELDS, before_closing)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_silence_is_no_submit(
    early: Early, tmp_path: Path, image: Upload, end: Callable[[Conversation], object]
) -> None:
    """A server that ends the connection, or stays and reads nothing, and has said nothing: it may be asked again."""

    def before_closing() -> None:
        raise NetworkError

    large = upload_of(tmp_path / "large.glb", bytes(9_000_000), "model/gltf-binary")
    with ExitStack() as stack:
        _, client = early(stack, answering_early(b"", 0.1, end), Timeouts(connect_seconds=5, read_seconds=1))
        with pytest.raises(NetworkError):
            client.submit(PATH, (large, image), FIELDS, before_closing)


# ---- status, links, balance -----------------------------------------------------------------------------------------


def test_the_free_calls_ask_as_documented() -> None:
    """Method, path, body and key of the three calls, all on one kept connection."""
    script = answering(
        response(201, b'{"error": "OK", "jobs": [{"uuid": "j", "status": "Done"}]}'),
        response(201, b'{"list": [{"url": "http://127.0.0.1:1/a.glb?s=1", "name": "a.glb"}]}'),
        response(201, b'{"balance": 11.5}'),
    )
    with ScriptedServer(script) as server, closing(client_for(server.url + "/")) as client:
        assert client.status("sub").verdict is TaskState.DONE
        assert client.links("task-1") == (Link("a.glb", "http://127.0.0.1:1/a.glb?s=1"),)
        assert client.balance() == Decimal("11.5")
        client.close()
    asked = [(request.line, request.body and json.loads(request.body)) for request in server.requests]
    assert asked == [
        ("POST /api/v2/status HTTP/1.1", {"subscription_key": "sub"}),
        ("POST /api/v2/download HTTP/1.1", {"task_uuid": "task-1"}),
        ("GET /api/v2/check_balance HTTP/1.1", b""),
    ]
    assert [request.headers.get("content-type") for request in server.requests] == ["application/json"] * 2 + [None]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert len(server.conversations) == 1


def test_a_base_url_may_have_a_path() -> None:
    """A gateway in front of the API can serve it under a path."""
    with (
        ScriptedServer(answering(response(200, b'{"balance": 1}'))) as server,
        closing(client_for(server.url + "/rodin/")) as client,
    ):
        client.balance()
    assert server.requests[0].line == "GET /rodin/api/v2/check_balance HTTP/1.1"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"", KeyRefusedError),
        (404, b"", TaskLostError),
        (429, b"", ThrottledError),
        (503, b"<html>", VendorAnswerError),
        (302, b"", VendorAnswerError),
        (200, b"<html>", VendorAnswerError),
    ],
)
def test_a_free_call_says_whose_fault_it_is(status: int, body: bytes, kind: type[RodinWatchdError]) -> None:
    """An answer becomes the error that `core.wire` reads in it, after one request."""
    script = answering(response(status, body, "Retry-After: 4", "Location: /elsewhere"))
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client, pytest.raises(kind) as caught:
        client.status("sub")
    assert caught.value.retry_after_seconds == 4.0
    assert len(server.requests) == 1


@pytest.mark.parametrize("script", [*LOST_ANSWERS.values(), answering(response(200, b'{"bal', length=90))])
def test_a_free_call_that_breaks_concerns_its_set_alone(script: Script) -> None:
    """Once there was a connection, one call that breaks says nothing of the others; nothing below repeats it."""
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client, pytest.raises(VendorAnswerError):
        client.balance()
    assert len(server.conversations) == 1


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"])
def test_a_dripping_answer_to_a_free_call_ends_in_time(start: bytes) -> None:
    """A byte now and then, in the head or in the body, does not hold the thread for ever."""

    def script(conversation: Conversation) -> None:
        conversation.sock.sendall(start)
        until_the_client_leaves(b"x")(conversation)

    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url, timeouts=IMPATIENT)) as client,
        pytest.raises(VendorAnswerError),
    ):
        client.balance()


def test_many_threads_share_a_client() -> None:
    """Calls from several threads at once do not mix up their answers."""

    def script(conversation: Conversation) -> None:
        while True:
            question = json.loads(conversation.request().body)
            status = {"status": question["subscription_key"]}
            conversation.send(response(200, json.dumps({"jobs": [status]}).encode()))

    with ScriptedServer(script) as server, closing(client_for(server.url)) as client, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(client.status, map(str, range(100))))
        client.close()
    assert [answer.statuses for answer in answers] == [(str(number),) for number in range(100)]
    assert len(server.conversations) <= 4


# ---- downloads ------------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 12_000


def fetched(
    script: Script, destination: Path, *, limit: int = 10_000_000, path: str = "/a?sig=hush"
) -> tuple[int, str]:
    """Fetch one link from a server with this script."""
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        try:
            return client.fetch(Link("a.glb", server.url + path), destination, limit)
        finally:
            client.close()


def test_a_result_is_downloaded_whole(tmp_path: Path) -> None:
    """Size and digest are of what lies at the destination, and the key did not travel."""
    with (
        ScriptedServer(answering(response(200, CONTENT, "Set-Cookie: a=b"))) as server,
        closing(client_for(server.url)) as client,
    ):
        got = client.fetch(Link("a.glb", server.url + "/a?sig=hush"), tmp_path / "a.glb", len(CONTENT))
    assert got == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert (tmp_path / "a.glb").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.glb"]
    (request,) = server.requests
    assert request.line == "GET /a?sig=hush HTTP/1.1"
    assert set(request.headers) == {"host", "user-agent", "accept-encoding"}
    assert request.headers["accept-encoding"] == "identity"


def test_a_chunked_result_is_downloaded_whole(tmp_path: Path) -> None:
    """Chunks tell their own end, so no length is needed."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    script = answering(head + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    assert fetched(script, tmp_path / "a") == (7, hashlib.sha256(b"abcdefg").hexdigest())
    assert (tmp_path / "a").read_bytes() == b"abcdefg"


@pytest.mark.parametrize(
    "named", ["", "identity", "Identity, ", "UTF-8", "iso-8859-1", "binary", "none", "aws-chunked"]
)
def test_a_word_that_names_no_coding_keeps_no_result_away(tmp_path: Path, named: str) -> None:
    """File hosts hand out what somebody typed in beside the file; the bytes are as they are."""
    fetched(answering(response(200, CONTENT, f"Content-Encoding: {named}")), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_result_that_came_through_a_proxy_is_taken(tmp_path: Path) -> None:
    """203: a proxy between us has changed something about the answer; it is whole by its length."""
    fetched(answering(response(203, CONTENT)), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


BAD_DOWNLOADS: dict[str, tuple[bytes, str]] = {
    "cut": (response(200, CONTENT, length=len(CONTENT) + 1), "incomplete"),
    "cut chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", "incomplete"),
    "chunks without an end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "incomplete",
    ),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nabc", "no length"),
    "empty": (response(200), "nothing"),
    "too large by its length": (response(200, b"", length=10_000_001), "limit"),
    "too large in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n989681\r\n" + bytes(10_000_001) + b"\r\n0\r\n\r\n",
        "limit",
    ),
    "encoded": (response(200, b"abc", "Content-Encoding: gzip"), "encoding"),
    "encoded twice": (response(200, b"abc", "Content-Encoding: identity, BR"), "encoding"),
    "partial": (response(206, b"abc"), "HTTP 206"),
    "expired 403": (response(403, b"<Error/>"), "expired"),
    "expired 404": (response(404), "expired"),
    "expired 410": (response(410), "expired"),
    "broken": (response(503), "HTTP 503"),
    "not modified": (response(304), "HTTP 304"),
    "to plain http": (response(302, b"", "Location: http://f.example/a?sig=hush"), "not https: http://f.example/a"),
    "to a file": (response(302, b"", "Location: file:///etc/passwd"), "not https"),
    "to nowhere": (response(302), "redirected more than 3 times"),
    "garbage": (b"\x00\x01\x02\r\n\r\n", "could not be downloaded"),
    "closed": (b"", "could not be downloaded"),
}


@pytest.mark.parametrize(("data", "reason"), BAD_DOWNLOADS.values(), ids=BAD_DOWNLOADS)
def test_a_result_that_is_not_whole_is_no_result(tmp_path: Path, data: bytes, reason: str) -> None:
    """Nothing is left at the destination, and the error names neither the query nor another set's fault."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(data)

    with pytest.raises(DownloadError, match=reason) as caught:
        fetched(script, tmp_path / "a.glb")
    assert names_in(tmp_path) == []
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def webp() -> bytes:
    """Return a picture whose format has its length."""
    return b"RIFF" + (20).to_bytes(4, "little") + b"WEBPVP8L" + (8).to_bytes(4, "little") + b"/" + bytes(7)


@pytest.mark.parametrize("name", ["model.glb", "preview.webp"])
def test_a_result_that_ends_with_the_connection_is_taken_where_its_format_shows_its_end(
    tmp_path: Path, name: str
) -> None:
    """Some file hosts say no length: of a GLB or a picture its own content does. One byte less is no result."""
    content = (SAMPLES / "pmndrs.glb").read_bytes() if name.endswith("glb") else webp()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    got = fetched(answering(head + content), tmp_path / name)
    assert got == (len(content), hashlib.sha256(content).hexdigest())
    for cut in (content[:-1], content[: len(content) // 2]):
        with pytest.raises(DownloadError, match="no length"):
            fetched(answering(head + cut), tmp_path / f"cut-{name}")
    assert names_in(tmp_path) == [name]


def test_a_busy_file_host_says_when_to_come_back(tmp_path: Path) -> None:
    """Retry-After holds for downloads as for all calls."""
    with pytest.raises(DownloadError) as caught:
        fetched(answering(response(503, b"busy", "Retry-After: 77")), tmp_path / "a")
    assert caught.value.retry_after_seconds == 77


@pytest.fixture
def far(tmp_path: Path) -> Iterator[RodinClient]:
    """Return a client that calls public addresses alone for results."""
    assert tmp_path.is_dir()
    route = Route(proxies={}, private_links=False)
    with closing(RodinClient("https://api.example", KEY, timeouts=IMPATIENT, max_calls=2, route=route)) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "[::1]", "[fd00::7]", "localhost", "0x7f.1", "2130706433"]
)
def test_a_link_to_a_private_address_is_not_called(tmp_path: Path, far: RodinClient, host: str) -> None:
    """A link could make us fetch what only this machine or its network can reach."""
    with pytest.raises(DownloadError, match="private network") as caught:
        far.fetch(Link("a.glb", f"https://{host}/a?sig=hush"), tmp_path / "a.glb", 1_000)
    assert "allow_private_links" in caught.value.command_given
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("addresses", [["10.0.0.8"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_stands_for_a_private_address_is_not_called(
    tmp_path: Path, far: RodinClient, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    """Any of its addresses could be the one that is called."""
    known_as(monkeypatch, [addresses])
    with pytest.raises(DownloadError, match="private network"):
        far.fetch(Link("a.glb", "https://files.example/a"), tmp_path / "a.glb", 1_000)


def test_the_address_that_was_checked_is_the_one_that_is_called(
    tmp_path: Path, far: RodinClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that has a private address at the second look-up is not looked up a second time."""
    called: list[str] = []

    def connect(_socket: socket.socket, address: tuple[str, int]) -> None:
        called.append(address[0])
        raise ConnectionRefusedError

    known_as(monkeypatch, [["93.184.216.34"], ["127.0.0.1"]])
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        far.fetch(Link("a.glb", "https://files.example/a"), tmp_path / "a.glb", 1_000)
    assert called == ["93.184.216.34"]


def known_as(monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]) -> None:
    """Let the next look-ups of the name of the file host have these addresses, one after the other."""
    look_up = socket.getaddrinfo

    def addresses(host: str, port: int, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the system's
        if host != "files.example":
            return look_up(host, port, *args, **options)
        if options.get("flags"):
            raise socket.gaierror
        return [answer for address in answers.pop(0) for answer in look_up(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)


def test_a_dripping_download_ends_in_time(tmp_path: Path) -> None:
    """A byte now and then does not hold the thread for ever."""

    def script(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
        until_the_client_leaves(b"x")(conversation)

    with (
        ScriptedServer(script) as server,
        closing(client_for(server.url, timeouts=IMPATIENT)) as client,
        pytest.raises(DownloadError, match="too long"),
    ):
        client.fetch(Link("a.glb", server.url), tmp_path / "a.glb", 10_000_000)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_file_host_may_redirect_a_little(tmp_path: Path, status: int) -> None:
    """Three redirects are followed, to relative and to whole addresses."""
    hops = [response(status, b"", f"Location: {place}") for place in ("b?sig=1", "/c/d", "e")]
    scripts = [answering(data) for data in (*hops, response(200, CONTENT))]
    with ScriptedServer(*scripts) as server, closing(client_for(server.url)) as client:
        client.fetch(Link("a.glb", server.url + "/x/a"), tmp_path / "a.glb", len(CONTENT))
    assert (tmp_path / "a.glb").read_bytes() == CONTENT
    asked = [request.line.split()[1] for request in server.requests]
    assert asked == ["/x/a", "/x/b?sig=1", "/c/d", "/c/e"]


@pytest.mark.parametrize("place", ["http://[::1/a", "http://[", "//[x]y/", "https://a\u2100b/x"])
def test_a_redirect_to_what_is_no_address_is_refused(tmp_path: Path, place: str) -> None:
    """A file host that sends us to nonsense is to blame, and nothing in us breaks."""
    hop = response(302, b"", f"Location: {place.encode().decode('latin-1')}")
    with (
        ScriptedServer(answering(hop)) as server,
        closing(client_for(server.url)) as client,
        pytest.raises(DownloadError),
    ):
        client.fetch(Link("a.glb", server.url), tmp_path / "a.glb", 1_000)
    assert names_in(tmp_path) == []


def test_closing_ends_the_connections_that_are_kept(tmp_path: Path) -> None:
    """They end at once, also while an error of an earlier call is still held, and with it what that call used."""

    def script(conversation: Conversation) -> None:
        while True:
            lost = conversation.request().line.split()[1] == "/lost"
            conversation.send(response(503, b"busy") if lost else response(200, b"data"))

    with ScriptedServer(script) as server:
        with closing(client_for(server.url)) as client:
            with pytest.raises(DownloadError) as caught:
                client.fetch(Link("lost", server.url + "/lost"), tmp_path / "lost", 9)
            client.fetch(Link("file", server.url + "/file"), tmp_path / "file", 9)
        assert server.conversation(1).ended.wait(TIMEOUT_SECONDS / 2)
    assert caught.value.problem


def test_a_file_host_that_is_not_there_fails_its_download_alone(tmp_path: Path) -> None:
    """The API may work all the same, and the query stays secret."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a?sig=hush"
    with closing(client_for("http://127.0.0.1:1")) as client, pytest.raises(DownloadError) as caught:
        client.fetch(Link("a.glb", url), tmp_path / "a.glb", 10)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_download_replaces_what_an_earlier_try_left(tmp_path: Path) -> None:
    """A longer rest under the temporary name, and an old result, are overwritten."""
    (tmp_path / "a.glb.part").write_bytes(CONTENT * 2)
    (tmp_path / "a.glb").write_bytes(b"old")
    fetched(answering(response(200, CONTENT)), tmp_path / "a.glb")
    assert (tmp_path / "a.glb").read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.glb"]


def test_a_symbolic_link_is_never_written_through(tmp_path: Path) -> None:
    """What lies under the temporary name may be a trap; the service says that it cannot write."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.glb.part").symlink_to(victim)
    with pytest.raises(DiskError):
        fetched(answering(response(200, CONTENT)), work / "a.glb")
    assert victim.read_bytes() == b"mine"


def test_a_disk_that_cannot_be_written_is_no_sets_fault(tmp_path: Path) -> None:
    """A missing folder, and a device that is full, are disk errors."""
    with pytest.raises(DiskError):
        fetched(answering(response(200, CONTENT)), tmp_path / "missing" / "a.glb")
    (tmp_path / "a.glb").mkdir()
    with pytest.raises(DiskError):
        fetched(answering(response(200, CONTENT)), tmp_path / "a.glb")
    assert names_in(tmp_path) == ["a.glb"]


# ---- TLS, environment, secrets --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for 127.0.0.1 that nobody signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = (folder / "cert.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=scripted", "-addext", "subjectAltName=IP:127.0.0.1,DNS:rodin.invalid", "-days", "2"]
    try:
        subprocess.run([*command, *names, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return files


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """Return the server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_works_when_the_certificate_is_known(
    certificate: tuple[Path, Path], tls: ssl.SSLContext, model: Upload, image: Upload, tmp_path: Path
) -> None:
    """Submit, status and download over HTTPS, with the certificate given as the bundle."""
    script = answering(response(201, ACCEPTED))
    download = answering(response(200, CONTENT))
    poll = answering(response(200, b'{"balance": 1}'))
    with (
        ScriptedServer(script, poll, download, tls=tls) as server,
        closing(client_for(server.url, verify=str(certificate[0]))) as client,
    ):
        assert wire.read_submit(client.submit(PATH, (model, image), FIELDS, nothing), 0.0).uuid == "task-1"
        assert client.balance() == 1
        assert client.fetch(Link("a", server.url), tmp_path / "a", 10_000_000)[0] == len(CONTENT)
    assert len(parts_of(server.requests[0].body)) == 4


def test_certificates_are_loaded_once_for_all_submits_and_anew_when_they_change(
    certificate: tuple[Path, Path],
    tls: ssl.SSLContext,
    model: Upload,
    image: Upload,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading takes longer than all else of a submit; a bundle that an administrator replaces counts from the next one on."""
    loads: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, cafile: str | None = None, capath: str | None = None) -> None:
        loads.append(cafile or capath)
        load(context, cafile, capath)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    bundle = tmp_path / "bundle.pem"
    shutil.copy(certificate[0], bundle)
    script = answering(response(201, ACCEPTED))
    with ScriptedServer(script, tls=tls) as server, closing(client_for(server.url, verify=str(bundle))) as client:
        for _ in range(3):
            client.submit(PATH, (model, image), FIELDS, nothing)
        assert loads == [str(bundle)]
        bundle.write_bytes(certificate[0].read_bytes() * 2)
        client.submit(PATH, (model, image), FIELDS, nothing)
        assert loads == [str(bundle)] * 2
        shutil.copy(certifi.where(), bundle)
        with pytest.raises(NetworkError, match="certificate"):
            client.submit(PATH, (model, image), FIELDS, never)
        bundle.write_bytes(b"no certificates")
        with pytest.raises(NetworkError, match="bundle of CA certificates"):
            client.submit(PATH, (model, image), FIELDS, never)
    assert len({id(conversation) for conversation in server.conversations}) >= 4


def test_an_unknown_certificate_is_no_submit(
    certificate: tuple[Path, Path], tls: ssl.SSLContext, model: Upload, image: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that cannot be verified ends every call before anything is sent, whatever the environment says."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificate[0]))
    with ScriptedServer(Conversation.take_until_end, tls=tls) as server, closing(client_for(server.url)) as client:
        with pytest.raises(NetworkError, match="certificate"):
            client.submit(PATH, (model, image), FIELDS, never)
        with pytest.raises(NetworkError, match="certificate"):
            client.balance()
    assert server.requests == []


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set everything that requests looks up in the environment."""
    (tmp_path / "netrc").write_text("default login eve password hush\n")
    (tmp_path / "netrc").chmod(0o600)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))


@pytest.mark.usefixtures("hostile_environment")
def test_the_environment_changes_nothing_near_this_machine(tmp_path: Path, model: Upload, image: Upload) -> None:
    """No `.netrc` replaces the key or goes to the file host, and no proxy stands before loopback."""
    scripts = [answering(response(200, body)) for body in (b'{"balance": 1}', ACCEPTED, CONTENT)]
    with ScriptedServer(*scripts) as server:
        for number, call in enumerate(("balance", "submit", "fetch")):
            with closing(client_for(server.url)) as client:
                if call == "balance":
                    client.balance()
                elif call == "submit":
                    client.submit(PATH, (model, image), FIELDS, nothing)
                else:
                    client.fetch(Link("a", server.url), tmp_path / "a", 10_000_000)
            assert len(server.requests) == number + 1
    assert [r.headers.get("authorization") for r in server.requests] == [f"Bearer {KEY}", f"Bearer {KEY}", None]


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    """Return a proxy that lets nothing through."""
    with ScriptedServer(answering(response(403))) as server:
        yield server


def test_a_proxy_is_used_for_the_rest_of_the_world(
    proxy: ScriptedServer, model: Upload, image: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment at construction, or the one that was given; it sees a tunnel and never the key."""
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    from_environment = client_for("https://rodin.invalid")
    monkeypatch.delenv("https_proxy")
    given = RodinClient(
        "https://rodin.invalid",
        KEY,
        timeouts=TIMEOUTS,
        max_calls=1,
        route=Route({"https": proxy.url.removeprefix("http://")}),
    )
    for client in (from_environment, given):
        with closing(client), pytest.raises(NetworkError, match="proxy"):
            client.submit(PATH, (model, image), FIELDS, never)
    assert [request.line.rpartition(" ")[0] for request in proxy.requests] == ["CONNECT rodin.invalid:443"] * 2
    assert all("authorization" not in request.headers for request in proxy.requests)


def tunnel(tls: ssl.SSLContext, *responses: bytes) -> Script:
    """Return the script of a proxy that lets a call through, with the API behind it."""

    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        conversation.sock = tls.wrap_socket(conversation.sock, server_side=True)
        answering(*responses)(conversation)

    return script


def test_an_api_elsewhere_is_called_through_the_proxys_tunnel(
    certificate: tuple[Path, Path], tls: ssl.SSLContext, model: Upload, image: Upload, tmp_path: Path
) -> None:
    """A submit goes through the tunnel whole; and an API elsewhere cannot send the service to this machine's ports."""
    link = Link("a.glb", "http://127.0.0.1:1/a.glb")
    links = json.dumps({"list": [{"url": link.url, "name": link.name}]}).encode()
    scripts = (tunnel(tls, response(201, ACCEPTED)), tunnel(tls, response(200, links)))
    with ScriptedServer(*scripts) as server:
        client = RodinClient(
            "https://rodin.invalid",
            KEY,
            timeouts=TIMEOUTS,
            max_calls=1,
            route=Route({"https": server.url}, str(certificate[0])),
        )
        with closing(client):
            assert understood(client, model, image).uuid == "task-1"
            with pytest.raises(VendorAnswerError, match="not a usable https address"):
                client.links("task-1")
            with pytest.raises(DownloadError, match="not https"):
                client.fetch(link, tmp_path / "a.glb", 10)
    connect, submit, _, asked = server.requests
    assert (connect.line.split()[1], "authorization" in connect.headers) == ("rodin.invalid:443", False)
    assert len(parts_of(submit.body)) == 4
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_an_exempt_host_is_called_directly(proxy: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`no_proxy` at construction holds."""
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "example.org,.invalid")
    with closing(client_for("https://rodin.invalid")) as client, pytest.raises(NetworkError, match="resolved"):
        client.balance()
    assert proxy.conversations == []


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example",
        "ftp://127.0.0.1",
        "api.example",
        "",
        "https://u:p@api.example",
        "https://api.example/?x=1",
        "https://api.example/#x",
        "https://",
        "https://*.example",
        "http://127.0.0.1\\@api.example",
    ],
)
def test_a_base_url_must_be_safe(url: str) -> None:
    """Only https, or http on this machine, without user, query and fragment."""
    with pytest.raises(ConfigError, match=r"api\.base_url"):
        client_for(url)


def test_a_bundle_of_certificates_must_be_there(tmp_path: Path) -> None:
    """A wrong path is said at once, not as a broken network later."""
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        client_for("https://api.example", verify=str(tmp_path / "missing.pem"))


@pytest.mark.parametrize(
    "key", ["", " ", "two words", "line\nbreak", "tail\n", "tab\t", "clé-0123456789", "nul\x00", "\u202ekey"]
)
def test_a_key_must_be_one_plain_word(key: str) -> None:
    """Anything that could break a header is refused, and not repeated."""
    with pytest.raises(ConfigError) as caught:
        client_for("https://api.example", key=key)
    assert not key.strip() or key.strip() not in "".join(traceback.format_exception(caught.value))


def understood(client: RodinClient, model: Upload, image: Upload) -> Task:
    """Submit, and read the answer."""
    return wire.read_submit(client.submit(PATH, (model, image), FIELDS, nothing), 0.0)


def test_the_key_and_the_links_never_come_out(
    model: Upload, image: Upload, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of failure is made to happen, with a vendor that repeats the key: no text, answer or log line has it."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": "INVALID_REQUEST", "message": f"bad key {KEY}", "uuid": None}).encode()
    scripts: list[Script] = [answering(response(status, echo)) for status in (200, 400, 401, 404, 429, 500)]
    link = "/a.glb?sig=hush"
    texts = []
    for script in (*scripts, *LOST_ANSWERS.values(), answering(response(302, echo, f"Location: {link}"))):
        with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
            calls: list[Callable[[], object]] = [
                partial(client.submit, PATH, (model, image), FIELDS, nothing),
                partial(understood, client, model, image),
                partial(client.status, "sub"),
                partial(client.links, "task"),
                client.balance,
                partial(client.fetch, Link("a", server.url + link), tmp_path / "missing" / "a", 1_000_000),
            ]
            for call in calls:
                try:
                    texts.append(repr(call()))
                except RodinWatchdError as error:
                    texts += [repr(error), repr(error.problem), *traceback.format_exception(error)]
            texts.append(repr(client))
    assert len(texts) > 100
    everything = "\n".join((*texts, caplog.text))
    assert KEY not in everything
    assert "hush" not in everything


def test_a_subscription_key_is_taken_out_of_the_answer_about_it() -> None:
    """A vendor that repeats the token it was asked about tells nobody: not in its message, not in a status word."""
    token = "eyJ.token/with+odd=signs"  # noqa: S105 - made up
    refusal = json.dumps({"error": "UNKNOWN", "message": f"no such token {token}"}).encode()
    words = json.dumps({"jobs": [{"status": f"odd {token}"}]}).replace("/", "\\/").encode()
    script = answering(response(400, refusal), response(200, words))
    with ScriptedServer(script) as server, closing(client_for(server.url)) as client:
        with pytest.raises(VendorAnswerError, match=r"no such token \[subscription key\]"):
            client.status(token)
        assert client.status(token).unknown_words == ("odd [subscription key]",)
        assert [json.loads(request.body) for request in server.requests] == [{"subscription_key": token}] * 2


def test_calls_are_logged_without_their_queries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With more logging each call is a line: what was called and what it answered, and no secret."""
    caplog.set_level(logging.DEBUG, logger="rodin_watchd")
    listing = json.dumps({"balance": 7}).encode()
    scripts = (answering(response(200, listing)), answering(response(200, b"data")))
    with ScriptedServer(*scripts) as server, closing(client_for(server.url)) as client:
        client.balance()
        client.fetch(Link("a.glb", f"{server.url}/a.glb?sig=hush"), tmp_path / "a.glb", 1_000)
    assert caplog.messages == [
        f"call: GET {server.url}/api/v2/check_balance: HTTP 200",
        f"call: GET {server.url}/a.glb: HTTP 200",
    ]


def test_the_key_is_taken_out_of_an_answer(model: Upload, image: Upload) -> None:
    """An answer is stored as it came, so a key that the vendor repeats is replaced."""
    echo = json.dumps({"error": "INVALID_REQUEST", "message": f"bad key {KEY}!"}).encode()
    with ScriptedServer(answering(response(400, echo))) as server, closing(client_for(server.url)) as client:
        answer = client.submit(PATH, (model, image), FIELDS, nothing)
    assert json.loads(answer.body)["message"] == "bad key [API key]!"
    with pytest.raises(VendorRefusedError, match="bad key"):
        wire.read_submit(answer, 0.0)
