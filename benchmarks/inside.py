"""The daemon in a process that watches itself: what works off the sets that are in its inbox, and what each tick takes.

As a program: `python -m benchmarks.inside ROOT [BUNDLE]` runs until nothing moves any more, and prints a line of JSON.
With a bundle of CA certificates, servers are verified by that one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import certifi

from benchmarks.figures import percentile
from benchmarks.processes import KEY, memory_megabytes, running


class Tick(NamedTuple):
    """One round of the main loop."""

    began: float  # CLOCK_MONOTONIC, seconds
    seconds: float  # wall clock
    cpu_seconds: float  # of the main thread


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


def run_inside(root: Path, bundle: Path | None = None, watch: Callable[[int], None] = lambda _pid: None) -> Run:
    """Work off what is in the inbox, in a process of its own; `watch` is called with its id each second. Raises CalledProcessError."""
    arguments = ["-m", "benchmarks.inside", str(root), *([str(bundle)] if bundle else [])]
    with running(*arguments, stdout=subprocess.PIPE) as process:
        while True:
            try:
                told, _ = process.communicate(timeout=1.0)
                break
            except subprocess.TimeoutExpired:
                watch(process.pid)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    found = json.loads(told.splitlines()[-1])
    flat = iter(found["ticks"])
    return Run(**{**found, "ticks": [Tick(*tick) for tick in zip(flat, flat, flat, strict=True)]})


def _run(root: Path) -> dict[str, object]:
    from rodin_watchd.adapters.host import share_memory_pool  # noqa: PLC0415 - after the bundle was chosen
    from rodin_watchd.config import load_config  # noqa: PLC0415 - the same
    from rodin_watchd.service.assembly import assembled  # noqa: PLC0415 - the same

    share_memory_pool()  # as `rodin-watchd run` does
    began = time.process_time()
    ticks = array("d")  # flat, for there are many, and the memory of the daemon is measured
    with assembled(load_config(root / "config.toml"), KEY) as daemon:
        ready, used = time.monotonic(), time.process_time()
        while True:
            before, cpu_before = time.monotonic(), time.thread_time()
            daemon.tick()
            ticks.extend((before, time.monotonic() - before, time.thread_time() - cpu_before))
            if daemon.is_idle():
                break
            daemon.sleep()
        cpu, wall = time.process_time() - used, time.monotonic() - ready
    run = Run(used - began, cpu, wall, (), memory_megabytes(os.getpid(), "VmHWM"))
    return {**asdict(run), "ticks": ticks.tolist()}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        certifi.where = lambda: sys.argv[2]
    print(json.dumps(_run(Path(sys.argv[1]))))
