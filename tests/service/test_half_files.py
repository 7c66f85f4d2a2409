"""Files that somebody still writes: whatever the program, the pause and the format, no half of one is taken."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, glb, image, model, workshop

from rodin_watchd.model import State

INTAKE = {"quiet_seconds": 2, "unproven_quiet_seconds": 30}


@pytest.fixture(params=["native", "polling"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, vendor: Vendor) -> Iterator[Workshop]:
    """Serve a folder with and without file events."""
    intake = {**INTAKE, "watcher": request.param}
    with workshop(tmp_path, vendor.emulator.base_url, intake=intake) as serving:
        serving.ticks(1)
        yield serving


def test_what_a_program_has_open_is_not_taken(shop: Workshop, vendor: Vendor) -> None:
    """However long it pauses, and though what is there so far is a whole model: the kernel knows who has it open."""
    shop.drop("chair.png", image("chair"))
    with shop.drop("chair.obj", model("chair")).open("ab") as writer:
        shop.ticks(60, step_seconds=10)
        assert shop.jobs() == []
        assert "“chair.obj” is still open in the program that writes it" in shop.status()
        writer.write(b"# and more\n")
        shop.dropped[-1] += b"# and more\n"
    shop.idle()
    assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
    shop.assert_nothing_lost()


def test_a_whole_model_and_image_wait_for_the_program_that_has_them_open(shop: Workshop, vendor: Vendor) -> None:
    """Content that proves its end may still be changed by whoever has it open."""
    shop.drop("chair.png", image("chair"))
    with shop.drop("chair.glb", glb("chair")).open("r+b"):
        shop.ticks(60, step_seconds=10)
        assert shop.jobs() == []
    shop.idle()
    assert vendor.charges == 1


@pytest.mark.parametrize("pause_seconds", [7, 9, 29])
def test_a_text_that_is_written_in_two_goes(shop: Workshop, vendor: Vendor, pause_seconds: float) -> None:
    """A sidecar that gets its second line later is bought with both of them."""
    shop.drop("chair.glb", glb("chair"))
    shop.drop("chair.png", image("chair"))
    toml = shop.drop("chair.toml", b'prompt = "oak"\n')
    shop.ticks(10, step_seconds=pause_seconds / 10)
    assert shop.jobs() == []
    with toml.open("ab") as file:
        file.write(b"seed = 7\n")
    shop.dropped[-1] += b"seed = 7\n"
    shop.idle()
    assert vendor.charges == 1
    assert [job.options.get("seed") for job in shop.jobs()] == [7]
    shop.assert_nothing_lost()


@pytest.mark.parametrize("name", ["chair", "model"])
def test_a_folder_set_waits_for_what_comes_late(shop: Workshop, vendor: Vendor, name: str) -> None:
    """A second image makes the set ambiguous, a sidecar changes it: nothing is bought before the folder is quiet."""
    shop.drop("chair/chair.glb", glb("chair"))
    shop.drop(f"chair/{name}.png", image("chair"))
    shop.ticks(7, step_seconds=1)
    assert shop.jobs() == []
    assert "until nothing in its folder has changed for 30 seconds" in shop.status()
    shop.drop("chair/chair.toml", b"seed = 7\n")
    shop.idle()
    assert vendor.charges == 1
    assert [job.options.get("seed") for job in shop.jobs()] == [7]


def test_a_second_image_that_comes_late_makes_a_folder_set_ambiguous(shop: Workshop, vendor: Vendor) -> None:
    """It is refused free of charge instead of being bought with the first image."""
    shop.drop("chair/model.glb", glb("chair"))
    shop.drop("chair/front.png", image("front"))
    shop.ticks(7, step_seconds=1)
    shop.drop("chair/back.png", image("back"))
    shop.idle()
    assert (vendor.charges, shop.jobs()) == (0, [])


@pytest.mark.parametrize(
    "companion",
    [
        *("chair.glb.aria2", "chair.glb.part", "chair.glb.crdownload", "chair.glb.!qB", "chair.glb.filepart"),
        *(".chair.glb.Ab3xYz", ".syncthing.chair.glb.tmp", "chair.glb.1a2b3c4d.partial", ".chair.glb.swp"),
        *("chair.glb.lftp-pget-status", "~chair.glb.tmp", "chair.glb_.gstmp", "chair.glb.xltd.cfg"),
    ],
)
def test_a_temporary_file_beside_it_says_that_a_file_is_unfinished(
    shop: Workshop, vendor: Vendor, companion: str
) -> None:
    """As long as it lies there; its program removes it when the file is whole."""
    beside = shop.drop(companion, b"x")
    shop.dropped.remove(b"x")
    shop.drop("chair.png", image("chair"))
    shop.drop("chair.glb", glb("chair"))
    shop.ticks(20, step_seconds=60)
    assert shop.jobs() == []
    assert f"“{companion}”" in shop.status()
    beside.unlink()
    shop.idle()
    assert vendor.charges == 1


def test_a_copy_that_rsync_broke_off(shop: Workshop, vendor: Vendor) -> None:
    """Its date is 1970; when the copy is finished it has its own."""
    shop.drop("chair.png", image("chair"))
    half = shop.drop("chair.obj", model("chair"))
    os.utime(half, (0, 0))
    shop.ticks(20, step_seconds=20)
    assert shop.jobs() == []
    assert "1970" in shop.status()
    os.utime(half)
    shop.idle()
    assert vendor.charges == 1


def test_a_file_with_a_hole(shop: Workshop, vendor: Vendor) -> None:
    """A part that was never written is still to come, though beginning and end are right."""
    shop.drop("chair.png", image("chair"))
    data = model("chair") + b"#" * 4096
    path = shop.drop("chair.obj", data)
    with path.open("wb") as file:
        file.write(data[:64])
        file.truncate(len(data))
    shop.ticks(20, step_seconds=20)
    assert shop.jobs() == []
    path.write_bytes(data)
    shop.idle()
    assert vendor.charges == 1


def test_a_program_that_opens_a_file_after_it_was_taken(tmp_path: Path, vendor: Vendor) -> None:
    """Before anything is sent the set goes back into the inbox, with all of its files, and waits there until the program is done."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair", sidecar="seed = 7")
        with shop.without_workers():
            shop.until(lambda: bool(shop.jobs()))
        with (shop.root / "inbox/chair.obj").open("ab") as writer:
            shop.ticks(60, step_seconds=1)
            assert shop.found("inbox") == {"chair.obj", "chair.png", "chair.toml"}
            assert set(shop.states().values()) == {State.RETURNED}
            assert "still open in the program that writes it" in shop.status()
            assert "FAILED" not in shop.status()
            writer.write(b"# and more\n")
        shop.dropped[0] += b"# and more\n"
        shop.idle()
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.RETURNED]
        assert shop.work_folders() == set()
        assert vendor.charges == 1
        shop.assert_nothing_lost()


