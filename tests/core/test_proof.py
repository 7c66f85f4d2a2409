"""What two readings of the balance prove about submits whose answer was lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, a_job

from rodin_watchd.core.proof import (
    LONGEST_TIMES,
    NO_TRAFFIC,
    SETTLE_SECONDS,
    Baseline,
    Inquiry,
    Proof,
    Since,
    Verdict,
    concluded,
    judged,
    shows_parts,
)
from rodin_watchd.errors import ChargedTaskLostError, OutcomeUnknownError
from rodin_watchd.model import State

TEN = Baseline("account", Decimal(10), 7)
HALF = Decimal("0.5")
modest = settings(max_examples=200, deadline=None)
halves = st.integers(0, 2000).map(lambda count: count * HALF)


def since(
    charged: int = 0,
    unknown: int = 1,
    refundable: int = 0,
    decided: int = 0,
    *,
    cost: Decimal = HALF,
    gratis: bool = False,
) -> Since:
    """Return what was bought: each accepted task for this cost, the others by the list."""
    return Since(charged * cost, unknown, unknown * HALF, frozenset({"job"}), refundable, decided, gratis=gratis)


@pytest.mark.parametrize(
    ("after", "bought", "verdict"),
    [
        ("10", since(), Verdict.NOT_CHARGED),
        ("10.0", since(), Verdict.NOT_CHARGED),
        ("9.5", since(), Verdict.CHARGED),
        ("9", since(), Verdict.UNDECIDED),
        ("10.5", since(), Verdict.UNDECIDED),
        ("9.500000000000001", since(), Verdict.UNDECIDED),
        ("8", since(charged=4), Verdict.NOT_CHARGED),
        ("7.5", since(charged=4), Verdict.CHARGED),
        ("8.5", since(charged=4), Verdict.UNDECIDED),
        ("10", since(unknown=3), Verdict.NOT_CHARGED),
        ("8.5", since(unknown=3), Verdict.CHARGED),
        ("9", since(unknown=3), Verdict.UNDECIDED),
        ("10", since(refundable=1), Verdict.UNDECIDED),
        ("9.5", since(refundable=1), Verdict.UNDECIDED),
        ("9.5", since(charged=1, decided=1), Verdict.UNDECIDED),
        ("7", since(charged=2, cost=Decimal("1.5")), Verdict.NOT_CHARGED),
        ("6.5", since(charged=2, cost=Decimal("1.5")), Verdict.CHARGED),
        ("9", since(charged=2, cost=Decimal("1.5")), Verdict.UNDECIDED),
        ("9.75", since(charged=1, cost=Decimal("0.25")), Verdict.NOT_CHARGED),
        ("10", since(charged=3, cost=Decimal(0)), Verdict.NOT_CHARGED),
        ("10", since(charged=1, cost=Decimal(0), gratis=True), Verdict.UNDECIDED),
        ("9.5", since(gratis=True), Verdict.UNDECIDED),
    ],
)
def test_the_arithmetic(after: str, bought: Since, verdict: Verdict) -> None:
    """Lower by the accepted ones alone: not charged; by all unknown ones besides: charged; all else proves nothing."""
    assert judged(TEN, bought, (Decimal(after), Decimal(after)), exact=True).verdict is verdict


def test_readings_that_differ_prove_nothing() -> None:
    """Whatever each of them would say."""
    for first, second in (("10", "9.5"), ("9.5", "10"), ("9.5", "9")):
        proof = judged(TEN, since(), (Decimal(first), Decimal(second)), exact=True)
        assert proof == Proof(Verdict.UNDECIDED, "The balance shows nothing: it changed between two readings.")


def test_the_reason_names_the_figures() -> None:
    """Whoever reads the history can do the sum."""
    known = judged(TEN, since(charged=4), (Decimal("7.5"), Decimal("7.5")), exact=True)
    assert known.reason == (
        "It was charged: the balance was 10 credits before and is 7.5 credits after 2 credits that are known."
    )
    mixed = judged(TEN, since(unknown=3), (Decimal(9), Decimal(9)), exact=True)
    assert "does not show which were charged, 1 credit of 3 submits" in mixed.reason
    strange = judged(TEN, since(), (Decimal(4), Decimal(4)), exact=True)
    assert "somebody else spends or pays in" in strange.reason


@modest
@given(halves, st.integers(0, 50), st.integers(1, 8), st.data())
def test_sole_spender_is_never_wrong(before: Decimal, charged: int, unknown: int, data: st.DataObject) -> None:
    """If nobody else spends, "not charged" is said only when none was charged, and "charged" only when all were."""
    truly = data.draw(st.integers(0, unknown))
    start = before + (charged + unknown) * HALF
    after = start - (charged + truly) * HALF
    verdict = judged(Baseline("account", start, 0), since(charged, unknown), (after, after), exact=True).verdict
    expected = {0: Verdict.NOT_CHARGED, unknown: Verdict.CHARGED}.get(truly, Verdict.UNDECIDED)
    assert verdict is expected


@pytest.mark.parametrize("after", ["10", "9"])
def test_whole_credits_alone_prove_nothing(after: str) -> None:
    """A vendor that rounds would say 10 before and 10 after a texture that cost the half between."""
    readings = (Decimal(after), Decimal(after))
    proof = judged(TEN, since(unknown=2), readings, exact=False)
    assert proof.reason == "The balance shows nothing: so far it showed only whole credits."
    assert judged(TEN, since(), (Decimal("9.5"),) * 2, exact=False).verdict is Verdict.CHARGED
    half = Baseline("account", Decimal("10.5"), 7)
    assert judged(half, since(charged=1), (Decimal(10),) * 2, exact=False).verdict is Verdict.NOT_CHARGED
    assert [shows_parts(Decimal(text)) for text in ("7", "7.0", "7.5", "0.1")] == [False, False, True, True]


def held() -> OutcomeUnknownError:
    """Return why a job is held."""
    return OutcomeUnknownError("The answer was lost.")


def test_a_job_that_was_not_charged_is_submitted_again() -> None:
    """By the machine's own move, with nothing left of the lost answer, and the event says why."""
    job = a_job(State.HELD, problem=held().problem)
    [move] = concluded(job, Proof(Verdict.NOT_CHARGED, "Proven."), NOW + 9, 0.5)
    assert (move.job.state, move.action, move.message) == (State.STAGED, "not-charged", "Proven.")
    assert (move.job.problem, move.job.answer, move.job.charges) == (None, None, 0)
    assert move.job.times[State.STAGED.value] == NOW + 9
    assert (move.job.attempts, move.job.not_before) == (1, NOW + 9 + 2)


