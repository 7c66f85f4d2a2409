"""The journal: jobs, their history and people's commands, in one SQLite file on a local disk.

One writer, the daemon's main thread, through `Journal`; any number of readers through `JournalReader`, which opens the
file read-only. A job's change and its event are one transaction, durable when the call returns (WAL with
`synchronous=FULL`: measured at about the cost of one fsync). The invariants stand in the schema, so that no fault of
the program can break them: one live job for each content, legal moves only, a history that cannot be rewritten, no
upload of a job that has a task.

What is secret in it: the subscription keys of tasks, in `jobs.doc`, as part of the task while the vendor works on it and,
until it is understood, of the vendor's raw answer; and in the arguments of a `resolve` that nobody has answered yet. What
is not needed any more is blotted out, in the file (`secure_delete`) and in the write-ahead log (`sweep`). By the contract
such a key opens nothing without the API key, which every call carries (API contract, calls) and which is never stored
here. The file is readable as the service's umask says (022: by every user of the machine,
027: by the service's group); who can read it can run the commands that only read.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from rodin_watchd.adapters.journal import rows, schema
from rodin_watchd.adapters.journal.backup import COPIED_AT, how_to_recover
from rodin_watchd.adapters.journal.ballast import Ballast, ballast_path
from rodin_watchd.adapters.journal.hook_runs import HookRunWriter
from rodin_watchd.adapters.journal.reading import (
    BUSY_SECONDS,
    JournalReader,
    check_version,
    closed_on_error,
    code_of,
    connect,
    in_words,
)
from rodin_watchd.adapters.journal.writing import insert_command, prepare
from rodin_watchd.core.announcing import SILENT, Announcer
from rodin_watchd.core.machine import ANSWERED
from rodin_watchd.core.proof import BASELINE, Settled
from rodin_watchd.errors import DiskError, JournalError, RoomError
from rodin_watchd.model import Transition

__all__ = ["NO_META", "Affordable", "Command", "Journal", "JournalReader", "insert_command"]

_SAVE = """
    INSERT INTO jobs (id, state, name, folder, top, fingerprint, kind, vendor_seconds, task_uuid, charges, created_at,
        changed_at, place, doc)
    VALUES (:id, :state, :name, :folder, :top, :fingerprint, :kind, :vendor_seconds, :task_uuid, :charges, :created_at,
        :changed_at, :place, :doc)
    ON CONFLICT (id) DO UPDATE SET state = :state, fingerprint = :fingerprint, vendor_seconds = :vendor_seconds,
        task_uuid = :task_uuid, charges = :charges, changed_at = :changed_at, place = :place, doc = :doc
"""
_EVENT = "INSERT INTO events (job_id, at, action, state, message) VALUES (?, ?, ?, ?, ?)"
_SERVICE_EVENT = "INSERT INTO service_events (at, kind, message) VALUES (?, ?, ?)"
_ANSWER = "UPDATE commands SET answer = ?, arguments = json_remove(arguments, '$.subscription_key') WHERE id = ?"
_SETTLE = "UPDATE purchases SET outcome = ?, told = ? WHERE id = ? AND outcome = 'refused'"
_SET_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

_FREE_UPLOADS = """
    UPDATE purchases SET outcome = 'free' WHERE outcome = 'open' AND job_id IN (
        SELECT id FROM jobs WHERE state = 'uploading' AND json_extract(doc, '$.answer') IS NULL
    )
"""
NO_META: Mapping[str, Any] = MappingProxyType({})

Affordable: TypeAlias = Callable[[Mapping[str, int], Sequence[Transition]], Sequence[Transition]]
"""Chooses intents, given how many textures were bought by top folder."""

_FULL = "The disk with the journal is full."


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asked for through the command line."""

    id: int
    verb: str
    arguments: dict[str, Any]


