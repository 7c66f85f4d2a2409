"""The loop as a whole: when sets are taken, when it is idle, how it ends, and what a full disk does to it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from workshop import KEY, QUIET_SECONDS, TIMEOUT_SECONDS, Vendor, Workshop, emulated, glb, image, model, workshop

from rodin_watchd.errors import AlreadyRunningError, JournalError
from rodin_watchd.model import State
from rodin_watchd.service.assembly import assembled


def threads() -> list[str]:
    """Return the names of the service's threads that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("step")]


# ---- when sets are taken --------------------------------------------------------------------------------------------


def test_no_set_is_taken_before_it_is_settled(shop: Workshop) -> None:
    """A set is taken when its last member has been quiet for `quiet_seconds`, as observed."""
    shop.drop("chair.obj", model("chair"))
    shop.ticks(3, step_seconds=1)
    path = shop.drop("chair.png", image("chair"))
    shop.ticks(1, step_seconds=1)
    path.write_bytes(image("chair"))
    shop.ticks(1, step_seconds=QUIET_SECONDS - 0.1)
    assert shop.jobs() == []
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}


def test_the_same_rule_holds_at_the_start(shop: Workshop) -> None:
    """What lay in the inbox before the start has to be observed as quiet like everything else, however old it is."""
    shop.crash()
    shop.drop_set("chair")
    shop.start()
    shop.ticks(1)
    shop.ticks(1, step_seconds=QUIET_SECONDS - 0.1)
    assert shop.jobs() == []
    assert "waits until it has not changed for 2 seconds" in shop.status()
    shop.ticks(1, step_seconds=0.2)
    assert shop.states() == {"chair": State.CLAIMED}


def test_a_file_that_grows_is_never_taken(shop: Workshop, vendor: Vendor) -> None:
    """A file that changes between any two looks waits for as long as it does."""
    shop.drop("chair.png", image("chair"))
    path = shop.drop("chair.obj", b"")
    shop.dropped.remove(b"")
    for line in model("chair").splitlines(keepends=True):
        with path.open("ab") as stream:
            stream.write(line)
        shop.ticks(1, step_seconds=QUIET_SECONDS - 0.1)
        assert shop.jobs() == []
    shop.dropped.append(model("chair"))
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_a_file_event_wakes_the_loop_and_vouches(tmp_path: Path, vendor: Vendor) -> None:
    """With native events a closed file is taken at once: no rescan and no quiet time has to pass."""
    intake = {"watcher": "native", "rescan_seconds": 3600, "quiet_seconds": 3600}
    with workshop(tmp_path, vendor.emulator.base_url, intake=intake) as shop:
        shop.ticks(1)
        shop.drop("chair.glb", glb("chair"))
        shop.drop("chair.png", image("chair"))
        shop.until(shop.is_in("chair", State.ARCHIVED), step_seconds=0.001)
        assert shop.hands.seconds < 3600


def test_the_rest_of_a_crowd_waits_in_the_inbox(tmp_path: Path) -> None:
    """No more sets are taken than can be sent soon; the others stay in the hands of whoever dropped them, visibly."""
    with (
        emulated("empty-jobs") as vendor,
        workshop(tmp_path, vendor.emulator.base_url, api={"max_in_flight": 1}) as shop,
    ):
        for number in range(6):
            shop.drop_set(f"set-{number}")
        shop.until(lambda: State.SUBMITTED in shop.states().values())
        shop.ticks(5, step_seconds=5)
        assert sorted(shop.states().values()) == [State.STAGED, State.STAGED, State.SUBMITTED]
        assert shop.status().count("complete, waits until it is taken") == 3
        assert vendor.charges == 1
        assert len(shop.found("inbox")) == 6
        assert not shop.daemon.is_idle()


# ---- idleness and the end -------------------------------------------------------------------------------------------


def test_run_until_idle_ends_when_all_is_delivered(tmp_path: Path, vendor: Vendor) -> None:
    """`run(until_idle=True)` works off what is there and returns; what waits for a missing member stays."""
    with workshop(tmp_path, vendor.emulator.base_url, intake={"quiet_seconds": 0}) as shop:
        shop.drop_set("chair")
        shop.drop("lonely.obj", model("lonely"))
        shop.hands.seconds += 1
        runner = threading.Timer(TIMEOUT_SECONDS, shop.daemon.stop)
        runner.start()
        with shop.running_clock():
            shop.daemon.run(until_idle=True)
        runner.cancel()
        runner.join()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert shop.found("inbox") == {"lonely.obj"}
        assert shop.daemon.failed == 0


def test_it_is_not_idle_while_anything_moves(shop: Workshop) -> None:
    """From the first look at a set until its last file is archived, something moves."""
    assert not shop.daemon.is_idle()
    shop.ticks(1)
    assert shop.daemon.is_idle()
    shop.drop_set("chair")
    shop.ticks(1, step_seconds=1)
    idle = []

    def archived() -> bool:
        idle.append(shop.daemon.is_idle())
        return shop.is_in("chair", State.ARCHIVED)()

    shop.until(archived)
    assert not any(idle[:-1])
    assert shop.daemon.is_idle()


