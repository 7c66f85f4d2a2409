"""From a look at the inbox to decisions: what is read, how often, and what a wait says of itself."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import glb, image, model

from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.config import IntakeSection as Settings
from rodin_watchd.core.pairing import pair
from rodin_watchd.core.sets import NOTHING_SEEN, Content, Unread, View
from rodin_watchd.core.sidecar import Misread, Sidecar, read_sidecar
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import MODEL_LIMIT_BYTES, Entry
from rodin_watchd.service.intake import Intake

QUIET_SECONDS = 2.0


class CountingInbox(Inbox):
    """The real inbox, which counts its reads, and can be out of order as a share is for a moment, or closed to the service in part."""

    def __init__(self, folder: Path) -> None:
        """Count from nothing."""
        super().__init__(folder)
        self.reads: list[str] = []
        self.examined: list[str] = []
        self.in_order = True
        self.closed: set[str] = set()

    def probe(self, entry: Entry) -> Content | Unread:
        """Count and judge."""
        self.reads.append(entry.path)
        return super().probe(entry) if self.in_order else Unread.CHANGED

    def examine(self, entry: Entry) -> Content | Unread:
        """Count and examine."""
        self.examined.append(entry.path)
        if entry.path in self.closed:
            return Unread.CLOSED
        return super().examine(entry) if self.in_order else Unread.CHANGED

    def read(self, entry: Entry, limit_bytes: int) -> bytes | Unread:
        """Count and read."""
        self.reads.append(entry.path)
        return Unread.CLOSED if entry.path in self.closed else super().read(entry, limit_bytes)


@pytest.fixture
def inbox(tmp_path: Path) -> CountingInbox:
    """Give an empty inbox."""
    return CountingInbox(tmp_path)


@pytest.fixture
def look(inbox: CountingInbox) -> Callable[[float], View]:
    """Give a look at the inbox at a monotonic instant."""
    intake = Intake(
        inbox, Settings(quiet_seconds=QUIET_SECONDS, unproven_quiet_seconds=QUIET_SECONDS, sidecar_wait_seconds=0)
    )
    return lambda now: intake.look(now, NOTHING_SEEN, frozenset())


def test_content_is_read_once_for_each_signature(
    tmp_path: Path, inbox: CountingInbox, look: Callable[[float], View]
) -> None:
    """A file that stays as it is is read once, however often the inbox is looked at; a changed one once more.

    Models and images are read once more when nobody writes them any more: all of them.
    """
    (tmp_path / "chair.glb").write_bytes(glb("chair")[:-9])
    (tmp_path / "chair.png").write_bytes(image("chair"))
    (tmp_path / "chair.toml").write_bytes(b"seed = 1\n")
    (tmp_path / "_folder.toml").write_bytes(b"seed = 2\n")
    for second in range(20):
        look(float(second))
    assert sorted(inbox.reads + inbox.examined) == ["_folder.toml", "chair.glb", "chair.png", "chair.toml"]
    inbox.reads.clear()
    (tmp_path / "chair.glb").write_bytes(glb("chair"))
    for second in range(20, 40):
        view = look(float(second))
    assert inbox.reads == ["chair.glb"]
    assert sorted(inbox.examined) == ["chair.glb", "chair.glb", "chair.png"]
    assert [ready.candidate.name for ready in view.ready] == ["chair"]


def test_a_model_is_examined_once_when_nobody_writes_it(
    tmp_path: Path, inbox: CountingInbox, look: Callable[[float], View]
) -> None:
    """Not while it is copied, and not at each look; a changed one once more."""
    (tmp_path / "chair.glb").write_bytes(glb("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    look(0.0)
    assert inbox.examined == []
    for second in range(2, 9):
        assert [ready.candidate.name for ready in look(float(second)).ready] == ["chair"]
    assert inbox.examined == ["chair.glb", "chair.png"]
    (tmp_path / "chair.glb").write_bytes(glb("another chair"))
    look(9.0)
    look(12.0)
    assert inbox.examined == ["chair.glb", "chair.png", "chair.glb"]


def test_one_look_examines_no_more_than_a_moment_allows(tmp_path: Path, look: Callable[[float], View]) -> None:
    """Large models come one after the other; those that have to wait say so, and ask for the next look at once."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.obj").write_bytes(model(name).ljust(MODEL_LIMIT_BYTES, b"\n"))
        (tmp_path / f"{name}.png").write_bytes(image(name))
    look(0.0)
    view = look(3.0)
    assert len(view.ready) == 1
    assert {waiting.reason.partition(" ")[2] for waiting in view.waiting} == {"is being checked"}
    assert all(waiting.settling for waiting in view.waiting)
    assert view.again_at == 3.0
    look(3.1)
    assert len(look(3.2).ready) == 3


