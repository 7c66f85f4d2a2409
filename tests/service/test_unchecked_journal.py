"""A large journal that the service did not close: the start is quick, and nothing is paid or moved before all of it was read."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from places import share
from workshop import Workshop, emulated, working, workshop

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.store.files import AT_ONCE_BYTES, closed_path
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.health import SET_SECONDS, TICK_SECONDS, verdict
from rodin_watchd.errors import JournalError, JournalUncheckedError
from rodin_watchd.model import ServiceEvent, State

WORDS = "all of its journal is being read"


def read_by_this_thread() -> int:
    """Return how many bytes this thread has read."""
    return int(Path("/proc/thread-self/io").read_text().split()[1])  # rchar, proc_pid_io(5)


def make_large(journal: Path) -> None:
    """Give a journal more than is read at once."""
    with closing(Journal(journal)) as opened:
        opened.set_meta("filler", "x" * (AT_ONCE_BYTES + 1))


def damage(journal: Path) -> None:
    """Lay noise over a page in the middle."""
    with journal.open("r+b") as file:
        file.seek(journal.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(4096))


def kill_and_start(shop: Workshop, *, damaged: bool = False) -> None:
    """Start again on a large journal that was not closed, with a set in the inbox and a work folder that belongs to no job."""

    def between() -> None:
        make_large(shop.journal)
        closed_path(shop.journal).unlink(missing_ok=True)
        if damaged:
            damage(shop.journal)
        stray = shop.path(".rodin-watchd/work/stray")
        stray.mkdir()
        (stray / "file").write_text("somebody's")
        shop.drop_set("new")

    shop.restart(between)


def test_nothing_moves_until_all_of_it_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """People read why, a probe finds the service well, and it goes on by itself: also with what only waited for that."""
    caplog.set_level(logging.INFO)
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("old")
        shop.idle()
        kill_and_start(shop)
        shop.daemon.tick()
        assert WORDS in shop.standstill()
        assert "Your files are safe" in shop.status()
        heartbeat = read_heartbeat(sign_path(shop.journal))
        assert heartbeat is not None
        assert verdict(heartbeat.health, 0.0, TICK_SECONDS, SET_SECONDS)[0]
        assert (shop.found("inbox"), vendor.charges) == ({"new.obj", "new.png"}, 1)
        assert "stray" in shop.work_folders()
        shop.until(lambda: shop.store.is_checked)
        shop.idle()
        assert shop.states() == {"old": State.ARCHIVED, "new": State.ARCHIVED}
        assert vendor.charges == 2
        assert "stray" not in shop.work_folders()
        assert [vars(r)["action"] for r in caplog.records if WORDS in r.getMessage()] == ["paused", "resumed"]
        assert WORDS not in shop.standstill()


def test_a_large_journal_is_not_read_before_the_first_tick(tmp_path: Path) -> None:
    """The thread that starts the service reads a part of it."""
    with working(tmp_path) as (shop, _):
        shop.crash()
        make_large(shop.journal)
        closed_path(shop.journal).unlink(missing_ok=True)
        before = read_by_this_thread()
        shop.start()
        assert read_by_this_thread() - before < shop.journal.stat().st_size / 2


def test_a_damaged_one_ends_the_service_before_anything_is_paid(tmp_path: Path) -> None:
    """With the words that a start with a small one has; and nothing was moved by what it said."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("old")
        shop.idle()
        kill_and_start(shop, damaged=True)
        with pytest.raises(JournalError, match="is damaged") as told:
            shop.until(lambda: shop.store.is_checked)
        assert not isinstance(told.value, JournalUncheckedError)
        assert "damaged/" in told.value.advice_given
        assert vendor.charges == 1
        assert shop.found("inbox") == {"new.obj", "new.png"}
        assert "stray" in shop.work_folders()


def test_a_stop_does_not_wait_for_it_and_the_next_start_reads_it(tmp_path: Path) -> None:
    """A journal that was not read to its end is not noted as whole."""
    with working(tmp_path) as (shop, vendor):
        kill_and_start(shop)
        shop.daemon.drain(5)  # looks once: the reading begins, and nobody asks what it has found
        shop.crash()
        assert not closed_path(shop.journal).exists()
        shop.start()
        shop.daemon.tick()
        assert WORDS in shop.standstill()
        shop.idle()
        assert vendor.charges == 1


def test_a_journal_that_is_taken_away_meanwhile(tmp_path: Path) -> None:
    """It is written out again and read for that; then the service goes on, and does what waited for it."""
    with working(tmp_path) as (shop, vendor):
        kill_and_start(shop)
        shop.daemon.tick()
        shop.journal.unlink()
        shop.idle()
        assert vendor.charges == 1
        assert "stray" not in shop.work_folders()


def test_after_an_orderly_stop_nothing_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However large it is."""
    with working(tmp_path) as (shop, _):
        kill_and_start(shop)
        shop.idle()
        caplog.clear()
        caplog.set_level(logging.INFO)
        shop.restart()
        shop.drop_set("one more")
        shop.idle()
        assert WORDS not in caplog.text


def test_nothing_is_decided_by_it_while_the_root_is_away(tmp_path: Path) -> None:
    """No command is answered and no old job's details are dropped; it is read when the root is back."""
    folders = {"folders": {"state": str(tmp_path / "state"), "reserve_megabytes": 0}}
    with (
        share(tmp_path / "disk", tmp_path / "root") as root,
        emulated() as vendor,
        workshop(root.place, vendor.emulator.base_url, **folders) as shop,
    ):
        kill_and_start(shop)
        root.go()
        number = shop.leave("pause")
        shop.ticks(5, step_seconds=1.0)
        assert not shop.store.is_checked
        assert shop.store.answer(number) is None
        assert WORDS in shop.standstill()
        root.come()
        assert shop.answer_to(number)["ok"]
        assert shop.store.is_checked


def test_damage_that_a_write_meets_first_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Before all of it is read the service writes that it stands still."""
    path = tmp_path / "journal.sqlite3"
    make_large(path)
    closed_path(path).unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'service_events'")
        [(size,)] = db.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(64))
    with closing(Journal(path)) as journal, pytest.raises(JournalError, match="cannot be written") as told:
        journal.note_service_event(ServiceEvent(0.0, "paused", "everything"))
    assert "damaged/" in told.value.advice_given
