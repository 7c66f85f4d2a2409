"""File names from outside: junk, sameness, showing, making safe."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rodin_watchd.core.formats import IMAGE_EXTENSIONS, MODEL_EXTENSIONS
from rodin_watchd.core.names import (
    RESULT_FOLDERS,
    RESULT_NAME_BYTES,
    companion_of,
    folders_of,
    junk_reason,
    match_key,
    may_go_with,
    natural_key,
    printable,
    safe_folder_name,
    safe_result_names,
    split_name,
)

modest = settings(max_examples=200, deadline=None)

ANY_CHARACTER = st.characters(codec=None, categories=None)  # with lone surrogates
ANY_NAME = st.text(ANY_CHARACTER, max_size=40)
NASTY_PIECE = st.sampled_from(
    [
        *("..", ".", "/", "\\", "C:", "CON", "nul", "com1", "lpt¹", " ", "-", "~", "\n", "\0", "\u202e", "\udcff", "?"),
        *(".part", ".PART", ".glb", "job.toml", "JOB", ".toml", "result-1", "-2", "é", "e\u0301", "ß", "ss", "\u0301"),
        *(
            "a/",
            "A/",
            "x" * 40 + "/",
            "job.toml/",
            "x" * 130,
            "ü" * 70,
            "𝄞" * 40,
            ".verylongextension",
            "CON" + " " * 130 + "x",
            "a.part" + "b" * 20,
        ),
    ]
)
NASTY_NAME = st.one_of(ANY_NAME, st.lists(NASTY_PIECE, max_size=7).map("".join))
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}

JUNK = [
    (".DS_Store", "made by the operating system or the file server"),
    ("THUMBS.DB", "made by the operating system or the file server"),
    ("ehthumbs.db", "made by the operating system or the file server"),
    ("desktop.ini", "made by the operating system or the file server"),
    ("Icon\r", "made by the operating system or the file server"),
    ("@eaDir", "made by the operating system or the file server"),
    ("#recycle", "made by the operating system or the file server"),
    ("$RECYCLE.BIN", "made by the operating system or the file server"),
    ("System Volume Information", "made by the operating system or the file server"),
    (".Trash-1000", "made by the operating system or the file server"),
    ("lost+found", "made by the operating system or the file server"),
    ("._chair.glb", "made by macOS next to the real file"),
    (".nfs000000000123abcd00000001", "a deleted file that is still open"),
    (".smbdeleteAAA1b2c3", "a deleted file that is still open"),
    (".fuse_hidden0000a1b200000001", "a deleted file that is still open"),
    ("chair.sync-conflict-20240101-101010-ABCDEF.glb", None),
    ("chair (conflicted copy 2024-01-01).glb", None),
    ("chair (Anna's conflicted copy 2024-01-01).glb", None),
    ("chair (Anna (PC)'s conflicted copy 2024-01-01).glb", None),
    ("chair (Case Conflict).glb", None),
    ("chair (case conflict 1).glb", None),
    ("chair (SFConflict anna@x.org 2024-01-01-10-10-10).glb", None),
    ("chair_conflict-20240101-101010.glb", None),
    (".syncthing.chair.glb.tmp", "made by Syncthing"),
    ("~syncthing~chair.glb.tmp", "made by Syncthing"),
    (".stfolder", "made by Syncthing"),
    (".dropbox.cache", "made by Dropbox"),
    (".~chair.glb.1a2b3c", "made by Nextcloud or ownCloud"),
    (".sync_0123456789ab.db-wal", "made by Nextcloud or ownCloud"),
    (".chair.glb.icloud", "not yet downloaded from iCloud"),
    ("~$chair.docx", "the lock of a program that has a file open"),
    (".~lock.chair.odt#", "the lock of a program that has a file open"),
    ("~lock.chair", "the lock of a program that has a file open"),
    (".goutputstream-A1B2C3", "a temporary name (.goutputstream)"),
    ("chair.glb.part", "a temporary name (.part)"),
    ("chair.glb.PARTIAL", "a temporary name (.partial)"),
    ("Unconfirmed 123.crdownload", "a temporary name (.crdownload)"),
    ("chair.glb.download", "a temporary name (.download)"),
    ("chair.glb.opdownload", "a temporary name (.opdownload)"),
    ("chair.glb.filepart", "a temporary name (.filepart)"),
    ("chair.glb.!ut", "a temporary name (.!ut)"),
    ("chair.glb.aria2", "a temporary name (.aria2)"),
    ("chair.glb.lftp-pget-status", "a temporary name (.lftp-pget-status)"),
    ("chair.glb.xltd.cfg", "a temporary name (.xltd.cfg)"),
    ("chair.glb_.gstmp", "a temporary name (.gstmp)"),
    ("chair.glb.crswap", "a temporary name (.crswap)"),
    ("chair.tmp", "a temporary name (.tmp)"),
    ("chair.temp", "a temporary name (.temp)"),
    ("chair.swp", "a temporary name (.swp)"),
    ("chair.lock", "a temporary name (.lock)"),
    ("chair.toml.sb-1a2b3c4d-Xy12Zz", "a temporary name (.sb-…)"),
    ("chair.toml~", "a backup made by an editor"),
    ("chair.~", "a backup made by an editor"),
    ("#chair.toml#", "a backup made by an editor"),
    ("~chair.glb", "a temporary name (~)"),
    (".chair.glb.a1B2c3", "a hidden file"),
    (".rodin-watchd", "a hidden file"),
]


@pytest.mark.parametrize(("name", "reason"), JUNK)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_junk_is_known_by_its_name(name: str, reason: str | None, change: type[str]) -> None:
    """Each sort of junk is explained, in upper and lower case."""
    assert junk_reason(change(name)) == (reason or "a conflict copy made by a synchronising program")


@pytest.mark.parametrize(
    "name",
    [
        *("chair.glb", "chair.v2.GLB", "chair", "Stuhl (Kopie).png", "chair (1).glb", "chair-tmp.glb", "part.glb"),
        *(
            "tmp",
            "temp.obj",
            "lock.png",
            "conflicted copy.png",
            "thumbs.png",
            "Icon",
            "icons",
            "desktop.glb",
            "# 1.glb",
        ),
        *("_folder.toml", "$100 chair.glb", "a~b.glb", "chair.partly", "\udcff.glb", "椅子.glb", "sync.glb", "nfs.glb"),
    ],
)
def test_what_artists_call_their_files_is_not_junk(name: str) -> None:
    """A name that only resembles junk is taken."""
    assert junk_reason(name) is None


COMPANIONS = (
    *("chair.glb.lftp-pget-status", ".in.chair.glb.", "chair.glb.st", "chair.glb.aria2", "chair.glb.aria2__temp"),
    *("chair.glb.!bt", "chair.glb.!ut", "chair.glb.ut!", "chair.glb.bc!", "chair.glb.!qB", "chair.glb.az!"),
    *("chair.glb.fdmdownload", "chair.glb.dtapart", "chair.glb.jc!", "chair.glb.xltd", "chair.glb.xltd.cfg"),
    *("chair.glb.td", "chair.glb.td.cfg", "chair.glb.downloading", "chair.glb.crdownload", "chair.glb.crswap"),
    *("chair.glb.opdownload", "chair.glb.partial", "chair.glb.filepart", "chair.glb.tmp", "~chair.glb.tmp"),
    *(".chair.glb.part", ".chair.glb.swp", ".chair.glb.Ab3xYz", "chair.glb.1a2b3c4d.partial", "chair.glb.!Sync"),
    *(".chair.glb.rslsync1", "chair.glb.rsls", "chair.glb.rslls", "chair.glb.ffs_tmp", "chair.glb~1a2b.ffs_tmp"),
    *("chair.glb_.gstmp", ".syncthing.chair.glb.tmp", "~syncthing~chair.glb.tmp", ".chair.glb.~1a2b"),
)


@pytest.mark.parametrize("name", COMPANIONS)
def test_temporary_files_say_whose_they_are(name: str) -> None:
    """What programs keep next to a file that they write is ignored, and that file is not finished."""
    assert companion_of(name) == "chair.glb"
    assert junk_reason(name)


@pytest.mark.parametrize("name", ["chair.glb", "chair.partly", ".chair.backup", "chair.st.glb", "chair.tdx"])
def test_other_files_are_nobodys(name: str) -> None:
    """A name that only resembles one of a temporary file."""
    assert companion_of(name) is None


PLAIN_STEM = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z ._-]{0,12}", fullmatch=True)
PLAIN_NAME = st.tuples(
    PLAIN_STEM, st.sampled_from(sorted(MODEL_EXTENSIONS | IMAGE_EXTENSIONS | {".toml", ".GLB", ".Png"}))
)
PIECES_OF_JUNK = st.sampled_from(
    [
        *((prefix, "") for prefix in ("._", ".nfs", ".dropbox", ".~", "~$", "~", ".", "~syncthing~")),
        *(("", suffix) for suffix in (".part", ".tmp", ".icloud", "~", ".aria2", ".sb-1a2b3c4d-Xy12Zz", ".rslsync1")),
        *(("", suffix) for suffix in (".xltd.cfg", "_.gstmp", ".st", ".!ut", ".swp", ".lock")),
        *(("#", "#"), ("thumbs.db:", ""), (".trash-", "")),
    ]
)
CONFLICTS = st.sampled_from(
    [
        *(".sync-conflict-20240101-101010-ABC", "_conflict-20240101-101010", " (Anna's conflicted copy 2024-01-01)"),
        *(" (Case Conflict 1)", " (sync conflict)", " (SFConflict a@x.org)"),
    ]
)


@modest
@given(PLAIN_NAME)
def test_a_plain_name_is_never_junk(name: tuple[str, str]) -> None:
    """Letters, digits and what else artists use, with an extension that is taken."""
    assert junk_reason("".join(name)) is None


@modest
@given(PLAIN_NAME, PIECES_OF_JUNK)
def test_a_plain_name_with_a_piece_of_junk_is_junk(name: tuple[str, str], piece: tuple[str, str]) -> None:
    """What programs put before or behind a name shows, however plain the name is."""
    assert junk_reason(f"{piece[0]}{''.join(name)}{piece[1]}")


@modest
@given(PLAIN_NAME, CONFLICTS)
def test_a_plain_name_with_a_conflict_is_junk(name: tuple[str, str], conflict: str) -> None:
    """So does what they put into it."""
    assert junk_reason(f"{name[0]}{conflict}{name[1]}") == "a conflict copy made by a synchronising program"


@modest
@given(ANY_NAME)
def test_any_name_is_junk_with_a_reason_or_not_at_all(name: str) -> None:
    """No name raises, and no reason is empty."""
    assert junk_reason(name) != ""


@modest
@given(ANY_NAME)
@example("ΐ\u0345ͅA")
@example("İSTANBUL")
def test_match_key_is_idempotent(name: str) -> None:
    """The key of a key is that key."""
    assert match_key(match_key(name)) == match_key(name)


@modest
@given(ANY_NAME)
@example("Straße é")
def test_match_key_ignores_normalisation_and_case(name: str) -> None:
    """Every normal form and every case of a name has the same key, in NFC."""
    key = match_key(name)
    assert key == match_key(unicodedata.normalize("NFD", name)) == match_key(unicodedata.normalize("NFC", name))
    assert key == match_key(unicodedata.normalize("NFD", name).casefold())
    assert unicodedata.is_normalized("NFC", key)


def test_match_key_of_every_character_is_idempotent() -> None:
    """No single character of Unicode, nor its decomposition, breaks the key."""
    for character in map(chr, range(sys.maxunicode + 1)):
        key = match_key(character)
        assert match_key(key) == key == match_key(unicodedata.normalize("NFD", character))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Stühle.GLB", "stu\u0308hle.glb", True),
        ("STRASSE", "straße", True),
        ("chair", "chairs", False),
        ("stuhle", "stühle", False),
        ("a\udcff", "A\udcff", True),
        ("a\udcff", "a\udcfe", False),
    ],
)
def test_match_key_finds_names_that_mean_the_same(one: str, other: str, same: bool) -> None:
    """Spellings of one name are one name; different names stay different."""
    assert (match_key(one) == match_key(other)) is same


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("chair.glb", ("chair", ".glb")),
        ("Chair.GLB", ("Chair", ".glb")),
        ("chair.v2.glb", ("chair.v2", ".glb")),
        ("chair", ("chair", "")),
        ("chair.", ("chair.", "")),
        (".glb", (".glb", "")),
        ("..glb", ("..glb", "")),
        ("", ("", "")),
        ("a\udcff.Png", ("a\udcff", ".png")),
    ],
)
def test_split_name(name: str, parts: tuple[str, str]) -> None:
    """The last dot parts the stem, as it is spelt, from the extension in lower case."""
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Stühle 椅子.glb", "Stühle 椅子.glb"),
        ("a\nb\tc\x00\x1b[31m", "a\\nb\\tc\\x00\\x1b[31m"),
        ("cha\u202eglb.exe", "cha\\u202eglb.exe"),
        ("a\udcff.glb", "a\\udcff.glb"),
        ("line\u2028end\xa0\U000e0041", "line\\u2028end\\xa0\\U000e0041"),
        ("", ""),
    ],
)
def test_printable_shows_what_cannot_be_seen(name: str, shown: str) -> None:
    """Ordinary letters stay; everything invisible is escaped."""
    assert printable(name) == shown


@modest
@given(ANY_NAME, st.integers(1, 60))
def test_printable_is_one_bounded_line(name: str, limit: int) -> None:
    """Whatever comes, the text is printable, encodable and no longer than asked."""
    shown = printable(name, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    assert printable(shown, limit) == shown


@pytest.mark.parametrize(
    ("limit", "shown"), [(20, "aaaaaaaaaaaaa…aa.glb"), (9, "aaaaaa…lb"), (1, "…"), (27, "a" * 23 + ".glb")]
)
def test_printable_cuts_the_middle(limit: int, shown: str) -> None:
    """A long name keeps its beginning and its extension."""
    assert printable("a" * 23 + ".glb", limit) == shown


@pytest.mark.parametrize(
    ("names", "safe"),
    [
        (["model.glb", "preview.webp"], ["model.glb", "preview.webp"]),
        (["../../etc/passwd", "/etc/shadow", "\\\\nas\\a.png", "a/../b.png"], ["passwd", "shadow", "a.png", "b.png"]),
        (["textures/wood.png", "a/b\\c.png", "./d//e.png"], ["textures/wood.png", "a/b/c.png", "d/e.png"]),
        (["Tex/a.png", "tex/b.png", "TEX/A.PNG"], ["Tex/a.png", "Tex/b.png", "Tex/A-2.PNG"]),
        (["maps", "maps/a.png", "MAPS/a.png"], ["maps-2", "maps/a.png", "maps/a-2.png"]),
        (["job.toml/a.png", "a/job.toml", "REPORT.txt"], ["_job.toml/a.png", "a/job-2.toml", "REPORT-2.txt"]),
        ([".git/con/x.part", "a./b?c /d.png", "tmp.part/e.png"], ["git/_con/x-part", "a/b_c/d.png", "tmp-part/e.png"]),
        (["a/b/c/d/e.png", "a/b/c/d/e/f.png"], ["a/b/c/d/e.png", "f.png"]),
        (["x" * 79 + "/" + "y" * 90 + ".png", "x" * 80 + "/y.png"], ["x" * 79 + "/" + "y" * 36 + ".png", "y.png"]),
        (["C:\\Windows\\x.glb", "c:x.glb", "C:"], ["x.glb", "x-2.glb", "result-3"]),
        (["", ".", "..", "/", "...", " . "], [f"result-{n}" for n in range(1, 7)]),
        ([".glb", "../.hidden.glb"], ["result-1.glb", "hidden.glb"]),
        (
            ["CON.glb", "nul", "Com1.tar.gz", "aux .txt", "console.glb"],
            ["_CON.glb", "_nul", "_Com1.tar.gz", "_aux .txt", "console.glb"],
        ),
        (["a.glb", "A.GLB", "a-2.glb", "a.glb"], ["a.glb", "A-2.GLB", "a-2-2.glb", "a-3.glb"]),
        (["é.png", "e\u0301.png"], ["é.png", "é-2.png"]),
        (["job.toml", "JOB.TOML"], ["job-2.toml", "JOB-3.TOML"]),
        (["model.glb.part", ".part", "x.PART"], ["model.glb-part", "result-2-part", "x-PART"]),
        (['a<b>:"|?*c.glb', "a\n\x7f\u202eb.glb", "a\udcff.glb"], ["a_b______c.glb", "a___b.glb", "a_.glb"]),
        (["-rf.glb", "~root.glb", " a.glb", "model.glb. . "], ["rf.glb", "root.glb", "a.glb", "model.glb"]),
        (["x" * 300 + ".glb"], ["x" * 116 + ".glb"]),
        (["ü" * 100 + ".glb"] * 2, ["ü" * 58 + ".glb", "ü" * 57 + "-2.glb"]),
        (["CON" + " " * 130 + "x"], ["_CON"]),
    ],
)
def test_result_names_are_made_safe(names: list[str], safe: list[str]) -> None:
    """Each danger in a server's file name, and what becomes of it."""
    assert list(safe_result_names(names)) == safe


