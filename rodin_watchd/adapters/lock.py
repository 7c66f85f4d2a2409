"""One daemon for each root: a lock file that says who holds it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rodin_watchd.errors import AlreadyRunningError, DiskError
from rodin_watchd.own_file import WRITE, refuse_foreign

_FLOCK = struct.Struct("hhqqi")  # fcntl(2), struct flock: type, whence, start, length, pid
_NO_LOCKS_ERRNOS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Lock:
    """Hold the lock while the process lives, as a context manager; the kernel frees it even after `kill -9`.

    Entering raises AlreadyRunningError, which names the holder, or DiskError when the file cannot be written or locked;
    a lock that is not `needed`, because something else keeps others off, may be one that the filesystem does not know.
    """

    def __init__(self, path: Path, *, needed: bool = True) -> None:
        self._path = path
        self._needed = needed
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = self._taken()
        return self

    def _taken(self) -> int:
        with _disk_errors(self._path):
            descriptor = os.open(self._path, WRITE, 0o644)
            try:
                self._acquire(descriptor)
                refuse_foreign(descriptor, self._path, is_lock)
                _sign(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor

    def keep(self) -> None:
        """Take the lock anew if the file at its path is not the one that is held: a share that was away may be back.

        Cheap, and to be called often. Raises AlreadyRunningError if somebody else was faster, DiskError.
        """
        if not self._is_held():
            fresh = self._taken()
            os.close(self._descriptor)
            self._descriptor = fresh

    def confirm(self) -> None:
        """Do the same: it always looks."""
        self.keep()

    def _is_held(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except OSError:  # removed; or a descriptor of a share that was lost (ESTALE)
            return False

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)

    def _acquire(self, descriptor: int) -> None:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"Another rodin_watchd serves this folder: {_told(holder(self._path) or {})}."
            ) from None
        except OSError as error:
            if self._needed or error.errno not in _NO_LOCKS_ERRNOS:
                raise


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError.of(f"The lock {path} cannot be written", error) from error


def is_lock(head: bytes) -> bool:
    """Tell whether a file that begins like this is a lock of ours."""
    return _parsed(head).keys() == {"host", "pid"}


def _sign(descriptor: int) -> None:
    """Write who holds the lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)


def holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the daemon that holds the lock, {} if it does not say, None when nobody does.

    Raises PermissionError without the right to read the file. Asking takes no lock, not even for a moment: it never keeps a daemon from starting.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        return None if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK else _parsed(os.read(descriptor, 4096))
    finally:
        os.close(descriptor)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _told(found: dict[str, Any]) -> str:
    return f"process {found['pid']} on {found['host']}" if {"pid", "host"} <= found.keys() else "unknown who"
