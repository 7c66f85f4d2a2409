"""Shares that are mounted in the inboxes of several services: one of them takes the sets there, the others say why not."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import share
from strangers import bound, mounted
from workshop import Vendor, Workshop, image, lockstep, model, workshop

from rodin_watchd.adapters.spool import statx
from rodin_watchd.adapters.spool.mounts import read_mark
from rodin_watchd.core.layout import MARK
from rodin_watchd.model import State

TEAM = "inbox/team"


def drop(folder: Path, *names: str) -> None:
    """Lay a set of each name into a folder."""
    for name in names:
        (folder / f"{name}.obj").write_bytes(model(name))
        (folder / f"{name}.png").write_bytes(image(name))


def left(folder: Path) -> set[str]:
    """Return the files of sets in a folder."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


@contextlib.contextmanager
def two_with_one_share(tmp_path: Path, vendor: Vendor, place: str = TEAM) -> Iterator[tuple[Workshop, Workshop]]:
    """Give two services in whose inboxes one folder of this very filesystem is mounted; both run."""
    (tmp_path / "share").mkdir()
    with (
        bound(tmp_path / "share", tmp_path / "one" / place),
        bound(tmp_path / "share", tmp_path / "two" / place),
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        workshop(tmp_path / "two", vendor.emulator.base_url) as two,
    ):
        yield one, two


@pytest.mark.parametrize("place", [TEAM, "inbox/deep/er/team"])
def test_a_share_in_two_inboxes_is_served_by_one(tmp_path: Path, vendor: Vendor, place: str) -> None:
    """Whoever saw it first, whoever looks first when a set comes; the other one says so in STATUS.txt, log and `check`."""
    with two_with_one_share(tmp_path, vendor, place) as (one, two):
        drop(tmp_path / "share", "sofa")
        lockstep(one, two, 4)
        for number, order in enumerate(((one, two), (two, one), (two, one))):
            drop(tmp_path / "share", f"chair{number}")
            lockstep(*order, 12)
        one.idle()
        assert set(one.states().values()) == {State.ARCHIVED}
        assert (len(one.jobs()), two.jobs(), vendor.charges) == (4, [], 4)
        assert "NOT TAKEN" in two.status()
        assert f"rodin-watchd accept {place}" in two.status()
        assert "has the mark of another service" in two.told("check", "--offline")
        assert "NOT TAKEN" not in one.status()
        assert "has the mark of another service" not in one.told("check", "--offline")
        assert "folder of a service" in two.told("explain", str(two.root / place / "any.obj"))


def test_its_owner_does_not_change_when_the_mark_is_removed(tmp_path: Path, vendor: Vendor) -> None:
    """By a program that mirrors a folder; also over a restart, and where the other one looks first."""
    with two_with_one_share(tmp_path, vendor) as (one, two):
        lockstep(one, two, 4)
        for turn, order in enumerate(((one, two), (two, one), (two, one))):
            (tmp_path / "share" / MARK).unlink(missing_ok=True)
            drop(tmp_path / "share", f"chair{turn}")
            if turn == 2:
                two.restart()
                one.restart()
            lockstep(*order, 12)
        one.idle()
        assert (len(one.jobs()), two.jobs(), vendor.charges) == (3, [], 3)
        mark, root = read_mark(tmp_path / "share"), read_mark(one.root)
        assert mark is not None
        assert root is not None
        assert (mark.root_id, mark.mount, mark.journal) == (root.root_id, TEAM, root.journal)


def test_a_share_is_accepted_for_the_other_service(tmp_path: Path, vendor: Vendor) -> None:
    """While both run; from then on the first one leaves it alone."""
    with two_with_one_share(tmp_path, vendor) as (one, two):
        lockstep(one, two, 4)
        assert "Accepted" in two.told("accept", TEAM, "--yes")
        drop(tmp_path / "share", "chair")
        lockstep(one, two, 12)
        two.idle()
        assert (one.jobs(), two.states()) == ([], {"chair": State.ARCHIVED})
        assert "NOT TAKEN" in one.status()
        assert "NOT TAKEN" not in two.status()


@pytest.mark.parametrize("folder", ["inbox/../outbox/team", "elsewhere", "inbox/", "outbox/team"])
def test_only_folders_of_the_inbox_are_accepted_by_path(shop: Workshop, folder: str) -> None:
    """Any other word is refused with those that are possible."""
    assert "is not one of root, inbox" in shop.told("accept", folder, "--yes")


def test_a_share_is_mounted_goes_and_comes_while_the_service_runs(tmp_path: Path, vendor: Vendor) -> None:
    """Under another device number, too: the mark tells; nothing is marked in the bare mount point."""
    with workshop(tmp_path / "one", vendor.emulator.base_url) as one, share(tmp_path / "disk", one.path(TEAM)) as team:
        drop(team.place, "first")
        one.idle()
        assert read_mark(team.disk) is not None
        team.go()
        one.ticks(5, step_seconds=1.0)
        assert list(team.place.iterdir()) == []
        team.come()
        drop(team.place, "second")
        one.idle()
        assert set(one.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 2


def test_a_read_only_share_is_left_alone(tmp_path: Path, vendor: Vendor) -> None:
    """Nothing could be claimed there; people read why, until it can be written."""
    with workshop(tmp_path / "one", vendor.emulator.base_url) as one, share(tmp_path / "disk", one.path(TEAM)) as team:
        drop(team.disk, "chair")
        team.freeze()
        one.ticks(8, step_seconds=1.0)
        assert one.jobs() == []
        assert "Read-only file system" in one.status()
        assert "cannot write" in one.told("check", "--offline")
        team.thaw()
        one.ticks(1, step_seconds=61.0)
        one.idle()
        assert one.states() == {"chair": State.ARCHIVED}
        assert "NOT TAKEN" not in one.status()


def test_a_folder_that_shows_twice_in_one_inbox_is_looked_into_once(tmp_path: Path, vendor: Vendor) -> None:
    """Each set is one set; nothing fails because a second job found its files gone."""
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        bound(tmp_path / "share", one.path("inbox/a")),
        bound(tmp_path / "share", one.path("inbox/b")),
    ):
        drop(tmp_path / "share", "chair")
        one.idle()
        assert [job.state for job in one.jobs()] == [State.ARCHIVED]
        assert "the same folder as another one" in one.status()


