"""The life of a job: every rule of the state machine is in this file.

A state is a past participle: it says what is *durable now*. Each state names the one step that comes next, and
every step may be repeated after a crash at any moment, because it first looks at what is there. So there is no
recovery code: starting up is reading the states and carrying on.

One effect cannot be repeated: the last bytes of the paid POST. A multipart request with a Content-Length cannot be
accepted before its closing boundary arrives, so submitting is journaled in two steps. `uploading` is committed before
the connection is made, and everything but the closing boundary is sent, and waited for to arrive: whatever breaks here
while not one byte came back is *proven not submitted* and is repeated. Then `submitting` is committed, and only then the boundary goes out. Whatever
breaks from there until the answer is durable is *unknown*: the job is held for a person, because the vendor offers
neither an idempotency key nor a list of tasks, and paying twice is worse than asking. The answer's raw body is
committed before it is parsed, so that an answer we misread is not an answer lost. An answer that *refuses* the set, even
before all of it was sent, is the vendor's word alone that nothing was charged: it is counted (`Job.refused`) and looked
into (`core.refusals`).

`uploading`, `submitting`, `failing` and `returning` are intents: they say what is about to be done, so that a restart finds it.
Retrying and polling are columns of a job (`attempts`, `not_before`, `deadline`), never states. Pausing is a property of
the service, never of a job: an error of scope *service* (no credits, network down, disk full) sends the job back to
where it was without using up an attempt, and the service pauses that whole lane (`core.pauses`).

A job that was paid never loses its task: asking for its results is free, so `retry` of a failed job that has one goes
back through `claimed` (the inputs move back into the work folder) straight to `submitted`, past the POST.

Every move is a function of this file; others decide when it is made: `core.proof`, `core.refusals` and `core.balance` by the
balance, `core.budget` by what may be spent, `core.claims` for a new set, `core.commands` for people. How patient each state
is, `POLICIES` says. Time and chance are arguments. Nothing here reads a clock, a disk or a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Final, NamedTuple, assert_never

from rodin_watchd.core.batches import folders_in_use, once_more, taken_by, with_own
from rodin_watchd.core.kinds import Article, article_of
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import match_key, printable
from rodin_watchd.core.schedule import KEPT_SECONDS, urgent_wait_seconds
from rodin_watchd.core.waits import DAY_SECONDS, DOWNLOAD, LONGEST_WAIT_SECONDS, POLL, STEP, Backoff
from rodin_watchd.core.wire import consumed, read_submit
from rodin_watchd.core.wording import local
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    ChargedTaskLostError,
    DisputedTaskError,
    OutcomeUnknownError,
    OverdueError,
    PluginRequiredError,
    Problem,
    ResultsGoneError,
    RodinWatchdError,
    Scope,
    StillWrittenError,
    TaskFailedError,
    TaskLostError,
    VendorAnswerError,
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
    Variant,
)

# ---- How often and how long a step is tried: attempts, waits and deadlines of a job. Pure functions -----------------


MOST_TRIES_OF: Mapping[str, int] = {TaskLostError.code: 12}
"""Set errors that end a job after so many tries, whatever its state: a new task may be unknown for a moment only."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a state goes on: its step, how often set errors are tried, how long it may last, how long to wait."""

    step: Step
    max_attempts: int | None = None  # None: until it works
    deadline_seconds: float | None = None
    wait: Backoff = STEP


def wait_seconds(attempts: int, policy: Policy, problem: Problem, chance: float) -> float:
    """Return the wait before the next attempt; what the vendor asks for is honoured, as far as any wait goes."""
    return max(policy.wait.seconds(attempts, chance), _asked_seconds(problem))


def _asked_seconds(problem: Problem) -> float:
    return min(problem.asked_seconds, LONGEST_WAIT_SECONDS)


def spent(job: Job, policy: Policy, now: float) -> Problem | None:
    """Return the problem to fail with, when no attempt or no time is left."""
    limits = (policy.max_attempts, MOST_TRIES_OF.get(job.problem.code) if job.problem else None)
    if any(limit is not None and job.attempts >= limit for limit in limits):
        return job.problem
    return overdue(job, now)


def later(job: Job, now: float) -> Job:
    """Move the deadline by the time since the step was due, forwards or backwards: only decided waits use it up."""
    return job if job.deadline is None else replace(job, deadline=job.deadline + now - job.not_before)


def overdue(job: Job, now: float) -> Problem | None:
    """Return the problem to fail with, when the state's deadline has passed."""
    if job.deadline is None or now <= job.deadline:
        return None
    said = OverdueError(f"The vendor did not finish in time; its last word was “{job.progress or 'nothing'}”.")
    return job.problem or said.problem


