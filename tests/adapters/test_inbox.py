"""Looking at an inbox of real files, of all kinds and names, that change while we look."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from strangers import IS_ROOT, NOBODY, as_nobody, public_folder

from rodin_watchd.adapters.spool.beneath import SERVED, folder_beneath
from rodin_watchd.adapters.spool.inbox import DEEPEST, Inbox
from rodin_watchd.core.formats.source import Wholeness
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.sets import Content, Unread
from rodin_watchd.errors import FolderGoneError
from rodin_watchd.model import Entry, Kind

SAMPLES = Path(__file__).parents[1] / "samples"
NAMES = (
    b"chair.glb",
    b"two\nlines.glb",
    "🪑.png".encode(),
    b"-rf.png",
    b"x" * 251 + b".glb",
    b"\xff\xfe.glb",
    b"a'b\"c\\d.png",
    "stu\u0308hle.glb".encode(),
)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    """Make an inbox."""
    (tmp_path / "inbox").mkdir()
    return Inbox(tmp_path / "inbox")


def only(inbox: Inbox) -> Entry:
    """Return the one entry there is."""
    (entry,) = inbox.look().entries
    return entry


def test_names_of_all_kinds(inbox: Inbox) -> None:
    """Every name is found, readable and exactly as it is, also below a folder of such a name."""
    for name in NAMES:
        (inbox.folder / os.fsdecode(name)).write_bytes(name)
    deep = inbox.folder / os.fsdecode(b"\xff folder")
    deep.mkdir()
    (deep / os.fsdecode(NAMES[1])).write_bytes(b"deep")
    look = inbox.look()
    assert {os.fsencode(e.path) for e in look.entries} == {*NAMES, b"\xff folder", b"\xff folder/two\nlines.glb"}
    files = [entry for entry in look.entries if entry.kind is Kind.FILE]
    contents = {os.fsencode(entry.path): inbox.read(entry, 1000) for entry in files}
    assert contents == {**{name: name for name in NAMES}, b"\xff folder/two\nlines.glb": b"deep"}


def test_what_an_entry_says(inbox: Inbox) -> None:
    """An entry holds kind, size, times, inode and the number of hard links."""
    path = inbox.folder / "chair.glb"
    path.write_bytes(b"123")
    (inbox.folder.parent / "second").hardlink_to(path)
    status = path.stat()
    entry = only(inbox)
    assert entry == ("chair.glb", Kind.FILE, (3, status.st_mtime_ns, status.st_ino), status.st_ctime_ns, 2)


def test_kinds(inbox: Inbox) -> None:
    """Links and special files are told as what they are; what a link leads to is not looked at."""
    outside = inbox.folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.glb").touch()
    (inbox.folder / "link").symlink_to(outside)
    (inbox.folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(inbox.folder / "fifo.glb")
    (inbox.folder / "chair.glb").mkdir()
    kinds = {entry.path: entry.kind for entry in inbox.look().entries}
    assert kinds == {
        "link": Kind.SYMLINK,
        "dangling.png": Kind.SYMLINK,
        "fifo.glb": Kind.OTHER,
        "chair.glb": Kind.FOLDER,
    }


def test_junk_is_named_with_its_reason(inbox: Inbox) -> None:
    """Junk is no entry; it is told with the reason, and a junk folder is not looked into."""
    for name in ("Thumbs.db", ".hidden.glb", "chair.glb.part"):
        (inbox.folder / name).touch()
    (inbox.folder / "__MACOSX").mkdir()
    (inbox.folder / "__MACOSX/chair.glb").touch()
    look = inbox.look()
    assert look.entries == ()
    assert set(look.junk) == {"Thumbs.db", ".hidden.glb", "chair.glb.part", "__MACOSX"}
    assert look.junk["chair.glb.part"] == "a temporary name (.part)"


def test_nesting_is_bounded(inbox: Inbox) -> None:
    """What lies deeper than the bound is not looked at, and the folder where that begins is named."""
    folder = inbox.folder
    for _ in range(DEEPEST + 1):
        folder /= "d"
    folder.mkdir(parents=True)
    (folder / "deep.glb").touch()
    (folder.parent / "last.glb").touch()
    look = inbox.look()
    paths = {entry.path for entry in look.entries}
    assert "/".join(["d"] * DEEPEST + ["last.glb"]) in paths
    assert not any(path.endswith("deep.glb") for path in paths)
    assert look.junk == {"/".join(["d"] * (DEEPEST + 1)): "nested too deep"}


def test_missing_inbox_is_told(inbox: Inbox) -> None:
    """An inbox that is gone, or whose place a file took, is told as gone."""
    inbox.folder.rmdir()
    with pytest.raises(FolderGoneError, match="is missing"):
        inbox.look()
    inbox.folder.write_text("a file")
    with pytest.raises(FolderGoneError, match="is missing"):
        inbox.look()


def test_entries_vanish_and_change_their_kind_while_looking(inbox: Inbox) -> None:
    """Whatever somebody does to files and folders meanwhile, looking neither fails nor follows a link."""
    outside = inbox.folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.glb").touch()
    place, spare, stop = inbox.folder / "b", inbox.folder.parent / "spare", threading.Event()
    (inbox.folder / "a.glb").touch()

    def stir() -> None:
        while not stop.is_set():
            place.mkdir()
            (place / "x.glb").touch()
            place.rename(spare)
            place.symlink_to(outside)
            place.unlink()
            place.touch()
            place.unlink()
            (spare / "x.glb").unlink()
            spare.rmdir()

    stirring = threading.Thread(target=stir)
    stirring.start()
    try:
        looks = [inbox.look() for _ in range(2000)]
    finally:
        stop.set()
        stirring.join()
    seen = {entry.path for look in looks for entry in look.entries}
    assert {"a.glb"} <= seen <= {"a.glb", "b", "b/x.glb"}
    assert not any(look.junk for look in looks)


def test_holes_are_seen(inbox: Inbox) -> None:
    """A part that was never written, at the end or between others, is told where the filesystem keeps it."""
    data = (SAMPLES / "suzi.glb").read_bytes()
    (inbox.folder / "whole.glb").write_bytes(data)
    for name, start in (("end.glb", 0), ("middle.glb", len(data) + 1_000_000)):
        with (inbox.folder / name).open("wb") as file:
            file.write(data)
            file.seek(start + 1_000_000)
            file.write(data)
            file.truncate(start + 3_000_000)
    contents = {entry.path: inbox.probe(entry) for entry in inbox.look().entries}
    found = {name: content.has_hole for name, content in contents.items() if isinstance(content, Content)}
    assert found == {"end.glb": True, "middle.glb": True, "whole.glb": False}


def test_content_is_judged(inbox: Inbox) -> None:
    """A file is judged by its content and the extension of its name."""
    data = (SAMPLES / "suzi.glb").read_bytes()
    for name, content in (("whole.GLB", data), ("cut.glb", data[:-10]), ("wrong.png", data)):
        (inbox.folder / name).write_bytes(content)
    contents = {entry.path: inbox.probe(entry) for entry in inbox.look().entries}
    assert {name: content.verdict.wholeness for name, content in contents.items() if isinstance(content, Content)} == {
        "whole.GLB": Wholeness.WHOLE,
        "cut.glb": Wholeness.UNFINISHED,
        "wrong.png": Wholeness.WRONG,
    }


def test_reading_is_bounded(inbox: Inbox) -> None:
    """No more is read than was asked for."""
    (inbox.folder / "set.toml").write_bytes(b"x" * 100)
    assert inbox.read(only(inbox), 10) == b"x" * 10


@pytest.mark.parametrize("swap", ["gone", "changed", "replaced", "link", "fifo", "folder", "linked folder"])
def test_file_that_is_not_the_one_seen_is_not_read(inbox: Inbox, swap: str) -> None:
    """A file that changed since the look, or something else in its place, gives None, at once."""
    path = inbox.folder / "sub/chair.glb"
    path.parent.mkdir()
    path.write_bytes((SAMPLES / "suzi.glb").read_bytes())
    entry = next(e for e in inbox.look().entries if e.kind is Kind.FILE)
    kept = path.rename(inbox.folder.parent / "kept.glb")
    if swap == "changed":
        kept.rename(path)
        with path.open("ab") as stream:
            stream.write(b"more")
    elif swap == "replaced":
        path.write_bytes(kept.read_bytes())
        os.utime(path, ns=(entry.signature.mtime_ns, entry.signature.mtime_ns))
    elif swap == "link":
        path.symlink_to(kept)
    elif swap == "fifo":
        os.mkfifo(path)
    elif swap == "folder":
        path.mkdir()
    elif swap == "linked folder":
        path.parent.rmdir()
        (inbox.folder.parent / "outside").mkdir()
        kept.rename(inbox.folder.parent / "outside/chair.glb")
        path.parent.symlink_to(inbox.folder.parent / "outside")
    assert isinstance(inbox.read(entry, 1000), Unread)
    assert isinstance(inbox.probe(entry), Unread)


def test_own_files_may_be_moved(inbox: Inbox) -> None:
    """In a folder of ours a file may be moved, sticky or not; once the folder is gone, not, and nothing is raised."""
    path = inbox.folder / "sub/chair.glb"
    path.parent.mkdir()
    path.touch()
    entry = next(e for e in inbox.look().entries if e.kind is Kind.FILE)
    assert inbox.may_move(entry)
    path.parent.chmod(0o1777)
    assert inbox.may_move(entry)
    path.unlink()
    path.parent.rmdir()
    assert not inbox.may_move(entry)


def looked(folder: Path) -> tuple[set[str], dict[str, str], dict[str, bool], list[bytes | Unread]]:
    """Return what this user sees in an inbox: paths, junk, which files may be moved, what can be read."""
    inbox = Inbox(folder)
    look = inbox.look()
    files = [entry for entry in look.entries if entry.kind is Kind.FILE]
    movable = {entry.path: inbox.may_move(entry) for entry in files}
    read = [inbox.read(entry, 10) for entry in files if entry.path == "unreadable.glb"]
    return {entry.path for entry in look.entries}, look.junk, movable, read


def test_what_a_user_without_rights_sees() -> None:
    """A closed sub-folder is named and hides its own files only; files count as movable where they are."""
    with public_folder() as folder:
        for name, mode in (("closed", 0o700), ("fixed", 0o755), ("free", 0o777), ("sticky", 0o1777)):
            (folder / name).mkdir()
            (folder / name / "chair.glb").touch()
            (folder / name).chmod(mode)
        (folder / "unreadable.glb").touch(0o600)
        (folder / "sticky/own.glb").touch()
        if IS_ROOT:
            os.chown(folder / "sticky/own.glb", NOBODY, NOBODY)
        seen, junk, movable, read = as_nobody(lambda: looked(folder))
    assert junk == {"closed": "a folder that the service has no permission to read: tell whoever runs the service"}
    assert "closed/chair.glb" not in seen
    assert movable == {
        "fixed/chair.glb": False,
        "free/chair.glb": True,
        "sticky/chair.glb": False,
        "sticky/own.glb": True,
        "unreadable.glb": False,
    }
    assert read == [Unread.CLOSED]


def test_a_folder_that_a_service_serves_is_not_looked_into(inbox: Inbox) -> None:
    """Whoever's mark it carries, readable or not; that is shown, and its own mark hides nothing of the inbox."""
    for place, mark in (("", b""), ("team", b'id = "1"'), ("oak/deep", b"\xff")):
        folder = inbox.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_bytes(mark)
        (folder / "inbox").mkdir()
        (folder / "inbox" / "chair.glb").write_bytes(b"theirs")
    look = inbox.look()
    assert {entry.path for entry in look.entries if entry.kind is Kind.FILE} == {"inbox/chair.glb"}
    assert look.junk == {"team": SERVED, "oak/deep": SERVED}


