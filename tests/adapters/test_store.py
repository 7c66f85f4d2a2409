"""The journal in real SQLite files: what it keeps, what it refuses, who reads it, and what survives."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sql import query
from strangers import IS_ROOT, as_nobody, filled_up, listed, mounted, public_folder

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store import schema
from rodin_watchd.adapters.store.files import CHECKED_SECONDS, closed_path
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.machine import TABLE
from rodin_watchd.core.names import printable
from rodin_watchd.core.store import Beside, Command, CommandReply
from rodin_watchd.errors import CommandRefusedError, DiskError, Fault, JournalError, Lane, Problem, Scope
from rodin_watchd.model import (
    Answer,
    Event,
    InputFile,
    Job,
    ResultFile,
    Role,
    ServiceEvent,
    Signature,
    State,
    Task,
    Transition,
)

NOW = 1_700_000_000.0
WITH_TASK = (State.SUBMITTED, State.GENERATED, State.DOWNLOADED, State.PROCESSED, State.DELIVERED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a journal."""
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Open a new journal."""
    with closing(Journal(path)) as opened:
        yield opened


def new_job(identity: str = "a1", *, state: State = State.CLAIMED, content: str = "", name: str = "chair") -> Job:
    """Return a job as it is in a state."""
    file = InputFile(Role.MODEL, f"inbox/{name}.glb", Signature(1, 2, 3))
    task = Task(f"task-{identity}", "secret", NOW) if state in WITH_TASK else None
    return Job(identity, name, "", state, (file,), {}, created_at=NOW, fingerprint=content or identity, task=task)


def told(job: Job, message: str = "") -> Transition:
    """Return the move to a job as it is."""
    return Transition(job, action=job.state.value, message=message)


def save(journal: Journal, *jobs: Job, now: float = NOW) -> None:
    """Commit jobs as they are, in one transaction."""
    journal.commit([told(job) for job in jobs], now)


def way_to(state: State) -> list[State]:
    """Return the states from `claimed` to this one, by legal moves."""
    ways = {State.CLAIMED: [State.CLAIMED]}
    while state not in ways:
        for before, after in [(before, after) for (before, _), after in TABLE.items()]:
            if before in ways:
                ways.setdefault(after, [*ways[before], after])
    return ways[state]


def in_state(job: Job, state: State) -> Job:
    """Return a job as it is in a state: with a task where it must have one, else without."""
    task = job.task or Task(f"task-{job.id}", "secret", NOW)
    return replace(job, state=state, task=task if state in WITH_TASK else None)


def save_at(journal: Journal, job: Job) -> None:
    """Commit a job by all the moves that lead to its state."""
    for state in way_to(job.state)[:-1]:
        save(journal, in_state(job, state))
    save(journal, job)


def sql(path: Path, *queries: str) -> None:
    """Write to the file behind the program's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        for query in queries:
            db.execute(query)


# ---- jobs and their history -----------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(), max_size=12)  # lone surrogates too: names that are not UTF-8
NUMBERS = st.floats(allow_nan=False)
BIG = st.integers(0, 2**63)
PROBLEMS = st.builds(
    Problem,
    code=TEXTS,
    fault=st.sampled_from(Fault),
    scope=st.sampled_from(Scope),
    message=TEXTS,
    advice=TEXTS,
    lane=st.none() | st.sampled_from(Lane),
    retry_after_seconds=st.none() | NUMBERS,
)
JOBS = st.builds(
    Job,
    id=st.text(string.hexdigits, min_size=1),
    name=TEXTS,
    folder=TEXTS,
    state=st.just(State.CLAIMED),
    files=st.lists(
        st.builds(
            InputFile,
            role=st.sampled_from(Role),
            source=TEXTS,
            signature=st.builds(Signature, BIG, st.integers(), BIG),
            shared=st.booleans(),
            sha256=TEXTS,
        ),
        max_size=3,
    ).map(tuple),
    options=st.dictionaries(TEXTS, TEXTS | st.integers() | NUMBERS, max_size=3),
    created_at=NUMBERS,
    again=st.booleans(),
    fingerprint=TEXTS,
    retries=BIG,
    attempts=BIG,
    not_before=NUMBERS,
    deadline=st.none() | NUMBERS,
    times=st.dictionaries(st.sampled_from(State), NUMBERS),
    task=st.none() | st.builds(Task, TEXTS, TEXTS, NUMBERS),
    answer=st.none() | st.builds(Answer, st.integers(100, 599), st.binary(), st.none() | NUMBERS),
    charges=st.integers(0, 9),
    results=st.lists(st.builds(ResultFile, TEXTS, TEXTS, BIG, TEXTS), max_size=2).map(tuple),
    place=TEXTS,
    problem=st.none() | PROBLEMS,
    progress=TEXTS,
)


