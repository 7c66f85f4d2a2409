"""A process's descendants, as the process table tells them; and ending them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_ROUNDS: Final = 20
"""So often the process table is read again for processes that were started while it was read."""


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
    for entry in _PROC.glob("[0-9]*") if _PROC.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            status, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]  # proc(5): state, ppid
            below[int(parent)].append(int(entry.name))
            if status == b"Z":
                zombies.add(int(entry.name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in below[parent]]
        found += new
    return [child for child in found if child not in zombies]
