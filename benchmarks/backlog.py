"""10,000 small sets with 64 in flight: the time that each tick takes, the memory as jobs are done, jobs a second, CPU for each job.

First all sets are in the inbox from the start; then they come in as fast as others are done, so that few ever wait: there nothing
hides what the daemon keeps of finished jobs. The vendor is the project's emulator, whose tasks take a few seconds.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.emulated import emulator
from benchmarks.figures import Effort, Figure, main, percentile
from benchmarks.inside import Run, run_inside
from benchmarks.processes import memory_megabytes, write_config
from benchmarks.sets import drop_small, folders

IN_FLIGHT = 64
TASK_SECONDS = 4.0
SETTINGS = {
    "api.max_in_flight": str(IN_FLIGHT),
    "intake.sidecar_wait_seconds": "0",
    "polling.min_seconds": "0.5",
    "polling.max_seconds": "2",
}
MOST_TICK_MILLISECONDS = 50
MOST_GROWTH_MEGABYTES = 0.5
"""For each 1,000 jobs done."""


class Sample(NamedTuple):
    """The memory of the daemon when so many jobs were done."""

    done: int
    megabytes: float


@dataclass
class Watched:
    """An inbox into which sets are dropped as others are done, and the memory meanwhile."""

    root: Path
    total: int
    most_waiting: int
    dropped: int = 0
    samples: list[Sample] = field(default_factory=list)

    def drop(self, done: int = 0) -> None:
        """Drop as many sets as may wait."""
        wanted = min(self.total, done + self.most_waiting)
        for number in range(self.dropped, wanted):
            drop_small(self.root / "inbox", number)
        self.dropped = max(self.dropped, wanted)

    def look(self, pid: int) -> None:
        """Note the memory, and drop what may come in now."""
        done = folders(self.root / "archive")
        with contextlib.suppress(ValueError):  # it has just ended
            self.samples.append(Sample(done, memory_megabytes(pid)))
        self.drop(done)

    @property
    def growth_megabytes(self) -> float:
        """By how much the memory grows with each 1,000 jobs, after the first 1,000 of them: till then threads and caches are made."""
        later = [one for one in self.samples if one.done >= min(1000, self.total / 2)]
        if len({one.done for one in later}) < 2:
            return 0.0
        return statistics.linear_regression([one.done / 1000 for one in later], [one.megabytes for one in later]).slope


def measure(effort: Effort) -> list[Figure]:
    """Work off the sets that are all there, then a part of them that come in."""
    everything = effort.sized(10_000, 100)
    ways = (("all in the inbox", everything, everything), ("that come in", everything // 3, 4 * IN_FLIGHT))
    figures = []
    with tempfile.TemporaryDirectory() as home, emulator(TASK_SECONDS) as base_url:
        for name, count, most_waiting in ways:
            watched = Watched(Path(home) / name.replace(" ", "-"), count, most_waiting)
            write_config(watched.root, base_url, SETTINGS)
            watched.drop()
            run = run_inside(watched.root, watch=watched.look)
            if (done := folders(watched.root / "archive")) != count:
                raise RuntimeError(f"{done} of {count} sets were delivered")
            figures += _figures(f"{count:,} sets {name}, {IN_FLIGHT} in flight", count, run, watched)
    return figures


def _figures(of: str, count: int, run: Run, watched: Watched) -> list[Figure]:
    wall = [tick.seconds * 1000 for tick in run.ticks]
    cpu = [tick.cpu_seconds * 1000 for tick in run.ticks]
    return [
        Figure(f"{of}: a tick, median", percentile(wall, 0.5), "ms", percentile(cpu, 0.5), "its CPU"),
        Figure(
            f"{of}: a tick, p99",
            percentile(wall, 0.99),
            "ms",
            percentile(cpu, 0.99),
            "p99 of its CPU",
            at_most=MOST_TICK_MILLISECONDS,
        ),
        Figure(f"{of}: the longest tick", max(wall), "ms", max(cpu), "most CPU"),
        Figure(f"{of}: pace", count / run.wall_seconds, "jobs/s", IN_FLIGHT / TASK_SECONDS, "the tasks alone"),
        Figure(f"{of}: CPU for each job", run.cpu_seconds / count * 1000, "ms"),
        Figure(f"{of}: memory at its highest", run.memory_megabytes, "MB"),
        Figure(f"{of}: memory that 1,000 more jobs add", watched.growth_megabytes, "MB", at_most=MOST_GROWTH_MEGABYTES),
    ]


if __name__ == "__main__":
    main([("backlog", measure)])
