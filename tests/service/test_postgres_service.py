"""A daemon whose store is in a real PostgreSQL: from the inbox to the outbox, and through a server that goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster, database, running
from workshop import Vendor, Workshop, emulated, workshop

from rodin_watchd.adapters.spool.mounts import read_mark, root_id_in
from rodin_watchd.adapters.store.factory import leave_command
from rodin_watchd.adapters.store.postgres import PostgresReader, PostgresStore
from rodin_watchd.core.balance import trust_key
from rodin_watchd.errors import (
    AlreadyRunningError,
    CommandRefusedError,
    JournalError,
    OwnerError,
    RodinWatchdError,
    UnknownRootError,
)
from rodin_watchd.model import State
from rodin_watchd.settings import Address, store_place


class Shop(Workshop):
    """A workshop with its store in a database."""

    @property
    def address(self) -> Address:
        """Where that is."""
        assert self.config.store.url
        return Address(self.config.store.url)

    @property
    def store(self) -> PostgresStore:  # type: ignore[override]
        """The daemon's own connection."""
        store = self.daemon.parts.store
        assert isinstance(store, PostgresStore)
        return store

    def seen(self, verb: str, arguments: Mapping[str, object]) -> dict[str, object]:
        """Return what a person sees now of what a command is about: of a pause, nothing."""
        assert (verb, arguments) == ("pause", {})
        return {}

    def said(self, *words: str) -> str:
        """Return what a command prints, and why it failed, if it did."""
        done = self.at_terminal(*words)
        error = done.exception
        return f"{done.output} {error} {error.advice_in_full if isinstance(error, RodinWatchdError) else ''}"

    def leave(self, verb: str, **arguments: object) -> int:
        """Leave a command."""
        place = store_place(self.config, os.environ, root_id_in)
        return leave_command(place, verb, arguments, self.hands.seconds, once=False)


@contextmanager
def shop_on(root: Path, base_url: str, url: str, **sections: Mapping[str, Any]) -> Iterator[Shop]:
    """Give a daemon that runs on a database."""
    root.mkdir(exist_ok=True)
    (root / "inbox").mkdir(exist_ok=True)
    shop = Shop(root, base_url, {"store": {"url": url}, **sections})
    shop.start()
    try:
        shop.store.set_meta(trust_key(shop.daemon.parts.dispatcher.progress.account), {"moves": True})
        yield shop
    finally:
        shop.crash()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """Give a vendor of one's own."""
    with emulated() as found:
        yield found


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    """Give the address of a database with nothing in it."""
    with database(cluster, empty=True) as name:
        yield cluster.url(name)


