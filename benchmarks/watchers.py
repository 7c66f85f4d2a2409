"""This watcher next to those of paperless-ngx and Unmanic, on the same drops: finished to taken, half taken, missed, taken twice.

Theirs are run from checkouts of `paperless-ngx/paperless-ngx` and `Unmanic/unmanic`: clone them, and give the folders by the variables
`WATCHERS_PAPERLESS` and `WATCHERS_UNMANIC`, or to `python -m benchmarks.watchers`, which prints the table. Without them the
project's own watcher is measured alone. `foreign.py` says what of theirs is replaced: only what comes after their decision.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmarks.drops import (
    BEFORE,
    DOWN,
    KINDS,
    MANY,
    STARTED_DURING,
    Dropped,
    Kind,
    Place,
    bring,
    bring_at_once,
    digests,
)
from benchmarks.emulated import emulator
from benchmarks.figures import Effort, Figure, machine, markdown, median, percentile
from benchmarks.foreign import WORK_SECONDS
from benchmarks.processes import daemon
from rodin_watchd.client.journal import reader
from rodin_watchd.config import load_config
from rodin_watchd.model import Job, State

LIBRARIES = {
    "paperless": ("django==5.2.16", "watchfiles==1.2.0"),
    "unmanic": (
        "JSON-log-formatter==0.5.2",
        "peewee==3.19.0",
        "peewee_migrate==1.13.0",
        "psutil==6.0.0",
        "py-cpuinfo==9.0.0",
        "requests==2.34.2",
        "requests_toolbelt==1.0.0",
        "schedule==1.2.2",
        "tornado==6.3.3",
        "watchdog==7.1.0",
        "xxhash==3.7.0",
    ),
}
"""What their watchers import, from PyPI: of their lists of requirements, in versions that those allow."""

OURS = {"auto": "rodin_watchd", "polling": "rodin_watchd, polling"}
"""What the project's own watcher is called, by its kind."""

POLLING_SECONDS = 10
"""How often the watchers look that poll: the default of `intake.rescan_seconds`."""

BOUND_SECONDS = 330.0
"""What is not taken so long after it was finished is missed. paperless-ngx looks again after 300 s, and takes up to 300 s more where
events end just before that: some of what it missed by this bound it takes later.
"""

START_BOUND_SECONDS = 60.0
"""The same for what was there before the start: their looks of every 300 s leave out what they have seen then."""

BETWEEN_SECONDS = 4.0
"""From one set to the next, so that none waits for another one's turn: Unmanic looks at one event every half second."""


class Take(NamedTuple):
    """A file that was taken: its path below the inbox, its digest at that moment, and when (UTC)."""

    path: str
    digest: str
    at: float


class Watcher(Protocol):
    """A watcher of one folder, which can be started again."""

    name: str
    place: Place

    def running(self) -> contextlib.AbstractContextManager[object]:
        """Run it for as long as the context lasts."""

    def expect(self, digests: Mapping[str, str]) -> None:
        """Take notice of contents that are whole, before they are brought."""

    def takes(self) -> list[Take]:
        """Return all that it took until now."""


def _place(root: Path) -> Place:
    place = Place(root / "inbox", root / "aside")
    for folder in (place.inbox, place.aside):
        folder.mkdir(parents=True)
    return place


class Ours:
    """The real daemon with its default intake, whose vendor is the emulator: it answers at once, so that no set waits for a turn."""

    def __init__(self, root: Path, base_url: str, kind: str) -> None:
        """Take the watcher's kind as the configuration has it, a key of `OURS`."""
        self.name = OURS[kind]
        self.place = _place(root)
        self._root, self._base_url, self._kind = root, base_url, kind

    def running(self) -> contextlib.AbstractContextManager[object]:
        """Run the daemon, and wait until it is up."""
        settings = {"intake.watcher": f'"{self._kind}"', "intake.unproven_quiet_seconds": "30"}
        return daemon(self._root, self._base_url, settings)

    def expect(self, digests: Mapping[str, str]) -> None:
        """Judge by itself what is whole."""

    def takes(self) -> list[Take]:
        """Read from the journal which sets moved to the work folder, and what of each was sent."""
        with reader(load_config(self._root / "config.toml")) as journal:
            return [take for job in journal.jobs() for take in _taken(job)]


def _taken(job: Job) -> list[Take]:
    """Return a job's files once their content is known; none of a set that was refused in the inbox."""
    at = job.times.get(State.CLAIMED.value)
    if at is None or job.state is State.CLAIMED:
        return []
    return [Take(file.source.removeprefix("inbox/"), file.sha256, at) for file in job.files]


