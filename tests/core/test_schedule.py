"""Polling by history."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from job_samples import NOW, TASK, a_job

from rodin_watchd.core.kinds import KINDS, TEXTURE, JobKind
from rodin_watchd.core.options import declared
from rodin_watchd.core.schedule import (
    expected_left_seconds,
    poll_delay_seconds,
    vendor_seconds,
)
from rodin_watchd.model import OptionValue, State

modest = settings(max_examples=150, deadline=None)
chances = st.floats(0, 1, exclude_max=True)
histories = st.lists(st.floats(0, 1e6), max_size=60)


# ---- what is known of a kind of task ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "glb/PBR/Basic"),
        ({"prompt": "x", "seed": 3}, "glb/PBR/Basic"),
        ({"geometry_file_format": "glb", "material": "PBR", "resolution": "Basic"}, "glb/PBR/Basic"),
        ({"resolution": "High", "geometry_file_format": "fbx"}, "fbx/PBR/High"),
    ],
)
def test_a_kind_is_what_makes_a_task_long(options: dict[str, OptionValue], kind: str) -> None:
    """Format, material and resolution, with the vendor's defaults spelled out."""
    assert TEXTURE.duration_class(options) == kind


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_makes_a_task_long_is_what_its_options_say(kind: JobKind) -> None:
    """Each option that is a choice of words, with the vendor's default, in the order in which they are declared."""
    choices = {name: sent.default for name, sent in declared(kind.options).items() if isinstance(sent.default, str)}
    assert list(kind.durations_by.items()) == list(choices.items())


def test_a_watched_task_is_measured() -> None:
    """It was done between the last poll that found it at work and the one that found it done: the middle is taken."""
    times = {"submitting": NOW, "submitted": NOW + 1, "generated": NOW + 61.5}
    job = a_job(State.GENERATED, task=replace(TASK, submitted_at=NOW), times=times)
    assert vendor_seconds(replace(job, working_at=NOW + 58.5)) == 60.0
    assert vendor_seconds(job) == 61.5 / 2  # found done by the first poll


def test_quick_tasks_are_learnt_though_they_are_polled_late() -> None:
    """A kind that is done at once, but asked for late, is asked for ever earlier."""
    history: list[float] = []
    delays = []
    for _ in range(12):
        delays.append(poll_delay_seconds(history, 0.0, usual=60.0, shortest=0.1, longest=30.0, chance=0.5))
        history.insert(0, delays[-1] / 2)
    assert delays[-1] < delays[0] / 4


@pytest.mark.parametrize(
    "times",
    [
        {"submitting": NOW, "submitted": NOW},  # still under way
        {"claimed": NOW, "submitted": NOW, "generated": NOW + 5},  # taken up again by `retry`
        {"submitting": NOW, "held": NOW + 9, "submitted": NOW + 9999, "generated": NOW + 10_000},  # adopted
        {"submitting": NOW, "generated": NOW - 100},  # the clock was set back
    ],
)
def test_a_task_that_was_not_watched_is_no_forecast(times: dict[str, float]) -> None:
    """Figures that hold a stop, a person's thinking or a jump of the clock would spoil it."""
    assert vendor_seconds(a_job(State.GENERATED, task=replace(TASK, submitted_at=NOW), times=times)) is None


def test_a_job_without_a_task_has_no_duration() -> None:
    """Nothing was submitted yet."""
    assert vendor_seconds(a_job(State.STAGED, times={"submitting": NOW, "generated": NOW + 5})) is None


# ---- polling --------------------------------------------------------------------------------------------------------


@modest
@given(histories, st.floats(0, 1e6), chances, st.floats(0.1, 100), st.floats(0, 1000))
@example([], 0.0, 0.999, 2.0, 0.0)
@example([60.0] * 9, 60.0, 0.0, 2.0, 28.0)
def test_polls_keep_to_their_bounds(
    history: list[float], elapsed: float, chance: float, shortest: float, extra: float
) -> None:
    """Never sooner than the shortest, never later than the longest, spread included."""
    longest = shortest + extra
    wait = poll_delay_seconds(history, elapsed, usual=60.0, shortest=shortest, longest=longest, chance=chance)
    assert shortest <= wait <= longest


@pytest.mark.parametrize("known", [5, 50])
def test_nobody_asks_often_before_a_task_was_ever_done(known: int) -> None:
    """All tasks took three minutes: in the first two there are at most six calls."""
    assert len(_asked_at([180.0] * known, until=120.0)) <= 6


def test_calls_are_close_when_a_task_is_due() -> None:
    """All tasks took a minute: around it the calls come faster than ever before it, and again slower long after."""
    waits = [_wait([60.0] * 20, elapsed) for elapsed in (0.0, 60.0, 300.0)]
    assert waits[1] <= 3.1 < waits[0]  # closer would be too many calls: `CALL_WORTH` makes one worth 0.83 s here
    assert waits[1] < waits[2]


