"""The store in a PostgreSQL database: for a studio whose journal must outlive a machine. The same contract as the journal's.

What is secret in it: see `sqlite`. What is erased is out of the tables; how long the server's files and its write-ahead log
still hold it is the server's matter.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

import psycopg

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.farm_state import CALLS, IS_THERE, WORKERS, state_of
from rodin_watchd.adapters.store.files import errors_in_words
from rodin_watchd.adapters.store.postgres_connection import LOCKS, Database, in_postgres
from rodin_watchd.adapters.store.postgres_schema import COST, SCHEMA, VERSION, facts, migrations
from rodin_watchd.adapters.store.schema import legal_moves
from rodin_watchd.adapters.store.stored import (
    EVENT_COLUMNS,
    IS_TRY,
    LAST_CHARGED,
    NO_VALUES,
    OF_EVENTS,
    OF_RUNS,
    RUN_COLUMNS,
    WHERE_MOVED,
    Dialect,
    OldRows,
    StoredReader,
    StoredRow,
    StoredWriter,
    Values,
    quoted,
    refuse_moved,
)
from rodin_watchd.core.farm import NO_FARM, FarmState
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.store import NO_META, NOTHING_BESIDE, SILENT, Announcer, Beside
from rodin_watchd.errors import (
    AlreadyRunningError,
    CommandRefusedError,
    DiskError,
    JournalError,
    JournalRolledBackError,
    OldJournalError,
    RodinWatchdError,
    RoomError,
    StoreAwayError,
)
from rodin_watchd.model import Job, Transition
from rodin_watchd.settings import Address

BUSY_SECONDS: Final = 5.0
"""How long a lock of another program is waited for."""

_CLOCKS_APART_SECONDS: Final = 300.0
"""So much clocks may differ when a service begins."""

_FOUND_OUT_SECONDS: Final = 8.0
"""How long the end of a commit that the network cut off is asked for."""

_ENDING: Final = "3s"
"""How long a service that has just ended is waited for."""

_BOOK, _SERVICE, _SETUP, _COMMANDS = range(1, 5)
"""What is locked: each transaction that writes, the store by its service, the schema, what commands are left."""

_LOCK: Final = f"SELECT pg_advisory_xact_lock({LOCKS}, :what)"
_WRITTEN: Final = "SELECT written FROM writings WHERE writer = :writer"
_COUNT_WRITING: Final = "UPDATE writings SET written = written + 1 WHERE writer = :writer"
_VERSION: Final = "SELECT coalesce(sum(written), 0) FROM writings"
_HOLDER: Final = f"""
    SELECT pid, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = {LOCKS} AND objid = {_SERVICE} AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - numbers

# ---- The queries that are PostgreSQL's own --------------------------------------------------------------------------

