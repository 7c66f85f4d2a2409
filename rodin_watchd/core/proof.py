"""Proof by balance: whether a submit whose answer is lost, or was a refusal, was charged. Pure functions on frozen values.

The arithmetic holds for an account that nobody else spends from (`budget.sole_spender`). The balance was read while no
submit was open (the *baseline*); `Since` sums up what this service bought after it. With n submits of unknown outcome the
balance must now be lower by what the accepted ones cost, and by the unknown ones that were accepted as well. Nothing more:
none of them was charged. Lower by what all n may cost: each was. Anything else looks the same as a stranger's purchase, a top-up
or a refund, and proves nothing.

A refund could hide a charge: minus one, plus one. So nothing is proven while a task is open, and nothing after a paid
task failed or was lost, unless that is more than REFUND_SECONDS before the baseline. A person's word about a submit is
no figure of the vendor's: nothing is proven after one, until there is a new baseline. A charge could come late: so the
balance is read twice, `budget.settle_seconds` after the last submit or task ended and a third of that, and both readings must agree. What remains
to be believed is in docs/money.md.

What the vendor says that a task took beats the list price (`consumed`). Where it took nothing, no balance says whether a
submit was accepted: nothing is proven while the newest known task cost nothing.

A baseline is of one account, and *settled*: read so long after the newest submit that its charge must be in it. One that is not shows
only that nothing was charged. A cost that the vendor names is believed in a sum when the balance was seen to fall by it, or the list says it.

A refusal of a set says that nothing was charged, and may be wrong. So little is needed to believe it that it works
for an account that others spend from as well: the balance must be *exactly* what it was, less what is
known. Whether a balance is believed that stays as it was, `core.balance` says. What contradicts it is believed of an account that nobody else spends from: lower by the price of the newest k
refused submits, they were charged. What comes of either is `core.refusals`.

A vendor that rounds its balances to whole credits would hide a texture's half (API contract, Check Balance: "integer"). So
nothing is proven about lost answers, and no charge for a refusal, until the account has shown a part of a credit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple, Self

from rodin_watchd.core.kinds import cheapest
from rodin_watchd.core.machine import AT_VENDOR, SENDING, charge_lost, not_charged_again, still_unknown
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.core.wording import in_credits
from rodin_watchd.model import Job, State, Transition

SETTLE_SECONDS: Final = 60.0
"""How long the vendor may take to book a charge, if the configuration says nothing else."""

GLANCE_AFTER_SECONDS: Final = (0.2, 1.0)
"""When the balance is read first after a refusal with a code that the vendor documents: nothing was charged, by its own word.

If it looks so, the others go on, and that set waits for the readings that decide.
"""

PASS_TIMES: Final = 5
"""So many times (monotonic) as the deciding readings take at least they may be put off by the submits of others."""


def read_after(settle_seconds: float) -> tuple[float, float]:
    """Return how long (monotonic) after nothing of ours was open any more the balance is read."""
    return (settle_seconds / 3, settle_seconds)


LONGEST_TIMES: Final = 15
"""New submits are held back for a proof for so many times (monotonic) as it takes at least; then it is given up."""

REFUND_SECONDS: Final = DAY_SECONDS
"""A failed or lost task this long (counted while services ran) before the baseline counts as refunded by then, if it ever is."""

BASELINE: Final = "baseline"
"""The journal's key of the balance that proofs start from. Only the journal that stored it may believe it."""

JUDGED: Final = "refusals-judged"
"""The journal's key of the newest purchase at the time when refusals were looked into last."""

LOSSES: Final = "submits-lost"
"""The store's key of how many submits were ever found to be missing in it: no sum from before has them."""

INQUIRY: Final = "inquiry"
"""The store's key of the proof that a daemon has under way (`OngoingProof`): daemons of other roots disturb it by no submit."""

