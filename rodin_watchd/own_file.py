"""Files of the service's own under fixed names: written over only where what is there is known to be ours.

A name says nothing of who made a file: the folder may be one that other programs keep files in, too. So each kind of file is
known by how it begins. An empty file is nobody's loss.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from rodin_watchd.errors import DiskError, ForeignFileError

IsOurs: TypeAlias = Callable[[bytes], bool]
"""Says by its first bytes, up to `HEAD_BYTES` of them, whether a file is one of ours."""

HEAD_BYTES: Final = 4096
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not hold us up
WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file of ours is opened to be written over."""

_NOT_PLAIN_ERRNOS: Final = (errno.ELOOP, errno.EISDIR, errno.ENXIO)


def opened_own(path: Path, is_ours: IsOurs, folder: int | None = None) -> int:
    """Open a file of ours to be written over, or make it, and return the descriptor. Raises ForeignFileError, OSError.

    With an open `folder` the name is looked for in that one.
    """
    try:
        descriptor = os.open(path if folder is None else path.name, WRITE, 0o644, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_PLAIN_ERRNOS:
            raise _foreign(path) from error
        raise
    try:
        refuse_foreign(descriptor, path, is_ours)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def refuse_foreign(descriptor: int, path: Path, is_ours: IsOurs) -> None:
    """Raise ForeignFileError for an open file that is none of ours; `path` is for the message. Raises OSError."""
    plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
    head = os.pread(descriptor, HEAD_BYTES, 0) if plain else b""
    if not plain or (head and not is_ours(head)):
        raise _foreign(path)


def refuse_foreign_at(path: Path, is_ours: IsOurs) -> None:
    """Raise ForeignFileError where something is that is none of ours, DiskError where that is not known."""
    try:
        data = head_of(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in _NOT_PLAIN_ERRNOS:
            raise _foreign(path) from error
        raise DiskError.of(f"{path} cannot be read", error) from error
    if data and not is_ours(data):
        raise _foreign(path)


def _foreign(path: Path) -> ForeignFileError:
    return ForeignFileError(f"{path} is not a file of this service, and is left as it is.")


def head_of(path: Path) -> bytes:
    """Return the first bytes of a plain file. Raises OSError, IsADirectoryError for anything that is none."""
    descriptor = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is not a plain file", str(path))
        return os.pread(descriptor, HEAD_BYTES, 0)
    finally:
        os.close(descriptor)
