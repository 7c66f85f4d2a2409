"""The life of a job: every rule of the state machine is in this file.

A state is a past participle: it says what is *durable now*. Each state names the one step that comes next, and
every step may be repeated after a crash at any moment, because it first looks at what is there. So there is no
recovery code: starting up is reading the states and carrying on.

One effect cannot be repeated: the last bytes of the paid POST. A multipart request with a Content-Length cannot be
accepted before its closing boundary arrives, so submitting is journaled in two steps. `uploading` is committed before
the connection is made, and everything but the closing boundary is sent: whatever breaks here is *proven not submitted*
and is repeated. Then `submitting` is committed, and only then the boundary goes out. Whatever breaks from there until
the answer is durable is *unknown*: the job is held for a person, because the vendor offers neither an idempotency key
nor a list of tasks, and paying twice is worse than asking. The answer's raw body is committed before it is parsed, so
that an answer we misread is not an answer lost.

`uploading`, `submitting` and `failing` are intents: they say what is about to be done, so that a restart finds it.
Retrying and polling are columns of a job (`attempts`, `not_before`, `deadline`), never states. Pausing is a property of
the service, never of a job: an error of scope *service* (no credits, network down, disk full) sends the job back to
where it was without using up an attempt, and the service pauses that whole lane (`core.pauses`).

A job that was paid never loses its task: asking for its results is free, so `retry` of a failed job that has one goes
back through `claimed` (the inputs move back into the work folder) straight to `submitted`, past the POST.

Time and chance are arguments. Nothing here reads a clock, a disk or a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from rodin_watchd.core.names import printable
from rodin_watchd.core.schedule import backoff_seconds
from rodin_watchd.core.wire import read_submit
from rodin_watchd.errors import (
    CanceledError,
    CommandRefusedError,
    Fault,
    OutcomeUnknownError,
    Problem,
    RodinWatchdError,
    Scope,
)
from rodin_watchd.model import (
    Answer,
    Done,
    Job,
    NotYet,
    Outcome,
    Rejected,
    Retry,
    State,
    Step,
    Task,
    Transition,
    Unknown,
)


class Signal(StrEnum):
    """What can happen to a job: outcomes of steps, the two intents of a submit, and commands of people."""

    DONE = "done"
    DONE_BEFORE = "done, and it has a task"
    NOT_YET = "not yet"
    RETRY = "retry"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    BEGIN = "begin"
    CLOSE = "close"
    ASK_RETRY = "retry asked"
    CANCEL = "cancel asked"
    NOT_CHARGED = "resolved: not charged"
    ADOPT = "resolved: task found"
    GIVE_UP = "resolved: given up"


S = State
E = Signal

TABLE: Mapping[tuple[State, Signal], State] = {
    # The set lies in the inbox, its files are named in the journal; `stage` moves and checks them.
    (S.CLAIMED, E.DONE): S.STAGED,
    (S.CLAIMED, E.DONE_BEFORE): S.SUBMITTED,
    (S.CLAIMED, E.RETRY): S.CLAIMED,
    (S.CLAIMED, E.REJECTED): S.FAILING,
    (S.CLAIMED, E.CANCEL): S.FAILING,
    # The inputs are in the work folder, hashed and checked; nothing was sent.
    (S.STAGED, E.BEGIN): S.UPLOADING,
    (S.STAGED, E.REJECTED): S.FAILING,
    (S.STAGED, E.CANCEL): S.FAILING,
    # Intent: the body may be on its way, its closing boundary is not.
    (S.UPLOADING, E.BEGIN): S.UPLOADING,
    (S.UPLOADING, E.CLOSE): S.SUBMITTING,
    (S.UPLOADING, E.RETRY): S.STAGED,
    (S.UPLOADING, E.REJECTED): S.FAILING,
    (S.UPLOADING, E.CANCEL): S.FAILING,
    (S.UPLOADING, E.DONE): S.SUBMITTED,  # a server that answers before it has all: believed, for it may charge
    (S.UPLOADING, E.UNKNOWN): S.HELD,
    # Intent: the closing boundary may be on its way. Never sent again on its own.
    (S.SUBMITTING, E.DONE): S.SUBMITTED,
    (S.SUBMITTING, E.RETRY): S.STAGED,
    (S.SUBMITTING, E.REJECTED): S.FAILING,
    (S.SUBMITTING, E.UNKNOWN): S.HELD,
    # The vendor accepted and charged; the task is known.
    (S.SUBMITTED, E.DONE): S.GENERATED,
    (S.SUBMITTED, E.NOT_YET): S.SUBMITTED,
    (S.SUBMITTED, E.RETRY): S.SUBMITTED,
    (S.SUBMITTED, E.REJECTED): S.FAILING,
    (S.SUBMITTED, E.CANCEL): S.FAILING,
    # The vendor is done; results are kept about seven days.
    (S.GENERATED, E.DONE): S.DOWNLOADED,
    (S.GENERATED, E.RETRY): S.GENERATED,
    (S.GENERATED, E.REJECTED): S.FAILING,
    (S.GENERATED, E.CANCEL): S.FAILING,
    # The results are here: from now on everything is local and is tried until it works.
    (S.DOWNLOADED, E.DONE): S.PROCESSED,
    (S.DOWNLOADED, E.RETRY): S.DOWNLOADED,
    (S.PROCESSED, E.DONE): S.DELIVERED,
    (S.PROCESSED, E.RETRY): S.PROCESSED,
    (S.DELIVERED, E.DONE): S.ARCHIVED,
    (S.DELIVERED, E.RETRY): S.DELIVERED,
    # Intent: inputs and report go to `failed/`.
    (S.FAILING, E.DONE): S.FAILED,
    (S.FAILING, E.RETRY): S.FAILING,
    # For people to decide.
    (S.HELD, E.NOT_CHARGED): S.STAGED,
    (S.HELD, E.ADOPT): S.SUBMITTED,
    (S.HELD, E.GIVE_UP): S.FAILING,
    (S.FAILED, E.ASK_RETRY): S.CLAIMED,
}
"""The whole machine: (state, signal) → state. What is not here cannot happen."""

ENDED = frozenset({S.ARCHIVED, S.FAILED})
"""Nothing more happens to the job on its own or by `resolve`; a failed one may be retried."""

RESTING = ENDED | {S.HELD}
"""Nothing happens to the job until a person acts."""

AT_VENDOR = frozenset({S.UPLOADING, S.SUBMITTING, S.SUBMITTED})
"""States that count against `api.max_in_flight`."""

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How a state goes on: its step, how often set errors are tried, how long it may last, how long to wait."""

    step: Step
    max_attempts: int | None = None  # None: until it works
    deadline_seconds: float | None = None
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 300.0


