"""Drops: what a browser sends, shown as the daemon will see it, and put into the inbox whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
from workshop import Vendor, Workshop, emulated, image, model, workshop

from rodin_watchd.adapters.spool.beneath import Anchor
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.errors import DropBusyError, DropError, DropOffsetError, DropTooLargeError, DropUnknownError
from rodin_watchd.model import State
from rodin_watchd.web.drops import KEPT_SECONDS, Drops, Preview


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """Give an emulator without faults."""
    with emulated(balance=Decimal(1000)) as vendor:
        yield vendor.emulator


@pytest.fixture
def vendor(emulator: Emulator) -> Vendor:
    """Give the vendor's ledger as of now."""
    return Vendor(emulator)


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor) -> Iterator[Workshop]:
    """Give a daemon that runs."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        yield shop


@pytest.fixture
def drops(shop: Workshop) -> Drops:
    """Give the drops of the shop's root."""
    return Drops(shop.config, lambda: Anchor(shop.root / "inbox", lambda _path, _folder: None))


def put(drops: Drops, drop_id: str, **files: bytes) -> None:
    """Put whole files into a drop."""
    for name, data in files.items():
        drops.put(drop_id, name.replace("__", "/").replace("_", "."), data)


def as_seen(_shown: Preview) -> None:
    """Agree to whatever is sent."""


def test_what_is_sent_is_taken_and_paid_once(shop: Workshop, drops: Drops, vendor: Vendor) -> None:
    """The folder appears under its name by one rename; the daemon takes the set that was shown."""
    drop_id = drops.create("chair", "")
    put(drops, drop_id, chair_obj=model("chair"), chair_png=image("chair"), chair_toml=b"seed = 7\n")
    [seen] = drops.preview(drop_id).sets
    assert (seen.name, seen.is_ready, seen.kind) == ("chair", True, "texture")
    assert {role for role, _ in seen.files} == {"model", "image", "sidecar"}
    assert len(seen.articles) == 1
    assert shop.found("inbox") == set()
    assert drops.send(drop_id, as_seen) == "chair"
    shop.idle()
    [job] = shop.jobs()
    assert (job.state, job.options["seed"]) == (State.ARCHIVED, 7)
    assert vendor.charges == 1
    with pytest.raises(DropUnknownError):
        drops.send(drop_id, as_seen)


def test_a_name_that_is_taken(shop: Workshop, drops: Drops) -> None:
    """Nothing is replaced: the next free name is given."""
    places = []
    for _ in range(2):
        drop_id = drops.create("chair", "")
        put(drops, drop_id, chair_obj=model("chair"))
        places.append(drops.send(drop_id, as_seen))
    assert places == ["chair", "chair-2"]
    assert shop.found("inbox") == {"chair/chair.obj", "chair-2/chair.obj"}


def test_the_folder_of_a_drop_decides_by_its_preset(shop: Workshop, drops: Drops) -> None:
    """A preset above it says what an image alone is: the preview knows it, too."""
    (shop.root / "inbox/new").mkdir()
    (shop.root / "inbox/new/_folder.toml").write_text('kind = "generate"\n')
    drop_id = drops.create("chair", "new")
    put(drops, drop_id, chair_png=image("chair"))
    [seen] = drops.preview(drop_id).sets
    assert (seen.kind, seen.is_ready) == ("generate", True)
    drops.move(drop_id, "chair", "")
    [seen] = drops.preview(drop_id).sets
    assert (seen.kind, seen.is_ready) == ("texture", False)
    assert "chair" in seen.reason


def test_what_cannot_be_used_is_said_before(drops: Drops, vendor: Vendor) -> None:
    """By the daemon's own words; nothing is refused twice in two ways."""
    drop_id = drops.create("chair", "")
    put(drops, drop_id, chair_obj=model("chair"), chair_png=b"no picture at all", chair_toml=b'sed = "x"\n')
    [seen] = drops.preview(drop_id).sets
    assert seen.is_refused
    assert seen.reason
    assert not seen.is_ready
    drops.remove(drop_id, "chair.toml")
    put(drops, drop_id, chair_png=image("chair"))
    [seen] = drops.preview(drop_id).sets
    assert seen.is_ready
    assert vendor.charges == 0


