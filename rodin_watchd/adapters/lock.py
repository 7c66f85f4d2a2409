"""One daemon for each root: a lock file that says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rodin_watchd.errors import AlreadyRunningError, DiskError

_FLOCK = struct.Struct("hhqqi")  # fcntl(2), struct flock: type, whence, start, length, pid
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Lock:
    """Hold the lock while the process lives, as a context manager; the kernel frees it even after `kill -9`.

    Entering raises AlreadyRunningError, which names the holder, or DiskError when the file cannot be written or locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        with _disk_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                self._acquire(descriptor)
                _sign(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)

    def _acquire(self, descriptor: int) -> None:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"Another rodin_watchd serves this folder: {_told(holder(self._path) or {})}."
            ) from None


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(f"The lock {path} cannot be written: {error.strerror}.") from error


def _sign(descriptor: int) -> None:
    """Write who holds the lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)


def holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the daemon that holds the lock, {} if it does not say, None when nobody does.

    Needs the right to read the file. Asking takes no lock, not even for a moment: it never keeps a daemon from starting.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