def test_a_job_that_is_never_answered_fails_in_the_end() -> None:
    """The tenth submit that was proven free is the last: failed, uncharged, and free to be retried."""
    job = a_job(State.HELD, problem=held().problem, attempts=9)
    again, failing = concluded(job, Proof(Verdict.NOT_CHARGED, "Proven."), NOW, 0.5)
    assert [again.job.state, failing.job.state] == [State.STAGED, State.FAILING]
    assert failing.job.charges == 0
    assert failing.job.problem is not None
    assert failing.job.problem.message == "10 submits got no answer with their outcome. Proven."
    assert failing.job.problem.advice == "Tell the person who runs the service: they can send it again."
    assert failing.job.problem.command == "`rodin-watchd retry JOB` submits it again."


def test_a_job_that_was_charged_stays_held_and_costs_what_it_cost() -> None:
    """Its charge is in the books; what is missing is the task's id."""
    proof = Proof(Verdict.CHARGED, "It was charged: 10, 9.5.")
    [move] = concluded(a_job(State.HELD, problem=held().problem), proof, NOW, 0.5)
    assert (move.job.state, move.job.charges, move.action) == (State.HELD, 1, "charged")
    assert move.job.problem is not None
    assert move.job.problem.code == ChargedTaskLostError.code
    assert move.job.problem.message == "It was charged: 10, 9.5. The task's id is lost with the answer."


def test_a_job_that_cannot_be_decided_stays_as_it_is_with_the_reason() -> None:
    """A person reads both: what was lost, and why the balance does not tell."""
    job = a_job(State.HELD, problem=held().problem)
    [move] = concluded(job, Proof(Verdict.UNDECIDED, "It moved."), NOW, 0.5)
    assert move.action == "undecided"
    assert move.job == replace(job, problem=OutcomeUnknownError("The answer was lost. It moved.").problem)


