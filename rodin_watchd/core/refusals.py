"""Refusals: what becomes of a set that the vendor refused. Pure functions on frozen values.

A refusal (429, 4xx, an error code, a moved address; before the whole body was sent also 5xx) proves nothing: a gateway may
say "too many requests" of a set that the vendor behind it accepts and charges, a vendor may charge at a request's first
bytes, and an answer that is repeated for ever would pay each time. So a refused
purchase counts as spent until it is shown to have been free, by the balance (`core.proof`) or by a person, and before
that is tried no other submit begins.

What stays unclear is bounded: MOST_FOR_A_SET for one content, one where a person has allowed the submit, MOST_IN_A_ROW for
the account since it accepted one. A refusal that the vendor documents as free, and that is about the account (no credits, no
subscription, its limit of tasks), says nothing of a set: while such a job is alive its refusals are bounded as those that are
shown to be free. What is
shown to be free is bounded as well, for a balance may be wrong (`core.balance`): MOST_TRIES for one content, MOST_DOCUMENTED
where the vendor refused by a code that it documents as free of charge, MOST_TRIES_IN_A_ROW for the account. Whatever
reaches a bound is held for a person, and no submit begins while the account's bound is reached, or while a job is held that
the balance has shown to be charged and refused: this vendor charges for refusals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from rodin_watchd.core.kinds import cheapest
from rodin_watchd.core.machine import book_refusals, clear_refusals, hold_refused
from rodin_watchd.core.proof import Proof, Refusal, Settled, Verdict
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import ChargedRefusalError, NoCreditsError, RefusedOftenError, TaskLimitError
from rodin_watchd.model import Job, State, Transition

MOST_FOR_A_SET: Final = 2
"""How many refused submits of one content may be unclear, over all jobs, retries and repeated drops."""

MOST_IN_A_ROW: Final = 6
"""How many refused submits of the account may be unclear since the newest one that was accepted."""

MOST_PASSED: Final = 3
"""How many refused submits that look free at the first glance may wait for their verdict while others are sent."""

MOST_TRIES: Final = 4
"""How many submits of one content that could have been charged may fail, whatever the balance shows."""

MOST_DOCUMENTED: Final = 12
"""The same, where the newest was refused by a documented code and shown to be free."""

MOST_TRIES_IN_A_ROW: Final = 24
"""How many such submits of the account may fail since one was accepted, or a person has looked."""

BESIDE: Final = "sent-beside-the-newest-charge"
"""The journal's key of the purchases whose submits were under way when the newest one was charged: they are answered after that."""

LOOKED: Final = "person-looked"
"""The journal's key of the newest purchase at the time when a person decided last about a held job."""

_LONGEST_REFUSAL: Final = 150

_JUDGED: Final = frozenset({State.STAGED, State.FAILING})
"""Where a refused job waits until it is known what that cost."""


class InARow(NamedTuple):
    """The account's submits since the newest one that was accepted."""

    unclear: int  # refused, and not known to have been free
    tries: int  # all that could have been charged, since a person has looked

    @property
    def why_stopped(self) -> str:
        """Say why no further one may begin, "" if one may."""
        if self.unclear >= MOST_IN_A_ROW:
            return f"The vendor refused {self.unclear} sets in a row"
        if self.tries >= MOST_TRIES_IN_A_ROW:
            return f"{self.tries} submits in a row had no success"
        return ""


class FailedTries(NamedTuple):
    """The submits of one content that came to nothing."""

    unclear: int  # refused, and not known to have been free
    tries: int  # all that could have been charged
    allowed: bool = False  # whether any of the unclear ones was sent because a person allowed it: one word, one submit


def is_about_account(job: Job) -> bool:
    """Return whether the vendor has refused a job for its account, by a code that it documents as free of charge."""
    codes = (NoCreditsError.code, TaskLimitError.code)
    return job.refused > 0 and job.problem is not None and job.problem.documented and job.problem.code in codes


