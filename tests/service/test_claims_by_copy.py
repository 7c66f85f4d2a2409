"""Inbox and work folder on different filesystems: sets are claimed, copied, and end where they end elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import share
from workshop import Vendor, image, model, workshop

from rodin_watchd.adapters.spool.mounts import read_mark
from rodin_watchd.core.layout import CLAIM_PREFIX, OWN_PREFIX, Claim, owner_of
from rodin_watchd.model import State


def test_sets_from_another_filesystem_are_delivered(tmp_path: Path, vendor: Vendor) -> None:
    """The service works, says that sets are copied, and leaves nothing hidden behind."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "inbox") as inbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        shop.drop_set("chair", "seed = 5\n")
        shop.drop("lamp/body.obj", model("lamp"))
        shop.drop("lamp/reference.png", image("lamp"))
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "lamp": State.ARCHIVED}
        assert "Sets are copied" in shop.status()
        assert shop.found("inbox") == set()
        assert not (inbox.place / "lamp").exists()
        assert vendor.charges == 2
        shop.assert_nothing_lost()


def test_whether_sets_are_copied_follows_what_is_mounted(tmp_path: Path, vendor: Vendor) -> None:
    """A share that is given up for a folder of the root, and comes back: people read each time what holds now."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "inbox") as inbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        shop.ticks(2, step_seconds=1.0)
        assert "Sets are copied" in shop.status()
        inbox.go()
        shop.told("accept", "inbox", "--yes")
        shop.ticks(2, step_seconds=1.0)
        assert "Sets are copied" not in shop.status()
        inbox.come()
        shop.ticks(2, step_seconds=1.0)
        assert "Sets are copied" in shop.status()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_a_mount_that_changes_while_nothing_can_be_written_is_noticed_after(tmp_path: Path, vendor: Vendor) -> None:
    """The look that found it failed for another reason: the next one that succeeds asks whether sets are copied."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "inbox") as inbox,
        share(tmp_path / "other disk", tmp_path / "state") as state,
        workshop(
            tmp_path / "root", vendor.emulator.base_url, folders={"state": str(state.place), "reserve_megabytes": 0}
        ) as shop,
    ):
        shop.ticks(2, step_seconds=1.0)
        inbox.go()
        shop.told("accept", "inbox", "--yes")
        shop.ticks(2, step_seconds=1.0)
        assert "Sets are copied" not in shop.status()
        state.go()
        inbox.come()
        shop.ticks(2, step_seconds=1.0)
        state.come()
        shop.ticks(3, step_seconds=1.0)
        assert "Sets are copied" in shop.status()


def test_a_set_whose_first_file_is_gone_is_left_where_it_is(tmp_path: Path, vendor: Vendor) -> None:
    """Between claim and taking somebody took the model away: nothing is moved, nothing is paid, STATUS.txt says what happened."""
    with workshop(tmp_path / "root", vendor.emulator.base_url, folders={"reserve_megabytes": 10**7}) as shop:
        shop.drop_set("chair", "seed = 5\n")
        shop.until(shop.is_in("chair", State.CLAIMED))
        shop.ticks(3, step_seconds=1.0)
        shop.path("inbox/chair.obj").unlink()
        shop.dropped.remove(model("chair"))
        shop.crash()
        config = shop.config
        shop.config = config.model_copy(update={"folders": config.folders.model_copy(update={"reserve_megabytes": 0})})
        shop.start()
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        assert shop.found("inbox") == {"chair.png", "chair.toml"}
        assert shop.found("failed") == {"chair/REPORT.txt", "chair/report.toml"}
        assert "“chair.obj” disappeared before it could be taken" in shop.status()
        assert "“chair.png” stays where it is" in shop.report("chair")
        assert "chair: waits for" in shop.status()
        shop.drop("chair.obj", model("chair"))
        shop.idle()
        assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.FAILED]
        shop.assert_nothing_lost()


def test_what_a_job_of_another_journal_has_claimed_comes_to_light(tmp_path: Path, vendor: Vendor) -> None:
    """At the start it lies in `failed/`, with a report."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "inbox") as inbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        claim = inbox.place / "team" / f"{CLAIM_PREFIX}feedfacebeef"
        claim.mkdir(parents=True)
        (claim / "chair.obj").write_bytes(model("chair"))
        shop.dropped.append(model("chair"))
        shop.restart()
        assert {"set-aside-feedfacebeef/inputs/chair.obj", "set-aside-feedfacebeef/REPORT.txt"} <= shop.found("failed")
        assert not [path for path in inbox.place.rglob("*") if path.name.startswith(OWN_PREFIX) and path.is_dir()]
        shop.idle()
        shop.assert_nothing_lost()
        assert vendor.charges == 0


@pytest.mark.parametrize("job_id", ["feedfacebeef", "0123456789ab"])
def test_only_its_own_claims_come_to_light(tmp_path: Path, vendor: Vendor, job_id: str) -> None:
    """A claim of another service, which copies it at this moment, is left alone; one of this root is brought to light."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        mark = read_mark(shop.root)
        assert mark is not None
        theirs, ours = (Claim(job_id, owner_of(root_id)) for root_id in ("another", mark.root_id))
        for claim in (theirs, ours):
            place = shop.path("inbox/share") / claim.name
            place.mkdir(parents=True)
            (place / "chair.obj").write_bytes(claim.owner.encode())
        shop.restart()
        assert (shop.path("inbox/share") / theirs.name / "chair.obj").read_bytes() == theirs.owner.encode()
        assert shop.path(f"failed/set-aside-{job_id}/inputs/chair.obj").read_bytes() == ours.owner.encode()
        assert not (shop.path("inbox/share") / ours.name).exists()


@pytest.mark.parametrize(
    "word", ["", ".", "..", "..-..", "feedface", "FEEDFACEBEEF", "feedfacebeef-..", "feedfacebeef-1"]
)
def test_a_folder_that_only_looks_like_a_claim_is_left_alone(tmp_path: Path, vendor: Vendor, word: str) -> None:
    """Anybody may make one in the inbox: nothing is moved to a place that its name leads to."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        folder = shop.path("inbox") / f"{CLAIM_PREFIX}{word}"
        folder.mkdir()
        (folder / "chair.obj").write_bytes(model("chair"))
        shop.restart()
        shop.ticks(3, step_seconds=1.0)
        assert list(shop.root.rglob("chair.obj")) == [folder / "chair.obj"]
        assert shop.found("failed") == set()
