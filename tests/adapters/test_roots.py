"""Several daemons on one store: who owns a root, who stands by, and what a daemon may do that was silent. A real PostgreSQL."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, database
from test_postgres import NOW, S, a_job, asked, cutting, end_connections, led

from rodin_watchd.adapters.ownership import Holder
from rodin_watchd.adapters.store.factory import SharedStore, copy_store, open_database
from rodin_watchd.adapters.store.postgres import PostgresReader, PostgresStore, add_root, insert_command
from rodin_watchd.adapters.store.postgres_connection import LOCKS
from rodin_watchd.core.store import MOVED_FROM, ROOT_ID
from rodin_watchd.errors import CommandRefusedError, FencedError, JournalError, StandbyError, UnknownRootError
from rodin_watchd.model import Job, ServiceEvent, Transition
from rodin_watchd.service.journal_guard import (
    BUSY_SECONDS,
    RENEW_SECONDS,
    ROOT_LEASE_SECONDS,
    STARTING_SECONDS,
    RootLease,
)
from rodin_watchd.settings import Address, SeenRoot, StorePlace


class GaveUpError(Exception):
    """A standby has waited as long as a test lets it."""


@dataclass
class Machine:
    """A machine with a clock of its own, and a daemon on it."""

    name: str
    seconds: float = 0.0
    heard: list[str] = field(default_factory=list)
    waits: Callable[[], None] = lambda: None  # what happens in the world while it waits
    place: str = ""  # of the root, by default one of its own
    why_not: str = ""  # the root cannot be served here

    def lease(self, store: SharedStore, process: int = 1, patience_seconds: float = 100.0) -> RootLease:
        """Return a lease that a process of this machine waits for."""
        until = self.seconds + patience_seconds

        def wait(seconds: float) -> None:
            self.seconds += seconds
            self.waits()
            if self.seconds > until:
                raise GaveUpError

        me = Holder(self.name, process, f"boot of {self.name}", "pid:[1]", "1", str(process))
        place = self.place or f"{self.name}:/root"
        return RootLease(
            store,
            me,
            f"{self.name}:/state",
            place,
            lambda: self.seconds,
            wait,
            self.heard.append,
            lambda _root: self.why_not,
        )


@contextmanager
def opened(address: Address, root: str = "r1") -> Iterator[PostgresStore]:
    """Open the store for a root."""
    with closing(PostgresStore(address, lambda _known: root)) as store:
        yield store


@pytest.fixture
def owner(address: Address) -> Iterator[tuple[PostgresStore, Machine, RootLease]]:
    """Give a daemon that owns a root that it has adopted."""
    machine = Machine("a")
    with opened(address) as store:
        lease = machine.lease(store)
        with lease:
            lease.use()
            store.set_meta(ROOT_ID, "r1")
            yield store, machine, lease


Owner = tuple[PostgresStore, Machine, RootLease]


def test_a_standby_waits_as_long_as_the_owner_lives(address: Address, owner: Owner) -> None:
    """Each sign of life begins the wait again; what people read names the owner."""
    _, _, held = owner
    machine = Machine("b", waits=held.confirm)
    with opened(address) as store, pytest.raises(GaveUpError):
        machine.lease(store).__enter__()
    assert set(machine.heard) == {"Process 1 on a serves the root."}


def test_a_root_of_a_silent_owner_is_taken_over(address: Address, owner: Owner) -> None:
    """After the time of the lease by the clock of the one that waits. The former owner can store nothing any more."""
    old, _, held = owner
    job = led(old, a_job(), S.CLAIMED)
    machine = Machine("b")
    with opened(address) as store, machine.lease(store) as lease:
        assert ROOT_LEASE_SECONDS <= machine.seconds <= ROOT_LEASE_SECONDS + 1
        for does in (
            lambda: led(old, job, S.STAGED),
            lambda: old.set_meta("x", 1),
            lambda: old.commit((), NOW),
            lambda: old.note_service_event(ServiceEvent(NOW, "started", "x", "")),
            held.confirm,
        ):
            with pytest.raises(FencedError, match="Process 1 on b"):
                does()
        assert [one.state for one in store.jobs()] == [S.CLAIMED]
        led(store, job, S.STAGED)
        lease.confirm()
        with pytest.raises(FencedError):
            led(old, job, S.STAGED)
        assert old.meta("x") is None


def test_an_owner_is_sure_for_less_time_than_a_standby_waits(address: Address, owner: Owner) -> None:
    """It counts from before it asked for more; so it has sent its last byte when the other one begins."""
    _, machine, held = owner
    machine.seconds += ROOT_LEASE_SECONDS - 0.1
    assert held.is_sure()
    machine.seconds += 0.1
    assert not held.is_sure()
    held.keep()
    assert held.is_sure()
    del address


def test_the_owner_says_seldom_that_it_lives(cluster: Cluster, address: Address, owner: Owner) -> None:
    """And in no transaction that counts as news for others."""
    store, machine, held = owner
    before = asked(cluster, address, "SELECT renewed FROM roots"), store.changed_outside()
    held.keep()
    assert (asked(cluster, address, "SELECT renewed FROM roots"), store.changed_outside()) == before
    machine.seconds += RENEW_SECONDS
    held.keep()
    assert asked(cluster, address, "SELECT renewed FROM roots") != before[0]
    assert store.changed_outside() == before[1]


def test_a_root_that_was_freed_is_taken_at_once(address: Address, owner: Owner) -> None:
    """The owner has stopped in order."""
    old, _, held = owner
    machine = Machine("b", waits=held.free)
    with opened(address) as store, machine.lease(store):
        assert machine.seconds == 1
        with pytest.raises(FencedError):
            led(old, a_job(), S.CLAIMED)


def test_a_root_that_is_away_is_left_to_others(cluster: Cluster, address: Address, owner: Owner) -> None:
    """Whoever could not serve it does not take it, however long its owner is silent, or where it has none; nothing is written."""
    machine = Machine("b", why_not="/root is away.")
    for free in (False, True):
        if free:
            owner[2].free()
        before = asked(cluster, address, "SELECT daemon, process, fence, renewed, until::text FROM roots")
        with opened(address) as store, pytest.raises(GaveUpError):
            machine.lease(store).__enter__()
        assert asked(cluster, address, "SELECT daemon, process, fence, renewed, until::text FROM roots") == before
    assert set(machine.heard) == {
        "Process 1 on a serves the root. This one cannot: /root is away.",
        "Nobody serves the root. This one cannot: /root is away.",
    }
    machine.why_not, began = "", machine.seconds
    with opened(address) as store, machine.lease(store):
        assert machine.seconds == began


def test_a_new_connection_begins_the_wait_again(cluster: Cluster, address: Address, owner: Owner) -> None:
    """It may lead to another server, which knows less than the one before."""
    machine = Machine("b")

    def cut() -> None:
        if machine.seconds == ROOT_LEASE_SECONDS - 5:
            end_connections(cluster)

    machine.waits = cut
    with opened(address) as store, machine.lease(store):
        assert machine.seconds >= 2 * ROOT_LEASE_SECONDS - 5
    del owner


@pytest.mark.parametrize("starts", [True, False])
def test_a_busy_owner_keeps_its_root_for_a_while(address: Address, owner: Owner, *, starts: bool) -> None:
    """Its plugins are being loaded, or its share is slow. It may send nothing by that; one that stands still loses the root."""
    _, busy, held = owner
    if not starts:
        held.confirm()
    began, longest = busy.seconds, STARTING_SECONDS if starts else BUSY_SECONDS

    def work() -> None:
        busy.seconds += 1
        held.keep_beside()

    machine = Machine("b", waits=work)
    with opened(address) as store, machine.lease(store, patience_seconds=1000):
        assert longest <= busy.seconds - began <= longest + ROOT_LEASE_SECONDS
        assert not held.is_sure()
        with pytest.raises(FencedError):
            held.keep()
        busy.seconds = began + 2 * RENEW_SECONDS
        with pytest.raises(FencedError):
            held.keep_beside()


def test_one_of_eight_gets_a_root(address: Address, owner: Owner) -> None:
    """They find the owner silent at the same moment."""
    gate = threading.Barrier(8)
    got: list[str] = []
    beaten: list[str] = []

    def take(name: str) -> None:
        with opened(address) as store:
            seen = store.served()
            machine = Machine(name)
            gate.wait()
            try:
                store.take_root(machine.lease(store).serving, f"{name}:/root", ROOT_LEASE_SECONDS, seen, ended=False)
                got.append(name)
            except StandbyError:
                beaten.append(name)

    threads = [threading.Thread(target=take, args=(f"m{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(beaten)) == (1, 7)
    with pytest.raises(FencedError):
        owner[2].confirm()


# ---- what a silent owner was sending --------------------------------------------------------------------------------


def submitting(store: PostgresStore) -> Job:
    """Lead a job to where its last bytes may leave at any moment."""
    return led(store, a_job(), S.CLAIMED, S.STAGED, S.UPLOADING, S.SUBMITTING)


def test_what_a_silent_owner_was_sending_may_still_leave(address: Address, owner: Owner) -> None:
    """Until a newer process of that daemon begins, whose lock shows that the former one has ended."""
    job = submitting(owner[0])
    machine = Machine("b")
    with opened(address) as store, machine.lease(store):
        assert store.may_be_sent().keys() == {job.id}
        held = replace(job, state=S.HELD)
        store.commit([Transition(held, "held")], NOW)
        assert store.may_be_sent().keys() == {job.id}
        with opened(address, "r1") as again, pytest.raises(GaveUpError):
            Machine("c").lease(again, patience_seconds=5).__enter__()
        store.changed_outside()
        assert store.may_be_sent().keys() == {job.id}
        with opened(address, "r1") as again, pytest.raises(GaveUpError):
            Machine("a").lease(again, process=2, patience_seconds=5).__enter__()
        store.changed_outside()
        assert not store.may_be_sent()


def test_the_first_silent_process_is_the_one_that_was_sending(address: Address, owner: Owner) -> None:
    """One that takes the root over and ends before it has moved the job has sent nothing of it."""
    job = submitting(owner[0])
    with opened(address) as store:
        second = Machine("b").lease(store)
        second.__enter__()
        second.use()
    with opened(address) as store, Machine("c").lease(store):
        with opened(address, "r1") as again, pytest.raises(GaveUpError):
            Machine("b").lease(again, process=2, patience_seconds=5).__enter__()
        store.changed_outside()
        assert store.may_be_sent().keys() == {job.id}
        assert '"host": "a"' in store.may_be_sent()[job.id]


def test_the_next_submit_of_a_job_is_another_one(address: Address, owner: Owner) -> None:
    """What a silent process was sending once says nothing about what was sent after that was decided."""
    job = submitting(owner[0])
    with opened(address) as store, Machine("b").lease(store):
        led(store, job, S.HELD, S.STAGED, S.UPLOADING, S.SUBMITTING)
        assert not store.may_be_sent()


def test_a_number_that_another_process_has_as_well_is_not_enough(
    cluster: Cluster, address: Address, owner: Owner
) -> None:
    """A failover that loses a takeover lets the next one have its number."""
    store, _, lease = owner
    asked(cluster, address, "UPDATE rodin_watchd.roots SET process = '{}' RETURNING fence")
    with pytest.raises(FencedError):
        store.commit([Transition(a_job(), "claimed")], NOW)
    with pytest.raises(FencedError):
        lease.confirm()
    lease.free()
    assert asked(cluster, address, "SELECT daemon <> '' FROM rodin_watchd.roots") == [(True,)]


def test_of_an_owner_that_has_ended_nothing_leaves(address: Address, owner: Owner) -> None:
    """It has let the root go, or its process on this very machine is gone."""
    submitting(owner[0])
    with opened(address) as store, Machine("a").lease(store, process=2):
        assert not store.may_be_sent()


# ---- several roots --------------------------------------------------------------------------------------------------


def test_each_root_sees_what_is_its_own(address: Address, owner: Owner) -> None:
    """Jobs, commands, events, values; purchases, and what is paused, are of all."""
    one = owner[0]
    add_root(address, "b:/other", "r2")
    with opened(address, "r2") as two, Machine("b").lease(two):
        led(one, a_job("a1"), S.CLAIMED, S.STAGED, S.UPLOADING)
        led(two, a_job("b1"), S.CLAIMED)
        for store, job in ((one, "a1"), (two, "b1")):
            assert [found.id for found in store.jobs()] == [job]
            assert sum(store.counts().values()) == 1
            store.set_meta("page", {"of": job})
        insert_command(address, "retry", {"job": "b1"}, NOW, choose=lambda _known: "r2")
        one.note_service_event(ServiceEvent(NOW, "started", "x", ""))
        one.set_meta("pause", {"at": 1})
        two.changed_outside()
        assert (one.meta("page"), two.meta("page"), two.meta("pause")) == ({"of": "a1"}, {"of": "b1"}, {"at": 1})
        assert ([c.verb for c in one.open_commands()], [c.verb for c in two.open_commands()]) == ([], ["retry"])
        assert (len(one.service_events()), two.service_events()) == (1, [])
        assert one.spent_since(0) == two.spent_since(0) != {}
        with pytest.raises(CommandRefusedError, match=r"Job b1 is of another root of this store: b:/root\."):
            one.find("b1")
        assert two.same_content(["a1"], "b1") is not None


def test_a_store_with_several_roots_is_not_copied(address: Address, owner: Owner, tmp_path: Path) -> None:
    """A journal has one: what the others have bought would be missing in it."""
    owner[0].close()
    add_root(address, "b:/other", "r2")
    here, there = (StorePlace(tmp_path / name / "journal.sqlite3", one) for name, one in (("a", address), ("b", None)))
    with pytest.raises(CommandRefusedError, match="Only a store with one root can be copied"):
        copy_store(here, there, NOW, "stamp")


MANY_JOBS = """
    INSERT INTO all_jobs (root, id, state, name, folder, top, fingerprint, kind, charges, created_at, changed_at, place, doc, facts)
    SELECT 'r2', '{state}' || n, '{state}', 'n', '', '', '{state}' || n, 'texture', 0, 0, 2e9, '', doc, '{{}}'
    FROM generate_series(1, {count}) AS n, (SELECT doc FROM all_jobs WHERE id = 'a1') AS one
