"""Who takes a file: one rename decides; whatever others do meanwhile, and wherever a kill comes, no bytes are lost."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import bound, mounted
from system_calls import MOST_CALLS, Killed, before_call, kill

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.layout import CLAIM_PREFIX, INBOX, MARK, OWN_PREFIX, Claim
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    FileRefusedError,
    FilesError,
    GoneWhileTakenError,
    StillWrittenError,
)
from rodin_watchd.model import InputFile, Role, Signature

ID, OTHER_ID = "0123456789ab", "ba9876543210"
OLD, NEW = b"the version that was found", b"THE VERSION THAT CAME LATER"
NEWER = b"and one more"


@contextlib.contextmanager
def a_spool(tmp_path: Path, *, copies: bool) -> Iterator[Spool]:
    """Give a root whose inbox is a mount of its own, or is not."""
    with contextlib.ExitStack() as stack:
        root = tmp_path / "root"
        root.mkdir()
        if copies:
            stack.enter_context(mounted(root / INBOX))
        spool = Spool(root)
        spool.prepare()
        yield spool


def dropped(spool: Spool, name: str = "chair.glb", data: bytes = OLD, *, shared: bool = False) -> InputFile:
    """Drop a file and return what a claim says of it."""
    path = spool.inbox / name
    path.write_bytes(data)
    status = path.stat()
    return InputFile(
        Role.MODEL, f"{INBOX}/{name}", Signature(status.st_size, status.st_mtime_ns, status.st_ino), shared=shared
    )


def contents(spool: Spool) -> list[bytes]:
    """Return what the files in inbox and work hold, without what is half copied."""
    found = [path for top in (spool.inbox, spool.work) for path in top.rglob("*") if path.is_file()]
    return [path.read_bytes() for path in found if not path.name.endswith(".part")]


def hidden(spool: Spool) -> list[str]:
    """Return what of ours lies in the inbox."""
    return [path.name for path in spool.inbox.rglob("*") if path.name.startswith(OWN_PREFIX)]


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_file_that_is_replaced_at_any_moment(tmp_path: Path, *, copies: bool, shared: bool) -> None:
    """Before whichever system call: the new version is never removed, and never taken in the old one's name."""
    with a_spool(tmp_path, copies=copies) as spool:
        for count in range(MOST_CALLS):
            job_id = f"{count:012}"
            file = dropped(spool, shared=shared)
            path = spool.root / file.source

            def replace_it(path: Path = path) -> None:
                path.with_name("new").write_bytes(NEW)
                path.with_name("new").replace(path)

            taken = b""
            with before_call(count, replace_it) as came, contextlib.suppress(ChangedWhileTakenError):
                taken = spool.take(job_id, file).read_bytes()
            if not came():
                break
            assert NEW in contents(spool), count
            assert taken in (OLD, b""), count
            assert hidden(spool) == [], count
            for left in (path, spool.inputs(job_id) / "chair.glb"):
                left.unlink(missing_ok=True)
        assert count > 3


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_a_kill_at_any_moment(tmp_path: Path, *, copies: bool, twice: bool) -> None:
    """The bytes are somewhere right after it, and taking again takes the file whole; also after a second kill."""
    with a_spool(tmp_path, copies=copies) as spool:
        for count in range(MOST_CALLS):
            job_id, file = f"{count:012}", dropped(spool)
            with before_call(count, kill) as came, contextlib.suppress(Killed):
                spool.take(job_id, file)
            killed = came()
            assert OLD in contents(spool), count
            if twice:
                with before_call(count % 7, kill), contextlib.suppress(Killed):
                    spool.take(job_id, file)
                assert OLD in contents(spool), count
            assert spool.take(job_id, file).read_bytes() == OLD
            assert contents(spool) == [OLD], count
            assert hidden(spool) == [], count
            (spool.inputs(job_id) / "chair.glb").unlink()
            if not killed:
                break
        assert count > 3


def test_a_kill_and_a_new_version_under_the_name(tmp_path: Path) -> None:
    """What was claimed before the kill is taken; the new file is another one, and stays."""
    with a_spool(tmp_path, copies=True) as spool:
        for count in range(MOST_CALLS):
            job_id, file = f"{count:012}", dropped(spool)
            with before_call(count, kill) as came, contextlib.suppress(Killed):
                spool.take(job_id, file)
            had_it = spool.has_taken(job_id, file)
            path = spool.root / file.source
            path.with_name("new").write_bytes(NEW)
            path.with_name("new").replace(path)
            if had_it:
                assert spool.take(job_id, file).read_bytes() == OLD
            else:
                with pytest.raises(ChangedWhileTakenError):
                    spool.take(job_id, file)
            assert path.read_bytes() == NEW
            assert hidden(spool) == []
            for left in (path, spool.inputs(job_id) / "chair.glb"):
                left.unlink(missing_ok=True)
            if not came():
                break


