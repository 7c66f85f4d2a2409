"""Informing people: STATUS.txt in the shared folder, and the same page in the journal for the command line."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.failures import is_already_done
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.schedule import alarm, plain_alarm, pressing
from rodin_watchd.core.status import FRESH_SECONDS, PAGE, Page, signed, status_text
from rodin_watchd.core.stillness import PAUSED_BY_REQUEST, Reason, reasons_of_pauses
from rodin_watchd.core.store import Store
from rodin_watchd.core.wording import page_notice
from rodin_watchd.errors import DiskError, FolderGoneError, JournalGoneError, Problem
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.parts import Parts
from rodin_watchd.service.snapshot import Snapshot, Waiting, waiting_in

log = logging.getLogger("rodin_watchd")

LOOK_SECONDS = 15.0
"""So far apart are the looks whether somebody has taken a failed set away."""

SHOW_SECONDS = 1.0
"""A snapshot is made, and shown, at most this often."""

CLOCK_JUMP_SECONDS = 2.0
"""By less than this, instants on the status page do not follow a clock that is being adjusted: the page would flicker."""

COPIES = (
    "Sets are copied, not moved, out of the inbox: it is on another filesystem than the service's work folder. This works; "
    "it is slower, and needs twice the disk space for a while."
)
"""Notice for an inbox from which no rename is possible."""

LOSS_IN_SHORT = (
    "The service does not know of all sets that were paid for lately. Before you drop a set again, ask the person who runs the "
    "service whether it was paid for."
)
LATE_IN_SHORT = "The service notices some files in the inbox late. Tell the person who runs the service."
FARM_IN_SHORT = (
    "Results wait for another machine that works on them before they are delivered. If this stays so for long, tell the person who runs "
    "the service. Nothing is lost."
)
"""Notices of the administrator's matters, for whoever drops files."""


class StatusWriter:
    """Writes the page where it changed; the main thread's alone."""

    def __init__(self, spool: Spool, store: Store, zone: tzinfo, clock: Clock) -> None:
        self._spool = spool
        self._zone = zone
        self._clock = clock
        self._fresh_until = math.inf  # monotonic
        self._in_journal = _Copy("the journal's page", lambda page: store.set_meta(PAGE, page.as_data()))
        self._in_root = _Copy("STATUS.txt", self._write_status, self._is_fresh)

    def write(self, page: Page) -> None:
        """Write STATUS.txt and the journal's copy, each if the page changed or another one is there; never raises OSError."""
        self._in_journal.write(page)
        self._in_root.write(page)

    @property
    def trouble(self) -> str:
        """What keeps STATUS.txt from being written, for people; "" if nothing does."""
        return self._in_root.trouble

    def _write_status(self, page: Page) -> None:
        text = status_text(page, self._clock.now(), self._zone)
        self._fresh_until = self._clock.monotonic() + FRESH_SECONDS
        if kept := self._spool.write_status(signed(text)):
            message = "status: somebody had changed STATUS.txt; the changed file is called %s now"
            log.warning(message, kept, extra={"action": "status"})

    def _is_fresh(self) -> bool:
        """Return whether STATUS.txt is the page that was written last, and says that it is not old."""
        return self._clock.monotonic() < self._fresh_until and self._spool.has_status()


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
        """Write the page if it is another one, not there any more, or too old; what keeps it from being written is logged once."""
        if page == self._written and self._is_there():
            return
        try:
            self._write(page)
        except (DiskError, OSError) as error:  # also odd ones: anybody may put a folder where STATUS.txt belongs
            message = f"{self._name} is not up to date: {why(error)}"
            self._trouble.begins(message)
            self.trouble = f"{message} {error.advice_in_full}" if isinstance(error, DiskError) else message
        else:
            self._written = page
            self.trouble = ""
            self._trouble.ends(f"{self._name} is up to date again.")


class FailedFolders:
    """Which sets that failed, and were not dealt with, are still in `failed/`; the main thread's alone.

    A look at each folder shows whether somebody has taken it away: of the newest alone, and not in each tick.
    """

    def __init__(self, spool: Spool, job_store: JobStore, clock: Clock) -> None:
        self._spool = spool
        self._job_store = job_store
        self._clock = clock
        self._failures: tuple[Job, ...] | None = None
        self._look_at = -math.inf
        self.lying: tuple[Job, ...] = ()  # newest first

    def look(self) -> None:
        """Look if it is time, or another set has failed or was dealt with. While `failed/` is away, what was known stays."""
        now, failures = self._clock.monotonic(), self._job_store.failures
        if now >= self._look_at or failures is not self._failures:
            self._failures, self._look_at = failures, now + LOOK_SECONDS
            self.lying = tuple(job for job in failures if not is_already_done(job) and self._spool.has_place(job))


