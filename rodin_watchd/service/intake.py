"""Intake: from a look at the inbox to sets that are ready, refused or waiting.

Reads what the pure rules ask for (the content of sidecars, the ends of files), remembers it for as long as a file stays
untouched, and asks `core.pairing` and `core.settle` for the decisions. Nothing in the inbox is changed from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.config import Intake as IntakeSettings
from rodin_watchd.core.formats import Verdict, Wholeness
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing import Candidate, Member, pair
from rodin_watchd.core.settle import Judgement, Readiness, Rules, Sighting, judge, observe
from rodin_watchd.core.sidecar import PRESET_NAME, Preset, Sidecar, read_preset, read_sidecar
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.errors import Problem, SidecarError
from rodin_watchd.model import Entry, Role

T = TypeVar("T")


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
    again_at: float = math.inf  # monotonic


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox came to."""

    ready: tuple[ReadySet, ...] = ()
    waiting: tuple[WaitingSet, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)  # path -> reason
    uses: Mapping[str, int] = field(default_factory=dict)  # path -> how many sets name it
    again_at: float = math.inf  # monotonic: when waiting alone may have changed something


class _Memory(Generic[T]):
    """What was read from a file, for as long as the file stays as it is."""

    def __init__(self, read: Callable[[Entry], T]) -> None:
        self._read = read
        self._known: dict[str, tuple[Entry, T]] = {}

    def of(self, entry: Entry) -> T:
        """Return what the file holds; read it only when it changed."""
        known = self._known.get(entry.path)
        if known is None or known[0] != entry:
            known = self._known[entry.path] = (entry, self._read(entry))
        return known[1]

    def keep(self, paths: AbstractSet[str]) -> None:
        """Forget all other files."""
        for path in self._known.keys() - paths:
            del self._known[path]


