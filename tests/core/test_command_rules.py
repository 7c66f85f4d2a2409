"""What people may ask of a job, and what is refused because it could pay again."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import NOW, RESULTS, TASK, a_job, all_errors

from rodin_watchd.core.commands import (
    Seen,
    cancel,
    refuse_changed,
    resolve_adopt,
    resolve_give_up,
    resolve_not_charged,
    retry,
)
from rodin_watchd.core.machine import Signal, after, move
from rodin_watchd.errors import (
    FAILED_TASKS,
    CommandRefusedError,
    DownloadError,
    FileRefusedError,
    OutcomeUnknownError,
    RodinWatchdError,
    TaskFailedError,
    TaskLostError,
    UnfitTaskError,
)
from rodin_watchd.model import Answer, State, Task, Unknown

S = State


# ---- retry ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pay_again", [False, True])
@pytest.mark.parametrize("state", [state for state in State if state is not S.FAILED])
def test_only_a_failed_job_is_retried(state: State, pay_again: bool) -> None:
    """Everything else is refused with its state."""
    with pytest.raises(CommandRefusedError, match=state.value):
        retry(a_job(state), NOW, pay_again=pay_again)


def test_a_retry_starts_afresh_from_the_failed_folder() -> None:
    """The files are moved back from where they were buried; what the failure left is gone; the task stays."""
    failed = a_job(
        S.FAILED, task=TASK, charges=1, results=RESULTS, problem=DownloadError().problem, progress="3 of 3 parts done"
    )
    job = retry(failed, NOW + 9, pay_again=False).job
    assert (job.state, job.task, job.charges, job.retries) == (S.CLAIMED, replace(TASK, subscription_key=""), 1, 1)
    assert (job.results, job.problem, job.answer, job.progress) == ((), None, None, "")
    assert [f.source for f in job.files] == [f"failed/chair/chair.{end}" for end in ("glb", "png", "toml")]
    assert not any(f.shared for f in job.files)
    assert dict(job.times) == {"claimed": NOW + 9}


def test_a_retry_gives_up_its_claim_on_the_content() -> None:
    """The same files may have been dropped again meanwhile: two live jobs with one fingerprint cannot be."""
    assert retry(a_job(S.FAILED, problem=FileRefusedError().problem), NOW, pay_again=False).job.fingerprint == ""


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind.code not in FAILED_TASKS])
def test_a_paid_job_is_retried_without_paying(kind: type[RodinWatchdError]) -> None:
    """Whatever it failed of but the vendor's own failure: its task is asked again."""
    job = retry(a_job(S.FAILED, task=TASK, charges=1, problem=kind().problem), NOW, pay_again=False).job
    assert (job.task, job.charges) == (replace(TASK, subscription_key=""), 1)


@pytest.mark.parametrize(("task", "kind"), [(TASK, TaskFailedError), (None, OutcomeUnknownError)])
def test_paying_again_has_to_be_asked_for(task: Task | None, kind: type[RodinWatchdError]) -> None:
    """A failed task, and a submit that may have been charged, cost again: refused, with the words that would do it."""
    failed = a_job(S.FAILED, task=task, charges=bool(task), problem=kind().problem)
    with pytest.raises(CommandRefusedError) as refused:
        retry(failed, NOW, pay_again=False)
    assert "--pay-again JOB" in refused.value.advice_given
    assert "0.5 credits" in refused.value.advice_given
    assert retry(failed, NOW, pay_again=True).job.task is None


def test_nobody_is_advised_to_pay_again_for_an_unfit_file() -> None:
    """The same files would fail again. Who asks for that all the same gets it."""
    failed = a_job(S.FAILED, task=TASK, charges=1, problem=UnfitTaskError("“chair.glb” holds points only.").problem)
    with pytest.raises(CommandRefusedError) as refused:
        retry(failed, NOW, pay_again=False)
    assert refused.value.advice_given.startswith("Correct that file")
    assert "--pay-again" not in refused.value.advice_given
    assert retry(failed, NOW, pay_again=True).job.task is None


def test_paying_again_keeps_the_old_task_in_the_history() -> None:
    """The journal's event is the only place that still names the task that was given up."""
    moved = retry(a_job(S.FAILED, task=TASK, charges=1, problem=TaskFailedError().problem), NOW, pay_again=True)
    assert (moved.job.task, moved.job.charges) == (None, 1)
    assert TASK.uuid in moved.message
    assert TASK.subscription_key not in moved.message