@settings(max_examples=100, deadline=None)
@given(JOBS, st.sampled_from(State))
def test_job_round_trips_as_a_row(job: Job, state: State) -> None:
    """Every job, whatever its parts hold, is exactly the same after it was a row; the row is text that UTF-8 can hold."""
    row = rows.row(replace(job, state=state), NOW)
    assert rows.job(row["doc"]) == replace(job, state=state)
    assert row["doc"].isascii()
    for value in row.values():
        assert str(value).encode().decode() == str(value)


@settings(max_examples=25, deadline=None)
@given(st.lists(JOBS, max_size=3, unique_by=(lambda job: job.id, lambda job: job.fingerprint)))
def test_jobs_round_trip_through_the_file(jobs: list[Job]) -> None:
    """Jobs are read back from a real file exactly as they were committed."""
    with public_folder() as folder, closing(Journal(folder / "journal.sqlite3")) as journal:
        save(journal, *jobs)
        assert {job.id: job for job in journal.jobs()} == {job.id: job for job in jobs}


def test_types_survive(journal: Journal) -> None:
    """Read back, each part has its own type, not just an equal value."""
    problem = Problem("disk", Fault.MACHINE, Scope.SERVICE, "Full.", "Make room.", Lane.DISK)
    full = replace(
        new_job(),
        task=Task("t", "secret", NOW),
        answer=Answer(201, b"\x00\xff"),
        results=(ResultFile("a.glb", "b.glb", 1, "0"),),
        problem=problem,
        options={"seed": 7, "reference_scale": 1.5, "material": "PBR"},
    )
    save(journal, full)
    (found,) = journal.jobs()
    assert (type(found.state), type(found.files[0].signature), type(found.files[0].role)) == (State, Signature, Role)
    assert (type(found.problem), type(found.task), type(found.answer)) == (Problem, Task, Answer)
    assert [type(value) for value in found.options.values()] == [int, float, str]
    assert found == full


def test_each_change_has_its_event(journal: Journal) -> None:
    """A job's whole history is kept in order, with time, word, state and message."""
    job = new_job(name="two\nlines \udcff")
    journal.commit([Transition(job, "claimed", "bad \udcff name")], NOW)
    journal.commit([Transition(replace(job, state=State.STAGED), "staged")], NOW + 1)
    save(journal, new_job("b2"))
    assert journal.events("a1") == [
        Event("a1", NOW, "claimed", State.CLAIMED, "bad \\udcff name"),
        Event("a1", NOW + 1, "staged", State.STAGED, ""),
    ]
    assert [job.state for job in journal.jobs([State.STAGED])] == [State.STAGED]


def test_all_or_nothing(journal: Journal) -> None:
    """When one of several moves is refused none of them is kept, nor any event, and the journal goes on."""
    save(journal, new_job("a1"))
    good, bad = told(replace(new_job("a1"), state=State.STAGED)), told(new_job("b2", content="a1"))
    with pytest.raises(JournalError):
        journal.commit([good, bad], NOW)
    assert journal.counts() == {State.CLAIMED: 1}
    assert len(journal.events("a1")) == 1
    save(journal, replace(new_job("a1"), state=State.STAGED))
    assert journal.counts() == {State.STAGED: 1}


def test_jobs_by_state_and_age(journal: Journal) -> None:
    """Jobs come newest change first, of the wanted states only, no more than wanted."""
    for number, identity in enumerate(("a", "b", "c")):
        save(journal, new_job(identity), now=NOW + number)
    save(journal, replace(new_job("a"), state=State.STAGED), now=NOW + 9)
    assert [job.id for job in journal.jobs()] == ["a", "c", "b"]
    assert [job.id for job in journal.jobs(limit=2)] == ["a", "c"]
    assert [job.id for job in journal.jobs([State.CLAIMED])] == ["c", "b"]
    assert journal.jobs([]) == []
    assert journal.counts() == {State.CLAIMED: 2, State.STAGED: 1}


# ---- what the schema refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", State)
def test_only_legal_moves(journal: Journal, before: State) -> None:
    """From each state exactly the moves of the state machine, and staying, are let through."""
    legal = {before} | {after for (state, _), after in TABLE.items() if state is before}
    allowed = set()
    for number, after in enumerate(State):
        identity = f"x{number:02}"
        job = new_job(identity, state=before)
        save_at(journal, job)
        try:
            save(journal, in_state(job, after))
            allowed.add(after)
        except JournalError as error:
            assert "not a legal move" in error.message  # noqa: PT017 - to be let through is right, too
        assert journal.find(identity).state is (after if after in allowed else before)
    assert allowed == legal


