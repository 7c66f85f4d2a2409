"""Looking at the inbox: snapshots, and bounded reads of single files; nothing here changes anything."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, TypeVar

from rodin_watchd.adapters.spool.beneath import (
    NO_FOLDER_ERRNOS,
    Anchor,
    ServedFolderError,
    entry_of,
    file_in,
    folder_beneath,
    folder_in,
    refuse_served,
)
from rodin_watchd.adapters.spool.writers import has_hole, is_open_for_writing
from rodin_watchd.core.formats import FileVerdict, examine, probe
from rodin_watchd.core.layout import OWN_PREFIX
from rodin_watchd.core.names import junk_reason, match_key, split_name
from rodin_watchd.core.sets import Content, Unread
from rodin_watchd.errors import DiskError, FolderGoneError
from rodin_watchd.model import Entry, Kind, Signature

DEEPEST = 32
"""Folders nested deeper are not looked at: a bound against loops made by mounts."""

TWICE = "the same folder as another one in the inbox, by a mount; its files are taken from one place"
"""Why a folder in the inbox is not looked into that was looked into already."""

_FAULTS: Final = frozenset({errno.EIO, errno.EUCLEAN})

_READ_WHOLE_BYTES: Final = 65_536
"""A file up to here is read at once, which is cheaper than its beginning, its end, and then all of it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Branch:
    """What is in the inbox itself, or in and below one of its folders: what may be of a set, and why the rest is ignored."""

    entries: tuple[Entry, ...]
    junk: dict[str, str]  # by path, the reason
    folders: frozenset[tuple[int, int]]  # device and inode


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at the inbox: its branches by the name of the folder, "" for what is in the inbox itself.

    A branch in which nothing has changed is the same object as in the look before.
    """

    branches: Mapping[str, Branch]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What may be of a set."""
        return tuple(entry for branch in self.branches.values() for entry in branch.entries)

    @property
    def junk(self) -> dict[str, str]:
        """Why the rest is ignored, by path."""
        return {path: reason for branch in self.branches.values() for path, reason in branch.junk.items()}


