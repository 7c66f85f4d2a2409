"""Sets out of folders in which the service may only read: taken as copies, once; the originals stay and are known as done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Share, share
from workshop import Vendor, Workshop, image, model, workshop

from rodin_watchd.model import State

DONE = "Finished, and still in the inbox"


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Share]:
    """Give a folder of the inbox in which nobody may write, once it is frozen; not even root."""
    with share(tmp_path / "disk", tmp_path / "root" / "inbox" / "oak") as oak:
        yield oak


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor, closed: Share) -> Iterator[Workshop]:
    """Give a daemon that knows the folder, which is writable still."""
    with workshop(tmp_path / "root", vendor.emulator.base_url) as one:
        one.ticks(3, step_seconds=2.0)
        assert closed.is_there
        yield one


def listed(folder: Path) -> dict[str, bytes]:
    """Return the files of people in a folder, and what is in them."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_it_is_delivered_once_and_stays(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """Also over restarts, whatever is looked at; `explain` knows it; the archive has the files, too."""
    shop.drop_set("oak/chair", "seed = 3\n")
    there = listed(closed.place)
    closed.freeze()
    shop.idle()
    assert shop.job("chair").state is State.ARCHIVED
    for _ in range(2):
        shop.ticks(20, step_seconds=5.0)
        shop.restart()
    shop.idle()
    assert (len(shop.jobs()), vendor.charges) == (1, 1)
    assert listed(closed.place) == there
    assert shop.found("archive") >= {"oak/chair/chair.obj", "oak/chair/chair.png", "oak/chair/chair.toml"}
    done = shop.status().partition(DONE)[2]
    assert "oak/chair: done: the result is in outbox/oak/chair." in " ".join(done.split())
    assert "nothing" in shop.status().partition("Waiting in the inbox")[2].splitlines()[1]
    assert "the result is in outbox/oak/chair" in shop.told("explain", str(closed.place / "chair.obj"))


def test_a_change_makes_it_a_new_set(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """An artist who changes one of the files gets another result; one who changes nothing but a time pays nothing."""
    shop.drop_set("oak/chair")
    closed.freeze()
    shop.idle()
    closed.thaw()
    (closed.place / "chair.png").write_bytes(image("another"))
    closed.freeze()
    shop.idle()
    assert [job.state for job in shop.jobs()] == [State.ARCHIVED, State.ARCHIVED]
    assert vendor.charges == 2
    closed.thaw()
    os.utime(closed.place / "chair.png")
    closed.freeze()
    shop.idle()
    shop.ticks(10, step_seconds=5.0)
    assert (len(shop.jobs()), vendor.charges) == (3, 2)
    shop.restart()
    shop.idle()
    assert (len(shop.jobs()), vendor.charges) == (3, 2)


def test_a_set_that_is_refused_stays_and_is_refused_once(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """The report is in `failed/`; once the files are corrected where they are, they are a new set."""
    shop.drop_set("oak/chair")
    (closed.place / "chair.png").write_bytes(b"no image at all, but a text that is named one")
    shop.dropped.pop()
    closed.freeze()
    shop.idle()
    shop.ticks(5, step_seconds=5.0)
    shop.restart()
    shop.idle()
    assert [job.state for job in shop.jobs()] == [State.FAILED]
    assert "failed/oak/chair/REPORT.txt says why" in " ".join(shop.status().partition(DONE)[2].split())
    closed.thaw()
    (closed.place / "chair.png").write_bytes(image("chair"))
    closed.freeze()
    shop.idle()
    assert (sorted(job.state for job in shop.jobs()), vendor.charges) == ([State.ARCHIVED, State.FAILED], 1)


def test_sets_that_share_a_file_are_each_taken_once(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """Two sidecars name the same image; none of the files can be moved."""
    for name in ("one", "two"):
        shop.drop(f"oak/{name}.obj", model(name))
        shop.drop(f"oak/{name}.toml", f'model = "{name}.obj"\nimage = "both.png"\n'.encode())
    shop.drop("oak/both.png", image("both"))
    closed.freeze()
    shop.idle()
    shop.restart()
    shop.ticks(10, step_seconds=5.0)
    shop.idle()
    assert (sorted(job.name for job in shop.jobs()), vendor.charges) == (["one", "two"], 2)
    assert set(shop.states().values()) == {State.ARCHIVED}
    shop.assert_nothing_lost()


def test_what_is_deleted_at_last_leaves_the_page(shop: Workshop, closed: Share) -> None:
    """The artist clears the folder; the page says nothing of it any more."""
    shop.drop_set("oak/chair")
    closed.freeze()
    shop.idle()
    shop.ticks(3, step_seconds=2.0)
    assert DONE in shop.status()
    closed.thaw()
    for path in closed.place.iterdir():
        if not path.name.startswith("."):
            path.unlink()
    shop.ticks(5, step_seconds=5.0)
    assert DONE not in shop.status()


def test_a_retry_takes_the_files_of_the_report(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """They are a set in a folder of its own. The originals stay known: they are not taken again, also after a restart."""
    shop.drop_set("oak/chair")
    whole = (closed.place / "chair.png").read_bytes()
    (closed.place / "chair.png").write_bytes(b"broken, and no image")
    closed.freeze()
    shop.idle()
    shop.path("failed/oak/chair/chair.png").write_bytes(whole)
    shop.command("retry", job=shop.job("chair").id)
    shop.restart()
    shop.idle()
    shop.restart()
    shop.idle()
    assert sorted(job.state for job in shop.jobs()) == [State.ARCHIVED, State.RETURNED]
    assert vendor.charges == 1
    assert listed(closed.place)["chair.png"] == b"broken, and no image"


def test_folders_of_sets_stay_whole(shop: Workshop, vendor: Vendor, closed: Share) -> None:
    """A set that is a folder, as a file server makes it for an artist, keeps the folder."""
    (closed.place / "throne").mkdir()
    (closed.place / "throne" / "mesh.obj").write_bytes(model("throne"))
    (closed.place / "throne" / "look.png").write_bytes(image("throne"))
    closed.freeze()
    shop.idle()
    assert vendor.charges == 1
    assert listed(closed.place / "throne").keys() == {"mesh.obj", "look.png"}
    assert shop.found("outbox") >= {"oak/throne/job.toml"}
    closed.thaw()
    shutil.rmtree(closed.place / "throne")
    shop.ticks(5, step_seconds=5.0)
    assert DONE not in shop.status()
