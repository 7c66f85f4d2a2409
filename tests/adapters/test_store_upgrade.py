"""A journal that version 1 wrote: it protects what it paid for, and keeps what it knew."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from effort import EFFORT
from sql import query
from strangers import mounted

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.store import schema
from rodin_watchd.adapters.store.archive import ArchiveFile
from rodin_watchd.adapters.store.files import AT_ONCE_BYTES
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.client.journal import reader
from rodin_watchd.config import load_config
from rodin_watchd.core.balance import VERDICTS, Freed, Trust, trust_key
from rodin_watchd.core.dedup import Provenance, fingerprint, of_set
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.machine import ENDED, after, answered
from rodin_watchd.core.store import Listing, ListOrder
from rodin_watchd.errors import ChangedWhileTakenError, JournalError, OldJournalError, RoomError
from rodin_watchd.model import Answer, Done, Rejected, State

OLD = Path(__file__).parent.parent / "samples" / "journal-1" / "journal.sql"
"""Written by the last program of version 1: jobs in every state, paid in every way."""

LATER = {State.RETURNING, State.RETURNED}
"""States that there were not yet."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Lay the journal of version 1 down."""
    found = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(found)) as db:
        db.executescript(OLD.read_text())
    return found


def in_version_1(path: Path) -> dict[str, tuple[str, str, int, dict[str, object]]]:
    """Return state, fingerprint, charges and document of each job as they are in the file."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, state, fingerprint, charges, doc FROM jobs").fetchall()
    return {name: (state, print_, charges, json.loads(doc)) for name, state, print_, charges, doc in rows}


def test_every_state_is_in_it(path: Path) -> None:
    """The sample is as rich as it says."""
    assert {state for state, *_ in in_version_1(path).values()} == {state.value for state in State} - LATER


def test_every_job_keeps_what_it_was(path: Path) -> None:
    """And says what it cost; a live one has a fingerprint of today, one that has ended is found by its purchases."""
    before = in_version_1(path)
    with closing(Journal(path)) as journal:
        assert journal.schema_version() == schema.VERSION
        jobs = {job.name: job for job in journal.jobs()}
    assert jobs.keys() == before.keys()
    for name, (state, old, charges, doc) in before.items():
        job = jobs[name]
        assert (job.state.value, job.charges, job.spent) == (state, charges, charges * Decimal("0.5"))
        assert (job.options, job.again, job.place) == (doc["options"], doc["again"], doc["place"])
        assert job.kind == "texture"  # there was no other
        live = job.state not in ENDED and old and name != "same-too"
        assert job.fingerprint == (fingerprint(TEXTURE, job.files, job.options) if live else old)


def test_every_purchase_keeps_its_outcome_and_says_what_it_cost(path: Path) -> None:
    """And is found by what was bought, as a purchase of today is."""
    with closing(sqlite3.connect(path)) as db:
        before = db.execute("SELECT id, job_id, top, at, outcome, told FROM purchases ORDER BY id").fetchall()
    with closing(Journal(path)) as journal:
        after = query(path, "SELECT id, job_id, top, at, outcome, told, cost, fingerprint FROM purchases ORDER BY id")
        jobs = {job.id: job for job in journal.jobs()}
    assert [row[:6] for row in after] == [tuple(row) for row in before]
    assert {row[6] for row in after} == {"0.5"}
    assert all(row[7] == fingerprint(TEXTURE, jobs[row[1]].files, jobs[row[1]].options) for row in after)


def test_a_purchase_of_what_was_exchanged_since_keeps_its_fingerprint(path: Path) -> None:
    """A file was exchanged before a retry: what was bought before it is found as version 1 would find it."""
    job, old = "ed8791119677", "0" * 64
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE purchases SET fingerprint = ? WHERE id = 9", (old,))
        db.commit()
    with closing(Journal(path)) as journal:
        rows = query(path, "SELECT fingerprint FROM purchases WHERE job_id = ? ORDER BY id", job)
        found = journal.find(job)
    assert [row[0] for row in rows] == [old, fingerprint(TEXTURE, found.files, found.options)]


def test_a_job_that_was_to_be_staged_anew_is_found_by_what_it_bought(path: Path) -> None:
    """Taken up again by a person, it has no fingerprint of its own; its document still says what was bought."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER legal_moves_only")
        db.execute(
            "UPDATE jobs SET state = 'claimed', fingerprint = '', "
            "doc = json_set(doc, '$.state', 'claimed', '$.fingerprint', '', '$.retries', 1) WHERE name = 'in-vain'"
        )
        db.commit()
    with closing(Journal(path)) as journal:
        job = journal.find("in-vain")
        assert job.fingerprint == ""
        assert journal.bought([fingerprint(TEXTURE, job.files, job.options)], "") == job


