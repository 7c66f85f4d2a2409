"""Stories: each is one way to attack the real daemon, and one row in the table of `make soak`.

A story says how its scene is made, what is done in each of its trials, and how a trial is judged. To add one, write a
`Story` and put it into `STORIES` of the module `all_stories`; nothing else knows how many there are:

    def _plan(bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for at in scattered(bench.effects(usual), chance):
            yield lambda attempt, at=at: attempt.run(Crash(at))

    Story("name of the row", plan=_plan, scene=usual, judge=ends_as_ever)

`plan` gives the trials in such an order that a beginning of it is a fair sample: the soak makes as many as its share of the time
allows. A *attack* does what is done in one trial, through the `Attempt`: it runs the daemon, kills it, meddles with the folders, asks for
looks in between. After it the driver runs the daemon once more, without a crash, until it is idle (`ending`), and has the judge say
what is wrong. The attack must not judge what may rightly be: it adds to `attempt.violations` only what is wrong at that moment.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Self, TypeAlias

from crash_scene import Scene, all_kinds, base_name_set, failing_set, followed_set, new_model_sets, turned_set
from crash_start import NO_COMPILER, RUN_SECONDS, Crash, Ended, Start, build, warm
from crash_truth import (
    Kind,
    Looks,
    Violation,
    after_kill,
    at_rest,
    conserved,
    in_doubt,
    needlessly_held,
    why_held,
    wrongly_held,
)
from ledgers import Leaves, Told, check_money

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.ledger import Charge, ChargeRow
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.model import State

SEED = 100
FAST = EmulatorSettings(
    preview_pixels=64,
    balance=Decimal(100_000),
    waiting_seconds=0,
    generating_seconds=0,
    faults=(parse_fault("sub-folders=scene"),),
)
"""A vendor that works as fast as it can, and names its files by paths."""


@dataclass(frozen=True)
class Trial:
    """What came of one scene."""

    story: str
    strikes: tuple[str, ...]  # where it was struck: the effects, as the library logged them, or other words
    kills: int
    sets: int
    charges: int
    held: tuple[str, ...]  # for each held job, why
    faults: Counter[str]  # of the vendor
    violations: tuple[Violation, ...]

    @property
    def failures(self) -> list[str]:
        """What is wrong, each with where it was struck."""
        where = " and ".join(self.strikes) or "not struck"
        return [f"{violation.kind}: {violation.text} ({self.story}: {where})" for violation in self.violations]


class Bench:
    """Where the trials of stories with one vendor are made: a folder, the vendor, ways to start the daemon."""

    def __init__(self, folder: Path, vendor: Emulator, start: Start, another: Callable[[], Start]) -> None:
        self.folder = folder
        self.vendor = vendor
        self.start = start
        self._another = another
        self._counts: dict[tuple[SceneMaker, Crash], int] = {}
        self._seen = (0, Counter[str]())  # charges and faults in the vendor's ledger that belong to earlier trials

    @property
    def second(self) -> Start:
        """Another way to start a daemon, for two at the same time."""
        return self._another()

    def effects(self, scene: SceneMaker, crash: Crash | None = None) -> int:
        """Return how many effects a run without a crash has in a scene; with a crash at 0, those that can fail as it says."""
        asked = (scene, crash or Crash())
        if asked not in self._counts:
            with (
                tempfile.TemporaryDirectory(prefix="count-", dir=self.folder) as place,
                scene(Path(place), self.vendor.base_url) as made,
            ):
                self._counts[asked] = len(self.start(made, asked[1]).effects)
            self.charges()
        return self._counts[asked]

    def charges(self) -> tuple[list[ChargeRow], Counter[str]]:
        """Return what the vendor charged, and did wrong, since the last call."""
        ledger = self.vendor.ledger()
        (charges, faults), now = self._seen, Counter(ledger["faults"])
        self._seen = len(ledger["charges"]), now
        return ledger["charges"][charges:], now - faults


class Attempt:
    """One trial under way: the scene, and what has come of it so far."""

    def __init__(self, story: Story, bench: Bench, scene: Scene, until: float) -> None:
        self.story = story
        self.bench = bench
        self.scene = scene
        self.scenes = [scene, *scene.others]
        self.until = until  # monotonic seconds; a attack that could go on for long ends then
        self.strikes: list[str] = []
        self.kills = 0
        self.doubtful: set[str] = set()
        self.violations: list[Violation] = []
        self.leaves = Leaves()  # what people agreed to
        self._looks = {scene.root: Looks()}

    def run(self, crash: Crash | None = None, scene: Scene | None = None, start: Start | None = None) -> Ended:
        """Run the daemon until it is idle, or struck; look at what it left."""
        crash, there = crash or Crash(), scene or self.scene
        ended = (start or self.bench.start)(there, crash)
        if struck := ended.at(crash):
            self.strikes.append(struck)
        if ended.killed or (ended.code < 0 and crash.seconds < RUN_SECONDS):  # that its time was over is a kill, too
            self.killed(there)
        elif ended.fault and not crash.descriptors:
            self.violations.append(Violation(Kind.WRONG, ended.fault))
        return ended

    def dare(self, attack: Attack) -> None:
        """Do what is done in this trial; where that itself breaks, the trial has failed, and the others go on."""
        try:
            attack(self)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this trial's
            self.violations.append(Violation(Kind.WRONG, f"the trial broke: {error!r}"))

    def killed(self, scene: Scene | None = None) -> None:
        """Note a kill, look at what it left, and note which jobs are in doubt."""
        self.kills += 1
        self.doubtful |= in_doubt(scene or self.scene)
        self.look(scene)

    def forget(self) -> None:
        """Expect no more what earlier looks have seen: somebody has taken the journal's memory away."""
        self._looks.clear()

    def look(self, scene: Scene | None = None) -> None:
        """Look at a scene: every dropped byte, everything that is visible, everything that an earlier look has seen."""
        there = scene or self.scene
        if len(self.scenes) == 1:  # what is in one of several roots is judged at the end
            self.violations += after_kill(there, copies=self.story.copies)
        self.violations += self._looks.setdefault(there.root, Looks()).look(there)


