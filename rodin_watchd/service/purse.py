"""The purse: what may still be spent today, by the journal's books; the main thread's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo

from rodin_watchd.config import Budget
from rodin_watchd.core.budget import (
    BUDGET_DAY,
    CLOCK_STEP_SECONDS,
    UNLIMITED,
    Allowance,
    Caps,
    day_began_at,
    freed,
    is_over_budget,
    next_midnight,
    put_off,
)
from rodin_watchd.core.receipt import local
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
        self._began_at: float | None = book.journal.meta(BUDGET_DAY)
        self._told: frozenset[str] = frozenset()
        self.barred: Mapping[str, int] = {}
        book.journal.open_books(now())

    @property
    def allowance(self) -> Allowance:
        """What may still be spent today."""
        return self._left(self._book.journal.spent_since(self._day())) if self._caps.is_limited else UNLIMITED

    def buy(self, intents: Sequence[Transition]) -> list[Job]:
        """Make those intents durable that are within the budget; return their jobs."""
        now = self._now()
        freely = [Transition(freed(intent.job), intent.action, intent.message) for intent in intents]
        if not self._caps.is_limited:
            self._book.commit(freely, now)
            return [intent.job for intent in freely]
        chosen = self._book.commit_affordable(freely, now, self._day(), self._affordable)
        return [intent.job for intent in chosen]

    def put_off(self, jobs: Iterable[Job]) -> None:
        """Note on each job that is to be sent now why it waits for another day, if it does."""
        if not self._caps.is_limited:
            return
        left = self.allowance
        late = [(job, left.why_not(job.folder)) for job in jobs if job.state in (State.STAGED, State.UPLOADING)]
        moves = (put_off(job, reason) for job, reason in late if reason)
        self._book.commit([move for move in moves if move], self._now())
        self._tell(frozenset(reason for _, reason in late if reason) | self.barred.keys())

    def _tell(self, reasons: frozenset[str]) -> None:
        """Tell what is spent while something waits for it, and when that is over, each once."""
        for reason in sorted(reasons - self._told):
            self._book.tell("paused", f"budget: {reason}.", self._now())
        for reason in sorted(self._told - reasons):
            self._book.tell("resumed", f"budget: {reason}. That is over.", self._now())
        self._told = reasons

    def notices(self) -> list[str]:
        """Return what people must know: how many sets wait for another day, and until when."""
        count = sum(self.barred.values()) + sum(map(is_over_budget, self._book.jobs.values()))
        if not count or not self._told:
            return []
        again = local(next_midnight(self._now(), self._zone), self._zone)
        who = "1 set waits" if count == 1 else f"{count:,} sets wait"
        return [f"{who} for another day: {'; '.join(sorted(self._told))}. It goes on by itself at {again}."]

    @property
    def waits(self) -> bool:
        """Whether any set waits for another day."""
        return bool(self.barred) or any(map(is_over_budget, self._book.jobs.values()))

    # ---- the day ----------------------------------------------------------------------------------------------------

    def _left(self, spent: Mapping[str, int]) -> Allowance:
        return Allowance(self._caps, spent)

    def _affordable(self, spent: Mapping[str, int], intents: Sequence[Transition]) -> Sequence[Transition]:
        return self._left(spent).affordable(intents)

    def _day(self) -> float:
        """Return when the day of the budget began, by a clock that may have been set; what changed is made durable first."""
        self._mind_clock()
        began_at = day_began_at(self._began_at, self._now(), self._zone)
        if began_at != self._began_at:
            self._book.journal.set_meta(BUDGET_DAY, began_at)
            self._began_at = began_at
        return began_at

    def _mind_clock(self) -> None:
        """Move what was dated with a clock that was set, so that ages stay true."""
        step = self._now() - self._monotonic() - self._offset
        if abs(step) <= CLOCK_STEP_SECONDS:
            return
        if self._began_at is not None:
            moved = self._began_at + step
            self._book.journal.shift_purchases(step, self._began_at, {BUDGET_DAY: moved})
            self._began_at = moved
        self._offset += step
