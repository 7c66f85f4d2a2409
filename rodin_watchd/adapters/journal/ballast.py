"""Ballast: room that is kept for the one thing that must be written even when the disk is full.

A journal on a full disk cannot commit even a change of the same size: its write-ahead log grows first. An answer that says
that the vendor accepted and charged a job must be kept all the same. So a file without content holds some room, and is
removed when such a commit finds none.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

BALLAST_BYTES = 4 << 20
"""Room for the answers to as many submits as can be under way (64): measured 37 kB of log for each."""

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_NO_CALL_ERRNOS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Ballast:
    """The file that holds the room; for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._laid = False

    def lay(self) -> bool:
        """Make sure that the room is held; tell whether it is. Costs nothing where it was held before."""
        if not self._laid:
            self._laid = self._holds() or self._make()
        return self._laid

    def release(self) -> bool:
        """Give the room; tell whether there was any to give."""
        self._laid = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _holds(self) -> bool:
        try:
            return self._path.stat().st_blocks * 512 >= BALLAST_BYTES
        except OSError:
            return False

    def _make(self) -> bool:
        """Make the file, whole or not at all. Where it cannot be had for another reason than room, do without."""
        try:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
            )
            try:
                _fill(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            return error.errno not in _FULL_ERRNOS
        return True


def _fill(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    except OSError as error:
        if error.errno not in _NO_CALL_ERRNOS:
            raise
        os.pwrite(descriptor, os.urandom(BALLAST_BYTES), 0)  # which no filesystem can squeeze
    os.fsync(descriptor)