Attack: TypeAlias = Callable[[Attempt], object]
"""What is done in one trial."""

SceneMaker: TypeAlias = Callable[[Path, str], AbstractContextManager[Scene]]
"""Makes a scene in an empty folder, with sets in it, for the vendor at a URL; takes down at the end what it has mounted."""

Judge: TypeAlias = Callable[[Attempt, Sequence[ChargeRow]], list[Violation]]
"""Says what is wrong at rest, given what the vendor charged in this trial."""


# ---- scenes ---------------------------------------------------------------------------------------------------------


@contextmanager
def usual(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with one set of each kind."""
    scene = Scene(folder / "root", base_url)
    scene.drop(all_kinds(SEED))
    yield scene


@contextmanager
def bare(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene in which nothing was dropped yet."""
    yield Scene(folder / "root", base_url)


@contextmanager
def plugged(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene in which a plugin works on each result and is told of it."""
    scene = Scene(folder / "root", base_url, plugin=True)
    scene.drop([base_name_set(SEED), failing_set(SEED + 1)])
    yield scene


@contextmanager
def modelled(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with sets of which new models are made: several images by name and by folder, a text alone; one is refused."""
    scene = Scene(folder / "root", base_url)
    scene.drop([*new_model_sets(SEED), turned_set(SEED + 4)])
    yield scene


@contextmanager
def followed(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with an image whose new model is to be textured after it: a copy of it goes on."""
    scene = Scene(folder / "root", base_url)
    scene.drop([followed_set(SEED)])
    for one in scene.sets:
        scene.inventory.named_again(one.files[one.image])
    yield scene


SEVERAL_SEEDS = (1, 2, 3)


@contextmanager
def several(folder: Path, base_url: str) -> Iterator[Scene]:
    """Give a scene with a set that makes several jobs: each has copies of its files."""
    scene = Scene(folder / "root", base_url)
    one = base_name_set(SEED)
    scene.drop([replace(one, files={**one.files, f"{one.name}.toml": f"seeds = {list(SEVERAL_SEEDS)}\n".encode()})])
    for name in (one.model, one.image):
        for _ in SEVERAL_SEEDS[1:]:
            scene.inventory.named_again(one.files[name])
    yield scene


# ---- judges ---------------------------------------------------------------------------------------------------------


def ends_as_ever(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Every set ended as it would have without the attack, or is held because a kill found it in doubt."""
    return [*at_rest(attempt.scene, charges), *holds(attempt)]


def run_to_the_end(attempt: Attempt) -> None:
    """Run the daemon once more, without a crash, until it is idle."""
    attempt.run()


def holds(attempt: Attempt) -> list[Violation]:
    """Return which jobs of any root are held, or not, against what the kills have found in doubt."""
    found: list[Violation] = []
    for scene in attempt.scenes:
        mine = attempt.doubtful & {job.id for job, _ in scene.history().values()}
        found += [*wrongly_held(scene, mine), *needlessly_held(scene, mine)]
    return found


def goes_on(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Each of two jobs ended as it would have, bought once, the second of the very model of the first; or it was held in doubt."""
    told = Told.of(attempt.scene.journal)
    jobs = told.jobs.values()
    found = [*conserved(attempt.scenes, charges), *holds(attempt)]
    try:
        check_money(told, [_charge(row) for row in charges], attempt.leaves)
    except AssertionError as error:
        found.append(Violation(Kind.DUPLICATE, str(error)))
    wanted = {("generate", State.ARCHIVED): 1, ("texture", State.ARCHIVED): 1}
    ended = Counter((job.kind, job.state) for job in jobs)
    if ended != wanted and not any(job.state is State.HELD for job in jobs):
        found.append(Violation(Kind.LOST, f"one of two jobs is missing, or failed: {dict(ended)}"))
    made = {result.sha256 for job in jobs if job.kind == "generate" for result in job.results}
    textured = [row for row in charges if row["model_sha256"]]
    found += [
        Violation(Kind.WRONG, f"another model was textured: {row}")
        for row in textured
        if row["model_sha256"] not in made
    ]
    return found


def makes_all(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Each of the jobs of one set ended as it would have, bought once, next to the others; or one was held in doubt."""
    told = Told.of(attempt.scene.journal)
    found = [*conserved(attempt.scenes, charges), *holds(attempt)]
    try:
        check_money(told, [_charge(row) for row in charges], attempt.leaves)
    except AssertionError as error:
        found.append(Violation(Kind.DUPLICATE, str(error)))
    bought = Counter(row["options"].get("seed") for row in charges)
    found += [
        Violation(Kind.DUPLICATE, f"seed {seed}: bought {times} times") for seed, times in bought.items() if times > 1
    ]
    jobs = [job for job in told.jobs.values() if job.batch]
    ended = Counter((job.batch.label, job.state, job.place.rpartition("/")[0]) for job in jobs if job.batch)
    folder = f"outbox/{attempt.scene.sets[0].name}"
    wanted = Counter((f"seed-{seed}", State.ARCHIVED, folder) for seed in SEVERAL_SEEDS)
    if ended != wanted and not any(job.state is State.HELD for job in jobs):
        found.append(Violation(Kind.LOST, f"one of several jobs is missing, or failed: {dict(ended)}"))
    return found


def _charge(row: ChargeRow) -> Charge:
    money = Decimal(row["credits"]), Decimal(row["balance"])
    return Charge(row["task_uuid"], row["model_sha256"], row["image_sha256"], row["options"], *money, row["at"])


def conserves(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Nothing is nowhere, bought twice or not what was bought, however the sets ended; who is held was in doubt."""
    return [*conserved(attempt.scenes, charges), *holds(attempt)]


# ---- stories --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """A way of attack; see the module's own words."""

    name: str
    plan: Callable[[Bench, random.Random], Iterable[Attack]]
    scene: SceneMaker = usual
    judge: Judge = ends_as_ever
    ending: Attack = run_to_the_end
    missing: Callable[[], str] = lambda: NO_COMPILER  # why it cannot be made on this machine, ""
    vendor: EmulatorSettings = FAST
    copies: bool = False  # whether files are copied from filesystem to filesystem
    weight: float = 1.0  # of its share of the time

    def trial(self, bench: Bench, attack: Attack, until: float) -> Trial:
        """Make one trial."""
        with (
            tempfile.TemporaryDirectory(prefix="trial-", dir=bench.folder) as place,
            self.scene(Path(place), bench.vendor.base_url) as scene,
        ):
            attempt = Attempt(self, bench, scene, until)
            attempt.dare(attack)
            attempt.dare(self.ending)
            charges, faults = bench.charges()
            for each in attempt.scenes:
                attempt.look(each)
            found = (*attempt.violations, *self.judge(attempt, charges))
            histories = (history for each in attempt.scenes for history in each.history().values())
            held = tuple(why_held(events) for job, events in histories if job.state is State.HELD)
            sets = sum(len(each.sets) for each in attempt.scenes)
            counts = (attempt.kills, sets, len(charges))
            return Trial(self.name, tuple(attempt.strikes), *counts, held, faults, found)


@dataclass(frozen=True)
class Made:
    """What came of one story: its trials, how many there could have been, and why there were none."""

    trials: Sequence[Trial] = ()
    planned: int = 0
    missing: str = ""


class Benches:
    """Makes the trials of stories: one library, one warm daemon, a vendor for each kind of vendor; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._benches: dict[EmulatorSettings, Bench] = {}
        self._starts: list[Start] = []

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stories-")))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _start(self, number: int) -> Start:
        if not self._starts:
            self._library = build(self._folder)
        while len(self._starts) <= number:
            self._starts.append(self._stack.enter_context(warm(self._library)))
        return self._starts[number]

    def bench(self, story: Story) -> Bench:
        """Return where the trials of a story are made."""
        if story.vendor not in self._benches:
            vendor = self._stack.enter_context(Emulator(story.vendor))
            self._benches[story.vendor] = Bench(self._folder, vendor, self._start(0), lambda: self._start(1))
        return self._benches[story.vendor]

    def make(self, story: Story, seed: int, until: float, part: int = 0, parts: int = 1) -> Made:
        """Make every `parts`-th trial of a story, as many as can be begun before `until` (monotonic seconds), but one at least."""
        if missing := story.missing():
            return Made(missing=missing)
        bench = self.bench(story)
        chance = random.Random(f"{story.name} {seed}")  # noqa: S311 - where to strike is no secret
        try:
            attacks = list(story.plan(bench, chance))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this story's
            broken = Violation(Kind.WRONG, f"the story cannot be planned: {error!r}")
            return Made([Trial(story.name, (), 0, 0, 0, (), Counter(), (broken,))])
        done: list[Trial] = []
        for attack in attacks[part::parts]:
            if done and time.monotonic() >= until:
                break
            done.append(story.trial(bench, attack, until))
        return Made(done, len(attacks))


def scattered(total: int, chance: random.Random) -> list[int]:
    """Return 1 to `total` in an order whose every beginning is spread over the whole, beginning somewhere."""
    step = next((s for s in range(int(total * 0.618) or 1, total + 2) if _coprime(s, total)), 1)
    first = chance.randrange(max(total, 1))
    return [1 + (first + number * step) % total for number in range(total)]


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


def shares(
    stories: Sequence[Story], until: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[Story, float]]:
    """Give each story with the moment until when it may begin trials: what one leaves over, or overdraws, all later ones share."""
    for number, story in enumerate(stories):
        now = clock()
        left = sum(later.weight for later in stories[number:])
        yield story, now + (until - now) * story.weight / left
