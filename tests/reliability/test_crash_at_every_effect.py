"""The real daemon, killed before or after a chosen effect on the world: nothing is lost, paid twice or shown half-done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from crash_start import NO_COMPILER, Crash, build, cold
from effort import EFFORT
from kill_stories import (
    AFTER,
    CHOSEN,
    CLEARED,
    FOLLOWED,
    MODELLED,
    PLUGGED,
    SEVERAL,
    choose_and_kill,
    clear_and_kill,
    effects_of_choosing,
    effects_of_clearing,
    kill_at,
)
from stories import FAST, Attempt, Bench, Story, Trial, followed, modelled, plugged, several, usual

from rodin_watchd.emulator.server import Emulator

pytestmark = [pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER), pytest.mark.timeout(300)]

SINGLE, PAIRS, FOLLOWING, WITH_PLUGIN = (6, 1, 3, 3) if EFFORT == 1 else (6 * EFFORT, EFFORT, 4 * EFFORT, 3 * EFFORT)
CLEARING = 1 if EFFORT == 1 else 4 * EFFORT
MODELLING = 3 if EFFORT == 1 else 4 * EFFORT
"""At how many effects a run is killed once and twice, and one of two jobs, one of new models, one with plugins, and one that clears failed sets; each is a test.

`make test` does a third of them each day, `make thorough` many times as many, and `make soak` kills at each effect.
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Give a place for trials of `python -m rodin_watchd run --until-idle`: of the very command, not of a warm process."""
    folder = tmp_path_factory.mktemp("crashes")
    with Emulator(FAST) as emulator:
        start = cold(build(folder))
        yield Bench(folder, emulator, start, lambda: start)


@pytest.fixture(scope="module")
def total(bench: Bench) -> int:
    """Give the number of effects that a run has."""
    return bench.effects(usual)


def spread(total: int, count: int) -> list[int]:
    """Return `count` numbers spread evenly over 1 to `total`."""
    return sorted({1 + round(step * (total - 1) / max(count - 1, 1)) for step in range(count)})


def killed(story: Story, bench: Bench, *crashes: Crash) -> Trial:
    """Make a trial with these crashes, one after the other."""
    return story.trial(bench, partial(_killed, crashes), math.inf)


def _killed(crashes: tuple[Crash, ...], attempt: Attempt) -> None:
    kill_at(attempt, *crashes)


def test_the_effects_are_counted(bench: Bench, tmp_path: Path) -> None:
    """The library sees the daemon's files, folders, syncs, commits and connections: a run has hundreds of effects."""
    with usual(tmp_path, bench.vendor.base_url) as scene:
        names = [line.split()[1] for line in bench.start(scene, Crash()).effects]
    bench.charges()
    assert len(names) > 300
    assert {"renameat", "fsync", "fdatasync", "connect", "send", "recv", "unlinkat", "mkdirat", "link"} <= set(names)


@pytest.mark.parametrize("number", range(SINGLE))
def test_one_crash_is_survived(bench: Bench, total: int, number: int) -> None:
    """Killed once, anywhere: every set ends as it would have, or is held where nobody can know."""
    crash = Crash(spread(total, SINGLE)[number], after=bool(number % 2))
    survived(killed(AFTER, bench, crash), number, SINGLE)


@pytest.mark.parametrize("pair", range(PAIRS))
def test_two_crashes_are_survived(bench: Bench, total: int, pair: int) -> None:
    """Killed, and killed again while it takes up what the first crash left."""
    first = spread(total, PAIRS + 2)[pair + 1]
    crashes = [Crash(first, after=bool(pair % 2)), Crash(40 + 17 * pair, after=bool(pair // 2 % 2))]
    trial = killed(AFTER, bench, *crashes)
    assert trial.failures == []
    assert trial.kills


@pytest.mark.parametrize("number", range(MODELLING))
def test_new_models_survive_a_crash(bench: Bench, number: int) -> None:
    """Of several images, or of a text alone, whose price is another: each is bought once, and every image is kept."""
    at = spread(bench.effects(modelled), MODELLING + 2)[number + 1]
    survived(killed(MODELLED, bench, Crash(at, after=bool(number % 2))), number, MODELLING)


@pytest.mark.parametrize("number", range(FOLLOWING))
def test_a_job_that_goes_on_survives_a_crash(bench: Bench, number: int) -> None:
    """Killed in both jobs and between them: two jobs, two purchases, each once, the second of the model of the first."""
    at = spread(bench.effects(followed), FOLLOWING + 2)[number + 1]
    survived(killed(FOLLOWED, bench, Crash(at, after=bool(number % 2))), number, FOLLOWING)


@pytest.mark.parametrize("number", range(FOLLOWING))
def test_a_set_that_makes_several_jobs_survives_a_crash(bench: Bench, number: int) -> None:
    """Killed before, while and after the others begin: each is bought once, and all are in one folder."""
    at = spread(bench.effects(several), FOLLOWING + 2)[number + 1]
    survived(killed(SEVERAL, bench, Crash(at, after=bool(number % 2))), number, FOLLOWING)


@pytest.mark.parametrize("number", range(WITH_PLUGIN))
def test_calls_of_plugins_survive_a_crash(bench: Bench, number: int) -> None:
    """Killed around them: each result has the plugin's work in it, and the plugin gets the news, by one event."""
    at = spread(bench.effects(plugged), WITH_PLUGIN + 2)[number + 2]
    survived(killed(PLUGGED, bench, Crash(at, after=bool(number % 2))), number, WITH_PLUGIN)


@pytest.mark.parametrize("number", range(CLEARING))
def test_clearing_survives_a_crash(bench: Bench, number: int) -> None:
    """Killed while folders of failed sets are moved to the archive: each is in one place, whole, and at last in the archive."""
    effects = effects_of_clearing(bench)
    moved = next(at for at, effect in enumerate(effects, 1) if "renameat2" in effect)  # of the first folder
    at = moved - 1 + spread(len(effects) - moved, CLEARING + 1)[number]
    attack = partial(clear_and_kill, Crash(at, after=not number % 2))
    survived(CLEARED.trial(bench, attack, math.inf), number, CLEARING)


@pytest.mark.parametrize("number", range(CLEARING))
def test_choosing_survives_a_crash(bench: Bench, number: int) -> None:
    """Killed while one of several jobs is chosen, and then another one: the store and each receipt have the last choice."""
    effects = effects_of_choosing(bench)
    begun = next(at for at, effect in enumerate(effects, 1) if "job.toml" in effect)  # the first receipt
    at = begun - 1 + spread(len(effects) - begun, CLEARING + 1)[number]
    attack = partial(choose_and_kill, Crash(at, after=not number % 2))
    survived(CHOSEN.trial(bench, attack, math.inf), number, CLEARING)


def survived(trial: Trial, number: int, count: int) -> None:
    """Check a trial of so many; the last may lie beyond the end, for runs differ by a few effects."""
    assert trial.failures == []
    assert trial.kills or number == count - 1
