"""What becomes of refused sets: how many are sent, who is held and why, and what a person's word makes of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import NOW, a_job

from rodin_watchd.core.machine import Signal, move
from rodin_watchd.core.pauses import Pauses, is_over, until_decided
from rodin_watchd.core.proof import Baseline, Proof, Refusal, Since, Verdict, refusals_judged
from rodin_watchd.core.refusals import (
    MOST_DOCUMENTED,
    MOST_FOR_A_SET,
    MOST_IN_A_ROW,
    MOST_TRIES,
    MOST_TRIES_IN_A_ROW,
    FailedTries,
    InARow,
    charged,
    held_often,
    judged_jobs,
    of_this_root,
    room,
    settled,
    why_stopped,
)
from rodin_watchd.core.wording import cost, is_cost_certain
from rodin_watchd.errors import ChargedRefusalError, Lane, RefusedOftenError, ThrottledError
from rodin_watchd.model import Job, State

HALF = Decimal("0.5")
TEN = Baseline("account", Decimal("10.5"), 7)
UNCLEAR = Proof(Verdict.UNDECIDED, "The balance shows nothing: somebody spends.")


def refusals(*job_ids: str) -> tuple[Refusal, ...]:
    """Return refused purchases, the oldest first."""
    return tuple(Refusal(number, job_id, f"content-{job_id}", HALF) for number, job_id in enumerate(job_ids, 8))


def since(*job_ids: str, known: int = 0, unknown: int = 0, refundable: int = 0, decided: int = 0) -> Since:
    """Return what was bought, and these refusals."""
    return Since(known * HALF, unknown, unknown * HALF, frozenset(), refundable, decided, refusals(*job_ids))


def refused_job(job_id: str = "a", state: State = State.STAGED) -> Job:
    """Return a job that the vendor has refused."""
    return replace(a_job(state), id=job_id, refused=1, problem=ThrottledError("Slow down (HTTP 429).").problem)


@pytest.mark.parametrize(
    ("after", "bought", "sole", "verdict", "newest"),
    [
        ("10.5", since("a"), False, Verdict.NOT_CHARGED, ()),
        ("9.5", since("a", "b", known=2), False, Verdict.NOT_CHARGED, ()),
        ("10", since("a"), False, Verdict.UNDECIDED, ()),
        ("10", since("a"), True, Verdict.CHARGED, ("a",)),
        ("10", since("a", "b"), True, Verdict.CHARGED, ("b",)),
        ("9.5", since("a", "b"), True, Verdict.CHARGED, ("a", "b")),
        ("9", since("a", "b"), True, Verdict.UNDECIDED, ()),
        ("10.25", since("a"), True, Verdict.UNDECIDED, ()),
        ("11", since("a"), True, Verdict.UNDECIDED, ()),
        ("10", since("a", unknown=1), True, Verdict.UNDECIDED, ()),
        ("9.5", since("a", unknown=1), True, Verdict.CHARGED, ("a",)),
        ("10.5", since("a", unknown=1), False, Verdict.NOT_CHARGED, ()),
        ("10.5", since("a", refundable=1), True, Verdict.UNDECIDED, ()),
        ("10.5", since("a", decided=1), False, Verdict.UNDECIDED, ()),
    ],
)
def test_the_arithmetic(after: str, bought: Since, sole: bool, verdict: Verdict, newest: tuple[str, ...]) -> None:
    """Exactly what is known: free. Lower by the newest k, and nobody else spends: these were charged. Else nothing."""
    proof = refusals_judged(TEN, bought, [Decimal(after)] * 2, exact=True, sole=sole)
    assert proof.verdict is verdict
    assert tuple(refusal.job_id for refusal in proof.charged) == newest


def test_two_readings_that_differ_prove_nothing() -> None:
    """A charge came late."""
    proof = refusals_judged(TEN, since("a"), [Decimal("10.5"), Decimal(10)], exact=True, sole=True)
    assert proof.verdict is Verdict.UNDECIDED


def test_whole_credits_prove_no_charge() -> None:
    """One credit less may be one texture or two: nobody can tell which."""
    whole = Baseline("account", Decimal(10), 7)
    proof = refusals_judged(whole, since("a", "b"), [Decimal(9)] * 2, exact=False, sole=True)
    assert proof.verdict is Verdict.UNDECIDED


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.booleans())
def test_no_more_begin_than_may_be_refused(unclear: int, tries: int, sending: int, judging: bool) -> None:
    """Were all that is under way refused, the bounds would hold; while any refusal is unclear, one goes at a time."""
    more = room(InARow(unclear, tries), sending, judging=judging)
    assert more == 0 or unclear + sending + more <= MOST_IN_A_ROW
    assert more == 0 or tries + sending + more <= MOST_TRIES_IN_A_ROW
    assert more == 0 or not (unclear or judging) or sending + more == 1
    assert room(InARow(0, 0), 0, judging=False) == MOST_IN_A_ROW


def test_who_waits_for_the_balance() -> None:
    """Refused jobs that would be sent again or buried; not those that went on."""
    jobs = [refused_job("a"), refused_job("b", State.FAILING), refused_job("c", State.HELD), refused_job("d")]
    assert [job.id for job in judged_jobs(refusals("a", "b", "c"), jobs)] == ["a", "b"]


@pytest.mark.parametrize("state", [State.STAGED, State.FAILING])
def test_a_bound_holds_the_job(state: State) -> None:
    """With what it may have cost and what the vendor said; below the bounds it goes on."""
    job = refused_job(state=state)
    assert held_often(job, FailedTries(MOST_FOR_A_SET - 1, 3), InARow(MOST_IN_A_ROW - 1, 9), UNCLEAR, NOW) is None
    of_set = held_often(job, FailedTries(MOST_FOR_A_SET, 2), InARow(2, 2), UNCLEAR, NOW)
    in_a_row = held_often(job, FailedTries(1, 1), InARow(MOST_IN_A_ROW, 6), UNCLEAR, NOW)
    allowed = held_often(job, FailedTries(1, 1, allowed=True), InARow(1, 1), UNCLEAR, NOW)
    assert of_set
    assert in_a_row
    assert allowed
    for held in (of_set, in_a_row, allowed):
        assert (held.job.state, held.action) == (State.HELD, "held")
        assert held.job.problem
        assert held.job.problem.code == held.code == RefusedOftenError.code
        assert "Each try may have cost 0.5 credits." in held.message
        assert "Slow down (HTTP 429)." in held.message
    assert "refused this set 2 times." in of_set.message
    assert "which a person had allowed to pay for once." in allowed.message
    assert cost(of_set.job) == "perhaps 0.5 credits, if the vendor charged for a try that it refused."


FREE = Proof(Verdict.NOT_CHARGED, "Proven not charged.")


@pytest.mark.parametrize(
    ("documented", "proof", "most"),
    [
        (False, FREE, MOST_TRIES),
        (True, FREE, MOST_DOCUMENTED),
        (True, UNCLEAR, MOST_TRIES),
        (False, UNCLEAR, MOST_TRIES),
    ],
)
def test_what_looks_free_is_bounded_as_well(documented: bool, proof: Proof, most: int) -> None:
    """A balance may be wrong: so many tries, then a person decides; and so many of the account."""
    job = refused_job()
    assert job.problem
    job = replace(job, problem=replace(job.problem, documented=documented))
    assert held_often(job, FailedTries(0, most - 1), InARow(0, most), proof, NOW) is None
    held = held_often(job, FailedTries(0, most), InARow(0, most), proof, NOW)
    assert held
    assert f"This set was submitted {most} times without success." in held.message
    assert "ach try may have cost 0.5 credits." in held.message
    assert held.job.refused == (0 if proof is FREE else 1)
    of_all = held_often(job, FailedTries(0, 1), InARow(0, MOST_TRIES_IN_A_ROW), proof, NOW)
    assert of_all
    assert f"{MOST_TRIES_IN_A_ROW} submits in a row had no success, this one among them." in of_all.message


def test_a_charge_is_booked_where_it_belongs() -> None:
    """Who is known to be charged costs it for certain; who was refused beside it is held, too."""
    all_of = refusals("a", "b")
    proof = Proof(Verdict.CHARGED, "It was charged.", all_of[1:])
    first, second = (charged(refused_job(name), all_of, proof, NOW).job for name in "ab")
    assert [(job.charges, job.refused, job.state) for job in (first, second)] == [
        (0, 1, State.HELD),
        (1, 0, State.HELD),
    ]
    assert first.problem
    assert second.problem
    assert (first.problem.code, second.problem.code) == (RefusedOftenError.code, ChargedRefusalError.code)
    assert "1 of 2 refused submits of 2 sets, maybe not this one" in second.problem.message
    assert [is_cost_certain(job) for job in (first, second)] == [False, True]


def test_submits_stop_until_a_person_has_decided() -> None:
    """One pause that no time ends, with its reason; it goes with its cause and leaves the others alone."""
    held = charged(refused_job(), refusals("a"), Proof(Verdict.CHARGED, "It was.", refusals("a")), NOW).job
    pauses: Pauses = {}
    for in_a_row, jobs, words in (
        (InARow(0, 0), [held], "charged a set"),
        (InARow(MOST_IN_A_ROW, 6), [], "refused 6 sets in a row"),
        (InARow(0, MOST_TRIES_IN_A_ROW), [], "24 submits in a row had no success"),
    ):
        pauses = until_decided(pauses, why_stopped(in_a_row, jobs), NOW)
        assert words in pauses[Lane.REFUSALS].problem.message
        assert not is_over(pauses[Lane.REFUSALS], NOW + 1e9)
    assert pauses[Lane.REFUSALS].since_at == NOW
    assert until_decided(pauses, why_stopped(InARow(MOST_IN_A_ROW - 1, 9), [refused_job()]), NOW) == {}


def test_a_persons_word_settles_what_was_refused() -> None:
    """Each way to resolve says what the purchases were; a job that was held for another reason says nothing of them."""
    held = replace(refused_job(state=State.HELD), problem=RefusedOftenError().problem)
    both = refusals("b", held.id)
    free = move(held, Signal.NOT_CHARGED, NOW).job
    assert [one.outcome for one in settled(held, free, both)] == ["free", "free"]
    assert [one.outcome for one in settled(held, move(held, Signal.GIVE_UP, NOW).job, both)] == ["unknown", "unknown"]
    adopted = replace(held, state=State.SUBMITTED, charges=1)
    assert [(one.purchase, one.outcome, one.decided) for one in settled(held, adopted, both)] == [(9, "charged", True)]
    lost = replace(held, problem=ThrottledError().problem)
    assert settled(lost, free, both) == []


@pytest.mark.parametrize(
    ("charged_ones", "own", "settles"),
    [("ab", "ab", "ab"), ("b", "ab", "b"), ("ab", "a", "a"), ("b", "a", ""), ("b", "b", ""), ("", "a", "")],
)
def test_a_root_settles_its_own_refusals_and_no_guess_among_several(charged_ones: str, own: str, settles: str) -> None:
    """Where one of two was charged and they are of two roots, neither books it: the other one would take its own for free."""
    everywhere = refusals("a", "b")
    proof = Proof(Verdict.CHARGED, "", tuple(one for one in everywhere if one.job_id in charged_ones))
    mine = [one for one in everywhere if one.job_id in own]
    found = of_this_root(proof, everywhere, mine)
    assert "".join(one.job_id for one in found.charged) == settles
    assert charged(refused_job(), mine, found, NOW).job.state is State.HELD
