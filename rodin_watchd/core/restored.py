"""What a journal may still believe that is older than what was paid, or whose root was copied or moved. Pure.

It is a backup or an older copy that was put back, or one without its write-ahead log.

Between what it knows last and now another service, or this one, may have submitted, and paid for, whatever the journal takes for
unsent. Nothing tells from here: so it is held for a person, or, where it was not even taken from the inbox, failed with
that reason. A job that has its task goes on: asking for results is free, and what was delivered before is found by its
receipt.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from rodin_watchd.core.machine import Signal, begin_upload, move, understood
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import OutcomeUnknownError
from rodin_watchd.model import Done, Job, State, Transition
from rodin_watchd.problem import Problem

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
            f"{self.reason}: {self.counted} (found on {local(self.at, zone)}). What was paid for by {self.them} is not known "
            "here, and would be paid for once more if somebody drops it again. Stop the service and put a newer journal or "
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
    return f"The journal was put back from its backup of {local(copied_at, zone)}"


def copied(journal: str) -> str:
    """Say that the root's mark names another journal."""
    return f"The root or its journal was copied or moved: the root's mark names the journal {printable(journal, 500)}"


COPIED_TOGETHER: Final = "The root and its journal were copied to another disk or machine, or put back from a backup: the root's mark was left elsewhere"
"""The reason where host and path are the same, but not what a copy does not carry over."""

UNMARKED: Final = (
    "The root came without its mark, so it may be a copy, and another service may send what this journal knows"
)
"""The reason where the root's mark is missing, and what a copy does not carry over is not as it was or not known."""

OLDER: Final = "The journal is older than what was paid from this folder"
"""The reason where the root counts more submits than the journal knows."""


def hold_unsent(job: Job, reason: str, now: float, price: Decimal, account: str) -> tuple[Transition, ...]:
    """Return the moves for a live job that may have been sent elsewhere, for that `reason`; none if it may go on.

    What is held has a purchase that is not known to be free: also where this service's own upload, which was cut off, was.
    `price`: what a submit of it may have cost, in credits; `account`: whose credits it spent.
    """
    problem = _problem(job, reason)
    if job.state is State.STAGED or (job.state is State.UPLOADING and job.answer is None):
        begun = begin_upload(job, now, price, account)
        return (begun, _held(begun.job, problem, now))
    if job.state in (State.UPLOADING, State.SUBMITTING):
        has_task = job.answer is not None and isinstance(understood(job, now), Done)
        return () if has_task else (_held(job, problem, now),)
    if job.state is State.CLAIMED and job.task is None:
        return (move(replace(job, problem=problem), Signal.REJECTED, now, problem.message, problem.code),)
    return ()


def _held(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem, answer=None), Signal.UNKNOWN, now, problem.message, problem.code)


def _problem(job: Job, reason: str) -> Problem:
    return OutcomeUnknownError(f"{reason}. “{printable(job.name)}” may have been submitted and charged since.").problem