def test_a_set_goes_from_the_inbox_to_the_outbox(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """Nothing of it is in a file of SQLite's; every command reads the same store, and leaves its commands there."""
    with shop_on(tmp_path, vendor.emulator.base_url, empty) as shop:
        shop.drop_set("chair")
        shop.drop("alone.obj", b"v 0 0 0")
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert "outbox/chair" in str(shop.path("outbox/chair"))
        assert "chair/job.toml" in shop.found("outbox")
        assert not list(tmp_path.rglob("*.sqlite3*"))
        job = shop.job("chair")
        assert "chair" in shop.told("list")
        assert job.id in shop.told("show", job.id)
        assert "1 delivered" in shop.told("status") or "chair" in shop.told("status")
        assert "alone" in shop.told("explain", str(shop.path("inbox/alone.obj")))
        assert "delivered" in shop.told("explain", str(shop.path("outbox/chair")))
        assert "the database" in shop.told("check", "--offline")
        assert shop.command("pause")["ok"]
        shop.ticks(2, step_seconds=1)
        assert "paused" in shop.told("status").lower()
        mark = read_mark(tmp_path)
        assert mark is not None
        assert mark.journal.startswith("postgresql://")


def test_a_crash_loses_nothing(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """The next start goes on with what the database has; the same set is not bought again."""
    with shop_on(tmp_path, vendor.emulator.base_url, empty) as shop:
        shop.drop_set("chair")
        for state in (State.UPLOADING, State.SUBMITTED, State.DOWNLOADED):
            shop.until(lambda state=state: shop.states().get("chair") in (state, State.ARCHIVED))  # type: ignore[misc]
            shop.restart()
        shop.idle()
        shop.drop_set("chair")
        shop.idle()
        assert State.ARCHIVED in [job.state for job in shop.jobs()]
        assert vendor.charges == 1
        shop.assert_nothing_lost()


def test_a_server_that_is_restarted_is_waited_for(tmp_path: Path, vendor: Vendor) -> None:
    """Nothing is taken or paid meanwhile, the folder answers, and jobs go on where they were."""
    with (
        running() as cluster,
        database(cluster, empty=True) as name,
        shop_on(tmp_path, vendor.emulator.base_url, cluster.url(name)) as shop,
    ):
        for state in (None, State.UPLOADING, State.SUBMITTING, State.SUBMITTED):
            word = f"chair-{state}"
            shop.drop_set(word)
            if state:
                shop.until(lambda state=state, word=word: shop.states().get(word) in (state, State.ARCHIVED))  # type: ignore[misc]
                shop.rest()
            cluster.stop("immediate")
            before = vendor.charges
            shop.ticks(12, step_seconds=2)
            assert vendor.charges == before
            assert name in shop.standstill()
            assert "Nothing is taken or paid until it answers" in shop.standstill()
            assert shop.page()
            assert name in shop.said("status")
            cluster.start()
            until_it_answers(shop)
            shop.idle()
            assert not shop.standstill()
            assert set(shop.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 4
        assert {"paused", "resumed"} <= set(shop.event_kinds())
        shop.assert_nothing_lost()


def test_an_answer_is_kept_by_a_service_that_stops_while_the_server_is_away(tmp_path: Path, vendor: Vendor) -> None:
    """It waits for the server, for it cannot ask for the answer again."""
    with (
        running() as cluster,
        database(cluster, empty=True) as name,
        shop_on(tmp_path, vendor.emulator.base_url, cluster.url(name)) as shop,
    ):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.rest()
        cluster.stop("immediate")
        shop.ticks(3, step_seconds=2)
        starter = threading.Thread(target=cluster.start)
        starter.start()
        with shop.running_clock():
            assert shop.daemon.drain(100_000.0, 100_000.0)
        starter.join()
        assert shop.states() == {"chair": State.SUBMITTED}
        assert vendor.charges == 1


def until_it_answers(shop: Shop) -> None:
    """Tick until the daemon has the server again."""
    for _ in range(1_000_000):
        shop.ticks(1, step_seconds=1.1)
        if not shop.standstill():
            return
    pytest.fail("it stays away")


def test_a_folder_that_is_no_root_of_the_store_is_refused(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """A share that is not mounted looks like an empty folder: a person makes it a root, and then both are served."""
    url = vendor.emulator.base_url
    with shop_on(tmp_path / "one", url, empty) as one:
        one.drop_set("chair")
        one.idle()
        with pytest.raises(UnknownRootError, match="one") as refused, shop_on(tmp_path / "two", url, empty):
            pass
        assert "rodin-watchd store add-root" in refused.value.advice_in_full
        other = Shop(tmp_path / "two", url, {"store": {"url": empty}})
        assert "is a root of the database" in other.told("store", "add-root")
        assert isinstance(other.at_terminal("store", "add-root").exception, CommandRefusedError)
        with shop_on(tmp_path / "two", url, empty) as two:
            two.drop_set("stool")
            two.idle()
            one.drop_set("table")
            one.idle()
            assert set(one.states()) == {"chair", "table"}
            assert set(two.states()) == {"stool"}
            assert "stool" not in one.told("list")
            assert "stool" in two.told("list")
            assert two.command("pause")["ok"]
            assert {job.id for job in one.jobs()}.isdisjoint(job.id for job in two.jobs())
    assert vendor.charges == 3


def test_a_root_of_another_store_is_refused(tmp_path: Path, vendor: Vendor, empty: str, cluster: Cluster) -> None:
    """One that was served with a journal, or with another database; the message names both ways out."""
    url = vendor.emulator.base_url
    Shop(tmp_path, url, {}).start().close()
    with pytest.raises(OwnerError, match="another journal") as refused, shop_on(tmp_path, url, empty):
        pass
    assert "rodin-watchd accept root" in refused.value.advice_in_full
    with database(cluster, empty=True) as other:
        with shop_on(tmp_path / "root", url, cluster.url(other)) as shop:
            shop.idle()
        with pytest.raises(OwnerError, match=other), shop_on(tmp_path / "root", url, empty):
            pass


def test_a_service_may_move_to_another_machine(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """Its state folder is new there, and the store knows what was paid for."""
    with shop_on(tmp_path / "root", vendor.emulator.base_url, empty, folders={"state": str(tmp_path / "a")}) as shop:
        shop.drop_set("chair")
        shop.idle()
    with shop_on(tmp_path / "root", vendor.emulator.base_url, empty, folders={"state": str(tmp_path / "b")}) as shop:
        shop.idle()
        assert shop.daemon.parts.standing.mounts_keeper.copied == ""
        shop.drop_set("stool")
        shop.idle()
        assert set(shop.states().values()) == {State.ARCHIVED}
    assert vendor.charges == 2


def test_a_database_that_was_made_again_is_refused(
    tmp_path: Path, vendor: Vendor, cluster: Cluster, empty: str
) -> None:
    """Under its old name: it is not known what was paid for."""
    with shop_on(tmp_path, vendor.emulator.base_url, empty) as shop:
        shop.idle()
    cluster.ask("DROP SCHEMA rodin_watchd CASCADE", empty.partition("@/")[2].partition("?")[0])
    with pytest.raises(JournalError, match="is empty") as refused, shop_on(tmp_path, vendor.emulator.base_url, empty):
        pass
    assert "Restore the database" in refused.value.advice_in_full


def test_an_older_database_holds_what_may_have_been_sent(
    tmp_path: Path, vendor: Vendor, cluster: Cluster, empty: str
) -> None:
    """The root counts the submits: a backup of the database that was put back knows fewer."""
    name = empty.partition("@/")[2].partition("?")[0]
    with shop_on(tmp_path, vendor.emulator.base_url, empty) as shop:
        shop.drop_set("stool")
        shop.until(lambda: bool(shop.jobs()))
        shop.crash()
        cluster.ask(f"CREATE DATABASE {name}_old TEMPLATE {name}")
        shop.start()
        shop.idle()
    cluster.ask(f"DROP DATABASE {name}")
    cluster.ask(f"ALTER DATABASE {name}_old RENAME TO {name}")
    with shop_on(tmp_path, vendor.emulator.base_url, empty) as shop:
        shop.ticks(20, step_seconds=1)
        assert vendor.charges == 1
        assert "restored" in shop.event_kinds()


def test_old_jobs_are_moved_within_the_database(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """And shown as before."""
    with shop_on(tmp_path, vendor.emulator.base_url, empty, store={"url": empty, "keep_days": 30}) as shop:
        shop.drop_set("chair")
        shop.idle()
        job = shop.job("chair")
        shown = shop.actions(job)
        shop.hands.seconds += 31 * 86_400
        shop.until(lambda: bool(shop.job("chair").condensed_at), busy_seconds=0.1)
        assert shop.actions(job) == shown
        with closing(PostgresReader(shop.address)) as reader:
            found = reader.job(job.id)
            assert found is not None
            assert found.files == job.files


def test_the_password_is_shown_nowhere(tmp_path: Path, vendor: Vendor, cluster: Cluster) -> None:
    """It is read from a file that others may not read; the address must not contain it."""
    secret = tmp_path / "password"
    secret.write_text("geheimes-wort\n")
    secret.chmod(0o644)
    shop = Shop(
        tmp_path, vendor.emulator.base_url, {"store": {"url": cluster.url("nowhere"), "password_file": str(secret)}}
    )
    assert "chmod o-rw" in shop.said("status")
    secret.chmod(0o600)
    run = [sys.executable, "-m", "rodin_watchd", "run", "--until-idle", "--config", str(tmp_path / "config.toml")]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env={**os.environ, "RODIN_API_KEY": "key"})
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    for words in (("status",), ("check", "--offline"), ("list",), ()):
        told = shop.said(*words) if words else f"{done.stdout} {done.stderr}"
        assert "nowhere" in told, words
        assert "geheimes-wort" not in told
    (tmp_path / "config.toml").write_text('[store]\nurl = "postgresql://rodin:geheimes-wort@/nowhere"\n')
    told = shop.said("status")
    assert "store.password_file" in told
    assert "geheimes-wort" not in told


def test_without_the_extra_people_are_told_how_to_install_it() -> None:
    """No traceback."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\n"
        "from rodin_watchd.adapters.store import factory\n"
        "from rodin_watchd.settings import Address, StorePlace\n"
        "from rodin_watchd.errors import ConfigError\n"
        "try: factory.open_reader(StorePlace(Path('x'), Address('postgresql:///y')))\n"
        "except ConfigError as error: print(error.message, error.advice_in_full)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "rodin-watchd[postgres]" in done.stdout


def test_a_service_moves_to_a_database_and_back(tmp_path: Path, vendor: Vendor, empty: str) -> None:
    """With what is under way, and what was paid for; the place that it has left pays nothing any more."""
    url = vendor.emulator.base_url
    with workshop(tmp_path, url) as before:
        before.drop_set("chair")
        before.idle()
        before.drop_set("stool")
        before.until(before.is_in("stool", State.SUBMITTED))
        before.rest()
        refused = before.at_terminal("store", "copy", "--to", empty)
        assert isinstance(refused.exception, AlreadyRunningError)
    told = before.told("store", "copy", "--to", empty)
    assert "2 jobs" in told
    assert empty in told
    with pytest.raises(JournalError, match="was copied to"), workshop(tmp_path, url):
        pass
    assert isinstance(before.at_terminal("pause").exception, CommandRefusedError)
    with shop_on(tmp_path, url, empty) as shop:
        assert shop.daemon.parts.standing.mounts_keeper.copied == ""
        shop.drop_set("chair")
        shop.idle()
        assert (shop.job("stool").state, vendor.charges) == (State.ARCHIVED, 2)
        shop.drop_set("table")
        shop.idle()
    again = shop.at_terminal("store", "copy", "--to", empty)
    assert isinstance(again.exception, CommandRefusedError)
    told = shop.told("store", "copy", "--to", str(tmp_path / ".rodin-watchd"))
    assert "remove `url`" in told
    with pytest.raises(JournalError, match="was copied to"), shop_on(tmp_path, url, empty):
        pass
    assert isinstance(shop.at_terminal("pause").exception, CommandRefusedError)
    with workshop(tmp_path, url) as after:
        after.drop_set("chair")
        after.idle()
        assert after.daemon.parts.standing.mounts_keeper.copied == ""
        assert (after.job("table").state, vendor.charges) == (State.ARCHIVED, 3)
        after.assert_nothing_lost()
