"""Which files belong together: a snapshot of the inbox and its sidecars → candidate sets.

Three kinds of sets, found in this order; a file that one rule used is not offered to the next:

1. *by sidecar*: a TOML that names `model` and/or `image`; what it does not name is looked for by base name.
   Several sidecars may name the same file.
2. *by base name*: `chair.glb`, `chair.png` and perhaps `chair.toml` in one folder. Names are compared as artists compare
   them (NFC, case-insensitive); where several spellings compete, equal spelling pairs first.
3. *by folder*: a sub-folder whose only model and only image are left over. A folder that holds a `_folder.toml` is a
   drop folder for many sets, so this rule leaves it alone.

Pure: names and parsed sidecars in, candidates out. Whether files are complete is `core.settle`'s question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
)
from rodin_watchd.core.layout import RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.sidecar import PRESET_NAME, Sidecar, resolve_member
from rodin_watchd.errors import AmbiguousSetError, FileRefusedError, Problem, SidecarError
from rodin_watchd.model import Entry, Kind, Role

LEFTOVERS = frozenset(name.casefold() for name in (RECEIPT, REPORT, REPORT_DATA))
"""Receipts and reports: they come back when somebody drops a delivered or failed folder again."""

Sidecars: TypeAlias = Mapping[str, Sidecar | Problem]


@dataclass(frozen=True, slots=True)
class Member:
    """A file that can be part of a set."""

    path: str
    role: Role
    advice: str = ""  # not empty: a format that is refused, and what to do about it

    @property
    def folder(self) -> str:
        """The folder below the inbox."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The base name."""
        return split_name(self.name)[0]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the names say of a set: its members, what it waits for, and why it can never become one."""

    name: str
    folder: str
    members: tuple[Member, ...]
    missing: tuple[str, ...] = ()  # for people: what has to come yet
    problem: Problem | None = None  # it is to be refused

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same candidate in the next snapshot."""
        return (self.folder, match_key(self.name))

    def member(self, role: Role) -> Member | None:
        """Return the member with this role."""
        return next((m for m in self.members if m.role is role), None)


@dataclass(frozen=True, slots=True)
class Pairing:
    """The candidates of a snapshot, and by path why other files are ignored."""

    candidates: tuple[Candidate, ...]
    ignored: Mapping[str, str]

    def uses(self) -> Mapping[str, int]:
        """Count by path how many candidates name a file."""
        counts: dict[str, int] = defaultdict(int)
        for candidate in self.candidates:
            for member in candidate.members:
                counts[member.path] += 1
        return counts


def pair(entries: Iterable[Entry], sidecars: Sidecars) -> Pairing:
    """Find the candidate sets of a snapshot.

    `sidecars` holds, for the TOML files that could be read, what they say or what is wrong with them.
    """
    members, ignored, drop_folders = _sort(entries)
    by_sidecar = _by_sidecar(members, sidecars)
    used = {m.path for candidate in by_sidecar for m in candidate.members}
    groups = _by_base_name([m for m in members if m.path not in used], sidecars)
    by_folder = _by_folder(groups, sidecars, drop_folders)
    used = {m.path for candidate in by_folder for m in candidate.members}
    by_name = [candidate for candidate in groups if not used.intersection(m.path for m in candidate.members)]
    return Pairing((*by_sidecar, *by_name, *by_folder), ignored)


# ---- sorting --------------------------------------------------------------------------------------------------------


def _sort(entries: Iterable[Entry]) -> tuple[list[Member], dict[str, str], frozenset[str]]:
    """Split a snapshot into possible members, ignored files with the reason, and drop folders."""
    members: list[Member] = []
    ignored: dict[str, str] = {}
    drop_folders = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        member = member_of(entry.path)
        if name.casefold() == PRESET_NAME and entry.kind is Kind.FILE:
            drop_folders.add(folder)
        elif entry.kind is Kind.FILE and member:
            members.append(member)
        elif reason := _why_ignored(entry, member):
            ignored[entry.path] = reason
    members.sort(key=lambda m: m.path)
    return members, ignored, frozenset(drop_folders)


def member_of(path: str) -> Member | None:
    """Return what a path can be in a set, by its name; None for nothing."""
    name = path.rpartition("/")[2]
    extension = split_name(name)[1]
    if name.casefold() in LEFTOVERS:
        return None
    for role, accepted, refused in _ROLES:
        if extension in accepted:
            return Member(path, role)
        if extension in refused:
            return Member(path, role, advice=refused[extension])
    return None


