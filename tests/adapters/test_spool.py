"""Taking sets and publishing results with real files: names, links, rights, other disks, and crashes at each point."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import tracemalloc
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import IS_ROOT, NOBODY, as_nobody, bound, listed, mounted, public_folder
from system_calls import MOST_CALLS, Killed, before_call, kill
from watchdog.events import DirCreatedEvent, DirMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.beneath import folder_beneath
from rodin_watchd.adapters.spool.moving import RECEIPTS, Destination, job_named_by, rename_new
from rodin_watchd.core.layout import (
    ARCHIVE,
    ASIDE_PREFIX,
    FAILED,
    OUTBOX,
    OWN_PREFIX,
    PROBE_PREFIX,
    RECEIPT,
    REPORT,
    REPORT_DATA,
)
from rodin_watchd.core.receipt import sealed
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    DiskError,
    FileRefusedError,
    FolderGoneError,
    OutboxError,
    RightsError,
)
from rodin_watchd.model import InputFile, Job, Role, Signature, State

ID = "0123456789ab"
NAMES = (
    b"chair.glb",
    b"two\nlines.glb",
    "🪑.glb".encode(),
    b"-rf.glb",
    b"x" * 251 + b".glb",
    b"\xff\xfe.glb",
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Make a root with its folders."""
    made = Spool(tmp_path)
    made.prepare()
    return made


def dropped(spool: Spool, path: str = "inbox/chair.glb", data: bytes = b"model", *, shared: bool = False) -> InputFile:
    """Drop a file below the root and return what a claim says of it."""
    place = spool.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return claimed(spool, path, shared=shared)


def claimed(spool: Spool, path: str, *, shared: bool = False) -> InputFile:
    """Return what a claim says of a file below the root."""
    status = (spool.root / path).lstat()
    return InputFile(Role.MODEL, path, Signature(status.st_size, status.st_mtime_ns, status.st_ino), shared=shared)


def job(name: str = "chair", *, folder: str = "", identity: str = ID, retries: int = 0) -> Job:
    """Return a job that is to be published."""
    return Job(identity, name, folder, State.PROCESSED, (), {}, created_at=0.0, retries=retries)


def receipt(of: Job) -> str:
    """Return what tells whose a folder is."""
    return f'[job]\nid = "{of.id}"\nretries = {of.retries}\n'


def result(spool: Spool, of: Job, data: bytes = b"textured", text: str = "job.toml") -> Path:
    """Make a job's result folder, ready to be published."""
    folder = spool.result(of.id)
    spool.make(folder)
    (folder / "model.glb").write_bytes(data)
    (folder / text).write_text(receipt(of))
    return folder


def published(spool: Spool, of: Job, top: str = OUTBOX) -> str:
    """Publish a job's result folder."""
    return spool.publish(of, spool.result(of.id), Destination(top, of.folder, of.name))


def tree(folder: Path) -> set[str]:
    """List all that lies below a folder."""
    return {str(found.relative_to(folder)) for found in folder.rglob("*")}


# ---- the folders ----------------------------------------------------------------------------------------------------


def test_folders_are_made(spool: Spool) -> None:
    """The folders are there after preparing, which may be repeated, and nothing is wrong with them."""
    spool.prepare()
    assert tree(spool.root) == {"inbox", "outbox", "failed", "archive", ".rodin-watchd", ".rodin-watchd/work"}
    assert spool.problems() == []
    assert spool.free_bytes() == pytest.approx(shutil.disk_usage(spool.root).free, rel=0.1)


def test_missing_root(tmp_path: Path) -> None:
    """A missing root is not made: a share may be away."""
    with pytest.raises(FolderGoneError, match="does not exist"):
        Spool(tmp_path / "root").mounts.refuse_bare()
    assert not (tmp_path / "root").exists()
    (tmp_path / "root" / "lost+found").mkdir(parents=True)
    (tmp_path / "root" / "NOT MOUNTED").touch()
    with pytest.raises(FolderGoneError, match=r"neither inbox nor config\.toml"):
        Spool(tmp_path / "root").mounts.refuse_bare()
    (tmp_path / "root" / "inbox").mkdir()
    Spool(tmp_path / "root").mounts.refuse_bare()


def test_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    """A file where a folder should be is told."""
    (tmp_path / "outbox").touch()
    with pytest.raises(DiskError, match=r"outbox cannot be made: File exists\."):
        Spool(tmp_path).prepare()


def test_linked_folder_is_a_problem(spool: Spool, tmp_path: Path) -> None:
    """A link in the place of one of the folders is told before money is spent: it would not be followed."""
    (tmp_path / "elsewhere").mkdir()
    spool.folders[1].rmdir()
    spool.folders[1].symlink_to(tmp_path / "elsewhere")
    (problem,) = spool.problems()
    assert problem.startswith(f"{spool.folders[1]} is a symbolic link")


def test_missing_folder_is_a_problem(spool: Spool) -> None:
    """A folder that disappeared is told."""
    spool.inbox.rmdir()
    assert spool.problems() == [f"{spool.inbox} is missing."]


def test_a_file_in_a_folders_place_is_a_problem(spool: Spool) -> None:
    """A file where a folder belongs is told as such: it is not missing, and the start cannot make it."""
    spool.inbox.rmdir()
    spool.inbox.touch()
    assert spool.problems() == [f"{spool.inbox} is not a folder."]


def test_folders_of_another_user_are_a_problem() -> None:
    """Folders that this user may not write are told, each of them."""
    with public_folder() as root:
        Spool(root).prepare()
        problems = as_nobody(Spool(root).problems)
    assert problems == [f"{folder} cannot be written by this user." for folder in Spool(root).folders]


