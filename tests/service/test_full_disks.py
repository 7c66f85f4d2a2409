"""Full and read-only disks, real ones: what needs them pauses, nothing is lost, and it goes on by itself."""

from __future__ import annotations

from pathlib import Path

from places import share
from strangers import filled_up
from workshop import Vendor, Workshop, workshop

from rodin_watchd.model import State


def told(shop: Workshop) -> list[str]:
    """Return what was paused and resumed, oldest first, each with its lane."""
    events = reversed(shop.store.service_events())
    return [f"{e.kind} {e.message.partition(':')[0]}" for e in events if e.kind in ("paused", "resumed")]


def test_the_work_folders_disk_is_full(tmp_path: Path, vendor: Vendor) -> None:
    """A paid result waits at the vendor, new sets wait, polls go on; no try is used up, and it is told once each way."""
    folders = {"state": str(tmp_path / "state"), "reserve_megabytes": 0}
    with (
        share(tmp_path / "disk", tmp_path / "root", size="16m") as root,
        workshop(root.place, vendor.emulator.base_url, folders=folders) as shop,
    ):
        shop.drop_set("chair")
        shop.drop_set("sofa")
        shop.until(shop.is_in("chair", State.SUBMITTED))
        filled_up(root.disk / "filler")
        shop.until(shop.is_in("chair", State.GENERATED))
        shop.ticks(100, step_seconds=5.0)
        assert any("full" in notice or "No space left" in notice for notice in shop.notices())
        assert shop.job("chair").state is State.GENERATED
        assert {job.attempts for job in shop.jobs()} == {0}
        (root.disk / "filler").unlink()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "sofa": State.ARCHIVED}
        assert told(shop) == ["paused room", "resumed room"]
        shop.assert_nothing_lost()
        assert vendor.charges == 2


def test_room_is_kept_for_what_is_paid(tmp_path: Path, vendor: Vendor) -> None:
    """With less room than the reserve nothing is taken or sent, though there is some."""
    folders = {"reserve_megabytes": 8}
    with (
        share(tmp_path / "disk", tmp_path / "root", size="16m") as root,
        workshop(root.place, vendor.emulator.base_url, folders=folders) as shop,
    ):
        (root.disk / "filler").write_bytes(bytes(9_000_000))
        shop.drop_set("chair")
        shop.ticks(100, step_seconds=1.0)
        assert shop.states() == {"chair": State.CLAIMED}
        assert "MB are free on the disk of" in shop.status()
        assert vendor.uploads == 0
        (root.disk / "filler").unlink()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert "ATTENTION" not in shop.status()


def test_the_outbox_is_full(tmp_path: Path, vendor: Vendor) -> None:
    """Only the delivery waits, other sets are bought meanwhile; nothing half-made stays there, before or after."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "outbox", size="4m") as outbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        filled_up(outbox.disk / "filler")
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.PROCESSED))
        shop.ticks(20, step_seconds=5.0)
        shop.drop_set("sofa")
        shop.until(shop.is_in("sofa", State.PROCESSED))
        shop.ticks(20, step_seconds=5.0)
        assert "outbox cannot be written: No space left on device" in shop.status()
        assert {job.attempts for job in shop.jobs()} == {0}
        assert [path.name for path in outbox.disk.iterdir() if path.is_dir()] == []
        (outbox.disk / "filler").unlink()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "sofa": State.ARCHIVED}
        assert sorted(path.name for path in outbox.disk.iterdir() if path.is_dir()) == ["chair", "sofa"]
        assert told(shop) == ["paused outbox", "resumed outbox"]
        assert vendor.charges == 2


def test_the_outbox_is_read_only(tmp_path: Path, vendor: Vendor) -> None:
    """What is bought comes as far as it can; nothing new is taken, for it could not be delivered."""
    with (
        share(tmp_path / "disk", tmp_path / "root" / "outbox") as outbox,
        workshop(tmp_path / "root", vendor.emulator.base_url) as shop,
    ):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTED))
        outbox.freeze()
        shop.drop_set("sofa")
        shop.until(shop.is_in("chair", State.PROCESSED))
        shop.ticks(50, step_seconds=5.0)
        assert shop.states() == {"chair": State.PROCESSED, "sofa": State.CLAIMED}
        assert "Read-only file system" in shop.status()
        assert {job.attempts for job in shop.jobs()} == {0}
        outbox.thaw()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "sofa": State.ARCHIVED}
        assert sorted(told(shop)) == ["paused outbox", "paused taking", "resumed outbox", "resumed taking"]
        assert vendor.charges == 2


def test_the_journals_disk_is_full_when_the_answer_comes(tmp_path: Path, vendor: Vendor) -> None:
    """The answer that was paid for is kept by the ballast, through a crash, too; all else waits for room."""
    with (
        share(tmp_path / "disk", tmp_path / "state", size="24m") as state,
        workshop(tmp_path / "root", vendor.emulator.base_url, folders={"state": str(tmp_path / "state")}) as shop,
    ):
        path = shop.journal
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.store.sweep()
        filled_up(state.disk / "filler")
        shop.until(lambda: shop.job("chair").answer is not None)
        assert not path.with_name("journal.ballast").exists()
        shop.ticks(50, step_seconds=1.0)
        assert shop.states() == {"chair": State.SUBMITTING}
        assert "The service has too little disk space. Tell the person who runs the service." in shop.status()
        assert "disk with the journal is full" in shop.standstill()
        assert "is full: the service does nothing" in shop.told("status")
        shop.drop_set("sofa")
        shop.ticks(50, step_seconds=1.0)
        assert set(shop.states()) == {"chair"}
        shop.crash()
        (state.disk / "filler").unlink()
        shop.start()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "sofa": State.ARCHIVED}
        assert path.with_name("journal.ballast").exists()
        assert "ATTENTION" not in shop.status()
        shop.assert_nothing_lost()
        assert vendor.charges == 2


def test_the_journals_disk_is_full_all_the_time(tmp_path: Path, vendor: Vendor) -> None:
    """Nothing is taken and nothing is sent; with room again it goes on without a restart, and tells it once each way."""
    with (
        share(tmp_path / "disk", tmp_path / "state", size="24m") as state,
        workshop(tmp_path / "root", vendor.emulator.base_url, folders={"state": str(tmp_path / "state")}) as shop,
    ):
        shop.store.sweep()
        filled_up(state.disk / "filler")
        shop.drop_set("chair")
        shop.ticks(100, step_seconds=1.0)
        assert shop.found("inbox") == {"chair.obj", "chair.png"}
        (state.disk / "filler").unlink()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert told(shop) == ["paused everything", "resumed everything"]
        assert vendor.charges == 1
