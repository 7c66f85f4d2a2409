"""What the demo shows: a live table on a terminal, else a line for each change; and its closing words."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.live import Live
from rich.table import Table

from rodin_watchd.api_key import KEY_VARIABLE
from rodin_watchd.cli.demo_stage import KEY, SETS, Play, Show
from rodin_watchd.cli.program import program_to_type
from rodin_watchd.model import Job, State

WORDS: Mapping[State, str] = {
    State.CLAIMED: "taken",
    State.STAGED: "taken",
    State.UPLOADING: "uploading",
    State.SUBMITTING: "uploading",
    State.SUBMITTED: "at the vendor",
    State.GENERATED: "downloading",
    State.DOWNLOADED: "delivering",
    State.PROCESSED: "delivering",
    State.DELIVERED: "delivered",
    State.ARCHIVED: "delivered",
    State.FAILING: "failed",
    State.FAILED: "failed",
    State.HELD: "held",
}


def words(job: Job | None) -> str:
    """Say where a set is, in a word or two."""
    if job is None:
        return "waiting in the inbox"
    progress = f": {job.progress}" if job.state is State.SUBMITTED and job.progress else ""
    return f"{WORDS[job.state]}{progress}"


@contextlib.contextmanager
def shown() -> Iterator[Show]:
    """Give what shows the sets as they are now, in the way that suits the standard output."""
    if not sys.stdout.isatty():
        yield _Lines()
        return
    with Live(_table({}), auto_refresh=False) as live:
        yield lambda sets: live.update(_table(sets), refresh=True)


class _Lines:
    """Prints a line whenever a set has come further."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._said: dict[str, str] = {}

    def __call__(self, sets: Mapping[str, Job | None]) -> None:
        for name, job in sets.items():
            if self._said.get(name) != words(job):
                self._said[name] = words(job)
                click.echo(f"{time.monotonic() - self._started:5.1f} s  {name} ({SETS[name][0]}): {words(job)}")


def _table(sets: Mapping[str, Job | None]) -> Table:
    table = Table()
    for heading, width in (("set", 8), ("found", 12), ("now", 40)):
        table.add_column(heading, min_width=width)  # the longest of its words: the table keeps its form
    for name, (kind, _) in SETS.items():
        table.add_row(name, kind, words(sets.get(name)))
    return table


def closing_words(play: Play, jobs: list[Job], spent: str) -> str:
    """Say where the results are, what they would have cost, and how to go on."""
    places = sorted(job.place for job in jobs)
    results = [f"  {place}/  {', '.join(_files(play.root / place))}" for place in places]
    first = play.root / places[0]
    config, port = shlex.quote(str(play.config)), urlsplit(play.base_url).port
    command = program_to_type()
    return f"""
The results are in {play.root}:
{chr(10).join(results)}
A picture of one:     {first / "preview.webp"}
Its receipt:          {first / "job.toml"}
What was dropped:     {play.root / "archive"}
It “cost” {spent} credits, at the emulated vendor: nothing was spent.

To go on playing with this folder, in two terminals:
  {command} emulator --port {port}
  {KEY_VARIABLE}={KEY} {command} run --config {config}
For real use:
  {command} init DIR"""


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