def test_files_that_cannot_be_read_keep_no_others_waiting(
    tmp_path: Path, inbox: CountingInbox, look: Callable[[float], View]
) -> None:
    """They are asked for in each look, and count for nothing: else a few of them would use up what may be examined, for ever."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.obj").write_bytes(model(name).ljust(MODEL_LIMIT_BYTES, b"\n"))
        (tmp_path / f"{name}.png").write_bytes(image(name))
    inbox.closed = {"a.obj", "b.obj"}
    look(0.0)
    assert [ready.candidate.name for ready in look(3.0).ready] == ["c"]


def test_one_look_examines_so_many_small_files_at_most(tmp_path: Path) -> None:
    """A file counts as a page at least, so that thousands of small ones keep nothing else waiting either; all have their turn."""
    settings = Settings(quiet_seconds=0, unproven_quiet_seconds=0, sidecar_wait_seconds=0)
    intake = Intake(Inbox(tmp_path), settings, most_examined_bytes=4 * 4096)
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / f"{name}.obj").write_bytes(model(name))
        (tmp_path / f"{name}.png").write_bytes(image(name))
    ready = [len(intake.look(float(second), NOTHING_SEEN, frozenset()).ready) for second in range(4)]
    assert ready == [2, 4, 5, 5]


def test_what_cannot_be_read_is_tried_again(
    tmp_path: Path, inbox: CountingInbox, look: Callable[[float], View]
) -> None:
    """A file that could not be read for a moment is not written off: the next look reads it."""
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    inbox.in_order = False
    look(0.0)
    [waiting] = look(3.0).waiting
    assert "is changing at this moment" in waiting.reason
    assert not waiting.settling
    inbox.in_order = True
    assert [ready.candidate.name for ready in look(3.0).ready] == ["chair"]


def test_a_wait_says_when_it_may_be_over(tmp_path: Path, look: Callable[[float], View]) -> None:
    """What settles names the instant of the next look; what needs a person names none."""
    (tmp_path / "lonely.obj").write_bytes(model("lonely"))
    assert look(0.0).again_at == 600.0
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    view = look(10.0)
    assert view.again_at == 12.0
    assert {waiting.candidate.name: waiting.settling for waiting in view.waiting} == {"lonely": False, "chair": True}
    assert [ready.candidate.name for ready in look(12.0).ready] == ["chair"]
    assert look(700.0).again_at == math.inf


def test_a_broken_preset_does_not_make_the_loop_spin(tmp_path: Path) -> None:
    """With no quiet time at all a set that waits for a preset still names no instant that is over."""
    (tmp_path / "_folder.toml").write_bytes(b"nonsense = 1\n")
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    intake = Intake(Inbox(tmp_path), Settings(quiet_seconds=0, unproven_quiet_seconds=0, sidecar_wait_seconds=0))
    view = intake.look(5.0, NOTHING_SEEN, frozenset())
    assert [waiting.settling for waiting in view.waiting] == [False]
    assert view.again_at == math.inf


def test_a_plainly_spelt_preset_comes_first(tmp_path: Path, look: Callable[[float], View]) -> None:
    """Of two spellings of the preset the documented one holds."""
    (tmp_path / "_FOLDER.toml").write_bytes(b"seed = 1\n")
    (tmp_path / "_folder.toml").write_bytes(b"seed = 2\n")
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    look(0.0)
    [ready] = look(3.0).ready
    assert [preset.seed for preset in ready.presets] == [2]


def test_taken_files_are_not_seen(tmp_path: Path) -> None:
    """What belongs to a job that is about to move it is in no set."""
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    intake = Intake(Inbox(tmp_path), Settings(quiet_seconds=0))
    view = intake.look(5.0, NOTHING_SEEN, frozenset({"chair.obj", "chair.png"}))
    assert (view.ready, view.waiting) == ((), ())


STEPS: tuple[tuple[str, bytes], ...] = (
    ("a/chair.glb", glb("chair")),
    ("a/deep/vase.glb", glb("vase")),
    ("b/chair.png", image("chair")),
    ("c/lamp.glb", glb("lamp")),
    ("c/lamp.png", image("lamp")),
    ("a/deep/vase.png", image("vase")),
    ("b/other.toml", b'model = "../a/chair.glb"\nimage = "chair.png"\n'),
    ("d/stool.glb", glb("stool")),
    ("stool.png", image("stool")),
    ("stool.toml", b'model = "d/stool.glb"\n'),
    ("e/broken.toml", b'model = "x.glb'),
    ("e/x.glb", glb("x")),
    ("e/broken.toml", b'model = "x.glb"\n'),
    ("e/x.png", image("x")),
    ("results/y.glb", glb("y")),
    ("results/y.png", image("y")),
    ("REPORT.txt", b"a report"),
    ("F/one.glb", glb("one")),
    ("f/one.toml", b'image = "two.png"\nmodel = "one.glb"\n'),
)
"""Files that come one by one: sets of one folder, of several, of what is spelled alike, and what keeps others from being taken."""


def said(inbox: Path, path: str) -> Sidecar | Misread:
    """Return what a TOML file in the inbox says, or that it has a mistake."""
    data = (inbox / path).read_bytes()
    try:
        return read_sidecar(data, path, folder=path.rpartition("/")[0])
    except SidecarError as error:
        return Misread.of(error.problem, data)


def test_looks_at_what_has_changed_come_to_the_same_as_looks_at_all(tmp_path: Path) -> None:
    """Whatever a file that comes has to do with what lies in other folders."""
    partial = Intake(
        Inbox(tmp_path),
        Settings(quiet_seconds=QUIET_SECONDS, unproven_quiet_seconds=QUIET_SECONDS, sidecar_wait_seconds=0),
    )
    partial.look(0.0, NOTHING_SEEN, frozenset())
    for number, (name, data) in enumerate(STEPS, 1):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data)
        folder = name.rpartition("/")[0]
        for second in (0.0, 5.0):
            view = partial.look(10.0 * number + second, NOTHING_SEEN, frozenset(), frozenset({folder, ""}))
        entries = Inbox(tmp_path).look().entries
        expected = pair(entries, {e.path: said(tmp_path, e.path) for e in entries if e.path.endswith(".toml")})
        found = [*(one.candidate for one in view.ready), *(one.candidate for one in view.waiting)]
        assert sorted(map(repr, found)) == sorted(map(repr, expected.candidates))
        assert view.ignored == expected.ignored


def test_a_set_that_lacks_a_file_is_left_alone_until_something_comes(tmp_path: Path) -> None:
    """Of a folder in which nothing can become ready by time alone the very values of the look before stand."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "chair.glb").write_bytes(glb(folder))
    intake = Intake(
        Inbox(tmp_path),
        Settings(
            quiet_seconds=QUIET_SECONDS, unproven_quiet_seconds=QUIET_SECONDS, sidecar_wait_seconds=0, pair_minutes=10
        ),
    )
    first = {one.candidate.folder: one for one in intake.look(0.0, NOTHING_SEEN, frozenset()).waiting}
    (tmp_path / "a" / "chair.png").write_bytes(image("a"))
    intake.look(1.0, NOTHING_SEEN, frozenset(), frozenset({"a"}))
    view = intake.look(9.0, NOTHING_SEEN, frozenset(), frozenset())
    assert [one.candidate.folder for one in view.ready] == ["a"]
    assert [one is first["b"] for one in view.waiting] == [True]
    late = intake.look(601.0, NOTHING_SEEN, frozenset(), frozenset())
    assert [one.late for one in late.waiting] == [True]