class Signal(StrEnum):
    """What can happen to a job: outcomes of steps, the two intents of a submit, and commands of people."""

    DONE = "done"
    DONE_BEFORE = "done, and it has a task"
    NOT_YET = "not yet"
    RETRY = "retry"
    UNKNOWN = "unknown"
    HOLD = "refused, perhaps charged"
    DISPUTED = "another set has the same task"
    REJECTED = "rejected"
    BEGIN = "begin"
    CLOSE = "close"
    WITHHOLD = "not let go"
    LOST = "results gone"
    UNFIT = "required plugin failed"
    ASK_RETRY = "retry asked"
    CANCEL = "cancel asked"
    NOT_CHARGED = "resolved: not charged"
    ADOPT = "resolved: task found"
    GIVE_UP = "resolved: given up"
    RETURN = "changed under way"


S = State
E = Signal

TABLE: Mapping[tuple[State, Signal], State] = {
    # The set is in the inbox, its files are named in the journal; `stage` moves and checks them.
    (S.CLAIMED, E.DONE): S.STAGED,
    (S.CLAIMED, E.DONE_BEFORE): S.SUBMITTED,
    (S.CLAIMED, E.RETRY): S.CLAIMED,
    (S.CLAIMED, E.REJECTED): S.FAILING,
    (S.CLAIMED, E.CANCEL): S.FAILING,
    # The inputs are in the work folder, hashed and checked; nothing was sent.
    (S.STAGED, E.BEGIN): S.UPLOADING,
    (S.STAGED, E.REJECTED): S.FAILING,  # its attempts are spent, the last one proven not charged
    (S.STAGED, E.CANCEL): S.FAILING,
    (S.STAGED, E.HOLD): S.HELD,  # the vendor refused it, and has charged that or may have
    # Intent: the body may be on its way, its closing boundary is not.
    (S.UPLOADING, E.BEGIN): S.UPLOADING,
    (S.UPLOADING, E.CLOSE): S.SUBMITTING,
    (S.UPLOADING, E.RETRY): S.STAGED,
    (S.UPLOADING, E.REJECTED): S.FAILING,
    (S.UPLOADING, E.CANCEL): S.FAILING,
    (S.UPLOADING, E.DONE): S.SUBMITTED,  # a server that answers before it has all: believed, for it may charge
    (S.UPLOADING, E.UNKNOWN): S.HELD,
    # Intent: the closing boundary may be on its way. Never sent again on its own.
    (S.SUBMITTING, E.WITHHOLD): S.UPLOADING,  # nobody was allowed to act on it: the boundary is still here
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
    (S.DOWNLOADED, E.UNFIT): S.FAILING,  # a plugin that the owner requires cannot process them
    (S.DOWNLOADED, E.LOST): S.GENERATED,  # somebody cleared up in the work folder: to be fetched again, free of charge
    (S.PROCESSED, E.LOST): S.GENERATED,
    (S.PROCESSED, E.DONE): S.DELIVERED,
    (S.PROCESSED, E.RETRY): S.PROCESSED,
    (S.DELIVERED, E.DONE): S.ARCHIVED,
    (S.DELIVERED, E.RETRY): S.DELIVERED,
    # The vendor gave the same task to a set whose submit was under way at the same time: it is not known which set it belongs to.
    **dict.fromkeys(product((S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED), (E.DISPUTED,)), S.HELD),
    # Intent: inputs and report go to `failed/`.
    (S.FAILING, E.DONE): S.FAILED,
    (S.FAILING, E.RETRY): S.FAILING,
    (S.FAILING, E.HOLD): S.HELD,  # as from `staged`
    # Intent: a program still writes a file of the set, or has changed it. The set goes back into the inbox, and is judged again.
    (S.CLAIMED, E.RETURN): S.RETURNING,
    (S.UPLOADING, E.RETURN): S.RETURNING,  # its last bytes have not left, and do not
    (S.FAILED, E.RETURN): S.RETURNING,  # somebody has corrected its files: they are another set
    (S.RETURNING, E.DONE): S.RETURNED,
    (S.RETURNING, E.RETRY): S.RETURNING,
    # For people to decide.
    (S.HELD, E.NOT_CHARGED): S.STAGED,
    (S.HELD, E.ADOPT): S.SUBMITTED,
    (S.HELD, E.GIVE_UP): S.FAILING,
    (S.FAILED, E.ASK_RETRY): S.CLAIMED,
}
"""The whole machine: (state, signal) → state. What is not here cannot happen."""

ENDED = frozenset({S.ARCHIVED, S.FAILED, S.RETURNED})
"""Nothing more happens to the job on its own or by `resolve`; a failed one may be retried, a returned one is a set in the inbox again."""

RESTING = ENDED | {S.HELD}
"""Nothing happens to the job until a person acts."""

AT_VENDOR = frozenset({S.UPLOADING, S.SUBMITTING, S.SUBMITTED})
"""States in which a task is, or may be, at the vendor."""

