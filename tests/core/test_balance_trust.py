"""When the balance is believed to show that a submit was free, and when that is taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from job_samples import NOW, a_job

from rodin_watchd.core.balance import (
    LATE,
    VERDICTS,
    Freed,
    Reading,
    Trust,
    after,
    notice,
    taken_back,
    trust_key,
    unwatched,
)
from rodin_watchd.core.proof import Baseline, Refusal, Since, Verdict, judged, refusals_judged
from rodin_watchd.errors import RefusedOftenError, ThrottledError
from rodin_watchd.model import State

HALF, NOTHING = Decimal("0.5"), Decimal(0)
TEN = Baseline("account", Decimal("10.5"), 7)
UNSEEN = Trust()
SEEN = Trust(moves=True)
BELIEVED = SEEN.with_freed([3, 4], 20, 60)


def since(charged: str = "0", unknown: int = 0, refused: int = 0, decided: int = 0) -> Since:
    """Return what was bought."""
    refusals = tuple(Refusal(number, "job", "content", HALF) for number in range(8, 8 + refused))
    return Since(Decimal(charged), unknown, unknown * HALF, frozenset(), 0, decided, refusals)


def reading(lower: str, bought: Since, *, exact: bool = True, sole: bool = True) -> Reading:
    """Return what a reading says: by how much the balance is lower than what is known explains."""
    return Reading(Decimal(lower), bought, exact, sole)


def test_trust_is_stored_as_it_is() -> None:
    """What was stored comes back; where nothing was, nothing is known."""
    doubted = replace(BELIEVED, late_seconds=60.0, fell=HALF)
    stored: dict[str, Any] = json.loads(json.dumps(doubted.as_meta("one")))
    assert Trust.of_meta(stored.get, "one") == doubted
    nothing: dict[str, Any] = {}
    assert Trust.of_meta(nothing.get, "one") == UNSEEN
    assert stored.keys() == {trust_key("one"), VERDICTS}


def test_how_a_vendor_books_is_known_for_every_account() -> None:
    """What was shown to be free, and that it was wrong, is kept with another key; whether a balance moves is of one account."""
    doubted = replace(BELIEVED, late_seconds=60.0, fell=HALF)
    assert Trust.of_meta(doubted.as_meta("one").get, "other") == replace(doubted, moves=False)


def test_the_settle_time_of_the_verdict_is_doubted() -> None:
    """Not the one of the day when it is found out; of a verdict without one, that of the day."""
    late, _ = after(SEEN.with_freed([3], 20, 60).with_freed([4], 20, 30), reading("0.5", since()), 6, 20)
    assert late.late_seconds == 60
    raised, _ = after(SEEN.with_freed([3], 20, 60), reading("0.5", since()), 600, 20)
    assert not raised.is_doubted(600)
    old, _ = after(replace(SEEN, freed=(Freed(3, 20),)), reading("0.5", since()), 6, 20)
    assert old.late_seconds == 6


def test_what_no_reading_can_take_back_counts_as_spent() -> None:
    """Where readings cannot be compared any more; what is older than a day stays free, and a doubt stays."""
    trust = replace(SEEN.with_freed([3], 20, 60).with_freed([4], 30, 60), late_seconds=60.0)
    assert unwatched(trust, 0) == (replace(trust, freed=()), frozenset({3, 4}))
    assert unwatched(trust, 30) == (replace(trust, freed=()), frozenset({4}))
    assert unwatched(trust, 0)[0].is_doubted(60)


def test_nothing_is_free_by_a_balance_that_was_never_seen_to_fall() -> None:
    """Neither what was refused nor what was lost; what was charged is shown all the same."""
    doubt = UNSEEN.doubt(60)
    still, fallen = [TEN.balance] * 2, [TEN.balance - HALF] * 2
    assert "never fallen" in doubt
    assert judged(TEN, since(unknown=1), still, exact=True, doubt=doubt).verdict is Verdict.UNDECIDED
    assert judged(TEN, since(unknown=1), fallen, exact=True, doubt=doubt).verdict is Verdict.CHARGED
    for sole in (False, True):
        free = refusals_judged(TEN, since(refused=1), still, exact=True, sole=sole, doubt=doubt)
        assert free.verdict is Verdict.UNDECIDED
    assert refusals_judged(TEN, since(refused=1), fallen, exact=True, sole=True, doubt=doubt).verdict is Verdict.CHARGED
    assert SEEN.doubt(60) == ""


@pytest.mark.parametrize(
    ("seen", "moves"),
    [
        (reading("0", since("0.5")), True),
        (reading("0", since("1.5", refused=1)), True),
        (reading("0", since("0.5"), sole=False), True),
        (reading("0", since()), False),
        (reading("-0.5", since("0.5")), False),
        (reading("0.5", since("0.5")), False),
    ],
)
def test_a_known_charge_shows_that_it_moves(seen: Reading, moves: bool) -> None:
    """It fell by exactly what known purchases cost, also where others may spend."""
    assert after(UNSEEN, seen, 60, 0)[0].moves is moves


@pytest.mark.parametrize(
    ("seen", "unexplained"),
    [
        (reading("0.5", since("2")), "0.5"),
        (reading("0.5", since(unknown=1)), "0"),
        (reading("1", since(refused=1)), "0.5"),
        (reading("0.5", since(), sole=False), "0"),
        (reading("0.5", since(), exact=False), "0"),
        (reading("1", since(), exact=False), "1"),
        (reading("-7", since()), "0"),
        (reading("0", since("3")), "0"),
    ],
)
def test_a_fall_that_nothing_explains_takes_verdicts_back(seen: Reading, unexplained: str) -> None:
    """Of an own account: all that looked free is unclear again, and such a settle time is not believed any more."""
    learned, back = after(BELIEVED, seen, 60, 20)
    assert seen.unexplained == Decimal(unexplained)
    assert back == (frozenset({3, 4}) if seen.unexplained else frozenset())
    assert learned.is_doubted(60) is bool(back)
    assert learned.freed == (() if back else BELIEVED.freed)
    assert bool(learned.doubt(60)) is bool(back)
    assert learned.doubt(61) == ""
    assert bool(notice(learned, 60)) is bool(back)
    assert notice(learned, 61) == []
    assert after(SEEN, seen, 60, 0)[1] == frozenset()


def test_what_looked_free_is_remembered_for_a_day() -> None:
    """By the age of a newer event, and until a later reading matches; the newest event before it may be older than it is."""
    for aged_event in (0, 20):
        assert after(BELIEVED, reading("0", since()), 60, aged_event)[0].freed == BELIEVED.freed
    assert after(BELIEVED, reading("0", since()), 60, 21)[0].freed == ()
    assert after(BELIEVED, reading("0", since(unknown=1)), 60, 21)[0].freed == BELIEVED.freed


@pytest.mark.parametrize(
    ("state", "then"), [(State.STAGED, State.HELD), (State.HELD, State.HELD), (State.GENERATED, State.GENERATED)]
)
def test_a_job_whose_verdict_is_taken_back(state: State, then: State) -> None:
    """It is held where it would be sent again; elsewhere it is noted what it may have cost."""
    job = replace(a_job(state), problem=ThrottledError().problem if state is not State.GENERATED else None)
    moved = taken_back(job, 2, LATE, NOW)
    assert (moved.job.state, moved.job.refused) == (then, 2)
    assert "may have cost 0.5 credits each" in moved.message
    if state is State.STAGED:
        assert moved.job.problem
        assert moved.job.problem.code == RefusedOftenError.code