@pytest.fixture
def chair(tmp_path: Path) -> Path:
    """Give an inbox with a set by base name."""
    (tmp_path / "chair.obj").write_bytes(model("chair"))
    (tmp_path / "chair.png").write_bytes(image("chair"))
    return tmp_path


def link(path: Path) -> None:
    """Make a link to options that lie elsewhere."""
    path.symlink_to("../common.toml")


@pytest.mark.parametrize("make", [link, os.mkfifo])
@pytest.mark.parametrize("name", ["chair.toml", "oak.toml"])
def test_a_sidecar_that_is_no_plain_file_holds_its_sets_back(
    chair: Path, look: Callable[[float], View], name: str, make: Callable[[Path], None]
) -> None:
    """What it says is not known, so nothing beside it and below is bought without a sidecar of its own."""
    make(chair / name)
    look(0.0)
    view = look(9.0)
    assert view.ready == ()
    assert f"a correction of “{name}”, which is a" in view.waiting[0].reason
    (chair / name).unlink()
    (chair / name).write_bytes(b'model = "chair.obj"\nprompt = "oak"\n')
    look(10.0)
    assert [ready.sidecar and ready.sidecar.prompt for ready in look(13.0).ready] == ["oak"]


@pytest.mark.parametrize("make", [link, os.mkfifo])
def test_a_preset_that_is_no_plain_file_holds_its_folder_back(
    chair: Path, look: Callable[[float], View], make: Callable[[Path], None]
) -> None:
    """Sets by base name wait for it, and so do the files of a set by folder."""
    (chair / "f").mkdir()
    (chair / "f" / "table.obj").write_bytes(model("table"))
    (chair / "f" / "wood.png").write_bytes(image("wood"))
    for folder in (chair, chair / "f"):
        make(folder / "_folder.toml")
    look(0.0)
    view = look(9.0)
    assert view.ready == ()
    assert "“_folder.toml” is a" in {w.candidate.name: w.reason for w in view.waiting}["chair"]