def assert_safe(name: str) -> None:
    """Check one name against everything that a filesystem or a reader could stumble over."""
    assert 1 <= len(name.encode()) <= RESULT_NAME_BYTES
    assert name.isprintable()
    assert unicodedata.is_normalized("NFC", name)
    assert len(folders_of(name)) <= RESULT_FOLDERS
    for part in name.split("/"):
        assert not re.search(r'[\\<>:"|?*]', part)
        assert part[0] not in " .-~"
        assert part[-1] not in " ."
        assert part.partition(".")[0].rstrip().lower() not in WINDOWS_DEVICES
        assert not part.lower().endswith(".part")
        assert part.lower() not in ("job.toml", "report.txt", "report.toml")


@modest
@given(st.lists(NASTY_NAME, max_size=8))
def test_every_result_name_is_safe_and_its_own(names: list[str]) -> None:
    """Whatever the server sends, every name is safe, no two are the same on any system, and none is lost."""
    safe = safe_result_names(names)
    for name in safe:
        assert_safe(name)
    assert len(safe) == len(names) == len({match_key(name) for name in safe})
    folders = {folder for name in safe for folder in folders_of(name)}
    assert len(folders) == len({match_key(folder) for folder in folders})
    assert {match_key(name) for name in safe}.isdisjoint(map(match_key, folders))


