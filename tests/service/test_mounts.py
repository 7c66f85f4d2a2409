"""Shares that go away under the daemon: nothing is believed, nothing is written into what they leave, all goes on after."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from forgetful_fuse import forgetful
from places import Share, share
from strangers import bound, mounted
from workshop import KEY, Vendor, Workshop, image, lockstep, model, workshop

from rodin_watchd.adapters.ownership import HEARTBEAT_SECONDS, Lock, holder_of, read_lease
from rodin_watchd.adapters.spool.mounts import Mounts, read_mark
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.mounts import PATHS, Mark, Mount
from rodin_watchd.errors import AlreadyRunningError, FolderGoneError, JournalError, OwnerError, RootAwayError
from rodin_watchd.model import State
from rodin_watchd.service.assembly import assembled
from rodin_watchd.settings import StorePlace, lease_path


def bare(place: Path) -> list[str]:
    """Return what lies in a folder and below it."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def kinds(shop: Workshop) -> list[str]:
    """Return the service events, oldest first, without what pauses say."""
    return [kind for kind in shop.event_kinds() if kind in ("offline", "online")]


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
            assert any("AWAY: root" in notice for notice in shop.notices())
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


@pytest.mark.parametrize("folder", ["inbox", "outbox", "failed", "archive"])
def test_a_folder_that_is_a_link_to_itself_is_away(shop: Workshop, folder: str) -> None:
    """Whoever may write into the root can make one: people read it, and all goes on when it is gone."""
    shop.idle()
    shop.path(folder).rename(shop.path("before"))
    shop.path(folder).symlink_to(folder)
    shop.ticks(5, step_seconds=2.0)
    assert f"AWAY: {folder}" in shop.status()
    assert shop.at_terminal("check").exit_code == 1
    assert shop.at_terminal("status").exit_code == 0
    assert not isinstance(
        shop.at_terminal("explain", str(shop.path(folder) / "x.png")).exception, RuntimeError | OSError
    )
    shop.path(folder).unlink()
    shop.path("before").rename(shop.path(folder))
    shop.drop_set("chair")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}


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
            assert Mount.OUTBOX in shop.daemon.parts.standing.mounts_keeper.away
            shop.restart()
            assert Mount.OUTBOX in shop.daemon.parts.standing.mounts_keeper.away
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
            shop.daemon.parts.standing.mounts_keeper.settle()
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
        assert shop.daemon.parts.standing.mounts_keeper.away == {Mount.OUTBOX: "it is missing."}
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
            assert Mount.OUTBOX in shop.daemon.parts.standing.mounts_keeper.away
            mark = (old.disk / MARK).read_bytes()
            (new.disk / MARK).write_bytes(mark)
            shop.ticks(2)
            assert shop.daemon.parts.standing.mounts_keeper.away == {}
            shop.restart()
            assert shop.daemon.parts.standing.mounts_keeper.away == {}
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
            away = shop.daemon.parts.standing.mounts_keeper.away
            assert away[Mount.ARCHIVE] == "what is there now is marked as another service's outbox."
            assert set(away) == {Mount.ARCHIVE, Mount.OUTBOX}
        finally:
            swapped.go()


@pytest.mark.parametrize("mount", list(Mount))
def test_each_folder_is_marked_and_the_mark_comes_back(shop: Workshop, mount: Mount) -> None:
    """Somebody tidied up: the folder is still known by its device, and marked again in the next tick."""
    folder = shop.path(PATHS[mount])
    mark = read_mark(folder)
    assert mark is not None
    assert (mark.mount, mark.journal) == (mount.value, StorePlace(shop.journal).name)
    (folder / MARK).unlink()
    shop.ticks(1)
    assert shop.daemon.parts.standing.mounts_keeper.away == {}
    assert read_mark(folder) == mark


@pytest.mark.parametrize("name", ["inbox", "outbox", "failed", "archive"])
def test_a_folder_of_the_same_disk_may_be_replaced(shop: Workshop, name: str) -> None:
    """A plain folder is no mount: people may make it anew, or empty it of everything; it is marked again."""
    shop.path(name).rename(shop.path(f"{name}.old"))
    shop.path(name).mkdir()
    shop.ticks(2)
    assert shop.daemon.parts.standing.mounts_keeper.away == {}
    assert read_mark(shop.path(name)) == read_mark(shop.path(f"{name}.old"))
    for left in shop.path(name).iterdir():
        left.unlink()
    shop.restart()
    shop.drop_set("chair")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert kinds(shop) == []