@pytest.mark.parametrize(
    ("history", "elapsed", "least", "most"),
    [
        ([60.0] * 10, 0.0, 50, 70),
        ([60.0] * 10, 50.0, 8, 18),
        ([60.0] * 10, 600.0, 300, 900),
        ([10.0, 600.0], 60.0, 400, 800),
        ([1e-9], 0.0, 0, 1),
    ],
)
def test_what_is_left_follows_the_forecast(history: list[float], elapsed: float, least: float, most: float) -> None:
    """By the tasks before, and by how long this one has taken already: one that has outlived a short task is a long one."""
    left = expected_left_seconds(history, elapsed, usual=60.0)
    assert left is not None
    assert least <= left <= most


def test_without_any_task_before_nobody_knows_what_is_left() -> None:
    """A guess would be a promise."""
    assert expected_left_seconds([], 30.0, usual=60.0) is None


def test_a_long_history_is_trusted_more() -> None:
    """The more tasks took a minute, the longer nobody asks in the beginning."""
    waits = [_wait([60.0] * known, 5.0) for known in (0, 1, 5, 50)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] / 2


def test_an_overdue_task_is_asked_about_less_and_less() -> None:
    """Beyond all that is known, the spacing grows up to the longest."""
    waits = [_wait([60.0] * 9, 60.0 + over) for over in (20.0, 100.0, 400.0, 10_000.0)]
    assert waits == sorted(waits)
    assert waits[-1] == 30.0


def test_without_a_history_the_spacing_grows_with_the_time() -> None:
    """A guess of a minute: about every five seconds at first, the longest wait for a task that never ends."""
    waits = [_wait([], elapsed) for elapsed in (0.0, 60.0, 300.0, 86_400.0)]
    assert waits == pytest.approx([4.4, 6.2, 10.5, 30.0], abs=0.1)


@modest
@given(st.lists(st.floats(1, 300), max_size=60), st.floats(0, 250))
def test_a_task_that_is_never_done_is_not_asked_about_for_ever_at_the_shortest(history: list[float], at: float) -> None:
    """A day late is long after anything known."""
    assert _wait(history, at + 86_400.0) == 30.0


@pytest.mark.parametrize("took", [54.0, 58.0, 60.0, 63.0, 66.0])
def test_a_history_saves_calls_and_delay(took: float) -> None:
    """Fewer calls than one every five seconds, and the end is noticed within four."""
    asked = _asked_at([60.0] * 20, until=took)
    noticed_at = asked[-1] + _wait([60.0] * 20, asked[-1])
    assert len(asked) + 1 < took / 5.0
    assert noticed_at - took <= 4.0


@pytest.mark.parametrize("usual", [20.0, 60.0, 120.0, 180.0])
def test_about_half_the_calls_of_a_fixed_interval_come_within_its_mean_delay(usual: float) -> None:
    """Tasks that take about as long (by 15 %): at most 0.53 of the calls that asking every 5 s takes, and a mean delay below 2.5 s."""
    spread_of = NormalDist(0.0, 0.15)
    durations = [usual * math.exp(spread_of.inv_cdf((n + 0.5) / 40)) for n in range(40)]
    calls = fixed = 0
    late = 0.0
    for took in durations:
        asked = _asked_at(durations, until=took)
        calls += len(asked) + 1
        late += (asked[-1] if asked else 0.0) + _wait(durations, asked[-1] if asked else 0.0) - took
        fixed += math.ceil(took / 5.0)
    assert calls <= 0.53 * fixed
    assert late / len(durations) < 2.5


def test_two_kinds_of_durations_are_met_twice() -> None:
    """Half took thirty seconds, half two minutes: close at each, rare between."""
    history = [30.0] * 25 + [120.0] * 25
    assert max(_wait(history, 30.0), _wait(history, 115.0)) < 5.0
    assert min(_wait(history, 0.0), _wait(history, 50.0)) > 15.0


@pytest.mark.parametrize("elapsed", [0.0, 30.0, 60.0])
def test_one_odd_duration_does_not_spoil_the_forecast(elapsed: float) -> None:
    """A task that took a weekend, for the service was off, is one of many."""
    usual, odd = [60.0] * 20, [60.0] * 20 + [200_000.0]
    assert _wait(odd, elapsed) == pytest.approx(_wait(usual, elapsed), rel=0.2)


def _wait(history: list[float], elapsed: float) -> float:
    return poll_delay_seconds(history, elapsed, usual=60.0, shortest=2.0, longest=30.0, chance=0.5)


def _asked_at(history: list[float], until: float) -> list[float]:
    asked = [_wait(history, 0.0)]
    while asked[-1] < until:
        asked.append(asked[-1] + _wait(history, asked[-1]))
    return asked[:-1]
