"""The vendor's account: asks for its balance when that is worth a call, and proves by it. The main thread's alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rodin_watchd.config import Budget
from rodin_watchd.core.account import BALANCE, account_pauses, is_stale, low_balance_text, to_ask_about
from rodin_watchd.core.machine import AT_VENDOR
from rodin_watchd.core.pauses import Pause, Pauses, is_over
from rodin_watchd.core.proof import (
    OVERDUE,
    REFUND_SECONDS,
    Baseline,
    Inquiry,
    Since,
    concluded,
    judged,
    shows_parts,
)
from rodin_watchd.model import CREDITS_PER_TEXTURE, State
from rodin_watchd.problem import Lane, Problem
from rodin_watchd.service.book import Book

BASELINE = "baseline"
"""The journal's key of the balance that proofs start from."""

AGAIN_SECONDS = 60.0
"""A balance that is asked for to keep up to date is asked for at most this often (monotonic)."""

FAILED_SECONDS = 5.0
"""A reading of a proof that failed is tried again after so long (monotonic)."""

_SENDING = frozenset({State.UPLOADING, State.SUBMITTING})
_TO_BUY = frozenset({State.CLAIMED, State.STAGED, State.UPLOADING})


@dataclass(frozen=True, slots=True)
class _Question:
    """A question under way, and what was so when it was asked."""

    purchase: int  # the newest
    sending: int  # submits that were open: the answer may know of them or not
    quiet_at: float | None  # of the inquiry that it is a reading for


