"""The monitor: once a second it leaves a sign of life, with how it stands. The main thread's alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from rodin_watchd.adapters.heartbeat import leave_heartbeat
from rodin_watchd.core.health import Health, Standstill, Stillness, is_stopped, observed, overdue
from rodin_watchd.core.names import printable
from rodin_watchd.errors import DiskError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job, State
from rodin_watchd.service.metrics import SILENT, Meter
from rodin_watchd.service.snapshot import Snapshot, Waiting

log = logging.getLogger("rodin_watchd")

_LONGEST_REASON = 300
"""So many characters of why nothing moves are in the sign of life, which has one length."""


_ALL_STOPS = frozenset({Standstill.JOURNAL, Standstill.STOPPING})
"""Then nothing moves at all."""

STANDING_VIEW = _ALL_STOPS | {Standstill.INBOX}
"""Then what was seen in the inbox is old."""


class Monitor:
    """Leaves a sign of life and feeds the metrics, by the snapshots of the ticks; a daemon that takes another one's place goes on with it."""

    def __init__(self, heartbeat: Path, meter: Meter = SILENT) -> None:
        self.meter = meter
        self._heartbeat = heartbeat
        self._stillness: Stillness | None = None
        self._stands_since = 0.0  # UTC
        self._trouble = Trouble("sign")
        self._unmovable: AbstractSet[str] = frozenset()

    def tick(self, snapshot: Snapshot) -> None:
        """Leave a sign of life, and give the metrics what changed; never raises OSError."""
        if not STANDING_VIEW.intersection(snapshot.paused):  # else the view is an old one, or none
            self._log_unmovable(snapshot.waiting)
        health = self._health(snapshot)
        self.meter.tick(health)
        self._leave(health)

    def _log_unmovable(self, waiting: Waiting) -> None:
        """Log which sets wait for a right that the service lacks, and when that is over, each once."""
        found = waiting.unmovable
        unsure = self._unmovable & waiting.settling  # looked at anew, after a reload say
        for name in sorted(found.keys() - self._unmovable):
            log.warning("unmovable %s: %s", name, found[name], extra={"action": "unmovable", "set": name})
        for name in sorted(self._unmovable - found.keys() - unsure):
            message = "it can be moved now, or is gone"
            log.info("unmovable-ended %s: %s", name, message, extra={"action": "unmovable-ended", "set": name})
        self._unmovable = found.keys() | unsure

    def _leave(self, health: Health) -> None:
        try:
            leave_heartbeat(self._heartbeat, health)
        except (DiskError, OSError) as error:
            self._trouble.begins(f"the heartbeat cannot be written to {self._heartbeat}: {why(error)}")
        else:
            self._trouble.ends(f"the heartbeat is written to {self._heartbeat} again.")

    def _health(self, snapshot: Snapshot) -> Health:
        jobs, monotonic = snapshot.jobs, snapshot.monotonic
        self._stillness = observed(self._stillness, jobs, _stopped_in(snapshot), monotonic)
        held = sum(job.state is State.HELD for job in jobs)
        waiting = snapshot.waiting
        return Health(
            snapshot.at,
            monotonic,
            len(jobs) - held,
            held,
            waiting.counts,
            {what: max(monotonic - waiting.oldest.get(what, monotonic), 0.0) for what in waiting.counts},
            *overdue(self._stillness, jobs, snapshot.busy, monotonic),
            snapshot.paused,
            snapshot.lost_submits,
            *self._standstill(snapshot),
        )

    def _standstill(self, snapshot: Snapshot) -> tuple[str, float]:
        """Return why nothing moves at all, and since when (UTC); ("", 0.0) where something does."""
        told = printable(snapshot.standstill, _LONGEST_REASON)
        if bool(told) != bool(self._stands_since):
            self._stands_since = snapshot.at if told else 0.0
        return told, self._stands_since


def _stopped_in(snapshot: Snapshot) -> Callable[[Job], bool]:
    paused, lanes, away = frozenset(snapshot.paused), snapshot.lanes, snapshot.away
    submits = paused.isdisjoint({Standstill.BY_REQUEST, Standstill.COPIED})

    def stopped(job: Job) -> bool:
        return not paused.isdisjoint(_ALL_STOPS) or is_stopped(job, lanes, away, submits=submits)

    return stopped