def test_whether_sets_are_renamed_or_copied_is_tried(spool: Spool) -> None:
    """By a real rename, which leaves nothing behind, nor what a crash has left of an earlier one; what is no probe stays."""
    (spool.inbox / f"{PROBE_PREFIX}left").touch()
    (spool.inbox / f"{PROBE_PREFIX}full").write_text("somebody's")
    assert spool.renames() is True
    with mounted(spool.inbox):
        assert spool.problems() == []
        assert spool.renames() is False
        assert listed(spool.inbox) == []
    assert listed(spool.inbox) == [f"{PROBE_PREFIX}full"]
    assert listed(spool.work) == []
    spool.inbox.rename(spool.root / "elsewhere")
    assert spool.renames() is None


def test_one_disk_by_two_mounts_is_copied(spool: Spool) -> None:
    """The device is the same and the rename says EXDEV all the same: only the try tells."""
    with bound(spool.root / "elsewhere", spool.inbox):
        assert spool.inbox.stat().st_dev == spool.work.stat().st_dev
        assert spool.renames() is False


def test_share_that_is_away_is_not_filled(spool: Spool) -> None:
    """When the root has become empty nothing is made in it, and all say that a folder is missing."""
    file, of = dropped(spool), job()
    result(spool, of)
    shutil.rmtree(spool.root)
    spool.root.mkdir()
    with pytest.raises(FolderGoneError):
        spool.free_bytes()
    with pytest.raises(FolderGoneError):
        spool.take(ID, file)
    with pytest.raises(FolderGoneError):
        spool.make(spool.downloads(ID))
    with pytest.raises(FolderGoneError):
        published(spool, of)
    assert not (spool.root / ".rodin-watchd").exists()


# ---- taking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shared", [False, True])
def test_file_is_taken(spool: Spool, name: bytes, *, shared: bool) -> None:
    """A file is moved, a shared one copied, content and time untouched, whatever its name is."""
    path = f"inbox/sub/{os.fsdecode(name)}"
    file = dropped(spool, path, data=name, shared=shared)
    for _ in range(2):
        taken = spool.take(ID, file)
        assert taken == spool.inputs(ID) / os.fsdecode(name)
        assert taken.read_bytes() == name
        assert taken.stat().st_mtime_ns == file.signature.mtime_ns
        assert (spool.root / path).exists() == shared
    assert listed(spool.inputs(ID)) == [os.fsdecode(name)]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("change", ["longer", "touched", "replaced"])
def test_changed_file_is_left(spool: Spool, change: str, *, shared: bool) -> None:
    """A file that was touched after the claim is neither moved nor copied."""
    file = dropped(spool, shared=shared)
    path = spool.root / file.source
    if change == "longer":
        path.write_bytes(b"a longer model")
    elif change == "touched":
        os.utime(path, ns=(0, file.signature.mtime_ns + 1))
    else:
        (spool.root / "new").write_bytes(b"other")
        os.utime(spool.root / "new", ns=(0, file.signature.mtime_ns))
        (spool.root / "new").replace(path)
    content = path.read_bytes()
    with pytest.raises(ChangedWhileTakenError, match=r"“chair\.glb” changed while it was taken"):
        spool.take(ID, file)
    assert path.read_bytes() == content
    assert listed(spool.inputs(ID)) == []


@pytest.mark.parametrize("shared", [False, True])
def test_vanished_file(spool: Spool, *, shared: bool) -> None:
    """A file or its folder that is gone is told as vanished, on one line whatever the name is."""
    file = dropped(spool, "inbox/sub/two\nlines.glb", shared=shared)
    (spool.root / file.source).unlink()
    for _ in range(2):
        with pytest.raises(ChangedWhileTakenError) as vanished:
            spool.take(ID, file)
        assert vanished.value.message == r"“two\nlines.glb” disappeared before it could be taken."
        shutil.rmtree(spool.root / "inbox/sub", ignore_errors=True)


@pytest.mark.parametrize("shared", [False, True])
def test_linked_folder_is_not_taken_from(spool: Spool, *, shared: bool) -> None:
    """A folder that was swapped for a link to elsewhere is not followed, even if the very file lies there."""
    file = dropped(spool, "inbox/sub/chair.glb", shared=shared)
    outside = spool.root / "outside"
    (spool.root / "inbox/sub").rename(outside)
    (spool.root / "inbox/sub").symlink_to(outside)
    with pytest.raises(ChangedWhileTakenError):
        spool.take(ID, file)
    assert (outside / "chair.glb").read_bytes() == b"model"


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_only_plain_files_are_taken(spool: Spool, kind: str, *, shared: bool) -> None:
    """A link, a FIFO or a folder is refused, at once and without a look inside, even if it was claimed as it is."""
    path = spool.root / "inbox/chair.glb"
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(FileRefusedError, match="is not a plain file"):
        spool.take(ID, claimed(spool, "inbox/chair.glb", shared=shared))
    assert os.path.lexists(path)
    assert listed(spool.inputs(ID)) == []


@pytest.mark.parametrize("shared", [False, True])
def test_hard_link_is_not_taken(spool: Spool, *, shared: bool) -> None:
    """A file with a second name elsewhere is refused: it could be changed from there."""
    file = dropped(spool, shared=shared)
    (spool.root / "second").hardlink_to(spool.root / file.source)
    with pytest.raises(FileRefusedError, match="hard link"):
        spool.take(ID, file)
    assert (spool.root / file.source).exists()


