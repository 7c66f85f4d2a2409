"""Moving whole folders into sight: durable before, by one rename, never onto anything, also from another filesystem."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import file_in, folder_beneath, folder_in, new_file, sync_folder
from rodin_watchd.core.layout import ASIDE_PREFIX

COPY_PREFIX = ".rodin-"
"""What the name of a copy that is being made begins with: nobody sees it yet, even when it is whole."""

_BLOCK_BYTES = 1 << 20
_MOST_NAMES = 100
_LONGEST_DISCARDED_BYTES = 1 << 20
_AT_FDCWD = -100  # renameat2(2)
_RENAME_NOREPLACE = 1
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def move_folder(source: Path, into: int, name: str, dress: Callable[[int], None]) -> None:
    """Give a folder a name in the open folder `into`, all of it durable before it appears.

    `dress` gives the open folder the modes that it is to appear with. Crossing to another filesystem it is copied under a
    hidden name there first, and the source stays, to be removed by `remove_copied`. Raises FileExistsError when the name
    is taken, be it by an empty folder; OSError.
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

    For folders: plain rename(2) would silently take the place of an empty folder; where the system or the filesystem knows
    no better, that much is left to the caller's look before.
    """
    if not _renamed_new(source, folder, name, into):
        os.rename(source, name, src_dir_fd=None if folder == _AT_FDCWD else folder, dst_dir_fd=into)


def _renamed_new(source: Path | str, folder: int, name: str, into: int) -> bool:
    """Rename if the new name is free; False where the system or the filesystem cannot do that in one act. Raises OSError."""
    if _renameat2 is None:
        return False
    paths = (folder, os.fsencode(source), into, os.fsencode(name))
    if _renameat2(*paths, _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), name)
    return False


def rename_file_new(source: str, folder: int, name: str, into: int) -> None:
    """Rename a file of the open folder `folder` to `name` in `into`, and never onto another file.

    Raises FileExistsError if the name is taken, OSError. Where no rename keeps from replacing, a second name is made and
    the first one removed.
    """
    if not _renamed_new(source, folder, name, into):
        os.link(source, name, src_dir_fd=folder, dst_dir_fd=into, follow_symlinks=False)
        os.unlink(source, dir_fd=folder)


def give_back(source: str, holder: int, name: str, folder: int, mark: str) -> bool:
    """Give a file of the open folder `holder` the name in `folder` back that it had; if that is taken, one with `mark` in it.

    Tells whether it has a name there now; otherwise it stays where it is. Nothing is ever replaced.
    """
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    others = (f"{stem}-{mark}{'' if number == 1 else f'-{number}'}{ending}" for number in range(1, _MOST_NAMES))
    for wanted in (name, *others):
        try:
            rename_file_new(source, holder, wanted, folder)
        except FileExistsError:
            continue
        except OSError:
            return False
        sync_folder(folder)
        sync_folder(holder)
        return True
    return False


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


def remove_copied(source: Path, copy: int, besides: Collection[str]) -> None:
    """Remove from a folder what the open folder `copy` holds as well, and then the folder, if nothing is left in it.

    What the copy does not hold, byte for byte, stays; `besides` are names of ours that go in any case. What holds no bytes
    (a FIFO) is not copied, and goes. Does nothing when there is no `source` any more. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        try:
            old = stack.enter_context(folder_beneath(source, ""))
        except FileNotFoundError:
            return
        _remove_copied(old, copy, besides)
    with contextlib.suppress(OSError):  # something is left in it
        source.rmdir()


def _remove_copied(old: int, copy: int, besides: Collection[str]) -> None:
    with os.scandir(old) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):  # not in the copy, or something is left in it
                with folder_in(old, entry.name) as inner, folder_in(copy, entry.name) as held:
                    _remove_copied(inner, held, ())
                os.rmdir(entry.name, dir_fd=old)
        elif entry.name in besides or _is_held(entry, copy, old):
            os.unlink(entry.name, dir_fd=old)


def _is_held(entry: os.DirEntry[str], copy: int, old: int) -> bool:
    if entry.is_file(follow_symlinks=False):
        return _has_copy(copy, old, entry.name)
    if not entry.is_symlink():
        return True
    try:
        return os.readlink(entry.name, dir_fd=old) == os.readlink(entry.name, dir_fd=copy)
    except OSError:
        return False


def discard(folder: int, name: str, is_meant: Callable[[bytes], bool]) -> None:
    """Remove a file from an open folder, if `is_meant` says so of its bytes; else it keeps its name.

    It is renamed away first, and looked at then: what somebody puts in its place meanwhile is not touched. What a crash left
    renamed away is seen to as well. Raises OSError.
    """
    aside = f"{ASIDE_PREFIX}{name}"
    _decide_aside(folder, aside, name, is_meant)
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        rename_file_new(name, folder, aside, folder)
    _decide_aside(folder, aside, name, is_meant)


def _decide_aside(folder: int, aside: str, name: str, is_meant: Callable[[bytes], bool]) -> None:
    meant = False
    try:
        with file_in(folder, aside) as file:
            if stat.S_ISREG(os.fstat(file).st_mode):
                with open(file, "rb", closefd=False) as stream:
                    meant = is_meant(stream.read(_LONGEST_DISCARDED_BYTES))
    except FileNotFoundError:
        return
    except OSError:  # a link, or not to be read: not what is meant
        pass
    if meant:
        os.unlink(aside, dir_fd=folder)
    else:
        give_back(aside, folder, name, folder, "kept")
    sync_folder(folder)


def _has_copy(folder: int, old: int, name: str) -> bool:
    try:
        with file_in(old, name) as wanted, file_in(folder, name) as there:
            return same_bytes(wanted, there)
    except OSError:  # not there, a link, or not to be read
        return False


def same_bytes(one: int, other: int) -> bool:
    """Tell whether two open files, both at their beginnings, hold the same."""
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    while True:
        block = os.read(one, _BLOCK_BYTES)
        if block != os.read(other, _BLOCK_BYTES):
            return False
        if not block:
            return True