def test_one_live_job_for_each_content(journal: Journal) -> None:
    """Of one content a second job cannot live beside the first; it can when the first has ended."""
    first = new_job("a1", state=State.HELD, content="same")
    save_at(journal, first)
    with pytest.raises(JournalError, match="fingerprint"):
        save(journal, new_job("b2", content="same"))
    for state in (State.FAILING, State.FAILED):
        save(journal, replace(first, state=state))
    save(journal, new_job("b2", content="same"))
    with pytest.raises(JournalError, match="fingerprint"):
        save(journal, replace(first, state=State.CLAIMED))


def test_jobs_of_unknown_content_live_side_by_side(journal: Journal) -> None:
    """Before a set is hashed nothing is known of its content, and two of them may be claimed; none goes on so."""
    for identity in ("a1", "b2"):
        save(journal, replace(new_job(identity), fingerprint=""))
    with pytest.raises(JournalError, match="CHECK"):
        save(journal, replace(new_job("a1"), fingerprint="", state=State.STAGED))


@pytest.mark.parametrize("state", [State.STAGED, State.UPLOADING, State.SUBMITTING])
def test_job_with_a_task_is_never_sent(journal: Journal, state: State) -> None:
    """A job that has a task cannot come near the paid call, be it new or moved there."""
    paid = replace(new_job(), state=state, task=Task("t", "", NOW))
    with pytest.raises(JournalError, match="never_paid_twice"):
        save(journal, paid)
    save_at(journal, replace(paid, task=None))
    with pytest.raises(JournalError, match="never_paid_twice"):
        save(journal, paid)


def test_submitted_job_has_a_task(journal: Journal) -> None:
    """What the vendor works on cannot be without the name of its task."""
    save_at(journal, new_job(state=State.SUBMITTING))
    with pytest.raises(JournalError, match="CHECK"):
        save(journal, new_job(state=State.SUBMITTING), replace(new_job(state=State.SUBMITTED), task=None))


def test_cost_is_never_forgotten(journal: Journal) -> None:
    """What a job was charged can grow, not shrink."""
    save(journal, replace(new_job(), charges=2))
    with pytest.raises(JournalError, match="what was paid stays paid"):
        save(journal, replace(new_job(), charges=1))
    assert journal.find("a1").charges == 2


def test_one_task_in_two_jobs_does_not_stop_the_service(journal: Journal) -> None:
    """A vendor that gives the same task twice is the vendor's fault: both jobs are kept."""
    twice = Task("same", "", NOW)
    for identity in ("a1", "b2"):
        save_at(journal, replace(new_job(identity, state=State.SUBMITTED), task=twice))
    found = journal.with_task("same")
    assert found is not None
    assert found.id in ("a1", "b2")
    assert journal.with_task("other \udcff") is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("UPDATE jobs SET state = 'lost'", "not a legal move"),
        (
            "INSERT INTO jobs SELECT 'b2', 'lost', name, folder, top, 'f', kind, 0, '', 0, 0, 0, '', doc, '', 0.0, 0.0 FROM jobs",
            "CHECK",
        ),
        ("UPDATE jobs SET charges = -1", "stays paid|CHECK"),
        ("DELETE FROM jobs", "jobs are never deleted"),
        ("UPDATE jobs SET id = 'b2'", "FOREIGN KEY"),
        ("UPDATE events SET message = 'it was otherwise'", "history is append-only"),
        ("DELETE FROM events", "history is append-only"),
        ("INSERT INTO events SELECT 99, 'nobody', 0, 'x', 'x', '', ''", "FOREIGN KEY"),
        ("UPDATE jobs SET charges = 'many'", "cannot store TEXT"),
    ],
)
def test_file_defends_itself(journal: Journal, path: Path, query: str, reason: str) -> None:
    """The invariants hold against any program that writes the file."""
    save(journal, new_job())
    with pytest.raises(sqlite3.IntegrityError, match=reason):
        sql(path, query)
    assert journal.jobs() == [new_job()]


@pytest.mark.parametrize("table", ["jobs", "events"])
def test_replacing_rows_is_deleting(journal: Journal, table: str) -> None:
    """Also INSERT OR REPLACE does not get around the triggers on the daemon's own connection."""
    save(journal, new_job())
    with pytest.raises(sqlite3.IntegrityError, match=r"never deleted|append-only"):
        journal._db.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")  # noqa: S608 - a name from above


def test_durability_is_asked_for(journal: Journal, path: Path) -> None:
    """The pragmas that make a commit durable are in force, on the file and on the connection."""
    found = [journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]
    assert path.with_name(f"{path.name}-wal").exists()


# ---- questions ------------------------------------------------------------------------------------------------------


