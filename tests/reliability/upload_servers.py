"""Servers to upload to: the emulator, one on another framework, and the emulator behind nginx; each tells what it accepted."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 60.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class UploadServer:
    """A server that takes uploads. `stop` lets it finish what it has and returns the prompts of all that it accepted."""

    port: int
    stop: Callable[[], set[str]]


Serve: TypeAlias = Callable[[Path], AbstractContextManager[UploadServer]]


@contextmanager
def emulator(_folder: Path) -> Iterator[UploadServer]:
    """Serve with the emulator: starlette on uvicorn."""
    with _vendor() as vendor:
        yield UploadServer(_port(vendor), lambda: _accepted(vendor))


@contextmanager
def other_framework(folder: Path) -> Iterator[UploadServer]:
    """Serve with aiohttp, which has its own reader of multipart bodies."""
    accepted = folder / "accepted.log"
    accepted.write_text("")
    port = _free_port()
    command = [sys.executable, str(HERE / "aiohttp_server.py"), str(port), str(accepted)]
    with _process(command, port) as process:
        yield UploadServer(port, lambda: _stopped(process, lambda: set(accepted.read_text().split())))


def behind_nginx(*, buffering: bool) -> Serve:
    """Put nginx before the emulator; it keeps a request until it is whole, or passes it on as it comes."""

    @contextmanager
    def serve(folder: Path) -> Iterator[UploadServer]:
        port = _free_port()
        with _vendor() as vendor:
            config = folder / "nginx.conf"
            config.write_text(
                NGINX.format(folder=folder, port=port, backend=_port(vendor), buffering="on" if buffering else "off")
            )
            with _process(["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)], port) as process:
                yield UploadServer(port, lambda: _stopped(process, lambda: _accepted(vendor)))

    return serve


NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 20m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{backend};
            proxy_http_version 1.1;
            proxy_request_buffering {buffering};
        }}
    }}
}}
"""

NO_AIOHTTP = "" if importlib.util.find_spec("aiohttp") else "aiohttp is missing"
NO_NGINX = "" if shutil.which("nginx") else "nginx is missing"

SERVERS: Mapping[str, tuple[Serve, str]] = {
    "uvicorn (the emulator)": (emulator, ""),
    "aiohttp": (other_framework, NO_AIOHTTP),
    "nginx, buffering": (behind_nginx(buffering=True), NO_NGINX),
    "nginx, unbuffered": (behind_nginx(buffering=False), NO_NGINX),
}
"""What uploads are sent to, and why one cannot be had, or ""."""


def _vendor() -> Emulator:
    return Emulator(
        EmulatorSettings(preview_pixels=64, balance=Decimal(10_000), waiting_seconds=0, generating_seconds=0)
    )


def _port(vendor: Emulator) -> int:
    return int(vendor.base_url.rpartition(":")[2])


def _accepted(vendor: Emulator) -> set[str]:
    """Return what the emulator has charged, once every upload that reached it has come to an end."""
    await_true(lambda: _is_settled(vendor.ledger()["uploads"]))
    return {charge["options"]["prompt"] for charge in vendor.ledger()["charges"]}


def _is_settled(uploads: Mapping[str, int]) -> bool:
    return uploads["begun"] == sum(count for fate, count in uploads.items() if fate != "begun")


def _stopped(process: subprocess.Popen[bytes], accepted: Callable[[], set[str]]) -> set[str]:
    """End a server politely: what it has whole, it still carries out."""
    process.send_signal(signal.SIGTERM if process.args[0] != "nginx" else signal.SIGQUIT)  # type: ignore[index] # a list, as given
    process.wait(TIMEOUT_SECONDS)
    return accepted()


@contextmanager
def _process(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}) as process:
        try:
            await_true(lambda: _listens(port))
            yield process
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def await_true(question: Callable[[], bool]) -> None:
    """Ask until the answer is yes; raises TimeoutError when it takes too long."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not after {TIMEOUT_SECONDS} s")
        time.sleep(LOOK_SECONDS)
