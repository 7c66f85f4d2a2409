"""The journal: jobs, their history and people's commands, in one SQLite file on a local disk.

One writer, the daemon's main thread, through `Journal`; any number of readers through `JournalReader`, which opens the
file read-only. A job's change and its event are one transaction, durable when the call returns (WAL with
`synchronous=FULL`: measured at about the cost of one fsync). The invariants stand in the schema, so that no fault of
the program can break them: one live job for each content, legal moves only, a history that cannot be rewritten, no
upload of a job that has a task.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodin_watchd.adapters.journal import rows, schema
from rodin_watchd.errors import CommandRefusedError, DiskError, JournalError
from rodin_watchd.model import Event, Job, State, Transition

_SAVE = """
    INSERT INTO jobs (id, state, name, folder, fingerprint, kind, vendor_seconds, task_uuid, charges, created_at,
        changed_at, place, doc)
    VALUES (:id, :state, :name, :folder, :fingerprint, :kind, :vendor_seconds, :task_uuid, :charges, :created_at,
        :changed_at, :place, :doc)
    ON CONFLICT (id) DO UPDATE SET state = :state, fingerprint = :fingerprint, vendor_seconds = :vendor_seconds,
        task_uuid = :task_uuid, charges = :charges, changed_at = :changed_at, place = :place, doc = :doc
"""
_EVENT = "INSERT INTO events (job_id, at, action, state, message) VALUES (?, ?, ?, ?, ?)"
_SAME_CONTENT = """
    SELECT doc FROM jobs WHERE fingerprint = ? AND id <> ? AND state <> 'failed' ORDER BY created_at DESC LIMIT 1
"""
_DURATIONS = """
    SELECT vendor_seconds FROM jobs WHERE kind = ? AND vendor_seconds IS NOT NULL ORDER BY created_at DESC LIMIT ?
"""
_FIND = "SELECT doc FROM jobs WHERE id LIKE :prefix ESCAPE '!' OR name = :name ORDER BY created_at DESC LIMIT 5"


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asked for through the command line."""

    id: int
    verb: str
    arguments: dict[str, Any]


class JournalReader:
    """Read the journal; from any process and thread of its own, while the daemon runs or not.

    Opening raises JournalError when there is no journal, it is damaged, from a newer version, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalError(
                f"There is no journal at {path}.", advice="Has `rodin-watchd run` ever been started here?"
            )
        try:
            self._db = _open_read_only(path)
            _check_version(self._db, path)
        except sqlite3.Error as error:
            raise JournalError(f"The journal {path} cannot be read: {error}.") from error

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def find(self, prefix: str) -> Job:
        """Return the one job whose id or set name begins with (or is) `prefix`. Raises CommandRefusedError."""
        found = [rows.job(row["doc"]) for row in self._db.execute(_FIND, {"prefix": _like(prefix), "name": prefix})]
        if not found:
            raise CommandRefusedError(f"There is no job “{prefix}”.", advice="`rodin-watchd list` shows them all.")
        if len(found) > 1:
            ids = ", ".join(job.id for job in found)
            raise CommandRefusedError(f"“{prefix}” fits several jobs: {ids}.", advice="Name one of them by its id.")
        return found[0]

    def jobs(self, states: Iterable[State] = State, limit: int = -1) -> list[Job]:
        """Return the jobs in these states, newest change first; `limit` < 0 means all."""
        wanted = json.dumps([state.value for state in states])
        query = """SELECT doc FROM jobs WHERE state IN (SELECT value FROM json_each(?))
                   ORDER BY changed_at DESC, id LIMIT ?"""
        return [rows.job(row["doc"]) for row in self._db.execute(query, (wanted, limit))]

    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""
        return {State(row[0]): row[1] for row in self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state")}

    def events(self, job_id: str) -> list[Event]:
        """Return a job's whole history, oldest first."""
        query = "SELECT job_id, at, action, state, message FROM events WHERE job_id = ? ORDER BY id"
        return [rows.event(row) for row in self._db.execute(query, (job_id,))]

    def same_content(self, fingerprint: str, besides: str) -> Job | None:
        """Return the newest job with this content that did not fail, besides the one with the given id."""
        row = self._db.execute(_SAME_CONTENT, (fingerprint, besides)).fetchone()
        return rows.job(row["doc"]) if row else None

    def durations(self, kind: str, limit: int = 50) -> list[float]:
        """Return how long the newest tasks of this kind took, in seconds from submit to Done."""
        return [row[0] for row in self._db.execute(_DURATIONS, (kind, limit))]

    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def answer(self, command_id: int) -> dict[str, Any] | None:
        """Return the daemon's answer to a command, None while it is open."""
        row = self._db.execute("SELECT answer FROM commands WHERE id = ?", (command_id,)).fetchone()
        return json.loads(row[0]) if row and row[0] else None

    def quick_check(self) -> str:
        """Return "ok", or what SQLite finds damaged."""
        return str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])