def test_find_by_id_or_name(journal: Journal) -> None:
    """A job is found by its id, the beginning of it, or the name of its set; several are told by their ids."""
    jobs = [new_job("abc1", name="chair"), new_job("abd2", name="sofa"), new_job("fff3", name="sofa")]
    save(journal, *jobs)
    assert journal.find("abc1") == journal.find("abc") == journal.find("chair") == jobs[0]
    for several, ids in (("ab", ("abc1", "abd2")), ("sofa", ("abd2", "fff3"))):
        with pytest.raises(CommandRefusedError, match="fits several jobs") as refused:
            journal.find(several)
        assert all(identity in refused.value.message for identity in ids)


@pytest.mark.parametrize("text", ["", "%", "_", "a%", "a_c", "!", "bc1", "chai", "\udcff", "\0", "' OR 1=1 --"])
def test_find_nothing(journal: Journal, text: str) -> None:
    """Wildcards mean themselves, and what is not there is said not to be, whatever it is."""
    save(journal, new_job("abc1"))
    with pytest.raises(CommandRefusedError, match="There is no job") as refused:
        journal.find(text)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("name", ["100%", "a_b", "!", "two\nlines", "\udcff", "🪑", "-rf", "'", "x" * 250])
def test_find_by_an_odd_name(journal: Journal, name: str) -> None:
    """A set of any name is found by the name itself and by what the status page shows of it."""
    save(journal, new_job("a1", name=name), new_job("b2", name="other"))
    assert journal.find(name).id == journal.find(printable(name)).id == "a1"


def test_whole_id_wins(journal: Journal) -> None:
    """Sets that are called like a job's id cannot hide that job."""
    others = [replace(new_job(f"{number}", name="abc1"), created_at=NOW + 1) for number in range(9)]
    save(journal, new_job("abc1", name="chair"), *others)
    assert journal.find("abc1").name == "chair"


def test_same_content_finds_the_live_one_first(journal: Journal) -> None:
    """Of jobs with one content the live one counts before newer ones that were delivered; failed ones do not count."""
    assert journal.same_content(("same",), besides="x") is None
    old = replace(new_job("a1", state=State.FAILED, content="same"), created_at=NOW)
    save_at(journal, old)
    assert journal.same_content(("same",), besides="x") is None
    delivered = replace(new_job("b2", state=State.DELIVERED, content="same"), created_at=NOW + 1)
    save_at(journal, delivered)
    save(journal, replace(delivered, state=State.ARCHIVED))
    assert journal.same_content(("same",), besides="b2") is None
    save(journal, replace(old, state=State.CLAIMED))
    for besides, expected in (("x", "a1"), ("a1", "b2")):
        found = journal.same_content(("same",), besides=besides)
        assert found is not None
        assert found.id == expected


def test_durations_of_a_kind(journal: Journal) -> None:
    """The newest durations of tasks of one kind are remembered; of others, and of unfinished ones, not."""
    for number in range(4):
        job = replace(new_job(f"{number}", state=State.GENERATED), created_at=NOW + number)
        kind = {"resolution": "High"} if number == 3 else {}
        save_at(
            journal, replace(job, options=kind, times={State.SUBMITTING: NOW, State.GENERATED: NOW + 10 * (number + 1)})
        )
    save(journal, new_job("unfinished"))
    kind = rows.row(new_job(), NOW)["kind"]
    assert journal.durations(kind) == [15.0, 10.0, 5.0]
    assert journal.durations(kind, limit=1) == [15.0]
    assert journal.durations("other") == []


def test_jobs_by_the_name_of_a_file(journal: Journal) -> None:
    """The jobs that had an input of a name are found, odd names and parts of names notwithstanding."""
    names = ["chair", "armchair", "two\nlines \udcff", 'quote"d']
    save(journal, *(new_job(f"{number}", name=name) for number, name in enumerate(names)))
    for number, name in enumerate(names):
        assert [job.id for job in journal.with_file(f"{name}.glb")] == [f"{number}"]
    assert journal.with_file("missing.glb") == journal.with_file("hair.glb") == []


@pytest.mark.parametrize("value", [None, True, 1.5, "\udcff 🪑", {"a": [1, {"b": "c"}]}])
def test_meta_values(journal: Journal, value: object) -> None:
    """A JSON value is kept under its key and can be replaced."""
    assert journal.meta("key") is None
    for stored in ("before", value):
        journal.set_meta("key", stored)
        assert journal.meta("key") == stored


# ---- commands -------------------------------------------------------------------------------------------------------


