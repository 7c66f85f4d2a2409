"""The journal's files are removed or replaced while the service runs, or older ones are put in place while it stands still."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from strangers import mounted
from workshop import KEY, Workshop, emulated, working, workshop

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.spool.submit_count import SubmitCount
from rodin_watchd.adapters.store.backup import backup_path, kept_backups, make_backup
from rodin_watchd.adapters.store.files import moved_aside, open_in_use, put_back, whole_path
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.cli.health import health_line
from rodin_watchd.core.refusals import MOST_TRIES
from rodin_watchd.errors import DiskError, JournalError, JournalGoneError, JournalRolledBackError
from rodin_watchd.model import State
from rodin_watchd.service.reload import serving

LONG_SECONDS = 1e9
"""The clock of these tests has nothing to do with the machine's, by which a tick is old."""


def files(journal: Path) -> list[Path]:
    """Return the journal's files."""
    return [Path(f"{journal}{suffix}") for suffix in ("", "-wal", "-shm")]


def remove_all(journal: Path) -> None:
    """Delete the journal as a person would who wants it gone."""
    for path in files(journal):
        path.unlink()


def remove_log(journal: Path) -> None:
    """Delete the write-ahead log alone."""
    files(journal)[1].unlink()


def remove_index(journal: Path) -> None:
    """Delete the log's index alone."""
    files(journal)[2].unlink()


def exchange(journal: Path) -> None:
    """Put another journal in the place, with a command that somebody left in it."""
    other = journal.with_name("other.sqlite3")
    Journal(other).close()
    for path in files(journal):
        path.unlink()
    other.rename(journal)
    insert_command(journal, "pause", {}, 0.0)


def rewrite(journal: Path) -> None:
    """Put a copy of the main file in its place, as `sed -i`, an editor or a restore does."""
    copy = journal.with_name("copy")
    shutil.copy(journal, copy)
    copy.replace(journal)


def put_a_folder(journal: Path) -> None:
    """Put a folder where the journal was."""
    remove_all(journal)
    journal.mkdir()


