"""Sets that wait for their turn are claimed by what the last look found, as long as nothing that belongs to them has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import Workshop, image, model, working

from rodin_watchd.core.claims import Turn
from rodin_watchd.core.sets import View
from rodin_watchd.model import State

RARELY = {"rescan_seconds": 3600}
"""A share without events, whose rescan never comes in time."""


def waits_for_room(shop: Workshop, count: int) -> None:
    """Drop sets and let the first be claimed; the others wait for their turn."""
    for number in range(count):
        shop.drop_set(f"set-{number:02}")
    shop.until(lambda: bool(shop.daemon.parts.reception.claims.begun))
    turns = [turn for _, turn in shop.daemon.parts.reception.claims.waiting]
    assert turns == [Turn.ROOM] * len(turns) != []


def test_the_inbox_is_looked_at_once_for_many_sets(tmp_path: Path) -> None:
    """However many rounds of claims there are: a look costs as much as there is in the inbox."""
    with working(tmp_path, intake=RARELY, api={"max_in_flight": 1}) as (shop, vendor):
        waits_for_room(shop, 12)
        views: list[View] = []

        def all_done() -> bool:
            if not any(view is shop.daemon.parts.reception.view for view in views):
                views.append(shop.daemon.parts.reception.view)
            return sum(job.state is State.ARCHIVED for job in shop.jobs()) == 12

        shop.until(all_done)
        assert len(views) <= 2
        assert vendor.charges == 12
        shop.assert_nothing_lost()


def _sidecar(shop: Workshop) -> None:
    shop.drop("set-11.toml", b"seed = 4711\n")


def _naming_sidecar(shop: Workshop) -> None:
    shop.drop("other.toml", b'model = "set-11.obj"\nimage = "set-11.png"\nseed = 4711\n')


def _preset(shop: Workshop) -> None:
    shop.drop("_folder.toml", b"seed = 4711\n")


@pytest.mark.parametrize("comes", [_sidecar, _naming_sidecar, _preset])
def test_what_comes_late_for_a_set_is_seen_before_it_is_claimed(
    tmp_path: Path, comes: Callable[[Workshop], None]
) -> None:
    """A sidecar or preset that comes while a set waits for its turn counts, also where no event tells of it."""
    with working(tmp_path, intake=RARELY, api={"max_in_flight": 1}) as (shop, vendor):
        waits_for_room(shop, 12)
        comes(shop)
        shop.until(lambda: sum(job.state is State.ARCHIVED for job in shop.jobs()) == 12)
        [last] = [job for job in shop.jobs() if any(file.name == "set-11.obj" for file in job.files)]
        assert last.options["seed"] == 4711
        assert vendor.charges == 12


def test_a_set_whose_file_is_written_anew_is_no_set_that_was_changed_while_it_was_taken(tmp_path: Path) -> None:
    """It is looked at again, and goes on as it is now."""
    with working(tmp_path, intake=RARELY, api={"max_in_flight": 1}) as (shop, vendor):
        waits_for_room(shop, 12)
        shop.drop("set-11.obj", model("another"))
        shop.until(lambda: sum(job.state is State.ARCHIVED for job in shop.jobs()) == 12)
        assert vendor.charges == 12
        assert shop.path("archive/set-11/set-11.obj").read_bytes() == model("another")


def test_a_second_image_that_comes_late_is_not_passed_over(tmp_path: Path) -> None:
    """Nobody can say which image is meant: the set is refused, as it is when both are there from the first."""
    with working(tmp_path, intake=RARELY, api={"max_in_flight": 1}) as (shop, vendor):
        waits_for_room(shop, 12)
        shop.drop("SET-11.png", image("another"))
        shop.drop("set-11.jpg", image("yet another"))
        shop.until(lambda: sum(job.state is State.ARCHIVED for job in shop.jobs()) == 11)
        assert vendor.charges == 11


def test_without_a_budget_nothing_is_summed(tmp_path: Path) -> None:
    """No count of what was spent in the day is begun, or kept, where nothing depends on it."""
    with working(tmp_path) as (shop, vendor):
        asked: list[str] = []
        shop.store._db.set_trace_callback(asked.append)
        shop.drop_set("a")
        shop.idle()
        assert vendor.charges == 1
        assert [query for query in asked if "temp.spent" in query] == []
