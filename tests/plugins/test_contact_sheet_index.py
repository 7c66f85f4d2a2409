"""`contact_sheet` with `index = true`: one page of all results of the outbox, with thumbnails of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from refusing import refusal
from rodin_watchd_plugins.contact_sheet.gathering import gathered
from rodin_watchd_plugins.contact_sheet.publishing import locked
from sheets import BLUE, HOSTILE_NAMES, PLUGIN, RED, Read, dead_links, publish, read
from workshop import KEY, emulated, workshop

from rodin_watchd.errors import PluginError
from rodin_watchd.model import State
from rodin_watchd.testing import OpenPlugin, PluginUnderTest, loading
from rodin_watchd.v1 import Event, Job

EVENT = Event("job-1", "delivered", 1000.0, "chair: outbox/chair")


def announce(plugin: PluginUnderTest, outbox: Path, place: str) -> str:
    """Tell the plugin of the result at a place in the outbox; return what it printed."""
    job = Job("0123456789ab", "chair", "", "delivered", {}, (), 1000.0, place=f"outbox/{place}")
    plugin.call("rodin_delivered", job=job, directory=outbox / place, event=EVENT)
    return plugin.output


def index(outbox: Path) -> Read:
    """Return the index, each of whose links and pictures must be there, and no thumbnail that it does not show."""
    page = read(outbox, "index.html")
    assert dead_links(outbox, page) == []
    assert {f"./.index/{path.name}" for path in (outbox / ".index").iterdir()} == {*page.images}
    return page


@pytest.fixture(scope="session")
def indexing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PluginUnderTest]:
    """Give the plugin with an index and the smallest of sheets."""
    with loading(tmp_path_factory.mktemp("indexing")) as load:
        yield load(PLUGIN, index=True, picture=False)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Give an empty folder for results."""
    made = tmp_path / "outbox"
    made.mkdir()
    return made


# ---- what is on it --------------------------------------------------------------------------------------------------


def test_all_folders_are_on_one_page(indexing: PluginUnderTest, outbox: Path) -> None:
    """The newest first, each with its folder, date and price, and a small picture of its own; folders can be chosen."""
    publish(outbox / "team/props", "lamp", 2, BLUE)
    publish(outbox, "stool", 1)
    chair = publish(outbox / "team", "chair", 3)
    Image.new("RGB", (1600, 800), BLUE).save(chair / "preview.png")
    assert announce(indexing, outbox, "team/chair") == ""
    page = index(outbox)
    assert page.titles == ["chair", "lamp", "stool"]
    assert re.findall(
        r"team\S*|2026-11-\d\d|[\d.]+ credits?|the newest.*|\d+ results", page.text.partition("3 results")[2]
    ) == [
        "teamteam/props",  # the choice
        *("team", "2026-11-03", "0.5 credits"),
        *("team/props", "2026-11-02", "0.5 credits"),
        *("2026-11-01", "0.5 credits"),
    ]
    assert page.options == ["", "team/", "team/props/"]
    assert "./team/props/lamp/base_basic_pbr.glb" in page.addresses
    with Image.open(outbox / page.images[0]) as small:
        assert (small.format, small.size) == ("WEBP", (512, 256))
    assert read(outbox / "team").titles == ["chair"]


def test_what_was_moved_or_deleted_drops_out(indexing: PluginUnderTest, outbox: Path) -> None:
    """With the next delivery, and its thumbnail with it; a preview that has changed gets another thumbnail."""
    for name in ("stool", "lamp", "chair"):
        publish(outbox / "team", name)
    announce(indexing, outbox, "team/chair")
    before = index(outbox)
    (outbox / "team/lamp").rename(outbox.parent / "lamp")
    shutil.rmtree(outbox / "team/stool")
    (outbox / "team/chair").rename(outbox / "chair-1")
    publish(outbox, "vase", 2, BLUE)
    announce(indexing, outbox, "vase")
    moved = index(outbox)
    assert (moved.titles, moved.options) == (["vase", "chair-1"], [])
    Image.new("RGB", (64, 64), RED).save(outbox / "vase/preview.png")
    announce(indexing, outbox, "vase")
    assert len({*before.images, *moved.images, *index(outbox).images}) == 3 + 2 + 1


