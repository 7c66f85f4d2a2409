"""What is held besides the locks: the folders they are in, and the journal's own files. The main thread's alone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol, Self

from rodin_watchd.adapters.ownership import Holder, has_ended_here, process_text
from rodin_watchd.adapters.store.backup import kept_backups
from rodin_watchd.adapters.store.factory import SharedStore
from rodin_watchd.adapters.store.files import FinishedJournal, moved_aside
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.roots import ServingProcess, process_in_words
from rodin_watchd.core.store import ServedRoot, Store
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.errors import (
    DiskError,
    FolderGoneError,
    JournalError,
    JournalGoneError,
    JournalRolledBackError,
    JournalUncheckedError,
    RodinWatchdError,
    RootAwayError,
    StandbyError,
)
from rodin_watchd.log_lines import log_error
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore

NOTICE_SECONDS = DAY_SECONDS
"""So long people read that the journal had to be written out again, where nothing is left of what lay there."""

WRITTEN_OUT = "journal-written-out"
"""The kind of the event that reports it."""


def stamp_of(now: float) -> str:
    """Return an instant (UTC) as it stands in the names of what is moved aside."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


class Hold(Protocol):
    """What keeps a second daemon off the folders."""

    def keep(self) -> None:
        """Make sure that it is still ours, or make it ours again; cheap. Raises AlreadyRunningError, DiskError."""

    def confirm(self) -> None:
        """Do the same by a look at this very moment."""


class StoreGuard(Hold, Protocol):
    """What sees to it that the store is the one that was opened."""

    def end(self) -> None:
        """Close the store for good; may be repeated. What fails is logged alone."""

    def notices(self) -> list[str]:
        """Return what people must know."""


