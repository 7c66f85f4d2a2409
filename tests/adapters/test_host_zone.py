"""The machine's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rodin_watchd.adapters.host import local_zone


@pytest.mark.parametrize("name", ["Europe/Berlin", ":Europe/Berlin"])
def test_a_named_zone_has_its_rules(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ names the zone, with its summer time (tzset(3): a leading colon is allowed)."""
    monkeypatch.setenv("TZ", name)
    zone = local_zone()
    winter, summer = (datetime(2026, month, 1, tzinfo=UTC).astimezone(zone) for month in (1, 7))
    assert (winter.utcoffset(), summer.utcoffset()) == (timedelta(hours=1), timedelta(hours=2))


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../../etc/passwd"])
def test_without_a_usable_name_there_still_is_a_zone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TZ that names nothing falls back to the machine's own zone."""
    monkeypatch.setenv("TZ", name)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert now.astimezone(local_zone()) == now
