"""From the last byte of a set to the head of its submit at the vendor: the real daemon, native watcher."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import requests

from benchmarks.figures import Effort, Figure, main, median, percentile
from benchmarks.processes import KEY, daemon, wait_until
from benchmarks.sets import IMAGE, MODEL, drop, folders
from benchmarks.vendor import vendor


def measure(effort: Effort) -> list[Figure]:
    """Drop sets one after the other, each when the one before is archived."""
    count = effort.of(120, 6)
    figures = []
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, process):
        bare = [_bare(base_url, process) for _ in range(count)]
        for name, sidecar in (("with sidecar", True), ("without sidecar, sidecar_wait_seconds = 0", False)):
            late = _daemon(Path(home) / str(sidecar), base_url, process, count, sidecar=sidecar)
            figures += [
                Figure(
                    f"last byte to submit, {name}: median", median(late), "ms", median(bare), "bare POST", at_most=50
                ),
                Figure(
                    f"last byte to submit, {name}: p99",
                    percentile(late, 0.99),
                    "ms",
                    percentile(bare, 0.99),
                    "bare POST",
                    at_most=250,
                ),
            ]
    return figures


def _arrived_at(process: subprocess.Popen[str]) -> float:
    """Read from the vendor when the next submit's head came."""
    assert process.stdout is not None  # noqa: S101 - `vendor` asks for it
    return float(process.stdout.readline())


def _bare(base_url: str, process: subprocess.Popen[str]) -> float:
    """Return the milliseconds of a script that is notified when the set is whole and posts it as it is."""
    with MODEL.open("rb") as model, IMAGE.open("rb") as image:
        started = time.monotonic()
        requests.post(
            f"{base_url}/api/v2/rodin_texture_only",
            files={"model": model, "image": image},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )
    return (_arrived_at(process) - started) * 1000


def _daemon(root: Path, base_url: str, process: subprocess.Popen[str], count: int, *, sidecar: bool) -> list[float]:
    late = []
    with daemon(root, base_url, {"intake.sidecar_wait_seconds": "3" if sidecar else "0"}):
        for number in range(count):
            written_at = drop(root / "inbox", number, sidecar=sidecar)
            late.append((_arrived_at(process) - written_at) * 1000)
            wait_until(lambda done=number + 1: folders(root / "archive") >= done)  # type: ignore[misc] # a bound default
    return late


if __name__ == "__main__":
    main([("latency", measure)])
