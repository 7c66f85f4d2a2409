"""Reading the journal: what the command line and the daemon ask it. No error of SQLite's gets out, only JournalError."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

from rodin_watchd.adapters.store import schema
from rodin_watchd.adapters.store.archive import ArchiveReader
from rodin_watchd.adapters.store.backup import how_to_recover
from rodin_watchd.adapters.store.connections import closed_on_error, open_read_only
from rodin_watchd.adapters.store.files import errors_in_words, in_words
from rodin_watchd.adapters.store.stored import (
    IS_TRY,
    LAST_CHARGED,
    NO_VALUES,
    Dialect,
    StoredReader,
    StoredRow,
    Values,
    quoted,
)
from rodin_watchd.core.farm import NO_FARM, FarmState
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.proof import NO_TRAFFIC, Traffic
from rodin_watchd.errors import JournalError, OldJournalError
from rodin_watchd.model import Job

_ENDED: Final = quoted(sorted(ENDED))
_SAVE = """
    INSERT INTO jobs (id, state, name, folder, top, fingerprint, kind, vendor_seconds, task_uuid, charges, created_at,
        changed_at, place, doc)
    VALUES (:id, :state, :name, :folder, :top, :fingerprint, :kind, :vendor_seconds, :task_uuid, :charges, :created_at,
        :changed_at, :place, :doc)
    ON CONFLICT (id) DO UPDATE SET state = :state, fingerprint = :fingerprint, vendor_seconds = :vendor_seconds,
        task_uuid = :task_uuid, charges = :charges, changed_at = :changed_at, place = :place, doc = :doc
"""  # a job that somebody else holds is not changed
_CONDENSE = """
    UPDATE jobs SET doc = :doc, condensed_at = :at WHERE id = :id AND condensed_at = 0.0 AND changed_at = :changed_at
        AND coalesce((SELECT max(id) FROM events WHERE job_id = :id), 0) = :event
        AND coalesce((SELECT max(at) FROM hook_runs WHERE job_id = :id), 0.0) = :call_at
        AND NOT EXISTS (SELECT 1 FROM hook_runs WHERE job_id = :id AND outcome = 'due')
"""
_FREE_UPLOADS = """
    UPDATE purchases SET outcome = 'free' WHERE outcome = 'open' AND job_id IN (
        SELECT id FROM jobs WHERE state = 'uploading' AND json_extract(doc, '$.answer') IS NULL
    )
"""
_NEWEST_COSTS = """
    SELECT cost FROM purchases INDEXED BY purchases_charged WHERE outcome = 'charged'
        ORDER BY id DESC LIMIT 20
"""
_TRIES_IN_A_ROW = f"""
    WITH counted AS (
        SELECT id FROM purchases WHERE id > max(:looked, {LAST_CHARGED})
        UNION SELECT value FROM json_each(:beside) WHERE value > :looked
    )
    SELECT count(*) FROM purchases WHERE id IN counted AND {IS_TRY} AND outcome IN ('free', 'refused')
"""  # noqa: S608 - of words of this program
_MADE = """
    SELECT doc FROM jobs WHERE id = (
        SELECT job_id FROM results AS made
            WHERE sha256 = (SELECT value FROM json_each(:contents) LIMIT 1) AND job_id <> :besides
            AND given IN (:given*) AND kind IN (:kinds*)
            AND NOT EXISTS (SELECT 1 FROM json_each(:contents) AS one
                WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = one.value))
            AND NOT EXISTS (SELECT 1 FROM json_each(:contents) AS one WHERE NOT EXISTS (SELECT 1 FROM results
                WHERE sha256 = one.value AND given IN (:given*) AND job_id = made.job_id))
            LIMIT 1
    )
"""  # first whether each content is a result of any job: that one is in many jobs, and another one in none, is usual
_SIBLINGS = """
    SELECT doc FROM jobs WHERE name = :name AND json_valid(doc) AND json_extract(doc, '$.batch.id') = :batch
    ORDER BY created_at, rowid
"""
_OLD = f"""
    SELECT id, changed_at, doc FROM jobs INDEXED BY jobs_to_condense WHERE changed_at < :before AND condensed_at = 0.0
        AND (state IN ('archived', 'returned') OR state = 'failed' AND place GLOB 'archive/*')
        AND NOT EXISTS (SELECT 1 FROM hook_runs WHERE job_id = jobs.id AND outcome = 'due')
        AND NOT EXISTS (SELECT 1 FROM purchases WHERE job_id = jobs.id AND outcome = 'open')
        AND json_valid(doc)
        AND NOT EXISTS (SELECT 1 FROM jobs AS next WHERE next.id = json_extract(jobs.doc, '$.then.job_id')
            AND next.state NOT IN ({_ENDED}))
        AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.name = jobs.name AND other.state NOT IN ({_ENDED})
            AND json_valid(other.doc) AND json_extract(other.doc, '$.batch.id') = json_extract(jobs.doc, '$.batch.id'))
    ORDER BY changed_at LIMIT :limit
