"""A journal that was put back from a backup: what it takes for unsent is never sent again on its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from decimal import Decimal

import pytest
from job_samples import NOW, TASK, a_job

from rodin_watchd.core.machine import OLDER, copied, hand_over, hold_unsent, put_back
from rodin_watchd.model import Answer, Sequel, State

REASON = put_back(NOW - 5, UTC)
PRICE = Decimal(2)


@pytest.mark.parametrize("state", [State.STAGED, State.UPLOADING, State.SUBMITTING])
def test_what_may_have_been_sent_since_is_held(state: State) -> None:
    """With the reason, by moves that the machine knows."""
    moves = hold_unsent(a_job(state), OLDER, NOW, lambda _: PRICE, "k")
    assert [transition.job.state for transition in moves][-1] is State.HELD
    assert moves[-1].message.startswith(OLDER)
    assert "may have been submitted" in moves[-1].message
    problem = moves[-1].job.problem
    assert problem is not None
    assert problem.code == "unknown-outcome"


def test_what_is_held_unsent_is_booked_as_what_it_may_have_cost() -> None:
    """By the price and for the account that the upload would have had."""
    job = hold_unsent(a_job(State.STAGED), OLDER, NOW, lambda _: PRICE, "k")[-1].job
    assert (job.price, job.account) == (PRICE, "k")


def test_what_was_not_taken_yet_fails() -> None:
    """It costs nothing to drop it again, if the account says that it was not charged."""
    (move,) = hold_unsent(a_job(State.CLAIMED), REASON, NOW, lambda _: PRICE, "k")
    assert move.job.state is State.FAILING
    assert "may have been submitted" in move.message


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING}))
def test_what_has_its_task_goes_on(state: State) -> None:
    """Asking for results is free."""
    assert hold_unsent(a_job(state), REASON, NOW, lambda _: PRICE, "k") == ()


def test_what_asks_for_a_paid_result_goes_on() -> None:
    """A failed job that was taken up again, with its task."""
    assert hold_unsent(replace(a_job(State.CLAIMED), task=TASK), REASON, NOW, lambda _: PRICE, "k") == ()


@pytest.mark.parametrize("state", [State.UPLOADING, State.SUBMITTING])
def test_an_answer_that_names_the_task_is_believed(state: State) -> None:
    """It is committed, and only to be understood: the task is paid for, and asking for it is free."""
    accepted = Answer(201, b'{"error": null, "uuid": "u-1", "jobs": {"uuids": [], "subscription_key": "k"}}')
    assert hold_unsent(replace(a_job(state), answer=accepted), REASON, NOW, lambda _: PRICE, "k") == ()
    (move,) = hold_unsent(replace(a_job(state), answer=Answer(503, b"")), REASON, NOW, lambda _: PRICE, "k")
    assert move.job.state is State.HELD


@pytest.mark.parametrize("state", [State.CLAIMED, State.STAGED, State.SUBMITTED, State.DELIVERED])
def test_what_follows_may_have_been_sent_as_well(state: State) -> None:
    """It is not sent when the first job is delivered after all; a second look changes nothing more."""
    job = replace(a_job(state), then=Sequel("b1", "texture", "chair.png", {}, a_job().files))
    moved = hold_unsent(job, OLDER, NOW, lambda _: PRICE, "k")[-1].job
    assert moved.then
    assert moved.then.problem
    assert moved.then.problem.code == "unknown-outcome"
    assert hold_unsent(replace(moved, state=State.DELIVERED), OLDER, NOW, lambda _: PRICE, "k") == ()
    (begun,) = hand_over(replace(moved, state=State.ARCHIVED), NOW)
    assert (begun.job.state, begun.job.problem) == (State.FAILING, moved.then.problem)


def test_a_copied_root_is_named() -> None:
    """With the journal that its mark names, on one line."""
    *_, move = hold_unsent(a_job(State.UPLOADING), copied("far:/state\n/journal.sqlite3"), NOW, lambda _: PRICE, "k")
    assert "copied or moved: the root's mark names the journal far:/state\\n/journal.sqlite3." in move.message
