"""The page in the browser over a journal with many jobs: how fast it answers, what it takes, and what it costs the service."""

from __future__ import annotations

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.history import write_past
from benchmarks.inside import run_inside
from benchmarks.processes import cpu_seconds, memory_megabytes, running, write_config
from benchmarks.sets import drop
from benchmarks.vendor import vendor
from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.config import load_config
from rodin_watchd.settings import journal_path

OPEN = 10
QUESTIONS = {
    "first page": "/",
    "first page of failed": "/?state=failed",
    "a page in the middle": "/?after=past00050000~{middle}",
    "by name": "/?sort=name",
    "by cost": "/?sort=cost",
    "a search": "/?q=past00099",
    "credits": "/money",
    "one set": "/sets/past00000001",
    "first page, JSON": "/api/v1/sets",
}


class Turn(NamedTuple):
    """A while in which so many pages were open (0: none)."""

    open: int
    began: float  # CLOCK_MONOTONIC, seconds
    ended: float
    cpu_seconds: float  # of the page's process


def measure(effort: Effort) -> list[Figure]:
    """Ask the page, wait for its events, and work off sets while no page and while ten pages are open, by turns."""
    past, sets, rounds = effort.sized(100_000, 200), effort.of(1000, 40), effort.of(20, 2)
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, _):
        root = Path(home) / "root"
        address = _free_address()
        write_config(root, base_url, {"web.listen": f'"{address}"'})
        write_past(root, past)
        with _page(root) as page:
            return [
                *_answers(address, page.pid, past, rounds),
                _event(root, address, rounds),
                *_by_turns(root, address, page.pid, sets, 3.0 / effort.of(1, 10)),
                Figure(f"{past:,} jobs, after all of it: memory", memory_megabytes(page.pid), "MB", at_most=60),
            ]


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
                at_most=100,
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


def _by_turns(root: Path, address: str, page: int, sets: int, turn_seconds: float) -> list[Figure]:
    """Work off sets, and compare the ticks of all turns without a page with those of the turns with ten pages open.

    Turns are short and many, so that other work of the machine falls on both; pages are let open for a while first.
    """
    for number in range(sets):
        drop(root / "inbox", number)
    turns: list[Turn] = []
    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(run_inside, root)
        while not working.done():
            turns += [_turn(address, page, count, turn_seconds) for count in (0, OPEN)]
        ticks = working.result().ticks

    def typical(count: int) -> float:
        inside = ([t.seconds for t in ticks if one.began <= t.began < one.ended] for one in turns if one.open == count)
        return median(mean(found) for found in inside if found) * 1000

    cpu = median(one.cpu_seconds / (one.ended - one.began) for one in turns if one.open)
    return [
        Figure(f"a tick with {OPEN} pages open", typical(OPEN), "ms", typical(0), "no page", at_most_times_floor=1.05),
        Figure(f"CPU of the page with {OPEN} open, while sets are worked off", cpu * 100, "% of a core"),
    ]


def _turn(address: str, page: int, count: int, seconds: float) -> Turn:
    with running("-m", "benchmarks.visitors", address, str(count)):
        time.sleep(seconds / 2)
        began, used = time.monotonic(), cpu_seconds(page)
        time.sleep(seconds)
        return Turn(count, began, time.monotonic(), cpu_seconds(page) - used)


@contextmanager
def _page(root: Path) -> Iterator[subprocess.Popen[str]]:
    with running("-m", "rodin_watchd", "web", "--config", str(root / "config.toml"), stdout=subprocess.PIPE) as page:
        assert page.stdout is not None  # noqa: S101 - it was asked for
        page.stdout.readline()
        yield page


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def _get(address: str, path: str) -> None:
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path}: HTTP {answer.status}")


if __name__ == "__main__":
    main([("page", measure)])