_SAVE: Final = """
    INSERT INTO jobs (id, state, name, folder, top, fingerprint, kind, vendor_seconds, task_uuid, charges, created_at,
        changed_at, place, doc, facts)
    VALUES (:id, :state, :name, :folder, :top, :fingerprint, :kind, :vendor_seconds, :task_uuid, :charges, :created_at,
        :changed_at, :place, :doc, :facts)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, fingerprint = excluded.fingerprint,
        vendor_seconds = excluded.vendor_seconds, task_uuid = excluded.task_uuid, charges = excluded.charges,
        changed_at = excluded.changed_at, place = excluded.place, doc = excluded.doc, facts = excluded.facts
    WHERE jobs.owner IN ('', :owner) OR jobs.lease_until <= excluded.changed_at
"""  # a job that somebody else holds is not changed
_CONDENSE: Final = """
    UPDATE jobs SET doc = :doc, facts = :facts, condensed_at = :at
    WHERE id = :id AND condensed_at = 0.0 AND changed_at = :changed_at
        AND coalesce((SELECT max(id) FROM events WHERE job_id = :id), 0) = :event
        AND coalesce((SELECT max(at) FROM hook_runs WHERE job_id = :id), 0.0) = :call_at
        AND NOT EXISTS (SELECT 1 FROM hook_runs WHERE job_id = :id AND outcome = 'due')
"""
_FREE_UPLOADS: Final = """
    UPDATE purchases SET outcome = 'free' WHERE outcome = 'open' AND job_id IN (
        SELECT id FROM jobs WHERE state = 'uploading' AND NOT facts ? 'answer'
    )
"""
_TRIES_IN_A_ROW: Final = f"""
    SELECT count(*) FROM purchases
    WHERE id > :looked AND (id > {LAST_CHARGED} OR id = ANY(:beside)) AND {IS_TRY} AND outcome IN ('free', 'refused')
"""  # noqa: S608 - of words of this program
_MADE: Final = """
    SELECT doc FROM jobs WHERE id = (
        SELECT job_id FROM results AS made
            WHERE sha256 = (:contents::text[])[1] AND job_id <> :besides AND given IN (:given*) AND kind IN (:kinds*)
            AND NOT EXISTS (SELECT 1 FROM unnest(:contents::text[]) AS one
                WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = one AND given IN (:given*) AND job_id = made.job_id))
            LIMIT 1
    )
"""
_ENDED: Final = quoted(sorted(ENDED))
_OLD: Final = f"""
    SELECT id, changed_at, doc FROM jobs WHERE changed_at < :before AND condensed_at = 0.0
        AND (state IN ('archived', 'returned') OR state = 'failed' AND place LIKE 'archive/%')
        AND NOT EXISTS (SELECT 1 FROM hook_runs WHERE job_id = jobs.id AND outcome = 'due')
        AND NOT EXISTS (SELECT 1 FROM purchases WHERE job_id = jobs.id AND outcome = 'open')
        AND NOT EXISTS (SELECT 1 FROM jobs AS next WHERE next.id = jobs.facts ->> 'then' AND next.state NOT IN ({_ENDED}))
        AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.name = jobs.name AND other.state NOT IN ({_ENDED})
            AND other.facts ->> 'batch' = jobs.facts ->> 'batch')
    ORDER BY changed_at LIMIT :limit
"""  # noqa: S608 - the names of states
POSTGRES: Final = Dialect(
    newest_costs="SELECT cost FROM purchases WHERE outcome = 'charged' ORDER BY id DESC LIMIT 20",
    tries_in_a_row=_TRIES_IN_A_ROW,
    made=_MADE,
    siblings="SELECT doc FROM jobs WHERE name = :name AND facts ->> 'batch' = :batch ORDER BY created_at, rowid",
    old=_OLD,
    with_file="""
        SELECT doc FROM jobs WHERE id IN (SELECT job_id FROM input_names WHERE name = :name) ORDER BY created_at DESC
    """,
    with_originals="SELECT doc FROM jobs WHERE facts ? 'originals' ORDER BY created_at DESC",
    save=_SAVE,
    condense=_CONDENSE,
    free_uploads=_FREE_UPLOADS,
    cost=COST,
    name="lower(name)",
    by_state="state",
    position="strpos",
    recent_events="service_events",
)
_OF_ARCHIVE: Final = {
    OF_EVENTS: f"SELECT {EVENT_COLUMNS} FROM archived_events WHERE job_id IN (:jobs*) ORDER BY job_id, id",  # noqa: S608 - columns
    OF_RUNS: f"SELECT {RUN_COLUMNS} FROM archived_hook_runs WHERE job_id IN (:jobs*) ORDER BY job_id, id",  # noqa: S608 - as above
}


# ---- Reading --------------------------------------------------------------------------------------------------------


class _PostgresReading(StoredReader):
    """What reading and writing share: the connection, and the archive, which is in the same database."""

    dialect: ClassVar[Dialect] = POSTGRES
    _database: Database

    def close(self) -> None:
        """Close the connection; may be repeated."""
        self._database.close()

    def version(self) -> int:
        """Return a number that is another one after any other process has written."""
        return int(self._value(_VERSION))

    def farm(self) -> FarmState:
        """Return what there is of the farm."""
        if not self._value(IS_THERE):
            return NO_FARM
        return state_of(self._rows(WORKERS), self._rows(CALLS))

    @errors_in_words
    def _rows(self, query: str, values: Values = NO_VALUES) -> list[StoredRow]:
        return self._database.asked(query, values)

    @errors_in_words
    def _archived_job(self, job_id: str) -> Job | None:
        found = self._rows("SELECT doc FROM archived_jobs WHERE id = :job", {"job": plain(job_id)})
        return rows.job(found[0]["doc"]) if found else None

    def _archived(self, job_ids: Sequence[str], query: str) -> list[StoredRow]:
        moved = self._moved(job_ids)
        return self._rows(_OF_ARCHIVE[query], {"jobs": moved}) if moved else []


class PostgresReader(_PostgresReading):
    """Read the store; from any process, in a thread of its own, while the daemon runs or not.

    Opening raises JournalError where there is no store in the database, or one of another version, or this user may not
    read it, and StoreAwayError where the server does not answer; so do all methods. A connection that was lost is opened
    again by the next call.
    """

    def __init__(self, address: Address) -> None:
        self._database = Database(address, self._checked, read_only=True, lock_seconds=BUSY_SECONDS)
        self._database.connection()

    def _checked(self, found: psycopg.Connection[StoredRow]) -> None:
        if version_of(found, self._database) < VERSION:
            raise OldJournalError(
                f"The store in {self._database.shown} is not set up for this version of rodin_watchd."
            )


