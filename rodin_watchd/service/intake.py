"""Intake: from a look at the inbox to sets that are ready, refused or waiting.

Reads what the pure rules ask for (the content of sidecars, the ends of files), remembers it for as long as a file stays
untouched, and asks `core.pairing` and `core.sets` for the decisions. Nothing in the inbox is changed from here.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from rodin_watchd.adapters.spool.inbox import Branch, Inbox
from rodin_watchd.config import Config
from rodin_watchd.config import IntakeSection as IntakeSettings
from rodin_watchd.core.any_options import unfit_values
from rodin_watchd.core.batches import count, too_many
from rodin_watchd.core.formats import FileVerdict, Wholeness
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.names import companion_of, match_key, printable
from rodin_watchd.core.pairing import LEFTOVERS, Candidate, Member, Pairing, is_apart, pair
from rodin_watchd.core.receipt import is_ours
from rodin_watchd.core.sets import (
    ASK_AGAIN_SECONDS,
    NOTHING_SEEN,
    Content,
    FileEvents,
    Judgement,
    Quiet,
    Readiness,
    ReadySet,
    Rules,
    Sighting,
    Unread,
    View,
    WaitingSet,
    Writer,
    is_settled,
    judge,
    observe,
    open_elsewhere,
    settles_at,
)
from rodin_watchd.core.sidecar import (
    PRESET_NAME,
    Misread,
    Preset,
    Sidecar,
    layered_plugins,
    misfits,
    misled,
    read_preset,
    read_sidecar,
)
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.core.wording import of_originals, sentences
from rodin_watchd.errors import Problem, SidecarError
from rodin_watchd.model import MODEL_LIMIT_BYTES, Entry, Job, Kind, Role, State

T = TypeVar("T")


MOST_EXAMINED_BYTES = 2 * MODEL_LIMIT_BYTES
"""So much of models and images is examined in one look, and what is begun is ended: less than a second at most, mostly a few milliseconds."""

_LEAST_EXAMINED_BYTES = 4096
"""A smaller file counts as so large: it costs as much to open and to judge."""

MOST_EXAMINED_BYTES_AT_REST = 500_000_000
"""So much is read for one answer to a person, for which nobody waits but who asks."""


class _Memory(Generic[T]):
    """What was read from a file, for as long as the file stays as it is."""

    def __init__(self, read: Callable[[Entry], T | Unread]) -> None:
        self._read = read
        self._known: dict[str, tuple[Entry, T]] = {}

    def knows(self, entry: Entry) -> bool:
        """Return whether the file was read as it is."""
        known = self._known.get(entry.path)
        return known is not None and known[0] == entry

    def of(self, entry: Entry) -> T | Unread:
        """Return what the file holds; read it only when it changed, or when it could not be read before."""
        known = self._known.get(entry.path)
        if known is not None and known[0] == entry:
            return known[1]
        found = self._read(entry)
        if not isinstance(found, Unread):
            self._known[entry.path] = (entry, found)
        return found

    def keep(self, paths: AbstractSet[str]) -> None:
        """Forget all other files."""
        for path in self._known.keys() - paths:
            del self._known[path]


@dataclass(slots=True)
class _Group:
    """What is known of the inbox itself, or of all in and below one of its folders (by what artists mean by its name)."""

    branches: tuple[Branch, ...]
    sightings: dict[str, Sighting]
    stated: dict[str, Sidecar | Misread]
    presets: dict[str, Sighting]
    is_read: bool  # whether all TOML files in it could be read
    apart: bool  # whether it may be paired by itself
    companions: dict[str, str]  # by the key of a file's path: a temporary file of its writer
    pairing: Pairing | None = None
    of_tomls: Mapping[str, Sequence[str]] = field(default_factory=dict)  # files by the TOML file that concerns them
    ready: list[ReadySet] = field(default_factory=list)
    waiting: list[WaitingSet] = field(default_factory=list)
    again_at: float = math.inf
    # Monotonic: until then no time can make a set of it ready; each lacks a file, or is done.
    rests_until: float = -math.inf

    def paired(self, kinds: Mapping[str, str], drop_folders: AbstractSet[str], each: Mapping[str, str]) -> Pairing:
        """Return its pairing, which is known as long as nothing in it has changed.

        `kinds` and `each` are what presets ask for, `drop_folders` those whose preset is away.
        """
        if self.pairing is None:
            entries = [sighting.entry for sighting in self.sightings.values()]
            self.pairing = pair(entries, self.stated, kinds, drop_folders, each)
            self.of_tomls = _by_toml(self.pairing.candidates)
        return self.pairing

    def note(self, decided: Sequence[ReadySet | WaitingSet]) -> None:
        """Keep what was decided about its sets, and for how long that stands."""
        self.ready = [one for one in decided if isinstance(one, ReadySet)]
        self.waiting = [one for one in decided if isinstance(one, WaitingSet)]
        self.again_at = min((one.again_at for one in self.waiting), default=math.inf)
        rests = self.is_read and all(one.candidate.missing or one.unmovable for one in self.waiting) and not self.ready
        self.rests_until = self.again_at if rests else -math.inf

    def rouse(self) -> None:
        """Have it looked at and decided about in the next look."""
        self.rests_until = -math.inf

    def pair_anew(self) -> None:
        """Forget its pairing: a folder asks for another kind of job, or its preset went away, or stays away."""
        self.pairing = None
        self.rouse()

    def is_made_of(self, branches: Sequence[Branch]) -> bool:
        """Return whether it was made of these very looks."""
        return len(branches) == len(self.branches) and all(map(operator.is_, branches, self.branches))


def _view_of(groups: Iterable[_Group], junk: Mapping[str, str]) -> View:
    """Return what the groups come to."""
    ready: list[ReadySet] = []
    waiting: list[WaitingSet] = []
    ignored, uses = dict(junk), dict[str, int]()
    for group in groups:
        ready += group.ready
        waiting += group.waiting
        if group.pairing is not None:
            ignored.update(group.pairing.ignored)
            uses.update(group.pairing.uses() if group.ready else {})
    again_at = min((group.again_at for group in groups), default=math.inf)
    return View(tuple(sorted(ready, key=_turn)), tuple(waiting), ignored, uses, again_at)


def _key_of(path: str) -> str:
    """Return the name of the inbox's folder that a path is in, as artists mean it; "" for what is in the inbox itself."""
    folder, slash, _ = path.partition("/")
    return match_key(folder) if slash else ""


