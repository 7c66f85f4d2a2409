"""Shares that go away under the daemon: nothing is believed, nothing is written into what they leave, all goes on after."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
from places import Share, share
from strangers import mounted
from workshop import KEY, Vendor, Workshop, image, model, workshop

from rodin_watchd.adapters.lease import HEARTBEAT_SECONDS, holder_of, read_lease
from rodin_watchd.adapters.lock import Lock
from rodin_watchd.adapters.spool.grounds import read_mark
from rodin_watchd.config import journal_path, lease_path
from rodin_watchd.core.grounds import Ground
from rodin_watchd.core.layout import MARK
from rodin_watchd.errors import AlreadyRunningError, FolderGoneError, JournalError, OwnerError, RootAwayError
from rodin_watchd.model import State
from rodin_watchd.service.assembly import assembled


def bare(place: Path) -> list[str]:
    """Return what lies in a folder and below it."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def kinds(shop: Workshop) -> list[str]:
    """Return the service events, oldest first, without what pauses say."""
    told = reversed(shop.daemon._book.journal.service_events())
    return [event.kind for event in told if event.kind in ("offline", "online")]


def settings(tmp_path: Path) -> dict[str, dict[str, object]]:
    """Keep the journal off the root."""
    return {"folders": {"state": str(tmp_path / "state"), "reserve_megabytes": 0}}


def test_the_whole_root_goes_and_comes_back(tmp_path: Path, vendor: Vendor) -> None:
    """While it is gone nothing appears in the mount point and no set changes; after, nothing is new or paid twice."""
    with share(tmp_path / "disk", tmp_path / "root") as root:
        with workshop(root.place, vendor.emulator.base_url, **settings(tmp_path)) as shop:
            shop.drop_set("early")
            shop.idle()
            shop.drop_set("late")
            shop.until(shop.is_in("late", State.CLAIMED))
            root.go()
            shop.ticks(200, step_seconds=1.0)
            assert bare(root.place) == []
            assert shop.states()["late"] in (State.CLAIMED, State.STAGED)  # the step was under way
            assert any("AWAY: root" in notice for notice in shop.daemon._notices())
            root.come()
            shop.idle()
            assert shop.states() == {"early": State.ARCHIVED, "late": State.ARCHIVED}
            shop.assert_nothing_lost()
            assert kinds(shop) == ["offline", "online"]
        assert vendor.charges == 2


@pytest.mark.parametrize("state", [State.UPLOADING, State.SUBMITTED, State.GENERATED, State.PROCESSED, State.DELIVERED])
def test_it_goes_in_any_state(tmp_path: Path, vendor: Vendor, state: State) -> None:
    """Whatever was the next step: it waits, and no try is used up."""
    with share(tmp_path / "disk", tmp_path / "root") as root:
        with workshop(root.place, vendor.emulator.base_url, **settings(tmp_path)) as shop:
            shop.drop_set("chair")
            shop.until(shop.is_in("chair", state))
            root.go()
            shop.ticks(100, step_seconds=1.0)
            assert bare(root.place) == []
            root.come()
            shop.idle()
            assert shop.states() == {"chair": State.ARCHIVED}
            assert shop.job("chair").attempts == 0
        assert vendor.charges == 1