class Journal(JournalReader):
    """Read and write the journal; the daemon's main thread only.

    Opening creates or upgrades the file, readable for the owner and the group as the umask says. Every writing call is
    one transaction: when it returns, it is on the disk. Raises DiskError when the disk is full (nothing half-written),
    JournalError for every other failure: then the daemon must end, because what is durable is no longer known.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = _open(path)
            _check_version(self._db, path)
            self._migrate()
        except sqlite3.Error as error:
            raise JournalError(f"The journal {path} cannot be opened: {error}.") from error

    def commit(self, transitions: Sequence[Transition], now: float) -> None:
        """Make these moves durable, all or none, each with its event."""
        with self._transaction():
            for transition in transitions:
                self._db.execute(_SAVE, rows.row(transition.job, now))
                event = (transition.job.id, now, transition.action, transition.job.state, transition.message)
                self._db.execute(_EVENT, rows.plain(event))

    def set_meta(self, key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Store a JSON value."""
        with self._transaction():
            query = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            self._db.execute(query, (key, json.dumps(value)))

    def open_commands(self) -> list[Command]:
        """Return the commands that nobody has answered yet, oldest first."""
        query = "SELECT id, verb, arguments FROM commands WHERE answer IS NULL ORDER BY id"
        return [Command(row[0], row[1], json.loads(row[2])) for row in self._db.execute(query)]

    def answer_command(self, command_id: int, *, ok: bool, message: str) -> None:
        """Close a command with its answer."""
        with self._transaction():
            answer = json.dumps({"ok": ok, "message": message})
            self._db.execute("UPDATE commands SET answer = ? WHERE id = ?", (answer, command_id))

    def changed_outside(self) -> int:
        """Return a number that changes when another process has written (SQLite's `data_version`)."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        for number, script in schema.migrations(version):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
        with self._transaction():
            self._db.execute("DELETE FROM moves")
            self._db.executemany("INSERT INTO moves (before, after) VALUES (?, ?)", schema.legal_moves())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskError("The disk with the journal is full.") from error
            if isinstance(error, sqlite3.Error):
                raise JournalError(f"The journal cannot be written: {error}.") from error
            raise


def insert_command(path: Path, verb: str, arguments: dict[str, Any], now: float) -> int:
    """Leave a command for the daemon; from any process that may write the journal. Returns the command's number.

    Raises JournalError when the journal cannot be written by this user.
    """
    try:
        with contextlib.closing(_open(path)) as db:
            query = "INSERT INTO commands (at, verb, arguments) VALUES (?, ?, ?)"
            number = db.execute(query, (now, verb, json.dumps(arguments))).lastrowid
            return number or 0
    except sqlite3.Error as error:
        raise JournalError(
            f"The command could not be left in {path}: {error}.", advice="Run it as the user that the service runs as."
        ) from error


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open for reading, also as a user that may not write beside the file.

    A closed WAL database has no `-wal` file, and a reader without write permission could not make one: the file is
    complete then, and is read as it is (https://sqlite.org/wal.html, Read-Only Databases).
    """
    for options in ("mode=ro", "mode=ro&immutable=1"):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, timeout=5.0)
        db.row_factory = sqlite3.Row
        try:
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            db.close()
            if Path(f"{path}-wal").exists() or "immutable" in options:
                raise
        else:
            break
    return db


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise JournalError(
            f"The journal {path} was written by a newer rodin_watchd (schema {version}, this one knows {schema.VERSION}).",
            advice="Install the newer version again.",
        )


def _like(prefix: str) -> str:
    """Return a LIKE pattern that matches what begins with this text."""
    escaped = "".join(f"!{c}" if c in "!%_" else c for c in prefix)
    return f"{escaped}%" if prefix else ""
