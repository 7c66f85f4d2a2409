"""When it is quiet, and when that ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONGEST_SECONDS: Final = 9 * 86400.0  # a week, and the day on which it began


@dataclass(frozen=True, slots=True)
class Quiet:
    """The hours of each day and the days of each week at which nothing is sent, in a zone (None: the machine's own)."""

    hours: tuple[tuple[time, time], ...] = ()  # from, until; over midnight when it ends before it begins
    days: frozenset[int] = frozenset()  # 0 is Monday
    zone: tzinfo | None = None

    def ends_at(self, now: float) -> float:
        """Return the first instant from `now` on (UTC epoch seconds) at which it is not quiet. Raises ValueError if none is."""
        at = now
        while (end := self._end(datetime.fromtimestamp(at, self.zone))) is not None:
            at = max(end.timestamp(), at + 1.0)
            if at > now + _LONGEST_SECONDS:
                raise ValueError("it would never be anything but quiet")
        return at

    def _end(self, local: datetime) -> datetime | None:
        """Return when the quiet time around this instant ends, None outside quiet times."""
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if local.weekday() in self.days:
            return midnight + timedelta(days=1)
        clock = local.time()
        for begin, end in self.hours:
            if begin <= clock and (clock < end or end <= begin):
                return _at(midnight + timedelta(days=end <= begin), end)
            if end <= begin and clock < end:
                return _at(midnight, end)
        return None


def _at(midnight: datetime, clock: time) -> datetime:
    return midnight.replace(hour=clock.hour, minute=clock.minute)


def hours_of(text: str) -> tuple[time, time]:
    """Understand `22:00-07:00`. Raises ValueError."""
    begin, dash, end = text.partition("-")
    hours = time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
    if not dash or hours[0] == hours[1]:
        raise ValueError("quiet hours look like 22:00-07:00")
    return hours