"""


def test_what_waits_in_other_roots_is_not_read(cluster: Cluster, address: Address, owner: Owner) -> None:
    """A tick asks for what is at the vendor, held or promised there; of thousands of sets that wait it reads none."""
    led(owner[0], a_job(), S.CLAIMED)
    add_root(address, "b:/other", "r2")
    for state, count in (("staged", 3000), ("held", 2), ("uploading", 2)):
        asked(
            cluster,
            address,
            MANY_JOBS.format(state=state, count=count),
        )
    asked(cluster, address, "ANALYZE")

    def read() -> int:
        gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'rodin%' AND query LIKE '%root <> own_root()%'"
        while asked(cluster, address, gone) != [(0,)]:
            pass
        [(rows,)] = asked(
            cluster, address, "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'all_jobs'"
        )
        assert isinstance(rows, int)
        return rows

    before = read()
    with closing(PostgresReader(address, lambda _known: "r1")) as reader:
        assert len(reader.elsewhere()) == 4
    assert read() - before < 30


def test_one_live_job_for_each_content_in_all_roots(address: Address, owner: Owner) -> None:
    """The schema keeps it."""
    led(owner[0], a_job("a1", content="same"), S.CLAIMED)
    add_root(address, "b:/other", "r2")
    with (
        opened(address, "r2") as two,
        Machine("b").lease(two),
        pytest.raises(JournalError, match="one_live_job"),
    ):
        led(two, a_job("b1", content="same"), S.CLAIMED)


def test_who_looks_sees_the_root_of_the_folder(address: Address, owner: Owner) -> None:
    """And is told of all, where none is meant."""
    led(owner[0], a_job(), S.CLAIMED)
    with closing(PostgresReader(address)) as reader:
        assert [job.id for job in reader.jobs()] == ["a1"]
        served = reader.served()
        assert served is not None
        assert (served.daemon, served.left_seconds > 0) == ("a:/state", True)
    add_root(address, "b:/other", "")
    with pytest.raises(JournalError, match=r"several roots: .*a:/root"):
        PostgresReader(address)
    with pytest.raises(CommandRefusedError):
        add_root(address, "c:/root", "r1")


def test_a_root_that_was_never_adopted_is_forgotten(address: Address) -> None:
    """Its daemon was refused: another folder may be the first."""
    with opened(address) as store:
        with Machine("a").lease(store):
            pass
        assert store.served() is None
    with closing(PostgresStore(address, lambda known: str(len(known.roots)))) as store:
        assert store.root_id == "0"


def test_a_takeover_finds_what_the_owner_has_written(address: Address, owner: Owner) -> None:
    """What a standby read when it began is old by then."""
    machine = Machine("b", waits=lambda: owner[0].set_meta(MOVED_FROM, {"at": machine.seconds}))
    with opened(address) as store, machine.lease(store):
        led(store, a_job(), S.CLAIMED)
        assert store.meta(MOVED_FROM)


def test_all_daemons_go_by_one_clock(address: Address) -> None:
    """The server's: a machine that is minutes behind waits for nothing that another one has written."""
    with closing(PostgresStore(address, now=lambda: time.time() - 120)) as store:
        assert 115 < store.ahead_seconds < 125
        with Machine("a").lease(store) as lease:
            lease.confirm()
            assert 115 < store.ahead_seconds < 125


