"""The budget's day: kept over reloads, by a clock that may be set; the main thread's alone."""

from __future__ import annotations

from datetime import tzinfo

from rodin_watchd.adapters.journal import Journal
from rodin_watchd.core.budget import BUDGET_DAY, CLOCK_STEP_SECONDS, Day, day_of
from rodin_watchd.core.restored import Loss
from rodin_watchd.service.clock import Clock


class BudgetDay:
    """Compares the clock with monotonic time from the start of the process to its end: made once, not for a reload.

    A reload that made it anew would take a clock that was set just before for the right one, and begin a second budget.
    """

    def __init__(self, journal: Journal, zone: tzinfo, clock: Clock) -> None:
        self.zone = zone
        self._journal = journal
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()
        known = journal.meta(BUDGET_DAY)
        self._day = Day(*known) if known else None

    def today(self) -> Day:
        """Return the day; what changed is made durable first. To be asked for in each tick, so that no step is missed.

        Raises DiskError; it may be called again.
        """
        now, offset, before = self._clock.now(), self._offset, self._day
        step = now - self._clock.monotonic() - offset
        if abs(step) > CLOCK_STEP_SECONDS:  # the clock was set: the day's age stays true
            offset, before = offset + step, before and before._replace(began_at=before.began_at + step)
        day = day_of(before, now, self.zone, self._journal.newest_purchase())
        if day != self._day:
            self._journal.set_meta(BUDGET_DAY, day)
        self._offset, self._day = offset, day
        return day

    def lose(self, count: int, submits: int, loss: Loss | None) -> None:
        """Count submits that are missing in the journal as spent today, and note that there were `submits` in all, and the loss.

        One transaction, with the end of what shows that the journal is older (`Journal.forget_copy`): a crash counts nothing
        twice. What was counted before in this day stays. Raises DiskError.
        """
        today = self.today()
        day = today._replace(lost=today.lost + count)
        self._journal.forget_copy(submits, day, loss)
        self._day = day
