"""The snapshot: one frozen value, made at the end of a tick, from which everything is made that the service shows of itself.

STATUS.txt, the page in the journal, the heartbeat, the metrics and the service manager's status line say the same, because
they are made from the same value. Commands that only read load this module: it imports nothing that acts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from rodin_watchd.adapters.heartbeat import leave_heartbeat
from rodin_watchd.core.batches import awaited
from rodin_watchd.core.health import INCOMPLETE, READY, SETTLING, SILENT, UNMOVABLE, Health, Meter, Standstill
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import MOST_LISTED, Line, Page, ended_line, sorted_jobs
from rodin_watchd.core.stillness import (
    Reason,
    Stillness,
    away_word,
    headline,
    is_stopped,
    observed,
    overdue,
    stopped_by,
)
from rodin_watchd.core.wording import local, set_name
from rodin_watchd.errors import DiskError, Lane
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job, State

if TYPE_CHECKING:
    from datetime import tzinfo

    from rodin_watchd.core.claims import Turn
    from rodin_watchd.core.sets import ReadySet, View, WaitingSet


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in the inbox, as shown: made once for each look or claim, for there may be 100,000 sets."""

    lines: tuple[Line, ...] = ()  # MOST_LISTED of them at most
    done: tuple[Line, ...] = ()  # of what was copied, and cannot be removed; as many at most
    more: int = 0  # how many wait besides those of `lines`
    more_done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)  # sets, by what they wait for
    oldest: Mapping[str, float] = field(default_factory=dict)  # monotonic: since when the first of each has waited
    unmovable: Mapping[str, str] = field(
        default_factory=dict
    )  # set's name -> what came of the copy of a set that may not be moved
    settling: AbstractSet[str] = frozenset()  # the names of the sets that wait for time alone
    ignored: tuple[tuple[str, int], ...] = ()  # reason and how many files, sorted


def waiting_in(
    view: View, turns: tuple[tuple[ReadySet, Turn], ...], offset: float, bill: Callable[[ReadySet], str]
) -> Waiting:
    """Return what waits after a look; `turns` are complete sets that are not claimed yet, `offset` makes monotonic time UTC.

    `bill` says of such a set what its jobs come to, "" where it is one job.
    """
    done = [one for one in view.waiting if one.unmovable]
    lacks = (_waiting_line(one, offset) for one in view.waiting if not one.unmovable)
    lines = tuple(islice(chain(lacks, (_turn_line(ready, turn, bill(ready)) for ready, turn in turns)), MOST_LISTED))
    done_lines = tuple(_waiting_line(one, offset) for one in done[:MOST_LISTED])
    since: dict[str, list[float]] = {SETTLING: [], INCOMPLETE: [], UNMOVABLE: []}
    for one in view.waiting:
        since[_waits_for(one)].append(one.since)
    since[READY] = [ready.settled_since for ready, _ in turns]
    return Waiting(
        lines,
        done_lines,
        len(view.waiting) - len(done) + len(turns) - len(lines),
        len(done) - len(done_lines),
        {what: len(times) for what, times in since.items()},
        {what: min(times) for what, times in since.items() if times},
        {_name(one): one.reason for one in done},
        frozenset(_name(one) for one in view.waiting if one.settling),
        tuple(sorted(Counter(view.ignored.values()).items())),
    )


def _waits_for(waiting: WaitingSet) -> str:
    if waiting.settling:
        return SETTLING
    return UNMOVABLE if waiting.unmovable else INCOMPLETE


def _name(found: ReadySet | WaitingSet) -> str:
    return set_name(found.candidate.folder, found.candidate.name)


def _waiting_line(waiting: WaitingSet, offset: float) -> Line:
    is_dated = not (waiting.settling or waiting.unmovable)
    return Line(_name(waiting), waiting.reason, since_at=round(waiting.since + offset) if is_dated else None)