# ---- at the same moment, and by a server that knows less ------------------------------------------------------------


def test_who_has_the_same_number_is_fenced_all_the_same(cluster: Cluster, address: Address, owner: Owner) -> None:
    """A failover to a server that had not heard of a takeover gives its number once more."""
    old, _, held = owner
    asked(cluster, address, 'UPDATE roots SET daemon = \'b:/state\', process = \'{"host": "b", "pid": 7}\' RETURNING 1')
    for does in (held.confirm, lambda: led(old, a_job(), S.CLAIMED)):
        with pytest.raises(FencedError, match="Process 7 on b"):
            does()
    held.free()
    assert asked(cluster, address, "SELECT daemon FROM roots") == [("b:/state",)]


def test_the_first_of_several_silent_owners_may_still_send(address: Address, owner: Owner) -> None:
    """The one that took over fell silent as well; that it has ended says nothing of the one that was sending."""
    job = submitting(owner[0])
    with opened(address) as second:
        Machine("b").lease(second).__enter__().use()  # and ends without a word
    with opened(address) as store, Machine("c").lease(store):
        with opened(address) as again, pytest.raises(GaveUpError):
            Machine("b").lease(again, process=2, patience_seconds=5).__enter__()
        store.changed_outside()
        assert store.may_be_sent().keys() == {job.id}