def test_a_drain_drops_an_upload_before_its_last_bytes(shop: Workshop, vendor: Vendor) -> None:
    """A polite end submits nothing more: the upload is dropped, and the next start sends it again."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    assert shop.daemon.drain(TIMEOUT_SECONDS)
    assert shop.states() == {"chair": State.STAGED}
    assert vendor.charges == 0
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert vendor.charges == 1


def test_a_drain_waits_for_an_answer_that_may_cost_money(shop: Workshop, vendor: Vendor) -> None:
    """Once the last bytes have left, the end waits for the answer, longer than for other steps: nothing is unknown."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.SUBMITTING))
    assert shop.daemon.drain(0.0, answer_seconds=TIMEOUT_SECONDS)
    assert shop.states() == {"chair": State.SUBMITTED}
    shop.restart()
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)


def test_a_stopped_daemon_leaves_no_thread(shop: Workshop) -> None:
    """After drain or crash no worker is left, also none that waits for permission to send its last bytes."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    assert threads()
    shop.crash()
    assert threads() == []


def test_a_fault_of_the_loop_lets_waiting_uploads_go(shop: Workshop, vendor: Vendor) -> None:
    """When the loop dies of a broken journal, no upload waits for ever: the process can end, nothing was submitted."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    with closing(sqlite3.connect(shop.journal)) as another:
        another.execute("DROP TABLE events")
    with pytest.raises(JournalError):
        shop.until(shop.is_in("chair", State.SUBMITTING), busy_seconds=TIMEOUT_SECONDS)
    shop.crash()
    assert threads() == []
    assert vendor.charges == 0


def test_a_second_daemon_is_refused(shop: Workshop) -> None:
    """Two daemons on one folder could pay twice."""
    with pytest.raises(AlreadyRunningError), assembled(shop.config, KEY, shop.hands.clock()):
        pass


# ---- a full disk, and odd things ------------------------------------------------------------------------------------


def fill(db: sqlite3.Connection) -> None:
    """Let the database grow no more, and use up the room in its pages."""
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    more_meta = "INSERT INTO meta (key, value) VALUES (hex(randomblob(16)), ?)"
    more_events = "INSERT INTO events (job_id, at, action, state, message) SELECT id, 0, '', state, ? FROM jobs"
    for size, query in itertools.product((1000, 100, 1), (more_meta, more_events)):
        with contextlib.suppress(sqlite3.OperationalError):
            while db.execute(query, ("x" * size,)).rowcount:
                pass


@pytest.mark.parametrize("state", ["", "claimed", "uploading", "submitting", "submitted", "processed"])
def test_a_full_journal_disk_stops_everything_and_loses_nothing(shop: Workshop, vendor: Vendor, state: str) -> None:
    """Nothing moves while the journal cannot grow, the folder says why, and then all goes on, paid once."""
    shop.drop_set("chair", f'prompt = "{"x" * 2400}"\n')
    if state:
        shop.until(shop.is_in("chair", State(state)))
    db = shop.store._db
    fill(db)
    shop.until(lambda: "ATTENTION" in shop.status(), busy_seconds=0.2)
    before = shop.states()
    shop.ticks(20, step_seconds=2)
    assert shop.states() == before
    assert "ATTENTION" in shop.status()
    assert "disk" in shop.status()
    assert not shop.daemon.is_idle()
    db.execute("PRAGMA max_page_count = 1000000")
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert "ATTENTION" not in shop.status()
    assert vendor.charges == 1
    shop.assert_nothing_lost()


def test_a_poisoned_job_is_tried_less_and_less_often(shop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    """A job whose step always fails backs off to minutes, is told in STATUS.txt, and holds nobody up."""
    shop.drop_set("poison")
    shop.until(shop.is_in("poison", State.DOWNLOADED))
    work = shop.root / ".rodin-watchd" / "work" / shop.job("poison").id
    shop.restart(between=(work / "download" / "job.toml").mkdir)  # in the way of the receipt
    caplog.set_level(logging.CRITICAL)
    shop.until(lambda: bool(shop.job("poison").attempts))
    began = shop.hands.seconds
    shop.until(lambda: shop.hands.seconds > began + 3600, step_seconds=5)
    assert 10 <= shop.job("poison").attempts <= 25
    shop.drop_set("good")
    shop.until(shop.is_in("good", State.ARCHIVED))
    assert "poison" in shop.status()
    assert "trying again" in shop.status()


def test_a_crowd_of_bad_sets_holds_nobody_up(shop: Workshop, vendor: Vendor) -> None:
    """Thirty sets that are refused do not take the places of the good one that came last."""
    for number in range(30):
        shop.drop(f"bad-{number}.glb", b"nonsense" * 20)
        shop.drop(f"bad-{number}.png", image("x"))
    shop.drop_set("good")
    shop.until(shop.is_in("good", State.ARCHIVED))
    assert shop.hands.seconds < 10
    shop.idle()
    assert sorted(shop.states().values()) == sorted([State.ARCHIVED, *[State.FAILED] * 30])
    assert shop.daemon.failed == 30
    assert vendor.charges == 1
    shop.assert_nothing_lost()
