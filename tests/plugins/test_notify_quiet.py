"""`notify`: when it is quiet, and when that ends."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rodin_watchd_plugins.notify.quiet import Quiet, hours_of

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Quiet((hours_of("22:00-07:00"),), frozenset(), BERLIN)
OFFICE = Quiet((hours_of("19:00-08:30"), hours_of("12:00-13:00")), frozenset({5, 6}), BERLIN)


def at(text: str) -> float:
    """Return an instant by the clock of Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("quiet", "now", "ends"),
    [
        (Quiet(), "2026-06-01T03:00", "2026-06-01T03:00"),
        (NIGHT, "2026-06-01T21:59:59", "2026-06-01T21:59:59"),
        (NIGHT, "2026-06-01T22:00", "2026-06-02T07:00"),
        (NIGHT, "2026-06-02T06:59:59", "2026-06-02T07:00"),
        (NIGHT, "2026-06-02T07:00", "2026-06-02T07:00"),
        (NIGHT, "2026-03-28T23:00", "2026-03-29T07:00"),  # the clock goes forward in this night
        (NIGHT, "2026-10-24T23:00", "2026-10-25T07:00"),  # and back in this one
        (OFFICE, "2026-06-03T12:30", "2026-06-03T13:00"),
        (OFFICE, "2026-06-05T19:00", "2026-06-08T08:30"),  # from Friday evening to Monday morning
        (OFFICE, "2026-06-06T15:00", "2026-06-08T08:30"),
    ],
)
def test_quiet_time_ends_by_the_clock_on_the_wall(quiet: Quiet, now: str, ends: str) -> None:
    """Over midnight, over days, and when the clocks are changed."""
    assert quiet.ends_at(at(now)) == at(ends)


@given(st.floats(0, 4e9), st.sampled_from([NIGHT, OFFICE, Quiet((hours_of("01:30-02:45"),), frozenset({0}), BERLIN)]))
def test_it_is_not_quiet_when_it_has_ended(now: float, quiet: Quiet) -> None:
    """The end is never before now, never days away, and the end of itself."""
    ends = quiet.ends_at(now)
    assert now <= ends < now + 4 * 86400
    assert quiet.ends_at(ends) == ends


def test_quiet_for_ever_is_refused() -> None:
    """Two spans that leave nothing of the day."""
    with pytest.raises(ValueError, match="never be anything but quiet"):
        Quiet((hours_of("00:00-12:00"), hours_of("12:00-00:00"))).ends_at(0.0)


@pytest.mark.parametrize("text", ["22:00", "22:00-22:00", "24:00-07:00", "10pm-7am", ""])
def test_what_are_no_hours_is_refused(text: str) -> None:
    """Hours have the form 22:00-07:00."""
    with pytest.raises(ValueError, match=r"."):
        hours_of(text)