def test_a_root_that_somebody_added_is_kept(address: Address, owner: Owner) -> None:
    """Also where the first start on it fails, before the folder is adopted."""
    add_root(address, "b:/root", "")
    with closing(PostgresStore(address, lambda known: known.places["b:/root"])) as store, Machine("b").lease(store):
        pass
    with closing(PostgresReader(address, lambda known: known.places["b:/root"])) as reader:
        assert reader.served() is not None
    del owner


def place_on(folder: Path, address: Address) -> StorePlace:
    """Return the place of a store for a daemon on a folder, which has no mark."""
    return StorePlace(folder / "state" / "journal.sqlite3", address, SeenRoot(folder, lambda _folder: ""))


def test_two_first_daemons_of_a_folder_make_one_root(tmp_path: Path, cluster: Cluster) -> None:
    """Both find a store without roots; the second stands by for the first."""
    with database(cluster, empty=True) as name:
        place = place_on(tmp_path, Address(cluster.url(name)))
        with closing(open_database(place)) as one, closing(open_database(place)) as two:
            assert place.root is not None
            first, second = (Machine(name, place=place.root.place) for name in ("a", "b"))
            with first.lease(one) as held:
                held.use()
                one.set_meta(ROOT_ID, one.root_id)
                second.waits = held.confirm
                with pytest.raises(GaveUpError):
                    second.lease(two, patience_seconds=5).__enter__()
                second.waits = held.free
                with second.lease(two):
                    assert two.root_id == one.root_id
                    assert two.meta(ROOT_ID) == one.root_id