class Journal(JournalReader, HookRunWriter):
    """Read and write the journal; the daemon's main thread only.

    Opening creates or upgrades the file, and refuses a damaged one. Every writing call is one transaction: when it
    returns, it is on the disk. Raises DiskError when the disk is full or another program keeps the file locked (nothing is
    half-written: it may be repeated), JournalError for every other failure: then the daemon must end, because what is
    durable is no longer known.
    """

    def __init__(self, path: Path) -> None:
        self._swept = -1  # so many changes had been made when the log was emptied; what a run before left is swept, too
        self._ballast = Ballast(ballast_path(path))
        with in_words(f"The journal {path} cannot be opened", how_to_recover(path)):
            self._db = connect(path, "mode=rwc")
            with closed_on_error(self._db):
                check_version(self._db, path)
                prepare(self._db)
                self._refuse_damage(path)
                self._migrate()

    def _refuse_damage(self, path: Path) -> None:
        """Refuse to pay by a journal that may have lost what it knew."""
        if (found := self.quick_check()) != "ok":
            raise JournalError(f"The journal {path} is damaged: {found}.", advice=how_to_recover(path))

    def _migrate(self) -> None:
        for number, script in schema.migrations(self.schema_version()):
            self._db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")
        if {tuple(row) for row in self._rows("SELECT before, after FROM moves")} == set(schema.legal_moves()):
            return  # the usual start writes nothing: the disk may be full
        with self._transaction():
            self._db.execute("DELETE FROM moves")
            self._db.executemany("INSERT INTO moves (before, after) VALUES (?, ?)", schema.legal_moves())

    def commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        announcer: Announcer = SILENT,
        settled: Sequence[Settled] = (),
    ) -> None:
        """Make these moves durable, all or none, each with its event; and `meta`, JSON values by their keys.

        `settled` says what refused purchases were after all.

        What plugins are to be told of the moves is written with them.

        The vendor's answer to a submit cannot be had again: it finds room on a full disk, too (`Ballast`). Until there is
        room again nothing else is written then.
        """
        vital = any(transition.action == ANSWERED for transition in transitions)
        try:
            self._commit(transitions, now, meta, announcer, settled, vital=vital)
        except RoomError:
            if not (vital and self._ballast.release()):
                raise
            self._commit(transitions, now, meta, announcer, settled, vital=vital)

    def _commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any],
        announcer: Announcer,
        settled: Sequence[Settled],
        *,
        vital: bool,
    ) -> None:
        with self._transaction(vital=vital):
            self._save(transitions, now, announcer)
            self._db.executemany(_SETTLE, [(one.outcome, one.told, one.purchase) for one in settled])
            self._set_meta(meta)

    def commit_affordable(
        self, intents: Sequence[Transition], now: float, purchase: int, affordable: Affordable
    ) -> Sequence[Transition]:
        """Make those intents durable that `affordable` chooses, given what was bought after a purchase; return them.

        Reading, choosing and writing are one transaction: no two intents are paid by the same credits.
        """
        with self._transaction():
            chosen = affordable(self.spent_since(purchase), intents)
            self._save(chosen, now)
        return chosen

    def _save(self, transitions: Sequence[Transition], now: float, announcer: Announcer = SILENT) -> None:
        for transition in transitions:
            self._db.execute(_SAVE, rows.row(transition.job, now))
            event = self._db.execute(_EVENT, rows.event_row(transition, now)).lastrowid
            if owed := announcer.of_move(transition, now):
                self._owe(f"{transition.job.id}-{event}", transition.job.id, owed, now)

    def set_meta(self, key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Store a JSON value."""
        with self._transaction():
            self._set_meta({key: value})

    def _set_meta(self, meta: Mapping[str, Any]) -> None:
        self._db.executemany(_SET_META, [(key, json.dumps(value)) for key, value in meta.items()])

    # ---- the books --------------------------------------------------------------------------------------------------

    def open_books(self) -> None:
        """After a start: what was being uploaded was proven not submitted."""
        with self._transaction():
            self._db.execute(_FREE_UPLOADS)

    def set_gate(self, changes: Mapping[str, str | None]) -> None:
        """Store which sets are held for approval or have passed (see `core.approval`); None forgets a set."""
        with self._transaction():
            for name, verdict in changes.items():
                self._db.execute("DELETE FROM gate WHERE name = ?", (json.dumps(name),))
                if verdict:
                    self._db.execute("INSERT INTO gate (name, verdict) VALUES (?, ?)", (json.dumps(name), verdict))

    def note_service_event(self, kind: str, message: str, at: float, announcer: Announcer = SILENT) -> None:
        """Add to the service's own history; `kind` is a stable machine word."""
        with self._transaction():
            event = self._db.execute(_SERVICE_EVENT, (at, kind, rows.plain(message))).lastrowid
            self._owe(f"service-{event}", "", announcer.of_service(kind, message, at), at)

    def forget_copy(self) -> None:
        """Take off the mark of a backup that was put in the journal's place, once it has been dealt with.

        Its baseline goes with it: nobody knows what was bought since the copy was made.
        """
        with self._transaction():
            self._db.execute("DELETE FROM meta WHERE key IN (?, ?)", (COPIED_AT, BASELINE))

    @in_words()
    def open_commands(self) -> list[Command]:
        """Return the commands that nobody has answered yet, oldest first."""
        query = "SELECT id, verb, arguments FROM commands WHERE answer IS NULL ORDER BY id"
        return [Command(row[0], row[1], dict(json.loads(row[2]))) for row in self._rows(query)]

    def answer_command(self, command_id: int, *, ok: bool, message: str) -> None:
        """Close a command with its answer."""
        with self._transaction():
            answer = json.dumps({"ok": ok, "message": message})
            self._db.execute(_ANSWER, (answer, command_id))

    def sweep(self) -> None:
        """Empty the write-ahead log, where what was blotted out still stands. May be repeated.

        A reader that is in the way, and a disk that is full, leave it to the next call.
        """
        changes = self._db.total_changes
        if changes == self._swept:
            return
        self._db.execute("PRAGMA busy_timeout = 0")  # nobody waits for a reader
        try:
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            busy = True
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        if not busy:
            self._swept = changes

    @property
    def changes(self) -> int:
        """A number that grows with each change that is made through this object."""
        return self._db.total_changes

    def changed_outside(self) -> int:
        """Return a number that changes when another process has written (SQLite's `data_version`)."""
        return int(self._value("PRAGMA data_version"))

    @contextlib.contextmanager
    def _transaction(self, *, vital: bool = False) -> Iterator[None]:
        if not vital and not self._ballast.lay():
            raise RoomError(_FULL)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if not isinstance(error, sqlite3.Error):
                raise
            raise _told(error) from error


def _told(error: sqlite3.Error) -> DiskError | JournalError:
    if code_of(error) == sqlite3.SQLITE_FULL:
        return RoomError(_FULL)
    if code_of(error) == sqlite3.SQLITE_BUSY:
        return DiskError("Another program keeps the journal locked.")
    return JournalError(f"The journal cannot be written: {error}.")
