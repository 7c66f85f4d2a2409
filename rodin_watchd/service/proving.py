"""Proving by the balance whether lost submits were charged (`core.proof`); the main thread's alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from rodin_watchd.core.machine import AT_VENDOR
from rodin_watchd.core.proof import BASELINE, OVERDUE, REFUND_SECONDS, Baseline, Inquiry, Since, concluded, judged
from rodin_watchd.model import State
from rodin_watchd.service.book import Book

FAILED_SECONDS = 5.0
"""A reading that failed is tried again after so long (monotonic)."""


@dataclass(frozen=True, slots=True)
class Proving:
    """A proof that may be under way, and the held jobs that are known."""

    inquiry: Inquiry | None = None
    held: frozenset[str] = frozenset()


NOTHING_BEGUN = Proving()


class Prover:
    """Keeps the baseline, and inquires into held jobs. `now` is UTC and may jump, `monotonic` never does.

    `trusts` tells whether nobody else spends from the account; without that it does nothing. `begun` is what the prover
    before a reload had begun. Every method may raise DiskError: then nothing is known yet, and it may be called again.
    """

    def __init__(
        self,
        book: Book,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        begun: Proving = NOTHING_BEGUN,
        *,
        trusts: bool,
        same_account: bool,
    ) -> None:
        self._book = book
        self._now = now
        self._monotonic = monotonic
        self.trusts = trusts
        stored = book.journal.meta(BASELINE) if trusts and same_account else None
        self._baseline = Baseline.of_data(stored) if stored else None
        self._inquiry = begun.inquiry if self._baseline else None
        self._not_before = monotonic()
        self._held = begun.held if self._baseline else frozenset()

    @property
    def begun(self) -> Proving:
        """What a prover that takes this one's place goes on with."""
        return Proving(self._inquiry, self._held)

    @property
    def inquires(self) -> bool:
        """Whether a proof is under way: no submit may begin, and held jobs may go on without a person."""
        return self._inquiry is not None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of ours is open at the vendor."""
        return not any(job.state in AT_VENDOR for job in self._book.jobs.values())

    # ---- readings ---------------------------------------------------------------------------------------------------

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds the inquiry wants a reading."""
        due_at = self._inquiry.due_at if self._inquiry else None
        return [] if due_at is None else [max(due_at, self._not_before) - self._monotonic()]

    def is_due(self) -> bool:
        """Tell whether the inquiry wants a reading now."""
        return any(seconds <= 0 for seconds in self.next_due_seconds())

    def asked_for(self) -> float | None:
        """Return which quiet time a reading that is asked for now belongs to; None if it is for no inquiry."""
        return self._inquiry.quiet_at if self._inquiry and self.is_due() else None

    def read(self, balance: Decimal, quiet_at: float | None) -> None:
        """Note a reading that `asked_for` had said to be for this quiet time."""
        if self._inquiry and quiet_at is not None and quiet_at == self._inquiry.quiet_at:
            self._inquiry = self._inquiry.read(balance)

    def read_failed(self) -> None:
        """Note that the balance could not be read."""
        self._not_before = self._monotonic() + FAILED_SECONDS

    def start_from(self, balance: Decimal, purchase: int) -> None:
        """Note a balance that was read while no submit was open, with the newest purchase at that time."""
        if self.trusts and self._inquiry is None and (self._baseline is None or self.is_quiet):
            baseline = Baseline(balance, purchase, self._now())
            self._book.journal.set_meta(BASELINE, baseline.as_data())
            self._baseline = baseline

    # ---- the inquiry ------------------------------------------------------------------------------------------------

    def inquire(self, chance: float, *, exact: bool) -> None:
        """Begin, go on with or end a proof. `exact`: whether the account has ever shown a part of a credit."""
        if self._baseline is None:
            return
        self._look_for_held(self._baseline)
        if self._inquiry is None:
            return
        now = self._monotonic()
        self._inquiry = self._inquiry.seen(is_open=not self.is_quiet, now=now)
        if self._inquiry.is_complete or self._inquiry.is_overdue(now):
            self._conclude(self._baseline, self._inquiry, chance, exact=exact)

    def _look_for_held(self, baseline: Baseline) -> None:
        """Begin an inquiry if the balance can tell about any held job; end one that no held job needs any more."""
        held = frozenset(job.id for job in self._book.jobs.values() if job.state is State.HELD)
        if held == self._held:
            return
        undecided = bool(held & self._since(baseline).undecided) if held else False
        if undecided and self._inquiry is None:
            told = "A submit's answer was lost: the balance is asked whether it was charged."
            self._book.tell("inquiry", told, self._now(), subject="balance")
            self._inquiry = Inquiry(self._monotonic())
        elif not undecided and self._inquiry is not None:
            self._book.tell("inquiry-ended", "A person has decided.", self._now(), subject="balance")
            self._inquiry = None
        self._held = held

    def _since(self, baseline: Baseline) -> Since:
        return self._book.journal.purchases_since(baseline.purchase, baseline.read_at - REFUND_SECONDS)

    def _conclude(self, baseline: Baseline, inquiry: Inquiry, chance: float, *, exact: bool) -> None:
        """Commit the verdict with the new baseline, in one transaction."""
        since, now = self._since(baseline), self._now()
        proof = judged(baseline, since, inquiry.readings, exact=exact) if inquiry.is_complete else OVERDUE
        jobs = [job for job in self._book.jobs.values() if job.id in since.undecided & self._held]
        last = inquiry.readings[-1] if inquiry.is_complete else None
        renewed = None if last is None else Baseline(last, self._book.journal.newest_purchase(), now)
        moves = [move for job in jobs for move in concluded(job, proof, now, chance)]
        self._book.commit(moves, now, {BASELINE: renewed.as_data() if renewed else None})
        self._book.tell("inquiry-ended", proof.reason, now, subject="balance")
        self._baseline, self._inquiry = renewed, None

    def notices(self) -> list[str]:
        """Return what people must know."""
        told = "A submit's answer was lost: nothing is submitted until the balance tells whether it was charged."
        return [told] if self._inquiry else []