def test_command_from_another_process(journal: Journal, path: Path) -> None:
    """A command that another process leaves is noticed, read, answered once, and the answer is found."""
    before = journal.changed_outside()
    journal.set_meta("own", "writing does not count")
    assert journal.changed_outside() == before
    script = """
import sys
from pathlib import Path
from rodin_watchd.adapters.store.sqlite import insert_command
print(insert_command(Path(sys.argv[1]), "retry", {"job": "\\udcff", "pay_again": True}, 1.5))
"""
    command = [sys.executable, "-c", script, str(path)]
    number = int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    second = insert_command(path, "pause", {}, NOW)
    assert journal.changed_outside() != before
    assert journal.open_commands() == [
        Command(number, "retry", {"job": "\udcff", "pay_again": True}),
        Command(second, "pause", {}),
    ]
    assert journal.answer(number) is None
    journal.commit((), NOW, beside=Beside(CommandReply(number, "No: \udcff.", ok=False)))
    assert journal.open_commands() == [Command(second, "pause", {})]
    with closing(JournalReader(path)) as reader:
        assert reader.answer(number) == {"ok": False, "message": "No: \udcff."}
        assert reader.answer(second) is None
        assert reader.answer(99) is None


def test_command_makes_no_journal(path: Path) -> None:
    """Where no daemon ever ran a command is refused, and no file is left that the daemon could not write."""
    with pytest.raises(JournalError, match="There is no journal"):
        insert_command(path, "pause", {}, NOW)
    assert not path.exists()


def test_command_of_a_user_without_rights() -> None:
    """A user who may only read is told to run the command as the service's user, and leaves nothing behind."""
    with public_folder() as folder:
        path = folder / "journal.sqlite3"

        def refused() -> tuple[str, str]:
            with pytest.raises(JournalError) as error:
                insert_command(path, "pause", {}, NOW)
            return error.value.message, error.value.advice_given

        with closing(Journal(path)) as journal:
            message, advice = as_nobody(refused)
            assert "could not be written" in message
            assert advice == "Run it as the user that the service runs as."
            assert journal.open_commands() == []
        assert "could not be written" in as_nobody(refused)[0]
        assert listed(folder) == ["journal.ballast", "journal.sqlite3"]


# ---- readers --------------------------------------------------------------------------------------------------------


def test_readers_beside_the_writer(journal: Journal, path: Path) -> None:
    """A reader sees each commit at once, and neither waits for the other."""
    with closing(JournalReader(path)) as reader:
        for number in range(20):
            save(journal, new_job(f"{number:02}"))
            assert len(reader.jobs()) == number + 1
            assert reader.events(f"{number:02}") == journal.events(f"{number:02}")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, closing(JournalReader(path)) as reader:
        writer.execute("BEGIN IMMEDIATE")
        assert len(reader.jobs()) == 20


def test_reader_cannot_write(journal: Journal, path: Path) -> None:
    """The reader's connection refuses every change."""
    save(journal, new_job())
    with closing(JournalReader(path)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("UPDATE jobs SET place = 'x'")


def test_locked_journal_is_told_and_survived(path: Path) -> None:
    """Another program that keeps the file locked is told as a passing trouble: nothing is written, and it goes on."""
    with closing(Journal(path)) as journal, closing(sqlite3.connect(path, isolation_level=None)) as other:
        journal._db.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskError, match="locked"):
            save(journal, new_job())
        other.execute("ROLLBACK")
        save(journal, new_job())
        assert journal.jobs() == [new_job()]


def read_ids(path: Path) -> list[str]:
    """Return the ids of the jobs that this user can read."""
    with closing(JournalReader(path)) as reader:
        return sorted(job.id for job in reader.jobs())


WRITE = """
import sys
from pathlib import Path
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.model import Job, ServiceEvent, State, Transition
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    job = Job(f"{number:09}", "chair", "", State.CLAIMED, (), {}, created_at=1.0)
    journal.commit([Transition(job, "claimed")], 1.0)
    print(job.id, flush=True)
"""


def killed_after(path: Path, commits: int) -> list[str]:
    """Have a process commit jobs until it is killed with -9; return the ids of all that it acknowledged."""
    with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], text=True, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = [line.strip() for line in itertools.islice(writer.stdout, commits)]
        writer.kill()
        return acknowledged + [line.strip() for line in writer.stdout if line.endswith("\n")]


@pytest.mark.parametrize("commits", [1, 50, 400])
def test_kill_loses_no_acknowledged_commit(path: Path, commits: int) -> None:
    """After kill -9 all acknowledged jobs are there, each with its event, at most one more, and nothing is damaged."""
    acknowledged = killed_after(path, commits)
    assert len(acknowledged) >= commits
    found = read_ids(path)
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1
    with closing(Journal(path)) as journal:
        assert journal.quick_check() == "ok"
        assert sorted(job.id for job in journal.jobs()) == found
        assert {len(journal.events(identity)) for identity in found} == {1}