def test_only_the_outbox_goes(tmp_path: Path, vendor: Vendor) -> None:
    """What is bought goes on up to its delivery, nothing new is bought, and STATUS.txt says so."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "outbox") as outbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTED))
        outbox.go()
        shop.drop_set("sofa")
        shop.until(shop.is_in("chair", State.PROCESSED))
        shop.ticks(100, step_seconds=1.0)
        assert bare(outbox.place) == []
        assert shop.states() == {"chair": State.PROCESSED, "sofa": State.CLAIMED}
        assert "AWAY: outbox" in shop.status()
        outbox.come()
        shop.idle()
        assert "AWAY" not in shop.status()
        assert (outbox.place / "chair" / "job.toml").is_file()
        assert shop.states() == {"chair": State.ARCHIVED, "sofa": State.ARCHIVED}
        assert kinds(shop) == ["offline", "online"]
        assert vendor.charges == 2


def test_something_else_is_mounted_on_the_inbox(tmp_path: Path, shop: Workshop, vendor: Vendor) -> None:
    """Its emptiness is not believed: what was taken goes on to its end; what lay there is no news, and settles anew."""
    shop.drop_set("taken")
    shop.until(shop.is_in("taken", State.UPLOADING))
    shop.drop("half.obj", model("half"))
    with share(tmp_path / "disk", shop.path("inbox")) as strange:
        shop.until(shop.is_in("taken", State.ARCHIVED))
        assert "AWAY: inbox" in shop.status()
        assert bare(strange.place) == []
    shop.drop("half.png", image("half"))
    shop.idle()
    assert shop.states() == {"taken": State.ARCHIVED, "half": State.ARCHIVED}
    assert kinds(shop) == ["offline", "online"]
    assert vendor.charges == 2


def test_it_is_gone_at_the_start(tmp_path: Path, vendor: Vendor) -> None:
    """A known root that is away is not taken for a new one, whatever lies in its place; that is told once each way."""
    with share(tmp_path / "disk", tmp_path / "root") as root:
        with workshop(root.place, vendor.emulator.base_url, **settings(tmp_path)) as shop:
            config = shop.config
        root.go()
        with pytest.raises(RootAwayError, match="an empty folder is there now"), assembled(config, KEY):
            pass
        (root.place / "notes.txt").write_text("somebody wrote into the mount point")
        with pytest.raises(RootAwayError, match="without the service's mark"), assembled(config, KEY):
            pass
        assert bare(root.place) == ["notes.txt"]
        (root.place / "notes.txt").unlink()
        root.place.rmdir()
        with pytest.raises(RootAwayError, match="it is missing"), assembled(config, KEY):
            pass
        assert not root.place.exists()
        root.place.mkdir()
        root.come()
        shop.start()
        assert kinds(shop) == ["offline", "online"]
        shop.crash()


def test_what_was_never_set_up_is_not_served(tmp_path: Path, vendor: Vendor) -> None:
    """A mount point with a note in it is left as it is, though no journal can say that a share belongs there."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "NOT MOUNTED.txt").touch()
    for sections in ({}, settings(tmp_path)):
        told = {**sections, "folders": {**sections.get("folders", {}), "root": str(root)}}
        config = Workshop(tmp_path, vendor.emulator.base_url, told).config
        with pytest.raises(FolderGoneError, match="is not set up"), assembled(config, KEY):
            pass
    assert bare(root) == ["NOT MOUNTED.txt"]


def test_an_empty_disk_of_the_same_number(tmp_path: Path, vendor: Vendor) -> None:
    """The kernel gives numbers again: another filesystem with the device and inode of the one before is not taken for it."""
    outbox = tmp_path / "root" / "outbox"
    outbox.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        with mounted(outbox):
            shop = stack.enter_context(workshop(tmp_path / "root", vendor.emulator.base_url))
            assert read_mark(outbox) is not None
        with mounted(outbox):
            shop.ticks(3, step_seconds=1.0)
            assert Ground.OUTBOX in shop.daemon._standing.keeper.away
            shop.restart()
            assert Ground.OUTBOX in shop.daemon._standing.keeper.away
            assert bare(outbox) == []
            assert kinds(shop) == ["offline"]


