"""Pauses of the service, and which steps are due."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, a_job

from rodin_watchd.core.machine import AT_VENDOR, POLICIES, RESTING
from rodin_watchd.core.pauses import (
    LANES,
    PROBE_SECONDS,
    BackoffLimits,
    Pause,
    Pauses,
    PlaceWanted,
    after_start,
    due_jobs,
    ended,
    is_ready,
    left_to_others,
    place_wanted,
    remembered_pauses,
    renewed,
    stored_pauses,
    until_decided,
    with_others,
)
from rodin_watchd.core.waits import LANE
from rodin_watchd.errors import (
    DiskError,
    JournalError,
    Lane,
    NetworkError,
    NoCreditsError,
    Problem,
    TaskLostError,
    ThrottledError,
)
from rodin_watchd.model import Job, State, Step

modest = settings(max_examples=150, deadline=None)
S = State
NETWORK, CREDITS, DISK = NetworkError().problem, NoCreditsError().problem, DiskError().problem
AMPLE = BackoffLimits(at_vendor=100, calls=100, workers=100)
MOVING = [state for state in State if state not in RESTING]


def paused(problem: Problem = NETWORK, now: float = NOW) -> Pauses:
    """Return the pauses after one service error."""
    return renewed({}, problem, now, 0.5)


def due_ids(
    jobs: list[Job], pauses: Pauses, now: float = NOW, limits: BackoffLimits = AMPLE, busy: str = ""
) -> list[str]:
    """Return the ids of the jobs that are due; `busy` holds ids, one letter each."""
    return [job.id for job in due_jobs(jobs, frozenset(busy), pauses, limits, now)]


# ---- pausing --------------------------------------------------------------------------------------------------------


def test_a_service_error_pauses_its_lane() -> None:
    """With the problem, since when, and until when at least."""
    assert paused() == {Lane.API: Pause(NETWORK, NOW, NOW + LANE.first_seconds, 1)}
    assert set(renewed(paused(), CREDITS, NOW, 0.5)) == {Lane.API, Lane.SUBMIT}


def test_an_error_without_a_lane_pauses_nothing() -> None:
    """It concerns no class of steps."""
    assert renewed({}, JournalError().problem, NOW, 0.5) == {}


def test_steps_that_were_under_way_do_not_pause_again() -> None:
    """Ten calls meet the same outage: one pause, one notice, the first wait."""
    pauses = paused()
    for _ in range(10):
        pauses = renewed(pauses, NETWORK, NOW + 1, 0.5)
    assert pauses == paused()


def test_pauses_are_remembered_as_they_were_stored() -> None:
    """Also the one that lasts until a person decides; a start keeps those that stop calls to the vendor."""
    pauses = until_decided(renewed(renewed(paused(), CREDITS, NOW, 0.5), DISK, NOW, 0.5), "Look.", NOW)
    stored = json.loads(json.dumps(stored_pauses(pauses, "mine"), allow_nan=False))
    assert remembered_pauses(stored, "mine") == pauses
    assert remembered_pauses(stored, "other").keys() == {Lane.DISK}
    assert after_start(pauses).keys() == {Lane.API, Lane.SUBMIT, Lane.REFUSALS}
    assert remembered_pauses(None, "mine") == {}


def test_a_probe_that_fails_renews_the_pause_with_a_longer_wait() -> None:
    """Two seconds, four, …, two minutes; the beginning stays, so it is still the same pause."""
    pauses, now, waits = paused(), NOW, []
    for _ in range(9):
        waits.append(pauses[Lane.API].until_at - now)
        now = pauses[Lane.API].until_at
        pauses = renewed(pauses, NETWORK, now, 0.5)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0, 120.0]
    assert pauses[Lane.API].since_at == NOW


def test_a_retry_after_is_honoured() -> None:
    """Also where it is longer than any wait of our own, and where it comes from a step that was under way."""
    asked = replace(ThrottledError().problem, retry_after_seconds=600.0)
    assert paused(asked)[Lane.API].until_at == NOW + 600.0
    extended = renewed(paused(), asked, NOW + 1, 0.5)
    assert extended == {Lane.API: Pause(asked, NOW, NOW + 601.0, 1)}
    assert due_ids([a_job(S.SUBMITTED, id="a")], extended, NOW + 600.0) == []
    assert due_ids([a_job(S.SUBMITTED, id="a")], extended, NOW + 601.0) == ["a"]


def test_a_shorter_retry_after_changes_nothing() -> None:
    """The lane stands still as long as it was told to."""
    assert renewed(paused(now=NOW), replace(NETWORK, retry_after_seconds=0.5), NOW + 1, 0.5) == paused()


@pytest.mark.parametrize("step", list(Step))
def test_success_ends_the_pauses_of_its_lanes(step: Step) -> None:
    """What the step needed is in order; other lanes stay paused."""
    pauses: Pauses = {lane: Pause(NETWORK, NOW, NOW + 2) for lane in Lane}
    assert set(ended(pauses, step, NOW + 2)) == set(Lane) - LANES[step]


def test_success_of_a_step_that_was_under_way_ends_no_pause() -> None:
    """Another call's 429 with a Retry-After outranks the answer to a call that was sent before it."""
    assert ended(paused(), Step.POLL, NOW + 1.9) == paused()


