"""Stories of kills: before and after each effect, at two effects, with a plugin at work, at random times."""

from __future__ import annotations

import random
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

from crash_scene import (
    DroppedSet,
    Scene,
    base_name_set,
    failing_set,
    folder_set,
    new_model_sets,
    refused_set,
    sidecar_sets,
)
from crash_start import Crash, alive, passes
from crash_truth import Kind, Violation, at_rest, wrongly_held
from stories import (
    SEED,
    Attack,
    Attempt,
    Bench,
    SceneMaker,
    Story,
    bare,
    followed,
    goes_on,
    makes_all,
    modelled,
    plugged,
    scattered,
    several,
    usual,
)

from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.core.commands import Seen
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import EmulatedFault, parse_fault
from rodin_watchd.emulator.ledger import ChargeRow

BEYOND = 10  # effects: runs differ a little in length
PAIRS = 200

LONGEST_LIFE_SECONDS = 1.2
SERVES = 0.8
"""How long a daemon lives at most until it is killed, and how often that counts from when it serves, not from its start."""

LIVES = 10
"""How often it is killed in one trial."""

SIEGES = 100
CALLS = 12
"""Up to which call of each kind a vendor misbehaves in a trial of random kills; later it behaves."""

FAULTS = (
    *(("lost-answer", 9), ("submit-503", 5), ("charged-503", 7), ("submit-429=0", 4), ("no-uuid", 8)),
    *(("submit-closed", 6), ("status-503", 11), ("status-429=0", 10), ("empty-jobs", 9), ("status-closed", 12)),
    *(("empty-list", 6), ("partial-list", 4), ("download-503", 5), ("missing-list", 3)),
    *(("expired-link", 11), ("cut-download", 7), ("file-503", 5), ("file-closed", 9)),
)
"""What the vendor does wrong, and at every how many-th call of its kind, counted from a random one."""


def kill_at(attempt: Attempt, *crashes: Crash) -> None:
    """Run the daemon with each of these crashes, one after the other."""
    for crash in crashes:
        attempt.run(crash)


def at_each_effect(scene: SceneMaker, *, after: bool) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan that kills the daemon at each effect of a run in a scene."""

    def plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for at in scattered(bench.effects(scene) + BEYOND, chance):
            yield partial(_kill, Crash(at, after=after))

    return plan


def _kill(crash: Crash, attempt: Attempt) -> None:
    kill_at(attempt, crash)


def _at_two_effects(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    total = bench.effects(usual)
    for _ in range(PAIRS):
        first = Crash(chance.randint(1, total), after=chance.random() < 0.5)
        yield partial(_kill_twice, first, Crash(chance.randint(1, total // 2)))


def _kill_twice(first: Crash, second: Crash, attempt: Attempt) -> None:
    kill_at(attempt, first, second)


def _with_a_plugin(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number, at in enumerate(scattered(bench.effects(plugged), chance)):
        yield partial(_kill, Crash(at, after=bool(number % 2)))


# ---- random times ---------------------------------------------------------------------------------------------------


def faults(chance: random.Random) -> tuple[EmulatedFault, ...]:
    """Return what a vendor does wrong in one trial, each at its own calls."""
    return tuple(
        parse_fault(f"{name}@{turn}")
        for name, every in FAULTS
        for turn in range(chance.randint(1, every), CALLS, every)
    )


def next_sets(number: int) -> Sequence[DroppedSet]:
    """Return what is dropped in a life: the kinds in turn, never the same bytes twice."""
    seed = 10 * number
    kinds = (
        lambda: [base_name_set(seed)],
        lambda: sidecar_sets(seed),
        lambda: [folder_set(seed)],
        lambda: [refused_set(seed)],
        lambda: [failing_set(seed)],
        lambda: new_model_sets(seed),
    )
    return kinds[number % len(kinds)]()


def _at_random_times(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for _ in range(SIEGES):
        yield partial(siege, random.Random(chance.random()))  # noqa: S311 - when to kill is no secret


def siege(chance: random.Random, attempt: Attempt, lives: int = LIVES) -> None:
    """Kill the daemon so many times while sets are dropped and the vendor misbehaves."""
    attempt.bench.vendor.set_faults(*faults(chance))
    for life in range(lives):
        live_and_die(attempt.scene, next_sets(life), chance)
        attempt.killed()
        if time.monotonic() >= attempt.until:
            break
    attempt.strikes.append(f"{attempt.kills} times at random")
    attempt.bench.vendor.set_faults()


def live_and_die(scene: Scene, sets: Sequence[DroppedSet], chance: random.Random) -> None:
    """Run a daemon, drop sets at a random time of its life, kill it at another; now and then while it starts."""
    life = chance.uniform(0, LONGEST_LIFE_SECONDS)
    early = chance.uniform(0, life)
    with alive(scene, serving=chance.random() < SERVES) as daemon:
        assert passes(daemon, early)
        scene.drop(sets)
        assert passes(daemon, life - early)


def held_for_a_reason(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Every set ended as it would have without kills, or is held because a kill or the vendor's answer leaves doubt."""
    return [*at_rest(attempt.scene, charges), *wrongly_held(attempt.scene, attempt.doubtful)]


BEFORE = Story("killed before each effect", at_each_effect(usual, after=False), weight=2)
AFTER = Story("killed after each effect", at_each_effect(usual, after=True), weight=2)
TWICE = Story("killed at two effects", _at_two_effects)
PLUGGED = Story("killed with a plugin at work", _with_a_plugin, scene=plugged)
RANDOM = Story(
    "killed at random times",
    _at_random_times,
    scene=bare,
    judge=held_for_a_reason,
    vendor=EmulatorSettings(preview_pixels=64, balance=Decimal(100_000), waiting_seconds=0.05, generating_seconds=0.1),
    missing=lambda: "",
    weight=2,
)