"""  # noqa: S608 - the names of states
_WITH_FILE = """
    SELECT doc FROM jobs WHERE id IN (SELECT job_id FROM input_names WHERE name = json_extract(:name, '$'))
    ORDER BY created_at DESC
"""  # the name as JSON: so a name that is no UTF-8 is decoded as it was when it was stored
_WITH_ORIGINALS = """
    SELECT doc FROM jobs WHERE instr(doc, '"originals":[[') > 0 ORDER BY created_at DESC
"""

SQLITE: Final = Dialect(
    newest_costs=_NEWEST_COSTS,
    commands="commands",
    tries_in_a_row=_TRIES_IN_A_ROW,
    made=_MADE,
    siblings=_SIBLINGS,
    old=_OLD,
    with_file=_WITH_FILE,
    with_originals=_WITH_ORIGINALS,
    save=_SAVE,
    condense=_CONDENSE,
    free_uploads=_FREE_UPLOADS,
    cost=schema.COST,
    name="name COLLATE NOCASE",
    by_state="+state",
    position="instr",
    recent_events="service_events INDEXED BY service_events_by_time",
)
_LIST = re.compile(r"IN \(:(\w+)\*\)")


class JournalReader(StoredReader):
    """Read the journal; from any process and thread of its own, while the daemon runs or not.

    Opening raises JournalError when there is no journal, it is damaged, of another version, or may not be read; so do
    all methods, and JournalBusyError while another program keeps it locked. One that was opened while no daemon ran, by a user who may not write next to the file, sees the file as
    it is and nothing that comes later: open it again for each look.
    """

    dialect: ClassVar[Dialect] = SQLITE

    def __init__(self, path: Path) -> None:
        self.path = path
        with in_words(f"The journal {path} cannot be read", how_to_recover(path)):
            self._db = open_read_only(path)
            with closed_on_error(self._db):
                check_version(self._db, path)
                if self.schema_version() < schema.VERSION:
                    raise OldJournalError(f"The journal {path} is not set up for this version of rodin_watchd.")

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    def has_condensed(self) -> bool:
        """Return whether the details of any job are in the archive file. It reads all jobs where none are."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE condensed_at <> 0.0 LIMIT 1"))

    def version(self) -> int:
        """Return a number that is another one after any other process has written, as long as this reader is open."""
        return int(self._value("PRAGMA data_version"))

    def farm(self) -> FarmState:
        """Return nothing: workers need a database that several machines reach."""
        return NO_FARM

    def interrupt(self) -> None:
        """Have the question end with an error that another thread asks through this object now; from any thread, also when closed."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            self._db.interrupt()

    def quick_check(self) -> str:
        """Return "ok", or what SQLite finds damaged. Reads all of the file."""
        return str(self._value("PRAGMA quick_check(1)"))

    def schema_version(self) -> int:
        """Return the number of the schema that the file has."""
        return int(self._value("PRAGMA user_version"))

    # ---- a journal has one root --------------------------------------------------------------------------------------

    def elsewhere(self) -> Sequence[Job]:
        """Return no job."""
        return ()

    def live_elsewhere(self, _fingerprints: Sequence[str], _dropped: str) -> Job | None:
        """Return no job."""
        return None

    def place_elsewhere(self, _job_id: str) -> str:
        """Say that a job is of this root."""
        return ""

    def meta_elsewhere(self, _key: str) -> Sequence[Any]:
        """Return no value."""
        return ()

    def traffic_elsewhere(self) -> Traffic:
        """Return no traffic."""
        return NO_TRAFFIC

    # ---- asking the file ---------------------------------------------------------------------------------------------

    def _archived_job(self, job_id: str) -> Job | None:
        with contextlib.closing(ArchiveReader(self.path)) as archive:
            return archive.job(job_id)

    def _archived(self, job_ids: Sequence[str], query: str) -> list[StoredRow]:
        moved = self._moved(job_ids)
        if not moved:
            return []
        with contextlib.closing(ArchiveReader(self.path)) as archive:
            return [row for job_id in moved for row in archive.rows(query, job_id)]

    @errors_in_words
    def _rows(self, query: str, values: Values = NO_VALUES) -> list[sqlite3.Row]:
        """Ask, and read all of the answer: an open statement would hold up the writer's checkpoints."""
        return self._db.execute(in_sqlite(query), bound(values)).fetchall()


@lru_cache(maxsize=512)
def in_sqlite(query: str) -> str:
    """Return a query of `stored` as SQLite takes it."""
    return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", query)


def bound(values: Values) -> dict[str, object]:
    """Return the values of a query as SQLite takes them: a list is one value, in JSON."""
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError for a journal that a newer program wrote."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise JournalError(
            f"The journal {path} was written by a newer rodin_watchd (schema {version}, this one knows {schema.VERSION}).",
            advice="Install the newer version again: this version cannot read its journal, and could pay twice.",
        )