def test_half_written_copy_is_made_anew(spool: Spool) -> None:
    """What a crash left of a copy is no file of the set, and is replaced or removed."""
    for identity, file in (("a" * 12, dropped(spool, shared=True)), ("b" * 12, dropped(spool, "inbox/sofa.glb"))):
        spool.inputs(identity).mkdir(parents=True)
        (spool.inputs(identity) / ".taken.part").write_bytes(b"half of an older and longer copy")
        assert spool.take(identity, file).read_bytes() == b"model"
        assert listed(spool.inputs(identity)) == [file.name]


def test_new_file_under_a_taken_name_is_left(spool: Spool) -> None:
    """A new file dropped under the name of a taken one is not touched when taking is repeated."""
    file = dropped(spool)
    spool.take(ID, file)
    (spool.root / file.source).write_bytes(b"newer")
    assert spool.take(ID, file).read_bytes() == b"model"
    assert (spool.root / file.source).read_bytes() == b"newer"


def test_file_on_another_filesystem(spool: Spool) -> None:
    """A file in a mount below the inbox is copied and then removed."""
    with mounted(spool.inbox / "team"):
        file = dropped(spool, "inbox/team/chair.glb")
        taken = spool.take(ID, file)
        assert (taken.read_bytes(), taken.stat().st_mtime_ns) == (b"model", file.signature.mtime_ns)
        assert listed(spool.inbox / "team") == []


def test_failed_set_comes_back_from_another_filesystem(spool: Spool) -> None:
    """A retried set is taken from `failed/` on another disk, where its files are copies with other inodes."""
    with mounted(spool.root / FAILED):
        file, of = dropped(spool), job()
        spool.take(ID, file)
        (spool.inputs(ID) / REPORT_DATA).write_text(sealed(receipt(of)))
        place = spool.publish(of, spool.inputs(ID), Destination(FAILED, "", "chair"))
        assert spool.take(ID, replace(file, source=f"{place}/chair.glb")).read_bytes() == b"model"
        spool.clear_leftovers(place)
        assert listed(spool.root / FAILED) == []


def test_full_disk_leaves_the_set_alone(tmp_path: Path) -> None:
    """A shared file that finds no room is the disk's fault; nothing half-copied stays, and it works again with room."""
    with mounted(tmp_path / "root", size="1m") as root:
        spool = Spool(root)
        spool.prepare()
        file = dropped(spool, data=os.urandom(600_000), shared=True)
        with pytest.raises(DiskError, match="No space left on device"):
            spool.take(ID, file)
        assert listed(spool.inputs(ID)) == []
        file = dropped(spool, data=b"smaller", shared=True)
        assert spool.take(ID, file).read_bytes() == b"smaller"


@pytest.mark.parametrize("shared", [False, True])
def test_rights_are_the_sets_own_problem(*, shared: bool) -> None:
    """A file that may not be moved, or not read to copy it, holds up its own set only."""
    with public_folder() as root:
        spool = Spool(root)
        spool.prepare()
        file = dropped(spool, "inbox/fixed/chair.glb", shared=shared)
        (root / file.source).chmod(0o600 if shared else 0o644)
        if IS_ROOT:
            os.chown(spool.work, NOBODY, NOBODY)

        def told() -> str:
            with pytest.raises(RightsError) as refused:
                spool.take(ID, file)
            return refused.value.message

        what = "read “chair.glb”" if shared else "move “chair.glb” out of its folder"
        assert as_nobody(told) == f"The service has no permission to {what}."
        assert (root / file.source).read_bytes() == b"model"


# ---- publishing -----------------------------------------------------------------------------------------------------


def test_folder_is_published_by_a_rename(spool: Spool) -> None:
    """The folder itself arrives under the set's name, in the mirrored folder, and nothing else does."""
    of = job(folder="team/a")
    inode = result(spool, of).stat().st_ino
    assert published(spool, of) == "outbox/team/a/chair"
    assert (spool.root / "outbox/team/a/chair").stat().st_ino == inode
    assert tree(spool.root / OUTBOX) == {
        "team",
        "team/a",
        "team/a/chair",
        "team/a/chair/model.glb",
        "team/a/chair/job.toml",
    }
    assert not spool.result(ID).exists()


@pytest.mark.parametrize("name", [*NAMES, b"y" * 255])
def test_any_name_is_published(spool: Spool, name: bytes) -> None:
    """A set of any name is published under it; a second one gets its job's id within the length of names."""
    of = job(os.fsdecode(name))
    other = replace(of, id="ba9876543210")
    for one in (of, other):
        result(spool, one)
    assert published(spool, of) == f"outbox/{os.fsdecode(name)}"
    second = os.fsencode(published(spool, other)).removeprefix(b"outbox/")
    assert second.endswith(b"-ba9876")
    assert len(second) == min(len(name) + 7, 255)


def test_long_name_is_cut_between_characters(spool: Spool) -> None:
    """A name that has to be shortened stays UTF-8."""
    of = job("ä" * 127)
    (spool.root / OUTBOX / of.name).mkdir()
    result(spool, of)
    assert published(spool, of) == f"outbox/{'ä' * 124}-012345"


