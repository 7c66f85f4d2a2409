"""A store copied as a whole: from the journal into a database, and back. Whoever calls keeps every service off both.

All tables of the copy are written in one transaction, and compared with the source before it ends: how many rows, and a
checksum of them. What was in the target's place is put aside, never deleted. Invariants do not hold in between: triggers, which
keep sums of what is written, have nothing to do with rows that have their sums with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import psycopg

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.archive import ArchiveFile, archive_path
from rodin_watchd.adapters.store.backup import how_to_recover
from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.files import in_words, move_aside, sync
from rodin_watchd.adapters.store.postgres import PostgresReader
from rodin_watchd.adapters.store.postgres_connection import Database
from rodin_watchd.adapters.store.postgres_schema import OF_A_ROOT, SCHEMA, facts, migrations
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.adapters.store.stored import EVENT_COLUMNS, RUN_COLUMNS
from rodin_watchd.core.store import MOVED_FROM, MOVED_TO
from rodin_watchd.errors import DiskError, JournalError
from rodin_watchd.settings import Address, StorePlace

_Values: TypeAlias = tuple[Any, ...]

_JOBS: Final = (
    "rowid, id, state, name, folder, top, fingerprint, kind, vendor_seconds, task_uuid, charges, created_at, changed_at, place, "
    "doc, condensed_at"
)
TABLES: Final[Mapping[str, str]] = {
    "jobs": _JOBS,
    "events": "id, job_id, at, action, state, message, code",
    "service_events": "id, at, kind, message, subject, code",
    "purchases": "id, job_id, fingerprint, consent, top, at, outcome, cost, told, dropped, sent, confirmed, kind, listed",
    "hook_runs": "id, event_id, job_id, hook, plugin, outcome, arguments, attempts, not_before, value, told, output, seconds, at",
    "commands": "id, at, verb, arguments, answer",
    "gate": "id, name, verdict",
    "meta": "key, value",
    "moves": "before, after",
    "results": "sha256, given, job_id, kind",
    "tasks": "uuid, job_id",
    "input_names": "name, job_id",
    "ended": "state, jobs",
    "charged": "hour, kind, cost, purchases",
    "charged_by_top": "hour, top, cost, purchases",
    "spent_by_block": "block, top, kind, listed, cost, charged, confirmed, purchases",
    "articles": "kind, listed",
    "confirmed_costs": "cost",
    "archived_jobs": "number, id, doc",
    "archived_events": EVENT_COLUMNS,
    "archived_hook_runs": RUN_COLUMNS,
}
"""Every table with its columns, those first that others refer to. In the journal `archived_…` are the tables of its archive file."""

NUMBERED: Final[Mapping[str, str]] = {
    "jobs": "rowid",
    **dict.fromkeys(("events", "service_events", "purchases", "hook_runs", "commands", "gate"), "id"),
    "archived_jobs": "number",
}
"""Tables whose rows get numbers, and in which column."""

_NOT_COPIED: Final = (MOVED_FROM, MOVED_TO)
_ARCHIVED: Final = "archived_"


class TableSum(NamedTuple):
    """How many rows a table has, and a checksum of them, in whatever order they come."""

    rows: int
    checksum: int


NO_ROWS: Final = TableSum(0, 0)


class Side(Protocol):
    """A store as tables."""

    def read(self, table: str) -> Iterator[_Values]:
        """Yield the rows of a table, in the form that all databases have in common."""

    def newest_number(self, table: str) -> int:
        """Return the newest number that the rows of a table ever had, 0 without any."""


class Target(Side, Protocol):
    """A new store, which nobody else sees before it is complete."""

    def write(self, table: str, found: Iterable[_Values]) -> None:
        """Add rows of that form."""

    def number_from(self, table: str, newest: int) -> None:
        """Let new rows get numbers after this one."""


def copy_all(source: Side, target: Target) -> Mapping[str, TableSum]:
    """Copy every table; return what was copied. Raises JournalError where the copy is not equal."""
    copied = {}
    for table in TABLES:
        seen = [NO_ROWS]
        target.write(table, _summed(source.read(table), seen))
        if table in NUMBERED:
            target.number_from(table, source.newest_number(table))
        copied[table] = seen[0]
    for table, known in copied.items():
        seen = [NO_ROWS]
        for _ in _summed(target.read(table), seen):
            pass
        if seen[0] != known:
            raise JournalError(
                f"The copy is not equal: {table} has {seen[0].rows} rows, {known.rows} in the source; or their content differs.",
                advice="Nothing was changed. Try again; if it happens again, report it.",
            )
    return copied


def sums_of(side: Side) -> Mapping[str, TableSum]:
    """Return what each table of a store sums up to."""
    found = {}
    for table in TABLES:
        seen = [NO_ROWS]
        for _ in _summed(side.read(table), seen):
            pass
        found[table] = seen[0]
    return found


def _summed(found: Iterable[_Values], seen: list[TableSum]) -> Iterator[_Values]:
    for row in found:
        digest = hashlib.sha256(repr(row).encode("utf-8", "backslashreplace")).digest()
        before = seen[0]
        seen[0] = TableSum(before.rows + 1, (before.checksum + int.from_bytes(digest)) % 2**256)
        yield row


# ---- The journal ----------------------------------------------------------------------------------------------------


class JournalTables:
    """The tables of a journal's file and of its archive file. Raises sqlite3.Error."""

    def __init__(self, journal: Path) -> None:
        self._db = _connected(journal)
        archive = archive_path(journal)
        self._archive = _connected(archive) if archive.exists() else None

    def close(self) -> None:
        """Close the files; may be repeated."""
        self._db.close()
        if self._archive:
            self._archive.close()

    def _of(self, table: str) -> tuple[sqlite3.Connection | None, str]:
        if table.startswith(_ARCHIVED):
            return self._archive, table.removeprefix(_ARCHIVED)
        return self._db, table

    def read(self, table: str) -> Iterator[_Values]:
        """Yield the rows of a table; text as it can be stored anywhere, a file's name in JSON."""
        db, name = self._of(table)
        if db is None:
            return
        for row in db.execute(f"SELECT {TABLES[table]} FROM {name}"):  # noqa: S608 - names from above
            if table == "input_names":
                yield json.dumps(row[0]), plain(row[1])
            elif table != "meta" or row[0] not in _NOT_COPIED:
                yield tuple(map(plain, row))

    def newest_number(self, table: str) -> int:
        """Return the newest number that the rows of a table ever had, as far as SQLite knows."""
        db, name = self._of(table)
        if db is None:
            return 0
        found = db.execute(f"SELECT coalesce(max({NUMBERED[table]}), 0) FROM {name}").fetchone()[0]  # noqa: S608 - as above
        kept = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone()
        ever = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone() if kept else None
        return max(int(found), int(ever[0]) if ever else 0)

    def write(self, table: str, found: Iterable[_Values]) -> None:
        """Add rows, within the transaction."""
        db, name = self._of(table)
        assert db is not None  # noqa: S101 - `new_journal` makes both files
        columns = TABLES[table]
        places = ["?"] * len(columns.split(", "))
        if table == "input_names":
            places[0] = "json_extract(?, '$')"  # so a name that is no UTF-8 is what it was
        db.executemany(f"INSERT INTO {name} ({columns}) VALUES ({', '.join(places)})", found)  # noqa: S608 - as above

    def number_from(self, table: str, newest: int) -> None:
        """Let new rows get numbers after this one, where SQLite remembers that."""
        db, name = self._of(table)
        if db is not None and table in ("gate", "archived_jobs") and newest:
            db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, newest))

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Make all that is written one transaction of each file, without triggers."""
        files = [db for db in (self._db, self._archive) if db]
        for db in files:
            db.execute("BEGIN IMMEDIATE")
        triggers = self._db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            self._db.execute(f"DROP TRIGGER {name}")
        for table in ("moves", "meta"):  # which a new journal has already
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names from above
        yield
        for _, text in triggers:
            self._db.execute(text)
        for db in files:
            db.execute("COMMIT")


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = lambda found: found.decode("utf-8", "surrogatepass")
    return db


@contextlib.contextmanager
def reading_journal(journal: Path) -> Iterator[JournalTables]:
    """Give the tables of a journal, brought up to date and checked as at a start. Raises JournalError, DiskError."""
    with contextlib.closing(Journal(journal)) as opened:
        if (found := opened.quick_check()) != "ok":
            raise JournalError(f"The journal {journal} is damaged: {found}.", advice=how_to_recover(journal))
    with in_words(f"The journal {journal} cannot be read"), contextlib.closing(JournalTables(journal)) as tables:
        yield tables


@contextlib.contextmanager
def new_journal(journal: Path, stamp: str) -> Iterator[JournalTables]:
    """Give a new journal to fill, which has the place of `journal` at the end; what was there is moved aside. Raises DiskError, JournalError."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".incoming-", dir=journal.parent))
    except OSError as error:
        raise DiskError.of(f"The folder of the journal {journal} cannot be written", error) from error
    try:
        part = folder / journal.name
        Journal(part).close()
        ArchiveFile(part).close()
        words = in_words(f"The journal {part} cannot be written")
        with words, contextlib.closing(JournalTables(part)) as tables, tables.filling():
            yield tables
        _put_in_place(part, journal, stamp)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(part: Path, journal: Path, stamp: str) -> None:
    """Give a complete journal and its archive file their places, the journal last: without it nothing is served. Raises DiskError."""
    archive = archive_path(journal)
    try:
        for path in (part, archive_path(part)):
            sync(path)
        if os.path.lexists(archive):
            archive.rename(archive.with_name(f"{archive.name}.moved-aside-{stamp}"))
        move_aside(journal, stamp)
        archive_path(part).rename(archive)
        part.rename(journal)
        sync(journal.parent)
    except OSError as error:
        raise DiskError.of(f"The journal cannot be put in its place {journal}", error) from error


