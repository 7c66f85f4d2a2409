"""The real daemon, killed at random times while sets are dropped and the vendor misbehaves in many ways."""

from __future__ import annotations

import math
import random
from functools import partial

import pytest
from crash_start import NO_COMPILER
from effort import EFFORT
from kill_stories import LIVES, RANDOM, siege
from stories import Benches

ALL_KINDS = 5
"""In so many lives a set of each kind is dropped."""


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.timeout(300)
def test_random_kills_lose_and_repeat_nothing() -> None:
    """Every set ends delivered, failed or held; nothing is lost, paid twice or shown half-done.

    `make thorough` kills twice as often, `make soak` for as long as there is time.
    """
    lives = LIVES if EFFORT > 1 else ALL_KINDS
    chance = random.Random(7)  # noqa: S311 - when to kill is no secret
    with Benches() as benches:
        done = RANDOM.trial(benches.bench(RANDOM), partial(siege, chance, lives=lives), math.inf)
    assert done.failures == []
    assert (done.kills, done.sets) == (lives, lives // ALL_KINDS * 6)
    assert done.faults.total()