SENDING = frozenset({S.UPLOADING, S.SUBMITTING})
"""States in which a submit is under way."""


def takes_place(job: Job) -> bool:
    """Return whether a job counts against `api.max_in_flight`: not one whose task the vendor does not know, as long as it says so."""
    return job.state in AT_VENDOR and not (job.problem and job.problem.code == TaskLostError.code)


CHOSEN: Final = "chosen"
UNCHOSEN: Final = "unchosen"
"""The actions of the events that announce a choice among the jobs of a set."""

ANSWERED = "answered"
"""The action of the event that keeps the vendor's raw answer to a submit."""

POLICIES: Mapping[State, Policy] = {
    S.CLAIMED: Policy(Step.STAGE, max_attempts=6),
    S.STAGED: Policy(Step.SUBMIT, max_attempts=10),
    S.UPLOADING: Policy(Step.SUBMIT, max_attempts=10),
    S.SUBMITTING: Policy(Step.SUBMIT, max_attempts=10),
    # A task is paid for: a day is far beyond any task seen, and `retry` asks on, free of charge.
    S.SUBMITTED: Policy(Step.POLL, deadline_seconds=DAY_SECONDS, wait=POLL),
    # Results are kept about 7 days (API contract, Download Results).
    S.GENERATED: Policy(Step.DOWNLOAD, deadline_seconds=KEPT_SECONDS, wait=DOWNLOAD),
    S.DOWNLOADED: Policy(Step.PROCESS),
    S.PROCESSED: Policy(Step.DELIVER),
    S.DELIVERED: Policy(Step.ARCHIVE),
    S.FAILING: Policy(Step.BURY),
    S.RETURNING: Policy(Step.RETURN),
}
"""How each state goes on."""


def step_of(job: Job) -> Step:
    """Return the next step of a live job that does not rest: of its state, but the other jobs of its set are begun first."""
    return Step.SPREAD if job.variants and job.state is State.SUBMITTED else POLICIES[job.state].step


def after(job: Job, outcome: Outcome, now: float, chance: float, poll_seconds: float = 0.0) -> Transition:
    """Decide what a step's outcome makes of its job.

    `now` is UTC epoch seconds, `chance` a number in [0, 1) that spreads the waiting times, `poll_seconds` the wait
    until the next status call, where the job goes on to be polled. Raises KeyError for an outcome that no step of the
    state returns: a fault of the program, not of any input.
    """
    match outcome:
        case Done():
            return _done(job, outcome.job, now, poll_seconds)
        case NotYet():
            seen = replace(job, progress=outcome.progress, working_at=now, attempts=0, problem=None)
            return _not_yet(seen, now, poll_seconds)
        case Unknown():
            return _hold(job, outcome.problem, now)
        case Retry() | Rejected() if job.state is State.SUBMITTING and job.answer is None:
            return _hold(job, _unanswered(job), now)  # whatever a step believes: only an answer is a refusal
        case Rejected() if _may_fail(job):
            return _refuse(_counted(job), outcome.problem, now)
        case Retry() | Rejected():
            return _retry(_counted(job), outcome.problem, now, chance)
        case _:
            assert_never(outcome)


def answered(job: Job, answer: Answer) -> Transition:
    """Keep the vendor's raw answer to a submit: to be committed before anybody tries to understand it.

    What it says to have taken counts at once, whatever else it says: a refusal may have cost it, too.
    """
    # Never less than the intent was committed with: what is not known to be free counts as spent, whatever the vendor names.
    price = max(job.price, consumed(answer) or job.price)
    return Transition(replace(job, answer=answer, price=price), action=ANSWERED, message=f"HTTP status {answer.status}")


def understood(job: Job, now: float) -> Outcome:
    """Understand the committed answer of a job in `uploading` or `submitting`; may be repeated after a crash.

    Without one, it is not known whether the vendor accepted and charged the job.
    """
    if job.answer is None:
        return Unknown(_unanswered(job))
    try:
        task = read_submit(job.answer, job.times.get(job.state, now), early=job.state is State.UPLOADING)
    except RodinWatchdError as error:
        return outcome_of(error)
    spent_now = job.spent + cost_of(task, job.listed)
    return Done(replace(job, task=task, answer=None, charges=job.charges + 1, spent=spent_now, flaw=""))


def is_disputed(job: Job) -> bool:
    """Return whether a job is held because the vendor answered it with the task of another one."""
    return job.problem is not None and job.problem.code == DisputedTaskError.code


def may_be_disputed(job: Job) -> bool:
    """Return whether a job still goes on with its task, so that it can be held when another set is answered with it as well."""
    return (job.state, Signal.DISPUTED) in TABLE


