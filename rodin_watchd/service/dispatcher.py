"""The dispatcher: gives due steps to the pool, and decides and commits what comes of them. The main thread's alone."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Self

from rodin_watchd.adapters.spool.submit_count import SubmitCount
from rodin_watchd.config import Config
from rodin_watchd.core import machine
from rodin_watchd.core.balance import held_unsure, of_task
from rodin_watchd.core.batches import all_bought, awaited
from rodin_watchd.core.budget import UNLIMITED, is_over_budget
from rodin_watchd.core.dedup import content_of, twin_of
from rodin_watchd.core.kinds import article_of, kind_of
from rodin_watchd.core.machine import SUBMITS
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.names import printable
from rodin_watchd.core.notifications import Notice
from rodin_watchd.core.pauses import (
    LANES,
    PAUSES,
    SAID_TO_ACCOUNT,
    TASK_LIMIT,
    BackoffLimits,
    Pauses,
    Suspects,
    TaskLimit,
    after_balance,
    after_no_balance,
    after_unknown,
    due_jobs,
    ended,
    left_to_others,
    limit_passed,
    limit_refused,
    of_submits,
    renewed,
    stored_pauses,
    with_others,
    without_idle,
)
from rodin_watchd.core.proof import Settled
from rodin_watchd.core.schedule import poll_delay_seconds
from rodin_watchd.core.stillness import Reason
from rodin_watchd.core.store import NO_META
from rodin_watchd.errors import (
    DiskError,
    DisputedTaskError,
    Fault,
    JournalBehindError,
    Lane,
    NoCreditsError,
    OutcomeUnknownError,
    Problem,
    Scope,
    SubmitCountError,
    TaskLimitError,
    UnknownCodeError,
)
from rodin_watchd.model import Answered, Done, Job, NotYet, Outcome, Rejected, Retry, State, Step, Transition, Unknown
from rodin_watchd.service.balance import NOTHING_BEGUN, AccountBalance, Proving
from rodin_watchd.service.budget import Budget, CallBudget
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.plugins import PluginNews, Ran
from rodin_watchd.service.pool import BALANCE, BalanceRead, CallRan, Closing, Pool, StepFinished, UploadDroppedError

log = logging.getLogger("rodin_watchd")

MOST_DECIDED: Final = 16
"""So many outcomes are decided in a tick: uploads that are about to send their last bytes, and people's commands, wait for no more."""


@dataclass(frozen=True, slots=True)
class Payments:
    """What bounds submits and calls: the budgets, the account's credits, and the count that shows an older journal."""

    budget: Budget
    calls: CallBudget
    account: AccountBalance
    submits: SubmitCount
    pauses: Pauses  # as the store has them
    task_limit: TaskLimit | None  # as the store has it


