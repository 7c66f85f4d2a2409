"""Housekeeping: what is done once a day, besides the work: the journal's backup, and a look for what belongs to nobody.

The main thread's alone, but for the copying itself, which a thread of its own does: no tick waits for it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path

from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.adapters.store.files import Files
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.schedule import ALARM, alarm, is_alarming
from rodin_watchd.core.store import Store
from rodin_watchd.core.waits import DAY_SECONDS, LONGEST_WAIT_SECONDS
from rodin_watchd.errors import JournalBusyError, JournalGoneError, RodinWatchdError
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


class Housekeeping:
    """Looks in each tick whether a day has passed; `trouble` says why the journal has no fresh backup."""

    def __init__(
        self, job_store: JobStore, journal: Journal, path: Path, clock: Clock, daily: Callable[[], object]
    ) -> None:
        self._job_store = job_store
        self._journal = journal
        self._path = path
        self._clock = clock
        self._daily = daily
        self._copying: _Copying | None = None
        stored = journal.meta(BACKED_UP_AT)
        self._made_at: float | None = float(stored) if stored is not None else None
        self._not_before = clock.monotonic()
        self.trouble = ""

    def keep(self) -> None:
        """Do what is due. Raises DiskError when the journal's disk is full."""
        if self._copying is not None:
            if not self._copying.is_alive():
                copying, self._copying = self._copying, None
                self._take(copying)
        elif self._is_due():
            self._daily()
            self._copying = _Copying(self._path, self._journal.files, self._clock.now())
            self._copying.start()

    def close(self) -> None:
        """Wait a while for a backup that is being made; what is not done then is done another day."""
        if self._copying is not None:
            self._copying.join(END_SECONDS)

    def _is_due(self) -> bool:
        """Return whether a day has passed; a clock that was turned back makes it due as well."""
        if self._clock.monotonic() < self._not_before:
            return False
        since, wait_seconds = self._made_at, DAY_SECONDS
        if since is None:
            since, wait_seconds = self._journal.begun_at(), FIRST_SECONDS
        return since is not None and not 0.0 <= self._clock.now() - since < wait_seconds

    def _take(self, copying: _Copying) -> None:
        if copying.error is None:
            self._made_at = copying.at
            self._journal.set_meta(BACKED_UP_AT, copying.at)
            if self.trouble:
                self._job_store.report("resumed", "It is made again.", self._clock.now(), subject="backup")
            self.trouble = ""
            return
        soon = isinstance(copying.error, JournalBusyError | JournalGoneError)
        self._not_before = self._clock.monotonic() + (SOON_SECONDS if soon else AGAIN_SECONDS)
        if not self.trouble:
            error = copying.error
            self._job_store.report("paused", error.message, self._clock.now(), subject="backup", code=error.code)
        self.trouble = copying.error.message


class _Copying(threading.Thread):
    """Makes one backup."""

    def __init__(self, journal: Path, files: Files, now: float) -> None:
        super().__init__(name="backup", daemon=True)
        self._journal = journal
        self._files = files
        self.at = now
        self.error: RodinWatchdError | None = None

    def run(self) -> None:
        try:
            make_backup(self._journal, self.at, self._files)
        except RodinWatchdError as error:
            self.error = error


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
