"""The live view as lines of styled text, for a terminal of any size: pure, but for rich, which knows how wide characters are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from rodin_watchd.cli.job_text import JobText
from rodin_watchd.cli.tables import job_tables
from rodin_watchd.cli.watch.screen import Fit, ListSection, Look, Mood, OpenText, Row, Screen, window

_LEAST_WIDTH: Final = 20
_MARK_WIDTH: Final = 2
_BAR_WIDTH: Final = 10
_LEFT_WIDTH: Final = 8
_MOST_NOTICES: Final = 3
_LEAST_LINES: Final = 3

_STYLES = {Mood.PLAIN: "", Mood.GOOD: "green", Mood.WAITS: "yellow", Mood.BAD: "bold red"}
_OF_SECTION = {
    ListSection.HELD: "yellow",
    ListSection.RUNNING: "cyan",
    ListSection.FAILED: "red",
    ListSection.WAITING: "",
    ListSection.RECENT: "green",
}


class Glyphs(NamedTuple):
    """Characters of a terminal's encoding."""

    mark: str
    rule: str
    full: str
    empty: str
    up: str
    ellipsis: str


FINE = Glyphs("▸", "─", "█", "░", "↑↓", "…")
PLAIN = Glyphs(">", "-", "#", ".", "up/down", "~")
"""For terminals whose encoding has no others."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What the drawing depends on besides the screen."""

    now: float  # UTC
    zone: tzinfo
    width: int
    height: int
    glyphs: Glyphs = FINE


def drawn(screen: Screen, canvas: Canvas) -> tuple[list[Text], Fit]:
    """Return the whole screen as lines, as many as the terminal has and none wider than it is, and how the middle fits."""
    head = [*_head(screen, canvas), *_notices(screen)] if screen.reading is None else _title(screen.reading, canvas)
    least = 0 if screen.question else _LEAST_LINES  # what is asked, and which keys answer it, before all else
    foot = _foot(screen, canvas)[-max(canvas.height - least, 1) :]
    head = head[: max(canvas.height - len(foot) - least, 0 if screen.question else 1)]
    room = max(canvas.height - len(head) - len(foot), 0)
    if screen.reading is None:
        middle, fit = _list(screen, canvas, room), Fit(room)
    else:
        middle, fit = _text(screen.reading, canvas, room)
    lines = [*head, *middle, *[Text("")] * (room - len(middle)), *foot]
    return [_cut(line, canvas) for line in lines[-canvas.height :]], fit


def _cut(line: Text, canvas: Canvas) -> Text:
    """Return a line that is no wider than the terminal."""
    if line.cell_len > canvas.width:
        line = line.copy()
        line.truncate(canvas.width - cell_len(canvas.glyphs.ellipsis), overflow="crop")
        line.append(canvas.glyphs.ellipsis)
    return line


