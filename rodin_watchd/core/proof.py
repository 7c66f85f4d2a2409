"""Proof by balance: whether a submit whose answer is lost was charged. Pure functions on frozen values.

The arithmetic holds for an account that nobody else spends from (`budget.sole_spender`). The balance was read while no
submit was open (the *baseline*); `Since` sums up what this service bought after it. With n submits of unknown outcome the
balance must now be lower by what the accepted ones cost, and by the unknown ones that were accepted as well. Nothing more:
none of them was charged. Lower by the list price of all n: each was. Anything else cannot be told apart from a stranger's purchase, a top-up
or a refund, and proves nothing.

A refund could hide a charge: minus one, plus one. So nothing is proven while a task is open, and nothing after a paid
task failed or was lost, unless that lies more than REFUND_SECONDS before the baseline. A person's word about a submit is
no figure of the vendor's: nothing is proven after one, until there is a new baseline. A charge could come late: so the
balance is read twice, READ_AFTER_SECONDS after the last submit or task ended, and both readings must agree. What remains
to be believed is in docs/money.md.

What the vendor says that a task took beats the list price (`consumed`). Where it took nothing, no balance tells whether a
submit was accepted: nothing is proven while the newest known task cost nothing.

A vendor that rounds its balances to whole credits would hide a texture's half (API contract, Check Balance: "integer"). So
nothing is proven until the account has shown a part of a credit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Self

from rodin_watchd.core.machine import POLICIES, Signal, move
from rodin_watchd.core.patience import spent, wait_seconds
from rodin_watchd.core.receipt import in_credits
from rodin_watchd.errors import ChargedTaskLostError, VendorAnswerError
from rodin_watchd.model import Job, Transition

READ_AFTER_SECONDS: Final = (20.0, 60.0)
"""The balance is read so long (monotonic) after nothing of ours was open any more."""

LONGEST_SECONDS: Final = 900.0
"""So long (monotonic) new submits are held back for a proof; then it is given up and a person decides."""

REFUND_SECONDS: Final = 86_400.0
"""A failed or lost task this long before the baseline counts as refunded by then, if it ever is."""

BASELINE: Final = "baseline"
"""The journal's key of the balance that proofs start from. Only the journal that stored it may believe it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A balance that was read while no submit was open; durable."""

    balance: Decimal
    purchase: int  # the newest purchase at that moment
    read_at: float  # UTC

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"balance": str(self.balance), "purchase": self.purchase, "read_at": self.read_at}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the baseline that `as_data` stored."""
        return cls(Decimal(data["balance"]), data["purchase"], data["read_at"])


@dataclass(frozen=True, slots=True)
class Since:
    """What this service bought after a baseline."""

    charged: Decimal  # what accepted submits cost, credits
    unknown: int  # submits whose outcome nobody knows
    at_stake: Decimal  # what those cost by the list if they were accepted, credits
    undecided: frozenset[str]  # the jobs of those that may still be decided
    refundable: int  # paid tasks that failed or are lost: the vendor might pay back
    told: int  # submits that a person has decided about
    gratis: bool = False  # the newest submit that is known to be accepted cost nothing


class Verdict(Enum):
    """What the balance says about submits of unknown outcome."""

    NOT_CHARGED = "not charged"
    CHARGED = "charged"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Proof:
    """A verdict, with its reason for people."""

    verdict: Verdict
    reason: str


def shows_parts(balance: Decimal) -> bool:
    """Tell whether a balance is no whole number: then the vendor does not round."""
    return balance % 1 != 0


def judged(baseline: Baseline, since: Since, readings: Sequence[Decimal], *, exact: bool) -> Proof:
    """Decide what two readings (credits) prove about all unknown submits since the baseline.

    `exact` tells whether the account has ever shown a part of a credit.
    """
    if reason := _proves_nothing(baseline, since, readings, exact=exact):
        return Proof(Verdict.UNDECIDED, f"The balance cannot tell: {reason}.")
    told = f"the balance was {in_credits(baseline.balance)} before and is {in_credits(readings[-1])} after"
    if since.charged:
        told += f" {in_credits(since.charged)} that are known"
    lower = baseline.balance - readings[-1] - since.charged
    if lower == 0:
        return Proof(Verdict.NOT_CHARGED, f"Proven not charged: {told}.")
    if lower == since.at_stake:
        return Proof(Verdict.CHARGED, f"It was charged: {told}.")
    if 0 < lower < since.at_stake:
        some = f"{in_credits(lower)} of {since.unknown} submits without an answer"
        return Proof(Verdict.UNDECIDED, f"The balance cannot tell which were charged, {some} were: {told}.")
    return Proof(Verdict.UNDECIDED, f"The balance cannot tell: {told}, so somebody else spends or pays in.")


def _proves_nothing(baseline: Baseline, since: Since, readings: Sequence[Decimal], *, exact: bool) -> str:
    """Return why no sum can prove anything, "" if one can."""
    if len(set(readings)) > 1:
        return "it changed between two readings"
    if not (exact or any(map(shows_parts, (baseline.balance, *readings)))):
        return "so far it was only ever shown in whole credits"
    if since.gratis:
        return "the newest task that is known cost nothing, and so may this one"
    if since.told:
        return "a person has decided about another submit meanwhile"
    return "a paid task failed or is lost, and its refund could hide a charge" if since.refundable else ""


def concluded(job: Job, proof: Proof, now: float, chance: float) -> tuple[Transition, ...]:
    """Return what a verdict makes of a held job: it is submitted again, or stays held with what is known now."""
    if proof.verdict is Verdict.NOT_CHARGED:
        return _sent_again(job, proof.reason, now, chance)
    if proof.verdict is Verdict.CHARGED:
        lost = ChargedTaskLostError(f"{proof.reason} The task's id is lost with the answer.").problem
        charged = replace(job, problem=lost, charges=job.charges + 1, spent=job.spent + job.price)
        return (Transition(charged, "charged", proof.reason, lost.code),)
    told = replace(job.problem, message=f"{job.problem.message} {proof.reason}") if job.problem else None
    return (Transition(replace(job, problem=told), "undecided", proof.reason),)


def _sent_again(job: Job, reason: str, now: float, chance: float) -> tuple[Transition, ...]:
    """Count an attempt and wait a while, so that a set which the vendor cannot take holds no other up for ever."""
    staged = move(replace(job, problem=None, answer=None), Signal.NOT_CHARGED, now, reason).job
    policy, attempts = POLICIES[staged.state], job.attempts + 1
    problem = VendorAnswerError(
        f"{attempts} submits got no answer that tells their outcome. {reason}",
        advice="`rodin-watchd retry JOB` submits it once more.",
    ).problem
    waits = replace(staged, attempts=attempts, not_before=now + wait_seconds(attempts, policy, problem, chance))
    again = Transition(waits, "not-charged", reason)
    if not (last := spent(replace(waits, problem=problem), policy, now)):
        return (again,)
    return (again, move(replace(waits, problem=last), Signal.REJECTED, now, last.message, last.code))


OVERDUE: Final = Proof(Verdict.UNDECIDED, "The balance cannot tell: it could not be read while nothing was open.")
"""What comes of an inquiry that takes too long."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A proof under way; instants are monotonic. `quiet_at`: since when nothing of ours is open, None while something is."""

    began_at: float
    quiet_at: float | None = None
    readings: tuple[Decimal, ...] = ()

    def seen(self, *, is_open: bool, now: float) -> Inquiry:
        """Note whether anything of ours is open at the vendor; what was read before that ended does not count."""
        if is_open:
            return replace(self, quiet_at=None, readings=())
        return replace(self, quiet_at=now) if self.quiet_at is None else self

    def read(self, balance: Decimal) -> Inquiry:
        """Note a reading that was asked for when it was due."""
        return replace(self, readings=(*self.readings, balance))

    @property
    def is_complete(self) -> bool:
        """Whether all readings are there."""
        return len(self.readings) == len(READ_AFTER_SECONDS)

    @property
    def due_at(self) -> float | None:
        """When the next reading is due; None if it cannot be said yet, or none is needed."""
        if self.quiet_at is None or self.is_complete:
            return None
        return self.quiet_at + READ_AFTER_SECONDS[len(self.readings)]

    def is_overdue(self, now: float) -> bool:
        """Tell whether submits have been held back for too long."""
        return now - self.began_at > LONGEST_SECONDS
