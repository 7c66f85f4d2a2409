"""STATUS.txt: one page, in the shared folder itself, that shows whoever dropped a set where it is.

The page is a value first (`Page`), so that the command line shows the same facts, and it holds no running clock: it
changes only when there is something new to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final, Self

from rodin_watchd.core.batches import awaited
from rodin_watchd.core.budget import is_over_budget
from rodin_watchd.core.failures import is_already_done, is_cleared
from rodin_watchd.core.kinds import DEFAULT, KINDS, JobKind, kind_of
from rodin_watchd.core.layout import REPORT
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import advice, changed_inputs, command, cost, local, sentences, set_name, warnings
from rodin_watchd.errors import Fault, TaskLimitError, UnknownCodeError
from rodin_watchd.model import Job, State

PAGE = "page"
"""The journal's key of the page: the daemon leaves it there, the command line shows it."""

MOST_LINES = 40
"""How many entries of one kind are listed; the rest is counted."""

MOST_LISTED = 1000
"""So many sets in the inbox are on the page at most, by name: it is made, stored and compared each second."""

FRESH_SECONDS: Final = 600.0
"""So often at least STATUS.txt is written while the service runs: an older page means that it does not run."""

_LONGEST_TEXT = 600


def _how_to_ask(kind: JobKind) -> str:
    said = "" if kind is DEFAULT else f'; a TOML file says kind = "{kind.name}"'
    return f"  {kind.noun}: {kind.dropped}{said}\n"


_OPENING = "rodin_watchd: drop files into inbox/.\n" + "".join(map(_how_to_ask, KINDS.values()))
_UNSIGNED_OPENING = (
    b"rodin_watchd: drop a model and an image of the same name into inbox/.\n"  # of versions that did not sign
)
_SIGNED = "\nThe service often replaces this page; please write notes into another file. [page "
_SIGNED_END = "]\n"

DOING: Mapping[State, str] = {
    State.CLAIMED: "taken, being checked",
    State.STAGED: "checked, waits to be sent",
    State.UPLOADING: "being sent",
    State.SUBMITTING: "being sent",
    State.SUBMITTED: "the vendor works on it",
    State.GENERATED: "finished at the vendor, being downloaded",
    State.DOWNLOADED: "downloaded, being prepared",
    State.PROCESSED: "ready, being moved to the outbox",
    State.DELIVERED: "delivered, inputs being archived",
    State.FAILING: "failed, the report is being written",
    State.FAILED: "failed",
    State.HELD: "held for a person's decision",
    State.ARCHIVED: "delivered",
    State.RETURNING: "changed while it was taken, goes back into the inbox",
    State.RETURNED: "back in the inbox",
}
"""Each state in the words of whoever dropped the set."""


@dataclass(frozen=True, slots=True)
class Line:
    """One set on the page."""

    name: str  # with its folder, printable
    text: str
    job_id: str = ""
    since_at: float | None = None  # UTC


@dataclass(frozen=True, slots=True)
class Page:
    """All that STATUS.txt says, and what `status` says besides."""

    notices: tuple[str, ...] = ()  # pauses and troubles of the service, for whoever runs it
    waiting: tuple[Line, ...] = ()
    running: tuple[Line, ...] = ()
    held: tuple[Line, ...] = ()
    recent: tuple[Line, ...] = ()  # newest first
    ignored: tuple[tuple[str, int], ...] = ()  # reason, how many
    done: tuple[Line, ...] = ()  # what was taken as a copy, and stays in the inbox
    plain_notices: tuple[str, ...] = ()  # what of the notices concerns whoever drops files, in their words
    failed: tuple[Line, ...] = ()  # whose folders are in failed/, newest first
    older_failed: bool = False  # whether there may be more of them
    stopped_at: float | None = None  # UTC: when the service stopped in good order
    more_waiting: int = 0  # so many wait besides those of the list
    more_done: int = 0

    def as_data(self) -> dict[str, Any]:
        """Return the page as JSON can hold it."""
        lists = {key: [_line_data(line) for line in getattr(self, key)] for key in _LISTS}
        return {
            "notices": list(self.notices),
            "plain_notices": list(self.plain_notices),
            **lists,
            "older_failed": self.older_failed,
            "ignored": dict(self.ignored),
            "stopped_at": self.stopped_at,
            "more_waiting": self.more_waiting,
            "more_done": self.more_done,
        }

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the page that `as_data` stored, also that of an earlier version."""
        return cls(
            notices=tuple(data["notices"]),
            plain_notices=tuple(data.get("plain_notices", ())),
            **{key: tuple(map(_line_of, data.get(key, ()))) for key in _LISTS},
            older_failed=data.get("older_failed", False),
            ignored=tuple(data["ignored"].items()),
            stopped_at=data.get("stopped_at"),
            more_waiting=data.get("more_waiting", 0),
            more_done=data.get("more_done", 0),
        )

    @property
    def all_waiting(self) -> int:
        """How many sets wait in the inbox, listed or not."""
        return len(self.waiting) + self.more_waiting


_LISTS: Final = ("waiting", "running", "held", "failed", "recent", "done")


def doing(job: Job) -> str:
    """Return what a job is doing, in the words of whoever dropped the set; a hold with its number, by which it is resolved."""
    more = f" (hold {job.holds})" if job.state is State.HELD else ""
    later = f", delivered since (job {job.resolved})" if job.resolved else ""
    chosen = ", chosen" if job.chosen else ""
    return f"{DOING[job.state]}{more}{later}{', cleared' if is_cleared(job) else ''}{chosen}"


def job_line(job: Job, others: int = 0) -> Line:
    """Return a live job's line; `others`: so many of its set it waits for, so that all are delivered together."""
    text = f"{lead(job)}{waits_for(others) or doing(job)}{_more(job)}{_detail(job)}{_warned(job)}"
    return Line(set_name(job.folder, job.title), text, job.id, job.since_at)