def test_a_result_without_a_purchase_is_found(path: Path) -> None:
    """Whatever became of its row: what was delivered is not bought again."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER purchases_are_kept_1")
        db.execute("DELETE FROM purchases WHERE job_id = (SELECT id FROM jobs WHERE name = 'scaled')")
        db.commit()
    with closing(Journal(path)) as journal:
        job = journal.find("scaled")
        assert journal.same_content([fingerprint(TEXTURE, job.files, job.options)], "") == job


def test_what_came_out_before_is_known_as_a_result(path: Path) -> None:
    """As the vendor made it and as plugins left it; a row that cannot be read hides none of the others."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE jobs SET doc = 'no document' WHERE name = 'in-vain'")
        db.commit()
    with closing(Journal(path)) as journal:
        made = [job for job in journal.jobs([State.ARCHIVED]) if job.results]
        assert made
        for job in made:
            for file in job.results:
                found = journal.made(Provenance(frozenset({file.sha256}), frozenset({TEXTURE.name})), "")
                assert found
                assert file.sha256 in {result.sha256 for result in (*found.results, *found.processed)}


def test_every_charge_that_was_booked_as_free_is_mended(path: Path) -> None:
    """As many rows of a job as it was charged for, the newest free ones; one that is known to be unclear stays so."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER purchases_are_kept_2")
        db.execute("UPDATE purchases SET outcome = 'free' WHERE job_id = 'ed8791119677'")
        copied = "INSERT INTO purchases (job_id, fingerprint, top, at, outcome) SELECT job_id, fingerprint, top, at, ?"
        db.execute(f"{copied} FROM purchases WHERE id = 10", ("unknown",))
        db.commit()
        before = [row[0] for row in db.execute("SELECT id FROM purchases WHERE job_id = 'ed8791119677' ORDER BY id")]
        others = db.execute("SELECT id, outcome FROM purchases WHERE job_id <> 'ed8791119677'").fetchall()
    with closing(Journal(path)):
        paid = query(path, "SELECT id, outcome FROM purchases WHERE job_id = 'ed8791119677' ORDER BY id")
        assert paid == list(zip(before, ("charged", "charged", "unknown"), strict=True))
        rest = query(path, "SELECT id, outcome FROM purchases WHERE job_id <> 'ed8791119677'")
        assert rest == [tuple(row) for row in others]


def test_two_live_jobs_that_mean_the_same_do_not_stop_the_start(path: Path) -> None:
    """The index allows one: the other keeps its old fingerprint until it is sent."""
    with closing(Journal(path)) as journal:
        one, other = (journal.find(name) for name in ("same", "same-too"))
        assert {one.fingerprint[:3] == "v2:", other.fingerprint[:3] == "v2:"} == {True, False}
    with closing(Journal(path)) as again:
        assert len([job for job in again.jobs() if job.state not in ENDED and job.name.startswith("same")]) == 2


def test_a_toml_file_that_paid_again_is_known(path: Path) -> None:
    """Version 1 did not say so with the purchase; the job knows."""
    with closing(Journal(path)) as journal:
        job = journal.find("once-more")
        assert journal.bought([fingerprint(TEXTURE, job.files, job.options)], "", of_set(again=True)) == job
        assert journal.bought([fingerprint(TEXTURE, job.files, job.options)], "", of_set("second try")) is None
        assert journal.find("staged-again").consent == of_set(again=True)
        assert journal.find("staged").consent == ""


def test_the_service_s_history_has_subjects(path: Path) -> None:
    """From the sentences of version 1, once and for all."""
    with closing(Journal(path)) as journal:
        told = [(event.kind, event.subject) for event in journal.service_events(limit=4)]
        assert {event.code for event in journal.events(journal.find("held").id)} == {""}
    assert told == [("resumed", "backup"), ("paused", "backup"), ("offline", "outbox"), ("paused", "submit")]


def test_readers_wait_for_the_first_start(path: Path) -> None:
    """A reader does not guess what an old journal means."""
    with pytest.raises(OldJournalError, match="not set up for this version"):
        JournalReader(path)


def test_an_upgrade_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction: a disk that is full in the midst of it leaves the journal of version 1."""
    before = in_version_1(path)

    def full(_db: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setitem(schema._GO_ON, 2, full)
    with pytest.raises(Exception, match="disk is full"):
        Journal(path)
    monkeypatch.undo()
    assert in_version_1(path) == before
    with closing(Journal(path)) as journal:
        assert journal.find("staged").fingerprint.startswith("v2:")


def test_a_document_that_is_strange_stays_as_it_is(path: Path) -> None:
    """One that cannot be read, of a live job and of one that has ended, does not stop the start; reading it tells."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE jobs SET doc = '{\"again\":true}' WHERE name = 'refused'")
        db.execute("UPDATE jobs SET doc = '[]' WHERE name = 'staged'")
        db.commit()
    with closing(Journal(path)) as journal:
        assert journal.find("plain").charges == 1
        with pytest.raises(JournalError, match="damaged"):
            journal.find("staged")


def grown(path: Path, count: int) -> None:
    """Add so many jobs and purchases as version 1 stored them."""
    with closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        row = dict(zip(columns, db.execute("SELECT * FROM jobs WHERE name = 'scaled'").fetchone(), strict=True))

        def one(number: int) -> dict[str, object]:
            job = json.loads(row["doc"])
            job |= {"id": f"n{number}", "fingerprint": f"{number:064x}"}
            job["files"][0]["sha256"] = f"{number:064x}"
            changed = {"id": job["id"], "fingerprint": job["fingerprint"], "task_uuid": f"t{number}"}
            return {**row, **changed, "doc": json.dumps(job, separators=(",", ":"))}

        marks = ", ".join(f":{name}" for name in columns)
        db.executemany(f"INSERT INTO jobs VALUES ({marks})", map(one, range(count)))  # noqa: S608 - the columns of our own table
        db.execute(
            "INSERT INTO purchases (job_id, fingerprint, top, at, outcome) "
            "SELECT id, fingerprint, '', 0, 'charged' FROM jobs WHERE id LIKE 'n%'"
        )
        db.commit()


def test_a_large_journal_is_brought_up_to_date_in_a_time_that_grows_with_it(path: Path, tmp_path: Path) -> None:
    """Ten times the jobs take about ten times the work: what looks at each job for each job would take a hundred times."""
    seconds = []
    for count in (500 * EFFORT, 5_000 * EFFORT):
        copy = tmp_path / f"{count}.sqlite3"
        shutil.copyfile(path, copy)
        grown(copy, count)
        began = time.process_time()
        with closing(Journal(copy)) as journal:
            seconds.append(time.process_time() - began)
            job = journal.find("n77")
            assert journal.bought([fingerprint(TEXTURE, job.files, job.options)], "") == job
    assert seconds[1] < 40 * seconds[0]


def test_the_purchases_of_version_3_were_textures(path: Path) -> None:
    """A journal of schema 3, with jobs in every state: its purchases say what they bought, and its open ones go on."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        for step in schema.migrations(1)[:2]:
            db.executescript(step.script)
            step.go_on(db)
        db.executemany("INSERT OR IGNORE INTO moves (before, after) VALUES (?, ?)", schema.legal_moves())
        db.execute("PRAGMA user_version = 3")
        before = [tuple(row) for row in db.execute("SELECT id, job_id, outcome, cost FROM purchases ORDER BY id")]
    with closing(Journal(path)) as journal:
        after = query(path, "SELECT id, job_id, outcome, cost, kind, listed FROM purchases ORDER BY id")
        assert after == [(*row, "texture", "0.5") for row in before]
        assert {job.kind for job in journal.jobs()} == {"texture"}
        assert {job.listed for job in journal.jobs()} == {Decimal("0.5")}
        assert journal.spent_since(0)


@pytest.mark.parametrize("version", [3, 4])
def test_a_journal_of_these_versions_stays_as_it_was(tmp_path: Path, version: int) -> None:
    """With jobs in every state; nobody works on any of them by a lease, so the one service goes on with all."""
    found = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(found, isolation_level=None)) as db:
        db.executescript((OLD.parent.parent / "journal-3" / "journal.sql").read_text())
        for step in schema.migrations(3)[: version - 3]:
            db.executescript(step.script)
        db.execute(f"PRAGMA user_version = {version}")
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        tables.remove("moves")  # which the program states anew
        columns = {name: ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({name})")) for name in tables}
        asked = {name: f"SELECT {names} FROM {name} ORDER BY 1, 2" for name, names in columns.items()}  # noqa: S608 - our tables
        asked["meta"] = (
            "SELECT key, value FROM meta WHERE key <> 'written' ORDER BY 1"  # the program has stated its moves
        )
        before = {name: db.execute(query).fetchall() for name, query in asked.items()}
    with closing(Journal(found)) as journal:
        assert journal.schema_version() == schema.VERSION
        jobs = journal.jobs()
        assert {job.state for job in jobs} == set(State) - LATER
    with closing(sqlite3.connect(found)) as db:
        assert {name: db.execute(query).fetchall() for name, query in asked.items()} == before


@pytest.mark.parametrize("version", [3, 4, 5, 6, 7])
def test_a_set_of_an_older_journal_can_go_back_into_the_inbox(tmp_path: Path, version: int) -> None:
    """From `claimed`, and from an upload, whose purchase was free then. Another state is refused as before."""
    found = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(found, isolation_level=None)) as db:
        db.executescript((OLD.parent.parent / "journal-3" / "journal.sql").read_text())
        for step in schema.migrations(3)[: version - 3]:
            db.executescript(step.script)
        db.execute(f"PRAGMA user_version = {version}")
    changed = ChangedWhileTakenError("“chair.obj” changed while it was sent.").problem
    with closing(Journal(found)) as journal:
        for state in (State.CLAIMED, State.UPLOADING):
            [job] = [job for job in journal.jobs([state]) if job.answer is None][:1]
            dropped = replace(job, files=tuple(replace(f, source=f"inbox/{f.name}") for f in job.files), task=None)
            returning = after(replace(dropped, charges=0), Rejected(changed), 5.0, 0.5)
            assert returning.job.state is State.RETURNING
            moved = replace(returning, job=replace(returning.job, charges=job.charges))
            journal.commit([moved, after(moved.job, Done(moved.job), 6.0, 0.5)], 6.0)
            assert [one.state for one in journal.jobs([State.RETURNED]) if one.id == job.id] == [State.RETURNED]
        assert query(found, "SELECT outcome FROM purchases WHERE job_id = ?", job.id)[-1:] == [("free",)]
    with closing(sqlite3.connect(found)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE jobs SET state = 'nowhere'")


def test_a_submit_that_began_with_version_6_costs_what_its_refusal_says(tmp_path: Path) -> None:
    """Its purchase reserved the list price: the answer comes to the newer program."""
    found = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(found, isolation_level=None)) as db:
        db.executescript((OLD.parent.parent / "journal-3" / "journal.sql").read_text())
        for step in schema.migrations(3)[:3]:
            db.executescript(step.script)
        db.execute("PRAGMA user_version = 6")
    with closing(Journal(found)) as journal:
        [job] = journal.jobs([State.SUBMITTING])
        journal.commit([answered(job, Answer(429, b'{"consumed": 5}'))], 1.0)
        cost = query(found, "SELECT cost FROM purchases WHERE job_id = ? AND outcome = 'open'", job.id)
        assert cost == [("5",)]


