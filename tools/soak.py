"""Attack the service in every way that is known here, for about ten minutes, and count what broke; see docs/reliability.md.

1. Uploads to several servers are killed; alone, for their windows are measured.
2. Each story (tests/reliability/all_stories.py) gets its share of the time that is left: the daemon is killed, stopped, refused
   something at chosen effects, while artists, administrators and other programs meddle.

Prints tables in Markdown at the end. Exits 1 when anything was lost, paid twice, shown half-done or is otherwise wrong, and when
a story that can be made here was not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reliability"))

from all_stories import STORIES
from crash_truth import Kind
from mounts import own_mounts
from stories import Benches, Made, Trial, shares
from upload_kills import UploadKills, kill_uploads, quantile
from upload_servers import SERVERS

UPLOAD_KILLS = 30
WHOLE_UPLOADS = 30  # without a kill, over each line
UPLOAD_SHARE = 0.2  # of the time
MOST_FAILURES = 20  # of each story that are printed


@dataclass(frozen=True)
class Row:
    """What came of one story, in all processes."""

    name: str
    trials: Sequence[Trial]
    planned: int
    missing: str

    @property
    def failures(self) -> list[str]:
        """What is wrong."""
        return [failure for trial in self.trials for failure in trial.failures]

    @property
    def struck(self) -> int:
        """How many trials were struck; one that ended before its effect proves nothing."""
        return sum(bool(trial.strikes) for trial in self.trials)

    def cells(self) -> tuple[str, *tuple[int, ...]]:
        """Return the cells of its row."""
        kinds = Counter(violation.kind for trial in self.trials for violation in trial.violations)
        others = kinds.total() - kinds[Kind.DUPLICATE] - kinds[Kind.LOST]
        done = (self.planned, self.struck, sum(trial.kills for trial in self.trials), sum(t.sets for t in self.trials))
        ends = (sum(trial.charges for trial in self.trials), kinds[Kind.DUPLICATE], kinds[Kind.LOST], others)
        return (self.name, *done, *ends, sum(len(trial.held) for trial in self.trials))


def main() -> int:
    """Attack, print, and return the exit code."""
    options = _options()
    started = time.monotonic()
    uploads = _uploads(options, started + UPLOAD_SHARE * options.seconds)
    rows = _rows(options, started + options.seconds)
    print(f"Seed {options.seed}, {os.cpu_count()} processors, {time.monotonic() - started:.0f} s.")
    for row in rows:
        print("\n".join(f"- {failure}" for failure in row.failures[:MOST_FAILURES]), end="\n" if row.failures else "")
    _print_rows(rows)
    trials = [trial for row in rows for trial in row.trials]
    _print_counts("why a job was held", "jobs", Counter(why for trial in trials for why in trial.held))
    _print_counts("fault of the vendor", "times", sum((trial.faults for trial in trials), Counter()))
    _print_counts("killed or failed at this system call", "times", Counter(_calls(trials)))
    _print_uploads(uploads)
    idle = _not_made(rows, bool(options.only) or any(done.kills for done in uploads.values()))
    broken = any(row.failures for row in rows) or any(done.broken for done in uploads.values())
    return int(broken or idle)


def _not_made(rows: Sequence[Row], uploads_done: bool) -> bool:
    """Name the rows that prove nothing; return whether one of them could have been made."""
    for row in rows:
        if row.missing:
            print(f"Cannot be made here: {row.name}: {row.missing}.")
    idle = [row.name for row in rows if not row.missing and not row.struck]
    idle += [] if uploads_done else ["uploads"]
    if idle:
        print(f"Not struck, so nothing is proven: {', '.join(idle)}.")
    return bool(idle)


def _calls(trials: Iterable[Trial]) -> Iterable[str]:
    """Give the names of the calls that were struck: "before 12 rename PATH"."""
    for strike in (strike for trial in trials for strike in trial.strikes):
        _, _, told = strike.rpartition(" before ") if " before " in strike else (strike.partition(" "))
        words = told.split()
        if len(words) > 1 and words[0].isdecimal():
            yield words[1]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="begin nothing new after so long (600)")
    parser.add_argument("--jobs", type=int, default=3, help="processes that make trials (3)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="of all chance")
    parser.add_argument("--only", default="", help="only the stories whose names contain this, and no uploads")
    return parser.parse_args()


# ---- uploads --------------------------------------------------------------------------------------------------------


def _uploads(options: argparse.Namespace, until: float) -> dict[str, UploadKills]:
    done: dict[str, UploadKills] = {}
    if options.only:
        return {}
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


# ---- stories --------------------------------------------------------------------------------------------------------


def _rows(options: argparse.Namespace, until: float) -> list[Row]:
    """Make the trials of all stories in several processes: each makes a part of each story."""
    names = [story.name for story in STORIES if options.only in story.name]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context, initializer=own_mounts) as pool:
        left = until - time.monotonic()
        parts = [pool.submit(_part, names, options.seed, left, part, options.jobs) for part in range(options.jobs)]
        made = [part.result() for part in parts]
    return [_row(name, [part[name] for part in made if name in part]) for name in names]


def _part(names: Sequence[str], seed: int, seconds: float, part: int, parts: int) -> dict[str, Made]:
    """Make a part of each story, each in its share of the time."""
    until_all = time.monotonic() + seconds
    chosen = [story for story in STORIES if story.name in names and seconds > 0]
    with Benches() as benches:
        return {story.name: benches.make(story, seed, until, part, parts) for story, until in shares(chosen, until_all)}


def _row(name: str, made: Sequence[Made]) -> Row:
    trials = [trial for part in made for trial in part.trials]
    return Row(name, trials, max((part.planned for part in made), default=0), next((p.missing for p in made), ""))


# ---- printing -------------------------------------------------------------------------------------------------------


def _print_rows(rows: Sequence[Row]) -> None:
    head = "story | trials | made | kills | sets | charges | duplicates | lost | other faults | held"
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