UNJUDGED: Final = "refusals-unjudged"
"""The journal's key of the older purchases whose submits were under way then, so that a refusal of them is still to come."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A balance that was read while no submit was open; durable. All purchases after it are of the same account."""

    account: str  # whose balance it is; with another account it is dropped for good
    balance: Decimal
    purchase: int  # the newest purchase at that moment
    sole: bool = True  # whether nobody else spent from the account then
    settled: bool = True  # whether all purchases before it were so old that their charges must be in it
    aged_event: int = 0  # the newest event that was surely REFUND_SECONDS old then (`core.balance.Ages`)
    losses: int = 0  # submits that were known by then to be missing in the store

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "balance": str(self.balance)}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the baseline that `as_data` stored."""
        return cls(
            data.get("account", ""),
            Decimal(data["balance"]),
            data["purchase"],
            data.get("sole", True),
            data.get("settled", False),
            data.get("aged_event", 0),
            data.get("losses", 0),
        )


class Refusal(NamedTuple):
    """A submit that was refused, and is not known to have been free."""

    purchase: int
    job_id: str
    fingerprint: str
    cost: Decimal  # credits, if it was charged


class Settled(NamedTuple):
    """What a purchase was after all: a refused one `free`, `charged` or `unknown`; `told` by a person, or by the balance.

    One that was said to be `free` before is `refused` again, or `unknown`, when that is taken back; and an `unknown` one is
    `refused` again when a person is asked about it. One that is not what it was `before` stays as it is.
    """

    purchase: int
    outcome: str
    decided: bool = False
    before: str = "refused"


@dataclass(frozen=True, slots=True)
class Since:
    """What this service bought after a baseline."""

    charged: Decimal  # what accepted submits cost, credits
    unknown: int  # submits whose outcome nobody knows
    at_stake: Decimal  # what those cost by the list if they were accepted, credits
    undecided: frozenset[str]  # the jobs of those that may still be decided
    refundable: int  # paid tasks that failed or are lost: the vendor might pay back
    decided: int  # submits that a person has decided about
    refused: tuple[Refusal, ...] = ()  # oldest first
    gratis: bool = False  # the newest submit that is known to be accepted cost nothing
    prices: frozenset[Decimal] = frozenset({cheapest().listed})  # what purchases took lately, credits
    accepted: int = 0  # submits that were charged
    unconfirmed: bool = False  # an accepted submit cost what neither the list says nor the balance has ever shown


NOTHING_SINCE: Final = Since(Decimal(0), 0, Decimal(0), frozenset(), 0, 0)


class Verdict(Enum):
    """What the balance says about submits of unknown outcome."""

    NOT_CHARGED = "not charged"
    CHARGED = "charged"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Proof:
    """A verdict, with its reason for people; of refusals also which are known to have been charged."""

    verdict: Verdict
    reason: str
    charged: tuple[Refusal, ...] = ()


def shows_parts(balance: Decimal) -> bool:
    """Return whether a balance is no whole number: then the vendor does not round."""
    return balance % 1 != 0


_UNSETTLED: Final = "submits shortly before that may have been charged meanwhile"


def judged(baseline: Baseline, since: Since, readings: Sequence[Decimal], *, exact: bool, doubt: str = "") -> Proof:
    """Decide what two readings (credits) prove about all unknown submits since the baseline.

    `exact` says whether the account has ever shown a part of a credit, `doubt` why it shows nothing to be free (`core.balance`).
    """
    rounded = "" if _is_exact(baseline, readings, exact=exact) else "so far it showed only whole credits"
    if reason := _proves_nothing(since, readings) or rounded:
        return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {reason}.")
    lower, found = _compared(baseline, since, readings)
    unknown = stake(since)
    if lower == 0:
        return _free(found, doubt)
    if not baseline.settled:
        return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {found}, and {_UNSETTLED}.")
    if lower == unknown:
        return Proof(Verdict.CHARGED, f"It was charged: {found}.")
    if 0 < lower < unknown:
        some = f"{in_credits(lower)} of {since.unknown + len(since.refused)} submits without an answer"
        return Proof(Verdict.UNDECIDED, f"The balance does not show which were charged, {some} were: {found}.")
    return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {found}, so somebody else spends or pays in.")


def refusals_judged(
    baseline: Baseline, since: Since, readings: Sequence[Decimal], *, exact: bool, sole: bool, doubt: str = ""
) -> Proof:
    """Decide what two readings (credits) prove about the refused submits since the baseline.

    `sole`: whether nobody else spends from the account; only then a lower balance means anything. `doubt`: as for `judged`.
    """
    if reason := _proves_nothing(since, readings):
        return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {reason}.")
    lower, found = _compared(baseline, since, readings)
    if lower == 0:
        return _free(found, doubt)
    if not baseline.settled:
        return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {found}, and {_UNSETTLED}.")
    if sole and _is_exact(baseline, readings, exact=exact):
        if not since.unknown and (newest := _newest_for(since, lower)):
            return Proof(Verdict.CHARGED, f"The vendor charged what it refused: {found}.", newest)
        if lower == stake(since):
            return Proof(Verdict.CHARGED, f"The vendor charged what it refused: {found}.", since.refused)
    return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {found}.")


def _free(message: str, doubt: str) -> Proof:
    """Return the verdict that nothing was charged, unless the balance shows no such thing."""
    if doubt:
        return Proof(Verdict.UNDECIDED, f"The balance shows nothing: {doubt}.")
    return Proof(Verdict.NOT_CHARGED, f"Proven not charged: {message}.")


def _newest_for(since: Since, amount: Decimal) -> tuple[Refusal, ...]:
    """Return the newest refusals that cost exactly so much together, oldest first; () if none do.

    Where purchases took different amounts lately, several numbers of them may cost as much: () as well.
    """
    refused = since.refused
    if len(since.prices | {refusal.cost for refusal in refused}) > 1:
        return ()
    sums = {_cost(refused[first:]): tuple(refused[first:]) for first in range(len(refused))}
    return sums.get(amount, ())


def _cost(refused: Sequence[Refusal]) -> Decimal:
    return sum((refusal.cost for refusal in refused), Decimal(0))


def stake(since: Since) -> Decimal:
    """Return what the submits of unknown outcome, refused ones among them, cost if all were charged; credits."""
    return since.at_stake + _cost(since.refused)


def lower_than_known(baseline: Baseline, since: Since, balance: Decimal) -> Decimal:
    """Return by how much a balance is lower than what is known to be charged explains; credits."""
    return baseline.balance - balance - since.charged


def _compared(baseline: Baseline, since: Since, readings: Sequence[Decimal]) -> tuple[Decimal, str]:
    """Return by how much the balance is lower than what is known to be charged explains, and the figures in words."""
    known = since.charged
    message = f"the balance was {in_credits(baseline.balance)} before and is {in_credits(readings[-1])} after"
    lower = lower_than_known(baseline, since, readings[-1])
    return lower, f"{message} {in_credits(known)} that are known" if known else message


def _is_exact(baseline: Baseline, readings: Sequence[Decimal], *, exact: bool) -> bool:
    return exact or any(map(shows_parts, (baseline.balance, *readings)))


def _proves_nothing(since: Since, readings: Sequence[Decimal]) -> str:
    """Return why no sum can prove anything, "" if one can."""
    if len(set(readings)) > 1:
        return "it changed between two readings"
    if since.gratis:
        return "the newest task that is known cost nothing, and so may this task"
    if since.unconfirmed:
        return "meanwhile the vendor named a cost that the balance has never shown"
    if since.decided:
        return "a person has decided about another submit meanwhile"
    return "a paid task failed or is lost, and a refund for it could hide a charge" if since.refundable else ""


def concluded(job: Job, proof: Proof, now: float, chance: float, *, bound: str = "") -> tuple[Transition, ...]:
    """Return what a verdict makes of a held job: it is submitted again, or stays held with what is known now.

    `bound` says why it is not submitted again although nothing was charged, "" if it is.
    """
    if proof.verdict is Verdict.NOT_CHARGED and bound:
        reason = f"{bound} {proof.reason}"
        return (still_unknown(job, reason, reason),)
    if proof.verdict is Verdict.NOT_CHARGED:
        return not_charged_again(job, proof.reason, now, chance)
    if proof.verdict is Verdict.CHARGED:
        return (charge_lost(job, proof.reason),)
    said = f"{job.problem.message} {proof.reason}" if job.problem else ""
    return (still_unknown(job, proof.reason, said),)


OVERDUE: Final = Proof(Verdict.UNDECIDED, "The balance shows nothing: it could not be read while nothing was open.")
"""What comes of an inquiry that takes too long."""

NO_BASELINE: Final = Proof(Verdict.UNDECIDED, "The balance shows nothing: it was not known before the submit.")
"""What comes of an inquiry that has nothing to compare with."""


class Traffic(NamedTuple):
    """Counts that grow with each move of a job at the vendor: what began and ended between two looks is seen by them."""

    submits: int = 0  # moves of jobs whose submit is under way
    tasks: int = 0  # of those, and of jobs that the vendor works on

    def and_of(self, others: Traffic) -> Traffic:
        """Return the counts of this root's jobs and of others'."""
        return Traffic(self.submits + others.submits, self.tasks + others.tasks)

    def after(self, before: State | None, state: State) -> Traffic:
        """Return the counts after a committed move; `before`: the state that the job had, if it was known."""
        states = {before, state}
        return Traffic(self.submits + (not states.isdisjoint(SENDING)), self.tasks + (not states.isdisjoint(AT_VENDOR)))


NO_TRAFFIC: Final = Traffic()


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A proof under way; instants are monotonic. `quiet_at`: since when nothing of ours is open, None while something is."""

    began_at: float
    quiet_at: float | None = None
    readings: tuple[Decimal, ...] = ()
    after_seconds: tuple[float, ...] = read_after(SETTLE_SECONDS)
    traffic: Traffic = NO_TRAFFIC  # when nothing of ours was found open first

    def lasting(self, after_seconds: tuple[float, ...]) -> Inquiry:
        """Read so long after nothing of ours is open any more; with other times the readings begin again."""
        same = after_seconds == self.after_seconds
        return self if same else replace(self, after_seconds=after_seconds, readings=())

    def seen(self, *, is_open: bool, traffic: Traffic, now: float) -> Inquiry:
        """Note whether anything of ours is, or was since the last look, open at the vendor; what was read before that ended does not count."""
        if is_open:
            return replace(self, quiet_at=None, readings=())
        if self.quiet_at is None or traffic != self.traffic:
            return replace(self, quiet_at=now, readings=(), traffic=traffic)
        return self

    def read(self, balance: Decimal) -> Inquiry:
        """Note a reading that was asked for when it was due."""
        return replace(self, readings=(*self.readings, balance))

    @property
    def is_complete(self) -> bool:
        """Whether all readings are there."""
        return len(self.readings) == len(self.after_seconds)

    @property
    def due_at(self) -> float | None:
        """When the next reading is due; None if it cannot be said yet, or none is needed."""
        if self.quiet_at is None or self.is_complete:
            return None
        return self.quiet_at + self.after_seconds[len(self.readings)]

    def overdue_at(self, settle_seconds: float) -> float:
        """Return when (monotonic) submits will have been held back for too long."""
        return self.began_at + LONGEST_TIMES * settle_seconds

    @property
    def is_glance(self) -> bool:
        """Whether its readings are too early to decide anything."""
        return self.after_seconds == GLANCE_AFTER_SECONDS

    def may_be_put_off(self, now: float, settle_seconds: float) -> bool:
        """Return whether submits of others may still begin that nothing is looked into about."""
        return now - self.began_at <= PASS_TIMES * settle_seconds

    def is_overdue(self, now: float, settle_seconds: float) -> bool:
        """Return whether submits have been held back for too long."""
        return now > self.overdue_at(settle_seconds)


@dataclass(frozen=True, slots=True)
class OngoingProof:
    """What daemons of other roots know of a proof: their submits would disturb it, or have to be bounded meanwhile."""

    account: str  # whose balance is read
    holds: bool  # whether no submit may begin
    judges: bool  # whether a refusal waits for its verdict
    until_at: float  # UTC: then it has ended, whatever became of that daemon

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the one that was stored as a dict of its fields."""
        return cls(**data)


def held_until(known: OngoingProof | None, account: str, now: float, left_seconds: float) -> float:
    """Return until when (UTC) a proof may hold up daemons of other roots; `known` is what was said of one that has not ended.

    It has its time once: a daemon that never lives long begins it again with each start. Then the others are left alone for as
    long, and so are those of a daemon whose clock was set.
    """
    fresh = now + left_seconds
    if known is None or known.account != account or known.until_at > fresh + 1.0 or known.until_at + left_seconds < now:
        return fresh
    return known.until_at