# ---- The database ---------------------------------------------------------------------------------------------------


class DatabaseTables:
    """The tables of a store in a database, in one transaction of a connection. Raises psycopg.Error."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def read(self, table: str) -> Iterator[_Values]:
        """Yield the rows of a table."""
        with self._connection.cursor(name=f"read_{table}") as cursor:
            for row in cursor.execute(f"SELECT {TABLES[table]} FROM {_in_database(table)}"):  # noqa: S608 - names from above
                if table != "meta" or row[0] not in _NOT_COPIED:
                    yield tuple(row)

    def newest_number(self, table: str) -> int:
        """Return the newest number that the rows of a table ever had."""
        query = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass), 0)"
        return int(self._connection.execute(query, (_in_database(table), NUMBERED[table])).fetchall()[0][0])

    def write(self, table: str, found: Iterable[_Values]) -> None:
        """Add rows; to a job's what triggers and queries need of it."""
        columns, more = TABLES[table], ", facts" if table == "jobs" else ""
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {_in_database(table)} ({columns}{more}) FROM STDIN") as copy,
        ):
            for row in found:
                copy.write_row((*row, _facts(row)) if table == "jobs" else row)

    def number_from(self, table: str, newest: int) -> None:
        """Let new rows get numbers after this one."""
        query = "SELECT setval(pg_get_serial_sequence(%s, %s)::regclass, greatest(%s, 1), %s)"
        self._connection.execute(query, (_in_database(table), NUMBERED[table], newest, newest > 0))