def version_of(found: psycopg.Connection[StoredRow], database: Database) -> int:
    """Return the number of the schema, 0 where there is none. Raises JournalError for one that a newer program made."""
    [(there,)] = found.execute(f"SELECT to_regclass('{SCHEMA}.store') IS NOT NULL").fetchall()
    version = int(found.execute("SELECT version FROM store").fetchall()[0][0]) if there else 0
    if version > VERSION:
        raise JournalError(
            f"The store in {database.shown} was written by a newer rodin_watchd (schema {version}, this one knows {VERSION}).",
            advice="Install the newer version again: this version cannot read its store, and could pay twice.",
        )
    return version


# ---- Writing --------------------------------------------------------------------------------------------------------


class PostgresStore(_PostgresReading, StoredWriter):
    """Read and write the store; the daemon's main thread only.

    Opening makes the schema or brings it up to date. `alone`: no other service may use the store meanwhile
    (AlreadyRunningError). Every writing call is one transaction, which no other writer's can come between. Raises
    StoreAwayError where the server is away, JournalBusyError where a lock is not to be had within `busy_seconds`, RoomError
    where its disk is full: nothing is stored then, and it may be repeated. A commit that the network cut off is asked for;
    JournalError where nobody could say what became of it, and for every other failure: then the daemon must end.
    """

    def __init__(
        self,
        address: Address,
        owner: str = "",
        busy_seconds: float = BUSY_SECONDS,
        *,
        alone: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(owner)
        self._now = now
        self._alone = alone
        self._writer = {"writer": f"daemon {owner}"}
        self._written: int | None = None  # by this object, and those before it
        self._changed = 0
        self._outside = (0, 0)
        self._full = False  # by the newest transaction
        self._database = Database(address, self._prepared, read_only=False, lock_seconds=busy_seconds)
        with contextlib.ExitStack() as stack:
            stack.callback(self._database.close)
            self._database.connection()
            self._keep_moves()
            stack.pop_all()

    # ---- a new connection -------------------------------------------------------------------------------------------

    def _prepared(self, found: psycopg.Connection[StoredRow]) -> None:
        if self._alone:
            self._hold(found)
        if self._written is None:
            self._refuse_other_time(found)
            self._migrate(found)
            insert = "INSERT INTO writings VALUES (:writer, 0) ON CONFLICT DO NOTHING"
            found.execute(in_postgres(insert), self._writer)
            self._written = self._written_in(found)
        else:
            version_of(found, self._database)

    def _refuse_other_time(self, found: psycopg.Connection[StoredRow]) -> None:
        """Raise JournalError where the clocks are far apart: days of budgets, leases and histories would make no sense."""
        there = float(found.execute("SELECT extract(epoch FROM clock_timestamp())").fetchall()[0][0])
        if abs(there - self._now()) > _CLOCKS_APART_SECONDS:
            minutes = abs(there - self._now()) / 60
            raise JournalError(
                f"The clock of this machine and that of {self._database.shown} are {minutes:.0f} minutes apart.",
                advice="Let the network set both: `timedatectl set-ntp true` on each machine.",
            )

    def _hold(self, found: psycopg.Connection[StoredRow]) -> None:
        """Keep every other service off the store. What has just ended is waited for: the server lets go of its lock a moment later.

        A connection of this very object that the server has not missed yet is ended.
        """
        for pid, name in found.execute(_HOLDER).fetchall():
            if name == self._database.name:
                found.execute("SELECT pg_terminate_backend(%s)", (pid,))
        before = found.execute(
            "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, false)", (_ENDING,)
        )
        [(waits, _)] = before.fetchall()
        try:
            found.execute(f"SELECT pg_advisory_lock({LOCKS}, {_SERVICE})")
        except psycopg.errors.LockNotAvailable as error:
            names = ", ".join(str(name) for _, name in found.execute(_HOLDER).fetchall())
            raise AlreadyRunningError(f"Another service uses the store in {self._database.shown}: {names}.") from error
        found.execute("SELECT set_config('lock_timeout', %s, false)", (waits,))

    def _migrate(self, found: psycopg.Connection[StoredRow]) -> None:
        if version_of(found, self._database) == VERSION:
            return
        with found.transaction():
            found.execute(in_postgres(_LOCK), {"what": _SETUP})
            found.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            for version, script in migrations(version_of(found, self._database)):  # another one may have been faster
                found.execute(script)
                found.execute("UPDATE store SET version = %s", (version,))

    def _written_in(self, found: psycopg.Connection[StoredRow]) -> int:
        known = found.execute(in_postgres(_WRITTEN), self._writer).fetchall()
        return int(known[0][0]) if known else -1

    def _keep_moves(self) -> None:
        if {tuple(row) for row in self._rows("SELECT before, after FROM moves")} == set(legal_moves()):
            return
        with self._transaction():
            self._write("DELETE FROM moves")
            for before, after in legal_moves():
                self._write("INSERT INTO moves VALUES (:before, :after)", {"before": before, "after": after})

    # ---- what is asked of it ----------------------------------------------------------------------------------------

    def commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        announcer: Announcer = SILENT,
        beside: Beside = NOTHING_BESIDE,
    ) -> None:
        """Make these moves durable, all or none, each with its event and the calls that plugins are owed for it.

        With them `meta`, JSON values by their keys (None takes the key away), and what belongs to them `beside`. A call with
        nothing in it finds out whether the store can be written.
        """
        self._commit(transitions, now, meta, announcer, beside)

    def spent_in_day(self, purchase: int) -> Mapping[str, Decimal]:
        """Return the same as `spent_since`: whole blocks of purchases are summed up already."""
        return self.spent_since(purchase)

    @property
    def changes(self) -> int:
        """A number that grows with each change that is made through this object."""
        return self._changed

    def changed_outside(self) -> tuple[int, int]:
        """Return what changes when another process has written, or the connection is another one."""
        others = self._value("SELECT coalesce(sum(written), 0) FROM writings WHERE writer <> :writer", self._writer)
        outside = (self._database.opened, int(others))
        if outside != self._outside:
            self._outside = outside
            self._kept.clear()
        return outside

    def sweep(self) -> None:
        """Leave it with the server: it takes away by itself what is not needed any more (autovacuum)."""

    # ---- transactions -----------------------------------------------------------------------------------------------

    @property
    def _in_transaction(self) -> bool:
        return self._database.is_held

    def _facts(self, job: Job) -> Mapping[str, object]:
        return {"facts": facts(job)}

    def _write(self, query: str, values: Values = NO_VALUES) -> int:
        count = self._database.run(query, values).rowcount
        self._changed += count
        return count

    def _returned(self, query: str, values: Values) -> list[StoredRow]:
        found = self._database.run(query, values).fetchall()
        self._changed += len(found)
        return found

    @contextlib.contextmanager
    def _own_transaction(self, *, vital: bool) -> Iterator[None]:  # noqa: ARG002 - the vendor's answers find the server's room
        self._begin()
        self._database.hold()
        changes, committing, counted = self._changed, False, False
        try:
            yield
            if self._changed != changes or self._full:
                counted = bool(self._database.run(_COUNT_WRITING, self._writer).rowcount)
            committing = True
            self._end()
        except BaseException as error:
            found = self._ended(error)
            if not (committing and counted and isinstance(found, StoreAwayError) and self._was_stored(found)):
                self._full = isinstance(found, RoomError)
                if found is error:
                    raise
                raise found from error
        self._full = False
        self._database.note_written()
        self._written = (self._written or 0) + counted

    def _begin(self) -> None:
        """Begin a transaction that no other writer's can come between; by a new connection where the old one was lost."""
        for is_last in (False, True):
            try:
                with self._database.in_words("cannot be written"):
                    self._database.set_patience()
                    self._database.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                    self._database.run(_LOCK, {"what": _BOOK})
                    written = self._written_in(self._database.connection())
                break
            except StoreAwayError:
                if is_last:
                    raise
            except (DiskError, JournalError):
                self._roll_back()
                raise
        if written != self._written:
            self._roll_back()
            raise JournalRolledBackError(
                f"Older content was put into {self._database.shown} while the service was running.",
                advice="Start the service again, if it does not restart by itself: it holds jobs that may have been paid for "
                "meanwhile, and counts them as spent. To restore a backup, stop the service first.",
            )

    def _end(self) -> None:
        if self._database.run("COMMIT").statusmessage != "COMMIT":  # so the server answers where a statement had failed
            raise JournalError(f"The server of {self._database.shown} has taken a transaction back.")
        self._database.let_go()

    def _ended(self, error: BaseException) -> BaseException:
        """Take a transaction back, and return what its error means."""
        self._database.let_go()
        found = self._database.translated(error, "cannot be written") if isinstance(error, psycopg.Error) else error
        if not isinstance(found, StoreAwayError):
            self._roll_back()
        return found

    def _roll_back(self) -> None:
        try:
            if self._database.is_open:
                self._database.run("ROLLBACK")
        except (psycopg.Error, RodinWatchdError):
            self._database.drop()

    def _was_stored(self, away: StoreAwayError) -> bool:
        """Return whether the commit that the network cut off is durable. Raises JournalError where nobody can say.

        The lock waits for the old connection's end: until then the server may still store it.
        """
        until = time.monotonic() + _FOUND_OUT_SECONDS
        while True:
            try:
                with self._database.in_words("cannot be read"):
                    found = self._database.connection(at_once=True)
                    with found.transaction():
                        found.execute(in_postgres(_LOCK), {"what": _BOOK})
                        written = self._written_in(found)
                break
            except DiskError as error:
                if time.monotonic() >= until:
                    raise JournalError(
                        f"{away.message} It is not known whether the newest changes were stored.",
                        advice="Start the service again when the server answers, if it does not restart by itself: it goes on "
                        "with what is stored.",
                    ) from error
                time.sleep(0.2)
        if written not in (self._written, (self._written or 0) + 1):
            raise JournalRolledBackError(f"Older content was put into {self._database.shown}.")
        return written != self._written