_ROLES: tuple[tuple[Role, frozenset[str], Mapping[str, str]], ...] = (
    (Role.MODEL, MODEL_EXTENSIONS, REFUSED_MODEL_EXTENSIONS),
    (Role.IMAGE, IMAGE_EXTENSIONS, REFUSED_IMAGE_EXTENSIONS),
    (Role.SIDECAR, frozenset({".toml"}), {}),
)


def _why_ignored(entry: Entry, member: Member | None) -> str:
    """Return the reason for people; "" for a plain folder, which needs none."""
    if entry.kind is Kind.FOLDER:
        return f"a folder, not a {member.role} file" if member else ""
    if entry.kind is not Kind.FILE:
        return f"a {entry.kind}; only plain files are taken"
    if entry.path.rpartition("/")[2].casefold() in LEFTOVERS:
        return "left over from an earlier job"
    return "not a model, an image or a sidecar"


# ---- by sidecar -----------------------------------------------------------------------------------------------------


def _by_sidecar(members: Sequence[Member], sidecars: Sidecars) -> list[Candidate]:
    lookup = _Lookup(members)
    found = []
    for member in members:
        sidecar = sidecars.get(member.path)
        if isinstance(sidecar, Sidecar) and (sidecar.model or sidecar.image):
            found.append(_named_set(member, sidecar, lookup))
    return found


