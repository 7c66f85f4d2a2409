"""Status calls and CPU of a job whose task takes its time: the daemon itself, with a vendor whose tasks take 20 s and 60 s.

Each task takes a little more or less (log-normal, sigma 0.15). The first tasks, by which the daemon learns how long they take,
are not counted. The floor is what asking every 5 s takes for the same tasks.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from statistics import fmean

from benchmarks.figures import Effort, Figure, main
from benchmarks.processes import cpu_seconds, daemon, wait_until
from benchmarks.sets import drop, folders
from benchmarks.vendor import vendor

FIXED_SECONDS = 5.0
FIXED = "every 5 s"
PLACES = 32
LIMITS = {"api.max_in_flight": str(PLACES), "polling.min_seconds": "2", "polling.max_seconds": "30"}


def measure(effort: Effort) -> list[Figure]:
    """Work off sets with tasks of each length."""
    learned, counted = effort.of(PLACES, 1), effort.of(2 * PLACES, 1)
    lengths = (1,) if effort.quick else (20, 60)
    return [figure for seconds in lengths for figure in _measured(seconds, learned, counted)]


def _measured(seconds: int, learned: int, counted: int) -> list[Figure]:
    count = learned + counted
    with (
        tempfile.TemporaryDirectory() as home,
        vendor(task_seconds=seconds) as (base_url, process),
        daemon(Path(home), base_url, LIMITS) as pid,
    ):
        before = cpu_seconds(pid)
        for number in range(count):
            drop(Path(home) / "inbox", number)
        wait_until(lambda: folders(Path(home) / "archive") == count, seconds=20 * seconds + 120, step_seconds=0.2)
        cpu = (cpu_seconds(pid) - before) / count * 1000
        told = process.stdout
        tasks = [list(map(float, told.readline().split())) for _ in range(count)][learned:] if told else []
    fixed = [math.ceil(takes / FIXED_SECONDS) for takes, _, _ in tasks]
    fixed_late = fmean(calls * FIXED_SECONDS - takes for calls, (takes, _, _) in zip(fixed, tasks, strict=True))
    calls, late = fmean(calls for _, calls, _ in tasks), fmean(late for *_, late in tasks)
    name = f"tasks of {seconds} s"
    return [
        Figure(f"{name}: status calls a task", calls, "calls", fmean(fixed), FIXED, at_most_times_floor=0.5),
        Figure(f"{name}: delay from Done to noticed", late, "s", fixed_late, FIXED, at_most_times_floor=1.0),
        Figure(f"{name}: CPU for each job", cpu, "ms"),
    ]


if __name__ == "__main__":
    main([("calls", measure)])
