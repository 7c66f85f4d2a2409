"""What the live view shows and what a key does, as frozen values and pure functions.

A key changes the screen, or it is a wish that the session has carried out: to read a set, to ask a question, to act.
Nothing is asked of the service before its question was shown, with its price, and answered with `y`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Final, TypeAlias

from rodin_watchd.cli.job_text import JobText
from rodin_watchd.core.status import Line


class ListSection(StrEnum):
    """The parts of the list, in their order; the words are their headings."""

    HELD = "Held: a person has to decide"
    RUNNING = "Running"
    FAILED = "Failed: see failed/"
    WAITING = "Waiting in the inbox"
    RECENT = "Newest results"


@dataclass(frozen=True, slots=True)
class Row:
    """One set in the list."""

    section: ListSection
    line: Line
    began_at: float | None = None  # UTC: when the vendor got it; None while the vendor does not work on it
    ends_at: float | None = None  # UTC: when the vendor should be done; None: not known

    @property
    def key(self) -> str:
        """What it is known by while the list changes."""
        return self.line.job_id or f"inbox:{self.line.name}"


class Mood(Enum):
    """How good it is what a line says: a colour and no more, for some terminals have none."""

    PLAIN = ""
    GOOD = "good"
    WAITS = "waits"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Look:
    """What the store said at one moment."""

    at: float  # UTC
    service: str  # running, stopped, …, and why
    mood: Mood
    root: str
    money: str
    notices: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    counts: Mapping[ListSection, int] = field(
        default_factory=dict
    )  # how many there are of each, also of those without a row
    paused: bool = False  # by a person


@dataclass(frozen=True, slots=True)
class OpenText:
    """A text that fills the screen: a set, or the notices."""

    title: str
    text: str | JobText
    job_id: str = ""  # "" for the notices, and for a set that is not taken yet
    top: int = 0  # the first line that is shown


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be confirmed: what it does, what it costs, and the command with what was seen."""

    text: str
    verb: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of something that was asked for, in words."""

    text: str
    mood: Mood = Mood.PLAIN


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the store cannot be read at the moment: what is shown stays as it was."""

    text: str


@dataclass(frozen=True, slots=True)
class Screen:
    """All that the view shows, but for the time and the terminal."""

    look: Look | None = None
    selected: str = ""  # the key of a row
    place: int = 0  # where in the list it is: the one that takes its place is selected when it leaves the list
    reading: OpenText | None = None
    question: Question | None = None
    reply: Reply = field(default_factory=lambda: Reply(""))
    failure: str = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The list."""
        return self.look.rows if self.look else ()

    @property
    def row(self) -> Row | None:
        """The row that is selected, None in an empty list."""
        return self.rows[self.place] if self.place < len(self.rows) else None


# ---- what the session is to do --------------------------------------------------------------------------------------


class Quit:
    """End the view."""


class Refresh:
    """Look now, and draw all of it."""


@dataclass(frozen=True, slots=True)
class Read:
    """Show a job as `show` does."""

    job_id: str


@dataclass(frozen=True, slots=True)
class AskRetry:
    """Ask whether a failed job is to be taken up again."""

    job_id: str


@dataclass(frozen=True, slots=True)
class AskPause:
    """Ask whether the service is to pause, or to go on."""


@dataclass(frozen=True, slots=True)
class Act:
    """Give the command that was confirmed."""

    question: Question


Wish: TypeAlias = Quit | Refresh | Read | AskRetry | AskPause | Act

Found: TypeAlias = Look | OpenText | Question | Reply | Failure
"""What comes back from the store."""


# ---- keys -----------------------------------------------------------------------------------------------------------


UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page-up", "page-down", "home", "end"
ENTER, ESCAPE, TAB = "enter", "escape", "tab"
REFRESH = "refresh"

_BACK: Final = (ESCAPE, "q", "left", "backspace")
_LETTERS: Final[Mapping[str, str]] = {
    "k": UP,
    "j": DOWN,
    " ": PAGE_DOWN,
    "b": PAGE_UP,
    "g": HOME,
    "G": END,
    "right": ENTER,
}
"""Keys that mean the same as others, as in `less`."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How what was drawn last fits the terminal."""

    lines: int = 1  # of the list or the text that are seen at once
    most_top: int = 0  # the first line of a text when its end is seen


