"""`list` and `show` as tables that fit the terminal, in colors where it has some; a program that reads them gets plain text instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rodin_watchd.cli.job_text import HEADINGS, HISTORY, NO_HISTORY, ROWS_ALIGNED, JobText, Row, widths_of

_WHOLE = (True, False, False, True, True, False)
"""Which columns of a list are never broken into lines: id, instant, amount."""

_LEAST_WIDTH = 14
"""Of a column whose text is broken into lines."""

_LEAST_COLUMNS = 3
"""Id, set and state are there at any width."""

_GAP = 2


def print_list(rows: Iterator[Row]) -> None:
    """Print a list, some hundred rows at a time, however long it is; all in columns of the same width, from the first ones.

    Where the terminal is too narrow for all columns the last ones are left out: `show` has them.
    """
    console = Console(highlight=False)
    widths: list[int] = []
    while some := list(islice(rows, ROWS_ALIGNED)):
        headings = not widths
        widths = widths or fitted(widths_of([HEADINGS, *some], [0] * len(HEADINGS)), console.width)
        console.print(_list(some, widths, headings=headings))


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths of the columns that fit the terminal: those that may be broken into lines give way, the widest first."""
    for count in range(len(widths), _LEAST_COLUMNS, -1):
        found = _squeezed(widths[:count], room, _LEAST_WIDTH)
        if _total(found) <= room:
            return found
    return _squeezed(widths[:_LEAST_COLUMNS], room, 1)


def _squeezed(widths: Sequence[int], room: int, least: int) -> list[int]:
    found, soft = list(widths), [at for at in range(len(widths)) if not _WHOLE[at]]
    while _total(found) > room and (widest := max(soft, key=found.__getitem__)) and found[widest] > least:
        found[widest] -= 1
    return found


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _list(rows: Sequence[Row], widths: Sequence[int], *, headings: bool) -> Table:
    table = Table(box=None, show_header=headings, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading, width, whole in zip(HEADINGS, widths, _WHOLE, strict=False):  # without those that are left out
        table.add_column(heading, width=width, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row[: len(widths)]))
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