class Inbox:
    """The folder where sets are dropped; for one thread at a time."""

    def __init__(self, folder: Path, anchor: Anchor | None = None) -> None:
        self.folder = folder
        self._anchor = anchor or Anchor(folder, _refuse_served_below)
        self._branches: dict[str, Branch] = {}
        self._walk: _Walk | None = None  # that goes on from one question to the next

    @contextlib.contextmanager
    def walk(self) -> Iterator[None]:
        """Keep the folder of the file that was asked about last open: what is asked of its other files meanwhile costs no way from the top.

        For the moments of one look: who may change a folder is asked once, and a folder that is exchanged is still the one that
        was opened. Each file is compared with its entry all the same.
        """
        with contextlib.closing(_Walk(self._anchor)) as walk:
            self._walk = walk
            try:
                yield
            finally:
                self._walk = None

    def look(self, changed: AbstractSet[str] | None = None) -> Scan:
        """Take a snapshot: of the inbox itself, and of those of its folders that have `changed` (by `match_key`) or are new; None: of all.

        Raises FolderGoneError when the inbox is missing, DiskError when it cannot be read; the next look is at all, then.
        """
        before, self._branches = self._branches, {}
        try:
            with folder_beneath(self._anchor, "") as top:
                found = self._look_at(top, before, changed)
            with folder_beneath(self._anchor, ""):  # a share that went away meanwhile: what was seen proves nothing
                pass
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FolderGoneError(f"The inbox {self.folder} is missing.") from error
        except OSError as error:
            raise DiskError.of(f"The inbox {self.folder} cannot be read", error) from error
        self._branches = found
        return Scan(found)

    def _look_at(self, top: int, before: Mapping[str, Branch], changed: AbstractSet[str] | None) -> dict[str, Branch]:
        itself = _Looked(self._anchor.check, [], {}, set())
        folders = _listed(top, "", itself)
        branches = {"": _kept(before.get(""), itself)}
        seen: set[tuple[int, int]] = set()
        for name in folders:
            branch = None if changed is None or match_key(name) in changed else before.get(name)
            if branch is None:
                looked = _Looked(self._anchor.check, [], {}, set(seen))
                _look_deeper(top, name, (name, 1), looked)
                looked.folders.difference_update(seen)
                branch = _kept(before.get(name), looked)
            seen |= branch.folders
            branches[name] = branch
        return branches

    def probe(self, entry: Entry) -> Content | Unread:
        """Judge a file by its beginning and end, or say why it could not be read."""
        return self._judged(entry, probe)

    def is_being_written(self, entry: Entry) -> bool | None:
        """Return whether a program has a file open for writing; None: not to be known here, or it is not the file of the snapshot."""
        found = self._with(entry, is_open_for_writing)
        return None if isinstance(found, Unread) else found

    def examine(self, entry: Entry) -> Content | Unread:
        """Judge a file by all of its content, unless it is very large, or say why it could not be read."""
        return self._judged(entry, examine)

    def _judged(self, entry: Entry, judge: Callable[[str, BinaryIO, int], FileVerdict]) -> Content | Unread:
        extension, size = split_name(entry.path.rpartition("/")[2])[1], entry.signature.size

        def judged(descriptor: int) -> Content:
            with _stream_of(descriptor, size) as stream:
                return Content(judge(extension, stream, size), has_hole(descriptor, size))

        return self._with(entry, judged)

    def read(self, entry: Entry, limit_bytes: int) -> bytes | Unread:
        """Return the first bytes of a file, or say why it could not be read."""
        return self._with(entry, lambda descriptor: _beginning_of(descriptor, limit_bytes))

    def _with(self, entry: Entry, use: Callable[[int], T]) -> T | Unread:
        if entry.kind is not Kind.FILE:  # a FIFO would be read as if it were empty
            return Unread.CLOSED
        folder, _, name = entry.path.rpartition("/")
        try:
            with self._opened(folder) as parent, file_in(parent.descriptor, name) as descriptor:
                if entry_of(entry.path, os.fstat(descriptor)) != entry:
                    return Unread.CHANGED
                return use(descriptor)
        except PermissionError:
            return Unread.CLOSED
        except OSError as error:  # gone, swapped for a link, or its disk reports a fault
            return Unread.CLOSED if error.errno in _FAULTS else Unread.CHANGED

    def _opened(self, folder: str) -> AbstractContextManager[_Opened]:
        """Open a folder, unless a walk is there already. Raises OSError, also for a link."""
        if self._walk is not None:
            return contextlib.nullcontext(self._walk.to(folder))
        return self._opened_anew(folder)

    @contextlib.contextmanager
    def _opened_anew(self, folder: str) -> Iterator[_Opened]:
        with folder_beneath(self._anchor, folder) as descriptor:
            yield _Opened(descriptor)

    def is_as_seen(self, folder: str, names: AbstractSet[str], entries: Iterable[Entry]) -> bool:
        """Return whether a folder has no name that is not one of these, and these entries of it are as they were.

        Costs a listing without looking at each file. A folder that cannot be looked at is not as it was.
        """
        try:
            with folder_beneath(self._anchor, folder) as opened, os.scandir(opened) as found:
                known = all(item.name in names or item.name.startswith(OWN_PREFIX) for item in found)
                return known and all(entry == _entry_in(opened, entry.path) for entry in entries)
        except OSError:
            return False

    def may_move(self, entry: Entry) -> bool:
        """Return whether this user may move a file away: write permission on its folder, and its sticky bit."""
        folder, _, name = entry.path.rpartition("/")
        try:
            with self._opened(folder) as parent:
                return parent.may_change and (parent.is_free or _is_ours(name, parent.descriptor))
        except OSError:  # gone: the next snapshot shows it
            return False

    def may_empty(self, folder: str) -> bool:
        """Return whether this user may move away whatever anybody drops into a sub-folder ("": the inbox itself)."""
        try:
            with self._opened(folder) as opened:
                return opened.may_change and opened.is_free
        except FileNotFoundError:
            return True
        except OSError:
            return False


def _entry_in(folder: int, path: str) -> Entry:
    return entry_of(path, os.stat(path.rpartition("/")[2], dir_fd=folder, follow_symlinks=False))


class _Opened:
    """An open folder, and what this user may do in it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @cached_property
    def may_change(self) -> bool:
        """Whether entries may be made in it, and removed."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self.descriptor)

    @cached_property
    def is_free(self) -> bool:
        """Whether the sticky bit, inode(7), keeps nobody's files in it from us."""
        status = os.fstat(self.descriptor)
        return not status.st_mode & stat.S_ISVTX or os.geteuid() in (0, status.st_uid)


class _Walk:
    """Goes from folder to folder; the one that it is in stays open."""

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self._stack = contextlib.ExitStack()
        self._path = ""
        self._opened: _Opened | None = None

    def to(self, path: str) -> _Opened:
        """Open a folder, unless it is open. Raises OSError, also for a link."""
        if self._opened is None or path != self._path:
            self.close()
            self._opened, self._path = _Opened(self._stack.enter_context(folder_beneath(self._anchor, path))), path
        return self._opened

    def close(self) -> None:
        """Leave nothing open; may be repeated."""
        self._opened = None
        self._stack.close()


