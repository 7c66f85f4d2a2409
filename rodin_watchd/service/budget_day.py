"""The budget's day: kept over reloads, by a clock that may be set; the main thread's alone."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final

from rodin_watchd.adapters.journal import Journal
from rodin_watchd.core.budget import BUDGET_DAY, Day, day_of, next_day_at
from rodin_watchd.core.restored import Loss
from rodin_watchd.service.clock import Clock

NOTED_SECONDS: Final = 600.0
"""The age of the day is made durable so often, and its beginning when it has moved by a tenth of that."""


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
        self._stored = Day(*known) if known else None
        self._day = self._stored and self._stored.found(clock.now())

    def today(self) -> Day:
        """Return the day; what changed is made durable first. To be asked for in each tick, so that no step is missed.

        Raises DiskError; it may be called again.
        """
        now = self._clock.now()
        offset = now - self._clock.monotonic()
        before = self._day and self._day.moved(
            offset - self._offset
        )  # the clock was set or adjusted: the age stays true
        day = day_of(before, now, self.zone, self._journal.newest_purchase())
        if _differs(day, self._stored):
            self._journal.set_meta(BUDGET_DAY, day)
            self._stored = day
        self._offset, self._day = offset, day
        return day

    def next_at(self) -> float:
        """Return when (UTC) the next day begins if nobody sets the clock; writes nothing."""
        now = self._clock.now()
        return next_day_at(day_of(self._day, now, self.zone, 0), now, self.zone)

    def lose(self, count: int, submits: int, loss: Loss | None) -> None:
        """Count submits that are missing in the journal as spent today, and note that there were `submits` in all, and the loss.

        One transaction, with the end of what shows that the journal is older (`Journal.forget_copy`): a crash counts nothing
        twice. What was counted before in this day stays. Raises DiskError.
        """
        today = self.today()
        day = today._replace(lost=today.lost + count)
        self._journal.forget_copy(submits, day, loss)
        self._day = self._stored = day


def _differs(day: Day, stored: Day | None) -> bool:
    """Tell whether what is stored of the day would be missed after a crash."""
    if stored is None or (day.after_purchase, day.lost, day.date) != (stored.after_purchase, stored.lost, stored.date):
        return True
    moved, aged = day.began_at - stored.began_at, day.seen_at - stored.seen_at
    return abs(moved) >= NOTED_SECONDS / 10 or aged >= NOTED_SECONDS
