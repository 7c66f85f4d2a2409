"""The book: the live jobs in memory, always equal to the journal; the main thread's alone."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rodin_watchd.adapters.journal import NO_META, Affordable, Journal
from rodin_watchd.core.announcing import SILENT, Announcer
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.proof import Settled
from rodin_watchd.core.refusals import MOST_FOR_A_SET
from rodin_watchd.core.schedule import kind_of, vendor_seconds
from rodin_watchd.core.twins import bought_before, refused_before
from rodin_watchd.errors import CommandRefusedError, DiskError, DuplicateSetError
from rodin_watchd.log_lines import NOBODY, fields
from rodin_watchd.model import Job, OptionValue, ServiceEvent, State, Transition

log = logging.getLogger("rodin_watchd")

_BAD_NEWS = frozenset(
    {
        *("paused", "offline", "alarm", "set-aside", "files-gone"),
        *("low-balance", "inquiry", "crowd", "plugin-aside", "plugin-left-out"),
    }
)
"""Actions that are logged as warnings, whatever the state of the job."""

_NEWEST_EVENTS = 1000
"""So far back a start looks for what the run before had paused."""

_MOST_UNTOLD = 1000
"""So many service events wait for room on the journal's disk, the newest."""

MOST_HISTORY = 50
"""So many of the newest tasks of a kind are the forecast for the next one."""

MOST_RECENT = 20
"""So many ended jobs are remembered for the status page."""


class Book:
    """Live jobs by id, read from the journal once and written through it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.announcer: Announcer = SILENT  # what plugins are told of each move and each event of the service
        live = [state for state in State if state not in ENDED]
        self._jobs = {job.id: job for job in journal.jobs(live)}
        self.recent: tuple[Job, ...] = tuple(journal.jobs(ENDED, limit=MOST_RECENT))  # newest first
        self._histories: dict[str, list[float]] = {}
        self._untold: deque[ServiceEvent] = deque(maxlen=_MOST_UNTOLD)

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that have not ended."""
        return self._jobs

    def commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        settled: Sequence[Settled] = (),
    ) -> None:
        """Make these moves, and `meta`, durable in one transaction, each move with its event, then known.

        `settled` says what refused purchases were after all. Raises DiskError, JournalError.
        """
        if transitions or meta or settled:
            self.journal.commit(transitions, now, meta, self.announcer, settled)
            self._take_in(transitions)

    def commit_affordable(
        self, intents: Sequence[Transition], now: float, purchase: int, affordable: Affordable
    ) -> Sequence[Transition]:
        """Make those intents durable that the budget allows, decided in the same transaction; return them. Raises as `commit`."""
        chosen = self.journal.commit_affordable(intents, now, purchase, affordable) if intents else ()
        self._take_in(chosen)
        return chosen

    def _take_in(self, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            self._know(transition.job)
            _tell(transition)

    def note(self, job: Job) -> None:
        """Change a waiting time or a word of the vendor, which need not survive a restart."""
        self._jobs[job.id] = job

    def start(self, now: float, what: str = "The service was started") -> None:
        """Tell of a start that ends what the run before had paused: this run looks at all of it anew."""
        ended: set[str] = set()
        for event in self.journal.service_events(_NEWEST_EVENTS):  # newest first
            subject = event.message.partition(":")[0]
            if event.kind == "started":
                return
            if event.kind == "paused" and subject not in ended:
                self.tell("started", f"{what}; what was paused is looked at anew.", now)
                return
            if event.kind == "resumed":
                ended.add(subject)

    def tell(self, kind: str, message: str, now: float, about: Mapping[str, str] = NOBODY) -> None:
        """Log, and journal as a service event; while the journal's disk is full it waits, and a restart loses it.

        `about` are the fields of the job that it is about, if it is about one.
        """
        log.log(_level(kind), "%s: %s", kind, message, extra={"action": kind, **about})
        self._note_event(ServiceEvent(now, kind, message))

    def tell_of(self, job: Job, kind: str, message: str, now: float) -> None:
        """Tell what concerns a job and the service as well: one line, an event of each history. Raises as `commit`."""
        self.commit([Transition(job, kind, message)], now)
        self._note_event(ServiceEvent(now, kind, message))

    def _note_event(self, event: ServiceEvent) -> None:
        self._untold.append(event)
        with contextlib.suppress(DiskError):
            while self._untold:
                event = self._untold[0]
                self.journal.note_service_event(event.kind, event.message, event.at, self.announcer)
                self._untold.popleft()

    def _know(self, job: Job) -> None:
        history = self._histories.get(kind_of(job.options))
        if history is not None and job.state is State.GENERATED and (seconds := vendor_seconds(job)) is not None:
            self._histories[kind_of(job.options)] = [seconds, *history][:MOST_HISTORY]
        if job.state in ENDED:
            self._jobs.pop(job.id, None)
            self.recent = (job, *(other for other in self.recent if other.id != job.id))[:MOST_RECENT]
        else:
            self._jobs[job.id] = job
            self.recent = tuple(other for other in self.recent if other.id != job.id)

    def history(self, options: Mapping[str, OptionValue]) -> list[float]:
        """Return how long tasks of this kind took, in seconds."""
        kind = kind_of(options)
        if kind not in self._histories:
            self._histories[kind] = self.journal.durations(kind, MOST_HISTORY)
        return self._histories[kind]

    def duplicate(self, job: Job) -> DuplicateSetError | None:
        """Return why a staged job would pay for something twice, if it would."""
        if (live := self._same_live(job)) is not None:
            return live
        if job.again or job.task:
            return None
        same = self.journal.same_content(job.fingerprint, besides=job.id)
        return self.refused_before(job.fingerprint) if same is None else bought_before(same)

    def refused_before(self, fingerprint: str) -> DuplicateSetError | None:
        """Return why a content is not sent again that the vendor has refused too often, if it has."""
        refusals = self.journal.refused_of(fingerprint) if fingerprint else ()
        newest = self.journal.job(refusals[-1].job_id) if len(refusals) >= MOST_FOR_A_SET else None
        return None if newest is None else refused_before(newest, len(refusals))

    def _same_live(self, job: Job) -> DuplicateSetError | None:
        for other in self._jobs.values():
            if job.fingerprint and other.fingerprint == job.fingerprint and other.id != job.id:
                return bought_before(other, again=job.again)
        return None

    def owner_of_task(self, job: Job) -> Job | None:
        """Return another job that has the same task of the vendor."""
        owner = self.journal.with_task(job.task.uuid) if job.task else None
        return None if owner is None or owner.id == job.id else owner

    def refuse_clash(self, job: Job) -> None:
        """Raise CommandRefusedError if a job as a person wants it has the task of another one."""
        if other := self.owner_of_task(job):
            raise CommandRefusedError(f"That task belongs to job {other.id}.")


def _tell(transition: Transition) -> None:
    """Log one line for one state change."""
    job, action = transition.job, transition.action
    level = logging.WARNING if job.state in (State.HELD, State.FAILING) else _level(action)
    text = f": {' / '.join(transition.message.splitlines())}" if transition.message else ""
    about = fields(job)
    log.log(level, "%s %s (job %s)%s", action, about["set"], job.id, text, extra={"action": action, **about})


def _level(action: str) -> int:
    return logging.WARNING if action in _BAD_NEWS else logging.INFO