def test_every_step_has_its_lanes() -> None:
    """Nothing runs beside the pauses; what calls the vendor is in the lane of the API."""
    assert set(LANES) == set(Step)
    assert {step for step in Step if Lane.API in LANES[step]} == {Step.SUBMIT, Step.POLL, Step.DOWNLOAD}
    assert {step for step in Step if Lane.SUBMIT in LANES[step]} == {Step.SUBMIT}


# ---- what a pause lets through --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "state"), list(product([NETWORK, CREDITS, DISK], MOVING)))
def test_a_pause_stops_the_steps_of_its_lane_and_no_others(problem: Problem, state: State) -> None:
    """No credits stops submits, no network every call, a full disk whatever writes."""
    stopped = problem.lane in LANES[POLICIES[state].step] or state is S.SUBMITTING
    assert due_ids([a_job(state, id="a")], paused(problem)) == ([] if stopped else ["a"])


def test_a_pause_that_is_over_lets_exactly_one_probe_through() -> None:
    """One job goes ahead; the others wait for what comes of it, even with the probe under way."""
    jobs = [a_job(S.SUBMITTED, id=name, not_before=NOW - 9 + n) for n, name in enumerate("abc")]
    assert due_ids(jobs, paused(), NOW + 2) == ["a"]
    assert due_ids(jobs, paused(), NOW + 2, busy="a") == []
    assert due_ids(jobs, ended(paused(), Step.POLL, NOW + 2), NOW + 2) == ["a", "b", "c"]


def test_a_job_that_failed_as_a_probe_is_not_the_next_one() -> None:
    """It would meet its own trouble for ever while the lane is fine for all others."""
    broken = a_job(S.GENERATED, id="a", not_before=NOW + 2)  # met the error last: due since then
    sound = a_job(S.DELIVERED, id="b", not_before=NOW - 50)
    assert due_ids([broken, sound], paused(DISK), NOW + 4) == ["b"]


def test_a_pause_ends_by_itself_when_the_clock_is_set_back() -> None:
    """A pause until next year was never set: it is over."""
    job = a_job(S.SUBMITTED, id="a", not_before=0.0)
    assert due_ids([job], paused(), NOW - 1e8) == ["a"]


# ---- what is due ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
def test_a_job_is_ready_when_it_has_a_step_and_its_wait_is_over(state: State) -> None:
    """Never an ended, a held or a submitting one: whatever became of that submit, it is not sent again by itself."""
    may_go = state not in RESTING and state is not S.SUBMITTING
    assert is_ready(a_job(state, not_before=NOW), NOW, 30.0) == may_go
    assert not is_ready(a_job(state, not_before=NOW + 1), NOW, 30.0)


def test_a_long_poll_wait_is_kept() -> None:
    """Whoever sets `polling.max_seconds` to ten minutes is not taken for a clock that was turned back."""
    job = a_job(S.SUBMITTED, id="a", not_before=NOW + 600.0)
    assert not is_ready(job, NOW, 600.0)
    assert is_ready(job, NOW, 120.0)
    assert due_ids([job], {}, limits=replace(AMPLE, longest_poll_seconds=600.0)) == []


def test_who_waited_longest_goes_first_and_submits_go_last() -> None:
    """What was paid for is never behind what was not; a result that waits at the vendor comes before all."""
    jobs = [
        a_job(S.STAGED, id="a", not_before=NOW - 100),
        a_job(S.UPLOADING, id="b", not_before=NOW - 50),
        a_job(S.GENERATED, id="c", not_before=NOW - 5),
        a_job(S.SUBMITTED, id="d", not_before=NOW - 9),
        a_job(S.CLAIMED, id="e", not_before=NOW - 9, created_at=NOW - 999),
    ]
    assert due_ids(jobs, {}) == ["c", "e", "d", "a", "b"]
    assert due_ids(jobs, {}, limits=replace(AMPLE, workers=2)) == ["c", "e"]


