"""One daemon for each root: a lock file that says who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any, Self

from rodin_watchd.errors import AlreadyRunningError, DiskError


class Lock:
    """Hold the lock while the process lives, as a context manager; the kernel frees it even after `kill -9`.

    Entering raises AlreadyRunningError, which names the holder, or DiskError when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DiskError(f"The lock {self._path} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise AlreadyRunningError(
                f"Another rodin_watchd serves this folder: {_told(holder(self._path))}."
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)


def holder(path: Path) -> dict[str, Any] | None:
    """Return host and pid of the daemon that holds the lock, None when nobody does. Needs the right to read the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parsed(os.read(descriptor, 4096))
    else:
        return None
    finally:
        os.close(descriptor)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _told(found: dict[str, Any] | None) -> str:
    return f"process {found['pid']} on {found['host']}" if found and {"pid", "host"} <= found.keys() else "unknown who"