@pytest.mark.parametrize("path", ["..", ".", "team/../team", "./team", "team/.."])
def test_no_path_leads_out_of_its_folder(tmp_path: Path, path: str) -> None:
    """By its own folder or the one above it, also where that exists."""
    (tmp_path / "team").mkdir()
    for make in (False, True):
        with pytest.raises(PermissionError), folder_beneath(tmp_path, path, make=make):
            pass


def test_only_folders_that_have_changed_are_looked_into(inbox: Inbox) -> None:
    """What changed elsewhere is found by the next look at all; a new folder, and the inbox itself, are always looked at."""
    for folder in ("a", "B/deep"):
        (inbox.folder / folder).mkdir(parents=True)
        (inbox.folder / folder / "one.glb").write_bytes(b"1")
    first = inbox.look()
    assert all(inbox.look().branches[name] is branch for name, branch in first.branches.items())
    for folder in ("", "a", "B/deep", "new"):
        (inbox.folder / folder).mkdir(exist_ok=True)
        (inbox.folder / folder / "two.glb").write_bytes(b"2")
    found = inbox.look({"b"})
    files = {entry.path for entry in found.entries if entry.kind is Kind.FILE}
    assert files == {"two.glb", "a/one.glb", "B/deep/one.glb", "B/deep/two.glb", "new/two.glb"}
    assert found.branches["a"] is first.branches["a"]
    assert {entry.path for entry in inbox.look().entries} > {"a/two.glb"}


