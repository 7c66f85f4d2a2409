"""The monitor: once a second it leaves a sign of life, with how it stands. The main thread's alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rodin_watchd.adapters.heartbeat import leave_heartbeat
from rodin_watchd.core.health import (
    INCOMPLETE,
    READY,
    SETTLING,
    UNMOVABLE,
    Health,
    Standstill,
    Stillness,
    away_word,
    is_stopped,
    observed,
    overdue,
)
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.names import printable
from rodin_watchd.core.pauses import Pauses
from rodin_watchd.core.wording import set_name
from rodin_watchd.errors import DiskError, JournalGoneError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job, State
from rodin_watchd.problem import Problem
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.meter import SILENT, Meter

if TYPE_CHECKING:  # commands that only look load this module, and must not load what reads images
    from rodin_watchd.core.claims import Claims
    from rodin_watchd.core.sets import View, WaitingSet

log = logging.getLogger("rodin_watchd")

SIGN_SECONDS = 1.0
"""So often a sign of life is left."""

_LONGEST_REASON = 300
"""So many characters of why nothing moves are in the sign of life, which has one length."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the daemon sees at the end of a tick."""

    jobs: Mapping[str, Job]
    busy: AbstractSet[str]
    view: View
    claims: Claims
    pauses: Pauses
    away: AbstractSet[Mount]
    by_request: bool
    copied: bool
    journal_problem: Problem | None
    lost_submits: int  # that are missing in the journal
    inbox_stands: bool
    stops: bool
    over_budget: bool
    unapproved: bool
    page_is_stale: bool

    @property
    def journal_stands(self) -> bool:
        """Whether nothing at all moves."""
        return self.journal_problem is not None

    @property
    def whole(self) -> AbstractSet[Standstill]:
        """What stands still as a whole."""
        found = {
            Standstill.BY_REQUEST: self.by_request,
            Standstill.COPIED: self.copied,
            Standstill.JOURNAL: self.journal_stands,
            Standstill.JOURNAL_GONE: self.journal_problem is not None
            and self.journal_problem.code == JournalGoneError.code,
            Standstill.INBOX: self.inbox_stands,
            Standstill.STOPPING: self.stops,
            Standstill.BUDGET: self.over_budget,
            Standstill.APPROVAL: self.unapproved,
            Standstill.PAGE: self.page_is_stale,
        }
        return frozenset(word for word, stands in found.items() if stands)


class Monitor:
    """Looks at the scene; a daemon that takes another one's place goes on with it."""

    def __init__(self, heartbeat: Path, clock: Clock, meter: Meter = SILENT) -> None:
        self.meter = meter
        self._heartbeat = heartbeat
        self._clock = clock
        self._stillness: Stillness | None = None
        self._left_at = -math.inf
        self._stands_since = 0.0  # UTC
        self._trouble = Trouble("sign")
        self._unmovable: AbstractSet[str] = frozenset()

    def tick(self, look: Callable[[], Snapshot]) -> None:
        """Leave a sign of life, if a second has passed; never raises OSError."""
        monotonic = self._clock.monotonic()
        if monotonic - self._left_at < SIGN_SECONDS:
            return
        self._left_at = monotonic
        scene = look()
        if not (scene.journal_stands or scene.inbox_stands or scene.stops):  # else the view is an old one, or none
            self._log_unmovable(scene.view.waiting)
        health = self._health(scene, monotonic)
        self.meter.tick(health)
        self._leave(health)

    def _log_unmovable(self, waiting: Sequence[WaitingSet]) -> None:
        """Log which sets wait for a right that the service lacks, and when that is over, each once."""
        found = {_name(w): w.reason for w in waiting if w.unmovable}
        unsure = self._unmovable & {_name(w) for w in waiting if w.settling}  # looked at anew, after a reload say
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

    def _health(self, scene: Snapshot, monotonic: float) -> Health:
        self._stillness = observed(self._stillness, scene.jobs.values(), _stopped_in(scene), monotonic)
        held = sum(job.state is State.HELD for job in scene.jobs.values())
        since = _inbox(scene)
        return Health(
            self._clock.now(),
            monotonic,
            len(scene.jobs) - held,
            held,
            {word: len(all_since) for word, all_since in since.items()},
            {word: max(monotonic - min(all_since, default=monotonic), 0.0) for word, all_since in since.items()},
            *overdue(self._stillness, scene.jobs.values(), scene.busy, monotonic),
            tuple(_paused(scene)),
            scene.lost_submits,
            *self._standstill(scene),
        )

    def _standstill(self, scene: Snapshot) -> tuple[str, float]:
        """Return why nothing moves at all, and since when (UTC); ("", 0.0) where something does."""
        problem = scene.journal_problem
        message = printable(f"{problem.message} {problem.advice}", _LONGEST_REASON) if problem else ""
        if bool(message) != bool(self._stands_since):
            self._stands_since = self._clock.now() if message else 0.0
        return message, self._stands_since


def _stopped_in(scene: Snapshot) -> Callable[[Job], bool]:
    def stopped(job: Job) -> bool:
        return (
            scene.journal_stands
            or scene.stops
            or is_stopped(job, scene.pauses.keys(), scene.away, submits=not (scene.by_request or scene.copied))
        )

    return stopped


def _inbox(scene: Snapshot) -> Mapping[str, list[float]]:
    """Return since when (monotonic) sets have waited in the inbox, by what they wait for."""
    return {
        SETTLING: [waiting.since for waiting in scene.view.waiting if waiting.settling],
        INCOMPLETE: [w.since for w in scene.view.waiting if not (w.settling or w.unmovable)],
        UNMOVABLE: [waiting.since for waiting in scene.view.waiting if waiting.unmovable],
        READY: [ready.settled_since for ready, _turn in scene.claims.waiting],
    }


def _name(waiting: WaitingSet) -> str:
    return set_name(waiting.candidate.folder, waiting.candidate.name)


def _paused(scene: Snapshot) -> Iterable[str]:
    yield from sorted(scene.whole, key=list(Standstill).index)
    yield from map(away_word, sorted(scene.away))
    yield from sorted(scene.pauses)
