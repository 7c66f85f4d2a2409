"""What people may ask of a job: retry, cancel, and to resolve what is held. The moves are those of `core.machine`.

Whatever may pay again has to be asked for in so many words: the service itself never does it.
"""

from __future__ import annotations

from dataclasses import replace

from rodin_watchd.core.machine import TABLE, Signal, move
from rodin_watchd.core.names import printable
from rodin_watchd.errors import (
    CanceledError,
    ChargedRefusalError,
    ChargedTaskLostError,
    CommandRefusedError,
    OutcomeUnknownError,
    RefusedOftenError,
    TaskFailedError,
)
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, State, Task, Transition

_CHARGED = (ChargedTaskLostError.code, ChargedRefusalError.code)
PAY_AGAIN = f"`rodin-watchd retry --pay-again JOB` submits it anew, for {CREDITS_PER_TEXTURE} credits."
"""What to do where only a new submit helps."""


def retry(job: Job, now: float, *, pay_again: bool) -> Transition:
    """Take a failed job up again, from the files in `failed/`.

    A job with a task asks for that task's results, free of charge, unless `pay_again`. Raises CommandRefusedError
    when the job did not fail, or when retrying could pay again and nobody agreed to that.
    """
    if job.state is not State.FAILED:
        raise CommandRefusedError(f"Only a failed job can be retried; this one is {job.state}.")
    if not pay_again:
        _refuse_to_pay(job)
    fresh = replace(
        job,
        files=tuple(replace(f, source=f"{job.place}/{f.name}", shared=False) for f in job.files),
        fingerprint="",  # known again when staged; until then the content may belong to another job
        task=None if pay_again else job.task,
        again=job.again or pay_again,
        problem=None,
        answer=None,
        results=(),
        progress="",
        working_at=0.0,
        times={},
        retries=job.retries + 1,
    )
    return move(fresh, Signal.ASK_RETRY, now, _given_up(job) if pay_again else "")


def _refuse_to_pay(job: Job) -> None:
    """Raise CommandRefusedError when only a new task could help, or when there may be a task that nobody knows."""
    code = job.problem.code if job.problem else ""
    if job.task and code == TaskFailedError.code:
        reason = "The vendor reports that this task failed, so asking again cannot help."
        raise CommandRefusedError(reason, advice=PAY_AGAIN)
    if not job.task and code == OutcomeUnknownError.code:
        reason = "The vendor may have accepted and charged this job already."
        raise CommandRefusedError(reason, advice=PAY_AGAIN)
    if not job.task and code in _CHARGED:
        raise CommandRefusedError("This job was charged already, and no task's id is known.", advice=PAY_AGAIN)
    if not job.task and code == RefusedOftenError.code:
        reason = "The vendor refused this set again and again, and may have charged each try."
        raise CommandRefusedError(reason, advice=PAY_AGAIN)


def _given_up(job: Job) -> str:
    """Name the task that is given up: the history is the only place that keeps it."""
    return f"to be paid anew; the task before was {printable(job.task.uuid)}" if job.task else "to be paid anew"


def cancel(job: Job, now: float) -> Transition:
    """Stop a job before its results arrive. Raises CommandRefusedError where that is too late or not the way."""
    if (job.state, Signal.CANCEL) not in TABLE:
        advice = "Use `rodin-watchd resolve --give-up JOB`." if job.state is State.HELD else ""
        raise CommandRefusedError(f"A job that is {job.state} cannot be canceled.", advice=advice)
    return move(replace(job, problem=_canceled(job).problem), Signal.CANCEL, now)


def _canceled(job: Job) -> CanceledError:
    if job.task is None:
        return CanceledError("Canceled on request.")
    return CanceledError(
        "Canceled on request. It was already paid for.",
        advice="`rodin-watchd retry JOB` fetches the result after all, free of charge.",
    )


def resolve_not_charged(job: Job, now: float) -> Transition:
    """Take a person's word that a held job was not charged: submit again.

    Raises CommandRefusedError if the job is not held, or if the balance has shown that it was charged.
    """
    if _is_charged(_held(job)):
        raise CommandRefusedError(
            "The balance shows that this job was charged.",
            advice=f"To pay once more, use `rodin-watchd resolve --give-up JOB`; then {PAY_AGAIN}",
        )
    refused = 0 if _is_refused_often(job) else job.refused
    return move(replace(job, problem=None, answer=None, refused=refused), Signal.NOT_CHARGED, now)


def resolve_adopt(job: Job, task: Task, now: float) -> Transition:
    """Adopt the task that a person found for a held job.

    Raises CommandRefusedError if the job is not held, or if the task's id is not one line of text.
    """
    if not task.uuid.strip() or not task.uuid.isprintable():
        raise CommandRefusedError(
            "The task has no usable id.", advice="Copy the task's UUID from the vendor's account."
        )
    held = _held(job)
    adopted = replace(
        held,
        problem=None,
        answer=None,
        task=task,
        charges=job.charges + (not _is_charged(job)),
        refused=job.refused - (_is_refused_often(job) and job.refused > 0),
    )
    return move(adopted, Signal.ADOPT, now)


def _is_refused_often(job: Job) -> bool:
    """Tell whether the question to a person is whether refusals were charged."""
    return job.problem is not None and job.problem.code == RefusedOftenError.code


def _is_charged(job: Job) -> bool:
    """Tell whether the balance has shown that the submit was charged: then it is counted already."""
    return job.problem is not None and job.problem.code in _CHARGED


def resolve_give_up(job: Job, now: float) -> Transition:
    """Bury a held job with what is known. Raises CommandRefusedError if the job is not held."""
    problem = _held(job).problem
    told = replace(problem, advice=f"Look into the vendor's account first. {PAY_AGAIN}") if problem else None
    return move(replace(job, problem=told), Signal.GIVE_UP, now)


def _held(job: Job) -> Job:
    if job.state is not State.HELD:
        raise CommandRefusedError(f"Only a held job needs resolving; this one is {job.state}.")
    return job