def counted(in_a_row: InARow, jobs: Iterable[Job]) -> InARow:
    """Return the account's submits in a row, without those whose refusal is about the account among the unclear ones."""
    about_account = sum(job.refused for job in jobs if is_about_account(job))
    return in_a_row._replace(unclear=max(in_a_row.unclear - about_account, 0))


def room(in_a_row: InARow, sending: int, *, judging: bool) -> int:
    """Return how many more submits may begin: one at a time while refusals are unclear, and never more than the bounds.

    `sending`: submits under way, each of which could be the next one without success. `judging`: whether any refusal waits for
    its verdict, also one from before the newest submit that was accepted.
    """
    if in_a_row.why_stopped:
        return 0
    most = 1 if in_a_row.unclear or judging else MOST_IN_A_ROW
    return max(min(most, MOST_TRIES_IN_A_ROW - in_a_row.tries) - sending, 0)


def judged_jobs(refusals: Iterable[Refusal], jobs: Iterable[Job]) -> list[Job]:
    """Return the live jobs that wait until it is known what their refusal cost."""
    refused = {refusal.job_id for refusal in refusals}
    return [job for job in jobs if job.id in refused and job.state in _JUDGED]


def let_go(job: Job, proof: Proof) -> Transition:
    """Note that what was refused cost nothing: the job goes on as it would have."""
    return clear_refusals(job, proof.reason)


def charged(job: Job, refusals: Sequence[Refusal], proof: Proof, now: float) -> Transition:
    """Hold a job that is concerned by a charge for a refusal, and count what it is known to have cost.

    `refusals` are those that were looked into; where not all of them were charged, and they are not all of this job, which
    ones is a guess that the books need: the newest.
    """
    costs = [refusal.cost for refusal in proof.charged if refusal.job_id == job.id]
    own = len(costs)
    sets = {refusal.job_id for refusal in refusals}
    unsure = 0 < len(proof.charged) < len(refusals) and len(sets) > 1
    which = (
        f" It charged {len(proof.charged)} of {len(refusals)} refused submits of {len(sets)} sets, maybe not this one."
    )
    message = f"{proof.reason}{which if unsure else ''} The vendor's refusal: {_said(job)}"
    problem = (ChargedRefusalError if own else RefusedOftenError)(message).problem
    return book_refusals(job, costs, problem, now)


def held_often(job: Job, of_the_set: FailedTries, in_a_row: InARow, proof: Proof, now: float) -> Transition | None:
    """Hold a refused job whose submits reach a bound; None while they do not.

    One that the balance shows to be free is held with that: the balance may be wrong, so it is not asked for ever.
    """
    is_free = proof.verdict is Verdict.NOT_CHARGED
    about_account = is_about_account(job)
    documented = job.problem is not None and job.problem.documented
    most = MOST_DOCUMENTED if about_account or (is_free and documented) else MOST_TRIES
    most_unclear = MOST_DOCUMENTED if about_account else MOST_FOR_A_SET
    reached = _unclear_often(of_the_set, most_unclear) or _reached(of_the_set, in_a_row, most)
    if not reached:
        return None
    message = f"{reached} {_each(job, is_free=is_free)} {proof.reason} The vendor's refusal: {_said(job)}"
    return hold_refused(job, RefusedOftenError(message).problem, now, is_free=is_free)


def _unclear_often(of_the_set: FailedTries, most: int) -> str:
    """Say that no more refusals of a set may be unclear, "" if another one may."""
    if of_the_set.unclear >= most:
        return f"The vendor refused this set {of_the_set.unclear} times."
    return "The vendor refused this set, which a person had allowed to pay for once." if of_the_set.allowed else ""


def bound(job: Job, of_the_set: FailedTries, in_a_row: InARow) -> str:
    """Say why a set whose answer was lost is not sent again although it looks free, "" if it is."""
    reached = _reached(of_the_set, in_a_row, MOST_TRIES)
    return f"{reached} {_each(job, is_free=True)}" if reached else ""