@modest
@given(st.lists(NASTY_NAME, max_size=8))
@example(["0..0.PART"])
def test_safe_result_names_stay_as_they_are(names: list[str]) -> None:
    """Making safe names safe again changes nothing."""
    safe = safe_result_names(names)
    assert safe_result_names(safe) == safe


@modest
@given(st.text("ab", min_size=1, max_size=200), st.sampled_from([".glb", ".png", ".webp", ".mtl"]))
def test_a_result_keeps_its_extension(stem: str, extension: str) -> None:
    """However long a name is, its extension tells what the file is."""
    assert all(name.endswith(extension) for name in safe_result_names([stem + extension] * 12))


def test_many_equal_result_names_are_numbered() -> None:
    """A list of thousands of equal names is no trap: they are numbered through."""
    assert safe_result_names(["m.glb"] * 5000)[-1] == "m-5000.glb"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("chair", "chair"),
        ("椅子　赤 (2)", "椅子　赤 (2)"),
        ("Stühle", "Stühle"),
        ("v1.", "v1"),
        ("trail ", "trail"),
        ("...", "_"),
        ("con", "_con"),
        ("AUX", "_AUX"),
        ("com1.old", "_com1.old"),
        ("lpt¹", "_lpt¹"),
        ("console", "console"),
        ("a:b", "a_b"),
        ('what?<now>|*"\\', "what__now_____"),
        ("line\nend\x7f", "line_end_"),
        ("turned\u202eround", "turned_round"),
        ("not utf-8 \udcff", "not utf-8 _"),
        ("x" * 255, "x" * 120),
        ("椅" * 85, "椅" * 80),
        ("con" + " " * 130 + "x", "_con"),
    ],
)
def test_folders_have_names_that_windows_shows(name: str, safe: str) -> None:
    """Only what it cannot show, or what leaves no room in a path, is another name than the artist's."""
    assert safe_folder_name(name) == safe


