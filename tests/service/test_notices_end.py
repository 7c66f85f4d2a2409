"""Notices end in the journal when their cause ends, also by a reload or a start."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from unittest import mock

from test_reload import Reloaded
from workshop import KEY, Hands, Vendor, emulated, working

from rodin_watchd.model import State

OTHER_KEY = "another-key-of-the-tests-456"
PLUGIN = """
from pathlib import Path
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    if Path(__file__).with_name("bad").exists():
        raise RuntimeError("no")
"""


@contextmanager
def service(
    root: Path, *faults: str, balance: Decimal = Decimal(100), **sections: Mapping[str, object]
) -> Iterator[tuple[Reloaded, Vendor]]:
    """Yield a service that can be reloaded, and its vendor, which knows two keys."""
    with emulated(*faults, api_keys=(KEY, OTHER_KEY), balance=balance) as vendor, ExitStack() as stack:
        shop = Reloaded(root, vendor.emulator.base_url, sections)
        shop.sections, shop.hands = sections, Hands()
        shop.begin(stack)
        yield shop, vendor
        shop.rest()


@contextmanager
def unreadable() -> Iterator[None]:
    """Let the disk report a fault when a folder is listed."""

    def broken(_folder: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with mock.patch("os.scandir", broken):
        yield


def test_an_inbox_that_can_be_read_after_a_reload(tmp_path: Path) -> None:
    """The daemon that could not read it is gone; the next one says that this is over, and a new fault is told anew."""
    with service(tmp_path) as (shop, _):
        shop.idle()
        with unreadable():
            shop.daemon.parts.reception.wake()
            shop.ticks(2, step_seconds=5)
            assert shop.event_kinds() == ["paused"]
            shop.reload_alike()
            shop.ticks(2)
            assert shop.event_kinds() == ["paused"]
            shop.reload_alike()
        shop.ticks(2)
        assert shop.event_kinds() == ["paused", "resumed"]
        assert {event.subject for event in shop.store.service_events()} == {"intake"}


def test_a_plugin_is_called_again_after_a_reload(tmp_path: Path) -> None:
    """It was set aside by the daemon before, so nobody else can say that it is tried again."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    (folder / "plug.py").write_text(PLUGIN)
    (folder / "bad").write_text("")
    settings = {"folders": [str(folder)], "tries": 1, "failures_before_rest": 1, "rest_seconds": 3600}
    with service(tmp_path, plugins=settings) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        assert shop.event_kinds() == ["plugin-aside"]
        (folder / "bad").unlink()
        shop.reload_alike()
        shop.drop_set("table")
        shop.idle()
        assert shop.event_kinds() == ["plugin-aside", "plugin-back"]


def test_a_proof_ends_with_another_key(tmp_path: Path) -> None:
    """A balance of perhaps another account says nothing about the lost answer."""
    budget = {"sole_spender": True, "settle_seconds": 60}
    with service(tmp_path, "lost-answer@2", budget=budget) as (shop, _):
        shop.has_seen_the_balance_fall()
        shop.drop_set("chair")
        shop.idle()
        shop.drop_set("table")
        shop.until(shop.is_in("table", State.HELD))
        shop.ticks(3, step_seconds=0.2)
        assert shop.event_kinds().count("inquiry") == 1
        shop.reload_alike(OTHER_KEY)
        shop.ticks(2)
        kinds = shop.event_kinds()
        assert (kinds.count("inquiry"), kinds.count("inquiry-ended")) == (1, 1)


def test_a_proof_that_goes_on_after_a_start_is_told_once(tmp_path: Path) -> None:
    """It was begun by the run before, and ends once."""
    budget = {"sole_spender": True, "settle_seconds": 20}
    with working(tmp_path, "lost-answer@2", budget=budget, balance=Decimal("100.5")) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        shop.drop_set("table")
        shop.until(shop.is_in("table", State.HELD))
        shop.ticks(3, step_seconds=0.2)
        shop.restart()
        shop.until(lambda: "inquiry-ended" in shop.event_kinds(), step_seconds=1)
        assert [kind for kind in shop.event_kinds() if kind.startswith("inquiry")] == ["inquiry", "inquiry-ended"]


def test_limits_that_are_taken_out_end_their_notices(tmp_path: Path) -> None:
    """A low balance, and sets that wait for approval; a limit that is put in again begins anew."""
    low = {"low_balance": 5}
    with service(tmp_path, balance=Decimal(4), budget={**low, "hold_above_sets": 1}) as (shop, _):
        shop.idle()
        shop.drop_set("chair")
        shop.idle()
        for number in range(3):
            shop.drop_set(f"table-{number}")
        shop.ticks(3, step_seconds=5)
        assert sorted(shop.event_kinds()) == ["crowd", "low-balance"]
        shop.reload()
        shop.idle()
        assert sorted(shop.event_kinds()) == ["balance-restored", "crowd", "crowd-ended", "low-balance"]
        shop.reload(budget=low)
        shop.drop_set("lamp")
        shop.idle()
        assert shop.event_kinds().count("low-balance") == 2


def test_sets_that_are_taken_out_wait_no_longer(tmp_path: Path) -> None:
    """The notice of a crowd ends when nobody has to approve anything, also over a start."""
    with working(tmp_path, budget={"hold_above_sets": 1}) as (shop, _):
        for number in range(3):
            shop.drop_set(f"many/table-{number}")
        shop.idle()
        shop.restart(lambda: shutil.rmtree(tmp_path / "inbox" / "many"))
        shop.idle()
        assert shop.event_kinds() == ["crowd", "crowd-ended"]
