"""From files of the inbox to sets: when a file is settled, which sets are ready, and what the others wait for. Pure.

A file is settled when nobody writes it any more, and it is whole by its content.

The same rule at start-up, on a rescan and on an event. Where the kernel can be asked who has a file open, its answer decides
(`adapters.spool.writers`). Elsewhere file events do: a file that was written and not closed is open. What is left is quiet: size,
times and inode stayed equal over a span of *observed*, monotonic time, for the times in the metadata are another machine's.

How much quiet is enough depends on what the content can prove. A PNG has an end; where it is there, nothing is missing. An OBJ or a
TOML file is complete after each of its lines, so a writer that pauses looks the same as one that is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from rodin_watchd.core.formats import FileVerdict, Wholeness
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing import Candidate
from rodin_watchd.core.sidecar import Preset, Sidecar
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.errors import FileRefusedError, FilesError, Problem, UnfinishedFileError
from rodin_watchd.model import Entry


class Writer(StrEnum):
    """What is known by file events of the program that wrote a file, since the file's last change."""

    UNSEEN = "unseen"
    WRITING = "writing"
    CLOSED = "closed"
    MOVED_IN = (
        "moved in"  # under a name of its own it was written, then it got this one: the usual way to finish a file
    )


class FileEvents(NamedTuple):
    """The paths that native file events spoke of since the last look, and those of files that are open for writing now."""

    closed: AbstractSet[str] = frozenset()
    moved_in: AbstractSet[str] = frozenset()
    writing: AbstractSet[str] = frozenset()

    def word_of(self, path: str) -> Writer | None:
        """Return what the events say of a file; None for nothing."""
        if path in self.writing:
            return Writer.WRITING
        if path in self.moved_in:
            return Writer.MOVED_IN
        return Writer.CLOSED if path in self.closed else None


NOTHING_SEEN: Final = FileEvents()


class Sighting(NamedTuple):
    """A file as it is, since when it has been so (monotonic seconds), and what is known of its writer."""

    entry: Entry
    since: float
    writer: Writer = Writer.UNSEEN


def observe(
    before: Mapping[str, Sighting], entries: Iterable[Entry], seen: FileEvents, now: float
) -> dict[str, Sighting]:
    """Update what is known of each file from a new snapshot.

    What events say holds for the file as this snapshot finds it. It is lost with the next change.
    """
    after = {}
    for entry in entries:
        old = before.get(entry.path)
        word = seen.word_of(entry.path)
        if old is None or old.entry != entry:
            after[entry.path] = Sighting(entry, now, word or Writer.UNSEEN)
            continue
        kept = Writer.UNSEEN if old.writer is Writer.WRITING else old.writer  # the events of its end were lost
        writer = word or kept
        # The values of before are kept where nothing changed, for memory's sake: there may be 100,000.
        after[old.entry.path] = old if writer is old.writer else old._replace(writer=writer)
    return after


@dataclass(frozen=True, slots=True)
class Rules:
    """How long things take, in seconds."""

    quiet_seconds: float  # where the content proves that the file is whole
    unproven_quiet_seconds: float  # where it cannot
    incomplete_seconds: float

    @property
    def longest_quiet_seconds(self) -> float:
        """How long a file stays unchanged at most before it counts as finished."""
        return max(self.quiet_seconds, self.unproven_quiet_seconds)


QUIET_LOCAL_SECONDS, QUIET_SHARE_SECONDS = 2.0, 10.0
"""What `intake.quiet_seconds = "auto"` means: writers of a share buffer, and show their times late."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long a file must stay unchanged whose content proves that it is whole, in seconds: by the filesystem that it is on."""

    local_seconds: float = QUIET_LOCAL_SECONDS
    share_seconds: float = QUIET_SHARE_SECONDS

    def seconds(self, paths: Iterable[str], mounted: Mapping[str, str]) -> float:
        """Return how long the files of a set must stay unchanged, all of them: the longest that one of them needs.

        `mounted` says which filesystems are shares, by path: the kind of a network filesystem, "" of a local one.
        """
        return self.share_seconds if any(is_on_share(path, mounted) for path in paths) else self.local_seconds


def is_on_share(path: str, mounted: Mapping[str, str]) -> bool:
    """Return whether a path, relative as those in `mounted` are, is on a network filesystem; what is mounted deepest counts."""
    while path and path not in mounted:
        path = path.rpartition("/")[0]
    return bool(mounted.get(path))


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
    again_at: float = math.inf
    problem: Problem | None = None


READY = Judgement(Readiness.READY)

ASK_AGAIN_SECONDS: Final = 1.0
"""How soon to look again at what no event announces: that a program closes a file, that a temporary file next to it is gone."""


def settles_at(sighting: Sighting, rules: Rules, *, proven: bool) -> float:
    """Return when (monotonic) the file counts as finished if it stays as it is. `proven`: its content shows that it is whole.

    A close proves little of a text: a program may open it once more, and a copy that broke off is closed, too.
    """
    if sighting.writer is Writer.WRITING:
        return math.inf
    if sighting.writer is Writer.MOVED_IN or (sighting.writer is Writer.CLOSED and proven):
        return sighting.since
    return sighting.since + (rules.quiet_seconds if proven else rules.unproven_quiet_seconds)