def test_a_folder_that_was_exchanged_is_looked_into_when_it_is_said_to_have_changed(inbox: Inbox) -> None:
    """The one that is gone is forgotten with all that lay in it."""
    for folder in ("a", "b"):
        (inbox.folder / folder).mkdir()
        (inbox.folder / folder / f"{folder}.glb").write_bytes(b"1")
    inbox.look()
    (inbox.folder / "a").rename(inbox.folder / "gone")
    (inbox.folder / "b").rename(inbox.folder / "a")
    files = {entry.path for entry in inbox.look({"a"}).entries if entry.kind is Kind.FILE}
    assert files == {"a/b.glb", "gone/a.glb"}


def test_a_walk_answers_as_single_questions_do(inbox: Inbox) -> None:
    """What is asked about many files on one walk gets the answers that each gets by itself, also where a folder went away; nothing stays open."""
    for folder in ("", "a", "a/b", "gone"):
        (inbox.folder / folder).mkdir(exist_ok=True)
        (inbox.folder / folder / "chair.obj").write_bytes(b"v 0 0 0\n")
        (inbox.folder / folder / "chair.png").write_bytes(b"no picture")
    entries = [entry for entry in inbox.look().entries if entry.kind is Kind.FILE]
    (inbox.folder / "gone").rename(inbox.folder.parent / "gone")
    (inbox.folder / "a/chair.png").unlink()
    (inbox.folder / "a/chair.png").symlink_to("chair.obj")
    (inbox.folder / "chair.obj").write_bytes(b"changed")

    def answers(entry: Entry) -> tuple[object, ...]:
        told = (inbox.probe(entry), inbox.examine(entry), inbox.read(entry, 3), inbox.is_being_written(entry))
        return (*told, inbox.may_move(entry))

    alone = {entry: answers(entry) for entry in entries}
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    with inbox.walk():
        assert {entry: answers(entry) for entry in entries} == alone
        assert {entry: answers(entry) for entry in reversed(entries)} == alone
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names alone
    assert len(set(alone.values())) > 2


def test_a_walk_sees_each_change_of_a_file(inbox: Inbox) -> None:
    """The folder stays open, and each file in it is opened when it is asked about."""
    (inbox.folder / "chair.obj").write_bytes(b"v 0 0 0\n")
    entry = only(inbox)
    with inbox.walk():
        assert inbox.read(entry, 100) == b"v 0 0 0\n"
        (inbox.folder / "chair.obj").write_bytes(b"changed")
        assert inbox.read(entry, 100) is Unread.CHANGED
        (inbox.folder / "chair.obj").unlink()
        assert inbox.read(entry, 100) is Unread.CHANGED