def _stream_of(descriptor: int, size: int) -> BinaryIO:
    """Return a stream of an open file, which stays open."""
    if size <= _READ_WHOLE_BYTES:
        return BytesIO(_beginning_of(descriptor, size))
    return open(descriptor, "rb", closefd=False)


def _beginning_of(descriptor: int, limit_bytes: int) -> bytes:
    """Return the first bytes of an open file, or all of them where there are fewer."""
    data = os.read(descriptor, limit_bytes)
    while len(data) < limit_bytes and (more := os.read(descriptor, limit_bytes - len(data))):
        data += more
    return data


def _is_ours(name: str, folder: int) -> bool:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid == os.geteuid()


def _refuse_served_below(walked: str, descriptor: int) -> None:
    if walked:  # the inbox itself carries its own mark
        refuse_served(walked, descriptor)


class _Looked(NamedTuple):
    """What a look has found so far, and the check on each folder before it is looked into."""

    check: Callable[[str, int], None]
    entries: list[Entry]
    junk: dict[str, str]
    folders: set[tuple[int, int]]  # device and inode


def _kept(before: Branch | None, looked: _Looked) -> Branch:
    """Return what was looked at, as the same object as before where nothing has changed."""
    found = Branch(tuple(looked.entries), looked.junk, frozenset(looked.folders))
    return before if before == found and before is not None else found


def _look_into(descriptor: int, folder: str, depth: int, looked: _Looked) -> None:
    """Add what is in an open folder and below it."""
    for name in _listed(descriptor, folder, looked):
        _look_deeper(descriptor, name, (f"{folder}/{name}", depth + 1), looked)


def _listed(descriptor: int, folder: str, looked: _Looked) -> list[str]:
    """Add what is in an open folder, and return the names of its folders."""
    folders = []
    with os.scandir(descriptor) as found:
        for item in found:
            path = f"{folder}/{item.name}" if folder else item.name
            if item.name.startswith(OWN_PREFIX):  # the mark, what a job has claimed: nobody dropped it
                continue
            if reason := junk_reason(item.name):
                looked.junk[path] = reason
                continue
            try:
                entry = entry_of(path, item.stat(follow_symlinks=False))
            except FileNotFoundError:  # gone since the listing: not part of the snapshot
                continue
            except PermissionError:  # it is the folder that is closed
                raise
            except OSError as error:
                if _is_folder(item):  # a share that is mounted there, and whose server or client has died
                    looked.junk[path] = _unreadable(error)
                    continue
                # It stays a part of its set: without its TOML file, or a preset, a set may look whole that is not.
                entry = Entry(path, Kind.UNREADABLE, Signature(0, 0, 0), 0, 1)
            looked.entries.append(entry)
            if entry.kind is Kind.FOLDER:
                folders.append(item.name)
    return folders


def _is_folder(item: os.DirEntry[str]) -> bool:
    """Return whether a name is known to be a folder's, without a look at what it names."""
    with contextlib.suppress(OSError):
        return item.is_dir(follow_symlinks=False)
    return False


def _look_deeper(parent: int, name: str, where: tuple[str, int], looked: _Looked) -> None:
    """Look into a sub-folder; one that cannot be read, or that a service serves, hides its own files only, visibly."""
    path, depth = where
    known = len(looked.entries)
    if depth > DEEPEST:
        looked.junk[path] = "nested too deep"
        return
    try:
        with folder_in(parent, name) as descriptor:
            looked.check(path, descriptor)
            _refuse_looked_into(descriptor, path, looked.folders)
            _look_into(descriptor, path, depth, looked)
    except OSError as error:
        del looked.entries[known:]  # of a folder that is seen in part a set may look whole that is not
        if reason := _why_hidden(error):
            looked.junk[path] = reason


def _why_hidden(error: OSError) -> str:
    """Return why a folder cannot be looked into; "" for one that is gone, or something else by now."""
    if isinstance(error, ServedFolderError):
        return error.reason
    if isinstance(error, PermissionError):
        return "a folder that the service has no permission to read: tell whoever runs the service"
    return "" if error.errno in (errno.ENOENT, *NO_FOLDER_ERRNOS) else _unreadable(error)


def _unreadable(error: OSError) -> str:
    return f"a folder that cannot be read ({error.strerror})"


def _refuse_looked_into(folder: int, path: str, folders: set[tuple[int, int]]) -> None:
    """Raise ServedFolderError for a folder that shows at two places: else each set in it would be two sets."""
    status = os.fstat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in folders:
        raise ServedFolderError(path, TWICE)
    folders.add(identity)