def test_another_user_reads() -> None:
    """Another user with the right to read sees all jobs while the daemon runs, after it stopped, and after kill -9."""
    with public_folder() as folder:
        path = folder / "journal.sqlite3"
        with closing(Journal(path)) as journal:
            save(journal, new_job("a1"))
            assert as_nobody(lambda: read_ids(path)) == ["a1"]
            save(journal, new_job("b2"))
            assert as_nobody(lambda: read_ids(path)) == ["a1", "b2"]
        assert as_nobody(lambda: read_ids(path)) == ["a1", "b2"]
        assert listed(folder) == ["journal.ballast", "journal.sqlite3"]
        killed = folder / "killed.sqlite3"
        acknowledged = killed_after(killed, 20)
        assert set(acknowledged) <= set(as_nobody(lambda: read_ids(killed)))


def test_file_is_made_by_the_umask() -> None:
    """The file, and what SQLite keeps beside it, are as open as the service's umask says, and no more."""
    with public_folder() as folder:
        path, before = folder / "journal.sqlite3", os.umask(0o027)
        try:
            with closing(Journal(path)) as journal:
                save(journal, new_job())
                modes = {found.name: oct(found.stat().st_mode & 0o777) for found in folder.iterdir()}
        finally:
            os.umask(before)
        assert modes == dict.fromkeys(
            ("journal.ballast", "journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"), "0o640"
        )
        if IS_ROOT:
            assert "cannot be read" in as_nobody(lambda: refusal(lambda: JournalReader(path)))
            folder.chmod(0o700)
            assert "has no permission to read" in as_nobody(lambda: refusal(lambda: JournalReader(path)))


def refusal(act: Callable[[], object]) -> str:
    """Return in what words something is refused."""
    with pytest.raises(JournalError) as refused:
        act()
    return refused.value.message


# ---- what cannot be used --------------------------------------------------------------------------------------------


def test_no_journal(path: Path) -> None:
    """A missing journal is told, and none is made."""
    assert refusal(lambda: JournalReader(path)) == f"There is no journal at {path}."
    assert refusal(lambda: JournalReader(path.parent / "missing/journal")).startswith("There is no journal at ")
    assert "cannot be opened: unable to open" in refusal(lambda: Journal(path.parent / "missing/journal"))
    assert not path.exists()