@modest
@given(NASTY_NAME)
def test_a_safe_folder_name_is_safe(name: str) -> None:
    """On Windows, on every filesystem, with a job's mark behind it; and it is its own safe form."""
    safe = safe_folder_name(name)
    assert safe_folder_name(safe) == safe
    assert re.search(r'[<>:"|?*\\/\x00-\x1f]|[ .]\Z', safe) is None
    assert safe.partition(".")[0].rstrip().lower() not in WINDOWS_DEVICES
    assert 0 < len(safe.encode()) <= 240


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        *(
            (name, True)
            for name in (".DS_Store", "Thumbs.db", "DESKTOP.INI", "._.DS_Store", "._chair.glb", "._CHAIR.GLB")
        ),
        *(
            (name, False)
            for name in ("._lamp.glb", "chair.glb", ".hidden", "~$chair.doc", ".chair.glb.a1B2c3", "@eaDir")
        ),
    ],
)
def test_what_may_go_with_an_emptied_folder(name: str, *, goes: bool) -> None:
    """Files that a system makes again, and macOS's copies of the set's own; nothing of other sets, nothing of a person."""
    assert may_go_with(name, {"chair.glb"}) is goes


def test_numbers_in_names_are_sorted_by_their_value() -> None:
    """Those in the digits 0 to 9; other digits are letters, whatever a name is."""
    names = ["seed-10", "seed-9", "Seed-2", "²", "٣", "", "7", "prompt-2-seed-1", "prompt-10-seed-1"]
    found = sorted(names, key=natural_key)
    assert found == ["", "7", "prompt-2-seed-1", "prompt-10-seed-1", "Seed-2", "seed-9", "seed-10", "²", "٣"]


@modest
@given(st.lists(ANY_NAME, max_size=6))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    """Whatever they are."""
    assert len(sorted(names, key=natural_key)) == len(names)
