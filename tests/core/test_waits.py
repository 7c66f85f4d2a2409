"""Waiting times and the rate budget."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW

from rodin_watchd.core.waits import RateBudget, backoff_seconds, is_due, spread

modest = settings(max_examples=150, deadline=None)
chances = st.floats(0, 1, exclude_max=True)


# ---- waits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "wait"), [(0, 2.0), (1, 2.0), (2, 4.0), (3, 8.0), (8, 256.0), (9, 300.0), (61, 300.0), (2000, 300.0)]
)
def test_the_back_off_doubles_up_to_its_limit(attempts: int, wait: float) -> None:
    """Two seconds, four, eight, …, five minutes: at attempt 2,000 as well."""
    assert backoff_seconds(attempts, 2.0, 300.0, 0.5) == wait


@modest
@given(st.integers(-5, 5000), chances)
def test_the_back_off_never_shrinks_with_the_attempts(attempts: int, chance: float) -> None:
    """At the same chance a later attempt never waits less."""
    assert backoff_seconds(attempts, 1.0, 120.0, chance) <= backoff_seconds(attempts + 1, 1.0, 120.0, chance)


@modest
@given(st.floats(0, 1e9), chances)
def test_a_spread_wait_is_within_a_tenth(seconds: float, chance: float) -> None:
    """Ninety to a hundred and ten in the hundred; the middle chance changes nothing."""
    assert seconds * 0.9 <= spread(seconds, chance) <= seconds * 1.1
    assert spread(seconds, 0.5) == seconds


@pytest.mark.parametrize(
    ("not_before", "due"),
    [(NOW - 1, True), (NOW, True), (NOW + 0.1, False), (NOW + 132, False), (NOW + 145, True), (NOW + 1e8, True)],
)
def test_a_wait_beyond_the_longest_is_over(not_before: float, due: bool) -> None:
    """Nobody set it: the clock was turned back meanwhile. A spread wait is still within."""
    assert is_due(not_before, NOW, 120.0) == due


@modest
@given(st.floats(0.1, 300), chances, st.floats(-1e8, 1e8))
def test_no_jump_of_the_clock_stops_a_job(wait: float, chance: float, jump: float) -> None:
    """Wherever the clock jumps to, a wait is over at once or within the longest wait and its spread."""
    not_before, now = NOW + spread(wait, chance), NOW + jump
    assert is_due(not_before, now, 300.0) or is_due(not_before, now + 300.0 * 1.2 + 1e-6, 300.0)


# ---- the rate budget ------------------------------------------------------------------------------------------------


@modest
@given(
    st.integers(1, 6000),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 30)), max_size=40),
)
def test_no_pattern_of_calls_breaks_the_budget(per_minute: int, burst: int, pattern: list[tuple[float, int]]) -> None:
    """In every span of time: at most the burst, and what the average allows on top."""
    budget, now, calls = RateBudget(per_minute, burst), 1000.0, list[float]()
    for pause, wanted in pattern:
        now += pause
        for _ in range(min(wanted, budget.available(now))):
            budget = budget.spend(now)
            calls.append(now)
    for first, since in enumerate(calls):
        for last, until in enumerate(calls[first:], first):
            assert last - first + 1 <= burst + (until - since) * per_minute / 60 + 1e-6


@modest
@given(st.integers(1, 6000), st.integers(1, 20), st.floats(0, 1e6), st.floats(-10, 1000))
def test_a_call_may_go_exactly_when_nothing_is_to_be_waited_for(
    per_minute: int, burst: int, now: float, ahead: float
) -> None:
    """The two questions have one answer, and after the wait it is yes."""
    budget = RateBudget(per_minute, burst, full_at=now + ahead)
    wait = budget.wait_seconds(now)
    assert (budget.available(now) > 0) == (wait == 0)
    assert budget.available(now + wait + 1e-6) >= 1


def test_a_rested_budget_is_a_whole_burst_and_no_more() -> None:
    """A night without calls saves nothing up."""
    budget = RateBudget(60, 5).spend(0.0)
    assert (budget.available(0.0), budget.available(1.0), budget.available(1e6)) == (4, 5, 5)
    assert budget.wait_seconds(0.0) == 0.0


def test_a_spent_budget_comes_back_call_by_call() -> None:
    """Sixty a minute: one second for each."""
    budget = RateBudget(60, 2).spend(10.0).spend(10.0)
    assert (budget.available(10.0), budget.wait_seconds(10.0)) == (0, 1.0)
    assert (budget.available(11.0), budget.available(12.0)) == (1, 2)


@modest
@given(
    st.integers(1, 6000),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 30), st.booleans()), max_size=40),
)
def test_no_restart_breaks_the_budget(per_minute: int, burst: int, pattern: list[tuple[float, int, bool]]) -> None:
    """A process that resumes from what was stored before its calls allows no more than one that had gone on."""
    budget, now, calls = RateBudget(per_minute, burst), 1000.0, list[float]()
    noted = budget.noted_at
    for pause, wanted, dies in pattern:
        now += pause
        for _ in range(min(wanted, budget.available(now))):
            budget = budget.spend(now)
            noted = budget.noted_at if budget.full_at > noted else noted
            calls.append(now)
        budget = RateBudget(per_minute, burst).resumed(noted, now) if dies else budget
    for first, since in enumerate(calls):
        for last, until in enumerate(calls[first:], first):
            assert last - first + 1 <= burst + (until - since) * per_minute / 60 + 1e-6


@modest
@given(st.integers(1, 6000), st.integers(1, 20), st.floats(-1e9, 1e9))
def test_no_stored_instant_stops_the_calls(per_minute: int, burst: int, noted: float) -> None:
    """After a reboot monotonic time begins again: a call waits for one call's share of a minute at most."""
    budget = RateBudget(per_minute, burst).resumed(noted, 5.0)
    assert budget.wait_seconds(5.0) <= 60.0 / per_minute + 1e-9


@pytest.mark.parametrize(("per_minute", "burst"), [(120, 10), (600, 64), (100_000, 64)])
def test_few_calls_need_a_write_of_their_own(per_minute: int, burst: int) -> None:
    """However many may go: one a second, or one for each half of a burst."""
    budget, noted, writes, now = RateBudget(per_minute, burst), 0.0, 0, 100.0
    for _ in range(1000):
        now += 60.0 / per_minute
        budget = budget.spend(now)
        if budget.full_at > noted:
            noted, writes = budget.noted_at, writes + 1
    assert writes <= 2 * 1000 / max(burst, per_minute / 60) + 2