def test_only_so_many_are_shown(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """The newest of all folders; the rest is counted, and has no thumbnails."""
    for day in range(1, 6):
        publish(outbox / f"day-{day}", "chair", day)
    announce(rodin_plugin(PLUGIN, index=True, picture=False, newest_in_index=2), outbox, "day-1/chair")
    page = index(outbox)
    assert (page.titles, len(page.images)) == (["chair", "chair"], 2)
    assert "the newest 2 of 5 results" in page.text
    assert page.options == ["", "day-4/", "day-5/"]


def test_where_there_are_too_many_folders_the_page_says_so(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows what was found in those that were looked at."""
    monkeypatch.setattr("rodin_watchd_plugins.contact_sheet.gathering.MOST_FOLDERS", 3)
    for number in range(3):
        publish(outbox / "team", f"chair-{number}")
    with locked(outbox) as folder:
        seen = gathered(folder, 10, depth=1)
        assert (seen.count, len(seen.results), seen.is_all) == (2, 2, False)
        assert gathered(folder, 10, depth=0).is_all


def test_names_are_text_and_links_lead_to_the_files(indexing: PluginUnderTest, outbox: Path) -> None:
    """Whatever sets and folders are called; relative links with all their bytes encoded are right on a share and on a server."""
    for day, name in enumerate(HOSTILE_NAMES, 1):
        publish(outbox / name, name[:100], day)
    announce(indexing, outbox, f"{name}/{name[:100]}")
    page = index(outbox)
    assert len(page.titles) == len(page.images) == len(HOSTILE_NAMES)
    assert (page.tags.count("script"), page.tags.count("img")) == (1, len(HOSTILE_NAMES))
    assert all(re.fullmatch(r"\./[A-Za-z0-9_.~/%-]+", address) for address in page.addresses)
    assert str(outbox.parent) not in (outbox / "index.html").read_text()


# ---- what is not a result ------------------------------------------------------------------------------------------


def test_links_and_hidden_folders_are_not_looked_into(indexing: PluginUnderTest, outbox: Path) -> None:
    """A link to a folder, to a result, a receipt or a preview shows nothing from elsewhere; nor is a copy shown that is being made."""
    elsewhere = outbox.parent / "elsewhere"
    secret = publish(elsewhere, "secret")
    publish(outbox / ".rodin-0123456789ab-result", "copied")
    (outbox / "linked").symlink_to(elsewhere)
    (outbox / "again").symlink_to(secret)
    (publish(outbox, "stool", 2) / "preview.png").unlink()
    (outbox / "stool/preview.png").symlink_to(secret / "preview.png")
    (publish(outbox, "lamp", 3) / "job.toml").unlink()
    (outbox / "lamp/job.toml").symlink_to(secret / "job.toml")
    inner = publish(publish(outbox, "chair", 4), "scene")
    assert (inner / "job.toml").exists()
    announce(indexing, outbox, "chair")
    page = index(outbox)
    assert page.titles == ["chair", "stool"]
    assert page.text.count("no preview") == 1


@pytest.mark.parametrize("name", [".index", ".index/thumbnail"])
def test_thumbnails_are_not_written_through_links(indexing: PluginUnderTest, outbox: Path, name: str) -> None:
    """A link for the folder is an error with its name; one for a thumbnail is replaced."""
    elsewhere = outbox.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    publish(outbox, "chair")
    if name == ".index":
        (outbox / name).symlink_to(elsewhere)
        with pytest.raises(PluginError, match=r"'\.index'"):
            announce(indexing, outbox, "chair")
    else:
        announce(indexing, outbox, "chair")
        thumbnail = next((outbox / ".index").iterdir())
        thumbnail.unlink()
        thumbnail.symlink_to(elsewhere / "precious")
        announce(indexing, outbox, "chair")
        assert not thumbnail.is_symlink()
        index(outbox)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["precious"]


def test_a_page_of_somebody_else_stays(indexing: PluginUnderTest, outbox: Path) -> None:
    """It is said why there is no index, nothing else is made for it, and the sheet is there all the same."""
    publish(outbox / "team", "chair")
    (outbox / "index.html").write_text("<html>my portfolio</html>")
    with pytest.raises(PluginError, match=r"no contact sheet has this name.*index\.html"):
        announce(indexing, outbox, "team/chair")
    assert (outbox / "index.html").read_text() == "<html>my portfolio</html>"
    assert sorted(path.name for path in outbox.iterdir()) == ["index.html", "team"]
    assert read(outbox / "team").titles == ["chair"]


def test_an_index_comes_without_a_sheet(indexing: PluginUnderTest, outbox: Path) -> None:
    """Where somebody else's file has the sheet's name."""
    publish(outbox / "team", "chair")
    (outbox / "team/contact-sheet.html").write_text("mine")
    with pytest.raises(PluginError, match=r"contact-sheet\.html"):
        announce(indexing, outbox, "team/chair")
    assert index(outbox).titles == ["chair"]


def test_somebody_elses_files_in_the_hidden_folder_stay(indexing: PluginUnderTest, outbox: Path) -> None:
    """Only thumbnails are removed."""
    publish(outbox, "chair")
    (outbox / ".index").mkdir()
    (outbox / ".index/notes.txt").touch()
    (outbox / f".index/{'0' * 32}.webp").touch()
    announce(indexing, outbox, "chair")
    assert {path.suffix for path in (outbox / ".index").iterdir()} == {".txt", ".webp"}
    assert len(list((outbox / ".index").iterdir())) == 2


def test_a_result_outside_the_outbox_has_no_index(indexing: PluginUnderTest, outbox: Path) -> None:
    """Nothing is written into a folder that is not the outbox of which the job speaks."""
    directory = publish(outbox, "chair")
    for place in ("", "chair", "outbox", "/outbox/chair", str(directory), "failed/chair", "outbox/team/chair"):
        job = Job("0123456789ab", "chair", "", "delivered", {}, (), 1000.0, place=place)
        with pytest.raises(PluginError, match="is not in the outbox of a service"):
            indexing.call("rodin_delivered", job=job, directory=directory, event=EVENT)
    assert {path.name for path in outbox.parent.rglob("*.html")} == {"contact-sheet.html"}


def test_a_result_that_was_taken_away_leaves_the_index_as_it_is(indexing: PluginUnderTest, outbox: Path) -> None:
    """The empty folder may be where a share was mounted."""
    assert announce(indexing, outbox, "chair").count("the sheet of") == 2
    assert list(outbox.iterdir()) == []


# ---- how it is written ----------------------------------------------------------------------------------------------


def test_calls_at_once(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """Two processes, each with a folder of its own: in the end all are on the page, and every thumbnail is there."""
    plugins = [rodin_plugin(PLUGIN, picture=False, index=True) for _ in range(2)]
    ended = threading.Event()
    missing: list[str] = []

    def deliver(number: int) -> None:
        for day in range(1 + number, 13, 2):
            publish(outbox / f"team-{number}", f"chair-{day:02}", day, (day * 20, 0, 0))
            announce(plugins[number], outbox, f"team-{number}/chair-{day:02}")

    def look() -> None:
        seen = False
        while not ended.is_set():
            seen = seen or (outbox / "index.html").exists()
            if seen:
                missing.extend(dead_links(outbox, read(outbox, "index.html")))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(2)]
    reader = threading.Thread(target=look)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    reader.join()
    assert missing == []
    assert index(outbox).titles == [f"chair-{day:02}" for day in range(12, 0, -1)]
    assert {path.name for path in outbox.iterdir()} == {".index", "index.html", "team-0", "team-1"}


def test_a_call_that_is_disturbed_leaves_a_whole_page(tmp_path: Path) -> None:
    """Killed before each of its effects: the page is there, old or new, with its thumbnails, and the next call tidies up.

    And what somebody saves under its name at any of these moments is kept.
    """
    program = [sys.executable, str(Path(__file__).with_name("disturbed_calls.py")), str(tmp_path)]
    disturbed = subprocess.run(program, capture_output=True, text=True, check=False)
    assert disturbed.returncode == 0, disturbed.stderr
    assert int(disturbed.stdout.splitlines()[-1]) >= 25


# ---- in the service -------------------------------------------------------------------------------------------------


def test_a_daemon_keeps_the_index_and_takes_nothing_of_it(tmp_path: Path) -> None:
    """Sets of two folders are delivered; the whole outbox, copied into the inbox with its index, costs nothing."""
    with (
        emulated() as vendor,
        workshop(tmp_path, vendor.emulator.base_url, plugins={"contact_sheet": {"index": True}}) as shop,
    ):
        shop.drop_set("chair")
        shop.drop_set("team/lamp")
        shop.idle()
        page = index(shop.path("outbox"))
        assert sorted(page.titles) == ["chair", "lamp"]
        assert page.text.count("0.5 credits") == 2
        html = shop.path("outbox/index.html").read_text()
        assert KEY not in html
        assert str(shop.root) not in html
        assert {run.outcome for run in shop.store.runs_of([job.id for job in shop.jobs()])} == {"done"}
        shutil.copytree(shop.path("outbox"), shop.path("inbox/copied"))
        shop.restart()
        shop.idle()
        assert [job.state for job in shop.jobs()] == [State.ARCHIVED] * 2
        assert vendor.charges == 2


@pytest.mark.parametrize("name", ["index", "INDEX"])
def test_the_index_and_a_sheet_of_its_name_do_not_go_together(name: str) -> None:
    """At the check: each would replace the other."""
    assert 'name: "index" is the name of the index' in refusal(PLUGIN, {"index": True, "name": name})
