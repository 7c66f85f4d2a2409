"""A job in words, for people at the command line: its row of `list`, and all that `show` says. No secret of it is in there."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import chain, islice
from typing import Final, TypeAlias

from rodin_watchd.core.batches import awaited
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import DOING, doing, lead, waits_for
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import WHO_CAN_ACT, advice_in_full, cost, is_cost_certain, local, set_name
from rodin_watchd.model import Event, InputFile, Job, ServiceEvent, State

ROWS_ALIGNED = 500
"""How many rows of a list are aligned at once."""

HEADINGS = ("ID", "SET", "STATE", "SINCE", "CREDITS", "PLACE")


Row: TypeAlias = tuple[str, str, str, str, str, str]


def row(job: Job, zone: tzinfo, *, narrow: bool = False) -> Row:
    """Return a job's row of the table that `list` prints; `narrow`: instants without seconds and zone."""
    doubt = "" if is_cost_certain(job) else "?"
    since = f"{datetime.fromtimestamp(job.since_at, zone):%Y-%m-%d %H:%M}" if narrow else local(job.since_at, zone)
    spent = f"{job.spent}{doubt}"
    return (
        job.id,
        set_name(job.folder, job.title),
        f"{lead(job)}{doing(job)}",
        since,
        spent,
        printable(job.place) or "-",
    )


def tables(rows: Iterable[Row]) -> Iterator[str]:
    """Align the rows of a list below its headings, some hundred at a time: a later row may make its columns wider."""
    rows, least = chain((HEADINGS,), rows), [0] * len(HEADINGS)
    while some := list(islice(rows, ROWS_ALIGNED)):
        least = widths_of(some, least)
        yield table(some, least)


def widths_of(rows: Sequence[Sequence[str]], least: Iterable[int]) -> list[int]:
    """Return the width of each column, in columns of a terminal."""
    found = (max(map(_cells, column)) for column in zip(*rows, strict=True))
    return [max(pair) for pair in zip(found, least, strict=True)]