def waits_for(count: int) -> str:
    """Say that a job which is ready waits for so many others of its set; "" for none."""
    return f"ready, waits for {count} {'other' if count == 1 else 'others'} of its set" if count else ""


def _more(job: Job) -> str:
    """Say what a set will make when its first job is taken by the vendor."""
    count = len(job.variants)
    return f"; {count} more of its set {'follows' if count == 1 else 'follow'}" if count else ""


def lead(job: Job) -> str:
    """Return what a job makes, as the beginning of a line; "" where it is what most do."""
    return "" if job.kind == DEFAULT.name else f"{kind_of(job).noun}: "


def _detail(job: Job) -> str:
    """Return what is to be said beyond the state: what is wrong, what it cost, how far the vendor is."""
    progress = f" ({job.progress})" if job.state is State.SUBMITTED and job.progress else ""
    if job.problem is None:
        return progress
    message = sentences(job.problem.message)
    if job.state is State.HELD:
        return f": {message} Cost: {cost(job)} {advice(job)} {_for_administrator(job)}".rstrip()
    if job.state is State.FAILING or is_over_budget(job) or _is_refused_for_all(job):
        return f": {message}"
    return f"{progress}; trying again: {message}" if job.attempts else progress


def _for_administrator(job: Job) -> str:
    """Return what the person who runs the service can type, marked as theirs; "" for nothing."""
    return f"({RUNS_IT}: {text})" if (text := command(job)) else ""


RUNS_IT: Final = "For the person who runs the service"


def _is_refused_for_all(job: Job) -> bool:
    """Return whether a job waits after a refusal that is no set's fault, and that pauses nothing."""
    codes = (TaskLimitError.code, UnknownCodeError.code)
    return job.state is State.STAGED and job.problem is not None and job.problem.code in codes


def ended_line(job: Job) -> Line:
    """Return the line of a job that came to its end."""
    ended_at = job.times.get(job.state.value)
    message = sentences(job.problem.message) if job.problem else ""
    if is_already_done(job):
        text = f"{lead(job)}already done: {message} Cost: {cost(job)} What you dropped lies in {printable(job.place)}."
    elif job.state is State.FAILED:
        since = f" The set was delivered since (job {job.resolved})." if job.resolved else ""
        text = f"{lead(job)}FAILED: {message} Cost: {cost(job)}{_what_to_do(job)} See {printable(job.place)}/{REPORT}{since}"
    elif job.state is State.RETURNED:
        text = f"{lead(job)}back in the inbox: {message} Cost: {cost(job)}"
    else:
        chosen = " Chosen." if job.chosen else ""
        said = f"{lead(job)}delivered to {printable(job.place)}.{chosen} Cost: {cost(job)}"
        text = " ".join([said, *changed_inputs(job)])
    return Line(set_name(job.folder, job.title), " ".join(f"{text}{_warned(job)}".split()), job.id, ended_at)


def _what_to_do(job: Job) -> str:
    """Return what whoever dropped a set can do about its files; "" where somebody else acts, or nobody has to any more."""
    is_theirs = job.problem is not None and job.problem.fault is Fault.FILES
    return f" {advice(job)}" if is_theirs and not job.resolved else ""


def _warned(job: Job) -> str:
    return "".join(f" Note: {warning}" for warning in warnings(job))


