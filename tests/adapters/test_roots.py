"""Several daemons on one store: who owns a root, who stands by, and what a daemon may do that was silent. A real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import pytest
from clusters import Cluster
from test_postgres import NOW, S, a_job, asked, end_connections, led

from rodin_watchd.adapters.ownership import Holder
from rodin_watchd.adapters.store.postgres import PostgresReader, PostgresStore, add_root, insert_command
from rodin_watchd.core.store import MOVED_FROM, ROOT_ID
from rodin_watchd.errors import CommandRefusedError, FencedError, JournalError, StandbyError
from rodin_watchd.model import Job, ServiceEvent, Transition
from rodin_watchd.service.journal_guard import RENEW_SECONDS, ROOT_LEASE_SECONDS, RootLease
from rodin_watchd.settings import Address


class GaveUpError(Exception):
    """A standby has waited as long as a test lets it."""


@dataclass
class Machine:
    """A machine with a clock of its own, and a daemon on it."""

    name: str
    seconds: float = 0.0
    heard: list[str] = field(default_factory=list)
    waits: Callable[[], None] = lambda: None  # what happens in the world while it waits

    def lease(self, store: PostgresStore, process: int = 1, patience_seconds: float = 100.0) -> RootLease:
        """Return a lease that a process of this machine waits for."""
        until = self.seconds + patience_seconds

        def wait(seconds: float) -> None:
            self.seconds += seconds
            self.waits()
            if self.seconds > until:
                raise GaveUpError

        me = Holder(self.name, process, f"boot of {self.name}", "pid:[1]", "1", str(process))
        return RootLease(
            store, me, f"{self.name}:/state", f"{self.name}:/root", lambda: self.seconds, wait, self.heard.append
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
        assert store.may_be_sent() == {job.id}
        held = replace(job, state=S.HELD)
        store.commit([Transition(held, "held")], NOW)
        assert store.may_be_sent() == {job.id}
        with opened(address, "r1") as again, pytest.raises(GaveUpError):
            Machine("c").lease(again, patience_seconds=5).__enter__()
        store.changed_outside()
        assert store.may_be_sent() == {job.id}
        with opened(address, "r1") as again, pytest.raises(GaveUpError):
            Machine("a").lease(again, process=2, patience_seconds=5).__enter__()
        store.changed_outside()
        assert store.may_be_sent() == frozenset()


def test_of_an_owner_that_has_ended_nothing_leaves(address: Address, owner: Owner) -> None:
    """It has let the root go, or its process on this very machine is gone."""
    submitting(owner[0])
    with opened(address) as store, Machine("a").lease(store, process=2):
        assert store.may_be_sent() == frozenset()


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
        assert two.same_content(["a1"], "b1") is not None


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
