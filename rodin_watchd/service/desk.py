"""The desk: gives due steps to the pool, and decides and commits what comes of them. The main thread's alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from rodin_watchd.config import Config
from rodin_watchd.core import machine
from rodin_watchd.core.pauses import Limits, Pauses, due_jobs, ended, renewed
from rodin_watchd.core.schedule import RateBudget, poll_delay_seconds
from rodin_watchd.errors import Scope
from rodin_watchd.model import Answered, Done, Job, NotYet, Outcome, Rejected, Retry, State, Transition, Unknown
from rodin_watchd.service.book import Book
from rodin_watchd.service.pool import Closing, Finished, Pool, StoppingError

log = logging.getLogger("rodin_watchd")

_CALLING = frozenset({State.STAGED, State.UPLOADING, State.SUBMITTED, State.GENERATED})
_BURST_CALLS = 10


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from."""

    now: Callable[[], float]  # UTC epoch seconds; may jump
    monotonic: Callable[[], float]  # seconds; never goes back
    chance: Callable[[], float]  # in [0, 1)


class Desk:
    """Moves jobs: the only place where an outcome becomes a state."""

    def __init__(self, config: Config, book: Book, pool: Pool, clock: Clock) -> None:
        self._limits = config.polling
        self._places = config.api.max_in_flight
        self._book = book
        self._pool = pool
        self._clock = clock
        self._budget = RateBudget(config.api.requests_per_minute, burst=max(_BURST_CALLS, self._places))
        self.pauses: Pauses = {}
        self.failed = 0  # jobs that failed or were held since the start

    def settle_open_submits(self) -> None:
        """At start-up: understand the answer that was committed, or hold the job. All other states simply go on."""
        now = self._clock.now()
        for job in list(self._book.jobs.values()):
            if job.state is State.SUBMITTING or (job.state is State.UPLOADING and job.answer):
                self._decide(job, machine.understood(job, now), now)

    # ---- what the workers did ---------------------------------------------------------------------------------------

    def take_messages(self, *, stopping: bool) -> None:
        """Decide about and commit what the workers did since the last call."""
        now = self._clock.now()
        for message in self._pool.take():
            match message:
                case Closing():
                    self._answer(message, now, stopping=stopping)
                case Finished():
                    self._finish(self._book.jobs[message.job_id], message.outcome, now)

    def _answer(self, request: Closing, now: float, *, stopping: bool) -> None:
        """Commit `submitting`, then let the last bytes go; or refuse, and the upload is dropped."""
        if stopping:
            request.reply.set_exception(StoppingError())
            return
        try:
            self._book.commit([machine.close_upload(self._book.jobs[request.job_id], now)], now)
        except BaseException:
            request.reply.set_exception(StoppingError())  # not durable: not one byte more
            raise
        request.reply.set_result(None)

    def _finish(self, job: Job, outcome: Outcome | Answered, now: float) -> None:
        """Make a raw answer durable before it is understood, and refuse to pay for the same content twice."""
        if isinstance(outcome, Answered):
            self._book.commit([machine.answered(job, outcome.answer)], now)
            job = self._book.jobs[job.id]
            outcome = machine.understood(job, now)
        if isinstance(outcome, Done) and job.state is State.CLAIMED and (twice := self._book.duplicate(outcome.job)):
            outcome = Rejected(twice.problem)
        self._decide(job, outcome, now)

    def _decide(self, job: Job, outcome: Outcome, now: float) -> None:
        self._mind_pauses(job, outcome, now)
        transition = machine.after(job, outcome, now, self._clock.chance(), self._poll_seconds(job, now))
        if _must_survive(job, transition, outcome):
            self._book.commit([transition], now)
        else:
            self._book.note(transition.job)
        self.failed += transition.job.state in (State.FAILED, State.HELD)

    def _mind_pauses(self, job: Job, outcome: Outcome, now: float) -> None:
        """Pause what a service error stops; end the pauses of what works again. Each is told once."""
        before = self.pauses
        if isinstance(outcome, Retry | Unknown) and outcome.problem.scope is Scope.SERVICE:
            self.pauses = renewed(before, outcome.problem, now, self._clock.chance())
        elif isinstance(outcome, Done | NotYet):
            self.pauses = ended(before, machine.POLICIES[job.state].step)
        for lane in self.pauses.keys() - before.keys():
            log.warning("paused %s: %s", lane, self.pauses[lane].problem.message, extra={"action": "paused"})
        for lane in before.keys() - self.pauses.keys():
            log.info("resumed %s", lane, extra={"action": "resumed"})

    def _poll_seconds(self, job: Job, now: float) -> float:
        """Return how long to wait before the vendor is asked about a job, by what is known of its kind."""
        if job.state not in (State.SUBMITTING, State.SUBMITTED):
            return 0.0
        return poll_delay_seconds(
            self._book.history(job.options),
            max(now - job.task.submitted_at, 0.0) if job.task else 0.0,
            shortest=self._limits.min_seconds,
            longest=self._limits.max_seconds,
            chance=self._clock.chance(),
        )

    # ---- what is due ------------------------------------------------------------------------------------------------

    def hand_out(self, *, submits: bool) -> None:
        """Give due steps to the pool; an upload's intent is committed first. `submits`: whether money may be spent."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        limits = Limits(self._places, self._budget.available(monotonic), self._pool.free, submits=submits)
        due = due_jobs(self._book.jobs.values(), self._pool.busy, self.pauses, limits, now)
        intents = [machine.begin_upload(j, now) for j in due if j.state in (State.STAGED, State.UPLOADING)]
        self._book.commit(intents, now)
        for job in due:
            if job.state in _CALLING:
                self._budget = self._budget.spend(monotonic)
            self._pool.hand_out(self._book.jobs[job.id])

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds something may become due; what is overdue waits for something else."""
        now = self._clock.now()
        live = (job for job in self._book.jobs.values() if job.state not in machine.RESTING)
        due = [job.not_before - now for job in live]
        due += [pause.until_at - now for pause in self.pauses.values()]
        due.append(self._budget.wait_seconds(self._clock.monotonic()))
        return [seconds for seconds in due if seconds > 0]


def _must_survive(job: Job, transition: Transition, outcome: Outcome) -> bool:
    """Tell whether a move has anything in it that must survive a restart; a mere waiting time need not."""
    if transition.job.state is not job.state:
        return True
    if isinstance(outcome, NotYet):
        return transition.job.progress != job.progress
    return not (isinstance(outcome, Retry) and outcome.problem.scope is Scope.SERVICE)