def test_two_first_daemons_of_two_folders_make_one_root(tmp_path: Path, cluster: Cluster) -> None:
    """The folder of the second is none of the store's, until somebody adds it."""
    with database(cluster, empty=True) as name:
        places = [place_on(tmp_path / which, Address(cluster.url(name))) for which in ("a", "b")]
        with (
            closing(open_database(places[0])) as one,
            closing(open_database(places[1])) as two,
            Machine("a").lease(one) as held,
        ):
            held.use()
            with pytest.raises(UnknownRootError):
                Machine("b").lease(two).__enter__()


def test_a_standby_waits_for_a_store_that_is_locked(address: Address, owner: Owner) -> None:
    """Whoever keeps it locked for long: the standby tries again, as it does where the server is away."""
    with psycopg.connect(address.url, autocommit=True) as stranger:
        stranger.execute("SELECT pg_advisory_lock(%s, 1)", (LOCKS,))
        machine = Machine("b")

        def wait() -> None:
            owner[2].free()
            if machine.seconds > 3:
                stranger.execute("SELECT pg_advisory_unlock_all()")

        machine.waits = wait
        with closing(PostgresStore(address, lambda _known: "r1", 0.05)) as store, machine.lease(store):
            assert machine.seconds > 3


def test_a_commit_that_was_cut_off_is_not_taken_for_a_takeover(cluster: Cluster, address: Address) -> None:
    """Both count one writing of the root."""
    with tempfile.TemporaryDirectory(prefix="cut-") as folder, cutting(cluster, Path(folder)) as cutter:
        through = Address(address.url.replace(str(cluster.folder), folder))
        with opened(through) as old, opened(address) as store, Machine("a").lease(old) as held:
            held.use()
            old.set_meta(ROOT_ID, "r1")
            job = led(old, a_job(), S.CLAIMED)
            cutter.reaches = False
            cutter.meanwhile = lambda: Machine("b").lease(store).__enter__().use()
            cutter.cut_next.set()
            with pytest.raises(FencedError, match="Process 1 on b"):
                led(old, job, S.STAGED)
            assert [one.state for one in store.jobs()] == [S.CLAIMED]
