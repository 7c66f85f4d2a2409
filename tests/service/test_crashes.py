"""Crash-only: a daemon that is dropped at any moment is continued by the next one, and nothing is lost or paid twice."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from workshop import START_AT, Vendor, Workshop, emulated, image, model, working, workshop

from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core import machine
from rodin_watchd.model import Answer, State

STATES = ("claimed", "uploading", "submitted", "generated", "downloaded", "processed", "delivered")


@pytest.mark.parametrize("state", STATES)
def test_a_job_goes_on_after_a_crash_in_each_state(shop: Workshop, vendor: Vendor, state: str) -> None:
    """Dropped after a state was committed, with the next step's effect done but not committed: redone, paid once."""
    shop.drop_set("chair", "seed = 5\n")
    shop.until(shop.is_in("chair", State(state)))
    shop.restart()
    assert shop.job("chair").state == state
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert shop.found("outbox") == {"chair/base_basic_pbr.glb", "chair/preview.webp", "chair/job.toml"}
    assert shop.found("archive") == {"chair/chair.obj", "chair/chair.png", "chair/chair.toml", "chair/job.toml"}
    assert shop.found("inbox") == set()
    assert shop.work_folders() == set()
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_an_archived_set_that_was_fetched_before_the_restart_leaves_no_empty_folder(
    shop: Workshop, vendor: Vendor
) -> None:
    """The crash came between the rename and the commit, and somebody takes each folder away as soon as it appears."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.DELIVERED))
    shop.restart(lambda: shop.path("archive/chair").rename(shop.path("fetched")))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert {path.name for path in shop.path("fetched").iterdir()} == {"chair.obj", "chair.png", "job.toml"}
    assert shop.found("archive") == set()
    assert shop.work_folders() == set()
    assert vendor.charges == 1


@pytest.mark.parametrize("crashes", [1, 3])
def test_a_crash_while_a_set_is_buried_buries_it_once(shop: Workshop, vendor: Vendor, crashes: int) -> None:
    """The report is written and published again, in one place, with nothing left in the work folder."""
    shop.drop("chair.glb", b"nonsense" * 20)
    shop.drop("chair.png", image("chair"))
    shop.until(shop.is_in("chair", State.FAILING))
    for _ in range(crashes):
        shop.restart()
        shop.ticks(1)
    shop.idle()
    assert shop.states() == {"chair": State.FAILED}
    assert shop.found("failed") == {"chair/chair.glb", "chair/chair.png", "chair/REPORT.txt", "chair/report.toml"}
    assert shop.work_folders() == set()
    assert vendor.charges == 0
    shop.assert_nothing_lost()


def test_a_crash_after_each_tick_delivers_all_and_pays_once(shop: Workshop, vendor: Vendor) -> None:
    """However often the service dies, each set is delivered or held, nothing is lost and nothing is paid for twice."""
    for name in ("one", "two", "three"):
        shop.drop_set(name)
    ends = {State.ARCHIVED, State.HELD}
    for _ in range(60):
        shop.ticks(1, step_seconds=1)
        if len(shop.states()) == 3 and set(shop.states().values()) <= ends:
            break
        shop.restart()
    shop.idle()
    assert set(shop.states().values()) <= ends
    assert vendor.charges <= 3
    archived = [job for job in shop.jobs() if job.state is State.ARCHIVED]
    assert all(shop.path(f"{job.place}/base_basic_pbr.glb").exists() for job in archived)
    for job in shop.jobs():
        if job.state is State.HELD:
            assert shop.command("resolve", job=job.id, how="give-up")["ok"]
    shop.idle()
    shop.assert_nothing_lost()


def test_a_crash_during_an_upload_is_proven_not_submitted(shop: Workshop, vendor: Vendor) -> None:
    """An upload whose end was never sent is no job at the vendor, and is simply sent again."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.restart()
    assert vendor.charges == 0
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)


