"""Ballast: room that is kept for the one thing that must be written even when the disk is full.

A journal on a full disk cannot commit even a change of the same size: its write-ahead log grows first. An answer that says
that the vendor accepted and charged a job must be kept all the same. So a file without content holds some room, and is
removed when such a commit finds none.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from rodin_watchd.errors import DiskError, ForeignFileError
from rodin_watchd.own_file import head_of, opened_own, refuse_foreign_at

BALLAST_BYTES = 4 << 20
"""Room for the answers to as many submits as can be under way (64): measured 37 kB of log for each."""

COMMIT_BYTES = 64 << 10
"""With less free room than this a commit may fail."""

_OPENING = b"rodin_watchd keeps this room for its journal.\n"
_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_NO_CALL_ERRNOS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def ballast_path(journal: Path) -> Path:
    """Return where the ballast of a journal lies."""
    return journal.with_name("journal.ballast")


def can_grow(journal: Path) -> bool:
    """Tell whether there is room for commits: with the ballast laid for some, else for the ballast, which comes first."""
    laid = Ballast(ballast_path(journal)).is_laid()
    return shutil.disk_usage(journal.parent).free >= (COMMIT_BYTES if laid else BALLAST_BYTES)


class Ballast:
    """The file that holds the room; for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._laid = False

    def lay(self) -> bool:
        """Make sure that the room is held; tell whether it is. Costs next to nothing where it was held before."""
        if not (self._laid and self._path.exists()):
            self._laid = self.is_laid() or self._make()
        return self._laid

    def release(self) -> bool:
        """Give the room; tell whether there was any to give."""
        self._laid = False
        try:
            refuse_foreign_at(self._path, is_ballast)
            self._path.unlink()
        except (DiskError, OSError):
            return False
        return True

    def is_laid(self) -> bool:
        """Tell whether the file is there with its room."""
        try:
            there = self._path.stat().st_blocks * 512 >= BALLAST_BYTES
            return there and is_ballast(head_of(self._path))
        except OSError:
            return False

    def _make(self) -> bool:
        """Make the file, whole or not at all. Where it cannot be had for another reason than room, do without."""
        try:
            descriptor = opened_own(self._path, is_ballast)
        except (ForeignFileError, OSError) as error:
            return not (isinstance(error, OSError) and error.errno in _FULL_ERRNOS)
        try:
            _fill(descriptor)
        except OSError as error:
            self.release()
            return error.errno not in _FULL_ERRNOS
        finally:
            os.close(descriptor)
        return True


def is_ballast(head: bytes) -> bool:
    """Tell whether a file that begins like this is ballast; that of an earlier version is nothing but zeros."""
    return head.startswith(_OPENING) or not any(head)


def _fill(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _OPENING, 0)
    try:
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    except OSError as error:
        if error.errno not in _NO_CALL_ERRNOS:
            raise
        room = os.urandom(BALLAST_BYTES - len(_OPENING))  # which no filesystem can squeeze
        os.pwrite(descriptor, room, len(_OPENING))
    os.fsync(descriptor)
