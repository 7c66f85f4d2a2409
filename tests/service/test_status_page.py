"""STATUS.txt and its copy in the journal: what they say at each stage, and when they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from system_calls import MOST_CALLS, before_call
from workshop import START_AT, Vendor, Workshop, image, model, workshop

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.layout import OWN_PREFIX, STATUS
from rodin_watchd.core.status import PAGE, Page, is_page, signed
from rodin_watchd.model import State


def test_the_page_tells_each_stage(shop: Workshop) -> None:
    """From the copying to the delivery, whoever dropped a set can read where it is."""
    shop.drop("chair.obj", model("chair"))
    told: list[str] = []

    def archived() -> bool:
        lines = [line.strip() for line in shop.status().splitlines() if line.strip().startswith("chair:")]
        told.extend(line for line in lines if line not in told)
        return shop.is_in("chair", State.ARCHIVED)()

    shop.ticks(1, step_seconds=1)
    archived()
    shop.drop("chair.png", image("chair"))
    shop.hands.seconds += 1.0
    while not archived():
        shop.until(lambda: True)
        shop.hands.seconds += 1.0  # each tick may write
    shop.idle()
    archived()
    said = "\n".join(told)
    assert "chair: waits for an image file" in said
    assert "waits until it has not changed for 2 seconds" in said
    assert "taken, being checked" in said
    assert "being sent" in said
    assert "chair: delivered to outbox/chair" in told[-1]


def test_the_page_is_written_only_when_it_changes(shop: Workshop) -> None:
    """A page that says the same is left alone: no write while nothing is new, whatever the clock is slewed by."""
    shop.drop_set("chair")
    shop.drop("lonely.obj", model("lonely"))
    shop.idle()
    path = shop.path("STATUS.txt")
    before = path.stat()
    for _ in range(300):
        shop.hands.jump_seconds += 0.006
        shop.ticks(1, step_seconds=1.5)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_jump_of_the_clock_is_followed(shop: Workshop) -> None:
    """An instant on the page that was told by a wrong clock is put right when the clock is."""
    shop.drop("lonely.obj", model("lonely"))
    shop.idle()
    assert "[2027-01-15" in shop.status()
    shop.hands.jump_seconds = 10 * 86400.0
    shop.idle()
    assert "[2027-01-25" in shop.status()


def test_the_journal_has_the_same_page(shop: Workshop) -> None:
    """The command line finds in the journal what STATUS.txt says."""
    shop.drop_set("chair")
    shop.drop("lonely.obj", model("lonely"))
    shop.idle()
    page = Page.of_data(shop.store.meta(PAGE))
    assert [line.name for line in page.recent] == ["chair"]
    assert [line.name for line in page.waiting] == ["lonely"]
    assert page.waiting[0].since_at == START_AT + 1


def test_whatever_lies_where_the_page_belongs_stops_nobody(
    tmp_path: Path, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder called STATUS.txt keeps the page from being written, which is logged once; the work goes on."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.ticks(1)
        shop.path("STATUS.txt").unlink()
        shop.path("STATUS.txt").mkdir()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        said = [record for record in caplog.records if "STATUS.txt" in record.getMessage()]
        assert len(said) == 1
        shop.path("STATUS.txt").rmdir()
        caplog.set_level("INFO")
        shop.idle()
        assert "chair: delivered" in shop.status()
        shop.ticks(5, step_seconds=2.0)
        said = [record for record in caplog.records if vars(record)["action"] == "status"]
        assert [record.getMessage() for record in said[1:]] == ["status: STATUS.txt is up to date again."]
        assert shop.notices() == ()


def test_people_learn_that_the_page_cannot_be_written(shop: Workshop) -> None:
    """From `status`, whose page is the journal's, and from `health`."""
    shop.ticks(2, step_seconds=1.0)
    shop.path("STATUS.txt").unlink()
    shop.path("STATUS.txt").mkdir()
    shop.ticks(4, step_seconds=1.0)
    page = Page.of_data(shop.store.meta(PAGE))
    assert ["STATUS.txt is not up to date" in notice for notice in page.notices] == [True]
    heartbeat = read_heartbeat(sign_path(shop.journal))
    assert heartbeat
    assert heartbeat.health.paused == (Standstill.PAGE,)
    assert "remove what has its name" in page.notices[0]
    shop.path("STATUS.txt").rmdir()
    shop.ticks(4, step_seconds=1.0)
    assert Page.of_data(shop.store.meta(PAGE)).notices == ()
    assert "ATTENTION" not in shop.status()


