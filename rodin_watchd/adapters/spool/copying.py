"""A folder's copy on another filesystem: whole before it is seen, and whole before the original goes.

Whoever can write there can take a file out of a copy that is being made. So each file is looked for again before the copy
gets its name, and once more under its name; what is missing is copied again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from rodin_watchd.adapters.spool.beneath import (
    file_in,
    folder_beneath,
    folder_in,
    fresh_file,
    new_file,
    signature_of,
    sync_folder,
)
from rodin_watchd.errors import DiskError
from rodin_watchd.model import Signature

DROPPED_PREFIX: Final = ".rodin-dropped-"
"""So the name of an original begins that goes because its copy is published: nobody sees the half of it."""

Held: TypeAlias = Mapping[str, Signature]
"""What of a folder a copy holds: path → its signature when it was copied or compared."""

_BLOCK_BYTES: Final = 1 << 20
_MOST_ROUNDS: Final = 6


class FolderCopy:
    """An open folder that becomes the copy of another open one; for one thread."""

    def __init__(self, source: int, copy: int, set_access: Callable[[int], None]) -> None:
        self._source = source
        self._copy = copy
        self._access_setter = set_access
        self._in_sight = False
        self._held: dict[str, Signature] = {}

    @property
    def held(self) -> Held:
        """What was copied."""
        return self._held

    def make(self, show: Callable[[], None]) -> None:
        """Copy, durably, until a look finds all of it there; then `show` gives the copy its name.

        Raises DiskError if that does not come true, what `show` raises, OSError.
        """
        for _ in range(_MOST_ROUNDS):
            with contextlib.suppress(FileNotFoundError):  # gone right after it was made
                if not self._complete():
                    show()
                    self._in_sight = True
                    return
        raise DiskError(
            "A result or set cannot be copied completely: another program removes or changes its files meanwhile.",
            advice="Find the program that cleans up hidden folders there, and end it; the service tries again by itself.",
        )

    def mend(self) -> None:
        """Copy what was taken out of the copy before it got its name. Raises OSError.

        To be called once, right after that: what goes later was taken by somebody who saw it. A folder that was removed
        as a whole was seen, too.
        """
        try:
            self._complete()
        except FileNotFoundError:
            if os.fstat(self._copy).st_nlink:
                raise

    def _complete(self) -> bool:
        """Copy what the copy lacks; return whether it lacked anything."""
        lacked = self._fill(self._source, self._copy, "")
        if lacked:
            self._access_setter(self._copy)
        return lacked

    def _fill(self, source: int, copy: int, path: str) -> bool:
        with os.scandir(source) as found:
            entries = list(found)
        lacked = [self._bring(entry, source, copy, f"{path}/{entry.name}") for entry in entries]
        if any(lacked):
            sync_folder(copy)
        return any(lacked)

    def _bring(self, entry: os.DirEntry[str], source: int, copy: int, path: str) -> bool:
        """Copy one entry if it is not there, links as links; what holds no bytes (a FIFO) stays out."""
        if entry.is_dir(follow_symlinks=False):
            is_new = _make_folder(entry.name, copy)
            with folder_in(source, entry.name) as old, folder_in(copy, entry.name) as new:
                return self._fill(old, new, path) or is_new
        if not entry.is_file(follow_symlinks=False):
            self._held[path] = _signature(entry)
            return entry.is_symlink() and _bring_link(entry.name, source, copy)
        if self._is_there(entry, copy, path):
            return False
        with file_in(source, entry.name) as file:
            status = os.fstat(file)
            with (fresh_file if self._in_sight else new_file)(copy, entry.name) as made:  # what is seen is not replaced
                _write_all(file, made, status)
        self._held[path] = signature_of(status)
        return True

    def _is_there(self, entry: os.DirEntry[str], copy: int, path: str) -> bool:
        """Return whether the copy of a file is there as it was made, and its original is still what was copied."""
        try:
            there = os.stat(entry.name, dir_fd=copy, follow_symlinks=False)
        except FileNotFoundError:
            return False
        original = _signature(entry)
        return there.st_size == original.size and self._held.get(path) == original


def _signature(entry: os.DirEntry[str]) -> Signature:
    return signature_of(entry.stat(follow_symlinks=False))


def _make_folder(name: str, into: int) -> bool:
    try:
        os.mkdir(name, dir_fd=into)
    except FileExistsError:
        return False
    return True


def _bring_link(name: str, source: int, copy: int) -> bool:
    wanted = os.readlink(name, dir_fd=source)
    try:
        os.symlink(wanted, name, dir_fd=copy)
    except FileExistsError:
        if os.readlink(name, dir_fd=copy) != wanted:
            raise
        return False
    return True


def copy_file(source: int, folder: int, name: str, status: os.stat_result) -> None:
    """Copy an open file, as long as it was at its `status`, to a name in an open folder, durably, with its time.

    Raises OSError; then nothing is left under that name.
    """
    with new_file(folder, name) as descriptor:
        _write_all(source, descriptor, status)


def _write_all(source: int, descriptor: int, status: os.stat_result) -> None:
    with open(descriptor, "wb", closefd=False) as out:
        left = status.st_size
        while left and (block := os.read(source, min(left, _BLOCK_BYTES))):
            out.write(block)
            left -= len(block)
    os.utime(descriptor, ns=(status.st_mtime_ns, status.st_mtime_ns))


def drop(source: Path, held: Held) -> None:
    """Remove from a folder what a published copy holds, and the folder, if nothing else is in it; may be repeated.

    It loses its name first, by one rename: what has that name is never the half of it. What came later gets the name back.
    Raises OSError.
    """
    dropped = source.with_name(f"{DROPPED_PREFIX}{secrets.token_hex(4)}")
    try:
        source.rename(dropped)
    except FileNotFoundError:
        return
    with folder_beneath(dropped, "") as folder:
        _remove_held(folder, "", held)
    try:
        dropped.rmdir()
    except OSError:
        dropped.rename(source)


def _remove_held(folder: int, path: str, held: Held) -> None:
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        inner_path = f"{path}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            with folder_in(folder, entry.name) as inner:
                _remove_held(inner, inner_path, held)
            with contextlib.suppress(OSError):  # something is left in it
                os.rmdir(entry.name, dir_fd=folder)
        elif held.get(inner_path) == _signature(entry):
            os.unlink(entry.name, dir_fd=folder)


def held_in(folder: int, source: Path, besides: Collection[str]) -> Held | None:
    """Return what is in `source` if an open folder holds all of it, byte for byte; `besides` are names that may differ.

    None if it does not. What holds no bytes (a FIFO) is not looked for. Raises OSError only if `source` cannot be read.
    """
    held: dict[str, Signature] = {}
    with contextlib.ExitStack() as stack:
        try:
            old = stack.enter_context(folder_beneath(source, ""))
        except FileNotFoundError:  # there is no source any more
            return held
        return held if _holds_all(folder, old, "", besides, held) else None


def _holds_all(folder: int, old: int, path: str, besides: Collection[str], held: dict[str, Signature]) -> bool:
    with os.scandir(old) as found:
        entries = list(found)
    for entry in entries:
        inner_path = f"{path}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if not _holds_folder(entry.name, folder, old, inner_path, held):
                return False
            continue
        held[inner_path] = _signature(entry)  # before it is read: what changes meanwhile is not held
        if entry.name not in besides and not _is_held(entry, folder, old):
            return False
    return True


def _holds_folder(name: str, folder: int, old: int, path: str, held: dict[str, Signature]) -> bool:
    try:
        with folder_in(old, name) as inner, folder_in(folder, name) as there:
            return _holds_all(there, inner, path, (), held)
    except OSError:  # not there, or not to be read
        return False


def _is_held(entry: os.DirEntry[str], folder: int, old: int) -> bool:
    try:
        if entry.is_symlink():
            return os.readlink(entry.name, dir_fd=old) == os.readlink(entry.name, dir_fd=folder)
        if not entry.is_file(follow_symlinks=False):
            return True
        with file_in(old, entry.name) as wanted, file_in(folder, entry.name) as there:
            return same_bytes(wanted, there)
    except OSError:  # not there, another kind, or not to be read
        return False


def same_bytes(one: int, other: int) -> bool:
    """Return whether two open files, both at their beginnings, hold the same."""
    if os.fstat(one).st_size != os.fstat(other).st_size:
        return False
    while True:
        block = os.read(one, _BLOCK_BYTES)
        if block != os.read(other, _BLOCK_BYTES):
            return False
        if not block:
            return True
