"""Where subscription keys are in the journal's files, and that they leave them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sql import query

from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.machine import Signal, answered, begin_upload, close_upload, move, understood
from rodin_watchd.core.store import Beside, CommandReply
from rodin_watchd.model import Answer, Done, InputFile, Job, Role, Signature, State, Transition

KEY = "the-subscription-key-0123456789"
LONG_KEY = KEY * 200  # so long that SQLite puts it into pages of its own
ANSWER = '{{"uuid": "u-1", "jobs": {{"uuids": [], "subscription_key": "{}"}}}}'
NOW = 1_800_000_000.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Give a new journal."""
    with contextlib.closing(Journal(tmp_path / "journal.sqlite3")) as opened:
        yield opened


def traces(folder: Path) -> set[str]:
    """Return the files that hold the key, or what is left of it."""
    return {path.name for path in folder.iterdir() if KEY[4:-4].encode() in path.read_bytes()}


def staged() -> Job:
    """Return a job that is to be submitted."""
    files = tuple(InputFile(role, f"inbox/chair.{role}", Signature(1, 2, 3), sha256="aa") for role in Role)
    return Job("j-1", "chair", "", State.STAGED, files, {}, NOW, fingerprint="ff")


def submitted(journal: Journal, key: str) -> Job:
    """Commit the whole way to a submitted task."""
    journal.commit([Transition(staged(), "staged")], NOW)
    moves = [begin_upload(staged(), NOW, TEXTURE.list_price({}), "k")]
    moves.append(close_upload(moves[-1].job, NOW))
    moves.append(answered(moves[-1].job, Answer(201, ANSWER.format(key).encode())))
    for transition in moves:
        journal.commit([transition], NOW)
    outcome = understood(moves[-1].job, NOW)
    assert isinstance(outcome, Done)
    moves.append(move(outcome.job, Signal.DONE, NOW))
    journal.commit([moves[-1]], NOW)
    return moves[-1].job


@pytest.mark.parametrize("key", [KEY, LONG_KEY], ids=["short", "long"])
def test_a_key_leaves_the_files_when_the_vendor_is_done(journal: Journal, tmp_path: Path, key: str) -> None:
    """It is in the journal while it is needed; after the next move and a sweep, no file holds a byte of it."""
    job = submitted(journal, key)
    journal.sweep()
    assert traces(tmp_path) == {"journal.sqlite3"}
    assert journal.find("j-1").task == job.task
    journal.commit([move(job, Signal.DONE, NOW)], NOW)
    assert "journal.sqlite3" in traces(tmp_path)  # the old page: this test can tell
    journal.sweep()
    assert traces(tmp_path) == set()
    assert journal.find("j-1").state is State.GENERATED


@pytest.mark.parametrize("ok", [True, False])
def test_a_key_leaves_the_command_with_its_answer(journal: Journal, tmp_path: Path, ok: bool) -> None:
    """What a person gave for `resolve` is not kept beyond the answer, be it a refusal; the rest of the command is."""
    arguments = {"job": "j-1", "how": "task", "task": "u-1", "subscription_key": KEY}
    number = insert_command(tmp_path / "journal.sqlite3", "resolve", arguments, NOW)
    [command] = journal.open_commands()
    assert command.arguments == arguments
    journal.sweep()
    assert traces(tmp_path) == {"journal.sqlite3"}
    journal.commit((), NOW, beside=Beside(CommandReply(number, "so be it", ok=ok)))
    journal.sweep()
    assert traces(tmp_path) == set()
    assert journal.answer(number) == {"ok": ok, "message": "so be it"}
    [(stored,)] = query(journal.path, "SELECT arguments FROM commands")
    assert "u-1" in stored


def test_a_reader_in_the_way_is_not_waited_for(journal: Journal, tmp_path: Path) -> None:
    """The sweep is for the next call then, and does what was left."""
    job = submitted(journal, KEY)
    journal.commit([move(job, Signal.DONE, NOW)], NOW)
    with contextlib.closing(sqlite3.connect(journal.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchone()
        journal.sweep()
        assert "journal.sqlite3-wal" in traces(tmp_path)
        reader.execute("COMMIT")
        journal.sweep()
    assert traces(tmp_path) == set()


def test_what_a_killed_daemon_left_is_swept_by_the_next(tmp_path: Path) -> None:
    """A log with a key in it does not survive the next start, though nothing new is written."""
    path = tmp_path / "journal.sqlite3"
    with contextlib.closing(Journal(path)) as journal:
        job = submitted(journal, KEY)
        journal.commit([move(job, Signal.DONE, NOW)], NOW)
        left = {name: (tmp_path / name).read_bytes() for name in ("journal.sqlite3", "journal.sqlite3-wal")}
    for name, data in left.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "journal.sqlite3-shm").unlink(missing_ok=True)
    assert traces(tmp_path)
    with contextlib.closing(Journal(path)) as journal:
        journal.sweep()
        assert traces(tmp_path) == set()
        assert journal.find("j-1").state is State.GENERATED


def test_a_sweep_with_nothing_new_touches_nothing(journal: Journal, tmp_path: Path) -> None:
    """An idle service does not wake the disk."""
    journal.set_meta("key", 1)
    journal.sweep()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    journal.sweep()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_failed_job_keeps_no_answer(journal: Journal, tmp_path: Path) -> None:
    """What the vendor said of a set that it refused is in the problem; the raw answer is not kept."""
    journal.commit([Transition(staged(), "staged")], NOW)
    uploading = begin_upload(staged(), NOW, TEXTURE.list_price({}), "k").job
    told = replace(uploading, answer=Answer(400, KEY.encode()))
    for transition in (
        begin_upload(staged(), NOW, TEXTURE.list_price({}), "k"),
        answered(uploading, Answer(400, KEY.encode())),
    ):
        journal.commit([transition], NOW)
    assert traces(tmp_path)
    journal.commit([move(told, Signal.REJECTED, NOW)], NOW)
    journal.sweep()
    assert traces(tmp_path) == set()
