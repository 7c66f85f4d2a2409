"""Housekeeping: what is done once a day, besides the work: the journal's backup, and a look for what belongs to nobody.

The main thread's alone, but for the copying itself, which a thread of its own does: no tick waits for it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import tzinfo
from typing import TypeAlias

from rodin_watchd.core.schedule import ALARM, alarm, is_alarming
from rodin_watchd.core.store import OldJob, Store
from rodin_watchd.core.waits import DAY_SECONDS, LONGEST_WAIT_SECONDS
from rodin_watchd.errors import InternalError, JournalBusyError, JournalGoneError, RodinWatchdError
from rodin_watchd.model import Job
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore

log = logging.getLogger("rodin_watchd")

BACKED_UP_AT = "backed_up_at"
"""The journal's key: when its newest backup was made, UTC."""

FIRST_SECONDS = 3600.0
"""A journal without a backup gets its first so long after the first job was taken."""

AGAIN_SECONDS = LONGEST_WAIT_SECONDS
"""How long after a failed backup the next one is tried."""

SOON_SECONDS = 60.0
"""The same where that ends by itself soon: another program had the journal locked, or its files were just exchanged."""

END_SECONDS = 10.0
"""How long the end waits for a backup that is being made."""


class InThread(threading.Thread):
    """Does one thing while the main thread goes on, then calls `ended`; `error` is why it failed, also where that is a fault of ours."""

    def __init__(self, name: str, act: Callable[[], None], ended: Callable[[], None] = lambda: None) -> None:
        super().__init__(name=name, daemon=True)
        self._act = act
        self._ended = ended
        self.error: RodinWatchdError | None = None

    def run(self) -> None:
        """Do it; the thread calls this."""
        try:
            self._act()
        except RodinWatchdError as error:
            self.error = error
        except Exception as error:  # a fault, whatever it is: what was to be done is not done
            log.exception("fault in thread %s", self.name, extra={"action": "fault"})
            self.error = InternalError(f"A fault in rodin_watchd: {type(error).__name__} in thread {self.name}.")
        finally:
            self._ended()


class Reported:
    """Why something is not done for now, in words: reported once when it begins, and when it is over."""

    def __init__(self, job_store: JobStore, subject: str, over: str, clock: Clock) -> None:
        self._job_store = job_store
        self._subject = subject
        self._over = over
        self._clock = clock
        self.words = ""

    def begin(self, error: RodinWatchdError) -> float:
        """Report an error; return how long nothing is tried, in seconds: little where it ends by itself soon."""
        if not self.words:
            now = self._clock.now()
            self._job_store.report("paused", error.message, now, subject=self._subject, code=error.code)
        self.words = error.message
        return SOON_SECONDS if isinstance(error, JournalBusyError | JournalGoneError) else AGAIN_SECONDS

    def end(self) -> None:
        """Report that it is over, if it had begun."""
        if self.words:
            self._job_store.report("resumed", self._over, self._clock.now(), subject=self._subject)
        self.words = ""


Backup: TypeAlias = Callable[[float], Callable[[], None]]
"""Returns what makes a backup of the store as it is now (UTC), in any thread; that raises DiskError, JournalError."""

CopyOldJobs: TypeAlias = Callable[[float, float, int], list[OldJob]]
"""Copies so many jobs that ended before an instant to the archive, now (both UTC); in any thread. Raises DiskError, JournalError."""


class Housekeeping:
    """Looks in each tick whether a day has passed; `trouble` says why the store has no fresh backup.

    Without a `backup`, that is somebody else's matter.
    """

    def __init__(
        self, job_store: JobStore, store: Store, backup: Backup | None, clock: Clock, daily: Callable[[], object]
    ) -> None:
        self._store = store
        self._backup = backup
        self._clock = clock
        self._daily = daily
        self._copying: tuple[InThread, float] | None = None  # and when it began, UTC
        stored = store.meta(BACKED_UP_AT)
        self._made_at: float | None = float(stored) if stored is not None else None
        self._not_before = clock.monotonic()
        self._reported = Reported(job_store, "backup", "It is made again.", clock)

    @property
    def trouble(self) -> str:
        """Why the newest backup could not be made, "" if it could."""
        return self._reported.words

    def keep(self) -> None:
        """Do what is due. Raises DiskError when the journal's disk is full."""
        if self._copying is not None:
            copying, at = self._copying
            if not copying.is_alive():
                self._copying = None
                self._take(copying, at)
        elif self._is_due():
            self._daily()
            now = self._clock.now()
            if self._backup is None:
                self._made_at = now
                return
            self._copying = (InThread("backup", self._backup(now)), now)
            self._copying[0].start()

    def close(self) -> None:
        """Wait a while for a backup that is being made; what is not done then is done another day."""
        if self._copying is not None:
            self._copying[0].join(END_SECONDS)

    def _is_due(self) -> bool:
        """Return whether a day has passed; a clock that was turned back makes it due as well."""
        if self._clock.monotonic() < self._not_before:
            return False
        since, wait_seconds = self._made_at, DAY_SECONDS
        if since is None:
            since, wait_seconds = self._store.begun_at(), FIRST_SECONDS
        return since is not None and not 0.0 <= self._clock.now() - since < wait_seconds

    def _take(self, copying: InThread, at: float) -> None:
        if copying.error is not None:
            self._not_before = self._clock.monotonic() + self._reported.begin(copying.error)
            return
        self._made_at = at
        self._store.set_meta(BACKED_UP_AT, at)
        self._reported.end()


