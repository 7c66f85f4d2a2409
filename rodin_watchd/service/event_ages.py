"""The ages of the journal's events, counted by monotonic time and kept over restarts; the main thread's alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rodin_watchd.adapters.journal import Journal
from rodin_watchd.core.ages import EVENT_AGES, Ages

NOTED_SECONDS: Final = 600.0
"""What was counted is made durable so often; a crash loses no more than that, and makes nothing older than it is."""


class EventAges:
    """Counts while it is asked to `look`. `longest_seconds`: no greater age is ever asked for."""

    def __init__(self, journal: Journal, monotonic: Callable[[], float], longest_seconds: float) -> None:
        self._journal = journal
        self._monotonic = monotonic
        self._longest_seconds = longest_seconds
        self._ages = Ages.of_data(journal.meta(EVENT_AGES))
        self._looked_at = monotonic()

    def look(self) -> None:
        """Count the time since the last look; to be called in each tick. Raises DiskError; it may be called again."""
        monotonic = self._monotonic()
        passed = monotonic - self._looked_at
        if passed >= NOTED_SECONDS or not self._ages.marks:
            ages = self._ages.grown(passed, self._journal.newest_event(), self._longest_seconds)
            self._journal.set_meta(EVENT_AGES, ages)
            self._ages, self._looked_at = ages, monotonic

    def older_than(self, seconds: float) -> int:
        """Return the number of the newest event that is surely as old as that, 0 without any."""
        return self._ages.older_than(seconds)
