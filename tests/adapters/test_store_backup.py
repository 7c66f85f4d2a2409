"""The journal's backup: whole, without secrets, marked as what it is; and how a damaged journal is recovered from it."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import filled_up, mounted

from rodin_watchd.adapters.store.backup import (
    MOST_KEPT,
    backup_path,
    how_to_recover,
    kept_backups,
    make_backup,
)
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.store import COPIED_AT
from rodin_watchd.errors import DiskError, ForeignFileError, JournalError
from rodin_watchd.model import Answer, InputFile, Job, Role, ServiceEvent, Signature, State, Task, Transition

NOW = 1_700_000_000.0
SECRET = "subscription-secret-1234"  # noqa: S105 - made up


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a journal, in a folder with an odd name."""
    (tmp_path / "st ate").mkdir()
    return tmp_path / "st ate" / "journal.sqlite3"


def fill(journal: Journal, name: str = "job\udcff") -> Job:
    """Lead a job to `submitted`."""
    job = Job("a1", name, "", State.CLAIMED, (InputFile(Role.MODEL, "inbox/ä.glb", Signature(1, 2, 3)),), {}, NOW)
    for state in (State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING, State.SUBMITTED):
        answer = Answer(200, SECRET.encode()) if state is State.SUBMITTING else None
        task = Task("task", SECRET, NOW) if state is State.SUBMITTED else None
        job = replace(job, state=state, fingerprint="" if state is State.CLAIMED else "f", task=task, answer=answer)
        journal.commit([Transition(job, state.value)], NOW)
    return job


def test_it_is_the_journal_without_its_secrets(path: Path) -> None:
    """Made while the journal is open; one file; the same jobs and events; it says when it was made."""
    with closing(Journal(path)) as journal:
        job = fill(journal)
        assert make_backup(path, NOW + 5) == backup_path(path)
        journal.set_meta("later", 1)
        assert journal.meta(COPIED_AT) is None
    assert SECRET.encode() not in backup_path(path).read_bytes()
    with closing(JournalReader(backup_path(path))) as backup:
        assert backup.jobs() == [replace(job, task=Task("task", "", NOW))]
        assert len(backup.events("a1")) == 5
        assert backup.meta(COPIED_AT) == NOW + 5
        assert backup.meta("later") is None
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"journal.sqlite3", "journal.backup.sqlite3", "journal.ballast"}


def test_it_takes_the_place_of_the_one_before(path: Path) -> None:
    """By a rename, with the journal's own mode."""
    with closing(Journal(path)) as journal:
        path.chmod(0o640)
        make_backup(path, NOW)
        journal.set_meta("later", 1)
        make_backup(path, NOW + 1)
    with closing(JournalReader(backup_path(path))) as backup:
        assert (backup.meta(COPIED_AT), backup.meta("later")) == (NOW + 1, 1)
    assert backup_path(path).stat().st_mode & 0o777 == 0o640


def test_without_room_the_one_before_stays(tmp_path: Path) -> None:
    """And nothing half-made lies beside it."""
    with mounted(tmp_path / "small", size="10m") as small:
        path = small / "journal.sqlite3"
        with closing(Journal(path)) as journal:
            make_backup(path, NOW)
            before = backup_path(path).read_bytes()
            journal.set_meta("much", "x" * 250_000)
            filled_up(small / "filler")
            with pytest.raises(DiskError, match=r"backup.*cannot be made"):
                make_backup(path, NOW + 1)
        assert backup_path(path).read_bytes() == before
        assert not [entry for entry in small.iterdir() if entry.name.endswith(".part")]