def dispute(job: Job, other: Job, now: float) -> Transition:
    """Hold a job whose task the vendor gave to another one as well: what came of it may be the other's.

    It is fetched again, and plugins are called again: calls go by the job's `retries`.
    """
    uuid = printable(job.task.uuid) if job.task else ""
    problem = ChargedTaskLostError(
        f"The vendor gave one task, {uuid}, to this set and to “{printable(other.title)}” (job {other.id}): it is not known which set it belongs to."
    ).problem
    bare = replace(job, task=None, results=(), processed=(), facts={}, problem=problem, retries=job.retries + 1)
    return move(bare, Signal.DISPUTED, now, problem.message, problem.code)


def cost_of(task: Task, unsaid: Decimal) -> Decimal:
    """Return what a task took, in credits; `unsaid` where the vendor does not say: by the list, if that is an answer of its own."""
    return unsaid if task.credits is None else task.credits


def outcome_of(error: RodinWatchdError) -> Outcome:
    """Return what an error makes of a step: unknown, final, or to be tried again."""
    if isinstance(error, OutcomeUnknownError):
        return Unknown(error.problem)
    return Rejected(error.problem) if error.final else Retry(error.problem)


def claim(job: Job, problem: Problem | None, now: float) -> Transition:
    """Begin a job, as a set became it; one with a `problem` is refused: its files go to `failed/` at once."""
    state = State.FAILING if problem else State.CLAIMED
    begun = replace(job, state=state, problem=problem, not_before=now, times={state.value: now})
    message, code = (problem.message, problem.code) if problem else ("", "")
    return Transition(begun, action=state.value, message=message, code=code)


def hand_over(archived: Job, now: float) -> tuple[Transition, ...]:
    """Begin the job that follows one that was just archived, if one does: to be committed with that move, so that it begins once."""
    then = archived.then
    if archived.state is not State.ARCHIVED or then is None:
        return ()
    batch = archived.batch
    job = Job(
        id=then.job_id,
        name=_named_after(archived.name, then.kind),
        folder=archived.folder,
        state=State.CLAIMED,
        files=then.files,
        kind=then.kind,
        options=then.options,
        plugins=archived.plugins,
        created_at=now,
        again=archived.again,
        follows=archived.id,
        batch=batch and replace(batch, label=_named_after(batch.label, then.kind)),
    )
    return (claim(job, then.problem, now),)


def in_own_folder(laid: Job, live: Iterable[Job]) -> Job:
    """Return a job whose set's other jobs are laid out, with a folder for all of them that no other of the `live` sets has."""
    batch = laid.batch
    if batch and match_key(batch.folder) in folders_in_use(live, laid):
        return replace(laid, batch=replace(batch, folder=f"{batch.folder}-{batch.id[:6]}"))
    return laid


def begin_others(laid: Job, now: float) -> tuple[Transition, ...]:
    """Begin the other jobs of a set, whose files are laid out: to be committed with the move of the first, so that each begins once."""
    others = (
        (
            Job(
                id=one.job_id,
                name=laid.name,
                folder=laid.folder,
                state=State.CLAIMED,
                files=one.files,
                kind=laid.kind,
                options=one.options,
                plugins=laid.plugins,
                created_at=now,
                again=laid.again,
                consent=laid.consent,  # it was given for the whole set
                then=one.then,
                batch=laid.batch and replace(laid.batch, label=one.label),
            ),
            one.problem,
        )
        for one in laid.variants
    )
    return tuple(claim(job, problem, now) for job, problem in others)


def _spread(laid: Job, now: float, poll_seconds: float) -> Transition:
    """Note that the other jobs of a set are begun: the first goes on as one of them."""
    count = len(laid.variants)
    alone = replace(laid, variants=(), attempts=0, problem=None, not_before=now + poll_seconds)
    return Transition(
        alone, "spread", "1 other job of its set begins." if count == 1 else f"{count} other jobs of its set begin."
    )


def go_ahead_instead(job: Job, problem: Problem) -> Transition | None:
    """Let another job of a set go ahead, because what the first one buys was bought before; None where each was.

    The first one changes places with it, and gets its report for that `problem` when the others are begun.
    """
    batch = job.batch
    found = next((number for number, one in enumerate(job.variants) if one.problem is None), None)
    if batch is None or found is None:
        return None
    new = job.variants[found]
    old = Variant(
        new.job_id, batch.label, job.options if job.asked is None else job.asked, taken_by(job), job.then, (), problem
    )
    ahead = replace(
        job,
        batch=replace(batch, label=new.label),
        options=new.options,
        asked=None,
        files=with_own(job.files, new.takes),
        then=new.then,
        variants=(*job.variants[:found], old, *job.variants[found + 1 :]),
        attempts=0,
        problem=None,
        retries=job.retries + 1,  # plugins are asked about it as well: their calls go by that number
    )
    message = f"{printable(batch.label)} was bought before: {printable(new.label)} goes ahead. {problem.message}"
    return Transition(ahead, "goes-ahead", message, problem.code)


