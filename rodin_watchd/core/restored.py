"""What a journal that was put back from a backup may still believe. Pure.

Between the copy and now the service may have submitted, and paid for, whatever the copy takes for unsent. Nothing tells
from here: so it is held for a person, or, where it was not even taken from the inbox, failed with that reason. A job that
has its task goes on: asking for results is free, and what was delivered before is found by its receipt.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import tzinfo

from rodin_watchd.core.machine import Signal, begin_upload, move
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import OutcomeUnknownError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.problem import Problem


def after_restore(job: Job, copied_at: float, now: float, zone: tzinfo) -> tuple[Transition, ...]:
    """Return the moves for a live job of a journal that was copied at `copied_at` and put back now; none if it may go on."""
    problem = _problem(job, copied_at, zone)
    if job.state is State.STAGED:
        begun = begin_upload(job, now)
        return (begun, _held(begun.job, problem, now))
    if job.state in (State.UPLOADING, State.SUBMITTING):
        return (_held(job, problem, now),)
    if job.state is State.CLAIMED and job.task is None:
        return (move(replace(job, problem=problem), Signal.REJECTED, now, problem.message, problem.code),)
    return ()


def _held(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem, answer=None), Signal.UNKNOWN, now, problem.message, problem.code)


def _problem(job: Job, copied_at: float, zone: tzinfo) -> Problem:
    return OutcomeUnknownError(
        f"The journal was put back from its backup of {local(copied_at, zone)}: “{printable(job.name)}” may have been "
        "submitted and charged since."
    ).problem