class DatabaseGuard:
    """Looks in each tick whether the database answers: what is not there cannot be decided by."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self) -> None:
        """Ask, and learn what others have written. Raises StoreAwayError."""
        self._store.changed_outside()

    def confirm(self) -> None:
        """Do the same at this very moment."""
        self._store.changed_outside()

    def end(self) -> None:
        """Close the connection; may be repeated."""
        self._store.close()

    def notices(self) -> list[str]:
        """Return nothing: what keeps the database from answering is why nothing moves."""
        return []


ROOT_LEASE_SECONDS: Final = 25.0
"""How long a root is kept for a daemon that is silent. With the look at it, and what a takeover takes, less than 30 seconds."""

RENEW_SECONDS: Final = 5.0
"""How often the daemon says that it lives."""

STARTING_SECONDS: Final = 300.0
"""How long a start may take until the first tick, plugins and all, and keeps the root."""

BUSY_SECONDS: Final = 60.0
"""How long a tick may take, and keeps the root: a slow share, or very many files."""

STANDBY_LOOK_SECONDS: Final = 1.0
"""How often one that stands by looks whether the root is free."""


class RootLease:
    """Owns the root in a store that several daemons share, as a context manager: waits for it as long as another daemon has it.

    Nobody's wall clock decides. Who waits takes the root of an owner that is silent for `ROOT_LEASE_SECONDS` of its own clock, on one
    connection to the server: another one may lead to a server that knows less. The owner counts the same time from before it asked
    for more, by a clock that goes on while the machine is suspended (`since_boot`), and sends no last byte when it is over. `me` is this
    process, of the `daemon` that its state folder names, which has the root in a `place`. `why_not` says why the folder there cannot be
    served, "" if it can: then the root is left to others; it is asked in each look, so that people learn of it before they need this one.
    `tell` is called while it waits. While the main thread is busy a thread of its own says that the process lives, for a time
    (`STARTING_SECONDS`, `BUSY_SECONDS`): else two daemons whose start is slow would take the root from each other for ever. Entering
    raises what these raise; JournalError; DiskError where the store cannot be asked at the very start.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self,
        store: SharedStore,
        me: Holder,
        daemon: str,
        place: str,
        since_boot: Callable[[], float],
        wait: Callable[[float], None],
        tell: Callable[[str], None],
        why_not: Callable[[ServedRoot | None], str],
    ) -> None:
        self._store = store
        self._why_not = why_not
        self._me = me
        self.serving = ServingProcess(daemon, process_text(me))
        self._place = place
        self._since_boot = since_boot
        self._wait = wait
        self._tell = tell
        self._kept_at = 0.0  # what `since_boot` said before the newest renewal was asked for
        self._is_used = False
        self._patience_seconds = STARTING_SECONDS
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._store.begin_process(self.serving, self._place)
        watched: tuple[object, ...] = ()
        since = 0.0
        while True:
            try:
                root, connection = self._store.seen_root()
                at = self._since_boot()
                sign = (root and (root.fence, root.renewed), connection)
                if sign != watched:
                    watched, since = sign, at
                why_not = self._why_not(root)
                if not why_not and self._takes(root, at - since):
                    return self
                serves = f"{process_in_words(root.process) if root and root.daemon else 'Nobody'} serves the root."
                self._tell(f"{serves} This one cannot: {why_not}" if why_not else serves)
            except RootAwayError:
                raise
            except DiskError as error:
                if not watched:
                    raise
                self._tell(error.message)
            except StandbyError:
                watched = ()
            self._wait(STANDBY_LOOK_SECONDS)

    def _takes(self, seen: ServedRoot | None, silent_seconds: float) -> bool:
        ended = seen is None or not seen.daemon or has_ended_here(seen.process, self._me)
        if not ended and silent_seconds < ROOT_LEASE_SECONDS:
            return False
        began = self._since_boot()
        self._store.take_root(self.serving, self._place, ROOT_LEASE_SECONDS, seen, ended=ended)
        self._kept_at = began
        threading.Thread(target=self._keep_beside, name="lease", daemon=True).start()
        return True

    def _keep_beside(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with contextlib.suppress(RodinWatchdError):  # the main thread meets it, and says so
                self.keep_beside()

    def keep_beside(self) -> None:
        """Keep the root for a main thread that is busy, but not for too long; another thread's alone. Raises as `keep`.

        It is no permission to send: `is_sure` goes by what the main thread has asked for.
        """
        if 2 * RENEW_SECONDS <= self._since_boot() - self._kept_at < self._patience_seconds:
            self._store.extend_root_beside(ROOT_LEASE_SECONDS)

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        if not self._is_used:  # no thread of this process can have sent anything
            self.free()

    def use(self) -> None:
        """Begin to work: from now on only `free` lets go of the root; else its time runs out."""
        self._is_used = True

    def free(self) -> None:
        """Let a standby have the root at once. For an end at which no thread can send any more; may be repeated."""
        self._ended.set()
        with contextlib.suppress(DiskError):
            self._store.free_root()

    def keep(self) -> None:
        """Keep the root, if it is time to say so. Raises FencedError where another daemon has it, StoreAwayError."""
        if self._since_boot() - self._kept_at >= RENEW_SECONDS:
            self.confirm()

    def confirm(self) -> None:
        """Do the same at this very moment."""
        self._patience_seconds = BUSY_SECONDS
        began = self._since_boot()
        self._store.extend_root(ROOT_LEASE_SECONDS)
        self._kept_at = began

    def is_sure(self) -> bool:
        """Return whether nobody else can have taken the root yet, without asking; any thread."""
        return self._since_boot() - self._kept_at < ROOT_LEASE_SECONDS


class StateFolder:
    """A folder that locks or the journal are in: made again when somebody removed it.

    On the `fixed` disk, whose files are open from start to end, nothing is made or kept while another one shows in its
    place. A share may come back with another device number: whether the root is there the mount keeper says.
    """

    def __init__(self, folder: Path, *, fixed: bool) -> None:
        self._folder = folder
        self._device = folder.stat().st_dev if fixed else None

    def keep(self) -> None:
        """Make the folder if it is missing. Raises FolderGoneError while its disk is not mounted, DiskError."""
        there = next(path for path in (self._folder, *self._folder.parents) if path.exists())
        try:
            if self._device is not None and there.stat().st_dev != self._device:
                raise FolderGoneError(f"{self._folder} is missing: its disk is not mounted.")
            if there != self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError.of(f"The folder {self._folder} is missing and cannot be made", error) from error

    def confirm(self) -> None:
        """Do the same: it always looks."""
        self.keep()


class JournalGuard:
    """Sees in each tick that the open journal is the one at its path; else it has it written out again before all else.

    So it does when it closes the journal at the end. `holds` keep a second daemon off the journal.
    """

    def __init__(self, job_store: JobStore, journal: Journal, path: Path, clock: Clock, holds: Sequence[Hold]) -> None:
        self._job_store = job_store
        self._journal = journal
        self._path = path
        self._clock = clock
        self._holds = holds
        self._notice = ""
        self._noticed_at = 0.0  # monotonic
        self._ended = False

    def keep(self) -> None:
        """Write the journal out again where its files are missing or others are in their place.

        Raises JournalGoneError; JournalRolledBackError where its own file has older content: then the daemon must end.
        """
        self._journal.refuse_rolled_back()
        why = self._journal.why_not_in_place()
        if not why:
            self._journal.drop_copy()
            return
        now = self._clock.now()
        try:
            aside = self._journal.write_out(stamp_of(now))
        except DiskError as error:
            raise JournalGoneError(
                f"{_sentence(why, self._path)} Nothing is taken or paid until the journal is written again: "
                f"{error.message}",
                advice=error.advice_given,
            ) from error
        except JournalError:
            self._ended = True  # nothing is to be written out once more: the next start does the rest
            raise
        self._notice = (
            f"{_sentence(why, self._path)} Nothing was lost or paid meanwhile: the service had all of it and has written "
            f"its journal again.{_aside(aside)}"
        )
        self._noticed_at = self._clock.monotonic()
        self._job_store.report(WRITTEN_OUT, self._notice, now)

    def confirm(self) -> None:
        """Raise JournalGoneError where the files are not in place at this very moment."""
        if why := self._journal.why_not_in_place():
            raise JournalGoneError(_sentence(why, self._path))

    def end(self) -> None:
        """Close the journal for good; write it out where it was taken away since the last look. May be repeated.

        What fails is logged alone: something else may have ended the service. Nothing is written where another daemon serves
        by now. Older content inside the open file is left for the next start, which counts what is missing in it.
        """
        if self._ended:
            return
        self._ended = True
        try:
            if self._journal.why_not_in_place():
                for hold in self._holds:
                    hold.keep()
            self.keep()
            self._journal.end(stamp_of(self._clock.now()))
        except JournalRolledBackError:
            return
        except RodinWatchdError as error:
            log_error(logging.CRITICAL, "journal-lost", error)

    def report_finished(self, finished: FinishedJournal | None) -> None:
        """Report what this start has done with a journal that a run before had written out again, if there was one."""
        if finished is None:
            return
        message = (
            f"The journal that the service had written again was put in its place.{_aside(finished.aside)}"
            if finished.installed
            else "The service had begun to write its journal out again, and then continued with the one in its place, which "
            f"stays. The copy is {finished.aside} now."
        )
        self._job_store.report(WRITTEN_OUT, message, self._clock.now())

    def notices(self) -> list[str]:
        """Return what people must know: what was moved aside or kept, until they take it away; else that it happened, for a day."""
        return [*self._moved_notices(), *self._kept_notices()]

    def _kept_notices(self) -> list[str]:
        if not (kept := kept_backups(self._path)):
            return []
        why = "kept, because it has purchases that the newest backup of the journal does not have"
        what_to_do = "stop the service and put it in the journal's place; otherwise remove it"
        return [f"{_names(kept)} in {self._path.parent}: {why}. If the journal has lost purchases, {what_to_do}."]

    def _moved_notices(self) -> list[str]:
        if aside := moved_aside(self._path):
            where = f"were moved aside in {self._path.parent}: {_names(aside)}"
            what_to_do = "Give commands from that time again, then remove these files."
            return [f"Files of a journal that the service does not use {where}. {what_to_do}"]
        recent = self._notice and self._clock.monotonic() - self._noticed_at < NOTICE_SECONDS
        return [f"{self._notice} Find out who or what removes files there."] if recent else []


class JournalCheck:
    """Has all of a large journal read that the service did not close, by a thread, and lets nothing move until that is done.

    So a start is quick and a crash costs a pause, and the promise stays what it is for a small journal, which is read before all
    else: nobody pays by a journal that may have lost a purchase. Before it is read the service looks and shows; it takes,
    sends, moves and deletes nothing, for a lost row would make a paid set look new, and its files look like nobody's.
    `then` is what waited for it. Made of a start alone: it has no effect until the first `keep`.
    """

    def __init__(self, journal: Journal, then: Callable[[], None]) -> None:
        self._journal = journal
        self._then = then
        self._is_over = journal.is_checked
        self._reading: _Reading | None = None

    def keep(self) -> None:
        """Return when all of the journal was read, now or before; `then` was called then.

        Raises JournalUncheckedError until then, DiskError where it cannot be read now, which is tried again; JournalError where
        it is damaged: then the daemon must end.
        """
        if self._is_over:
            return
        if not self._journal.is_checked:  # else it was written out meanwhile, and read for that
            self._journal.take_check(self._read())
        self.close()
        self._is_over = True
        self._then()

    def _read(self) -> str:
        if self._reading is None:
            self._reading = _Reading(self._journal.path)
            self._reading.start()
            raise JournalUncheckedError(_UNCHECKED)
        if self._reading.is_alive():
            raise JournalUncheckedError(_UNCHECKED)
        reading, self._reading = self._reading, None
        return reading.found()

    def confirm(self) -> None:
        """Raise JournalUncheckedError where it was not read yet."""
        if not self._journal.is_checked:
            raise JournalUncheckedError(_UNCHECKED)

    def close(self) -> None:
        """End the reading; the next start begins it again. May be repeated."""
        if self._reading is not None:
            self._reading.end()


_UNCHECKED = (
    "The service was not stopped in order, so all of its journal is being read: nothing is taken, sent or delivered until it is known "
    "that no purchase was lost."
)


class _Reading(threading.Thread):
    """Reads all of a journal once."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="journal-check", daemon=True)
        self._path = path
        self._reader: JournalReader | None = None
        self._ended = False
        self._found = ""
        self._error: RodinWatchdError | None = None

    def run(self) -> None:
        try:
            with contextlib.closing(JournalReader(self._path)) as reader:
                self._reader = reader
                self._found = "" if self._ended else reader.quick_check()
        except RodinWatchdError as error:
            self._error = error

    def found(self) -> str:
        """Return what was found, when the thread has ended. Raises what kept it from reading: DiskError, JournalError."""
        if self._error is not None:
            raise self._error
        return self._found

    def end(self) -> None:
        """Stop reading, and wait until the file is closed."""
        self._ended = True
        while self.is_alive():
            if self._reader is not None:
                self._reader.interrupt()
            self.join(_JOIN_SECONDS)


_JOIN_SECONDS = 0.1


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _sentence(why: str, path: Path) -> str:
    return f"Files of the journal were removed or replaced while the service runs: in {path.parent}, {why}."


def _aside(aside: Path | None) -> str:
    if aside is None:
        return ""
    return f" The file in its place is {aside} now. Commands from that time are in it: give them again."