def _named_after(name: str, kind: str) -> str:
    """Return the name of what follows a set; a very long one stays as it is, for folders get it."""
    longer = f"{name}-{kind}"
    return longer if len(longer.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME_BYTES else name


_LONGEST_NAME_BYTES: Final = 200


def noted(job: Job, action: str, message: str) -> Transition:
    """Write something into a job's history that changes nothing about it."""
    return Transition(job, action, message)


def begin_upload(job: Job, now: float, price: Decimal, account: str) -> Transition:
    """Intend to send all of the body but its closing boundary: to be committed before a connection is made.

    `price`: what it may cost, in credits; `account`: whose credits it spends.
    """
    intent = replace(job, answer=None, listed=article_of(job).listed, price=price, account=account)
    return move(intent, Signal.BEGIN, now)


def close_upload(job: Job, now: float) -> Transition:
    """Intend to send the closing boundary: to be committed before its first byte leaves."""
    return move(job, Signal.CLOSE, now)


def withhold_close(job: Job, now: float, problem: Problem) -> Transition:
    """Take back the intent to send the closing boundary: only while nobody was allowed to send a byte of it."""
    return move(job, Signal.WITHHOLD, now, problem.message, problem.code)


def move(
    job: Job, signal: Signal, now: float, message: str = "", code: str = "", *, poll_seconds: float = 0.0
) -> Transition:
    """Enter the next state: fresh attempts, fresh deadline, the time noted. Raises KeyError for what is not in TABLE.

    `message` is for people, `code` for programs: what the event is about.
    """
    state = TABLE[job.state, signal]
    policy = POLICIES.get(state)
    deadline = now + policy.deadline_seconds if policy and policy.deadline_seconds else None
    entered = replace(
        job,
        state=state,
        attempts=job.attempts if signal in _KEEP_ATTEMPTS else 0,
        not_before=now + (poll_seconds if state is State.SUBMITTED and not job.variants else 0.0),
        deadline=deadline,
        times={**job.times, state.value: now},
        holds=job.holds + (state is State.HELD),
    )
    return Transition(forgetting(entered), action=state.value, message=message, code=code)


def forgetting(job: Job) -> Job:
    """Return the job without the secrets that its state does not need.

    The vendor's answer to a submit holds the task's subscription key. The raw answer is kept until it is understood (by the
    service, or by a person while the job is held), the key until the vendor is done: results are asked for by the task's id.
    A failed job that is taken up again does without the key, too (`service.steps.results.poll`).
    """
    # A journal, its backups and the write-ahead log are copied to many places; a key that nobody needs must not be in them.
    if job.answer and job.state not in _NOT_UNDERSTOOD:
        job = replace(job, answer=None)
    if job.task and job.task.subscription_key and job.state is not State.SUBMITTED:
        job = replace(job, task=replace(job.task, subscription_key=""))
    return job


_NOT_UNDERSTOOD: Final = frozenset({State.UPLOADING, State.SUBMITTING, State.HELD})

_KEEP_ATTEMPTS = frozenset(
    {Signal.BEGIN, Signal.CLOSE, Signal.WITHHOLD, Signal.UNKNOWN}
)  # else a failing submit would be tried for ever


# ---- The budget: a job that today's does not allow waits in `staged` -------------------------------------------------


def wait_for_budget(job: Job, problem: Problem, now: float) -> Transition:
    """Note that a job in `staged` or `uploading` waits for another day. An upload that a crash has cut is no upload any more."""
    staged = move(job, Signal.RETRY, now).job if job.state is State.UPLOADING else job
    return Transition(replace(staged, problem=problem), "over-budget", problem.message, problem.code)


def go_on(job: Job) -> Transition:
    """Note that the budget allows a job that waited for it."""
    return Transition(replace(job, problem=None), "within-budget")


# ---- What the balance shows of submits whose answer is lost, and of refused ones (`core.proof`, `core.refusals`, `core.balance`) ----


def still_unknown(job: Job, reason: str, message: str) -> Transition:
    """Note what a proof has found that ends no question: the job stays held, and its problem says `message`."""
    problem = replace(job.problem, message=message) if job.problem else None
    return Transition(replace(job, problem=problem), "undecided", reason)


def charge_lost(job: Job, reason: str) -> Transition:
    """Book the charge of a held job whose answer, and with it the task's id, is lost."""
    lost = ChargedTaskLostError(f"{reason} The task's id is lost with the answer.").problem
    booked = replace(job, problem=lost, charges=job.charges + 1, spent=job.spent + job.price)
    return Transition(booked, "charged", reason, lost.code)


def not_charged_again(job: Job, reason: str, now: float, chance: float) -> tuple[Transition, ...]:
    """Send a held job again, which was not charged; fail it when its attempts are spent.

    Each such submit counts as an attempt and waits, so that a set that the vendor cannot take never stops the others.
    """
    staged = send_again(job, now, reason).job
    policy, attempts = POLICIES[staged.state], job.attempts + 1
    problem = VendorAnswerError(
        f"{attempts} submits got no answer with their outcome. {reason}",
        advice="Tell the person who runs the service: they can send it again.",
        command="`rodin-watchd retry JOB` submits it again.",
    ).problem
    waits = replace(staged, attempts=attempts, not_before=now + wait_seconds(attempts, policy, problem, chance))
    again = Transition(waits, "not-charged", reason)
    if not (last := spent(replace(waits, problem=problem), policy, now)):
        return (again,)
    return (again, _reject(waits, last, now))


def clear_refusals(job: Job, reason: str) -> Transition:
    """Note that what was refused was free: the job goes on in its state."""
    return Transition(replace(job, refused=0), "not-charged", reason)


def book_refusals(job: Job, costs: Sequence[Decimal], problem: Problem, now: float) -> Transition:
    """Book what refused submits of this job did cost (credits each; none, if only other jobs were charged), and hold it."""
    own = len(costs)
    booked = replace(job, charges=job.charges + own, spent=sum(costs, job.spent), refused=max(job.refused - own, 0))
    return hold_refused(booked, problem, now)


def hold_refused(job: Job, problem: Problem, now: float, *, is_free: bool = False) -> Transition:
    """Hold a job that the vendor refused, and may have charged. `is_free`: the balance shows no charge so far."""
    held = replace(job, problem=problem, refused=0 if is_free else job.refused)
    return move(held, Signal.HOLD, now, problem.message, problem.code)


def doubt(job: Job, times: int, problem: Problem, now: float) -> Transition:
    """Count submits of a live job as refused again that had looked free; hold it if it would be sent next."""
    doubted = replace(job, refused=job.refused + times)
    if job.state is State.STAGED:
        return hold_doubted(doubted, problem, now)
    return Transition(doubted, "doubted", problem.message)


def hold_doubted(job: Job, problem: Problem, now: float) -> Transition:
    """Hold a job in `staged` or `uploading`, because earlier submits of its content may have been charged after all."""
    signal = Signal.HOLD if job.state is State.STAGED else Signal.UNKNOWN
    return move(replace(job, problem=problem), signal, now, problem.message, problem.code)


# ---- What people decide (`core.commands` says when they may) ---------------------------------------------------------


def take_up(job: Job, now: float, consent: str = "", message: str = "", code: str = "") -> Transition:
    """Take a failed job up again, from its files in `failed/`; with its task, if it has one, it is not sent again.

    `consent` is what allows to pay for its content once more, "" for nothing.
    """
    fresh = replace(
        job,
        files=tuple(replace(f, source=f"{job.place}/{f.name}", shared=False) for f in job.files),
        fingerprint="",  # known again when staged; until then the content may belong to another job
        dropped="",
        consent=consent,
        problem=None,
        answer=None,
        results=(),
        resolved="",
        progress="",
        working_at=0.0,
        times={},
        retries=job.retries + 1,
        variants=once_more(job.variants),
    )
    return move(fresh, Signal.ASK_RETRY, now, message, code)


def put_corrected_back(job: Job, now: float) -> Transition:
    """Let a failed set whose files somebody has corrected go back into the inbox, where it is judged and bought as any other."""
    return move(_as_dropped(job), Signal.RETURN, now, "Its files were corrected: the set goes back into the inbox.")


def clear(job: Job, place: str) -> Transition:
    """Note that the folder of a failed job was moved from `failed/` to a place in the archive."""
    message = f"Cleared: {printable(job.place, 1000)} is in {printable(place, 1000)} now."
    return Transition(replace(job, place=place), "clear", message)


def choose(job: Job, *, chosen: bool) -> Transition:
    """Note whether a person has chosen a delivered job among those of its set; of these, one at most is."""
    return Transition(replace(job, chosen=chosen), "choose", "Chosen." if chosen else "Not chosen any more.")


def choice_written(job: Job, message: str) -> Transition:
    """Note that the receipt of a job has its choice, or why not."""
    return Transition(job, CHOSEN, message) if job.chosen else Transition(job, UNCHOSEN, message)


def resolve_failure(failed: Job, delivered: Job) -> Transition:
    """Note that the set of a failed job was delivered since, by another job."""
    message = f"The set was delivered to {printable(delivered.place, 1000)} (job {delivered.id})."
    return Transition(replace(failed, resolved=delivered.id), "resolved", message)


def cancel(job: Job, problem: Problem, now: float) -> Transition:
    """Stop a job before its results arrive."""
    return move(replace(job, problem=problem), Signal.CANCEL, now, code=problem.code)


def send_again(job: Job, now: float, reason: str = "") -> Transition:
    """Let a held job be sent again: its submit was not charged."""
    return move(replace(job, problem=None, answer=None), Signal.NOT_CHARGED, now, reason)


def adopt(job: Job, task: Task, now: float, *, is_booked: bool) -> Transition:
    """Give a held job its task. Its charge is counted, unless that `is_booked`: as what the task says, or the submit reserved."""
    adopted = replace(job, problem=None, answer=None, task=task)
    if not is_booked:
        adopted = replace(adopted, charges=job.charges + 1, spent=job.spent + cost_of(task, job.price))
    return move(adopted, Signal.ADOPT, now)


def give_up(job: Job, problem: Problem | None, now: float) -> Transition:
    """Bury a held job with what is known."""
    return move(replace(job, problem=problem), Signal.GIVE_UP, now)


# ---- What a step's outcome does --------------------------------------------------------------------------------------


def _done(job: Job, after_step: Job, now: float, poll_seconds: float) -> Transition:
    """Go on; a job that is being buried keeps the problem that it is buried for, and what was noted during the step stays."""
    if step_of(job) is Step.SPREAD:
        return _spread(after_step, now, poll_seconds)
    signal = Signal.DONE_BEFORE if job.state is State.CLAIMED and after_step.task else Signal.DONE
    problem = job.problem if job.state in (State.FAILING, State.RETURNING) else None
    if (after_step.problem, after_step.refused) != (problem, job.refused):
        after_step = replace(after_step, problem=problem, refused=job.refused)
    if after_step.flaw and not job.flaw:  # the vendor may pay a failed task back: no balance proves anything meanwhile
        return move(after_step, signal, now, after_step.flaw, TaskFailedError.code)
    return move(after_step, signal, now, poll_seconds=poll_seconds)


def _hold(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem), Signal.UNKNOWN, now, problem.message, problem.code)