def test_a_full_folder_that_cannot_be_marked_is_told_once(
    tmp_path: Path, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in words; and one when there is room again, and it could be marked."""
    with share(tmp_path / "disk", tmp_path / "root" / "outbox", size="64k") as outbox:
        (outbox.place / "full").write_bytes(bytes(os.statvfs(outbox.place).f_bavail * 4096))
        with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
            marks = [record.getMessage() for record in caplog.records if vars(record)["action"] == "mark"]
            assert marks == [f"mark: {outbox.place} cannot be marked: No space left on device"]
            (outbox.place / "full").unlink()
            caplog.set_level("INFO")
            shop.daemon._standing.keeper.settle()
            marks = [record.getMessage() for record in caplog.records if vars(record)["action"] == "mark"]
            assert marks[1:] == [f"mark: {outbox.place} is marked now."]


def test_a_mount_of_its_own_is_not_made_at_the_start(tmp_path: Path, vendor: Vendor) -> None:
    """The daemon starts without its outbox, and delivers when it comes."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "outbox") as outbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        outbox.go()
        outbox.place.rmdir()
        shop.restart()
        assert not outbox.place.exists()
        assert shop.daemon._standing.keeper.away == {Ground.OUTBOX: "it is missing."}
        outbox.place.mkdir()
        outbox.come()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_another_disk_is_accepted_by_its_mark(tmp_path: Path, vendor: Vendor) -> None:
    """A copy of the folder on another device is known by its mark; without one a person has to say so."""
    with (
        share(tmp_path / "old", tmp_path / "root" / "outbox") as old,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
        share(tmp_path / "new", tmp_path / "elsewhere") as new,
    ):
        old.go()
        moved = Share(new.disk, old.place)
        moved.come()
        try:
            shop.ticks(2)
            assert Ground.OUTBOX in shop.daemon._standing.keeper.away
            mark = (old.disk / MARK).read_bytes()
            (new.disk / MARK).write_bytes(mark)
            shop.ticks(2)
            assert shop.daemon._standing.keeper.away == {}
            shop.restart()
            assert shop.daemon._standing.keeper.away == {}
        finally:
            moved.go()


def test_shares_that_were_swapped_are_noticed(tmp_path: Path, vendor: Vendor) -> None:
    """The outbox's share in the archive's place is none of ours there."""
    with (
        share(tmp_path / "one", tmp_path / "root" / "outbox") as outbox,
        share(tmp_path / "two", tmp_path / "root" / "archive") as archive,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        outbox.go()
        archive.go()
        swapped = Share(outbox.disk, archive.place)
        swapped.come()
        try:
            shop.ticks(2)
            away = shop.daemon._standing.keeper.away
            assert away[Ground.ARCHIVE] == "what is there now is marked as another service's outbox."
            assert set(away) == {Ground.ARCHIVE, Ground.OUTBOX}
        finally:
            swapped.go()


def test_the_mark_comes_back(shop: Workshop) -> None:
    """Somebody tidied up: the folder is still known by its device, and marked again at the next start."""
    mark = read_mark(shop.root)
    assert mark is not None
    (shop.root / MARK).unlink()
    shop.ticks(2)
    assert shop.daemon._standing.keeper.away == {}
    shop.restart()
    assert read_mark(shop.root) == mark


def test_a_folder_of_the_same_disk_may_be_replaced(shop: Workshop) -> None:
    """A plain folder is no mount: people may make it anew."""
    shop.path("outbox").rename(shop.path("outbox.old"))
    shop.path("outbox").mkdir()
    shop.drop_set("chair")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}


def test_another_journal_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    """A root that was served with another journal: nobody knows here what was paid for."""
    with workshop(tmp_path / "root", vendor.emulator.base_url):
        pass
    elsewhere = Workshop(tmp_path / "root", vendor.emulator.base_url, settings(tmp_path))
    with (
        pytest.raises(OwnerError, match=r"another journal \(.*journal\.sqlite3"),
        assembled(elsewhere.config, KEY),
    ):
        pass


def test_an_emptied_journal_is_refused(shop: Workshop) -> None:
    """It opens as a new one; but the root's mark tells that it has served before."""
    shop.crash()
    journal_path(shop.config, {}).write_bytes(b"")
    with pytest.raises(JournalError, match="is empty: it was removed or cut") as caught, assembled(shop.config, KEY):
        pass
    assert "there is no backup beside it" in caught.value.advice_given


# ---- two daemons ----------------------------------------------------------------------------------------------------


def test_a_second_daemon_with_a_journal_of_its_own(tmp_path: Path, shop: Workshop, vendor: Vendor) -> None:
    """The first one is named, before anything is said of journals and how to overrule them."""
    elsewhere = Workshop(shop.root, vendor.emulator.base_url, settings(tmp_path))
    with (
        pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()} on {socket.gethostname()}"),
        assembled(elsewhere.config, KEY),
    ):
        pass


def test_a_root_that_came_back_with_another_daemon_is_left(tmp_path: Path, vendor: Vendor) -> None:
    """Somebody else locked it meanwhile: this daemon ends before it does anything else."""
    with share(tmp_path / "disk", tmp_path / "root") as root:
        with workshop(root.place, vendor.emulator.base_url, **settings(tmp_path)) as shop:
            shop.drop_set("chair")
            root.go()
            shop.ticks(2, step_seconds=1.0)
            (root.disk / ".rodin-watchd" / "lock").unlink()
            with Lock(root.disk / ".rodin-watchd" / "lock"):
                root.come()
                with pytest.raises(AlreadyRunningError):
                    shop.ticks(2, step_seconds=1.0)
        assert vendor.uploads == 0


def test_a_daemon_that_lost_its_lease_stops(tmp_path: Path, vendor: Vendor) -> None:
    """It finds another name in the lease when it wakes up, and takes, sends and commits nothing more."""
    with workshop(tmp_path, vendor.emulator.base_url, folders={"lease": "always"}) as shop:
        path = lease_path(shop.config)
        mine = holder_of(read_lease(path))
        assert mine is not None
        shop.drop_set("chair")
        shop.ticks(3, step_seconds=HEARTBEAT_SECONDS)
        assert (holder_of(read_lease(path)) or mine).beat == 3
        theirs = json.dumps({**asdict(mine), "host": "far", "nonce": "theirs"})
        path.write_text(theirs)
        shop.hands.seconds += 100
        with pytest.raises(AlreadyRunningError, match="on far"):
            shop.daemon.tick()
        before = shop.states()
        assert path.read_text() == theirs
    assert before == {} or set(before.values()) <= {State.CLAIMED, State.UPLOADING}
    assert vendor.charges == 0


def test_an_upload_is_not_closed_without_the_lease(tmp_path: Path, vendor: Vendor) -> None:
    """It is looked at once more right before the last bytes may go."""
    with workshop(tmp_path, vendor.emulator.base_url, folders={"lease": "always"}) as shop:
        path = lease_path(shop.config)
        path.unlink()
        path.mkdir()  # nobody can tell whose it is
        shop.hands.seconds += 100
        assert "cannot be kept" in shop.daemon._why_drop("any")
        path.rmdir()
        assert shop.daemon._why_drop("any") == ""