def test_a_program_that_writes_on_into_the_claimed_file(tmp_path: Path) -> None:
    """What it wrote before the copy was whole is not removed: the file becomes visible again, or is copied with it."""
    with a_spool(tmp_path, copies=True) as spool:
        late: list[bool] = []
        for count in range(MOST_CALLS):
            job_id, file = f"{count:012}", dropped(spool)
            path, taken = spool.root / file.source, spool.inputs(job_id) / file.name
            with path.open("ab", buffering=0) as stream:

                def write(stream: io.FileIO = stream, copy: Path = taken) -> None:
                    late.append(copy.exists())
                    stream.write(b"more")

                with before_call(count, write) as came, contextlib.suppress(ChangedWhileTakenError, StillWrittenError):
                    spool.take(job_id, file)
            if not came():
                break
            assert OLD + b"more" in contents(spool) or late[-1], count
            assert hidden(spool) == [], count
            for left in (path, spool.inputs(job_id) / "chair.glb"):
                left.unlink(missing_ok=True)


def test_the_claimed_one_is_not_what_was_found_and_the_name_is_taken_again(tmp_path: Path) -> None:
    """A version that is caught by the rename gets another visible name; nothing takes the newest one's place."""
    with a_spool(tmp_path, copies=True) as spool:
        for count in range(MOST_CALLS):
            file = dropped(spool)
            path = spool.root / file.source

            def replace_it(path: Path = path) -> None:
                path.with_name("new").write_bytes(NEW)
                path.with_name("new").replace(path)

            def once_more(path: Path = path) -> None:
                path.write_bytes(NEWER)

            with before_call(count, replace_it) as came, contextlib.suppress(FilesError):
                spool.take(ID, file)
            if not came():
                break
            assert NEW in contents(spool)
            if not path.exists():
                once_more()
            for left in spool.inbox.iterdir():
                left.unlink()
            (spool.inputs(ID) / "chair.glb").unlink(missing_ok=True)
        file = dropped(spool)
        claim = spool.inbox / f"{CLAIM_PREFIX}{ID}"
        claim.mkdir()
        (claim / "chair.glb").write_bytes(NEW)  # caught before a kill
        with pytest.raises(ChangedWhileTakenError):
            spool.take(ID, file)
        found = {path.name: path.read_bytes() for path in spool.inbox.iterdir()}
        assert found == {"chair.glb": OLD, f"chair-{ID}.glb": NEW}


def test_a_file_that_cannot_be_used_gets_its_name_back(tmp_path: Path) -> None:
    """A claim that cannot be finished leaves nothing under a hidden name."""
    with a_spool(tmp_path, copies=True) as spool:
        file = dropped(spool)
        claim = spool.inbox / f"{CLAIM_PREFIX}{ID}"
        claim.mkdir()
        (spool.root / file.source).rename(claim / "chair.glb")
        (spool.inbox / "second").hardlink_to(claim / "chair.glb")
        with pytest.raises(FileRefusedError, match="hard link"):
            spool.take(ID, file)
        assert {path.name for path in spool.inbox.iterdir()} == {"chair.glb", "second"}


def test_what_is_marked_after_the_look_is_not_taken(tmp_path: Path) -> None:
    """Between look and taking the folder became another service's: its files stay where they are, nothing is claimed."""
    with a_spool(tmp_path, copies=False) as spool:
        team = spool.inbox / "team"
        team.mkdir()
        plain = dropped(spool)
        (spool.root / plain.source).rename(team / plain.name)
        file = replace(plain, source=f"{INBOX}/team/{plain.name}")
        (team / MARK).write_text('id = "1"\nfolder = "inbox"\n')
        with pytest.raises(GoneWhileTakenError, match="is in the folder of a service"):
            spool.take(ID, file)
        assert {path.name for path in team.iterdir()} == {plain.name, MARK}
        claim = team / f"{CLAIM_PREFIX}{OTHER_ID}"
        claim.mkdir()
        assert spool.claimed() == {}


