"""The journal's files on the disk: whether they are still those that are open, and how they are written out again.

Whoever deletes or exchanges the files under a running service takes nothing from it: all that was committed is in the open
connection, and SQLite copies it out (https://sqlite.org/backup.html). The copy is whole and durable under a name of its own
before anything at the journal's path is touched, and each further act may be repeated: a crash in between is finished
by the next start, unless what lies at the path knows more by then. What lies there and is not used is moved aside, never
deleted.

No function here opens the journal's own file but through SQLite: closing another descriptor would drop SQLite's locks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rodin_watchd.adapters.store.errors import code_of
from rodin_watchd.adapters.store.extent import extent_of, knows_all
from rodin_watchd.errors import DiskError, JournalError, RoomError

Files: TypeAlias = tuple[tuple[int, int] | None, ...]
"""Device and inode of the journal, its write-ahead log and its index, None for what is missing."""

_OPEN_SUFFIXES = ("", "-wal", "-shm")
_ALL_SUFFIXES = (*_OPEN_SUFFIXES, "-journal")
_ASIDE = "moved-aside"


def files_of(journal: Path) -> Files:
    """Return which files lie at a journal's path now."""
    return tuple(_identity(f"{journal}{suffix}") for suffix in _OPEN_SUFFIXES)


def _identity(path: Path | str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _identity_of(status)


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def why_not(journal: Path, opened: Files) -> str:
    """Say which of the files that were opened are not at the journal's path any more, "" if all are."""
    now = files_of(journal)
    if now == opened and None not in now:
        return ""
    names = [f"{journal.name}{suffix}" for suffix in _OPEN_SUFFIXES]
    gone = [name for name, found in zip(names, now, strict=True) if found is None]
    other = [name for name, found, was in zip(names, now, opened, strict=True) if found and found != was]
    lines = [f"{' and '.join(gone)} {_are(gone)} missing"] if gone else []
    lines += (
        [f"{' and '.join(other)} {_are(other)} not the {'file' if len(other) == 1 else 'files'} in use"]
        if other
        else []
    )
    return " and ".join(lines)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def whole_path(journal: Path) -> Path:
    """Return where a whole copy lies that is to take the journal's place."""
    return journal.with_name(f".{journal.name}.whole")


def copy_out(db: sqlite3.Connection, journal: Path, mode: int) -> None:
    """Write all that a connection knows to `whole_path`, durably, whole or not at all. Raises DiskError, JournalError."""
    whole = whole_path(journal)
    part = whole.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete by itself
            if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise JournalError(f"The journal's files were replaced, and the open one is damaged: {found}.")
        _make_whole(part, mode, whole)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise _error_of(f"The journal cannot be written to {whole.parent}", error) from error


def _make_whole(part: Path, mode: int, whole: Path) -> None:
    part.chmod(mode)
    sync(part)
    part.replace(whole)
    sync(whole.parent)


def _error_of(what: str, error: sqlite3.Error | OSError) -> DiskError:
    if isinstance(error, OSError):
        return DiskError.of(what, error)
    full = code_of(error) == sqlite3.SQLITE_FULL
    return RoomError(f"{what}: the disk is full.") if full else DiskError(f"{what}: {error}.")


def move_aside(journal: Path, stamp: str) -> Path | None:
    """Move what lies at a journal's path to a name that is free; return that name, None where nothing lay there.

    Raises DiskError. May be repeated.
    """
    found = [suffix for suffix in _ALL_SUFFIXES if os.path.lexists(f"{journal}{suffix}")]
    if not found:
        return None
    aside = _free_name(journal, stamp)
    moved: list[str] = []
    try:
        for suffix in found:  # the journal first: where that one cannot be moved, nothing is
            Path(f"{journal}{suffix}").rename(f"{aside}{suffix}")
            moved.append(suffix)
    except OSError as error:
        _move_back(journal, aside, moved)
        raise DiskError.of(f"The file in the place of the journal {journal} cannot be moved aside", error) from error
    return aside


def _free_name(journal: Path, stamp: str) -> Path:
    aside, number = journal.with_name(f"{journal.name}.{_ASIDE}-{stamp}"), 1
    while any(os.path.lexists(f"{aside}{suffix}") for suffix in _ALL_SUFFIXES):
        number += 1
        aside = journal.with_name(f"{journal.name}.{_ASIDE}-{stamp}-{number}")
    return aside


def _move_back(journal: Path, aside: Path, suffixes: Sequence[str]) -> None:
    """Put together again what belongs together, as far as that can be done."""
    for suffix in reversed(suffixes):
        if not os.path.lexists(f"{journal}{suffix}"):
            with contextlib.suppress(OSError):
                Path(f"{aside}{suffix}").rename(f"{journal}{suffix}")


def put_in_place(journal: Path) -> None:
    """Give the whole copy the journal's path, which must be free, durably. Raises DiskError."""
    try:
        whole_path(journal).rename(journal)
        sync(journal.parent)
    except OSError as error:
        raise DiskError.of(f"The journal cannot be put in its place {journal}", error) from error


def open_in_use(journal: Path, opened: Files) -> int | None:
    """Return a descriptor of the main file in use, None where it does not lie at its path or cannot be opened.

    To be closed after SQLite's own.
    """
    try:
        descriptor = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if _identity_of(os.fstat(descriptor)) == opened[0]:
        return descriptor
    os.close(descriptor)  # of another file: SQLite has no locks in there
    return None


def put_back(descriptor: int, journal: Path, stamp: str, mode: int) -> None:
    """Give the content of a closed journal its path again, where the path has been taken away from it. Raises DiskError."""
    if _identity(journal) == _identity_of(os.fstat(descriptor)):
        return
    whole = whole_path(journal)
    part = whole.with_suffix(".part")
    try:
        with open(descriptor, "rb", closefd=False) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        _make_whole(part, mode, whole)
    except OSError as error:
        raise DiskError.of(f"The journal cannot be written to {whole.parent}", error) from error
    move_aside(journal, stamp)
    put_in_place(journal)


def make_private(journal: Path) -> None:
    """Give the journal files of their own where they have second names, as in a backup by hard links: what lies there stays as it is.

    For a start alone, before anything opens the journal in this process, and under its lock. May be repeated. Where there is no
    room for a copy, or no right, the files stay shared.
    """
    for suffix in _OPEN_SUFFIXES:
        path = Path(f"{journal}{suffix}")
        part = path.with_name(f".{path.name}.part")
        try:
            status = path.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink == 1:
                continue
            part.unlink(missing_ok=True)
            shutil.copyfile(path, part)
            _make_whole(part, stat.S_IMODE(status.st_mode), path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


class FinishedJournal(NamedTuple):
    """What became of a whole copy that a run before had left."""

    installed: bool  # it is the journal now; else what lay there knew more, or the copy is damaged
    aside: Path | None  # where the other one of the two is now


def finish(journal: Path, stamp: str) -> FinishedJournal | None:
    """Do what a run before left undone of writing the journal out; return what was done, None where nothing was to be done.

    The whole copy takes the journal's place only where it knows more than what lies there: the service may have gone on with
    its files after it had made the copy. For a start alone, while no other process serves; may be repeated. Raises DiskError,
    JournalError where it is not known which of the two is the newer one.
    """
    whole = whole_path(journal)
    if not os.path.lexists(whole):
        return None
    copy, there = extent_of(whole), extent_of(journal)
    if copy and there and knows_all(journal, copy):
        drop_copy(journal)
        return None
    if copy and (there is None or there.root_id != copy.root_id or there.rank <= copy.rank):
        aside = move_aside(journal, stamp)
        put_in_place(journal)
        return FinishedJournal(installed=True, aside=aside)
    aside = _free_name(journal, stamp)
    try:
        whole.rename(aside)
    except OSError as error:
        raise DiskError.of(f"The old copy of the journal {whole} cannot be moved aside", error) from error
    return FinishedJournal(installed=False, aside=aside)


def drop_copy(journal: Path) -> bool:
    """Remove a whole copy that is not needed any more; tell whether it is gone. May be repeated."""
    with contextlib.suppress(OSError):
        whole_path(journal).unlink(missing_ok=True)
    return not os.path.lexists(whole_path(journal))


def moved_aside(journal: Path) -> list[Path]:
    """Return the journals that were moved aside and that nobody has taken away yet, sorted."""
    try:
        found = [path for path in journal.parent.iterdir() if path.name.startswith(f"{journal.name}.{_ASIDE}-")]
    except OSError:
        return []
    return sorted(path for path in found if not path.name.endswith(_ALL_SUFFIXES[1:]))


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