# ---- cancel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.CLAIMED, S.STAGED, S.UPLOADING, S.SUBMITTED, S.GENERATED])
def test_a_job_is_canceled_before_its_results_are_here(state: State) -> None:
    """It goes to `failed/`, and the report tells whether it was paid, and that fetching it after all is free."""
    job = cancel(a_job(state), NOW).job
    assert job.state is S.FAILING
    assert job.problem is not None
    assert job.problem.code == "canceled"
    assert ("paid" in job.problem.message) == (job.task is not None)
    assert ("retry JOB" in job.problem.command) == (job.task is not None)


def test_a_job_whose_answer_is_not_understood_yet_cannot_be_canceled() -> None:
    """It may be a task that was paid for, and a cancel would book it as free."""
    with pytest.raises(CommandRefusedError, match="has answered"):
        cancel(replace(a_job(State.UPLOADING), answer=Answer(201, b"{}")), NOW)


@pytest.mark.parametrize(
    "state", [S.SUBMITTING, S.DOWNLOADED, S.PROCESSED, S.DELIVERED, S.ARCHIVED, S.FAILING, S.FAILED, S.HELD]
)
def test_it_can_be_too_late_to_cancel(state: State) -> None:
    """A submit on its last bytes, and what is being delivered, goes on; a held job is resolved instead."""
    with pytest.raises(CommandRefusedError, match=state.value) as refused:
        cancel(a_job(state), NOW)
    assert ("resolve --give-up" in refused.value.advice_given) == (state is S.HELD)


# ---- what a person saw -------------------------------------------------------------------------------------------------

LATER: list[tuple[dict[str, Any], str]] = [
    ({"holds": 2}, "was submitted again since you looked, and is held again since"),
    (
        {"holds": 2, "state": S.STAGED},
        "was held since you looked, and continued after that: it is checked, waits to be sent",
    ),
    ({"retries": 1}, "was taken up again since you looked"),
    ({"charges": 1}, "was paid for since you looked. Cost: 0.5 credits."),
    ({"state": S.FAILED}, "continued since you looked: it is failed now"),
    ({"times": {"held": NOW + 1}}, "is not as you saw it, because another journal was put in place"),
    ({"holds": 0}, "is not as you saw it"),
]


@pytest.mark.parametrize(("change", "told"), LATER, ids=lambda value: str(value)[:30])
def test_what_has_changed_since_somebody_looked_is_refused(change: dict[str, Any], told: str) -> None:
    """With what became of the job; and what is told can be looked at."""
    seen = Seen.of_data(json.loads(json.dumps(Seen.of(a_job(S.HELD, holds=1)).as_data())))
    refuse_changed(a_job(S.HELD, holds=1), seen, UTC)
    with pytest.raises(CommandRefusedError, match=re.escape(told)) as refused:
        refuse_changed(a_job(**{"state": S.HELD, "holds": 1, **change}), seen, UTC)
    assert "rodin-watchd show abc123def456" in refused.value.advice_given


@pytest.mark.parametrize(
    "data", [None, 7, "held", [], {}, {"state": "odd"}, {**Seen.of(a_job()).as_data(), "holds": "x"}]
)
def test_a_command_that_does_not_say_what_was_seen_is_refused(data: object) -> None:
    """An older version left it: nobody knows which hold or failure it was about."""
    with pytest.raises(CommandRefusedError, match="does not say which state") as refused:
        Seen.of_data(data)
    assert "give the command again" in refused.value.advice_given


@given(
    st.lists(st.tuples(st.sampled_from(["lose", "fail", "look", "resolve", "retry"]), st.integers(0, 9)), max_size=40)
)
def test_each_look_is_leave_for_one_more_purchase(story: list[tuple[str, int]]) -> None:
    """However many people decide, and however late their words arrive, no run of a job is decided about twice."""
    job, sights, now = a_job(S.SUBMITTING), [Seen.of(a_job(S.SUBMITTING))], NOW
    leaves: list[Seen] = []
    for what, pick in story:
        now += 1.0
        seen = sights[pick % len(sights)]
        if what == "look":
            sights.append(Seen.of(job))
        elif what == "lose" and job.state is S.SUBMITTING:
            job = after(job, Unknown(OutcomeUnknownError().problem), now, 0.5).job
        elif what == "fail" and job.state is S.SUBMITTING:
            job = move(replace(job, problem=OutcomeUnknownError().problem), Signal.REJECTED, now).job
            job = replace(move(job, Signal.DONE, now).job, place="failed/chair")
        elif what in ("resolve", "retry"):
            with contextlib.suppress(CommandRefusedError):
                refuse_changed(job, seen, UTC)
                again = resolve_not_charged(job, now) if what == "resolve" else retry(job, now, pay_again=True)
                leaves.append(seen)
                job = replace(again.job, state=S.SUBMITTING)
    assert len(set(leaves)) == len(leaves)
    assert all(seen.state in (S.HELD, S.FAILED) for seen in leaves)