class _Gone(NamedTuple):
    """A TOML file that was there at an earlier look, and how long (monotonic) it is waited for."""

    path: str
    until: float


class Intake:
    """Looks at the inbox and says what to do; the daemon's main thread only."""

    def __init__(
        self,
        inbox: Inbox,
        settings: IntakeSettings,
        known_plugins: frozenset[str] = frozenset(),
        most_examined_bytes: float = MOST_EXAMINED_BYTES,
        having_copied: Callable[[Iterable[Entry]], Job | None] = lambda _files: None,
        look_at_mounts: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._inbox = inbox
        self._having_copied = having_copied
        self._known_plugins = known_plugins
        self._settings = settings
        self._quiet, self._look_at_mounts = quiet_of(settings), look_at_mounts
        self._mounted: Mapping[str, str] = {}  # which filesystems in the inbox are shares, as the last look found them
        self._groups: dict[str, _Group] = {}  # by `_key_of` what is in them
        self._together = True  # whether they were paired together in the last look
        self._taken: AbstractSet[str] = frozenset()
        self._junk: Mapping[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}  # what the last look found, by folder; made when it is asked for
        self._preset_files: dict[str, Sighting] = {}  # by folder
        self._decided: list[_Group] = []  # what the last look decided about
        self._gone_presets: dict[str, _Gone] = {}  # by folder
        self._bereft: dict[str, _Gone] = {}  # by file whose TOML file is away
        self._released: dict[str, Entry] = {}  # files that no program had open when their set was ready
        self._contents: _Memory[Content] = _Memory(inbox.probe)
        self._examined: _Memory[Content] = _Memory(inbox.examine)
        self._most_examined_bytes = most_examined_bytes
        self._left_bytes = 0.0  # that may still be examined in this look
        self._sidecars: _Memory[Sidecar | Misread] = _Memory(self._read_sidecar)
        self._presets: _Memory[Preset | Misread] = _Memory(self._read_preset)
        self._said_by_presets: Mapping[str, Preset | Misread | Unread] = {}  # by folder
        self._kinds: Mapping[str, str] = {}  # folder -> the kind of job that its preset asks for
        self._each: Mapping[str, str] = {}  # folder -> the role of which its preset lets sub-folders have several files

    def look(
        self,
        now: float,
        seen: FileEvents,
        taken: AbstractSet[str],
        changed: AbstractSet[str] | None = None,
    ) -> View:
        """Take a snapshot and decide; `now` is monotonic, `seen` is what events said, the paths that are `taken` belong to jobs.

        `changed` are the folders in which something has changed since the last look; None: any may be one. What is in others is
        not looked at, if all sets in that branch of the inbox lack a file: time alone cannot make one of them ready.
        Raises DiskError when the inbox cannot be looked at.
        """
        with self._inbox.walk():
            return self._looked(now, seen, taken, changed)

    def _looked(self, now: float, seen: FileEvents, taken: AbstractSet[str], changed: AbstractSet[str] | None) -> View:
        self._left_bytes, self._mounted = self._most_examined_bytes, self._look_at_mounts()
        self._observe(now, seen, taken, changed)
        groups = list(self._groups.values())
        self._miss_presets(now)
        self._miss_sidecars(now)
        self._forget()
        before, self._said_by_presets = self._said_by_presets, self._read_presets()
        if self._said_by_presets != before:
            self._kinds = {
                folder: said.kind
                for folder, said in self._said_by_presets.items()
                if not isinstance(said, Unread) and said.kind
            }
            self._each = {
                folder: said.each
                for folder, said in self._said_by_presets.items()
                if isinstance(said, Preset) and said.each
            }
            for group in groups:
                group.pair_anew()
        self._together = not all(group.apart for group in groups)
        if self._together:
            groups = [self._whole()]
        for group in groups:
            if not now < group.rests_until:
                self._decide_all(group, now)
        self._decided = groups
        view = _view_of(groups, self._junk)
        return replace(view, again_at=min((view.again_at, *(gone.until for gone in self._gone_presets.values()))))

    def _whole(self) -> _Group:
        """Return all of the inbox as one group, for something in one may be about another."""
        whole = _Group((), {}, {}, {}, is_read=False, apart=False, companions={})
        for group in self._groups.values():
            whole.sightings.update(group.sightings)
            whole.stated.update(group.stated)
            whole.companions.update(group.companions)
            group.rouse()
        return whole

    def _decide_all(self, group: _Group, now: float) -> None:
        """Decide about all sets of a group."""
        pairing = group.paired(self._kinds, self._gone_presets.keys(), self._each)
        group.note([self._decide(candidate, group, now) for candidate in pairing.candidates])

    def is_as_seen(self, sets: Iterable[ReadySet]) -> bool:
        """Return whether these sets may be claimed by what the last look found; looks at no other files than theirs.

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
            for path in chain(*(group.sightings for group in self._groups.values()), self._taken, self._junk):
                parent, _, name = path.rpartition("/")
                names.setdefault(parent, []).append(name)
            self._names = {parent: frozenset(found) for parent, found in names.items()}
        return self._names.get(folder, frozenset())

    def _observe(self, now: float, seen: FileEvents, taken: AbstractSet[str], changed: AbstractSet[str] | None) -> None:
        """Take the snapshot and remember it."""
        before, self._groups, self._names = self._groups, {}, {}  # after a look that failed nothing counts as watched
        touched = {_key_of(path) for path in chain(*seen, taken, self._taken)}
        touched |= {key for key, group in before.items() if not now < group.rests_until}
        look = self._inbox.look(self._to_look_at(before, touched, changed))
        parts: dict[str, list[Branch]] = {}
        for name, branch in look.branches.items():
            parts.setdefault(match_key(name), []).append(branch)
        for key, branches in parts.items():
            known = before.get(key)
            if known is None or key in touched or not known.is_made_of(branches):
                known = self._observed(key, known, branches, (now, seen, taken))
            self._groups[key] = known
        self._taken, self._junk = taken, look.junk

    def _to_look_at(
        self, before: Mapping[str, _Group], touched: AbstractSet[str], changed: AbstractSet[str] | None
    ) -> frozenset[str] | None:
        """Return the keys of the inbox's folders that are to be looked into; None: all."""
        if changed is None or self._together or not before:
            return None
        return frozenset(touched | {match_key(folder.partition("/")[0]) for folder in changed})

    def _observed(
        self,
        key: str,
        known: _Group | None,
        branches: Sequence[Branch],
        look: tuple[float, FileEvents, AbstractSet[str]],
    ) -> _Group:
        """Return what is known of a group after a look; the same object where nothing has changed."""
        now, seen, taken = look
        entries = (entry for branch in branches for entry in branch.entries if entry.path not in taken)
        sightings = observe(known.sightings if known else {}, entries, seen, now)
        same = known if known and known.is_made_of(branches) and sightings == known.sightings else None
        if same and same.is_read:
            return same
        stated, is_read = self._stated(sighting.entry for sighting in sightings.values())
        if same and stated == same.stated:
            return same
        apart = is_apart(stated, sightings, lambda path: _key_of(path) == key)
        return _Group(
            tuple(branches), sightings, stated, _preset_files(sightings), is_read, apart, _companions(branches)
        )

    # ---- what was there at the look before: a program may save by removing a file and writing it again ---------------

    def _miss_presets(self, now: float) -> None:
        """Note the folders whose preset vanished: they stay drop folders, and their sets wait, for as long as it may come back."""
        before, gone = self._preset_files, self._gone_presets
        self._preset_files = {f: preset for group in self._groups.values() for f, preset in group.presets.items()}
        vanished = {
            folder: _Gone(old.entry.path, now + self._patience_seconds(old.entry.path))
            for folder, old in before.items()
        }
        self._gone_presets = {
            folder: one
            for folder, one in {**vanished, **gone}.items()
            if folder not in self._preset_files and now < one.until
        }
        for folder in gone.keys() ^ self._gone_presets.keys():
            if group := self._groups.get(_key_of(f"{folder}/")):
                group.pair_anew()

    def _miss_sidecars(self, now: float) -> None:
        """Note the files whose TOML file vanished while they stayed: they wait a while for it."""
        same = {id(group) for group in self._groups.values()}
        gone = {
            path: _Gone(toml, now + self._patience_seconds(toml))
            for group in self._decided
            if id(group) not in same
            for toml, files in group.of_tomls.items()
            if not self._is_there(toml)
            for path in files
        }
        missed = {**self._bereft, **gone}
        self._bereft = {path: one for path, one in missed.items() if now < one.until and self._is_there(path)}

    def _patience_seconds(self, path: str) -> float:
        """Return how long a TOML file that vanished is waited for."""
        return max(self._settings.sidecar_wait_seconds, self._rules_of([path]).longest_quiet_seconds)

    def _forget(self) -> None:
        there = set(chain.from_iterable(group.sightings for group in self._groups.values()))
        for memory in (self._contents, self._examined, self._sidecars, self._presets):
            memory.keep(there)
        for path in self._released.keys() - there:
            del self._released[path]

    def _is_there(self, path: str) -> bool:
        group = self._groups.get(_key_of(path))
        return group is not None and path in group.sightings

    def _sighting(self, path: str) -> Sighting:
        return self._groups[_key_of(path)].sightings[path]

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _stated(self, entries: Iterable[Entry]) -> tuple[dict[str, Sidecar | Misread], bool]:
        """Return what the TOML files among these say, or why that is not known, and whether all of them could be read."""
        stated, is_read = {}, True
        for entry in entries:
            if not entry.path.casefold().endswith(".toml"):
                continue
            name = entry.path.rpartition("/")[2].casefold()
            if name != PRESET_NAME and entry.kind is not Kind.FOLDER:
                said = self._sidecars.of(entry)
                if not isinstance(said, Unread):
                    stated[entry.path] = said
                    continue
                is_read = False
                if name not in LEFTOVERS:
                    stated[entry.path] = _unread(entry, said)
        return stated, is_read

    def _read_presets(self) -> dict[str, Preset | Misread | Unread]:
        """Return what the presets of folders say, a mistake included: its sets wait, and its kind says which sets those are.

        Of one that is away it is what it said before, for its sets wait until it is back.
        """
        away = {folder: said for folder, said in self._said_by_presets.items() if folder in self._gone_presets}
        return away | {folder: self._presets.of(sighting.entry) for folder, sighting in self._preset_files.items()}

    def _read_sidecar(self, entry: Entry) -> Sidecar | Misread | Unread:
        """Return what a sidecar says, or what is wrong with it, or why it cannot be read; a leftover is closed to us."""
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        folder, _, name = entry.path.rpartition("/")
        if isinstance(data, Unread):
            return data
        if name.casefold() in LEFTOVERS and is_ours(data):
            return Unread.CLOSED
        try:
            return read_sidecar(data, printable(entry.path), self._known_plugins, folder=folder)
        except SidecarError as error:
            return Misread.of(error.problem, data)

    def _read_preset(self, entry: Entry) -> Preset | Misread | Unread:
        data = self._inbox.read(entry, LIMIT_BYTES + 1)
        if isinstance(data, Unread):
            return data
        try:
            return read_preset(data, printable(entry.path), self._known_plugins)
        except SidecarError as error:
            return Misread.of(error.problem, data)

    # ---- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, candidate: Candidate, group: _Group, now: float) -> ReadySet | WaitingSet:
        sightings = [group.sightings[m.path] for m in candidate.members]
        # Before all else: until the preset can be used, nobody knows which kind of job is meant, so not what is missing or wrong.
        presets = self._presets_for(candidate, now)
        if isinstance(presets, Judgement):
            return _waiting_for_time(candidate, sightings, presets)
        if candidate.missing:
            return self._incomplete(candidate, sightings, presets, now)
        rules = self._rules_of(m.path for m in candidate.members)
        pairs = zip(candidate.members, sightings, strict=True)
        judgements = [self._judge(member, sighting, (now, rules), group.companions) for member, sighting in pairs]
        for judgement in judgements:
            if judgement.readiness is Readiness.WAIT:
                return _waiting_for_time(candidate, sightings, judgement)
        problem = candidate.problem or next((j.problem for j in judgements if j.problem), None)
        stays = not all(self._inbox.may_move(sighting.entry) for sighting in sightings)
        if stays and (done := self._copied_before(candidate, sightings)):
            return done
        if blocked := self._blocked(candidate, sightings, problem, now):
            return blocked
        sidecar = self._sidecar_of(candidate)
        return ReadySet(
            candidate,
            {s.entry.path: s.entry for s in sightings},
            sidecar,
            () if problem else presets,
            max(s.since for s in sightings),
            problem or _misfit(candidate, sidecar, presets),
            stays,
            self._said_to_plugins(candidate, presets),
        )

    def _incomplete(
        self, candidate: Candidate, sightings: Sequence[Sighting], presets: Sequence[Preset], now: float
    ) -> WaitingSet:
        """Say what a set waits for, and what will be wrong with it; after `pair_minutes` say that it takes long."""
        reason = "waits for " + " and ".join(candidate.missing)
        tomls = [m for m in candidate.members if m.role is Role.SIDECAR]
        if candidate.problem and tomls and (len(tomls) == len(candidate.members) or not self._sidecar_of(candidate)):
            reason = f"must be corrected before anything is taken: {sentences(candidate.problem.message).rstrip('.')}"
        elif candidate.problem:
            reason = f"{sentences(candidate.problem.message)} Also, it {reason}"
        late_at = min(s.since for s in sightings) + self._settings.pair_minutes * 60.0
        if now < late_at:
            return _waiting(candidate, sightings, reason, settling=False, again_at=late_at)
        message = f"{reason}. Is it still coming? The set waits for it"
        waiting = _waiting(candidate, sightings, message, settling=False)
        return replace(waiting, late=True, plugins=self._said_to_plugins(candidate, presets))

    def _rules_of(self, paths: Iterable[str]) -> Rules:
        """Return how long things take for the files of a set."""
        quiet = self._quiet.seconds(paths, self._mounted)
        return Rules(quiet, self._settings.unproven_quiet_seconds, self._settings.incomplete_seconds)

    def _judge(
        self, member: Member, sighting: Sighting, when: tuple[float, Rules], companions: Mapping[str, str]
    ) -> Judgement:
        """Judge a file; one that is left alone and still cannot be read needs a person, not time."""
        now, rules = when
        if companions and (companion := companions.get(match_key(member.path))):
            name, beside = printable(member.name), printable(companion.rpartition("/")[2])
            reason = f"“{name}” is not complete: “{beside}”, which a program keeps until it is, is next to it"
            return Judgement(Readiness.WAIT, reason, now + ASK_AGAIN_SECONDS)
        if sighting.writer is Writer.WRITING and self._inbox.is_being_written(sighting.entry) is False:
            sighting = sighting._replace(writer=Writer.UNSEEN)  # it was closed, and the event of that was lost
        examines = member.role is not Role.SIDECAR and not member.advice
        if examines and is_settled(sighting, now, rules, proven=True):
            content = self._examine(sighting.entry)
        else:
            content = self._content(member, sighting.entry)
        if content is None:
            return Judgement(Readiness.WAIT, f"“{printable(member.name)}” is being checked", now)
        judgement = judge(sighting, content, now, rules)
        hopeless = isinstance(content, Unread) and is_settled(sighting, now, rules, proven=True)
        return replace(judgement, again_at=math.inf) if hopeless else judgement

    def _examine(self, entry: Entry) -> Content | Unread | None:
        """Return what a file holds; None where it has to wait for another look, for one must not keep all else waiting.

        What cannot be read counts for nothing: it is asked for in each look.
        """
        if self._examined.knows(entry):
            return self._examined.of(entry)
        if self._left_bytes <= 0:
            return None
        content = self._examined.of(entry)
        if not isinstance(content, Unread):
            self._left_bytes -= min(max(entry.signature.size, _LEAST_EXAMINED_BYTES), MODEL_LIMIT_BYTES)
        return content

    def _content(self, member: Member, entry: Entry) -> Content | Unread:
        if member.role is Role.SIDECAR:
            said = self._sidecars.of(entry)
            return said if isinstance(said, Unread) else _TEXT
        return _NEVER_SENT if member.advice else self._contents.of(entry)

    def _blocked(
        self, candidate: Candidate, sightings: Sequence[Sighting], problem: Problem | None, now: float
    ) -> WaitingSet | None:
        """Return why a complete set still has to wait: for a program that writes it, or for a sidecar that may come."""
        for sighting in sightings:
            if self._is_held(sighting.entry):
                return _waiting_for_time(candidate, sightings, open_elsewhere(sighting.entry.path, now))
        return None if problem else self._waits_for_more(candidate, sightings, now)

    def _is_held(self, entry: Entry) -> bool:
        """Return whether a program has a file open for writing; once none had, it is asked again only when the file was taken."""
        if self._released.get(entry.path) == entry:
            return False
        if self._inbox.is_being_written(entry):
            return True
        self._released[entry.path] = entry
        return False

    def _copied_before(self, candidate: Candidate, sightings: Sequence[Sighting]) -> WaitingSet | None:
        """Return that a set whose files the service may not remove was taken before, as it is now, by copying them."""
        job = self._having_copied(sighting.entry for sighting in sightings)
        if job is None or (job.state is State.RETURNED and State.FAILED not in job.times):
            return None
        return replace(_waiting(candidate, sightings, of_originals(job), settling=False), unmovable=True)

    def _waits_for_more(self, candidate: Candidate, sightings: Sequence[Sighting], now: float) -> WaitingSet | None:
        """Say that a set waits for what may still come next to it: its sidecar, or the images of a text that stands alone."""
        toml = candidate.member(Role.SIDECAR)
        gone = next((self._bereft[m.path] for m in candidate.members if m.path in self._bereft), None)
        if toml is None and gone:
            return _waiting_for_time(candidate, sightings, _vanished(gone))
        if toml is None and self._settings.sidecar == "required":
            return _waiting(candidate, sightings, f"waits for “{printable(candidate.name)}.toml”", settling=False)
        if waiting := self._waits_for_home(candidate, sightings, now):
            return waiting
        said = self._sidecar_of(candidate)
        is_done = toml is not None and (candidate.members != (toml,) or said is None or said.images is not None)
        ready_at = max(s.since for s in sightings) + self._settings.sidecar_wait_seconds
        if is_done or now >= ready_at:
            return None
        reason = f"waits a moment for {'images' if toml else 'a TOML file'}"
        return _waiting(candidate, sightings, reason, settling=True, again_at=ready_at)

    def _waits_for_home(self, candidate: Candidate, sightings: Sequence[Sighting], now: float) -> WaitingSet | None:
        """Return that a set with a folder of its own waits until nothing has changed there for a while: more of it may come."""
        if not candidate.home or self._sighting(candidate.home).entry.kind is not Kind.FOLDER:
            return None
        changed_at = max(self._sighting(candidate.home).since, *(sighting.since for sighting in sightings))
        ready_at = changed_at + self._settings.unproven_quiet_seconds
        if now >= ready_at:
            return None
        reason = f"waits until nothing in its folder has changed for {self._settings.unproven_quiet_seconds:g} seconds"
        return _waiting(candidate, sightings, reason, settling=True, again_at=ready_at)

    def _presets_for(self, candidate: Candidate, now: float) -> tuple[Preset, ...] | Judgement:
        """Return the presets of the folders above, outermost first, or why the set has to wait for one of them."""
        found = []
        for folder in _folders_above(candidate.folder):
            if gone := self._gone_presets.get(folder):
                return _vanished(gone)
            if (sighting := self._preset_files.get(folder)) is None:
                continue
            name, rules = printable(sighting.entry.path), self._rules_of([sighting.entry.path])
            if not is_settled(sighting, now, rules, proven=False):
                again_at = settles_at(sighting, rules, proven=False)
                return Judgement(
                    Readiness.WAIT, f"the settings of its folder, “{name}”, are still being copied", again_at
                )
            preset = self._presets.of(sighting.entry)
            if not isinstance(preset, Preset):
                if isinstance(preset, Unread):
                    preset = _unread(sighting.entry, preset)
                text = sentences(preset.problem.message).rstrip(".")
                return Judgement(Readiness.WAIT, f"the settings of its folder must be corrected first: {text}")
            found.append(preset)
        return tuple(found)

    def _sidecar_of(self, candidate: Candidate) -> Sidecar | None:
        said = self._said_by_sidecar(candidate)
        return said if isinstance(said, Sidecar) else None

    def _said_by_sidecar(self, candidate: Candidate) -> Sidecar | Misread | Unread | None:
        member = candidate.member(Role.SIDECAR)
        return self._sidecars.of(self._sighting(member.path).entry) if member else None

    def _said_to_plugins(self, candidate: Candidate, presets: Sequence[Preset]) -> Mapping[str, Mapping[str, object]]:
        """Return what a set's TOML files say to plugins, also where a mistake elsewhere in its own refuses the set."""
        said = self._said_by_sidecar(candidate)
        return layered_plugins(*presets, *([said] if isinstance(said, Preset | Misread) else []))


_TEXT = Content(FileVerdict(Wholeness.UNDECIDED, "a TOML file has no mark at its end"))
_NEVER_SENT = Content(FileVerdict(Wholeness.WHOLE))  # a format that is refused, whatever is in it


def _misfit(candidate: Candidate, sidecar: Sidecar | None, presets: Sequence[Preset]) -> Problem | None:
    """Return what is wrong with what a set asks for, given the kind of job that it is to become."""
    if sidecar is None and not presets:  # it asks for nothing
        return None
    kind = KINDS[candidate.kind]
    told = [words for preset in presets for words in unfit_values(kind, preset).values()]
    toml = candidate.member(Role.SIDECAR)
    if sidecar and toml:
        told += (f"{printable(toml.path)}: {words}" for words in misfits(kind, sidecar).values())
    has_image = candidate.member(Role.IMAGE) is not None
    told += misled(kind, presets, sidecar, has_image=has_image)
    files = [(member.role, member.name) for member in candidate.members]
    told += filter(None, [too_many(count(kind, files, [*presets, *([sidecar] if sidecar else [])]))])
    return SidecarError("\n".join(told)).problem if told else None


def _unread(entry: Entry, unread: Unread) -> Misread:
    """Return what is known of a TOML file that cannot be read: nothing."""
    why, advice = _UNREAD[unread]
    if entry.kind not in (Kind.FILE, Kind.UNREADABLE):
        why, advice = f"is a {entry.kind} and not a file", "Put a file in its place."
    error = SidecarError(f"“{printable(entry.path)}” {why}.", advice=advice)
    return Misread(error.problem, unknown=why)


_UNREAD = {
    Unread.CHANGED: ("is changing at this moment", "Wait until it is written."),
    Unread.CLOSED: ("cannot be read by the service", "Tell the person who runs the service."),
}


def _vanished(gone: _Gone) -> Judgement:
    return Judgement(Readiness.WAIT, f"“{printable(gone.path)}” vanished, and may come back in a moment", gone.until)


def _by_toml(candidates: Iterable[Candidate]) -> Mapping[str, Sequence[str]]:
    """Return by TOML file the files of the sets that have it, or wait for it."""
    concerned: dict[str, list[str]] = defaultdict(list)
    for candidate in candidates:
        tomls = {m.path for m in candidate.members if m.role is Role.SIDECAR} | {candidate.awaits} - {""}
        for toml in tomls:
            concerned[toml] += (m.path for m in candidate.members if m.role is not Role.SIDECAR)
    return concerned


def _turn(ready: ReadySet) -> tuple[float, str, str]:
    return (ready.settled_since, ready.candidate.folder, ready.candidate.name)


def _preset_files(sightings: Mapping[str, Sighting]) -> dict[str, Sighting]:
    """Return each folder's preset, whatever its letters' case; the plain spelling, which sorts last, comes first."""
    named = sorted(path for path in sightings if path.casefold().endswith(PRESET_NAME))
    split = ((*path.rpartition("/")[::2], sightings[path]) for path in named)
    return {
        folder: sighting
        for folder, name, sighting in split
        if name.casefold() == PRESET_NAME and sighting.entry.kind is not Kind.FOLDER
    }


def _companions(branches: Iterable[Branch]) -> dict[str, str]:
    """Return by the key of a file's path the temporary file that its writer keeps next to it."""
    split = ((path, *path.rpartition("/")[::2]) for branch in branches for path in branch.junk)
    owned = ((path, folder, companion_of(name)) for path, folder, name in split)
    return {match_key(f"{folder}/{name}" if folder else name): path for path, folder, name in owned if name}


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


def view_at_rest(inbox: Inbox, config: Config, taken: AbstractSet[str] = frozenset()) -> View:
    """Look at an inbox twice and return what it comes to if nobody touches it any more; changes nothing, any thread.

    How long files have been unchanged cannot be seen in one look, so the second look pretends that the time has passed for which the
    daemon would wait; a file that changes between the two is found to be changing. The paths that are `taken` belong to jobs.
    Raises DiskError when the inbox cannot be looked at.
    """
    intake = Intake(inbox, config.intake, most_examined_bytes=MOST_EXAMINED_BYTES_AT_REST)
    intake.look(0.0, NOTHING_SEEN, taken)
    quiet = max(quiet_of(config.intake).share_seconds, config.intake.unproven_quiet_seconds)
    return intake.look(quiet + config.intake.sidecar_wait_seconds, NOTHING_SEEN, taken)


def quiet_of(settings: IntakeSettings) -> Quiet:
    """Return how long a file must stay unchanged, by configuration or by where it is; for the daemon and for `explain`."""
    given = settings.quiet_seconds
    return Quiet() if given == "auto" else Quiet(given, given)
