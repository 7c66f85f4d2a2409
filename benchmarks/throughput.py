"""Many sets: CPU for each job when the vendor answers at once, and wall clock by `api.max_in_flight` when it does not."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.bare import __name__ as bare
from benchmarks.emulated import emulator
from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import cpu_seconds, daemon, output_of, wait_until
from benchmarks.sets import drop, folders

IN_FLIGHT = (1, 4, 16)
TASK_SECONDS = 1.0


def measure(effort: Effort) -> list[Figure]:
    """Measure both; the bare script and the daemon take turns."""
    return [*_at_once(effort.of(500, 4)), *_by_places(effort.of(12, 1))]


def _at_once(count: int) -> list[Figure]:
    """Work off so many sets with a vendor whose tasks are done when they are submitted."""
    bare_ones, daemons = [], []
    with tempfile.TemporaryDirectory() as home, emulator() as base_url:
        _by_script(Path(home) / "first", base_url, 1, 1)  # makes the result that all others share
        for in_flight in IN_FLIGHT:
            bare_ones.append(_by_script(Path(home) / f"bare-{in_flight}", base_url, count, in_flight))
            daemons.append(_by_daemon(Path(home) / f"daemon-{in_flight}", base_url, count, in_flight))
    cpu, floor = (median(cpu for cpu, _ in runs) / count * 1000 for runs in (daemons, bare_ones))
    walls = zip(IN_FLIGHT, daemons, bare_ones, strict=True)
    return [
        Figure("CPU for each job, of the daemon", cpu, "ms", floor, "bare script", at_most_times_floor=1.5),
        *(
            Figure(
                f"{count} sets, instant vendor, max_in_flight = {n}", wall, "s", bare_wall, f"bare script, threads: {n}"
            )
            for n, (_, wall), (_, bare_wall) in walls
        ),
    ]


def _by_places(rounds: int) -> list[Figure]:
    """Work off so many sets for each place at a vendor whose tasks take a second: the places are what bounds it."""
    figures = []
    with tempfile.TemporaryDirectory() as home, emulator(TASK_SECONDS) as base_url:
        for n in IN_FLIGHT:
            _, wall = _by_daemon(Path(home) / f"daemon-{n}", base_url, rounds * n, n)
            name = f"{rounds * n} sets, tasks of {TASK_SECONDS:g} s, max_in_flight = {n}"
            figures.append(Figure(name, wall, "s", rounds * TASK_SECONDS, "the tasks alone"))
    return figures


def _by_script(root: Path, base_url: str, count: int, threads: int) -> tuple[float, float]:
    """Return the CPU and wall-clock seconds of the bare script."""
    (root / "inbox").mkdir(parents=True)
    for number in range(count):
        drop(root / "inbox", number)
    cpu, wall = output_of("-m", bare, str(root), base_url, str(threads)).split()
    return float(cpu), float(wall)


def _by_daemon(root: Path, base_url: str, count: int, in_flight: int) -> tuple[float, float]:
    """Return the CPU and wall-clock seconds of the daemon, from the first drop to the last archived."""
    with daemon(root, base_url, {"api.max_in_flight": str(in_flight)}) as process:
        before, began_at = cpu_seconds(process), time.monotonic()
        for number in range(count):
            drop(root / "inbox", number)
        wait_until(lambda: folders(root / "archive") == count, seconds=300, step_seconds=0.05)
        return cpu_seconds(process) - before, time.monotonic() - began_at


if __name__ == "__main__":
    main([("throughput", measure)])