def fill(hog: Path) -> None:
    """Fill the disk up to its last byte."""
    descriptor = os.open(hog, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while os.write(descriptor, bytes(size)):
                    pass
    finally:
        os.close(descriptor)


WAYS = [remove_all, remove_log, remove_index, exchange, rewrite, put_a_folder]


@pytest.mark.parametrize("way", WAYS)
def test_a_journal_that_is_taken_away_is_written_out_again(
    tmp_path: Path, way: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost or paid twice, also after the next start; people read what happened; what lay there is moved aside."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("before")
        shop.idle()
        way(journal)
        was_there = sorted(path.name for path in files(journal) if path.exists())
        shop.drop_set("after")
        shop.idle()
        assert shop.states() == {"before": State.ARCHIVED, "after": State.ARCHIVED}
        with closing(JournalReader(journal)) as reader:
            assert {job.name for job in reader.jobs()} == {"before", "after"}
            assert reader.quick_check() == "ok"
            [event] = reader.service_events(kinds=["journal-written-out"])
        assert "removed or replaced" in event.message
        assert bool(moved_aside(journal)) is bool(journal.name in was_there)
        assert "ATTENTION" not in shop.path("STATUS.txt").read_text()  # no matter of whoever drops files
        cause = "were moved aside" if moved_aside(journal) else "has written its journal again"
        told = shop.told("status")
        assert "ATTENTION" in told
        assert cause in told
        assert [r for r in caplog.records if vars(r).get("action") == "journal-written-out"]
        shop.restart()
        for name in ("before", "after"):
            shop.drop_set(name)
        shop.idle()
        assert vendor.charges == 2
        assert not [job for job in shop.jobs() if job.state is State.HELD]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["stop", "error"])
def test_a_journal_that_is_taken_away_after_the_last_tick_is_written_out_at_the_end(
    tmp_path: Path, way: Callable[[Path], None], end: str
) -> None:
    """Whether the service stops or an error ends it: what was paid is known to the next start, and nothing is held."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("before")
        shop.idle()
        if end == "stop":
            shop.daemon.drain(5)
        way(journal)
        shop.crash()
        with closing(JournalReader(journal)) as reader:
            assert [(job.name, job.state) for job in reader.jobs()] == [("before", State.ARCHIVED)]
            assert len(reader.service_events(kinds=["journal-written-out"])) == 1
        shop.start()
        shop.drop_set("before")
        shop.idle()
        assert vendor.charges == 1
        assert not [job for job in shop.jobs() if job.state is State.HELD]


def test_a_process_that_ends_at_once_puts_its_journal_in_place_first(tmp_path: Path) -> None:
    """An error in the loop ends the process without closing anything else: the journal is written out and closed before."""
    with emulated() as vendor, workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.crash()
        journal = shop.journal
        with serving(shop.config, KEY, Pulse(Manager(), lambda: 0.0), shop.hands.clock()) as service:
            shop.drop_set("chair")
            service.daemon.tick()
            remove_all(journal)
            service.end_journal()
            assert journal.exists()
            assert not files(journal)[1].exists()
            journal.unlink()
            service.end_journal()  # once is all: what comes later is no matter of this process
            assert not journal.exists()


def test_the_end_moves_no_journal_of_a_service_that_runs_by_now(tmp_path: Path) -> None:
    """The state folder was removed, and a second service has begun anew there: the first one ends without a word to it."""
    with working(tmp_path) as (shop, _):
        journal = shop.journal
        remove_all(journal)
        journal.with_name("lock").unlink()
        with Lock(journal.with_name("lock")):
            Journal(journal).close()
            before = journal.read_bytes()
            shop.crash()
            assert journal.read_bytes() == before
            assert not moved_aside(journal)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_taken_away_while_it_is_closed_is_put_back(tmp_path: Path, way: Callable[[Path], None]) -> None:
    """Between the last look and the last byte: the content is in the open file, and gets its path again."""
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    journal.set_meta("known", 1)
    journal.sweep()
    descriptor = open_in_use(path, journal.files)
    assert descriptor is not None
    way(path)
    journal.close()
    put_back(descriptor, path, "now", 0o640)
    os.close(descriptor)
    with closing(JournalReader(path)) as reader:
        assert (reader.meta("known"), reader.quick_check()) == (1, "ok")
    assert path.stat().st_mode & 0o777 == 0o640 or way in (remove_log, remove_index)
    assert not list(tmp_path.glob(".*"))


def test_a_journal_that_is_taken_away_as_it_ends_is_there_afterwards(tmp_path: Path) -> None:
    """Nobody has looked before: it is written out first, and then closed."""
    path = tmp_path / "journal.sqlite3"
    journal = Journal(path)
    journal.set_meta("known", 1)
    remove_all(path)
    journal.end("now")
    assert not files(path)[1].exists()
    with closing(JournalReader(path)) as reader:
        assert (reader.meta("known"), reader.quick_check()) == (1, "ok")


def test_a_stop_waits_for_room_to_write_the_journal_out(tmp_path: Path) -> None:
    """What is nowhere but in this process is not thrown away at once: somebody may make room in the time that a stop has."""
    with (
        mounted(tmp_path / "small", size="16m") as small,
        working(tmp_path / "root", folders={"state": str(small)}) as (shop, vendor),
    ):
        shop.drop_set("before")
        shop.idle()
        remove_all(small / "journal.sqlite3")
        hog = small / "hog"
        fill(hog)
        room = threading.Timer(0.2, hog.unlink)
        room.start()
        shop.daemon.drain(1)  # by a clock that stands still
        room.join()
        shop.restart()
        shop.drop_set("before")
        shop.idle()
        assert vendor.charges == 1


def test_the_notice_ends_when_people_take_away_what_was_moved(tmp_path: Path) -> None:
    """It names the file, also after a restart; commands that were left in it are not forgotten without a word."""
    with working(tmp_path) as (shop, _):
        journal = shop.journal
        exchange(journal)
        shop.ticks(3, step_seconds=2)
        [aside] = moved_aside(journal)
        assert aside.name in shop.status()
        assert "Give commands from that time again" in shop.status()
        with closing(sqlite3.connect(aside)) as db:
            assert db.execute("SELECT verb FROM commands").fetchall() == [("pause",)]
        shop.restart()
        shop.ticks(3, step_seconds=2)
        assert aside.name in shop.status()
        for path in journal.parent.glob(f"{aside.name}*"):
            path.unlink()
        shop.ticks(3, step_seconds=2)
        assert "ATTENTION" not in shop.status()


def test_commands_work_after_the_journal_was_written_out(tmp_path: Path) -> None:
    """What people leave in the new file is noticed."""
    with working(tmp_path) as (shop, _):
        remove_all(shop.journal)
        shop.ticks(2)
        assert shop.command("pause")["ok"]
        assert shop.command("resume")["ok"]


def test_no_upload_ends_while_the_journal_is_gone(tmp_path: Path) -> None:
    """The files are looked at once more right before the last bytes; the set is sent again, and paid once."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        standing = shop.daemon.parts.standing
        removed = threading.Event()
        check = standing.check

        def check_then_remove() -> bool:
            changed = check()
            if not removed.is_set():
                remove_all(shop.journal)
                removed.set()
            return changed

        standing.check = check_then_remove  # type: ignore[method-assign]  # the moment between the tick's look and the last
        shop.daemon.tick()
        standing.check = check  # type: ignore[method-assign]
        assert vendor.uploads == 0
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)


