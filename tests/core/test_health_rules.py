"""What should have moved and did not, and what a probe says about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rodin_watchd.core.health import Health, verdict
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.stillness import Stillness, is_stopped, observed, overdue
from rodin_watchd.errors import Lane, OverBudgetError
from rodin_watchd.model import Job, State

WELL = Health(1000.0, 10.0, 3, 1, {"ready": 2, "incomplete": 1}, {"ready": 4.0}, 0.0, "", ())


def job(state: State = State.STAGED, name: str = "chair", **changes: object) -> Job:
    """Return a live job."""
    made = Job(f"id-{name}", name, "", state, (), {}, created_at=0.0)
    return replace(made, **changes)  # type: ignore[arg-type] # whatever the test changes


def seen(before: Stillness | None, jobs: Iterable[Job], at: float, *, stopped: bool = False) -> Stillness:
    """Look at jobs that all are, or are not, stopped."""
    return observed(before, jobs, lambda _job: stopped, at)


def test_a_step_under_way_is_as_old_as_its_state() -> None:
    """A busy job is overdue since it was first seen in its state, whatever else moves."""
    busy = job(State.GENERATED)
    first = seen(None, [busy], 100.0)
    other = job(name="lamp")
    later = seen(first, [busy, other], 400.0)
    assert overdue(later, [busy, other], frozenset({busy.id}), 500.0) == (400.0, "chair")


def test_a_job_that_is_tried_again_and_again_is_old() -> None:
    """Attempts are no movement: a job whose step fails is as old as its state."""
    failing = job(State.PROCESSED, attempts=3)
    first = seen(None, [failing], 0.0)
    assert overdue(seen(first, [failing], 50.0), [failing], frozenset(), 50.0) == (50.0, "chair")


def test_a_queue_that_moves_is_no_standstill() -> None:
    """A job that waits for its turn is as old as the newest move of any job; when nothing moves, it grows old."""
    waiting, moving = job(), job(State.UPLOADING, "lamp")
    first = seen(None, [waiting, moving], 0.0)
    second = seen(first, [waiting, replace(moving, state=State.SUBMITTING)], 900.0)
    assert overdue(second, [waiting], frozenset(), 1000.0) == (100.0, "chair")
    third = seen(second, [waiting], 1500.0)  # the other one has ended
    assert overdue(third, [waiting], frozenset(), 1600.0) == (100.0, "chair")
    assert overdue(seen(third, [waiting], 9000.0), [waiting], frozenset(), 9000.0) == (7500.0, "chair")


def test_the_vendors_word_is_movement() -> None:
    """A task on which the vendor works is as old as the vendor's last answer, however long it takes."""
    task = job(State.SUBMITTED, working_at=10.0)
    first = seen(None, [task], 10.0)
    again = replace(task, working_at=700.0)
    assert overdue(seen(first, [again], 700.0), [again], frozenset(), 720.0) == (20.0, "chair")


def test_what_people_are_told_of_makes_nothing_old() -> None:
    """A job that a pause stops is not overdue; when the pause ends it is as fresh as new."""
    paused = job()
    first = seen(None, [paused], 0.0, stopped=True)
    long_after = seen(first, [paused], 90_000.0, stopped=True)
    assert overdue(long_after, [paused], frozenset(), 90_000.0) == (0.0, "")
    resumed = seen(long_after, [paused], 90_001.0)
    assert overdue(resumed, [paused], frozenset(), 90_011.0) == (10.0, "chair")


@pytest.mark.parametrize(
    ("stopped_job", "lanes", "away", "submits", "expected"),
    [
        (job(State.HELD), set(), set(), True, True),
        (job(State.STAGED), set(), set(), True, False),
        (job(State.STAGED), set(), set(), False, True),
        (job(State.STAGED), {Lane.SUBMIT}, set(), True, True),
        (job(State.GENERATED), {Lane.SUBMIT}, set(), False, False),
        (job(State.SUBMITTED), {Lane.API}, set(), True, True),
        (job(State.PROCESSED), set(), {Mount.OUTBOX}, True, True),
        (job(State.SUBMITTED), set(), {Mount.OUTBOX}, True, False),
        (job(State.STAGED, problem=OverBudgetError("tomorrow").problem), set(), set(), True, True),
    ],
)
def test_what_stops_a_job(stopped_job: Job, lanes: set[Lane], away: set[Mount], submits: bool, expected: bool) -> None:
    """A pause of its step's lanes, a folder it needs, a person's pause of submits, the budget, a question to a person."""
    assert is_stopped(stopped_job, lanes, away, submits=submits) is expected


def test_a_probe_worries_about_ticks_and_sets_alone() -> None:
    """An old tick and an overdue set are ill health; a pause is not, and is told."""
    assert verdict(WELL, 0.44, 30, 1800) == (True, "ok: last tick 0.4 s ago; 3 running, 1 held, 3 in the inbox")
    assert verdict(WELL, 30.5, 30, 1800) == (False, "stuck: the last tick was 30 s ago")
    late = replace(WELL, overdue_seconds=7300.0, overdue="oak/chair")
    assert verdict(late, 1.0, 30, 1800) == (False, "stuck: “oak/chair” should have moved 2.0 h ago")
    assert verdict(late, 1.0, 30, 7400)[0]
    stuck = replace(WELL, inbox={"ready": 2, "unmovable": 1})
    assert verdict(stuck, 0.4, 30, 1800)[1].endswith("3 in the inbox (1 done, and cannot be removed)")
    paused = replace(WELL, paused=("submit", "outbox is away"))
    assert verdict(paused, 1.0, 30, 1800)[1].endswith("; paused: submit, outbox is away")


def test_vitals_survive_as_data() -> None:
    """What is written for others is read back as it was."""
    assert Health.of_data(WELL.as_data()) == WELL