def test_a_crash_between_the_last_bytes_and_the_answer_holds_the_job(shop: Workshop, vendor: Vendor) -> None:
    """`submitting` without an answer is never sent again on its own: a person decides, and STATUS.txt says so."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTING))
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.HELD}
    for _ in range(3):
        shop.restart()
        shop.ticks(3, step_seconds=100_000)
    assert (vendor.charges, vendor.uploads) == (1, 1)
    assert "HELD: the person who runs the service has to decide (1)" in shop.status()
    assert "may have accepted and charged it" in shop.status()
    assert shop.daemon.is_idle()
    assert shop.daemon.failed == 1  # also in a run that began when it was held already


def test_a_committed_answer_is_understood_after_a_crash(shop: Workshop, vendor: Vendor) -> None:
    """`submitting` with its answer in the journal goes on with the task that the answer names."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTING))
    shop.crash()
    uuid = vendor.emulator.ledger()["charges"][-1]["task_uuid"]
    body = json.dumps({"error": None, "uuid": uuid, "jobs": {"uuids": []}}).encode()
    with contextlib.closing(Journal(shop.journal)) as journal:
        [job] = journal.jobs()
        journal.commit([machine.answered(job, Answer(201, body))], START_AT)
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)
    assert shop.job("chair").charges == 1


def test_a_refusal_that_was_committed_is_understood_after_a_crash(shop: Workshop, vendor: Vendor) -> None:
    """`submitting` with a 429 in the journal was not charged: it is submitted again."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.restart()
    shop.crash()
    with contextlib.closing(Journal(shop.journal)) as journal:
        [job] = journal.jobs()
        closing = machine.close_upload(job, START_AT)
        journal.commit([closing, machine.answered(closing.job, Answer(429, b"{}"))], START_AT)
    shop.start()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)


def test_an_early_answer_is_understood_before_a_cancel(shop: Workshop, vendor: Vendor) -> None:
    """`uploading` with an answer in the journal was paid for: who cancels it after a crash is told so, and loses nothing."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.crash()
    body = json.dumps({"error": None, "uuid": "early", "jobs": {"uuids": []}}).encode()
    with contextlib.closing(Journal(shop.journal)) as journal:
        [job] = journal.jobs()
        journal.commit([machine.answered(job, Answer(201, body))], START_AT)
    number = shop.leave("cancel", **shop.seen("cancel", {"job": "chair"}), job="chair")
    shop.start()
    told = shop.answer_to(number)
    assert not told["ok"]
    assert "was paid for since you looked" in told["message"]
    job = shop.job("chair")
    assert (job.state, job.charges) == (State.SUBMITTED, 1)
    assert job.task is not None
    assert job.task.uuid == "early"
    assert shop.purchases("outcome") == ["charged"]
    assert vendor.charges == 0


def test_the_task_of_another_job_proves_nothing(shop: Workshop, vendor: Vendor) -> None:
    """A vendor that answers two submits with one task holds the second job, and does not stop the service."""
    shop.drop_set("first")
    shop.idle()
    shop.drop_set("second")
    shop.until(shop.is_in("second", State.SUBMITTING))
    shop.crash()
    uuid = vendor.emulator.ledger()["charges"][-2]["task_uuid"]
    with contextlib.closing(Journal(shop.journal)) as journal:
        [job] = journal.jobs([State.SUBMITTING])
        journal.commit([machine.answered(job, Answer(201, json.dumps({"uuid": uuid}).encode()))], START_AT)
    shop.start()
    shop.idle()
    assert shop.states() == {"first": State.ARCHIVED, "second": State.HELD}
    assert "the task of “first”" in shop.status()


def test_a_paused_service_is_still_paused_after_a_restart(shop: Workshop, vendor: Vendor) -> None:
    """What a person stopped does not start to spend money because the machine was restarted."""
    shop.command("pause")
    shop.drop_set("chair")
    shop.restart()
    shop.idle()
    assert shop.jobs() == []
    assert vendor.charges == 0


def test_a_clock_that_was_turned_back_holds_nothing_up(shop: Workshop, vendor: Vendor) -> None:
    """Waiting times from a clock that ran years ahead are over at once when it is put right."""
    shop.hands.jump_seconds = 1e8
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTED))
    shop.hands.jump_seconds = 0
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 1


