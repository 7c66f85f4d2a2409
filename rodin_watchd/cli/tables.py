"""`list` and `show` as tables that fit the terminal, in colors where it has some; a program that reads them gets plain text instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rodin_watchd.cli.job_text import HEADINGS, HISTORY, NO_HISTORY, ROWS_ALIGNED, JobText, Row, widths_of

_WHOLE = (True, False, False, True, True, False)
"""Which columns of a list are never broken into lines: id, instant, amount."""

_LEAST_WIDTH = 10
"""Of a column whose text is broken into lines."""

_GAP = 2


def print_list(rows: Iterator[Row]) -> None:
    """Print a list, some hundred rows at a time, however long it is; all in columns of the same width, from the first ones."""
    console, widths = Console(highlight=False), None
    while some := list(islice(rows, ROWS_ALIGNED)):
        headings = widths is None
        widths = widths or fitted(widths_of([HEADINGS, *some], [0] * len(HEADINGS)), console.width)
        console.print(_list(some, widths, headings=headings))


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns as they fit the terminal: the widest that may be broken into lines give way first."""
    found = list(widths)
    while sum(found) + _GAP * (len(found) - 1) > room:
        width, at = max((width, at) for at, width in enumerate(found) if not _WHOLE[at])
        if width <= _LEAST_WIDTH:
            break
        found[at] -= 1
    return found


def _list(rows: Sequence[Row], widths: Sequence[int], *, headings: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD if headings else None, show_header=headings, pad_edge=False, padding=(0, _GAP, 0, 0)
    )
    for heading, width, whole in zip(HEADINGS, widths, _WHOLE, strict=True):
        table.add_column(heading, width=width, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def print_job(text: JobText) -> None:
    """Print what `show` says."""
    Console(highlight=False).print(job_tables(text))


def job_tables(text: JobText) -> RenderableType:
    """Return what `show` says: the facts, then the history."""
    facts = Table.grid(padding=(0, _GAP, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, lines in text.facts:
        facts.add_row(name, Text("\n".join(lines)))
    history = Table.grid(padding=(0, _GAP, 0, 0))
    for style in ("dim", "cyan", ""):
        history.add_column(style=style, overflow="fold")
    for at, action, lines in text.history:
        history.add_row(Text(at), Text(action), Text("\n".join(lines)))
    return Group(facts, Text(), Text(HISTORY, "bold"), history if text.history else Text(NO_HISTORY))