def pressed(screen: Screen, key: str, fit: Fit) -> tuple[Screen, Wish | None]:
    """Return the screen after a key, and what is to be done."""
    if key == REFRESH:
        return screen, Refresh()
    if screen.question is not None:
        return _decided(screen, screen.question, key)
    calm = replace(screen, reply=Reply(""))
    if key == "r":
        return calm, _retried(screen)
    if key == "p":
        return calm, AskPause()
    if screen.reading is not None:
        return _in_text(calm, screen.reading, _LETTERS.get(key, key), fit), None
    return _in_list(calm, _LETTERS.get(key, key), fit.lines)


def _decided(screen: Screen, question: Question, key: str) -> tuple[Screen, Wish | None]:
    """Take `y` alone as a yes: whatever else is pressed changes nothing outside."""
    answered = replace(screen, question=None)
    if key in ("y", "Y"):
        return replace(answered, reply=Reply("The service is asked …")), Act(question)
    if key in ("n", "N", *_BACK):
        return replace(answered, reply=Reply("Nothing was changed.")), None
    return screen, None


def _retried(screen: Screen) -> Wish | None:
    job_id = screen.reading.job_id if screen.reading else screen.row.line.job_id if screen.row else ""
    return AskRetry(job_id) if job_id else None


def _in_text(screen: Screen, reading: OpenText, key: str, fit: Fit) -> Screen:
    if key in _BACK:
        return replace(screen, reading=None)
    top = min(reading.top, fit.most_top)
    moves = {UP: top - 1, DOWN: top + 1, ENTER: top + 1, PAGE_UP: top - fit.lines, PAGE_DOWN: top + fit.lines, HOME: 0}
    wanted = {**moves, END: fit.most_top}.get(key, top)
    return replace(screen, reading=replace(reading, top=max(min(wanted, fit.most_top), 0)))


def _in_list(screen: Screen, key: str, page: int) -> tuple[Screen, Wish | None]:
    if key in ("q", ESCAPE):
        return screen, Quit()
    if key == "n" and screen.look and screen.look.notices:
        return replace(screen, reading=OpenText("Notices", "\n\n".join(screen.look.notices))), None
    if key == ENTER and screen.row:
        return _opened(screen, screen.row)
    if key == TAB:
        return _at(screen, _next_section(screen)), None
    last = len(screen.rows) - 1
    moves = {UP: screen.place - 1, DOWN: screen.place + 1, PAGE_UP: screen.place - page, PAGE_DOWN: screen.place + page}
    return _at(screen, {**moves, HOME: 0, END: last}.get(key, screen.place)), None


def _opened(screen: Screen, row: Row) -> tuple[Screen, Wish | None]:
    """Show what is known of a set: of one that is not taken yet, that is its line."""
    if row.line.job_id:
        reading = OpenText(row.line.name, "It is being read …", row.line.job_id)
        return replace(screen, reading=reading), Read(row.line.job_id)
    return replace(screen, reading=OpenText(row.line.name, f"{row.section}\n\n{row.line.text}")), None


def _next_section(screen: Screen) -> int:
    """Return where the section after that of the selected row begins; after the last one comes the first."""
    if screen.row is None:
        return 0
    after = (at for at, row in enumerate(screen.rows) if at > screen.place and row.section is not screen.row.section)
    return next(after, 0)


def _at(screen: Screen, place: int) -> Screen:
    place = max(min(place, len(screen.rows) - 1), 0)
    return replace(screen, place=place, selected=screen.rows[place].key if screen.rows else "")


# ---- what comes back ------------------------------------------------------------------------------------------------


def received(screen: Screen, found: Found) -> Screen:
    """Return the screen with what the store said."""
    match found:
        case Look():
            return _looked(screen, found)
        case OpenText():
            if screen.reading is None or screen.reading.job_id != found.job_id:  # somebody went back meanwhile
                return screen
            return replace(screen, reading=replace(found, top=screen.reading.top))
        case Question():
            return replace(screen, question=found, reply=Reply(""))
        case Reply():
            return replace(screen, reply=found)
        case Failure():
            return replace(screen, failure=found.text)


def _looked(screen: Screen, look: Look) -> Screen:
    """Keep the selected set selected, wherever it is now; where it left the list, what is in its place."""
    known = {row.key: at for at, row in enumerate(look.rows)}
    place = known.get(screen.selected, screen.place) if screen.selected else 0
    return _at(replace(screen, look=look, failure=""), place)


def window(total: int, at: int, height: int) -> int:
    """Return the first of so many lines that is shown, so that the line `at` is in the middle where it can be."""
    return max(min(at - height // 2, total - height), 0)
