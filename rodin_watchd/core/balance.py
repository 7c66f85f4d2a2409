"""The balance of the vendor's account: when it is worth a call, and whether it may show that a submit was free. Pure functions.

A balance is a free call, so it goes first wherever an upload would only find out the same: before the first submit of a
run, and as the probe of a pause that stops submits (`core.pauses`), whatever paused them. While the vendor says "too many requests" or
refuses the key, no set is sent to find out whether that is over: a set that is refused may be charged. But before
the first submit it is a warning, not a condition: when the vendor cannot say it, submits go on and find out themselves.

A balance that stays as it was proves nothing where it never moves: it may be cached, rounded, or that of another account. So
nothing is believed to be free until the balance was seen to fall by exactly what known purchases cost, at any time before
or in the proof itself.

A balance that moves may move late: a charge that is booked after the second reading looks free. So what was shown to be free
is remembered for KEEP_SECONDS, and every later reading is compared with the one before it. Where it is lower than all that is
known or unclear explains, on an account that nobody else spends from, those verdicts were wrong: they are taken back, and the
balance shows nothing to be free any more until somebody has raised `budget.settle_seconds`. That is about how the vendor books,
so it holds for every key and address, and for shared accounts. Where later readings cannot be compared any more (it may be
another account, or others may spend), nothing could take those verdicts back: they end, and count as spent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from rodin_watchd.core.machine import doubt, hold_doubted
from rodin_watchd.core.proof import Since, stake
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import AnotherAccountError, Fault, Problem, RefusedOftenError, TaskLostError
from rodin_watchd.model import Job, Outcome, Rejected, Retry, Transition

BALANCE: Final = "balance"
"""The journal's key of the newest balance."""

ACCOUNT: Final = "account"
"""The journal's key of the name of the account that this balance is of: a fingerprint of address and API key."""

FRESH_SECONDS: Final = 60.0
"""How long (monotonic) a balance is fresh enough for a submit that a proof may have to start from."""

REFRESH_PURCHASES: Final = 20
REFRESH_SECONDS: Final = 600.0
"""A balance that somebody watches is asked for again after so many submits, or after so long if there was any."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A balance that the vendor reported, as the journal keeps it."""

    credits: Decimal
    at: float  # UTC
    low: bool  # below `budget.low_balance`
    exact: bool  # whether any balance so far was no whole number
    vendor: str  # the base URL of the API
    purchase: int  # the newest that it surely knows of; what was charged for later ones is to be subtracted

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "credits": str(self.credits)}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the balance that `as_data` stored."""
        return cls(**{**data, "credits": Decimal(data["credits"])})


def remembered(stored: Mapping[str, Any] | None, vendor: str) -> Balance | None:
    """Return the stored balance of this vendor; what another one said, the emulator for instance, counts for nothing.

    One that another version stored with less is asked for again.
    """
    whole = stored and stored.keys() >= {field.name for field in fields(Balance)}
    return Balance.of_data(stored) if stored and whole and stored["vendor"] == vendor else None


def left(known: Balance, charged_after: Callable[[int], Decimal]) -> Decimal:
    """Return an account's credits now, as every page and metric shows them: what the vendor said, less what was charged since.

    What only may be charged, because it is being sent or held, is not in it. `charged_after` says what was charged after a purchase.
    """
    return known.credits - charged_after(known.purchase)


def is_stale(purchases: int, seconds: float) -> bool:
    """Return whether a balance that somebody watches is to be asked for again: after so many purchases, so long ago."""
    return purchases >= REFRESH_PURCHASES or (purchases > 0 and seconds >= REFRESH_SECONDS)


def low_balance_text(balance: Decimal, limit: Decimal) -> str:
    """Say that credits run out."""
    return f"The vendor's account has {in_credits(balance)}, less than budget.low_balance ({in_credits(limit)})."


def of_task(outcome: Outcome, job: Job, account: str) -> Outcome:
    """Return the outcome of a step about a task; where the task was bought with another account, what this one refuses is no loss.

    It is asked for all the same, for the key may have been renewed: then the vendor knows the task.
    """
    if not job.task or job.account in ("", account) or not isinstance(outcome, Retry | Rejected):
        return outcome
    if outcome.problem.code != TaskLostError.code and outcome.problem.fault is not Fault.ACCOUNT:
        return outcome
    message = f"This set was bought with another API key or address. With the present ones: {outcome.problem.message}"
    return Retry(AnotherAccountError(message).problem)


# ---- Trust in the balance: whether it may show that a submit was free, and when that is taken back ------------------


def trust_key(account: str) -> str:
    """Return the journal's key of what is known of one account's balance."""
    return f"balance-trust:{account}"


VERDICTS: Final = "balance-verdicts"
"""The journal's key of what balances showed to be free, and of when that was wrong: of all accounts, whatever is configured."""

