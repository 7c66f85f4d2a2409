"""Calls that fail while the journal is written out again: the newest journal always wins, and nothing is paid twice."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from effort import EFFORT
from test_journal_guard import remove_all, remove_index
from workshop import Workshop, working

from rodin_watchd.adapters.store.files import finish, moved_aside, whole_path
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.errors import JournalError
from rodin_watchd.model import State

CALLS = ("rename", "replace", "unlink", "chmod", "fsync", "open")
"""What the program asks of the system for the journal's files; what SQLite asks is not among them."""


@contextmanager
def failing(at: int, error: int, calls: tuple[str, ...] = CALLS, *, once: bool = True) -> Iterator[list[str]]:
    """Let the call of number `at` that has to do with the journal's files fail, or all from there on; give those that were made."""
    made: list[str] = []
    real = {name: getattr(os, name) for name in calls}

    def stand_in(name: str) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **options: Any) -> Any:  # noqa: ANN401 - as the system's own
            place = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(os.fsdecode(path))
            if place.name.lstrip(".").startswith("journal.sqlite3"):
                made.append(f"{name} {place.name}")
                if len(made) == at or (len(made) > at and not once):
                    raise OSError(error, os.strerror(error), str(path))
            return real[name](path, *more, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, stand_in(name))
        yield made


def beside(journal: Path, suffix: str) -> Path:
    """Return a file of the journal's."""
    return Path(f"{journal}{suffix}")


def exchange(journal: Path) -> None:
    """Put another journal in the place, with more transactions than the service's own."""
    remove_all(journal)
    with closing(Journal(journal)) as other:
        for number in range(300):
            other.set_meta("other", number)


EACH = ((remove_all, "goes on"), (exchange, "stops"), (exchange, "goes on"), (remove_index, "crashes"))


@pytest.mark.parametrize(("way", "end"), EACH if EFFORT > 1 else EACH[:2])  # all of them in `make thorough`
def test_a_call_that_fails_while_the_journal_is_written_out_costs_nothing(
    tmp_path: Path, way: Callable[[Path], None], end: str
) -> None:
    """Each call fails once; the service goes on, or is started again: it knows all that was paid, and what was moved is named."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        paid, at, told = 0, 0, True
        while told:
            at += 1
            paid += 1
            shop.drop_set(f"set{at}")
            shop.idle()
            assert vendor.charges == paid, at
            way(journal)
            with failing(at, errno.EIO) as made:
                write_out(shop, end)
            told = len(made) >= at
            shop.idle()
            assert not whole_path(journal).exists(), made
            assert not [job.name for job in shop.jobs() if job.state is State.HELD], made
            shop.restart()
            shop.drop_set(f"set{at}")
            shop.idle()
            assert vendor.charges == paid, made
            assert "is older than" not in shop.status(), made
            for path in (path for aside in moved_aside(journal) for path in journal.parent.glob(f"{aside.name}*")):
                path.unlink()
        assert at > 4


def write_out(shop: Workshop, end: str) -> None:
    """Let the service see that its journal is gone, and end as the test wants it, or as an error of the journal does."""
    try:
        if end == "stops":
            shop.daemon.drain(0)
        else:
            shop.daemon.tick()
    except JournalError:
        end = "ended"
    if end != "goes on":
        shop.crash()
        shop.start()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_an_old_copy_never_takes_the_place_of_the_newer_journal(tmp_path: Path, suffix: str) -> None:
    """The files were in their places again before the copy could take them: it is removed, and nothing is paid twice."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("first")
        shop.idle()
        file, kept = beside(journal, suffix), journal.with_name("kept")
        os.link(file, kept)
        file.unlink()
        file.write_bytes(b"x")
        with failing(1, errno.EBUSY, ("rename",), once=False):
            shop.ticks(3, step_seconds=1)
        assert whole_path(journal).exists()
        assert "Nothing is taken or paid" in shop.status()
        kept.replace(file)
        shop.drop_set("second")
        shop.idle()
        assert "ATTENTION" not in shop.status()
        assert not whole_path(journal).exists()
        shop.restart()
        shop.drop_set("second")
        shop.idle()
        assert vendor.charges == 2
        assert "ATTENTION" not in shop.status()


def test_what_cannot_be_moved_aside_is_left_together(tmp_path: Path) -> None:
    """Where the second file cannot be moved, the first one has its place again."""
    path = tmp_path / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        journal.set_meta("known", 1)
        remove_index(path)
        before = sorted(entry.name for entry in tmp_path.iterdir())
        for at in (2, 3):
            beside(path, "-shm").touch()
            with failing(at, errno.EBUSY, ("rename",)), pytest.raises(Exception, match="cannot be moved aside"):
                journal.write_out("now")
            beside(path, "-shm").unlink()
            whole_path(path).unlink()
            assert sorted(entry.name for entry in tmp_path.iterdir()) == before


def written(path: Path, count: int) -> Path:
    """Make a journal of a root with so many transactions, in one file."""
    with closing(Journal(path)) as journal:
        journal.set_meta("root_id", "one root")
        for number in range(count):
            journal.set_meta("known", number)
    return path


def test_a_start_installs_a_copy_only_where_it_knows_more(tmp_path: Path) -> None:
    """An older copy goes, a newer one takes the place, and what is damaged takes no journal's place."""
    path = tmp_path / "journal.sqlite3"
    for copied, lies_there, wins in ((3, 5, "there"), (5, 3, "copy"), (4, 4, "there"), (4, 0, "copy")):
        written(path, copied).rename(whole_path(path))
        if lies_there:
            written(path, lies_there)
        finished = finish(path, "now")
        assert (finished is not None and finished.installed) is (wins == "copy")
        assert not whole_path(path).exists()
        with closing(Journal(path)) as journal:
            assert journal.meta("known") == (copied if wins == "copy" else lies_there) - 1
        path.unlink()
    written(path, 2)
    for odd in (lambda at: at.write_bytes(b"no journal"), Path.mkdir, os.mkfifo, lambda at: at.symlink_to(tmp_path)):
        odd(whole_path(path))
        finished = finish(path, "now")
        assert finished is not None
        assert not finished.installed
        assert finished.aside in moved_aside(path)
        assert not os.path.lexists(whole_path(path))
        with closing(Journal(path)) as journal:
            assert journal.meta("known") == 1


def test_a_journal_of_another_root_never_wins(tmp_path: Path) -> None:
    """However much it has in it; what lies there is moved aside with the commands that people left in it."""
    path = tmp_path / "journal.sqlite3"
    written(path, 1).rename(whole_path(path))
    written(path, 9)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = '\"another root\"' WHERE key = 'root_id'")
    insert_command(path, "pause", {}, 0.0)
    finished = finish(path, "now")
    assert finished is not None
    assert finished.installed
    with closing(Journal(path)) as journal:
        assert journal.meta("root_id") == "one root"


def test_a_locked_journal_is_not_judged(tmp_path: Path) -> None:
    """Nobody can tell which of the two is newer: the start refuses, and both stay where they are."""
    path = tmp_path / "journal.sqlite3"
    written(path, 1).rename(whole_path(path))
    written(path, 2)
    shutil.copy(path, tmp_path / "before")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Exception, match="keeps the journal locked"):
            finish(path, "now")
    assert whole_path(path).exists()
    assert finish(path, "now") is None