def test_a_file_that_changes_between_the_look_and_the_taking(tmp_path: Path, vendor: Vendor) -> None:
    """It was dropped anew meanwhile: the set is judged anew, and bought as it is now."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair", sidecar="seed = 7")
        with shop.without_workers():
            shop.until(lambda: bool(shop.jobs()))
        (shop.root / "inbox/chair.toml").write_bytes(b"seed = 77")
        shop.dropped[-1] = b"seed = 77"
        shop.idle()
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.RETURNED]
        assert shop.work_folders() == set()
        assert [job.options["seed"] for job in shop.jobs() if job.state is State.ARCHIVED] == [77]
        assert vendor.charges == 1
        shop.assert_nothing_lost()


def test_a_file_that_is_changed_after_it_was_sent(tmp_path: Path, vendor: Vendor) -> None:
    """A program goes on with a file wherever it was moved: everybody is told, the changed file is kept and can be dropped again."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        before = model("chair")
        shop.until(lambda: State.SUBMITTED in shop.states().values())
        [taken] = (shop.root / ".rodin-watchd/work").glob("*/inputs/chair.obj")
        with taken.open("ab") as writer:
            writer.write(b"# and more\n")
        shop.dropped[0] = before + b"# and more\n"
        shop.idle()
        assert (shop.root / "archive/chair/chair.obj").read_bytes() == before + b"# and more\n"
        [job] = shop.jobs()
        sent = hashlib.sha256(before).hexdigest()
        for folder in ("outbox", "archive"):
            receipt = tomllib.loads((shop.root / folder / "chair/job.toml").read_text())
            [changed] = [file for file in receipt["inputs"] if file["name"] == "chair.obj"]
            assert (changed["sha256"], len(changed["changed_to_sha256"])) == (sent, 64)
            assert "was changed after it was taken" in " ".join(receipt["job"]["notes"])
        for told in (shop.status(), shop.told("show", job.id)):
            assert "changed after it was taken" in told
        for path in (shop.root / "archive/chair").iterdir():
            if path.name != "job.toml":
                path.rename(shop.root / "inbox" / path.name)
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED, State.ARCHIVED]
        assert vendor.charges == 2
