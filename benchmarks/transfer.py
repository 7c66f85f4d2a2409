"""An upload of 10 MB and a download of 50 MB by the project's client: CPU against a raw socket, and memory.

Each client runs in a fresh process; `raw` does nothing but move the bytes, `raw and SHA-256` also hashes them (and
makes a download durable), as the project's client does. As a program, one round of one client:
`python -m benchmarks.transfer CLIENT ACTION BASE_URL FILE CERTIFICATE TIMES THREADS` prints CPU seconds and memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import KEY, memory_megabytes, output_of
from benchmarks.vendor import make_certificate, vendor
from rodin_watchd.adapters.rodin_client import RodinClient, Route, Timeouts
from rodin_watchd.adapters.rodin_client.upload import Upload
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.model import Link

UPLOAD_BYTES, DOWNLOAD_BYTES = 10_000_000, 50_000_000
CLIENTS = ("ours", "raw", "raw-sha256")
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it: the clients are measured, not the disk
_BLOCK = 1 << 20


def measure(effort: Effort) -> list[Figure]:
    """Run all clients in turns, over HTTP and HTTPS."""
    figures = []
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as home:
        file = Path(home) / "model.glb"
        file.write_bytes(os.urandom(UPLOAD_BYTES))
        certificate = make_certificate(Path(home))
        for scheme, secret in (("HTTP", None), ("HTTPS", certificate)):
            with vendor(secret) as (base_url, _):
                arguments = (base_url, str(file), str(certificate))
                figures += _cpu(scheme, arguments, effort)
                figures.append(_memory(scheme, arguments))
    return figures


def _cpu(scheme: str, arguments: tuple[str, ...], effort: Effort) -> list[Figure]:
    rounds, figures = effort.of(5, 1), []
    for action, times, goal in (("upload", effort.of(10, 2), 1.5), ("download", effort.of(4, 1), 1.1)):
        used: dict[str, list[float]] = {client: [] for client in CLIENTS}
        for _, client in product(range(rounds), CLIENTS):
            cpu, _memory_used = _round(client, action, *arguments, str(times), "1")
            used[client].append(cpu / times * 1000)
        size = (UPLOAD_BYTES if action == "upload" else DOWNLOAD_BYTES) // 1_000_000
        name, ours = f"CPU of one {action} of {size} MB, {scheme}", median(used["ours"])
        figures.append(Figure(name, ours, "ms", median(used["raw"]), "raw socket", at_most_times_floor=goal))
        same = median(used["raw-sha256"])
        figures.append(
            Figure(
                f"{name}, against the same work", ours, "ms", same, "raw socket and SHA-256", at_most_times_floor=goal
            )
        )
    return figures


def _memory(scheme: str, arguments: tuple[str, ...]) -> Figure:
    (_, one), (_, many) = (_round("ours", "upload", *arguments, threads, threads) for threads in ("1", "16"))
    return Figure(f"memory that 16 uploads at once add, {scheme}", many - one, "MB", at_most=20)


def _round(*arguments: str) -> tuple[float, float]:
    cpu, memory = output_of("-m", "benchmarks.transfer", *arguments).split()
    return float(cpu), float(memory)


# ---- the clients, in a process of their own -------------------------------------------------------------------------


class _Client(Protocol):
    def upload(self, file: Path) -> None: ...
    def download(self, target: Path) -> None: ...


class _Ours:
    """The project's client, as the daemon uses it."""

    def __init__(self, base_url: str, certificate: str, threads: int) -> None:
        timeouts = Timeouts(10, 60)
        self._client = RodinClient(base_url, KEY, timeouts=timeouts, max_calls=threads, route=Route(verify=certificate))
        self._link = Link("result.bin", f"{base_url}/zeros/{DOWNLOAD_BYTES}")
        self._digests: dict[Path, str] = {}

    def upload(self, file: Path) -> None:
        model = self._announced(file)
        self._client.submit(TEXTURE.path, (model, self._announced(Path(__file__))), (), lambda: None)

    def download(self, target: Path) -> None:
        self._client.fetch(self._link, target, DOWNLOAD_BYTES)

    def _announced(self, file: Path) -> Upload:
        if file not in self._digests:
            with file.open("rb") as stream:
                self._digests[file] = hashlib.file_digest(stream, "sha256").hexdigest()
        return Upload(file, file.stat().st_size, self._digests[file], "model", "model.glb", "model/gltf-binary")


class _Raw:
    """What nobody can undercut in Python: a socket, large blocks, no copies."""

    def __init__(self, base_url: str, certificate: str, *, hashing: bool) -> None:
        self._parts = urlsplit(base_url)
        self._context = ssl.create_default_context(cafile=certificate) if self._parts.scheme == "https" else None
        self._hashing = hashing
        self._kept: socket.socket | None = None

    def upload(self, file: Path) -> None:
        head = f"POST {TEXTURE.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {file.stat().st_size}\r\n\r\n"
        with self._connected() as connection, file.open("rb", buffering=0) as source:
            connection.sendall(head.encode())
            if self._context or self._hashing:
                self._copy(lambda buffer: source.readinto(buffer) or 0, connection.sendall)
            else:
                connection.sendfile(source)
            connection.recv(_BLOCK)

    def download(self, target: Path) -> None:
        if self._kept is None:
            self._kept = self._connect()
        self._kept.sendall(f"GET /zeros/{DOWNLOAD_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._kept.recv(1)
        left = DOWNLOAD_BYTES
        with target.open("wb", buffering=0) as file:

            def receive(buffer: memoryview) -> int:
                nonlocal left
                got = self._kept.recv_into(buffer[: min(left, len(buffer))]) if left and self._kept else 0
                left -= got
                return got

            self._copy(receive, file.write)
            if self._hashing:
                os.fsync(file.fileno())

    def _copy(self, source: Callable[[memoryview], int], target: Callable[[memoryview], object]) -> None:
        digest, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
        while got := source(block):
            if self._hashing:
                digest.update(block[:got])
            target(block[:got])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with self._connect() as connection:
            yield connection

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((self._parts.hostname, self._parts.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(connection, server_hostname="127.0.0.1") if self._context else connection


def _client(name: str, base_url: str, certificate: str, threads: int) -> _Client:
    if name == "ours":
        return _Ours(base_url, certificate, threads)
    return _Raw(base_url, certificate, hashing=name == "raw-sha256")


def _run(client: _Client, action: str, file: Path, times: int, threads: int) -> None:
    act = client.upload if action == "upload" else client.download
    act(file if action == "upload" else file.with_suffix(".first"))  # imports, the first connection, memory for blocks
    before, memory = time.process_time(), memory_megabytes(os.getpid())
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(act, [file if action == "upload" else file.with_suffix(f".{n}") for n in range(times)]))
    print(time.process_time() - before, memory_megabytes(os.getpid(), "VmHWM") - memory)


def _program(name: str, action: str, *arguments: str) -> None:
    base_url, file, certificate, times, threads = arguments
    _run(_client(name, base_url, certificate, int(threads)), action, Path(file), int(times), int(threads))


if __name__ == "__main__" and len(sys.argv) == 8:
    _program(*sys.argv[1:])
elif __name__ == "__main__":
    main([("transfer", measure)])