def test_an_inquiry_reads_when_nothing_is_open_and_long_enough() -> None:
    """Twenty and sixty seconds after the last submit or task ended."""
    begun = Inquiry(100.0)
    assert begun.due_at is None
    waiting = begun.seen(is_open=True, traffic=NO_TRAFFIC, now=130.0)
    assert waiting.due_at is None
    quiet = waiting.seen(is_open=False, traffic=NO_TRAFFIC, now=150.0).seen(
        is_open=False, traffic=NO_TRAFFIC, now=155.0
    )
    assert quiet.due_at == 150.0 + 20.0
    once = quiet.read(Decimal(1))
    assert (once.due_at, once.is_complete) == (150.0 + SETTLE_SECONDS, False)
    twice = once.read(Decimal(1))
    assert (twice.due_at, twice.is_complete) == (None, True)


def test_other_times_begin_the_readings_anew() -> None:
    """A reading that was soon enough for one question is too soon for another."""
    soon = Inquiry(0.0).lasting((0.2, 1.0)).seen(is_open=False, traffic=NO_TRAFFIC, now=1.0)
    assert soon.due_at == 1.2
    assert soon.read(Decimal(1)).lasting((0.2, 1.0)).readings == (Decimal(1),)
    later = soon.read(Decimal(1)).lasting((20.0, 60.0))
    assert (later.readings, later.due_at) == ((), 21.0)


def test_what_opens_in_between_starts_the_readings_anew() -> None:
    """A reading beside an open submit proves nothing."""
    once = Inquiry(0.0).seen(is_open=False, traffic=NO_TRAFFIC, now=1.0).read(Decimal(1))
    again = once.seen(is_open=True, traffic=NO_TRAFFIC, now=30.0).seen(is_open=False, traffic=NO_TRAFFIC, now=50.0)
    assert (again.readings, again.due_at) == ((), 50.0 + 20.0)


def test_what_began_and_ended_in_between_starts_the_readings_anew() -> None:
    """A submit that was over before the next look is seen by the moves that it made."""
    once = Inquiry(0.0).seen(is_open=False, traffic=NO_TRAFFIC, now=1.0).read(Decimal(1))
    assert once.seen(is_open=False, traffic=NO_TRAFFIC, now=30.0) == once
    passed = NO_TRAFFIC.after(State.STAGED, State.UPLOADING).after(State.UPLOADING, State.STAGED)
    again = once.seen(is_open=False, traffic=passed, now=50.0)
    assert (again.readings, again.due_at) == ((), 50.0 + 20.0)
    assert again.seen(is_open=False, traffic=passed, now=55.0) == again


def test_traffic_counts_submits_and_tasks_apart() -> None:
    """A task that ends says nothing of when the newest submit ended."""
    begun = NO_TRAFFIC.after(State.STAGED, State.UPLOADING)
    ended = begun.after(State.UPLOADING, State.SUBMITTED)
    done = ended.after(State.SUBMITTED, State.GENERATED)
    assert ended.submits == done.submits > begun.submits
    assert done.tasks > ended.tasks
    assert done.after(None, State.CLAIMED).after(State.GENERATED, State.DOWNLOADED) == done


def test_an_inquiry_does_not_last_for_ever() -> None:
    """Others wait for it, for less long where less long is read."""
    assert Inquiry(100.0).lasting((0.2, 1.0)).is_overdue(100.1 + LONGEST_TIMES, 1.0)
    assert not Inquiry(100.0).is_overdue(100.0 + LONGEST_TIMES * SETTLE_SECONDS, SETTLE_SECONDS)
    assert Inquiry(100.0).is_overdue(100.1 + LONGEST_TIMES * SETTLE_SECONDS, SETTLE_SECONDS)


@modest
@given(st.decimals(0, 10**9, places=12), st.integers(0, 2**60))
def test_a_baseline_is_stored_exactly(balance: Decimal, purchase: int) -> None:
    """Every digit comes back, also of one that was stored with the time of its reading."""
    baseline = Baseline("account", balance, purchase)
    assert Baseline.of_data(baseline.as_data()) == baseline
    assert Baseline.of_data({**baseline.as_data(), "read_at": 1.7e9}) == baseline
