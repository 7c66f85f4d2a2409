"""The journal's backup: whole, without secrets, marked as what it is; and how a damaged journal is recovered from it."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import filled_up, mounted

from rodin_watchd.adapters.journal import Journal, JournalReader
from rodin_watchd.adapters.journal.backup import COPIED_AT, backup_path, make_backup
from rodin_watchd.core.budget import Day
from rodin_watchd.errors import DiskError, JournalError
from rodin_watchd.model import Answer, InputFile, Job, Role, Signature, State, Task, Transition

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
            journal.forget_copy(0, Day(NOW, 0))
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