def test_what_is_known_of_a_vendor_is_kept_by_version_6(tmp_path: Path) -> None:
    """Version 5 kept it for each account; a doubt about any of them holds, and what any has shown to be free is remembered."""
    path = written_by(5, tmp_path)
    moves = {"moves": True, "freed": [[3, 20]], "late_seconds": 6.0, "fell": "0.5"}
    still = {"moves": False, "freed": [[4, 30]], "late_seconds": 0.0, "fell": "0"}
    with closing(sqlite3.connect(path)) as db, db:
        for account, trust in (("one", moves), ("other", still)):
            db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (trust_key(account), json.dumps(trust)))
    with closing(Journal(path)) as journal:
        one, other, third = (Trust.of_meta(journal.meta, account) for account in ("one", "other", "third"))
    assert one == Trust(moves=True, freed=(Freed(3, 20), Freed(4, 30)), late_seconds=6.0, fell=Decimal("0.5"))
    assert other == third == replace(one, moves=False)


def test_a_version_5_without_any_verdict_has_none_in_version_6(tmp_path: Path) -> None:
    """No account's balance was ever read."""
    with closing(Journal(written_by(5, tmp_path))) as journal:
        assert journal.meta(VERDICTS) is None


def test_what_version_8_had_to_count_is_kept_by_version_9(tmp_path: Path) -> None:
    """Jobs in every state: how many there are, what was charged and when, what was bought, and what files they are found by."""
    found = written_by(8, tmp_path, (OLD.parent.parent / "journal-3" / "journal.sql").read_text())
    with closing(sqlite3.connect(found)) as db:
        db.execute("UPDATE purchases SET confirmed = 1 WHERE outcome = 'charged'")
        states = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
        charged = db.execute("SELECT at, cost FROM purchases WHERE outcome = 'charged' ORDER BY at").fetchall()
        db.commit()
    with closing(Journal(found)) as journal:
        assert {state.value: count for state, count in journal.counts().items()} == states
        for since in (0.0, charged[len(charged) // 2][0], charged[-1][0] + 1):
            assert journal.charged_since(since) == sum(Decimal(cost) for at, cost in charged if at >= since)
        assert journal.dearest() == Decimal("0.5")
        assert not journal.purchases_since(0, 0).unconfirmed
        for job in journal.jobs():
            assert all(job in journal.with_file(file.name) for file in job.files)
            given = {file.sha256 for file in job.files}
            for result in (*job.results, *job.processed):
                origin = Provenance(frozenset({result.sha256}), frozenset({job.kind}), given=False)
                assert (journal.made(origin, "") is None) == (result.sha256 in given)


def test_the_jobs_of_version_9_are_listed_by_version_10(tmp_path: Path) -> None:
    """Page by page, in the order in which they were taken."""
    found = written_by(9, tmp_path, (OLD.parent.parent / "journal-3" / "journal.sql").read_text())
    with closing(Journal(found)) as journal:
        jobs = sorted(journal.jobs(), key=lambda job: (job.created_at, job.id), reverse=True)
        assert journal.listed(Listing(limit=1000)) == jobs
        failed = [job for job in jobs if job.state is State.FAILED]
        assert journal.listed(Listing(frozenset({State.FAILED}), limit=1000)) == failed


def test_what_version_10_bought_is_summed_up_by_version_11(tmp_path: Path) -> None:
    """By folder and hour, and by blocks of purchases; its jobs are listed by their cost, also one that cannot be read."""
    found = written_by(10, tmp_path, (OLD.parent.parent / "journal-3" / "journal.sql").read_text())
    with closing(sqlite3.connect(found)) as db:
        spent = db.execute("SELECT id, top FROM purchases WHERE outcome <> 'free' ORDER BY id").fetchall()
        charged = db.execute("SELECT at, top, cost FROM purchases WHERE outcome = 'charged' ORDER BY at").fetchall()
    assert len(spent) > len(charged) > 3
    with closing(Journal(found)) as journal:
        for since, _, _ in charged:
            sums = journal.charged_by_folder(since)
            assert sum(sums.values()) == sum(Decimal(cost) for at, _, cost in charged if at >= since)
            assert sums.keys() == {top for at, top, _ in charged if at >= since}
        for after in (0, spent[2][0]):
            assert journal.spent_since(after) == {
                top: sum(Decimal("0.5") for number, one in spent if one == top and number > after)
                for top in {top for number, top in spent if number > after}
            }
        costs = [job.spent for job in journal.listed(Listing(order=ListOrder.COST, limit=1000))]
        assert sorted((job.spent for job in journal.jobs()), reverse=True) == costs


def test_the_old_jobs_of_version_11_are_moved_by_version_12(tmp_path: Path) -> None:
    """They are whole at first, and found with all that they were afterwards."""
    found = written_by(11, tmp_path, (OLD.parent.parent / "journal-3" / "journal.sql").read_text())
    with closing(Journal(found)) as journal, closing(ArchiveFile(found)) as archive:
        before = {job.id: (job.files, journal.events(job.id)) for job in journal.jobs((State.ARCHIVED,))}
        old = [one for one in journal.old_jobs(1e12, 5.0, 1000) if one.known.job.state is State.ARCHIVED]
        archive.put(old)
        assert journal.condense([one.known for one in old]) == len(before) > 0
        assert {job.files for job in journal.jobs((State.ARCHIVED,))} == {()}
        for job_id, (files, events) in before.items():
            job = journal.job(job_id)
            assert job
            assert (job.files, job.condensed_at, journal.events(job_id)) == (files, 5.0, events)


def written_by(version: int, folder: Path, content: str = "") -> Path:
    """Write a journal as a program of this version had it: an empty one, or one that began with the content of version 3."""
    path = folder / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(content)
        for step in schema.migrations(3 if content else 0)[: version - (3 if content else 0)]:
            db.executescript(step.script)
            step.go_on(db)
        db.execute(f"PRAGMA user_version = {version}")
    return path


# ---- A large journal: what takes minutes is told before -------------------------------------------------------------


def enlarge(path: Path) -> None:
    """Give a journal more than what is brought up to date in a moment."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO meta VALUES ('filler', ?)", ("x" * (AT_ONCE_BYTES + 1),))


def test_each_step_of_a_large_journal_is_told_before_it_is_made(path: Path) -> None:
    """In words, with a time in which even a slow disk is done; of a small journal, and of one of today, nothing is said."""
    told: list[tuple[str, float, int]] = []

    def tell(words: str, seconds: float) -> None:
        with closing(sqlite3.connect(path)) as db:
            told.append((words, seconds, db.execute("PRAGMA user_version").fetchone()[0]))

    enlarge(path)
    with closing(Journal(path, tell=tell)) as journal:
        assert journal.schema_version() == schema.VERSION
    assert [version for *_, version in told] == list(range(1, schema.VERSION))
    assert f"a journal of 17 MB up to date, step 1 of {schema.VERSION - 1}" in told[0][0]
    assert all(seconds > 60 for _, seconds, _ in told)
    told.clear()
    with closing(Journal(path, tell=tell)), closing(Journal(path.with_name("new.sqlite3"), tell=tell)):
        assert not told


def test_a_disk_that_is_too_small_is_refused_before_anything_is_changed(path: Path, tmp_path: Path) -> None:
    """With what is needed, and what is there."""
    with mounted(tmp_path / "small", size="32m") as small:
        journal = small / "journal.sqlite3"
        enlarge(path)
        shutil.copy(path, journal)
        with pytest.raises(RoomError, match=r"22 MB must be free on its disk; \d+ MB are free") as told:
            Journal(journal)
        assert "Make free space" in told.value.problem.advice
        assert query(journal, "PRAGMA user_version") == [(1,)]


def test_who_looks_while_it_is_brought_up_to_date_reads_that(tmp_path: Path, path: Path) -> None:
    """And not that nobody has started the service yet."""
    (tmp_path / "config.toml").write_text(f'[folders]\nstate = "{tmp_path}"\n')
    config = load_config(tmp_path / "config.toml")
    with pytest.raises(OldJournalError), reader(config):
        pass
    with (
        Lock(path.with_name("lock")),
        pytest.raises(JournalError, match="bringing its journal up to date"),
        reader(config),
    ):
        pass
