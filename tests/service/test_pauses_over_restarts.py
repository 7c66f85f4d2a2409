"""What decides over money outlives the process: pauses and the budget of calls, over crashes, restarts and jumping clocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workshop import KEY, Vendor, Workshop, working

from rodin_watchd.core.pauses import PAUSES, Pause, stored_pauses
from rodin_watchd.core.waits import CALLS
from rodin_watchd.errors import DiskError, Lane, NetworkError
from rodin_watchd.model import State
from rodin_watchd.service.assembly import assembled

THROTTLED = tuple(f"submit-429=60@{number}" for number in range(1, 9))
POOR = tuple(f"submit-error=INSUFFICIENT_FUND@{number}" for number in range(1, 99))


@contextmanager
def paused(root: Path, *faults: str) -> Iterator[tuple[Workshop, Vendor]]:
    """Give a service whose first submit was refused, so that submits pause."""
    with working(root, *faults, api={"max_in_flight": 1}) as (shop, vendor):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
        shop.until(lambda: Lane.SUBMIT in shop.daemon.parts.dispatcher.pauses or "fewer calls" in shop.status())
        yield shop, vendor


def test_no_call_goes_before_the_vendor_wants_one_however_often_it_is_killed(tmp_path: Path) -> None:
    """The minute that the vendor asked for is kept over crashes, and people read of it once."""
    with paused(tmp_path, *THROTTLED) as (shop, vendor):
        began = shop.hands.seconds
        while shop.hands.seconds < began + 50:
            shop.restart()
            shop.ticks(3, step_seconds=2)
            assert "fewer calls" in shop.status()
        shop.rest()
        assert vendor.uploads == 1
        assert [kind for kind in shop.event_kinds() if kind in ("paused", "started", "resumed")] == ["paused"]
        shop.until(lambda: vendor.uploads == 2)
        assert shop.hands.seconds - began >= 55


def test_lost_answers_are_waited_for_however_often_it_is_killed(tmp_path: Path) -> None:
    """Each lost answer doubles the wait for the next submit, as without the kills: each of them may have been charged."""
    faults = (f"charged-503@{number}" for number in range(1, 21))
    with working(tmp_path, *faults, api={"max_in_flight": 1}) as (shop, vendor):
        for number in range(20):
            shop.drop_set(f"set-{number}")
        while shop.hands.seconds < 120:
            shop.until(lambda: not shop.daemon.parts.pool.busy)
            shop.ticks(4, step_seconds=1.0)
            shop.restart()
        shop.rest()
        assert 1 < vendor.uploads <= 7  # at 0, 2, 6, 14, 30, 62 seconds


@pytest.mark.parametrize("jump_seconds", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_while_nobody_serves_lets_one_try_through(tmp_path: Path, jump_seconds: float) -> None:
    """A wait that nobody can have set is over: one call finds out, and the pause goes on with a longer wait."""
    faults = (f"status-429=60@{number}" for number in range(1, 31))
    with working(tmp_path, *faults, api={"max_in_flight": 3}) as (shop, vendor):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
        shop.until(lambda: vendor.uploads == 3 and Lane.API in shop.daemon.parts.dispatcher.pauses)
        shop.until(lambda: not shop.daemon.parts.pool.busy)
        before = _faults(vendor)

        def jump() -> None:
            shop.hands.jump_seconds = jump_seconds

        shop.restart(jump)
        for _ in range(2):
            shop.ticks(1, step_seconds=2)
            shop.rest()
        shop.restart()
        for _ in range(5):
            shop.ticks(1, step_seconds=2)
            shop.rest()
        assert _faults(vendor) == before + 1


def _faults(vendor: Vendor) -> int:
    return sum(vendor.emulator.ledger()["faults"].values())


@pytest.mark.parametrize(("key", "ends"), [(KEY, False), ("another-key", True)])
def test_a_start_with_another_key_ends_what_the_account_had_stopped(tmp_path: Path, key: str, *, ends: bool) -> None:
    """As a reload with it does, and its end is reported."""
    with paused(tmp_path, *POOR) as (shop, _):
        shop.rest()
        shop.crash()
        with assembled(shop.config, key, shop.hands.clock()) as daemon:
            assert (Lane.SUBMIT not in daemon.parts.dispatcher.pauses) is ends
        shop.start()


def test_what_was_paid_meanwhile_is_found_out_by_a_run_until_idle(tmp_path: Path) -> None:
    """A run that begins with the pause of the one before is not idle before it has tried."""
    with paused(tmp_path, POOR[0]) as (shop, vendor):
        shop.restart()
        shop.daemon.tick()
        assert not shop.daemon.is_idle()
        shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 3


def test_a_disk_is_looked_at_again_at_a_start(tmp_path: Path) -> None:
    """That costs nothing: a person who has made room and starts the service waits for nothing."""
    with working(tmp_path) as (shop, _):
        account, until_at = shop.daemon.parts.dispatcher.progress.account, shop.hands.clock().now() + 60
        problems = (DiskError().problem, NetworkError().problem)
        pauses = {problem.lane: Pause(problem, 0.0, until_at) for problem in problems if problem.lane}
        shop.store.set_meta(PAUSES, stored_pauses(pauses, account))
        shop.restart()
        assert shop.daemon.parts.dispatcher.pauses.keys() == {Lane.API}


def test_a_restart_allows_no_second_burst_of_calls(tmp_path: Path) -> None:
    """However often it is killed, and whatever the clock says, the account's calls stay within burst and rate."""
    api, polling = {"requests_per_minute": 6, "max_in_flight": 2}, {"min_seconds": 1, "max_seconds": 1}
    with working(tmp_path, "empty-jobs", api=api, polling=polling) as (shop, vendor):
        for name in ("one", "two"):
            shop.drop_set(name)
        shop.until(lambda: set(shop.states().values()) == {State.SUBMITTED}, step_seconds=0.5)
        for _ in range(12):
            shop.restart()
            shop.hands.jump_seconds += 1000.0
            shop.ticks(20, step_seconds=0.5)
        shop.rest()
        calls = vendor.uploads + vendor.emulator.ledger()["faults"]["empty-jobs"]
        assert calls <= 10 + shop.hands.seconds / 10 + 1
        assert shop.store.meta(CALLS) >= shop.hands.clock().monotonic()
