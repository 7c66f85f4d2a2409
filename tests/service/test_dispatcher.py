"""What is handed out when: the budget of calls, the places at the vendor, the waiting times."""

from __future__ import annotations

from pathlib import Path

from workshop import Workshop, working

from rodin_watchd.adapters.store.files import WRITTEN
from rodin_watchd.model import State


def test_the_budget_of_calls_is_kept(tmp_path: Path) -> None:
    """However often tasks could be asked for, the account's calls stay within burst and rate."""
    api = {"requests_per_minute": 6, "max_in_flight": 2}
    polling = {"min_seconds": 1, "max_seconds": 1}
    with working(tmp_path, "empty-jobs", api={**api}, polling=polling) as (shop, vendor):
        for name in ("one", "two"):
            shop.drop_set(name)
        shop.until(lambda: shop.hands.seconds > 120, step_seconds=0.5)
        calls = vendor.uploads + vendor.emulator.ledger()["faults"]["empty-jobs"]
        assert 15 <= calls <= 10 + 120 / 10 + 1


def test_the_places_at_the_vendor_are_kept(tmp_path: Path) -> None:
    """No more than `max_in_flight` tasks are open at the vendor at once."""
    with working(tmp_path, "empty-jobs", api={"max_in_flight": 2}) as (shop, vendor):
        for number in range(4):
            shop.drop_set(f"set-{number}")
        shop.until(lambda: shop.hands.seconds > 60, step_seconds=2)
        assert sorted(shop.states().values()).count(State.SUBMITTED) == 2
        assert vendor.charges == 2


def test_what_is_overdue_names_no_time(shop: Workshop) -> None:
    """A job that waits for a thread or a pause does not make the loop spin."""
    with shop.without_workers():
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.CLAIMED))
    shop.hands.seconds += 100
    assert all(seconds > 0 for seconds in shop.daemon.parts.dispatcher.next_due_seconds())


def test_each_state_is_committed_once(shop: Workshop) -> None:
    """The history of a job without trouble names each state once, in order, and the answer before it is understood."""
    shop.drop_set("chair")
    shop.idle()
    wanted = ["claimed", "staged", "uploading", "submitting", "answered", "submitted", "generated", "downloaded"]
    assert shop.actions(shop.job("chair")) == [*wanted, "processed", "delivered", "archived"]


def test_steps_that_end_together_share_a_transaction(shop: Workshop) -> None:
    """What several workers did since the last tick is one transaction, with an event for each job."""
    with shop.without_workers():
        for number in range(4):
            shop.drop_set(f"set-{number}")
        shop.until(lambda: sorted(shop.states().values()) == [State.CLAIMED] * 4)
    parts = shop.daemon.parts
    parts.dispatcher.hand_out(submits=False)
    shop.rest()
    before = shop.store.meta(WRITTEN)
    parts.dispatcher.take_messages(shop.daemon.why_drop, parts.notifier.take)
    assert shop.store.meta(WRITTEN) == before + 1
    assert [shop.actions(job) for job in shop.jobs()] == [["claimed", "staged"]] * 4
