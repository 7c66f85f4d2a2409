"""A tiny vendor: accepts every set at once, gives each its own results, and prints when the head of each submit arrived.

It costs as little as a server in Python can, so that the client under test is what is seen. As a program:
`python -m benchmarks.vendor CERTIFICATE SECONDS` ("" and 0 for none) prints its port, then a line for each submit
(CLOCK_MONOTONIC, seconds). Tasks take about so many seconds, each another; then a line for each task that was found done
follows instead: its duration, the status calls that it took, and how late the last one came.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from benchmarks.processes import running

SAMPLES = Path(__file__).resolve().parent.parent / "rodin_watchd" / "emulator" / "samples"
RESULTS = {"model.glb": SAMPLES / "bunny.glb", "preview.webp": SAMPLES / "matcap-c.webp"}

_SUBMITTED = {"error": None}
_STATUS = {"error": "OK", "jobs": [{"uuid": "a", "status": "Done"}]}


@contextlib.contextmanager
def vendor(certificate: Path | None = None, task_seconds: float = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the tiny vendor in a process of its own; give its base URL and the process, whose output has the times."""
    arguments = ["-m", "benchmarks.vendor", str(certificate or ""), str(task_seconds)]
    with running(*arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        port = int(process.stdout.readline())
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}", process


def make_certificate(folder: Path) -> Path:
    """Make a self-signed certificate for this machine, with its key in the same file."""
    path = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(folder / "only.pem")]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "only.pem").read_text())
    return path


class _Tasks:
    """Tasks that take their time, and what was asked about them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._chance = random.Random(11)  # noqa: S311 - the same tasks in each run
        self._known: dict[str, list[float]] = {}  # when it began, how long it takes, calls
        self._lock = threading.Lock()

    def begin(self) -> str:
        """Begin a task and return its subscription key."""
        with self._lock:
            key = f"key-{len(self._known)}"
            self._known[key] = [time.monotonic(), self._chance.lognormvariate(math.log(self.seconds), 0.15), 0]
        return key

    def ask(self, key: str) -> str:
        """Return the status of a task."""
        with self._lock:
            began, takes, calls = self._known[key]
            late = time.monotonic() - began - takes
            self._known[key][2] = calls + 1
        if late < 0:
            return "Generating"
        print(takes, int(calls) + 1, late, flush=True)
        return "Done"


def _serve(certificate: str, seconds: float) -> None:
    context, tasks = None, _Tasks(seconds)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    base_url = f"{'https' if certificate else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
    print(listening.getsockname()[1], flush=True)
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_converse, args=(connection, context, base_url, tasks), daemon=True).start()


def _converse(connection: socket.socket, context: ssl.SSLContext | None, base_url: str, tasks: _Tasks) -> None:
    with contextlib.suppress(OSError), connection:
        secured = context.wrap_socket(connection, server_side=True) if context else connection
        with secured, cast("IO[bytes]", secured.makefile("rb", buffering=1 << 18)) as stream:
            while head := _head(stream):
                _answer(secured, stream, head, base_url, tasks)


def _head(stream: IO[bytes]) -> list[str]:
    """Read the request line and the headers; [] at the end of the connection."""
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1").strip())
    return lines


def _answer(connection: socket.socket, stream: IO[bytes], head: list[str], base_url: str, tasks: _Tasks) -> None:
    path = head[0].split()[1]
    if path.endswith("/rodin_texture_only") and not tasks.seconds:
        print(time.monotonic(), flush=True)
    body = _drain(stream, head)
    if path.startswith("/zeros/"):
        _send_zeros(connection, int(path.rpartition("/")[2]))
    elif path.startswith("/file/"):
        _, _, task, name = path.split("/")
        _send(connection, "200 OK", _own(RESULTS[name].read_bytes(), task))
    else:
        _send(connection, "201 Created", json.dumps(_reply(path, body, base_url, tasks)).encode())


def _drain(stream: IO[bytes], head: list[str]) -> bytes:
    """Read the body; return its last block."""
    length = next((int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")), 0)
    block = b""
    while length > 0:
        block = stream.read(min(length, 1 << 18))
        length -= len(block)
    return block


def _reply(path: str, body: bytes, base_url: str, tasks: _Tasks) -> object:
    if path.endswith("/rodin_texture_only"):
        key = tasks.begin() if tasks.seconds else "key"
        return {**_SUBMITTED, "uuid": f"task-{time.monotonic_ns()}", "jobs": {"uuids": ["a"], "subscription_key": key}}
    if path.endswith("/status") and tasks.seconds:
        return {"error": "OK", "jobs": [{"uuid": "a", "status": tasks.ask(json.loads(body)["subscription_key"])}]}
    if path.endswith("/download"):
        task = json.loads(body)["task_uuid"]
        return {"error": "OK", "list": [{"url": f"{base_url}/file/{task}/{name}", "name": name} for name in RESULTS]}
    return _STATUS


def _own(result: bytes, task: str) -> bytes:
    """Return a result that no other task has: a GLB (glTF 2.0, 4.4) or a WebP (RIFF) with one more chunk, that readers pass over."""
    text = task.encode().ljust(32)
    if result[:4] == b"RIFF":
        chunk = b"TASK" + struct.pack("<I", len(text)) + text
        return result[:4] + struct.pack("<I", len(result) - 8 + len(chunk)) + result[8:] + chunk
    chunk = struct.pack("<I4s", len(text), b"TASK") + text
    return result[:8] + struct.pack("<I", len(result) + len(chunk)) + result[12:] + chunk


def _send(connection: socket.socket, status: str, body: bytes) -> None:
    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def _send_zeros(connection: socket.socket, size: int) -> None:
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
    block = memoryview(bytes(1 << 20))
    for start in range(0, size, len(block)):
        connection.sendall(block[: size - start])


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]))