@pytest.mark.parametrize("theirs", ["Stühle", "STÜHLE", unicodedata.normalize("NFD", "stühle")])
@pytest.mark.parametrize("content", [(), ("notes.txt",)])
def test_folder_of_a_person_is_never_touched(spool: Spool, theirs: str, content: tuple[str, ...]) -> None:
    """A folder that somebody made, empty or not, in any spelling of the name, stays as it is."""
    folder = spool.root / OUTBOX / theirs
    folder.mkdir(mode=0o700)
    inode = folder.stat().st_ino
    for name in content:
        (folder / name).write_text("mine")
    of = job("stühle")
    result(spool, of)
    assert published(spool, of) == "outbox/stühle-012345"
    assert (folder.stat().st_ino, tuple(listed(folder))) == (inode, content)


@pytest.mark.parametrize("obstacle", ["file", "link", "dangling"])
def test_other_things_under_the_name_stay(spool: Spool, obstacle: str) -> None:
    """A file or a link under the set's name is neither replaced nor followed."""
    there = spool.root / OUTBOX / "chair"
    if obstacle == "file":
        there.write_text("mine")
    else:
        there.symlink_to(spool.root if obstacle == "link" else "nowhere")
    of = job()
    result(spool, of)
    assert published(spool, of) == "outbox/chair-012345"
    assert os.path.lexists(there)


@pytest.mark.parametrize("content", [(), ("notes.txt",)])
def test_folder_that_appears_in_the_last_moment(spool: Spool, content: tuple[str, ...]) -> None:
    """Even between our look and our rename nobody's folder is replaced, not even an empty one."""
    source, theirs = result(spool, job()), spool.root / OUTBOX / "chair"
    theirs.mkdir()
    for name in content:
        (theirs / name).touch()
    with folder_beneath(spool.root, OUTBOX) as into, pytest.raises(FileExistsError):
        rename_new(source, into, "chair")
    assert tuple(listed(theirs)) == content
    assert source.is_dir()


def test_names_never_run_out(spool: Spool) -> None:
    """However many folders of the job's names there are, another one is found."""
    of = job()
    places = []
    for number in range(5):
        result(spool, of, data=b"%d" % number)
        places.append(published(spool, of))
    names = ["chair", "chair-012345", f"chair-{ID}", f"chair-{ID}-2", f"chair-{ID}-3"]
    assert places == [f"outbox/{name}" for name in names]


def test_published_folder_is_found_again(spool: Spool) -> None:
    """After a crash behind the rename the published folder is found by its receipt, also with the job's id added."""
    (spool.root / OUTBOX / "Chair").mkdir()
    of = job()
    result(spool, of)
    place = published(spool, of)
    assert place == "outbox/chair-012345"
    assert published(spool, of) == place
    (spool.root / OUTBOX / "Chair").rmdir()  # the plain name is free meanwhile
    assert published(spool, of) == place
    assert listed(spool.root / OUTBOX) == ["chair-012345"]


def test_what_was_published_before_is_not_kept_in_memory(spool: Spool) -> None:
    """The next folder takes as little with 3,000 others in the outbox as with one."""
    peaks = []
    for number, others in enumerate((1, 3000)):
        for other in range(others):
            (spool.root / "outbox" / f"other{number}-{other:05}").mkdir()
        one = job(f"chair{number}", identity=f"{number}23456789abc")
        result(spool, one)
        tracemalloc.start()
        assert published(spool, one) == f"outbox/chair{number}"
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 50_000


def test_twin_names_do_not_hide_the_published_folder(spool: Spool) -> None:
    """The published folder is found among folders whose names differ in case only."""
    of = job()
    result(spool, of)
    assert published(spool, of) == "outbox/chair"
    for name in ("CHAIR", "Chair", "chaiR"):
        (spool.root / OUTBOX / name).mkdir()
    assert published(spool, of) == "outbox/chair"


def test_folder_of_an_earlier_try_is_another_one(spool: Spool) -> None:
    """The folder that the same job left before it was retried is not taken for this one's."""
    result(spool, job(), text=REPORT_DATA)
    assert published(spool, job(), FAILED) == "failed/chair"
    retried = job(retries=1)
    result(spool, retried, data=b"model", text=REPORT_DATA)
    assert published(spool, retried, FAILED) == "failed/chair-012345"


def test_forged_receipt_loses_nothing(spool: Spool) -> None:
    """A folder that only claims to be the published one does not make us throw the result away."""
    of = job()
    forged = spool.root / OUTBOX / "chair"
    forged.mkdir()
    (forged / "job.toml").write_text(receipt(of))
    (forged / "model.glb").write_bytes(b"textureD")
    result(spool, of)
    place = published(spool, of)
    assert place == "outbox/chair-012345"
    assert (spool.root / place / "model.glb").read_bytes() == b"textured"


def test_a_whole_copy_under_a_hidden_name_is_not_published_yet(spool: Spool) -> None:
    """Killed after the copy to another filesystem and before its rename: the folder still gets its name, where people see it."""
    of = job()
    shutil.copytree(result(spool, of), spool.root / OUTBOX / f".rodin-{ID}-result")
    assert published(spool, of) == "outbox/chair"
    assert (spool.root / OUTBOX / "chair" / "model.glb").is_file()


def test_file_that_comes_after_a_crash_is_published_too(spool: Spool) -> None:
    """What was taken after the first folder was published gets a folder of its own; it never stays hidden."""
    of = job()
    result(spool, of, text=REPORT_DATA)
    published(spool, of, FAILED)
    late = result(spool, of, text=REPORT_DATA)
    (late / "chair.png").write_bytes(b"late")
    (late / "model.glb").unlink()
    place = published(spool, of, FAILED)
    assert place == "failed/chair-012345"
    assert (spool.root / place / "chair.png").read_bytes() == b"late"