# ---- The archive ----------------------------------------------------------------------------------------------------


class PostgresArchive:
    """Moves the details of old jobs to the archive, in the same database; from any thread of its own.

    Opening and each call raise DiskError or JournalError.
    """

    def __init__(self, address: Address) -> None:
        self._database = Database(address, lambda _found: None, read_only=False, lock_seconds=BUSY_SECONDS)

    def close(self) -> None:
        """Close the connection; may be repeated."""
        self._database.close()

    def put(self, found: Sequence[OldRows]) -> None:
        """Make copies of these jobs durable, all or none; may be repeated."""
        ids = [plain(one.known.job.id) for one in found]
        with self._database.in_words("cannot be written"):
            connection = self._database.connection()
            with connection.transaction(), connection.cursor() as cursor:
                for table, column in (("jobs", "id"), ("events", "job_id"), ("hook_runs", "job_id")):
                    cursor.execute(f"DELETE FROM archived_{table} WHERE {column} = ANY(%s)", (ids,))  # noqa: S608 - names from above
                cursor.executemany(
                    "INSERT INTO archived_jobs (id, doc) VALUES (%s, %s)",
                    [(i, one.doc) for i, one in zip(ids, found, strict=True)],
                )
                for table, columns, parts in (
                    ("events", EVENT_COLUMNS, [row for one in found for row in one.events]),
                    ("hook_runs", RUN_COLUMNS, [row for one in found for row in one.runs]),
                ):
                    places = ", ".join(["%s"] * len(columns.split(", ")))
                    put = f"INSERT INTO archived_{table} ({columns}) VALUES ({places})"  # noqa: S608 - names from above
                    cursor.executemany(put, [tuple(row) for row in parts])


