"""What stands still, and why and since when: what people read of it, and how long a set has not moved that should have. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from rodin_watchd.core.budget import is_over_budget
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.machine import ENDED, RESTING, step_of
from rodin_watchd.core.mounts import Mount, has_mount
from rodin_watchd.core.pauses import LANES, Pauses
from rodin_watchd.core.wording import local, page_notice, set_name
from rodin_watchd.errors import Fault, Lane
from rodin_watchd.model import Job, State, Step


def away_word(mount: Mount) -> str:
    """Return the word for a folder that is away."""
    return f"{mount} is away"


STANDSTILLS: Final[tuple[str, ...]] = (*Standstill, *map(away_word, Mount), *Lane)
"""All that `Health.paused` can hold."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something stands still, or what else people must know: the same for every place that shows it."""

    notice: str  # in whole sentences, for STATUS.txt; "" where another reason says it
    what: str = ""  # stands still, of STANDSTILLS; "": nothing does
    code: str = ""  # of the error, or a word of its own: the status line says it in a few words
    passes: bool = False  # may end by itself
    plain: str | None = None  # the same for whoever drops files; "": no matter of theirs; None: as the notice says it


PAUSED_BY_REQUEST: Final = Reason(
    "Paused by request: nothing is taken or submitted (`rodin-watchd resume` continues).",
    Standstill.BY_REQUEST,
    Standstill.BY_REQUEST,
    plain="Paused on purpose: nothing is taken or sent until the person who runs the service lets it go on. Your files are safe.",
)


def reasons_of_pauses(pauses: Pauses, zone: tzinfo) -> list[Reason]:
    """Return why lanes stand still, without a running clock in it; one of the account lasts until its owner acts."""
    return [
        Reason(
            f"Paused since {local(pause.since_at, zone)}: {pause.problem.message} {pause.problem.advice}",
            lane,
            pause.problem.code,
            passes=pause.problem.fault is not Fault.ACCOUNT,
            plain=f"Paused since {local(pause.since_at, zone)}: {page_notice(pause.problem)}",
        )
        for lane, pause in pauses.items()
    ]


def stopped_by(reasons: Iterable[Reason]) -> tuple[str, ...]:
    """Return what stands still, of STANDSTILLS, in their order."""
    found = {reason.what for reason in reasons}
    return tuple(what for what in STANDSTILLS if what in found)


_LONGEST_NAME: Final = 100


# ---- what should have moved -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Mark:
    """How a job stood, and since when (monotonic) it stands so."""

    state: State
    working_at: float
    stopped: bool
    since: float


@dataclass(frozen=True, slots=True)
class Stillness:
    """Since when every live job stands as it does, and when any of them moved last; monotonic."""

    marks: Mapping[str, _Mark]
    moved_at: float


def observed(
    before: Stillness | None, jobs: Iterable[Job], is_stopped: Callable[[Job], bool], monotonic: float
) -> Stillness:
    """Return what is known after one more look. A pause's end counts as a move: what it held up is as fresh as new."""
    known = before.marks if before else {}
    marks = {job.id: _marked(known.get(job.id), job, monotonic, stopped=is_stopped(job)) for job in jobs}
    moved = before is None or marks.keys() != known.keys() or any(mark.since == monotonic for mark in marks.values())
    return Stillness(marks, monotonic if moved or before is None else before.moved_at)


def _marked(before: _Mark | None, job: Job, monotonic: float, *, stopped: bool) -> _Mark:
    same = before and (before.state, before.working_at, before.stopped) == (job.state, job.working_at, stopped)
    return before if before and same else _Mark(job.state, job.working_at, stopped, monotonic)


def overdue(stillness: Stillness, jobs: Iterable[Job], busy: AbstractSet[str], monotonic: float) -> tuple[float, str]:
    """Return for how many seconds the worst job has not moved though it should have, and its set's name; (0, "").

    A job that only waits for its turn is as old as the newest move of any job: a queue that moves is no standstill.
    """
    found = []
    for job in jobs:
        mark = stillness.marks.get(job.id)
        if mark and not mark.stopped:
            queues = job.id not in busy and not job.attempts
            since = max(mark.since, stillness.moved_at) if queues else mark.since
            found.append((monotonic - since, set_name(job.folder, job.title)[:_LONGEST_NAME]))
    worst = max(found, default=(0.0, ""))
    return worst if worst[0] > 0 else (0.0, "")


def is_stopped(job: Job, stopped: AbstractSet[Lane], away: AbstractSet[Mount], *, submits: bool) -> bool:
    """Return whether a job stands still for a reason that people are notified: pauses, folders, budget, a person."""
    if job.state in RESTING or is_over_budget(job):
        return True
    step = step_of(job)
    return bool(LANES[step] & stopped) or not has_mount(job, away) or (step is Step.SUBMIT and not submits)


# ---- One line that says how the service is, for the service manager's `status` --------------------------------------


_WORDS: Mapping[str, str] = {
    "journal-unchecked": "all of the journal is being read",
    "network": "the vendor cannot be reached",
    "vendor-down": "the vendor's service does not work",
    "throttled": "the vendor asks for fewer calls",
    "key-refused": "the vendor refuses the key",
    "task-limit": "the vendor takes no more tasks at once",
    "unknown-code": "the vendor refuses with a code that is not known",
    "empty-account": "no credits",
    "disk": "a folder cannot be written",
    "outbox": "the outbox cannot be written",
    "archive": "the archive cannot be written",
    "failed-folder": "the folder for failed sets cannot be written",
    "unfit-folders": "a folder cannot be used",
    "folder-gone": "a folder is away",
    "root-away": "the root is away",
    "root-copied": "the root was copied or moved",
    "over-budget": "the budget is spent",
    "approval": "sets wait for approval",
    "status page": "STATUS.txt cannot be written",
}
"""Codes of problems that are not words of their own."""


def headline(jobs: Iterable[Job], *, waiting: int, codes: Iterable[str]) -> str:
    """Return the line: what runs, is held and waits in the inbox, and for which problems (by code) something is paused."""
    live = [job.state for job in jobs if job.state not in ENDED]
    held = live.count(State.HELD)
    counted = {"running": len(live) - held, "held": held, "waiting": waiting}
    lines = [f"{count:,} {word}" for word, count in counted.items() if count] or ["nothing to do"]
    reasons = dict.fromkeys(map(why_paused, codes))
    return ", ".join([*lines, f"paused: {', '.join(reasons)}"] if reasons else lines)


def why_paused(code: str) -> str:
    """Return a problem's code as words."""
    return _WORDS.get(code, code.replace("-", " "))