# ---- two services on one folder -------------------------------------------------------------------------------------


@contextlib.contextmanager
def two_roots(tmp_path: Path, vendor: Vendor, top: str) -> Iterator[tuple[Workshop, Workshop]]:
    """Give two services, each with its own state, whose folder of this name is one by a bind mount; both run."""
    for name in ("one", "two"):
        (tmp_path / name / top).mkdir(parents=True)
    with (
        bound(tmp_path / "one" / top, tmp_path / "two" / top),
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        workshop(tmp_path / "two", vendor.emulator.base_url) as two,
    ):
        yield one, two


def test_two_services_on_one_inbox_pay_for_each_set_once(tmp_path: Path, vendor: Vendor) -> None:
    """The inbox is the first one's; the other one takes nothing from it, and says whose it is and what to do."""
    with two_roots(tmp_path, vendor, "inbox") as (one, two):
        for number in range(24):
            one.drop_set(f"chair{number}")
        lockstep(one, two, 12)
        one.idle()
        assert set(one.states().values()) == {State.ARCHIVED}
        assert (len(one.jobs()), two.jobs()) == (24, [])
        assert "AWAY: inbox" in two.status()
        assert "marked as another service's inbox" in two.status()
        assert "rodin-watchd accept inbox" in two.status()
        assert kinds(two) == ["offline"]
        assert vendor.charges == 24
        one.assert_nothing_lost()


def test_an_inbox_does_not_change_hands_when_its_mark_is_removed(tmp_path: Path, vendor: Vendor) -> None:
    """A program that mirrors a folder removes the mark each time, whoever looks first then, also over a restart."""
    with two_roots(tmp_path, vendor, "inbox") as (one, two):
        lockstep(one, two, 4)
        for turn, order in enumerate(((one, two), (two, one), (two, one))):
            for number in range(2):
                one.drop_set(f"chair{number}")
            (one.path("inbox") / MARK).unlink(missing_ok=True)
            if turn == 2:
                two.restart()
            lockstep(*order, 20)
        assert two.jobs() == []
        assert "another service's" in two.status()
        mark = read_mark(one.path("inbox"))
        assert mark is not None
        assert mark.root_id == (read_mark(one.root) or mark).root_id
        assert vendor.charges == 2


def test_who_lost_a_folder_to_another_service_does_not_take_it_back(tmp_path: Path, vendor: Vendor) -> None:
    """It was accepted for the other one, and its mark is removed then: it is still the other one's, until `accept`."""
    with two_roots(tmp_path, vendor, "inbox") as (one, two):
        Mounts(two.root).leave_mark(Mount.INBOX, journal_mark(two, Mount.INBOX), replace=True)
        lockstep(one, two, 2)
        (one.path("inbox") / MARK).unlink()
        one.ticks(2)
        assert Mount.INBOX in one.daemon.parts.standing.mounts_keeper.away
        assert "rodin-watchd accept inbox" in one.status()
        run = one.at_terminal("check", "--offline")
        assert "it carried another service's mark" in " ".join(run.output.split())
        Mounts(one.root).leave_mark(Mount.INBOX, journal_mark(one, Mount.INBOX), replace=True)
        lockstep(one, two, 2)
        assert one.daemon.parts.standing.mounts_keeper.away == {}
        assert Mount.INBOX in two.daemon.parts.standing.mounts_keeper.away


@pytest.mark.parametrize("top", ["inbox", "outbox", "failed", "archive"])
def test_the_mark_decides_whose_a_folder_is(tmp_path: Path, vendor: Vendor, top: str) -> None:
    """Both marked it at the same time, or a person accepted it elsewhere: within a tick both know who won."""
    with two_roots(tmp_path, vendor, top) as (one, two):
        mount = Mount(top)
        theirs = replace(read_mark(two.root) or Mark("", ""), mount=top)
        Mounts(one.root).leave_mark(mount, theirs, replace=True)
        lockstep(one, two, 1)
        assert mount in one.daemon.parts.standing.mounts_keeper.away
        assert mount not in two.daemon.parts.standing.mounts_keeper.away
        one.drop_set("chair")
        lockstep(one, two, 10)
        assert set(one.states().values()) <= {State.CLAIMED}  # and no step that would touch a file
        assert one.work_folders() == set()
        assert read_mark(one.path(top)) == theirs


