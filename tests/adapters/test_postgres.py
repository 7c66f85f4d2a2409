"""The store in a real PostgreSQL: what its schema refuses, what survives a server that goes, and who may use it."""

from __future__ import annotations

import random
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, database, running
from sql import query

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.postgres import PostgresArchive, PostgresReader, PostgresStore, insert_command
from rodin_watchd.adapters.store.postgres_connection import Database
from rodin_watchd.adapters.store.postgres_schema import facts, migrations
from rodin_watchd.adapters.store.schema import legal_moves
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.kinds import Article
from rodin_watchd.core.machine import TABLE
from rodin_watchd.core.store import ROOT_ID, Store
from rodin_watchd.errors import (
    AlreadyRunningError,
    JournalBusyError,
    JournalError,
    JournalRolledBackError,
    OldJournalError,
    StoreAwayError,
)
from rodin_watchd.model import (
    Answer,
    Batch,
    HookRun,
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
from rodin_watchd.settings import Address

NOW = 1_700_000_000.0
HALF = Decimal("0.5")
S = State
WITH_TASK = (S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED)


def a_job(identity: str = "a1", *, content: str = "", folder: str = "") -> Job:
    """Return a job that was just taken."""
    files = (InputFile(Role.MODEL, f"inbox/{identity} \udcff.glb", Signature(1, 2, 3), sha256=f"in-{identity}"),)
    return Job(identity, identity, folder, S.CLAIMED, files, {}, NOW, fingerprint=content or identity)


def led(store: Store, job: Job, *states: State, at: float = NOW) -> Job:
    """Commit a job along these states, with a task where one belongs."""
    for state in states:
        task = Task(f"task-{job.id}", "") if state in WITH_TASK else None
        charges = job.charges + (state is S.SUBMITTED)
        job = replace(job, state=state, task=task, charges=charges)
        store.commit([Transition(job, state.value)], at)
    return job


def asked(cluster: Cluster, address: Address, text: str) -> list[tuple[object, ...]]:
    """Ask the store's tables, or change them, as another program does."""
    name = address.url.partition("@/")[2].partition("?")[0]
    return cluster.ask(text, name, options="-c search_path=rodin_watchd")


@pytest.fixture
def store(address: Address) -> Iterator[PostgresStore]:
    """Open an empty store for writing."""
    with closing(PostgresStore(address)) as opened:
        yield opened


# ---- what the schema refuses ----------------------------------------------------------------------------------------


SECOND_JOB = """
    INSERT INTO jobs (id, state, name, folder, top, fingerprint, kind, task_uuid, charges, created_at, changed_at, place, doc, facts)
    SELECT 'b2', 'staged', name, folder, top, {content}, kind, {task}, 0, 0, 0, '', doc, facts FROM jobs
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE jobs SET state = 'lost'", "not a legal move"),
        ("UPDATE jobs SET state = 'archived'", "not a legal move"),
        ("UPDATE jobs SET charges = 0", "stays paid"),
        ("UPDATE jobs SET task_uuid = NULL", "has_a_task"),
        ("UPDATE jobs SET fingerprint = ''", "has_a_content"),
        ("UPDATE jobs SET condensed_at = 1.0", "kept whole"),
        ("UPDATE jobs SET id = 'b2'", "foreign key"),
        ("DELETE FROM jobs", "jobs are never deleted"),
        ("TRUNCATE all_jobs CASCADE", "never deleted|append-only"),
        ("INSERT INTO events (job_id, at, action, state, message) VALUES ('nobody', 0, '', '', '')", "foreign key"),
        ("UPDATE events SET message = 'other'", "append-only"),
        ("DELETE FROM events", "append-only"),
        ("TRUNCATE events", "append-only"),
        ("UPDATE service_events SET message = 'other'", "append-only"),
        ("DELETE FROM service_events", "append-only"),
        ("DELETE FROM purchases", "never deleted"),
        ("UPDATE purchases SET outcome = 'free'", "stays paid"),
        ("UPDATE purchases SET outcome = 'maybe'", "stays paid|check"),
        (
            "INSERT INTO purchases (job_id, fingerprint, top, at, outcome, cost) VALUES ('nobody', '', '', 0, 'open', '1')",
            "foreign key",
        ),
        ("UPDATE store SET only_one = false", "check"),
        (SECOND_JOB.format(content="fingerprint", task="NULL"), "one_live_job_for_each_content"),
        (SECOND_JOB.format(content="'b'", task="'t'"), "never_paid_twice"),
    ],
)
def test_the_database_defends_itself(
    cluster: Cluster, address: Address, store: PostgresStore, change: str, reason: str
) -> None:
    """Whoever writes to it, by whatever program."""
    job = led(store, a_job(), S.CLAIMED, S.STAGED, S.UPLOADING, S.SUBMITTING, S.SUBMITTED)
    store.note_service_event(ServiceEvent(NOW, "paused", "x", "api"))
    with pytest.raises(Exception, match=f"(?i){reason}"):
        asked(cluster, address, change)
    assert store.jobs() == [job]
    assert (len(store.events("a1")), store.charged_since(0.0)) == (5, HALF)


TABLES = (
    "purchases",
    "charged",
    "charged_by_top",
    "spent_by_block",
    "ended",
    "articles",
    "confirmed_costs",
    "tasks",
    "results",
    "events",
    "moves",
)
COLUMNS = {
    "purchases": "id, job_id, fingerprint, consent, top, at, outcome, cost, told, dropped, sent, confirmed, kind, listed",
    "events": "id, job_id, at, action, state, message, code",
    "ended": "state, jobs",
}


@pytest.mark.parametrize("seed", range(6))
def test_the_books_are_kept_as_the_journal_keeps_them(
    cluster: Cluster, address: Address, store: PostgresStore, tmp_path: Path, seed: int
) -> None:
    """On any ways of jobs: what triggers write is the same in both."""
    path = tmp_path / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        for transition, at in some_ways(random.Random(seed)):  # noqa: S311 - the same ways each time
            for one in (journal, store):
                one.commit([transition], at)
        for one in (journal, store):
            one.commit((), NOW, {"day": 1})
        assert store.newest_purchase()
        for table in TABLES:
            text = f"SELECT {COLUMNS.get(table, '*')} FROM {table}"  # noqa: S608 - names from above
            assert sorted(asked(cluster, address, text)) == sorted(query(path, text)), table
        assert (journal.spent_since(0), journal.counts()) == (store.spent_since(0), store.counts())
        assert journal.purchases_since(0, 0) == store.purchases_since(0, 0)
        assert journal.in_a_row() == store.in_a_row()
        assert journal.dearest() == store.dearest()
        assert journal.price(Article("texture", HALF)) == store.price(Article("texture", HALF))
        assert [journal.failed_tries(job.id) for job in journal.jobs()] == [
            store.failed_tries(job.id) for job in store.jobs()
        ]


def some_ways(chance: random.Random) -> Iterator[tuple[Transition, float]]:
    """Yield moves of some jobs, with answers, charges, results and prices by chance."""
    after = {state: sorted({new for (old, _), new in TABLE.items() if old is state} | {state}) for state in State}
    for number in range(8):
        job = replace(
            a_job(f"j{number}", folder=chance.choice(("", "oak", "oak/old"))), dropped=chance.choice(("", "d"))
        )
        for step in range(14):
            at = NOW + number * 2000 + step
            yield Transition(job, job.state.value, code=chance.choice(("", "task-failed"))), at
            onward = [state for state in after[job.state] if state not in (S.FAILING, S.RETURNING)]
            state = chance.choice(onward if onward and chance.random() < 0.9 else after[job.state])
            charged = state is S.SUBMITTED and job.state in (S.UPLOADING, S.SUBMITTING, S.HELD)
            task = Task(f"task-{number}", "", credits=chance.choice((None, HALF, Decimal("0.4"))))
            answers = state in (S.UPLOADING, S.SUBMITTING, S.HELD) and chance.random() < 0.4
            results = tuple(ResultFile(f"{name}.glb", f"{name}.glb", 1, name) for name in ("one", f"in-j{number}"))
            job = replace(
                job,
                state=state,
                task=(job.task or task) if state in WITH_TASK else None,
                charges=job.charges + charged,
                answer=Answer(201, b"{}") if answers else None,
                price=chance.choice((HALF, Decimal("1.5"))),
                consent=chance.choice(("", "again")),
                results=results if state is S.DOWNLOADED else (),
                processed=results[:1] if state is S.PROCESSED else (),
            )


# ---- text -----------------------------------------------------------------------------------------------------------


def test_text_that_the_server_cannot_hold_is_escaped(store: PostgresStore, address: Address) -> None:
    """NUL characters and lone surrogates; the job itself is what it was."""
    job = replace(a_job("a1"), name="a\0b \udcff", progress="\0")
    store.commit([Transition(job, "claimed", "no\0 \udcff")], NOW)
    insert_command(address, "retry", {"job": "a\0\udcff"}, NOW)
    with closing(PostgresReader(address)) as reader:
        assert (reader.job("a1"), reader.job("a\0")) == (job, None)
        assert reader.events("a1")[0].message == "no\\x00 \\udcff"
        assert reader.with_file("a1 \udcff.glb") == [job]
    assert store.open_commands()[0].arguments == {"job": "a\0\udcff"}


# ---- several writers ------------------------------------------------------------------------------------------------


def test_eight_services_spend_the_last_half_credit_once(address: Address) -> None:
    """Whoever comes first: the others see what it has spent."""
    names = [f"n{number}" for number in range(8)]
    with closing(PostgresStore(address)) as first:
        jobs = [led(first, a_job(name), S.CLAIMED, S.STAGED) for name in names]
    gate = threading.Barrier(len(names))
    begun: list[Transition] = []

    def spend(job: Job) -> None:
        with closing(PostgresStore(address, lambda _known: job.id)) as store:
            gate.wait()
            intent = Transition(replace(job, state=S.UPLOADING), "uploading")
            with store.together(decides=True):
                if sum(store.spent_in_day(0).values()) < HALF:
                    store.commit([intent], NOW)
                    begun.append(intent)

    threads = [threading.Thread(target=spend, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(PostgresReader(address)) as reader:
        assert len(begun) == len(reader.jobs([S.UPLOADING])) == 1
        assert sum(reader.spent_since(0).values()) == HALF


def test_who_needs_the_store_alone_waits_until_nobody_has_it(address: Address, store: PostgresStore) -> None:
    """And keeps all others off, as long as it has it."""
    led(store, a_job(), S.CLAIMED)
    with pytest.raises(AlreadyRunningError, match="rodin_watchd"):
        PostgresStore(address, alone=True)
    store.close()
    with closing(PostgresStore(address, alone=True)), pytest.raises(AlreadyRunningError, match="rodin_watchd"):
        PostgresStore(address)
    with closing(PostgresStore(address)) as second:
        led(second, a_job(), S.STAGED)


# ---- a server that goes ---------------------------------------------------------------------------------------------


def test_a_lost_connection_is_opened_again(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """Outside of a transaction nobody notices, though the server may not have noticed the loss itself."""
    led(store, a_job(), S.CLAIMED)
    with closing(PostgresReader(address)) as reader:
        before = store.changed_outside()
        end_connections(cluster)
        assert [job.id for job in reader.jobs()] == ["a1"]
        led(store, a_job(), S.STAGED)
        end_connections(cluster)
        assert [job.state for job in store.jobs()] == [S.STAGED]
        assert store.changed_outside() != before


def end_connections(cluster: Cluster) -> None:
    """End what is connected, as an administrator does."""
    cluster.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rodin_watchd%'")


def test_a_connection_lost_in_a_transaction_leaves_nothing(cluster: Cluster, store: PostgresStore) -> None:
    """It may be repeated; what is read or written in the rest of it never reaches another connection."""
    job = led(store, a_job(), S.CLAIMED)

    def cut(then: Callable[[], object]) -> None:
        with store.together():
            led(store, job, S.STAGED)
            end_connections(cluster)
            then()

    for then in (lambda: None, lambda: store.set_meta("a", 1), store.jobs):
        with pytest.raises(StoreAwayError):
            cut(then)
    assert (store.jobs(), store.meta("a")) == ([job], None)
    led(store, job, S.STAGED)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Give a folder with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="cut-") as name:
        yield Path(name)


class Cutter:
    """Passes on what a client and the server tell each other, and cuts that at a commit."""

    def __init__(self, folder: Path, server: Path) -> None:
        self._server = server
        self.reaches = True  # the server gets the commit that is cut off
        self.cut_next = threading.Event()
        self.meanwhile: Callable[[], None] = lambda: None  # happens before the client finds out
        self._cuts = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take nobody any more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            threading.Thread(target=self._pass, args=(client, server, self._is_commit), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, lambda _data: False), daemon=True).start()

    def _is_commit(self, data: bytes) -> bool:
        return self.cut_next.is_set() and b"COMMIT\0" in data

    def _pass(self, source: socket.socket, target: socket.socket, is_cut: Callable[[bytes], bool]) -> None:
        with source, target:
            while True:
                try:
                    data = source.recv(65536)
                    if data and is_cut(data):
                        self.cut_next.clear()
                        with self._cuts:
                            if not self.reaches:
                                target.shutdown(socket.SHUT_RDWR)
                            self.meanwhile()
                            source.shutdown(socket.SHUT_RDWR)  # the client is cut off first
                        if self.reaches:
                            target.sendall(data)
                        return
                    if not data:
                        with self._cuts:
                            return
                    target.sendall(data)
                except OSError:
                    return


@contextmanager
def cutting(cluster: Cluster, folder: Path) -> Iterator[Cutter]:
    """Give something that stands between a client and the server."""
    with closing(Cutter(folder, cluster.folder / ".s.PGSQL.5432")) as cutter:
        yield cutter


@pytest.mark.parametrize("reaches", [True, False])
def test_a_commit_that_is_cut_off_is_asked_for(
    cluster: Cluster, address: Address, short_folder: Path, reaches: bool
) -> None:
    """One that the server has got is stored; one that it has not got is not, may be repeated, and nothing is paid twice."""
    with cutting(cluster, short_folder) as cutter:
        through = Address(address.url.replace(str(cluster.folder), str(short_folder)))
        with closing(PostgresStore(through)) as store:
            job = led(store, a_job(), S.CLAIMED, S.STAGED)
            cutter.reaches = reaches
            cutter.cut_next.set()
            if reaches:
                led(store, job, S.UPLOADING)
            else:
                with pytest.raises(StoreAwayError):
                    led(store, job, S.UPLOADING)
                led(store, job, S.UPLOADING)
            assert not cutter.cut_next.is_set()
            assert (store.newest_purchase(), [event.action for event in store.events("a1")]) == (
                store.open_of(["a1"])[-1],
                ["claimed", "staged", "uploading"],
            )
            assert len(store.spent_since(0)) == 1


def test_a_server_that_is_restarted_is_waited_for() -> None:
    """Nothing is stored meanwhile, nothing is known to be lost, and the same objects go on."""
    with running() as cluster, database(cluster, empty=True) as name:
        address = Address(cluster.url(name))
        with closing(PostgresStore(address)) as store, closing(PostgresReader(address)) as reader:
            job = led(store, a_job(), S.CLAIMED)
            cluster.stop("immediate")
            for ask in (lambda: led(store, job, S.STAGED), store.jobs, reader.jobs, lambda: PostgresReader(address)):
                with pytest.raises(StoreAwayError, match=name):
                    ask()
            cluster.start()
            until_it_answers(lambda: led(store, job, S.STAGED))
            assert [event.action for event in store.events("a1")] == ["claimed", "staged"]
            until_it_answers(reader.jobs)


def until_it_answers(ask: Callable[[], object]) -> None:
    """Ask until the server is not away."""
    for _ in range(1_000_000):
        try:
            ask()
        except StoreAwayError:
            continue
        return
    pytest.fail("it stays away")


def test_a_database_that_was_put_back_ends_the_service(
    cluster: Cluster, address: Address, store: PostgresStore
) -> None:
    """What it knows is not what is durable."""
    job = led(store, a_job(), S.CLAIMED)
    asked(cluster, address, "UPDATE writings SET written = 0")
    with pytest.raises(JournalRolledBackError):
        led(store, job, S.STAGED)


def test_a_lock_is_not_waited_for_for_ever(address: Address) -> None:
    """Nothing is stored while another program has the tables locked; then the service goes on."""
    with closing(PostgresStore(address, busy_seconds=0.1)) as store:
        job = led(store, a_job(), S.CLAIMED)
        other = Database(address, lambda _found: None, read_only=False, lock_seconds=1.0)
        with closing(other):
            other.run("BEGIN")
            other.run("LOCK TABLE rodin_watchd.jobs")
            for _ in range(2):
                with pytest.raises(JournalBusyError):
                    led(store, job, S.STAGED)
        led(store, job, S.STAGED)


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_commits_are_durable_whatever_the_database_says(cluster: Cluster, address: Address) -> None:
    """A setting of the database that gives up durability is not used; a stricter one stays."""
    name = address.url.partition("@/")[2].partition("?")[0]
    for given, used in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        cluster.ask(f"ALTER DATABASE {name} SET synchronous_commit = {given}")
        with closing(Database(address, lambda _found: None, read_only=False, lock_seconds=1.0)) as link:
            assert tuple(link.asked("SHOW synchronous_commit")[0]) == (used,)


def test_a_newer_store_may_be_used_by_this_program(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """Daemons are upgraded one after the other: a newer one has added what this one does not ask for, and moves that it does not know."""
    asked(cluster, address, "ALTER TABLE all_jobs ADD COLUMN later TEXT")
    asked(cluster, address, "INSERT INTO moves VALUES ('staged', 'later')")
    asked(cluster, address, "UPDATE store SET version = 99")
    end_connections(cluster)
    led(store, a_job(), S.CLAIMED, S.STAGED)
    with closing(PostgresStore(address)), closing(PostgresReader(address)) as reader:
        assert [job.state for job in reader.jobs()] == [S.STAGED]
    assert asked(cluster, address, "SELECT * FROM moves WHERE after = 'later'")


def test_a_newer_store_is_refused(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """By who reads, writes or leaves a command; with what to do."""
    store.close()
    asked(cluster, address, "UPDATE store SET version = 99, oldest = 99")
    for opens in (PostgresReader, PostgresStore, lambda there: insert_command(there, "pause", {}, NOW)):
        with pytest.raises(JournalError, match="newer rodin_watchd") as refused:
            opens(address)
        assert "Install the newer version" in refused.value.advice_in_full


def test_an_empty_database_has_no_store(cluster: Cluster) -> None:
    """Who reads is told to start the service once; that makes it."""
    with database(cluster, empty=True) as name:
        address = Address(cluster.url(name))
        with pytest.raises(OldJournalError, match="not set up"):
            PostgresReader(address)
        PostgresStore(address).close()
        PostgresReader(address).close()


def test_a_user_without_rights_is_told_what_to_grant(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """In an empty database, and in one with the store of somebody else."""
    led(store, a_job(), S.CLAIMED)
    weak = f"weak_{address.url.partition('@/test_')[2].partition('?')[0]}"
    cluster.ask(f"CREATE ROLE {weak} LOGIN")
    theirs = Address(address.url.replace("rodin@", f"{weak}@"))
    for opens in (PostgresReader, PostgresStore):
        with pytest.raises(JournalError, match="permission denied") as refused:
            opens(theirs)
        assert weak in refused.value.advice_in_full


def test_a_user_who_may_look_or_leave_commands(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """With the rights that the documents name; and no more."""
    job = led(store, a_job(), S.CLAIMED)
    looker = f"looker_{address.database}"
    cluster.ask(f"CREATE ROLE {looker} LOGIN")
    asked(cluster, address, f"GRANT USAGE ON SCHEMA rodin_watchd TO {looker}")
    asked(cluster, address, f"GRANT SELECT ON ALL TABLES IN SCHEMA rodin_watchd TO {looker}")
    theirs = Address(address.url.replace("rodin@", f"{looker}@"))
    with closing(PostgresReader(theirs)) as reader:
        assert reader.jobs() == [job]
        with pytest.raises(JournalError, match="permission denied"):
            insert_command(theirs, "pause", {}, NOW)
        asked(cluster, address, f"GRANT INSERT ON commands TO {looker}")
        before = reader.version()
        number = insert_command(theirs, "pause", {}, NOW)
        assert reader.version() != before
    assert [command.id for command in store.open_commands()] == [number]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql:///nowhere?host=/nowhere", "cannot be reached"),
        ("postgresql://rodin@/{other}?host={folder}", "does not exist"),
        ("postgresql://somebody@/{name}?host={folder}", "does not exist"),
        ("postgresql://rodin@/x?nonsense=1", "no address"),
    ],
)
def test_a_wrong_address_is_told(cluster: Cluster, address: Address, url: str, reason: str) -> None:
    """With the server's reason, and never with the password."""
    name = address.url.partition("@/")[2].partition("?")[0]
    secret = name[::-1]
    there = Address(url.format(name=name, other="other", folder=cluster.folder), password=secret)
    with pytest.raises((StoreAwayError, JournalError), match=reason) as refused:
        PostgresReader(there)
    assert secret not in f"{refused.value} {there!r}"


@pytest.mark.parametrize("ahead_seconds", [3600, -3600])
def test_a_clock_that_is_far_from_the_servers_is_refused(address: Address, ahead_seconds: float) -> None:
    """When a service begins, with what sets both."""
    with pytest.raises(JournalError, match="60 minutes apart") as refused:
        PostgresStore(address, now=lambda: time.time() + ahead_seconds)
    assert "timedatectl" in refused.value.advice_in_full


def test_a_database_of_another_encoding_is_refused(cluster: Cluster) -> None:
    """It could not hold every name."""
    cluster.ask("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(JournalError, match="SQL_ASCII"):
        PostgresReader(Address(cluster.url("ascii")))


# ---- old jobs -------------------------------------------------------------------------------------------------------


def test_the_details_of_old_jobs_are_moved_and_found(address: Address, store: PostgresStore) -> None:
    """What money is decided by stays; who asks gets the rest from the archive."""
    way = (S.CLAIMED, S.STAGED, S.UPLOADING, S.SUBMITTING, *WITH_TASK, S.ARCHIVED)
    job = led(store, replace(a_job(), batch=Batch("a1", "seed-1", 1, "a1")), *way)
    store.note_run(HookRun(0, "e1", "a1", "rodin_delivered", "p", "done", {}), "said", NOW)
    events, runs = store.events("a1"), store.runs_of(["a1"])
    with closing(PostgresReader(address)) as reader, closing(PostgresArchive(address)) as archive:
        assert reader.old_jobs(NOW, NOW, 10) == []
        found = reader.old_jobs(NOW + 1, NOW + 1, 10)
        assert [one.known.job.id for one in found] == ["a1"]
        for _ in range(2):
            archive.put(found)
        assert store.condense([one.known for one in found]) == 1
        assert store.condense([one.known for one in found]) == 0
        for known in (store, reader):
            assert replace(known.find("a1"), condensed_at=0.0) == job
            assert (known.events("a1"), known.runs_of(["a1"])) == (events, runs)
            assert known.jobs()[0].files == ()
            assert known.siblings(job)[0].id == "a1"
        assert reader.old_jobs(NOW + 1, NOW + 1, 10) == []
    assert store.charged_since(0.0) == HALF


def test_a_row_that_makes_no_sense_is_told(cluster: Cluster, address: Address, store: PostgresStore) -> None:
    """As in the journal."""
    led(store, a_job(), S.CLAIMED)
    asked(cluster, address, "UPDATE jobs SET doc = 'no JSON'")
    with pytest.raises(JournalError, match="damaged"):
        store.jobs()


# ---- a store of an earlier version ----------------------------------------------------------------------------------


OLD_JOB = """
    INSERT INTO jobs (id, state, name, folder, top, fingerprint, kind, charges, created_at, changed_at, place, doc, facts)
    VALUES (%(id)s, %(state)s, %(name)s, %(folder)s, %(top)s, %(fingerprint)s, %(kind)s, 0, 0, 0, '', %(doc)s, %(facts)s)
"""


def test_a_store_of_the_first_version_gets_a_root(cluster: Cluster) -> None:
    """It had one, which all that it knows is of from then on; what roots share is shared. Its jobs go on."""
    with database(cluster, empty=True) as name:
        with psycopg.connect(cluster.url(name), options="-c search_path=rodin_watchd") as old:
            old.execute("CREATE SCHEMA rodin_watchd")
            [(_, first), *_] = migrations(0)
            old.execute(first)
            old.execute("UPDATE store SET version = 1")
            for move in legal_moves():
                old.execute("INSERT INTO moves VALUES (%s, %s)", move)
            job = a_job()
            old.execute(OLD_JOB, {**rows.row(job, NOW), "facts": facts(job)})
            ended = replace(a_job("b1"), state=S.RETURNED)
            old.execute(OLD_JOB, {**rows.row(ended, NOW), "facts": facts(ended)})
            old.execute("INSERT INTO commands (at, verb, arguments) VALUES (0, 'pause', '{}')")
            old.execute("INSERT INTO gate (name, verdict) VALUES ('[]', 'held')")
            old.execute("INSERT INTO service_events (at, kind, message) VALUES (0, 'started', 'x')")
            for key, value in ((ROOT_ID, '"r1"'), ("pause", '{"at": 1}'), ("page", '{"of": "r1"}')):
                old.execute("INSERT INTO meta VALUES (%s, %s)", (key, value))
        with closing(PostgresStore(Address(cluster.url(name)))) as store:
            assert store.root_id == "r1"
            assert {one.id: one.state for one in store.jobs()} == {"a1": S.CLAIMED, "b1": S.RETURNED}
            assert store.counts() == {S.CLAIMED: 1, S.RETURNED: 1}
            assert [command.verb for command in store.open_commands()] == ["pause"]
            assert (store.newest_held(), len(store.service_events())) == (1, 1)
            assert (store.meta(ROOT_ID), store.meta("pause"), store.meta("page")) == ("r1", {"at": 1}, {"of": "r1"})
            led(store, job, S.STAGED, S.UPLOADING)
            store.set_meta("page", {"of": "now"})
            store.set_meta("pause", None)
            assert (store.meta("page"), store.meta("pause")) == ({"of": "now"}, None)
            assert store.newest_purchase() == 1
        with closing(PostgresStore(Address(cluster.url(name)), lambda _known: "r2")) as other:
            assert (other.jobs(), other.counts(), other.open_commands(), other.meta(ROOT_ID)) == ([], {}, [], None)
