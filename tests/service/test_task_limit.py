"""The vendor's limit of tasks that run at once, and codes that nobody knows: no set's fault, and none is lost for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop, emulated, working, workshop

from rodin_watchd.core.pauses import FORGET_SECONDS, TASK_LIMIT
from rodin_watchd.errors import Lane
from rodin_watchd.model import State

MINUTE = 60.0


def drop_many(shop: Workshop, count: int) -> None:
    """Drop so many sets."""
    for number in range(count):
        shop.drop_set(f"set-{number:02}")


def are_delivered(shop: Workshop, count: int) -> bool:
    """Return whether so many sets are delivered, and none was failed or held on the way."""
    states = list(shop.states().values())
    assert not {State.FAILED, State.FAILING, State.HELD}.intersection(states), shop.status()
    return states.count(State.ARCHIVED) == count


class Shift:
    """An emulator whose tasks run by the workshop's clock."""

    def __init__(self) -> None:
        """Begin before there is a workshop."""
        self.shop: Workshop | None = None

    def __call__(self) -> float:
        """Return the workshop's time."""
        return 1_800_000_000.0 + (self.shop.hands.seconds if self.shop else 0.0)


def at_a_limit(limit: int) -> tuple[Shift, dict[str, Any]]:
    """Return the settings of an emulator that runs so many tasks at once."""
    shift = Shift()
    return shift, {
        "instant": False,
        "waiting_seconds": 2.0,
        "generating_seconds": 30.0,
        "task_limit": limit,
        "clock": shift,
    }


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("places", [4, 8])
def test_more_sets_than_the_vendor_runs_at_once_are_all_delivered(tmp_path: Path, places: int, fresh: bool) -> None:
    """Eight sets, three at once: each is delivered and paid once; the limit is learned, shown, and kept over a restart."""
    shift, settings = at_a_limit(3)
    with (
        emulated(**settings) as vendor,
        workshop(tmp_path, vendor.emulator.base_url, api={"max_in_flight": places}) as shop,
    ):
        shift.shop = shop
        if not fresh:
            shop.has_seen_the_balance_fall()
        drop_many(shop, 8)
        shop.until(lambda: "at most 3 tasks of this account at once (learned" in shop.status(), busy_seconds=0.05)
        refused = vendor.emulator.ledger()["uploads"]["refused"]
        shop.restart()
        shop.until(lambda: are_delivered(shop, 8), busy_seconds=0.05)
        assert vendor.charges == 8
        assert shop.store.meta(TASK_LIMIT)["most"] == 3
        assert vendor.emulator.ledger()["uploads"]["refused"] == refused <= places - 3
        assert {job.attempts for job in shop.jobs()} == {0}


def test_a_limit_is_forgotten_slowly(tmp_path: Path) -> None:
    """After an hour one task more is tried, and not before."""
    shift, settings = at_a_limit(1)
    with emulated(**settings) as vendor, workshop(tmp_path, vendor.emulator.base_url) as shop:
        shift.shop = shop
        shop.has_seen_the_balance_fall()
        drop_many(shop, 3)
        shop.until(lambda: are_delivered(shop, 3), busy_seconds=0.05)
        before = vendor.emulator.ledger()["uploads"]["refused"]
        shop.hands.seconds += FORGET_SECONDS
        for number in range(3):
            shop.drop_set(f"later-{number}")
        shop.until(lambda: are_delivered(shop, 6), busy_seconds=0.05)
        assert vendor.emulator.ledger()["uploads"]["refused"] == before + 1
        assert vendor.charges == 6


def test_a_limit_that_others_use_up_stops_all_submits_for_a_while(tmp_path: Path) -> None:
    """With no task of ours at the vendor only time helps: a pause, which ends by itself, and no set pays for it."""
    with working(tmp_path, "submit-error=API_PARALLELISM_LIMIT_REACHED@1") as (shop, vendor):
        drop_many(shop, 1)
        shop.until(lambda: Lane.SUBMIT in shop.daemon.parts.dispatcher.pauses)
        assert (
            "works on as many tasks of this account as it takes at once"
            in shop.daemon.parts.dispatcher.pauses[Lane.SUBMIT].problem.message
        )
        shop.until(lambda: are_delivered(shop, 1))
        assert vendor.charges == 1
        assert shop.store.meta(TASK_LIMIT) is None


# ---- codes that nobody knows ----------------------------------------------------------------------------------------


def test_a_code_that_nobody_knows_stops_one_set_then_all(tmp_path: Path) -> None:
    """The first set waits alone; once a second one meets the code nothing is sent for a while. None fails, none is lost."""
    faults = ("submit-error=API_MOON_IN_CANCER@1", "submit-error=API_MOON_IN_CANCER@3", "submit-error=MOON_IN_CANCER@4")
    with working(tmp_path, *faults, budget={"settle_seconds": 3}) as (shop, vendor):
        drop_many(shop, 1)
        shop.until(lambda: "MOON_IN_CANCER" in shop.status())
        assert Lane.SUBMIT not in shop.daemon.parts.dispatcher.pauses
        shop.until(lambda: are_delivered(shop, 1))
        for name in ("a", "b"):
            shop.drop_set(name)
        shop.until(lambda: Lane.SUBMIT in shop.daemon.parts.dispatcher.pauses)
        assert "MOON_IN_CANCER" in shop.daemon.parts.dispatcher.pauses[Lane.SUBMIT].problem.message
        shop.until(lambda: are_delivered(shop, 3))
        assert vendor.charges == 3
        assert "MOON" not in shop.status()


def test_a_set_that_alone_meets_it_ends_with_a_person_and_not_with_the_artist(tmp_path: Path) -> None:
    """Each try may cost: at its bound the set is held, as every refused set is; its files are safe, and it is not failed."""
    with working(tmp_path, "submit-error=MODEL_TOO_ODD") as (shop, _vendor):
        drop_many(shop, 1)
        shop.until(lambda: State.HELD in shop.states().values())
        assert "MODEL_TOO_ODD" in shop.status()
        assert shop.found("failed") == set()


@pytest.mark.parametrize(("count", "fresh"), [(50, False), (3, True), (1, True)])
def test_a_lapsed_subscription_fails_no_set(tmp_path: Path, count: int, fresh: bool) -> None:
    """All sets wait for an hour, also where no set was ever accepted from this account, and all go on when it is back."""
    fault = "submit-error=API_NO_ACTIVE_SUBSCRIPTION"
    with working(tmp_path, fault, fresh=fresh, api={"max_in_flight": 8}) as (shop, vendor):
        drop_many(shop, count)
        shop.until(lambda: shop.hands.seconds > 60 * MINUTE, step_seconds=5.0)
        assert shop.found("failed") == set()
        vendor.emulator.set_faults()
        shop.until(lambda: are_delivered(shop, count), step_seconds=5.0)
        assert vendor.charges == count


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("IMAGE_CONTENT_VIOLATION", "rules do not allow what the image shows"),
        ("API_OBJECT_NOT_FOUND_ON_IMAGE", "finds no object in the image"),
        ("IMAGE_LABEL_LENGTH_TOO_LONG", "Use a simpler image"),
    ],
)
def test_what_is_wrong_with_an_image_is_said_in_plain_words(tmp_path: Path, code: str, words: str) -> None:
    """The set fails, and its report says what to change in the image."""
    with working(tmp_path, f"submit-error={code}") as (shop, _vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))
        assert words in " ".join(shop.report("chair").split())
