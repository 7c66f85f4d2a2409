"""The budget: what may still go today, and when a day begins whatever the clock says."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, a_job

from rodin_watchd.core.budget import (
    SHORTEST_DAY_SECONDS,
    UNLIMITED,
    Allowance,
    Caps,
    Day,
    day_of,
    is_over_budget,
    midnight,
    next_day_at,
    next_midnight,
    put_off,
    top_folder,
)
from rodin_watchd.core.kinds import TEXTURE, Article, article
from rodin_watchd.model import State, Transition

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
BEIRUT = zoneinfo.ZoneInfo("Asia/Beirut")  # its clocks change at midnight
DAY = 86_400.0
modest = settings(max_examples=200, deadline=None)
folders = st.sampled_from(["", "a", "a/b", "a/b/c", "b", "odd \n name"])


def at(text: str, zone: zoneinfo.ZoneInfo = BERLIN) -> float:
    """Return a local instant as UTC seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("folder", "top"),
    [
        ("", ""),
        ("a", "a"),
        ("a/b/c", "a"),
        ("two\nlines/x", "two\\nlines"),
        ("\udcff/x", "\\udcff"),
        (f"{'a' * 200}/x", "a" * 200),
    ],
)
def test_the_top_folder_is_what_counts(folder: str, top: str) -> None:
    """Directly below the inbox, as the journal spells it; "" is the inbox itself."""
    assert top_folder(folder) == top


HALF = Decimal("0.5")
A_TEXTURE = article(TEXTURE.name, {})


def each(price: Decimal) -> Callable[[Article], Decimal]:
    """Return prices by which all costs the same."""
    return lambda _: price


@pytest.mark.parametrize(
    ("cap", "spent", "may"),
    [
        ("1", 0, True),
        ("1", 1, True),
        ("1", 2, False),
        ("0.5", 0, True),
        ("0.5", 1, False),
        ("0", 0, False),
        ("0.9", 1, False),
    ],
)
def test_a_cap_is_never_exceeded(cap: str, spent: int, may: bool) -> None:
    """Exactly reached is fine; what would go beyond waits. For the day and for a folder alike."""
    assert (Allowance(Caps(Decimal(cap), None), {"a": spent * HALF}, each(HALF)).why_not("b", A_TEXTURE) == "") is may
    assert (
        Allowance(Caps(None, Decimal(cap)), {"a": spent * HALF}, each(HALF)).why_not("a/deep", A_TEXTURE) == ""
    ) is may
    assert (
        Allowance(Caps(None, Decimal(cap)), {"a": Decimal(50), "b": spent * HALF}, each(HALF)).why_not("b", A_TEXTURE)
        == ""
    ) is may


def test_the_reason_names_the_budget() -> None:
    """Whoever dropped the set reads which one it is."""
    assert (
        Allowance(Caps(Decimal(5), None), {"": Decimal(5)}, each(HALF)).why_not("a", A_TEXTURE)
        == "today's budget of 5 credits is spent"
    )
    folder = Allowance(Caps(None, Decimal("0.5")), {"a": HALF, "": HALF}, each(HALF))
    assert folder.why_not("a/b", A_TEXTURE) == "today's budget of 0.5 credits for the folder “a” is spent"
    assert folder.why_not("", A_TEXTURE) == "today's budget of 0.5 credits for the inbox itself is spent"
    assert folder.why_not("b", A_TEXTURE) == UNLIMITED.why_not("a", A_TEXTURE) == ""


def in_credits_of(counts: Counter[str]) -> dict[str, Decimal]:
    """Return what so many textures cost by the list."""
    return {top: count * TEXTURE.list_price({}) for top, count in counts.items()}


@pytest.mark.parametrize(
    ("spent", "may"), [("0", True), ("0.25", True), ("0.5", True), ("0.500001", False), ("0.75", False), ("1.5", False)]
)
def test_what_was_really_spent_counts_not_how_often(spent: str, may: bool) -> None:
    """A vendor that took another amount than the list says: the next one still has to fit by the list price."""
    allowance = Allowance(Caps(Decimal(1), Decimal(1)), {"a": Decimal(spent)}, each(HALF))
    assert (allowance.why_not("a", A_TEXTURE) == "") is may


def test_a_set_has_to_fit_by_the_dearest_price_known() -> None:
    """Dearer than the list: several at once count by it, and the reason says so."""
    allowance = Allowance(Caps(Decimal(4), None), {"a": Decimal("1.5")}, price=each(Decimal("1.5")))
    intents = [Transition(a_job(State.UPLOADING, id=str(n)), "uploading") for n in range(3)]
    assert allowance.affordable(intents) == intents[:1]
    assert allowance.after("a", A_TEXTURE).why_not("b", A_TEXTURE) == (
        "the rest of today's budget of 4 credits is too small: the newest textures cost up to 1.5 credits each"
    )


caps = st.none() | st.integers(0, 20).map(lambda count: count * Decimal("0.25"))


