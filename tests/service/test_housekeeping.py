"""Sweeping the journal's log, every now and then."""

from __future__ import annotations

from workshop import Vendor, Workshop

from rodin_watchd.errors import InternalError
from rodin_watchd.model import State
from rodin_watchd.service.housekeeping import SWEEP_SECONDS, InThread


def test_a_task_key_is_in_no_file_soon_after_it_is_needed(shop: Workshop, vendor: Vendor) -> None:
    """While the daemon runs, a delivered job's key leaves the journal and its log within the time that is promised."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTED))
    task = shop.job("chair").task
    assert task is not None
    key = task.subscription_key
    assert len(key) > 20
    assert vendor.charges == 1
    state = shop.root / ".rodin-watchd"

    def traces() -> set[str]:
        return {path.name for path in state.iterdir() if path.is_file() and key.encode() in path.read_bytes()}

    assert traces() <= {"journal.sqlite3", "journal.sqlite3-wal"}
    assert traces()
    shop.idle()
    assert traces() <= {"journal.sqlite3", "journal.sqlite3-wal"}
    shop.ticks(1, step_seconds=SWEEP_SECONDS)
    assert traces() == set()
    assert shop.states() == {"chair": State.ARCHIVED}


def test_a_thread_with_a_fault_of_ours_has_failed() -> None:
    """What it was to do does not count as done: the fault is its error, and the end is announced."""
    ended: list[str] = []

    def act() -> None:
        raise RecursionError

    thread = InThread("receipts", act, lambda: ended.append("ended"))
    thread.start()
    thread.join()
    assert isinstance(thread.error, InternalError)
    assert thread.error.message == "A fault in rodin_watchd: RecursionError in thread receipts."
    assert ended == ["ended"]
