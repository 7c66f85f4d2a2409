"""How often and how long a step is tried."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, SET_PROBLEM, a_job

from rodin_watchd.core.machine import MOST_TRIES_OF, Policy, later, overdue, spent, wait_seconds
from rodin_watchd.errors import TaskLostError
from rodin_watchd.model import State, Step

modest = settings(max_examples=100, deadline=None)
THREE = Policy(Step.POLL, max_attempts=3)
ENDLESS = Policy(Step.POLL)


@modest
@given(st.integers(0, 3000), st.floats(0, 1, exclude_max=True), st.one_of(st.none(), st.floats(0, 1e9)))
def test_a_wait_has_its_bounds(attempts: int, chance: float, asked: float | None) -> None:
    """Never below the first wait less a tenth, never beyond an hour, whatever the vendor asks for."""
    problem = replace(SET_PROBLEM, retry_after_seconds=asked)
    assert 1.8 <= wait_seconds(attempts, ENDLESS, problem, chance) <= max(330.0, min(asked or 0.0, 3600.0))


@pytest.mark.parametrize(("asked", "wait"), [(None, 4.0), (3.0, 4.0), (77.0, 77.0), (900.0, 900.0), (9000.0, 3600.0)])
def test_the_longer_of_back_off_and_retry_after_counts(asked: float | None, wait: float) -> None:
    """A vendor may ask for more patience than the back-off has, up to an hour."""
    assert wait_seconds(2, ENDLESS, replace(SET_PROBLEM, retry_after_seconds=asked), 0.5) == wait


@pytest.mark.parametrize(("attempts", "is_spent"), [(2, False), (3, True), (2000, True)])
def test_attempts_are_spent_at_the_policy_s_limit(attempts: int, is_spent: bool) -> None:
    """With the last one the job fails with the problem that it met last."""
    job = a_job(State.SUBMITTED, deadline=None, attempts=attempts, problem=SET_PROBLEM)
    assert spent(job, THREE, NOW) == (SET_PROBLEM if is_spent else None)
    assert spent(job, ENDLESS, NOW) is None


def test_some_problems_have_a_patience_of_their_own() -> None:
    """A task that the vendor does not know ends a job in any state, long before the state's deadline."""
    problem = TaskLostError().problem
    job = a_job(State.SUBMITTED, attempts=MOST_TRIES_OF[problem.code], problem=problem)
    assert spent(job, ENDLESS, NOW) == problem
    assert spent(replace(job, attempts=job.attempts - 1), ENDLESS, NOW) is None


@modest
@given(st.floats(0, 4e9), st.floats(0, 1e6), st.floats(0, 4e9))
def test_only_decided_waits_use_up_a_deadline(due_at: float, left: float, now: float) -> None:
    """However late or early the clock says the step came, what was left when it was due is left now."""
    job = later(a_job(State.SUBMITTED, not_before=due_at, deadline=due_at + left), now)
    assert job.deadline is not None
    assert job.deadline - now == pytest.approx(left, abs=1e-3)


def test_a_job_without_a_deadline_is_never_overdue() -> None:
    """Local work has all the time in the world."""
    job = a_job(State.PROCESSED)
    assert later(job, NOW + 1e9) == job
    assert overdue(job, NOW + 1e9) is None


@pytest.mark.parametrize(("progress", "word"), [("", "nothing"), ("2 of 3 parts done", "2 of 3 parts done")])
def test_an_overdue_job_fails_with_the_vendor_s_last_word(progress: str, word: str) -> None:
    """At its deadline a job is in time; just after it, it is not, and somebody reads why."""
    job = a_job(State.SUBMITTED, deadline=NOW, progress=progress)
    assert overdue(job, NOW) is None
    problem = overdue(job, NOW + 0.001)
    assert problem is not None
    assert (problem.code, problem.message) == (
        "deadline",
        f"The vendor did not finish in time; its last word was “{word}”.",
    )
    assert overdue(replace(job, problem=SET_PROBLEM), NOW + 0.001) == SET_PROBLEM