class Theirs:
    """Another project's watcher, from its checkout, with its own libraries."""

    def __init__(self, name: str, root: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """`command` is run with inbox and home as its last arguments; `environment` is added to what it needs anyway."""
        self.name = name
        self.place = _place(root)
        self._home, self._command = root / "home", (*command, str(self.place.inbox), str(root / "home"))
        needed = {
            "HOME": str(self._home),
            "library_path": str(self.place.inbox),
            "cache_path": str(self._home / "cache"),
        }
        self._environment = {"PATH": os.environ["PATH"], **needed, **environment}
        (self._home / "whole").mkdir(parents=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run its process."""
        with (self._home / "log").open("a") as log:
            process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
            try:
                yield
                time.sleep(WORK_SECONDS + 1)  # what was taken is worked off, also while no watcher runs
                if process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended: {(self._home / 'log').read_text()[-2000:]}")
            finally:
                process.terminate()
                process.wait()

    def expect(self, digests: Mapping[str, str]) -> None:
        """Note it for the recorder, which leaves a file in place that is not whole, as a task does that fails."""
        for digest in digests.values():
            (self._home / "whole" / digest).touch()

    def takes(self) -> list[Take]:
        """Read what the recorder wrote."""
        with contextlib.suppress(FileNotFoundError):
            lines = map(json.loads, (self._home / "taken.jsonl").read_text().splitlines())
            return [
                Take(str(Path(line["path"]).relative_to(self.place.inbox)), line["digest"], line["at"])
                for line in lines
            ]
        return []


# ---- judging ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a set was taken: so many seconds after it was finished (None: missed), in part before that, and more than once."""

    delay_seconds: float | None
    half: bool
    twice: bool


def judged(dropped: Dropped, takes: Sequence[Take]) -> Verdict:
    """Judge one set by all that was taken. A temporary name of a file that becomes part of it is not whole, either."""
    near = (take for take in takes if dropped.name in take.path and take.at <= dropped.watched_until)
    mine = [take for take in near if any(part.lstrip(".").startswith(dropped.name) for part in Path(take.path).parts)]
    whole = {file for version in dropped.versions for file in version.items()}
    found = [(take.path, take.digest) for take in mine]
    last = dropped.versions[-1].items()
    first_at = [min((take.at for take in mine if take[:2] == file), default=None) for file in last]
    taken_at = None if None in first_at else max(at for at in first_at if at is not None)
    delay = None if taken_at is None else max(0.0, taken_at - dropped.finished_at)
    return Verdict(
        None if delay is None or delay > BOUND_SECONDS else delay,
        any(file not in whole for file in found),
        any(found.count(file) > 1 for file in whole),
    )


class Line(NamedTuple):
    """What became of all sets that were brought in one way to one watcher."""

    watcher: str
    kind: str
    verdicts: tuple[Verdict, ...]

    @property
    def delays(self) -> list[float]:
        """Of those that were taken."""
        return [verdict.delay_seconds for verdict in self.verdicts if verdict.delay_seconds is not None]

    @property
    def missed(self) -> int:
        """How many were not taken in time."""
        return len(self.verdicts) - len(self.delays)

    @property
    def half(self) -> int:
        """Of how many something was taken that was not whole."""
        return sum(verdict.half for verdict in self.verdicts)

    @property
    def twice(self) -> int:
        """Of how many the same content was taken more than once."""
        return sum(verdict.twice for verdict in self.verdicts)

    @property
    def cell(self) -> str:
        """Write it for people."""
        times = f"{median(self.delays):.1f} / {percentile(self.delays, 0.95):.1f} s" if self.delays else ""
        counts = (("half", self.half), ("missed", self.missed), ("twice", self.twice))
        return ", ".join(filter(None, (times, *(f"**{count} {word}**" for word, count in counts if count))))


def lines(watcher: Watcher, dropped: Sequence[Dropped]) -> list[Line]:
    """Judge all sets that were brought to a watcher, in the order of their kinds."""
    takes = watcher.takes()
    kinds = dict.fromkeys(one.kind for one in dropped)
    return [
        Line(watcher.name, kind, tuple(judged(one, takes) for one in dropped if one.kind == kind)) for kind in kinds
    ]


# ---- bringing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is brought."""

    kinds: tuple[Kind, ...]
    rounds: int
    many: int
    between_seconds: float
    settling_seconds: float  # from a start until the watcher certainly watches, where the start is not what is measured

    @classmethod
    def of(cls, effort: Effort) -> Plan:
        """Return the plan for an effort; the quick one has no long pauses, and no texts and folders, which wait for half a minute."""
        kinds = tuple(k for k in KINDS if not effort.quick or not (k.seconds > 1 or k.folder or k.extension == ".obj"))
        between_seconds, settling_seconds = (0.2, 2.0) if effort.quick else (BETWEEN_SECONDS, 10.0)
        return cls(kinds, effort.of(6, 1), effort.sized(1000, 10), between_seconds, settling_seconds)


def session(watcher: Watcher, plan: Plan) -> list[Dropped]:
    """Start a watcher among files that are there already, stop it, start it again; then bring sets in each way, in rounds."""
    numbers = range(plan.rounds)
    with ThreadPoolExecutor(128) as writers:
        dropped = [_brought(BEFORE, watcher, number) for number in numbers]
        slow = [writers.submit(_brought, STARTED_DURING, watcher, number) for number in numbers]
        time.sleep(STARTED_DURING.seconds / 2)
        begun_at = time.time()
        with watcher.running():
            dropped += [future.result() for future in slow]
            _until_taken(watcher, dropped, START_BOUND_SECONDS)
            ended_at = time.time()
        dropped = [one.watched(begun_at, ended_at) for one in dropped]
        down = [_brought(DOWN, watcher, number) for number in numbers]
        begun_at = time.time()
        with watcher.running():
            time.sleep(plan.settling_seconds)
            dropped += [one.watched(begun_at, math.inf) for one in down]
            dropped += [future.result() for future in _rounds(watcher, plan, writers)]
            _until_taken(watcher, dropped, BOUND_SECONDS)
    return dropped


def _rounds(watcher: Watcher, plan: Plan, writers: ThreadPoolExecutor) -> list[Future[Dropped]]:
    begun = []
    next_at = time.monotonic()
    for number in range(plan.rounds):
        for kind in plan.kinds:
            begun.append(writers.submit(_brought, kind, watcher, number))
            next_at += plan.between_seconds
            time.sleep(max(0.0, next_at - time.monotonic()))
    return begun


def _brought(kind: Kind, watcher: Watcher, number: int) -> Dropped:
    for version in digests(kind, number):
        watcher.expect(version)
    return bring(kind, watcher.place, number)


def crowd(watcher: Watcher, plan: Plan) -> list[Dropped]:
    """Bring many sets at once to a watcher that runs."""
    numbers = range(plan.many)
    for number in numbers:
        watcher.expect(digests(MANY, number)[0])
    with watcher.running():
        time.sleep(plan.settling_seconds)
        dropped = bring_at_once(MANY, watcher.place, numbers)
        _until_taken(watcher, dropped, BOUND_SECONDS)
    return dropped


def _until_taken(watcher: Watcher, dropped: Sequence[Dropped], seconds: float) -> None:
    """Wait until each set was taken, or for so long after the last was finished. Looks seldom: looking takes CPU, too."""
    ends_at = max(one.finished_at for one in dropped) + seconds
    while time.time() < ends_at:
        time.sleep(2)
        taken = {take[:2] for take in watcher.takes()}
        if all(file in taken for one in dropped for file in one.versions[-1].items()):
            return


# ---- all of it --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkouts:
    """Where the other projects are; None where one is not to be measured."""

    paperless: Path | None
    unmanic: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Checkouts:
        """Read the variables."""
        found = (environment.get(f"WATCHERS_{name}") for name in ("PAPERLESS", "UNMANIC"))
        return cls(*(Path(path) if path else None for path in found))

    def watchers(self, home: Path) -> list[Watcher]:
        """Make their watchers, each with an environment of its own for its libraries."""
        made: list[Watcher] = []
        if self.paperless:
            command = _prepared("paperless", self.paperless, home)
            folders = {"PAPERLESS_CONSUMER_RECURSIVE": "true"}
            polling = {**folders, "PAPERLESS_CONSUMER_POLLING_INTERVAL": str(POLLING_SECONDS)}
            made.append(Theirs("paperless-ngx", home / "paperless", command, folders))
            made.append(Theirs("paperless-ngx, polling", home / "paperless-polling", command, polling))
        if self.unmanic:
            made.append(Theirs("Unmanic", home / "unmanic", _prepared("unmanic", self.unmanic, home), {}))
        return made

    def missing(self) -> str:
        """Say what is not measured, and how it could be; "" if nothing is."""
        named = {"paperless-ngx/paperless-ngx": self.paperless, "Unmanic/unmanic": self.unmanic}
        absent = [name for name, path in named.items() if path is None]
        if not absent:
            return ""
        return (
            f"Not measured: {', '.join(absent)}. Clone each public repository, and give its folder: `python -m benchmarks.watchers "
            "--paperless PATH --unmanic PATH`, or WATCHERS_PAPERLESS and WATCHERS_UNMANIC in the environment."
        )


def _prepared(name: str, checkout: Path, home: Path) -> tuple[str, ...]:
    """Install a watcher's libraries for it alone; return the command that runs it."""
    folder = home / f"{name}-python"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *LIBRARIES[name]], check=True, stdout=sys.stderr)
    return (python, "-P", str(Path(__file__).with_name("foreign.py")), name, str(checkout.resolve()))


