"""Many whole sets that are renamed into the inbox at once, while the daemon runs and watches it: CPU until all are seen, and after.

The service is paused, so that nothing is taken. *Seen*: STATUS.txt counts all sets. *Ready*: it says that all are complete.
Twenty files are in a folder, or all are in the inbox itself. The floor reads the same events, then lists the same files with
one `stat` each. As a program: `python -m benchmarks.burst ROOT FILES` is that floor; it prints its CPU seconds.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchdog.observers.inotify_c import InotifyConstants as Flag
from watchdog.observers.inotify_c import Mask, inotify_add_watch, inotify_init

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.processes import cpu_seconds, daemon, memory_megabytes, running, wait_until
from benchmarks.sets import SMALL_IMAGE, SMALL_MODEL
from benchmarks.waiting import NOWHERE
from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.config import journal_path, load_config

FILES_IN_FOLDER = 20
MOST_CPU_SECONDS = 1.0
_HEAD = struct.Struct("iIII")  # inotify(7)


def measure(effort: Effort) -> list[Figure]:
    """Do the same in the inbox itself and in folders."""
    return [*_figures(effort, flat=True), *_figures(effort, flat=False)]


def _figures(effort: Effort, *, flat: bool) -> list[Figure]:
    """Return the medians of some rounds, daemon and floor by turns."""
    files, rest_seconds = effort.sized(20_000, 400), effort.of(20, 1)
    daemons, floors = [], []
    for _ in range(effort.of(5, 1)):
        daemons.append(_burst(files, rest_seconds, flat=flat))
        floors.append(_floor(files, flat=flat))
    seen, ready, rest, memory, highest = (median(values) for values in zip(*daemons, strict=True))
    floor = median(floors)
    place = "the inbox itself" if flat else f"{files // FILES_IN_FOLDER:,} folders"
    name = f"{files:,} files renamed into {place}"
    return [
        Figure(f"{name}: CPU until all are seen", seen, "s", floor, "events, scandir, stat", at_most=MOST_CPU_SECONDS),
        Figure(f"{name}: CPU until all are ready", ready, "s", floor, "events, scandir, stat"),
        Figure(f"{name}: CPU at rest then", rest, "%"),
        Figure(f"{name}: memory", memory, "MB"),
        Figure(f"{name}: memory at its highest", highest, "MB"),
    ]


def _burst(files: int, rest_seconds: int, *, flat: bool) -> tuple[float, ...]:
    """Return the CPU seconds until all are seen and until all are ready, the CPU at rest then, the memory, and the most."""
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        folders = _prepare(root, files, flat=flat)
        with daemon(root, NOWHERE, {"intake.watcher": '"native"'}) as pid:
            insert_command(journal_path(load_config(root / "config.toml"), os.environ), "pause", {}, time.time())
            _wait_for_rest(pid)
            before = cpu_seconds(pid)
            _rename_in(root, folders)
            status, waiting = root / "STATUS.txt", f"Waiting in the inbox ({files // 2:,})"
            wait_until(lambda: waiting in status.read_text(), seconds=600)
            seen = cpu_seconds(pid) - before
            wait_until(lambda: _is_all_ready(status.read_text(), waiting), seconds=600)
            ready = cpu_seconds(pid) - before
            _wait_for_rest(pid)
            rest = _used(pid, rest_seconds) / rest_seconds * 100
            return seen, ready, rest, memory_megabytes(pid), memory_megabytes(pid, "VmHWM")


def _is_all_ready(status: str, waiting: str) -> bool:
    """Return whether each set that the page lists only waits for the end of the pause."""
    lines = status.partition(waiting)[2].partition("\n\n")[0].splitlines()[1:]
    return bool(lines) and all("the service is paused" in line for line in lines if " … and " not in line)


def _floor(files: int, *, flat: bool) -> float:
    """Return the CPU seconds of the bare script."""
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        (root / "inbox").mkdir()
        folders = _prepare(root, files, flat=flat)
        with running("-m", "benchmarks.burst", home, str(files), stdout=-1) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            process.stdout.readline()  # it watches
            _rename_in(root, folders)
            return float(process.stdout.readline())


def _prepare(root: Path, files: int, *, flat: bool) -> list[str]:
    """Make the inbox's folders, and write the files of each next to it; return the folders, "" for the inbox itself."""
    count = 1 if flat else files // FILES_IN_FOLDER
    folders = [""] if flat else [f"project{number:04}" for number in range(count)]
    (root / "inbox").mkdir(exist_ok=True)
    for folder in folders:
        for place in (root / "inbox" / folder, root / "made" / folder):
            place.mkdir(parents=True, exist_ok=True)
        for number in range(files // count // 2):
            (root / "made" / folder / f"part{number:05}.glb").write_bytes(SMALL_MODEL)
            (root / "made" / folder / f"part{number:05}.png").write_bytes(SMALL_IMAGE)
    return folders


def _rename_in(root: Path, folders: list[str]) -> None:
    """Rename all files into the inbox, as fast as that goes."""
    moves = [
        (made, root / "inbox" / folder / made.name)
        for folder in folders
        for made in sorted((root / "made" / folder).iterdir())
    ]
    for made, dropped in moves:
        made.rename(dropped)


def _wait_for_rest(pid: int) -> None:
    """Wait until hardly anything is done any more."""
    wait_until(lambda: _used(pid, 1.5) < 0.05, seconds=600)


def _used(pid: int, seconds: float) -> float:
    """Return the CPU seconds that a process uses meanwhile."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before


# ---- The floor, a process of its own --------------------------------------------------------------------------------


def _watch(root: Path, files: int) -> None:
    """Read the events of so many files, then list all folders, and print the CPU seconds of both."""
    inbox = os.fsencode(root / "inbox")
    folders = [inbox, *(entry.path for entry in os.scandir(inbox) if entry.is_dir())]
    with _watching(folders) as descriptor:
        print("watching", flush=True)
        before = time.process_time()
        names: list[bytes] = []
        while len(names) < files:
            names += _names(os.read(descriptor, 65_536))
        found = [entry.stat(follow_symlinks=False) for folder in folders for entry in os.scandir(folder)]
    if len(found) < files:
        raise RuntimeError(f"{len(found)} of {files} files")
    print(time.process_time() - before, flush=True)


@contextmanager
def _watching(folders: list[bytes]) -> Iterator[int]:
    """Give the descriptor of an inotify instance that watches these folders."""
    descriptor = inotify_init()
    try:
        for folder in folders:
            inotify_add_watch(descriptor, folder, Mask(Flag.IN_MOVED_TO | Flag.IN_MOVED_FROM))
        yield descriptor
    finally:
        os.close(descriptor)


def _names(events: bytes) -> Iterator[bytes]:
    """Give the names in a buffer of events."""
    at = 0
    while at < len(events):
        _wd, _mask, _cookie, length = _HEAD.unpack_from(events, at)
        at += _HEAD.size + length
        yield events[at - length : at].rstrip(b"\0")


if __name__ == "__main__" and len(sys.argv) == 3 and Path(sys.argv[1]).is_dir():
    _watch(Path(sys.argv[1]), int(sys.argv[2]))
elif __name__ == "__main__":
    main([("burst", measure)])
