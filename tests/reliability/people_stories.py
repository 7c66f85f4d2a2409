"""Stories of people: commands, reloads and sync programs at random, while the daemon is killed again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial

from crash_scene import DroppedSet, Scene, base_name_set
from crash_start import Crash, alive, environment, passes
from crash_truth import Kind, Violation
from kill_stories import faults
from ledgers import Asked, Leaves, Told
from stories import Attack, Attempt, Bench, Story
from world_stories import in_the_books, no_tools, short

from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.model import State

LIVES = 4
LIFE_SECONDS = 2.2
OFTEN = 60
COMMAND_SECONDS = 120
REST_SECONDS = 100
PER_DAY = 1.5
SEED = 900
AGAIN = ("again = true\n", "again = true # please\n", 'again = "second try"\n', 'again = "second try" # yes\n')
CHOICES: Mapping[State, Sequence[Sequence[str]]] = {
    State.HELD: (
        ("resolve", "--not-charged", "--yes"),
        ("resolve", "--give-up"),
        ("resolve", "--task", "a-task-of-nobody"),
    ),
    State.FAILED: (("retry",), ("retry", "--pay-again")),
}
"""What people ask of a job in such a state; of any other they ask `cancel`."""


class Terminals:
    """People at their command lines: processes that run while the service lives and dies; notes what each could see."""

    def __init__(self, scene: Scene, leaves: Leaves) -> None:
        self.leaves = leaves
        self._scene = scene
        self._open: list[tuple[subprocess.Popen[bytes], Sequence[str], str, int]] = []

    def ask(self, words: Sequence[str], job: str = "") -> None:
        """Give a command, and wait for nothing."""
        seen = Told.of(self._scene.journal).period(job)[1] if job else 0
        command = [sys.executable, "-m", "rodin_watchd", words[0], "--config", str(self._scene.config), *words[1:]]
        process = subprocess.Popen(
            [*command, *([job] if job else [])],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._open.append((process, words, job, seen))

    def close(self) -> None:
        """Let all commands end; each may have seen whatever its job was in from its start to its end."""
        for process, words, job, first in self._open:
            process.wait(COMMAND_SECONDS)
            history = Told.of(self._scene.journal).of_job(job) if job else []
            for event in (event for event in history if event.id >= first):
                self._note(Asked(words[0], job, event.id), words)
        self._open = []

    def _note(self, ask: Asked, words: Sequence[str]) -> None:
        self.leaves.asked.add(ask)
        self.leaves.pay_again |= {ask} if "--pay-again" in words else set()
        self.leaves.not_charged |= {ask} if "--not-charged" in words else set()


class Crowd:
    """Everybody who does something in one trial, at random."""

    def __init__(self, attempt: Attempt, chance: random.Random) -> None:
        self.attempt = attempt
        self.scene = attempt.scene
        self.terminals = Terminals(attempt.scene, attempt.leaves)
        self._chance = chance
        self._number = 0
        self._config = attempt.scene.config.read_text()

    def act(self, daemon: subprocess.Popen[bytes]) -> None:
        """Do one thing of many."""
        deeds = (
            self.drop,
            self.drop,
            self.decide,
            self.decide,
            self.decide_twice,
            self.synchronise,
            self.again,
            self.press,
        )
        deed = self._chance.choice((*deeds, partial(self.reload, daemon), partial(self.reload, daemon)))
        deed()

    def drop(self) -> None:
        """Drop a set."""
        self._number += 1
        self.scene.drop([base_name_set(SEED + self._number)])

    def again(self) -> None:
        """Drop a set that was dropped before under another name, with a leave to pay again that may have been used."""
        if not self.scene.sets:
            return
        self._number += 1
        known, name, text = (
            self._chance.choice(self.scene.sets),
            f"again{self._number}",
            self._chance.choice(AGAIN).encode(),
        )
        files = {f"{name}.stl": known.files[known.model], f"{name}.png": known.files[known.image], f"{name}.toml": text}
        self.terminals.leaves.note_sidecar(text)
        self.scene.drop([DroppedSet(name, files, model=f"{name}.stl", image=f"{name}.png")])

    def synchronise(self) -> None:
        """Copy the files of a set in again that are gone from the inbox."""
        if not self.scene.sets:
            return
        for path, data in self._chance.choice(self.scene.sets).files.items():
            target = self.scene.inbox / path
            if not target.exists():
                self.scene.inventory.dropped(path, data)
                part = target.with_name(f".{target.name}.part")
                part.write_bytes(data)
                part.replace(target)

    def decide(self) -> None:
        """Ask something of a job."""
        self._decide(1)

    def decide_twice(self) -> None:
        """Ask the same of a job at two terminals."""
        self._decide(2)

    def _decide(self, times: int) -> None:
        jobs = sorted(Told.of(self.scene.journal).jobs.values(), key=lambda job: job.created_at)
        urgent = [job for job in jobs if job.state in CHOICES]
        if jobs:
            job = self._chance.choice(urgent or jobs)
            words = self._chance.choice(CHOICES.get(job.state, (("cancel",),)))
            for _ in range(times):
                self.terminals.ask(words, job.id)

    def press(self) -> None:
        """Ask something of the service."""
        self.terminals.ask(self._chance.choice((("pause",), ("resume",), ("resume",), ("approve", "--all"))))

    def reload(self, daemon: subprocess.Popen[bytes]) -> None:
        """Change the configuration and have it read anew."""
        changed = self._config.replace("max_seconds = 0.1", f"max_seconds = {self._chance.choice((0.1, 0.2, 0.3))}")
        changed = changed.replace("[intake]", f"max_in_flight = {self._chance.randint(1, 4)}\n[intake]")
        self.scene.config.with_suffix(".new").write_text(changed)
        self.scene.config.with_suffix(".new").replace(self.scene.config)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGHUP)

    def go_home(self) -> None:
        """End all commands, and leave the service to its work."""
        self.terminals.close()
        for words in (("resume",), ("approve", "--all")):
            self.terminals.ask(words)
        self.terminals.close()


def _crowds(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for _ in range(OFTEN):
        yield partial(_a_day, random.Random(chance.random()))  # noqa: S311 - who does what is no secret


def _a_day(chance: random.Random, attempt: Attempt) -> None:
    """Let people do things at random while the daemon lives and dies, and the vendor misbehaves; then judge the books."""
    crowd = Crowd(attempt, chance)
    attempt.bench.vendor.set_faults(*faults(chance))
    for _ in range(LIVES):
        with alive(attempt.scene, serving=True) as daemon:
            ends_at = time.monotonic() + chance.uniform(0.5, LIFE_SECONDS)
            while (left := ends_at - time.monotonic()) > 0:
                crowd.act(daemon)
                assert passes(daemon, min(left, chance.uniform(0.02, 0.4))), "the daemon ended by itself"
        attempt.forget()  # who retries a set takes its files out of failed/, who pays again gives its task up
        attempt.killed()
        if chance.random() < 0.5:
            crowd.terminals.close()  # else they go on into the next life
        if time.monotonic() >= attempt.until:
            break
    attempt.bench.vendor.set_faults()
    attempt.forget()
    crowd.go_home()
    attempt.strikes.append(f"{attempt.kills} kills among people")


def _rest(attempt: Attempt) -> None:
    """Run the daemon until it is idle, or until only the tasks that people named falsely are still asked for."""
    attempt.run(Crash(seconds=REST_SECONDS))


def agreed(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Judge by what people had agreed to; every set has ended or is held."""
    return in_the_books(attempt.scene, charges, attempt.leaves, {})


def within_the_day(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Judge by what people had agreed to, and by the budget: a trial takes a part of one day. A person's word may be false."""
    told = Told.of(attempt.scene.journal)
    words = sum(event.action == "resolve" and event.state == State.STAGED for event in told.events)
    spent = sum(Decimal(row["credits"]) for row in charges)
    found = in_the_books(attempt.scene, charges, attempt.leaves, {"per_day_credits": PER_DAY})
    if spent > Decimal(str(PER_DAY)) + words * Decimal("0.5"):
        found.append(Violation(Kind.DUPLICATE, f"{spent} credits were spent within a day of {PER_DAY}"))
    return found


PEOPLE = Story("people, reloads and kills at random", _crowds, short(10), agreed, _rest, missing=no_tools(), weight=2)
BUDGETED = Story(
    "people, reloads and kills within a budget",
    _crowds,
    short(10, f"per_day_credits = {PER_DAY}\n"),
    within_the_day,
    _rest,
    missing=no_tools(),
    weight=1.5,
)
PEOPLE_STORIES = (PEOPLE, BUDGETED)