def test_hostile_receipts_are_not_believed(spool: Spool) -> None:
    """Whatever lies under a receipt's name, reading it neither fails, hangs, nor follows a link."""
    receipts = [b"", b"\xff", b"[job]", b"job = 1", b"[job]\nid = 1", b"x = " + b"[" * 100_000]
    for content in receipts:
        (spool.root / "job.toml").write_bytes(content)
        assert job_named_by(spool.root, "job.toml") is None
    (spool.root / "job.toml").write_text(receipt(job()))
    assert job_named_by(spool.root, "job.toml") == (ID, 0)
    (spool.root / "link").symlink_to("job.toml")
    os.mkfifo(spool.root / "fifo")
    assert [job_named_by(spool.root, name) for name in ("link", "fifo", "inbox", "missing")] == [None] * 4


@pytest.mark.parametrize("obstacle", ["link", "file"])
def test_mirrored_folder_that_is_none_holds_up_its_own_sets(spool: Spool, obstacle: str) -> None:
    """A link or a file in the place of a mirrored folder is told, not followed, and is the set's own problem."""
    (spool.root / "elsewhere").mkdir()
    if obstacle == "link":
        (spool.root / OUTBOX / "team").symlink_to(spool.root / "elsewhere")
    else:
        (spool.root / OUTBOX / "team").touch()
    of = job(folder="team")
    result(spool, of)
    with pytest.raises(RightsError, match="is in the way"):
        published(spool, of)
    assert listed(spool.root / "elsewhere") == []
    (spool.root / OUTBOX / "team").unlink()
    assert published(spool, of) == "outbox/team/chair"


def test_linked_top_folder_is_the_services_problem(spool: Spool) -> None:
    """A link in the place of the outbox itself concerns every set."""
    (spool.root / OUTBOX).rmdir()
    (spool.root / OUTBOX).symlink_to(spool.root / ARCHIVE)
    result(spool, job())
    with pytest.raises(DiskError, match="outbox is not a folder"):
        published(spool, job())
    assert listed(spool.root / ARCHIVE) == []


def test_rights_of_folders_to_publish_in() -> None:
    """A mirrored folder without the right to write is the set's problem, the outbox itself the service's."""
    with public_folder() as root:
        spool = Spool(root)
        spool.prepare()
        (root / "outbox/team").mkdir()
        for one in (job("chair", folder="team"), job("sofa", identity="b" * 12)):
            result(spool, one)
        if IS_ROOT:
            shutil.chown(spool.work, NOBODY, NOBODY)
            for found in spool.work.rglob("*"):
                os.chown(found, NOBODY, NOBODY)

        def told(of: Job) -> tuple[str, str]:
            with pytest.raises((RightsError, DiskError)) as refused:
                published(spool, of)
            return type(refused.value).__name__, refused.value.message

        assert as_nobody(lambda: told(job("chair", folder="team"))) == (
            "RightsError",
            "The service has no permission to write in “outbox/team”.",
        )
        assert as_nobody(lambda: told(job("sofa", identity="b" * 12))) == (
            "OutboxError",
            "outbox cannot be written: Permission denied.",
        )


def test_nothing_to_publish(spool: Spool) -> None:
    """Without a folder, here or published, publishing says so and makes none."""
    with pytest.raises(FileNotFoundError):
        published(spool, job())
    assert listed(spool.root / OUTBOX) == []


# ---- publishing on another filesystem -------------------------------------------------------------------------------


class Arrivals(FileSystemEventHandler):
    """Sees what appears in a folder, until a folder called `end` does."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.renamed: list[str] = []
        self.ended = threading.Event()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note what was made, and what came by a rename."""
        if isinstance(event, DirCreatedEvent):
            self.made.append(Path(os.fsdecode(event.src_path)).name)
        elif isinstance(event, DirMovedEvent):
            self.renamed.append(Path(os.fsdecode(event.dest_path)).name)
        if self.made[-1:] == ["end"]:
            self.ended.set()


def test_other_filesystem_sees_one_rename(spool: Spool) -> None:
    """On another disk the folder is made under a hidden name and arrives, whole, by one rename; the source goes."""
    with mounted(spool.root / OUTBOX) as outbox:
        arrivals, observer = Arrivals(), Observer()
        observer.schedule(arrivals, str(outbox))
        observer.start()
        source = result(spool, job())
        (source / "sub").mkdir()
        (source / "sub/wood.png").write_bytes(b"wood")
        (source / "link").symlink_to("model.glb")
        modified_ns = (source / "model.glb").stat().st_mtime_ns
        assert published(spool, job()) == "outbox/chair"
        (outbox / "end").mkdir()
        assert arrivals.ended.wait(30)
        observer.stop()
        observer.join()
        assert [name for name in arrivals.made if not name.startswith(".")] == ["end"]
        assert arrivals.renamed == ["chair"]
        files = {"chair", "chair/model.glb", "chair/job.toml", "chair/sub", "chair/sub/wood.png", "chair/link", "end"}
        assert tree(outbox) == files
        assert (outbox / "chair/model.glb").read_bytes() == b"textured"
        assert (outbox / "chair/model.glb").stat().st_mtime_ns == modified_ns
        assert (outbox / "chair/link").is_symlink()
        assert not source.exists()


