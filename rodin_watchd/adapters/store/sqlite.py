"""The journal: jobs, their history and people's commands, in one SQLite file on a local disk.

One writer, the daemon's main thread, through `Journal`; any number of readers through `JournalReader`, which opens the
file read-only. A job's change and its event are one transaction, durable when the call returns (WAL with
`synchronous=FULL`: measured at about the cost of one fsync). The invariants stand in the schema, so that no fault of
the program can break them: one live job for each content, legal moves only, a history that cannot be rewritten, no
upload of a job that has a task.

What is secret in it: the subscription keys of tasks, in `jobs.doc`, as part of the task while the vendor works on it and,
until it is understood, of the vendor's raw answer; and in the arguments of a `resolve` that nobody has answered yet. What
is not needed any more is erased, in the file (`secure_delete`) and in the write-ahead log (`sweep`). By the contract
such a key opens nothing without the API key, which every call carries (API contract, calls) and which is never stored
here. The file is readable as the service's umask says (022: by every user of the machine,
027: by the service's group); who can read it can run the commands that only read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from rodin_watchd.adapters.store import schema
from rodin_watchd.adapters.store.backup import ReserveFile, how_to_recover, reserve_path
from rodin_watchd.adapters.store.connections import BUSY_SECONDS, check_exists, closed_on_error, connect, prepare
from rodin_watchd.adapters.store.files import (
    AT_ONCE_BYTES,
    BUSY_CODES,
    DAMAGED_CODES,
    WRITTEN,
    checked_at,
    code_of,
    copy_out,
    drop_copy,
    errors_in_words,
    files_of,
    in_words,
    move_aside,
    note_closed,
    open_in_use,
    put_back,
    put_in_place,
    whole_path,
    why_not,
)
from rodin_watchd.adapters.store.reader import JournalReader, bound, check_version, in_sqlite
from rodin_watchd.adapters.store.stored import NO_VALUES, SPENT, WHERE_MOVED, StoredWriter, Values, refuse_moved
from rodin_watchd.core.machine import ANSWERED
from rodin_watchd.core.store import (
    COPIED_AT,
    NO_META,
    NOTHING_BESIDE,
    SILENT,
    Announcer,
    Beside,
    OldJob,
)
from rodin_watchd.errors import (
    CommandRefusedError,
    DiskError,
    JournalBusyError,
    JournalError,
    JournalFaultError,
    JournalRolledBackError,
    RoomError,
)
from rodin_watchd.model import Transition

# ---- Opening the journal for writing, and leaving a command in it ---------------------------------------------------


_NO_RIGHT_CODES = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


_INSERT = "INSERT INTO commands (at, verb, arguments) VALUES (:at, :verb, :arguments)"
_INSERT_ONCE = """
    INSERT INTO commands (at, verb, arguments) SELECT :at, :verb, :arguments WHERE NOT EXISTS (
        SELECT 1 FROM commands WHERE answer IS NULL AND verb = :verb
            AND json_extract(arguments, '$.job') = json_extract(:arguments, '$.job')
    )
