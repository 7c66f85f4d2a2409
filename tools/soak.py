"""Kill the service in every way that is known here, for about ten minutes, and count what broke; see docs/reliability.md.

1. The daemon kills itself before and after each of its effects on the world, and at pairs of them.
2. It is killed at random times, while sets are dropped and the vendor misbehaves.
3. Uploads to several servers are killed.

Prints tables in Markdown at the end. Exits 1 when anything was lost, paid twice, shown half-done or is otherwise wrong, and when
one of the three could not be done at all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reliability"))

import random_kills
from crash_start import NO_COMPILER, Crash
from crash_trials import Trial, counted_effects, spread, trials
from crash_truth import Kind, Violation
from upload_kills import UploadKills, kill_uploads, quantile
from upload_servers import SERVERS

PAIRS = 40
PLUGGED = 60  # crashes with a plugin at work
UPLOAD_KILLS = 30
WHOLE_UPLOADS = 30  # without a kill, over each line
UPLOAD_SHARE = 0.35  # of the time; first and alone, for the windows are measured
BEYOND = 10  # effects: runs differ a little in length
CALLS_WITH_FAULTS = 0.9  # calls of a kind for each kill, up to which the vendor misbehaves


@dataclass(frozen=True)
class Row:
    """What came of one way of killing."""

    proof: str
    sets: int
    kills: int
    charges: int
    held: Counter[str]
    violations: Sequence[Violation]

    def cells(self) -> tuple[str, *tuple[int, ...]]:
        """Return the cells of its row."""
        kinds = Counter(violation.kind for violation in self.violations)
        others = len(self.violations) - kinds[Kind.DUPLICATE] - kinds[Kind.LOST]
        bad = (kinds[Kind.DUPLICATE], kinds[Kind.LOST], others)
        return (self.proof, self.sets, self.kills, self.charges, *bad, self.held.total())


@dataclass(frozen=True)
class Crashes:
    """What came of all ways of killing the daemon."""

    rows: Sequence[Row]
    effects: Counter[str]  # at which it was killed
    faults: Counter[str]  # of the vendor
    told: str  # about how much of it could be done


def main() -> int:
    """Kill, print, and return the exit code."""
    options = _options()
    started = time.monotonic()
    uploads = _uploads(options, started + UPLOAD_SHARE * options.seconds)
    crashes = _crashes(options, started + options.seconds)
    print(f"Seed {options.seed}, {os.cpu_count()} processors, {time.monotonic() - started:.0f} s.", crashes.told)
    print("\n".join(f"- {violation.kind}: {violation.text}" for row in crashes.rows for violation in row.violations))
    _print_rows(crashes.rows)
    _print_counts("why a job was held", "jobs", sum((row.held for row in crashes.rows), Counter()))
    _print_counts("fault injected", "times", _injected(crashes, uploads))
    _print_counts("killed before or after this call to the system", "times", crashes.effects)
    _print_uploads(uploads)
    idle = [row.proof for row in crashes.rows if not row.kills]
    idle += [] if any(done.kills for done in uploads.values()) else ["uploads"]
    if idle:
        print(f"Nothing was killed, so nothing is proven: {', '.join(idle)}.")
    broken = any(row.violations for row in crashes.rows) or any(done.broken for done in uploads.values())
    return int(broken or bool(idle))


def _injected(crashes: Crashes, uploads: Mapping[str, UploadKills]) -> Counter[str]:
    kills = {f"SIGKILL, {row.proof}": row.kills for row in crashes.rows}
    of_uploads = {"SIGKILL, uploads": sum(done.kills for done in uploads.values())}
    return Counter({**kills, **of_uploads, **{f"vendor: {name}": count for name, count in crashes.faults.items()}})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="kills at random times (200)")
    parser.add_argument("--seconds", type=float, default=600, help="begin nothing new after so long (600)")
    parser.add_argument("--jobs", type=int, default=3, help="processes that make crash trials (3)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="of all chance")
    return parser.parse_args()


# ---- uploads --------------------------------------------------------------------------------------------------------


def _uploads(options: argparse.Namespace, until: float) -> dict[str, UploadKills]:
    done = {}
    for number, (name, (serve, missing)) in enumerate(SERVERS.items()):
        share = (until - time.monotonic()) / (len(SERVERS) - number)
        chance = random.Random(options.seed + number)  # noqa: S311 - when to kill is no secret
        if missing or share <= 0:
            print(f"Not done: uploads to {name}: {missing or 'no time is left'}.")
        else:
            done[name] = kill_uploads(serve, UPLOAD_KILLS, chance, time.monotonic() + share, WHOLE_UPLOADS)
    return done


def _print_uploads(uploads: dict[str, UploadKills]) -> None:
    head = (
        "server | kills | in `uploading` | of them accepted | in `submitting` | of them accepted | answered | accepted"
    )
    rows = [
        (name, d.kills, d.uploading, d.uploading_accepted, d.submitting, d.submitting_accepted, d.answered, d.answered_accepted)
        for name, d in uploads.items()
    ]  # fmt: skip
    _print_table(head, rows)
    head = "server | line | uploads | unknown window, median ms | p99 ms"
    windows = [
        (name, line, len(seconds), f"{quantile(seconds, 0.5) * 1e3:.1f}", f"{quantile(seconds, 0.99) * 1e3:.1f}")
        for name, done in uploads.items()
        for line, seconds in (("loopback", done.direct_seconds), ("20 MB/s", done.paced_seconds))
    ]
    _print_table(head, windows)


# ---- the daemon -----------------------------------------------------------------------------------------------------


def _crashes(options: argparse.Namespace, until: float) -> Crashes:
    """Make the trials and the random kills at the same time: both mostly wait."""
    with ProcessPoolExecutor(options.jobs + 1, mp_context=multiprocessing.get_context("spawn")) as pool:
        siege = pool.submit(_siege, options.kills, options.seed, until)
        made, told = _trials(options, until, pool.submit)
        stormed = siege.result()
    rows = [_row(proof, wanted, made) for proof, wanted in KINDS_OF_TRIALS]
    random_row = Row("random times", stormed.sets, stormed.kills, stormed.charges, stormed.held, stormed.violations)
    effects = Counter(effect.split()[2] for trial in made for effect in trial.effects)
    return Crashes([*rows, random_row], effects, stormed.faults, told)


def _siege(kills: int, seed: int, until: float) -> random_kills.Siege:
    chance = random.Random(seed)  # noqa: S311 - when to kill is no secret
    with (
        tempfile.TemporaryDirectory(prefix="siege-") as folder,
        random_kills.vendor(int(kills * CALLS_WITH_FAULTS)) as vendor,
    ):
        return random_kills.siege(Path(folder), vendor, kills, chance, until)


KINDS_OF_TRIALS: tuple[tuple[str, Callable[[Trial], bool]], ...] = (
    ("before each effect", lambda trial: not trial.plugin and len(trial.crashes) == 1 and not trial.crashes[0].after),
    ("after each effect", lambda trial: not trial.plugin and len(trial.crashes) == 1 and trial.crashes[0].after),
    ("at two effects", lambda trial: len(trial.crashes) == 2),
    ("with a plugin at work", lambda trial: trial.plugin),
)


def _trials(
    options: argparse.Namespace, until: float, submit: Callable[..., Future[list[Trial]]]
) -> tuple[list[Trial], str]:
    if NO_COMPILER or time.monotonic() >= until:
        return [], f"Not done: crashes at each effect: {NO_COMPILER or 'no time is left'}."
    total = counted_effects()
    plan = _plan(total, random.Random(options.seed))  # noqa: S311 - when to kill is no secret
    parts = [submit(trials, _plugged_plan(), until, plugin=True)]
    parts += [submit(trials, plan[part :: options.jobs], until) for part in range(options.jobs)]
    made = [trial for part in parts for trial in part.result()]
    return (
        made,
        f"A run without a crash has {total} effects; {sum(not t.plugin for t in made)} of {len(plan)} trials were made in the time.",
    )


def _plan(total: int, chance: random.Random) -> list[tuple[Crash, ...]]:
    """Return the trials: a sample of pairs, then before each effect, then after each."""
    pairs = [
        (Crash(chance.randint(1, total), after=chance.random() < 0.5), Crash(chance.randint(1, total // 2)))
        for _ in range(PAIRS)
    ]
    singles = [(Crash(at, after=after),) for after in (False, True) for at in range(1, total + BEYOND)]
    return [*pairs, *singles]


def _plugged_plan() -> list[tuple[Crash, ...]]:
    """Return crashes before and after effects all over a run in which a plugin works on a result and is told of it."""
    places = spread(counted_effects(plugin=True), PLUGGED)
    return [(Crash(at, after=bool(number % 2)),) for number, at in enumerate(places)]


def _row(proof: str, wanted: Callable[[Trial], bool], made: Iterable[Trial]) -> Row:
    mine = [
        trial for trial in made if wanted(trial) and trial.effects
    ]  # one that ended before its effect proves nothing
    return Row(
        proof,
        sets=sum(trial.sets for trial in mine),
        kills=sum(len(trial.effects) for trial in mine),
        charges=sum(trial.charges for trial in mine),
        held=Counter(why for trial in mine for why in trial.held),
        violations=[Violation(v.kind, f"{v.text} ({trial.where})") for trial in mine for v in trial.violations],
    )


# ---- printing -------------------------------------------------------------------------------------------------------


def _print_rows(rows: Sequence[Row]) -> None:
    head = "killed | sets | kills | charges | duplicates | lost | other faults | held"
    cells = [row.cells() for row in rows]
    _print_table(head, [*cells, ("**all**", *map(sum, zip(*(numbers for _, *numbers in cells), strict=True)))])


def _print_counts(what: str, unit: str, counts: Counter[str]) -> None:
    _print_table(f"{what} | {unit}", counts.most_common())


def _print_table(head: str, rows: Iterable[Sequence[object]]) -> None:
    print(f"| {head} |")
    print("|" + "---|" * (head.count(" | ") + 1))
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