def test_a_removed_state_folder_is_made_again(tmp_path: Path) -> None:
    """`rm -rf .rodin-watchd` while the service runs: nothing is paid twice, and people read what is missing."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("before")
        shop.idle()
        shutil.rmtree(shop.path(".rodin-watchd"))
        shop.ticks(4, step_seconds=2)
        assert "AWAY" not in shop.status()
        assert "were removed or replaced" in shop.status()
        shop.drop_set("after")
        shop.idle()
        assert shop.states() == {"before": State.ARCHIVED, "after": State.ARCHIVED}
        shop.restart()
        shop.drop_set("before")
        shop.idle()
        assert vendor.charges == 2
        assert health_line(shop.journal, LONG_SECONDS)[0]


@pytest.mark.parametrize("folder", [".rodin-watchd", ".rodin-watchd/work"])
@pytest.mark.parametrize("state", [State.UPLOADING, State.SUBMITTED, State.DOWNLOADED])
def test_a_work_folder_that_is_removed_under_the_service_is_made_again(
    tmp_path: Path, folder: str, state: State
) -> None:
    """What was paid for is fetched again, an upload with open files goes on, and new sets are taken, without a restart."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", state))
        shop.rest()
        shutil.rmtree(shop.path(folder))
        shop.drop_set("after")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "after": State.ARCHIVED}
        assert "AWAY" not in shop.status()
        assert vendor.charges == 2


def test_nothing_is_written_below_a_state_folder_whose_disk_is_away(tmp_path: Path) -> None:
    """A lazily unmounted disk leaves its bare mount point: it stays empty, nothing is paid, and all goes on with the disk."""
    with (
        mounted(tmp_path / "small", size="16m") as small,
        working(tmp_path / "root", folders={"state": str(small / "state")}) as (shop, vendor),
    ):
        shop.drop_set("before")
        shop.idle()
        journal = small / "state" / "journal.sqlite3"
        away = tmp_path / "away"
        away.mkdir()
        subprocess.run(["mount", "--bind", str(small), str(away)], check=True)
        subprocess.run(["umount", "--lazy", str(small)], check=True)
        shop.drop_set("after")
        shop.ticks(8, step_seconds=1)
        assert list(small.iterdir()) == []
        assert vendor.charges == 1
        assert "its disk is not mounted" in shop.status()
        subprocess.run(["mount", "--move", str(away), str(small)], check=False)
        if not journal.exists():
            subprocess.run(["mount", "--bind", str(away), str(small)], check=True)
        shop.idle()
        assert vendor.charges == 2
        assert not moved_aside(journal)
        subprocess.run(["umount", "--lazy", str(away)], check=False, capture_output=True)


