"""The real daemon, killed before or after a chosen effect on the world: nothing is lost, paid twice or shown half-done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crash_start import NO_COMPILER, Crash, build, cold
from crash_trials import Bench, spread, vendor

pytestmark = [pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER), pytest.mark.timeout(300)]

SINGLE, PAIRS, PARTS, PLUGGED = 18, 4, 4, 5
"""How many scenes are killed once and twice, and into how many tests they are cut; `tools/soak.py` kills at each effect."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Give a place for trials of `python -m rodin_watchd run --until-idle`."""
    folder = tmp_path_factory.mktemp("crashes")
    with vendor() as emulator:
        yield Bench(folder, emulator, cold(build(folder)))


@pytest.fixture(scope="module")
def effects(bench: Bench) -> list[str]:
    """Give the names of the effects that a run has."""
    return bench.effects()


def test_the_effects_are_counted(effects: list[str]) -> None:
    """The library sees the daemon's files, folders, syncs, commits and connections: a run has hundreds of effects."""
    assert len(effects) > 300
    assert {"renameat", "fsync", "fdatasync", "connect", "send", "recv", "unlinkat", "mkdirat", "link"} <= set(effects)


@pytest.mark.parametrize("part", range(PARTS))
def test_one_crash_is_survived(bench: Bench, effects: list[str], part: int) -> None:
    """Killed once, anywhere: every set ends as it would have, or is held where nobody can know."""
    crashes = [Crash(at, after=bool(number % 2)) for number, at in enumerate(spread(len(effects), SINGLE))]
    done = [bench.trial([crash]) for crash in crashes[part::PARTS]]
    assert [failure for trial in done for failure in trial.failures] == []
    assert sum(len(trial.effects) for trial in done) >= len(done) - 1  # the last may lie beyond the end


@pytest.mark.parametrize("pair", range(PAIRS))
def test_two_crashes_are_survived(bench: Bench, effects: list[str], pair: int) -> None:
    """Killed, and killed again while it takes up what the first crash left."""
    first = spread(len(effects), PAIRS + 2)[pair + 1]
    trial = bench.trial([Crash(first, after=bool(pair % 2)), Crash(40 + 17 * pair, after=bool(pair // 2 % 2))])
    assert trial.failures == []
    assert trial.effects


def test_calls_of_plugins_survive_a_crash(bench: Bench) -> None:
    """Killed around them: each result has the plugin's work in it, and the plugin is told of it, by one event."""
    plugged = Bench(bench.folder, bench.vendor, bench.start, plugin=True, seen=bench.seen)
    total = len(plugged.effects())
    crashes = [Crash(at, after=bool(number % 2)) for number, at in enumerate(spread(total, PLUGGED + 2)[2:])]
    done = [plugged.trial([crash]) for crash in crashes]
    bench.seen = plugged.seen
    assert [failure for trial in done for failure in trial.failures] == []
    assert sum(len(trial.effects) for trial in done) >= len(done) - 1