def test_two_services_on_one_inbox(tmp_path: Path) -> None:
    """Whoever is faster, at whichever moment the other one comes: one has the file, the other finds it gone."""
    one = Spool(tmp_path / "one")
    one.root.mkdir()
    one.prepare()
    with bound(one.inbox, tmp_path / "two" / INBOX):
        two = Spool(tmp_path / "two")
        two.prepare()
        assert (one.renames(), two.renames()) == (True, False)
        for slow, fast in ((one, two), (two, one)):
            for count in range(MOST_CALLS):
                file, number = dropped(one), f"{count:012}"
                taken = []

                def come_between(fast: Spool = fast, file: InputFile = file, number: str = number) -> None:
                    with contextlib.suppress(ChangedWhileTakenError):
                        taken.append(fast.take(number, file).read_bytes())  # noqa: B023 - called in this round

                with before_call(count, come_between) as came, contextlib.suppress(ChangedWhileTakenError):
                    taken.append(slow.take(number, file).read_bytes())
                assert taken == [OLD], count
                assert list(one.inbox.iterdir()) == []
                for spool in (one, two):
                    (spool.inputs(number) / "chair.glb").unlink(missing_ok=True)
                if not came():
                    break
            assert count > 3


def test_what_a_lost_job_has_claimed_is_rescued(tmp_path: Path) -> None:
    """It comes into the work folder, under its own name or, where another file has that, a free one; also after a kill."""
    with a_spool(tmp_path, copies=True) as spool:
        (spool.inbox / "team").mkdir()
        for count in range(MOST_CALLS):
            claim = spool.inbox / "team" / f"{CLAIM_PREFIX}{OTHER_ID}"
            claim.mkdir()
            (claim / "chair.glb").write_bytes(OLD)
            inputs = spool.inputs(OTHER_ID)
            inputs.mkdir(parents=True)
            (inputs / "chair.glb").write_bytes(NEW)
            path = f"{INBOX}/team/{claim.name}"
            assert spool.claimed() == {OTHER_ID: [path]}
            with before_call(count, kill) as came, contextlib.suppress(Killed):
                spool.rescue(OTHER_ID, path)
            assert OLD in contents(spool), count
            if came() and claim.exists():
                spool.rescue(OTHER_ID, path)
            assert spool.claimed() == {}
            assert {OLD, NEW} == set(contents(spool))
            assert (inputs / "chair.glb").read_bytes() == NEW
            for left in inputs.iterdir():
                left.unlink()
            inputs.rmdir()
            inputs.parent.rmdir()
            if not came():
                break


@pytest.mark.parametrize("shared", [False, True])
def test_the_only_copy_of_a_file_comes_back(tmp_path: Path, shared: bool) -> None:
    """Its original is gone since it was copied, and a crash has left another file of the set in the claim."""
    with a_spool(tmp_path, copies=True) as spool:
        job_id, file = "0123456789ab", dropped(spool)
        path = spool.take(job_id, file)
        assert not (spool.root / file.source).exists()
        claim = spool.root / "inbox" / Claim(job_id, spool.mounts.owner).name
        claim.mkdir()
        (claim / "chair.png").write_bytes(b"claimed, not copied")
        image = replace(file, source="inbox/chair.png")
        for _ in range(2):  # may be repeated
            for one in (replace(file, shared=shared), image):
                spool.put_back(job_id, one)
        assert (spool.root / file.source).read_bytes() == OLD
        assert (spool.root / "inbox/chair.png").read_bytes() == b"claimed, not copied"
        assert not path.exists()
        assert not claim.exists()


def test_a_copy_of_a_file_that_is_there_is_not_brought_back(tmp_path: Path) -> None:
    """Other sets name it, too: it stayed where it is."""
    with a_spool(tmp_path, copies=True) as spool:
        job_id, file = "0123456789ab", replace(dropped(spool), shared=True)
        path = spool.take(job_id, file)
        spool.put_back(job_id, file)
        assert not path.exists()
        assert [found.name for found in (spool.root / "inbox").glob("chair*")] == ["chair.glb"]


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("where", ["claimed", "taken"])
@pytest.mark.parametrize(
    ("again", "is_written", "left"), [(OLD, False, [OLD]), (NEW, False, [NEW, OLD]), (OLD, True, [OLD, OLD])]
)
def test_what_was_dropped_again_is_not_there_twice(
    tmp_path: Path, where: str, again: bytes, left: list[bytes], *, copies: bool, is_written: bool
) -> None:
    """Two of the same bytes, one under another name, would make no set; a program that writes ours keeps it."""
    with a_spool(tmp_path, copies=copies) as spool, contextlib.ExitStack() as writers:
        file = dropped(spool)
        path = spool.root / file.source
        if where == "taken":
            held = spool.take(ID, file)
        else:
            held = spool.inbox / Claim(ID, spool.mounts.owner).name / file.name
            held.parent.mkdir()
            path.rename(held)
        if is_written:
            writers.enter_context(held.open("ab"))
        path.write_bytes(again)
        spool.put_back(ID, file)
        assert sorted(found.read_bytes() for found in spool.inbox.rglob("chair*")) == left
        assert not list(spool.work.rglob("chair*"))
