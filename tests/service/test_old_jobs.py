"""Old jobs: their details are moved to the archive file; what people read, and what protects from paying twice, stays."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from workshop import Vendor, Workshop, image, model, workshop

from rodin_watchd.adapters.store.archive import ArchiveFile, archive_backup_path, archive_path
from rodin_watchd.adapters.store.backup import backup_path, make_backup
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.cli.check.findings import Level
from rodin_watchd.cli.check.service import journal_findings
from rodin_watchd.cli.explain import answer_to
from rodin_watchd.client.choices import actions
from rodin_watchd.config import Config
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.errors import JournalError
from rodin_watchd.model import Event, Job, State
from rodin_watchd.service.housekeeping import LOOK_AGAIN_SECONDS
from rodin_watchd.web.data import one_set

DAYS = 31


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor) -> Iterator[Workshop]:
    """Give a daemon that moves the details of jobs after thirty days."""
    with workshop(tmp_path, vendor.emulator.base_url, store={"keep_days": 30}) as shop:
        yield shop


def read(shop: Workshop, name: str) -> tuple[Job, list[Event]]:
    """Return a job and its history as the command line reads them."""
    with closing(JournalReader(shop.journal)) as journal:
        job = journal.find(name)
        assert journal.job(job.id) == job
        return job, journal.events(job.id)


def shown(shop: Workshop, name: str) -> list[object]:
    """Return what the page has of a set, and what `explain` says of its file and of its result."""
    with closing(JournalReader(shop.journal)) as journal:
        page = one_set(journal.find(name), journal, 0.0)
    places = (f"inbox/{name}.obj", f"outbox/{name}/model.glb")
    return [page, *(answer_to(shop.config, Path(place)).sentences for place in places)]


def move(shop: Workshop) -> None:
    """Let a month pass, and what is old then be moved."""
    shop.daemon.parts.old_jobs.close()  # a look of before that still goes on finds nothing old, and would take one of the turns
    shop.hands.seconds += DAYS * DAY_SECONDS
    for _ in range(3):
        shop.ticks(1, step_seconds=LOOK_AGAIN_SECONDS)
        shop.daemon.parts.old_jobs.close()


def in_journal(shop: Workshop, job_id: str) -> int:
    """Return how many events of a job are in the journal itself."""
    with closing(sqlite3.connect(shop.journal)) as journal:
        [found] = journal.execute("SELECT count(*) FROM events WHERE job_id = ?", (job_id,)).fetchone()
    return int(found)


def test_what_is_shown_of_an_old_job_stays_the_same(shop: Workshop, vendor: Vendor) -> None:
    """Its details come from the archive file; lists have it as before; the folders stay as they are."""
    shop.drop_set("chair", "seed = 7\n")
    shop.idle()
    shop.drop_set("stool")
    shop.idle()
    job, events = read(shop, "chair")
    before = shown(shop, "chair")
    folders = shop.found("outbox") | shop.found("archive")
    whole = in_journal(shop, job.id)
    shop.ticks(3, step_seconds=DAY_SECONDS)
    assert not archive_path(shop.journal).exists()
    move(shop)
    found, told = read(shop, "chair")
    assert found.condensed_at > job.created_at + DAYS * DAY_SECONDS
    assert (found.files, found.options, found.results, found.times) == (job.files, job.options, job.results, job.times)
    assert told == events
    assert shown(shop, "chair") == before
    assert in_journal(shop, job.id) < whole / 2
    assert {one.name: (one.state, one.place) for one in shop.jobs()}["chair"] == (job.state, job.place)
    assert shop.found("outbox") | shop.found("archive") == folders
    assert vendor.charges == 2
    assert stat.S_IMODE(archive_path(shop.journal).stat().st_mode) == stat.S_IMODE(shop.journal.stat().st_mode)


def test_an_old_content_is_not_paid_again(shop: Workshop, vendor: Vendor) -> None:
    """Also without the archive file: what decides is in the journal."""
    shop.drop_set("chair")
    shop.idle()
    move(shop)
    archive_path(shop.journal).unlink()
    shop.restart()
    files = {path.suffix: path.read_bytes() for path in shop.path("archive/chair").iterdir()}
    for suffix in (".obj", ".png"):
        shop.drop(f"again{suffix}", files[suffix])
    shop.idle()
    assert shop.states()["again"] is State.FAILED
    assert "delivered before: look in outbox/chair" in shop.report("again")
    assert vendor.charges == 1


def test_a_failed_set_stays_until_it_is_cleared(shop: Workshop) -> None:
    """Then it can be shown, and not be retried any more."""
    for name in ("lamp", "vase"):
        shop.drop(f"{name}.obj", model(name))
        shop.drop(f"{name}.png", image(name))
        shop.drop(f"{name}.toml", b"nonsense = 1\n")
    shop.idle()
    assert shop.command("clear", job="lamp")["ok"]
    move(shop)
    lamp, vase = (read(shop, name)[0] for name in ("lamp", "vase"))
    assert lamp.condensed_at
    assert not vase.condensed_at
    answer = shop.command("retry", job="lamp")
    assert not answer["ok"]
    assert "moved to the archive file (store.keep_days)" in answer["message"]
    assert "Drop the set into the inbox again" in answer["message"]
    assert actions(lamp, lamp.price, 0.0, was_taken=True) == ([], [answer["message"].partition(" Drop")[0]])
    assert "moved to the archive file" in shop.command("rerun", job="lamp")["message"]


def test_a_crash_between_the_two_files_loses_nothing(shop: Workshop) -> None:
    """The job is in both, is read from the journal, and is moved once more."""
    shop.drop_set("chair")
    shop.idle()
    before = read(shop, "chair")
    shop.hands.seconds += DAYS * DAY_SECONDS
    copied(shop)
    shop.restart()
    assert read(shop, "chair") == before
    move(shop)
    job, events = read(shop, "chair")
    assert (job.condensed_at > 0.0, events) == (True, before[1])


def copied(shop: Workshop) -> list[Any]:
    """Copy what is old to the archive file, and do no more."""
    now = shop.hands.clock().now()
    with closing(JournalReader(shop.journal)) as journal, closing(ArchiveFile(shop.journal)) as archive:
        found = journal.old_jobs(now - DAY_SECONDS, now, 10)
        archive.put(found)
    return [one.known for one in found]


def test_what_changed_after_the_copy_stays_whole(shop: Workshop) -> None:
    """An event that came meanwhile is not dropped with the others."""
    shop.drop_set("chair")
    shop.idle()
    job = shop.job("chair")
    shop.hands.seconds += DAYS * DAY_SECONDS
    known = copied(shop)
    shop.daemon.parts.job_store.report_of_job(job, "note", "It is on paper, too.", shop.hands.clock().now())
    assert shop.daemon.parts.store.condense(known) == 0
    assert not read(shop, "chair")[0].condensed_at


def test_the_backup_has_the_archive_file(shop: Workshop) -> None:
    """An older journal that is put back has its jobs whole, and they are moved again; a lost archive file comes from its backup."""
    shop.drop_set("chair")
    shop.idle()
    whole = read(shop, "chair")
    make_backup(shop.journal, shop.hands.clock().now())
    kept = shop.root.with_name("kept.sqlite3")
    shutil.copy(backup_path(shop.journal), kept)
    move(shop)
    shop.ticks(3, step_seconds=DAY_SECONDS)
    shop.daemon.parts.standing.housekeeping.close()
    assert shop.daemon.parts.standing.housekeeping.trouble == ""
    moved = read(shop, "chair")
    archive_path(shop.journal).unlink()
    with pytest.raises(JournalError, match="is missing") as told:
        read(shop, "chair")
    assert f"copy {archive_backup_path(shop.journal).name}" in told.value.advice_given
    assert [one.verdict for one in journal_findings(shop.config)] == [Level.OK, Level.PROBLEM]
    shutil.copy(archive_backup_path(shop.journal), archive_path(shop.journal))
    assert read(shop, "chair") == moved
    assert [one.verdict for one in journal_findings(shop.config)] == [Level.OK, Level.OK]
    shop.restart(shop.put_in_place(kept))
    assert read(shop, "chair") == whole
    move(shop)
    assert read(shop, "chair")[1] == whole[1]


def test_a_file_of_another_program_stays(shop: Workshop) -> None:
    """Nothing is moved, and people read why."""
    archive_path(shop.journal).write_text("My diary\n")
    shop.drop_set("chair")
    shop.idle()
    move(shop)
    shop.ticks(3, step_seconds=1.0)
    assert not read(shop, "chair")[0].condensed_at
    assert archive_path(shop.journal).read_text() == "My diary\n"
    assert "journal.archive.sqlite3 is not a file of this service" in shop.status()


def test_nothing_is_moved_by_default(tmp_path: Path, vendor: Vendor) -> None:
    """Also after years."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.idle()
        shop.hands.seconds += 40 * DAYS * DAY_SECONDS
        move(shop)
        assert not read(shop, "chair")[0].condensed_at
        assert not archive_path(shop.journal).exists()
        assert Config().store.keep_days is None