def test_a_sidecar_that_cannot_be_read_holds_its_sets_back(
    chair: Path, inbox: CountingInbox, look: Callable[[float], View]
) -> None:
    """A set waits for a TOML file of another name that the service may not read; the reason names that file."""
    (chair / "oak.toml").write_bytes(b'model = "chair.obj"\n')
    inbox.closed = {"oak.toml"}
    look(0.0)
    view = look(9.0)
    assert view.ready == ()
    assert {waiting.candidate.name for waiting in view.waiting} == {"chair", "oak"}
    assert all("“oak.toml”" in waiting.reason and "cannot be read" in waiting.reason for waiting in view.waiting)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("chair.toml", b'prompt = "oak"\n'),
        ("oak.toml", b'model = "chair.obj"\npromt = "oak"\n'),
        ("oak.toml", b'model = "chair.obj"\nimage = "oak.png"\n'),
    ],
)
def test_a_sidecar_that_is_saved_by_removing_and_writing_it(chair: Path, name: str, before: bytes) -> None:
    """While it is away the set waits as for one that may still come; when it stays away, the set goes on without it."""
    intake = Intake(
        Inbox(chair),
        Settings(quiet_seconds=QUIET_SECONDS, unproven_quiet_seconds=QUIET_SECONDS, sidecar_wait_seconds=3),
    )

    def look(now: float) -> View:
        return intake.look(now, NOTHING_SEEN, frozenset())

    (chair / name).write_bytes(before)
    look(0.0)
    look(100.0)
    (chair / name).unlink()
    view = look(101.0)
    assert view.ready == ()
    assert [(waiting.settling, waiting.again_at) for waiting in view.waiting] == [(True, 104.0)]
    assert f"“{name}” vanished" in view.waiting[0].reason
    assert look(103.9).ready == ()
    assert [ready.sidecar for ready in look(104.0).ready] == [None]
    (chair / name).write_bytes(b'model = "chair.obj"\nimage = "chair.png"\nprompt = "elm"\n')
    look(105.0)
    assert [ready.sidecar and ready.sidecar.prompt for ready in look(108.0).ready] == ["elm"]


def test_a_preset_that_is_saved_by_removing_and_writing_it(tmp_path: Path) -> None:
    """While it is away its folder stays a drop folder, and no set there or below is taken."""
    intake = Intake(
        Inbox(tmp_path),
        Settings(quiet_seconds=QUIET_SECONDS, unproven_quiet_seconds=QUIET_SECONDS, sidecar_wait_seconds=3),
    )

    def look(now: float) -> View:
        return intake.look(now, NOTHING_SEEN, frozenset())

    for name in ("two/a.obj", "two/b.png", "one/sub/c.obj", "one/sub/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model(name) if name.endswith("obj") else image(name))
    for folder in ("one", "two"):
        (tmp_path / folder / "_folder.toml").write_bytes(b"nonsense = 1\n")
    look(0.0)
    look(100.0)
    for folder in ("one", "two"):
        (tmp_path / folder / "_folder.toml").unlink()
    assert look(101.0).ready == ()
    view = look(103.9)
    assert view.ready == ()
    assert view.again_at == 104.0
    assert "“one/_folder.toml” vanished" in {w.candidate.name: w.reason for w in view.waiting}["c"]
    (tmp_path / "two" / "_folder.toml").write_bytes(b'prompt = "oak"\n')
    assert [ready.candidate.name for ready in look(104.0).ready] == ["c"]
    assert [ready.candidate.name for ready in look(120.0).ready] == ["c"]