def test_other_filesystem_after_a_crash(spool: Spool) -> None:
    """A half-made copy is made anew; after a crash before the source was removed the copy is found, the source goes."""
    with mounted(spool.root / OUTBOX) as outbox:
        source = result(spool, job())
        half = outbox / f".rodin-{ID}-result"
        half.mkdir()
        (half / "model.glb").write_bytes(b"half of something longer")
        assert published(spool, job()) == "outbox/chair"
        source = result(spool, job())
        (source / "job.toml").write_text(receipt(job()) + "written_later = true\n")
        assert published(spool, job()) == "outbox/chair"
        assert tree(outbox) == {"chair", "chair/model.glb", "chair/job.toml"}
        assert not source.exists()


@pytest.mark.parametrize("aside", [False, True])
def test_nothing_goes_from_here_that_the_copy_does_not_hold(spool: Spool, *, aside: bool) -> None:
    """What appears in the source before whichever system call: it is in the copy, or still here."""
    with mounted(spool.root / (FAILED if aside else OUTBOX)):
        for count in range(MOST_CALLS):
            of = job(f"set{count}", identity=f"{count:012}")
            source = result(spool, of)
            (source / "sub").mkdir()
            (source / "sub" / "wood.png").write_bytes(b"wood")
            came_late: list[Path] = []

            def come(source: Path = source, came_late: list[Path] = came_late) -> None:
                for folder in (source, source / "sub"):
                    if folder.is_dir():
                        (folder / "late.txt").write_bytes(b"late")
                        came_late.append(folder)

            with before_call(count, come) as came:
                if aside:
                    spool.set_aside(of.id, "It is nobody's.")
                else:
                    published(spool, of)
            if not came():
                break
            assert len([*spool.root.rglob("late.txt")]) == len(came_late), count
            for path in spool.root.rglob("late.txt"):
                path.unlink()
        assert count > 10


@pytest.mark.parametrize("top", [OUTBOX, FAILED])
def test_what_is_removed_from_the_hidden_copy_is_copied_again(spool: Spool, top: str) -> None:
    """A file of the copy that a cleaner of hidden files removes before whichever system call: it is published all the same."""
    with mounted(spool.root / top) as there:
        for count in range(MOST_CALLS):
            of = job(f"set{count}", identity=f"{count:012}")
            result(spool, of, text=RECEIPTS[top])
            cleaned: list[Path] = []

            def clean(cleaned: list[Path] = cleaned) -> None:
                for path in there.glob(".rodin-*/model.glb"):
                    path.unlink()
                    cleaned.append(path)

            with before_call(count, clean) as came:
                place = published(spool, of, top)
            assert (spool.root / place / "model.glb").read_bytes() == b"textured", count
            assert not spool.result(of.id).exists()
            if not came():
                break
        assert count > 10


def test_a_copy_that_never_becomes_whole_is_not_published(spool: Spool) -> None:
    """While a program removes files of each copy, nothing is published or removed, and people are told; then it is."""
    with mounted(spool.root / OUTBOX) as outbox:
        source, stop = result(spool, job()), threading.Event()

        def clean() -> None:
            while not stop.is_set():
                with contextlib.suppress(FileNotFoundError):  # a folder that is removed while it is listed
                    for path in outbox.glob(".rodin-*/*"):
                        path.unlink(missing_ok=True)

        cleaner = threading.Thread(target=clean)
        cleaner.start()
        try:
            for _ in range(20):  # once it may be too slow
                with contextlib.suppress(OutboxError):
                    place = published(spool, job())
                    assert (spool.root / place / "model.glb").exists()
                    result(spool, job())
                    continue
                break
        finally:
            stop.set()
            cleaner.join()
        assert (source / "model.glb").read_bytes() == b"textured"
        assert (spool.root / published(spool, job()) / "model.glb").exists()


@pytest.mark.parametrize("top", [OUTBOX, ARCHIVE, FAILED])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_who_fetches_a_folder_at_once_gets_it_once(spool: Spool, top: str, *, elsewhere: bool) -> None:
    """Before whichever system call the folder is moved away, it is whole, and publishing has succeeded."""
    fetched = spool.root / top / ".fetched"
    with mounted(spool.root / top) if elsewhere else contextlib.nullcontext():
        fetched.mkdir()
        for count in range(MOST_CALLS):
            of = job(f"set{count}", identity=f"{count:012}")
            result(spool, of, text=RECEIPTS[top])

            def fetch(of: Job = of) -> None:
                for path in (spool.root / top).glob("set*"):
                    path.rename(fetched / f"{of.name}-{path.name}")

            with before_call(count, fetch) as came:
                assert published(spool, of, top) == f"{top}/{of.name}"
            fetch()
            (got,) = fetched.iterdir()
            assert (got / "model.glb").read_bytes() == b"textured"
            assert not spool.result(of.id).exists()
            shutil.rmtree(got)
            if not came():
                break
        assert count > 5


def test_a_report_of_somebody_is_not_overwritten(spool: Spool) -> None:
    """A work folder of nobody may hold one of its own: ours gets another name beside it."""
    (spool.work / "stray").mkdir()
    (spool.work / "stray" / REPORT).write_text("mine")
    assert spool.set_aside("stray", "It is nobody's.") == "failed/set-aside-stray"
    found = {path.name: path.read_text() for path in (spool.root / "failed/set-aside-stray").iterdir()}
    assert found == {REPORT: "mine", "REPORT-2.txt": "It is nobody's."}


def test_other_filesystem_has_the_name_taken(spool: Spool) -> None:
    """Also there nobody's folder is replaced, not even an empty one."""
    with mounted(spool.root / OUTBOX) as outbox:
        (outbox / "chair").mkdir()
        result(spool, job())
        assert published(spool, job()) == "outbox/chair-012345"
        assert listed(outbox / "chair") == []