def _reached(of_the_set: FailedTries, in_a_row: InARow, most: int) -> str:
    """Say which bound is reached by submits that came to nothing, "" if none is."""
    if of_the_set.tries >= most:
        return f"This set was submitted {of_the_set.tries} times without success."
    return f"{in_a_row.why_stopped}, this one among them." if in_a_row.why_stopped else ""


def _each(job: Job, *, is_free: bool) -> str:
    cost = in_credits(job.price)
    return f"If the balance is late, each try may have cost {cost}." if is_free else f"Each try may have cost {cost}."


def held_beside(job: Job, in_a_row: InARow, now: float) -> Transition:
    """Hold a job whose earlier refusals are unclear, when a bound of the account is reached."""
    message = (
        f"{in_a_row.why_stopped}, this one among them. {_each(job, is_free=False)} The vendor's refusal: {_said(job)}"
    )
    return hold_refused(job, RefusedOftenError(message).problem, now)


def _said(job: Job) -> str:
    return plain(job.problem.message, _LONGEST_REFUSAL) if job.problem else "none is known."


def outcomes(refusals: Iterable[Refusal], proof: Proof) -> list[Settled]:
    """Return what the balance makes of the refused purchases."""
    if proof.verdict is Verdict.NOT_CHARGED:
        return [Settled(refusal.purchase, "free") for refusal in refusals]
    return [Settled(refusal.purchase, "charged") for refusal in proof.charged]


def of_this_root(proof: Proof, refused: Sequence[Refusal], own: Iterable[Refusal]) -> Proof:
    """Return a proof about what was `refused` in all roots as it concerns this one, which settles its `own` refusals alone.

    Where not all of them were charged, and they are not all of this root, which ones is a guess. Each root then holds what it had
    refused and books nothing: what one of them booked would look to the others as if theirs had been free.
    """
    mine = {refusal.purchase for refusal in own}
    is_guess = len(proof.charged) < len(refused) and any(refusal.purchase not in mine for refusal in refused)
    return replace(proof, charged=() if is_guess else tuple(one for one in proof.charged if one.purchase in mine))


def is_charged_refusal(job: Job) -> bool:
    """Return whether a job is held because the vendor charged and refused it."""
    return job.state is State.HELD and job.problem is not None and job.problem.code == ChargedRefusalError.code


def why_stopped(in_a_row: InARow, jobs: Iterable[Job]) -> str:
    """Say why no submit may begin until a person has decided, "" if one may."""
    live = list(jobs)
    if any(map(is_charged_refusal, live)):
        return "The vendor charged a set although it refused it."
    if in_a_row.why_stopped:
        most = max((job.listed for job in live if job.refused), default=cheapest().listed)
        return f"{in_a_row.why_stopped}; each may have cost {in_credits(most)}."
    return ""


# ---- a person's word ------------------------------------------------------------------------------------------------


def awaits_word(job: Job) -> bool:
    """Return whether a person is asked about a job's refusals: their decision settles the purchases that are `refused`."""
    codes = (RefusedOftenError.code, ChargedRefusalError.code)
    return job.state is State.HELD and job.problem is not None and job.problem.code in codes


def settled(before: Job, after: Job, refusals: Iterable[Refusal]) -> list[Settled]:
    """Return what a person's decision about a held job makes of the refused purchases of its content.

    Not charged: free. A task was found: the job's newest was charged. Given up: unknown, like a lost answer: not sent again
    unasked, and no longer a reason to stop the others.
    """
    if not awaits_word(before):
        return []
    match before.state, after.state:
        case State.HELD, State.STAGED:
            return [Settled(refusal.purchase, "free", decided=True) for refusal in refusals]
        case State.HELD, State.FAILING:
            return [Settled(refusal.purchase, "unknown", decided=True) for refusal in refusals]
        case State.HELD, State.SUBMITTED if after.charges > before.charges:
            newest = max((refusal.purchase for refusal in refusals if refusal.job_id == before.id), default=0)
            return [Settled(newest, "charged", decided=True)] if newest else []
    return []