class Account:
    """What is known of the account. `now` is UTC and may jump, `monotonic` never does.

    Every method may raise DiskError: then nothing is known yet, and it may be called again.
    """

    def __init__(self, budget: Budget, book: Book, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._low_limit = budget.low_balance
        self._sole = budget.sole_spender
        self._book = book
        self._now = now
        self._monotonic = monotonic
        self._asked_once = False
        self._question: _Question | None = None
        self._asked_at = monotonic()
        self._asked_purchase = book.journal.newest_purchase()
        self._paid_in: Decimal | None = None  # what the newest question found; None when it found nothing
        self._cleared: frozenset[Pause] = frozenset()
        known = book.journal.meta(BALANCE)
        self._low = bool(known and known["low"]) and self._low_limit is not None
        self._balance = Decimal(known["credits"]) if known else None
        self._exact = bool(known and known["exact"])
        stored = book.journal.meta(BASELINE) if self._sole else None
        self._baseline = Baseline.of_data(stored) if stored else None
        self._inquiry: Inquiry | None = None
        self._not_before = monotonic()
        self._held: frozenset[str] = frozenset()

    # ---- whether submits wait, and for what -------------------------------------------------------------------------

    def holds_submits(self, pauses: Pauses) -> bool:
        """Tell whether no submit may begin until the balance was asked for."""
        asks = not self._asked_once or self.textures() == 0 or bool(self._to_ask_about(pauses))
        return asks or self._inquiry is not None

    def textures(self) -> int | None:
        """Return how many more textures the account pays, by the newest balance and what was bought since; None: unknown."""
        if self._paid_in is None:
            return None
        left = self._paid_in - (self._book.journal.newest_purchase() - self._asked_purchase) * CREDITS_PER_TEXTURE
        return max(int(left // CREDITS_PER_TEXTURE), 0)

    @property
    def proves(self) -> bool:
        """Whether a lost answer would be looked into, which holds the submits back by itself."""
        return self._baseline is not None

    @property
    def inquires(self) -> bool:
        """Whether a proof is under way: held jobs may go on without a person."""
        return self._inquiry is not None

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds the inquiry wants a reading."""
        due_at = self._inquiry.due_at if self._inquiry else None
        return [] if due_at is None else [max(due_at, self._not_before) - self._monotonic()]

    def wants_balance(self, pauses: Pauses, *, submits: bool) -> bool:
        """Tell whether the balance is to be asked for now. `submits`: whether money may be spent."""
        api = pauses.get(Lane.API)
        if self._question or (api and not is_over(api, self._now())):
            return False
        ran_dry = self.textures() == 0 and not account_pauses(pauses) and not self._is_any(_SENDING)
        unsure = not self._asked_once or ran_dry
        first = submits and unsure and self._is_any(_TO_BUY)
        return first or self._is_due() or bool(self._to_ask_about(pauses)) or self._is_outdated()

    def _is_due(self) -> bool:
        return any(seconds <= 0 for seconds in self.next_due_seconds())

    def _to_ask_about(self, pauses: Pauses) -> list[Pause]:
        return to_ask_about(pauses, self._cleared, self._now())

    def _is_outdated(self) -> bool:
        """Tell whether somebody watches the balance, and it has changed or may have."""
        seconds = self._monotonic() - self._asked_at
        if seconds < AGAIN_SECONDS or self._inquiry or not (self._sole or self._low_limit is not None):
            return False
        purchases = self._book.journal.newest_purchase() - self._asked_purchase
        idle = self._sole and purchases > 0 and not self._is_any(AT_VENDOR)
        return idle or is_stale(purchases + self._low, seconds)

    def _is_any(self, states: frozenset[State]) -> bool:
        return any(job.state in states for job in self._book.jobs.values())

    # ---- asking -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Note that the balance is being asked for."""
        quiet_at = self._inquiry.quiet_at if self._inquiry and self._is_due() else None
        sending = sum(job.state in _SENDING for job in self._book.jobs.values())
        self._question = _Question(self._book.journal.newest_purchase(), sending, quiet_at)

    def take(self, answer: Decimal | Problem, pauses: Pauses) -> None:
        """Note what came of it; `pauses` are those after it."""
        if self._question is None:
            return
        self._paid_in = answer if isinstance(answer, Decimal) else None
        if isinstance(answer, Decimal):
            self._read(answer, self._question)
        else:
            self._not_before = self._monotonic() + FAILED_SECONDS
        self._asked_once = True
        self._asked_at, self._asked_purchase = self._monotonic(), self._question.purchase - self._question.sending
        self._cleared = frozenset(pause for pause in account_pauses(pauses) if is_over(pause, self._now()))
        self._question = None

    def _read(self, balance: Decimal, question: _Question) -> None:
        low = self._low_limit is not None and balance < self._low_limit
        exact = self._exact or shows_parts(balance)
        known = {"credits": str(balance), "at": self._now(), "low": low, "exact": exact}
        meta: dict[str, Any] = {BALANCE: known}
        baseline = self._baseline
        if self._may_start_from(question):
            baseline = Baseline(balance, question.purchase, self._now())
            meta[BASELINE] = baseline.as_data()
        self._book.commit((), self._now(), meta)
        self._balance, self._baseline, self._exact = balance, baseline, exact
        if self._inquiry and question.quiet_at is not None and question.quiet_at == self._inquiry.quiet_at:
            self._inquiry = self._inquiry.read(balance)
        self._tell_low(balance, low=low)

    def _may_start_from(self, question: _Question) -> bool:
        """Tell whether a balance can be the baseline: no submit was open all the time, and no inquiry needs the old one."""
        if not self._sole or self._inquiry or question.sending or self._is_any(_SENDING):
            return False
        steady = question.purchase == self._book.journal.newest_purchase()
        return steady and (self._baseline is None or not self._is_any(AT_VENDOR))

    def _tell_low(self, balance: Decimal, *, low: bool) -> None:
        if low != self._low and self._low_limit is not None:
            text = low_balance_text(balance, self._low_limit) if low else "The account holds enough credits again."
            self._book.tell("low-balance" if low else "balance-restored", text, self._now())
        self._low = low

    def notices(self) -> list[str]:
        """Return what people must know."""
        told = []
        if self._low and self._balance is not None and self._low_limit is not None:
            told.append(low_balance_text(self._balance, self._low_limit))
        if self._inquiry:
            told.append(
                "A submit's answer was lost: nothing is submitted until the balance tells whether it was charged."
            )
        return told

    # ---- proving ----------------------------------------------------------------------------------------------------

    def inquire(self) -> None:
        """Begin, go on with or end a proof about held jobs; those that were not charged go on without a person."""
        if self._baseline is None:
            return
        held = frozenset(job.id for job in self._book.jobs.values() if job.state is State.HELD)
        if held != self._held:
            self._begin(self._baseline, held)
        if self._inquiry is None:
            return
        now = self._monotonic()
        self._inquiry = self._inquiry.seen(is_open=self._is_any(AT_VENDOR), now=now)
        if self._inquiry.is_complete or self._inquiry.is_overdue(now):
            self._conclude(self._baseline, self._inquiry)

    def _begin(self, baseline: Baseline, held: frozenset[str]) -> None:
        """Begin an inquiry if the balance can tell about any held job; end one that no held job needs any more."""
        undecided = bool(held & self._since(baseline).undecided) if held else False
        if undecided and self._inquiry is None:
            self._book.tell(
                "inquiry", "A submit's answer was lost: the balance is asked whether it was charged.", self._now()
            )
            self._inquiry = Inquiry(self._monotonic())
        elif not undecided:
            self._inquiry = None
        self._held = held

    def _since(self, baseline: Baseline) -> Since:
        return self._book.journal.purchases_since(baseline.purchase, baseline.read_at - REFUND_SECONDS)

    def _conclude(self, baseline: Baseline, inquiry: Inquiry) -> None:
        """Commit the verdict with the new baseline, in one transaction."""
        since, now = self._since(baseline), self._now()
        proof = judged(baseline, since, inquiry.readings, exact=self._exact) if inquiry.is_complete else OVERDUE
        jobs = [job for job in self._book.jobs.values() if job.id in since.undecided & self._held]
        last = inquiry.readings[-1] if inquiry.is_complete else None
        renewed = None if last is None else Baseline(last, self._book.journal.newest_purchase(), now)
        meta: Mapping[str, Any] = {BASELINE: renewed.as_data() if renewed else None}
        self._book.commit([concluded(job, proof, now) for job in jobs], now, meta)
        self._book.tell("inquiry-ended", proof.reason, now)
        self._baseline, self._inquiry = renewed, None
