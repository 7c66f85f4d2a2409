"""The ledger: what was charged, what was refused, and what went wrong with the key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict

from rodin_watchd.emulator.forms import EmulatedRefusal
from rodin_watchd.emulator.orders import PRICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rodin_watchd.emulator.orders import Order


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge. `balance` is what was left after it; `at` is UTC epoch seconds."""

    task_uuid: str
    model_sha256: str | None
    image_sha256: str
    options: dict[str, str]
    credits: Decimal
    balance: Decimal
    at: float

    @property
    def bought(self) -> tuple[str | None, str, tuple[tuple[str, str], ...]]:
        """Return what was bought: two charges with the same are one set paid twice."""
        return self.model_sha256, self.image_sha256, tuple(sorted(self.options.items()))


class ChargeRow(TypedDict):
    """A charge as JSON."""

    task_uuid: str
    model_sha256: str | None
    image_sha256: str
    options: dict[str, str]
    credits: str
    balance: str
    at: float
    outcome: str


class LedgerSnapshot(TypedDict):
    """The ledger as JSON; amounts are decimal numbers as text.

    `uploads` counts `begun`, `accepted`, `refused` (answered with an error) and `cut` (lost before their end) submits.
    `charged_again` counts charges for something that had been bought before. `faults` counts how often each struck.
    `key_leaks` are the paths at the file host that an Authorization header reached. `unknown_parts` are the names of text
    parts of charged orders that the contract does not know.
    """

    balance: str
    spent: str
    charges: list[ChargeRow]
    charged_again: int
    uploads: dict[str, int]
    faults: dict[str, int]
    key_leaks: list[str]
    unknown_parts: list[str]


@dataclass(slots=True)
class Ledger:
    """The money and the counts. Written by the event loop's thread alone; a snapshot may be taken from any."""

    balance: Decimal
    on_charge: Callable[[Charge], None]
    charges: list[Charge] = field(default_factory=list)
    uploads: Counter[str] = field(default_factory=lambda: Counter(begun=0, accepted=0, refused=0, cut=0))
    faults: Counter[str] = field(default_factory=Counter)
    key_leaks: list[str] = field(default_factory=list)
    unknown_parts: list[str] = field(default_factory=list)
    _due: list[tuple[float, str, Order, Decimal]] = field(default_factory=list)

    def require_credit(self, price: Decimal = PRICE) -> None:
        """Raise Refusal when the balance does not reach for one more task at this price."""
        if self.balance < price:
            raise EmulatedRefusal(402, "API_INSUFFICIENT_FUNDS", f"The balance of {self.balance} credits is too low.")

    def charge(self, task_uuid: str, order: Order, now: float, price: Decimal = PRICE) -> None:
        """Take the price of one task off the balance; ask `require_credit` first."""
        self.balance -= price
        charge = Charge(task_uuid, order.model_sha256, order.image_sha256, order.options, price, self.balance, now)
        self.charges.append(charge)
        self.unknown_parts += order.unknown_parts
        self.on_charge(charge)

    def charge_at(self, due_at: float, task_uuid: str, order: Order, price: Decimal = PRICE) -> None:
        """Charge a task as soon as `settle` finds its moment (UTC epoch seconds) come."""
        self._due.append((due_at, task_uuid, order, price))

    def settle(self, now: float) -> None:
        """Charge what was to be charged by now; nothing, if nothing was."""
        due, self._due = [d for d in self._due if d[0] <= now], [d for d in self._due if d[0] > now]
        for _, task_uuid, order, price in due:
            self.charge(task_uuid, order, now, price)

    def snapshot(self, outcome_of: Callable[[str], str]) -> LedgerSnapshot:
        """Give the ledger as it stands; `outcome_of` gives the status word of a task."""
        charges = list(self.charges)
        return LedgerSnapshot(
            balance=str(self.balance),
            spent=str(sum((charge.credits for charge in charges), Decimal(0))),
            charges=[_row(charge, outcome_of(charge.task_uuid)) for charge in charges],
            charged_again=len(charges) - len({charge.bought for charge in charges}),
            uploads=dict(self.uploads),
            faults=dict(self.faults),
            key_leaks=list(self.key_leaks),
            unknown_parts=list(self.unknown_parts),
        )


def _row(charge: Charge, outcome: str) -> ChargeRow:
    return ChargeRow(
        task_uuid=charge.task_uuid,
        model_sha256=charge.model_sha256,
        image_sha256=charge.image_sha256,
        options=charge.options,
        credits=str(charge.credits),
        balance=str(charge.balance),
        at=charge.at,
        outcome=outcome,
    )
