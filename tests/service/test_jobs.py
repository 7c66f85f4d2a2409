"""The live jobs in memory: always equal to the journal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import filled_up, mounted

from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.dedup import fingerprint
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.errors import CommandRefusedError, DiskError
from rodin_watchd.model import Job, State, Task, Transition
from rodin_watchd.service.jobs import MOST_RECENT, JobStore

WAY = (State.STAGED, State.UPLOADING, State.SUBMITTING, State.SUBMITTED, State.GENERATED, State.DOWNLOADED)
END = (State.PROCESSED, State.DELIVERED, State.ARCHIVED)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Give an empty journal."""
    with contextlib.closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        yield journal


@pytest.fixture
def job_store(journal: Journal) -> JobStore:
    """Give a job store over it."""
    return JobStore(journal)


def add(job_store: JobStore, number: int, state: State, fingerprint: str) -> Job:
    """Lead a job to a state by legal moves."""
    job = Job(f"job-{number:06}", f"set-{number}", "", State.CLAIMED, (), {}, float(number))
    job_store.commit([Transition(job, "claimed")], float(number))
    for step in () if state is State.CLAIMED else (*WAY, *END):
        task = Task(f"task-{number}", "key") if step not in (*WAY[:3],) else None
        job = replace(job, state=step, fingerprint=fingerprint, task=task, place=f"outbox/set-{number}")
        job_store.commit([Transition(job, step.value)], float(number))
        if step is state:
            break
    return job


def test_it_is_the_same_after_a_restart(journal: Journal, job_store: JobStore) -> None:
    """Live jobs and the newest results are read back from the journal as they were known."""
    for number in range(MOST_RECENT + 5):
        add(job_store, number, State.ARCHIVED, f"content-{number}")
    live = add(job_store, 100, State.STAGED, "live")
    again = JobStore(journal)
    assert dict(again.jobs) == dict(job_store.jobs) == {live.id: live}
    assert [job.id for job in job_store.recent] == [f"job-{number:06}" for number in range(24, 4, -1)]
    assert sorted(job.id for job in again.recent) == sorted(job.id for job in job_store.recent)


def test_a_note_is_known_but_not_durable(journal: Journal, job_store: JobStore) -> None:
    """A waiting time is kept in memory alone."""
    job = add(job_store, 1, State.STAGED, "content")
    job_store.note(replace(job, not_before=77.0))
    assert job_store.jobs[job.id].not_before == 77.0
    assert JobStore(journal).jobs[job.id].not_before == 0.0


def test_what_cannot_be_stored_together_is_not_known(journal: Journal, job_store: JobStore) -> None:
    """Moves are known within the context; where it fails the jobs are as the journal has them, and events are kept."""
    live = add(job_store, 1, State.PROCESSED, "one")

    def moves_and_fails() -> None:
        with job_store.together():
            job_store.commit([Transition(replace(live, state=State.DELIVERED), "delivered")], 5.0)
            add(job_store, 2, State.STAGED, "two")
            assert len(job_store.jobs) == 2
            job_store.report("paused", "api", 6.0)
            raise DiskError("no room")

    with pytest.raises(DiskError):
        moves_and_fails()
    assert dict(job_store.jobs) == dict(JobStore(journal).jobs) == {live.id: live}
    assert [event.kind for event in journal.service_events()] == ["paused"]
    with job_store.together():
        job_store.commit([Transition(replace(live, state=State.DELIVERED), "delivered")], 7.0)
    assert {job.state for job in JobStore(journal).jobs.values()} == {State.DELIVERED}


@pytest.mark.parametrize(
    ("state", "consent", "paid", "told"),
    [
        (State.SUBMITTED, "", False, "in progress already"),
        (State.SUBMITTED, "word:x", False, "in progress already"),
        (State.SUBMITTED, "", True, "in progress already"),
        (State.ARCHIVED, "", False, "delivered before: look in outbox/set-1"),
        (State.ARCHIVED, "word:x", False, ""),
        (State.ARCHIVED, "", True, ""),
    ],
)
def test_what_counts_as_paid_twice(job_store: JobStore, state: State, consent: str, paid: bool, told: str) -> None:
    """The same content is refused while it is worked on, and after a delivery unless somebody agreed to pay or it is paid."""
    content = fingerprint(TEXTURE, (), {})
    add(job_store, 1, state, content)
    job = replace(add(job_store, 2, State.CLAIMED, ""), fingerprint=content, consent=consent)
    error = job_store.duplicate(replace(job, task=Task("task-2", "key")) if paid else job)
    assert (error.message if error else "").find(told) != -1
    assert bool(error) == bool(told)


def test_a_task_has_one_owner(job_store: JobStore) -> None:
    """A job cannot be given the task of another one; its own is no clash."""
    owner = add(job_store, 1, State.SUBMITTED, "content")
    job_store.refuse_clash(owner)
    other = add(job_store, 2, State.CLAIMED, "")
    job_store.refuse_clash(other)
    with pytest.raises(CommandRefusedError, match="belongs to job job-000001"):
        job_store.refuse_clash(replace(other, task=Task("task-1", "")))


def test_what_concerns_all_is_told_when_there_is_room(tmp_path: Path) -> None:
    """While the journal's disk is full a service event waits; then it comes with its own time."""
    with mounted(tmp_path / "small", size="8m") as small, contextlib.closing(Journal(small / "j.sqlite3")) as journal:
        job_store = JobStore(journal)
        filled_up(small / "filler")
        for number in range(3):
            job_store.report("paused", f"api {number} {'x' * 5000}", float(number))
        (small / "filler").unlink()
        job_store.report("resumed", "api", 9.0)
        told = [(event.at, event.kind) for event in journal.service_events()]
    assert told == [(9.0, "resumed"), (2.0, "paused"), (1.0, "paused"), (0.0, "paused")]