KEEP_SECONDS: Final = DAY_SECONDS
"""How long (counted while services ran) a purchase that was shown to be free may still turn out to have been charged."""

_HIDDEN_BY_ROUNDING: Final = Decimal(1)
"""Balances in whole credits may differ by less than this from what was charged."""


class Freed(NamedTuple):
    """A purchase that the balance has shown to be free."""

    purchase: int
    event: int  # the newest before that
    settle_seconds: float = 0.0  # the settle time by which it was shown; 0: not known


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of an account's balance as a witness; durable."""

    moves: bool = False  # whether it was seen to fall by exactly what known purchases cost; of this account alone
    freed: tuple[Freed, ...] = ()
    late_seconds: float = 0.0  # the settle time with which that was wrong; 0: it never was
    fell: Decimal = Decimal(0)  # by so much more than was known, then; credits

    def as_meta(self, account: str) -> dict[str, Any]:
        """Return it as the journal keeps it, by key; `account` names the account that it is of."""
        verdicts = {"freed": self.freed, "late_seconds": self.late_seconds, "fell": str(self.fell)}
        return {trust_key(account): {"moves": self.moves}, VERDICTS: verdicts}

    @classmethod
    def of_meta(cls, meta: Callable[[str], Any], account: str) -> Self:
        """Return the trust that `as_meta` stored; what is of all accounts also where another one stored it."""
        own, verdicts = meta(trust_key(account)), meta(VERDICTS)
        trust = cls(moves=bool(own and own["moves"]))
        if not verdicts:
            return trust
        freed = tuple(Freed(*one) for one in verdicts["freed"])
        return replace(trust, freed=freed, late_seconds=verdicts["late_seconds"], fell=Decimal(verdicts["fell"]))

    def with_others(self, metas: Callable[[str], Iterable[Any]], account: str) -> Self:
        """Return it with what daemons of other roots have stored: how the balance moves is no matter of a root."""
        moves = self.moves or any(one["moves"] for one in metas(trust_key(account)))
        late = max((one for one in metas(VERDICTS)), key=lambda one: float(one["late_seconds"]), default=None)
        if late is None or late["late_seconds"] <= self.late_seconds:
            return replace(self, moves=moves)
        return replace(self, moves=moves, late_seconds=late["late_seconds"], fell=Decimal(late["fell"]))

    def is_doubted(self, settle_seconds: float) -> bool:
        """Return whether it was wrong with this settle time, or a longer one."""
        return 0 < settle_seconds <= self.late_seconds

    def doubt(self, settle_seconds: float) -> str:
        """Return why the balance shows nothing to be free, "" if it may."""
        if self.is_doubted(settle_seconds):
            return "it fell later than that once, by charges that had looked free"
        still = "it has never fallen by the cost of a set, so an unchanged balance proves nothing"
        return "" if self.moves else still

    def with_freed(self, purchases: Iterable[int], newest_event: int, settle_seconds: float) -> Self:
        """Remember which purchases it has shown to be free, and by which settle time."""
        freed = (Freed(purchase, newest_event, settle_seconds) for purchase in purchases)
        return replace(self, freed=(*self.freed, *freed))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading says that was taken while no submit was open."""

    lower: Decimal  # than the one before, and than what is known to be charged since explains; credits
    since: Since
    exact: bool  # whether the account has ever shown a part of a credit
    sole: bool  # whether nobody else spent from the account

    @property
    def matches(self) -> bool:
        """Whether the balance fell by exactly what is known, and nothing unclear is in between."""
        clear = not (self.since.unknown or self.since.refused or self.since.decided or self.since.refundable)
        return clear and self.lower == 0

    @property
    def shows_movement(self) -> bool:
        """Whether it fell by exactly what known purchases cost, more than nothing."""
        return self.lower == 0 and self.since.charged > 0

    @property
    def unexplained(self) -> Decimal:
        """By how much it fell more than everything explains that was, or may have been, charged; 0 if it did not."""
        more = self.lower - stake(self.since)
        least = Decimal(0) if self.exact else _HIDDEN_BY_ROUNDING
        return more if self.sole and more > 0 and more >= least else Decimal(0)


def after(trust: Trust, reading: Reading, settle_seconds: float, aged_event: int) -> tuple[Trust, frozenset[int]]:
    """Return the trust after a reading, and the purchases of which it was wrong to say that they were free.

    `aged_event`: the newest event that is surely KEEP_SECONDS old, by no wall clock (`core.balance.Ages`).
    """
    moved = replace(trust, moves=trust.moves or reading.shows_movement)
    if reading.unexplained and trust.freed:
        late = max(trust.late_seconds, *(one.settle_seconds or settle_seconds for one in trust.freed))
        back = frozenset(one.purchase for one in trust.freed)
        return replace(moved, freed=(), late_seconds=late, fell=reading.unexplained), back
    return replace(moved, freed=_young(trust, aged_event) if reading.matches else trust.freed), frozenset()


def unwatched(trust: Trust, aged_event: int) -> tuple[Trust, frozenset[int]]:
    """Return the trust when no later reading can be compared any more, and the purchases that are not known to be free then.

    `aged_event`: as for `after`; what is older than that stays free.
    """
    return replace(trust, freed=()), frozenset(one.purchase for one in _young(trust, aged_event))


def _young(trust: Trust, aged_event: int) -> tuple[Freed, ...]:
    return tuple(one for one in trust.freed if one.event >= aged_event)


LATE: Final = "The balance fell after it was read"
"""Why verdicts are taken back that a later reading has shown to be wrong."""

_NOT_SURE: Final = "What was known of the balance was taken back"


def taken_back(job: Job, times: int, why: str, now: float) -> Transition:
    """Note in a live job that so many submits of it may have been charged after all; hold it where it would be sent or buried."""
    return doubt(job, times, _unsure(job, times, why), now)


def held_unsure(job: Job, times: int, now: float) -> Transition:
    """Hold a job that would be sent, though so many submits of it may have been charged after all: taken back while it was no job to be sent."""
    return hold_doubted(job, _unsure(job, times, _NOT_SURE), now)


def _unsure(job: Job, times: int, why: str) -> Problem:
    return RefusedOftenError(
        f"{why}: {times} of this set's submits, which had looked free of charge, may have cost {in_credits(job.price)} each."
    ).problem


def notice(trust: Trust, settle_seconds: float) -> list[str]:
    """Return what people must know of a balance that is not believed any more."""
    return [late_text(trust)] if trust.is_doubted(settle_seconds) else []


def late_text(trust: Trust) -> str:
    """Say that the balance fell late, what that means and who can end it."""
    return (
        f"The balance fell by {in_credits(trust.fell)} that no known charge explains, after submits had looked free of charge. "
        "They count as spent now. The balance shows nothing to be free any more until budget.settle_seconds is more than "
        f"{trust.late_seconds:g}: set it to more than the vendor needs to charge. If others spend from the account, set "
        "budget.sole_spender = false as well."
    )


def unwatched_text(count: int, why: str) -> str:
    """Say that so many submits count as spent, because no later reading can show that they were charged."""
    submits = "1 submit" if count == 1 else f"{count:,} submits"
    counts = "counts" if count == 1 else "count"
    return f"{why}. {submits} of the last day, which had looked free of charge, {counts} as spent now."


def purchases_of(back: Collection[int], owners: Mapping[int, str]) -> Mapping[str, tuple[int, ...]]:
    """Return purchases by the job that they are of."""
    found: dict[str, tuple[int, ...]] = {}
    for purchase in sorted(back):
        found[owners[purchase]] = (*found.get(owners[purchase], ()), purchase)
    return found


# ---- How old the journal's events are at least, by the time that was seen to pass. Pure functions on frozen values ----


EVENT_AGES: Final = "event-ages"
"""The journal's key of the ages."""

