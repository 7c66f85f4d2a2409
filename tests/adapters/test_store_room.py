"""The journal on a full disk: what cannot be had again is kept all the same, everything else waits for room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import filled_up, mounted

from rodin_watchd.adapters.store.backup import BALLAST_BYTES, ReserveFile
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.machine import answered
from rodin_watchd.errors import RoomError
from rodin_watchd.model import Answer, InputFile, Job, Role, ServiceEvent, Signature, State, Transition

NOW = 1_700_000_000.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a small disk."""
    with mounted(tmp_path / "small", size="16m") as small:
        yield small


def sending(journal: Journal, name: str) -> Job:
    """Return a job that waits for the answer to its submit."""
    job = Job(name, name, "", State.CLAIMED, (InputFile(Role.MODEL, "inbox/a.glb", Signature(1, 2, 3)),), {}, NOW)
    for state in (State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING):
        job = replace(job, state=state, fingerprint="" if state is State.CLAIMED else name)
        journal.commit([Transition(job, state.value)], NOW)
    return job


def test_an_answer_is_kept_on_a_full_disk(disk: Path) -> None:
    """Of all submits under way, however large; other writing is refused, until there is room: then the ballast is back."""
    path = disk / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        jobs = [sending(journal, f"job-{number}") for number in range(64)]
        journal.sweep()
        filled_up(disk / "filler")
        with pytest.raises(RoomError, match="full"):
            journal.set_meta("x", "y" * 100_000)
        for job in jobs:
            journal.commit([answered(job, Answer(200, b"{" + b" " * 1500 + b"}"))], NOW)
        with pytest.raises(RoomError, match="full"):
            journal.set_meta("x", 1)
        with pytest.raises(RoomError, match="full"):
            journal.note_service_event(ServiceEvent(NOW, "paused", "x"))
        assert not (disk / "journal.ballast").exists()
        (disk / "filler").unlink()
        journal.set_meta("x", 1)
        assert (disk / "journal.ballast").stat().st_size == BALLAST_BYTES
    with closing(JournalReader(path)) as reader:
        assert sum(job.answer is not None for job in reader.jobs([State.SUBMITTING])) == 64
        assert reader.meta("x") == 1


def test_it_opens_on_a_full_disk(disk: Path) -> None:
    """A restart there reads what is known, without writing."""
    path = disk / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        sending(journal, "job")
        filled_up(disk / "filler")
        (disk / "filler").open("r+b").close()
    size = (disk / "filler").stat().st_size
    with (disk / "filler").open("r+b") as filler:
        filler.truncate(size - 200_000)  # what the log of an open journal itself needs
    with closing(Journal(path)) as journal:
        assert [job.id for job in journal.jobs()] == ["job"]


def test_ballast_is_laid_whole_or_not_at_all(disk: Path) -> None:
    """Half of it would be no promise."""
    reserve_file = ReserveFile(disk / "ballast")
    filled_up(disk / "filler")
    assert not reserve_file.lay()
    assert not (disk / "ballast").exists()
    assert not reserve_file.release()
    (disk / "filler").unlink()
    assert reserve_file.lay()
    assert (disk / "ballast").stat().st_blocks * 512 >= BALLAST_BYTES
    assert ReserveFile(disk / "ballast").lay()
    assert reserve_file.release()
    assert not (disk / "ballast").exists()


def test_ballast_that_cannot_be_had_is_done_without(tmp_path: Path) -> None:
    """Only a full disk is a reason to stop."""
    assert ReserveFile(tmp_path / "missing" / "ballast").lay()
