"""The real daemon, killed at random times while sets are dropped and the vendor misbehaves in many ways."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from random_kills import siege, vendor

KILLS = 10


@pytest.mark.timeout(300)
def test_random_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Every set ends delivered, failed or held; nothing is lost, paid twice or shown half-done; `tools/soak.py` kills more."""
    with vendor(calls=40) as emulator:
        done = siege(tmp_path, emulator, KILLS, random.Random(7), math.inf)  # noqa: S311 - when to kill is no secret
    assert [f"{violation.kind}: {violation.text}" for violation in done.violations] == []
    assert done.kills == KILLS
    assert done.sets == sum(done.ends.values()) == 12
    assert done.faults.total() >= 3
