"""Many sets waiting in the inbox: the time of a tick with and without a rescan, and the daemon's memory.

As a program: `python -m benchmarks.waiting ROOT TICKS` prints the milliseconds of a rescan and of a quiet tick, those
of a bare look, and the memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import KEY, memory_megabytes, output_of, write_config
from benchmarks.sets import SMALL_IMAGE, SMALL_MODEL
from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.config import load_config
from rodin_watchd.service.assembly import SYSTEM_CLOCK, assembled
from rodin_watchd.service.clock import Clock
from rodin_watchd.settings import journal_path

NOWHERE = "http://127.0.0.1:9"
LONG_SECONDS = 3600.0


def measure(effort: Effort) -> list[Figure]:
    """Fill an inbox, start the daemon on it and time its ticks."""
    figures = []
    for count in (effort.of(1_000, 100), effort.of(10_000, 300)):
        for whole in (False, True):
            with tempfile.TemporaryDirectory() as home:
                _fill(Path(home), count, whole=whole)
                told = output_of("-m", "benchmarks.waiting", home, str(effort.of(15, 3)))
                figures += _figures(count, whole, *map(float, told.split()))
    return figures


def _figures(count: int, whole: bool, rescan: float, quiet: float, bare: float, memory: float) -> list[Figure]:
    name = f"{count:,} sets that {'are whole, paused' if whole else 'lack an image'}"
    return [
        Figure(f"{name}: tick with a rescan", rescan, "ms", bare, "scandir and stat"),
        Figure(f"{name}: tick without", quiet, "ms"),
        Figure(f"{name}: memory", memory, "MB", at_most=80 if count <= 10_000 else None),
    ]


def _fill(root: Path, count: int, *, whole: bool) -> None:
    write_config(root, NOWHERE, {"intake.watcher": '"polling"', "intake.sidecar_wait_seconds": "0"})
    for number in range(count):
        (root / "inbox" / f"set{number:05}.glb").write_bytes(SMALL_MODEL)
        if whole:
            (root / "inbox" / f"set{number:05}.png").write_bytes(SMALL_IMAGE)


def _run(root: Path, ticks: int) -> None:
    """Tick with a clock that runs on by leaps: a long one makes a rescan due, one second only the reporting."""
    config = load_config(root / "config.toml")
    ahead = 0.0
    clock = Clock(lambda: SYSTEM_CLOCK.now() + ahead, lambda: SYSTEM_CLOCK.monotonic() + ahead, SYSTEM_CLOCK.chance)
    rescans, quiet, bare = [], [], []
    with assembled(config, KEY, clock) as daemon:
        insert_command(journal_path(config, os.environ), "pause", {}, clock.now())
        daemon.tick()
        for _ in range(ticks):
            ahead += LONG_SECONDS
            rescans.append(_timed(daemon.tick))
            for _ in range(5):
                ahead += 1.0
                quiet.append(_timed(daemon.tick))
            bare.append(_timed(lambda: _bare_look(root / "inbox")))
        memory = memory_megabytes(os.getpid())
    print(median(rescans), median(quiet), median(bare), memory)


def _timed(act: object) -> float:
    """Return the CPU milliseconds of a call in this thread."""
    before = time.thread_time()
    act()  # type: ignore[operator] # a callable
    return (time.thread_time() - before) * 1000


def _bare_look(inbox: Path) -> None:
    with os.scandir(inbox) as found:
        for item in found:
            item.stat(follow_symlinks=False)


if __name__ == "__main__" and len(sys.argv) == 3 and Path(sys.argv[1]).is_dir():
    _run(Path(sys.argv[1]), int(sys.argv[2]))
elif __name__ == "__main__":
    main([("waiting", measure)])
