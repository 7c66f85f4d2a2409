"""Intake: from a look at the inbox to sets that are ready, refused or waiting.

Reads what the pure rules ask for (the content of sidecars, the ends of files), remembers it for as long as a file stays
untouched, and asks `core.pairing` and `core.settle` for the decisions. Nothing in the inbox is changed from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain
from typing import Generic, TypeVar

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.config import Config
from rodin_watchd.config.sections import IntakeSection as IntakeSettings
from rodin_watchd.core.formats.source import FileVerdict, Wholeness
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing import pair
from rodin_watchd.core.pairing.candidates import LEFTOVERS, Candidate, Member
from rodin_watchd.core.receipt import is_ours
from rodin_watchd.core.sets import ReadySet, View, WaitingSet
from rodin_watchd.core.settle import Judgement, Readiness, Rules, Sighting, is_settled, judge, observe
from rodin_watchd.core.sidecar import PRESET_NAME, Misread, Preset, Sidecar, read_preset, read_sidecar
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import Entry, Kind, Role
from rodin_watchd.problem import Problem

T = TypeVar("T")


class _Memory(Generic[T]):
    """What was read from a file, for as long as the file stays as it is."""

    def __init__(self, read: Callable[[Entry], T | None]) -> None:
        self._read = read
        self._known: dict[str, tuple[Entry, T]] = {}

    def of(self, entry: Entry) -> T | None:
        """Return what the file holds; read it only when it changed, or when it could not be read before: None."""
        known = self._known.get(entry.path)
        if known is not None and known[0] == entry:
            return known[1]
        found = self._read(entry)
        if found is not None:
            self._known[entry.path] = (entry, found)
        return found

    def keep(self, paths: AbstractSet[str]) -> None:
        """Forget all other files."""
        for path in self._known.keys() - paths:
            del self._known[path]


class Intake:
    """Looks at the inbox and says what to do; the daemon's main thread only."""

    def __init__(
        self, inbox: Inbox, settings: IntakeSettings, quiet_seconds: float, known_plugins: frozenset[str] = frozenset()
    ) -> None:
        self._inbox = inbox
        self._known_plugins = known_plugins
        self._settings = settings
        self._rules = Rules(quiet_seconds, settings.incomplete_seconds)
        self._sightings: dict[str, Sighting] = {}
        self._taken: AbstractSet[str] = frozenset()  # of the last look, and what it ignored
        self._junk: Mapping[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}  # what the last look found, by folder; made when it is asked for
        self._preset_files: dict[str, Sighting] = {}  # by folder
        self._verdicts: _Memory[FileVerdict] = _Memory(inbox.probe)
        self._sidecars: _Memory[Sidecar | Misread] = _Memory(self._read_sidecar)
        self._presets: _Memory[Preset | Problem] = _Memory(self._read_preset)

    def look(self, now: float, closed: AbstractSet[str], taken: AbstractSet[str]) -> View:
        """Take a snapshot and decide; `now` is monotonic, `closed` are the vouched paths, `taken` belong to jobs.

        Raises DiskError when the inbox cannot be looked at.
        """
        junk = self._observe(now, closed, taken)
        self._preset_files = _preset_files(self._sightings)
        self._forget()
        entries = [sighting.entry for sighting in self._sightings.values()]
        pairing = pair(entries, self._stated(entries))
        decided = [self._decide(candidate, now) for candidate in pairing.candidates]
        ready = sorted((d for d in decided if isinstance(d, ReadySet)), key=_turn)
        waiting = tuple(d for d in decided if isinstance(d, WaitingSet))
        again_at = min((w.again_at for w in waiting), default=math.inf)
        return View(tuple(ready), waiting, {**junk, **pairing.ignored}, pairing.uses(), again_at)

    def is_as_seen(self, sets: Iterable[ReadySet]) -> bool:
        """Tell whether these sets may be claimed by what the last look found; looks at no other files than theirs.

        Theirs and the presets above them are untouched, and in none of these folders has any other name come, which may be
        a sidecar, a preset, or a second image.
        """
        files: dict[str, list[Entry]] = {}
        for ready in sets:
            for folder in _folders_above(ready.candidate.folder):
                presets = self._preset_files.get(folder)
                files.setdefault(folder, [presets.entry] if presets else [])
            for entry in ready.entries.values():
                files.setdefault(entry.path.rpartition("/")[0], []).append(entry)
        return all(self._inbox.is_as_seen(folder, self._names_in(folder), found) for folder, found in files.items())

    def _names_in(self, folder: str) -> frozenset[str]:
        if not self._names:
            names: dict[str, list[str]] = {}
            for path in chain(self._sightings, self._taken, self._junk):
                parent, _, name = path.rpartition("/")
                names.setdefault(parent, []).append(name)
            self._names = {parent: frozenset(found) for parent, found in names.items()}
        return self._names.get(folder, frozenset())

    def _observe(self, now: float, closed: AbstractSet[str], taken: AbstractSet[str]) -> Mapping[str, str]:
        """Take the snapshot and remember it; return what is ignored for good, by path."""
        before, self._sightings = self._sightings, {}  # after a look that failed nothing counts as watched
        self._names = {}
        look = self._inbox.look()
        self._taken, self._junk = taken, look.junk
        entries = (entry for entry in look.entries if entry.path not in taken)
        self._sightings = observe(before, entries, closed, now)
        return look.junk

    def _forget(self) -> None:
        for memory in (self._verdicts, self._sidecars, self._presets):
            memory.keep(self._sightings.keys())

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _stated(self, entries: Iterable[Entry]) -> dict[str, Sidecar | Misread]:
        """Return what the TOML files in the inbox say."""
        stated = {}
        for entry in entries:
            name = entry.path.rpartition("/")[2].casefold()
            if name.endswith(".toml") and name != PRESET_NAME and (said := self._sidecars.of(entry)):
                stated[entry.path] = said
        return stated

    def _read_sidecar(self, entry: Entry) -> Sidecar | Misread | None:
        """Return what a sidecar says, or what is wrong with it; None for one that cannot be read, and for a leftover."""
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        folder, _, name = entry.path.rpartition("/")
        if data is None or (name.casefold() in LEFTOVERS and is_ours(data)):
            return None
        try:
            return read_sidecar(data, printable(entry.path), self._known_plugins, folder=folder)
        except SidecarError as error:
            return Misread.of(error.problem, data)

    def _read_preset(self, entry: Entry) -> Preset | Problem | None:
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        try:
            return None if data is None else read_preset(data, printable(entry.path), self._known_plugins)
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
                return _waiting_for_time(candidate, sightings, judgement)
        problem = candidate.problem or next((j.problem for j in judgements if j.problem), None)
        if blocked := self._blocked(candidate, sightings, problem, now):
            return blocked
        presets = () if problem else self._presets_for(candidate, now)
        if isinstance(presets, Judgement):
            return _waiting_for_time(candidate, sightings, presets)
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
        if candidate.problem and all(m.role is Role.SIDECAR for m in candidate.members):
            reason = f"must be corrected before anything is taken: {candidate.problem.message}"
        elif candidate.problem:
            reason = f"{candidate.problem.message} Also, it {reason}"
        late_at = min(s.since for s in sightings) + self._settings.pair_minutes * 60.0
        if now < late_at:
            return _waiting(candidate, sightings, reason, settling=False, again_at=late_at)
        message = f"{reason}. Is it still coming? The set waits for it"
        return replace(_waiting(candidate, sightings, message, settling=False), late=True)

    def _judge(self, member: Member, now: float) -> Judgement:
        """Judge a file; one that is left alone and still cannot be read needs a person, not time."""
        sighting = self._sightings[member.path]
        verdict = self._verdict(member, sighting.entry)
        judgement = judge(sighting, verdict, now, self._rules)
        hopeless = verdict is None and is_settled(sighting, now, self._rules)
        return replace(judgement, again_at=math.inf) if hopeless else judgement

    def _verdict(self, member: Member, entry: Entry) -> FileVerdict | None:
        if member.role is Role.SIDECAR:
            return _READABLE if self._sidecars.of(entry) is not None else None
        return _READABLE if member.advice else self._verdicts.of(entry)

    def _blocked(
        self, candidate: Candidate, sightings: Sequence[Sighting], problem: Problem | None, now: float
    ) -> WaitingSet | None:
        """Return why a complete set still has to wait: for rights, or for a sidecar that may come."""
        for sighting in sightings:
            if not self._inbox.may_move(sighting.entry):
                name = printable(sighting.entry.path)
                reason = (
                    f"the service has no permission to move “{name}”: give its user write permission in that folder"
                )
                return replace(_waiting(candidate, sightings, reason, settling=False), unmovable=True)
        if candidate.member(Role.SIDECAR) or problem:
            return None
        if self._settings.sidecar == "required":
            return _waiting(candidate, sightings, f"waits for “{printable(candidate.name)}.toml”", settling=False)
        ready_at = max(s.since for s in sightings) + self._settings.sidecar_wait_seconds
        if now < ready_at:
            return _waiting(candidate, sightings, "waits a moment for a sidecar", settling=True, again_at=ready_at)
        return None

    def _presets_for(self, candidate: Candidate, now: float) -> tuple[Preset, ...] | Judgement:
        """Return the presets of the folders above, outermost first, or why the set has to wait for one of them."""
        found = []
        for folder in _folders_above(candidate.folder):
            if (sighting := self._preset_files.get(folder)) is None:
                continue
            name = printable(sighting.entry.path)
            if not is_settled(sighting, now, self._rules):
                again_at = sighting.since + self._rules.quiet_seconds
                return Judgement(Readiness.WAIT, f"the folder's preset “{name}” is still being copied", again_at)
            preset = self._presets.of(sighting.entry)
            if not isinstance(preset, Preset):
                text = preset.message if preset else f"“{name}” cannot be read"
                return Judgement(Readiness.WAIT, f"the folder's preset must be corrected first: {text}")
            found.append(preset)
        return tuple(found)

    def _sidecar_of(self, candidate: Candidate) -> Sidecar | None:
        member = candidate.member(Role.SIDECAR)
        said = self._sidecars.of(self._sightings[member.path].entry) if member else None
        return said if isinstance(said, Sidecar) else None


