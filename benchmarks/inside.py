"""The daemon in a process that watches itself: what works off the sets that are in its inbox, and what each tick takes.

As a program: `python -m benchmarks.inside ROOT [BUNDLE]` runs until nothing moves any more, and prints a line of JSON.
With a bundle of CA certificates, servers are verified by that one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import certifi

from benchmarks.figures import percentile
from benchmarks.processes import KEY, memory_megabytes, output_of


class Tick(NamedTuple):
    """One round of the main loop."""

    began: float  # CLOCK_MONOTONIC, seconds
    seconds: float  # wall clock


@dataclass(frozen=True, slots=True)
class Run:
    """What a run took, from a start with the sets in the inbox until nothing moved any more."""

    start_seconds: float  # CPU, until the main loop begins, imports apart
    cpu_seconds: float
    wall_seconds: float
    ticks: Sequence[Tick]
    memory_megabytes: float  # at its highest

    @property
    def tick_p99_milliseconds(self) -> float:
        """The slowest ticks but one in a hundred."""
        return percentile((tick.seconds for tick in self.ticks), 0.99) * 1000


def run_inside(root: Path, bundle: Path | None = None) -> Run:
    """Work off what is in the inbox, in a process of its own."""
    told = json.loads(
        output_of("-m", "benchmarks.inside", str(root), *([str(bundle)] if bundle else [])).splitlines()[-1]
    )
    return Run(**{**told, "ticks": [Tick(*tick) for tick in told["ticks"]]})


def _run(root: Path) -> Run:
    from rodin_watchd.config import load_config  # noqa: PLC0415 - after the bundle was chosen
    from rodin_watchd.service.assembly import assembled  # noqa: PLC0415 - the same

    began = time.process_time()
    ticks: list[Tick] = []
    with assembled(load_config(root / "config.toml"), KEY) as daemon:
        ready, used = time.monotonic(), time.process_time()
        while True:
            before = time.monotonic()
            daemon.tick()
            ticks.append(Tick(before, time.monotonic() - before))
            if daemon.is_idle():
                break
            daemon.sleep()
        cpu, wall = time.process_time() - used, time.monotonic() - ready
    return Run(used - began, cpu, wall, ticks, memory_megabytes(os.getpid(), "VmHWM"))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        certifi.where = lambda: sys.argv[2]
    print(json.dumps(asdict(_run(Path(sys.argv[1])))))