def results(effort: Effort, checkouts: Checkouts, *, only_at_once: bool = False) -> list[Line]:
    """Bring the same drops to all watchers at the same time, and many at once to one after the other; or the latter alone."""
    plan = Plan.of(effort)
    print(checkouts.missing(), file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder, emulator() as base_url:
        home = Path(folder)
        watchers: list[Watcher] = [
            *(Ours(home / f"ours-{kind}", base_url, kind) for kind in OURS),
            *checkouts.watchers(home),
        ]
        brought: list[list[Dropped]] = [[] for _ in watchers]
        if not only_at_once:
            with ThreadPoolExecutor(len(watchers)) as sessions:
                brought = list(sessions.map(lambda watcher: session(watcher, plan), watchers))
        for watcher, dropped in zip(watchers, brought, strict=True):
            dropped.extend(crowd(watcher, plan))
        return [line for pair in zip(watchers, brought, strict=True) for line in lines(*pair)]


def measure(effort: Effort) -> list[Figure]:
    """Return times for each way to bring a set, and for each watcher what must not be."""
    found = results(effort, Checkouts.of(os.environ))
    figures = []
    for name in dict.fromkeys(line.watcher for line in found):
        own = [line for line in found if line.watcher == name]
        figures += [
            Figure(f"{name}: {line.kind}: {word}", value, "s")
            for line in own
            if line.delays
            for word, value in (("median", median(line.delays)), ("p95", percentile(line.delays, 0.95)))
        ]
        sets = sum(len(line.verdicts) for line in own)
        figures += [
            Figure(f"{name}: {sets} sets: {word}", count, "sets", at_most=0 if name in OURS.values() else None)
            for word, count in (
                ("half taken", sum(line.half for line in own)),
                ("missed", sum(line.missed for line in own)),
                ("taken twice", sum(line.twice for line in own)),
            )
        ]
    return figures


def table(found: Sequence[Line]) -> str:
    """Return the table: a line for each way, a column for each watcher."""
    names = list(dict.fromkeys(line.watcher for line in found))
    cells = {(line.kind, line.watcher): line for line in found}
    rows = []
    for kind in dict.fromkeys(line.kind for line in found):
        own = [cells[kind, name] for name in names]
        rows.append((kind, str(len(own[0].verdicts)), *(line.cell for line in own)))
    return markdown(("finished to taken: median / p95", "sets", *names), rows)


def main() -> None:
    """Print the table."""
    given = Checkouts.of(os.environ)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--paperless", type=Path, default=given.paperless, help="a checkout of paperless-ngx/paperless-ngx"
    )
    parser.add_argument("--unmanic", type=Path, default=given.unmanic, help="a checkout of Unmanic/unmanic")
    parser.add_argument("--size", type=int, metavar="N", help="how many sets come at once (default: 1000)")
    parser.add_argument("--only-at-once", action="store_true", help="only the sets that come at once")
    parser.add_argument("--quick", action="store_true", help="once each, without long pauses: proves that it runs")
    asked = parser.parse_args()
    checkouts = Checkouts(asked.paperless, asked.unmanic)
    found = results(Effort(asked.quick, asked.size), checkouts, only_at_once=asked.only_at_once)
    versions = [f"{path.name} {_version(path)}" for path in (checkouts.paperless, checkouts.unmanic) if path]
    print(f"{machine()}\n{'; '.join(versions)}\n\n{table(found)}")


def _version(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "describe", "--tags", "--always"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
