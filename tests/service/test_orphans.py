"""What belongs to nobody is set aside and told; what was removed under a job is fetched again, or told."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from places import share
from workshop import Vendor, Workshop, emulated, image, model, workshop

from rodin_watchd.adapters.store.backup import backup_path, make_backup
from rodin_watchd.model import State

STRAY = "feedfacebeef"


def orphan(shop: Workshop) -> None:
    """Leave a work folder as of a job that nobody knows."""
    inputs = shop.root / ".rodin-watchd" / "work" / STRAY / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "lost.obj").write_bytes(model("lost"))
    shop.dropped.append(model("lost"))


def told(shop: Workshop, kind: str) -> list[str]:
    """Return what the service's history says of a kind, oldest first."""
    return [e.message for e in reversed(shop.store.service_events()) if e.kind == kind]


def test_a_work_folder_of_nobody_is_set_aside(shop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    """At the next start it comes to light in `failed/`, whole, with a report; empty ones go."""
    orphan(shop)
    (shop.root / ".rodin-watchd" / "work" / "0" / "inputs").mkdir(parents=True)
    (shop.root / ".rodin-watchd" / "work" / "empty").mkdir()
    shop.restart()
    assert {f"set-aside-{STRAY}/inputs/lost.obj", f"set-aside-{STRAY}/REPORT.txt"} <= shop.found("failed")
    text = shop.report(f"set-aside-{STRAY}")
    assert "the journal knows no job" in text.casefold()
    assert "may have been submitted and charged" in text
    assert told(shop, "set-aside")[-1].endswith(f"it is in failed/set-aside-{STRAY} now.")
    assert STRAY in [vars(record)["job"] for record in caplog.records if vars(record)["action"] == "set-aside"]
    assert shop.work_folders() == set()
    orphan(shop)
    shop.restart()
    assert f"set-aside-{STRAY}-2/inputs/lost.obj" in shop.found("failed")
    shop.assert_nothing_lost()


def test_also_to_another_filesystem(tmp_path: Path, vendor: Vendor) -> None:
    """By a copy that is whole before it appears."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "failed"),
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        orphan(shop)
        shop.restart()
        assert {f"set-aside-{STRAY}/inputs/lost.obj", f"set-aside-{STRAY}/REPORT.txt"} <= shop.found("failed")
        assert shop.work_folders() == set()


def test_live_jobs_keep_their_folders(shop: Workshop, vendor: Vendor) -> None:
    """Whatever state they are in."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.DOWNLOADED))
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert told(shop, "set-aside") == []
    assert vendor.charges == 1


def test_removed_results_are_fetched_again(shop: Workshop, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody cleared the hidden folder: the task is paid for, and its results cost nothing."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.DOWNLOADED))
    job_id = shop.job("chair").id
    shop.restart(lambda: shutil.rmtree(shop.root / ".rodin-watchd" / "work" / job_id))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert "files-gone" in shop.actions(shop.job("chair"))
    assert len(told(shop, "files-gone")) == 1
    [line] = [vars(record) for record in caplog.records if vars(record)["action"] == "files-gone"]
    assert (line["levelname"], line["set"], line["job"]) == ("WARNING", "chair", job_id)
    assert "chair/job.toml" in shop.found("outbox")
    assert vendor.charges == 1


def test_removed_inputs_fail_the_set_with_a_report(tmp_path: Path, vendor: Vendor) -> None:
    """Nothing was sent, nothing is charged, and no lane is paused for it."""
    with emulated(balance=Decimal(0)) as poor, workshop(tmp_path, poor.emulator.base_url) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.STAGED))
        job_id = shop.job("chair").id
    shutil.rmtree(tmp_path / ".rodin-watchd" / "work" / job_id)
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        assert "files-gone" in shop.actions(shop.job("chair"))
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        assert "is not in the work folder any more" in shop.report("chair")
        assert told(shop, "paused") == told(shop, "paused")[:1]
        assert vendor.uploads == 0


# ---- backups --------------------------------------------------------------------------------------------------------


def test_a_day_makes_a_backup(shop: Workshop) -> None:
    """The first an hour after the first job, whatever restarts there are, then each day, with a look for orphans."""
    path = backup_path(shop.journal)
    shop.ticks(3, step_seconds=3600.0)
    assert not path.exists()  # there is nothing to keep
    shop.drop_set("chair")
    shop.idle()
    shop.ticks(2, step_seconds=1700.0)
    shop.restart()
    assert not path.exists()
    shop.ticks(2, step_seconds=400.0)
    shop.until(lambda: shop.store.meta("backed_up_at") is not None, busy_seconds=1.0)
    first = path.stat().st_ino
    orphan(shop)
    shop.ticks(20, step_seconds=3600.0)
    assert path.stat().st_ino == first
    shop.ticks(6, step_seconds=3600.0)
    assert f"set-aside-{STRAY}/inputs/lost.obj" in shop.found("failed")
    shop.daemon.parts.standing.housekeeping.close()
    assert path.stat().st_ino != first


def test_a_backup_that_fails_is_told(shop: Workshop) -> None:
    """In STATUS.txt, and once each way in the history."""
    path = backup_path(shop.journal)
    path.mkdir()
    (path / "in the way").write_text("")
    shop.drop_set("chair")
    shop.idle()
    shop.ticks(2, step_seconds=3600.0)
    shop.daemon.parts.standing.housekeeping.close()
    shop.ticks(3, step_seconds=1.0)
    assert "backup" in shop.status()
    shutil.rmtree(path)
    shop.ticks(2, step_seconds=3600.0)
    shop.daemon.parts.standing.housekeeping.close()
    shop.ticks(3, step_seconds=1.0)
    assert "backup" not in shop.status()
    assert [message for message in told(shop, "paused") if "backup" in message] != []
    assert told(shop, "resumed")[-1] == "backup: It is made again."


def test_a_restored_journal_pays_for_nothing_twice(shop: Workshop, vendor: Vendor) -> None:
    """What the backup takes for unsent is held; what came after it is set aside; what it knows as paid is delivered."""
    journal = shop.journal
    shop.drop_set("unsent")
    shop.until(shop.is_in("unsent", State.UPLOADING))
    make_backup(journal, shop.hands.seconds)
    shop.idle()
    assert vendor.charges == 1
    shop.drop("new.obj", model("new"))
    shop.drop("new.png", image("new"))
    shop.until(lambda: "new" in shop.states() and shop.states()["new"] is State.DOWNLOADED)
    shop.crash()
    shop.put_in_place(backup_path(journal))()
    shop.start()
    shop.idle()
    assert shop.states() == {"unsent": State.HELD}
    assert "restored from its backup" in shop.status()
    assert [name for name in shop.found("failed") if name.endswith("inputs/new.obj")]
    assert vendor.charges == 2
    assert len(told(shop, "restored")) == 1
    shop.restart()
    shop.idle()
    assert len(told(shop, "restored")) == 1
    shop.assert_nothing_lost()
