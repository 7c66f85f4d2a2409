"""How old events are at least, by the time that was counted, whatever the wall clock said."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.balance import MARK_SECONDS, Ages

DAY = 86_400.0


def test_nothing_is_old_where_nothing_was_counted() -> None:
    """A new journal, and one of a version that did not count."""
    assert Ages().older_than(0) == 0
    assert Ages.of_data(None).older_than(DAY) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3 * DAY), st.integers(0, 5)), max_size=80))
def test_no_event_is_older_than_it_says_and_few_are_much_older(steps: list[tuple[float, int]]) -> None:
    """Of any looks: what counts as a day old was the newest, or older, a day of counted time ago; and what is stored is small."""
    ages, total, newest, seen = Ages(), 0.0, 0, [(0.0, 0)]
    for passed, events in steps:
        total, newest = total + passed, newest + events
        ages = ages.grown(passed, newest, DAY)
        seen.append((total, newest))
        young = min((event for at, event in seen if total - at < DAY), default=0)
        assert ages.older_than(DAY) <= max((event for at, event in seen if total - at >= DAY), default=0)
        assert young == 0 or ages.older_than(DAY) <= young
        assert len(ages.marks) <= DAY / MARK_SECONDS + 2
        assert Ages.of_data(json.loads(json.dumps(ages))) == ages


def test_an_event_is_a_day_old_soon_after_a_day() -> None:
    """Looked at every ten minutes, it takes a day and one distance of marks at the most."""
    ages, seconds = Ages().grown(0, 0, DAY), 0.0
    while not ages.older_than(DAY):
        ages = ages.grown(600, 1, DAY)
        seconds += 600
    assert DAY <= seconds <= DAY + MARK_SECONDS + 600
