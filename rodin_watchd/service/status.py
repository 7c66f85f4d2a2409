"""Telling people: STATUS.txt in the shared folder, and the same page in the journal for the command line."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.health import headline
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.pauses import Pauses
from rodin_watchd.core.retention import alarms
from rodin_watchd.core.sets import ReadySet, WaitingSet
from rodin_watchd.core.status import PAGE, Line, Page, ended_line, render, signed, sorted_jobs
from rodin_watchd.core.store import Store
from rodin_watchd.core.wording import local, set_name
from rodin_watchd.errors import DiskError, FolderGoneError, RootCopiedError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job
from rodin_watchd.problem import Fault, Problem
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.health import Snapshot
from rodin_watchd.service.parts import Parts

log = logging.getLogger("rodin_watchd")

WRITE_SECONDS = 1.0
"""STATUS.txt is rewritten at most this often."""

CLOCK_JUMP_SECONDS = 2.0
"""By less than this, instants on the status page do not follow a clock that is being adjusted: the page would flicker."""

COPIES = (
    "Sets are copied, not moved, out of the inbox: it is on another filesystem than the service's work folder. This works; "
    "it is slower, and needs twice the disk space for a while."
)
"""Notice for an inbox from which no rename is possible."""


def pause_notices(pauses: Pauses, zone: tzinfo) -> tuple[list[str], list[str]]:
    """Return what stands still and why, without a running clock in it: until the account's owner acts, and by itself."""
    owners: list[str] = []
    passing: list[str] = []
    for pause in pauses.values():
        message = f"Paused since {local(pause.since_at, zone)}: {pause.problem.message} {pause.problem.advice}"
        (owners if pause.problem.fault is Fault.ACCOUNT else passing).append(message)
    return owners, passing


def page_of(
    notices: Iterable[str], waiting: Sequence[Line], jobs: Iterable[Job], recent: Iterable[Job], ignored: Iterable[str]
) -> Page:
    """Build the page from what the daemon knows."""
    running, held = sorted_jobs(jobs)
    counted = tuple(sorted(Counter(ignored).items()))
    return Page(tuple(notices), tuple(waiting), running, held, tuple(map(ended_line, recent)), counted)


def waiting_line(waiting: WaitingSet, offset: float) -> Line:
    """Return the line of a set that waits; `offset` makes monotonic time UTC."""
    name = set_name(waiting.candidate.folder, waiting.candidate.name)
    return Line(name, waiting.reason, since_at=None if waiting.settling else round(waiting.since + offset))


def turn_line(ready: ReadySet, reason: str) -> Line:
    """Return the line of a complete set that is not claimed yet."""
    return Line(set_name(ready.candidate.folder, ready.candidate.name), reason)


class StatusWriter:
    """Writes the page where it changed; the main thread's alone."""

    def __init__(self, spool: Spool, store: Store, zone: tzinfo) -> None:
        self._spool = spool
        self._zone = zone
        self._in_journal = _Copy("the journal's page", lambda page: store.set_meta(PAGE, page.as_data()))
        self._in_root = _Copy("STATUS.txt", self._write_status, spool.has_status)

    def write(self, page: Page) -> None:
        """Write STATUS.txt and the journal's copy, each if the page changed or another one lies there; never raises OSError."""
        self._in_journal.write(page)
        self._in_root.write(page)

    @property
    def trouble(self) -> str:
        """What keeps STATUS.txt from being written, for people; "" if nothing does."""
        return self._in_root.trouble

    def _write_status(self, page: Page) -> None:
        if kept := self._spool.write_status(signed(render(page, self._zone))):
            message = "status: somebody had changed STATUS.txt; the changed file is called %s now"
            log.warning(message, kept, extra={"action": "status"})


class _Copy:
    """One place where the page stands."""

    def __init__(self, name: str, write: Callable[[Page], None], is_there: Callable[[], bool] = lambda: True) -> None:
        self._name = name
        self._write = write
        self._is_there = is_there
        self._written: Page | None = None
        self._trouble = Trouble("status")
        self.trouble = ""

    def write(self, page: Page) -> None:
        """Write the page if it is another one, or not there any more; what keeps it from being written is logged once."""
        if page == self._written and self._is_there():
            return
        try:
            self._write(page)
        except (DiskError, OSError) as error:  # also odd ones: anybody may put a folder where STATUS.txt belongs
            message = f"{self._name} is not up to date: {why(error)}"
            self._trouble.begins(message)
            self.trouble = f"{message} {error.advice_given}" if isinstance(error, DiskError) else message
        else:
            self._written = page
            self.trouble = ""
            self._trouble.ends(f"{self._name} is up to date again.")