def test_other_filesystem_is_full(spool: Spool) -> None:
    """A copy that finds no room is the disk's fault; nothing is visible, the source stays, and it works with room."""
    with mounted(spool.root / OUTBOX, size="256k") as outbox:
        of = job()
        source = result(spool, of, data=os.urandom(500_000))
        with pytest.raises(DiskError, match="No space left on device"):
            published(spool, of)
        assert all(name.startswith(".") for name in listed(outbox))
        (source / "model.glb").write_bytes(b"smaller")
        assert published(spool, of) == "outbox/chair"
        assert tree(outbox) == {"chair", "chair/model.glb", "chair/job.toml"}


# ---- the rest -------------------------------------------------------------------------------------------------------


def test_what_is_not_a_result_goes_from_the_downloads(spool: Spool) -> None:
    """A folder of a job's work is made, and keeps what is named."""
    folder = spool.downloads(ID)
    for _ in range(2):
        spool.make(folder)
        (folder / "model.glb").touch()
        (folder / "half.glb.part").touch()
        spool.keep_only(folder, {"model.glb", "other"})
        assert listed(folder) == ["model.glb"]


def test_status_is_written(spool: Spool) -> None:
    """STATUS.txt is replaced; what UTF-8 cannot hold is escaped."""
    spool.write_status("waiting: \udcff.glb\n")
    assert (spool.root / "STATUS.txt").read_text(encoding="utf-8") == "waiting: \\udcff.glb\n"


@pytest.mark.parametrize("name", ["STATUS.txt", "..rodin-watchd-new-STATUS.txt.part"])
def test_status_cannot_be_kept_from_people_unnoticed(spool: Spool, name: str) -> None:
    """A folder that somebody put in the way of STATUS.txt is told as an error that the service survives."""
    (spool.root / name).mkdir()
    with pytest.raises(DiskError, match=r"STATUS\.txt cannot be written: Is a directory\."):
        spool.write_status("hello")


def test_work_is_forgotten(spool: Spool) -> None:
    """What was made for a job goes; inputs that nobody published stay."""
    spool.make(spool.downloads(ID))
    result(spool, job())
    for _ in range(2):
        spool.forget(ID)
        assert not (spool.work / ID).exists()
    spool.take(ID, dropped(spool))
    spool.forget(ID)
    assert (spool.inputs(ID) / "chair.glb").exists()


def test_report_is_cleared(spool: Spool) -> None:
    """A report goes, and its folder with it only if nothing else is there."""
    for name, other in (("chair", False), ("sofa", True)):
        folder = reported(spool, name)
        if other:
            (folder / "notes.txt").touch()
        spool.clear_leftovers(f"failed/{name}")
        spool.clear_leftovers(f"failed/{name}")
    assert tree(spool.root / FAILED) == {"sofa", "sofa/notes.txt"}


def reported(spool: Spool, name: str) -> Path:
    """Make a failed set's folder, with nothing in it but its report."""
    folder = spool.root / FAILED / name
    folder.mkdir()
    (folder / REPORT).write_text("It failed.")
    digest = hashlib.sha256(b"It failed.").hexdigest()
    (folder / REPORT_DATA).write_text(sealed(f'[job]\nid = "abc"\nretries = 0\n[report]\nsha256 = "{digest}"\n'))
    return folder


def test_a_report_that_somebody_wrote_into_stays(spool: Spool) -> None:
    """Notes that an artist added are the artist's; so is a file that came into the report's place."""
    folder = reported(spool, "chair")
    (folder / REPORT).write_text("It failed.\nI asked Kenji about it.")
    spool.clear_leftovers("failed/chair")
    assert tree(spool.root / FAILED) == {"chair", f"chair/{REPORT}"}
    assert "Kenji" in (folder / REPORT).read_text()


@pytest.mark.parametrize("name", [RECEIPT, REPORT_DATA])
@pytest.mark.parametrize("note", ["\n# approved by Anna\n", "", " "])
def test_a_receipt_that_somebody_edited_stays(spool: Spool, name: str, note: str) -> None:
    """At its end or in the middle; without a change it goes."""
    folder = reported(spool, "chair")
    text = (folder / REPORT_DATA).read_text()
    (folder / name).write_text(text + note)
    spool.clear_leftovers("failed/chair")
    assert tree(spool.root / FAILED) == ({"chair", f"chair/{name}"} if note else set())
    (spool.root / FAILED / "sofa").mkdir()
    (spool.root / FAILED / "sofa" / name).write_text(text.replace('"abc"', '"abd"'))
    spool.clear_leftovers("failed/sofa")
    assert f"sofa/{name}" in tree(spool.root / FAILED)


@pytest.mark.parametrize("name", [REPORT, REPORT_DATA])
def test_a_report_that_is_replaced_in_the_last_moment_stays(spool: Spool, name: str) -> None:
    """Before whichever system call another file comes into its place: that one is not removed."""
    for count in range(MOST_CALLS):
        folder = reported(spool, f"chair{count}")

        def replace_it(folder: Path = folder) -> None:
            (folder / "new").write_text("mine")
            (folder / "new").replace(folder / name)

        with before_call(count, replace_it) as came:
            spool.clear_leftovers(f"failed/{folder.name}")
        if not came():
            break
        kept = [path.read_text() for path in folder.iterdir()] if folder.exists() else []
        assert "mine" in kept
        assert not [path for path in folder.iterdir() if path.name.startswith(OWN_PREFIX)]
    assert count > 3


