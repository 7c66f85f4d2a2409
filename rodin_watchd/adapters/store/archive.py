"""The archive file: old jobs as the journal had them, in a SQLite file of its own next to it.

A job is copied here as a whole, with its history and the calls of its plugins, and durably; only then the journal drops what it
does not need (`Journal.condense`). After a crash in between the job is in both files, and is copied once more. Nothing here
decides about money. Rows are found by their job: a journal that was restored from a backup may give their numbers once more.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.connections import closed_on_error, connect, open_read_only, prepare
from rodin_watchd.adapters.store.files import in_words, sync, written_error
from rodin_watchd.adapters.store.stored import EVENT_COLUMNS, RUN_COLUMNS, OldRows
from rodin_watchd.errors import JournalError
from rodin_watchd.model import Job
from rodin_watchd.own_file import refuse_foreign_at

VERSION: Final = 1
"""The schema that this program writes (SQLite's `user_version`)."""

_APPLICATION: Final = 0x72776172  # "rwar"
_APPLICATION_AT: Final = (
    68  # where a database has its application id (https://sqlite.org/fileformat2.html#application_id)
)
_SQLITE: Final = b"SQLite format 3\0"
_SCHEMA: Final = f"""
    BEGIN IMMEDIATE;
    PRAGMA application_id = {_APPLICATION};
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- grows with each copy
        id TEXT NOT NULL UNIQUE,
        doc TEXT NOT NULL
    ) STRICT;
    CREATE TABLE events (
        job_id TEXT NOT NULL,
        id INTEGER NOT NULL,
        at REAL NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT NOT NULL,
        code TEXT NOT NULL,
        PRIMARY KEY (job_id, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hook_runs (
        job_id TEXT NOT NULL,
        id INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        hook TEXT NOT NULL,
        plugin TEXT NOT NULL,
        outcome TEXT NOT NULL,
        arguments TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        not_before REAL NOT NULL,
        value TEXT NOT NULL,
        told TEXT NOT NULL,
        output TEXT NOT NULL,
        seconds REAL NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (job_id, id)
    ) STRICT;
    PRAGMA user_version = {VERSION};
    COMMIT;
"""
_PUT_EVENT: Final = f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({', '.join('?' * 7)})"  # noqa: S608 - as above
_PUT_RUN: Final = f"INSERT INTO hook_runs ({RUN_COLUMNS}) VALUES ({', '.join('?' * 14)})"  # noqa: S608 - as above


def archive_path(journal: Path) -> Path:
    """Return where the archive file of a journal is."""
    return journal.with_name("journal.archive.sqlite3")


def archive_backup_path(journal: Path) -> Path:
    """Return where its backup is."""
    return journal.with_name("journal.archive.backup.sqlite3")


def is_archive(head: bytes) -> bool:
    """Return whether a file that begins like this is an archive file."""
    found = head[_APPLICATION_AT : _APPLICATION_AT + 4]
    return head.startswith(_SQLITE) and found == _APPLICATION.to_bytes(4, "big")


def how_to_restore(journal: Path) -> str:
    """Say what to do about an archive file that is missing or damaged."""
    archive, backup = archive_path(journal), archive_backup_path(journal)
    if os.path.exists(backup):  # noqa: PTH110 - unlike Path.exists, False also where we may not look
        return f"Stop the service, copy {backup.name} to {archive.name} in {archive.parent}, then start it again."
    return f"Put the file back into {archive.parent} if you have it elsewhere. What was paid for is in the journal."


class ArchiveFile:
    """Writes old jobs into the archive file of a journal; for one thread. Opening makes the file, with the journal's rights.

    Opening and each call raise DiskError or JournalError; opening also ForeignFileError where another file has the name.
    """

    def __init__(self, journal: Path) -> None:
        self._path = path = archive_path(journal)
        refuse_foreign_at(path, is_archive)
        with self._translated():
            self._db = connect(path, "mode=rwc")
            with closed_on_error(self._db):
                if not _version(self._db, path):
                    self._db.execute("PRAGMA synchronous = EXTRA")
                    self._db.executescript(_SCHEMA)
                    path.chmod(journal.stat().st_mode & 0o777)
                    sync(path.parent)  # a new name is durable only when its folder is synced, too (fsync(2), Notes)
                prepare(self._db)

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def put(self, found: Sequence[OldRows]) -> None:
        """Make copies of these jobs durable, all or none; may be repeated."""
        ids = [(one.known.job.id,) for one in found]
        with self._translated(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for table in ("events", "hook_runs"):
                self._db.executemany(f"DELETE FROM {table} WHERE job_id = ?", ids)  # noqa: S608 - names from above
            docs = [(one.known.job.id, one.doc) for one in found]
            self._db.executemany("INSERT OR REPLACE INTO jobs (id, doc) VALUES (?, ?)", docs)
            self._db.executemany(_PUT_EVENT, [tuple(row) for one in found for row in one.events])
            self._db.executemany(_PUT_RUN, [tuple(row) for one in found for row in one.runs])

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise written_error(f"The archive file {self._path} cannot be written", error) from error


class ArchiveReader:
    """Reads old jobs, from any process; for one thread. Opening and each call raise JournalError.

    Where the file is missing as well: `journal` has jobs whose details are there.
    """

    def __init__(self, journal: Path) -> None:
        path = archive_path(journal)
        self._what, self._advice = f"The archive file {path} cannot be read", how_to_restore(journal)
        if not path.exists():
            message = f"The archive file {path} is missing: the details of old jobs are in it."
            raise JournalError(message, advice=self._advice)
        with in_words(self._what, self._advice):
            self._db = open_read_only(path)
            with closed_on_error(self._db):
                _version(self._db, path)

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def job(self, job_id: str) -> Job | None:
        """Return a job as it was when it was copied, None for one that is not here."""
        with in_words(self._what, self._advice):
            found = self._db.execute("SELECT doc FROM jobs WHERE id = ?", (rows.plain(job_id),)).fetchone()
            return rows.job(found["doc"]) if found else None

    def rows(self, query: str, job_id: str) -> list[sqlite3.Row]:
        """Return what `OF_EVENTS` or `OF_RUNS` finds of a job."""
        with in_words(self._what, self._advice):
            return self._db.execute(query, {"job": rows.plain(job_id)}).fetchall()

    def quick_check(self) -> str:
        """Return "ok", or what SQLite finds damaged."""
        with in_words(self._what, self._advice):
            return str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])


def newest_copy(archive: Path) -> int:
    """Return the number of the newest copy in an archive file, 0 without any: it grows with each. Raises sqlite3.Error."""
    with contextlib.closing(connect(archive, "mode=ro")) as db:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM jobs").fetchone()[0])


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return the schema of an open archive file, 0 of a new one. Raises JournalError for one that a newer program wrote."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise JournalError(
            f"The archive file {path} was written by a newer rodin_watchd (schema {version}, this one knows {VERSION}).",
            advice="Install the newer version again.",
        )
    return version
