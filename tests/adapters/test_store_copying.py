"""A store is copied as a whole, from the journal into a real PostgreSQL and back: nothing is lost, and nothing is added."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, database
from sql import query
from test_postgres import a_job, led, some_ways

from rodin_watchd.adapters.store.archive import ArchiveFile, archive_path
from rodin_watchd.adapters.store.copying import (
    TABLES,
    JournalTables,
    copy_all,
    reading_database,
    reading_journal,
    sums_of,
)
from rodin_watchd.adapters.store.factory import copy_old_jobs, copy_store
from rodin_watchd.adapters.store.postgres import PostgresReader, PostgresStore
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.store import MOVED_FROM, MOVED_TO, Beside, CommandReply, Store
from rodin_watchd.errors import CommandRefusedError, JournalError
from rodin_watchd.model import HookRun, OwedCall, ServiceEvent, State, Transition
from rodin_watchd.settings import Address, StorePlace

NOW = 1_700_000_000.0
S = State
DONE = (
    S.CLAIMED,
    S.STAGED,
    S.UPLOADING,
    S.SUBMITTING,
    S.SUBMITTED,
    S.GENERATED,
    S.DOWNLOADED,
    S.PROCESSED,
    S.DELIVERED,
)


def fill(path: Path, seed: int) -> None:
    """Put something of everything into a journal; what is odd, too."""
    with closing(Journal(path)) as journal:
        for transition, at in some_ways(random.Random(seed)):  # noqa: S311 - the same ways each time
            journal.commit([transition], at)
        led(journal, a_job("old"), *DONE, S.ARCHIVED, at=NOW - 9)
        journal.note_run(HookRun(0, "e1", "old", "rodin_delivered", "p", "done", {}), "\udcff", NOW - 8)
        journal.commit((), NOW, beside=Beside(confirmed=(0, 99)))
        odd = replace(a_job("odd"), name="a\0\udcff\U0001f600", progress="\ud800")
        journal.commit([Transition(odd, "claimed", "NUL \0 and \udcff")], NOW)
        held = GateKey("\udcff", "")
        journal.commit((), NOW, beside=Beside(gate=Changes(new={held: Pass.HELD, GateKey("b", "v"): Pass.HELD})))
        journal.commit((), NOW, beside=Beside(gate=Changes(gone=(GateKey("b", "v"),))))
        journal.owe("waiting-1", "", [OwedCall("rodin_waiting", "p", {"n": "\udcff"})], NOW)
        journal.note_service_event(ServiceEvent(NOW, "paused", "x\0", "api"))
        journal.set_meta("root_id", "r")
        journal.set_meta("pi", [3.14159, "\udcff", None])
        number = insert_command(path, "retry", {"job": "odd", "subscription_key": "k"}, NOW)
        journal.commit((), NOW, beside=Beside(CommandReply(number, "done")))
        insert_command(path, "pause", {}, NOW)
        assert journal.condense(copy_old_jobs(StorePlace(path), NOW - 1, NOW, 5)) == 1


def content(path: Path) -> dict[str, list[str]]:
    """Return every row of a journal's file and of its archive file."""
    found = {}
    for file in (path, archive_path(path)):
        with closing(sqlite3.connect(file)) as db:
            db.text_factory = bytes
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                table = name.decode()
                rows = db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a name of a table
                moved = (MOVED_FROM.encode(), MOVED_TO.encode())
                found[f"{file.name} {table}"] = sorted(repr(row) for row in rows if row[0] not in moved)
    return found


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[Address]:
    """Give a database with nothing in it."""
    with database(cluster, empty=True) as name:
        yield Address(cluster.url(name))


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_there_and_back_is_equal(tmp_path: Path, empty: Address, seed: int) -> None:
    """Every row of every table, those of the archive as well; but for NUL characters, which no database must hold."""
    here, there, back = (
        tmp_path / "a" / "journal.sqlite3",
        StorePlace(tmp_path, empty),
        tmp_path / "b" / "journal.sqlite3",
    )
    here.parent.mkdir()
    fill(here, seed)
    with reading_journal(here) as source:
        known, before = sums_of(source), content(here)
    assert copy_store(StorePlace(here), there, NOW, "T1") == 10
    assert copy_store(there, StorePlace(back), NOW, "T2") == 10
    with reading_database(empty) as tables, reading_journal(back) as target:
        assert known == sums_of(tables) == sums_of(target)
    assert {table for table, found in known.items() if not found.rows} <= {"results"}
    after = content(back)
    odd = ("NUL \\x00 and", "x\\x00")
    for table, rows in before.items():
        same = [row for row in rows if not any(word in row for word in odd)]
        assert set(same) <= set(after[table]), table
        assert len(rows) == len(after[table]), table
    with closing(Journal(back)) as journal, closing(Journal(here)) as first, closing(PostgresReader(empty)) as reader:
        assert journal.jobs() == first.jobs() == reader.jobs()
        assert journal.job("old") == first.job("old") == reader.job("old")
        assert journal.events("old") == first.events("old") == reader.events("old")
        assert len(TABLES) == len({table.partition(" ")[2] for table in before} - {"sqlite_sequence"}) + 3