def test_a_result_that_was_taken_away_before_the_restart_comes_once_more(shop: Workshop, vendor: Vendor) -> None:
    """Published, not yet committed, and fetched by a quick consumer: the job does not stand still, and pays nothing."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.PROCESSED))
    shop.restart(between=lambda: shutil.rmtree(shop.root / "outbox" / "chair"))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (shop.root / "outbox" / "chair" / "job.toml").is_file()
    assert vendor.charges == 1


def test_a_cleaned_up_work_folder_costs_the_set_not_the_service(shop: Workshop, vendor: Vendor) -> None:
    """Inputs that somebody changed in the work folder are not sent for what was checked: the set is judged again; the others go on."""
    shop.drop_set("chair")
    shop.command("pause")
    shop.command("resume")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.restart()
    shop.crash()
    [name] = shop.work_folders()
    job_id = shop.root / ".rodin-watchd" / "work" / name
    (job_id / "inputs" / "chair.obj").write_bytes(model("tampered"))
    shop.dropped = [image("chair"), model("tampered")]
    shop.start()
    shop.drop_set("good")
    shop.idle()
    ended = sorted((job.name, job.state) for job in shop.jobs())
    assert ended == [("chair", State.ARCHIVED), ("chair", State.RETURNED), ("good", State.ARCHIVED)]
    assert vendor.charges == 2
    shop.assert_nothing_lost()


FOREVER = 1_000_000


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what tells whether a file was written anew."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_preview_that_never_comes_is_left_out_and_the_model_fetched_once(tmp_path: Path) -> None:
    """What was paid for is delivered without its picture, and the receipt says so."""
    with working(tmp_path / "root", f"file-500={FOREVER}@2") as (shop, vendor):
        shop.drop_set("chair")
        folder = shop.path(".rodin-watchd/work")
        shop.until(lambda: shop.is_in("chair", State.GENERATED)() and shop.job("chair").attempts > 0)
        downloads = folder / shop.job("chair").id / "download"
        first = identities(downloads)
        assert set(first) == {"base_basic_pbr.glb"}
        shop.until(lambda: shop.job("chair").attempts > 1)
        assert identities(downloads) == first
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.found("outbox") == {"chair/base_basic_pbr.glb", "chair/job.toml"}
        assert shop.path("outbox/chair/base_basic_pbr.glb").stat().st_ino == first["base_basic_pbr.glb"][0]
        assert "no preview.webp" in shop.path("outbox/chair/job.toml").read_text()
        assert vendor.charges == 1


@pytest.mark.parametrize("turn", [2, 3])
def test_results_that_came_are_kept_when_others_never_come(tmp_path: Path, turn: int) -> None:
    """Each is fetched once; when nobody waits any longer, what is here lies beside the report."""
    with working(tmp_path / "root", f"file-500={FOREVER}@{turn}") as (shop, vendor):
        shop.drop_set("chair", 'geometry_file_format = "obj"\n')
        shop.until(lambda: shop.is_in("chair", State.GENERATED)() and shop.job("chair").attempts > 0)
        first = identities(shop.path(".rodin-watchd/work") / shop.job("chair").id / "download")
        assert len(first) == turn - 1
        shop.until(lambda: shop.job("chair").attempts > 1)
        shop.command("cancel", job=shop.job("chair").id)
        shop.until(shop.is_in("chair", State.FAILED))
        assert identities(shop.path("failed/chair/results")) == first
        assert vendor.charges == 1
        shop.assert_nothing_lost()


def test_results_that_are_here_stay_until_the_vendor_has_given_them_anew(tmp_path: Path) -> None:
    """One was cleared away, and the vendor keeps nothing any more: the others are not thrown away for that."""
    with working(tmp_path / "root", f"download-404={FOREVER}@2") as (shop, _vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.DOWNLOADED))
        shop.rest()
        home = shop.path(".rodin-watchd/work") / shop.job("chair").id
        model_file = (home / "download/base_basic_pbr.glb").read_bytes()

        def clear_away() -> None:
            (home / "download/preview.webp").unlink()
            shutil.rmtree(home / "result")

        shop.restart(clear_away)
        shop.until(lambda: shop.is_in("chair", State.GENERATED)() and shop.job("chair").attempts > 1)
        shop.command("cancel", job=shop.job("chair").id)
        shop.until(shop.is_in("chair", State.FAILED))
        assert shop.path("failed/chair/results/base_basic_pbr.glb").read_bytes() == model_file


def test_a_lost_share_does_not_look_like_an_empty_one(tmp_path: Path) -> None:
    """While the inbox is missing the service says so and is not idle; when it is back, it goes on by itself."""
    with emulated() as vendor, workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("chair")
        away = tmp_path / "away"
        shop.path("inbox").rename(away)
        shop.ticks(3, step_seconds=2)
        assert not shop.daemon.is_idle()
        assert "is missing" in shop.status()
        away.rename(shop.path("inbox"))
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert "ATTENTION" not in shop.status()
