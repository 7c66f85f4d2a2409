"""Copies of a root and its journal under the same host name and path: cloned volumes; and what is no copy, though it looks new."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, workshop

from rodin_watchd.adapters.spool.mounts import Mounts, mark_text, read_mark
from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.mounts import Mount, Traces
from rodin_watchd.model import State
from rodin_watchd.service import mounts as traces
from rodin_watchd.settings import StorePlace


def copy_over(path: Path) -> Path:
    """Put a copy of a folder in its place, as another machine would have it; return where the original lies now."""
    original = path.with_name(f"{path.name}.original")
    subprocess.run(["cp", "-a", str(path), str(path.with_name("copy"))], check=True)
    path.rename(original)
    path.with_name("copy").rename(path)
    return original


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor) -> Workshop:
    """Give a shop with a set that is about to be sent; it does not run."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        shop.crash()
    return shop


@pytest.mark.parametrize("accepted_before", [False, True])
def test_a_copy_by_the_same_name_pays_for_nothing_that_the_original_may_pay(
    shop: Workshop, vendor: Vendor, *, accepted_before: bool
) -> None:
    """It holds what was about to be sent, until a person accepts it, also when that was before its first start."""
    original = copy_over(shop.root)
    if accepted_before:
        assert "Accepted" in shop.told("accept", "root", "--yes")
    shop.start()
    shop.ticks(10, step_seconds=1.0)
    assert shop.states() == {"chair": State.HELD}
    if not accepted_before:
        assert "COPIED OR MOVED" in shop.status()
        assert "were copied to another disk or machine" in shop.told("check", "--offline")
        shop.told("accept", "root", "--yes")
    shop.drop_set("fresh")
    shop.idle()
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.HELD, "fresh": State.ARCHIVED}
    assert "COPIED" not in shop.status()
    shop.crash()
    shutil.rmtree(shop.root)
    original.rename(shop.root)
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 2
    shop.crash()


def test_a_copy_without_the_mark_that_is_accepted_holds_what_was_to_be_sent(shop: Workshop, vendor: Vendor) -> None:
    """A program that copies no hidden files leaves the mark behind: nothing tells whose root it was."""
    copy_over(shop.root)
    (shop.root / MARK).unlink()
    assert "Accepted" in shop.told("accept", "root", "--yes")
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.HELD}
    shop.drop_set("fresh")
    shop.idle()
    assert shop.states()["fresh"] is State.ARCHIVED
    assert vendor.charges == 1
    shop.crash()


@pytest.mark.parametrize("empty", [False, True])
def test_a_copy_without_the_mark_on_a_disk_of_the_same_number_is_noticed(
    shop: Workshop, vendor: Vendor, *, empty: bool
) -> None:
    """The folder looks like the one before: the journal remembers what a copy does not carry over."""
    shop.journal.with_name("lock").unlink()  # a copy has a new one
    (shop.root / MARK).unlink()
    if empty:
        (shop.root / MARK).touch()
    shop.start()
    shop.ticks(10, step_seconds=1.0)
    assert shop.states() == {"chair": State.HELD}
    assert "COPIED OR MOVED" in shop.status()
    assert vendor.charges == 0
    shop.crash()


def test_a_mark_that_is_removed_is_left_anew(shop: Workshop, vendor: Vendor) -> None:
    """The lock is the same one: it is no copy."""
    (shop.root / MARK).unlink()
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (shop.root / MARK).exists()
    assert vendor.charges == 1
    shop.crash()


def nothing(_shop: Workshop) -> None:
    """Start it again."""


def rename_there_and_back(shop: Workshop) -> None:
    """Move the root away and back."""
    shop.root.rename(shop.root.with_name("away"))
    shop.root.with_name("away").rename(shop.root)


def rewrite_journal(shop: Workshop) -> None:
    """Put a copy of the journal's file in its place."""
    journal = shop.journal
    for path in journal.parent.glob("journal.sqlite3*"):
        shutil.copy(path, path.with_name("copied"))
        path.with_name("copied").replace(path)


def remake_state(shop: Workshop) -> None:
    """Put the hidden folder back from a copy of this moment."""
    shutil.rmtree(copy_over(shop.journal.parent))


def remove_lock(shop: Workshop) -> None:
    """Take a lock away that somebody believes to be stale."""
    shop.journal.with_name("lock").unlink()


