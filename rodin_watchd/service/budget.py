"""The budgets: what may still be spent today, by the journal's books, and how many calls may go. The main thread's alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from rodin_watchd.config import BudgetSection
from rodin_watchd.core.budget import (
    BUDGET_DAY,
    UNLIMITED,
    Allowance,
    Caps,
    Day,
    day_of,
    is_over_budget,
    next_day_at,
    promised,
    put_off,
)
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.kinds import Article
from rodin_watchd.core.machine import LOSS, SUBMITS, Loss
from rodin_watchd.core.proof import LOSSES
from rodin_watchd.core.stillness import Reason
from rodin_watchd.core.store import COPIED_AT, Store
from rodin_watchd.core.waits import CALLS, RateBudget
from rodin_watchd.core.wording import local
from rodin_watchd.errors import OverBudgetError
from rodin_watchd.model import Job, State, Transition
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore

# ---- The budget's day: kept over reloads, by a clock that may be set; the main thread's alone -----------------------


NOTED_SECONDS: Final = 600.0
"""The age of the day is made durable so often, and its beginning when it has moved by a tenth of that."""


class BudgetDay:
    """Compares the clock with monotonic time from the start of the process to its end: made once, not for a reload.

    A reload that made it again would take a clock that was set just before for the right one, and begin a second budget.
    """

    def __init__(self, store: Store, zone: tzinfo, clock: Clock) -> None:
        self.zone = zone
        self._store = store
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()
        self._stored = self.stored()
        self._day = self._stored and self._stored.found(clock.now())
        self._moved = 0.0  # by others, and not seen by this one's clock yet; seconds

    def today(self) -> Day:
        """Return the day; what changed is made durable first. To be asked for in each tick, so that no step is missed.

        Raises DiskError; it may be called again.
        """
        now = self._clock.now()
        offset = now - self._clock.monotonic()
        known = self.stored()
        day, moved = self._day_at(known, now, offset)
        if _differs(day, known):
            with self._store.together(decides=True):  # no two daemons begin it after different purchases
                known = self.stored()
                day, moved = self._day_at(known, now, offset)
                self._store.set_meta(BUDGET_DAY, day)
            known = day
        self._offset, self._day, self._stored, self._moved = offset, day, known, moved
        return day

    def _day_at(self, known: Day | None, now: float, offset: float) -> tuple[Day, float]:
        """Return the day as it goes on from what is stored, and by how much others have moved it more than this daemon's clock.

        Where the clock was set or adjusted, the day moves with it: its age stays true. Daemons that share a store share its clock, and
        each of them sees when that is set: the first one moves the day.
        """
        before, ahead = self._day, self._moved
        if known is not None and known != self._stored:
            is_same = before is not None and before.after_purchase == known.after_purchase
            ahead = ahead + known.began_at - before.began_at if before and is_same else 0.0
            before = known
        step = offset - self._offset
        done = min(max(step, 0.0), max(ahead, 0.0)) + max(min(step, 0.0), min(ahead, 0.0))
        going_on = before and before.moved(step - done)
        return day_of(going_on, now, self.zone, self._store.newest_purchase()), ahead - done

    def stored(self) -> Day | None:
        """Return the day as the store has it: within a transaction that decides, what all daemons go by."""
        known = self._store.meta(BUDGET_DAY)
        return Day(*known) if known else None

    def next_at(self) -> float:
        """Return when (UTC) the next day begins if nobody sets the clock; writes nothing."""
        now = self._clock.now()
        return next_day_at(day_of(self._day, now, self.zone, 0), now, self.zone)

    def lose(self, count: int, submits: int, loss: Loss | None) -> None:
        """Count submits that are missing in the journal as spent today, and note that there were `submits` in all, and the loss.

        One transaction, with the end of what shows that the journal is older (the mark of a backup): a crash counts nothing
        twice. What was counted before in this day stays. All baselines go: nobody knows what was bought since. Raises DiskError.
        """
        today = self.today()
        with self._store.together(decides=True):
            before = self.stored() or today
            day = before._replace(lost=before.lost + count)
            losses = int(self._store.meta(LOSSES) or 0) + max(count, 1)
            known = {BUDGET_DAY: day, LOSSES: losses, SUBMITS: submits} | ({LOSS: loss} if loss else {})
            self._store.commit((), day.seen_at, {COPIED_AT: None, **known})
        self._day = self._stored = day


def _differs(day: Day, stored: Day | None) -> bool:
    """Return whether what is stored of the day would be missed after a crash."""
    if stored is None or (day.after_purchase, day.lost, day.date) != (stored.after_purchase, stored.lost, stored.date):
        return True
    moved, aged = day.began_at - stored.began_at, day.seen_at - stored.seen_at
    return abs(moved) >= NOTED_SECONDS / 10 or aged >= NOTED_SECONDS


@dataclass(frozen=True, slots=True)
class OverBudget:
    """What waits for another day, and what people have read about it."""

    reported: frozenset[str] = frozenset()  # reasons
    barred: Mapping[str, int] = field(default_factory=dict)  # sets in the inbox, by reason


NOTHING_OVER = OverBudget()


class Budget:
    """Lets only those intents become durable that are within the budget of the day.

    `over` is what waited before a reload.
    `now` is UTC and may jump. Every method may raise DiskError; it may be called again.
    """

    def __init__(
        self,
        budget: BudgetSection,
        job_store: JobStore,
        store: Store,
        day: BudgetDay,
        now: Callable[[], float],
        over: OverBudget = NOTHING_OVER,
    ) -> None:
        self._caps = Caps(budget.per_day_credits, budget.per_folder_credits)
        self._job_store = job_store
        self._store = store
        self._day = day
        self._now = now
        self._reported = over.reported
        self._barred = over.barred

    @property
    def over(self) -> OverBudget:
        """What another one goes on with."""
        return OverBudget(self._reported, self._barred)

    def bar(self, sets: Mapping[str, int]) -> None:
        """Note how many sets in the inbox wait for another day, by reason."""
        self._barred = sets

    @property
    def allowance(self) -> Allowance:
        """What may still be spent today."""
        today = self._day.today()
        spent = self._store.spent_in_day(today.after_purchase) if self._caps.any else {}
        return self._left(spent, today)

    def price(self, article: Article) -> Decimal:
        """Return what this may cost, in credits."""
        return self._store.price(article)

    def _left(self, spent: Mapping[str, Decimal], today: Day) -> Allowance:
        """Return what is left of the day."""
        kept = promised(self._job_store.everywhere, self._store.price) if self._caps.any else {}
        return Allowance(self._caps, spent, self._store.price, today.lost_credits(self._store.dearest), kept)

    def affordable(self, intents: Sequence[Transition]) -> Sequence[Transition]:
        """Return the intents that are within the budget, in their order; within a transaction that decides (`JobStore.together`)."""
        if not (self._caps.any and intents):
            return intents
        today = self._day.stored() or Day(0.0, 0)
        return self._left(self._store.spent_in_day(today.after_purchase), today).affordable(intents)

    def put_off(self, jobs: Iterable[Job]) -> None:
        """Note on each job that is to be sent whether and why it waits for another day."""
        to_send = [job for job in jobs if job.state in (State.STAGED, State.UPLOADING)]
        left, now = self.allowance if to_send else UNLIMITED, self._now()
        late = [(job, left.why_not_job(job)) for job in to_send]
        moves = (put_off(job, reason, now) for job, reason in late)
        self._job_store.commit([move for move in moves if move], now)
        self._report(frozenset(reason for _, reason in late if reason) | self._barred.keys())

    def _report(self, reasons: frozenset[str]) -> None:
        """Report what is spent while something waits for it, and when that is over, each once."""
        for reason in sorted(reasons - self._reported):
            self._job_store.report("paused", f"{reason}.", self._now(), subject="budget", code=OverBudgetError.code)
        for reason in sorted(self._reported - reasons):
            reported = f"{reason}. This has ended."
            self._job_store.report("resumed", reported, self._now(), subject="budget", code=OverBudgetError.code)
        self._reported = reasons

    def reasons(self) -> list[Reason]:
        """Return that sets wait for another day, if any do: how many, and until when."""
        count = sum(self._barred.values()) + sum(map(is_over_budget, self._job_store.jobs.values()))
        if not count:
            return []
        again = local(self._day.next_at(), self._day.zone)
        who = "1 set waits" if count == 1 else f"{count:,} sets wait"
        notice = f"{who} for another day: {'; '.join(sorted(self._reported))}. It continues by itself at {again}."
        return [Reason(notice, Standstill.BUDGET, OverBudgetError.code)]

    @property
    def waits(self) -> bool:
        """Whether any set waits for another day."""
        return bool(self._barred) or any(map(is_over_budget, self._job_store.jobs.values()))


# ---- Calls to the vendor: counted in the store before they are made, so that no restart allows a second burst ---------


class CallBudget:
    """Bounds the calls an account makes, over reloads, crashes and restarts.

    Where several daemons share a store, each call is taken out of one budget there, by the server's clock: what is known of it
    between two calls of `take` is only a guess.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float], rate: RateBudget) -> None:
        self._store = store
        self._monotonic = monotonic
        self._is_shared = store.shared_now() is not None
        noted = None if self._is_shared else store.meta(CALLS)
        self._noted_at = -math.inf if noted is None else float(noted)
        self._rate = rate.resumed(self._noted_at, monotonic())

    @property
    def available(self) -> int:
        """How many calls may go now."""
        return self._rate.available(self._monotonic())

    @property
    def wait_seconds(self) -> float:
        """How long the next call has to wait; 0 when it may go now."""
        return self._rate.wait_seconds(self._monotonic())

    def take(self, calls: int) -> int:
        """Count calls that are about to be made, and return how many of them may be: fewer where other daemons were faster.

        Raises DiskError: then none is counted, and none may be made.
        """
        if not calls:
            return 0
        if self._is_shared:
            return self._take_shared(calls)
        rate = self._rate.spend(self._monotonic(), calls)
        if rate.full_at > self._noted_at:
            self._store.set_meta(CALLS, rate.noted_at)
            self._noted_at = rate.noted_at
        self._rate = rate
        return calls

    def _take_shared(self, calls: int) -> int:
        with self._store.together(decides=True):
            now = self._store.shared_now() or 0.0
            noted = self._store.meta(CALLS)
            rate = self._rate.resumed(-math.inf if noted is None else float(noted), now)
            taken = min(calls, rate.available(now))
            if taken:
                rate = rate.spend(now, taken)
                self._store.set_meta(CALLS, rate.full_at)
        self._rate = replace(rate, full_at=self._monotonic() + rate.full_at - now)
        return taken