# ---- Moving the details of old jobs to the archive file -------------------------------------------------------------


MOVED_AT_ONCE = 10
"""So many jobs are moved in one transaction: a few milliseconds of a tick."""

LOOK_AGAIN_SECONDS = 3600.0
"""How long nothing is looked for when all that was old has been moved."""


class OldJobs:
    """Copies old jobs to the archive file, some at a time, and has the store condense them; `trouble` says why it cannot.

    The copying is done by a thread of its own. What a crash leaves undone is done again: a job is in the archive file, durably,
    before the store drops anything of it.
    """

    def __init__(
        self, job_store: JobStore, store: Store, copy: CopyOldJobs, keep_days: int | None, clock: Clock
    ) -> None:
        self._store = store
        self._copy = copy
        self._keep_days = keep_days
        self._clock = clock
        self._copying: tuple[InThread, list[OldJob]] | None = None
        self._not_before = clock.monotonic()
        self._reported = Reported(job_store, "archive-file", "It is written again.", clock)

    @property
    def trouble(self) -> str:
        """Why nothing can be moved, "" if it can."""
        return self._reported.words

    def keep(self) -> None:
        """Do what is due. Raises DiskError when the journal's disk is full."""
        if self._copying is not None:
            copying, copied = self._copying
            if not copying.is_alive():
                self._copying = None
                self._take(copying, copied)
        elif self._keep_days is not None and self._clock.monotonic() >= self._not_before:
            now = self._clock.now()
            before_at, copied = now - self._keep_days * DAY_SECONDS, []
            copy = self._copy
            self._copying = (
                InThread("archive-file", lambda: copied.extend(copy(before_at, now, MOVED_AT_ONCE))),
                copied,
            )
            self._copying[0].start()

    def close(self) -> None:
        """Wait a while for what is being copied; what is not condensed then is copied again."""
        if self._copying is not None:
            self._copying[0].join(END_SECONDS)

    def _take(self, copying: InThread, copied: list[OldJob]) -> None:
        if copying.error is not None:
            self._not_before = self._clock.monotonic() + self._reported.begin(copying.error)
            return
        self._reported.end()
        moved = self._store.condense(copied) if copied else 0
        if moved < MOVED_AT_ONCE:  # what was changed meanwhile is looked at again, too
            self._not_before = self._clock.monotonic() + LOOK_AGAIN_SECONDS


# ---- Rings once for each result that the vendor will not keep much longer. The main thread's alone ------------------


class Alarms:
    """Writes one event into the job's history and one into the service's own; a restart does not ring again."""

    def __init__(self, job_store: JobStore, store: Store, zone: tzinfo, now: Callable[[], float]) -> None:
        self._job_store = job_store
        self._store = store
        self._zone = zone
        self._now = now
        self._announced_jobs: set[str] = set()

    def announce(self) -> None:
        """Ring for those that have become pressing. Raises DiskError when the journal's disk is full."""
        now = self._now()
        for job in [job for job in self._job_store.jobs.values() if is_alarming(job, now)]:
            if job.id not in self._announced_jobs and not self._was_announced(job):
                self._job_store.report_of_job(job, ALARM, alarm(job, self._zone), now)
            self._announced_jobs.add(job.id)

    def _was_announced(self, job: Job) -> bool:
        since = job.task.submitted_at if job.task else 0.0
        return any(event.action == ALARM and event.at >= since for event in self._store.events(job.id))


# ---- Sweeping: what the journal has erased does not stay in its write-ahead log. The main thread's alone -------


SWEEP_SECONDS = 30.0
"""How long a secret that is not needed any more may stay in the log."""


class Sweeper:
    """Sweeps the store every now and then; where nothing was written, that costs nothing."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._swept_at = -math.inf

    def sweep(self) -> None:
        """Sweep if it is time."""
        now = self._monotonic()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._store.sweep()
