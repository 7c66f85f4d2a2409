"""What statx(2) says and `os.stat` does not: whether something is mounted on just this folder, and when a file was made.

Two mounts of one folder have the same device and inode; only the kernel distinguishes them. Where the system
has no statx, or keeps it from us, the mount's number in /proc/self/fdinfo is compared (proc_pid_fdinfo(5)), then the device.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from pathlib import Path
from typing import Final

from rodin_watchd.core.mounts import Birth

_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_STATX_INO: Final = 0x100
_STATX_BTIME: Final = 0x800
_STATX_ATTR_MOUNT_ROOT: Final = 0x2000  # Linux 5.8
_BYTES: Final = 256
_HEAD: Final = struct.Struct("=II Q 16x Q 16x Q")  # mask, block size, attributes, inode, attributes that are known
_BTIME: Final = struct.Struct("=qI")
_BTIME_AT: Final = 80
_MOUNT: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)


def is_mount_point(folder: int) -> bool:
    """Return whether something is mounted on just this open folder, be it a folder of the same filesystem. Raises OSError."""
    found = _stated(folder)
    if found is not None:
        _mask, _, attributes, _inode, known = _HEAD.unpack_from(found)
        if known & _STATX_ATTR_MOUNT_ROOT:
            return bool(attributes & _STATX_ATTR_MOUNT_ROOT)
    return _crosses_a_mount(folder)


def _crosses_a_mount(folder: int) -> bool:
    parent = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        here, above = _mount_of(folder), _mount_of(parent)
        if here and above:
            return here != above
        return os.fstat(folder).st_dev != os.fstat(parent).st_dev
    finally:
        os.close(parent)


def _mount_of(descriptor: int) -> bytes:
    with contextlib.suppress(OSError):
        if found := _MOUNT.search(Path(f"/proc/self/fdinfo/{descriptor}").read_bytes()):
            return found[1]
    return b""


def birth_of(descriptor: int) -> Birth | None:
    """Return what distinguishes an open file from a copy of it, None where the system does not show its inode."""
    return _birth(_stated(descriptor))


def birth_at(path: Path) -> Birth | None:
    """Return the same of what is at a path, without opening it; None also where nothing does."""
    return _birth(_stated(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW))


def _birth(found: bytes | None) -> Birth | None:
    if found is None:
        return None
    mask, _, _attributes, inode, _known = _HEAD.unpack_from(found)
    if not mask & _STATX_INO:
        return None
    seconds, nanoseconds = _BTIME.unpack_from(found, _BTIME_AT)
    made_ns = seconds * 1_000_000_000 + nanoseconds if mask & _STATX_BTIME else 0
    return Birth(inode, max(made_ns, 0))


def _stated(folder: int, path: bytes = b"", flags: int = _AT_EMPTY_PATH) -> bytes | None:
    if _statx is None:
        return None
    buffer = ctypes.create_string_buffer(_BYTES)
    if _statx(folder, path, flags, _STATX_INO | _STATX_BTIME, buffer):
        return None
    return buffer.raw