def _turn_line(ready: ReadySet, reason: str, bill: str) -> Line:
    told = f"{reason}; {bill}" if bill else reason
    return Line(_name(ready), told)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the service stands; nothing in it changes."""

    at: float  # UTC
    monotonic: float
    jobs: tuple[Job, ...]  # that have not ended
    recent: tuple[Job, ...]  # that have, the newest first
    busy: AbstractSet[str]  # the ids of those whose step is under way
    waiting: Waiting  # in the inbox
    reasons: tuple[Reason, ...]  # what stands still and why, and what else people must know; as the page lists them
    failed: tuple[Job, ...] = ()  # whose folders are in failed/, the newest first
    older_failed: bool = False  # whether there may be more of them than these
    standstill: str = ""  # why nothing at all moves, for people
    lost_submits: int = 0  # that are missing in the journal
    has_ended: bool = False  # the service stopped after this

    @property
    def paused(self) -> tuple[str, ...]:
        """What stands still, of `STANDSTILLS`, in their order."""
        return stopped_by(self.reasons)

    @property
    def lanes(self) -> AbstractSet[Lane]:
        """The lanes that stand still."""
        return set(Lane).intersection(self.paused)

    @property
    def away(self) -> AbstractSet[Mount]:
        """The folders that are not there."""
        paused = self.paused
        return {mount for mount in Mount if away_word(mount) in paused}

    @property
    def headline(self) -> str:
        """How the service is, in a line."""
        codes = [reason.code for reason in self.reasons if reason.what]
        return headline(self.jobs, waiting=len(self.waiting.lines) + self.waiting.more, codes=codes)

    def page(self, zone: tzinfo) -> Page:
        """Return what STATUS.txt says.

        What may end by itself may end while nobody is there to take the notice away: after the end it says of when it is.
        """
        as_of = f"When the service stopped ({local(self.at, zone)}): " if self.has_ended else ""
        notices = [f"{as_of if one.passes else ''}{one.notice}" for one in self.reasons if one.notice]
        words = [(one, one.notice if one.plain is None else one.plain) for one in self.reasons]
        running, held = sorted_jobs(self.jobs)
        listed = {job.id for job in self.failed}
        return Page(
            tuple(notices),
            self.waiting.lines,
            running,
            held,
            tuple(ended_line(job) for job in self.recent if job.id not in listed),
            self.waiting.ignored,
            done=self.waiting.done,
            plain_notices=tuple(f"{as_of if one.passes else ''}{text}" for one, text in words if text),
            failed=tuple(map(ended_line, self.failed)),
            older_failed=self.older_failed,
            stopped_at=self.at if self.has_ended else None,
            more_waiting=self.waiting.more,
            more_done=self.waiting.more_done,
        )


# ---- The monitor: once a second it leaves a sign of life, with how the service is. The main thread's alone ----------


log = logging.getLogger("rodin_watchd")

_TO_MOVE = "Give the service's user write permission in that folder, and sets are moved instead of copied."

_LONGEST_REASON = 300
"""How many characters of why nothing moves are in the sign of life, which has one length."""


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
        """Log which sets stay in the inbox for a right that the service lacks, and when that is over, each once."""
        found = waiting.unmovable
        unsure = self._unmovable & waiting.settling  # looked at again, after a reload say
        for name in sorted(found.keys() - self._unmovable):
            message = f"{found[name]} {_TO_MOVE}"
            log.warning("unmovable %s: %s", name, message, extra={"action": "unmovable", "set": name})
        for name in sorted(self._unmovable - found.keys() - unsure):
            message = "it can be moved now, or is gone, or was changed"
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
    waits = awaited(snapshot.jobs)  # the others of its set move, or stand still themselves

    def stopped(job: Job) -> bool:
        stops = not paused.isdisjoint(_ALL_STOPS) or job.id in waits
        return stops or is_stopped(job, lanes, away, submits=submits)

    return stopped
