"""What a plugin leaves behind, ended and removed: its processes, as the process table shows them, and its files."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PROC: Final = "/proc"
_ROUNDS: Final = 20
"""How often the process table is read again for processes that were started while it was read."""


def end_below(pid: int, besides: int = 0) -> None:
    """Kill all processes below one, until none is left; `besides` is left alone, what is below it is not."""
    for _ in range(_ROUNDS):
        below = [found for found in descendants(pid) if found != besides]
        for found in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(found, signal.SIGKILL)
        if not below:
            return


def descendants(pid: int) -> list[int]:
    """Return the processes below one that still run, zombies not counted; none where there is no /proc."""
    below: dict[int, list[int]] = defaultdict(list)
    zombies = set()
    for name in filter(str.isdigit, os.listdir(_PROC) if os.path.isdir(_PROC) else ()):  # noqa: PTH112, PTH208 - once a second
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"{_PROC}/{name}/stat", "rb", 0) as stream:  # noqa: PTH123
            status, parent = stream.read().rpartition(b")")[2].split()[:2]  # proc(5): state, ppid
            below[int(parent)].append(int(name))
            if status == b"Z":
                zombies.add(int(name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in below[parent]]
        found += new
    return [child for child in found if child not in zombies]


# ---- What a plugin leaves on the disk: measured, and removed --------------------------------------------------------


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder have; what vanishes under the look does not count."""
    total = 0
    for top, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(top, name))  # noqa: PTH118 - a Path for each of many files takes its time
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, also what nobody may write; what stays, stays."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    shutil.rmtree(path, onerror=_open_and_repeat)


def _open_and_repeat(function: Callable[[str], object], path: str, _error: object) -> None:
    """Give ourselves the rights on a folder that the plugin took away, and try once more; links are not followed."""
    with contextlib.suppress(OSError):
        _open_up(os.path.dirname(path))  # noqa: PTH120 - as shutil gives it
        if function in (os.rmdir, os.unlink):
            function(path)
        else:
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)


def _open_up(folder: str) -> None:
    """Give ourselves the rights on a folder; what a link leads to keeps its own. Raises OSError."""
    if stat.S_ISDIR(os.lstat(folder).st_mode):
        os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - as above
