"""Reading the journal: what the command line and the daemon ask it. No error of SQLite's gets out, only JournalError."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rodin_watchd.adapters.journal import rows, schema
from rodin_watchd.adapters.journal.backup import how_to_recover
from rodin_watchd.adapters.journal.hook_runs import HookRunReader
from rodin_watchd.adapters.journal.purchases import PurchaseReader
from rodin_watchd.adapters.journal.words import errors_in_words, in_words
from rodin_watchd.core.approval import GateKey, Pass
from rodin_watchd.core.consent import of_set
from rodin_watchd.core.names import printable
from rodin_watchd.errors import CommandRefusedError, JournalError, OldJournalError
from rodin_watchd.model import Event, Job, ServiceEvent, State

BUSY_SECONDS = 5.0

_SAME_CONTENT = """
    WITH content AS (SELECT value FROM json_each(:content)),
        bought AS (
            SELECT job_id, outcome FROM purchases
                WHERE fingerprint IN content AND outcome <> 'free'
            UNION ALL SELECT job_id, outcome FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
        )
    SELECT doc FROM jobs WHERE id <> :besides AND (
        id IN (SELECT id FROM jobs WHERE fingerprint IN content AND fingerprint <> '' AND state <> 'failed')
        OR id IN (SELECT job_id FROM bought WHERE outcome <> 'refused')
    ) ORDER BY state IN ('archived', 'failed'), state = 'failed', created_at DESC LIMIT 1
"""  # a live one first: it must not be joined by a second; then one that has a result
_BOUGHT = """
    WITH same AS (
        SELECT id FROM purchases WHERE fingerprint IN (SELECT value FROM json_each(:content))
            AND outcome <> 'free'
        UNION SELECT id FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
    )
    SELECT doc, consent FROM purchases JOIN jobs ON jobs.id = job_id
        WHERE purchases.id IN same AND job_id <> :besides AND outcome <> 'refused'
        ORDER BY created_at DESC, purchases.id DESC
"""
_MADE = """
    SELECT doc FROM results JOIN jobs ON jobs.id = job_id WHERE sha256 = ? ORDER BY created_at DESC
"""
_DURATIONS = """
    SELECT vendor_seconds FROM jobs WHERE kind = ? AND vendor_seconds IS NOT NULL ORDER BY created_at DESC LIMIT ?
"""
_FIND = """
    SELECT doc FROM jobs WHERE id LIKE :prefix ESCAPE '!' OR name = :name
    ORDER BY id = :name DESC, created_at DESC LIMIT 5