def test_a_link_in_the_inbox_is_not_followed(tmp_path: Path, vendor: Vendor) -> None:
    """Not into a folder elsewhere, and not into another service's inbox."""
    (tmp_path / "elsewhere").mkdir()
    drop(tmp_path / "elsewhere", "chair")
    with workshop(tmp_path / "one", vendor.emulator.base_url) as one:
        one.path("inbox/team").symlink_to(tmp_path / "elsewhere")
        one.ticks(8, step_seconds=1.0)
        assert one.jobs() == []
        assert left(tmp_path / "elsewhere") == {"chair.obj", "chair.png"}


def test_a_plain_folder_of_one_inbox_is_mounted_in_the_other(tmp_path: Path, vendor: Vendor) -> None:
    """The mount is marked, so exactly one of the two takes what is dropped there; the other one says whose it is."""
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        workshop(tmp_path / "two", vendor.emulator.base_url) as two,
        bound(one.path("inbox/a/team"), two.path(TEAM)),
    ):
        lockstep(one, two, 3)
        drop(one.path("inbox/a/team"), "chair")
        lockstep(one, two, 12)
        two.idle()
        assert (one.jobs(), two.states()) == ([], {"chair": State.ARCHIVED})
        assert "NOT TAKEN" in one.status()


def test_shares_of_a_copied_root(tmp_path: Path, vendor: Vendor) -> None:
    """They are the original's, until the copy is accepted: then they are the copy's, all of them."""
    (tmp_path / "share").mkdir()
    with (
        bound(tmp_path / "share", tmp_path / "one" / TEAM),
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
    ):
        one.ticks(3)
        one.crash()
        subprocess.run(["cp", "-ax", str(one.root), str(tmp_path / "two")], check=True)
        with bound(tmp_path / "share", tmp_path / "two" / TEAM):
            two = Workshop(tmp_path / "two", vendor.emulator.base_url, {})
            one.start()
            two.start()
            drop(tmp_path / "share", "chair")
            lockstep(two, one, 12)
            one.idle()
            assert (one.states(), two.states()) == ({"chair": State.ARCHIVED}, {})
            two.told("accept", "root", "--yes")
            drop(tmp_path / "share", "sofa")
            lockstep(one, two, 12)
            two.idle()
            assert two.states() == {"sofa": State.ARCHIVED}
            assert "sofa" not in one.states()
            two.crash()
        assert vendor.charges == 2


@pytest.mark.parametrize("without", ["attributes", "statx", "proc"])
def test_a_mount_is_known_without_statx_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    """By the mount's number in /proc, or by the device where that is not there either."""
    if without == "attributes":
        monkeypatch.setattr(statx, "_STATX_ATTR_MOUNT_ROOT", 0)
    else:
        monkeypatch.setattr(statx, "_statx", None)
    if without == "proc":
        monkeypatch.setattr(statx, "_mount_of", lambda _descriptor: b"")
    (tmp_path / "plain").mkdir()
    with mounted(tmp_path / "disk"), bound(tmp_path / "plain", tmp_path / "again"):
        expected = {"disk": True, "plain": False, "again": without != "proc"}
        for name, wanted in expected.items():
            descriptor = os.open(tmp_path / name, os.O_RDONLY)
            try:
                assert statx.is_mount_point(descriptor) is wanted
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def damaged(folder: Path, place: Path, name: str) -> Iterator[None]:
    """Mount a disk whose files are those of a folder, and on which the file of one name is lost: reading it is an error."""
    disk = folder.with_suffix(".disk")
    with disk.open("wb") as file:
        file.truncate(16_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-d", folder, disk], check=True, capture_output=True)
    subprocess.run(["debugfs", "-w", "-R", f"clri {name}", disk], check=True, capture_output=True)
    with mounted(place, disk=disk):
        yield


@pytest.mark.skipif(not shutil.which("debugfs"), reason="there is no debugfs to damage a disk with")
@pytest.mark.parametrize("name", ["chair.toml", "_folder.toml", "chair.png"])
def test_a_file_that_the_disk_has_lost_stays_a_part_of_its_set(tmp_path: Path, vendor: Vendor, name: str) -> None:
    """Its set waits, and is not paid for without it; another set of the same folder goes on."""
    (tmp_path / "share").mkdir()
    drop(tmp_path / "share", "chair")
    (tmp_path / "share/chair.toml").write_text("seed = 7\n")
    (tmp_path / "share/_folder.toml").write_text("seed = 8\n")
    with workshop(tmp_path / "one", vendor.emulator.base_url) as shop:
        (shop.root / TEAM).mkdir()
        with damaged(tmp_path / "share", shop.root / TEAM, name):
            shop.drop_set("stool")
            shop.idle()
            shop.ticks(3, step_seconds=60.0)
            assert shop.states() == {"stool": State.ARCHIVED}
            assert vendor.charges == 1
            assert "chair" in shop.status()
