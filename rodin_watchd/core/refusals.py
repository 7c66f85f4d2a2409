"""Refusals: what becomes of a set that the vendor refused. Pure functions on frozen values.

A refusal (429, 4xx, an error code, a moved address; before the whole body was sent also 5xx) proves nothing: a gateway may
say "too many requests" of a set that the vendor behind it accepts and charges, a vendor may charge at a request's first
bytes, and an answer that is repeated for ever would pay each time. So a refused
purchase counts as spent until it is shown to have been free, by the balance (`core.proof`) or by a person, and before
that is tried no other submit begins.

What stays unclear is bounded: MOST_FOR_A_SET for one content, MOST_IN_A_ROW for the account since it accepted one. Whatever
reaches a bound is held for a person, and no submit begins while the account's bound is reached, or while a job is held that
the balance has shown to be charged and refused: this vendor charges for refusals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rodin_watchd.core.machine import Signal, move
from rodin_watchd.core.pauses import Pause, Pauses
from rodin_watchd.core.proof import Proof, Refusal, Settled, Verdict
from rodin_watchd.core.receipt import in_credits
from rodin_watchd.core.wire_text import plain
from rodin_watchd.errors import ChargedRefusalError, RefusalsError, RefusedOftenError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, State, Transition
from rodin_watchd.problem import Lane, Problem

MOST_FOR_A_SET: Final = 2
"""So many refused submits of one content may be unclear, over all jobs, retries and repeated drops."""

MOST_IN_A_ROW: Final = 6
"""So many refused submits of the account may be unclear since the newest one that was accepted."""

_LONGEST_REFUSAL: Final = 150

_JUDGED: Final = frozenset({State.STAGED, State.FAILING})
"""Where a refused job waits until it is known what that cost."""


def room(in_a_row: int, sending: int) -> int:
    """Return how many more submits may begin: one at a time while refusals are unclear, and never more than the bound.

    `in_a_row`: the account's unclear refusals; `sending`: submits under way, each of which could be the next one.
    """
    return max((1 if in_a_row else MOST_IN_A_ROW) - sending, 0) if in_a_row < MOST_IN_A_ROW else 0


def judged_jobs(refusals: Iterable[Refusal], jobs: Iterable[Job]) -> list[Job]:
    """Return the live jobs that wait until it is known what their refusal cost."""
    refused = {refusal.job_id for refusal in refusals}
    return [job for job in jobs if job.id in refused and job.state in _JUDGED]


def let_go(job: Job, proof: Proof) -> Transition:
    """Note that what was refused cost nothing: the job goes on as it would have."""
    return Transition(replace(job, refused=0), "not-charged", proof.reason)


def charged(job: Job, refusals: Sequence[Refusal], proof: Proof, now: float) -> Transition:
    """Hold a job that is concerned by a charge for a refusal, and count what it is known to have cost.

    `refusals` are those that were looked into; where not all of them were charged, and they are not all of this job, which
    ones is a guess that the books need: the newest.
    """
    costs = [refusal.cost for refusal in proof.charged if refusal.job_id == job.id]
    own = len(costs)
    sets = {refusal.job_id for refusal in refusals}
    unsure = len(proof.charged) < len(refusals) and len(sets) > 1
    which = f" It charged {len(proof.charged)} of {len(refusals)} refused submits of {len(sets)} sets, perhaps not this one."
    message = f"{proof.reason}{which if unsure else ''} The vendor's refusal: {_said(job)}"
    problem = (ChargedRefusalError if own else RefusedOftenError)(message).problem
    booked = replace(job, charges=job.charges + own, spent=sum(costs, job.spent), refused=max(job.refused - own, 0))
    return _held(booked, problem, now)


def held_often(job: Job, of_the_set: int, in_a_row: int, proof: Proof, now: float) -> Transition | None:
    """Hold a job whose refusals stay unclear and reach a bound; None while they do not.

    `of_the_set` counts the unclear refusals of its content, `in_a_row` those of the account.
    """
    each = f"Each try may have cost {in_credits(CREDITS_PER_TEXTURE)}."
    if of_the_set >= MOST_FOR_A_SET:
        told = f"The vendor refused this set {of_the_set} times. {each}"
    elif in_a_row >= MOST_IN_A_ROW:
        told = f"The vendor refused {in_a_row} sets in a row, this one among them. {each}"
    else:
        return None
    return _held(job, RefusedOftenError(f"{told} {proof.reason} The vendor's refusal: {_said(job)}").problem, now)


def _held(job: Job, problem: Problem, now: float) -> Transition:
    return move(replace(job, problem=problem), Signal.HOLD, now, problem.message)


def _said(job: Job) -> str:
    return plain(job.problem.message, _LONGEST_REFUSAL) if job.problem else "none is known."


def outcomes(refusals: Iterable[Refusal], proof: Proof) -> list[Settled]:
    """Return what the balance makes of the refused purchases."""
    if proof.verdict is Verdict.NOT_CHARGED:
        return [Settled(refusal.purchase, "free") for refusal in refusals]
    return [Settled(refusal.purchase, "charged") for refusal in proof.charged]


def is_charged_refusal(job: Job) -> bool:
    """Tell whether a job is held because the vendor charged and refused it."""
    return job.state is State.HELD and job.problem is not None and job.problem.code == ChargedRefusalError.code


def stopped(pauses: Pauses, in_a_row: int, jobs: Iterable[Job], now: float) -> Pauses:
    """Return the pauses with one of all submits that lasts until a person has decided, or without it."""
    others: dict[Lane, Pause] = {lane: pause for lane, pause in pauses.items() if lane is not Lane.REFUSALS}
    if any(map(is_charged_refusal, jobs)):
        told = "The vendor charged a set and refused it all the same."
    elif in_a_row >= MOST_IN_A_ROW:
        cost = in_credits(CREDITS_PER_TEXTURE)
        told = f"The vendor refused {in_a_row} sets in a row; each may have cost {cost}."
    else:
        return others if len(others) < len(pauses) else pauses
    old = pauses.get(Lane.REFUSALS)
    return {**others, Lane.REFUSALS: Pause(RefusalsError(told).problem, old.since_at if old else now, math.inf)}


# ---- a person's word ------------------------------------------------------------------------------------------------


def settled(before: Job, after: Job, refusals: Iterable[Refusal]) -> list[Settled]:
    """Return what a person's decision about a held job makes of the refused purchases of its content.

    Not charged: free. A task was found: the job's newest was charged. Given up: unknown, like a lost answer: not sent again
    unasked, and no longer a reason to stop the others.
    """
    if not (before.problem and before.problem.code in (RefusedOftenError.code, ChargedRefusalError.code)):
        return []
    match before.state, after.state:
        case State.HELD, State.STAGED:
            return [Settled(refusal.purchase, "free", told=True) for refusal in refusals]
        case State.HELD, State.FAILING:
            return [Settled(refusal.purchase, "unknown", told=True) for refusal in refusals]
        case State.HELD, State.SUBMITTED if after.charges > before.charges:
            newest = max((refusal.purchase for refusal in refusals if refusal.job_id == before.id), default=0)
            return [Settled(newest, "charged", told=True)] if newest else []
    return []