def test_what_a_crash_left_renamed_away_gets_its_name_back(spool: Spool) -> None:
    """Or goes, if it is what was meant."""
    folder = reported(spool, "chair")
    (folder / f"{ASIDE_PREFIX}{REPORT}").write_text("mine")
    (folder / REPORT_DATA).rename(folder / f"{ASIDE_PREFIX}{REPORT_DATA}")
    (folder / REPORT_DATA).write_bytes((folder / f"{ASIDE_PREFIX}{REPORT_DATA}").read_bytes())
    spool.clear_leftovers("failed/chair")
    assert {path.read_text() for path in folder.iterdir()} == {"mine"}


def test_a_persons_own_report_is_no_leftover(spool: Spool) -> None:
    """What does not name a job of this service is never removed, whatever it is called."""
    folder = spool.root / FAILED / "chair"
    folder.mkdir()
    (folder / REPORT).write_text("mine")
    (folder / REPORT_DATA).write_text("mine = true")
    spool.clear_leftovers("failed/chair")
    assert tree(spool.root / FAILED) == {"chair", f"chair/{REPORT}", f"chair/{REPORT_DATA}"}


def test_empty_folder_is_removed(spool: Spool) -> None:
    """A set's folder goes when it is empty; a full one, a missing one, and what a link leads to stay."""
    (spool.inbox / "empty").mkdir()
    dropped(spool, "inbox/full/chair.glb")
    (spool.root / "outside/empty").mkdir(parents=True)
    (spool.inbox / "link").symlink_to(spool.root / "outside")
    for name in ("empty", "full", "missing", "link/empty", "link"):
        spool.remove_emptied(f"inbox/{name}", {"chair.glb"})
    assert set(listed(spool.inbox)) == {"full", "link"}
    assert (spool.root / "outside/empty").is_dir()


@pytest.mark.parametrize(
    ("left", "stays"),
    [
        ((), False),
        ((".DS_Store", "._chair.glb", "Thumbs.db"), False),
        ((".DS_Store", "._lamp.glb"), True),
        ((".DS_Store", "_folder.toml"), True),
        (("desktop.ini", ".lamp.glb.x1Y2z3"), True),
        ((".DS_Store", "deeper/"), True),
        (("Thumbs.db/",), True),
    ],
)
def test_what_systems_lay_into_a_folder_goes_with_it(spool: Spool, left: tuple[str, ...], *, stays: bool) -> None:
    """All or nothing: where anything else is in the folder, all of it stays."""
    folder = spool.inbox / "oak"
    folder.mkdir()
    for name in left:
        if name.endswith("/"):
            (folder / name).mkdir()
        else:
            (folder / name).touch()
    spool.remove_emptied("inbox/oak", {"chair.glb"})
    assert folder.exists() is stays
    if stays:
        assert set(listed(folder)) == {name.rstrip("/") for name in left}


# ---- a receipt that is written again --------------------------------------------------------------------------------


def rewritten(spool: Spool) -> bool:
    """Let a receipt that says 1 say 2; one that says 2 stays, and any other is somebody else's."""
    return spool.rewrite_ours("outbox/chair/seed-1", RECEIPT, lambda data: b"2" if data in (b"1", b"2") else b"")


def with_receipt(spool: Spool) -> Path:
    """Publish a receipt that says 1; return where it is."""
    folder = spool.root / "outbox/chair/seed-1"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / RECEIPT).write_bytes(b"1")
    return folder / RECEIPT


def test_a_receipt_that_somebody_saves_meanwhile_is_kept(spool: Spool) -> None:
    """Before whichever system call: the person's text is there afterwards, and no hidden file."""
    for count in range(MOST_CALLS):
        receipt = with_receipt(spool)

        def save(receipt: Path = receipt) -> None:
            new = receipt.with_name("new")
            new.write_bytes(b"mine")
            new.replace(receipt)

        with before_call(count, save) as came:
            rewritten(spool)
        if not came():
            break
        found = {path.name: path.read_bytes() for path in receipt.parent.parent.rglob("*") if path.is_file()}
        assert b"mine" in found.values(), count
        assert {RECEIPT, "job-kept.toml"} >= set(found), count
    assert count > 10


def test_a_kill_while_a_receipt_is_written_leaves_one(spool: Spool) -> None:
    """Before whichever system call: a whole receipt is there, in a folder with no other file; the next time makes it right."""
    for count in range(MOST_CALLS):
        receipt = with_receipt(spool)
        with contextlib.suppress(Killed), before_call(count, kill) as came:
            rewritten(spool)
        assert receipt.read_bytes() in (b"1", b"2")
        assert listed(receipt.parent) == [RECEIPT]
        assert rewritten(spool)
        assert receipt.read_bytes() == b"2"
        assert listed(receipt.parent.parent) == ["seed-1"], count
        if not came():
            break
    assert count > 10


def test_a_receipt_that_is_gone_is_not_made(spool: Spool) -> None:
    """Nor is its folder, nor one in the place of somebody else's, nor anything through a link."""
    receipt = with_receipt(spool)
    receipt.unlink()
    assert not rewritten(spool)
    assert not receipt.exists()
    receipt.write_bytes(b"theirs")
    assert not rewritten(spool)
    receipt.rename(spool.root / "theirs")
    receipt.symlink_to(spool.root / "theirs")
    assert not rewritten(spool)
    shutil.rmtree(receipt.parent)
    with pytest.raises(FileNotFoundError):
        rewritten(spool)
    receipt.parent.symlink_to(spool.root)
    with pytest.raises(NotADirectoryError):
        rewritten(spool)
    assert (spool.root / "theirs").read_bytes() == b"theirs"
