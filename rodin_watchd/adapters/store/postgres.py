"""The store in a PostgreSQL database: for a studio whose journal must outlive a machine. The same contract as the journal's.

What is secret in it: see `sqlite`. What is erased is out of the tables; how long the server's files and its write-ahead log
still hold it is the server's matter.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeAlias

import psycopg

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.farm_state import CALLS, IS_THERE, WORKERS, state_of
from rodin_watchd.adapters.store.files import errors_in_words, in_words
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
from rodin_watchd.core.machine import AT_VENDOR, ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.proof import Traffic
from rodin_watchd.core.roots import KnownRoots, ServingProcess, process_in_words
from rodin_watchd.core.store import NO_META, NOTHING_BESIDE, ROOT_ID, SILENT, Announcer, Beside, ServedRoot
from rodin_watchd.core.waits import LONGEST_WAIT_SECONDS
from rodin_watchd.errors import (
    AlreadyRunningError,
    CommandRefusedError,
    DiskError,
    FencedError,
    JournalError,
    JournalRolledBackError,
    OldJournalError,
    RodinWatchdError,
    RoomError,
    StandbyError,
    StoreAwayError,
)
from rodin_watchd.model import Job, State, Transition
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
_WRITTEN_FOR_GOOD: Final = "UPDATE writings SET written = written WHERE writer = :writer RETURNING written"
_COUNT_WRITING: Final = "UPDATE writings SET written = written + 1 WHERE writer = :writer"
_VERSIONS: Final = "SELECT version, (to_jsonb(store) ->> 'oldest')::int FROM store"
"""The number of the schema, and that of the oldest program that can use it: the first schema did not say."""

_VERSION: Final = "SELECT coalesce(sum(written), 0) FROM writings"
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())"
_ROOT: Final = """
    SELECT id, place, daemon, process, fence, renewed,
        CASE WHEN daemon = '' THEN 0 ELSE greatest(extract(epoch FROM until - clock_timestamp()), 0) END::double precision AS left_seconds
    FROM roots
"""
_ROOTS: Final = f"{_ROOT} ORDER BY id"
_TAKE: Final = """
    UPDATE roots SET daemon = :daemon, process = :process, place = :place, fence = fence + 1, renewed = renewed + 1,
        until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :root RETURNING fence
"""
_EXTEND: Final = """
    UPDATE roots SET renewed = renewed + 1, until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE id = :root AND fence = :fence AND process = :process RETURNING extract(epoch FROM clock_timestamp())
"""
_FREE: Final = """
    UPDATE roots SET daemon = '', process = '', until = '-infinity' WHERE id = :root AND fence = :fence AND process = :process
"""
_FENCE: Final = "SELECT process, fence FROM roots WHERE id = :root"
_KEEP_PLACE: Final = (
    "INSERT INTO root_places VALUES (:place, :root) ON CONFLICT (place) DO UPDATE SET root = excluded.root"
)
_KEEP_STANDBYS_PLACE: Final = (
    "INSERT INTO root_places SELECT :place, id FROM roots WHERE id = :root ON CONFLICT (place) DO NOTHING"
)
_KEEP_PROCESS: Final = (
    "INSERT INTO daemons VALUES (:daemon, :process) ON CONFLICT (id) DO UPDATE SET process = excluded.process"
)
_TELL_OTHERS: Final = """
    INSERT INTO writings AS known VALUES ('daemons', 1) ON CONFLICT (writer) DO UPDATE SET written = known.written + 1
"""
_TAKE_OVER: Final = """
    INSERT INTO taken_over SELECT purchases.id, :daemon, :process FROM jobs JOIN purchases ON job_id = jobs.id
        WHERE state = 'submitting' AND outcome = 'open'
    ON CONFLICT (purchase) DO NOTHING
"""
"""The first process that fell silent is the one that was sending: each submit is a purchase."""

_MAY_BE_SENT: Final = """
    SELECT job_id, taken_over.process FROM taken_over JOIN purchases ON purchases.id = purchase JOIN jobs ON jobs.id = job_id
    WHERE outcome = 'open' AND state IN ('submitting', 'held')
        AND NOT EXISTS (SELECT 1 FROM daemons WHERE daemons.id = taken_over.daemon AND daemons.process <> taken_over.process)
