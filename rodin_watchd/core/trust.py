"""Trust in the balance: whether it may show that a submit was free, and when that is taken back. Pure functions.

A balance that stays as it was proves nothing where it never moves: it may be cached, rounded, or that of another account. So
nothing is believed to be free until the balance was seen to fall by exactly what known purchases cost, at any time before
or in the proof itself.

A balance that moves may move late: a charge that is booked after the second reading looks free. So what was shown to be free
is remembered for KEEP_SECONDS, and every later reading is compared with the one before it. Where it is lower than all that is
known or unclear explains, on an account that nobody else spends from, those verdicts were wrong: they are taken back, and the
balance shows nothing to be free any more until somebody has raised `budget.settle_seconds`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from rodin_watchd.core.machine import doubt, hold_doubted
from rodin_watchd.core.proof import Since, stake
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import RefusedOftenError
from rodin_watchd.model import Job, Transition
from rodin_watchd.problem import Problem


def trust_key(account: str) -> str:
    """Return the journal's key of the trust in an account's balance."""
    return f"balance-trust:{account}"


KEEP_SECONDS: Final = DAY_SECONDS
"""So long (counted while services ran) a purchase that was shown to be free may still turn out to have been charged."""

_HIDDEN_BY_ROUNDING: Final = Decimal(1)
"""Balances in whole credits may differ by less than this from what was charged."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of an account's balance as a witness; durable."""

    moves: bool = False  # whether it was seen to fall by exactly what known purchases cost
    freed: tuple[tuple[int, int], ...] = ()  # the purchases that it has shown to be free, the newest event before that
    late_seconds: float = 0.0  # the settle time with which that was wrong; 0: it never was
    fell: Decimal = Decimal(0)  # by so much more than was known, then; credits

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "moves": self.moves,
            "freed": [list(one) for one in self.freed],
            "late_seconds": self.late_seconds,
            "fell": str(self.fell),
        }

    @classmethod
    def of_data(cls, stored: Mapping[str, Any] | None) -> Self:
        """Return the trust that `as_data` stored; a new one where nothing was."""
        if not stored:
            return cls()
        freed = tuple((int(purchase), int(event)) for purchase, event in stored["freed"])
        return cls(stored["moves"], freed, stored["late_seconds"], Decimal(stored["fell"]))

    def is_doubted(self, settle_seconds: float) -> bool:
        """Tell whether it was wrong with this settle time, or a longer one."""
        return 0 < settle_seconds <= self.late_seconds

    def doubt(self, settle_seconds: float, *, sole: bool) -> str:
        """Return why the balance shows nothing to be free, "" if it may."""
        if sole and self.is_doubted(settle_seconds):
            return "it fell later than that once, by charges that had looked free"
        still = "it has never fallen by the cost of a set, so an unchanged balance proves nothing"
        return "" if self.moves else still

    def with_freed(self, purchases: Iterable[int], newest_event: int) -> Self:
        """Remember which purchases it has shown to be free."""
        return replace(self, freed=(*self.freed, *((purchase, newest_event) for purchase in purchases)))


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

    `aged_event`: the newest event that is surely KEEP_SECONDS old, by no wall clock (`core.trust.Ages`).
    """
    moved = replace(trust, moves=trust.moves or reading.shows_movement)
    if reading.unexplained and trust.freed:
        late = max(trust.late_seconds, settle_seconds)
        back = frozenset(purchase for purchase, _ in trust.freed)
        return replace(moved, freed=(), late_seconds=late, fell=reading.unexplained), back
    kept = tuple((purchase, event) for purchase, event in trust.freed if event >= aged_event)
    return replace(moved, freed=kept if reading.matches else trust.freed), frozenset()


def taken_back(job: Job, times: int, now: float) -> Transition:
    """Note in a live job that so many submits of it may have been charged after all; hold it where it would be sent or buried."""
    return doubt(job, times, _unsure(job, times), now)


def held_unsure(job: Job, times: int, now: float) -> Transition:
    """Hold a job that would be sent, though so many submits of it may have been charged after all: taken back while it was no job to be sent."""
    return hold_doubted(job, _unsure(job, times), now)


def _unsure(job: Job, times: int) -> Problem:
    return RefusedOftenError(
        f"The balance fell after it was read: {times} of this set's submits, which had looked free of charge, may have "
        f"cost {in_credits(job.price)} each."
    ).problem


def notice(trust: Trust, settle_seconds: float, *, sole: bool) -> list[str]:
    """Return what people must know of a balance that is not believed any more."""
    if not (sole and trust.is_doubted(settle_seconds)):
        return []
    message = (
        f"The balance fell by {in_credits(trust.fell)} that no known charge explains, after submits had looked free of charge. "
        "They count as spent now, and the balance is not trusted for this any more. If this vendor charges "
        f"late, set budget.settle_seconds to more than {trust.late_seconds:g}; if others spend from the account, set "
        "budget.sole_spender = false."
    )
    return [message]


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
        """Return it after so many more seconds; marks that tell nothing of the last `longest_seconds` are dropped."""
        total = self.seconds + seconds
        marks = self.marks
        if not marks or total - marks[-1].seconds >= MARK_SECONDS:
            marks = (*marks, AgeMark(total, newest_event))
        old = sum(total - mark.seconds >= longest_seconds for mark in marks)
        return self._replace(seconds=total, marks=marks[max(old - 1, 0) :])
