"""Lines to a server on this machine: slow ones, held ones, and ones that die or repeat a request by themselves."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

BLOCK_BYTES = 64 * 1024
TIMEOUT_SECONDS = 20.0


class Line(ABC):
    """A relay on a port of its own, as a context manager; each connection has a thread."""

    def __init__(self, port: int, *, scheme: str = "http", buffer_bytes: int = 0) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        if buffer_bytes:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._relays: list[threading.Thread] = []
        self.base_url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def rest(self) -> None:
        """Wait until all connections have ended; what a dead client had sent is passed on first."""
        for thread in list(self._relays):
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._relays.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:  # what TLS raises is one of them
            self._relay(client)

    @abstractmethod
    def _relay(self, client: socket.socket) -> None:
        """Deal with a connection."""


def at_once(_bytes: int) -> None:
    """Do not wait."""


@dataclass(frozen=True)
class Way:
    """One of the two ways of a connection: blocks of at most `size` bytes, and what waits before and after each."""

    size: int = BLOCK_BYTES
    before: Callable[[int], object] = at_once
    after: Callable[[int], object] = at_once

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what comes until one of the two is gone; then say that no more comes."""
        with contextlib.suppress(OSError):
            while block := source.recv(self.size):
                self.before(len(block))
                target.sendall(block)
                self.after(len(block))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


FREE = Way()


def dawdle(_bytes: int) -> None:
    """Wait a moment, however little was passed on."""
    time.sleep(0.02)


def both_ways(client: socket.socket, server: socket.socket, there: Way = FREE, back: Way = FREE) -> None:
    """Pass on both ways until neither has any more to say."""
    answering = threading.Thread(target=back.pump, args=(server, client), daemon=True)
    answering.start()
    there.pump(client, server)
    answering.join()


# ---- held, slow -----------------------------------------------------------------------------------------------------


class GatedLine(Line):
    """Passes large requests on only when the test says so: `gate` is closed at first."""

    _BLOCK_BYTES = 16 * 1024
    _HELD_BYTES = 64 * 1024
    """How much of a request is read before the gate counts: calls are smaller, uploads are larger."""

    def __init__(self, port: int) -> None:
        super().__init__(port, buffer_bytes=self._BLOCK_BYTES)
        self.gate = threading.Event()

    def __exit__(self, *error: object) -> None:
        self.gate.set()
        super().__exit__(*error)

    def _relay(self, client: socket.socket) -> None:
        passed = 0

        def wait(count: int) -> None:
            nonlocal passed
            passed += count
            if passed > self._HELD_BYTES:
                self.gate.wait()

        with socket.create_connection(self._server) as server:
            both_ways(client, server, Way(self._BLOCK_BYTES, before=wait))


class PacedLine(Line):
    """Passes so many bytes a second on to the server; its end waits until no connection is left."""

    _BLOCK_BYTES = 32 * 1024

    def __init__(self, port: int, bytes_per_second: float) -> None:
        super().__init__(port, buffer_bytes=64 * 1024)
        self._pace = bytes_per_second

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.rest()

    def _relay(self, client: socket.socket) -> None:
        due = time.monotonic()

        def wait(count: int) -> None:
            nonlocal due
            due = max(due + count / self._pace, time.monotonic() - 0.05)
            time.sleep(max(due - time.monotonic(), 0))

        with socket.create_connection(self._server, TIMEOUT_SECONDS) as server:
            both_ways(client, server, Way(self._BLOCK_BYTES, after=wait))


# ---- hostile --------------------------------------------------------------------------------------------------------


NO_OPENSSL = "" if shutil.which("openssl") else "openssl is missing: no certificate can be made"
SUBMIT = b"POST /api/v2/rodin_texture_only "
CLOSING_BYTES = 60  # the closing boundary line is shorter

STAGES = ("handshake", "hello", "head", "body", "before the closing", "unseen", "after the closing", "half an answer")
"""Where it dies; `unseen`: it has taken the whole body and passed nothing on; `after the closing`: the server has answered."""

SLOW = "slow"
"""It passes all on, a piece now and then."""

