"""Files beside results: written whole or not at all, and without following links."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LEFT_SECONDS: Final = 3600.0
"""So old, an unfinished file was left by a call that was ended."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder: what is written goes there, also if another one takes its name."""

    path: Path
    descriptor: int

    def write(self, name: str, data: bytes) -> None:
        """Put a file into the folder by one rename, after it is on the disk; replaces the one before. Raises OSError."""
        unfinished = f"{_prefix(name.rpartition('.')[0])}{secrets.token_hex(8)}.tmp"
        try:
            self._fill(unfinished, data)
            os.replace(unfinished, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished, dir_fd=self.descriptor)
            raise
        os.fsync(self.descriptor)

    def _fill(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o666, dir_fd=self.descriptor), "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def clear_leftovers(self, name: str) -> None:
        """Remove unfinished files that calls left behind which were ended in the middle."""
        with os.scandir(self.descriptor) as entries:
            found = [entry.name for entry in entries if _is_left(entry, name)]
        for left in found:
            with contextlib.suppress(OSError):
                os.unlink(left, dir_fd=self.descriptor)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Folder]:
    """Give an open folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _prefix(name: str) -> str:
    return f".{name}-"


def _is_left(entry: os.DirEntry[str], name: str) -> bool:
    if not (entry.name.startswith(_prefix(name)) and entry.name.endswith(".tmp")):
        return False
    try:
        return entry.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT_SECONDS
    except OSError:
        return False
