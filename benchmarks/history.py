"""A journal with many finished jobs: what a job, a tick, a start and the commands cost next to an empty one.

All that is in the journal was bought on the day of the measurement, under a budget: that is as dear as a past can be.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from benchmarks.figures import Effort, Figure, main, median
from benchmarks.inside import Run, run_inside
from benchmarks.processes import cost_of, write_config
from benchmarks.sets import drop
from benchmarks.vendor import vendor
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.adapters.store.codec import row
from rodin_watchd.adapters.store.connections import connect
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.config import load_config
from rodin_watchd.core.budget import BUDGET_DAY, Day, midnight
from rodin_watchd.model import InputFile, Job, ResultFile, Role, Signature, State, Task
from rodin_watchd.service.housekeeping import BACKED_UP_AT
from rodin_watchd.settings import journal_path

STATES: Sequence[str] = (
    "claimed",
    "staged",
    "uploading",
    "submitting",
    "submitted",
    "generated",
    "downloaded",
    "processed",
)
STATES = (*STATES, "delivered", "archived")
BUDGET = {"budget.per_day_credits": "1000000"}
COMMANDS = (("status",), ("list",), ("list", "--json"), ("explain", "inbox/none.glb"))
LEAST_GROWTH = 1.1


def measure(effort: Effort) -> list[Figure]:
    """Work off the same sets, and give the same commands, with an empty journal and with one of many jobs."""
    past, sets, rounds = effort.sized(100_000, 200), effort.of(200, 4), effort.of(5, 1)
    with tempfile.TemporaryDirectory() as home, vendor() as (base_url, _):
        bare, full = Path(home) / "bare", Path(home) / "full"
        for root, count in ((bare, 0), (full, past)):
            write_config(root, base_url, BUDGET)
            write_past(root, count)
        commands = [_commands(root, rounds) for root in (bare, full)]
        runs = [_worked_off(root, sets) for root in (bare, full)]
    return [*_of_runs(past, sets, *runs), *_of_commands(past, *commands)]


def _of_runs(past: int, sets: int, bare: Run, full: Run) -> list[Figure]:
    of, empty = f"{past:,} finished jobs", "empty journal"
    cpu = [run.cpu_seconds / sets * 1000 for run in (full, bare)]
    ticks = (full.tick_p99_milliseconds, bare.tick_p99_milliseconds)
    start = (full.start_seconds * 1000, bare.start_seconds * 1000)
    memory = (full.memory_megabytes, bare.memory_megabytes)
    return [
        Figure(f"{of}: CPU for each job", cpu[0], "ms", cpu[1], empty, at_most_times_floor=LEAST_GROWTH),
        Figure(f"{of}: a tick, p99", ticks[0], "ms", ticks[1], empty),
        Figure(f"{of}: memory of the daemon", memory[0], "MB", memory[1], empty, at_most_times_floor=LEAST_GROWTH),
        Figure(f"{of}: start, CPU", start[0], "ms", start[1], empty),
    ]


def _of_commands(past: int, bare: dict[str, tuple[float, float]], full: dict[str, tuple[float, float]]) -> list[Figure]:
    figures = []
    for name, (seconds, memory) in full.items():
        floor, floor_memory = bare[name]
        of = f"{past:,} finished jobs: {name}"
        figures.append(Figure(f"{of}, CPU", seconds * 1000, "ms", floor * 1000, "empty journal"))
        figures.append(Figure(f"{of}, memory", memory, "MB", floor_memory, "empty journal", at_most=100))
    return figures


def _commands(root: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the CPU seconds (median) and the memory (highest) of each command."""
    took = {}
    for words in COMMANDS:
        command = ("rodin_watchd", *words, "--config", str(root / "config.toml"))
        costs = [cost_of(*command) for _ in range(rounds)]
        took[" ".join(words[:2])] = (median(s for s, _ in costs), max(m for _, m in costs))
    return took


def _worked_off(root: Path, sets: int) -> Run:
    for number in range(sets):
        drop(root / "inbox", number)
    return run_inside(root)


# ---- the past -------------------------------------------------------------------------------------------------------


def write_past(root: Path, count: int) -> None:
    """Make a journal with so many jobs that were archived today."""
    path, now = journal_path(load_config(root / "config.toml"), {}), time.time()
    path.parent.mkdir(parents=True, exist_ok=True)
    today = midnight(now, local_zone())
    with closing(Journal(path)) as journal:
        journal.set_meta(BACKED_UP_AT, now)  # nothing is measured while a first backup is made
        journal.set_meta(BUDGET_DAY, Day(today, 0, 0, now, datetime.fromtimestamp(today, local_zone()).toordinal()))
    with closing(connect(path, "mode=rw")) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -1000000")  # a gigabyte: the indexes of a million jobs are not written in order
        columns = tuple(row(_job(0, now), now))
        save = f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"  # noqa: S608 - of our own words
        past = _rows(count, now)
        while some := list(islice(past, 10_000)):
            db.execute("BEGIN")
            db.executemany(save, some)
            for state in STATES:
                db.executemany(
                    "INSERT INTO events (job_id, at, action, state, message) VALUES (?, ?, ?, ?, '')",
                    [(one["id"], one["changed_at"], state, state) for one in some],
                )
            db.executemany(
                """INSERT INTO purchases (job_id, fingerprint, top, at, outcome, cost, sent)
                   VALUES (:id, :fingerprint, :top, :changed_at, 'charged', '0.5', 1)""",
                some,
            )
            db.executemany(
                "INSERT INTO results (sha256, given, job_id, kind) VALUES ('result of ' || :id, 0, :id, 'texture')",
                some,
            )
            db.execute("COMMIT")


def _rows(count: int, now: float) -> Iterator[dict[str, object]]:
    """Yield the rows of finished jobs; all but their names and numbers is alike."""
    template = row(_job(0, now), now)
    for number in range(count):
        job = _job(number, now)
        doc = template["doc"].replace("past00000000", job.id).replace(_digest(0), job.fingerprint)
        yield {
            **template,
            "id": job.id,
            "name": job.name,
            "fingerprint": job.fingerprint,
            "task_uuid": f"task-{job.id}",
            "changed_at": now - 1 - number / 1000,
            "doc": doc,
        }


def _digest(number: int) -> str:
    return f"v2:{number:064x}"


def _job(number: int, now: float) -> Job:
    name = f"past{number:08}"
    files = tuple(
        InputFile(role, f"inbox/{name}.{suffix}", Signature(102_400, 1, number + 1), sha256=f"{number:064x}")
        for role, suffix in ((Role.MODEL, "glb"), (Role.IMAGE, "jpg"), (Role.SIDECAR, "toml"))
    )
    results = tuple(ResultFile(f"{name}.{suffix}", f"model.{suffix}", 1 << 20, "0" * 64) for suffix in ("glb", "webp"))
    return replace(
        Job(name, name, "", State.ARCHIVED, files, {"seed": number}, now),
        fingerprint=_digest(number),
        times=dict.fromkeys(STATES, now - 60),
        task=Task(f"task-{name}", "", now - 60),
        charges=1,
        results=results,
        place=f"outbox/{name}",
    )


if __name__ == "__main__":
    main([("history", measure)])