def is_settled(sighting: Sighting, now: float, rules: Rules, *, proven: bool) -> bool:
    """Return whether nobody writes the file any more, as far as can be seen from outside."""
    return now >= settles_at(sighting, rules, proven=proven)


@dataclass(frozen=True, slots=True)
class Content:
    """What was found in a file: the verdict of its format, and whether a part of it was never written (a hole)."""

    verdict: FileVerdict
    has_hole: bool = False


class Unread(StrEnum):
    """Why a file could not be looked into."""

    CHANGED = "changed"  # it is not as it was seen, or gone: the next look shows it
    CLOSED = "closed"  # the system does not let the service read it


def judge(sighting: Sighting, content: Content | Unread, now: float, rules: Rules) -> Judgement:
    """Decide about one file by what was found in it."""
    if sighting.entry.links > 1:
        name = _name_of(sighting.entry)
        return Judgement(
            Readiness.WAIT, f"“{name}” has a second name elsewhere (a hard link). Put a copy of the file here instead"
        )
    if content is Unread.CLOSED:
        reason = f"the service cannot read “{_name_of(sighting.entry)}”. Tell the person who runs the service"
        return Judgement(Readiness.WAIT, reason, now + ASK_AGAIN_SECONDS)
    if content is Unread.CHANGED:
        reason = f"“{_name_of(sighting.entry)}” is changing at this moment"
        return Judgement(Readiness.WAIT, reason, now + ASK_AGAIN_SECONDS)
    verdict = content.verdict
    if why := _why_unfinished(sighting.entry, content):
        reason = f"“{_name_of(sighting.entry)}” is not complete: {why}"
        give_up_at = sighting.since + rules.incomplete_seconds
        if now < give_up_at:
            return Judgement(Readiness.WAIT, reason, give_up_at)
        if verdict.wholeness is not Wholeness.WHOLE:
            return _refuse(UnfinishedFileError(f"{reason}, and nothing more came."))
    return _judge_rest(sighting, verdict, now, rules)


def _judge_rest(sighting: Sighting, verdict: FileVerdict, now: float, rules: Rules) -> Judgement:
    """Decide about a file that nothing shows to be unfinished: it may still be written."""
    is_proven = verdict.wholeness is not Wholeness.UNDECIDED
    settles = settles_at(sighting, rules, proven=is_proven)
    if math.isinf(settles):
        return open_elsewhere(sighting.entry.path, now)
    if now < settles:
        quiet = f"waits until it has not changed for {rules.unproven_quiet_seconds:g} seconds"
        name = _name_of(sighting.entry)
        return Judgement(Readiness.WAIT, f"“{name}” {'is still being copied' if is_proven else quiet}", settles)
    if verdict.wholeness is Wholeness.WRONG:
        return _refuse(FileRefusedError(f"“{_name_of(sighting.entry)}” cannot be used: {verdict.detail}."))
    return READY


def _name_of(entry: Entry) -> str:
    return printable(entry.path.rpartition("/")[2])


def _refuse(error: FilesError) -> Judgement:
    return Judgement(Readiness.REFUSE, problem=error.problem)


def open_elsewhere(path: str, now: float) -> Judgement:
    """Return that a file waits because a program has it open for writing."""
    name = printable(path.rpartition("/")[2])
    reason = f"“{name}” is still open in the program that writes it"
    return Judgement(Readiness.WAIT, reason, now + ASK_AGAIN_SECONDS)


def _why_unfinished(entry: Entry, content: Content) -> str:
    """Return what shows that a part of the file is missing; "" for nothing.

    `rsync --partial` gives a copy that broke off the date 0, 1 January 1970 (rsync(1)). It means nothing where the content proves
    its end, for some archives give that date to all of their files.
    """
    if content.verdict.wholeness is Wholeness.UNFINISHED:
        return content.verdict.detail
    if content.verdict.wholeness is Wholeness.WRONG:
        return ""
    if content.has_hole:
        return "a part of it has not been written yet"
    is_broken_off = (
        content.verdict.wholeness is Wholeness.UNDECIDED and abs(entry.signature.mtime_ns) < DAY_SECONDS * 1e9
    )
    return "its date is in 1970, which means that its copy broke off" if is_broken_off else ""


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
    stays: bool = False  # the service may read its files and not move them: it works on copies
    plugins: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # what its TOML files say to plugins


@dataclass(frozen=True, slots=True)
class WaitingSet:
    """A set that cannot be claimed yet, and why, for people."""

    candidate: Candidate
    reason: str
    since: float  # monotonic
    settling: bool  # False: it waits for a person to add or change something
    entries: tuple[Entry, ...] = ()
    late: bool = False  # it has been incomplete for longer than `pair_minutes`
    unmovable: bool = False  # a job has, or had, copies of it, and the service may not remove its files
    again_at: float = math.inf  # monotonic
    plugins: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # as of a ReadySet; known once it is late


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox came to."""

    ready: tuple[ReadySet, ...] = ()
    waiting: tuple[WaitingSet, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)  # path -> reason
    uses: Mapping[str, int] = field(default_factory=dict)  # path -> how many sets name it
    again_at: float = math.inf  # monotonic: when waiting alone may have changed something
