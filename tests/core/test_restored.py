"""A journal that was put back from a backup: what it takes for unsent is never sent again on its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from job_samples import NOW, TASK, a_job

from rodin_watchd.core.restored import after_restore
from rodin_watchd.model import State

WHY = "The journal is older than what was paid from this folder"


@pytest.mark.parametrize("state", [State.STAGED, State.UPLOADING, State.SUBMITTING])
def test_what_may_have_been_sent_since_is_held(state: State) -> None:
    """With the reason, by moves that the machine knows."""
    moves = after_restore(a_job(state), WHY, NOW)
    assert [transition.job.state for transition in moves][-1] is State.HELD
    assert moves[-1].message.startswith(WHY)
    assert "may have been submitted" in moves[-1].message
    problem = moves[-1].job.problem
    assert problem is not None
    assert problem.code == "unknown-outcome"


def test_what_was_not_taken_yet_fails() -> None:
    """It costs nothing to drop it again, if the account says that it was not charged."""
    (move,) = after_restore(a_job(State.CLAIMED), WHY, NOW)
    assert move.job.state is State.FAILING
    assert "may have been submitted" in move.message


@pytest.mark.parametrize("state", sorted(set(State) - {State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING}))
def test_what_has_its_task_goes_on(state: State) -> None:
    """Asking for results is free."""
    assert after_restore(a_job(state), WHY, NOW) == ()


def test_what_asks_for_a_paid_result_goes_on() -> None:
    """A failed job that was taken up again, with its task."""
    assert after_restore(replace(a_job(State.CLAIMED), task=TASK), WHY, NOW) == ()
