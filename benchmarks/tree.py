"""An inbox with many files that wait for others, in many folders or all in one: what the daemon takes at rest, and when one more comes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figures import Effort, Figure, main
from benchmarks.processes import cpu_seconds, daemon, memory_megabytes, wait_until
from benchmarks.sets import SMALL_MODEL
from benchmarks.waiting import NOWHERE

FILES_IN_FOLDER = 20
MOST_REST_PERCENT = 0.5


def measure(effort: Effort) -> list[Figure]:
    """Do the same with folders and without."""
    return [*_measured(effort, flat=False), *_measured(effort, flat=True)]


def _measured(effort: Effort, *, flat: bool) -> list[Figure]:
    """Fill the tree, start the daemon on it, wait for its rest, watch it, and drop files one by one."""
    files = effort.sized(100_000, 200)
    seconds, drops = effort.of(60, 2), effort.of(5, 1)
    with tempfile.TemporaryDirectory() as home:
        folders = _fill(Path(home), files, flat=flat)
        with daemon(Path(home), NOWHERE, {}) as pid:
            _wait_for_rest(Path(home), pid, files)
            rest = _used(pid, seconds) / seconds * 100
            wait_seconds = effort.of(10, 1)
            before = cpu_seconds(pid)
            for number in range(drops):
                (folders[number % len(folders)] / f"more{number}.glb").write_bytes(SMALL_MODEL)
                time.sleep(wait_seconds)
            one = (cpu_seconds(pid) - before - rest / 100 * drops * wait_seconds) / drops
            memory = memory_megabytes(pid)
    name = f"{files:,} files in {'the inbox itself' if flat else f'{len(folders):,} folders'}"
    return [
        Figure(f"{name}: CPU at rest over {seconds} s", rest, "%", at_most=MOST_REST_PERCENT),
        Figure(f"{name}: CPU when one more file comes", max(one, 0.0) * 1000, "ms"),
        Figure(f"{name}: memory", memory, "MB"),
    ]


def _fill(root: Path, files: int, *, flat: bool) -> list[Path]:
    """Write the files, and return the folders that they are in."""
    inbox, count = root / "inbox", 1 if flat else files // FILES_IN_FOLDER
    folders = [inbox] if flat else [inbox / f"project{n // 50:03}" / f"asset{n:05}" for n in range(count)]
    for folder in folders:
        folder.mkdir(parents=True)
        for file in range(files // count):
            (folder / f"part{file:02}.glb").write_bytes(SMALL_MODEL)
    return folders


def _wait_for_rest(root: Path, pid: int, files: int) -> None:
    """Wait until STATUS.txt counts all files, and nothing is done any more."""
    wait_until(lambda: f"{files:,}"[:3] in (root / "STATUS.txt").read_text(), seconds=600)
    wait_until(lambda: _used(pid, 1.0) < 0.1, seconds=600)


def _used(pid: int, seconds: float) -> float:
    """Return the CPU seconds that a process uses meanwhile."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before


if __name__ == "__main__":
    main([("tree", measure)])