def _unanswered(job: Job) -> Problem:
    return OutcomeUnknownError(
        f"“{printable(job.title)}” was being submitted, and no answer is known. "
        "The vendor may have accepted and charged it."
    ).problem


def _counted(job: Job) -> Job:
    """Count a refusal of the set: an answer, whether or not all of the set was sent before it."""
    return replace(job, refused=job.refused + 1) if job.state in SENDING and job.answer else job


def _may_fail(job: Job) -> bool:
    """Return whether the state can be given up; what is local is tried until it works."""
    return (job.state, Signal.REJECTED) in TABLE


def _refuse(job: Job, problem: Problem, now: float) -> Transition:
    """Fail the job; or let the set go back into the inbox, where it is no fault of the set."""
    if problem.code in _RETURNS and _may_return(job):
        return move(replace(_as_dropped(job), problem=problem), Signal.RETURN, now, problem.message, problem.code)
    return _reject(job, problem, now)


def _as_dropped(job: Job) -> Job:
    """Return a job that goes back into the inbox: its content is no job's any more, but for what the purchases know of it."""
    return replace(job, fingerprint="")


def _reject(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem), Signal.REJECTED, now, problem.message, problem.code)


_RETURNS: Final = frozenset({StillWrittenError.code, ChangedWhileTakenError.code})
"""What is no fault of a set that was dropped, and only says that it was taken too early."""


