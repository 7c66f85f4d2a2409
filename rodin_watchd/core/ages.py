"""How old the journal's events are at least, by the time that was seen to pass. Pure functions on frozen values.

Wall clocks are set, so what an event says of its time proves nothing about its age. Services count the seconds in which they
ran (monotonic), and note now and then which event was the newest. What lies before a mark is older than all that was
counted since. The time in which no service ran does not count: an event can only be older than it says here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

EVENT_AGES: Final = "event-ages"
"""The journal's key of the ages."""

MARK_SECONDS: Final = 10_800.0
"""Marks are so far apart (counted seconds): by so much an event may be older than it says."""


class Mark(NamedTuple):
    """How many seconds had been counted when an event was the newest."""

    seconds: float
    event: int


class Ages(NamedTuple):
    """The seconds that were counted with this journal, and the marks, oldest first."""

    seconds: float = 0.0
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of_data(cls, data: Sequence[Any] | None) -> Self:
        """Return what JSON has made of it; nothing was counted where nothing is stored."""
        seconds, marks = data or (0.0, ())
        return cls(seconds, tuple(Mark(*mark) for mark in marks))

    def older_than(self, seconds: float) -> int:
        """Return the newest event that is surely as old as that, 0 without any."""
        return max((mark.event for mark in self.marks if self.seconds - mark.seconds >= seconds), default=0)

    def grown(self, seconds: float, newest_event: int, longest_seconds: float) -> Self:
        """Return it after so many more seconds; marks that tell nothing of the last `longest_seconds` are dropped."""
        total = self.seconds + seconds
        marks = self.marks
        if not marks or total - marks[-1].seconds >= MARK_SECONDS:
            marks = (*marks, Mark(total, newest_event))
        old = sum(total - mark.seconds >= longest_seconds for mark in marks)
        return self._replace(seconds=total, marks=marks[max(old - 1, 0) :])
