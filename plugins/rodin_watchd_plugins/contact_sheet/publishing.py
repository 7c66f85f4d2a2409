"""Files next to results: written whole or not at all, without following links, and never in the place of another's file."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIGN: Final = "rodin_watchd contact sheet"
"""Stands at the beginning of each file of a sheet: what has it not is somebody else's."""

_HEAD_BYTES: Final = 4096
_MOST_TRIES: Final = 100
_LEFT_SECONDS: Final = 3600.0
"""So old, an unfinished file was left by a call that was ended."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder: what is written goes there, also if another one takes its name."""

    path: Path
    descriptor: int

    def write(self, name: str, data: bytes) -> None:
        """Put a file of a sheet into the folder, after it is on the disk, in the place of the one before.

        Raises FileExistsError for a file of that name that is no sheet: it stays. OSError.
        """
        unfinished = f"{_prefix(name)}{secrets.token_hex(8)}.tmp"
        try:
            self._fill(unfinished, data)
            for _ in range(_MOST_TRIES):  # of several calls at once each may have put its own there
                with contextlib.suppress(FileExistsError):
                    os.link(unfinished, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
                    break
                self._remove_sheet(name)
            else:
                raise FileExistsError(errno.EEXIST, "other calls are always faster", name)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(unfinished, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def _remove_sheet(self, name: str) -> None:
        """Rename what has this name away, look at it, and remove it if it is a sheet, or a link. Raises FileExistsError if not."""
        stem, _, extension = name.rpartition(".")
        aside = f"{_prefix(name)}{secrets.token_hex(8)}.{extension}.old"
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
                raise IsADirectoryError(errno.EISDIR, "a folder has this name", name)
            os.rename(name, aside, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except FileNotFoundError:  # another call was faster
            return
        if not self._decide(aside, stem, extension):
            raise FileExistsError(errno.EEXIST, "a file that is no contact sheet has this name", name)

    def _decide(self, aside: str, stem: str, extension: str) -> bool:
        """Remove what was renamed away and return True; or, if it is no sheet, give it its name back, or a free one."""
        if self._is_sheet(aside):
            os.unlink(aside, dir_fd=self.descriptor)
            return True
        for name in (f"{stem}.{extension}", *(f"{stem}-{number}.{extension}" for number in range(2, _MOST_TRIES))):
            with contextlib.suppress(FileExistsError):
                os.link(aside, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor, follow_symlinks=False)
                os.unlink(aside, dir_fd=self.descriptor)
                break
        return False

    def _is_sheet(self, name: str) -> bool:
        if stat.S_ISLNK(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
            return True
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(name, flags, dir_fd=self.descriptor), "rb") as stream:  # noqa: PTH123 - a descriptor
            return SIGN.encode() in stream.read(_HEAD_BYTES)

    def _fill(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o666, dir_fd=self.descriptor), "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def clear_leftovers(self, name: str) -> None:
        """See to what calls left behind which were ended in the middle: unfinished files go, what was renamed away is decided."""
        with os.scandir(self.descriptor) as entries:
            found = [entry.name for entry in entries if _is_left(entry, f"{name}.")]
        for left in found:
            with contextlib.suppress(OSError):
                if left.endswith(".tmp"):
                    os.unlink(left, dir_fd=self.descriptor)
                else:
                    self._decide(left, name, left.split(".")[-2])


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Give an open folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _prefix(name: str) -> str:
    return f".{name.rpartition('.')[0]}-"


def _is_left(entry: os.DirEntry[str], name: str) -> bool:
    if not (entry.name.startswith(_prefix(name)) and entry.name.endswith((".tmp", ".old"))):
        return False
    try:
        return entry.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT_SECONDS
    except OSError:
        return False
