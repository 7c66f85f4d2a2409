"""Clients that are slow or do nothing, over real connections: none keeps a place for as long as it likes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from rodin_watchd.web import slow
from rodin_watchd.web.app import EndingServer

LARGE = 50_000_000
"""More than the buffers of a connection hold."""


ANSWERED = threading.Event()


async def an_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what came, or with far more than a client who reads nothing has room for."""
    if scope["type"] != "http":
        return
    body, message = b"", await receive()
    while message["type"] == "http.request" and message.get("more_body"):
        body, message = body + message["body"], await receive()
    said = b"gone" if message["type"] == "http.disconnect" else body + message["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send(
        {"type": "http.response.body", "body": b"x" * LARGE if scope["path"] == "/large" else said, "more_body": True}
    )
    await send({"type": "http.response.body", "body": b""})
    ANSWERED.set()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Give a server as the page's, with short limits."""
    for name in ("HEAD_SECONDS", "PIECE_SECONDS", "STALL_SECONDS"):
        monkeypatch.setattr(slow, name, 0.3)
    ANSWERED.clear()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = slow.WholeBodies(an_app)
        server = EndingServer(
            uvicorn.Config(app, http=slow.PatientProtocol, log_config=None, ws="none", lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()
        server.end()
        thread.join(20)


GET, POST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
LAST = b"0\r\n\r\n"
"""The end of an answer in pieces."""


def rest_of(line: socket.socket, end: bytes = b"never") -> bytes:
    """Return what comes until this end, or until the connection has ended."""
    found = bytearray()
    with suppress(ConnectionResetError):
        while not found.endswith(end) and (piece := line.recv(1 << 20)):
            found += piece
    return bytes(found)


@pytest.mark.parametrize("begun", [[b""], [GET[:20]], [GET, GET[:20]]], ids=["nothing", "half", "half of the second"])
def test_a_head_that_never_ends(address: tuple[str, int], begun: list[bytes]) -> None:
    """The connection ends."""
    with socket.create_connection(address, 4) as line:
        for data in begun[:-1]:
            line.sendall(data)
            assert rest_of(line, LAST)
        line.sendall(begun[-1])
        assert rest_of(line) == b""


def test_a_body_that_stops_in_the_middle(address: tuple[str, int]) -> None:
    """The client counts as gone; one that goes on in time is heard to its end."""
    for rest, said in ((b"", b"gone"), (b"56789", b"123456789")):
        with socket.create_connection(address, 4) as line:
            line.sendall(POST + b"1234")
            line.sendall(rest)
            assert said in rest_of(line, LAST)


def test_an_answer_that_nobody_reads(address: tuple[str, int]) -> None:
    """The connection ends, and what was written for it is forgotten."""
    with socket.create_connection(address, 4) as line:
        line.sendall(GET.replace(b"/ ", b"/large "))
        assert ANSWERED.wait(20)
        assert len(rest_of(line)) < LARGE


def test_an_answer_takes_as_long_as_it_takes() -> None:
    """What a stream of events waits for after the request is whole has no limit."""

    async def tried() -> list[Message]:
        messages: list[Message] = [
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            await asyncio.sleep(0)
            return messages.pop(0)

        async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
            found.extend([await receive(), await receive()])

        found: list[Message] = []
        await slow.WholeBodies(app)({"type": "http"}, receive, receive)  # type: ignore[arg-type]  # nothing is sent
        return found

    assert [message["type"] for message in asyncio.run(tried())] == ["http.request", "http.disconnect"]