@pytest.mark.parametrize("kind", ["file", "link", "edited"])
def test_somebodys_own_file_is_kept(shop: Workshop, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """A file or link that lies in the page's place, or a page that somebody wrote into, gets another name, which is logged."""
    shop.ticks(2, step_seconds=1.0)
    path, kept = shop.path("STATUS.txt"), shop.path("STATUS-kept.txt")
    mine = path.read_text() + "my notes" if kind == "edited" else "my notes of three weeks"
    if kind == "link":
        path.unlink()
        shop.path("notes").write_text(mine)
        path.symlink_to("notes")
    else:
        path.write_text(mine)
    shop.ticks(3, step_seconds=1.0)
    assert kept.read_text() == mine
    assert kept.is_symlink() == (kind == "link")
    assert is_page(path.read_bytes())
    assert "the changed file is called STATUS-kept.txt now" in caplog.text
    path.write_text("more notes")
    shop.ticks(3, step_seconds=1.0)
    assert shop.path("STATUS-kept-2.txt").read_text() == "more notes"
    assert not list(shop.root.glob(f"{OWN_PREFIX}*{STATUS}*"))


def test_a_program_that_writes_the_page_without_end_loses_none_of_its_files(shop: Workshop) -> None:
    """When no further name is free, the page is not written, people read why, and it goes on when names are free again."""
    shop.ticks(2, step_seconds=1.0)
    mine = [f"farm status {number}" for number in range(104)]
    for text in mine:
        shop.path(STATUS).write_text(text)
        shop.ticks(2, step_seconds=2.0)
        found = {path.read_text() for path in shop.root.iterdir() if path.is_file()}
        if text not in found or shop.path(STATUS).read_text() == text:
            break
    assert set(mine[: mine.index(text) + 1]) <= found
    assert len(found) > 100
    page = Page.of_data(shop.store.meta(PAGE))
    assert "it cannot be kept as STATUS-kept.txt" in page.notices[0]
    for path in shop.root.glob("STATUS-kept*"):
        path.rename(path.with_name(f"taken-{path.name}"))
    shop.ticks(4, step_seconds=2.0)
    found = {path.read_text() for path in shop.root.iterdir() if path.is_file()}
    assert set(mine[: mine.index(text) + 1]) <= found
    assert is_page(shop.path(STATUS).read_bytes())


def test_a_file_from_before_the_first_start_is_kept(tmp_path: Path, vendor: Vendor) -> None:
    """Whoever had a STATUS.txt there finds it under another name."""
    (tmp_path / STATUS).write_text("my notes of three weeks")
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.ticks(2, step_seconds=1.0)
        assert shop.path("STATUS-kept.txt").read_text() == "my notes of three weeks"
        assert "Waiting in the inbox" in shop.status()


def test_a_page_that_is_not_the_last_one_is_written_again(shop: Workshop) -> None:
    """An older page that a program puts back, or none: seconds later the right one lies there, and no other file besides."""
    shop.ticks(2, step_seconds=1.0)
    old = shop.status()
    shop.drop_set("chair")
    shop.idle()
    for lies_there in (old, "", None):
        path = shop.path(STATUS)
        if lies_there is None:
            path.unlink()
        else:
            path.write_text(lies_there)
        shop.ticks(2, step_seconds=2.0)
        assert "chair: delivered" in shop.status()
    assert {found.name for found in shop.root.iterdir() if STATUS in found.name or "kept" in found.name} == {STATUS}


def test_no_moment_loses_what_somebody_puts_there(tmp_path: Path) -> None:
    """Before whichever system call of a write a file is put in the page's place: it is kept."""
    spool = Spool(tmp_path)
    for count in range(MOST_CALLS):
        spool.write_status(signed(f"page {count}"))

        def put(number: int = count) -> None:
            (tmp_path / "theirs").write_text(f"notes {number}")
            (tmp_path / "theirs").rename(tmp_path / STATUS)

        with before_call(count, put) as came:
            spool.write_status(signed(f"next page {count}"))
        if not came():
            break
        spool.write_status(signed("another one"))
        notes = [path for path in tmp_path.iterdir() if path.is_file() and path.read_text() == f"notes {count}"]
        assert len(notes) == 1, count
    assert count > 3