def _may_return(job: Job) -> bool:
    """Return whether a set can go back to where it was dropped: nothing was paid for it, and it did not come from elsewhere."""
    return (
        (job.state, Signal.RETURN) in TABLE
        and job.task is None
        and job.answer is None
        and not job.charges
        and all(file.source.startswith(f"{INBOX}/") for file in job.files)
    )


def _not_yet(job: Job, now: float, poll_seconds: float) -> Transition:
    """Ask again later, unless the time is spent."""
    asked = later(job, now)
    if problem := overdue(asked, now):
        return _reject(asked, problem, now)
    waiting = replace(asked, state=TABLE[job.state, Signal.NOT_YET], not_before=now + poll_seconds)
    return Transition(waiting, action="progress", message=job.progress)


def _retry(job: Job, problem: Problem, now: float, chance: float) -> Transition:
    """Try again later, unless attempts or time are spent; a service error uses up neither."""
    if problem.code == ResultsGoneError.code and (job.state, Signal.LOST) in TABLE:
        bare = replace(job, results=(), processed=(), facts={}, problem=None)
        return move(bare, Signal.LOST, now, problem.message, problem.code)
    if problem.code == PluginRequiredError.code and (job.state, Signal.UNFIT) in TABLE:
        return move(replace(job, problem=problem), Signal.UNFIT, now, problem.message, problem.code)
    policy = POLICIES[job.state]
    counted = problem.scope is Scope.SET  # an outage of hours must not use up the attempts of every set
    found = job.problem if job.state is State.FAILING and job.problem else problem  # what it is buried for stays
    tried = replace(later(job, now), attempts=job.attempts + counted, problem=found)
    if counted and _may_fail(job) and (last := spent(tried, policy, now)):
        return _reject(tried, last, now)
    paused = not counted and problem.lane  # then the pause of the lane is wait enough
    usual_seconds = wait_seconds(tried.attempts, policy, problem, chance)
    pause_seconds = 0.0 if paused else max(urgent_wait_seconds(usual_seconds, job, now), _asked_seconds(problem))
    waiting = replace(tried, state=TABLE[job.state, Signal.RETRY], not_before=now + pause_seconds)
    return Transition(forgetting(waiting), action="repeated", message=problem.message, code=problem.code)