def test_a_paused_service_submits_nothing_and_goes_on_with_the_rest() -> None:
    """What a person paused is spending, not fetching what was paid."""
    jobs = [a_job(state, id=state.value) for state in (S.STAGED, S.UPLOADING, S.SUBMITTED, S.DELIVERED)]
    assert due_ids(jobs, {}, limits=replace(AMPLE, submits=False)) == ["submitted", "delivered"]


def test_a_job_found_uploading_has_its_place_already() -> None:
    """It counts once: with one place in all, it goes on, and a staged one waits."""
    jobs = [a_job(S.STAGED, id="a", not_before=NOW - 9), a_job(S.UPLOADING, id="b")]
    assert due_ids(jobs, {}, limits=replace(AMPLE, at_vendor=1)) == ["b"]


def test_a_full_vendor_does_not_stop_polls() -> None:
    """More jobs at the vendor than places (the setting was lowered): no submit, all polls."""
    jobs = [a_job(S.SUBMITTED, id=name) for name in "abc"] + [a_job(S.STAGED, id="d")]
    assert due_ids(jobs, {}, limits=replace(AMPLE, at_vendor=2)) == ["a", "b", "c"]


def test_a_task_that_the_vendor_does_not_know_takes_no_place() -> None:
    """A wrong task that somebody has named for a held job is asked for again and again: other sets are sent meanwhile."""
    lost = a_job(S.SUBMITTED, id="a", not_before=NOW + 9, problem=TaskLostError("There is no such task.").problem)
    late = replace(lost, problem=NETWORK)
    staged = a_job(S.STAGED, id="b")
    assert due_ids([lost, staged], {}, limits=replace(AMPLE, at_vendor=1)) == ["b"]
    assert due_ids([late, staged], {}, limits=replace(AMPLE, at_vendor=1)) == []


def test_places_calls_and_workers_are_counted_down() -> None:
    """Three of a kind and room for two: the third waits for a later turn."""
    staged = [a_job(S.STAGED, id=name, created_at=NOW + n) for n, name in enumerate("abc")]
    polled = [a_job(S.SUBMITTED, id=name, created_at=NOW + n) for n, name in enumerate("abc")]
    local = [a_job(S.PROCESSED, id=name, created_at=NOW + n) for n, name in enumerate("abc")]
    assert due_ids(staged, {}, limits=replace(AMPLE, at_vendor=2)) == ["a", "b"]
    assert due_ids(polled, {}, limits=replace(AMPLE, calls=2)) == ["a", "b"]
    assert due_ids(local, {}, limits=replace(AMPLE, workers=2)) == ["a", "b"]
    assert due_ids(local, {}, limits=replace(AMPLE, calls=0)) == ["a", "b", "c"]


@st.composite
def mixes(draw: st.DrawFn) -> tuple[list[Job], frozenset[str], Pauses, BackoffLimits]:
    """Any jobs, some of them busy, any pauses and limits."""
    states = draw(st.lists(st.sampled_from(list(State)), max_size=30))
    waits = st.floats(-500, 500)
    jobs = [a_job(s, id=str(n), not_before=NOW + draw(waits), created_at=NOW - n) for n, s in enumerate(states)]
    moving = [job.id for job in jobs if job.state not in RESTING]
    busy = frozenset(draw(st.sets(st.sampled_from(moving)))) if moving else frozenset()
    lanes = draw(st.sets(st.sampled_from(list(Lane))))
    pauses = {lane: Pause(NETWORK, NOW - 9, NOW + draw(st.floats(-5, 100))) for lane in sorted(lanes)}
    small = st.integers(0, 8)
    return jobs, busy, pauses, BackoffLimits(draw(small), draw(small), draw(small), draw(st.booleans()))


@modest
@given(mixes())
def test_the_limits_hold_for_any_mix_of_jobs(mix: tuple[list[Job], frozenset[str], Pauses, BackoffLimits]) -> None:
    """Places, calls, workers, pauses, probes: whatever is there, no more goes out than may."""
    jobs, busy, pauses, limits = mix
    due = due_jobs(jobs, busy, pauses, limits, NOW)
    lanes_of = {job.id: LANES[POLICIES[job.state].step] for job in jobs if job.state not in RESTING}
    assert len({job.id for job in due}) == len(due) <= limits.workers
    assert busy.isdisjoint(job.id for job in due)
    assert all(is_ready(job, NOW, 120.0) for job in due)
    assert sum(Lane.API in lanes_of[job.id] for job in due) <= limits.calls
    new = sum(job.state is S.STAGED for job in due)
    assert not new or new + sum(job.state in AT_VENDOR for job in jobs) <= limits.at_vendor
    assert limits.submits or not any(POLICIES[job.state].step is Step.SUBMIT for job in due)
    for lane, pause in pauses.items():
        going = sum(lane in lanes_of[job.id] for job in due)
        under_way = any(lane in lanes_of[name] for name in busy)
        assert going <= (0 if pause.until_at > NOW or under_way else 1)


