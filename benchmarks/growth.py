"""What grows with the past: the same questions at journals of 1,000 to 1,000,000 finished jobs, and ticks while a backup is made.

As a program: `python -m benchmarks.growth ROOT` asks the journal of a root, and prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.figures import Effort, Figure, main, markdown, median, short
from benchmarks.history import BUDGET, write_past
from benchmarks.inside import run_inside
from benchmarks.plots import plot
from benchmarks.processes import HERE, KEY, output_of, write_config
from benchmarks.vendor import vendor
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.adapters.store.backup import make_backup
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.cli.explain import answer_to
from rodin_watchd.client.data import money_report, service_state, taken
from rodin_watchd.client.journal import journal_of, store_at
from rodin_watchd.config import Config, load_config
from rodin_watchd.core.store import Listing, StoreReader
from rodin_watchd.model import State
from rodin_watchd.web.data import PAGE_JOBS, cards

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
GOAL_MILLISECONDS: Final = 100.0
PAGE: Final = HERE / "docs" / "performance.md"
PICTURE: Final = PAGE.parent / "pictures" / "growth.svg"
START, CHECK = "start", "start after a crash"
WHOLE: Final = "reading all of it after a crash"
TICK, TICK_MEANWHILE = "tick", "tick while the backup is made"
LONGEST, LONGEST_MEANWHILE = "the longest tick", "the longest tick while the backup is made"
NEW: Final = "v2:of a new set"

Ask = Callable[[StoreReader, Config], object]
QUESTIONS: Final[Mapping[str, Ask]] = {
    "status": lambda journal, config: taken(config, journal, time.time(), local_zone()),
    "list: the first line": lambda journal, _config: next(journal.each_job()),
    "list --state failed": lambda journal, _config: list(journal.each_job((State.FAILED,))),
    "explain FILE": lambda _journal, config: answer_to(config, Path("inbox/past00000007.glb")),
    "show JOB": lambda journal, _config: journal.events(journal.find("past00000007").id),
    "page: first view": lambda journal, config: (
        cards(journal, Listing(limit=PAGE_JOBS), time.time()),
        service_state(config, journal),
    ),
    "page: credits": lambda journal, config: money_report(config, journal, time.time(), local_zone()),
    "is a new set bought already": lambda journal, _config: journal.same_content([NEW], "", NEW),
}


def measure(effort: Effort) -> list[Figure]:
    """Ask at each size; at all of them the plot and the table in docs/performance.md are made again."""
    sizes = [size for size in SIZES if size <= (effort.size or SIZES[-1])] if not effort.quick else [100, 200]
    found = {}
    with vendor() as (base_url, _):
        for size in sizes:
            with tempfile.TemporaryDirectory() as home:
                root = Path(home)
                write_config(root, base_url, BUDGET)
                write_past(root, size)
                found[size] = costs_of(root)
    if tuple(sizes) == SIZES:
        PICTURE.write_text(picture(found))
        PAGE.write_text(with_table(PAGE.read_text(), found))
    return figures(found)


def costs_of(root: Path) -> dict[str, float]:
    """Return what starts, questions and ticks cost with the journal of a root, in milliseconds."""
    checked, again = run_inside(root), run_inside(root)
    asked = json.loads(output_of("-m", "benchmarks.growth", str(root)).splitlines()[-1])
    return {CHECK: checked.start_seconds * 1000, START: again.start_seconds * 1000, **asked}


def figures(found: Mapping[int, Mapping[str, float]]) -> list[Figure]:
    """Return the costs at the largest size, next to those at the smallest."""
    fewest, most = min(found), max(found)
    few, many = found[fewest], found[most]
    of = f"{most:,} finished jobs"
    compared = [
        Figure(f"{of}: {name}, CPU", many[name], "ms", few[name], f"{fewest:,} jobs", at_most=GOAL_MILLISECONDS)
        for name in (START, CHECK, *QUESTIONS)
    ]
    return [
        *compared,
        Figure(f"{of}: {WHOLE}, CPU", many[WHOLE], "ms", few[WHOLE], f"{fewest:,} jobs"),
        Figure(f"{of}: {TICK_MEANWHILE}, median", many[TICK_MEANWHILE], "ms", many[TICK], "no backup"),
        Figure(f"{of}: {LONGEST_MEANWHILE}", many[LONGEST_MEANWHILE], "ms", many[LONGEST], "no backup"),
    ]


def picture(found: Mapping[int, Mapping[str, float]]) -> str:
    """Return the plot of the costs over the sizes."""
    lines = {name: [(size, costs[name]) for size, costs in found.items()] for name in (WHOLE, CHECK, START, *QUESTIONS)}
    return plot("What grows with the past", "finished jobs in the journal", "CPU, ms", lines, GOAL_MILLISECONDS)


def with_table(page: str, found: Mapping[int, Mapping[str, float]]) -> str:
    """Return the page with a table of all costs at all sizes between its marks."""
    names = next(iter(found.values()))
    rows = [(f"{name}, ms", *(short(costs[name]) for costs in found.values())) for name in names]
    table = markdown(("finished jobs", *(f"{size:,}" for size in found)), rows)
    before, begin, rest = page.partition("<!-- growth: begin -->\n")
    _, end, after = rest.partition("<!-- growth: end -->\n")
    return f"{before}{begin}\n{table}\n\n{end}{after}"


# ---- inside the process that asks -----------------------------------------------------------------------------------


def _asked(root: Path) -> dict[str, float]:
    config = load_config(root / "config.toml")
    costs = {}
    for name, ask in QUESTIONS.items():
        took = []
        for _ in range(7):
            with closing(store_at(journal_of(config))) as journal:
                began = time.process_time()
                ask(journal, config)
                took.append((time.process_time() - began) * 1000)
        costs[name] = median(took)
    return {**costs, WHOLE: _read(config), **_ticked(config)}


def _read(config: Config) -> float:
    """Return what reading all of the journal takes: for so long nothing moves after a crash."""
    with closing(JournalReader(journal_of(config))) as journal:
        began = time.process_time()
        journal.quick_check()
        return (time.process_time() - began) * 1000


def _ticked(config: Config) -> dict[str, float]:
    """Return what a tick takes, wall clock, and what it takes while a backup is made."""
    from rodin_watchd.service.assembly import assembled  # noqa: PLC0415 - what only asks does not load the service

    with assembled(config, KEY) as daemon:
        ticks: list[float] = []

        def tick() -> None:
            time.sleep(0.02)
            began = time.monotonic()
            daemon.tick()
            ticks.append((time.monotonic() - began) * 1000)

        for _ in range(100):
            tick()
        alone, longest, ticks[:] = median(ticks), max(ticks), []
        backup = threading.Thread(target=make_backup, args=(journal_of(config), time.time()))
        backup.start()
        while backup.is_alive() or not ticks:
            tick()
        return {TICK: alone, TICK_MEANWHILE: median(ticks), LONGEST: longest, LONGEST_MEANWHILE: max(ticks)}


if __name__ == "__main__":
    if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir():
        print(json.dumps(_asked(Path(sys.argv[1]))))
    else:
        main([("growth", measure)])
