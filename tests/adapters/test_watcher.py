"""File events as wake-ups, with real folders, a real kernel queue, and real limits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from forgetful_fuse import forgetful
from places import share
from strangers import bound, mounted

from rodin_watchd.adapters.host import shares_in
from rodin_watchd.adapters.watcher import (
    BURST_FILES,
    BURST_GAP_SECONDS,
    HAS_INOTIFY,
    LONGEST_BURST_SECONDS,
    EventWatcher,
    limit_text,
    open_watcher,
)
from rodin_watchd.core.sets import NOTHING_SEEN

pytestmark = pytest.mark.skipif(not HAS_INOTIFY, reason="native watching is for Linux")

BOUND_SECONDS = 30.0  # far more than anything here takes: only a lost event waits that long


class Wakeups:
    """What the main loop waits on."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        """Wake the loop."""
        self._event.set()

    def wait(self) -> None:
        """Wait for the next wake-up."""
        assert self._event.wait(BOUND_SECONDS), "no wake-up came"
        self._event.clear()

    def until(self, seen: Callable[[], str | None]) -> str:
        """Ask again at each wake-up until there is an answer."""
        while not (answer := seen()):
            self.wait()
        return answer

    @property
    def came(self) -> bool:
        """Whether there was a wake-up since the last wait."""
        return self._event.is_set()


@pytest.fixture
def wakeups() -> Wakeups:
    """Stand in for the main loop."""
    return Wakeups()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a folder to watch."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def watcher(root: Path, wakeups: Wakeups) -> Iterator[EventWatcher]:
    """Watch the folder natively."""
    watching = EventWatcher(root, wakeups)
    yield watching
    watching.close()


def seen(watcher: EventWatcher) -> frozenset[str]:
    """Take what was closed so far: events come in order, so those before a probe's have all been read."""
    assert watcher.prove(BOUND_SECONDS)
    found = watcher.take_seen()
    return frozenset(found.closed | found.moved_in)


def writing(watcher: EventWatcher) -> frozenset[str]:
    """Take the files that are being written, by the events so far."""
    assert watcher.prove(BOUND_SECONDS)
    return frozenset(watcher.take_seen().writing)