def test_without_room_the_service_waits_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the journal cannot be written out again nothing is paid, health is not ok, and it ends by itself."""
    with (
        mounted(tmp_path / "small", size="16m") as small,
        working(tmp_path / "root", folders={"state": str(small)}) as (shop, vendor),
    ):
        shop.drop_set("before")
        shop.idle()
        remove_all(small / "journal.sqlite3")
        hog = small / "hog"
        fill(hog)
        shop.drop_set("after")
        shop.ticks(8, step_seconds=1)
        assert vendor.charges == 1
        assert "Tell the person who runs the service. Your files are safe." in shop.status()
        assert "Make free space" in shop.standstill()
        assert "Nothing is taken or paid until the journal is written again" in caplog.text
        healthy, line = health_line(small / "journal.sqlite3", LONG_SECONDS)
        assert not healthy
        assert "journal gone" in line
        hog.unlink()
        shop.idle()
        assert vendor.charges == 2
        assert "Tell the person who runs the service. Your files" not in shop.status()
        assert "Make free space" not in shop.standstill()
        assert health_line(small / "journal.sqlite3", LONG_SECONDS)[0]


def test_a_backup_is_never_made_of_a_strange_file(tmp_path: Path) -> None:
    """The good one stays when other files lie in the journal's place while it is copied."""
    path = tmp_path / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        make_backup(path, 1.0, journal.files)
        before = backup_path(path).read_bytes()
        rewrite(path)
        with pytest.raises(JournalGoneError, match="is not the file in use"):
            make_backup(path, 2.0, journal.files)
    assert backup_path(path).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("there", [True, False])
def test_a_crash_while_it_is_written_out_is_finished_by_the_next_start(tmp_path: Path, *, there: bool) -> None:
    """The whole copy waits under its own name: it takes the place, and what lies there is moved aside."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("before")
        shop.idle()

        def half_done() -> None:
            journal.rename(whole_path(journal))
            if there:
                Journal(journal).close()

        shop.restart(half_done)
        shop.drop_set("before")
        shop.idle()
        assert vendor.charges == 1
        assert bool(moved_aside(journal)) is there
        assert not whole_path(journal).exists()


# ---- older journals, put in place while the service stands still ------------------------------------------------------


def count_of(shop: Workshop) -> int:
    """Return how many submits the root counts."""
    return int(shop.path(".rodin-watchd/submits").read_text().splitlines()[-1])


def copied(journal: Path) -> Callable[[], None]:
    """Copy the journal as it is now; return what puts the copy in its place."""
    older = [(path, path.read_bytes()) for path in files(journal)[:2]]

    def put_back() -> None:
        for path in files(journal):
            path.unlink(missing_ok=True)
        for path, data in older:
            path.write_bytes(data)

    return put_back


def test_an_older_copy_is_taken_for_what_it_is(tmp_path: Path) -> None:
    """What it takes for being sent was sent and paid since: the set is held, and the count never goes back."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("first")
        shop.idle()
        shop.drop_set("second")
        shop.until(shop.is_in("second", State.UPLOADING))
        put_back = copied(journal)
        shop.idle()
        assert (vendor.charges, count_of(shop)) == (2, 2)
        shop.restart(put_back)
        shop.idle()
        assert vendor.charges == 2
        assert shop.states()["second"] is State.HELD
        assert "The journal is older than what was paid from this folder" in shop.status()
        assert count_of(shop) == 2
        shop.drop_set("third")
        shop.idle()
        assert (vendor.charges, count_of(shop)) == (3, 3)
        shop.restart()
        assert len(shop.store.service_events(kinds=["restored"])) == 1


def test_a_log_that_was_removed_is_missed(tmp_path: Path) -> None:
    """`journal.sqlite3-wal` deleted while the service stands still: what only it knew may have been paid."""
    with working(tmp_path) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.store.sweep()  # the main file knows as much as this
        kept = journal.read_bytes()
        shop.until(lambda: vendor.charges == 1)

        def remove() -> None:
            for path in files(journal)[1:]:
                path.unlink(missing_ok=True)
            journal.write_bytes(kept)  # closing has brought the log home; after a crash it would not have

        shop.restart(remove)
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.HELD}, 1)


