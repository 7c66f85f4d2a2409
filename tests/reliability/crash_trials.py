"""Trials: a scene, one or two crashes, a run without a crash, and the judgement."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from crash_scene import Scene, all_kinds, base_name_set, failing_set
from crash_start import Crash, Ended, Start, build, warm
from crash_truth import Kind, Violation, after_kill, at_rest, in_doubt, needlessly_held, why_held, wrongly_held

from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.emulator.server import Emulator, EmulatorSettings
from rodin_watchd.model import State

SEED = 100


@dataclass(frozen=True)
class Trial:
    """What came of one scene."""

    crashes: tuple[Crash, ...]
    effects: tuple[str, ...]  # at which it was killed, as the library logged them
    sets: int
    charges: int
    held: tuple[str, ...]  # for each held job, why
    violations: tuple[Violation, ...]
    plugin: bool = False  # whether a plugin was at work

    @property
    def where(self) -> str:
        """Where the crashes were."""
        return f"killed {' and '.join(self.effects)}" if self.effects else "not killed"

    @property
    def failures(self) -> list[str]:
        """What is wrong, each with where the crashes were."""
        return [f"{violation.kind}: {violation.text} ({self.where})" for violation in self.violations]


@dataclass
class Bench:
    """Where trials are made: a folder, a vendor, a way to start the daemon."""

    folder: Path
    vendor: Emulator
    start: Start
    plugin: bool = False  # whether a plugin is at work
    seen: int = 0  # charges in the vendor's ledger that belong to earlier trials

    def effects(self) -> list[str]:
        """Return what the effects of a run without a crash are called, for one set of each kind, with a warm vendor."""
        return min(self._effects(), self._effects(), key=len)  # the first time, there is work to wait for

    def _effects(self) -> list[str]:
        with _scene(self.folder, self.vendor, plugin=self.plugin) as scene:
            ended = self.start(scene, Crash())
            assert not ended.fault, ended.fault
            self._charges()
            return [line.split()[1] for line in ended.effects]

    def trial(self, crashes: Sequence[Crash]) -> Trial:
        """Kill the daemon at each of these crashes, then let it end, and judge."""
        with _scene(self.folder, self.vendor, plugin=self.plugin) as scene:
            violations: list[Violation] = []
            doubtful: set[str] = set()
            effects = []
            for crash in (*crashes, Crash()):
                ended = self.start(scene, crash)
                if ended.killed:
                    effects.append(_where(ended, crash))
                    violations += after_kill(scene)
                    doubtful |= in_doubt(scene)
                elif ended.fault:
                    violations.append(Violation(Kind.WRONG, ended.fault))
            charges = self._charges()
            violations += at_rest(scene, charges)
            violations += [*wrongly_held(scene, doubtful), *needlessly_held(scene, doubtful)]
            held = tuple(why_held(events) for job, events in scene.history().values() if job.state is State.HELD)
            counts = (len(scene.sets), len(charges))
            return Trial(tuple(crashes), tuple(effects), *counts, held, tuple(violations), self.plugin)

    def _charges(self) -> list[ChargeRow]:
        ledger = self.vendor.ledger()["charges"]
        new, self.seen = ledger[self.seen :], len(ledger)
        return new


def _where(ended: Ended, crash: Crash) -> str:
    """Return the effect of the crash; its line may not be the last: other threads go on to the end."""
    line = next(line for line in ended.effects if line.startswith(f"{crash.at} "))
    return f"{'after' if crash.after else 'before'} {line.strip()}"


@contextmanager
def _scene(folder: Path, vendor: Emulator, *, plugin: bool) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="trial-", dir=folder) as place:
        scene = Scene(Path(place, "root"), vendor.base_url, plugin=plugin)
        scene.drop([base_name_set(SEED), failing_set(SEED + 1)] if plugin else all_kinds(SEED))
        yield scene


@contextmanager
def vendor() -> Iterator[Emulator]:
    """Give a vendor that works as fast as it can."""
    with Emulator(EmulatorSettings(balance=Decimal(10_000), waiting_seconds=0, generating_seconds=0)) as emulator:
        yield emulator


def spread(total: int, count: int) -> list[int]:
    """Return `count` numbers spread evenly over 1 to `total`."""
    return sorted({1 + round(step * (total - 1) / max(count - 1, 1)) for step in range(count)})


def trials(plan: Sequence[Sequence[Crash]], until: float, *, plugin: bool = False) -> list[Trial]:
    """Make these trials with warm starts, as many as can be begun before `until` (monotonic seconds)."""
    done = []
    with tempfile.TemporaryDirectory(prefix="crashes-") as place, vendor() as emulator:
        folder = Path(place)
        with warm(build(folder)) as start:
            bench = Bench(folder, emulator, start, plugin)
            for crashes in plan:
                if time.monotonic() >= until:
                    break
                done.append(bench.trial(crashes))
    return done


def counted_effects(*, plugin: bool = False) -> int:
    """Return how many effects a run without a crash has."""
    with tempfile.TemporaryDirectory(prefix="crashes-") as place, vendor() as emulator:
        folder = Path(place)
        with warm(build(folder)) as start:
            return len(Bench(folder, emulator, start, plugin).effects())
