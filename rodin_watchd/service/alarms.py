"""Rings once for each result that the vendor will not keep much longer. The main thread's alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from rodin_watchd.core.alarms import ALARM, alarm
from rodin_watchd.core.retention import is_alarming
from rodin_watchd.model import Job
from rodin_watchd.service.book import Book


class Alarms:
    """Writes one event into the job's history and one into the service's own; a restart does not ring again."""

    def __init__(self, book: Book, zone: tzinfo, now: Callable[[], float]) -> None:
        self._book = book
        self._zone = zone
        self._now = now
        self._rung: set[str] = set()

    def ring(self) -> None:
        """Ring for those that have become pressing. Raises DiskError when the journal's disk is full."""
        now = self._now()
        for job in [job for job in self._book.jobs.values() if is_alarming(job, now)]:
            if job.id not in self._rung and not self._rang_before(job):
                self._book.tell_of(job, ALARM, alarm(job, self._zone), now)
            self._rung.add(job.id)

    def _rang_before(self, job: Job) -> bool:
        since = job.task.submitted_at if job.task else 0.0
        return any(event.action == ALARM and event.at >= since for event in self._book.journal.events(job.id))