@modest
@given(mixes())
def test_nothing_that_could_go_is_left_out(mix: tuple[list[Job], frozenset[str], Pauses, BackoffLimits]) -> None:
    """A ready job that was not chosen was stopped by a limit or a pause; and nobody is chosen but by the job itself."""
    jobs, busy, pauses, limits = mix
    free = replace(limits, at_vendor=99, calls=99, workers=99, submits=True)
    due = {job.id for job in due_jobs(jobs, busy, {}, free, NOW)}
    assert due == {job.id for job in jobs if job.id not in busy and is_ready(job, NOW, 120.0)}
    assert {job.id for job in due_jobs(jobs, busy, pauses, limits, NOW)} <= due
    shuffled = due_jobs(jobs[::-1], busy, pauses, limits, NOW)
    assert len(shuffled) == len(due_jobs(jobs, busy, pauses, limits, NOW))


@modest
@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 40))
def test_new_submits_never_starve_what_was_paid(workers: int, paid: int, fresh: int) -> None:
    """However many sets wait to be sent: as long as one paid job is due, it goes before all of them."""
    jobs = [a_job(S.STAGED, id=f"new{n}", not_before=NOW - 1000) for n in range(fresh)]
    jobs += [a_job((S.SUBMITTED, S.GENERATED, S.PROCESSED)[n % 3], id=f"paid{n}") for n in range(paid)]
    chosen = due_ids(jobs, {}, limits=BackoffLimits(100, 100, workers))
    assert sum(name.startswith("paid") for name in chosen) == min(workers, paid)


def test_waits_are_within_what_a_clock_is_believed() -> None:
    """The longest pause of our own, spread and all, is not taken for a clock that was turned back."""
    pause = Pause(NETWORK, NOW, NOW + LANE.longest_seconds * 1.1)
    assert due_ids([a_job(S.SUBMITTED, id="a")], {Lane.API: pause}) == []


# ---- what daemons of other roots have met -----------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [CREDITS, ThrottledError().problem])
def test_what_stops_the_account_stops_every_daemon(problem: Problem) -> None:
    """Until the one that has met it has found out whether it is over, or it should have."""
    theirs = paused(problem)
    [(lane, pause)] = theirs.items()
    for at in (NOW, pause.until_at, pause.until_at + PROBE_SECONDS - 1):
        found = with_others({}, [{}, theirs], at)
        assert found[lane].problem == problem
        assert due_ids([a_job(state=S.STAGED)], found, at) == []
    assert with_others({}, [theirs], pause.until_at + PROBE_SECONDS) == {}
    assert with_others({}, [{}], NOW) == {}


@pytest.mark.parametrize("problem", [NETWORK, DISK])
def test_what_one_machine_meets_stops_no_other(problem: Problem) -> None:
    """Its network and its disks are its own."""
    assert with_others({}, [paused(problem)], NOW) == {}


def test_of_two_daemons_that_met_the_same_none_waits_for_the_other() -> None:
    """Each tries when both times are over."""
    mine, theirs = paused(CREDITS), paused(CREDITS, NOW + 2)
    lane, until_at = Lane.SUBMIT, theirs[Lane.SUBMIT].until_at
    assert with_others(mine, [theirs], NOW) == mine
    assert with_others(mine, [theirs], until_at - 1)[lane].until_at > until_at
    assert with_others(mine, [theirs], until_at) == mine


def test_a_set_leaves_places_to_older_ones_of_other_roots() -> None:
    """Of the same account, and not for ever: a daemon that is gone wants none."""
    job = replace(a_job(state=S.STAGED), created_at=NOW)
    wanted = [PlaceWanted("a", NOW + age, NOW + 60) for age in (-5, -1, 1)] + [PlaceWanted("b", NOW - 5, NOW + 60)]
    assert left_to_others(wanted, "a", job, NOW) == 2
    assert left_to_others(wanted, "a", job, NOW + 60) == 0


def test_a_wish_for_a_place_is_not_stored_in_each_tick() -> None:
    """Only when it is another one, or has not long to go, or a clock was set."""
    first = place_wanted(None, "a", NOW, NOW)
    assert place_wanted(first, "a", NOW, NOW + 29) is first
    for other in (
        place_wanted(first, "a", NOW, NOW + 31),
        place_wanted(first, "a", NOW, NOW - 1),
        place_wanted(first, "a", NOW + 1, NOW),
        place_wanted(first, "b", NOW, NOW),
    ):
        assert other is not first