class Display:
    """What a daemon shows of itself, all from one snapshot: the status page, the line for the service manager, the health.

    The main thread's alone.
    """

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self._writer = StatusWriter(parts.tools.spool, parts.store, parts.tools.zone, clock)
        self._failed = FailedFolders(parts.tools.spool, parts.job_store, clock)
        self._offset = clock.now() - clock.monotonic()
        self._shown_at = -math.inf
        self._seen = (-1, 0.0)
        self._waiting = Waiting()
        self.headline = ""  # how the service is, in a line, as of the newest snapshot

    def show(self, problem: Problem | None, *, stops: bool, ended: bool = False) -> None:
        """Show how the service stands, if a second has passed or it has `ended`; never raises OSError.

        `problem` says why nothing at all moves, `stops` that nothing is begun any more.
        """
        monotonic = self._clock.monotonic()
        if not ended and monotonic - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = monotonic
        snapshot = self._snapshot(problem, stops=stops, ended=ended)
        self.headline = snapshot.headline
        self._writer.write(snapshot.page(self._parts.tools.zone))
        self._parts.standing.monitor.tick(snapshot)

    def _snapshot(self, problem: Problem | None, *, stops: bool, ended: bool) -> Snapshot:
        parts, now, monotonic = self._parts, self._clock.now(), self._clock.monotonic()
        if problem is None and Mount.FAILED not in parts.standing.mounts_keeper.away:
            self._failed.look()
        return Snapshot(
            at=now,
            monotonic=monotonic,
            jobs=tuple(parts.job_store.jobs.values()),
            recent=parts.job_store.recent,
            failed=self._failed.lying,
            older_failed=parts.job_store.has_older_failures,
            busy=parts.pool.busy,
            waiting=self._seen_in_inbox(now - monotonic),
            reasons=(*self._steady(now, stops=stops), *self._passing(problem), *self._troubles()),
            standstill=f"{problem.message} {problem.advice}" if problem else "",
            lost_submits=parts.job_store.loss.submits if parts.job_store.loss else 0,
            has_ended=ended,
        )

    def _seen_in_inbox(self, offset: float) -> Waiting:
        """Return what waits in the inbox: the same value until another look, or a clock that is set. `offset` makes monotonic time UTC."""
        if abs(offset - self._offset) > CLOCK_JUMP_SECONDS:
            self._offset = offset
        reception = self._parts.reception
        seen = (reception.looks, self._offset)
        if seen != self._seen:
            self._seen, self._waiting = (
                seen,
                waiting_in(reception.view, reception.claims.waiting, self._offset, reception.bill),
            )
        return self._waiting

    # ---- what stands still and why, and what else people must know: one list, in the order of the page --------------

    def _steady(self, now: float, *, stops: bool) -> Iterator[Reason]:
        """Yield what does not end by itself, and what ends with the day or with the work."""
        parts, zone = self._parts, self._parts.tools.zone
        for job in pressing(parts.job_store.jobs.values(), now):
            yield Reason(alarm(job, zone), plain=plain_alarm(job, zone))
        if parts.job_store.loss:
            yield Reason(parts.job_store.loss.notice(zone), plain=LOSS_IN_SHORT)
        yield from parts.standing.reasons()
        yield from (reason for reason in reasons_of_pauses(parts.dispatcher.pauses, zone) if not reason.passes)
        if parts.commands.paused:
            yield PAUSED_BY_REQUEST
        if stops:
            yield Reason("", Standstill.STOPPING, Standstill.STOPPING)
        if parts.tools.spool.copies:
            yield Reason(COPIES, plain="")
        yield from _as_far_as_known(parts.admission.reasons)
        yield from _as_far_as_known(parts.dispatcher.reasons)
        yield from (Reason(text, plain="") for text in parts.tools.plugins.notices())
        for number, text in enumerate(parts.tools.plugins.farm_notices(zone)):
            yield Reason(text, plain="" if number else FARM_IN_SHORT)

    def _passing(self, problem: Problem | None) -> Iterator[Reason]:
        """Yield what may end by itself."""
        parts = self._parts
        yield from (reason for reason in reasons_of_pauses(parts.dispatcher.pauses, parts.tools.zone) if reason.passes)
        for one, what in ((problem, Standstill.JOURNAL), (parts.reception.problem, Standstill.INBOX)):
            if one:
                is_known = one.code == FolderGoneError.code and bool(parts.standing.mounts_keeper.away)
                text, words = ("", "") if is_known else (f"{one.message} {one.advice}", page_notice(one))
                yield Reason(text, what, one.code, passes=True, plain=words)
        if problem and problem.code == JournalGoneError.code:
            yield Reason("", Standstill.JOURNAL_GONE, problem.code, passes=True)

    def _troubles(self) -> Iterator[Reason]:
        """Yield what fails besides the steps of jobs."""
        parts = self._parts
        if parts.reception.trouble and Mount.INBOX not in parts.standing.mounts_keeper.away:
            yield Reason(parts.reception.trouble, plain=LATE_IN_SHORT)
        if parts.standing.housekeeping.trouble:
            yield Reason(parts.standing.housekeeping.trouble, plain="")
        if parts.old_jobs.trouble:
            yield Reason(parts.old_jobs.trouble, plain="")
        if parts.choices.trouble:
            yield Reason(parts.choices.trouble, plain="")
        if parts.page.trouble:
            yield Reason(parts.page.trouble, plain="")
        if self._writer.trouble:
            yield Reason(self._writer.trouble, Standstill.PAGE, Standstill.PAGE, plain="")


def _as_far_as_known(ask: Callable[[], Iterable[Reason]]) -> Iterable[Reason]:
    """Return reasons that are read from the store; none while it is away, which people read anyway."""
    try:
        return ask()
    except DiskError:
        return ()