"""
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
"""
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
    SELECT doc FROM all_jobs WHERE id = (
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
    commands="all_commands",
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
_LIVE: Final = f"state NOT IN ({_ENDED})"
_LIVE_ELSEWHERE: Final = f"root <> own_root() AND {_LIVE}"
_ELSEWHERE: Final = f"""
    WITH concerned AS (
        SELECT id FROM all_jobs WHERE state IN ({quoted(sorted(AT_VENDOR | {State.HELD}))}) AND {_LIVE}
        UNION SELECT id FROM all_jobs WHERE {_LIVE} AND facts ? 'batch'
        UNION SELECT job_id FROM purchases WHERE outcome = 'refused' AND id > {LAST_CHARGED}
    )
    SELECT all_jobs.doc FROM concerned JOIN all_jobs USING (id) JOIN roots ON roots.id = root
        WHERE {_LIVE_ELSEWHERE} AND (state = 'held' OR until > clock_timestamp()
            OR changed_at > extract(epoch FROM clock_timestamp()) - {LONGEST_WAIT_SECONDS:.0f})
        ORDER BY all_jobs.id
"""  # noqa: S608 - the names of states; each part has an index of its own
_SAME_ELSEWHERE: Final = f"""
    SELECT doc FROM all_jobs WHERE {_LIVE_ELSEWHERE}
        AND (fingerprint IN (:content*) AND fingerprint <> '' OR facts ->> 'dropped' = :dropped AND :dropped <> '') LIMIT 1
"""  # noqa: S608 - as above
_PLACE_ELSEWHERE: Final = """
    SELECT place FROM roots WHERE id = (SELECT root FROM all_jobs WHERE id = :job) AND id <> own_root()
"""
_META_ELSEWHERE: Final = "SELECT value FROM all_meta WHERE key = :key AND root NOT IN ('', own_root()) ORDER BY root"
_TRAFFIC_ELSEWHERE: Final = "SELECT sum(submits), sum(tasks) FROM traffic WHERE root <> own_root()"
_OF_ARCHIVE: Final = {
    OF_EVENTS: f"SELECT {EVENT_COLUMNS} FROM archived_events WHERE job_id IN (:jobs*) ORDER BY job_id, id",  # noqa: S608 - columns
    OF_RUNS: f"SELECT {RUN_COLUMNS} FROM archived_hook_runs WHERE job_id IN (:jobs*) ORDER BY job_id, id",  # noqa: S608 - as above
}


# ---- Reading --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _parsed(doc: str) -> Job:
    """Return a job of another root: in each tick most are as they were."""
    return rows.job(doc)


class _PostgresReading(StoredReader):
    """What reading and writing share: the connection, and the archive, which is in the same database."""

    dialect: ClassVar[Dialect] = POSTGRES
    _database: Database

    def close(self) -> None:
        """Close the connection; may be repeated."""
        self._database.close()

    def served(self) -> ServedRoot | None:
        """Return the root with its lease as it is now, None where nobody ever had it."""
        found = self._rows(f"{_ROOT} WHERE id = own_root()")
        return ServedRoot(*found[0]) if found else None

    def version(self) -> int:
        """Return a number that is another one after any other process has written."""
        return int(self._value(_VERSION))

    def find(self, prefix: str) -> Job:
        """Return the one job of this root that is meant, as `StoredReader.find`; one of another root is named with that."""
        try:
            return super().find(prefix)
        except CommandRefusedError as error:
            if not (place := self.place_elsewhere(prefix)):
                raise
            raise CommandRefusedError(
                f"Job {printable(prefix)} is of another root of this store: {printable(place)}.",
                advice="Give the command with the configuration of that root: `--config`.",
            ) from error

    def farm(self) -> FarmState:
        """Return what there is of the farm."""
        if not self._value(IS_THERE):
            return NO_FARM
        return state_of(self._rows(WORKERS), self._rows(CALLS))

    def elsewhere(self) -> Sequence[Job]:
        """Return the live jobs of other roots that the bounds of the account are about."""
        with in_words():
            return [_parsed(str(row["doc"])) for row in self._kept_rows(_ELSEWHERE)]

    def live_elsewhere(self, fingerprints: Sequence[str], dropped: str) -> Job | None:
        """Return a live job of another root that has this content, or for which the same was dropped."""
        same = {"content": list(fingerprints), "dropped": dropped}
        return next(iter(self._jobs(_SAME_ELSEWHERE, same)), None)

    def place_elsewhere(self, job_id: str) -> str:
        """Return where the root of a job is, HOST:FOLDER, "" for a job of this root."""
        return str(self._value(_PLACE_ELSEWHERE, {"job": plain(job_id)}) or "")

    @errors_in_words
    def meta_elsewhere(self, key: str) -> Sequence[Any]:
        """Return the JSON values that the other roots have stored under a key."""
        return [json.loads(row["value"]) for row in self._kept_rows(_META_ELSEWHERE, {"key": key})]

    def traffic_elsewhere(self) -> Traffic:
        """Return how often jobs of other roots moved that are at the vendor."""
        [(submits, tasks)] = self._kept_rows(_TRAFFIC_ELSEWHERE)
        return Traffic(int(submits or 0), int(tasks or 0))

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


Choose: TypeAlias = Callable[[KnownRoots], str]
"""Chooses the root whose part of a store a session sees; it may raise JournalError."""


def only_root(known: KnownRoots) -> str:
    """Choose the only root of a store, "" where it has none yet. Raises JournalError where it has several."""
    if len(known.roots) > 1:
        raise JournalError(f"This store has several roots: {known.shown}.", advice=WHICH_ROOT)
    return next(iter(known.roots), "")


WHICH_ROOT: Final = "Set folders.root to the folder of one of them, as this machine has it."


def _known_roots(found: psycopg.Connection[StoredRow]) -> KnownRoots:
    roots = {row["id"]: ServedRoot(*row) for row in found.execute(_ROOTS)}
    return KnownRoots(roots, {row[0]: row[1] for row in found.execute("SELECT place, root FROM root_places")})


class PostgresReader(_PostgresReading):
    """Read the store; from any process, in a thread of its own, while the daemon runs or not. `choose` chooses the root.

    Opening raises JournalError where there is no store in the database, or one of another version, or this user may not
    read it, and StoreAwayError where the server does not answer; so do all methods. A connection that was lost is opened
    again by the next call.
    """

    def __init__(self, address: Address, choose: Choose = only_root) -> None:
        self._choose = choose
        self._root_id: str | None = None
        self._database = Database(address, self._checked, read_only=True, lock_seconds=BUSY_SECONDS)
        self._database.connection()

    def _checked(self, found: psycopg.Connection[StoredRow]) -> None:
        _refuse_old(found, self._database)
        if self._root_id is None:
            self._root_id = self._choose(_known_roots(found))
        self._database.see_root(found, self._root_id)


def _refuse_old(found: psycopg.Connection[StoredRow], database: Database) -> None:
    if version_of(found, database) < VERSION:
        raise OldJournalError(f"The store in {database.shown} is not set up for this version of rodin_watchd.")


def version_of(found: psycopg.Connection[StoredRow], database: Database) -> int:
    """Return the number of the schema, 0 where there is none. Raises JournalError for one that this program cannot use.

    A newer one it can use, unless that says otherwise: so daemons are upgraded one after the other.
    """
    [(there,)] = found.execute(f"SELECT to_regclass('{SCHEMA}.store') IS NOT NULL").fetchall()
    [(version, oldest)] = found.execute(_VERSIONS).fetchall() if there else [(0, 0)]
    if version > VERSION and (oldest is None or oldest > VERSION):
        raise JournalError(
            f"The store in {database.shown} was written by a newer rodin_watchd (schema {version}, this one knows {VERSION}).",
            advice="Install the newer version again: this version cannot read its store, and could pay twice.",
        )
    return version


# ---- Writing --------------------------------------------------------------------------------------------------------


class PostgresStore(_PostgresReading, StoredWriter):
    """Read and write the store; the daemon's main thread only.

    Opening makes the schema or brings it up to date, and chooses the root that all is about. A daemon then takes that root
    (`take_root`) before it writes anything. `alone`: no other service may have the store open meanwhile
    (AlreadyRunningError). Every writing call is one transaction, which no other writer's can come between. Raises
    StoreAwayError where the server is away, JournalBusyError where a lock is not to be had within `busy_seconds`, RoomError
    where its disk is full: nothing is stored then, and it may be repeated. A commit that the network cut off is asked for;
    JournalError where nobody could say what became of it, and for every other failure: then the daemon must end.
    """

    def __init__(
        self,
        address: Address,
        choose: Choose = only_root,
        busy_seconds: float = BUSY_SECONDS,
        *,
        alone: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._now = now
        self._alone = alone
        self._choose = choose
        self.root_id = ""
        self.ahead_seconds = 0.0
        """How far the server's clock is ahead of this machine's: all daemons of the store go by that one."""
        self._fence: int | None = None  # that of the root, when it was taken
        self._process = ""  # that took it: a failover to a server that knows less gives the same number twice
        self._made_root = False  # nobody had ever served, or added it
        self._writer = {"writer": "root"}
        self._written: int | None = None  # by this object, and those before it
        self._changed = 0
        self._outside = (0, 0)
        self._full = False  # by the newest transaction
        self._database = Database(address, self._prepared, read_only=False, lock_seconds=busy_seconds)
        self._beside = Database(address, lambda _found: None, read_only=False, lock_seconds=busy_seconds)
        with contextlib.ExitStack() as stack:
            stack.callback(self._database.close)
            self._database.connection()
            stack.pop_all()

    # ---- a new connection -------------------------------------------------------------------------------------------

    def _prepared(self, found: psycopg.Connection[StoredRow]) -> None:
        self._hold(found)
        self._compare_clocks(found.execute(_NOW).fetchall())
        if self._written is None:
            self._refuse_other_time()
            self._migrate(found)
            self._keep_moves(found)
            self._choose_root(found)
        else:
            version_of(found, self._database)
            self._database.see_root(found, self.root_id)

    def _choose_root(self, found: psycopg.Connection[StoredRow]) -> None:
        self.root_id = self._choose(_known_roots(found))
        self._writer = {"writer": f"root {self.root_id}"}
        insert = "INSERT INTO writings VALUES (:writer, 0) ON CONFLICT DO NOTHING"
        found.execute(in_postgres(insert), self._writer)
        self._written = self._written_in(found)
        self._database.see_root(found, self.root_id)

    def _compare_clocks(self, there: Sequence[StoredRow]) -> None:
        self.ahead_seconds = float(there[0][0]) - self._now()

    def _refuse_other_time(self) -> None:
        """Raise JournalError where the clocks are far apart: files and logs would make no sense."""
        if abs(self.ahead_seconds) > _CLOCKS_APART_SECONDS:
            minutes = abs(self.ahead_seconds) / 60
            raise JournalError(
                f"The clock of this machine and that of {self._database.shown} are {minutes:.0f} minutes apart.",
                advice="Let the network set both: `timedatectl set-ntp true` on each machine.",
            )

    def _hold(self, found: psycopg.Connection[StoredRow]) -> None:
        """Keep off the store whoever needs it alone, and where this one does, everybody.

        Who has just ended is waited for: the server lets go of its lock a moment later. A connection of this very object that the
        server has not missed yet is ended.
        """
        for pid, name in found.execute(_HOLDER).fetchall():
            if name == self._database.name:
                found.execute("SELECT pg_terminate_backend(%s)", (pid,))
        before = found.execute(
            "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, false)", (_ENDING,)
        )
        [(waits, _)] = before.fetchall()
        try:
            found.execute(f"SELECT pg_advisory_lock{'' if self._alone else '_shared'}({LOCKS}, {_SERVICE})")
        except psycopg.errors.LockNotAvailable as error:
            names = ", ".join(str(name) for _, name in found.execute(_HOLDER).fetchall())
            raise AlreadyRunningError(f"Another service uses the store in {self._database.shown}: {names}.") from error
        found.execute("SELECT set_config('lock_timeout', %s, false)", (waits,))

    def _migrate(self, found: psycopg.Connection[StoredRow]) -> None:
        if version_of(found, self._database) >= VERSION:
            return
        with found.transaction():
            found.execute("SET LOCAL statement_timeout = 0")  # an index of millions of rows
            found.execute(in_postgres(_LOCK), {"what": _SETUP})
            if version_of(found, self._database):  # daemons of an older version may be writing: they wait, and go on
                found.execute(in_postgres(_LOCK), {"what": _BOOK})
            found.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            before = version_of(found, self._database)  # another one may have been faster
            for version, script in migrations(before):
                found.execute(script)
                found.execute("UPDATE store SET version = %s", (version,))
            [(_, oldest)] = found.execute(_VERSIONS).fetchall()
            if before and oldest > before:
                self._refuse_older(found)

    def _refuse_older(self, found: psycopg.Connection[StoredRow]) -> None:
        """Raise AlreadyRunningError where others have the store open, whose version cannot go on with what this one makes of it."""
        [(alone,)] = found.execute(f"SELECT pg_try_advisory_xact_lock({LOCKS}, {_SERVICE})").fetchall()
        if not alone:
            names = ", ".join(str(name) for _, name in found.execute(_HOLDER) if name != self._database.name)
            raise AlreadyRunningError(
                f"This version has to change the store in {self._database.shown}, and the version of those that use it cannot go on then: {names}.",
                advice="Nothing was changed. Stop all daemons of this store, install this version on each machine, then start them.",
            )

    def _written_in(self, found: psycopg.Connection[StoredRow], query: str = _WRITTEN) -> int:
        known = found.execute(in_postgres(query), self._writer).fetchall()
        return int(known[0][0]) if known else -1

    @staticmethod
    def _keep_moves(found: psycopg.Connection[StoredRow]) -> None:
        """Store the moves of today; those that a newer program has added stay: both may be in use at the same time."""
        known = {tuple(row) for row in found.execute("SELECT before, after FROM moves")}
        for move in set(legal_moves()) - known:
            found.execute("INSERT INTO moves VALUES (%s, %s) ON CONFLICT DO NOTHING", move)

    def close(self) -> None:
        """Close the connections; may be repeated."""
        super().close()
        self._beside.close()

    # ---- the lease of the root --------------------------------------------------------------------------------------

    def begin_process(self, me: ServingProcess, place: str) -> None:
        """Note that this process is the newest of its daemon: its state folder's lock shows that the one before has ended.

        And where it has the root: it is the same one there when its share is away at the next start.
        """
        with self._database.in_words("cannot be written"):
            self._database.run(_KEEP_STANDBYS_PLACE, {"place": place, "root": self.root_id})
            self._database.run(_KEEP_PROCESS, {"daemon": me.daemon, "process": me.process})
            self._database.run(_TELL_OTHERS)

    def seen_root(self) -> tuple[ServedRoot | None, int]:
        """Return the root as it is at this moment, None where nobody ever had it, and the number of the connection.

        Another connection may lead to another server, which may know less. Where nobody had it, it is chosen once more: another daemon
        may have begun with this very store meanwhile. Raises UnknownRootError where that one serves another folder.
        """
        found = self.served()
        if found is None:
            with self._database.in_words("cannot be read"):
                self._choose_root(self._database.connection())
            found = self.served()
        return found, self._database.opened

    def take_root(
        self, me: ServingProcess, place: str, seconds: float, seen: ServedRoot | None, *, ended: bool
    ) -> None:
        """Take the root for so long, as it was `seen`. All that is written is fenced from then on.

        Unless its owner's process is known to have `ended`, what that one was submitting is noted (`may_be_sent`). Raises
        StandbyError where the root is not as it was seen.
        """
        with self._transaction():
            self._written = self._written_in(self._database.connection())  # it has grown since this one stands by
            named = {"root": self.root_id, "place": place}
            if seen is None and self._value("SELECT EXISTS (SELECT 1 FROM roots)"):
                raise StandbyError("Another daemon was faster: the store has a root by now.")
            self._write("INSERT INTO roots (id, place) VALUES (:root, :place) ON CONFLICT DO NOTHING", named)
            # Its owner may renew it without the store's lock.
            self._rows("SELECT 1 FROM roots WHERE id = :root FOR UPDATE", named)
            there = self.served()
            assert there is not None  # noqa: S101 - see above
            known = (seen.daemon, seen.fence, seen.renewed) if seen else ("", 0, 0)
            if (there.daemon, there.fence, there.renewed) != known:
                raise StandbyError(f"{process_in_words(there.process)} was faster.")
            if there.daemon and not ended:
                self._write(_TAKE_OVER, {"daemon": there.daemon, "process": there.process})
            [(fence,)] = self._returned(
                _TAKE, {**named, "daemon": me.daemon, "process": me.process, "seconds": seconds}
            )
            self._write(_KEEP_PLACE, named)
        self._fence, self._process, self._made_root = fence, me.process, seen is None

    def extend_root(self, seconds: float) -> None:
        """Keep the root for so long from now. Raises FencedError where another daemon has it, StoreAwayError."""
        with self._database.in_words("cannot be written"):
            if not (there := self._database.run(_EXTEND, {**self._mine, "seconds": seconds}).fetchall()):
                raise self._fenced()
        self._compare_clocks(there)

    def extend_root_beside(self, seconds: float) -> None:
        """Do the same by a connection of its own, from one other thread, while the main thread is busy."""
        with self._beside.in_words("cannot be written"):
            if not self._beside.run(_EXTEND, {**self._mine, "seconds": seconds}).fetchall():
                raise FencedError

    def free_root(self) -> None:
        """Let a standby have the root at once: this daemon does nothing more. A root that it made and did not adopt is forgotten.

        Raises DiskError: then the lease ends by itself.
        """
        with self._database.in_words("cannot be written"), self._database.connection().transaction():
            if self._database.run(_FREE, self._mine).rowcount and self._made_root and not self.meta(ROOT_ID):
                self._database.run("DELETE FROM root_places WHERE root = :root", self._mine)
                self._database.run("DELETE FROM roots WHERE id = :root", self._mine)

    @property
    def _mine(self) -> Values:
        # The number alone is not enough: after a failover that lost a takeover, the next one has the same.
        return {"root": self.root_id, "fence": self._fence, "process": self._process}

    def may_be_sent(self) -> Mapping[str, str]:
        """Return the jobs that a process was submitting which fell silent, with that, as long as nobody knows that it has ended."""
        return {row[0]: row[1] for row in self._kept_rows(_MAY_BE_SENT)}

    def _fenced(self) -> FencedError:
        found = self._database.run(_FENCE, {"root": self.root_id}).fetchall()
        who = f"{process_in_words(found[0]['process'])} serves" if found else "Another daemon served"
        return FencedError(f"{who} this root by now. This one does nothing more.")

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

    def shared_now(self) -> float | None:
        """Return the instant (UTC) by the server's clock."""
        return float(self._value(_NOW))

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
                    self._refuse_fenced()
                    written = self._written_in(self._database.connection())
                break
            except FencedError:
                self._roll_back()
                raise
            except StoreAwayError:
                if is_last:
                    raise
            except (DiskError, JournalError):
                self._roll_back()
                raise
        if written != self._written and (self._fence is not None or not self.root_id):
            self._roll_back()
            raise JournalRolledBackError(
                f"Older content was put into {self._database.shown} while the service was running.",
                advice="Start the service again, if it does not restart by itself: it holds jobs that may have been paid for "
                "meanwhile, and counts them as spent. To restore a backup, stop the service first.",
            )

    def _refuse_fenced(self) -> None:
        """Raise FencedError where another daemon has taken the root; after the store's lock, which that one needs as well."""
        if self._fence is None:
            return
        found = self._database.run(_FENCE, {"root": self.root_id}).fetchall()
        if not found or (found[0]["fence"], found[0]["process"]) != (self._fence, self._process):
            raise self._fenced()

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
        """Return whether the commit that the network cut off is durable. Raises JournalError where nobody can say, FencedError.

        The lock waits for the old connection's end: until then the server may still store it. What is asked is committed with a
        change of its own, which a standby of the server that must have everything has to have as well: before that, what the server
        shows may be lost with it.
        """
        until = time.monotonic() + _FOUND_OUT_SECONDS
        while True:
            try:
                with self._database.in_words("cannot be read"):
                    found = self._database.connection(at_once=True)
                    with found.transaction():
                        found.execute(in_postgres(_LOCK), {"what": _BOOK})
                        self._refuse_fenced()  # else the writing that is counted may be a takeover
                        # Written, not read: that is durable on a replica as well when this returns, and so is all before it.
                        written = self._written_in(found, _WRITTEN_FOR_GOOD)
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


# ---- Roots ------------------------------------------------------------------------------------------------------------


def add_root(address: Address, place: str, mark: str) -> str:
    """Add a root that is at a place, with the id in its mark or a new one; return that. May be repeated.

    Raises CommandRefusedError for one that is known, JournalError, StoreAwayError.
    """
    database = Database(address, lambda _found: None, read_only=False, lock_seconds=BUSY_SECONDS)
    with contextlib.closing(database), database.in_words("cannot be written"):
        found = database.connection()
        _refuse_old(found, database)
        with found.transaction():
            found.execute(in_postgres(_LOCK), {"what": _BOOK})
            known = _known_roots(found)
            if there := known.of(place, mark):
                raise CommandRefusedError(f"{place} is a root of this store already ({there}).", advice=_SERVE_IT)
            root_id = mark or secrets.token_hex(8)
            found.execute("INSERT INTO roots (id, place) VALUES (%s, %s)", (root_id, place))
            found.execute("INSERT INTO root_places (place, root) VALUES (%s, %s)", (place, root_id))
    return root_id


_SERVE_IT: Final = "Start the service on it: `rodin-watchd run`."

# ---- Leaving a command ----------------------------------------------------------------------------------------------


_INSERT: Final = "INSERT INTO commands (at, verb, arguments) VALUES (:at, :verb, :arguments) RETURNING id"
_WAITING: Final = "SELECT arguments FROM commands WHERE answer IS NULL AND verb = :verb"


def insert_command(
    address: Address,
    verb: str,
    arguments: dict[str, Any],
    now: float,
    *,
    once: bool = False,
    choose: Choose = only_root,
) -> int:
    """Leave a command for the daemon of a root; from any process whose user may. Returns the command's number.

    Raises JournalError, StoreAwayError, JournalBusyError; and, with `once`, CommandRefusedError while the same is asked of
    the same job already and not answered yet.
    """
    database = Database(address, lambda _found: None, read_only=False, lock_seconds=BUSY_SECONDS)
    with contextlib.closing(database), database.in_words("cannot be written"):
        found = database.connection()
        _refuse_old(found, database)
        database.see_root(found, choose(_known_roots(found)))
        with found.transaction():
            refuse_moved(found.execute(WHERE_MOVED).fetchall())
            found.execute(in_postgres(_LOCK), {"what": _COMMANDS})  # two terminals cannot both find that nothing waits
            waiting = [json.loads(row[0]) for row in found.execute(in_postgres(_WAITING), {"verb": verb}).fetchall()]
            if once and any(one.get("job") == arguments.get("job") for one in waiting):
                raise CommandRefusedError(f"`{verb}` was given for this job already, and waits for the service.")
            values = {"at": now, "verb": verb, "arguments": json.dumps(arguments)}
            return int(found.execute(in_postgres(_INSERT), values).fetchall()[0][0])