def test_nobody_takes_a_set_that_another_service_has_taken(tmp_path: Path, vendor: Vendor) -> None:
    """Marks that somebody removes all the time, so that both believe in the inbox: still nothing is paid twice or lost."""
    with two_roots(tmp_path, vendor, "inbox") as (one, two):
        for number in range(24):
            one.drop_set(f"chair{number}")

        def both_idle() -> bool:
            return one.daemon.is_idle() and two.daemon.is_idle()

        for _ in range(200):
            for shop in (one, two):
                (one.path("inbox") / MARK).unlink(missing_ok=True)
                shop.ticks(1, step_seconds=0.5)
            one.rest()
            two.rest()
            if both_idle() and one.found("inbox") == set():
                break
        ended = [job.state for job in (*one.jobs(), *two.jobs()) if job.state is State.ARCHIVED]
        assert len(ended) == vendor.charges <= 24
        kept = {path.read_bytes() for shop in (one, two) for path in shop.root.rglob("*") if path.is_file()}
        assert set(one.dropped) <= kept


def test_a_root_in_the_inbox_of_another_service(tmp_path: Path, vendor: Vendor) -> None:
    """What is dropped there is bought by the inner service alone; its results are no new sets of the outer one."""
    (tmp_path / "one" / "inbox" / "team").mkdir(parents=True)
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        workshop(one.path("inbox/team"), vendor.emulator.base_url) as two,
    ):
        one.drop_set("lamp")
        for number in range(4):
            two.drop_set(f"chair{number}")
        lockstep(one, two, 60)
        assert one.states() == {"lamp": State.ARCHIVED}
        assert set(two.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 5
        assert "1 x a folder of a service" in one.status()
        assert {f"chair{number}/job.toml" for number in range(4)} <= two.found("outbox")
        one.assert_nothing_lost()
        two.assert_nothing_lost()


def test_the_inbox_of_another_service_shows_in_the_inbox(tmp_path: Path, vendor: Vendor) -> None:
    """By a mount: it is the other one's, also when it is mounted after the start."""
    with (
        workshop(tmp_path / "one", vendor.emulator.base_url) as one,
        workshop(tmp_path / "two", vendor.emulator.base_url) as two,
        bound(two.path("inbox"), one.path("inbox/team")),
    ):
        two.drop_set("chair")
        lockstep(one, two, 30)
        assert (one.states(), two.states()) == ({}, {"chair": State.ARCHIVED})
        assert vendor.charges == 1


@pytest.mark.parametrize("top", ["outbox", "archive", "failed", ""])
def test_a_folder_of_its_own_shows_in_the_inbox(tmp_path: Path, vendor: Vendor, top: str) -> None:
    """By a mount: what the service delivers is no new set; also while somebody has removed the mark."""
    root = tmp_path / "root"
    (root / "inbox").mkdir(parents=True)
    (root / top).mkdir(exist_ok=True)
    with bound(root / top, root / "inbox" / "done"), workshop(root, vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        for _ in range(60):
            (root / top / MARK).unlink(missing_ok=bool(top))
            shop.ticks(1, step_seconds=2.0)
            shop.rest()
            if not top:
                break
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert vendor.charges == 1


def test_a_program_that_copies_the_outbox_into_the_inbox(tmp_path: Path, vendor: Vendor) -> None:
    """No result is bought as a new set, however often it is copied."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        for _ in range(4):
            shop.idle()
            shutil.copytree(
                shop.path("outbox"), shop.path("inbox"), dirs_exist_ok=True, ignore=shutil.ignore_patterns(MARK)
            )
        shop.ticks(10, step_seconds=2.0)
        assert shop.states() == {"chair": State.ARCHIVED}
        assert "part of a delivered result" in shop.status()
        assert vendor.charges == 1


def test_a_delivered_folder_that_comes_back_without_its_receipt_is_not_bought(tmp_path: Path, vendor: Vendor) -> None:
    """A sync brings the files, and the receipt long after, or never: the journal knows what it has delivered."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.idle()
        shutil.copytree(
            shop.path("outbox/chair"), shop.path("inbox/chair"), ignore=shutil.ignore_patterns("job.toml", MARK)
        )
        shop.idle()
        [failed] = [job for job in shop.jobs() if job.state is State.FAILED]
        assert vendor.charges == 1
        assert "This model is a result of this service: outbox/chair" in shop.report(
            failed.place.removeprefix("failed/")
        )
        shutil.copytree(shop.path("outbox/chair"), shop.path("inbox/again"), ignore=shutil.ignore_patterns("job.toml"))
        shop.drop("again/again.toml", b"again = true\n")
        shop.idle()
        assert vendor.charges == 2


def test_a_sub_folder_of_a_delivered_folder_is_no_set(tmp_path: Path, vendor: Vendor) -> None:
    """A plugin, or an artist, has made it: the receipt above counts for it."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.idle()
        back = shop.path("inbox/chair")
        shutil.copytree(shop.path("outbox/chair"), back, ignore=shutil.ignore_patterns(MARK))
        (back / "small" / "lowest").mkdir(parents=True)
        shop.drop("chair/small/lowest/model.obj", model("small"))
        shop.drop("chair/small/lowest/picture.png", image("small"))
        shop.idle()
        assert vendor.charges == 1
        assert "part of a delivered result" in shop.status()


def test_a_copy_of_the_root_shares_its_outbox(tmp_path: Path, vendor: Vendor) -> None:
    """It has the same id; but the mark says with which journal the outbox is served."""
    with workshop(tmp_path / "one", vendor.emulator.base_url) as one:
        pass
    subprocess.run(["cp", "-a", str(one.root), str(tmp_path / "two")], check=True)
    two = Workshop(tmp_path / "two", vendor.emulator.base_url, {})
    Mounts(two.root).leave_mark(Mount.ROOT, journal_mark(two, Mount.ROOT), replace=True)
    with bound(one.path("outbox"), two.path("outbox")):
        two.start()
        two.ticks(1)
        away = two.daemon.parts.standing.mounts_keeper.away
        assert "marked by a service on a copy of this root" in away[Mount.OUTBOX]
        two.crash()


def journal_mark(shop: Workshop, mount: Mount) -> Mark:
    """Return the mark that names a shop's own journal."""
    before = read_mark(shop.root)
    assert before is not None
    return Mark(before.root_id, mount.value, StorePlace(shop.journal).name)


# ---- roots that were copied or moved --------------------------------------------------------------------------------


def copy_of(shop: Workshop, root: Path) -> Workshop:
    """Copy a root as it lies there, journal and all, and return the shop that serves the copy; it is not started."""
    subprocess.run(["cp", "-a", str(shop.root), str(root)], check=True)
    there = Workshop(root, shop.config.api.base_url, {})
    there.hands.seconds = shop.hands.seconds
    there.dropped = list(shop.dropped)
    return there


def copied_while(state: State, tmp_path: Path, vendor: Vendor) -> tuple[Workshop, Workshop]:
    """Return a root whose set was in this state when it was copied, and the copy; neither runs, and the vendor is there for both."""
    away = "http://127.0.0.1:9" if state is State.STAGED else vendor.emulator.base_url
    with workshop(tmp_path / "root", away) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", state))
        shop.rest()
        shop.crash()
        copy = copy_of(shop, tmp_path / "copy")
    for each in (shop, copy):  # with the vendor there again
        api = each.config.api.model_copy(update={"base_url": vendor.emulator.base_url})
        each.config = each.config.model_copy(update={"api": api})
    return shop, copy


def accepted(shop: Workshop) -> None:
    """Accept the root, as the command line does."""
    run = shop.at_terminal("accept", "root", "--yes")
    assert run.exit_code == 0, run.output


@pytest.mark.parametrize("state", [State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTED])
def test_a_copied_root_pays_for_nothing_that_the_original_may_pay(tmp_path: Path, vendor: Vendor, state: State) -> None:
    """Both start: what was about to be sent is sent by the original alone; what is paid for is delivered by both."""
    with workshop(
        tmp_path / "root", "http://127.0.0.1:9" if state is State.STAGED else vendor.emulator.base_url
    ) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", state))
        shop.rest()
        shop.crash()
        shop.drop_set("fresh")
        copy = copy_of(shop, tmp_path / "copy")
    for each in (shop, copy):  # with the vendor there again
        each.config = each.config.model_copy(
            update={"api": each.config.api.model_copy(update={"base_url": vendor.emulator.base_url})}
        )
    copy.start()
    copy.idle()
    expected = {
        State.CLAIMED: State.FAILED,
        State.STAGED: State.HELD,
        State.UPLOADING: State.HELD,
        State.SUBMITTED: State.ARCHIVED,
    }
    assert copy.states() == {"chair": expected[state]}
    assert vendor.charges == (state is State.SUBMITTED)
    assert {"fresh.obj", "fresh.png"} <= copy.found("inbox")
    assert "COPIED OR MOVED" in copy.status()
    assert "rodin-watchd accept root" in copy.status()
    shop.start()
    shop.idle()
    assert set(shop.states().values()) == {State.ARCHIVED}
    assert "COPIED" not in shop.status()
    assert vendor.charges == 2
    copy.restart()
    copy.idle()
    assert [e.kind for e in copy.store.service_events() if e.kind in ("copied", "accepted")] == ["copied"]
    for each in (shop, copy):
        assert set(each.dropped) <= {path.read_bytes() for path in each.root.rglob("*") if path.is_file()}
        each.crash()


def test_a_copied_root_that_is_accepted_works(tmp_path: Path, vendor: Vendor) -> None:
    """While it runs, without a restart; what was held stays held."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.crash()
        shop.path("inbox/chair.obj").unlink(missing_ok=True)
        copy = copy_of(shop, tmp_path / "copy")
    copy.start()
    copy.drop_set("fresh")
    copy.ticks(10, step_seconds=1.0)
    assert copy.states() == {"chair": State.HELD}
    assert not copy.daemon.is_idle() or copy.daemon.needs_person()
    accepted(copy)
    copy.idle()
    assert copy.states() == {"chair": State.HELD, "fresh": State.ARCHIVED}
    assert "COPIED" not in copy.status()
    assert all(read_mark(copy.path(PATHS[mount])) == journal_mark(copy, mount) for mount in Mount)
    copy.crash()


@pytest.mark.parametrize("moved", ["copied", "restarted, then marked elsewhere"])
@pytest.mark.parametrize("state", [State.STAGED, State.UPLOADING])
def test_what_a_copied_root_holds_counts_as_paid_until_a_person_knows(
    tmp_path: Path, vendor: Vendor, state: State, moved: str
) -> None:
    """The original has paid for it: given up in the copy, and dropped again, it is not paid for once more."""
    shop, copy = copied_while(state, tmp_path, vendor)
    shop.start()
    shop.idle()
    assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
    if moved == "copied":
        copy.start()
    else:
        accepted(copy)
        before = read_mark(copy.root)
        assert before is not None
        Mounts(copy.root).leave_mark(Mount.ROOT, replace(before, accepted_from=""), replace=True)
        copy.start()  # not taken for a copy: what was cut off is free to go ...
        Mounts(copy.root).leave_mark(Mount.ROOT, replace(before, journal=StorePlace(shop.journal).name), replace=True)
    copy.ticks(5, step_seconds=1.0)  # ... until the root is somebody else's
    assert (copy.states(), copy.purchases("outcome")[-1]) == ({"chair": State.HELD}, "open")
    accepted(copy)
    copy.idle()
    assert copy.command("resolve", job="chair", how="give-up")["ok"]
    copy.idle()
    assert copy.purchases("outcome")[-1] == "unknown"
    copy.drop_set("chair")
    copy.idle()
    assert {job.state for job in copy.jobs()} == {State.FAILED}
    assert vendor.charges == 1
    copy.crash()
    shop.crash()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("state", [State.CLAIMED, State.STAGED, State.UPLOADING])
def test_a_copied_root_that_is_accepted_before_its_first_start_holds_what_the_original_may_send(
    tmp_path: Path, vendor: Vendor, state: State, times: int
) -> None:
    """However often it is accepted before: the set is paid for by the original alone; what is dropped later is taken."""
    shop, copy = copied_while(state, tmp_path, vendor)
    for _ in range(times):
        accepted(copy)
    copy.start()
    copy.idle()
    held = State.FAILED if state is State.CLAIMED else State.HELD
    assert copy.states() == {"chair": held}
    copy.drop_set("fresh")
    copy.idle()
    copy.restart()
    copy.idle()
    assert copy.states() == {"chair": held, "fresh": State.ARCHIVED}
    assert "COPIED" not in copy.status()
    assert all(read_mark(copy.path(PATHS[mount])) == journal_mark(copy, mount) for mount in Mount)
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 2
    for each in (shop, copy):
        each.crash()


def test_a_root_that_is_accepted_elsewhere_is_not_spent_for_any_more(tmp_path: Path, vendor: Vendor) -> None:
    """The running service sees it in the next tick, and right before the last bytes of an upload."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        mark = read_mark(shop.root)
        assert mark is not None
        Mounts(shop.root).leave_mark(Mount.ROOT, replace(mark, journal="far:/state/journal.sqlite3"), replace=True)
        assert "copied or moved" in shop.daemon.why_drop(["any"])["any"]
        Mounts(shop.root).leave_mark(Mount.ROOT, replace(mark, root_id="another"), replace=True)
        assert "another service's root" in shop.daemon.why_drop(["any"])["any"]
        Mounts(shop.root).leave_mark(Mount.ROOT, replace(mark, journal="far:/state/journal.sqlite3"), replace=True)
        shop.idle()
        assert shop.states() == {"chair": State.HELD}
        assert vendor.charges == 0


def test_a_root_by_another_path_is_no_copy(tmp_path: Path, vendor: Vendor) -> None:
    """A link to it, say: the journal is the very same file."""
    with workshop(tmp_path / "root", vendor.emulator.base_url):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "root")
    there = Workshop(tmp_path / "link", vendor.emulator.base_url, {})
    there.start()
    there.drop_set("chair")
    there.idle()
    assert there.states() == {"chair": State.ARCHIVED}
    there.crash()


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
    shop.journal.write_bytes(b"")
    with (
        pytest.raises(JournalError, match="is empty: it was removed or emptied") as caught,
        assembled(shop.config, KEY),
    ):
        pass
    assert "there is no backup next to it" in caught.value.advice_given


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
        before = shop.states()
        with pytest.raises(AlreadyRunningError, match="on far"):
            shop.daemon.tick()
        assert shop.states() == before
        assert path.read_text() == theirs
    assert set(before.values()) <= {State.CLAIMED, State.STAGED, State.UPLOADING}
    assert vendor.charges == 0


def test_an_upload_is_not_closed_without_the_lease(tmp_path: Path, vendor: Vendor) -> None:
    """It is looked at once more right before the last bytes may go."""
    with workshop(tmp_path, vendor.emulator.base_url, folders={"lease": "always"}) as shop:
        path = lease_path(shop.config)
        path.unlink()
        path.mkdir()  # nobody can tell whose it is
        shop.hands.seconds += 100
        assert "cannot be written" in shop.daemon.why_drop(["any"])["any"]
        path.rmdir()
        assert shop.daemon.why_drop(["any"]) == {}


def test_a_root_that_becomes_a_share_while_it_runs_gets_a_lease(tmp_path: Path, vendor: Vendor) -> None:
    """Its folders were moved to a server meanwhile. Who has the lease already goes on, and this daemon ends."""
    with share(tmp_path / "disk", tmp_path / "root") as root:
        with workshop(root.place, vendor.emulator.base_url, **settings(tmp_path)) as shop:
            path = lease_path(shop.config)
            shop.ticks(3, step_seconds=HEARTBEAT_SECONDS)
            assert not path.exists()
            root.go()
            shop.ticks(2, step_seconds=HEARTBEAT_SECONDS)
            with forgetful(root.disk, root.place, "fuse.sshfs"):
                shop.drop_set("chair")
                shop.idle()
                mine = holder_of(read_lease(path))
                assert mine is not None
                assert (mine.pid, shop.states()) == (os.getpid(), {"chair": State.ARCHIVED})
                path.write_text(json.dumps({**asdict(mine), "host": "far", "nonce": "theirs"}))
                shop.drop_set("lamp")
                with pytest.raises(AlreadyRunningError, match="on far"):
                    shop.idle()
        assert vendor.charges == 1