@modest
@given(caps, caps, st.lists(folders), st.lists(folders, max_size=20))
def test_no_choice_goes_over_a_cap_and_none_is_left_out(
    day: Decimal | None, folder: Decimal | None, spent: list[str], asked: list[str]
) -> None:
    """Of any intents those go, in order, that fit; each that is left out would have gone over."""
    before = Counter(map(top_folder, spent))
    allowance = Allowance(Caps(day, folder), in_credits_of(before), each(HALF))
    intents = [Transition(a_job(State.UPLOADING, id=str(n), folder=name), "uploading") for n, name in enumerate(asked)]
    chosen = allowance.affordable(intents)
    after = before + Counter(top_folder(intent.job.folder) for intent in chosen)
    new = after - before
    if day is not None and new:
        assert after.total() * TEXTURE.list_price({}) <= day
    for top in new:
        assert folder is None or after[top] * TEXTURE.list_price({}) <= folder
    left = [intent for intent in intents if intent not in chosen]
    assert all(
        Allowance(Caps(day, folder), in_credits_of(after), each(HALF)).why_not(intent.job.folder, A_TEXTURE)
        for intent in left
    )
    assert [intent for intent in intents if intent in chosen] == chosen


def test_a_set_that_waits_says_so_once() -> None:
    """The note is made once, says which budget, and goes with the next upload."""
    job = a_job(State.STAGED)
    move = put_off(job, "today's budget of 5 credits is spent", NOW)
    assert move is not None
    assert (move.action, move.job.state, move.job.attempts) == ("over-budget", State.STAGED, 0)
    assert move.message == "It waits for another day: today's budget of 5 credits is spent."
    assert is_over_budget(move.job)
    assert put_off(move.job, "today's budget of 5 credits is spent", NOW) is None
    assert put_off(move.job, "another reason", NOW) is not None
    assert not is_over_budget(job)
    assert put_off(job, "", NOW) is None
    assert put_off(move.job, "", NOW) == Transition(job, "within-budget")


def test_an_upload_that_was_cut_waits_as_staged() -> None:
    """What a crash has cut is proven not submitted: over the budget it holds no place at the vendor."""
    move = put_off(a_job(State.UPLOADING), "today's budget of 5 credits is spent", NOW)
    assert move is not None
    assert is_over_budget(move.job)
    assert put_off(a_job(State.UPLOADING), "", NOW) is None