def test_a_copy_goes_on_as_the_source_would(tmp_path: Path, empty: Address, cluster: Cluster) -> None:
    """With the same numbers, the same sums and the same invariants."""
    here, there = tmp_path / "journal.sqlite3", StorePlace(tmp_path, empty)
    fill(here, 1)
    copy_store(StorePlace(here), there, NOW, "T1")
    query(here, "DELETE FROM meta WHERE key = ?", MOVED_TO)

    def go_on(store: Store) -> tuple[object, ...]:
        job = led(store, a_job("new"), *DONE[:5])
        store.commit((), NOW, beside=Beside(gate=Changes(new={GateKey("c", ""): Pass.HELD})))
        with pytest.raises(JournalError):
            led(store, replace(job, state=S.STAGED, task=None), S.STAGED)
        return (
            store.newest_held(),
            store.newest_event(),
            store.newest_purchase(),
            store.spent_since(0),
            store.charged_by_kind(),
            store.counts(),
            store.open_commands(),
            store.gate(),
        )

    with closing(Journal(here)) as journal, closing(PostgresStore(empty)) as store:
        assert go_on(journal) == go_on(store)
    with pytest.raises(Exception, match="append-only"):
        cluster.ask("DELETE FROM rodin_watchd.events", empty.database)


def test_a_copy_may_be_repeated_until_it_is_used(tmp_path: Path, empty: Address, cluster: Cluster) -> None:
    """What was there is put aside; a store of its own is never replaced, and one that was moved pays nothing."""
    here, there = StorePlace(tmp_path / "journal.sqlite3"), StorePlace(tmp_path, empty)
    fill(here.path, 2)
    for stamp in ("T1", "T2"):
        copy_store(here, there, NOW, stamp)
    with closing(Journal(here.path)) as journal:
        assert journal.meta(MOVED_TO)["name"] == there.name
    schemas = cluster.ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rodin%' ORDER BY 1", empty.database)
    assert schemas == [("rodin_watchd",), ("rodin_watchd_moved_aside_t2",)]
    with pytest.raises(CommandRefusedError, match="was copied to"):
        copy_store(here, StorePlace(tmp_path / "elsewhere" / "journal.sqlite3"), NOW, "T3")
    with closing(PostgresStore(empty)) as store:
        store.set_meta(MOVED_FROM, None)  # as a service does that begins with it
    with pytest.raises(CommandRefusedError, match="of its own"):
        copy_store(here, there, NOW, "T4")
    copy_store(there, here, NOW, "T5")
    assert [path.name for path in tmp_path.glob("*T5*")]
    with closing(Journal(here.path)) as journal:
        assert (journal.meta(MOVED_TO), len(journal.jobs())) == (None, 10)


def test_the_owner_of_the_database_needs_no_more_rights(tmp_path: Path, empty: Address, cluster: Cluster) -> None:
    """As the documents say: no superuser, there and back."""
    owner = f"owner_{empty.database}"
    cluster.ask(f"CREATE ROLE {owner} LOGIN")
    cluster.ask(f"ALTER DATABASE {empty.database} OWNER TO {owner}")
    there = StorePlace(tmp_path, Address(empty.url.replace("rodin@", f"{owner}@")))
    fill(tmp_path / "journal.sqlite3", 1)
    assert copy_store(StorePlace(tmp_path / "journal.sqlite3"), there, NOW, "T1") == 10
    assert copy_store(there, StorePlace(tmp_path / "b" / "journal.sqlite3"), NOW, "T2") == 10


class Lossy(JournalTables):
    """The tables of a journal, of which a row is lost on the way."""

    def __init__(self, path: Path, table: str) -> None:
        """Lose the last row of a table."""
        super().__init__(path)
        self._table = table

    def write(self, table: str, found: Iterable[tuple[Any, ...]]) -> None:
        """Write all others."""
        rows = list(found)
        super().write(table, rows[:-1] if table == self._table else rows)


@pytest.mark.parametrize("table", ["purchases", "meta", "archived_events"])
def test_a_copy_that_is_not_equal_is_refused(tmp_path: Path, table: str) -> None:
    """By the number of rows, or by what is in them."""
    here, there = tmp_path / "a" / "journal.sqlite3", tmp_path / "b" / "journal.sqlite3"
    for path in (here, there):
        path.parent.mkdir()
    fill(here, 1)
    Journal(there).close()
    ArchiveFile(there).close()
    refused = pytest.raises(JournalError, match=f"not equal: {table}")
    with reading_journal(here) as source, closing(Lossy(there, table)) as target, target.filling(), refused:
        copy_all(source, target)


def test_a_copy_that_fails_changes_nothing(tmp_path: Path, empty: Address, cluster: Cluster) -> None:
    """The target is as it was, and the source is the store."""
    here = StorePlace(tmp_path / "journal.sqlite3")
    fill(here.path, 1)
    query(here.path, "UPDATE charged SET purchases = 1 << 40")  # more than the target's column holds
    with pytest.raises(JournalError, match="out of range"):
        copy_store(here, StorePlace(tmp_path, empty), NOW, "T1")
    with pytest.raises(JournalError, match="not set up"):
        PostgresReader(empty)
    assert cluster.ask("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rodin%'", empty.database) == [(0,)]
    with closing(Journal(here.path)) as journal:
        assert journal.meta(MOVED_TO) is None
