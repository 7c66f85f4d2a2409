"""The vendor's account: when its balance is worth a call, and whether it stops the submits. Pure functions.

A balance is a free call, so it goes first wherever an upload would only find out the same: before the first submit of a
run, and as the probe of a pause that stops submits, whatever paused them. While the vendor says "too many requests" or
refuses the key, no set is sent to find out whether that is over: a set that is refused may be charged. But before
the first submit it is a warning, not a condition: when the vendor cannot say it, submits go on and find out themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any, Final, Self

from rodin_watchd.core.pauses import Pause, Pauses, ended_by, is_over, renewed
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import AnotherAccountError, EmptyAccountError, TaskLostError, UnansweredSubmitError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, Outcome, Rejected, Retry, Step
from rodin_watchd.problem import Fault, Lane, Problem

BALANCE: Final = "balance"
"""The journal's key of the newest balance."""

ACCOUNT: Final = "account"
"""The journal's key of the name of the account that this balance is of: a fingerprint of address and API key."""

FRESH_SECONDS: Final = 60.0
"""So long (monotonic) a balance is fresh enough to begin with a submit that a proof may have to start from."""

REFRESH_PURCHASES: Final = 20
REFRESH_SECONDS: Final = 600.0
"""A balance that somebody watches is asked for again after so many submits, or after so long if there was any."""

MOST_ASKED: Final = 6
"""So many waits of a pause end with a balance that cannot be read: some two minutes; then an upload tries."""

_ASKED_FIRST: Final = (Lane.SUBMIT, Lane.API)


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


def account_pauses(pauses: Pauses) -> list[Pause]:
    """Return the pauses that only the account's owner can end, and that stop submits."""
    return [pause for pause in _of_submits(pauses) if pause.problem.fault is Fault.ACCOUNT]


def of_another_account(pauses: Pauses) -> Pauses:
    """Return what of the pauses holds for another account, or another vendor: what stops the disk, and lost answers.

    A refusal of the account or the network was about the one before; the wait after lost answers bounds what may be paid
    without anybody knowing, whoever is asked.
    """
    kept = {UnansweredSubmitError.code}
    return {
        lane: pause
        for lane, pause in pauses.items()
        if pause.problem.fault not in (Fault.ACCOUNT, Fault.NETWORK, Fault.VENDOR) or pause.problem.code in kept
    }


def to_ask_about(pauses: Pauses, cleared: frozenset[Pause], now: float) -> list[Pause]:
    """Return the pauses of the submits whose wait is over, and about which the balance was not asked since.

    `cleared` holds those about which it was: the call worked and did not explain them, so an upload has to try.
    """
    return [pause for pause in _of_submits(pauses) if is_over(pause, now) and pause not in cleared]


def cleared(pauses: Pauses, now: float, *, told: bool) -> frozenset[Pause]:
    """Return the pauses about which the balance need not be asked any more, now that it was; `told`: it could be read.

    A call that fails each time says nothing of the others in the end: after MOST_ASKED waits an upload tries all the same.
    """
    return frozenset(p for p in _of_submits(pauses) if is_over(p, now) and (told or p.tries > MOST_ASKED))


def _of_submits(pauses: Pauses) -> list[Pause]:
    return [pause for pause in map(pauses.get, _ASKED_FIRST) if pause]


def after_no_balance(pauses: Pauses, problem: Problem, now: float, chance: float) -> Pauses:
    """Return the pauses when the balance could not be read: what submits waited for is not known to be over."""
    failed = renewed(pauses, problem, now, chance)
    for pause in _of_submits(failed):
        if is_over(pause, now) and pause.tries <= MOST_ASKED:
            failed = renewed(failed, replace(pause.problem, retry_after_seconds=None), now, chance)
    return failed


def after_balance(pauses: Pauses, balance: Decimal, now: float, chance: float) -> Pauses:
    """Return the pauses when the balance was read: the API works; an empty account stops submits, credits let them go on."""
    reached = ended_by(pauses, frozenset({Lane.API}), now)
    if balance < CREDITS_PER_TEXTURE:
        return renewed(reached, empty(balance).problem, now, chance)
    submit = reached.get(Lane.SUBMIT)
    if submit and submit.problem.code == EmptyAccountError.code:
        return {lane: pause for lane, pause in reached.items() if lane is not Lane.SUBMIT}
    return reached


def empty(balance: Decimal) -> EmptyAccountError:
    """Return the error of an account that cannot pay one texture."""
    cost = in_credits(CREDITS_PER_TEXTURE)
    return EmptyAccountError(f"The vendor's account is empty: it holds {in_credits(balance)}, a texture costs {cost}.")


def is_stale(purchases: int, seconds: float) -> bool:
    """Tell whether a balance that somebody watches is to be asked for again: after so many purchases, so long ago."""
    return purchases >= REFRESH_PURCHASES or (purchases > 0 and seconds >= REFRESH_SECONDS)


def low_balance_text(balance: Decimal, limit: Decimal) -> str:
    """Say that credits run out."""
    return f"The vendor's account holds {in_credits(balance)}, less than budget.low_balance ({in_credits(limit)})."


def of_task(outcome: Outcome, job: Job, account: str) -> Outcome:
    """Return the outcome of a step about a task; where the task was bought with another account, what this one refuses is no loss.

    It is asked for all the same, for the key may have been renewed: then the vendor knows the task.
    """
    if not job.task or job.account in ("", account) or not isinstance(outcome, Retry | Rejected):
        return outcome
    if outcome.problem.code != TaskLostError.code and outcome.problem.fault is not Fault.ACCOUNT:
        return outcome
    told = f"This set was bought with another API key or address. With the ones of now: {outcome.problem.message}"
    return Retry(AnotherAccountError(told).problem)


def of_submits(outcome: Outcome, step: Step, pauses: Pauses) -> Outcome:
    """Return the outcome of a step, where what the account or the network refuses to a submit concerns the submits alone.

    Free calls may still work then, over the connections that they have, and prove nothing: each submit makes its own.
    Where no call comes through, that stops all of them, and is not told twice.
    """
    if step is not Step.SUBMIT or not isinstance(outcome, Retry) or outcome.problem.lane is not Lane.API:
        return outcome
    fault = outcome.problem.fault
    alone = fault is Fault.ACCOUNT or (fault is Fault.NETWORK and Lane.API not in pauses)
    return Retry(replace(outcome.problem, lane=Lane.SUBMIT)) if alone else outcome
