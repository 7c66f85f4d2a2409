"""Many jobs at once: what one tick does is bounded, whatever waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, workshop

from rodin_watchd.core.machine import begin_upload
from rodin_watchd.core.refusals import MOST_IN_A_ROW
from rodin_watchd.model import State, Transition
from rodin_watchd.service.balance import AccountBalance
from rodin_watchd.service.dispatcher import MOST_DECIDED

MANY = 2 * MOST_DECIDED + 3


def undecided(shop: Workshop) -> int:
    """Return of how many jobs the outcome of the first step is not in the journal."""
    return shop.store.counts().get(State.CLAIMED, 0)


def done_once(shop: Workshop) -> None:
    """Drop many sets, and have the first step of each done; nothing is decided yet."""
    for number in range(MANY):
        shop.drop_set(f"set{number:03}")
    shop.until(lambda: len(shop.daemon.parts.pool.busy) >= MANY, step_seconds=1.0, busy_seconds=0.0)
    shop.rest()
    assert undecided(shop) == MANY


def test_a_tick_decides_about_some_outcomes_and_the_next_one_begins_at_once(tmp_path: Path, vendor: Vendor) -> None:
    """An upload that is about to send its last bytes, and a person's command, wait for no more than those."""
    with workshop(tmp_path, vendor.emulator.base_url, api={"max_in_flight": MANY}) as shop:
        done_once(shop)
        shop.leave("pause")  # no other step follows
        for left in (MANY - MOST_DECIDED, MANY - 2 * MOST_DECIDED):
            shop.daemon.tick()
            assert left <= undecided(shop) <= left + 1  # the balance may be one of the outcomes
            assert shop.daemon.parts.wake.wait(0)
        shop.daemon.tick()
        assert undecided(shop) == 0
        assert not shop.daemon.parts.wake.wait(0)


def test_a_stop_decides_about_all_of_them(tmp_path: Path, vendor: Vendor) -> None:
    """What ended in time is committed."""
    with workshop(tmp_path, vendor.emulator.base_url, api={"max_in_flight": MANY}) as shop:
        done_once(shop)
        assert shop.daemon.drain(0.0)
        assert undecided(shop) == 0


@pytest.mark.parametrize("sending", [0, 2, MOST_IN_A_ROW])
def test_no_more_sets_are_asked_about_than_may_be_sent(tmp_path: Path, vendor: Vendor, sending: int) -> None:
    """Each costs questions to the journal; with as many submits under way as may be, none is asked about."""
    with workshop(tmp_path, vendor.emulator.base_url, api={"max_in_flight": MANY}) as shop:
        done_once(shop)
        parts, asked = shop.daemon.parts, list[str]()
        account = AccountBalance(shop.config, "account", parts.job_store, shop.store, shop.hands.clock())

        def intents() -> Iterator[Transition]:
            for job in parts.job_store.jobs.values():
                asked.append(job.id)
                yield begin_upload(replace(job, state=State.STAGED), 0.0, Decimal("0.5"), "account")

        chosen = account.payable(intents(), sending)
        assert len(chosen) == len(asked) == MOST_IN_A_ROW - sending