def test_an_upload_that_breaks_off_goes_on(drops: Drops) -> None:
    """What came is kept; the next bytes must be those that follow; only what is whole appears."""
    drop_id = drops.create("chair", "")
    data = model("chair")
    upload = drops.begin(drop_id, "chair.obj", len(data))
    with drops.receive(drop_id, upload.id, 0) as receiver:
        receiver.write(data[:10])
    assert [one.offset for one in drops.preview(drop_id).uploads] == [10]
    assert drops.preview(drop_id).files == ()
    with pytest.raises(DropError, match="not here wholly"):
        drops.send(drop_id, as_seen)
    for wrong in (0, 11):
        with pytest.raises(DropOffsetError), drops.receive(drop_id, upload.id, wrong):
            pass
    with drops.receive(drop_id, upload.id, 10) as receiver:
        with pytest.raises(DropBusyError), drops.receive(drop_id, upload.id, 10):
            pass
        receiver.write(data[10:])
        with pytest.raises(DropTooLargeError):
            receiver.write(b"more")
    assert drops.preview(drop_id).files == (("chair.obj", len(data)),)
    assert drops.read(drop_id, "chair.obj") == data


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "..",
        "../chair.glb",
        "a/../../b.glb",
        "a//b.glb",
        ".hidden",
        "a/.rodin-watchd-root",
        "a\nb.glb",
        "\0",
        "a/" * 9 + "b",
        "x" * 256,
    ],
)
def test_a_path_that_leads_elsewhere(shop: Workshop, drops: Drops, path: str) -> None:
    """It is refused, in a drop and as the folder that a drop goes to."""
    drop_id = drops.create("chair", "")
    with pytest.raises(DropError):
        drops.begin(drop_id, path, 1)
    if path.strip("/"):
        with pytest.raises(DropError):
            drops.create("chair", path)
    assert shop.found("inbox") == set()


@pytest.mark.parametrize("drop_id", ["", ".", "..", "x" * 32, "../inbox", "0" * 31, "0" * 32])
def test_a_drop_that_is_not_there(drops: Drops, drop_id: str) -> None:
    """No id leads out of the drops."""
    with pytest.raises(DropUnknownError):
        drops.preview(drop_id)
    drops.discard(drop_id)


@pytest.mark.parametrize(
    ("name", "shown"), [("", "drop"), ("..", "drop"), ("a/b", "a_b"), ("con", "_con"), (" .x ", "x"), ("椅子", "椅子")]
)
def test_names_of_drops(drops: Drops, name: str, shown: str) -> None:
    """Whatever is asked for becomes a name that every client of a share shows."""
    assert drops.preview(drops.create(name, "")).name == shown


def test_what_is_too_large(drops: Drops) -> None:
    """It is refused before a byte is sent."""
    drop_id = drops.create("chair", "")
    for path in ("chair.glb", "chair.png", "chair.toml", "other.bin"):
        with pytest.raises(DropTooLargeError):
            drops.begin(drop_id, path, 10**9)


def test_a_link_in_the_way(shop: Workshop, drops: Drops, tmp_path: Path) -> None:
    """A folder of the inbox that is a link is not followed."""
    (tmp_path / "elsewhere").mkdir()
    (shop.root / "inbox/link").symlink_to(tmp_path / "elsewhere")
    drop_id = drops.create("chair", "link")
    put(drops, drop_id, chair_obj=model("chair"))
    with pytest.raises(Exception, match="cannot be written"):
        drops.send(drop_id, as_seen)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert drops.preview(drop_id).files


def test_what_nobody_touches_goes(shop: Workshop, drops: Drops) -> None:
    """After a day; what is under way stays."""
    drop_id, kept = drops.create("chair", ""), drops.create("stool", "")
    home = shop.root / ".rodin-watchd/drops" / drop_id
    before = home.stat().st_mtime - KEPT_SECONDS - 60
    os.utime(home, (before, before))
    drops.create("table", "")
    with pytest.raises(DropUnknownError):
        drops.preview(drop_id)
    assert drops.preview(kept)
    assert not home.exists()


