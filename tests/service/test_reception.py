"""When the inbox is looked at, and what is said when that does not work."""

from __future__ import annotations

import shutil
from pathlib import Path

from workshop import TIMEOUT_SECONDS, Vendor, Workshop, model, workshop

from rodin_watchd.model import State


def test_it_looks_at_the_start_and_then_every_rescan_seconds(tmp_path: Path, vendor: Vendor) -> None:
    """Without events and without anything that waits, looks are `rescan_seconds` apart."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"rescan_seconds": 30}) as shop:
        looks = set()
        for _ in range(100):
            shop.ticks(1, step_seconds=1)
            looks.add(shop.daemon.parts.reception.looks)
        assert len(looks) == 4
        assert 0 < min(shop.daemon.parts.reception.next_due_seconds()) <= 30


def test_a_settling_file_brings_the_next_look_forward(tmp_path: Path, vendor: Vendor) -> None:
    """A set is taken when its quiet time is over, not at the next rescan."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"rescan_seconds": 3600}) as shop:
        shop.drop_set("chair")
        shop.ticks(1)
        assert shop.daemon.parts.reception.next_due_seconds()[0] == 2.0
        shop.ticks(1, step_seconds=2)
        assert shop.states() == {"chair": State.CLAIMED}


def test_a_set_that_waits_for_a_copy_goes_on_when_it_is_made(tmp_path: Path, vendor: Vendor) -> None:
    """The last of several sets that share an image does not wait for the next rescan."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"rescan_seconds": 3600}) as shop:
        shop.drop("oak.png", b"")
        shop.dropped.clear()
        for name in ("one", "two"):
            shop.drop_set(name)
            shop.path(f"inbox/{name}.png").rename(shop.path("inbox/oak.png"))
            shop.drop(f"{name}.toml", b'image = "oak.png"\n')
        shop.ticks(1)
        shop.ticks(1, step_seconds=2.5)
        shop.until(lambda: set(shop.states().values()) == {State.ARCHIVED} and len(shop.jobs()) == 2)
        assert shop.hands.seconds < 60


def test_trouble_with_the_watching_is_told_and_passes(tmp_path: Path, vendor: Vendor) -> None:
    """A watched inbox that is moved away and comes back is named in STATUS.txt for so long, and watched again."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"watcher": "native"}) as shop:
        shop.ticks(1)
        shop.path("inbox").rename(tmp_path / "away")
        shop.ticks(2, step_seconds=2)
        assert "it is missing." in shop.status()
        assert "Not watched for changes" in shop.daemon.parts.reception.trouble  # which needs no words of its own then
        (tmp_path / "away").rename(shop.path("inbox"))
        shop.ticks(3, step_seconds=2)
        assert "ATTENTION" not in shop.status()
        shop.daemon.parts.wake.take()
        shop.drop("lonely.obj", model("lonely"))
        assert shop.daemon.parts.wake.wait(TIMEOUT_SECONDS)


def test_a_file_where_a_folder_was_stops_nobody(shop: Workshop) -> None:
    """An inbox that is a file for a while is told, not fatal."""
    shop.ticks(1)
    shutil.rmtree(shop.path("inbox"))
    shop.path("inbox").write_text("not a folder")
    shop.ticks(3, step_seconds=2)
    assert "ATTENTION" in shop.status()
    shop.path("inbox").unlink()
    shop.path("inbox").mkdir()
    shop.drop_set("chair")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
