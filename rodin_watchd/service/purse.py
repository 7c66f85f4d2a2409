"""The purse: what may still be spent today, by the journal's books; the main thread's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from rodin_watchd.config import Budget
from rodin_watchd.core.budget import UNLIMITED, Allowance, Caps, Day, is_over_budget, put_off
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import OverBudgetError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.service.book import Book
from rodin_watchd.service.budget_day import BudgetDay


@dataclass(frozen=True, slots=True)
class OverBudget:
    """What waits for another day, and what people were told of it."""

    told: frozenset[str] = frozenset()  # reasons
    barred: Mapping[str, int] = field(default_factory=dict)  # sets in the inbox, by reason


NOTHING_OVER = OverBudget()


class Purse:
    """Lets only those intents become durable that are within the budget of the day.

    `barred` counts the sets in the inbox that wait for another day, by reason. `over` is what waited before a reload.
    `now` is UTC and may jump. Every method may raise DiskError; it may be called again.
    """

    def __init__(
        self,
        budget: Budget,
        book: Book,
        day: BudgetDay,
        now: Callable[[], float],
        over: OverBudget = NOTHING_OVER,
    ) -> None:
        self._caps = Caps(budget.per_day_credits, budget.per_folder_credits)
        self._book = book
        self._day = day
        self._now = now
        self._told = over.told
        self.barred = over.barred

    @property
    def over(self) -> OverBudget:
        """What another one goes on with."""
        return OverBudget(self._told, self.barred)

    @property
    def allowance(self) -> Allowance:
        """What may still be spent today."""
        today = self._day.today()
        return self._left(self._book.journal.spent_since(today.after_purchase), today)

    def _left(self, spent: Mapping[str, Decimal], today: Day) -> Allowance:
        """Return what is left of the day, by what a texture may cost."""
        price = self._book.journal.price()
        return Allowance(self._caps, spent, price, today.lost_credits(price))

    def buy(self, intents: Sequence[Transition]) -> list[Job]:
        """Make those intents durable that are within the budget; return their jobs."""
        if not intents:
            return []
        today = self._day.today()

        def affordable(spent: Mapping[str, Decimal], intents: Sequence[Transition]) -> Sequence[Transition]:
            return self._left(spent, today).affordable(intents)

        bought = self._book.commit_affordable(intents, self._now(), today.after_purchase, affordable)
        return [intent.job for intent in bought]

    def put_off(self, jobs: Iterable[Job]) -> None:
        """Note on each job that is to be sent whether and why it waits for another day."""
        to_send = [job for job in jobs if job.state in (State.STAGED, State.UPLOADING)]
        left, now = self.allowance if to_send else UNLIMITED, self._now()
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
        again = local(self._day.next_at(), self._day.zone)
        who = "1 set waits" if count == 1 else f"{count:,} sets wait"
        return [f"{who} for another day: {'; '.join(sorted(self._told))}. It goes on by itself at {again}."]

    @property
    def waits(self) -> bool:
        """Whether any set waits for another day."""
        return bool(self.barred) or any(map(is_over_budget, self._book.jobs.values()))