POLICIES: Mapping[State, Policy] = {
    S.CLAIMED: Policy(Step.STAGE, max_attempts=6),
    S.STAGED: Policy(Step.SUBMIT, max_attempts=10),
    S.UPLOADING: Policy(Step.SUBMIT, max_attempts=10),
    S.SUBMITTING: Policy(Step.SUBMIT, max_attempts=10),
    # A task is paid for: a day is far beyond any task seen, and `retry` asks on, free of charge.
    S.SUBMITTED: Policy(Step.POLL, deadline_seconds=DAY_SECONDS, longest_wait_seconds=120.0),
    # Results are kept about 7 days (API contract, Download Results).
    S.GENERATED: Policy(Step.DOWNLOAD, deadline_seconds=7 * DAY_SECONDS, first_wait_seconds=1.0),
    S.DOWNLOADED: Policy(Step.PROCESS),
    S.PROCESSED: Policy(Step.DELIVER),
    S.DELIVERED: Policy(Step.ARCHIVE),
    S.FAILING: Policy(Step.BURY),
}


PATIENCE: Mapping[str, int] = {"task-lost": 12}
"""Set errors that end a job after so many tries, whatever its state: a new task may be unknown for a moment only."""


def after(job: Job, outcome: Outcome, now: float, chance: float, poll_seconds: float = 0.0) -> Transition:
    """Decide what a step's outcome makes of its job.

    `now` is UTC epoch seconds, `chance` a number in [0, 1) that spreads the waiting times, `poll_seconds` the wait
    until the next status call, where the job goes on to be polled. Raises KeyError for an outcome that the state does not know: a fault of the program,
    not of any input.
    """
    match outcome:
        case Done():
            signal = Signal.DONE_BEFORE if job.state is State.CLAIMED and outcome.job.task else Signal.DONE
            mended = outcome.job if job.state is State.FAILING else replace(outcome.job, problem=None)
            return _move(mended, signal, now, wait_seconds=poll_seconds)
        case NotYet():
            return _not_yet(replace(job, progress=outcome.progress, attempts=0, problem=None), now, poll_seconds)
        case Retry():
            return _retry(job, outcome.problem, now, chance)
        case Unknown():
            return _move(replace(job, problem=outcome.problem), Signal.UNKNOWN, now, outcome.problem.message)
        case Rejected():
            return _reject(job, outcome.problem, now)
        case _:
            assert_never(outcome)


