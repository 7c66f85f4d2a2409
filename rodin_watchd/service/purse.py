"""The purse: what may still be spent today, by the journal's books; the main thread's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from decimal import Decimal

from rodin_watchd.config import Budget
from rodin_watchd.core.budget import (
    BUDGET_DAY,
    CLOCK_STEP_SECONDS,
    Allowance,
    Caps,
    Day,
    day_of,
    is_over_budget,
    next_midnight,
    put_off,
)
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import OverBudgetError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.service.book import Book


class Purse:
    """Keeps the budget's day, and lets only those intents become durable that are within the budget.

    `barred` counts the sets in the inbox that wait for another day, by reason. `now` is UTC and may jump, `monotonic` never
    does. Every method may raise DiskError; it may be called again.
    """

    def __init__(
        self, budget: Budget, book: Book, zone: tzinfo, now: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._caps = Caps(budget.per_day_credits, budget.per_folder_credits)
        self._book = book
        self._zone = zone
        self._now = now
        self._offset = now() - monotonic()
        self._monotonic = monotonic
        known = book.journal.meta(BUDGET_DAY)
        self._day = Day(*known) if known else None
        self._told: frozenset[str] = frozenset()
        self.barred: Mapping[str, int] = {}
        book.journal.open_books()

    @property
    def allowance(self) -> Allowance:
        """What may still be spent today."""
        return self._left(self._book.journal.spent_since(self._today().after_purchase))

    def buy(self, intents: Sequence[Transition]) -> list[Job]:
        """Make those intents durable that are within the budget; return their jobs."""
        if not intents:
            return []
        after = self._today().after_purchase
        return [intent.job for intent in self._book.commit_affordable(intents, self._now(), after, self._affordable)]

    def put_off(self, jobs: Iterable[Job]) -> None:
        """Note on each job that is to be sent whether and why it waits for another day."""
        to_send = [job for job in jobs if job.state in (State.STAGED, State.UPLOADING)]
        left, now = self.allowance if to_send else self._left({}), self._now()
        late = [(job, left.why_not(job.folder)) for job in to_send]
        moves = (put_off(job, reason, now) for job, reason in late)
        self._book.commit([move for move in moves if move], now)
        self._tell(frozenset(reason for _, reason in late if reason) | self.barred.keys())

    def _tell(self, reasons: frozenset[str]) -> None:
        """Tell what is spent while something waits for it, and when that is over, each once."""
        for reason in sorted(reasons - self._told):
            self._book.tell("paused", f"{reason}.", self._now(), subject="budget", code=OverBudgetError.code)
        for reason in sorted(self._told - reasons):
            told = f"{reason}. That is over."
            self._book.tell("resumed", told, self._now(), subject="budget", code=OverBudgetError.code)
        self._told = reasons

    def notices(self) -> list[str]:
        """Return what people must know: how many sets wait for another day, and until when."""
        count = sum(self.barred.values()) + sum(map(is_over_budget, self._book.jobs.values()))
        if not count:
            return []
        again = local(next_midnight(self._now(), self._zone), self._zone)
        who = "1 set waits" if count == 1 else f"{count:,} sets wait"
        return [f"{who} for another day: {'; '.join(sorted(self._told))}. It goes on by itself at {again}."]

    @property
    def waits(self) -> bool:
        """Whether any set waits for another day."""
        return bool(self.barred) or any(map(is_over_budget, self._book.jobs.values()))

    # ---- the day ----------------------------------------------------------------------------------------------------

    def _left(self, spent: Mapping[str, Decimal]) -> Allowance:
        return Allowance(self._caps, spent)

    def _affordable(self, spent: Mapping[str, Decimal], intents: Sequence[Transition]) -> Sequence[Transition]:
        return self._left(spent).affordable(intents)

    def _today(self) -> Day:
        """Return the budget's day, by a clock that may have been set; what changed is made durable first."""
        now, offset, before = self._now(), self._offset, self._day
        step = now - self._monotonic() - offset
        if abs(step) > CLOCK_STEP_SECONDS:  # the clock was set: the day's age stays true
            offset, before = offset + step, before and before._replace(began_at=before.began_at + step)
        day = day_of(before, now, self._zone, self._book.journal.newest_purchase())
        if day != self._day:
            self._book.journal.set_meta(BUDGET_DAY, day)
        self._offset, self._day = offset, day
        return day