def sorted_jobs(jobs: Iterable[Job]) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """Return the lines of running and of held jobs, oldest first."""
    live = sorted((j for j in jobs if j.state not in ENDED), key=lambda j: (j.created_at, j.id))
    held = tuple(job_line(j) for j in live if j.state is State.HELD)
    waits = awaited(live)
    return tuple(job_line(j, waits.get(j.id, 0)) for j in live if j.state is not State.HELD), held


def status_text(page: Page, written_at: float, zone: tzinfo) -> str:
    """Return the text of STATUS.txt for whoever drops files; `written_at` is UTC."""
    parts = [f"{_OPENING}\n{_how_old(page, written_at, zone)}\n"]
    return "\n".join([*parts, *_sections(page, page.plain_notices, zone)])


def _how_old(page: Page, written_at: float, zone: tzinfo) -> str:
    """Return when the page was written, and what its age means."""
    if page.stopped_at is not None:
        return (
            f"STOPPED since {local(page.stopped_at, zone)}: nothing is taken or delivered until the person who runs the service "
            "starts it again. Files in inbox/ wait there."
        )
    return (
        f"Written {local(written_at, zone)}. The service writes this page again at least every {FRESH_SECONDS / 60:.0f} minutes "
        "while it runs. If this time is older, it has stopped: tell the person who runs it."
    )


def render(page: Page, zone: tzinfo) -> str:
    """Return what of the page `status` shows to whoever runs the service."""
    return "\n".join(_sections(page, page.notices, zone))


def _sections(page: Page, notices: Sequence[str], zone: tzinfo) -> list[str]:
    parts = []
    if notices:
        parts.append("ATTENTION\n" + "".join(f"  ! {plain(notice, _LONGEST_TEXT)}\n" for notice in notices))
    parts.append(_section("Waiting in the inbox", page.waiting, zone, "nothing", page.more_waiting))
    parts.append(_section("Running", page.running, zone, "nothing"))
    if page.held:
        parts.append(_section("HELD: the person who runs the service has to decide", page.held, zone, ""))
    if page.failed:
        older = "" if not page.older_failed else "  … and perhaps older ones: look into failed/\n"
        parts.append(_section("FAILED: see failed/", page.failed, zone, "") + older)
    parts.append(_section("Newest results", page.recent, zone, "none yet"))
    if page.done:
        parts.append(_section("Finished, and still in the inbox", page.done, zone, "", page.more_done))
    if page.ignored:
        message = "".join(f"  {count} x {reason}\n" for reason, count in page.ignored[:MOST_LINES])
        more = sum(count for _, count in page.ignored[MOST_LINES:])
        parts.append(f"Ignored files in the inbox\n{message}" + (f"  … and {more:,} more\n" if more else ""))
    return parts


def signed(text: str) -> str:
    """Return a page with a last line by which it is known as one that nobody has changed since."""
    return f"{text}{_SIGNED}{_digest(text.encode('utf-8', 'backslashreplace'))}{_SIGNED_END}"


def is_page(data: bytes) -> bool:
    """Return whether these are the bytes of a page of ours that nobody has changed since, or none at all; never raises.

    A page of an early version, which is not signed, is known by its first line.
    """
    text, seal, found = data.rpartition(_SIGNED.encode())
    if seal:
        return found == f"{_digest(text)}{_SIGNED_END}".encode()
    return not data or data.startswith(_UNSIGNED_OPENING)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:12]


def _section(title: str, lines: Sequence[Line], zone: tzinfo, none: str, besides: int = 0) -> str:
    """Return a section of a page; `besides`: how many there are besides these lines."""
    count = len(lines) + besides
    shown = "".join(_line_text(line, zone) for line in lines[:MOST_LINES]) or f"  {none}\n"
    more = f"  … and {count - MOST_LINES:,} more\n" if count > MOST_LINES else ""
    return f"{title}{f' ({count:,})' if count else ''}\n{shown}{more}"


def _line_text(line: Line, zone: tzinfo) -> str:
    since = f"  [{local(line.since_at, zone)}]" if line.since_at is not None else ""
    job = f"  (job {line.job_id})" if line.job_id else ""
    return f"  {line.name}: {plain(line.text, _LONGEST_TEXT)}{since}{job}\n"


def _line_data(line: Line) -> dict[str, Any]:
    return {"name": line.name, "text": line.text, "job": line.job_id or None, "since_at": line.since_at}


def _line_of(data: Mapping[str, Any]) -> Line:
    return Line(data["name"], data["text"], data["job"] or "", data["since_at"])