@dataclass(frozen=True, slots=True)
class Progress:
    """What a dispatcher hands to the one that takes its place after a reload. Pauses and budgets are in the store."""

    account: str = ""  # whose account it is about
    found: Pauses | None = None  # the pauses of the run before, as this run found them; None: this one begins it
    proving: Proving = NOTHING_BEGUN
    undecided: deque[StepFinished | BalanceRead | Ran | CallRan | PluginNews] = field(default_factory=deque)
    suspects: Suspects = field(default_factory=Suspects)
    failed: int = 0  # jobs that failed since the start

    def of_account(self, name: str) -> Self:
        """Return what of it holds when the credits of this account are spent from now on."""
        if name == self.account:
            return self
        return replace(self, account=name, proving=NOTHING_BEGUN)


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a step."""

    outcome: Outcome
    job: Job  # as it was committed


class Dispatcher:
    """Moves jobs: the only place where an outcome becomes a state.

    `progress` is that of the dispatcher before a reload. Every method may raise DiskError when the journal's disk is full: then nothing of what it was about is lost, and it
    is to be called again.
    """

    def __init__(
        self, config: Config, job_store: JobStore, pool: Pool, money: Payments, clock: Clock, progress: Progress
    ) -> None:
        self._limits = config.polling
        self._places = config.api.max_in_flight
        self._job_store = job_store
        self._pool = pool
        self._clock = clock
        self._undecided = progress.undecided
        self._suspects = progress.suspects
        self._budget = money.budget
        self._calls = money.calls
        self._submits = money.submits
        self._account = money.account
        self._pauses = money.pauses
        self._task_limit = money.task_limit
        self._of_others: Sequence[Pauses] = ()  # what daemons of other roots have paused, as it was at the last look
        self._found = self._pauses if progress.found is None else progress.found
        self.failed = progress.failed

    @property
    def pauses(self) -> Pauses:
        """What stands still: what this daemon has paused, always as the store has it, and what others have found about the account."""
        if not self._of_others:
            return self._pauses
        return with_others(self._pauses, self._of_others, self._clock.now())

    def look_elsewhere(self) -> None:
        """Learn what daemons of other roots have found out about the account. To be called in each tick. Raises DiskError."""
        self._task_limit = self._job_store.task_limit(self._account.name)
        self._of_others = self._job_store.pauses_elsewhere(self._account.name)

    @property
    def progress(self) -> Progress:
        """What another dispatcher on the same pool goes on with."""
        return Progress(
            self._account.name, self._found, self._account.begun, self._undecided, self._suspects, self.failed
        )

    # ---- what the workers did ---------------------------------------------------------------------------------------

    def take_messages(
        self,
        why_drop: Callable[[Collection[str]], Mapping[str, str]],
        take_call: Callable[[Ran | CallRan | PluginNews], None],
        most: int = MOST_DECIDED,
    ) -> bool:
        """Decide about and commit `most` of what the workers did, in few transactions; return whether the rest can be decided at once.

        `why_drop` takes the ids of jobs whose uploads are about to send their last bytes, and says of those that must not
        why; `take_call` takes what came of plugins' calls.
        """
        messages = self._pool.take()
        self._undecided += [message for message in messages if not isinstance(message, Closing)]
        self._close([message for message in messages if isinstance(message, Closing)], why_drop)
        waiting = 0
        while waiting < len(self._undecided) and most > 0:
            if steps := _decided_together(islice(self._undecided, most)):
                left = self._finish_together(steps)
                most -= len(steps)
                waiting = waiting + len(left) if len(left) == len(steps) else 0
                for _ in steps:
                    self._undecided.popleft()
                self._undecided.extend(left)  # until what came after it is decided, or a later call
                continue
            match self._undecided[0]:
                case StepFinished(job_id, Unknown() as outcome) as finished:
                    self._let_rest(self._decide_alone(self._job_store.jobs[job_id], outcome, self._clock.now()))
                    self._pool.end(finished, outcome)
                case BalanceRead(answer):
                    self._take_balance(answer)
                    self._pool.release(BALANCE)
                case Ran() | CallRan() | PluginNews() as call:
                    take_call(call)
            self._undecided.popleft()
            most -= 1
            waiting = 0
        return waiting < len(self._undecided)

    def _finish_together(self, steps: Sequence[StepFinished]) -> Sequence[StepFinished]:
        """Decide about several steps in one transaction; return those that cannot be decided yet.

        The vendor's answers are made durable before, in one of their own: they find room on a full disk, and no fault in
        what understands them may cost one.
        """
        jobs, now = self._job_store.jobs, self._clock.now()
        answers = [(jobs[step.job_id], step.outcome.answer) for step in steps if isinstance(step.outcome, Answered)]
        moves = [machine.answered(job, new) for job, new in answers if job.answer != new]
        self._commit_outcomes(moves, now, self._pauses)
        finished, left = list[tuple[StepFinished, Decided]](), list[StepFinished]()
        staged = any(jobs[step.job_id].state is State.CLAIMED for step in steps)  # in no other root at the same time
        with self._pauses_together(decides=staged):
            for step in steps:
                if found := self._finish(self._job_store.jobs[step.job_id], step.outcome, now):
                    finished.append((step, found))
                else:
                    left.append(step)
        for step, found in finished:
            self._let_rest(found.job)
            self._pool.end(step, found.outcome)
        return left

    def log_answers(self) -> None:
        """Log which tasks the vendor has answered with that cannot be stored any more: a person can give each to its job."""
        jobs, now = self._job_store.jobs, self._clock.now()
        for message in (*self._undecided, *self._pool.take()):
            if not (isinstance(message, StepFinished) and isinstance(message.outcome, Answered)):
                continue
            outcome = machine.understood(machine.answered(jobs[message.job_id], message.outcome.answer).job, now)
            if isinstance(outcome, Done) and (task := outcome.job.task):
                job_id, uuid = outcome.job.id, printable(task.uuid)
                words = "answer: %s has the task %s, which cannot be stored. If the job is held: `rodin-watchd resolve %s --task %s`."
                log.critical(words, job_id, uuid, job_id, uuid, extra={"action": "answer", "job": job_id})

    @contextlib.contextmanager
    def _pauses_together(self, *, decides: bool) -> Iterator[None]:
        """Make moves, and the pauses that they cause, durable in one transaction; where it fails, nothing of it is known.

        What is paused is reported at its end: a reader of the log may kill the service at once, and the pause has to be durable.
        """
        before, limit = self._pauses, self._task_limit
        try:
            with self._job_store.together(decides=decides):
                yield
        except BaseException:
            self._pauses, self._task_limit = before, limit
            raise
        self._report_pauses(before, self._clock.now())

    def _close(self, requests: Sequence[Closing], why_drop: Callable[[Collection[str]], Mapping[str, str]]) -> None:
        """Let the last bytes of uploads go, when that is in the journal, and counted outside of it: one write of each for all.

        Where the count cannot be kept nothing goes, and `submitting` is taken back. It stays, and is taken for unknown as
        after a crash, where that cannot be committed either, and where the count says that the journal is behind.
        """
        if not requests:
            return
        reasons = why_drop([request.job_id for request in requests])
        for request in requests:
            if reason := reasons.get(request.job_id):
                request.reply.set_exception(UploadDroppedError(reason))
        closing = [request for request in requests if request.job_id not in reasons]
        if not closing or not self._commits_closing(closing):
            return
        try:
            self._submits.keep(self._job_store.submits)
        except DiskError as error:
            try:
                if not isinstance(error, JournalBehindError):
                    self._withhold(closing, error.problem)
            finally:
                _drop(closing, UploadDroppedError(error.message))
        else:
            for request in closing:
                request.reply.set_result(None)

    def _withhold(self, requests: Sequence[Closing], problem: Problem) -> None:
        """Take `submitting` back, before anybody is allowed to act on it, and pause what the problem stops."""
        now, jobs = self._clock.now(), [self._job_store.jobs[request.job_id] for request in requests]
        with contextlib.suppress(DiskError):
            self._job_store.commit([machine.withhold_close(job, now, problem) for job in jobs], now)
        self._pause(problem, now)

    def _pause(self, problem: Problem, now: float) -> None:
        self._set_pauses(renewed(self._pauses, problem, now, self._clock.chance()), now)

    def _commits_closing(self, requests: Sequence[Closing]) -> bool:
        """Commit `submitting` for all and return True; or drop the uploads."""
        now, count = self._clock.now(), self._job_store.submits + len(requests)
        jobs = [self._job_store.jobs[request.job_id] for request in requests]
        try:
            self._job_store.commit([machine.close_upload(job, now) for job in jobs], now, {SUBMITS: count})
        except DiskError as error:
            # Not durable: not one byte more. It is no fault of the folder that the step works in.
            _drop(requests, UploadDroppedError(error.message))
            return False
        except BaseException:
            _drop(requests, UploadDroppedError())
            raise
        return True

    def _finish(self, job: Job, outcome: Outcome | Answered, now: float) -> Decided | None:
        """Understand an answer that is durable, and refuse to pay for the same content twice; decide, and commit.

        Returns what came of it, or None while that cannot be decided yet: then it is to be called again.
        """
        if isinstance(outcome, Answered):
            if (understood := self._understood(job, now)) is None:
                return None
            outcome = understood
        if isinstance(outcome, Done) and job.variants and job.state is State.SUBMITTED:
            outcome = Done(machine.in_own_folder(outcome.job, self._job_store.jobs.values()))
        if (
            isinstance(outcome, Done)
            and job.state is State.CLAIMED
            and (twice := self._job_store.duplicate(outcome.job))
        ):
            if instead := machine.go_ahead_instead(job, twice.problem):
                self._job_store.commit([instead], now)
                return Decided(outcome, instead.job)
            outcome = Rejected(all_bought(job, twice.problem) if job.variants else twice.problem)
        return Decided(outcome, self._decide(job, outcome, now))

    def _understood(self, job: Job, now: float) -> Outcome | None:
        """Understand a committed answer; a task that any job has, or ever had, is no proof of anything.

        Where it may be this job's own, the one that has it is held as well. Returns None while a step of that one is at work.
        """
        outcome = machine.understood(job, now)
        if not isinstance(outcome, Done) or not (other := self._job_store.holder_of_task(outcome.job)):
            return outcome
        other = self._job_store.jobs.get(other.id, other)
        root = self._job_store.place_elsewhere(other)
        which = f"job {other.id} of {printable(root)}" if root else f"job {other.id}"
        message = f"The vendor answered with the task of “{printable(other.title)}” ({which}, {other.state})."
        if self._job_store.had_task_before(other, job):
            return Unknown(OutcomeUnknownError(message).problem)
        if machine.may_be_disputed(other) and not root:  # only its own daemon moves it
            if other.id in self._pool.busy:
                return None
            self._job_store.commit([machine.dispute(other, job, now)], now)
        return Unknown(DisputedTaskError(message).problem)

    def _decide_alone(self, job: Job, outcome: Outcome, now: float) -> Job:
        """Commit what an outcome makes of a job, in transactions of its own; report the pauses, and return the job."""
        before = self._pauses
        decided = self._decide(job, outcome, now)
        self._report_pauses(before, now)
        return decided

    def _decide(self, job: Job, outcome: Outcome, now: float) -> Job:
        """Commit what an outcome makes of a job, and return it."""
        outcome, pauses = self._with_pauses(job, outcome, now)
        transition = machine.after(job, outcome, now, self._clock.chance(), self._poll_seconds(job, now))
        if isinstance(outcome, Unknown):
            self._commit_outcomes([transition], now, pauses)
        elif _must_survive(job, transition, outcome):
            limit = self._with_limit(job, outcome, now)
            meta = {TASK_LIMIT: asdict(limit)} if limit and limit != self._task_limit else NO_META
            self._keep_pauses(pauses, now, [transition, *self._follow(job, outcome, transition.job, now)], meta)
            self._task_limit = limit
        else:
            self._keep_pauses(pauses, now)
            self._job_store.note(transition.job)
        return transition.job

    def _follow(self, before: Job, outcome: Outcome, job: Job, now: float) -> Iterator[Transition]:
        """Yield what belongs into the transaction of a move: the jobs that begin with it, and what it means for others."""
        if isinstance(outcome, Done) and before.variants and not job.variants:
            yield from machine.begin_others(outcome.job, now)
        yield from machine.hand_over(job, now)
        yield from self._job_store.resolved_by(job)

    def _let_rest(self, job: Job) -> None:
        """Forget what is of no use for a job that does not go on by itself, once that is durable."""
        if job.state in machine.RESTING:
            self._suspects.forget(job.id)
            self._pool.forget(job.id)
        self.failed += job.state is State.FAILED

    def _commit_outcomes(self, transitions: Sequence[Transition], now: float, pauses: Pauses) -> None:
        """Commit that submits were answered, or that nobody knows, with the pauses after it.

        Those whose last bytes never left are counted here.

        They may have been charged as well. It is in the journal, whether or not the count outside of that can be kept: where it
        cannot, the submits pause, and the next count that is kept has them.
        """
        before = [self._job_store.jobs[transition.job.id] for transition in transitions]
        early = sum(
            job.state is State.UPLOADING and job.answer is None for job in before
        )  # else its closing was counted
        if not early:
            self._keep_pauses(pauses, now, transitions)
            return
        count = self._job_store.submits + early
        self._keep_pauses(pauses, now, transitions, {SUBMITS: count})
        try:
            self._submits.keep(count)
        except JournalBehindError:
            pass  # no other submit goes, either: its closing finds the same
        except DiskError as error:
            with contextlib.suppress(DiskError):  # the moves are durable: they must not be decided once more
                self._pause(error.problem, now)

    def _with_pauses(self, job: Job, outcome: Outcome, now: float) -> tuple[Outcome, Pauses]:
        """Return the outcome, and the pauses after it: what a service error stops, without what works again.

        An error that this job alone meets comes back as one of the set.
        """
        before, step = self._pauses, machine.step_of(job)
        outcome = of_submits(of_task(outcome, job, self._account.name), step, before)
        if isinstance(outcome, Retry) and outcome.problem.scope is Scope.SERVICE and (lane := outcome.problem.lane):
            if step is Step.SUBMIT and self._concerns_one(job, outcome.problem):
                return outcome if outcome.problem.code == TaskLimitError.code else _alone(outcome), before
            if self._is_own(job, step, lane, outcome.problem):
                return Retry(replace(outcome.problem, scope=Scope.SET)), before
            return outcome, renewed(before, outcome.problem, now, self._clock.chance())
        if isinstance(outcome, Unknown):
            return outcome, after_unknown(before, now, self._clock.chance(), outcome.problem.asked_seconds)
        if isinstance(outcome, Done | NotYet):
            self._suspects.worked(job.id, LANES[step])
            return outcome, ended(before, step, now)
        return outcome, before

    def _concerns_one(self, job: Job, problem: Problem) -> bool:
        """Return whether a refusal of a submit stops no other one: one that a place at the vendor ends, or a code that this set alone met."""
        if problem.code == TaskLimitError.code:
            return self._others_at_vendor(job) > 0
        return problem.code == UnknownCodeError.code and not self._suspects.are_several(job.id)

    def _others_at_vendor(self, job: Job) -> int:
        return sum(machine.takes_place(other) for other in self._job_store.everywhere if other.id != job.id)

    def _with_limit(self, job: Job, outcome: Outcome, now: float) -> TaskLimit | None:
        """Return what is known of how many tasks the vendor runs at once, after what came of a step."""
        limit = self._task_limit
        if isinstance(outcome, Retry) and outcome.problem.code == TaskLimitError.code:
            return limit_refused(limit, self._account.name, self._others_at_vendor(job), now)
        if isinstance(outcome, Done) and job.state in machine.SENDING:
            others = self._job_store.everywhere
            return limit_passed(limit, 1 + sum(other.state is State.SUBMITTED for other in others), now)
        return limit

    def _take_balance(self, answer: Decimal | Problem) -> None:
        """Pause or go on by what the account holds; a call that failed for the account or the network pauses as any does.

        What was asked for before a reload may be about another account, and is not believed.
        """
        if not self._account.asks:
            return
        before, now, chance = self._pauses, self._clock.now(), self._clock.chance()
        if isinstance(answer, Decimal):
            after = after_balance(before, answer, now, chance, self._account.next_article)
        else:
            after = after_no_balance(before, answer, now, chance)
        self._set_pauses(after, now)
        self._account.take(answer, after)

    def _end_idle_pauses(self) -> None:
        now = self._clock.now()
        self._set_pauses(self._account.stopped(without_idle(self._pauses, self._job_store.jobs.values(), now)), now)

    def _set_pauses(self, pauses: Pauses, now: float) -> None:
        """Make pauses durable, and report what is paused and what goes on. Raises DiskError: then nothing has changed."""
        before = self._pauses
        self._keep_pauses(pauses, now)
        self._report_pauses(before, now)

    def _keep_pauses(
        self, pauses: Pauses, now: float, moves: Sequence[Transition] = (), meta: Mapping[str, Any] = NO_META
    ) -> None:
        """Make pauses durable, in one transaction with the moves that caused them. Raises DiskError: then nothing has changed."""
        changed = {PAUSES: stored_pauses(pauses, self._account.name)} if pauses != self._pauses else {}
        self._job_store.commit(moves, now, {**meta, **changed})
        self._pauses = pauses

    def _report_pauses(self, before: Pauses, now: float) -> None:
        """Report what is paused, each cause once, and what goes on."""
        pauses = self._pauses
        for lane, pause in pauses.items():
            if lane not in before or before[lane].problem.code != pause.problem.code:
                self._job_store.report("paused", pause.problem.message, now, subject=lane, code=pause.problem.code)
        for lane in before.keys() - pauses.keys():
            over = before[lane].problem
            self._job_store.report("resumed", f"{over.message} This has ended.", now, subject=lane, code=over.code)

    def _is_own(self, job: Job, step: Step, lane: Lane, problem: Problem) -> bool:
        if problem.code in SAID_TO_ACCOUNT:
            return False
        if problem.code == NoCreditsError.code and self._account.is_empty:  # that is reason enough
            return False
        return self._suspects.is_own(job.id, lane) or lane not in LANES[step]  # which no pause of the lane would stop

    def _poll_seconds(self, job: Job, now: float) -> float:
        """Return how long to wait before the vendor is asked about a job, by what is known of its kind."""
        if job.state not in (State.SUBMITTING, State.SUBMITTED):
            return 0.0
        return poll_delay_seconds(
            self._job_store.history(job),
            max(now - job.task.submitted_at, 0.0) if job.task else 0.0,
            usual=kind_of(job).usual_seconds,
            shortest=self._limits.min_seconds,
            longest=self._limits.max_seconds,
            chance=self._clock.chance(),
        )

    def settle_open_submits(self) -> None:
        """After a start: understand the answer that was committed, or hold the job. All other states simply go on.

        Before any command is carried out: an answer that is not understood yet may be a task that was paid for.
        """
        now = self._clock.now()
        for job in list(self._job_store.jobs.values()):
            answered = job.state is State.SUBMITTING or (job.state is State.UPLOADING and job.answer)
            if answered and job.id not in self._pool.busy:
                outcome = self._understood(job, now)
                if outcome is not None:
                    self._let_rest(self._decide_alone(job, outcome, now))

    # ---- what is due ------------------------------------------------------------------------------------------------

    def hand_out(self, *, submits: bool, away: frozenset[Mount] = frozenset()) -> None:
        """Give due steps to the pool; an upload's intent is committed first. `submits`: whether money may be spent.

        What needs a folder that is `away` waits.
        """
        self._account.inquire(self._clock.chance())
        self._end_idle_pauses()
        self._budget.put_off([job for job in self._job_store.jobs.values() if job.id not in self._pool.busy])
        self._ask_balance(submits=submits)
        spends = submits and not self._account.holds_submits(self.pauses)
        now = self._clock.now()
        allowance = self._budget.allowance if any(map(_to_send, self._job_store.jobs.values())) else UNLIMITED
        limits = BackoffLimits(
            self._most_at_vendor(now) - sum(map(machine.takes_place, self._job_store.elsewhere)),
            self._calls.available,
            self._pool.free,
            spends,
            self._limits.max_seconds,
            away,
            allowance,
            self._pool.plugin_places,
            self._pool.slow_steps,
        )
        waiting = self._account.judged_jobs()  # they wait, and are no probe of any lane
        waiting |= self._awaiting(submits=submits).keys()
        jobs = [job for job in self._job_store.jobs.values() if job.id not in waiting]
        due = due_jobs(jobs, self._pool.busy, self.pauses, limits, now)
        price, account = self._budget.price, self._account.name
        intents = (machine.begin_upload(job, now, price(article_of(job)), account) for job in self._wanted(due, now))
        sending = sum(
            self._job_store.jobs[job_id].state in machine.SENDING
            for job_id in self._pool.busy & self._job_store.jobs.keys()
        )
        payable = self._account.payable(intents, sending)
        others = [job for job in due if not _to_send(job)]
        calling = [job.id for job in others if Lane.API in LANES[machine.step_of(job)]]
        taken = self._calls.take(len(calling) + len(payable))
        too_many = frozenset(calling[taken:])
        bought = self._bought(payable[: max(taken - len(calling), 0)], sending, now)
        self._want_place(None if bought else self._oldest_without_place(jobs, limits, now, sending))
        for job in (*(job for job in others if job.id not in too_many), *bought):
            self._suspects.begin(job.id)
            self._pool.hand_out(self._job_store.jobs[job.id])

    def _oldest_without_place(self, jobs: Sequence[Job], limits: BackoffLimits, now: float, sending: int) -> Job | None:
        """Return the first job that would be sent if the jobs of all roots left a place; None also where those of this root take all."""
        elsewhere = sum(map(machine.takes_place, self._job_store.elsewhere))
        if not elsewhere or (self._account.room(sending) > 0 and self._free_places(now) > 0):
            return None
        ample = due_jobs(
            jobs, self._pool.busy, self.pauses, replace(limits, at_vendor=limits.at_vendor + elsewhere), now
        )
        return next(filter(_to_send, ample), None)

    def _want_place(self, job: Job | None) -> None:
        since_at = None if job is None else job.created_at
        self._job_store.want_place(self._account.name, since_at, self._clock.now())

    def _free_places(self, now: float) -> int:
        return self._most_at_vendor(now) - sum(map(machine.takes_place, self._job_store.everywhere))

    def _most_at_vendor(self, now: float) -> int:
        """Return how many tasks may be at the vendor, of all roots."""
        return min(self._places, self._task_limit.places(now)) if self._task_limit else self._places

    def _awaiting(self, *, submits: bool) -> Mapping[str, int]:
        """Return by job that is ready how many others of its set it waits for. `submits`: whether money may be spent."""
        return awaited(
            self._job_store.jobs.values(), sends=submits and LANES[Step.SUBMIT].isdisjoint(self._unpaid_lanes)
        )

    def _wanted(self, due: Sequence[Job], now: float) -> Iterator[Job]:
        """Yield the jobs that are to be sent; hold what may have been charged before, refuse what another job bought meanwhile."""
        chosen: list[Job] = []
        for job in filter(_to_send, due):
            if twin_of(job, chosen):
                continue  # one after the other
            chosen.append(job)
            content = content_of(job)
            if unsure := self._job_store.unsure_purchases(job):
                asked = [Settled(purchase, "refused", before="unknown") for purchase in unsure]
                self._job_store.commit([held_unsure(job, len(unsure), now)], now, settled=asked)
            elif twice := self._job_store.bought_meanwhile(job):
                self._let_rest(self._decide_alone(job, Rejected(twice.problem), now))
            elif content == job.fingerprint or not self._job_store.live_twin(job):
                yield replace(job, fingerprint=content)

    def _bought(self, intents: Sequence[Transition], sending: int, now: float) -> list[Job]:
        """Make the intents durable that may be paid; where their submits could not be counted, pause the submits."""
        if not intents:
            return []
        try:
            self._submits.prepare(self._job_store.submits)
        except SubmitCountError as error:
            self._pause(error.problem, now)
            return []
        # Daemons of other roots buy as well: what is left for this one is decided in the transaction that takes it.
        with self._job_store.together(decides=True):
            placed = self._account.payable(self._placed(intents, sending, now), sending)
            chosen = self._budget.affordable(placed)
            self._job_store.commit(chosen, now)
        return [intent.job for intent in chosen]

    def _placed(self, intents: Sequence[Transition], sending: int, now: float) -> Iterator[Transition]:
        """Yield the intents for which there is a place, also next to older sets of other roots; a job that is found in `uploading` has one."""
        wanted, name = self._job_store.places_wanted_elsewhere(), self._account.name
        places = self._free_places(now)
        room = self._account.room(sending) if wanted else len(intents)
        for intent in intents:
            is_new = self._job_store.jobs[intent.job.id].state is State.STAGED
            if not is_new or min(places, room) > left_to_others(wanted, name, intent.job, now):
                places -= is_new
                room -= is_new
                yield intent

    def _ask_balance(self, *, submits: bool) -> None:
        """Ask for the account's credits, if that is worth a call now."""
        can = self._pool.free > 0 and self._calls.available > 0 and BALANCE not in self._pool.busy
        if can and self._account.wants_balance(self.pauses, submits=submits) and self._calls.take(1):
            self._account.ask()
            self._pool.ask_balance()

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds something may become due; what is overdue waits for something else."""
        now = self._clock.now()
        live = (job for job in self._job_store.jobs.values() if job.state not in machine.RESTING)
        due = [job.not_before - now for job in live]
        due += [pause.until_at - now for pause in self.pauses.values()]
        due.append(self._calls.wait_seconds)
        due += self._account.next_due_seconds()
        return [seconds for seconds in due if seconds > 0]

    # ---- standing still ---------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether a pause keeps sets from being checked and sent."""
        return not (LANES[Step.STAGE] | LANES[Step.SUBMIT]).isdisjoint(self.pauses)

    @property
    def unpaid(self) -> bool:
        """Whether something stands still until somebody pays, or corrects the key."""
        return bool(self._unpaid_lanes)

    @property
    def _unpaid_lanes(self) -> frozenset[Lane]:
        """The lanes that the account has stopped. What the run before was refused may be paid by now: it is tried once more."""
        stopped = {lane: pause for lane, pause in self.pauses.items() if pause.problem.fault is Fault.ACCOUNT}
        return frozenset(lane for lane, pause in stopped.items() if self._found.get(lane) != pause)

    @property
    def causes(self) -> frozenset[Notice]:
        """Which notices about pauses and the account have a cause now."""
        return self._account.causes | {Notice("paused", lane) for lane in self.pauses}

    def reasons(self) -> list[Reason]:
        """Return what stands still because of the money, and what else people must know of it."""
        limit = self._task_limit
        is_met = limit and limit.most < self._places and any(map(_to_send, self._job_store.jobs.values()))
        learned = [Reason(limit.notice)] if limit and is_met else []
        return [*self._account.reasons(), *self._budget.reasons(), *learned]

    def awaits_answer(self) -> bool:
        """Return whether an upload has sent its last bytes, and its answer is not here yet."""
        under_way = (job for job_id, job in self._job_store.jobs.items() if job_id in self._pool.busy)
        return any(job.state is State.SUBMITTING for job in under_way)

    def can_move(self, *, submits: bool) -> bool:
        """Return whether any job goes on without a person. `submits`: whether money may be spent."""
        stopped = self._unpaid_lanes
        if self._account.may_free_held:
            return True
        may_be_freed = self._account.inquires  # what was refused, and with it a part of the budget
        live = (job for job in self._job_store.jobs.values() if job.state not in machine.RESTING)
        waiting = self._awaiting(submits=submits)
        live = (job for job in live if job.id not in waiting and (may_be_freed or not is_over_budget(job)))
        steps = {machine.step_of(job) for job in live}
        return any(LANES[step].isdisjoint(stopped) and (submits or step is not Step.SUBMIT) for step in steps)


def _decided_together(messages: Iterable[object]) -> Sequence[StepFinished]:
    """Return the first messages, as far as what comes of them may share a transaction.

    What nobody knows may not: it is counted outside of the journal, too, when it is durable there.
    """
    steps: list[StepFinished] = []
    for message in messages:
        if not isinstance(message, StepFinished) or isinstance(message.outcome, Unknown):
            break
        steps.append(message)
    return steps


def _drop(requests: Sequence[Closing], error: UploadDroppedError) -> None:
    for request in requests:
        request.reply.set_exception(error)


def _alone(outcome: Retry) -> Retry:
    """Return the outcome of a set that waits by itself, without a pause of the others."""
    return Retry(replace(outcome.problem, lane=None))


def _to_send(job: Job) -> bool:
    return job.state in (State.STAGED, State.UPLOADING)


def _must_survive(job: Job, transition: Transition, outcome: Outcome) -> bool:
    """Return whether a move has anything in it that must survive a restart; a mere waiting time need not."""
    if transition.job.state is not job.state:
        return True
    if isinstance(outcome, NotYet):
        return transition.job.progress != job.progress
    return not (isinstance(outcome, Retry) and outcome.problem.scope is Scope.SERVICE)