def remake_mark(shop: Workshop) -> None:
    """Put the root's mark back from a copy."""
    shutil.copy(shop.root / MARK, shop.root / "copy")
    (shop.root / "copy").replace(shop.root / MARK)


def take_traces_away(shop: Workshop) -> None:
    """Let the mark be one of the version before."""
    mark = read_mark(shop.root)
    assert mark is not None
    (shop.root / MARK).write_text(mark_text(mark).partition("[original]")[0])


@pytest.mark.parametrize(
    "change",
    [nothing, rename_there_and_back, rewrite_journal, remake_state, remove_lock, remake_mark, take_traces_away],
)
def test_what_is_no_copy(shop: Workshop, vendor: Vendor, change: Callable[[Workshop], None]) -> None:
    """It goes on, and the mark has the traces of what is there now."""
    change(shop)
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 1
    mark = read_mark(shop.root)
    assert mark is not None
    assert mark.traces == traces.traces_of(StorePlace(shop.journal), mark)
    assert mark.traces.mark is not None
    shop.crash()


def test_a_root_on_a_new_disk_is_no_copy_while_the_journal_stays(tmp_path: Path, vendor: Vendor) -> None:
    """There is one journal, and it knows what was sent."""
    sections = {"folders": {"state": str(tmp_path / "state"), "reserve_megabytes": 0}}
    with workshop(tmp_path / "root", vendor.emulator.base_url, **sections) as shop:
        shop.crash()
        shutil.rmtree(copy_over(shop.root))
        shop.start()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_a_backup_in_the_journals_place_is_no_copy(shop: Workshop) -> None:
    """It is told as what it is."""
    shop.put_in_place(make_backup(shop.journal, 1_800_000_000.0))()
    shop.start()
    shop.ticks(2)
    assert shop.states() == {"chair": State.HELD}
    assert "COPIED" not in shop.status()
    shop.crash()


def test_a_cloned_machine_is_known_by_its_machine_id(
    shop: Workshop, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is the same, byte for byte, but its machine id is new."""
    mark = read_mark(shop.root)
    assert mark is not None
    here = traces.traces_of(StorePlace(shop.journal), mark)
    monkeypatch.setattr(traces, "_machine", lambda: "one")
    there = Traces("one", here.state)
    (shop.root / MARK).unlink()
    Mounts(shop.root).leave_mark(Mount.ROOT, type(mark)(mark.root_id, "root", mark.journal, "", there), replace=True)
    monkeypatch.setattr(traces, "_machine", lambda: "two")
    shop.start()
    shop.ticks(5)
    assert shop.states() == {"chair": State.HELD}
    assert vendor.charges == 0
    shop.crash()


@pytest.mark.parametrize("name", ["root", "other"])
def test_a_copy_by_hard_links_is_a_copy(shop: Workshop, vendor: Vendor, name: str) -> None:
    """Journal, lock and mark are the same files in both, but their folders are not, and what the original paid stood in its log."""
    copy = shop.root.with_name("copy")
    subprocess.run(["cp", "-al", str(shop.root), str(copy)], check=True)
    before = shop.journal.read_bytes()
    shop.start()
    shop.idle()
    assert vendor.charges == 1
    shop.crash()
    hidden = shop.journal.relative_to(shop.root)
    (copy / hidden).write_bytes(before)  # as power failed, before the log was written into it
    if name == "root":
        shop.root.rename(shop.root.with_name("original"))
    place = copy.rename(shop.root.with_name(name))
    with workshop(place, vendor.emulator.base_url) as served:
        served.ticks(10, step_seconds=1.0)
        served.rest()
        assert served.states() == {"chair": State.HELD}
        assert "COPIED OR MOVED" in served.status()
        assert vendor.charges == 1


def test_a_root_with_a_backup_by_hard_links_goes_on(shop: Workshop, vendor: Vendor) -> None:
    """The second names of its files are no reason to stop, and the backup stays as it was made."""
    backup = shop.root.with_name("backup")
    subprocess.run(["cp", "-al", str(shop.root), str(backup)], check=True)
    kept = backup / shop.journal.relative_to(shop.root)
    before = kept.read_bytes()
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert "COPIED" not in shop.status()
    assert vendor.charges == 1
    shop.crash()
    assert kept.read_bytes() == before
