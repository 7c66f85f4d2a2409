"""What is said about a set whose content another job has, or may have, paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import TASK, a_job, some_files

from rodin_watchd.core.dedup import bought_before, content_of, fingerprints, twin_of
from rodin_watchd.errors import (
    CanceledError,
    ChargedTaskLostError,
    OutcomeUnknownError,
    RodinWatchdError,
    TaskFailedError,
)
from rodin_watchd.model import State, Task

ID = "abc123def456"


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.ARCHIVED, State.FAILED, State.RETURNED)]
)
def test_a_live_twin_is_waited_for(state: State) -> None:
    """Nothing is paid beside it."""
    error = bought_before(a_job(state))
    held = "held for a person's decision" if state is State.HELD else "in progress already"
    assert held in error.message
    assert ID in error.message
    assert error.advice_given.startswith("Wait ")


def test_a_delivered_twin_is_named_with_its_place() -> None:
    """There lies the result."""
    error = bought_before(a_job(State.ARCHIVED, place="outbox/odd\nname"))
    assert (
        error.message
        == f"The same model, image and options were delivered before: look in outbox/odd\\nname (job {ID})."
    )
    assert "again = true" in error.advice_given


@pytest.mark.parametrize(
    ("problem", "task", "charges", "message", "advice"),
    [
        (OutcomeUnknownError(), None, 0, "may have been paid for before: the answer was lost", "vendor's account"),
        (ChargedTaskLostError(), None, 1, "were paid for before, without a result", "Change the picture"),
        (TaskFailedError(), TASK, 1, "were paid for before, without a result", "Change the picture"),
        (CanceledError(), TASK, 1, "were paid for before: see failed/chair", f"retry {ID}` fetches that result"),
    ],
)
def test_a_failed_twin_says_what_was_paid_and_how_to_get_it(
    problem: RodinWatchdError, task: Task | None, charges: int, message: str, advice: str
) -> None:
    """With a result that can be fetched free of charge, without one, or nobody knows."""
    error = bought_before(a_job(State.FAILED, problem=problem.problem, task=task, charges=charges))
    assert message in error.message
    assert f"failed/chair (job {ID})" in error.message
    assert advice in error.advice_in_full
    assert "again = true" in error.advice_given


FILES = some_files()
CONTENTS = ("", "old", *fingerprints(a_job(files=FILES)))
"""Of a job whose content is not known yet, of version 1, and of today."""


@given(st.lists(st.tuples(st.sampled_from(CONTENTS), st.sampled_from(("", "d1", "d2"))), min_size=1, max_size=6))
def test_a_twin_buys_the_same_or_was_dropped_as_the_same(known: Sequence[tuple[str, str]]) -> None:
    """As each other job alone says, the first of them; never itself."""
    made = (a_job(files=FILES, fingerprint=content, dropped=dropped) for content, dropped in known)
    first, *others = (replace(job, id=f"job{number}") for number, job in enumerate(made))
    same = [other for other in others if content_of(other) == content_of(first) or first.dropped == other.dropped != ""]
    assert twin_of(first, [first, *others]) == (same[0] if same else None)


def test_who_dropped_what_another_root_has_delivered_is_not_sent_to_their_own_outbox() -> None:
    """The result is in the folder that the report names."""
    error = bought_before(a_job(State.ARCHIVED, place="b:/other/outbox/chair"), root="b:/other")
    assert "b:/other/outbox/chair" in error.message
    assert "in the outbox" not in error.advice_given
    assert "again = true" in error.advice_in_full