def answered(job: Job, answer: Answer) -> Transition:
    """Keep the vendor's raw answer to a submit: to be committed before anybody tries to understand it."""
    return Transition(replace(job, answer=answer), action="answered", message=f"HTTP status {answer.status}")


def understood(job: Job, now: float) -> Outcome:
    """Understand the committed answer of a job in `submitting`; may be repeated after a crash.

    Without one, nobody can tell whether the vendor accepted and charged the job.
    """
    if job.answer is None:
        error = OutcomeUnknownError(
            f"The service ended while it was submitting “{printable(job.name)}”: "
            "the vendor may have accepted and charged it."
        )
        return Unknown(error.problem)
    try:
        task = read_submit(job.answer, job.times.get(State.SUBMITTING, now))
    except RodinWatchdError as error:
        return outcome_of(error)
    return Done(replace(job, task=task, answer=None, charges=job.charges + 1))


def outcome_of(error: RodinWatchdError) -> Outcome:
    """Return what an error makes of a step: unknown, final, or to be tried again."""
    if isinstance(error, OutcomeUnknownError):
        return Unknown(error.problem)
    return Rejected(error.problem) if error.final else Retry(error.problem)


def begin_upload(job: Job, now: float) -> Transition:
    """Intend to send all of the body but its closing boundary: to be committed before a connection is made."""
    return _move(replace(job, answer=None), Signal.BEGIN, now)


def close_upload(job: Job, now: float) -> Transition:
    """Intend to send the closing boundary: to be committed before its first byte leaves."""
    return _move(job, Signal.CLOSE, now)


def retry(job: Job, now: float, *, pay_again: bool) -> Transition:
    """Take a failed job up again, from the files in `failed/`.

    A job with a task asks for that task's results, free of charge, unless `pay_again`. Raises CommandRefusedError
    when the job did not fail, or when only paying again could help and nobody agreed to that.
    """
    if job.state is not State.FAILED:
        raise CommandRefusedError(f"Only a failed job can be retried; this one is {job.state}.")
    if job.task and not pay_again and job.problem and job.problem.code == "task-failed":
        raise CommandRefusedError(
            "The vendor reports that this task failed, so asking again cannot help.",
            advice="`rodin-watchd retry --pay-again JOB` submits it anew, for 0.5 credits.",
        )
    files = tuple(replace(f, source=f"{job.place}/{f.name}", shared=False) for f in job.files)
    task = None if pay_again else job.task
    fresh = replace(job, files=files, problem=None, answer=None, task=task, results=(), retries=job.retries + 1)
    return _move(fresh, Signal.ASK_RETRY, now)


def cancel(job: Job, now: float) -> Transition:
    """Stop a job before its results arrive. Raises CommandRefusedError where that is too late or not the way."""
    if (job.state, Signal.CANCEL) not in TABLE:
        advice = "Use `rodin-watchd resolve --give-up JOB`." if job.state is State.HELD else ""
        raise CommandRefusedError(f"A job that is {job.state} cannot be canceled.", advice=advice)
    paid = " It was already paid for." if job.task else ""
    return _move(replace(job, problem=CanceledError(f"Canceled on request.{paid}").problem), Signal.CANCEL, now)


