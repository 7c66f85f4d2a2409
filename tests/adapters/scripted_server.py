"""An HTTP server on loopback that does exactly what its scripts say, at the level of bytes.

Each connection is handed to the next script (the last one serves all that follow), in a thread of its own. A script
takes the `Conversation`: it reads what it wants and sends what it wants. What arrived is recorded, byte for byte.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeAlias

TIMEOUT_SECONDS = 20.0
"""How long a script or a test waits for something that is certain to come."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it arrived."""

    line: str
    headers: dict[str, str]  # names in lower case
    body: bytes


class Conversation:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over an accepted connection."""
        self.sock = sock
        self.requests: list[Received] = []
        self.ended = threading.Event()  # the client will send no more
        self._bytes = bytearray()
        self._grown = threading.Condition()

    @property
    def received(self) -> bytes:
        """Everything that has arrived so far and was not yet taken as a request."""
        with self._grown:
            return bytes(self._bytes)

    def wait_for(self, enough: Callable[[bytes], bool]) -> bytes:
        """Wait (in a test) until the script has read enough, and return what it has read."""
        with self._grown:
            assert self._grown.wait_for(lambda: enough(bytes(self._bytes)), TIMEOUT_SECONDS)
            return bytes(self._bytes)

    def take(self) -> bool:
        """Read some more; tell whether there was any."""
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        with self._grown:
            self._bytes += data
            self._grown.notify_all()
        if not data:
            self.ended.set()
        return bool(data)

    def take_until_end(self) -> None:
        """Read until the client closes."""
        while self.take():
            pass

    def head(self) -> tuple[str, dict[str, str]]:
        """Read a request's head; it stays in `received`."""
        while b"\r\n\r\n" not in self._bytes:
            if not self.take():
                raise ConnectionError("the client went away")
        line, *fields = self.received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return line, {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}

    def request(self) -> Received:
        """Read a whole request and take it out of `received`."""
        line, headers = self.head()
        start = self.received.index(b"\r\n\r\n") + 4
        end = start + int(headers.get("content-length", 0))
        while len(self._bytes) < end:
            if not self.take():
                raise ConnectionError("the client went away")
        request = Received(line, headers, bytes(self._bytes[start:end]))
        with self._grown:
            del self._bytes[:end]
            self.requests.append(request)
        return request

    def swallow(self) -> None:
        """Read a whole request and forget its body at once."""
        _, headers = self.head()
        left = int(headers["content-length"]) + self.received.index(b"\r\n\r\n") + 4 - len(self.received)
        buffer = memoryview(bytearray(1 << 16))
        while left:
            left -= self.sock.recv_into(buffer[: min(left, len(buffer))])

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def reset(self) -> None:
        """End the connection by a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script: TypeAlias = Callable[[Conversation], object]


def response(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return the bytes of a response; `length` is what it claims to hold, if not what it holds."""
    claims = len(body) if length is None else length
    head = "\r\n".join((f"HTTP/1.1 {status} Scripted", f"Content-Length: {claims}", *headers))
    return head.encode("latin-1") + b"\r\n\r\n" + body


def answering(*responses: bytes) -> Script:
    """Return a script that answers one request after the other on one connection, and then closes it."""

    def script(conversation: Conversation) -> None:
        for data in responses:
            conversation.request()
            conversation.send(data)

    return script


class ScriptedServer:
    """The server; a context manager."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port; with `tls` for HTTPS."""
        self.conversations: list[Conversation] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.listener.getsockname()[1]}"
        self._scripts = scripts
        self._accepted = threading.Condition()
        self._tls = tls
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conversation in list(self.conversations):  # a client that was abandoned may keep its connection open
            with contextlib.suppress(OSError):
                socket.socket.shutdown(conversation.sock, socket.SHUT_RD)  # TLS stays as it is
        for thread in list(self._threads):
            thread.join(TIMEOUT_SECONDS)
            assert not thread.is_alive()

    @property
    def requests(self) -> list[Received]:
        """All whole requests, connection by connection."""
        return [request for conversation in self.conversations for request in conversation.requests]

    def conversation(self, number: int = 0) -> Conversation:
        """Wait for a connection and return it; a client can be done with sending before it is accepted."""
        with self._accepted:
            assert self._accepted.wait_for(lambda: len(self.conversations) > number, TIMEOUT_SECONDS)
            return self.conversations[number]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT_SECONDS)
            conversation = Conversation(sock)
            script = self._scripts[min(len(self.conversations), len(self._scripts) - 1)]
            with self._accepted:
                self.conversations.append(conversation)
                self._accepted.notify_all()
            thread = threading.Thread(target=self._converse, args=(conversation, script))
            self._threads.append(thread)
            thread.start()

    def _converse(self, conversation: Conversation, script: Script) -> None:
        try:
            if self._tls:
                conversation.sock = self._tls.wrap_socket(conversation.sock, server_side=True)
            script(conversation)
        except OSError:
            pass  # the client went away: what the test asserts tells whether it should have
        finally:
            conversation.ended.set()
            conversation.sock.close()