# ---- resolve --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [state for state in State if state is not S.HELD])
def test_only_a_held_job_is_resolved(state: State) -> None:
    """Each of the three ways refuses every other state."""
    job = a_job(state)
    with pytest.raises(CommandRefusedError, match=state.value):
        resolve_not_charged(job, NOW)
    with pytest.raises(CommandRefusedError, match=state.value):
        resolve_adopt(job, TASK, NOW)
    with pytest.raises(CommandRefusedError, match=state.value):
        resolve_give_up(job, NOW)


def test_not_charged_submits_again() -> None:
    """A person's word that it was not charged sends the set back, without the old trouble."""
    job = resolve_not_charged(a_job(S.HELD, attempts=4, problem=OutcomeUnknownError().problem), NOW).job
    assert (job.state, job.attempts, job.problem, job.charges) == (S.STAGED, 0, None, 0)


def test_a_task_that_was_found_is_polled() -> None:
    """It was charged, so it counts, and its results are asked for at once."""
    job = resolve_adopt(a_job(S.HELD, problem=OutcomeUnknownError().problem), TASK, NOW).job
    assert (job.state, job.task, job.charges, job.problem) == (S.SUBMITTED, TASK, 1, None)
    assert (job.not_before, job.deadline) == (NOW, NOW + 86_400.0)


@pytest.mark.parametrize(("said", "cost"), [(None, "1.5"), ("0.75", "0.75"), ("0", "0")])
def test_a_task_that_was_found_costs_what_was_reserved(said: str | None, cost: str) -> None:
    """Unless it says what it took; on top of what the job had cost before."""
    held = a_job(S.HELD, charges=1, spent=Decimal(2), price=Decimal("1.5"), problem=OutcomeUnknownError().problem)
    job = resolve_adopt(held, replace(TASK, credits=None if said is None else Decimal(said)), NOW).job
    assert (job.charges, job.spent) == (2, 2 + Decimal(cost))


@pytest.mark.parametrize("uuid", ["", " ", "a\nb", "\x1b[2J"])
def test_a_task_needs_an_id(uuid: str) -> None:
    """Nothing, or something that is not one line, is not taken for the vendor's task."""
    with pytest.raises(CommandRefusedError, match="no usable id"):
        resolve_adopt(a_job(S.HELD), Task(uuid, "", NOW), NOW)


def test_giving_up_says_what_it_may_have_cost() -> None:
    """The doubt stays with the job, and the advice no longer speaks of resolving."""
    job = resolve_give_up(a_job(S.HELD, problem=OutcomeUnknownError().problem), NOW).job
    assert job.state is S.FAILING
    assert job.problem is not None
    assert job.problem.code == "unknown-outcome"
    assert "resolve" not in job.problem.advice
    assert "--pay-again JOB" in job.problem.command


def test_a_failed_task_can_be_named_once_more() -> None:
    """The vendor's status can be wrong, and to ask for the same task costs nothing."""
    failed = a_job(S.FAILED, task=TASK, charges=1, problem=TaskFailedError().problem)
    job = resolve_adopt(failed, TASK, NOW).job
    assert (job.state, job.task, job.charges) == (S.CLAIMED, replace(TASK, subscription_key=""), 1)


def test_a_mistyped_task_is_put_right() -> None:
    """A failed job whose task the vendor does not know takes another one, and nothing more is counted; others do not."""
    other = Task("right", "", NOW)
    lost = a_job(S.FAILED, task=TASK, charges=1, problem=TaskLostError().problem)
    job = resolve_adopt(lost, other, NOW).job
    assert (job.state, job.task, job.charges, job.spent) == (S.CLAIMED, other, 1, lost.spent)
    with pytest.raises(CommandRefusedError, match="Only a held job"):
        resolve_adopt(replace(lost, problem=DownloadError().problem), other, NOW)