def resolve_not_charged(job: Job, now: float) -> Transition:
    """Take a person's word that a held job was not charged: submit again. Raises CommandRefusedError if not held."""
    return _move(replace(_held(job), problem=None, answer=None), Signal.NOT_CHARGED, now)


def resolve_adopt(job: Job, task: Task, now: float) -> Transition:
    """Adopt the task that a person found for a held job. Raises CommandRefusedError if the job is not held."""
    adopted = replace(_held(job), problem=None, answer=None, task=task, charges=job.charges + 1)
    return _move(adopted, Signal.ADOPT, now)


def resolve_give_up(job: Job, now: float) -> Transition:
    """Bury a held job with what is known. Raises CommandRefusedError if the job is not held."""
    return _move(_held(job), Signal.GIVE_UP, now)


def _held(job: Job) -> Job:
    if job.state is not State.HELD:
        raise CommandRefusedError(f"Only a held job needs resolving; this one is {job.state}.")
    return job


def _move(job: Job, signal: Signal, now: float, message: str = "", wait_seconds: float = 0.0) -> Transition:
    """Enter the next state: fresh attempts, fresh deadline, the time noted."""
    state = TABLE[job.state, signal]
    policy = POLICIES.get(state)
    deadline = now + policy.deadline_seconds if policy and policy.deadline_seconds else None
    entered = replace(
        job,
        state=state,
        attempts=job.attempts if signal in _KEEP_ATTEMPTS else 0,
        not_before=now + (wait_seconds if state is State.SUBMITTED else 0.0),
        deadline=deadline,
        times={**job.times, state.value: now},
    )
    return Transition(entered, action=state.value, message=message)


_KEEP_ATTEMPTS = frozenset({Signal.BEGIN, Signal.CLOSE})  # else a failing upload would be tried for ever


def _not_yet(job: Job, now: float, poll_seconds: float) -> Transition:
    """Ask again later, unless the time is spent."""
    if spent := _overdue(job, now):
        return _reject(job, spent, now)
    waiting = replace(job, state=TABLE[job.state, Signal.NOT_YET], not_before=now + poll_seconds)
    return Transition(waiting, action="progress", message=job.progress)


def _retry(job: Job, problem: Problem, now: float, chance: float) -> Transition:
    """Try again later, unless attempts or time are spent; a service error uses up neither."""
    policy = POLICIES[job.state]
    counted = 0 if problem.scope is Scope.SERVICE else 1
    tried = replace(job, attempts=job.attempts + counted, problem=problem)
    if counted and (spent := _spent(tried, policy, now)):
        return _reject(tried, spent, now)
    pause = backoff_seconds(tried.attempts, policy.first_wait_seconds, policy.longest_wait_seconds, chance) * counted
    waiting = replace(tried, state=TABLE[job.state, Signal.RETRY], not_before=now + pause)
    return Transition(waiting, action="retry", message=problem.message)


def _spent(job: Job, policy: Policy, now: float) -> Problem | None:
    """Return the problem to fail with, when no attempt or no time is left."""
    limit = PATIENCE.get(job.problem.code) if job.problem else None
    limits = [n for n in (policy.max_attempts, limit) if n is not None]
    if limits and job.attempts >= min(limits):
        return job.problem
    return _overdue(job, now)


def _reject(job: Job, problem: Problem, now: float) -> Transition:
    return _move(replace(job, problem=problem), Signal.REJECTED, now, problem.message)


def _overdue(job: Job, now: float) -> Problem | None:
    """Return the problem to fail with, when the state's deadline has passed."""
    if job.deadline is None or now <= job.deadline:
        return None
    return job.problem or Problem(
        code="deadline",
        fault=Fault.VENDOR,
        scope=Scope.SET,
        message=f"The vendor did not finish in time; its last word was “{job.progress or 'nothing'}”.",
        advice="`rodin-watchd retry JOB` asks for the same task again, free of charge.",
    )