RETRY = "retry"
"""It sends the request again when the server's answer is lost or a 5xx, and passes on what comes then."""


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine, with its key in the same file. Raises CalledProcessError."""
    pem, key = folder / "line.pem", folder / "line.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


class HostileLine(Line):
    """Dies or dawdles at a chosen stage of a submit, with TLS if asked for. Its next submits meet `stages`, one each; later it behaves.

    `submits` counts those whose head came.
    """

    def __init__(self, port: int, stages: Iterable[str], pem: Path | None = None) -> None:
        super().__init__(port, scheme="https" if pem else "http")
        self._stages = deque(stages)
        self._context = None
        if pem:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pem)
        self.submits = 0

    def _relay(self, client: socket.socket) -> None:
        client.settimeout(TIMEOUT_SECONDS)
        if self._dies_early(client):
            return
        if self._context is None:
            self._receive(client)
            return
        with self._context.wrap_socket(client, server_side=True) as encrypted:
            self._receive(encrypted)

    def _dies_early(self, client: socket.socket) -> bool:
        """Die before a word of HTTP is heard, so in whichever call comes next."""
        if self._stages and self._stages[0] in STAGES[:2]:
            if self._stages.popleft() == "hello":
                client.recv(100)
            return True
        return False

    def _receive(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (block := client.recv(BLOCK_BYTES)):
                return
            head += block
        stage = ""
        if head.startswith(SUBMIT):
            self.submits += 1
            stage = self._stages.popleft() if self._stages else ""
        with socket.create_connection(self._server, TIMEOUT_SECONDS) as server:
            if stage == SLOW:
                server.sendall(head)
                both_ways(client, server, Way(200, after=dawdle), Way(40, after=dawdle))
            elif not stage:
                server.sendall(head)
                both_ways(client, server)
            elif stage == RETRY:
                client.sendall(self._repeated(client, head))
            else:
                self._die(client, server, head, stage)

    def _die(self, client: socket.socket, server: socket.socket, head: bytes, stage: str) -> None:
        if stage == "head":
            server.sendall(head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            return
        length = _length(head)
        wanted = {"body": length // 2, "before the closing": length - CLOSING_BYTES}.get(stage, length)
        body = _body(client, head, wanted)
        if stage == "unseen":
            return
        server.sendall(body)
        if wanted < length:
            return
        answer = _answer(server)
        if stage == "half an answer":
            client.sendall(answer[: len(answer) - 40])

    def _repeated(self, client: socket.socket, head: bytes) -> bytes:
        request = _body(client, head, _length(head))
        for _ in range(3):
            with socket.create_connection(self._server, TIMEOUT_SECONDS) as server, contextlib.suppress(OSError):
                server.sendall(request)
                answer = _answer(server)
                if answer and not answer.startswith(b"HTTP/1.1 5"):
                    return answer
        return b""


def _length(head: bytes) -> int:
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))


def _body(client: socket.socket, request: bytes, wanted: int) -> bytes:
    """Return the request with so many bytes of its body, or what came of them."""
    start = request.index(b"\r\n\r\n") + 4
    while len(request) - start < wanted and (block := client.recv(BLOCK_BYTES)):
        request += block
    return request[: start + wanted]


def _answer(server: socket.socket) -> bytes:
    """Return a whole answer, b"" where none came."""
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) - answer.index(b"\r\n\r\n") - 4 < _length(answer):
        if not (block := server.recv(BLOCK_BYTES)):
            return b""
        answer += block
    return answer


# ---- cut ------------------------------------------------------------------------------------------------------------


class Cut(StrEnum):
    """What is wrong with a network."""

    NOTHING = "nothing"
    DROPPED = "dropped"  # every connection ends, and a new one at once
    SILENT = "silent"  # connections stay, and nothing passes until it is mended
    SLOW = "slow"  # each block waits
    HALF_CLOSED = "half-closed"  # one side of each connection is told that no more comes; new ones work


class CutLine(Line):
    """A line that is cut and mended at any time, from any thread; `connect` opens a connection to the server as it is now."""

    _SLOW_SECONDS = 0.2

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__(0)
        self._connect = connect
        self._how = Cut.NOTHING
        self._changed = threading.Condition()
        self._open: set[tuple[socket.socket, socket.socket]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listening.getsockname()[1])

    def cut(self, how: Cut) -> None:
        """Cut it; `HALF_CLOSED` is done at once and needs no mending."""
        with self._changed:
            self._how = Cut.NOTHING if how is Cut.HALF_CLOSED else how
            self._changed.notify_all()
            pairs = list(self._open)
        for number, ends in enumerate(pairs):
            if how is Cut.DROPPED:
                for end in ends:
                    _shut(end, socket.SHUT_RDWR)
            elif how is Cut.HALF_CLOSED:
                _shut(ends[number % 2], socket.SHUT_WR)

    def mend(self) -> None:
        """Let everything pass again."""
        self.cut(Cut.NOTHING)

    def _relay(self, client: socket.socket) -> None:
        if self._how is Cut.DROPPED:
            return
        with self._connect() as server:
            ends = (client, server)
            with self._changed:
                self._open.add(ends)
            try:
                both_ways(client, server, Way(before=self._wait), Way(before=self._wait))
            finally:
                with self._changed:
                    self._open.discard(ends)

    def _wait(self, _bytes: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._how is not Cut.SILENT)
        if self._how is Cut.SLOW:
            time.sleep(self._SLOW_SECONDS)


def _shut(end: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # it has ended
        end.shutdown(how)
