"""From files of the inbox to sets: when a file is settled, which sets are ready, and what the others wait for. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from rodin_watchd.core.formats import FileVerdict, Wholeness
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing import Candidate
from rodin_watchd.core.sidecar import Preset, Sidecar
from rodin_watchd.errors import FileRefusedError, Problem, UnfinishedFileError
from rodin_watchd.model import Entry


class Sighting(NamedTuple):
    """A file as it is, since when it has been so (monotonic seconds), and whether its writer closed it since then."""

    entry: Entry
    since: float
    closed: bool


def observe(
    before: Mapping[str, Sighting], entries: Iterable[Entry], closed: AbstractSet[str], now: float
) -> dict[str, Sighting]:
    """Update what is known of each file from a new snapshot.

    `closed` holds the paths that a native event vouched for since the last snapshot: closed by a writer, or moved in.
    A vouch holds for the file as this snapshot finds it, and is lost with the next change.
    """
    after = {}
    for entry in entries:
        old = before.get(entry.path)
        was_closed = entry.path in closed
        if old is None or old.entry != entry:
            after[entry.path] = Sighting(entry, now, was_closed)
        elif was_closed and not old.closed:
            after[old.entry.path] = old._replace(closed=True)
        else:
            after[old.entry.path] = old  # the values of before are kept, for memory's sake: there may be 100,000
    return after


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things take, in seconds."""

    quiet_seconds: float
    incomplete_seconds: float


class Readiness(StrEnum):
    """What may be done with a file."""

    READY = "ready"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What may be done with a file, why (for people), and when (monotonic) the answer may be another one."""

    readiness: Readiness
    reason: str = ""
    again_at: float = float("inf")
    problem: Problem | None = None


READY = Judgement(Readiness.READY)


def is_settled(sighting: Sighting, now: float, rules: Rules) -> bool:
    """Return whether nobody writes the file any more, as far as can be seen from outside."""
    return sighting.closed or now - sighting.since >= rules.quiet_seconds


def judge(sighting: Sighting, verdict: FileVerdict | None, now: float, rules: Rules) -> Judgement:
    """Decide about one file; `verdict` is what its content says, None when it could not be read as it was seen."""
    name = printable(sighting.entry.path.rpartition("/")[2])
    if sighting.entry.links > 1:
        return Judgement(Readiness.WAIT, f"“{name}” has a second name elsewhere (a hard link); copy it instead")
    if verdict is None:
        return Judgement(Readiness.WAIT, f"“{name}” cannot be read by the service, or is changing", now + 1.0)
    if verdict.wholeness is Wholeness.UNFINISHED:
        return _judge_unfinished(name, sighting, verdict, now, rules)
    if not is_settled(sighting, now, rules):
        return Judgement(Readiness.WAIT, f"“{name}” is still being copied", sighting.since + rules.quiet_seconds)
    if verdict.wholeness is Wholeness.WRONG:
        return Judgement(
            Readiness.REFUSE, problem=FileRefusedError(f"“{name}” cannot be used: {verdict.detail}.").problem
        )
    return READY


def _judge_unfinished(name: str, sighting: Sighting, verdict: FileVerdict, now: float, rules: Rules) -> Judgement:
    """Wait for the rest of a file that proves itself unfinished, but not for ever."""
    reason = f"“{name}” is not complete: {verdict.detail}"
    give_up_at = sighting.since + rules.incomplete_seconds
    if now < give_up_at:
        return Judgement(Readiness.WAIT, reason, give_up_at)
    return Judgement(Readiness.REFUSE, problem=UnfinishedFileError(f"{reason}, and nothing more came.").problem)


# ---- Sets of the inbox as values: ready to be claimed, or waiting ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadySet:
    """A set that may be claimed: complete, settled, with valid options; or one that is to be refused."""

    candidate: Candidate
    entries: Mapping[str, Entry]
    sidecar: Sidecar | None
    presets: tuple[Preset, ...]  # outermost folder first
    settled_since: float  # monotonic
    problem: Problem | None = None  # not None: refuse it


@dataclass(frozen=True, slots=True)
class WaitingSet:
    """A set that cannot be claimed yet, and why, for people."""

    candidate: Candidate
    reason: str
    since: float  # monotonic
    settling: bool  # False: it waits for a person to add or change something
    entries: tuple[Entry, ...] = ()
    late: bool = False  # it has been incomplete for longer than `pair_minutes`
    unmovable: bool = False  # it is complete, and the service may not move its files
    again_at: float = math.inf  # monotonic


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox came to."""

    ready: tuple[ReadySet, ...] = ()
    waiting: tuple[WaitingSet, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)  # path -> reason
    uses: Mapping[str, int] = field(default_factory=dict)  # path -> how many sets name it
    again_at: float = math.inf  # monotonic: when waiting alone may have changed something
