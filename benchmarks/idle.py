"""The daemon with nothing to do: CPU and memory, fresh and after a few jobs."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Effort, Figure, main
from benchmarks.processes import cpu_seconds, daemon, memory_megabytes, running, wait_until
from benchmarks.sets import drop, folders
from benchmarks.vendor import vendor

JOBS = 20
BARE_LOOP = "import threading\nevent = threading.Event()\nwhile True: event.wait(1)"
IMPORTS = "import requests, sqlite3, pydantic, PIL.Image, click, watchdog.observers, logging\n"


def measure(effort: Effort) -> list[Figure]:
    """Watch both daemons, and the two floors, over the same span."""
    seconds = effort.of(60, 1)
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        base_url, _ = stack.enter_context(vendor())
        fresh = stack.enter_context(daemon(Path(home) / "fresh", base_url, {}))
        used = stack.enter_context(daemon(Path(home) / "used", base_url, {}))
        bare = stack.enter_context(running("-c", BARE_LOOP)).pid
        imports = stack.enter_context(running("-c", IMPORTS + BARE_LOOP)).pid
        _do_jobs(Path(home) / "used")
        time.sleep(2)  # the last page is written, the imports are over
        pids = (fresh, used, bare)
        before = [cpu_seconds(pid) for pid in pids]
        time.sleep(seconds)
        cpu = [(cpu_seconds(pid) - b) / seconds * 100 for pid, b in zip(pids, before, strict=True)]
        memory = [memory_megabytes(pid) for pid in (fresh, used, imports)]
    return [
        Figure(f"idle CPU over {seconds} s, fresh", cpu[0], "%", cpu[2], "bare loop", at_most=0.1),
        Figure(f"idle CPU over {seconds} s, after {JOBS} jobs", cpu[1], "%", cpu[2], "bare loop", at_most=0.1),
        Figure("idle memory, fresh", memory[0], "MB", memory[2], "imports alone", at_most=60),
        Figure(f"idle memory, after {JOBS} jobs", memory[1], "MB", memory[2], "imports alone", at_most=60),
    ]


def _do_jobs(root: Path) -> None:
    for number in range(JOBS):
        drop(root / "inbox", number)
    wait_until(lambda: folders(root / "archive") == JOBS)


if __name__ == "__main__":
    main([("idle", measure)])
