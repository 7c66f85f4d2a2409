"""Condensing old jobs: every question that lists or money ask has the same answer afterwards, and the schema lets nothing else go."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sql import query
from test_store_growth import A_TEXTURE, ANY_TEXTURE, NOW, QUESTIONS, SHARED, WHOLE_LIFE, a_job, live, live_through

from rodin_watchd.adapters.store.archive import ArchiveFile
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.dedup import Provenance
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.store import DUE
from rodin_watchd.model import Batch, HookRun, Job, State, Transition

LATER: Final = NOW + 1e6
COUNT: Final = 40


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Give a journal with a past, half of it in vain; what failed was cleared but for one set."""
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        live_through(journal, COUNT)
        for job in journal.jobs((State.FAILED,))[1:]:
            cleared = replace(job, place=f"archive/{job.name}", times={"failed": NOW})
            journal.commit([Transition(cleared, "clear")], NOW + COUNT)
        yield journal


def condense(journal: Journal, limit: int = 1000) -> int:
    """Move what is old as the daemon does; return how many jobs."""
    with closing(JournalReader(journal.path)) as reader, closing(ArchiveFile(journal.path)) as archive:
        found = reader.old_jobs(LATER, LATER, limit)
        archive.put(found)
    return journal.condense([one.known for one in found])


def plain(answer: object) -> object:
    """Return an answer with what lists and money look at of each job."""
    if isinstance(answer, Job):
        return (answer.id, answer.name, answer.state, answer.place, answer.spent, answer.fingerprint, answer.since_at)
    if isinstance(answer, list | tuple) and not hasattr(answer, "_fields"):
        return [plain(one) for one in answer]
    return answer


WRITING: Final = ("one more job", "one more job in vain")
ABOUT_MONEY: Final[Mapping[str, Callable[[Journal], object]]] = {
    "had its task before": lambda j: [j.had_task_before(f"a{n:05}", f"a{m:05}") for n in range(40) for m in (0, 5, 39)],
    "failed tries": lambda j: [j.failed_tries(f"v2:{n}", "") for n in range(40)],
    "refused": lambda j: [j.refused_of(f"v2:{n}") for n in range(40)],
    "the same": lambda j: [j.same_content([f"v2:{n}"], "") for n in range(40)],
    "bought": lambda j: [j.bought([f"v2:{n}"], "", None) for n in range(40)],
    "made": lambda j: [j.made(Provenance(frozenset({SHARED, f"p{n}"}), ANY_TEXTURE), "") for n in range(40)],
    "since": lambda j: j.purchases_since(0, 0),
    "spent": lambda j: j.spent_since(0),
    "price": lambda j: j.price(A_TEXTURE),
    "tasks": lambda j: [j.with_task(f"t-a{n:05}") for n in range(40)],
    "histories": lambda j: [j.events(f"a{n:05}") for n in range(40)],
    "calls": lambda j: j.runs_of([f"a{n:05}" for n in range(40)]),
    **{name: ask for name, ask in QUESTIONS.items() if name not in WRITING},
}


def test_every_question_has_the_same_answer(journal: Journal) -> None:
    """Of all that can be asked, with the archive file; of the open failed set as well, which stays whole."""
    before = {name: plain(ask(journal)) for name, ask in ABOUT_MONEY.items()}
    size = sum(row[0] for row in query(journal.path, "SELECT length(doc) FROM jobs"))
    assert condense(journal) == COUNT - 1
    assert condense(journal) == 0
    assert {name: plain(ask(journal)) for name, ask in ABOUT_MONEY.items()} == before
    assert sum(row[0] for row in query(journal.path, "SELECT length(doc) FROM jobs")) < size
    [(events,)] = query(journal.path, "SELECT count(*) FROM events")
    assert events < sum(len(history) for history in before["histories"]) / 2  # type: ignore[misc,attr-defined]


def test_it_goes_in_small_steps(journal: Journal) -> None:
    """The oldest first, each job once."""
    assert [condense(journal, 15) for _ in range(4)] == [15, 15, COUNT - 31, 0]


def test_the_room_is_free_for_new_jobs(journal: Journal) -> None:
    """The file gives back most of what the details took."""
    details = {"plugin": {"note": "x" * 2500}}
    live(journal, [replace(a_job("b", number), facts=details) for number in range(COUNT)], WHOLE_LIFE)
    [[before]] = query(journal.path, "PRAGMA freelist_count")
    assert condense(journal) == 2 * COUNT - 1
    [[after]] = query(journal.path, "PRAGMA freelist_count")
    assert after - before > COUNT / 2


def test_a_call_that_is_owed_keeps_its_job_whole(journal: Journal) -> None:
    """The plugin is still to get it."""
    journal.note_run(HookRun(0, "owed", "a00001", "hook", "plugin", DUE, {}), "", NOW)
    assert condense(journal) == COUNT - 2


def test_jobs_of_one_set_stay_until_all_have_ended(journal: Journal) -> None:
    """What is still made belongs to them."""
    batch = Batch("b00001", "seed 1", 2)
    live(journal, [replace(a_job("b", 1), name="table", batch=batch)], WHOLE_LIFE)
    other = replace(a_job("b", 2), name="table", batch=replace(batch, label="seed 2"))
    journal.commit([Transition(other, "claimed")], NOW)
    assert condense(journal) == COUNT - 1
    assert journal.find("b00001").condensed_at == 0.0


def test_a_job_that_cannot_be_read_stays_as_it_is(journal: Journal) -> None:
    """It holds up no other one."""
    query(journal.path, "UPDATE jobs SET doc = '{' WHERE id = 'a00001'")
    journal.changed_outside()
    assert condense(journal) == COUNT - 2


NOT_ALLOWED: Final = (
    "DELETE FROM events WHERE job_id = 'a00003'",
    "DELETE FROM events WHERE job_id = 'z'",
    "UPDATE jobs SET condensed_at = 1.0 WHERE id = 'live'",
    "UPDATE jobs SET state = 'staged' WHERE id = 'a00003'",
    "DELETE FROM jobs WHERE id = 'a00003'",
    "DELETE FROM purchases WHERE job_id = 'a00003'",
)


@pytest.mark.parametrize("wrong", NOT_ALLOWED)
def test_the_schema_keeps_the_rest(journal: Journal, wrong: str) -> None:
    """Of an old job what money asks for, of all others everything."""
    whole = journal.job("a00001")
    assert whole
    journal.commit(
        [Transition(replace(whole, id="live", state=State.CLAIMED, fingerprint="", task=None), "claimed")], NOW
    )
    query(
        journal.path, "INSERT INTO events (job_id, at, action, state, message) VALUES ('live', 1.0, 'x', 'claimed', '')"
    )
    condense(journal)
    with pytest.raises(sqlite3.IntegrityError):
        query(journal.path, wrong.replace("'z'", "'live'"))


def test_only_what_has_ended_is_old(journal: Journal) -> None:
    """However long ago it changed."""
    assert {state for state in State if state not in ENDED}
    with closing(JournalReader(journal.path)) as reader:
        assert {one.known.job.state for one in reader.old_jobs(LATER, LATER, 1000)} <= ENDED
        assert reader.old_jobs(NOW - 1, LATER, 1000) == []