def open_descriptors() -> set[str]:
    """List this process's descriptors of pipes and inotify instances."""
    found = [f"{link} {link.readlink()}" for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {line for line in found if "inotify" in line or "pipe" in line}


# ---- vouches --------------------------------------------------------------------------------------------------------


def test_closed_file_is_vouched_for_once(root: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A file that its writer closed wakes the loop and is told once, by its path below the root."""
    (root / "chair.glb").write_bytes(b"x")
    wakeups.wait()
    assert seen(watcher) == {"chair.glb"}
    assert seen(watcher) == frozenset()


def test_open_file_is_not_vouched_for(root: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A file that is still being written wakes the loop but is not vouched for."""
    with (root / "chair.glb").open("wb") as file:
        wakeups.wait()
        file.write(b"x")
        file.flush()
        assert seen(watcher) == frozenset()


def test_a_file_is_being_written_until_it_is_closed(root: Path, watcher: EventWatcher) -> None:
    """However often it is asked; also under another name, and while a second file is closed."""
    with (root / "chair.glb").open("wb") as file:
        file.write(b"x")
        file.flush()
        assert writing(watcher) == writing(watcher) == {"chair.glb"}
        (root / "chair.png").write_bytes(b"x")
        assert writing(watcher) == {"chair.glb"}
        (root / "chair.glb").rename(root / "table.glb")
        assert writing(watcher) == {"table.glb"}
    assert writing(watcher) == frozenset()


def test_a_file_that_left_is_not_being_written(root: Path, tmp_path: Path, watcher: EventWatcher) -> None:
    """It was moved out of the root, or another file came under its name."""
    with (root / "chair.glb").open("wb") as first, (root / "table.glb").open("wb") as second:
        for file in (first, second):
            file.write(b"x")
            file.flush()
        assert writing(watcher) == {"chair.glb", "table.glb"}
        (root / "chair.glb").rename(tmp_path / "chair.glb")
        (root / "table.glb").unlink()
        (root / "table.glb").touch()
        assert writing(watcher) == frozenset()


def test_file_renamed_in(root: Path, tmp_path: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A file moved in from outside, or to its final name inside, is vouched for by that name."""
    (tmp_path / "outside.png").write_bytes(b"x")
    (tmp_path / "outside.png").rename(root / "chair.png")
    wakeups.wait()
    assert seen(watcher) == {"chair.png"}
    (root / "chair.png").rename(root / "table.png")
    assert seen(watcher) == {"table.png"}


def test_hard_link_wakes(root: Path, tmp_path: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A file that arrives as a hard link wakes the loop, though no close was seen."""
    (tmp_path / "outside.png").write_bytes(b"x")
    (root / "chair.png").hardlink_to(tmp_path / "outside.png")
    wakeups.wait()
    assert seen(watcher) == frozenset()


def test_new_file_voids_the_vouch_of_an_older_one(root: Path, watcher: EventWatcher) -> None:
    """A closed file that was replaced by one still open is not vouched for."""
    (root / "chair.glb").write_bytes(b"x")
    (root / "chair.glb").unlink()
    with (root / "chair.glb").open("wb"):
        (root / "table.glb").write_bytes(b"x")
        assert seen(watcher) == {"table.glb"}
    assert seen(watcher) == {"chair.glb"}


def test_file_leaving_wakes_nobody(root: Path, tmp_path: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """What is taken out or deleted needs no quick look: the loop's own claims do not wake it."""
    (root / "chair.glb").write_bytes(b"x")
    (root / "chair.png").write_bytes(b"x")
    assert seen(watcher) == {"chair.glb", "chair.png"}
    wakeups.wait()
    (root / "chair.glb").rename(tmp_path / "chair.glb")
    (root / "chair.png").unlink()
    assert seen(watcher) == frozenset()
    assert not wakeups.came


@pytest.mark.parametrize("name", [b"\xff\xfe.glb", "stühle und \n tische.glb".encode(), b"'\"\\.glb"])
def test_any_name(root: Path, watcher: EventWatcher, name: bytes) -> None:
    """Names that are not UTF-8 or hold odd characters come as Python's own functions spell them."""
    path = root / os.fsdecode(name) / os.fsdecode(name)
    path.parent.mkdir()
    assert seen(watcher) == frozenset()
    path.write_bytes(b"x")
    assert seen(watcher) == {os.fsdecode(name + b"/" + name)}


def test_burst_of_closed_and_renamed_files(root: Path, watcher: EventWatcher) -> None:
    """Of 5,000 files written under a temporary name and renamed none is missed."""
    for number in range(5000):
        part = root / f"{number}.part"
        part.write_bytes(b"x")
        part.rename(root / f"{number}.glb")
    closed = seen(watcher)
    assert {f"{number}.glb" for number in range(5000)} <= closed
    assert watcher.take_trouble() is None


def test_vouches_are_bounded(root: Path, wakeups: Wakeups) -> None:
    """When too many closed files pile up all are forgotten; a repeated one counts once."""
    watcher = EventWatcher(root, wakeups, most_files=10)
    for number in (*range(10), *range(9, 14)):
        with (root / f"{number}.glb").open("ab"):
            pass
    assert seen(watcher) == {f"{number}.glb" for number in range(11, 14)}
    watcher.close()


def test_a_burst_is_waited_for(root: Path, wakeups: Wakeups) -> None:
    """While files come by the hundred a look has to wait until nothing comes for a moment, and not much longer than that; one file is no burst."""
    now = 100.0
    watcher = EventWatcher(root, wakeups, monotonic=lambda: now)

    def drop(first: int) -> None:
        for number in range(first, first + BURST_FILES):
            (root / f"{number}.glb").touch()
        assert watcher.prove(BOUND_SECONDS)

    (root / "chair.glb").touch()
    wakeups.wait()
    assert watcher.burst_seconds() == 0.0
    assert seen(watcher) == {"chair.glb"}
    drop(0)
    assert wakeups.came
    assert watcher.burst_seconds() == pytest.approx(BURST_GAP_SECONDS)
    now += LONGEST_BURST_SECONDS - 0.01
    assert watcher.burst_seconds() == 0.0
    drop(BURST_FILES)
    assert watcher.burst_seconds() == pytest.approx(0.01)
    now += 0.02
    assert watcher.burst_seconds() == 0.0
    drop(2 * BURST_FILES)
    assert len(seen(watcher)) == 3 * BURST_FILES
    assert watcher.burst_seconds() == 0.0
    watcher.close()


def test_a_file_that_is_written_in_many_pieces_is_no_burst(root: Path, watcher: EventWatcher) -> None:
    """However many events it makes, nobody waits for more of them."""
    with (root / "chair.obj").open("wb", buffering=0) as file:
        for _ in range(2 * BURST_FILES):
            file.write(b"v 0 0 0\n")
    assert watcher.prove(BOUND_SECONDS)
    assert watcher.burst_seconds() == 0.0


# ---- sub-folders ----------------------------------------------------------------------------------------------------


def test_folders_found_at_the_start(root: Path, wakeups: Wakeups) -> None:
    """Folders that were there before are watched, however deep; symbolic links to folders are not followed."""
    (root / "a/b/c").mkdir(parents=True)
    (root.parent / "elsewhere").mkdir()
    (root / "link").symlink_to(root.parent / "elsewhere")
    watcher = EventWatcher(root, wakeups)
    (root / "a/b/c/chair.glb").touch()
    (root / "link/table.glb").touch()
    assert seen(watcher) == {"a/b/c/chair.glb"}
    watcher.close()


def test_new_folders(root: Path, watcher: EventWatcher) -> None:
    """A folder made later is watched, and one made in it."""
    (root / "a").mkdir()
    assert seen(watcher) == frozenset()
    (root / "a/b").mkdir()
    assert seen(watcher) == frozenset()
    (root / "a/b/chair.glb").touch()
    assert seen(watcher) == {"a/b/chair.glb"}


def test_folder_moved_in_with_its_content(root: Path, tmp_path: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A folder moved in whole wakes the loop for what is in it already, and is watched at every depth."""
    (tmp_path / "set/deep").mkdir(parents=True)
    (tmp_path / "set/deep/chair.glb").touch()
    (tmp_path / "set").rename(root / "set")
    wakeups.wait()
    (root / "set/deep/chair.png").touch()
    assert seen(watcher) == {"set/deep/chair.png"}


def test_tree_made_in_a_burst(root: Path, watcher: EventWatcher) -> None:
    """Folders nested while their parents were only just made are all watched in the end."""
    for number in range(200):
        (root / f"{number}/a/b").mkdir(parents=True)
    assert seen(watcher) == frozenset()
    for number in range(200):
        (root / f"{number}/a/b/chair.glb").touch()
    assert seen(watcher) == {f"{number}/a/b/chair.glb" for number in range(200)}


def test_folder_gone_before_it_is_watched(root: Path) -> None:
    """A folder that was removed before its event was read is no trouble."""
    go_on, blocked = threading.Event(), threading.Event()

    def wake() -> None:
        blocked.set()
        assert go_on.wait(BOUND_SECONDS)

    watcher = EventWatcher(root, wake)
    (root / "chair.glb").touch()
    assert blocked.wait(BOUND_SECONDS)
    (root / "set").mkdir()
    (root / "set").rmdir()
    go_on.set()
    assert seen(watcher) == {"chair.glb"}
    assert watcher.take_trouble() is None
    watcher.close()


def test_folder_renamed_inside(root: Path, watcher: EventWatcher) -> None:
    """A renamed folder's files come under its new name, at every depth; the old name may be used anew."""
    (root / "old/deep").mkdir(parents=True)
    assert seen(watcher) == frozenset()
    (root / "old").rename(root / "new")
    (root / "old").mkdir()
    assert seen(watcher) == frozenset()
    (root / "new/deep/chair.glb").touch()
    (root / "old/table.glb").touch()
    assert seen(watcher) == {"new/deep/chair.glb", "old/table.glb"}


def test_folder_moved_out_is_forgotten(root: Path, tmp_path: Path, watcher: EventWatcher) -> None:
    """What happens in a folder that has left is no business of ours, at no depth."""
    (root / "set/deep").mkdir(parents=True)
    (root / "set-2").mkdir()
    assert seen(watcher) == frozenset()
    (root / "set").rename(tmp_path / "set")
    assert seen(watcher) == frozenset()
    (tmp_path / "set/deep/chair.glb").touch()
    (root / "set-2/chair.glb").touch()
    assert seen(watcher) == {"set-2/chair.glb"}


def test_new_folder_voids_the_vouches_of_an_older_one(root: Path, tmp_path: Path, watcher: EventWatcher) -> None:
    """Files of a folder that was replaced by another of its name are not vouched for."""
    (root / "set").mkdir()
    assert seen(watcher) == frozenset()
    (root / "set/chair.glb").touch()
    shutil.rmtree(root / "set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/chair.glb").touch()
    (tmp_path / "other").rename(root / "set")
    assert seen(watcher) == frozenset()


# ---- trouble --------------------------------------------------------------------------------------------------------


def test_root_removed_and_made_again(root: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A removed root is told; while it is missing that is told once; when it is back it is watched again."""
    shutil.rmtree(root)
    wakeups.wait()
    assert watcher.take_trouble() == "The watched folder was removed."
    watcher.rearm()
    trouble = watcher.take_trouble()
    assert trouble is not None
    assert str(root) in trouble
    assert "No such file" in trouble
    watcher.rearm()
    assert watcher.take_trouble() is None
    root.mkdir()
    watcher.rearm()
    (root / "chair.glb").touch()
    assert seen(watcher) == {"chair.glb"}
    assert watcher.take_trouble() is None


def test_root_moved_away(root: Path, tmp_path: Path, watcher: EventWatcher, wakeups: Wakeups) -> None:
    """A root that was moved away is told, and what happens in it then is not taken for the root's."""
    root.rename(tmp_path / "moved")
    wakeups.wait()
    assert watcher.take_trouble() == "The watched folder was moved away."
    (tmp_path / "moved" / "moved.glb").touch()
    (tmp_path / "moved").rename(root)
    watcher.rearm()
    (root / "lamp.glb").touch()
    assert seen(watcher) == {"lamp.glb"}


def test_root_replaced_behind_a_link(tmp_path: Path, wakeups: Wakeups) -> None:
    """A root that is a link is followed; when it leads elsewhere, of which no event tells, that is noticed."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "one")
    watcher = EventWatcher(link, wakeups)
    (link / "chair.glb").touch()
    assert seen(watcher) == {"chair.glb"}
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert not watcher.prove(0)
    assert "was replaced" in (watcher.take_trouble() or "")
    assert watcher.take_trouble() is None
    watcher.rearm()
    (link / "table.glb").touch()
    assert seen(watcher) == {"table.glb"}
    watcher.close()


def test_root_gone_before_its_event_is_read(root: Path) -> None:
    """A root that is missing is noticed at the next look, although its event has not been read yet."""
    go_on, blocked = threading.Event(), threading.Event()

    def wake() -> None:
        blocked.set()
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(BOUND_SECONDS)

    watcher = EventWatcher(root, wake)
    (root / "chair.glb").touch()
    assert blocked.wait(BOUND_SECONDS)
    root.rename(root.with_name("moved"))
    assert watcher.take_trouble() == "The watched folder is gone."
    go_on.set()
    watcher.close()


def test_rearming_without_need_changes_nothing(root: Path, watcher: EventWatcher) -> None:
    """A re-arming while all is well keeps the vouches, so that it may be called at each rescan."""
    (root / "chair.glb").touch()
    assert watcher.prove(BOUND_SECONDS)
    watcher.rearm()
    assert seen(watcher) == {"chair.glb"}


def test_overflow_is_told_and_mended(root: Path, tmp_path: Path) -> None:
    """When the kernel's queue overflows that is told, and after re-arming also a folder made meanwhile is watched."""
    queue_length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    if queue_length > 100_000:
        pytest.skip("the kernel's queue is too long to fill")
    wakeups, go_on, blocked = Wakeups(), threading.Event(), threading.Event()

    def wake() -> None:
        blocked.set()
        assert go_on.wait(BOUND_SECONDS)
        wakeups()

    watcher = EventWatcher(root, wake)
    inside, outside = root / "chair.glb", tmp_path / "chair.glb"
    inside.touch()
    assert blocked.wait(BOUND_SECONDS)
    for _ in range(queue_length // 2 + 1):
        inside.rename(outside)
        outside.rename(inside)
    (root / "late").mkdir()
    go_on.set()
    assert "lost" in wakeups.until(watcher.take_trouble)
    watcher.rearm()
    (root / "late/chair.glb").touch()
    assert seen(watcher) == {"late/chair.glb"}
    assert watcher.take_trouble() is None
    watcher.close()


def test_a_probe_whose_event_is_lost_in_a_full_queue(root: Path, tmp_path: Path) -> None:
    """A burst leaves no room for it; the session that replaces the lost one is proven anew."""
    queue_length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    if queue_length > 100_000:
        pytest.skip("the kernel's queue is too long to fill")
    wakeups, go_on, blocked = Wakeups(), threading.Event(), threading.Event()

    def wake() -> None:
        blocked.set()
        assert go_on.wait(BOUND_SECONDS)
        wakeups()

    watcher = EventWatcher(root, wake)
    inside, outside = root / "chair.glb", tmp_path / "chair.glb"
    inside.touch()
    assert blocked.wait(BOUND_SECONDS)
    for _ in range(queue_length // 2 + 1):
        inside.rename(outside)
        outside.rename(inside)
    assert not watcher.prove(0.0)
    go_on.set()
    assert "lost" in wakeups.until(watcher.take_trouble)
    watcher.rearm()
    assert (watcher.defect, watcher.take_trouble()) == ("", None)
    assert watcher.description == "native (inotify), proven by a probe file in the inbox"
    watcher.close()


def test_dead_thread_is_told_and_replaced(root: Path, watcher: EventWatcher) -> None:
    """A watching thread that has ended is noticed without any event, and re-arming starts another."""
    session = watcher._session
    assert session is not None
    session.close()
    assert "has ended" in (watcher.take_trouble() or "")
    watcher.rearm()
    (root / "chair.glb").touch()
    assert seen(watcher) == {"chair.glb"}


def mount(kind: str, place: Path, image: Path) -> None:
    """Mount an empty filesystem: a tmpfs, or another one on an image by a loop device."""
    how = ["-t", kind, kind]
    if kind == "ext4":
        with image.open("wb") as file:
            file.truncate(16_000_000)
        if not shutil.which(f"mkfs.{kind}"):
            pytest.skip(f"there is no mkfs.{kind}")
        subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
        how = ["-o", "loop", str(image)]
    if subprocess.run(["mount", *how, place], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")


as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")


@as_root
@pytest.mark.parametrize("below", ["", "share"])
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_unmounting_is_told(root: Path, tmp_path: Path, wakeups: Wakeups, below: str, kind: str) -> None:
    """When the root, or a folder in it, is unmounted that is told, and what lies there then is watched."""
    mount_point = root / below
    mount_point.mkdir(exist_ok=True)
    mount(kind, mount_point, tmp_path / "image")
    watcher = EventWatcher(root, wakeups)
    subprocess.run(["umount", mount_point], check=True)
    wakeups.wait()
    assert watcher.take_trouble() == "The watched folder, or one in it, was unmounted."
    watcher.rearm()
    (mount_point / "chair.glb").touch()
    assert seen(watcher) == {str(Path(below, "chair.glb"))}
    watcher.close()


@as_root
def test_what_is_mounted_while_watching_is_watched_and_proven(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """No event tells that something is mounted over a folder; the mount table does. A share is named as one."""
    for name in ("disk", "share"):
        (root / name).mkdir()
    kinds = {"": ""}
    watcher = open_watcher(root, wakeups, "auto", mounted=lambda: kinds, proof_seconds=BOUND_SECONDS)
    assert watcher.description == "native (inotify), proven by a probe file in the inbox"
    mount("tmpfs", root / "disk", tmp_path)
    try:
        kinds = {"": "", "disk": "", "share": "fuse.sshfs"}
        assert watcher.take_trouble() == "Something was mounted in the watched folder, or unmounted."
        watcher.rearm()
        assert watcher.take_trouble() is None
        assert watcher.defect == ""
        assert watcher.description == (
            "native (inotify), proven by a probe file in the inbox, 'disk'; in 'share', a network share (fuse.sshfs), "
            "changes by other machines are noticed only by the rescan"
        )
        assert [entry.name for entry in (root / "disk").iterdir()] == []
        (root / "disk/chair.glb").touch()
        assert isinstance(watcher, EventWatcher)
        assert seen(watcher) == {"disk/chair.glb"}
    finally:
        watcher.close()
        subprocess.run(["umount", root / "disk"], check=True)


@pytest.mark.parametrize("mode", ["auto", "native"])
def test_a_probe_that_is_written_and_whose_event_never_comes(
    tmp_path: Path, wakeups: Wakeups, mode: Literal["auto", "native"]
) -> None:
    """The filesystem gives the folder another node for each look-up, so that what is watched is not what is written to."""
    (tmp_path / "disk/inbox").mkdir(parents=True)
    with forgetful(tmp_path / "disk", tmp_path / "mount"):
        root = tmp_path / "mount/inbox"
        watcher = open_watcher(root, wakeups, mode, mounted=partial(shares_in, root))
        assert watcher.defect == (
            f"File events do not work in {str(root)!r}: the event of a probe file did not come. The rescan finds the changes there."
        )
        assert watcher.take_trouble() == watcher.defect
        assert watcher.take_trouble() is None
        assert watcher.native == (mode == "native")
        if mode == "auto":
            assert watcher.description == f"polling: file events do not work in {str(root)!r}"
        (root / "chair.glb").touch()
        watcher.rearm()
        assert watcher.take_changed() is None, "any folder may have changed"
        assert (watcher.take_changed() is None) == (mode == "auto")
        assert watcher.take_seen() == NOTHING_SEEN
        assert sorted(path.name for path in root.iterdir()) == ["chair.glb"], "the probe file is gone"
        watcher.close()


def test_a_probe_below_whose_event_never_comes(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """The root is watched all the same, and the place is named."""
    (tmp_path / "disk/sets").mkdir(parents=True)
    with forgetful(tmp_path / "disk", root / "disk"):
        watcher = open_watcher(root, wakeups, "auto", mounted=lambda: {"": "", "disk/sets": ""})
        assert watcher.defect.startswith(
            f"File events do not work in {str(root / 'disk/sets')!r}: the event of a probe"
        )
        assert (watcher.native, watcher.description) == (True, "native (inotify), proven by a probe file in the inbox")
        assert isinstance(watcher, EventWatcher)
        (root / "chair.glb").touch()
        assert seen(watcher) == {"chair.glb"}
        watcher.close()


def test_an_event_that_comes_late_proves_it_too(root: Path, wakeups: Wakeups) -> None:
    """Where this machine was slow, a root is not polled for ever; people read that it is not."""
    for _ in range(1000):
        watcher = open_watcher(root, wakeups, "auto", proof_seconds=0)
        if watcher.defect:
            break
        watcher.close()
    assert isinstance(watcher, EventWatcher)
    assert watcher.prove(BOUND_SECONDS)
    told = "From now on: native (inotify), proven by a probe file in the inbox."
    assert watcher.take_trouble() == told
    assert (watcher.native, watcher.defect) == (True, "")
    watcher.close()


def test_a_root_that_is_away_is_proven_when_it_is_back(root: Path, wakeups: Wakeups) -> None:
    """Its empty place gets no probe file; that it is back may be a person's word alone, which no event tells."""
    there: dict[str, str] = {}
    before = root.stat().st_mtime_ns
    watcher = open_watcher(root, wakeups, "auto", mounted=lambda: there)
    assert (watcher.description, root.stat().st_mtime_ns) == ("native (inotify)", before)
    there = {"": ""}
    assert watcher.take_trouble() is None
    watcher.rearm()
    assert watcher.description == "native (inotify), proven by a probe file in the inbox"
    assert watcher.take_trouble() is None
    watcher.close()


def test_a_share_that_is_away_at_the_start(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """It is polled once it is back, and a disk is proven."""
    is_there = False
    watcher = open_watcher(root, wakeups, "auto", mounted=lambda: shares_in(root) if is_there else {})
    for number, kind in enumerate(("fuse.sshfs", "fuse.fuse-overlayfs")):
        with forgetful(tmp_path / "disk", root, kind):
            is_there = True
            watcher.take_trouble()
            watcher.rearm()
            assert watcher.native == bool(number)
            is_there = False
        watcher.rearm()
        assert (watcher.native, watcher.description) == (True, "native (inotify)")
    watcher.close()


def test_what_is_mounted_on_the_root_decides_how_it_is_watched(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """A share is polled, without a thread; a local disk in its place is watched and proven; each is told."""
    watcher = open_watcher(root, wakeups, "auto", mounted=partial(shares_in, root))
    native = "native (inotify), proven by a probe file in the inbox"
    polling = f"polling: {str(root)!r} is a network share (fuse.sshfs)"
    replaced = "The watched folder was replaced, or something was mounted on it."
    threads = threading.active_count()
    for _ in range(2):
        with forgetful(tmp_path / "remote", root, "fuse.sshfs"):
            assert watcher.take_trouble() == replaced
            watcher.rearm()
            assert (watcher.description, watcher.native, watcher.defect) == (polling, False, "")
            assert watcher.take_trouble() == f"From now on: {polling}."
            assert threading.active_count() == threads - 1
            (root / "chair.glb").touch()
            watcher.rearm()
            assert watcher.take_changed() is None
            assert watcher.take_trouble() is None
        assert watcher.take_trouble() is None
        with mounted(root):
            watcher.rearm()
            assert (watcher.description, watcher.native) == (native, True)
            assert watcher.take_trouble() == f"From now on: {native}."
            assert isinstance(watcher, EventWatcher)
            (root / "lamp.glb").touch()
            assert seen(watcher) == {"lamp.glb"}
        watcher.take_trouble()
        watcher.rearm()
        assert (watcher.description, watcher.take_trouble()) == (native, None)
    watcher.close()


def test_a_folder_in_the_root_that_becomes_a_share_and_a_disk(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """What is mounted there now is named; only the disk is proven."""
    watcher = open_watcher(root, wakeups, "auto", mounted=partial(shares_in, root))
    (root / "team").mkdir()
    root_alone = "native (inotify), proven by a probe file in the inbox"
    share = "; in 'team', a network share (fuse.sshfs), changes by other machines are noticed only by the rescan"
    for _ in range(2):
        with forgetful(tmp_path / "remote", root / "team", "fuse.sshfs"):
            watcher.rearm()
            assert watcher.description == root_alone + share
            assert list((tmp_path / "remote").iterdir()) == []
        watcher.rearm()
        assert watcher.description == root_alone
        with bound(tmp_path / "disk", root / "team"):
            watcher.rearm()
            assert watcher.description == f"{root_alone}, 'team'"
    watcher.close()


@as_root
def test_another_disk_in_the_place_of_one_is_proven_anew(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """The mount table looks the same then; it is the kernel's word that the first one went."""
    (root / "disk").mkdir()
    mount("tmpfs", root / "disk", tmp_path)
    watcher = open_watcher(root, wakeups, "auto", mounted=partial(shares_in, root))
    assert watcher.description.endswith("in the inbox, 'disk'")
    subprocess.run(["umount", root / "disk"], check=True)
    wakeups.wait()
    mount("sysfs", root / "disk", tmp_path)
    try:
        assert watcher.take_trouble() == "The watched folder, or one in it, was unmounted."
        watcher.rearm()
        assert watcher.defect.startswith(f"File events do not work in {str(root / 'disk')!r}: ")
        assert watcher.description == "native (inotify), proven by a probe file in the inbox"
        watcher.close()
    finally:
        subprocess.run(["umount", root / "disk"], check=True)


def test_a_folder_that_could_not_be_written_is_proven_when_it_can(root: Path, tmp_path: Path, wakeups: Wakeups) -> None:
    """What was said of it ends with its cause."""
    with share(tmp_path / "disk", root) as disk:
        disk.freeze()
        watcher = open_watcher(root, wakeups, "auto", mounted=partial(shares_in, root))
        assert "could not be written (Read-only file system)" in watcher.defect
        watcher.rearm()
        assert watcher.native is False
        disk.thaw()
        watcher.rearm()
        native = "native (inotify), proven by a probe file in the inbox"
        assert (watcher.defect, watcher.native, watcher.description) == ("", True, native)
        watcher.close()


@as_root
@pytest.mark.parametrize("mode", ["auto", "native"])
@pytest.mark.parametrize("below", ["", "disk"])
def test_a_probe_whose_event_does_not_come(
    root: Path, tmp_path: Path, wakeups: Wakeups, mode: Literal["auto", "native"], below: str
) -> None:
    """A filesystem without events is told: a sysfs takes no probe at all, and where the root is one, "auto" polls."""
    (root / below).mkdir(exist_ok=True)
    mount("sysfs", root / below, tmp_path)
    try:
        watcher = open_watcher(root, wakeups, mode, mounted=lambda: {"": "", below: ""})
        place = str(root / below)
        assert watcher.defect.startswith(f"File events do not work in {place!r}: a probe file could not be written (")
        assert watcher.take_trouble() == watcher.defect
        assert watcher.take_trouble() is None
        assert watcher.native == (mode == "native" or bool(below))
        assert ("the inbox" in watcher.description) == bool(below)
        watcher.rearm()
        assert watcher.defect, "a new session changes nothing"
        watcher.close()
    finally:
        subprocess.run(["umount", root / below], check=True)


def test_limit_text_names_the_setting() -> None:
    """The sentence about a limit names it, its value, and a line to set a higher one."""
    text = limit_text("max_user_watches", 600_000)
    assert "fs.inotify.max_user_watches (600000 now)" in text
    assert "`sysctl -w fs.inotify.max_user_watches=1200000`" in text
    assert "max_user_watches=524288" in limit_text("max_user_watches", 8192)
    assert "max_user_instances (unknown now)" in limit_text("max_user_instances", None)


# ---- in a process of its own: limits and rights that this one does not have -------------------------------------------

SCRIPT = """
import json, sys, threading
from pathlib import Path
{prelude}
from rodin_watchd.adapters.watcher import open_watcher
woken, root = threading.Event(), Path(sys.argv[1])
watcher = open_watcher(root, woken.set, {mode!r}, proof_seconds=30)
facts = {{"description": watcher.description, "native": watcher.native, "trouble": watcher.take_trouble()}}
watcher.rearm()
facts["again"] = watcher.take_trouble()
woken.clear()
{action}
facts["woken"], facts["closed"] = woken.wait({seconds}), sorted(watcher.take_seen().closed)
watcher.close()
facts["threads"] = threading.active_count()
print(json.dumps(facts))
"""


def facts_from(
    root: Path, *namespace: str, mode: str = "auto", prelude: str = "", action: str = "", seconds: float = 0
) -> dict[str, object]:
    """Run the script, in a new user namespace if one is asked for, and return what it tells."""
    if namespace and subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are not permitted here")
    script = SCRIPT.format(mode=mode, prelude=prelude, action=action, seconds=seconds)
    command = [*namespace, sys.executable, "-W", "error", "-c", script, str(root)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    facts = json.loads(answer.stdout)
    assert facts["threads"] == 1
    return dict(facts)


NEW_LIMIT = "Path('/proc/sys/user/{}').write_text('{}')"  # of the new namespace alone


def test_watch_limit_below_the_root(root: Path) -> None:
    """With watches for some folders only, watching goes on and the limit is told once, with the number to set."""
    for name in "abc":
        (root / name).mkdir()
    limit, action = NEW_LIMIT.format("max_inotify_watches", 2), "(root / 'chair.glb').touch(); watcher.prove(30)"
    facts = facts_from(root, "unshare", "-Ur", prelude=limit, action=action, seconds=30)
    assert facts["description"] == "native (inotify), proven by a probe file in the inbox"
    assert "sysctl -w fs.inotify.max_user_watches=" in str(facts["trouble"])
    assert facts["again"] is None
    assert facts["closed"] == ["chair.glb"]


@pytest.mark.parametrize(
    ("own_limit", "limit"),
    [("max_inotify_watches", "max_user_watches"), ("max_inotify_instances", "max_user_instances")],
)
def test_limit_at_the_root(root: Path, own_limit: str, limit: str) -> None:
    """Without a single watch or instance the loop polls, and people are told why and what to set."""
    facts = facts_from(root, "unshare", "-Ur", prelude=NEW_LIMIT.format(own_limit, 0))
    assert facts["description"] == f"polling: file events do not work in {str(root)!r}"
    assert f"sysctl -w fs.inotify.{limit}=" in str(facts["trouble"])
    assert facts["again"] is None


def test_watching_begins_when_the_limit_is_raised(root: Path) -> None:
    """A full watch table is no reason to poll for ever: each rescan tries again, and what was said is taken back."""
    full, raised = (NEW_LIMIT.format("max_inotify_watches", number) for number in (0, 50))
    action = (
        f"facts['defect'] = watcher.defect; {raised}; watcher.rearm(); facts['after'] = watcher.defect; "
        "facts['native'] = watcher.native; (root / 'chair.glb').touch(); watcher.prove(30)"
    )
    facts = facts_from(root, "unshare", "-Ur", prelude=full, action=action, seconds=30)
    assert "sysctl -w fs.inotify.max_user_watches=" in str(facts["defect"])
    assert (facts["after"], facts["native"], facts["closed"]) == ("", True, ["chair.glb"])


def test_unreadable_folder_is_told(root: Path) -> None:
    """A folder without the right to read it is named, once, and the others are watched."""
    for name in ("a", "closed 1", "closed 2"):
        (root / name).mkdir()
    (root / "closed 1").chmod(0)
    (root / "closed 2").chmod(0)
    action = "(root / 'a/chair.glb').touch(); watcher.prove(30)"
    facts = facts_from(root, "unshare", "-U", action=action, seconds=30)
    assert "'closed " in str(facts["trouble"])
    assert "Permission denied" in str(facts["trouble"])
    assert "rescan" not in str(facts["trouble"]), "it reads no more than the watcher"
    assert facts["again"] is None
    assert facts["closed"] == ["a/chair.glb"]


def test_unreadable_root_is_told(root: Path) -> None:
    """A root without the right to read it is polled, and the reason names it."""
    root.chmod(0)
    facts = facts_from(root, "unshare", "-U")
    assert facts["description"] == f"polling: file events do not work in {str(root)!r}"
    assert f"{str(root)!r} (Permission denied)" in str(facts["trouble"])


def test_hints_where_inotify_is_not_to_be_had(root: Path, tmp_path: Path) -> None:
    """Where watchdog's inner parts have changed its public Observer wakes for a file moved in, and vouches for none."""
    (tmp_path / "chair.glb").touch()
    prelude = "import watchdog.observers, watchdog.observers.inotify_c as inner; del inner.InotifyConstants.IN_UNMOUNT"
    action = "(root.parent / 'chair.glb').rename(root / 'chair.glb')"
    facts = facts_from(root, prelude=prelude, action=action, seconds=30)
    assert facts == {
        "description": "hints (watchdog's Observer), proven by a probe file in the inbox",
        "native": False,
        "trouble": None,
        "again": None,
        "woken": True,
        "closed": [],
        "threads": 1,
    }


def test_hints_tell_of_a_replaced_root(root: Path) -> None:
    """Also hints notice that another folder lies in the root's place, and wake for what comes there."""
    prelude = "import watchdog.observers, watchdog.observers.inotify_c as inner; del inner.InotifyConstants.IN_UNMOUNT"
    action = (
        "root.rename(root.with_name('moved')); root.mkdir(); facts['lost'] = watcher.take_trouble(); "
        "watcher.rearm(); woken.clear(); (root / 'chair.glb').touch()"
    )
    facts = facts_from(root, prelude=prelude, action=action, seconds=30)
    assert "was replaced" in str(facts["lost"])
    assert facts["woken"]


def test_hints_without_a_root(root: Path) -> None:
    """Hints for a root that is missing leave no thread and tell why."""
    prelude = "import watchdog.observers, watchdog.observers.inotify_c as inner; del inner.InotifyConstants.IN_UNMOUNT"
    facts = facts_from(root / "missing", mode="native", prelude=prelude)
    assert "No such file" in str(facts["trouble"])
    assert facts["again"] is None


# ---- which watcher --------------------------------------------------------------------------------------------------


def test_auto_on_a_local_folder(root: Path, wakeups: Wakeups) -> None:
    """A local folder is watched natively once a probe file has shown that events come; none of it stays."""
    watcher = open_watcher(root, wakeups, "auto", proof_seconds=BOUND_SECONDS)
    assert (watcher.native, watcher.description) == (True, "native (inotify), proven by a probe file in the inbox")
    assert watcher.take_trouble() is None
    assert watcher.take_seen() == NOTHING_SEEN
    assert list(root.iterdir()) == []
    assert not wakeups.came
    watcher.close()


def test_auto_on_a_share(root: Path, wakeups: Wakeups) -> None:
    """A network share is polled: no thread, no vouches, the reason in the description."""
    threads = threading.active_count()
    watcher = open_watcher(root, wakeups, "auto", mounted=lambda: {"": "cifs"})
    assert (watcher.native, watcher.description) == (False, f"polling: {str(root)!r} is a network share (cifs)")
    assert threading.active_count() == threads
    (root / "chair.glb").touch()
    watcher.rearm()
    assert watcher.take_seen() == NOTHING_SEEN
    assert watcher.take_trouble() is None
    watcher.close()


def test_native_on_a_share(root: Path, wakeups: Wakeups) -> None:
    """A share is watched natively if the owner insists, and the description warns."""
    watcher = open_watcher(root, wakeups, "native", mounted=lambda: {"": "nfs4"})
    assert watcher.native
    assert watcher.description.startswith(
        "native (inotify), proven by a probe file in the inbox; on a network share (nfs4)"
    )
    watcher.close()


def test_polling_if_configured(root: Path, wakeups: Wakeups) -> None:
    """Polling is to be had on any folder."""
    watcher = open_watcher(root, wakeups, "polling")
    assert (watcher.native, watcher.description) == (False, "polling, as configured")


def test_auto_without_a_root(root: Path, wakeups: Wakeups) -> None:
    """A root that cannot be watched is polled, and the reason told once."""
    watcher = open_watcher(root / "missing", wakeups, "auto")
    assert watcher.description.startswith("polling: ")
    assert "No such file" in (watcher.take_trouble() or "")
    assert watcher.take_trouble() is None


def test_auto_without_the_right_to_probe(wakeups: Wakeups) -> None:
    """Where no probe file can be written nothing is proven, so the loop polls and people are told."""
    watcher = open_watcher(Path("/proc/sys/fs/inotify"), wakeups, "auto")
    watcher.close()
    assert watcher.description == "polling: file events do not work in '/proc/sys/fs/inotify'"
    assert "a probe file could not be written (" in (watcher.take_trouble() or "")


def test_closing_leaves_nothing(root: Path, wakeups: Wakeups) -> None:
    """After closing, twice, no thread runs and no descriptor is open; nobody is woken any more."""
    threads, descriptors = threading.active_count(), open_descriptors()
    watcher = EventWatcher(root, wakeups)
    assert threading.active_count() == threads + 1
    assert open_descriptors() > descriptors
    watcher.close()
    watcher.close()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
    (root / "chair.glb").touch()
    assert not wakeups.came


def test_rearming_leaves_no_second_thread(root: Path, watcher: EventWatcher) -> None:
    """Each re-arming replaces the session before it, with its thread and its descriptors."""
    threads, descriptors = threading.active_count(), len(open_descriptors())
    for number in range(5):
        root.rename(root.with_name(f"moved-{number}"))
        root.mkdir()
        watcher.rearm()
    assert threading.active_count() == threads
    assert len(open_descriptors()) == descriptors
    assert seen(watcher) == frozenset()


def test_a_probe_that_a_crash_left_behind_goes_with_the_next(tmp_path: Path) -> None:
    """No litter stays in the folder, however often a start is cut off."""
    (tmp_path / ".rodin-watchd-probe").touch()
    watcher = open_watcher(tmp_path, lambda: None, "auto")
    watcher.close()
    assert watcher.native
    assert list(tmp_path.iterdir()) == []


def test_folders_in_which_something_changed_are_named(root: Path, watcher: EventWatcher) -> None:
    """Once each, and that any may be one after the start and after a new session."""
    (root / "old").mkdir()
    seen(watcher)
    assert watcher.take_changed() is None
    (root / "old" / "a.glb").write_bytes(b"1")
    (root / "new").mkdir()
    (root / "b.glb").write_bytes(b"1")
    seen(watcher)
    changed = watcher.take_changed()
    assert changed is not None
    assert {"old", "new", ""} >= changed >= {"old", ""}
    assert watcher.take_changed() == frozenset()
