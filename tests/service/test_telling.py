"""STATUS.txt and its copy in the journal: what they say at each stage, and when they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import START_AT, Vendor, Workshop, image, model, workshop

from rodin_watchd.core.status import PAGE, Page
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
    shop.daemon._told_at = float("-inf")
    while not archived():
        shop.daemon._told_at = float("-inf")  # each tick may write
        shop.until(lambda: True)
        shop.hands.seconds += 0.5
    shop.idle()
    archived()
    said = "\n".join(told)
    assert "chair: waits for an image file" in said
    assert "is still being copied" in said
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
    page = Page.of_data(shop.daemon._book.journal.meta(PAGE))
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
        told = [record.getMessage() for record in caplog.records if vars(record)["action"] == "status"]
        assert told[1:] == ["status: STATUS.txt is up to date again."]
