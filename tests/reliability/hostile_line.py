"""A line to a server that dies or dawdles at a chosen stage of a submit, with TLS if asked for; or a proxy that repeats a POST by itself."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

PATIENCE_SECONDS = 20.0
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


class HostileLine:
    """A relay on a port of its own, as a context manager. Its next submits meet `stages`, one each; later it behaves.

    `submits` counts those whose head came.
    """

    def __init__(self, port: int, stages: Iterable[str], pem: Path | None = None) -> None:
        self._server = ("127.0.0.1", port)
        self._stages = deque(stages)
        self._context = None
        if pem:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pem)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.submits = 0
        scheme = "https" if pem else "http"
        self.base_url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(PATIENCE_SECONDS)
        with contextlib.suppress(OSError, ssl.SSLError), client:
            if self._dies_early(client):
                return
            if self._context is None:
                self._relay(client)
                return
            with self._context.wrap_socket(client, server_side=True) as encrypted:
                self._relay(encrypted)

    def _dies_early(self, client: socket.socket) -> bool:
        """Die before a word of HTTP is heard, so in whichever call comes next."""
        if self._stages and self._stages[0] in STAGES[:2]:
            if self._stages.popleft() == "hello":
                client.recv(100)
            return True
        return False

    def _relay(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (block := client.recv(65536)):
                return
            head += block
        stage = ""
        if head.startswith(SUBMIT):
            self.submits += 1
            stage = self._stages.popleft() if self._stages else ""
        with socket.create_connection(self._server, PATIENCE_SECONDS) as server:
            if stage in ("", SLOW):
                self._pass(client, server, head, slow=stage == SLOW)
            elif stage == RETRY:
                client.sendall(self._repeated(client, head))
            else:
                self._die(client, server, head, stage)

    def _pass(self, client: socket.socket, server: socket.socket, head: bytes, *, slow: bool) -> None:
        """Pass on both ways until one of them has no more to say."""
        back = threading.Thread(target=_pump, args=(server, client, 40 if slow else 65536, 0.02 * slow), daemon=True)
        back.start()
        server.sendall(head)
        _pump(client, server, 200 if slow else 65536, 0.02 * slow)
        back.join(PATIENCE_SECONDS)

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
            with socket.create_connection(self._server, PATIENCE_SECONDS) as server, contextlib.suppress(OSError):
                server.sendall(request)
                answer = _answer(server)
                if answer and not answer.startswith(b"HTTP/1.1 5"):
                    return answer
        return b""


def _pump(source: socket.socket, target: socket.socket, size: int, pause_seconds: float) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while block := source.recv(size):
            target.sendall(block)
            time.sleep(pause_seconds)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _length(head: bytes) -> int:
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))


def _body(client: socket.socket, request: bytes, wanted: int) -> bytes:
    """Return the request with so many bytes of its body, or what came of them."""
    start = request.index(b"\r\n\r\n") + 4
    while len(request) - start < wanted and (block := client.recv(65536)):
        request += block
    return request[: start + wanted]


def _answer(server: socket.socket) -> bytes:
    """Return a whole answer, b"" where none came."""
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) - answer.index(b"\r\n\r\n") - 4 < _length(answer):
        if not (block := server.recv(65536)):
            return b""
        answer += block
    return answer