# ---- What a journal may still believe that is older than what was paid, or whose root was copied or moved. Pure -----


SUBMITS: Final = "submits"
"""The journal's key of the count of submits that were allowed to send their last bytes; see `SubmitCount`."""


LOSS: Final = "loss"
"""The journal's key of what is missing in it, until a person accepts that; see `Loss`."""


class Loss(NamedTuple):
    """What a start has found missing in the journal; it stands until a person accepts it."""

    submits: int  # missing, in all
    at: float  # UTC: when the last ones were found missing
    reason: str

    @property
    def number(self) -> int:
        """What a person names who accepts it: a loss that is found later has another one."""
        return int(self.at)

    def notice(self, zone: tzinfo) -> str:
        """Say what people must know."""
        return (
            f"{self.reason}: {self.counted} (found on {local(self.at, zone)}). Sets that were paid by {self.them} are not "
            "known here, and would be paid again if somebody drops them again. Stop the service and put a newer journal or "
            "backup in place; or look into the vendor's account, then accept the loss: `rodin-watchd accept journal`."
        )

    @property
    def counted(self) -> str:
        """How many submits are missing, in words."""
        return "1 submit is missing in it" if self.submits == 1 else f"{self.submits:,} submits are missing in it"

    @property
    def them(self) -> str:
        """The missing submits, in a pronoun."""
        return "it" if self.submits == 1 else "them"


def put_back(copied_at: float, zone: tzinfo) -> str:
    """Say that the journal is the copy of that instant."""
    return f"The journal was restored from its backup of {local(copied_at, zone)}"


def copied(journal: str) -> str:
    """Say that the root's mark names another journal."""
    return f"The root or its journal was copied or moved: the root's mark names the journal {printable(journal, 500)}"


COPIED_TOGETHER: Final = "The root and its journal were copied to another disk or machine, or restored from a backup: the root's mark belongs to another place"
"""The reason where host and path are the same, but not what a copy does not carry over."""

UNMARKED: Final = "The root has no mark, so it may be a copy, and another service may send the same jobs"
"""The reason where the root's mark is missing, and what a copy does not carry over is not as it was or not known."""

OLDER: Final = "The journal is older than what was paid from this folder"
"""The reason where the root counts more submits than the journal knows."""


def hold_unsent(
    job: Job, reason: str, now: float, price: Callable[[Article], Decimal], account: str
) -> tuple[Transition, ...]:
    """Return the moves for a live job that may have been sent elsewhere, for that `reason`; none if it may go on.

    What is held has a purchase that is not known to be free: also where this service's own upload, which was cut off, was.
    What follows a job may have been sent as well, and is not sent when that job is delivered; nor are the other jobs of its set.
    `price` says what an article may have cost, in credits; `account`: whose credits it spent.
    """
    problem, then = _problem(job.title, reason), job.then
    doubted = replace(
        job,
        then=then and replace(then, problem=then.problem or _problem(_named_after(job.title, then.kind), reason)),
        variants=tuple(
            replace(one, problem=one.problem or _problem(f"{job.name}/{one.label}", reason)) for one in job.variants
        ),
    )
    if doubted != job:
        return _held_unsent(doubted, problem, now, price, account) or (noted(doubted, "doubted", problem.message),)
    return _held_unsent(job, problem, now, price, account)


def _held_unsent(
    job: Job, problem: Problem, now: float, price: Callable[[Article], Decimal], account: str
) -> tuple[Transition, ...]:
    # The purchase is written although this service sent nothing: the other one may have, and a budget must know of it.
    if job.state is State.STAGED or (job.state is State.UPLOADING and job.answer is None):
        begun = begin_upload(job, now, price(article_of(job)), account)
        return (begun, _held(begun.job, problem, now))
    if job.state in (State.UPLOADING, State.SUBMITTING):
        has_task = job.answer is not None and isinstance(understood(job, now), Done)
        return () if has_task else (_held(job, problem, now),)
    if job.state is State.CLAIMED and job.task is None:
        return (move(replace(job, problem=problem), Signal.REJECTED, now, problem.message, problem.code),)
    return ()


def _held(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem, answer=None), Signal.UNKNOWN, now, problem.message, problem.code)


def _problem(title: str, reason: str) -> Problem:
    return OutcomeUnknownError(f"{reason}. “{printable(title)}” may have been submitted and charged since.").problem