class _Lookup:
    """Members by path and by what artists mean by a path."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._exact = {m.path: m for m in members}
        self._alike: dict[str, list[Member]] = defaultdict(list)
        self._by_stem: dict[tuple[str, str, Role], list[Member]] = defaultdict(list)
        for m in members:
            self._alike[match_key(m.path)].append(m)
            self._by_stem[m.folder, match_key(m.stem), m.role].append(m)

    def path(self, path: str) -> Member | None:
        """Return the member at a path: the exact one, else the only one that is spelled alike."""
        alike = self._alike.get(match_key(path), [])
        return self._exact.get(path) or (alike[0] if len(alike) == 1 else None)

    def partner(self, beside: Member, role: Role) -> Member | None:
        """Return the only member of a role with the same base name."""
        partners = [m for m in self._by_stem.get((beside.folder, match_key(beside.stem), role), []) if not m.advice]
        return partners[0] if len(partners) == 1 else None


def _named_set(toml: Member, sidecar: Sidecar, lookup: _Lookup) -> Candidate:
    """Build the set that a sidecar names."""
    candidate = Candidate(toml.stem, toml.folder, (toml,))
    named: dict[Role, Member] = {}
    for role, reference in ((Role.MODEL, sidecar.model), (Role.IMAGE, sidecar.image)):
        if reference is None:
            continue
        try:
            path = resolve_member(reference, toml.folder)
        except SidecarError as error:
            return replace(candidate, problem=error.problem)
        if member := lookup.path(path):
            named[role] = member
        else:
            candidate = _lacking(candidate, f"“{printable(path)}”, which “{printable(toml.name)}” names")
    for role in (Role.MODEL, Role.IMAGE):
        candidate = _complete_named(candidate, role, named, lookup, sidecar)
    return candidate


def _complete_named(
    candidate: Candidate, role: Role, named: Mapping[Role, Member], lookup: _Lookup, sidecar: Sidecar
) -> Candidate:
    """Add one role to a set by sidecar: the named file, else the one with a fitting base name."""
    member = named.get(role)
    reference = sidecar.model if role is Role.MODEL else sidecar.image
    if member is None and reference is None:
        partners = (lookup.partner(m, role) for m in (*candidate.members, *named.values()))
        member = next(filter(None, partners), None)
        if member is None:
            return _lacking(candidate, _wanted(role, candidate.name))
    if member is None:
        return candidate
    candidate = replace(candidate, members=(*candidate.members, member))
    if member.role is not role:
        error = SidecarError(f"{role} names “{printable(member.path)}”, which is not {_A[role]}.")
        return replace(candidate, problem=error.problem)
    return _refuse_formats(candidate)


# ---- by base name ---------------------------------------------------------------------------------------------------


def _by_base_name(members: Iterable[Member], sidecars: Sidecars) -> list[Candidate]:
    groups: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in members:
        groups[member.folder, match_key(member.stem)].append(member)
    return [candidate for group in groups.values() for candidate in _candidates(group, sidecars)]


def _candidates(group: Sequence[Member], sidecars: Sidecars) -> list[Candidate]:
    """Return the sets of one base name: one, or one for each spelling where each spelling is whole by itself."""
    candidate = _candidate(group[0].stem, group[0].folder, group, sidecars)
    spellings: dict[str, list[Member]] = defaultdict(list)
    for member in group:
        spellings[member.stem].append(member)
    if candidate.problem is None or len(spellings) == 1:
        return [candidate]
    exact = [_candidate(stem, group[0].folder, alike, sidecars) for stem, alike in spellings.items()]
    return exact if all(_is_whole(c) for c in exact) else [candidate]


def _is_whole(candidate: Candidate) -> bool:
    return candidate.problem is None and not candidate.missing


def _candidate(name: str, folder: str, group: Iterable[Member], sidecars: Sidecars) -> Candidate:
    """Build the candidate that these files make, with what it lacks and what is wrong with it."""
    chosen: list[Member] = []
    problem: Problem | None = None
    missing: list[str] = []
    for role in Role:
        found = [m for m in group if m.role is role]
        found = [m for m in found if not m.advice] or found
        chosen += found
        if not found and role is not Role.SIDECAR:
            missing.append(_wanted(role, name))
        if len(found) > 1:
            problem = problem or _ambiguous(role, found)
    for member in chosen:
        stated = sidecars.get(member.path)
        problem = problem or (stated if isinstance(stated, Problem) else None)
    return _refuse_formats(Candidate(name, folder, tuple(chosen), tuple(missing), problem))


def _refuse_formats(candidate: Candidate) -> Candidate:
    """Refuse a set with a member in a format that the vendor does not take; alone, such a file only waits."""
    refused = [m for m in candidate.members if m.advice]
    if not refused or candidate.problem:
        return candidate
    member = refused[0]
    if len(candidate.members) == 1:
        return replace(candidate, missing=(f"another format: {member.advice} instead of “{printable(member.name)}”",))
    error = FileRefusedError(
        f"“{printable(member.name)}” is in a format that the vendor does not take.",
        advice=f"Please {member.advice}, and drop the set into the inbox again.",
    )
    return replace(candidate, problem=error.problem)


# ---- by folder ------------------------------------------------------------------------------------------------------


def _by_folder(groups: Iterable[Candidate], sidecars: Sidecars, drop_folders: frozenset[str]) -> list[Candidate]:
    """Join what is left over in a sub-folder, where it is exactly one model and one image."""
    left: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in groups:
        if candidate.folder and candidate.folder not in drop_folders:
            left[candidate.folder].append(candidate)
    found = []
    for folder, candidates in left.items():
        members = [m for candidate in candidates for m in candidate.members]
        roles = sorted(m.role for m in members if not m.advice)
        if len(candidates) > 1 and roles in _WHOLE_FOLDERS and not any(map(_is_whole, candidates)):
            parent, _, name = folder.rpartition("/")
            found.append(_candidate(name, parent, members, sidecars))
    return found


_WHOLE_FOLDERS = (sorted([Role.MODEL, Role.IMAGE]), sorted([Role.MODEL, Role.IMAGE, Role.SIDECAR]))


# ---- words ----------------------------------------------------------------------------------------------------------

_A = {Role.MODEL: "a model file", Role.IMAGE: "an image file", Role.SIDECAR: "a sidecar"}


def _wanted(role: Role, name: str) -> str:
    """Say what a set waits for."""
    extensions = sorted(MODEL_EXTENSIONS if role is Role.MODEL else IMAGE_EXTENSIONS - {".jpeg"})
    return f"{_A[role]}: “{printable(name)}{extensions[0]}” ({', '.join(extensions[1:])})"


def _lacking(candidate: Candidate, what: str) -> Candidate:
    return replace(candidate, missing=(*candidate.missing, what))


def _ambiguous(role: Role, choices: Sequence[Member]) -> Problem:
    names = ", ".join(f"“{printable(m.name)}”" for m in choices)
    return AmbiguousSetError(f"{len(choices)} files compete to be the {role} of this set: {names}.").problem
