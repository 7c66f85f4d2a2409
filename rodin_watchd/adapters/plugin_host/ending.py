"""Ending a plugin's process and all that it started, wherever that went."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_ROUNDS: Final = 20
"""So often the process table is read again for processes that were started while it was read."""


def end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process, its session and all its descendants, and return its status as `Popen.returncode` tells it.

    The worker is a subreaper (prctl(2)): as long as it lives, whatever it started is below it, also what left its
    session. May be repeated.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)  # it starts nothing more, and takes in what loses its parent
        for _ in range(_ROUNDS):
            below = descendants(process.pid)
            for pid in below:
                _kill(pid)
            if not below:
                break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    return process.wait()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes below one that still run, zombies not counted; none where there is no /proc."""
    below: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.glob("[0-9]*") if _PROC.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            status, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]  # proc(5): state, ppid
            if status != b"Z":
                below[int(parent)].append(int(entry.name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in below[parent]]
        found += new
    return found
