"""The journal as files on the disk: what SQLite's errors mean, which of two files knows more, and how one is written out again.

A journal only grows: its histories are appended to, and the number of its transactions never falls. So a file that has the
newest entries of another one, and no fewer transactions, knows all that the other one knows: it may take its place.

Whoever deletes or exchanges the files under a running service takes nothing from it: all that was committed is in the open
connection, and SQLite copies it out (https://sqlite.org/backup.html). The copy is whole and durable under a name of its own
before anything at the journal's path is touched, and each further act may be repeated: a crash in between is finished
by the next start, unless what is at the path knows more by then. What is there and not used is moved aside, never deleted.

No function here opens the journal's own file but through SQLite: closing another descriptor would drop SQLite's locks.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

from rodin_watchd.core.store import ROOT_ID
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.errors import DiskError, JournalBusyError, JournalError, JournalFaultError, RoomError

_P = ParamSpec("_P")
_T = TypeVar("_T")

BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WHAT = "The journal cannot be read"
_DAMAGE_ADVICE = "Stop the service; `rodin-watchd check` says how to put the backup in the file's place."
_TRANSLATED = (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError)


@contextlib.contextmanager
def in_words(what: str = _WHAT, recovery: str = _DAMAGE_ADVICE) -> Iterator[None]:
    """Turn what SQLite, or a row that makes no sense, raises into a JournalError.

    JournalBusyError where it is locked, JournalFaultError where the disk reports a fault.
    """
    try:
        yield
    except _TRANSLATED as error:
        raise _translated(error, what, recovery) from error


def errors_in_words(ask: Callable[_P, _T]) -> Callable[_P, _T]:
    """Do the same around each call of a function; a tick makes hundreds of them, so nothing is made for a single call."""

    @wraps(ask)
    def asked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return ask(*args, **kwargs)
        except _TRANSLATED as error:
            raise _translated(error, _WHAT, _DAMAGE_ADVICE) from error

    return asked


def _translated(error: Exception, what: str, recovery: str) -> JournalError | DiskError:
    if not isinstance(error, sqlite3.Error):
        return JournalError(f"{what}: it is damaged ({type(error).__name__} in a row).", advice=recovery)
    if code_of(error) in BUSY_CODES:
        return JournalBusyError()
    if code_of(error) == sqlite3.SQLITE_IOERR:
        return JournalFaultError(f"{what}: {error}.")
    return JournalError(f"{what}: {error}.", advice=recovery if code_of(error) in DAMAGED_CODES else "")


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code of an error, 0 if it has none (https://sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def written_error(what: str, error: sqlite3.Error | OSError) -> DiskError | JournalError:
    """Return what has kept a file next to the journal from being written."""
    if isinstance(error, OSError):
        return DiskError.of(what, error)
    code = code_of(error)
    if code == sqlite3.SQLITE_FULL:
        return RoomError(f"{what}: the disk is full.")
    if code in BUSY_CODES:
        return JournalBusyError(f"{what}: another program keeps the journal locked.")
    return JournalError(f"{what}: {error}.")


# ---- How much the file of a journal knows, compared with another file -----------------------------------------------


WRITTEN: Final = "written"
"""The journal's key of the number of transactions that it was written in by its services: it never falls."""

_BUSY_SECONDS = 5.0
_HISTORIES = {
    "events": "id, job_id, at, action",
    "service_events": "id, at, kind, message",
    "purchases": "id, job_id, at",
}
"""The tables that are only appended to, with what distinguishes an entry from all others."""

_NO_JOURNAL_CODES = (*DAMAGED_CODES, sqlite3.SQLITE_ERROR)  # the last one: it has no such table

