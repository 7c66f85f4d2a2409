"""Another program keeps the journal locked: nothing is lost or paid twice, people read the cause, and it ends with it."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from workshop import Workshop, working

from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.health import TICK_SECONDS
from rodin_watchd.core.status import PAGE
from rodin_watchd.errors import DiskError, JournalBusyError
from rodin_watchd.model import State

PAGE_BYTES = 4096
LOCKED = "Another program keeps the journal locked."
PLAIN = "The service cannot work at the moment. Tell the person who runs the service. Your files are safe."
ADVICE = "Close the database browser, backup or other program that has the journal open"


@contextmanager
def locked(shop: Workshop, how: str = "IMMEDIATE") -> Iterator[None]:
    """Hold the journal's lock by a connection of another program."""
    with closing(sqlite3.connect(shop.journal, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_an_answer_that_meets_a_locked_journal_is_kept(tmp_path: Path, how: str) -> None:
    """It waits in memory for longer than SQLite does, and is committed when the lock is gone; the set is paid once."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.rest()
        assert vendor.charges == 1
        with locked(shop, how):
            shop.ticks(3, step_seconds=2)
            began = time.monotonic()
            shop.ticks(20, step_seconds=2)
            assert time.monotonic() - began < TICK_SECONDS / 10, (
                "the loop waits for the stranger once, not in each tick"
            )
            assert shop.status().count(PLAIN) == 1
            assert LOCKED not in shop.status()
            assert shop.standstill().count(LOCKED) == 1
            assert ADVICE in shop.standstill()
            assert shop.states() == {"chair": State.SUBMITTING}
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert PLAIN not in shop.status()
        assert LOCKED not in shop.standstill()
        events = [(e.kind, LOCKED in e.message) for e in reversed(shop.store.service_events())]
        assert events == [("paused", True), ("resumed", True)]


def test_a_tick_without_anything_to_write_proves_nothing(tmp_path: Path) -> None:
    """The cause stands for as long as the lock does, once, though nothing is to be written meanwhile."""
    with working(tmp_path) as (shop, vendor):
        shop.idle()
        with locked(shop):
            shop.drop_set("chair")
            shop.until(lambda: PLAIN in shop.status())
            for path in shop.path("inbox").iterdir():
                path.unlink()
            for _ in range(8):
                shop.ticks(1, step_seconds=2)
                assert PLAIN in shop.status()
                assert LOCKED in shop.standstill()
        shop.ticks(2, step_seconds=2)
        assert PLAIN not in shop.status()
        assert LOCKED not in shop.standstill()
        assert shop.event_kinds() == ["paused", "resumed"]
        assert vendor.charges == 0


def test_an_upload_that_must_not_end_blames_no_folder(tmp_path: Path) -> None:
    """The permission for the last bytes cannot be committed: the upload is dropped, and nothing else is paused by that."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        with locked(shop):
            shop.ticks(3, step_seconds=2)
            assert vendor.charges == 0
        shop.ticks(2, step_seconds=1)
        assert PLAIN not in shop.status()
        assert LOCKED not in shop.standstill()
        assert shop.daemon.parts.dispatcher.pauses == {}
        shop.idle()
        assert vendor.charges == 1


FAULT = "The journal cannot be written: disk I/O error."


@contextmanager
def faulty() -> Iterator[None]:
    """Let no file of this process grow beyond a page: what SQLite appends to its log ends with EFBIG, an I/O error to it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_answer_that_meets_a_faulty_disk_is_kept(tmp_path: Path) -> None:
    """The transaction was read not to be there: the answer waits in memory, and is committed when the disk works again."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.rest()
        assert vendor.charges == 1
        with faulty():
            shop.ticks(8, step_seconds=2)
            assert shop.states() == {"chair": State.SUBMITTING}
        shop.ticks(1)
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        [paused, resumed] = reversed(shop.store.service_events())
        assert (paused.code, paused.message) == ("journal-fault", f"everything: {FAULT}")
        assert resumed.message == f"everything: {FAULT} This has ended."


def test_an_upload_whose_end_meets_a_faulty_disk_is_dropped_and_sent_again(tmp_path: Path) -> None:
    """The intent is not durable, so the last bytes stay here: nothing is paid, and nothing needs to be held."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        with faulty():
            shop.ticks(8, step_seconds=2)
            assert vendor.charges == 0
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert "held" not in shop.actions(shop.job("chair"))


@pytest.mark.parametrize("ends_before", [True, False])
def test_the_notice_ends_at_the_stop(tmp_path: Path, *, ends_before: bool) -> None:
    """The cause ends between the last tick and the stop, or outlives the service: no page says that it holds on."""
    with working(tmp_path) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        lock = locked(shop)
        lock.__enter__()
        shop.drop_set("lamp")
        shop.ticks(8, step_seconds=1)
        assert PLAIN in shop.status()
        assert LOCKED in shop.standstill()
        if ends_before:
            lock.__exit__(None, None, None)
        shop.daemon.drain(5)
        if ends_before:
            assert PLAIN not in shop.status()
            with closing(JournalReader(shop.journal)) as reader:
                assert not [notice for notice in reader.meta(PAGE)["notices"] if LOCKED in notice]
        else:
            assert "When the service stopped (" in shop.status()
            lock.__exit__(None, None, None)
        shop.restart()
        shop.idle()
        assert PLAIN not in shop.status()
        assert LOCKED not in shop.standstill()


def test_a_start_that_meets_a_lock_says_so(tmp_path: Path) -> None:
    """No word of damage, rights or room."""
    path = tmp_path / "journal.sqlite3"
    Journal(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalBusyError) as caught:
            Journal(path, busy_seconds=0.1)
    assert caught.value.message == LOCKED
    assert ADVICE in caught.value.advice_given


CASES = {
    "ENOSPC": "Make free space",
    "EDQUOT": "raise the quota",
    "EROFS": "Mount the disk so that it can be written",
    "EACCES": "permission to read and write",
    "EIO": "check the disk or share",
    "EMFILE": "Raise the limit of open files",
    "ENOMEM": "more memory",
    "ESTALE": "Bring the share or disk back",
    "ENOENT": "Restore the missing file or folder",
    "EBUSY": "Correct that",
}


@pytest.mark.parametrize("name", CASES)
def test_each_cause_has_its_own_advice(name: str) -> None:
    """What a person can do about a disk, a right, a limit and a share is not the same."""
    number = getattr(errno, name)
    error = DiskError.of("A file cannot be written", OSError(number, os.strerror(number)))
    assert CASES[name] in error.advice_given
    assert error.advice_given.endswith("; the service continues by itself.")
    assert error.message == f"A file cannot be written: {os.strerror(number)}."
