"""The journal's backup: a whole copy next to it, made while the daemon goes on, without what is secret.

A journal that is put back from a backup is a day behind: what it believes to be unsent may have been sent, and paid for,
since. So the copy carries a mark that the journal itself never has; who opens it finds out (`core.machine.Loss`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rodin_watchd.adapters.store.archive import (
    archive_backup_path,
    archive_path,
    how_to_restore,
    is_archive,
    newest_copy,
)
from rodin_watchd.adapters.store.connections import connect
from rodin_watchd.adapters.store.files import Files, extent_of, knows_all, sync, why_not, written_error
from rodin_watchd.core.store import COPIED_AT, TOO_OLD
from rodin_watchd.errors import (
    DiskError,
    ForeignFileError,
    JournalError,
    JournalGoneError,
    RodinWatchdError,
)
from rodin_watchd.model import State
from rodin_watchd.own_file import head_of, opened_own, refuse_foreign_at

MOST_KEPT = 5
"""How many backups are kept that know what the newest one does not; of more, those with the fewest purchases are removed."""

_SQLITE = b"SQLite format 3\0"

_KEPT = "journal.backup-{}.sqlite3"
_KEPT_NAME = re.compile(r"journal\.backup-\d{8}T\d{6}Z(-\d+)?\.sqlite3", re.ASCII)


def backup_path(journal: Path) -> Path:
    """Return where the backup of a journal is."""
    return journal.with_name("journal.backup.sqlite3")


def kept_backups(journal: Path) -> list[Path]:
    """Return the backups that were kept because they know what a newer one does not, oldest first; any thread.

    Those that the service has made: by their whole name, and by what is in them. What an administrator keeps under a name
    of the same kind is none of them.
    """
    try:
        found = [path for path in journal.parent.iterdir() if _KEPT_NAME.fullmatch(path.name) and _is_backup(path)]
    except OSError:
        return []
    return sorted(found)


def _is_backup(path: Path) -> bool:
    """Return whether a file is a backup that the service made; False where that is not known."""
    try:
        return head_of(path).startswith(_SQLITE) and _is_journals(path)
    except OSError:
        return False


def make_backup(journal: Path, now: float, expected: Files | None = None) -> Path:
    """Copy the journal next to itself, in place of the copy before, and return where; any thread, any process.

    The daemon may write meanwhile: the copy is the journal as it was at one moment (https://sqlite.org/backup.html). A
    daemon says which files it has open, `expected`: other ones in their place never replace a good copy. A copy that knows
    what this one does not is kept next to it (`kept_backups`). Raises DiskError when there is no room or something else has
    the copy's name, JournalError; then the copy before is still there.
    """
    target = backup_path(journal)
    part = target.with_name(f".{target.name}.part")
    refuse_foreign_backup(journal)
    try:
        part.unlink(missing_ok=True)
        _copy(journal, part, now)
        part.chmod(journal.stat().st_mode & 0o777)  # nobody may read the copy who may not read the journal
        sync(part)
        # Asked after the copy: files that were exchanged while it was made would pass an earlier look.
        if expected and (why := why_not(journal, expected)):
            raise JournalGoneError(f"The journal's backup {target} is not made again: {why}.")
        # A journal that was put back from an older copy knows fewer purchases than the backup that it would replace.
        if not _is_replaced(target, part):
            _keep(journal, target, now)
        part.replace(target)
        sync(target.parent)
    except (sqlite3.Error, OSError, RodinWatchdError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, RodinWatchdError):
            raise
        raise written_error(f"The journal's backup {target} cannot be made", error) from error
    return target


def _is_replaced(before: Path, new: Path) -> bool:
    """Return whether a new backup knows all that the one before knows. Raises DiskError, JournalError."""
    try:
        status = before.lstat()
    except FileNotFoundError:
        return True
    known = extent_of(before)
    return status.st_size == 0 or (known is not None and knows_all(new, known))


def _keep(journal: Path, backup: Path, now: float) -> None:
    """Give a backup a name with a date, and bound the number of those. Raises OSError, DiskError, JournalError.

    Whole ones alone are counted and removed: nobody knows what a damaged one is worth.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    kept, number = backup.with_name(_KEPT.format(stamp)), 1
    while os.path.lexists(kept):
        number += 1
        kept = backup.with_name(_KEPT.format(f"{stamp}-{number}"))
    backup.rename(kept)
    known = {path: extent.rank for path in kept_backups(journal) if (extent := extent_of(path))}
    fewest_first = sorted(known, key=lambda path: known[path])
    for path in fewest_first[: max(len(known) - MOST_KEPT, 0)]:
        path.unlink()


def refuse_foreign_backup(journal: Path) -> None:
    """Raise ForeignFileError where the backup of a journal belongs and another file is there, DiskError if it is not known."""
    target = backup_path(journal)
    refuse_foreign_at(target, lambda head: head.startswith(_SQLITE) and _is_journals(target))


def _is_journals(path: Path) -> bool:
    """Return whether a database has the tables of a journal; one that is damaged may have them."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as found:
            names = {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:
        return True
    return {"jobs", "meta"} <= names


def _copy(journal: Path, part: Path, now: float) -> None:
    with _copied(journal, part) as copy:
        # Else the erased keys stay in free pages of the file (https://sqlite.org/pragma.html#pragma_secure_delete).
        copy.execute("PRAGMA secure_delete = ON")
        with copy:
            copy.execute("BEGIN")
            _erase_secrets(copy)
            copy.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (COPIED_AT, json.dumps(now)))


@contextlib.contextmanager
def _copied(source: Path, part: Path) -> Iterator[sqlite3.Connection]:
    """Copy a database to a new file, and give that; it is checked at the end. Raises sqlite3.Error."""
    original = connect(source, "mode=ro")
    with contextlib.closing(original), contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, which can be copied back as it is
        yield copy
        # A damaged backup would be noticed only on the day when it is needed.
        if (found := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")


def back_up_archive(journal: Path) -> None:
    """Copy the archive file next to itself if jobs were added since; any thread, any process. Raises DiskError, JournalError.

    One that has fewer jobs than its backup never takes its place.
    """
    archive, target = archive_path(journal), archive_backup_path(journal)
    if not archive.exists():
        return
    part = target.with_name(f".{target.name}.part")
    try:
        refuse_foreign_at(archive, is_archive)
        refuse_foreign_at(target, is_archive)
        copies, known = newest_copy(archive), newest_copy(target) if target.exists() else 0
        if copies < known:
            message = f"The archive file {archive} has fewer jobs than its backup {target}, which is kept."
            raise JournalError(message, advice=how_to_restore(journal))
        if copies == known:
            return
        part.unlink(missing_ok=True)
        with _copied(archive, part):
            pass
        part.chmod(archive.stat().st_mode & 0o777)
        sync(part)
        part.replace(target)
        sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise written_error(f"The archive file's backup {target} cannot be made", error) from error


def _erase_secrets(copy: sqlite3.Connection) -> None:
    """Take out of the copy what must not come back with it.

    The tasks' keys and raw answers, because a backup must not keep them longer than the journal does; and the commands that
    nobody has answered yet: by the time that the copy is put back they may have been carried out, and paid for.
    """
    states = json.dumps([state for state in State if state not in (State.ARCHIVED, State.FAILED)])
    query = "SELECT id, doc FROM jobs WHERE state IN (SELECT value FROM json_each(?))"  # by its index: there may be a million
    for job_id, doc in copy.execute(query, (states,)).fetchall():
        data = json.loads(doc)
        if data["task"]:
            data["task"]["subscription_key"] = ""
        data["answer"] = None
        copy.execute("UPDATE jobs SET doc = ? WHERE id = ?", (json.dumps(data, separators=(",", ":")), job_id))
    copy.execute("UPDATE commands SET arguments = json_remove(arguments, '$.subscription_key')")
    copy.execute(
        "UPDATE commands SET answer = ? WHERE answer IS NULL", (json.dumps({"ok": False, "message": TOO_OLD}),)
    )


def how_to_recover(journal: Path) -> str:
    """Say what to do about a damaged journal, command by command."""
    folder, name, backup = shlex.quote(str(journal.parent)), journal.name, backup_path(journal)
    kept = ", ".join(path.name for path in kept_backups(journal))
    newer = f" {kept} next to it: kept, because the backup does not have all purchases." if kept else ""
    away = f"Stop the service, then: cd {folder} && mkdir -p damaged && mv {name}* damaged/"
    if os.path.exists(backup):  # noqa: PTH110 - unlike Path.exists, False also where we may not look
        return (
            f"{away} && cp -p {backup.name} {name} — then start it again: jobs that may have been paid for since the backup "
            f"are held for your decision. Keep what is in damaged/.{newer}"
        )
    return (
        f"{away} — there is no backup next to it: put one in its place if you have one. Without one, `rodin-watchd accept "
        f"root` allows a new beginning, and it is not known what was paid for. Keep what is in damaged/.{newer}"
    )


# ---- Ballast: room that is kept for the one thing that must be written even when the disk is full -------------------


BALLAST_BYTES = 4 << 20
"""Room for the answers to as many submits as can be under way (64): measured 37 kB of log for each."""

COMMIT_BYTES = 64 << 10
"""With less free room than this a commit may fail."""

_OPENING = b"rodin_watchd keeps this room for its journal.\n"
_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_NO_CALL_ERRNOS = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def reserve_path(journal: Path) -> Path:
    """Return where the ballast of a journal is."""
    return journal.with_name("journal.ballast")


def can_grow(journal: Path) -> bool:
    """Return whether there is room for commits: with the ballast laid for some, else for the ballast, which comes first."""
    laid = ReserveFile(reserve_path(journal)).is_laid()
    return shutil.disk_usage(journal.parent).free >= (COMMIT_BYTES if laid else BALLAST_BYTES)


class ReserveFile:
    """The file that holds the room; for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._laid = False

    def lay(self) -> bool:
        """Make sure that the room is held; return whether it is. Costs next to nothing where it was held before."""
        if not (self._laid and self._path.exists()):
            self._laid = self.is_laid() or self._make()
        return self._laid

    def release(self) -> bool:
        """Give the room; return whether there was any to give."""
        self._laid = False
        try:
            refuse_foreign_at(self._path, is_ballast)
            self._path.unlink()
        except (DiskError, OSError):
            return False
        return True

    def is_laid(self) -> bool:
        """Return whether the file is there with its room."""
        try:
            there = self._path.stat().st_blocks * 512 >= BALLAST_BYTES
            return there and is_ballast(head_of(self._path))
        except OSError:
            return False

    def _make(self) -> bool:
        """Make the file, whole or not at all. Where it cannot be had for another reason than room, do without."""
        try:
            descriptor = opened_own(self._path, is_ballast)
        except (ForeignFileError, OSError) as error:
            return not (isinstance(error, OSError) and error.errno in _FULL_ERRNOS)
        try:
            _fill(descriptor)
        except OSError as error:
            self.release()
            return error.errno not in _FULL_ERRNOS
        finally:
            os.close(descriptor)
        return True


def is_ballast(head: bytes) -> bool:
    """Return whether a file that begins like this is ballast; that of an earlier version is nothing but zeros."""
    return head.startswith(_OPENING) or not any(head)


def _fill(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, _OPENING, 0)
    try:
        # A file that was only made longer is a hole and holds no room; this allocates its blocks (posix_fallocate(3)).
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
    except OSError as error:
        if error.errno not in _NO_CALL_ERRNOS:
            raise
        room = os.urandom(BALLAST_BYTES - len(_OPENING))  # which no filesystem can squeeze
        os.pwrite(descriptor, room, len(_OPENING))
    os.fsync(descriptor)