"""  # one statement: two terminals cannot both find that nothing waits


def insert_command(path: Path, verb: str, arguments: dict[str, Any], now: float, *, once: bool = False) -> int:
    """Leave a command for the daemon; from any process that may write the journal. Returns the command's number.

    Raises JournalError when there is no journal, or this user may not write it, JournalBusyError while it is locked; and, with `once`, CommandRefusedError while
    the same is asked of the same job already and not answered yet.
    """
    check_exists(path)
    try:
        with contextlib.closing(connect(path, "mode=rw")) as db:
            check_version(db, path)
            prepare(db)
            refuse_moved(db.execute(WHERE_MOVED).fetchall())
            values = {"at": now, "verb": verb, "arguments": json.dumps(arguments)}
            done = db.execute(_INSERT_ONCE if once else _INSERT, values)
            if not done.rowcount:
                raise CommandRefusedError(f"`{verb}` was given for this job already, and waits for the service.")
            return done.lastrowid or 0
    except sqlite3.Error as error:
        if code_of(error) in BUSY_CODES:
            raise JournalBusyError(
                advice="Close the program that has the journal open, then give the command again."
            ) from error
        advice = "Make free space there, then give the command again." if code_of(error) == sqlite3.SQLITE_FULL else ""
        advice = "Run it as the user that the service runs as." if code_of(error) in _NO_RIGHT_CODES else advice
        raise JournalError(f"The command could not be written to {path}: {error}.", advice=advice) from error


_COUNT_WRITING = """
    INSERT INTO meta (key, value) VALUES (?, '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value + 1 AS TEXT)
"""
_TAKE_OUT = "UPDATE jobs SET rowid = -rowid WHERE id IN (SELECT value FROM json_each(?))"
"""SQLite gives pages back when rows leave them, not when rows get shorter: rows leave their place, and come back at once."""

_WITNESS = "SELECT key, value FROM meta WHERE key IN (:copied, :written) ORDER BY key"
_OF_SPENT = "top, kind, listed, cost, charged, confirmed"
_SPENT_BEFORE, _SPENT_AFTER = (
    f"{row}.top, {row}.kind, {row}.listed, {row}.cost, {row}.outcome = 'charged', {row}.confirmed"
    for row in ("OLD", "NEW")
)
_COUNT_SPENT = f"""
    BEGIN;
    DROP TRIGGER IF EXISTS temp.spent_begins;
    DROP TRIGGER IF EXISTS temp.spent_changes;
    DROP TABLE IF EXISTS temp.spent;
    CREATE TEMP TABLE spent (
        top TEXT, kind TEXT, listed TEXT, cost TEXT, charged INTEGER, confirmed INTEGER, count INTEGER, PRIMARY KEY ({_OF_SPENT})
    ) WITHOUT ROWID;
    INSERT INTO spent {SPENT};
    CREATE TEMP TRIGGER spent_begins AFTER INSERT ON main.purchases WHEN NEW.id > :after AND NEW.outcome <> 'free' BEGIN
        INSERT INTO spent SELECT {_SPENT_AFTER}, 0
            WHERE NOT EXISTS (SELECT 1 FROM spent WHERE ({_OF_SPENT}) = ({_SPENT_AFTER}));
        UPDATE spent SET count = count + 1 WHERE ({_OF_SPENT}) = ({_SPENT_AFTER});
    END;
    CREATE TEMP TRIGGER spent_changes AFTER UPDATE OF outcome, cost, confirmed, top, kind, listed ON main.purchases WHEN NEW.id > :after BEGIN
        UPDATE spent SET count = count - 1 WHERE OLD.outcome <> 'free' AND ({_OF_SPENT}) = ({_SPENT_BEFORE});
        INSERT INTO spent SELECT {_SPENT_AFTER}, 0
            WHERE NOT EXISTS (SELECT 1 FROM spent WHERE ({_OF_SPENT}) = ({_SPENT_AFTER}));
        UPDATE spent SET count = count + 1 WHERE NEW.outcome <> 'free' AND ({_OF_SPENT}) = ({_SPENT_AFTER});
    END;
    COMMIT;
"""  # noqa: S608 - of words of this program
_COUNTED = f"SELECT {_OF_SPENT}, count FROM temp.spent WHERE count > 0"  # noqa: S608 - as above

_FULL = "The disk with the journal is full."

# ---- What takes long ------------------------------------------------------------------------------------------------


Tell: TypeAlias = Callable[[str, float], None]
"""Takes what is done now, for people, and for how many seconds at most nothing more is said: more than it takes on a slow disk."""

_LEAST_SECONDS = 60.0
_SLOW_BYTES_A_SECOND = 2_000_000


def silent(_words: str, _seconds: float) -> None:
    """Report nothing."""


def _megabytes(size: int) -> str:
    return f"{-(-size // 1_000_000):,} MB"


class Journal(JournalReader, StoredWriter):
    """Read and write the journal; the daemon's main thread only.

    Opening creates or upgrades the file, and refuses a damaged one. All of it is read for that, but where it is as a stop of
    the service left it (`files.checked_at`), or where it is large: then `is_checked` is false, and until somebody has read it
    (`take_check`) nothing may be paid, and no file be moved, by what it says. Every writing call is one transaction: when it
    returns, it is on the disk. Raises RoomError when the disk is full, JournalBusyError when another program keeps the file
    locked, JournalFaultError when the disk reports a fault and the transaction was read not to be there (nothing is
    half-written: it may be repeated), JournalError for every other failure: then the daemon must end,
    because what is durable is no longer known. A lock is waited for `busy_seconds`, and then, until it is gone, not again:
    the main loop must not stand still for a stranger. To bring a large file of an older version up to date takes minutes: `tell` is called before each step, which is a transaction. RoomError
    where the disk has too little room for that.
    """

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS, tell: Tell = silent) -> None:
        StoredWriter.__init__(self)
        self.path = path
        self._tell = tell
        self._busy_seconds = busy_seconds
        self._reserve_file = ReserveFile(reserve_path(path))
        self._checked_at: float | None = None  # UTC: when all of the file was read
        self._opened = 0  # how often: so many files have been open under this path
        self._changed_before = 0  # through those that were open before
        self._witness: tuple[tuple[str, str], ...] = ()
        self._has_copy = False  # a whole copy may be next to it
        self._looked_at: tuple[int, int] | None = None  # what `changed_outside` was when the witness was compared
        self._outside = (0, 0)  # what `changed_outside` was last
        self._counted_after: int | None = None  # the purchase after which this connection counts what is spent
        self._open()

    def _open(self) -> None:
        path = self.path
        self._kept.clear()
        self._counted_after = None
        self._swept = -1  # so many changes had been made when the log was emptied; what a run before left is swept, too
        self._locked_out = False
        checked = checked_at(path, time.time())
        with in_words(f"The journal {path} cannot be opened", how_to_recover(path)):
            self._db = connect(path, "mode=rwc", self._busy_seconds)
            with closed_on_error(self._db):
                check_version(self._db, path)
                prepare(self._db)
                self._checked_at = checked
                # What was written out and is opened again is read at once as well: the service goes on with it in the same tick.
                if not self.is_checked and (self._opened or path.stat().st_size <= AT_ONCE_BYTES):
                    self.take_check(self.quick_check())
                self._migrate()
                if self._opened:
                    self._refuse_other_content()
                self._witness = self._witness_now()
                self._keep_moves()
        self._opened += 1
        self.files = files_of(path)
        self._mode = path.stat().st_mode & 0o777

    # ---- its files --------------------------------------------------------------------------------------------------

    def why_not_in_place(self) -> str:
        """Say which of the open files are not at the journal's path any more, "" if all are; costs next to nothing.

        A journal in such files still works, but nobody will find it: nothing may be paid by it.
        """
        return why_not(self.path, self.files)

    def write_out(self, stamp: str) -> Path | None:
        """Write all that is known to new files at the journal's path, and go on with those.

        What lay there is moved aside, to a name with the stamp, which is returned. Raises DiskError: then all is as before,
        and it may be repeated; JournalError (JournalRolledBackError where it is older inside): then the daemon must end, and the next start does the rest.
        """
        self._refuse_other_content()
        self._has_copy = True
        copy_out(self._db, self.path, self._mode)
        aside = move_aside(self.path, stamp)
        self._changed_before = self.changes
        self._db.close()  # before the path is taken again: SQLite removes a log of that name here
        try:
            put_in_place(self.path)
        except DiskError as error:
            raise JournalError(
                f"{error.message} The complete content is next to it, in  {whole_path(self.path)}.",
                advice="Start the service again, if it does not restart by itself: it puts that file in the journal's place.",
            ) from error
        self._has_copy = False
        self._open()
        return aside

    def drop_copy(self) -> None:
        """Remove the whole copy that a `write_out` left which failed, now that all files are in their places again.

        It is older with the next transaction. Costs nothing where there is none; what fails is repeated by the next call.
        """
        if self._has_copy:
            self._has_copy = not drop_copy(self.path)

    def end(self, stamp: str) -> None:
        """Close the journal for good. Where its file is taken away meanwhile, until the very end, it is put back at its path.

        What is there then is moved aside, to a name with the stamp. The file is open here until all that was known is in
        it and it is closed; only while another program reads it does not get all, and nothing is put back. Raises as `write_out`.
        """
        if self.why_not_in_place():
            self.write_out(stamp)
        descriptor = open_in_use(self.path, self.files)
        self._swept = -1
        try:
            self.sweep()
            self._db.close()
            whole = self._swept >= 0
            in_place = descriptor is not None and whole and not put_back(descriptor, self.path, stamp, self._mode)
            if in_place and self._checked_at is not None:
                note_closed(self.path, self._checked_at)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def refuse_rolled_back(self) -> None:
        """Raise JournalRolledBackError if another program has put other content into the open file.

        Costs next to nothing as long as nobody else has written. The daemon must end then: what it knows is not what is
        durable any more. The next start finds out what is missing, by the count of submits in the root.
        """
        outside = self.changed_outside()
        if outside != self._looked_at:
            self._refuse_other_content()
            self._looked_at = outside

    def _refuse_other_content(self) -> None:
        if self._witness_now() != self._witness:
            raise JournalRolledBackError(
                f"Another program has put older content into the journal {self.path} while the service was running."
            )

    def _witness_now(self) -> tuple[tuple[str, str], ...]:
        """Return what only this object may change: the number of its transactions, and the mark of a backup."""
        return tuple((key, value) for key, value in self._rows(_WITNESS, {"copied": COPIED_AT, "written": WRITTEN}))

    @property
    def is_checked(self) -> bool:
        """Whether all of the file was read and is whole, now or before a stop that left it as it is."""
        return self._checked_at is not None

    def take_check(self, found: str) -> None:
        """Take what reading all of the file has found (`quick_check`). Raises JournalError where it is damaged: the daemon must end."""
        if found != "ok":
            raise JournalError(f"The journal {self.path} is damaged: {found}.", advice=how_to_recover(self.path))
        self._checked_at = time.time()

    def _migrate(self) -> None:
        steps, size = schema.migrations(self.schema_version()), self.path.stat().st_size
        is_large = size > AT_ONCE_BYTES
        if is_large:
            self._refuse_small_disk(schema.room_for(steps, size))
        for number, (version, script, go_on) in enumerate(steps, start=1):
            if is_large:
                words = f"brings a journal of {_megabytes(size)} up to date, step {number} of {len(steps)}: this can take minutes"
                self._tell(words, _LEAST_SECONDS + size / _SLOW_BYTES_A_SECOND)
            self._db.executescript(f"BEGIN IMMEDIATE; {script}")
            go_on(self._db)
            self._db.execute(f"PRAGMA user_version = {version}")
            self._db.execute("COMMIT")

    def _refuse_small_disk(self, needed: int) -> None:
        """Raise RoomError before a step that would fill the disk."""
        if (free := shutil.disk_usage(self.path.parent).free) < needed:
            raise RoomError(
                f"The journal {self.path} is of an older version. To bring it up to date, {_megabytes(needed)} must be free on "
                f"its disk; {_megabytes(free)} are free."
            )

    def _keep_moves(self) -> None:
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
        beside: Beside = NOTHING_BESIDE,
    ) -> None:
        """Make these moves durable, all or none, each with its event and the calls that plugins are owed for it.

        With them `meta`, JSON values by their keys (None takes the key away), and what belongs to them `beside`. A call with
        nothing in it finds out whether the journal can be written.

        The vendor's answer to a submit cannot be had again: it finds room on a full disk, too (`ReserveFile`). Until there is
        room again nothing else is written then.
        """
        vital = any(transition.action == ANSWERED for transition in transitions)
        try:
            self._commit(transitions, now, meta, announcer, beside, vital=vital)
        except RoomError:
            if not (vital and self._reserve_file.release()):
                raise
            self._commit(transitions, now, meta, announcer, beside, vital=vital)

    @errors_in_words
    def spent_in_day(self, purchase: int) -> Mapping[str, Decimal]:
        """Return the same as `spent_since`, for the purchase after which the budget's day began.

        All that was bought in the day is counted once, and from then on with each change of a purchase, by triggers of this
        connection, in the transaction that makes the change. So it is as exact as the sum, and costs the same whatever was bought.
        """
        if self._counted_after != purchase:
            if self._db.in_transaction:  # a count that begins in it would end with it
                return self.spent_since(purchase)
            self._begin_count(purchase)
        return self._spent(self._rows(_COUNTED))

    def _begin_count(self, purchase: int) -> None:
        try:
            self._db.executescript(_COUNT_SPENT.replace(":after", str(int(purchase))))
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._counted_after = purchase

    def condense(self, copied: Sequence[OldJob]) -> int:
        """Keep of these jobs the main points, and of their histories what decides about money; return of how many.

        Each is in the archive file, durably. One that was changed since it was copied stays whole.
        """
        with self._transaction():
            condensed = self._condensed(copied)
            for _ in range(2):
                self._db.execute(_TAKE_OUT, (json.dumps(condensed),))
        return len(condensed)

    def sweep(self) -> None:
        """Empty the write-ahead log, where what was erased still stands. May be repeated.

        A reader that is in the way, and a disk that is full, leave it to the next call.
        """
        changes = self._db.total_changes
        if changes == self._swept:
            return
        self._wait_for_locks(seconds=0.0)  # nobody waits for a reader
        try:
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            busy = True
        finally:
            self._wait_for_locks(seconds=0.0 if self._locked_out else self._busy_seconds)
        if not busy:
            self._swept = changes

    def shared_now(self) -> float | None:
        """Return None: one daemon alone serves a journal."""
        return None

    @property
    def changes(self) -> int:
        """A number that grows with each change that is made through this object."""
        return self._changed_before + self._db.total_changes

    def changed_outside(self) -> tuple[int, int]:
        """Return what changes when another process has written (SQLite's `data_version`), or the file is another one."""
        outside = (self._opened, int(self._value("PRAGMA data_version")))
        if outside != self._outside:
            self._outside = outside
            self._kept.clear()
            self._counted_after = None  # triggers do not see what another connection writes
        return outside

    @property
    def _in_transaction(self) -> bool:
        return self._db.in_transaction

    def _write(self, query: str, values: Values = NO_VALUES) -> int:
        return self._db.execute(in_sqlite(query), bound(values)).rowcount

    def _returned(self, query: str, values: Values) -> list[sqlite3.Row]:
        return self._db.execute(in_sqlite(query), bound(values)).fetchall()

    def _wait_for_locks(self, *, seconds: float) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    @contextlib.contextmanager
    def _own_transaction(self, *, vital: bool) -> Iterator[None]:
        if not vital and not self._reserve_file.lay():
            raise RoomError(_FULL)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._refuse_other_content()  # nobody else can write from here on
            changes = self._db.total_changes
            yield
            if self._db.total_changes != changes:
                self._db.execute(_COUNT_WRITING, (WRITTEN,))
            witness = self._witness_now()
            self._db.execute("COMMIT")
            self._witness = witness
            self._note_lock(locked=False)
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            found = self._error_of(error) if isinstance(error, sqlite3.Error) else error
            self._note_lock(locked=isinstance(found, JournalBusyError))
            if found is error:
                raise
            raise found from error

    def _error_of(self, error: sqlite3.Error) -> DiskError | JournalError:
        """Say what has kept a transaction from being written, which was rolled back."""
        if code_of(error) == sqlite3.SQLITE_FULL:
            return RoomError(_FULL)
        if code_of(error) in BUSY_CODES:
            return JournalBusyError()
        what = f"The journal cannot be written: {error}."
        if code_of(error) == sqlite3.SQLITE_IOERR and self._is_undone():
            return JournalFaultError(what)
        return JournalError(what, advice=how_to_recover(self.path) if code_of(error) in DAMAGED_CODES else "")

    def _is_undone(self) -> bool:
        """Return whether the last transaction is known not to be in the journal."""
        try:
            return self._witness_now() == self._witness
        except (DiskError, JournalError):
            return False

    def _note_lock(self, *, locked: bool) -> None:
        """Wait for a lock once, and not again until it is gone."""
        if locked != self._locked_out:
            self._locked_out = locked
            self._wait_for_locks(seconds=0.0 if locked else self._busy_seconds)
