"""The vendor's account: what is known of its balance, and when that is worth a call. Pure functions.

A balance is a free call, so it goes first wherever an upload would only find out the same: before the first submit of a
run, and as the probe of a pause that stops submits (`core.pauses`), whatever paused them. While the vendor says "too many requests" or
refuses the key, no set is sent to find out whether that is over: a set that is refused may be charged. But before
the first submit it is a warning, not a condition: when the vendor cannot say it, submits go on and find out themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Final, Self

from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import AnotherAccountError, Fault, TaskLostError
from rodin_watchd.model import Job, Outcome, Rejected, Retry

BALANCE: Final = "balance"
"""The journal's key of the newest balance."""

ACCOUNT: Final = "account"
"""The journal's key of the name of the account that this balance is of: a fingerprint of address and API key."""

FRESH_SECONDS: Final = 60.0
"""So long (monotonic) a balance is fresh enough to begin with a submit that a proof may have to start from."""

REFRESH_PURCHASES: Final = 20
REFRESH_SECONDS: Final = 600.0
"""A balance that somebody watches is asked for again after so many submits, or after so long if there was any."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A balance that the vendor told, as the journal keeps it."""

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

    One that another version stored with less is asked for anew.
    """
    whole = stored and stored.keys() >= {field.name for field in fields(Balance)}
    return Balance.of_data(stored) if stored and whole and stored["vendor"] == vendor else None


def is_stale(purchases: int, seconds: float) -> bool:
    """Tell whether a balance that somebody watches is to be asked for again: after so many purchases, so long ago."""
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