def test_lost_purchases_count_against_the_day(tmp_path: Path) -> None:
    """What the journal does not know any more may have been spent today: no second budget; tomorrow has its own."""
    with working(tmp_path, budget={"per_day_credits": 1.5}) as (shop, vendor):
        shop.drop_set("first")
        shop.idle()
        put_back = copied(shop.journal)
        for name in ("second", "third"):
            shop.drop_set(name)
        shop.idle()
        assert vendor.charges == 3
        shop.restart(put_back)
        shop.drop_set("fourth")
        shop.idle()
        assert vendor.charges == 3
        assert "1 set waits for another day" in shop.status()
        shop.ticks(2, step_seconds=86_400)
        shop.idle()
        assert vendor.charges == 4


def test_a_backup_that_was_put_back_counts_what_it_lacks(tmp_path: Path) -> None:
    """The same for the service's own backup, in its own words."""
    with working(tmp_path, budget={"per_day_credits": 1}) as (shop, vendor):
        journal = shop.journal
        shop.drop_set("first")
        shop.idle()
        make_backup(journal, shop.hands.seconds)
        shop.drop_set("second")
        shop.idle()
        shop.restart(shop.put_in_place(backup_path(journal)))
        shop.drop_set("third")
        shop.idle()
        assert vendor.charges == 2
        [event] = shop.store.service_events(kinds=["restored"])
        assert "restored from its backup" in event.message
        assert "1 submit is missing in it" in event.message


def test_a_loss_stands_until_a_person_accepts_it(tmp_path: Path) -> None:
    """Over restarts, in STATUS.txt and in health; a second loss adds up, and is not accepted unseen; the newer backup is kept."""
    with working(tmp_path) as (shop, _):
        journal = shop.journal
        shop.drop_set("first")
        shop.idle()
        put_back = copied(journal)
        for name in ("second", "third"):
            shop.drop_set(name)
        shop.idle()
        make_backup(journal, shop.hands.seconds)
        shop.restart(put_back)
        seen = shop.daemon.parts.job_store.loss
        assert seen is not None
        shop.hands.seconds += 3 * 3600
        shop.until(lambda: bool(kept_backups(journal)))
        shop.ticks(2, step_seconds=2)
        shop.restart()
        shop.ticks(2, step_seconds=2)
        assert "2 submits are missing in it" in shop.status()
        assert "rodin-watchd accept journal" in shop.status()
        assert kept_backups(journal)[0].name in shop.status()
        assert "2 submits are missing in the journal" in health_line(journal, LONG_SECONDS)[1]
        put_back = copied(journal)
        shop.drop_set("fourth")
        shop.idle()
        shop.restart(put_back)
        shop.ticks(2, step_seconds=2)
        assert "3 submits are missing in it" in shop.status()
        assert not shop.command("accept", seen=seen.number)["ok"]
        run = shop.at_terminal("accept", "journal", "--yes")
        assert run.exit_code == 0, run.output
        shop.ticks(2, step_seconds=2)
        assert "missing in it" not in shop.status()
        assert "missing in the journal" not in health_line(journal, LONG_SECONDS)[1]
        shop.restart()
        assert shop.daemon.parts.job_store.loss is None
        again = shop.at_terminal("accept", "journal", "--yes")
        assert "Nothing is missing in the journal" in str(again.exception)
        for path in kept_backups(journal):
            path.unlink()
        shop.ticks(2, step_seconds=2)
        assert "ATTENTION" not in shop.status()


# ---- older content, put into the open file -----------------------------------------------------------------------------


def restored_inside(journal: Path, older: Path) -> None:
    """Put other content into the journal's own file, as `sqlite3 journal ".restore older"` does."""
    with closing(sqlite3.connect(older)) as source, closing(sqlite3.connect(journal)) as target:
        source.backup(target)


def older_copy(shop: Workshop) -> Path:
    """Copy the journal as it is now to a file of its own."""
    return shop.copy_of_journal(shop.root / "older.sqlite3")


def own_backup(shop: Workshop) -> Path:
    """Make the service's own backup."""
    return make_backup(shop.journal, shop.hands.seconds)


