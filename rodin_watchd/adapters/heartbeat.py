"""The sign of life: a small file next to the journal, written over by each tick, that a probe reads without any lock.

It is written in place and never synced: after a crash it is of no worth, and a disk that is full has room for it. Who
reads it must look at the daemon's lock as well, for the file outlives the daemon.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from rodin_watchd.core.health import Health
from rodin_watchd.own_file import HEAD_BYTES, head_of, opened_own

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def sign_path(journal: Path) -> Path:
    """Return where the sign of life of a journal's daemon is."""
    return journal.with_name("alive.json")


def leave_heartbeat(path: Path, health: Health) -> None:
    """Write it; no fsync. Raises ForeignFileError, OSError."""
    record = json.dumps({"pid": os.getpid(), "boot": _boot(), "vitals": health.as_data()}).encode()
    descriptor = opened_own(path, is_sign)
    try:
        os.pwrite(descriptor, record.ljust(HEAD_BYTES), 0)  # one write of one length: no reader sees the half of it
    finally:
        os.close(descriptor)


def is_sign(head: bytes) -> bool:
    """Return whether a file that begins like this is a sign of life."""
    return head.startswith(b'{"pid": ') and b', "boot": "' in head[:64]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What was read: who wrote it, and how long ago."""

    pid: int
    age_seconds: float
    health: Health


def read_heartbeat(path: Path) -> Heartbeat | None:
    """Return the sign of life, None where there is none that can be understood. Raises PermissionError."""
    try:
        data = json.loads(head_of(path))
        health = Health.of_data(data["vitals"])
        return Heartbeat(int(data["pid"]), _age_seconds(health, str(data["boot"])), health)
    except PermissionError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _age_seconds(health: Health, boot: str) -> float:
    """Compare by monotonic time, which is one for all processes until the machine starts again; else by the clock."""
    same = boot and boot == _boot()
    return max(time.monotonic() - health.monotonic if same else time.time() - health.at, 0.0)


@cache
def _boot() -> str:
    """Return what names this boot of the machine, which no process outlives; "" where nothing does."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
