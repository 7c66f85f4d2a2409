"""How the service notices files where file events fail, or where another filesystem comes while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from forgetful_fuse import forgetful
from places import share
from strangers import bound
from workshop import Vendor, Workshop, glb, image, workshop

from rodin_watchd.model import State

NATIVE = "native (inotify), proven by a probe file in the inbox"


def drop(folder: Path, name: str) -> None:
    """Write a set whose files prove their own end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.glb").write_bytes(glb(name))
    (folder / f"{name}.png").write_bytes(image(name))


def delivered(shop: Workshop) -> list[str]:
    """Let the service work until nothing moves; return the names of the sets that are done."""
    shop.idle()
    assert {job.state for job in shop.jobs()} == {State.ARCHIVED}
    return sorted(job.name for job in shop.jobs())


@pytest.mark.parametrize("mode", ["auto", "native"])
def test_a_root_in_which_no_event_ever_comes(
    tmp_path: Path, vendor: Vendor, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """The probe at the start shows it. Log, `status`, STATUS.txt and `check` say it, and the rescan finds each file."""
    with (
        forgetful(tmp_path / "disk", tmp_path / "mount"),
        workshop(
            tmp_path / "mount/root",
            vendor.emulator.base_url,
            folders={"state": str(tmp_path / "state")},
            intake={"watcher": mode},
        ) as shop,
    ):
        inbox = shop.path("inbox")
        told = f"File events do not work in {str(inbox)!r}: the event of a probe file did not come. The rescan finds the changes there."
        shop.ticks(2, step_seconds=1.0)
        assert shop.daemon.watching.startswith("polling: " if mode == "auto" else "native (inotify)")
        assert [record.getMessage() for record in caplog.records if vars(record).get("action") == "watching"] == [
            f"watching: {told}"
        ]
        assert told in shop.notices()
        assert "notices some files in the inbox late" in shop.page()
        for number, folder in enumerate((inbox, inbox / "a", inbox / "a/b")):
            drop(folder, f"chair{number}")
        assert delivered(shop) == ["chair0", "chair1", "chair2"]
        drop(inbox / "a/b", "chair3")
        assert delivered(shop) == ["chair0", "chair1", "chair2", "chair3"]
        assert vendor.charges == 4
        if mode == "auto":
            assert f"warning watching: {told}" in shop.told("check", "--offline")


def test_an_inbox_that_is_away_at_the_start(tmp_path: Path, vendor: Vendor) -> None:
    """It is proven when it is back, and from then on events alone bring a set in."""
    intake = {"watcher": "auto", "rescan_seconds": 3600}
    with (
        share(tmp_path / "disk", tmp_path / "one/inbox") as disk,
        workshop(tmp_path / "one", vendor.emulator.base_url, intake=intake) as shop,
    ):
        shop.ticks(2, step_seconds=1.0)
        assert shop.daemon.watching == NATIVE
        shop.restart(disk.go)
        shop.ticks(2, step_seconds=1.0)
        assert "AWAY" in shop.status()
        assert shop.daemon.watching == "native (inotify)"
        bare = disk.place.stat().st_mtime_ns
        assert "AWAY" in shop.told("status")
        assert "an empty folder is there now" in shop.told("check", "--offline")
        assert (list(disk.place.iterdir()), disk.place.stat().st_mtime_ns) == ([], bare)
        disk.come()
        shop.ticks(3, step_seconds=1.0)
        assert shop.daemon.watching == NATIVE
        assert not any("ile events" in notice for notice in shop.notices())
        drop(shop.path("inbox"), "chair")
        shop.until(shop.is_in("chair", State.ARCHIVED), step_seconds=0.1)
        assert shop.hands.seconds < 3600


def test_a_disk_that_is_mounted_in_the_inbox_while_it_runs(tmp_path: Path, vendor: Vendor) -> None:
    """It is proven at the next look, and what is written there comes in by its events."""
    intake = {"watcher": "auto", "rescan_seconds": 60, "quiet_seconds": 3600}
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url, intake=intake) as shop,
        share(tmp_path / "disk", shop.path("inbox/team")) as team,
    ):
        shop.ticks(2, step_seconds=60.0)
        assert shop.daemon.watching == f"{NATIVE}, 'team'"
        drop(team.place, "chair")
        shop.until(shop.is_in("chair", State.ARCHIVED), step_seconds=0.1)
        assert shop.hands.seconds < 3600
        team.go()
        shop.ticks(2, step_seconds=60.0)
        assert shop.daemon.watching == NATIVE


def test_an_inbox_that_becomes_a_share_while_it_runs(tmp_path: Path, vendor: Vendor) -> None:
    """It is polled from then on, with the quiet time of a share; the log says so."""
    intake = {"watcher": "auto", "quiet_seconds": "auto"}
    with workshop(tmp_path / "one", vendor.emulator.base_url, intake=intake) as shop:
        shop.ticks(2, step_seconds=1.0)
        assert shop.daemon.watching == NATIVE
        inbox = shop.path("inbox")
        with bound(inbox, tmp_path / "elsewhere"), forgetful(tmp_path / "elsewhere", inbox, "fuse.sshfs"):
            shop.ticks(3, step_seconds=1.0)
            assert shop.daemon.watching == f"polling: {str(inbox)!r} is a network share (fuse.sshfs)"
            drop(inbox, "chair")
            shop.ticks(9, step_seconds=1.0)
            assert shop.jobs() == []
            assert delivered(shop) == ["chair"]
        shop.ticks(3, step_seconds=1.0)
        assert shop.daemon.watching == NATIVE


def test_check_names_each_filesystem_in_the_inbox(tmp_path: Path, vendor: Vendor) -> None:
    """Which one it is, how its changes are noticed, and what the kernel says of its files; what is like the inbox is not repeated."""
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url, intake={"watcher": "auto"}) as shop,
        forgetful(tmp_path / "remote", shop.path("inbox/nas"), "fuse.sshfs"),
        bound(tmp_path / "disk", shop.path("inbox/disk")),
    ):
        told = shop.told("check", "--offline")
        assert (
            "On fuse.sshfs, a network share (changes by other machines are found every 1 s at best): inbox/nas." in told
        )
        assert (
            "in 'nas', a network share (fuse.sshfs), changes by other machines are noticed only by the rescan" in told
        )
        through = f"In {shop.path('inbox/nas')} the kernel says which files a program of this machine has open through this mount"
        assert through in told
        assert f"In {shop.path('inbox/disk')} the kernel" not in told


def test_a_disk_that_reports_some_events_and_not_others(tmp_path: Path, vendor: Vendor) -> None:
    """A probe file in its top folder is seen, and nothing of its other folders: the rescan finds what comes there."""
    intake = {"watcher": "auto", "rescan_seconds": 60}
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url, intake=intake) as shop,
        forgetful(tmp_path / "disk", shop.path("inbox/team")) as team,
    ):
        (team / "a/b").mkdir(parents=True)
        shop.ticks(2, step_seconds=60.0)
        assert shop.daemon.watching == f"{NATIVE}, 'team'"
        for number, folder in enumerate((team / "a", team / "a/b")):
            drop(folder, f"chair{number}")
        shop.ticks(3, step_seconds=60.0)
        assert delivered(shop) == ["chair0", "chair1"]
        assert vendor.charges == 2