def test_a_move_that_was_broken_off_is_ended(shop: Workshop, drops: Drops) -> None:
    """A kill after the new name was written, and before the folder has it: the next look ends it."""
    drop_id = drops.create("chair", "")
    put(drops, drop_id, chair_png=image("chair"))
    home = shop.root / ".rodin-watchd/drops" / drop_id
    drops.move(drop_id, "stool", "new")
    [moved] = home.glob("inbox-*/new/stool")
    moved.rename(home / "inbox/chair")
    seen = drops.preview(drop_id)
    assert (seen.name, seen.folder, [path for path, _ in seen.files]) == ("stool", "new", ["chair.png"])
    assert drops.send(drop_id, as_seen) == "new/stool"
    with pytest.raises(DropUnknownError):
        drops.move(drop_id, "table", "")


def test_nothing_changes_between_the_agreement_and_the_sending(shop: Workshop, drops: Drops) -> None:
    """Another tab that adds a file meanwhile waits, and is told that the drop was sent: no file is swallowed, none is bought unseen."""
    drop_id = drops.create("chair", "")
    put(drops, drop_id, chair_png=image("chair"))
    waits = Barrier(2)
    with ThreadPoolExecutor(1) as other:

        def agree(shown: Preview) -> None:
            assert [path for path, _ in shown.files] == ["chair.png"]
            adding.append(other.submit(_add_at, waits, drops, drop_id))
            waits.wait(20)

        adding: list[Future[None]] = []
        assert drops.send(drop_id, agree) == "chair"
        with pytest.raises(DropUnknownError):
            adding[0].result(20)
    assert shop.found("inbox") == {"chair/chair.png"}


def _add_at(waits: Barrier, drops: Drops, drop_id: str) -> None:
    waits.wait(20)
    drops.put(drop_id, "chair.obj", model("chair"))


def test_one_of_many_tabs_sends(shop: Workshop, drops: Drops) -> None:
    """The others are told that it was sent."""
    for number in range(5):
        drop_id = drops.create(f"chair{number}", "")
        put(drops, drop_id, chair_png=image(f"chair{number}"))
        with ThreadPoolExecutor(4) as tabs:
            sendings = [tabs.submit(drops.send, drop_id, as_seen) for _ in range(4)]
        errors = [sending.exception() for sending in sendings]
        assert errors.count(None) == 1
        assert [type(error) for error in errors if error] == [DropUnknownError] * 3
    assert shop.found("inbox") == {f"chair{number}/chair.png" for number in range(5)}


def test_a_sending_that_was_broken_off_is_ended(shop: Workshop, drops: Drops) -> None:
    """A kill after the folder came into the inbox: the drop says that it was sent, and never that it is empty."""
    drop_id = drops.create("chair", "")
    put(drops, drop_id, chair_png=image("chair"))
    home = shop.root / ".rodin-watchd/drops" / drop_id
    (home / "inbox/chair").rename(shop.root / "inbox/chair")
    with pytest.raises(DropUnknownError, match="they were sent"):
        drops.send(drop_id, as_seen)
    assert not home.exists()


@pytest.mark.parametrize(("there", "comes"), [("a", "a/b.png"), ("a/b.png", "a"), ("a/b.png", "a/b.png/c.png")])
def test_a_name_cannot_be_a_file_and_a_folder(drops: Drops, there: str, comes: str) -> None:
    """What comes later is refused, and does not keep the rest from being sent."""
    drop_id = drops.create("chair", "")
    drops.put(drop_id, there, b"1")
    with pytest.raises(DropError, match="a file and a folder"):
        drops.put(drop_id, comes, b"2")
    shown = drops.preview(drop_id)
    assert (shown.files, shown.uploads) == (((there, 1),), ())
    if "/" in there:
        with pytest.raises(DropError, match="no file of this drop"):
            drops.remove(drop_id, "a")
    assert drops.send(drop_id, as_seen) == "chair"


def test_a_disk_without_room(drops: Drops, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take the room that the service itself needs is refused when it is announced."""
    drop_id = drops.create("chair", "")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=500_000_900))
    drops.put(drop_id, "a.txt", b"x" * 900)
    with pytest.raises(DropTooLargeError, match="almost full"):
        drops.begin(drop_id, "b.txt", 901)