def table(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> str:
    """Align rows in columns, as a terminal shows them."""
    widths = widths_of(rows, least or [0] * len(rows[0]))
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _cells(text: str) -> int:
    """Return how many columns a text takes (Unicode Standard Annex 11; marks combine with what is before them)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


@dataclass(frozen=True, slots=True)
class JobText:
    """All that `show` says of a job, in lines in which nothing acts on a terminal."""

    facts: tuple[tuple[str, Sequence[str]], ...]  # a name, and what is to be said of it
    history: tuple[tuple[str, str, Sequence[str]], ...]  # when, what happened, and what is to be said of it

    def plain(self) -> str:
        """Return it for a file or another program."""
        facts = "\n".join(f"{name + ':':<13}{_BELOW.join(lines)}" for name, lines in self.facts)
        return f"{facts}\n\n{HISTORY}\n{self._plain_history()}"

    def _plain_history(self) -> str:
        if not self.history:
            return f"  {NO_HISTORY}"
        rows = table([(f"  {at}", action, lines[0]) for at, action, lines in self.history]).split("\n")
        more = (lines[1:] for _, _, lines in self.history)
        return "\n".join(
            line for row, lines in zip(rows, more, strict=True) for line in (row, *(f"      {one}" for one in lines))
        )


HISTORY: Final = "History"
NO_HISTORY: Final = "nothing yet"


def text_of(
    job: Job,
    events: Sequence[Event],
    meanwhile: Sequence[ServiceEvent],
    zone: tzinfo,
    siblings: Sequence[Job] = (),
    *,
    output: bool = False,
) -> JobText:
    """Return all that is known of a job, and its history with what happened to the service meanwhile, for people.

    `siblings`: all jobs of its set, if that makes several. `output`: also what plugins printed, and where in their code they failed.
    """
    facts = [
        ("Set", set_name(job.folder, job.title)),
        ("Kind", job.kind),
        ("Job", f"{job.id}, since {local(job.created_at, zone)}"),
        ("State", f"{DOING[job.state]} ({_state(job)}), since {local(job.since_at, zone)}"),
        *_trouble(job, zone),
        ("Cost", cost(job)),
        *([("Place", printable(job.place))] if job.place else []),
        *([("Task", f"{printable(job.task.uuid)} at the vendor")] if job.task else []),
        *([("Progress", job.progress)] if job.progress else []),
        *_batch(job, siblings),
        *([("Follows", f"job {job.follows}: it is made of its result")] if job.follows else []),
        *([("Then", f"{job.then.kind}, as job {job.then.job_id}, when this one is delivered")] if job.then else []),
        (
            "Options",
            ", ".join(f"{key} = {_one_line(value)}" for key, value in job.options.items()) or "the vendor's own",
        ),
        *(("Input", _file_words(file)) for file in job.files),
        *(("Result", f"{printable(r.name)}, {r.size:,} bytes, sha256 {r.sha256}") for r in job.results),
    ]
    own = [(e.at, e.action, _told(e, output=output)) for e in events]
    others = ((e.at, "(service)", _lines(f"{e.kind}: {e.message}")) for e in meanwhile)
    found = sorted([*own, *others], key=lambda row: row[0])
    history = tuple((local(at, zone), action, lines) for at, action, lines in found)
    return JobText(tuple((name, _lines(text)) for name, text in facts), history)


def _batch(job: Job, siblings: Sequence[Job]) -> list[tuple[str, str]]:
    """Return which of the jobs of its set a job is, the others, and for how many of them it waits."""
    if job.batch is None:
        return []
    if job.variants:
        return [
            (
                "Of its set",
                f"{job.batch.label} goes ahead; {len(job.variants)} more are begun when the vendor has taken it",
            )
        ]
    waits = waits_for(awaited(siblings).get(job.id, 0))
    told = f"{job.batch.label}, of {job.batch.count}{_chosen(job)}{waits and f'; {waits}'}"
    others = (other for other in siblings if other.id != job.id and other.batch)
    return [
        ("Of its set", told),
        *(("Sibling", f"{other.title}: job {other.id}, {other.state}{_chosen(other)}") for other in others),
    ]


def _chosen(job: Job) -> str:
    return ", chosen" if job.chosen else ""


def _state(job: Job) -> str:
    return f"{job.state}, hold {job.holds}" if job.state is State.HELD else job.state.value


def _trouble(job: Job, zone: tzinfo) -> list[tuple[str, str]]:
    if job.problem is None:
        return []
    lines = [
        ("Problem", job.problem.message),
        ("Who can act", WHO_CAN_ACT[job.problem.fault]),
        ("What to do", advice_in_full(job)),
    ]
    again = [("Next try", f"{local(job.not_before, zone)}, after {job.attempts} that failed")] if job.attempts else []
    return [*lines, *again]


def _file_words(file: InputFile) -> str:
    digest = f", sha256 {file.sha256}" if file.sha256 else ""
    shared = ", copied" if file.shared else ""
    changed = f", changed after it was taken: sha256 {file.changed} now" if file.changed else ""
    warned = "".join(f"; {warning}" for warning in file.warnings)
    return f"{file.role}: {printable(file.source)}, {file.signature.size:,} bytes{digest}{shared}{changed}{warned}"


def _told(event: Event, *, output: bool) -> list[str]:
    """Return what an event says, in lines; below the first one of a plugin's call stands what the plugin printed."""
    first, *more = _lines(event.message)
    if event.action != "plugin" or output or not more:
        return [first, *more]
    return [f"{first} (--output shows {len(more):,} {'line' if len(more) == 1 else 'lines'} more)"]


_BELOW: Final = "\n" + " " * 13
"""Between the lines of a fact: they stand below each other."""


def _lines(text: str) -> list[str]:
    """Return text in lines in which nothing acts on a terminal: at least one."""
    return [printable(line, limit=2000) for line in text.expandtabs().splitlines()] or [""]


def _one_line(value: object) -> str:
    return plain(str(value), 2000)
