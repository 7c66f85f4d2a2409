"""What the shell completes after TAB, besides commands, options and files: jobs from the store, and known words.

A shell has nowhere to show an error: where something cannot be read, nothing is completed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from rodin_watchd.cli.options import load_settings
from rodin_watchd.client.journal import reader
from rodin_watchd.core.status import DOING
from rodin_watchd.core.wording import set_name
from rodin_watchd.errors import RodinWatchdError
from rodin_watchd.model import Job, State

NEWEST: Final = 300
"""So many jobs are completed at most, the newest: all of a large store would take as long as nobody waits."""

_ONE_WORD: Final = re.compile(r"[^\W_][\w.+@]*(?:-[\w.+@]+)*")
"""Names that every shell takes as they are: other sets are completed by the id of the job."""

Complete: TypeAlias = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def job_in(states: Iterable[State] = State) -> Complete:
    """Return what completes a job in these states: by its set's name where only one job has it, else by its id."""
    wanted = tuple(states)

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            with reader(load_settings(ctx.params.get("config_file"))) as journal:
                return _items(journal.jobs(wanted, limit=NEWEST), incomplete)
        except (RodinWatchdError, OSError):
            return []

    return complete


def _items(jobs: Sequence[Job], incomplete: str) -> list[CompletionItem]:
    times = Counter(job.name for job in jobs)
    words = [(job.name if times[job.name] == 1 and _ONE_WORD.fullmatch(job.name) else job.id, job) for job in jobs]
    found = [(word, job) for word, job in words if word.startswith(incomplete)]
    if incomplete and not found:
        found = [(job.id, job) for job in jobs if job.id.startswith(incomplete)]
    return [CompletionItem(word, help=f"{set_name(job.folder, job.title)}: {DOING[job.state]}") for word, job in found]


def one_of(words: Sequence[str]) -> Complete:
    """Return what completes one of these words, among others that nobody can know."""

    def complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    return complete
