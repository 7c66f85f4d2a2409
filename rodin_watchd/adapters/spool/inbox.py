"""Looking at the inbox: snapshots, and bounded reads of single files; nothing here changes anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from rodin_watchd.adapters.spool.beneath import disk_errors, entry_of, file_beneath
from rodin_watchd.core.formats import Verdict, probe
from rodin_watchd.core.names import junk_reason, split_name
from rodin_watchd.errors import FolderGoneError
from rodin_watchd.model import Entry, Kind

DEEPEST = 32
"""Folders nested deeper are not looked at: a bound against loops made by mounts."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the inbox: what may be of a set, and by path why the rest is ignored."""

    entries: tuple[Entry, ...]
    junk: dict[str, str]


class Inbox:
    """The folder where sets are dropped; for one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> Look:
        """Take a snapshot. Raises FolderGoneError when the inbox is missing, DiskError when it cannot be read."""
        entries: list[Entry] = []
        junk: dict[str, str] = {}
        with disk_errors(f"The inbox {self.folder} cannot be read"):
            try:
                self._look_into("", 0, entries, junk)
            except FileNotFoundError as error:
                raise FolderGoneError(f"The inbox {self.folder} is missing.") from error
        return Look(tuple(entries), junk)

    def _look_into(self, folder: str, depth: int, entries: list[Entry], junk: dict[str, str]) -> None:
        with os.scandir(self.folder / folder if folder else self.folder) as found:
            for item in found:
                path = f"{folder}/{item.name}" if folder else item.name
                if reason := junk_reason(item.name):
                    junk[path] = reason
                    continue
                with contextlib.suppress(FileNotFoundError):  # gone since the listing: not part of the snapshot
                    entry = entry_of(path, item.stat(follow_symlinks=False))
                    entries.append(entry)
                    if entry.kind is Kind.FOLDER:
                        self._look_deeper(path, depth + 1, entries, junk)

    def _look_deeper(self, path: str, depth: int, entries: list[Entry], junk: dict[str, str]) -> None:
        """Look into a sub-folder; one that is closed to the service hides its own files only, visibly."""
        if depth > DEEPEST:
            junk[path] = "nested too deep"
            return
        try:
            self._look_into(path, depth, entries, junk)
        except PermissionError:
            junk[path] = "a folder that the service may not read"

    def probe(self, entry: Entry) -> Verdict | None:
        """Judge a file by its content; None when it is not the file of the snapshot any more, or cannot be read."""
        extension = split_name(entry.path.rpartition("/")[2])[1]
        return self._with(entry, lambda stream: probe(extension, stream, entry.signature.size))

    def read(self, entry: Entry, limit_bytes: int) -> bytes | None:
        """Return the first bytes of a file; None when it is not the file of the snapshot, or cannot be read."""
        return self._with(entry, lambda stream: stream.read(limit_bytes))

    def _with(self, entry: Entry, use: Callable[[BufferedReader], T]) -> T | None:
        try:
            with file_beneath(self.folder, entry.path) as descriptor:
                if entry_of(entry.path, os.fstat(descriptor)) != entry:
                    return None
                with open(descriptor, "rb", closefd=False) as stream:
                    return use(stream)
        except OSError:  # gone, swapped for a link, or closed to us: the next snapshot tells
            return None

    def may_move(self, entry: Entry) -> bool:
        """Tell whether this user may move a file away: write permission on its folder, and its sticky bit."""
        parent = (self.folder / entry.path).parent
        if not os.access(parent, os.W_OK | os.X_OK):
            return False
        status = parent.stat()
        sticky = status.st_mode & 0o1000 and os.geteuid() not in (0, status.st_uid)
        return not sticky or (self.folder / entry.path).lstat().st_uid == os.geteuid()
