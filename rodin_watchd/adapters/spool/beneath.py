"""Files in folders that strangers can write: opened, made and moved without ever following a link.

A path is walked one folder at a time with `O_NOFOLLOW`, relative to the descriptor of the folder before, so that nobody
can swap a folder for a symbolic link between a look and an act (POSIX openat).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.core.layout import MARK
from rodin_watchd.errors import DiskError, RoomError
from rodin_watchd.model import Entry, Kind, Signature

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a FIFO must not hold us up
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

NO_FOLDER_ERRNOS = frozenset({errno.ENOTDIR, errno.ELOOP})
"""What opening a folder answers when a file or a link is there."""

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_MACHINE_ERRNOS = FULL_ERRNOS | frozenset(
    {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EXDEV, errno.ESTALE}
    | {errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an OSError that no set is to blame for into a DiskError that says what could not be done."""
    try:
        yield
    except OSError as error:
        if error.errno in _MACHINE_ERRNOS:
            kind = RoomError if error.errno in FULL_ERRNOS else DiskError
            raise kind.of(what, OSError(error.errno, os.strerror(error.errno or 0))) from error
        raise


@dataclass(frozen=True, slots=True)
class Anchor:
    """A folder that paths start from, and a check on each folder that is opened on the way.

    `check` takes the path walked so far, relative to the anchor, and the open descriptor; it raises what it will. The
    `fixed` paths are never made. `made` takes the open folder that was just made, and its open parent.
    """

    path: Path
    check: Callable[[str, int], None]
    fixed: frozenset[str] = frozenset()
    made: Callable[[int, int], None] | None = None


class ServedFolderError(NotADirectoryError):
    """A folder below the inbox that is not ours to look into; `reason` says why, for people."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(errno.ENOTDIR, reason, path)
        self.reason = reason


SERVED = "a folder of a service (it has the mark of an inbox, an outbox or a root); its files are not taken"
"""Why a folder with a mark is not looked into."""


def refuse_served(path: str, folder: int) -> None:
    """Raise ServedFolderError for an open folder that carries a mark: what is in it belongs to the service that left it."""
    if is_there(MARK, folder):
        raise ServedFolderError(path, SERVED)


# ---- opening --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_beneath(root: Path | Anchor, path: str, *, make: bool = False) -> Iterator[int]:
    """Open (and, if asked, make durably) a folder below `root`; give its descriptor. Raises OSError, also for a link.

    A path with `.` or `..` in it leads nowhere: PermissionError.
    """
    anchor = root if isinstance(root, Anchor) else Anchor(root, lambda _walked, _descriptor: None)
    descriptor = os.open(anchor.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        anchor.check("", descriptor)
        walked = ""
        for part in filter(None, path.split("/")):
            if part in (".", ".."):
                raise PermissionError(errno.EPERM, "it points out of its folder", path)
            walked = f"{walked}/{part}" if walked else part
            missing_is_made = make and walked not in anchor.fixed
            deeper = _opened_or_made(anchor, descriptor, part) if missing_is_made else _opened(descriptor, part)
            os.close(descriptor)
            descriptor = deeper
            anchor.check(walked, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(parent: int, name: str) -> int:
    return os.open(name, _FOLDER, dir_fd=parent)


def _opened_or_made(anchor: Anchor, parent: int, name: str) -> int:
    try:
        return _opened(parent, name)
    except FileNotFoundError:
        made = anchor.made
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:  # somebody was faster
            made = None
        sync_folder(parent)
        if made:
            with folder_in(parent, name) as folder:
                made(folder, parent)
        return _opened(parent, name)


@contextlib.contextmanager
def folder_in(parent: int, name: str) -> Iterator[int]:
    """Open a folder in an open one and give its descriptor. Raises OSError, also for a link."""
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_in(parent: int, name: str) -> Iterator[int]:
    """Open a file in an open folder for reading, give its descriptor. Raises OSError; its kind is the caller's to check."""
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_beneath(root: Path | Anchor, path: str) -> Iterator[int]:
    """Open a file below `root` for reading, give its descriptor. Raises OSError; its kind is the caller's to check."""
    folder, _, name = path.rpartition("/")
    with folder_beneath(root, folder) as parent, file_in(parent, name) as descriptor:
        yield descriptor


# ---- looking --------------------------------------------------------------------------------------------------------


def is_there(name: str, folder: int) -> bool:
    """Return whether anything has a name in an open folder. Raises OSError."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def entry_of(path: str, status: os.stat_result) -> Entry:
    """Return a snapshot's entry of what `lstat` or `fstat` says."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), Kind.OTHER)
    return Entry(path, kind, signature_of(status), status.st_ctime_ns, status.st_nlink)


def signature_of(status: os.stat_result) -> Signature:
    """Return what distinguishes a touched file from an untouched one."""
    return Signature(status.st_size, status.st_mtime_ns, status.st_ino)


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.SYMLINK}


# ---- writing --------------------------------------------------------------------------------------------------------


def sync_folder(descriptor: int) -> None:
    """Make a folder's entries durable; file systems that cannot (shares: EINVAL, ENOTSUP) are left alone."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


@contextlib.contextmanager
def new_file(folder: int, name: str, *, durable: bool = True) -> Iterator[int]:
    """Make a file in an open folder and give its descriptor; durable at the end if asked, gone if anything is raised.

    What a crash has left under this name is removed first. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    with fresh_file(folder, name, durable=durable) as descriptor:
        yield descriptor


@contextlib.contextmanager
def fresh_file(folder: int, name: str, *, durable: bool = True) -> Iterator[int]:
    """Do the same under a name that nobody has. Raises FileExistsError, OSError."""
    descriptor = os.open(name, _NEW_FILE, 0o666, dir_fd=folder)
    try:
        yield descriptor
        if durable:
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)


def part_of(name: str) -> str:
    """Return the hidden name of a file that is being written, and that a crash may leave."""
    return f".{name}.part"


def write_whole_in(folder: int, name: str, data: bytes) -> None:
    """Write a file in an open folder so that a process that ends leaves it there whole or not at all; may be repeated.

    What publishes the folder makes it durable. Raises OSError.
    """
    part = part_of(name)
    with new_file(folder, part, durable=False) as descriptor, open(descriptor, "wb", closefd=False) as stream:
        stream.write(data)
    os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def write_durably_in(
    folder: int, name: str, data: bytes, set_access: Callable[[int, int], None] = lambda _file, _folder: None
) -> None:
    """Do the same so that the end of the machine leaves it so, too; durable when this returns.

    `set_access` gives the open file in the open folder the mode that it is to appear with.
    """
    part = part_of(name)
    with new_file(folder, part) as descriptor:
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        set_access(descriptor, folder)
    os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    sync_folder(folder)