def written(path: Path, name: str, root: str = "one root") -> bytes:
    """Make a journal with one service event of this name in the place of any other; return its file."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with closing(Journal(path)) as journal:
        journal.set_meta("root_id", root)
        journal.note_service_event(ServiceEvent(NOW, "made", name))
        fill(journal, name)
    return path.read_bytes()


def jobs_in(path: Path) -> list[str]:
    """Return the names of the jobs that a journal or a backup knows."""
    with closing(JournalReader(path)) as reader:
        return sorted(job.name for job in reader.jobs())


@pytest.mark.parametrize("older", ["an older copy", "an empty one", "another root's"])
def test_a_backup_that_knows_more_is_kept(path: Path, older: str) -> None:
    """The new one takes the name; the other one has a name with its date, and the words about damage name it."""
    copy = written(path, "first")
    with closing(Journal(path)) as journal:
        job = replace(second_job(), name="second")
        journal.commit([Transition(job, "claimed")], NOW)
    make_backup(path, NOW)
    assert kept_backups(path) == []
    if older == "an older copy":
        path.write_bytes(copy)
    elif older == "an empty one":
        path.unlink()
        Journal(path).close()
    else:
        written(path, "third", root="another root")
    for at in (1.0, 2.0):
        make_backup(path, NOW + at)
    [kept] = kept_backups(path)
    assert kept.name == "journal.backup-20231114T221321Z.sqlite3"
    assert jobs_in(kept) == ["first", "second"]
    assert "second" not in jobs_in(backup_path(path))
    assert kept.name in how_to_recover(path)


def second_job() -> Job:
    """Return a second job that was taken."""
    return Job("a2", "", "", State.CLAIMED, (InputFile(Role.MODEL, "inbox/b.glb", Signature(1, 2, 3)),), {}, NOW)


def test_only_so_many_are_kept(path: Path) -> None:
    """Those that know of the fewest purchases go first, so the one that knew most is there for as long as need be."""
    written(path, "rich")
    with closing(Journal(path)) as journal:
        job = replace(second_job(), fingerprint="g")
        for state in (State.CLAIMED, State.STAGED, State.UPLOADING):
            journal.commit([Transition(replace(job, state=state), state.value)], NOW)
    make_backup(path, NOW)
    for number in range(MOST_KEPT + 3):
        written(path, f"poor {number}")
        make_backup(path, NOW + number)
    kept = kept_backups(path)
    assert len(kept) == MOST_KEPT
    assert jobs_in(kept[0]) == ["", "rich"]


def test_files_of_an_administrator_are_neither_removed_nor_named(path: Path) -> None:
    """Whatever has a name like that of a kept backup: other words, or our words and another content."""
    written(path, "first")
    mine = {path.with_name(f"journal.backup-2025-{n:02}-before-upgrade.sqlite3"): path.read_bytes() for n in range(7)}
    mine |= {
        path.with_name(f"journal.backup-20200101T00000{n}Z{more}.sqlite3"): b"age-encryption.org/v1 mine"
        for n in range(7)
        for more in ("", "-2")
    }
    mine[path.with_name("journal.backup-20200101T000000Z.sqlite3.gz")] = b"packed"
    for file, data in mine.items():
        file.write_bytes(data)
    database = path.with_name("journal.backup-20200101T000009Z.sqlite3")
    with closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE meta (mine TEXT)")
    mine[database] = database.read_bytes()
    os.mkfifo(path.with_name("journal.backup-20200101T000010Z.sqlite3"))
    path.with_name("journal.backup-20200101T000011Z.sqlite3").symlink_to(path)
    others = set(path.parent.glob("journal.backup-*"))
    assert kept_backups(path) == []
    for number in range(MOST_KEPT + 3):
        written(path, f"poor {number}")
        make_backup(path, NOW + number)
    assert len(kept_backups(path)) == MOST_KEPT
    assert others.isdisjoint(kept_backups(path))
    assert others <= set(path.parent.glob("journal.backup-*"))
    assert {file: file.read_bytes() for file in mine} == mine


@pytest.mark.parametrize("odd", ["link", "folder", "fifo"])
def test_only_a_file_is_replaced(path: Path, odd: str) -> None:
    """A link could lead anywhere: nothing is written through it, and people read what to do."""
    written(path, "first")
    target = backup_path(path)
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_bytes(b"")
    makers: dict[str, Callable[[Path], None]] = {
        "link": lambda at: at.symlink_to(elsewhere),
        "folder": Path.mkdir,
        "fifo": os.mkfifo,
    }
    makers[odd](target)
    with pytest.raises(ForeignFileError, match="is not a file of this service") as refused:
        make_backup(path, NOW)
    assert "Move it away" in refused.value.advice_given
    assert os.path.lexists(target)
    assert not target.is_file() or target.is_symlink()
    assert elsewhere.read_bytes() == b""
    assert not list(path.parent.glob(".*"))


DAMAGED = b"SQLite format 3\0" + b"damaged" * 1000


def test_a_damaged_backup_is_kept_too(path: Path) -> None:
    """Somebody may still read something out of it."""
    written(path, "first")
    backup_path(path).write_bytes(DAMAGED)
    make_backup(path, NOW)
    [kept] = kept_backups(path)
    assert kept.read_bytes() == DAMAGED
    assert jobs_in(backup_path(path)) == ["first"]


@pytest.mark.parametrize("call", ["rename", "replace", "unlink", "chmod", "fsync"])
def test_a_call_that_fails_leaves_the_backup_that_knows_more(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own name or under the one with a date; the next time it is made."""
    copy = written(path, "first")
    with closing(Journal(path)) as journal:
        journal.commit([Transition(second_job(), "claimed")], NOW)
    make_backup(path, NOW)
    path.write_bytes(copy)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(DiskError, match="cannot be made"):
            make_backup(path, NOW)
    make_backup(path, NOW)
    assert [jobs_in(kept) for kept in kept_backups(path)] == [["", "first"]]
    assert jobs_in(backup_path(path)) == ["first"]


@pytest.mark.parametrize("backed_up", [True, False])
def test_a_damaged_journal_says_how_to_recover(path: Path, *, backed_up: bool) -> None:
    """The commands are meant to be copied, and they work; without a backup they end with a fresh start."""
    with closing(Journal(path)) as journal:
        fill(journal)
    if backed_up:
        make_backup(path, NOW)
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 20] = bytes(4096 * 19)
    path.write_bytes(data)
    with pytest.raises(JournalError) as refused:
        Journal(path)
    advice = refused.value.advice_given
    commands = advice.partition("then: ")[2].partition(" —")[0]
    assert shlex.quote(str(path.parent)) in commands
    subprocess.run(["sh", "-ec", commands], check=True)
    assert (path.parent / "damaged" / path.name).read_bytes() == bytes(data)
    assert path.exists() is backed_up
    if backed_up:
        with closing(Journal(path)) as journal:
            assert [job.id for job in journal.jobs()] == ["a1"]
            assert journal.meta(COPIED_AT) == NOW
            journal.commit((), NOW, {COPIED_AT: None})
            assert journal.meta(COPIED_AT) is None
    else:
        assert "no backup" in advice


def test_a_file_that_is_no_journal_says_so_too(path: Path) -> None:
    """Whatever it is."""
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(JournalError, match="cannot be opened") as refused:
        Journal(path)
    assert "mkdir -p damaged" in refused.value.advice_given


def test_a_newer_journal_says_why_it_is_refused(path: Path) -> None:
    """It is not touched."""
    with closing(Journal(path)):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer rodin_watchd") as refused:
        Journal(path)
    assert "Install the newer version" in refused.value.advice_given
