"""Moving whole folders into sight: durable before, by one rename, never onto anything, also from another filesystem."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import file_in, folder_beneath, folder_in, new_file, sync_folder

COPY_PREFIX = ".rodin-"
"""What the name of a copy that is being made begins with: nobody sees it yet, even when it is whole."""

_BLOCK_BYTES = 1 << 20
_AT_FDCWD = -100  # renameat2(2)
_RENAME_NOREPLACE = 1
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def move_folder(source: Path, into: int, name: str, dress: Callable[[int], None]) -> None:
    """Give a folder a name in the open folder `into`, all of it durable before it appears.

    `dress` gives the open folder the modes that it is to appear with. Crossing to another filesystem it is copied under a hidden name there first. Raises FileExistsError when the name is
    taken, be it by an empty folder; OSError.
    """
    try:
        with folder_beneath(source, "") as folder:
            dress(folder)
        _sync_all(source)
        rename_new(source, into, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        hidden = f"{COPY_PREFIX}{source.parent.name}-{source.name}"
        shutil.rmtree(hidden, ignore_errors=True, dir_fd=into)
        try:
            copy_folder(source, into, hidden)
            with folder_in(into, hidden) as copy:
                dress(copy)
            rename_new(hidden, into, name, folder=into)
        except OSError:
            shutil.rmtree(hidden, ignore_errors=True, dir_fd=into)  # half a copy must not fill a disk that is full
            raise


def _sync_all(folder: Path) -> None:
    """Make the files of a folder, and their names, durable; an input that we may move but not read is left as it is."""
    with folder_beneath(folder, "") as descriptor:
        with os.scandir(descriptor) as found:
            names = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
        for name in names:
            with contextlib.suppress(PermissionError), file_in(descriptor, name) as file:
                os.fsync(file)
        sync_folder(descriptor)


def rename_new(source: Path | str, into: int, name: str, *, folder: int = _AT_FDCWD) -> None:
    """Rename `source` (in the open folder `folder`) to `name` in `into`. Raises FileExistsError if that is taken.

    Plain rename(2) would silently take the place of an empty folder; where the system or the filesystem knows no
    better, that much is left to the caller's look before.
    """
    if _renameat2 is not None:
        paths = (folder, os.fsencode(source), into, os.fsencode(name))
        if _renameat2(*paths, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), name)
    os.rename(source, name, src_dir_fd=None if folder == _AT_FDCWD else folder, dst_dir_fd=into)


def copy_folder(source: Path, into: int, name: str) -> None:
    """Copy a folder into an open one, durably, links as links; what holds no bytes (a FIFO) stays out. Raises OSError."""
    os.mkdir(name, dir_fd=into)
    with folder_beneath(source, "") as old, folder_in(into, name) as new, os.scandir(old) as found:
        for entry in found:
            if entry.is_symlink():
                os.symlink(os.readlink(entry.name, dir_fd=old), entry.name, dir_fd=new)
            elif entry.is_dir(follow_symlinks=False):
                copy_folder(source / entry.name, new, entry.name)
            elif entry.is_file(follow_symlinks=False):
                with file_in(old, entry.name) as file:
                    copy_file(file, new, entry.name, os.fstat(file).st_size)
        sync_folder(new)


def copy_file(source: int, folder: int, name: str, size: int) -> None:
    """Copy `size` bytes (fewer, if there are no more) of an open file to a name in an open folder, durably, with its time.

    Raises OSError; then nothing is left under that name.
    """
    modified_ns = os.fstat(source).st_mtime_ns
    with new_file(folder, name) as descriptor:
        with open(descriptor, "wb", closefd=False) as out:
            left = size
            while left and (block := os.read(source, min(left, _BLOCK_BYTES))):
                out.write(block)
                left -= len(block)
        os.utime(descriptor, ns=(modified_ns, modified_ns))


def holds_all(folder: int, source: Path, besides: Collection[str]) -> bool:
    """Tell whether an open folder holds every file of `source`, byte for byte; `besides` are names that may differ.

    True when there is no `source` any more. Raises OSError only if `source` cannot be read.
    """
    with contextlib.ExitStack() as stack:
        try:
            old = stack.enter_context(folder_beneath(source, ""))
        except FileNotFoundError:
            return True
        return all(_has_copy(folder, old, name) for name in os.listdir(old) if name not in besides)  # noqa: PTH208 - of a descriptor


def _has_copy(folder: int, old: int, name: str) -> bool:
    try:
        with file_in(old, name) as wanted, file_in(folder, name) as there:
            return _same_bytes(wanted, there)
    except OSError:  # not there, a link, or not to be read
        return False


def _same_bytes(one: int, other: int) -> bool:
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    while True:
        block = os.read(one, _BLOCK_BYTES)
        if block != os.read(other, _BLOCK_BYTES):
            return False
        if not block:
            return True