# ---- a command that moves folders -----------------------------------------------------------------------------------


@contextmanager
def refused(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with a set that is refused, and one that the vendor fails after it was paid for."""
    scene = Scene(folder / "root", base_url)
    scene.drop([refused_set(SEED), failing_set(SEED + 1)])
    yield scene


def effects_of_clearing(bench: Bench) -> list[str]:
    """Return the effects of a run that finds the commands to clear the folders of both, as the library logs them."""
    with (
        tempfile.TemporaryDirectory(prefix="count-", dir=bench.folder) as place,
        refused(Path(place), bench.vendor.base_url) as scene,
    ):
        ask_to_clear(bench, scene)
        effects = bench.start(scene, Crash()).effects
    bench.charges()
    return list(effects)


def ask_to_clear(bench: Bench, scene: Scene) -> None:
    """Let all sets fail, and leave a command for each: the next start carries it out."""
    bench.start(scene, Crash())
    for job, _ in scene.history().values():
        insert_command(scene.journal, "clear", {"job": job.id, "seen": Seen.of(job).as_data()}, time.time())


def clear_and_kill(crash: Crash, attempt: Attempt) -> None:
    """Kill the daemon that carries out the commands."""
    ask_to_clear(attempt.bench, attempt.scene)
    kill_at(attempt, crash)


def _at_each_effect_of_clearing(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number, at in enumerate(scattered(len(effects_of_clearing(bench)), chance)):
        yield partial(clear_and_kill, Crash(at, after=bool(number % 2)))


def _clear_to_the_end(attempt: Attempt) -> None:
    attempt.forget()  # what is in `failed/` still goes to the archive
    attempt.run()


def all_cleared(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Each set ended as it had, with its report, and is in the archive."""
    jobs = [job for job, _ in attempt.scene.history().values()]
    left = [job for job in jobs if not job.place.startswith("archive/")]
    found = [Violation(Kind.WRONG, f"{job.name} was not cleared: {job.place}") for job in left]
    return [*at_rest(attempt.scene, charges), *found]


CLEARED = Story(
    "killed while failed sets are cleared",
    _at_each_effect_of_clearing,
    scene=refused,
    judge=all_cleared,
    ending=_clear_to_the_end,
)
# ---- a command that writes receipts ---------------------------------------------------------------------------------


def effects_of_choosing(bench: Bench) -> list[str]:
    """Return the effects of a run that finds the commands to choose one job, and then another one."""
    with (
        tempfile.TemporaryDirectory(prefix="count-", dir=bench.folder) as place,
        several(Path(place), bench.vendor.base_url) as scene,
    ):
        ask_to_choose(bench, scene)
        effects = bench.start(scene, Crash()).effects
    bench.charges()
    return list(effects)


def ask_to_choose(bench: Bench, scene: Scene) -> None:
    """Let all jobs of a set be delivered, and leave two commands: the next start chooses one, and then another one."""
    bench.start(scene, Crash())
    for label in _CHOSEN:
        for job, _ in scene.history().values():
            if job.batch and job.batch.label == label:
                arguments = {"job": job.id, "take_back": False, "seen": Seen.of(job).as_data()}
                insert_command(scene.journal, "choose", arguments, time.time())


_CHOSEN = ("seed-1", "seed-2")
"""The labels of the jobs that are chosen, one after the other."""


def choose_and_kill(crash: Crash, attempt: Attempt) -> None:
    """Kill the daemon that carries out the commands."""
    ask_to_choose(attempt.bench, attempt.scene)
    kill_at(attempt, crash)


def _at_each_effect_of_choosing(bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number, at in enumerate(scattered(len(effects_of_choosing(bench)), chance)):
        yield partial(choose_and_kill, Crash(at, after=bool(number % 2)))


def _choose_to_the_end(attempt: Attempt) -> None:
    attempt.forget()  # receipts are still written
    attempt.run()


def one_is_chosen(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """All is as it was delivered, and the store and each receipt have the last choice."""
    found = makes_all(attempt, charges)
    for job, _ in attempt.scene.history().values():
        chosen = job.batch is not None and job.batch.label == _CHOSEN[-1]
        receipt = tomllib.loads((attempt.scene.root / job.place / "job.toml").read_text())["job"]
        if (job.chosen, receipt["chosen"]) != (chosen, chosen):
            found.append(Violation(Kind.WRONG, f"{job.title}: chosen {job.chosen}, in its receipt {receipt['chosen']}"))
    return found


CHOSEN = Story(
    "killed while one of several jobs is chosen",
    _at_each_effect_of_choosing,
    scene=several,
    judge=one_is_chosen,
    ending=_choose_to_the_end,
)
FOLLOWED = Story(
    "killed where one job goes on as another", at_each_effect(followed, after=True), scene=followed, judge=goes_on
)
SEVERAL = Story(
    "killed where a set makes several jobs", at_each_effect(several, after=True), scene=several, judge=makes_all
)
MODELLED = Story("killed while new models are made", at_each_effect(modelled, after=True), scene=modelled)
KILL_STORIES = (BEFORE, AFTER, TWICE, PLUGGED, MODELLED, FOLLOWED, SEVERAL, CLEARED, CHOSEN, RANDOM)
