"""The real daemon among people, bad lines, odd vendors and a machine that stops it: a sample; `tools/soak.py` does more."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from crash_start import NO_COMPILER
from effort import EFFORT
from people_stories import PEOPLE, PEOPLE_STORIES
from stories import Benches, Story
from world_stories import CHARGED, PEERS, STOPPED, WORLD_STORIES

SAMPLE = (PEOPLE, CHARGED, PEERS, STOPPED)
SEED = 11
LONGEST_SECONDS = 90.0


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    """Give a place for the trials of stories."""
    with Benches() as made:
        yield made


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "story", SAMPLE if EFFORT == 1 else [*PEOPLE_STORIES, *WORLD_STORIES], ids=lambda story: story.name
)
def test_one_trial_of_each_story(benches: Benches, story: Story) -> None:
    """Nothing is lost, paid twice, paid without leave, or over the budget; the books hold every charge."""
    if missing := story.missing():
        pytest.skip(missing)
    bench = benches.bench(story)
    attack = next(iter(story.plan(bench, random.Random(SEED))))  # noqa: S311 - what happens when is no secret
    done = story.trial(bench, attack, time.monotonic() + LONGEST_SECONDS)
    assert done.failures == []
    assert done.strikes