# ---- days -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "began", "ends"),
    [
        ("2026-11-22T00:00", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("2026-11-22T23:59:59", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("2026-03-29T12:00", "2026-03-29T00:00", "2026-03-30T00:00"),  # of 23 hours
        ("2026-10-25T12:00", "2026-10-25T00:00", "2026-10-26T00:00"),  # of 25
    ],
)
def test_a_day_is_one_of_the_zone(now: str, began: str, ends: str) -> None:
    """From midnight to midnight, however long that is."""
    assert midnight(at(now), BERLIN) == at(began)
    assert next_midnight(at(now), BERLIN) == at(ends)


@modest
@given(st.floats(0, 4e9), st.sampled_from([BERLIN, BEIRUT, zoneinfo.ZoneInfo("Pacific/Apia"), UTC]))
def test_days_follow_each_other(now: float, zone: zoneinfo.ZoneInfo) -> None:
    """Each instant lies in its day; the next one begins later, within 26 hours, where clocks change at midnight too."""
    assert midnight(now, zone) <= now
    if datetime.fromtimestamp(now, zone).date() + timedelta(days=1) != datetime(2011, 12, 30).date():  # noqa: DTZ001 - Apia skipped it
        assert 0 < next_midnight(now, zone) - now <= 26 * 3600


def test_honest_days_begin_at_midnight() -> None:
    """Over a year, clock changes included, each midnight begins a new day at once."""
    day: Day | None = None
    bought, now = 0, at("2026-01-01T12:00")
    while now < at("2027-01-01T12:00"):
        before, day = day, day_of(day, now, BERLIN, bought)
        assert day.began_at == midnight(now, BERLIN)
        assert before is None or day.after_purchase == (
            before.after_purchase if day.began_at == before.began_at else bought
        )
        now, bought = now + 3600, bought + 1


def begun(now: float, zone: tzinfo = BERLIN) -> Day:
    """Return the day that begins when nothing is known."""
    return day_of(None, now, zone, 5)


def test_a_day_is_not_shorter_than_a_day_can_be() -> None:
    """A midnight that comes too soon after the last day began is a lie of the clock."""
    day = begun(at("2026-11-22T00:00")).moved(10 * 3600)  # when the clock was set ahead by ten hours
    assert day_of(day, at("2026-11-23T00:00:01"), BERLIN, 9).after_purchase == 5
    later = day_of(day, at("2026-11-24T00:00:01"), BERLIN, 9)
    assert (later.began_at, later.after_purchase) == (at("2026-11-24T00:00"), 9)


@pytest.mark.parametrize("clock", ["2026-11-21T23:50", "2026-11-01T12:00", "1970-01-01T00:20"])
def test_a_clock_that_was_set_back_while_the_service_stood_still_begins_no_day(clock: str) -> None:
    """The day is as old as it was when it was seen last: the false midnight that comes soon is none of the budget's."""
    seen = day_of(begun(at("2026-11-22T00:00:05")), at("2026-11-22T01:00"), BERLIN, 9)
    day = seen.found(at(clock))
    assert (at(clock) - day.began_at, day.seen_at, day.after_purchase) == (3600, at(clock), 5)
    first = next_midnight(at(clock), BERLIN)
    second = next_midnight(first, BERLIN)
    third = next_midnight(second, BERLIN)
    assert day_of(day, first, BERLIN, 9).after_purchase == 5
    begins = second if second - day.began_at >= 25 * 3600 else third
    assert next_day_at(day, at(clock), BERLIN) == begins
    assert day_of(day, begins, BERLIN, 9).after_purchase == 9


def test_a_clock_that_is_right_at_the_start_changes_nothing() -> None:
    """Also where an older version stored the day, which did not say up to when it was seen."""
    day = begun(at("2026-11-22T08:00"))
    assert day.found(at("2026-11-22T12:00")) == day
    assert Day(at("2026-11-22T00:00"), 5).found(at("2026-11-22T12:00")).began_at == at("2026-11-22T00:00")
    assert Day(at("2026-11-22T00:00"), 5).found(at("2026-11-21T23:50")).began_at == at("2026-11-21T23:50")


def test_a_date_that_comes_again_is_no_new_day_until_more_than_a_day_has_passed() -> None:
    """The clock is set back by four hours each evening: twenty hours are enough for the next date, not for the same."""
    day = begun(at("2026-11-22T00:00")).moved(-4 * 3600)  # at 01:00 the clock was set to 21:00
    assert day_of(day, at("2026-11-22T00:00:01"), BERLIN, 9).after_purchase == 5
    day = begun(at("2026-11-22T00:00")).moved(-21 * 3600)
    assert day_of(day, at("2026-11-22T00:00:01"), BERLIN, 9).after_purchase == 5
    assert day_of(day, at("2026-11-23T00:00:01"), BERLIN, 9).after_purchase == 9


def test_a_clock_that_was_decades_ahead_locks_nobody_out() -> None:
    """Started in 2099, then set right: the next budget comes within two days, and then each day as ever."""
    day = begun(at("2099-01-01T12:00")).found(at("2026-11-22T12:00"))
    begins = next_day_at(day, at("2026-11-22T12:00"), BERLIN)
    assert begins <= at("2026-11-24T00:00")
    day = day_of(day, begins, BERLIN, 9)
    assert day.after_purchase == 9
    assert next_day_at(day, begins, BERLIN) == next_midnight(begins, BERLIN)


@pytest.mark.parametrize("zone", [zoneinfo.ZoneInfo("Asia/Tokyo"), zoneinfo.ZoneInfo("America/Los_Angeles"), UTC])
def test_another_zone_makes_no_day_shorter(zone: tzinfo) -> None:
    """A service that moves, at a restart, has its next day at a midnight of the new zone, no sooner than after 20 hours."""
    day = begun(at("2026-11-22T00:00"))
    now = at("2026-11-22T06:00")
    begins = next_day_at(day.found(now), now, zone)
    assert begins == midnight(begins, zone)
    assert 20 * 3600 <= begins - day.began_at <= 48 * 3600


class Wall:
    """A wall clock that somebody sets, seen by the rules alone: when it jumps, what was dated moves with it."""

    def __init__(self) -> None:
        """Begin at noon."""
        self.offset = at("2026-11-22T12:00")
        self.day = day_of(None, self.offset, BERLIN, 0)

    def after(self, passed: float, step: float) -> float:
        """Return the age of the day's beginning at a real time, after a step of the clock."""
        self.offset += step
        now = self.offset + passed
        self.day = day_of(self.day.moved(step), now, BERLIN, 0)
        return now - self.day.began_at


@modest
@given(st.lists(st.tuples(st.floats(0, 7200), st.floats(-3 * DAY, 3 * DAY) | st.floats(-90, 90)), max_size=60))
def test_no_clock_makes_days_shorter(moments: list[tuple[float, float]]) -> None:
    """However it is set, between two beginnings of a day lie twenty real hours: two budgets never meet in one."""
    wall, passed, beginnings = Wall(), 0.0, []
    for elapsed, step in moments:
        passed += elapsed
        before = wall.day.began_at + step - wall.offset - step
        wall.after(passed, step)
        began = wall.day.began_at - wall.offset  # in real time
        if began != pytest.approx(before, abs=1e-3):
            beginnings.append(began)
    assert all(later - earlier >= SHORTEST_DAY_SECONDS - 1 for earlier, later in pairwise(beginnings))
