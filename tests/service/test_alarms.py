"""A result that is about to be lost at the vendor: told once, seen as long as it lasts."""

from __future__ import annotations

from pathlib import Path

import pytest
from workshop import working

from rodin_watchd.core.schedule import KEPT_SECONDS
from rodin_watchd.model import State


def test_it_rings_once_and_stays_on_the_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A day before the end: one event for the job, one for the service, also after a restart; gone with the result."""
    with working(tmp_path, "cut-download") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(lambda: any(job.attempts > 2 for job in shop.jobs()))
        assert shop.states() == {"chair": State.GENERATED}
        assert "keeps it until" not in shop.status()
        shop.hands.seconds += KEPT_SECONDS - 80_000
        shop.ticks(3, step_seconds=1.0)
        shop.restart()
        shop.ticks(3, step_seconds=1.0)
        assert "The result of “chair” is paid for and not fetched yet" in shop.status()
        assert shop.actions(shop.job("chair")).count("alarm") == 1
        told = shop.event_kinds()
        assert told.count("alarm") == 1
        [line] = [vars(record) for record in caplog.records if vars(record)["action"] == "alarm"]
        assert (line["levelname"], line["set"], line["job"]) == ("WARNING", "chair", shop.job("chair").id)
        vendor.emulator.set_faults()
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        assert "keeps it until" not in shop.status()
        assert vendor.charges == 1