"""


class JournalReader(PurchaseReader, HookRunReader):
    """Read the journal; from any process and thread of its own, while the daemon runs or not.

    Opening raises JournalError when there is no journal, it is damaged, of another version, or may not be read; so do
    all methods, and JournalBusyError while another program keeps it locked. One that was opened while no daemon ran, by a user who may not write beside the file, sees the file as
    it is and nothing that comes later: open it anew for each look.
    """

    def __init__(self, path: Path) -> None:
        with in_words(f"The journal {path} cannot be read", how_to_recover(path)):
            self._db = _open_read_only(path)
            with closed_on_error(self._db):
                check_version(self._db, path)
                if self.schema_version() < schema.VERSION:
                    raise OldJournalError(f"The journal {path} is not set up for this version of rodin_watchd.")

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def find(self, prefix: str) -> Job:
        """Return the one job whose id is or begins with `prefix`, or whose set has this name, raw or as it is shown.

        A whole id wins over everything else. Raises CommandRefusedError when there is none, or several.
        """
        shown = printable(prefix)
        found = self._jobs(_FIND, {"prefix": _like(shown), "name": shown})
        if not found:
            raise CommandRefusedError(f"There is no job “{shown}”.", advice="`rodin-watchd list` shows them all.")
        if len(found) > 1 and found[0].id != shown:
            ids = ", ".join(job.id for job in found)
            raise CommandRefusedError(f"“{shown}” fits several jobs: {ids}.", advice="Name one of them by its id.")
        return found[0]

    def jobs(self, states: Iterable[State] = State, limit: int = -1, changed_since: float = 0.0) -> list[Job]:
        """Return the jobs in these states that have changed since (UTC), newest change first; `limit` < 0 means all."""
        wanted = json.dumps([state.value for state in states])
        query = """SELECT doc FROM jobs WHERE state IN (SELECT value FROM json_each(?)) AND changed_at >= ?
                   ORDER BY changed_at DESC, id LIMIT ?"""
        return self._jobs(query, (wanted, changed_since, limit))

    def same_content(self, fingerprints: Sequence[str], besides: str, dropped: str = "") -> Job | None:
        """Return another job that has this content, or was, or may have been, charged for it; None if there is none.

        `dropped` is the fingerprint of what was dropped: a job that was charged for the same is one, too.

        The live one comes first, then the newest that was delivered; a failed one that cost nothing does not count.
        """
        values = {"content": json.dumps(fingerprints), "besides": rows.plain(besides), "dropped": dropped}
        return next(iter(self._jobs(_SAME_CONTENT, values)), None)

    @errors_in_words
    def bought(
        self, fingerprints: Sequence[str], besides: str, consent: str | None = None, dropped: str = ""
    ) -> Job | None:
        """Return the newest other job that was, or may have been, charged for this content, or for the same drop, if any was.

        With a consent: by this one, or while its TOML file gave this one.
        """
        values = {"content": json.dumps(fingerprints), "besides": rows.plain(besides), "dropped": dropped}
        found = self._rows(_BOUGHT, values)
        bought = ((rows.job(doc), spent) for doc, spent in found)
        return next((job for job, spent in bought if consent in (None, spent, of_set(job.again))), None)

    def made(self, sha256: str) -> list[Job]:
        """Return the jobs of which this content was a result, as it came or as plugins left it; the newest first."""
        return self._jobs(_MADE, (sha256,))

    def job(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        return next(iter(self._jobs("SELECT doc FROM jobs WHERE id = ?", (rows.plain(job_id),))), None)

    def newest_with(self, fingerprint: str, dropped: str) -> Job | None:
        """Return the job of the newest purchase of a content, or of what was dropped for it."""
        query = """SELECT doc FROM jobs WHERE id = (SELECT job_id FROM (
                       SELECT id, job_id FROM purchases WHERE fingerprint = :content
                       UNION SELECT id, job_id FROM purchases WHERE dropped = :dropped AND dropped <> ''
                   ) ORDER BY id DESC LIMIT 1)"""
        return next(iter(self._jobs(query, {"content": rows.plain(fingerprint), "dropped": dropped})), None)

    def with_task(self, uuid: str) -> Job | None:
        """Return the job that has this task of the vendor, or had it before it was paid anew."""
        query = "SELECT doc FROM jobs WHERE id = (SELECT job_id FROM tasks WHERE uuid = ?)"
        return next(iter(self._jobs(query, (rows.plain(uuid),))), None)

    def having_task(self, uuid: str) -> list[Job]:
        """Return the jobs that have this task of the vendor now."""
        return self._jobs("SELECT doc FROM jobs WHERE task_uuid = ?", (rows.plain(uuid),))

    def with_file(self, name: str) -> list[Job]:
        """Return the jobs that have or had an input of this name, newest first."""
        stored = json.dumps(f"/{name}")[1:]  # as it ends a path in a job's document
        found = self._jobs("SELECT doc FROM jobs WHERE instr(doc, ?) > 0 ORDER BY created_at DESC", (stored,))
        return [job for job in found if any(file.name == name for file in job.files)]

    # ---- numbers and history ----------------------------------------------------------------------------------------

    @errors_in_words
    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""
        return {State(row[0]): row[1] for row in self._rows("SELECT state, count(*) FROM jobs GROUP BY state")}

    @errors_in_words
    def events(self, job_id: str) -> list[Event]:
        """Return a job's whole history, oldest first."""
        query = "SELECT job_id, at, action, state, message, code FROM events WHERE job_id = ? ORDER BY id"
        return [rows.event(row) for row in self._rows(query, (rows.plain(job_id),))]

    @errors_in_words
    def was_refused_unread(self, job_id: str) -> bool:
        """Tell whether a set was refused as it lay in the inbox: then its job began with that, and has none of its options."""
        query = "SELECT state FROM events WHERE job_id = ? ORDER BY id LIMIT 1"
        return [row[0] for row in self._rows(query, (rows.plain(job_id),))] == [State.FAILING]

    @errors_in_words
    def service_events(self, limit: int = -1, since_at: float = 0.0, kinds: Iterable[str] = ()) -> list[ServiceEvent]:
        """Return the service's own history since an instant (UTC), newest first, of these kinds or all; `limit` < 0: all."""
        query = """SELECT at, kind, message, subject, code FROM service_events WHERE at >= :since_at
                   AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds))) ORDER BY id DESC LIMIT :limit"""
        values = {"since_at": since_at, "kinds": json.dumps(list(kinds)), "limit": limit}
        return [ServiceEvent(*row) for row in self._rows(query, values)]

    def newest_at(self) -> float | None:
        """Return the newest instant (UTC) of all events, None without any: a clock that says less was set back."""
        query = (
            "SELECT max(at) FROM (SELECT max(at) AS at FROM service_events UNION ALL SELECT max(changed_at) FROM jobs)"
        )
        at = self._value(query)
        return None if at is None else float(at)

    def begun_at(self) -> float | None:
        """Return when (UTC) the first job was taken, None if none was."""
        found = self._kept_rows("SELECT at FROM events ORDER BY id LIMIT 1")
        return float(found[0][0]) if found else None

    def durations(self, kind: str, limit: int = 50) -> list[float]:
        """Return how long the newest tasks of this kind took, in seconds from submit to Done."""
        return [row[0] for row in self._rows(_DURATIONS, (kind, limit))]

    # ---- what else is kept ------------------------------------------------------------------------------------------

    @errors_in_words
    def gate(self, up_to: int | None = None) -> dict[GateKey, Pass]:
        """Return what was decided about the sets in the inbox; or only what was stored up to a number."""
        query = "SELECT name, verdict FROM gate WHERE :up_to IS NULL OR id <= :up_to ORDER BY id"
        return {rows.gate_key(row["name"]): Pass(row["verdict"]) for row in self._rows(query, {"up_to": up_to})}

    def newest_held(self) -> int:
        """Return the number of the newest set that is held for approval, 0 without any; no number is given twice."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM gate WHERE verdict = 'held'"))

    def newest_command(self, verb: str) -> int:
        """Return the number of the newest command of this kind, answered or not, 0 without any."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM commands WHERE verb = ?", (verb,)))

    @errors_in_words
    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""
        found = self._kept_rows("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    @errors_in_words
    def answer(self, command_id: int) -> dict[str, Any] | None:
        """Return the daemon's answer to a command, None while it is open."""
        stored = self._value("SELECT answer FROM commands WHERE id = ?", (command_id,))
        return dict(json.loads(stored)) if stored else None

    def quick_check(self) -> str:
        """Return "ok", or what SQLite finds damaged."""
        return str(self._value("PRAGMA quick_check(1)"))

    def schema_version(self) -> int:
        """Return the number of the schema that the file has."""
        return int(self._value("PRAGMA user_version"))

    # ---- asking SQLite ----------------------------------------------------------------------------------------------

    @errors_in_words
    def _rows(self, query: str, values: Any = ()) -> list[sqlite3.Row]:  # noqa: ANN401 - as sqlite3 takes them
        """Ask, and read all of the answer: an open statement would hold up the writer's checkpoints."""
        return self._db.execute(query, values).fetchall()

    def _kept_rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Do the same; who reads beside the writer never knows what is written meanwhile."""
        return self._rows(query, values)

    @errors_in_words
    def _jobs(self, query: str, values: Any = ()) -> list[Job]:  # noqa: ANN401 - as sqlite3 takes them
        return [rows.job(row["doc"]) for row in self._rows(query, values)]

    def _value(self, query: str, values: Any = ()) -> Any:  # noqa: ANN401 - whatever is stored
        found = self._rows(query, values)
        return found[0][0] if found else None


def connect(path: Path, options: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the file by SQLite's URI options, in autocommit mode. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?{options}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_seconds)
    db.row_factory = sqlite3.Row
    return db


@contextlib.contextmanager
def closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Close a connection whose owner does not come into being."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError for a journal that a newer program wrote."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise JournalError(
            f"The journal {path} was written by a newer rodin_watchd (schema {version}, this one knows {schema.VERSION}).",
            advice="Install the newer version again: this one does not know what its journal says, and could pay twice.",
        )


def check_exists(path: Path) -> None:
    """Raise JournalError where there is no journal, or its folder is closed to this user."""
    try:
        path.stat()
    except PermissionError as error:
        raise JournalError(f"The journal {path} may not be read by this user.") from error
    except OSError as error:
        advice = "Has `rodin-watchd run` ever been started here?"
        raise JournalError(f"There is no journal at {path}.", advice=advice) from error


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open for reading, also as a user that may not write beside the file.

    A closed WAL database has no `-wal` file, and a reader without write permission could not make one: the file is
    complete then, and is read as it is (https://sqlite.org/wal.html, Read-Only Databases).
    """
    check_exists(path)
    try:
        return _opened(path, "mode=ro")
    except sqlite3.OperationalError:
        if Path(f"{path}-wal").exists():
            raise
    return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, options: str) -> sqlite3.Connection:
    db = connect(path, options)
    with closed_on_error(db):
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    return db


def _like(prefix: str) -> str:
    """Return a LIKE pattern that matches what begins with this text."""
    escaped = "".join(f"!{c}" if c in "!%_" else c for c in prefix)
    return f"{escaped}%" if prefix else ""
