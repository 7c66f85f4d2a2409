"""What the vendor keeps for seven days: who is fetched first, how often it is tried, when people are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import NOW, a_job

from rodin_watchd.core.machine import POLICIES, after
from rodin_watchd.core.pauses import BackoffLimits, due_jobs, renewed
from rodin_watchd.core.schedule import (
    ALARM_SECONDS,
    KEPT_SECONDS,
    alarm,
    is_alarming,
    kept_until,
    pressing,
    urgent_wait_seconds,
)
from rodin_watchd.core.waits import DAY_SECONDS, SHORTEST_WAIT_SECONDS
from rodin_watchd.errors import DownloadError, NetworkError
from rodin_watchd.model import Job, Retry, State, Task

AMPLE = BackoffLimits(at_vendor=100, calls=100, workers=100)


def finished(
    submitted_at: float = NOW, state: State = State.GENERATED, name: str = "a", not_before: float = 0.0
) -> Job:
    """Return a job whose result the vendor has."""
    return replace(a_job(state), id=name, name=name, task=Task(f"task-{name}", "", submitted_at), not_before=not_before)


def test_it_is_counted_from_the_submit() -> None:
    """Only while the results are at the vendor alone."""
    assert kept_until(finished()) == NOW + KEPT_SECONDS
    assert kept_until(finished(state=State.SUBMITTED)) == NOW + KEPT_SECONDS
    for state in set(State) - {State.GENERATED, State.SUBMITTED}:
        assert kept_until(finished(state=state)) is None


@given(st.floats(0, 1e6), st.floats(0, KEPT_SECONDS), st.floats(0, KEPT_SECONDS))
def test_waits_become_shorter_towards_the_end(wait: float, one: float, other: float) -> None:
    """Never longer than the usual wait, never longer with less time left, never none but where that is usual."""
    early, late = sorted((one, other))
    waits = [urgent_wait_seconds(wait, finished(), NOW + passed) for passed in (early, late)]
    assert waits[0] <= wait
    assert waits[1] <= waits[0]
    assert waits[1] >= min(wait, SHORTEST_WAIT_SECONDS)


@pytest.mark.parametrize(
    ("left", "longest"), [(7 * DAY_SECONDS, 300), (DAY_SECONDS, 43.2), (3600, 2), (0, 2), (-9e9, 2)]
)
def test_a_failing_download_is_tried_ever_more_often(left: float, longest: float) -> None:
    """The longest wait between two tries, by the time that is left."""
    job = replace(finished(), attempts=50, deadline=NOW + 100 * DAY_SECONDS)
    now = NOW + KEPT_SECONDS - left
    moved = after(job, Retry(DownloadError().problem), now, 0.5).job
    assert moved.state is State.GENERATED
    assert moved.not_before - now == pytest.approx(longest)
    assert POLICIES[State.GENERATED].wait.longest_seconds == 300


def test_the_oldest_deadline_is_fetched_first() -> None:
    """Before polls, too, and whoever waited longest; what costs money comes last."""
    jobs = [
        replace(a_job(State.STAGED), id="staged", not_before=0.0),
        finished(NOW - 50, State.SUBMITTED, "polled", not_before=1.0),
        finished(NOW + 5, name="new", not_before=1.0),
        finished(NOW - 5, name="old", not_before=2.0),
        finished(NOW - 99, name="waits", not_before=NOW + 9),
    ]
    due = due_jobs(jobs, frozenset(), {}, AMPLE, NOW)
    assert [job.id for job in due] == ["old", "new", "polled", "staged"]


def test_a_paused_lane_is_probed_by_who_waited_longest() -> None:
    """A job that failed just now must not be every probe, however old it is."""
    pauses = renewed({}, NetworkError().problem, NOW - 1000, 0.5)
    jobs = [finished(NOW - 99, name="old", not_before=NOW - 1), finished(NOW, name="new", not_before=NOW - 2)]
    assert [job.id for job in due_jobs(jobs, frozenset(), pauses, AMPLE, NOW)] == ["new"]


def test_people_are_told_a_day_before() -> None:
    """Not a second earlier; the most pressing result comes first, and nothing is said of what is here."""
    job = finished()
    begins = NOW + KEPT_SECONDS - ALARM_SECONDS
    assert not is_alarming(job, begins - 1)
    assert is_alarming(job, begins)
    jobs = [
        job,
        finished(NOW - 9, State.SUBMITTED, "b"),
        finished(NOW, State.DOWNLOADED, "c"),
        finished(NOW + 9e5, name="d"),
    ]
    told = [alarm(job, UTC) for job in pressing(jobs, begins)]
    assert [text.partition("”")[0] for text in told] == ["The result of “b", "The result of “a"]
    assert "the vendor keeps it until about 20" in told[0]
    assert "rodin-watchd show b" in told[0]
    assert pressing(jobs, NOW) == []
