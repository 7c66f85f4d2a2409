"""Killing the daemon again and again at random times, while sets are dropped and the vendor misbehaves."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from crash_scene import (
    DroppedSet,
    Scene,
    base_name_set,
    failing_set,
    folder_set,
    refused_set,
    sidecar_sets,
)
from crash_start import arguments, environment
from crash_truth import Kind, Violation, after_kill, at_rest, in_doubt, why_held, wrongly_held

from rodin_watchd.emulator.server import Emulator, EmulatorSettings, Fault, parse_fault
from rodin_watchd.model import State

SHORTEST_LIFE_SECONDS, LONGEST_LIFE_SECONDS = 0.3, 1.5
"""How long the daemon lives; it needs about a third of a second to start."""

LAST_RUN_SECONDS = 400
FAULTS = (
    *(("lost-answer", 9), ("submit-503", 21), ("charged-503", 25), ("submit-429=0", 17), ("no-uuid", 19)),
    *(("submit-closed", 7), ("status-503", 23), ("status-429=0", 29), ("empty-jobs", 9), ("status-closed", 31)),
    *(("empty-list", 6), ("partial-list", 10), ("download-503", 33), ("missing-list", 14)),
    *(("expired-link", 11), ("cut-download", 7), ("file-503", 15), ("file-closed", 18)),
)
"""What the vendor does wrong, and at every how many-th call of its kind."""


@dataclass(frozen=True)
class Siege:
    """What came of many kills of one service."""

    sets: int
    kills: int
    charges: int
    held: Counter[str]  # why -> how many
    faults: Counter[str]
    ends: Counter[str]
    violations: tuple[Violation, ...]


@contextmanager
def vendor(calls: int) -> Iterator[Emulator]:
    """Give a vendor that misbehaves in all ways, up to this call of each kind; later it behaves."""
    settings = EmulatorSettings(
        balance=Decimal(10_000), waiting_seconds=0.05, generating_seconds=0.1, faults=faults(calls)
    )
    with Emulator(settings) as emulator:
        yield emulator


def faults(calls: int) -> tuple[Fault, ...]:
    """Return the faults, each at its own calls."""
    return tuple(parse_fault(_at(name, turn)) for name, every in FAULTS for turn in range(every, calls, every))


def _at(name: str, turn: int) -> str:
    return f"{name}@{turn}"


def siege(folder: Path, emulator: Emulator, kills: int, chance: random.Random, until: float) -> Siege:
    """Kill the daemon so many times, or until then (monotonic seconds); let it end; judge."""
    scene = Scene(folder / "root", emulator.base_url)
    violations: list[Violation] = []
    doubtful: set[str] = set()
    done = 0
    while done < kills and time.monotonic() < until:
        _live_and_die(scene, _next_sets(done), chance)
        done += 1
        violations += [Violation(v.kind, f"after kill {done}: {v.text}") for v in after_kill(scene)]
        doubtful |= in_doubt(scene)
    violations += _last_run(scene)
    ledger = emulator.ledger()
    violations += [*at_rest(scene, ledger["charges"]), *wrongly_held(scene, doubtful)]
    violations += [Violation(Kind.WRONG, f"the key reached the file host: {path}") for path in ledger["key_leaks"]]
    history = scene.history().values()
    held = Counter(why_held(events) for job, events in history if job.state is State.HELD)
    ends = Counter(job.state.value for job, _ in history)
    faults = Counter(ledger["faults"])
    return Siege(len(scene.sets), done, len(ledger["charges"]), held, faults, ends, tuple(violations))


def _next_sets(number: int) -> Sequence[DroppedSet]:
    """Return what is dropped in this life: the kinds in turn, never the same bytes twice."""
    seed = 10 * number
    kinds = (
        lambda: [base_name_set(seed)],
        lambda: sidecar_sets(seed),
        lambda: [folder_set(seed)],
        lambda: [refused_set(seed)],
        lambda: [failing_set(seed)],
    )
    return kinds[number % len(kinds)]()


def _live_and_die(scene: Scene, sets: Sequence[DroppedSet], chance: random.Random) -> None:
    """Run the daemon, drop sets at a random time of its life, kill it at another."""
    life = chance.uniform(SHORTEST_LIFE_SECONDS, LONGEST_LIFE_SECONDS)
    early = chance.uniform(0, life)
    command = [sys.executable, "-m", "rodin_watchd", *arguments(scene)[1:-1]]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as daemon:
        _pass(daemon, early)
        scene.drop(sets)
        _pass(daemon, life - early)
        daemon.kill()


def _pass(daemon: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"the daemon ended by itself with {daemon.returncode}")


def _last_run(scene: Scene) -> list[Violation]:
    command = [sys.executable, "-m", "rodin_watchd", *arguments(scene)[1:]]
    done = subprocess.run(
        command, check=False, env=environment(), capture_output=True, text=True, timeout=LAST_RUN_SECONDS
    )
    if done.returncode in (0, 1) and "Traceback" not in done.stderr:
        return []
    return [Violation(Kind.WRONG, f"the last run ended with {done.returncode}: {done.stderr[-2000:]}")]
