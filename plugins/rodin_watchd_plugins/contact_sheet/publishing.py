"""Files next to results: written whole or not at all, without following links, and never in the place of another's file."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

SIGN: Final = "rodin_watchd contact sheet"
"""Stands at the beginning of each file of a sheet: what has it not is somebody else's."""

_HEAD_BYTES: Final = 4096
_MOST_NAMES: Final = 100
_UNFINISHED: Final = ".thumbnail.new"
_NOREPLACE: Final = 1  # renameat2(2)
_EXCHANGE: Final = 2
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder: what is written goes there, also if another one takes its name.

    Only one call at a time may write (`locked`), so what is there under the name of an unfinished file was left by a killed one.
    """

    path: Path
    descriptor: int

    def reading(self, path: str) -> BinaryIO:
        """Open a regular file in the folder or below it; no part of its path is followed if it is a link. Raises OSError."""
        with contextlib.ExitStack() as above:
            holder, (*folders, name) = self.descriptor, path.split("/")
            for one in folders:
                holder = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=holder)
                above.callback(os.close, holder)
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=holder)
        stream = open(file, "rb")  # noqa: PTH123, SIM115 - a descriptor; the caller closes it
        if not stat.S_ISREG(os.fstat(file).st_mode):
            stream.close()
            raise FileNotFoundError(errno.ENOENT, "is no file", path)
        return stream

    def write(self, name: str, data: bytes) -> None:
        """Put a file of a sheet into the folder, after it is on the disk, in the place of the one before.

        There is no moment without a file. Raises FileExistsError for a file of that name that is no sheet: it stays. OSError.
        """
        new = f".{name}.new"
        self._decide(new, name)
        self.check(name)
        try:
            self._fill(new, data)
            self._give_name(new, name)
        finally:  # by now it is the file that was there before
            self._decide(new, name)
        os.fsync(self.descriptor)

    def check(self, name: str) -> None:
        """Raise FileExistsError if a file of this name is somebody else's; IsADirectoryError if it is a folder."""
        with contextlib.suppress(FileNotFoundError):
            if SIGN.encode() not in self._head(name):
                raise FileExistsError(errno.EEXIST, "a file that is no contact sheet has this name", name)

    def replace(self, name: str, data: bytes) -> None:
        """Put a file under a name that only the plugin gives into the folder, after it is on the disk. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_UNFINISHED, dir_fd=self.descriptor)
        self._fill(_UNFINISHED, data)
        os.rename(_UNFINISHED, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def _give_name(self, new: str, name: str) -> None:
        """Give `name` to the file `new`. A file that has it gets the name `new`, so that it can be looked at once more."""
        try:
            is_done = self._renamed(new, name, _EXCHANGE)
        except FileNotFoundError:
            is_done = self._renamed(new, name, _NOREPLACE)
        if not is_done:  # what has the name was looked at before
            os.rename(new, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def _renamed(self, old: str, new: str, flag: int) -> bool:
        """Rename as `flag` says; False where the system or the filesystem cannot do that. Raises OSError."""
        if _renameat2 is None:
            return False
        if _renameat2(self.descriptor, os.fsencode(old), self.descriptor, os.fsencode(new), flag) == 0:
            return True
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), new)
        return False

    def _decide(self, left: str, name: str) -> None:
        """Remove a file of a sheet that is not needed, unfinished or not; give somebody else's a free name like `name`."""
        try:
            head = self._head(left)
        except FileNotFoundError:
            return
        if not head or SIGN.encode() in head:
            os.unlink(left, dir_fd=self.descriptor)
            return
        stem, extension = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
        for number in range(2, _MOST_NAMES):
            with contextlib.suppress(FileExistsError):
                if self._renamed(left, free := f"{stem}-{number}{extension}", _NOREPLACE):
                    print(f"{self.path}: a file of somebody else is {free} now")  # noqa: T201 - a plugin's log
                    return
        raise FileExistsError(errno.EEXIST, "a file that is no contact sheet has this name", left)

    def _head(self, name: str) -> bytes:
        """Return how a file begins; the sign for a link, which holds nothing of its own. Raises OSError."""
        mode = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            return SIGN.encode()
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder has this name", name)
        if not stat.S_ISREG(mode):
            raise FileExistsError(errno.EEXIST, "what has this name is no file", name)
        with self.reading(name) as stream:
            return stream.read(_HEAD_BYTES)

    def _fill(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o666, dir_fd=self.descriptor), "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


@contextlib.contextmanager
def opened(path: Path | str, *, inside: int | None = None) -> Iterator[Folder]:
    """Give an open folder, `path` being relative to the open one `inside`; a link is none. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
    try:
        yield Folder(Path(path), descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[Folder]:
    """Give an open folder, to one call at a time; others wait. A lock ends with its process. Raises OSError."""
    with opened(path) as folder:
        fcntl.flock(folder.descriptor, fcntl.LOCK_EX)
        yield folder
