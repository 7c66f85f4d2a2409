"""Storms of lost answers: the submits wait ever longer, instead of becoming jobs that a person has to look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_samples import NOW, a_job

from rodin_watchd.core.pauses import (
    Pauses,
    after_unknown,
    ended,
    is_over,
    renewed,
    without_idle,
)
from rodin_watchd.core.waits import DAY_SECONDS, UNANSWERED
from rodin_watchd.errors import Lane, NetworkError, NoCreditsError
from rodin_watchd.model import State, Step


def test_each_lost_answer_doubles_the_wait() -> None:
    """From seconds to an hour: a storm of a day costs some thirty-five decisions of a person, however many sets wait."""
    pauses: Pauses = {}
    now, unknown = NOW, 0
    while now < NOW + DAY_SECONDS:
        pauses = after_unknown(pauses, now, 0.5)
        unknown += 1
        wait = pauses[Lane.SUBMIT].until_at - now
        assert UNANSWERED.first_seconds <= wait <= UNANSWERED.longest_seconds
        assert not is_over(pauses[Lane.SUBMIT], now + wait - 0.1)
        assert is_over(pauses[Lane.SUBMIT], now + wait)
        now += wait
    assert 30 <= unknown <= 40
    assert ended(pauses, Step.SUBMIT, now) == {}


def test_answers_lost_together_count_once_for_the_wait() -> None:
    """Several submits were under way: the later ones do not make it an hour."""
    assert after_unknown({}, NOW, 0.5, 600.0)[Lane.SUBMIT].until_at == NOW + 600.0
    pauses = after_unknown({}, NOW, 0.5)
    for _ in range(4):
        pauses = after_unknown(pauses, NOW + 0.1, 0.5)
    assert pauses[Lane.SUBMIT].tries == 1
    assert pauses[Lane.SUBMIT].until_at <= NOW + 3 * UNANSWERED.first_seconds


@pytest.mark.parametrize(("state", "stays"), [(State.STAGED, True), (State.CLAIMED, True), (State.HELD, False)])
def test_a_storm_that_nothing_waits_for_is_forgotten(state: State, *, stays: bool) -> None:
    """Once its time is over; else people would read of it for ever."""
    pauses = after_unknown({}, NOW, 0.5)
    jobs = [a_job(state)]
    assert without_idle(pauses, jobs, NOW + 1) == pauses
    assert bool(without_idle(pauses, jobs, NOW + 60)) is stays
    assert without_idle({}, jobs, NOW) == {}


def test_what_the_owner_has_to_end_is_not_forgotten() -> None:
    """An empty account is empty, whether anything waits or not; a network that was down for a submit is yesterday's news."""
    empty = renewed({}, NoCreditsError().problem, NOW, 0.5)
    assert without_idle(empty, [], NOW + 60) == empty
    down = renewed({}, replace(NetworkError().problem, lane=Lane.SUBMIT), NOW, 0.5)
    assert without_idle(down, [], NOW + 60) == {}
