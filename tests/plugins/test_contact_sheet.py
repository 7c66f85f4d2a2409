"""`contact_sheet`: a page and a picture beside the results of a folder."""

from __future__ import annotations

import os
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image, ImageFont
from refusing import refusal
from rodin_watchd_plugins.contact_sheet.picture import fitting
from rodin_watchd_plugins.contact_sheet.words import in_bytes
from sheets import BLUE, HOSTILE_NAMES, PLUGIN, RED, dead_links, publish, read

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Finished, OpenPlugin, PluginUnderTest, loading
from rodin_watchd.v1 import Event, Job

EVENT = Event("job-1", "delivered", 1000.0, "chair: outbox/chair")
JOB = Job("0123456789ab", "chair", "", "delivered", {}, (), 1000.0)


def announce(plugin: PluginUnderTest, directory: Path) -> str:
    """Tell the plugin of a result; return what it printed."""
    plugin.call("rodin_delivered", job=JOB, directory=directory, event=EVENT)
    return plugin.output


@pytest.fixture(scope="session")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PluginUnderTest]:
    """Give the plugin with an empty table; of its calls it keeps only small copies of previews."""
    with loading(tmp_path_factory.mktemp("sheets")) as load:
        yield load(PLUGIN)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Give an empty folder for results."""
    made = tmp_path / "outbox"
    made.mkdir()
    return made


# ---- what is on it --------------------------------------------------------------------------------------------------


def test_a_real_result_is_on_the_sheet(sheets: PluginUnderTest, rodin_finished: Finished) -> None:
    """With its preview, its name, its files and their sizes; and every link leads to a file that is there."""
    outbox = rodin_finished.directory.parent
    assert announce(sheets, rodin_finished.directory) == ""
    page = read(outbox)
    assert page.titles == ["suzi"]
    assert "1 result ·" in page.text
    size = (rodin_finished.directory / "base_basic_pbr.glb").stat().st_size
    assert f"base_basic_pbr.glb {size / 1e6:.1f} MB" in page.text
    assert {"./suzi/", "./suzi/base_basic_pbr.glb", "./suzi/preview.webp", "./contact-sheet.png"} == set(page.addresses)
    assert all((outbox / address).exists() for address in page.addresses)
    with Image.open(outbox / "contact-sheet.png") as picture:
        assert picture.size == (256 + 24, 256 + 48 + 24)
        assert len(set(picture.tobytes())) > 200


def test_the_newest_come_first_and_the_rest_is_counted(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """However many there are, only the newest are read."""
    for number in range(1500):
        (outbox / f"old{number}").mkdir()
        (outbox / f"old{number}" / "job.toml").write_text("not read, or it would be told")
        os.utime(outbox / f"old{number}" / "job.toml", (0, 0))
    for day in (3, 28, 14):
        newest = publish(outbox, f"chair-{day}", day)
    assert announce(rodin_plugin(PLUGIN, newest=3), newest) == ""
    page = read(outbox)
    assert page.titles == ["chair-28", "chair-14", "chair-3"]
    assert "the newest 3 of 1,503 results" in page.text


def test_the_picture_has_the_previews_in_rows(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """The newest left above, so many in a row, no more than asked for; each preview fills its tile, a grey one of 16 bits too."""
    for day, colour in ((1, RED), (2, BLUE), (3, RED), (4, BLUE)):
        result = publish(outbox, f"chair-{day}", day, colour)
    Image.new("I;16", (64, 64), 0x8080).save(outbox / "chair-3" / "preview.png")
    settings = {"columns": 2, "newest_in_picture": 3, "tile_pixels": 64, "theme": "light"}
    announce(rodin_plugin(PLUGIN, **settings), result)
    with Image.open(outbox / "contact-sheet.png") as picture:
        height = 64 + 2 * 16 + 12
        assert picture.size == (2 * 76 + 12, 2 * height + 12)
        seen = [picture.getpixel((12 + 32 + 76 * (n % 2), 12 + 32 + height * (n // 2))) for n in range(4)]
    expected = [BLUE, (0x80, 0x80, 0x80), BLUE, (0xF4, 0xF4, 0xF2)]
    for found, wanted in zip(seen, expected, strict=True):
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 12


def test_without_a_picture(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """Only the page is made, under the name that was asked for, and it does not speak of a picture."""
    announce(rodin_plugin(PLUGIN, picture=False, name="index"), publish(outbox, "chair"))
    assert sorted(there.name for there in outbox.iterdir()) == ["chair", "index.html"]
    assert ".png" not in (outbox / "index.html").read_text().replace("preview.png", "")


# ---- what comes from outside ----------------------------------------------------------------------------------------


def test_names_are_text(sheets: PluginUnderTest, outbox: Path) -> None:
    """Whatever a folder is called, the page has no tag more, each link leads to the folder, and the text stays in order."""
    folder = outbox / "</title><b>"
    for day, name in enumerate(HOSTILE_NAMES, 1):
        result = publish(folder, name, day)
    announce(sheets, result)
    page = read(folder)
    assert page.tags.count("script") == 1
    assert f"script-src 'sha256-{b64encode(sha256(page.script.encode()).digest()).decode()}'" in page.policy
    assert "b" not in page.tags
    assert page.tags.count("img") == len(HOSTILE_NAMES)
    assert page.titles[4] == "javascript:alert(1)"
    assert page.titles[2:4] == [
        "bro\N{REPLACEMENT CHARACTER}ken",
        "a\N{REPLACEMENT CHARACTER}gpj" + "\N{REPLACEMENT CHARACTER}" * 2 + "[31m",
    ]
    assert dead_links(folder, page) == []


def test_a_preview_in_a_folder_is_shown(sheets: PluginUnderTest, outbox: Path) -> None:
    """Where the vendor named it so, the receipt says where it is; but nothing is shown through a link."""
    for name in ("inside", "link"):
        result = publish(outbox, name)
        (result / "scene").mkdir()
        (result / "preview.png").rename(result / "scene/preview.png")
        with (result / "job.toml").open("a") as receipt:
            receipt.write('[[results]]\nname = "scene/preview.png"\nbytes = 100\n')
    (result / "scene").rename(outbox.parent / "elsewhere")
    (result / "scene").symlink_to(outbox.parent / "elsewhere")
    announce(sheets, result)
    page = read(outbox)
    assert "./inside/scene/preview.png" in page.addresses
    assert page.text.count("no preview") == 1


def test_previews_that_are_none_are_left_out(sheets: PluginUnderTest, outbox: Path) -> None:
    """Broken ones, links, pipes, other formats and far too large ones; the result is shown all the same."""
    ways = ("broken", "link", "pipe", "gif", "large", "none", "whole")
    for day, name in enumerate(ways, 1):
        result = publish(outbox, name, day)
        if name != "whole":
            (result / "preview.png").unlink()
    (outbox / "broken" / "preview.png").write_bytes((result / "preview.png").read_bytes()[:60])
    (outbox / "link" / "preview.png").symlink_to(result / "preview.png")
    os.mkfifo(outbox / "pipe" / "preview.png")
    Image.new("P", (9, 9)).save(outbox / "gif" / "preview.png", "GIF")
    Image.new("1", (9000, 9000)).save(outbox / "large" / "preview.png")
    announce(sheets, result)
    page = read(outbox)
    assert page.titles == list(reversed(ways))
    assert page.tags.count("img") == 1
    assert page.text.count("no preview") == len(ways) - 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[job",
        "job = 1",
        "[job]\nwritten_at = 1979-05-27",
        "[job]\nwritten_at = 'soon'",
        "\udcff",
        "a." * 5000 + "b=1",
        "'='." * 200_000 + "b=1",
    ],
)
def test_receipts_that_are_none_are_told(sheets: PluginUnderTest, outbox: Path, text: str) -> None:
    """Such a folder is left out, and the plugin's output says so."""
    result = publish(outbox, "chair", 1)
    (publish(outbox, "stool", 2) / "job.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "'stool' is left out: job.toml: " in announce(sheets, result)
    assert read(outbox).titles == ["chair"]


def test_a_forged_receipt_leads_nowhere_else(sheets: PluginUnderTest, outbox: Path) -> None:
    """Files outside the result's folder are not linked, and of very many only some are named."""
    result = publish(outbox, "chair")
    names = ["../../private", "/etc/passwd", "a/../../b", "sub/part.bin", *(f"{n}.bin" for n in range(20))]
    files = "".join(f'[[results]]\nname = "{name}"\nbytes = 1\n' for name in names)
    (result / "job.toml").write_text(f"[job]\nwritten_at = 2026-11-01T00:00:00Z\n{files}")
    announce(sheets, result)
    page = read(outbox)
    assert not [address for address in page.addresses if ".." in address or "etc" in address]
    assert "./chair/sub/part.bin" in page.addresses
    assert "and 13 more" in page.text


def test_other_things_in_the_folder_are_no_results(sheets: PluginUnderTest, outbox: Path) -> None:
    """Folders without a receipt, files, and links to results."""
    result = publish(outbox, "chair")
    (outbox / "props").mkdir()
    (outbox / "notes.txt").write_text("")
    (outbox / "again").symlink_to(result)
    announce(sheets, result)
    assert read(outbox).titles == ["chair"]


# ---- how it is written ----------------------------------------------------------------------------------------------


def test_calls_at_once(rodin_plugin: OpenPlugin, outbox: Path) -> None:
    """Two processes, each with results of its own: in the end all are on the sheet, and nothing else is left."""
    plugins = [rodin_plugin(PLUGIN, tile_pixels=64) for _ in range(2)]

    def deliver(number: int) -> None:
        for day in range(1 + number, 17, 2):
            announce(plugins[number], publish(outbox, f"chair-{day:02}", day))

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [f"chair-{day:02}" for day in range(1, 17)]
    assert read(outbox).titles == names[::-1]
    assert sorted(there.name for there in outbox.iterdir()) == [*names, "contact-sheet.html", "contact-sheet.png"]
    with Image.open(outbox / "contact-sheet.png") as picture:
        picture.load()


def test_a_result_that_was_taken_away(sheets: PluginUnderTest, outbox: Path) -> None:
    """Nothing is written then, not into an empty folder either: it may be where a share was mounted."""
    told = announce(sheets, outbox / "props" / "chair")
    (outbox / "props").mkdir()
    told += announce(sheets, outbox / "props" / "chair")
    assert told == f"{outbox}/props/chair was taken away; the sheet of {outbox}/props stays as it is\n" * 2
    assert list((outbox / "props").iterdir()) == []


def test_links_are_replaced_and_not_followed(sheets: PluginUnderTest, outbox: Path) -> None:
    """Nothing outside is overwritten; and everybody who may read the folder's files may read the sheet."""
    outside = outbox.parent / "outside"
    result = publish(outbox, "chair")
    outside.write_text("precious")
    (outbox / "contact-sheet.html").symlink_to(outside)
    announce(sheets, result)
    assert outside.read_text() == "precious"
    assert read(outbox).titles == ["chair"]
    mode = (outbox / "contact-sheet.html").lstat().st_mode
    outside.unlink()
    outside.touch()
    assert mode == outside.stat().st_mode


@pytest.mark.parametrize("extension", ["html", "png"])
def test_a_file_of_somebody_else_stays(sheets: PluginUnderTest, outbox: Path, extension: str) -> None:
    """An artist's page that happens to have the sheet's name is never replaced; it is said why there is no sheet."""
    result = publish(outbox, "chair")
    theirs = outbox / f"contact-sheet.{extension}"
    theirs.write_text("<html>my portfolio</html>")
    with pytest.raises(PluginError, match="no contact sheet has this name"):
        announce(sheets, result)
    assert theirs.read_text() == "<html>my portfolio</html>"
    assert not list(outbox.glob(".*"))


@pytest.mark.parametrize("left", [b"", b"<!doctype html> by rodin_watchd contact sheet"])
def test_what_a_killed_call_left_is_removed(sheets: PluginUnderTest, outbox: Path, left: bytes) -> None:
    """Unfinished or not."""
    result = publish(outbox, "chair")
    (outbox / ".contact-sheet.html.new").write_bytes(left)
    announce(sheets, result)
    assert sorted(path.name for path in outbox.iterdir()) == ["chair", "contact-sheet.html", "contact-sheet.png"]


def test_somebody_elses_file_that_a_killed_call_had_in_hand_is_kept(sheets: PluginUnderTest, outbox: Path) -> None:
    """Under a free name."""
    result = publish(outbox, "chair")
    aside = outbox / ".contact-sheet.html.new"
    for text in ("my portfolio", "my diary"):
        aside.write_text(text)
        assert "a file of somebody else is contact-sheet-" in announce(sheets, result)
        assert not aside.exists()
    assert (outbox / "contact-sheet-2.html").read_text() == "my portfolio"
    assert (outbox / "contact-sheet-3.html").read_text() == "my diary"
    assert read(outbox).titles == ["chair"]


def test_a_sheet_that_cannot_be_written(sheets: PluginUnderTest, outbox: Path) -> None:
    """It is said why, and nothing unfinished stays."""
    result = publish(outbox, "chair")
    (outbox / "contact-sheet.html").mkdir()
    with pytest.raises(PluginError, match=r"contact-sheet\.html"):
        announce(sheets, result)
    assert not list(outbox.glob(".*"))


# ---- small things ---------------------------------------------------------------------------------------------------


def test_long_names_lose_their_middle() -> None:
    """Beginning and end tell names apart; what fits stays whole."""
    font = ImageFont.load_default(16)
    cut = fitting("lamp_v012_final_really_final_v2", font, 150)
    assert font.getlength(cut) <= 150
    assert (cut[:4], cut[-2:]) == ("lamp", "v2")
    assert "…" in cut
    assert fitting("lamp", font, 150) == "lamp"
    assert fitting("lamp", font, 1) == "…"
    assert font.getlength(fitting("i" * 100_000, font, 150)) <= 150


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (1543504, "1.5 MB"), (10**13, "10000.0 GB")],
)
def test_sizes(size: int, words: str) -> None:
    """In the units that file managers use."""
    assert in_bytes(size) == words


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "../index"}, "name: "),
        ({"name": ".hidden"}, "name: "),
        ({"newest": 0}, "newest: "),
        ({"newest": 2001}, "newest: "),
        ({"theme": "pink"}, "theme: "),
        ({"font": "/nowhere/font.ttf"}, "font: /nowhere/font.ttf cannot be used"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], told: str) -> None:
    """At the check, by name."""
    assert re.search(told, refusal(PLUGIN, settings))