@pytest.mark.parametrize("copy", [older_copy, own_backup])
def test_older_content_in_the_open_file_ends_the_service_before_anything_is_paid(
    tmp_path: Path, copy: Callable[[Workshop], Path]
) -> None:
    """Same path, same inode: the next tick sees it, the count of submits stays, and the next start counts what is lost."""
    with working(tmp_path, budget={"per_day_credits": 1}) as (shop, vendor):
        shop.idle()
        older = copy(shop)
        for name in ("first", "second"):
            shop.drop_set(name)
        shop.idle()
        restored_inside(shop.journal, older)
        shop.drop_set("third")
        with pytest.raises(JournalRolledBackError):
            shop.idle()
        assert (vendor.charges, count_of(shop)) == (2, 2)
        shop.restart()
        shop.idle()
        assert (vendor.charges, count_of(shop)) == (2, 2)
        [event] = shop.store.service_events(kinds=["restored"])
        assert "2 submits are missing in it" in event.message
        assert "1 set waits for another day" in shop.status()


def test_an_upload_under_way_does_not_end_in_a_journal_that_is_older_inside(tmp_path: Path) -> None:
    """Put back between the intent and the last bytes, when no tick looks: the commit itself refuses."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.CLAIMED))
        older = older_copy(shop)
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        restored_inside(shop.journal, older)
        with pytest.raises(JournalRolledBackError):
            shop.daemon.parts.dispatcher.take_messages(lambda _: {}, lambda _: None)
        shop.restart()
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)


def test_the_same_content_again_and_commands_are_no_alarm(tmp_path: Path) -> None:
    """What another program writes that is a command, or the very content that is there, stops nothing."""
    with working(tmp_path) as (shop, vendor):
        shop.idle()
        older = older_copy(shop)
        restored_inside(shop.journal, older)
        assert shop.command("pause")["ok"]
        assert shop.command("resume")["ok"]
        shop.drop_set("chair")
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)


def test_the_count_of_submits_never_falls(tmp_path: Path) -> None:
    """A journal that knows of fewer submits than the root counts lets nothing go, and leaves the count as it is."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        count = shop.path(".rodin-watchd/submits")
        count.write_text(count.read_text().replace(f"{0:020d}", f"{7:020d}"))
        shop.idle()
        assert (vendor.charges, count_of(shop)) == (0, 7)
        assert shop.states() == {"chair": State.HELD}


def test_a_count_that_cannot_be_kept_stops_the_submits_alone(tmp_path: Path) -> None:
    """Nothing is paid before the count is durable; people read why, and it ends by itself."""
    with working(tmp_path) as (shop, vendor):
        place = shop.path(".rodin-watchd/submits")
        place.unlink()
        place.mkdir()
        (place / "in-the-way").touch()
        shop.drop_set("chair")
        shop.until(lambda: "cannot be written" in shop.status())
        shop.ticks(10, step_seconds=1)
        assert (vendor.charges, vendor.uploads) == (0, 0)
        assert "uploading" not in shop.actions(shop.job("chair"))
        shutil.rmtree(place)
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert "ATTENTION" not in shop.status()


def test_a_count_that_fails_at_the_last_moment_lets_nothing_go(tmp_path: Path) -> None:
    """Between the begin of an upload and its end the place was lost: not one byte more; it is sent when there is a place again."""
    with working(tmp_path) as (shop, vendor):
        place = shop.path(".rodin-watchd/submits")
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        place.unlink()
        place.mkdir()
        shop.until(lambda: "The count of submits" in shop.status())
        shop.ticks(10, step_seconds=1)
        assert (vendor.charges, vendor.uploads) == (0, 0)
        assert shop.actions(shop.job("chair")).count("uploading") == 2  # begun, and taken back
        place.rmdir()
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert "held" not in shop.actions(shop.job("chair"))