MARK_SECONDS: Final = 10_800.0
"""Marks are so far apart (counted seconds): by so much an event may be older than it says."""


class AgeMark(NamedTuple):
    """How many seconds had been counted when an event was the newest."""

    seconds: float
    event: int


class Ages(NamedTuple):
    """The seconds that were counted with this journal, and the marks, oldest first."""

    seconds: float = 0.0
    marks: tuple[AgeMark, ...] = ()

    @classmethod
    def of_data(cls, data: Sequence[Any] | None) -> Self:
        """Return what JSON has made of it; nothing was counted where nothing is stored."""
        seconds, marks = data or (0.0, ())
        return cls(seconds, tuple(AgeMark(*mark) for mark in marks))

    def older_than(self, seconds: float) -> int:
        """Return the newest event that is surely as old as that, 0 without any."""
        return max((mark.event for mark in self.marks if self.seconds - mark.seconds >= seconds), default=0)

    def grown(self, seconds: float, newest_event: int, longest_seconds: float) -> Self:
        """Return it after so many more seconds; marks that say nothing of the last `longest_seconds` are dropped."""
        total = self.seconds + seconds
        marks = self.marks
        if not marks or total - marks[-1].seconds >= MARK_SECONDS:
            marks = (*marks, AgeMark(total, newest_event))
        old = sum(total - mark.seconds >= longest_seconds for mark in marks)
        return self._replace(seconds=total, marks=marks[max(old - 1, 0) :])