_Entry: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a whole journal knows, without the content."""

    root_id: str  # "" where it does not know its root yet
    purchases: int  # that were ever begun
    written: int
    newest: tuple[_Entry | None, ...]  # the newest entry of each history

    @property
    def rank(self) -> tuple[int, int]:
        """Which of two journals of one root knows more of what was paid, where neither knows all that the other one knows."""
        return self.purchases, self.written


def extent_of(file: Path) -> Extent | None:
    """Return what a journal's file knows, with its write-ahead log; None for what is missing, damaged or no journal at all.

    Any thread, but not while this process has that file open: the file is opened and closed. Raises JournalError,
    JournalBusyError or JournalFaultError where that is not known.
    """
    if not file.is_file():
        return None
    with in_words(f"The journal {file} cannot be read"):
        try:
            with contextlib.closing(_opened(file)) as db:
                return _extent_in(db)
        except sqlite3.Error as error:
            if code_of(error) in _NO_JOURNAL_CODES:
                return None
            raise


def knows_all(file: Path, other: Extent) -> bool:
    """Return whether a whole journal's file knows all that another one of the same root does. Raises as `extent_of`."""
    with in_words(f"The journal {file} cannot be read"), contextlib.closing(_opened(file)) as db:
        return (
            other.root_id in ("", _meta(db, ROOT_ID))
            and int(_meta(db, WRITTEN) or 0) >= other.written
            and all(
                row is None or db.execute(_SAME_ROW[table], row).fetchone()
                for table, row in zip(_HISTORIES, other.newest, strict=True)
            )
        )


_NEWEST_ROW = {
    table: f"SELECT {columns} FROM {table} ORDER BY id DESC LIMIT 1"  # noqa: S608 - names from above
    for table, columns in _HISTORIES.items()
}
_SAME_ROW = {
    table: f"SELECT 1 FROM {table} WHERE ({columns}) = ({', '.join('?' * len(columns.split(', ')))})"  # noqa: S608
    for table, columns in _HISTORIES.items()
}


def _opened(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def _extent_in(db: sqlite3.Connection) -> Extent | None:
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        return None
    newest = tuple(db.execute(query).fetchone() for query in _NEWEST_ROW.values())
    purchases = db.execute("SELECT count(*) FROM purchases").fetchone()[0]
    return Extent(_meta(db, ROOT_ID), purchases, int(_meta(db, WRITTEN) or 0), newest)


def _meta(db: sqlite3.Connection, key: str) -> str:
    """Return a value as it is stored, "" if there is none."""
    found = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else ""


# ---- Whether the files at the journal's path are those that are open, and how they are written out again ------------


Files: TypeAlias = tuple[tuple[int, int] | None, ...]
"""Device and inode of the journal, its write-ahead log and its index, None for what is missing."""

_OPEN_SUFFIXES = ("", "-wal", "-shm")
_ALL_SUFFIXES = (*_OPEN_SUFFIXES, "-journal")
_ASIDE = "moved-aside"


def files_of(journal: Path) -> Files:
    """Return which files are at a journal's path now."""
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
    """Return where a whole copy is that is to take the journal's place."""
    return journal.with_name(f".{journal.name}.whole")


def copy_out(db: sqlite3.Connection, journal: Path, mode: int) -> None:
    """Write all that a connection knows to `whole_path`, durably, whole or not at all. Raises DiskError, JournalError."""
    whole = whole_path(journal)
    part = whole.with_suffix(".part")
    try:
        # A crash may have left a part of an earlier copy: SQLite would take it for a database and go on from there.
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
    # The content is on the disk before the name is: after a power cut a filesystem may have the rename and not the data.
    sync(part)
    part.replace(whole)
    sync(whole.parent)  # a new name is durable only when its folder is synced, too (fsync(2), Notes)


def _error_of(what: str, error: sqlite3.Error | OSError) -> DiskError:
    if isinstance(error, OSError):
        return DiskError.of(what, error)
    full = code_of(error) == sqlite3.SQLITE_FULL
    return RoomError(f"{what}: the disk is full.") if full else DiskError(f"{what}: {error}.")


def move_aside(journal: Path, stamp: str) -> Path | None:
    """Move what is at a journal's path to a name that is free; return that name, None where nothing lay there.

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
    """Return a descriptor of the main file in use, None where it is not at its path or cannot be opened.

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


def put_back(descriptor: int, journal: Path, stamp: str, mode: int) -> bool:
    """Give the content of a closed journal its path again, where the path has been taken away from it; return whether it was so.

    Raises DiskError.
    """
    if _identity(journal) == _identity_of(os.fstat(descriptor)):
        return False
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
    return True


def make_private(journal: Path) -> None:
    """Give the journal files of their own where they have second names, as in a backup by hard links: what is there stays as it is.

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


# ---- Whether a journal is to be read as a whole before anything moves by it -----------------------------------------
#
# What the reading protects from. SQLite itself needs none: with a write-ahead log and `synchronous=FULL` a commit outlives a
# kill, and a loss of power where the disk does what it says (https://sqlite.org/atomiccommit.html). But disks lose what they
# confirmed, and while nobody runs, people and programs put older files in place: next to the log that a kill has left, such a
# file is damaged without a sign, and may have lost purchases. Nobody looks in the time between a crash and the next start,
# so the same boot alone proves nothing: after each end that was not in order all of it is read before anything is paid.


CHECKED_SECONDS: Final = 7 * DAY_SECONDS
"""So long a journal counts as checked. A disk may lose what nobody writes."""

AT_ONCE_BYTES: Final = 16 << 20
"""A journal up to this size is read when it is opened: a tenth of a second. A larger one is read while the service stands still."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class LeftFile(NamedTuple):
    """How a journal's file was left by a stop of the service, after all that was known had been written into it."""

    file: tuple[
        int, int, int, int, int
    ]  # device, inode, size, mtime_ns, ctime_ns: ctime shows also what sets mtime back
    boot: (
        str  # proc_sys_kernel(5), random/boot_id: what a machine wrote before it went down may not be what is read then
    )
    checked_at: float  # UTC: when all of it was read last


def closed_path(journal: Path) -> Path:
    """Return where it is noted how a journal was left."""
    return journal.with_name(f".{journal.name}.closed")


def note_closed(journal: Path, checked_at: float) -> None:
    """Note how a journal was left, after SQLite has closed it, so that the next start need not read all of it. May be repeated.

    Where it cannot be noted, the next start does.
    """
    path = closed_path(journal)
    part = path.with_suffix(".part")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(LeftFile(_look_of(journal), _BOOT.read_text(), checked_at)._asdict()))
        part.replace(
            path
        )  # not synced: what a crash of the machine loses counts as not noted, and another boot does not count


