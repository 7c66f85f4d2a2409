"""Who writes a file: whether any program has a file open for writing, by the kernel's own word: a read lease, fcntl(2).

A read lease is refused with EAGAIN while anybody on this machine has the file open for writing: a file server, a download, a
shell. It is given back at once. It needs a file of our own or the capability CAP_LEASE.

Whom to believe was found by experiment, on Linux 6.18 (docs/intake.md has the table). The filesystems of this machine's own disks
give the true answer. FUSE asks the kernel alone: a refusal is true, but a program on the other side of the mount stays unseen. NFS
and CIFS grant leases by what their server delegates, so that neither answer means anything (linux, fs/nfs/nfs4file.c, fs/smb/client/cifsfs.c).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
import sys
from enum import Enum
from pathlib import Path
from typing import Final

_LOCAL: Final = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0x794C7630,  # overlayfs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
    }
)
"""Filesystems whose answer is the truth, by `f_type` of statfs(2)."""

_FUSE: Final = 0x65735546

_CAP_LEASE: Final = 28
"""The number of the capability (linux/capability.h)."""

_EFFECTIVE: Final = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)

_statfs = ctypes.CDLL(None, use_errno=True).fstatfs if sys.platform == "linux" else None


def is_open_for_writing(descriptor: int) -> bool | None:
    """Return whether any program has the file of this descriptor, open for reading, open for writing; None: not to be known here.

    A program that opens the file in the microseconds of the question waits for their end; one that must not wait gets EWOULDBLOCK.
    May be called from any thread, and repeated. Never raises for a file that is open.
    """
    kind = _filesystem(descriptor)
    if kind not in _LOCAL and kind != _FUSE:
        return None
    try:
        # The signal of a lease that is broken would end the process; this one is ignored where nobody asks for it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # EACCES: another user's file, and no CAP_LEASE; EINVAL: this filesystem has no leases
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False if kind in _LOCAL else None


class Asking(Enum):
    """Of which files in a folder the kernel says whether a program has them open for writing, in words for people."""

    ALL = "the kernel says which files are open for writing"
    OWN = "the kernel says which of this user's files are open for writing, and of other users' files nothing (no CAP_LEASE)"
    REFUSALS = "the kernel says which files a program of this machine has open through this mount (FUSE), and of others nothing"
    NONE = "the kernel does not say here which files are open for writing"


def asking(folder: Path, *, with_capability: bool) -> Asking:
    """Return what the kernel says of the files in a folder to a user with or without CAP_LEASE. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        kind = _filesystem(descriptor)
    finally:
        os.close(descriptor)
    if kind == _FUSE:
        return Asking.REFUSALS
    if kind not in _LOCAL:
        return Asking.NONE
    return Asking.ALL if with_capability else Asking.OWN


def has_capability(process: str = "self") -> bool:
    """Return whether a process has CAP_LEASE, by its number: proc_pid_status(5). Raises OSError."""
    try:
        text = Path("/proc", process, "status").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # another platform than Linux, or a process that has ended
        return False
    found = _EFFECTIVE.search(text)
    return found is not None and bool(int(found[1], 16) >> _CAP_LEASE & 1)


def has_hole(descriptor: int, size: int) -> bool:
    """Return whether a part of an open file of `size` bytes was never written, where the filesystem keeps that: lseek(2), SEEK_HOLE."""
    try:
        return size > 0 and os.lseek(descriptor, 0, os.SEEK_HOLE) < size
    except OSError:
        return False


def _filesystem(descriptor: int) -> int | None:
    if _statfs is None:
        return None
    found = (ctypes.c_long * 32)()  # struct statfs has 15 words; its first is f_type
    return None if _statfs(descriptor, ctypes.byref(found)) else found[0] & 0xFFFFFFFF
