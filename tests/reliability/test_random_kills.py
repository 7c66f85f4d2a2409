"""The real daemon, killed at random times while sets are dropped and the vendor misbehaves in many ways."""

from __future__ import annotations

import math
import random

import pytest
from crash_start import NO_COMPILER
from kill_stories import LIVES, RANDOM
from stories import Benches


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.timeout(300)
def test_random_kills_lose_and_repeat_nothing() -> None:
    """Every set ends delivered, failed or held; nothing is lost, paid twice or shown half-done; `tools/soak.py` kills more."""
    with Benches() as benches:
        bench = benches.bench(RANDOM)
        attack = next(iter(RANDOM.plan(bench, random.Random(7))))  # noqa: S311 - when to kill is no secret
        done = RANDOM.trial(bench, attack, math.inf)
    assert done.failures == []
    assert (done.kills, done.sets) == (LIVES, 12)
    assert done.faults.total() >= 3
