"""Stories of places: folders on filesystems of their own, killed at every effect; two roots whose inbox is one folder."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from crash_scene import Scene, base_name_set, failing_set, folder_set, refused_set, sidecar_sets
from crash_start import Crash
from crash_truth import Violation, conserved, torn
from mounts import bound, disk, why_no_mounts
from stories import SEED, Attack, Attempt, Bench, SceneMaker, Story, holds, scattered

from rodin_watchd.emulator.ledger import ChargeRow

ROOM = "[folders]\nreserve_megabytes = 0\n"
"""The disks are small."""

Mount = Callable[[Path, Path], AbstractContextManager[Path]]
"""Mounts something on a folder; the first path is one beside the root, for what a bind mount shows."""

WORK = ".rodin-watchd/work"


def _bind(beside: Path, place: Path) -> AbstractContextManager[Path]:
    return bound(beside, place)


def _disk(_beside: Path, place: Path) -> AbstractContextManager[Path]:
    return disk(place)


LAYOUTS: Mapping[str, Mapping[str, Mount]] = {
    "inbox mounted": {"inbox": _bind},
    "work mounted": {WORK: _bind},
    "inbox on its own disk": {"inbox": _disk},
    "work on its own disk": {WORK: _disk},
    "outbox on its own disk": {"outbox": _disk},
    "archive and failed on their own disks": {"archive": _disk, "failed": _disk},
    "every folder mounted": {"inbox": _bind, WORK: _bind, "outbox": _disk, "archive": _disk, "failed": _disk},
}
"""By name, what is mounted on which folder of the root. A bind mount has the device number of the root; no rename leaves it."""


def laid_out(mounts: Mapping[str, Mount]) -> SceneMaker:
    """Return what makes a scene with such mounts in it."""

    @contextmanager
    def scene(folder: Path, base_url: str) -> Iterator[Scene]:
        with ExitStack() as stack:
            for path, mount in mounts.items():
                stack.enter_context(mount(folder / "beside" / path, folder / "root" / path))
            made = Scene(folder / "root", base_url, more=ROOM)
            made.drop([base_name_set(SEED), *sidecar_sets(SEED + 1), folder_set(SEED + 3), refused_set(SEED + 4)])
            made.drop([failing_set(SEED + 5)])
            yield made

    return scene


def killed_all_over(scene: SceneMaker) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that kills the daemon at each effect, in turn before and after it."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for number, at in enumerate(scattered(bench.effects(scene), chance)):
            yield partial(_kill, Crash(at, after=bool(number % 2)))

    return plan


def _kill(crash: Crash, attempt: Attempt) -> None:
    attempt.run(crash)


def _layout_story(name: str, mounts: Mapping[str, Mount]) -> Story:
    scene = laid_out(mounts)
    plan = killed_all_over(scene)
    return Story(f"killed, {name}", plan, scene, missing=why_no_mounts, copies=True, weight=0.7)


# ---- two roots ------------------------------------------------------------------------------------------------------


@contextmanager
def two_roots(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene whose inbox is also that of another root, by a bind mount; each root has a state of its own."""
    first, second = folder / "one" / "root", folder / "two" / "root"
    with bound(first / "inbox", second / "inbox"):
        scene, other = Scene(first, base_url), Scene(second, base_url)
        other.inventory = scene.inventory
        scene.others.append(other)
        scene.inventory.meddled = True
        scene.drop([base_name_set(SEED), folder_set(SEED + 1), *sidecar_sets(SEED + 2), base_name_set(SEED + 4)])
        yield scene


def shared_fairly(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Nothing is lost, bought twice, or torn into two folders, whoever of the two took it."""
    return [*conserved(attempt.scenes, charges), *torn(attempt.scenes, attempt.scene.sets), *holds(attempt)]


SHORT_SECONDS = 12
"""A service that finds that the inbox is not its own waits for it, and ends with the time that it was given."""


def run_both(attempt: Attempt) -> None:
    """Let both roots come to rest, one after the other."""
    for scene in attempt.scenes:
        attempt.run(Crash(seconds=SHORT_SECONDS), scene)


def _one_inside_the_other(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number, at in enumerate(scattered(bench.effects(two_roots), chance)):
        yield partial(_inside, at, goes_on=bool(number % 2))


def _inside(at: int, attempt: Attempt, *, goes_on: bool) -> None:
    """Stop one daemon at an effect, run the other until it is idle, and let the first one go on, or kill it."""

    def acts() -> bool:
        attempt.run(Crash(seconds=SHORT_SECONDS), attempt.scenes[1], attempt.bench.second)
        return goes_on

    attempt.run(Crash(at, act=acts, seconds=2 * SHORT_SECONDS))


def _both_killed(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    total = bench.effects(two_roots)
    for _ in range(total):
        yield partial(_both, [_somewhere(total, chance) for _ in range(4)])


def _somewhere(total: int, chance: random.Random) -> Crash:
    return Crash(chance.randint(1, total), after=chance.random() < 0.5, seconds=SHORT_SECONDS)


def _both(crashes: Sequence[Crash], attempt: Attempt) -> None:
    """Run both daemons at the same time, twice, each with a kill of its own."""
    for first, second in (crashes[:2], crashes[2:]):
        other = threading.Thread(target=attempt.run, args=(second, attempt.scenes[1], attempt.bench.second))
        other.start()
        attempt.run(first)
        other.join()


TWO_AT_RANDOM = Story(
    "two roots, both killed at random", _both_killed, two_roots, shared_fairly, run_both, why_no_mounts
)
TWO_ROOTS = (
    Story(
        "two roots, one inside the other's step",
        _one_inside_the_other,
        two_roots,
        shared_fairly,
        run_both,
        why_no_mounts,
    ),
    TWO_AT_RANDOM,
)
PLACE_STORIES = (*(_layout_story(name, mounts) for name, mounts in LAYOUTS.items()), *TWO_ROOTS)