_READABLE = FileVerdict(Wholeness.WHOLE)


def _turn(ready: ReadySet) -> tuple[float, str, str]:
    return (ready.settled_since, ready.candidate.folder, ready.candidate.name)


def _preset_files(sightings: Mapping[str, Sighting]) -> dict[str, Sighting]:
    """Return each folder's preset, whatever its letters' case; the plain spelling, which sorts last, comes first."""
    split = ((*path.rpartition("/")[::2], sightings[path]) for path in sorted(sightings))
    return {
        folder: sighting
        for folder, name, sighting in split
        if name.casefold() == PRESET_NAME and sighting.entry.kind is not Kind.FOLDER
    }


def _folders_above(folder: str) -> list[str]:
    """Return the inbox itself, "", then each folder on the way to `folder`, and that folder."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]


def _waiting_for_time(candidate: Candidate, sightings: Sequence[Sighting], judgement: Judgement) -> WaitingSet:
    """Return a set that settles, if time alone can change the judgement."""
    settling = math.isfinite(judgement.again_at)
    return _waiting(candidate, sightings, judgement.reason, settling=settling, again_at=judgement.again_at)


def _waiting(
    candidate: Candidate, sightings: Sequence[Sighting], reason: str, *, settling: bool, again_at: float = math.inf
) -> WaitingSet:
    entries = tuple(sighting.entry for sighting in sightings)
    return WaitingSet(candidate, reason, min(s.since for s in sightings), settling, entries, again_at=again_at)


# ---- How long a file must stay unchanged before it counts as complete; for the daemon and for `explain` -------------


QUIET_LOCAL_SECONDS, QUIET_SHARE_SECONDS = 2.0, 10.0
"""What `intake.quiet_seconds = "auto"` means: writers of a share buffer, and show their times late."""


def quiet_seconds(config: Config) -> float:
    """Return how long a file must stay unchanged, by configuration or by where the inbox lies."""
    given = config.intake.quiet_seconds
    if given != "auto":
        return given
    return QUIET_SHARE_SECONDS if filesystem_of(config.folders.root).network else QUIET_LOCAL_SECONDS