def _in_database(table: str) -> str:
    """Return a table's name in a database, where what belongs to one root is a part of it."""
    return f"all_{table}" if table in OF_A_ROOT else table


def _facts(row: Sequence[Any]) -> str:
    try:
        return facts(rows.job(row[_JOBS.split(", ").index("doc")]))
    except (ValueError, TypeError, LookupError, AttributeError):
        return "{}"  # it cannot be read in the journal either, which is reported when somebody wants to


@contextlib.contextmanager
def reading_database(address: Address) -> Iterator[DatabaseTables]:
    """Give the tables of a store in a database, as they are at one moment. Raises JournalError, StoreAwayError."""
    PostgresReader(address).close()  # refuses what is of another version
    with _transaction(address, "READ ONLY") as found:
        yield DatabaseTables(found)


@contextlib.contextmanager
def new_database(address: Address, root_id: str, stamp: str) -> Iterator[DatabaseTables]:
    """Give a new store to fill, with one root or none (""), in a database; a store that was there is renamed. Raises JournalError, DiskError."""
    with _transaction(address, "READ WRITE") as found:
        if found.execute(f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL").fetchall()[0][0]:
            found.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {SCHEMA}_moved_aside_{stamp.lower()}")
        found.execute(f"CREATE SCHEMA {SCHEMA}")
        for version, script in migrations(0):
            found.execute(script)
            found.execute("UPDATE store SET version = %s", (version,))
        if root_id:
            found.execute("INSERT INTO roots (id, place) VALUES (%s, '')", (root_id,))
            Database.see_root(found, root_id)
        filled = [_in_database(table) for table in TABLES if table != "meta"]  # whose trigger says what all roots share
        for table in filled:
            found.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield DatabaseTables(found)
        for table in filled:
            found.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@contextlib.contextmanager
def _transaction(address: Address, mode: str) -> Iterator[psycopg.Connection[Any]]:
    database = Database(address, lambda _found: None, read_only=False, lock_seconds=5.0)
    with contextlib.closing(database), database.in_words("cannot be copied"):
        found = database.connection()
        found.execute("SET statement_timeout = 0")
        with found.transaction():
            found.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, {mode}")
            yield found


# ---- From one place to another --------------------------------------------------------------------------------------


def copy_store(source: StorePlace, target: StorePlace, root_id: str, now: float, stamp: str) -> Mapping[str, TableSum]:
    """Copy a store as a whole, of one root or none (""), to another place, with the mark where it came from; return what was copied.

    What is in the target's place is put aside, to a name with the stamp. Raises JournalError, DiskError: then nothing was changed.
    """
    here = reading_database(source.address) if source.address else reading_journal(source.path)
    there = new_database(target.address, root_id, stamp) if target.address else new_journal(target.path, stamp)
    with here as tables, there as new:
        copied = copy_all(tables, new)
        new.write("meta", [(MOVED_FROM, json.dumps({"name": source.name, "at": now}))])
    return copied
