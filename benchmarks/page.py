"""The page in the browser over a journal with many jobs: how fast it answers, what it takes, and what it costs the service.

As a program, `python -m benchmarks.page ADDRESS COUNT` has so many pages open, as browsers have, until it is ended.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.history import write_past
from benchmarks.inside import run_inside
from benchmarks.processes import cpu_seconds, memory_megabytes, running, write_config
from benchmarks.sets import drop
from benchmarks.vendor import vendor
from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.config import journal_path, load_config

OPEN = 10
QUESTIONS = {
    "first page": "/",
    "first page of failed": "/?state=failed",
    "a page in the middle": "/?after=past00050000~{middle}",
    "by name": "/?sort=name",
    "a search": "/?q=past00099",
    "credits": "/money",
    "one set": "/sets/past00000001",
    "first page, JSON": "/api/v1/sets",
}


def measure(effort: Effort) -> list[Figure]:
    """Ask the page, wait for its events, and work off the same sets without it, and with ten pages open."""
    past, sets, rounds = effort.sized(100_000, 200), effort.of(200, 4), effort.of(20, 2)
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, _):
        root = Path(home) / "root"
        address = _free_address()
        write_config(root, base_url, {"web.listen": f'"{address}"'})
        write_past(root, past)
        alone = _ticks(root, range(sets))
        with _page(root) as page:
            figures = _answers(address, page.pid, past, rounds)
            figures.append(_event(root, address, rounds))
            with running("-m", "benchmarks.page", address, str(OPEN)):
                time.sleep(effort.of(3, 1))
                watched = _ticks(root, range(sets, 2 * sets))
            figures.append(
                Figure(f"{past:,} jobs, after all of it: memory", memory_megabytes(page.pid), "MB", at_most=60)
            )
        figures.append(
            Figure(f"a tick with {OPEN} pages open", watched, "ms", alone, "no page", at_most_times_floor=1.05)
        )
    return figures


def _answers(address: str, pid: int, past: int, rounds: int) -> list[Figure]:
    figures = []
    for name, path in QUESTIONS.items():
        asked = path.format(middle=time.time())
        _get(address, asked)
        before, took = cpu_seconds(pid), []
        for _ in range(rounds):
            began = time.perf_counter()
            _get(address, asked)
            took.append(time.perf_counter() - began)
        cpu = (cpu_seconds(pid) - before) / rounds
        figures.append(
            Figure(
                f"{past:,} jobs: {name}",
                median(took) * 1000,
                "ms",
                cpu * 1000,
                "its CPU",
                at_most=None if name == "credits" else 100,
            )
        )
    return figures


def _event(root: Path, address: str, rounds: int) -> Figure:
    """Return how long it takes until an open page learns that something was written."""
    journal, took = journal_path(load_config(root / "config.toml"), {}), []
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", "/api/v1/events")
        stream = connection.getresponse()
        stream.readline()
        for number in range(rounds):
            time.sleep(0.6 + 0.05 * number)
            began = time.perf_counter()
            insert_command(journal, "resume", {"seen": 0}, time.time())
            while not stream.readline().startswith(b"event:"):
                pass
            took.append(time.perf_counter() - began)
    return Figure("an event is seen", max(took) * 1000, "ms", at_most=1000)


def _ticks(root: Path, sets: range) -> float:
    """Work off these sets; return what a tick takes, in milliseconds."""
    for number in sets:
        drop(root / "inbox", number)
    return run_inside(root).tick_mean_milliseconds


@contextmanager
def _page(root: Path) -> Iterator[subprocess.Popen[str]]:
    with running("-m", "rodin_watchd", "web", "--config", str(root / "config.toml"), stdout=subprocess.PIPE) as page:
        assert page.stdout is not None  # noqa: S101 - it was asked for
        page.stdout.readline()
        yield page


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def _get(address: str, path: str, news: str = "") -> bytes:
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", path, headers={"X-News": news} if news else {})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path}: HTTP {answer.status}")
        return answer.read()


def _follow(address: str) -> None:
    """Do what the script of an open page does."""
    with closing(http.client.HTTPConnection(address)) as connection:
        connection.request("GET", "/api/v1/events")
        for line in connection.getresponse():
            if line.startswith(b"data:"):
                _get(address, "/", line.partition(b":")[2].strip().decode())
                time.sleep(1)


if __name__ == "__main__":
    if len(sys.argv) > 1 and ":" in sys.argv[1]:
        for _ in range(int(sys.argv[2])):
            threading.Thread(target=_follow, args=[sys.argv[1]], daemon=True).start()
        threading.Event().wait()
    main([("page", measure)])
