"""What people may ask of a job: retry, clear, cancel, choose, and to resolve what is held. The moves are those of `core.machine`.

Whatever may pay again has to be asked for in so many words: the service itself never does it. And whatever a person
asks for is asked of the job as that person saw it (`Seen`): a job that was held again, taken up again or paid for since
then is another one, about which somebody has to decide who has looked at it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import tzinfo
from typing import Any, Final, Self

from rodin_watchd.core import machine
from rodin_watchd.core.batches import price_in_all
from rodin_watchd.core.dedup import by_person, is_by_person
from rodin_watchd.core.failures import is_cleared
from rodin_watchd.core.machine import RESTING, SENDING, TABLE, Signal
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import doing
from rodin_watchd.core.wording import cost, in_credits, local, with_names
from rodin_watchd.errors import (
    FAILED_TASKS,
    CanceledError,
    ChargedRefusalError,
    ChargedTaskLostError,
    CommandRefusedError,
    Fault,
    OutcomeUnknownError,
    RefusedOftenError,
    TaskLostError,
)
from rodin_watchd.model import Job, State, Task, Transition

PAID_AGAIN: Final = "paid-anew"
"""The code of the event of a retry that may pay once more."""

_CHARGED = (ChargedTaskLostError.code, ChargedRefusalError.code)
_OTHER_TASK = (TaskLostError.code, *FAILED_TASKS, CanceledError.code)


def pay_again(job: Job) -> str:
    """Say what to do where only a new submit helps."""
    price = price_in_all(job, lambda one: one.listed)
    return f"`rodin-watchd retry --pay-again JOB` submits it again, for {in_credits(price)}."


@contextlib.contextmanager
def named(job: Job) -> Iterator[None]:
    """Have what is refused about a job name it in the commands that it advises: people copy them word for word."""
    try:
        yield
    except CommandRefusedError as error:
        raise CommandRefusedError(error.message, advice=with_names(error.advice_in_full, job) or " ") from error


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person saw of a job who asks something of it. Two with equal `holds` and `retries` saw the same run of it."""

    state: State
    since_at: float | None  # when it came into that state, UTC
    holds: int  # the number of its newest hold
    retries: int  # how often it was taken up again: the number of its newest failure
    charges: int

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return what is to be seen of a job now."""
        return cls(job.state, job.times.get(job.state.value), job.holds, job.retries, job.charges)

    @classmethod
    def of_data(cls, data: object) -> Self:
        """Return what `as_data` made. Raises CommandRefusedError for anything else: an older version left no such data."""
        try:
            fields: Mapping[str, Any] = dict(data)  # type: ignore[call-overload]  # whatever was left; it is checked here
            since_at = fields["since_at"]
            counts = (int(fields[name]) for name in ("holds", "retries", "charges"))
            return cls(State(fields["state"]), None if since_at is None else float(since_at), *counts)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            reason = "This command does not say which state of the job was seen: it comes from an older version of rodin-watchd."
            raise CommandRefusedError(
                reason, advice="Look at the job (`rodin-watchd show JOB`), then give the command again."
            ) from error

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def refuse_changed(job: Job, seen: Seen, zone: tzinfo) -> None:
    """Raise CommandRefusedError if the job is not any more what a person saw, with what became of it since."""
    if change := _change(job, seen, zone):
        raise CommandRefusedError(
            change,
            advice=f"Look at it (`rodin-watchd show {job.id}`), then decide again. If you give the same command again, "
            "it is about the new state of the job.",
        )


def _change(job: Job, seen: Seen, zone: tzinfo) -> str:
    """Return what became of a job since it was seen, "" if nobody has to decide again."""
    now = f"it is {doing(job)} now, since {local(job.since_at, zone)}."
    same = (job.holds, job.retries, job.charges) == (seen.holds, seen.retries, seen.charges)
    rests = job.state in RESTING
    changes = (
        (job.retries > seen.retries, f"This job was taken up again since you looked: {now}"),
        (
            job.holds > seen.holds and job.state is State.HELD,
            f"This job was submitted again since you looked, and is held again since {local(job.since_at, zone)} (hold {job.holds}).",
        ),
        (job.holds > seen.holds, f"This job was held since you looked, and continued after that: {now}"),
        (job.charges > seen.charges, f"This job was paid for since you looked. Cost: {cost(job)} And {now}"),
        (rests and job.state is not seen.state, f"This job continued since you looked: {now}"),
        (
            not same or (rests and job.times.get(job.state.value) != seen.since_at),
            f"This job is not as you saw it, because another journal was put in place: {now}",
        ),
    )
    return next((found for changed, found in changes if changed), "")


def retry(job: Job, now: float, *, pay_again: bool) -> Transition:
    """Take a failed job up again, from the files in `failed/`.

    A job with a task asks for that task's results, free of charge, unless `pay_again`. Raises CommandRefusedError
    when the job did not fail, or when retrying could pay again and nobody agreed to that.
    """
    if job.state is not State.FAILED:
        raise CommandRefusedError(f"Only a failed job can be retried; {_now(job)}")
    if not pay_again:
        _refuse_to_pay(job)
    if not pay_again:
        return machine.take_up(job, now)
    consent = by_person(job.id, job.retries + 1)  # another's is not used up by this one
    return machine.take_up(replace(job, task=None), now, consent, _given_up(job), PAID_AGAIN)


def _refuse_to_pay(job: Job) -> None:
    """Raise CommandRefusedError when only a new task could help, or when there may be a task that nobody knows."""
    code = job.problem.code if job.problem else ""
    if job.problem and job.task and code in FAILED_TASKS:
        reason = "The vendor reports that this task failed, so asking again cannot help."
        is_unfit = job.problem.fault is Fault.FILES  # the same files would fail again
        raise CommandRefusedError(reason, advice=job.problem.advice if is_unfit else pay_again(job))
    if not job.task and code == OutcomeUnknownError.code:
        reason = "The vendor may have accepted and charged this job already."
        raise CommandRefusedError(reason, advice=pay_again(job))
    if not job.task and code in _CHARGED:
        raise CommandRefusedError("This job was charged already, and no task's id is known.", advice=pay_again(job))
    if not job.task and code == RefusedOftenError.code:
        reason = "The vendor refused this set several times, and may have charged each try."
        raise CommandRefusedError(reason, advice=pay_again(job))


def choose(job: Job, *, take_back: bool) -> Transition:
    """Choose a delivered job among those of its set, or take that back. Raises CommandRefusedError where there is nothing to choose."""
    if job.batch is None:
        reason = "The set of this job makes one job, so there is nothing to choose among."
        raise CommandRefusedError(
            reason, advice="Choose a job of a set that makes several: with seeds, prompts or images."
        )
    if job.state is not State.ARCHIVED:
        raise CommandRefusedError(f"Only a delivered job can be chosen; {_now(job)}")
    if job.chosen is not take_back:
        reason = "This job is chosen already." if job.chosen else "This job is not the chosen one of its set."
        raise CommandRefusedError(reason, advice=" ")
    return machine.choose(job, chosen=not take_back)


def clear(job: Job, place: str) -> Transition:
    """Note that the folder of a failed job is at a place in the archive now. Raises CommandRefusedError if it is not to be moved there."""
    if job.state is not State.FAILED:
        raise CommandRefusedError(f"Only the folder of a failed job can be cleared; {_now(job)}")
    if is_cleared(job):
        raise CommandRefusedError(f"This job was cleared before: its files are in {printable(job.place)}.", advice=" ")
    return machine.clear(job, place)


def _given_up(job: Job) -> str:
    """Name the task that is given up: the history is the only place that keeps it."""
    return f"to be paid again;  the task before was {printable(job.task.uuid)}" if job.task else "to be paid again"


def may_be_canceled(job: Job) -> bool:
    """Return whether a job whose step is under way can be canceled when that has ended."""
    return (job.state, Signal.CANCEL) in TABLE or job.state is State.SUBMITTING


def cancel(job: Job, now: float) -> Transition:
    """Stop a job before its results arrive. Raises CommandRefusedError where that is too late or not the way."""
    if job.state in SENDING and job.answer is not None:
        raise CommandRefusedError(
            "The vendor has answered the submit of this job, and may have charged it.",
            advice=f"Look at it (`rodin-watchd show {job.id}`), then decide again.",
        )
    if (job.state, Signal.CANCEL) not in TABLE:
        advice = "Use `rodin-watchd resolve --give-up JOB`." if job.state is State.HELD else ""
        raise CommandRefusedError(f"A job that is {job.state} cannot be canceled.", advice=advice)
    return machine.cancel(job, _canceled(job).problem, now)


def _canceled(job: Job) -> CanceledError:
    if job.task is None:
        needs_consent = job.charges or is_by_person(job.consent, job.again)
        if not needs_consent:
            return CanceledError("Canceled on request.")
        return CanceledError("Canceled on request.", advice=_ASK, command=pay_again(job))
    return CanceledError(
        "Canceled on request. It was already paid for.",
        advice=_ASK,
        command="`rodin-watchd retry JOB` fetches the result after all, free of charge.",
    )


_ASK = "If you want it after all, ask the person who runs the service."


def resolve_not_charged(job: Job, now: float) -> Transition:
    """Take a person's word that a held job was not charged: submit again.

    Raises CommandRefusedError if the job is not held, or if the balance has shown that it was charged.
    """
    if _is_charged(_held(job)):
        raise CommandRefusedError(
            "The balance shows that this job was charged.",
            advice=f"To pay once more, use `rodin-watchd resolve --give-up JOB`; then {pay_again(job)}",
        )
    return machine.send_again(replace(job, refused=0) if _is_refused_often(job) else job, now)


def resolve_adopt(job: Job, task: Task, now: float) -> Transition:
    """Adopt the task that a person found for a held job; or one for a failed job whose task the vendor does not know, or calls failed.

    The latter is how a mistyped id is put right, or a task is asked for that failed and is done after all: free of charge, and nothing
    more is counted. The former costs what its submit reserved, unless the task says what it took. Raises
    CommandRefusedError if the job is neither, or if the task's id is not one line of text.
    """
    if not task.uuid.strip() or not task.uuid.isprintable():
        raise CommandRefusedError(
            "The task has no usable id.", advice="Copy the task's UUID from the vendor's account."
        )
    if job.state is State.FAILED and job.task and job.problem and job.problem.code in _OTHER_TASK:
        return retry(replace(job, task=task, problem=None), now, pay_again=False)
    held = _held(job)
    if _is_refused_often(held) and held.refused > 0:  # the newest refusal was a charge
        held = replace(held, refused=held.refused - 1)
    return machine.adopt(held, task, now, is_booked=_is_charged(held))


def _is_refused_often(job: Job) -> bool:
    """Return whether the question to a person is whether refusals were charged."""
    return job.problem is not None and job.problem.code == RefusedOftenError.code


def _is_charged(job: Job) -> bool:
    """Return whether the balance has shown that the submit was charged: then it is counted already."""
    return job.problem is not None and job.problem.code in _CHARGED


def resolve_give_up(job: Job, now: float) -> Transition:
    """Bury a held job with what is known. Raises CommandRefusedError if the job is not held."""
    problem = _held(job).problem
    command = f"Look into the vendor's account first. {pay_again(job)}"
    found = replace(problem, advice=_ASK, command=command) if problem else None
    return machine.give_up(job, found, now)


def _held(job: Job) -> Job:
    if job.state is not State.HELD:
        raise CommandRefusedError(f"Only a held job needs resolving; {_now(job)}")
    return job


def _now(job: Job) -> str:
    return f"this one is {job.state}: {doing(job)}."