# ---- Leaving a command ----------------------------------------------------------------------------------------------


_INSERT: Final = "INSERT INTO commands (at, verb, arguments) VALUES (:at, :verb, :arguments) RETURNING id"
_WAITING: Final = "SELECT arguments FROM commands WHERE answer IS NULL AND verb = :verb"


def insert_command(address: Address, verb: str, arguments: dict[str, Any], now: float, *, once: bool = False) -> int:
    """Leave a command for the daemon; from any process whose user may. Returns the command's number.

    Raises JournalError, StoreAwayError, JournalBusyError; and, with `once`, CommandRefusedError while the same is asked of
    the same job already and not answered yet.
    """
    database = Database(address, lambda _found: None, read_only=False, lock_seconds=BUSY_SECONDS)
    with contextlib.closing(database), database.in_words("cannot be written"):
        found = database.connection()
        if version_of(found, database) < VERSION:
            raise OldJournalError(f"The store in {database.shown} is not set up for this version of rodin_watchd.")
        with found.transaction():
            refuse_moved(found.execute(WHERE_MOVED).fetchall())
            found.execute(in_postgres(_LOCK), {"what": _COMMANDS})  # two terminals cannot both find that nothing waits
            waiting = [json.loads(row[0]) for row in found.execute(in_postgres(_WAITING), {"verb": verb}).fetchall()]
            if once and any(one.get("job") == arguments.get("job") for one in waiting):
                raise CommandRefusedError(f"`{verb}` was given for this job already, and waits for the service.")
            values = {"at": now, "verb": verb, "arguments": json.dumps(arguments)}
            return int(found.execute(in_postgres(_INSERT), values).fetchall()[0][0])