def test_a_count_that_fails_again_and_again_is_no_try_of_the_set(tmp_path: Path) -> None:
    """Whatever is withheld was not sent: no bound of the set or the account is reached, nobody is asked, and it goes on by itself."""
    with working(tmp_path) as (shop, vendor):
        place = shop.path(".rodin-watchd/submits")
        shop.drop_set("chair")
        for number in range(1, MOST_TRIES + 3):
            shop.until(shop.is_in("chair", State.UPLOADING))
            place.unlink()
            place.mkdir()
            shop.until(shop.is_in("chair", State.STAGED))
            place.rmdir()
            assert (shop.purchases("outcome", "sent"), vendor.charges) == ([("free", 0)] * number, 0)
            assert shop.job("chair").refused == 0
        shop.idle()
        assert (shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        assert shop.purchases("outcome", "sent")[-1] == ("charged", 1)
        assert "held" not in shop.actions(shop.job("chair"))


def test_a_count_that_fails_with_the_journal_is_taken_for_unknown(tmp_path: Path) -> None:
    """What `submitting` says can neither be counted nor taken back: nothing is paid, and a person decides."""
    with working(tmp_path) as (shop, vendor):
        place = shop.path(".rodin-watchd/submits")
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        place.unlink()
        place.mkdir()
        lock = sqlite3.connect(shop.journal, isolation_level=None)
        keep = SubmitCount.keep

        def keep_and_lock(submits: SubmitCount, count: int) -> None:
            lock.execute("BEGIN IMMEDIATE")
            keep(submits, count)

        with mock.patch.object(SubmitCount, "keep", keep_and_lock):  # between the two commits
            shop.daemon.tick()
        lock.execute("ROLLBACK")
        lock.close()
        shop.idle()
        assert (shop.states(), vendor.charges, vendor.uploads) == ({"chair": State.HELD}, 0, 0)


def test_a_count_that_nobody_can_read_stops_the_start(tmp_path: Path) -> None:
    """Nothing is paid by guesswork; the message says what to do."""
    with working(tmp_path) as (shop, _):
        shop.crash()
        shop.path(".rodin-watchd/submits").write_text("nonsense")
        with pytest.raises(DiskError, match="does not contain the count"):
            shop.start()
        shop.path(".rodin-watchd/submits").unlink()
        shop.start()


def test_only_a_whole_journal_of_this_service_is_written_out(tmp_path: Path) -> None:
    """A journal that is damaged in the connection is not put in the place of anything."""
    path = tmp_path / "journal.sqlite3"
    with closing(Journal(path)) as journal:
        remove_all(path)
        os.mkfifo(path)
        aside = journal.write_out("now")
        assert aside is not None
        assert aside.is_fifo()
        assert journal.quick_check() == "ok"
        assert not journal.why_not_in_place()
        with pytest.raises(JournalError, match="no such table"):
            journal._rows("SELECT * FROM none_such")


@pytest.mark.parametrize("removed", [None, "outbox/.rodin-watchd-submits", ".rodin-watchd-submits"])
def test_the_whole_hidden_folder_is_put_back_from_a_backup(tmp_path: Path, removed: str | None) -> None:
    """Journal and count together, while the service stands still: what was paid since is held, not paid again."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("before")
        shop.idle()
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.rest()
        shop.crash()
        hidden = shop.journal.parent
        subprocess.run(["cp", "-a", str(hidden), str(tmp_path / "backup")], check=True)
        shop.start()
        shop.until(shop.is_in("chair", State.SUBMITTED))
        shop.crash()
        if removed:
            (shop.root / removed).unlink()
        shutil.rmtree(hidden)
        (tmp_path / "backup").rename(hidden)
        shop.start()
        shop.idle()
        assert shop.states() == {"before": State.ARCHIVED, "chair": State.HELD}
        problem = shop.job("chair").problem
        assert problem is not None
        assert "older than what was paid" in problem.message
        shop.restart()
        shop.drop_set("fresh")
        shop.idle()
        assert shop.states()["fresh"] is State.ARCHIVED
        assert vendor.charges == 3


def test_a_command_in_a_journal_that_is_put_back_is_not_carried_out_again(tmp_path: Path) -> None:
    """It was given once: its answer is in the journal that is gone, and so is what it paid."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.crash()
        number = shop.leave("retry", **shop.seen("retry", {"job": "chair"}), job="chair", pay_again=True)
        copy = shop.copy_of_journal(tmp_path / "copy.sqlite3")
        shop.start()
        shop.idle()
        assert vendor.charges_in_all == 2
        shop.restart(shop.put_in_place(copy))
        shop.idle()
        assert "restored or copied since" in shop.answer_to(number)["message"]
        assert vendor.charges_in_all == 2


def test_the_note_of_another_root_says_nothing(tmp_path: Path) -> None:
    """An outbox that another service has used before, and that was accepted, makes no journal older than it is."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        note = shop.path("outbox/.rodin-watchd-submits")
        opening, _, _ = note.read_text().rpartition(f"{1:020d}")
        note.write_text(f"{opening}{900:020d} {'0' * 12}\n")
        shop.restart()
        shop.drop_set("two")
        shop.idle()
        assert shop.states() == {"one": State.ARCHIVED, "two": State.ARCHIVED}
        assert vendor.charges == 2


@pytest.mark.parametrize("kind", ["result", "text", "appended", "fifo", "link"])
@pytest.mark.parametrize("where", ["", "outbox/"])
def test_what_lies_in_the_place_of_the_note_is_not_written_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str, kind: str
) -> None:
    """A hard link to a paid result, a person's own text: they stay, it is logged once, and the work goes on."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        note = shop.path(f"{where}.rodin-watchd-submits")
        if kind == "appended":
            with note.open("a") as stream:
                stream.write("my notes of three weeks")
            mine = note
        else:
            note.unlink()
            mine = shop.path("notes")
            mine.write_text("my notes of three weeks")
        if kind == "result":
            [mine] = shop.path("outbox/one").glob("*.glb")
            note.hardlink_to(mine)
        elif kind == "text":
            mine.rename(note)
            mine = note
        elif kind == "fifo":
            os.mkfifo(note)
        elif kind == "link":
            note.symlink_to(mine)
        before = mine.read_bytes()
        for name in ("two", "three"):
            shop.drop_set(name)
            shop.idle()
        assert mine.read_bytes() == before
        assert caplog.text.count(f"{note} is not a file of this service") == 1
        assert set(shop.states().values()) == {State.ARCHIVED}
        assert vendor.charges == 3


@pytest.mark.parametrize("name", [".rodin-watchd/submits", "outbox/.rodin-watchd-submits"])
def test_a_backup_by_hard_links_keeps_its_counts(tmp_path: Path, name: str) -> None:
    """What shares a file with the count or its note stays as it was; both count on."""
    with working(tmp_path) as (shop, _vendor):
        shop.drop_set("one")
        shop.idle()
        kept = tmp_path / "kept"
        kept.hardlink_to(shop.path(name))
        before = kept.read_bytes()
        shop.drop_set("two")
        shop.idle()
        assert kept.read_bytes() == before
        assert f"{2:020d}" in shop.path(name).read_text()


@pytest.mark.parametrize("digits", [16, 20, 21, 1000, 5000])
def test_an_absurd_note_says_nothing(tmp_path: Path, digits: int) -> None:
    """A number that nobody can have counted makes no journal older than it is."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        note = shop.path("outbox/.rodin-watchd-submits")
        note.write_text(note.read_text().replace(f"{1:020d}", "9" * digits))
        shop.restart()
        shop.drop_set("two")
        shop.idle()
        assert shop.states() == {"one": State.ARCHIVED, "two": State.ARCHIVED}
        assert vendor.charges == 2


def test_a_lost_hidden_folder_and_an_accepted_root_count_on(tmp_path: Path) -> None:
    """Beginning anew was a person's will: what the notes still count is in no budget, and stops nothing."""
    with working(tmp_path) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        shop.crash()
        shutil.rmtree(shop.journal.parent)
        run = shop.at_terminal("accept", "root", "--yes")
        assert run.exit_code == 0, run.output
        shop.start()
        shop.drop_set("two")
        shop.idle()
        shop.restart()
        shop.drop_set("three")
        shop.idle()
        assert shop.states() == {"two": State.ARCHIVED, "three": State.ARCHIVED}
        assert vendor.charges == 3