def checked_at(journal: Path, now: float) -> float | None:
    """Return when all of a journal was checked (UTC), if its file is as the service left it and that is not too long ago.

    None: it is to be checked. The note is used up: what is opened and not closed again as a whole is checked. Before SQLite
    opens it.
    """
    path = closed_path(journal)
    try:
        noted = LeftFile(**json.loads(path.read_text()))
        path.unlink()
        log = Path(f"{journal}-wal")
        as_left = (_look_of(journal), _BOOT.read_text()) == (tuple(noted.file), noted.boot)
        is_whole = as_left and not (log.exists() and log.stat().st_size)
    except (OSError, ValueError, TypeError):
        return None
    return noted.checked_at if is_whole and 0 <= now - noted.checked_at < CHECKED_SECONDS else None


def _look_of(file: Path) -> tuple[int, int, int, int, int]:
    status = file.stat(follow_symlinks=False)
    return (*_identity_of(status), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


# ---- Finishing what a run before has begun --------------------------------------------------------------------------


class FinishedJournal(NamedTuple):
    """What became of a whole copy that a run before had left."""

    installed: bool  # it is the journal now; else what lay there knew more, or the copy is damaged
    aside: Path | None  # where the other one of the two is now


def finish(journal: Path, stamp: str) -> FinishedJournal | None:
    """Do what a run before left undone of writing the journal out; return what was done, None where nothing was to be done.

    The whole copy takes the journal's place only where it knows more than what is there: the service may have gone on with
    its files after it had made the copy. For a start alone, while no other process serves; may be repeated. Raises DiskError,
    JournalError where it is not known which of the two is the newer one.
    """
    whole = whole_path(journal)
    if not os.path.lexists(whole):
        return None
    copy, there = extent_of(whole), extent_of(journal)
    # The service went on with its files after the copy: putting the copy in place would forget purchases, and pay again.
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
    """Remove a whole copy that is not needed any more; return whether it is gone. May be repeated."""
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