def _field(text: str, width: int, canvas: Canvas) -> str:
    """Return text in a field of so many columns."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    ellipsis = set_cell_size(canvas.glyphs.ellipsis, min(cell_len(canvas.glyphs.ellipsis), width))
    return set_cell_size(text, width - cell_len(ellipsis)) + ellipsis


def _ends(left: Text, right: Text, canvas: Canvas) -> Text:
    """Return two texts at both ends of a line; the right one is left out where there is no room."""
    gap = canvas.width - left.cell_len - right.cell_len
    return left.append(" " * gap).append_text(right) if gap > 0 else left


def _wrapped(text: str, canvas: Canvas, style: str = "") -> list[Text]:
    """Return text in as many lines as it needs."""
    console = Console(width=canvas.width, color_system=None)
    return list(Text(text, style).wrap(console, max(canvas.width, 1)))


# ---- parts ----------------------------------------------------------------------------------------------------------


def _head(screen: Screen, canvas: Canvas) -> list[Text]:
    look = screen.look
    if look is None:
        return [Text("The store is being read …")]
    clock = Text(f"{datetime.fromtimestamp(look.at, canvas.zone):%H:%M:%S}", "dim")
    service = Text(look.service, _STYLES[look.mood])
    return [
        _ends(Text("rodin_watchd ", "bold").append_text(service), clock, canvas),
        _ends(Text(look.money), Text(look.root, "dim"), canvas),
    ]


def _notices(screen: Screen) -> list[Text]:
    """Return what is wrong, shortened: `n` shows all of it."""
    failure = [Text(f"! {screen.failure} What is below is as of then.", "bold red")] if screen.failure else []
    notices = screen.look.notices if screen.look else ()
    shown = [Text(f"! {notice}", "yellow") for notice in notices[:_MOST_NOTICES]]
    more = len(notices) - len(shown)
    return [*failure, *shown, *([Text(f"! and {more:,} more notices: press n", "yellow")] if more > 0 else [])]


def _list(screen: Screen, canvas: Canvas, room: int) -> list[Text]:
    if screen.look is None:
        return []
    if not screen.rows:
        return [Text(""), Text("Nothing waits, runs or has ended. Drop files into inbox/.", "dim")]
    lines = _plan(screen.rows, screen.look)
    at = next((at for at, one in enumerate(lines) if one is screen.row), 0)
    top = window(len(lines), at, room)
    return [_planned(one, screen, canvas) for one in lines[top : top + room]]


def _plan(rows: Sequence[Row], look: Look) -> list[Row | ListSection | int]:
    """Return what the whole list has, line by line: a heading, its rows, and how many more there are."""
    lines: list[Row | ListSection | int] = []
    for section, some in groupby(rows, key=lambda row: row.section):
        listed = list(some)
        more = look.counts.get(section, 0) - len(listed)
        lines += [section, *listed, *([more] if more > 0 else [])]
    return lines


def _planned(one: Row | ListSection | int, screen: Screen, canvas: Canvas) -> Text:
    if isinstance(one, Row):
        return _line(one, canvas, chosen=one is screen.row)
    if isinstance(one, ListSection):
        return _heading(one, screen.look.counts.get(one, 0) if screen.look else 0, canvas)
    return Text(f"  {canvas.glyphs.ellipsis} and {one:,} more", "dim")


def _heading(section: ListSection, count: int, canvas: Canvas) -> Text:
    words = Text(f"{section} ({count:,}) ", f"bold {_OF_SECTION[section]}".strip())
    return words.append(canvas.glyphs.rule * max(canvas.width - words.cell_len, 0), "dim")


def _line(row: Row, canvas: Canvas, *, chosen: bool) -> Text:
    width = max(canvas.width, _LEAST_WIDTH)
    name = max(width * 3 // 10, 8)
    left = _LEFT_WIDTH if width > 4 * _LEFT_WIDTH else 0
    bar = _BAR_WIDTH + 1 if row.began_at is not None and row.ends_at is not None and width > 5 * _BAR_WIDTH else 0
    rest = width - _MARK_WIDTH - name - 1 - bar - (left + 1 if left else 0)
    line = Text(f"{canvas.glyphs.mark if chosen else ' '} ")
    line.append(_field(row.line.name, name, canvas), _OF_SECTION[row.section]).append(" ")
    line.append(_field(row.line.text, max(rest, 0), canvas))
    if bar:
        full = _full(row, canvas.now)
        line.append(" ").append(canvas.glyphs.full * full, "cyan").append(
            canvas.glyphs.empty * (_BAR_WIDTH - full), "dim"
        )
    if left:
        line.append(" ").append(_field(_when(row, canvas).rjust(left), left, canvas), "dim")
    if chosen:
        line.stylize("reverse")
    return line


def _full(row: Row, now: float) -> int:
    """Return how much of its bar is full."""
    whole = max((row.ends_at or 0.0) - (row.began_at or 0.0), 1.0)
    return round(min(max((now - (row.began_at or 0.0)) / whole, 0.0), 1.0) * _BAR_WIDTH)


def _when(row: Row, canvas: Canvas) -> str:
    """Return in how long the vendor should be done, or when a set came into its state."""
    if row.ends_at is not None:
        return _soon(row.ends_at - canvas.now)
    if row.line.since_at is None:
        return ""
    at = datetime.fromtimestamp(row.line.since_at, canvas.zone)
    is_today = at.date() == datetime.fromtimestamp(canvas.now, canvas.zone).date()
    return f"{at:%H:%M}" if is_today else f"{at:%y-%m-%d}"


def _soon(seconds: float) -> str:
    if seconds < 1:
        return "soon"
    return (
        f"~{seconds:.0f} s"
        if seconds < 100
        else f"~{seconds / 60:.0f} min"
        if seconds < 6000
        else f"~{seconds / 3600:.0f} h"
    )


def _title(reading: OpenText, canvas: Canvas) -> list[Text]:
    job = f"job {reading.job_id}" if reading.job_id else ""
    return [
        _ends(Text(reading.title, "bold"), Text(job, "dim"), canvas),
        Text(canvas.glyphs.rule * canvas.width, "dim"),
    ]


def _text(reading: OpenText, canvas: Canvas, room: int) -> tuple[list[Text], Fit]:
    lines = _wrapped(reading.text, canvas) if isinstance(reading.text, str) else _tables(reading.text, canvas)
    most = max(len(lines) - room, 0)
    top = min(reading.top, most)
    return lines[top : top + room], Fit(room, most)


def _tables(text: JobText, canvas: Canvas) -> list[Text]:
    """Return what `show` says, in lines of this terminal."""
    console = Console(width=max(canvas.width, 1), height=1, color_system=None)
    lines = console.render_lines(job_tables(text), pad=False)
    return [Text.assemble(*((one.text, one.style or "") for one in line)) for line in lines]


def _foot(screen: Screen, canvas: Canvas) -> list[Text]:
    """Return the question, or the newest answer, and which keys do something."""
    if screen.question is not None:
        asked = _wrapped(screen.question.text, canvas, "bold yellow")
        return [*asked, Text("y: yes    n: no", "reverse")]
    answer = _wrapped(screen.reply.text, canvas, _STYLES[screen.reply.mood]) if screen.reply.text else []
    return [*answer, *_keys(screen, canvas)]


def _keys(screen: Screen, canvas: Canvas) -> list[Text]:
    pause = "p resume" if screen.look and screen.look.paused else "p pause"
    if screen.reading is not None:
        words = [f"{canvas.glyphs.up} scroll", *(["r retry"] if screen.reading.job_id else []), "q back"]
    else:
        notices = ["n notices"] if screen.look and screen.look.notices else []
        words = [f"{canvas.glyphs.up} move", "Tab section", "Enter open", "r retry", pause, *notices, "q quit"]
    return [Text("   ".join(words), "dim")]


def as_ansi(line: Text, console: Console) -> str:
    """Return a line as a terminal takes it, in the colours that the console has."""
    with console.capture() as captured:
        console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, highlight=False)
    return captured.get()
