"""Folders on filesystems of their own: small disks and bind mounts, in a mount namespace of this process where it has one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNS = 0x20000  # unshare(2)


def own_mounts() -> None:
    """Give this process, and those that it starts, mounts of their own: whatever ends it, they end with it. Does nothing where that is not permitted."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def why_no_mounts() -> str:
    """Return why nothing can be mounted here, "" if it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root may mount filesystems"
    with tempfile.TemporaryDirectory(prefix="mount-") as folder:
        command = ["mount", "-t", "tmpfs", "tmpfs", folder]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return "mounting is not permitted here"
        _unmounted(Path(folder))
    return ""


@contextlib.contextmanager
def disk(place: Path, *, megabytes: int = 16, inodes: int = 0) -> Iterator[Path]:
    """Mount an empty disk on a folder, with so much room and so many inodes (0: enough)."""
    place.mkdir(parents=True, exist_ok=True)
    limits = f"size={megabytes}m" + (f",nr_inodes={inodes}" if inodes else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", limits, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        _unmounted(place)


@contextlib.contextmanager
def bound(source: Path, place: Path) -> Iterator[Path]:
    """Mount a folder on another one: the same filesystem, and no rename from one to the other (EXDEV)."""
    source.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(source), str(place)], check=True)
    try:
        yield place
    finally:
        _unmounted(place)


def _unmounted(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)