class Intake:
    """Looks at the inbox and says what to do; the daemon's main thread only."""

    def __init__(self, inbox: Inbox, settings: IntakeSettings, quiet_seconds: float) -> None:
        self._inbox = inbox
        self._settings = settings
        self._rules = Rules(quiet_seconds, settings.incomplete_seconds)
        self._sightings: dict[str, Sighting] = {}
        self._verdicts = _Memory(inbox.probe)
        self._sidecars = _Memory(self._read_sidecar)
        self._presets = _Memory(self._read_preset)
        self._movable = _Memory(inbox.may_move)

    def look(self, now: float, closed: AbstractSet[str], taken: AbstractSet[str]) -> View:
        """Take a snapshot and decide; `now` is monotonic, `closed` are the vouched paths, `taken` belong to jobs.

        Raises DiskError when the inbox cannot be looked at.
        """
        look = self._inbox.look()
        entries = [entry for entry in look.entries if entry.path not in taken]
        self._sightings = observe(self._sightings, entries, closed, now)
        self._forget()
        pairing = pair(entries, self._stated(entries))
        decided = [self._decide(candidate, now) for candidate in pairing.candidates]
        ready = sorted((d for d in decided if isinstance(d, ReadySet)), key=_turn)
        waiting = tuple(d for d in decided if isinstance(d, WaitingSet))
        again_at = min((w.again_at for w in waiting), default=math.inf)
        return View(tuple(ready), waiting, {**look.junk, **pairing.ignored}, pairing.uses(), again_at)

    def _forget(self) -> None:
        for memory in (self._verdicts, self._sidecars, self._presets, self._movable):
            memory.keep(self._sightings.keys())

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _stated(self, entries: Iterable[Entry]) -> dict[str, Sidecar | Problem]:
        """Return what the TOML files in the inbox say."""
        stated = {}
        for entry in entries:
            name = entry.path.rpartition("/")[2].casefold()
            if name.endswith(".toml") and name != PRESET_NAME and (said := self._sidecars.of(entry)):
                stated[entry.path] = said
        return stated

    def _read_sidecar(self, entry: Entry) -> Sidecar | Problem | None:
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        try:
            return None if data is None else read_sidecar(data, printable(entry.path))
        except SidecarError as error:
            return error.problem

    def _read_preset(self, entry: Entry) -> Preset | Problem | None:
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        try:
            return None if data is None else read_preset(data, printable(entry.path))
        except SidecarError as error:
            return error.problem

    # ---- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, candidate: Candidate, now: float) -> ReadySet | WaitingSet:
        sightings = [self._sightings[m.path] for m in candidate.members]
        if candidate.missing:
            return self._incomplete(candidate, sightings, now)
        judgements = [self._judge(m, now) for m in candidate.members]
        for judgement in judgements:
            if judgement.readiness is Readiness.WAIT:
                return _waiting(candidate, sightings, judgement.reason, settling=True, again_at=judgement.again_at)
        problem = candidate.problem or next((j.problem for j in judgements if j.problem), None)
        if blocked := self._blocked(candidate, sightings, problem, now):
            return blocked
        presets = () if problem else self._presets_for(candidate)
        if isinstance(presets, str):
            return _waiting(candidate, sightings, presets, settling=False, again_at=now + self._rules.quiet_seconds)
        return ReadySet(
            candidate,
            {s.entry.path: s.entry for s in sightings},
            self._sidecar_of(candidate),
            presets,
            max(s.since for s in sightings),
            problem,
        )

    def _incomplete(self, candidate: Candidate, sightings: Sequence[Sighting], now: float) -> WaitingSet:
        """Say what a set waits for, and what will be wrong with it; after `pair_minutes` say that it takes long."""
        reason = "waits for " + " and ".join(candidate.missing)
        if candidate.problem:
            reason = f"{candidate.problem.message} Besides, it {reason}"
        late_at = min(s.since for s in sightings) + self._settings.pair_minutes * 60.0
        if now < late_at:
            return _waiting(candidate, sightings, reason, settling=False, again_at=late_at)
        return _waiting(
            candidate, sightings, f"{reason}. Is it still coming? Nothing happens without it", settling=False
        )

    def _judge(self, member: Member, now: float) -> Judgement:
        sighting = self._sightings[member.path]
        return judge(sighting, self._verdict(member, sighting.entry), now, self._rules)

    def _verdict(self, member: Member, entry: Entry) -> Verdict | None:
        if member.role is Role.SIDECAR:
            return _READABLE if self._sidecars.of(entry) is not None else None
        return _READABLE if member.advice else self._verdicts.of(entry)

    def _blocked(
        self, candidate: Candidate, sightings: Sequence[Sighting], problem: Problem | None, now: float
    ) -> WaitingSet | None:
        """Return why a complete set still has to wait: for rights, or for a sidecar that may come."""
        for sighting in sightings:
            if not self._movable.of(sighting.entry):
                name = printable(sighting.entry.path)
                reason = f"the service may not move “{name}”: give its user the right to write in that folder"
                return _waiting(candidate, sightings, reason, settling=False)
        if candidate.member(Role.SIDECAR) or problem:
            return None
        if self._settings.sidecar == "required":
            return _waiting(candidate, sightings, f"waits for “{printable(candidate.name)}.toml”", settling=False)
        ready_at = max(s.since for s in sightings) + self._settings.sidecar_wait_seconds
        if now < ready_at:
            return _waiting(candidate, sightings, "waits a moment for a sidecar", settling=True, again_at=ready_at)
        return None

    def _presets_for(self, candidate: Candidate) -> tuple[Preset, ...] | str:
        """Return the presets of the folders above, or why the set has to wait for one of them."""
        found = []
        parts = candidate.folder.split("/") if candidate.folder else []
        for depth in range(len(parts) + 1):
            path = "/".join((*parts[:depth], PRESET_NAME))
            sighting = self._sightings.get(path)
            if sighting is None:
                continue
            preset = self._presets.of(sighting.entry)
            if not isinstance(preset, Preset):
                told = preset.message if preset else f"“{printable(path)}” cannot be read"
                return f"the folder's preset has to be mended first: {told}"
            found.append(preset)
        return tuple(found)

    def _sidecar_of(self, candidate: Candidate) -> Sidecar | None:
        member = candidate.member(Role.SIDECAR)
        said = self._sidecars.of(self._sightings[member.path].entry) if member else None
        return said if isinstance(said, Sidecar) else None


_READABLE = Verdict(Wholeness.WHOLE)


def _turn(ready: ReadySet) -> tuple[float, str, str]:
    return (ready.settled_since, ready.candidate.folder, ready.candidate.name)


def _waiting(
    candidate: Candidate, sightings: Sequence[Sighting], reason: str, *, settling: bool, again_at: float = math.inf
) -> WaitingSet:
    return WaitingSet(candidate, reason, min(s.since for s in sightings), settling, again_at)