class Display:
    """What a daemon shows: the status page, a line for the service manager, the snapshot for health. The main thread's alone.

    `problem` is why nothing at all moves, None while something may.
    """

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._zone = parts.tools.zone
        self._writer = StatusWriter(parts.tools.spool, parts.store, self._zone)
        self._offset = clock.now() - clock.monotonic()
        self._written_at = -math.inf
        self._seen = (-1, 0.0)
        self._waiting: tuple[Line, ...] = ()  # made anew only for another look: there may be 10,000

    def write(self, problem: Problem | None) -> None:
        """Write the status page, if it changed and the last time is a moment ago."""
        monotonic = self._clock.monotonic()
        if monotonic - self._written_at >= WRITE_SECONDS:
            self._written_at = monotonic
            self._writer.write(self._page(self._notices(problem)))

    def write_last(self, problem: Problem | None) -> None:
        """Write the status page of a service that has ended.

        What ends by itself may end while nobody is there to take the notice away: the page says of when it is.
        """
        as_of = f"When the service stopped ({local(self._clock.now(), self._zone)}): "
        self._writer.write(self._page(self._notices(problem, as_of)))

    def headline(self, problem: Problem | None) -> str:
        """Return how the service is, in a line."""
        parts, mounts = self._parts, self._parts.standing.mounts_keeper
        problems = (problem, parts.reception.problem, *parts.dispatcher.problems())
        codes = [problem.code for problem in problems if problem]
        codes += [FolderGoneError.code] if mounts.away else []
        codes += [RootCopiedError.code] if mounts.copied else []
        codes += ["by request"] if parts.commands.paused else []
        waiting = len(parts.reception.view.waiting) + len(parts.reception.claims.waiting)
        return headline(parts.job_store.jobs.values(), waiting=waiting, codes=codes)

    def snapshot(self, problem: Problem | None, *, stopping: bool) -> Snapshot:
        """Return what the monitor is to see."""
        parts, reception, mounts = self._parts, self._parts.reception, self._parts.standing.mounts_keeper
        moving = (
            parts.job_store.jobs,
            parts.pool.busy,
            reception.view,
            reception.claims,
            parts.dispatcher.pauses,
            frozenset(mounts.away),
        )
        stopped = (reception.problem, stopping, parts.budget.waits, parts.admission.waits, self._writer.trouble)
        by_request, copied_root = parts.commands.paused, bool(mounts.copied)
        lost = parts.job_store.loss.submits if parts.job_store.loss else 0
        return Snapshot(*moving, by_request, copied_root, problem, lost, *map(bool, stopped))

    def _page(self, notices: Iterable[str]) -> Page:
        reception, jobs = self._parts.reception, self._parts.job_store
        offset = self._clock.now() - self._clock.monotonic()
        if abs(offset - self._offset) > CLOCK_JUMP_SECONDS:
            self._offset = offset
        seen = (reception.looks, self._offset)
        if seen != self._seen:
            self._seen, self._waiting = seen, self._waiting_lines()
        return page_of(notices, self._waiting, jobs.jobs.values(), jobs.recent, reception.view.ignored.values())

    def _waiting_lines(self) -> tuple[Line, ...]:
        reception = self._parts.reception
        lines = [waiting_line(w, self._offset) for w in reception.view.waiting]
        lines += [turn_line(ready, turn) for ready, turn in reception.claims.waiting]
        return tuple(lines)

    def _notices(self, problem: Problem | None, as_of: str = "") -> list[str]:
        """Return what people must know of the service as a whole; what ends by itself is said `as_of` an instant."""
        parts, reception, standing = self._parts, self._parts.reception, self._parts.standing
        pressing = alarms(parts.job_store.jobs.values(), self._clock.now(), self._zone)
        owners, passing = pause_notices(parts.dispatcher.pauses, self._zone)
        lost = [parts.job_store.loss.notice(self._zone)] if parts.job_store.loss else []
        notices = [*pressing, *lost, *standing.notices(), *owners]
        if parts.commands.paused:
            notices.append("Paused by request: nothing is taken or submitted (`rodin-watchd resume` continues).")
        if parts.tools.spool.copies:
            notices.append(COPIES)
        notices += [*parts.admission.notices(), *parts.dispatcher.notices(), *parts.tools.plugins.notices()]
        problems = filter(None, (problem, reception.problem))
        known = FolderGoneError.code if standing.mounts_keeper.away else ""  # in the standing's notices already
        passing += [f"{problem.message} {problem.advice}" for problem in problems if problem.code != known]
        notices += [f"{as_of}{notice}" for notice in passing]
        watching = "" if Mount.INBOX in standing.mounts_keeper.away else reception.trouble
        return [*notices, *filter(None, (watching, standing.housekeeping.trouble, self._writer.trouble))]