def test_newer_journal(path: Path) -> None:
    """A journal of a newer program is refused by all, in words, and not changed."""
    Journal(path).close()
    sql(path, f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()
    uses = (JournalReader, Journal, lambda place: insert_command(place, "pause", {}, NOW))
    for use in uses:
        message = refusal(partial(use, path))
        assert f"newer rodin_watchd (schema {schema.VERSION + 1}, this one knows {schema.VERSION})" in message
    assert path.read_bytes() == before


def test_journal_that_is_not_set_up(path: Path) -> None:
    """An empty file is not a journal to a reader; the daemon sets it up."""
    path.touch()
    assert "not set up" in refusal(lambda: JournalReader(path))
    save_in = Journal(path)
    save(save_in, new_job())
    save_in.close()
    assert read_ids(path) == ["a1"]


def filled(path: Path) -> bytes:
    """Make a journal of many pages and return its content."""
    with closing(Journal(path)) as journal:
        for number in range(300):
            save(journal, new_job(f"{number:04}", name=f"chair-{number}"))
        journal.set_meta("page", "x" * 20_000)
        insert_command(path, "pause", {}, NOW)
    return path.read_bytes()


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "text": lambda data: b"This is no journal.\n" * (len(data) // 20),
    "noise": lambda data: os.urandom(len(data)),
    "cut in the header": lambda data: data[:50],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "cut within a page": lambda data: data[: len(data) // 2 + 1000],
    "zeros behind the header": lambda data: data[:4096] + bytes(len(data) - 4096),
    "noise behind the header": lambda data: data[:4096] + os.urandom(len(data) - 4096),
    "a page of noise": lambda data: data[: len(data) // 2] + os.urandom(4096) + data[len(data) // 2 + 4096 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_journal(path: Path, damage: str) -> None:
    """The daemon does not start on a damaged journal; readers answer or refuse, always in words, and no one changes it."""
    broken = DAMAGES[damage](filled(path))
    path.write_bytes(broken)
    assert str(path) in refusal(lambda: Journal(path))
    questions = (
        JournalReader.jobs,
        JournalReader.counts,
        JournalReader.quick_check,
        lambda reader: reader.find("0001"),
        lambda reader: reader.events("0001"),
        lambda reader: reader.same_content(("0001",), besides=""),
        lambda reader: reader.bought(("0001",), ""),
        lambda reader: reader.with_file("chair-1.glb"),
        lambda reader: reader.with_task("t"),
        lambda reader: reader.durations("x"),
        lambda reader: reader.charged_since(0.0),
        lambda reader: reader.spent_since(0),
        lambda reader: reader.purchases_since(0, 0),
        JournalReader.newest_purchase,
        JournalReader.gate,
        lambda reader: reader.meta("page"),
        lambda reader: reader.answer(1),
    )
    for question in questions:
        try:
            with closing(JournalReader(path)) as reader:
                question(reader)
        except (JournalError, CommandRefusedError) as error:
            assert error.message  # noqa: PT017 - an answer is right, too
    assert path.read_bytes() == broken


def begun_with(path: Path) -> int:
    """Return how many bytes are read to open a journal for writing."""

    def read() -> int:
        return int(Path("/proc/thread-self/io").read_text().split()[1])  # rchar, proc_pid_io(5)

    before = read()
    with closing(Journal(path)):
        return read() - before


def left(path: Path) -> None:
    """Leave a journal as a stop of the service does."""
    filled(path)
    Journal(path).end("now")


def test_what_the_service_has_closed_is_not_read_as_a_whole(path: Path) -> None:
    """Once: what was opened since is read, unless that was closed as well."""
    left(path)
    size = path.stat().st_size
    assert begun_with(path) < size / 2
    assert begun_with(path) > size
    with closing(JournalReader(path)):
        pass
    Journal(path).end("now")
    assert begun_with(path) < size / 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_journal_that_was_damaged_since_it_was_closed(path: Path, damage: str) -> None:
    """It is refused also where its size and its time of change are as before."""
    left(path)
    before = path.stat()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert str(path) in refusal(lambda: Journal(path))
    assert str(path) in refusal(lambda: Journal(path))


def change_note(path: Path, **changes: object) -> None:
    """Change what is noted of how a journal was left."""
    note = closed_path(path)
    note.write_text(json.dumps({**json.loads(note.read_text()), **changes}))


@pytest.mark.parametrize(
    "since",
    [
        lambda path: change_note(path, boot="another"),
        lambda path: change_note(path, checked_at=time.time() - CHECKED_SECONDS - 1),
        lambda path: change_note(path, checked_at=time.time() + 60),
        lambda path: closed_path(path).write_text("{"),
        lambda path: closed_path(path).unlink(),
        lambda path: Path(f"{path}-wal").write_bytes(b"something"),
        lambda path: insert_command(path, "pause", {}, NOW),
        lambda path: path.write_bytes(path.read_bytes()),
        lambda path: path.rename(path.with_name("other")) and shutil.copy2(path.with_name("other"), path),
    ],
    ids=["boot", "a week", "clock", "nonsense", "no note", "log", "command", "written", "a copy"],
)
def test_a_journal_is_read_as_a_whole_after_all_else(path: Path, since: Callable[[Path], object]) -> None:
    """Another boot, a week, a clock that was set back, a file that anybody has touched: nothing is paid by it unread."""
    left(path)
    since(path)
    assert begun_with(path) > path.stat().st_size


def test_damage_while_open(path: Path) -> None:
    """A file that breaks under an open reader or writer is told in words, and what to do."""
    data = filled(path)
    with closing(JournalReader(path)) as reader:
        reader.counts()
        path.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
        with pytest.raises(JournalError) as told_to_reader:
            reader.jobs()
    assert "malformed" in told_to_reader.value.message
    assert "backup" in told_to_reader.value.advice_given


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("UPDATE jobs SET doc = '{}'", lambda reader: reader.jobs()),
        ("UPDATE jobs SET doc = '{'", lambda reader: reader.find("a1")),
        ("UPDATE jobs SET doc = '[]'", lambda reader: reader.same_content(("a1",), besides="")),
        ("UPDATE jobs SET doc = CAST(X'FF' AS TEXT)", lambda reader: reader.jobs()),
        ("INSERT INTO events VALUES (9, 'a1', 0, 'x', 'lost', '', '')", lambda reader: reader.events("a1")),
        ("INSERT INTO meta VALUES ('page', '{')", lambda reader: reader.meta("page")),
        ("INSERT INTO commands VALUES (1, 0, 'pause', '{}', '7')", lambda reader: reader.answer(1)),
        ("INSERT INTO commands VALUES (1, 0, 'pause', '[1]', NULL)", lambda reader: reader.open_commands()),
    ],
)
def test_rows_that_make_no_sense(
    journal: Journal, path: Path, query: str, question: Callable[[JournalReader], object]
) -> None:
    """A row that no program of ours wrote is told as damage, not as a fault of the program."""
    save(journal, new_job())
    sql(path, query)
    assert "cannot be read" in refusal(lambda: question(journal))


def test_failed_opening_leaves_nothing_open(path: Path) -> None:
    """A journal that is refused leaves no descriptor open."""
    path.write_bytes(b"This is no journal.\n" * 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for use in (JournalReader, Journal):
        refusal(partial(use, path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def saved_until_full(journal: Journal) -> int:
    """Commit pairs of jobs until there is no room; return how many pairs were committed."""
    for number in range(1000):
        try:
            save(journal, new_job(f"{number:04}a"), new_job(f"{number:04}b"))
        except DiskError as error:
            assert error.message == "The disk with the journal is full."  # noqa: PT017 - in between, it is no error
            return number
    pytest.fail("the disk never became full")


def test_full_disk(tmp_path: Path) -> None:
    """On a full disk a commit is refused as a whole, readers go on, and with new room the daemon goes on, too."""
    with mounted(tmp_path / "small", size="6m") as small, closing(Journal(small / "journal.sqlite3")) as journal:
        save(journal, new_job("first"))
        filler = small / "filler"
        filled_up(filler)
        kept = saved_until_full(journal)
        expected = {"first"} | {f"{number:04}{letter}" for number in range(kept) for letter in "ab"}
        assert set(read_ids(small / "journal.sqlite3")) == expected == {job.id for job in journal.jobs()}
        with pytest.raises(DiskError):
            journal.set_meta("page", "x" * 100_000)
        filler.unlink()
        save(journal, new_job("last"))
        assert {job.id for job in journal.jobs()} == expected | {"last"}
        assert {len(journal.events(identity)) for identity in expected} == {1}
        assert journal.quick_check() == "ok"


# ---- growing up -----------------------------------------------------------------------------------------------------


def test_opening_again_keeps_all(path: Path) -> None:
    """A journal is opened any number of times, with all that was in it, and with the program's present moves."""
    Journal(path).close()
    sql(path, "DELETE FROM moves", "INSERT INTO moves VALUES ('claimed', 'archived')")
    for number in range(3):
        with closing(Journal(path)) as journal:
            save(journal, new_job(f"{number}"))
            assert len(journal.jobs()) == number + 1
            assert journal.schema_version() == schema.VERSION
    with closing(Journal(path)) as journal, pytest.raises(JournalError, match="not a legal move"):
        save(journal, replace(new_job("0"), state=State.ARCHIVED))


def test_migrations_lead_on_from_each_version() -> None:
    """From each version the scripts lead to the present one, in order; from the present one there is nothing to do."""
    for version in range(schema.VERSION + 1):
        assert [step.version for step in schema.migrations(version)] == list(range(version + 1, schema.VERSION + 1))


def test_moves_of_the_machine_are_the_files() -> None:
    """The moves that the file lets through are those of the state machine, and staying."""
    expected = {(before.value, after.value) for (before, _), after in TABLE.items()} | {
        (s.value, s.value) for s in State
    }
    assert set(schema.legal_moves()) == expected


def test_secret_stays_out_of_what_is_listed(journal: Journal, path: Path) -> None:
    """The subscription key is in a job's document alone: no column, event or command holds it."""
    save_at(journal, new_job(state=State.SUBMITTED))
    with closing(sqlite3.connect(path)) as db:
        dump = "\n".join(db.iterdump())
    assert dump.count("secret") == 1
    [(document,)] = query(path, "SELECT doc FROM jobs")
    assert json.loads(document)["task"]["subscription_key"] == "secret"


# ---- the service's own history --------------------------------------------------------------------------------------


def test_the_service_has_a_history_of_its_own(journal: Journal, path: Path) -> None:
    """What began and ended for all sets alike is kept in its order, newest first for readers."""
    journal.note_service_event(ServiceEvent(NOW, "paused", "no network", "api", "network"))
    journal.note_service_event(ServiceEvent(NOW + 5, "resumed", "it is back \udcff", "api"))
    with closing(JournalReader(path)) as reader:
        told = reader.service_events()
        assert [event.kind for event in reader.service_events(limit=1)] == ["resumed"]
    assert told == [
        ServiceEvent(NOW + 5, "resumed", "it is back \\udcff", "api"),
        ServiceEvent(NOW, "paused", "no network", "api", "network"),
    ]


@pytest.mark.parametrize("change", ["UPDATE service_events SET kind = 'x'", "DELETE FROM service_events"])
def test_the_services_history_cannot_be_rewritten(journal: Journal, path: Path, change: str) -> None:
    """The schema refuses it."""
    journal.note_service_event(ServiceEvent(NOW, "paused", "x", "api"))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        query(path, change)
