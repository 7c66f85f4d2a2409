"""Candidate sets as values, and what is said of them to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
)
from rodin_watchd.core.kinds import DEFAULT, KINDS, JobKind
from rodin_watchd.core.layout import RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.options import words_of
from rodin_watchd.core.sidecar import PRESET_NAME, Misread, Sidecar
from rodin_watchd.errors import AmbiguousSetError, FileRefusedError, Problem
from rodin_watchd.model import Entry, Kind, Role

# ---- What a directory entry can be in a set, by its name and kind alone ---------------------------------------------


LEFTOVERS = frozenset(name.casefold() for name in (RECEIPT, REPORT, REPORT_DATA))
"""Receipts and reports: they come back when somebody drops a delivered or failed folder again.

Their names are kept for them: a set's own file of such a name would be overwritten by the set's receipt or report.
"""


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

    @property
    def base(self) -> tuple[str, str]:
        """What files that belong together by base name have in common."""
        return (self.folder, match_key(self.stem))


def member_of(path: str) -> Member | None:
    """Return what a path can be in a set, by its extension; None for nothing."""
    extension = split_name(path.rpartition("/")[2])[1]
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


def sort_out(
    entries: Iterable[Entry], sidecars: Mapping[str, Sidecar | Misread]
) -> tuple[list[Member], dict[str, str], frozenset[str]]:
    """Split a snapshot into members (sorted by path), ignored files with the reason, and drop folders."""
    members: list[Member] = []
    ignored: dict[str, str] = {}
    drop_folders = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        member = member_of(entry.path)
        if name.casefold() == PRESET_NAME and entry.kind is not Kind.FOLDER:
            drop_folders.add(folder)  # a link, too: it may be meant, and its sets wait until it is a file
        if name.casefold() == PRESET_NAME and entry.kind is Kind.FILE:
            continue
        if reason := _why_ignored(entry, member, sidecars):
            ignored[entry.path] = reason
        elif member and entry.kind is Kind.FILE:
            members.append(member)
    members.sort(key=lambda m: m.path)
    return members, ignored, frozenset(drop_folders)


def _why_ignored(entry: Entry, member: Member | None, sidecars: Mapping[str, Sidecar | Misread]) -> str:
    """Return the reason for people; "" for what can be a member, and for a plain folder, which needs none."""
    name = entry.path.rpartition("/")[2]
    if entry.kind is not Kind.FILE and member:
        return f"“{printable(name)}” is a {entry.kind}; only plain files are taken"
    if entry.kind is Kind.FOLDER:
        return ""
    if entry.kind is not Kind.FILE:
        return f"a {entry.kind}; only plain files are taken"
    if name.casefold() in LEFTOVERS and entry.path not in sidecars:
        return "left over from an earlier job"
    return "" if member else "not a model, an image or a sidecar"


Sidecars: TypeAlias = Mapping[str, Sidecar | Misread]
"""By path below the inbox: what a TOML file says, or what is wrong with it."""

KIND_OF_FILE: Final = {Role.MODEL: "a model file", Role.IMAGE: "an image file", Role.SIDECAR: "a sidecar"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the names say of a set: its members, what it waits for, and why it can never become one."""

    name: str
    folder: str
    members: tuple[Member, ...]
    missing: tuple[str, ...] = ()  # for people: what has to come yet
    problem: Problem | None = None  # it is to be refused
    kind: str = DEFAULT.name  # of the job that it is to become
    awaits: str = ""  # the path of a TOML file that cannot be used, which it waits for
    then_image: str = ""  # the path of the image for the job that follows, if its sidecar names one

    def member(self, role: Role) -> Member | None:
        """Return the member with this role."""
        return next((m for m in self.members if m.role is role), None)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or wrong by the names."""
        return self.problem is None and not self.missing


@dataclass(frozen=True, slots=True)
class Asked:
    """Which kind of job is asked for where: by sidecars, and by the presets of folders."""

    sidecars: Sidecars
    presets: Mapping[str, str]  # folder -> kind; "" is the inbox itself

    def by(self, toml: Member) -> JobKind:
        """Return the kind that a sidecar asks for, by itself or by its folder."""
        said = self.sidecars.get(toml.path)
        return KINDS[said.kind] if said and said.kind else self.of_folder(toml.folder)

    def of(self, folder: str, group: Iterable[Member]) -> JobKind:
        """Return the kind of a set of these files of a folder."""
        toml = next((m for m in group if m.role is Role.SIDECAR), None)
        return self.by(toml) if toml else self.of_folder(folder)

    def of_folder(self, folder: str) -> JobKind:
        """Return the kind of a set that does not say it itself: what the nearest preset says that says one."""
        place = folder
        while place and place not in self.presets:
            place = place.rpartition("/")[0]
        return KINDS[self.presets[place]] if place in self.presets else DEFAULT

    def said_by(self, group: Iterable[Member]) -> Sidecar | None:
        """Return what the sidecar among these files says."""
        said = (self.sidecars.get(m.path) for m in group if m.role is Role.SIDECAR)
        return next((one for one in said if isinstance(one, Sidecar)), None)


def candidate_of(
    name: str, folder: str, group: Sequence[Member], asked: Asked, kind: JobKind, *, together: bool = False
) -> Candidate:
    """Build the candidate that these files make, with what it lacks and what is wrong with it.

    `together`: they are all that a folder holds, so there may be several of a role. Files in a refused format stay out of
    it where there is an accepted one of the same role.
    """
    by_role = {role: _usable([m for m in group if m.role is role]) for role in Role}
    chosen = tuple(m for found in by_role.values() for m in found)
    missing = [wanted(role, name) for role, rule in kind.files.items() if len(by_role[role]) < rule.least]
    missing += [_out_of_place(kind, m) for m in chosen if not kind.most(m.role)]
    if not missing and lacks_all(kind, chosen, asked):
        missing.append(f"{' or '.join(KIND_OF_FILE[role] for role in kind.files)}, or {kind.alone} in its TOML file")
    problems = [
        ambiguous(role, found) for role, found in by_role.items() if len(found) > _most(kind, role, together=together)
    ]
    problems += [said.problem for m in chosen if isinstance(said := asked.sidecars.get(m.path), Misread)]
    problem = problems[0] if problems else None
    return refuse_formats(Candidate(name, folder, chosen, tuple(missing), problem, kind.name))


def _most(kind: JobKind, role: Role, *, together: bool) -> int:
    """Return how many files of a role a set has that is found by their names, or by their folder."""
    return max(kind.most(role), 1) if together else 1


def lacks_all(kind: JobKind, members: Iterable[Member], asked: Asked) -> bool:
    """Tell whether a set has no file at all, and its sidecar does not say what can stand for all of them."""
    group = tuple(members)
    if any(m.role in kind.files for m in group):
        return False
    said = asked.said_by(group)
    return not words_of(str(getattr(said, kind.alone, None) or "") if kind.alone else "")


def _out_of_place(kind: JobKind, member: Member) -> str:
    told = f'somebody to take “{printable(member.name)}” away: a set of kind = "{kind.name}" has no {member.role}'
    return f'{told} (for a set with one say kind = "{DEFAULT.name}" in its TOML file)'


def _usable(found: list[Member]) -> list[Member]:
    return [m for m in found if not m.advice] or found


def refuse_formats(candidate: Candidate) -> Candidate:
    """Refuse a set with a member in a format that the vendor does not take; alone, such a file only waits."""
    refused = next((m for m in candidate.members if m.advice), None)
    if refused is None or candidate.problem:
        return candidate
    name = printable(refused.name)
    if len(candidate.members) == 1:
        return replace(candidate, missing=(f"another format of “{name}” ({refused.advice})",))
    error = FileRefusedError(
        f"“{name}” is in a format that the vendor does not accept.",
        advice=f"{refused.advice[:1].upper()}{refused.advice[1:]}. Then drop the set into the inbox again.",
    )
    return replace(candidate, problem=error.problem)


def wanted(role: Role, name: str) -> str:
    """Say what a set waits for."""
    first, *others = _EXTENSIONS[role]
    return f"{KIND_OF_FILE[role]}: “{printable(name)}{first}” ({', '.join(others)})"


_EXTENSIONS: Final = {
    Role.MODEL: (".glb", *sorted(MODEL_EXTENSIONS - {".glb"})),
    Role.IMAGE: (".png", *sorted(IMAGE_EXTENSIONS - {".png", ".jpeg"})),
}


def ambiguous(role: Role, choices: Iterable[Member]) -> Problem:
    """Return the problem of several files in one place, with their names."""
    names = [f"“{printable(m.name)}”" for m in choices]
    message = ", ".join(names[:_MOST_CHOICES]) + (", …" if len(names) > _MOST_CHOICES else "")
    return AmbiguousSetError(f"{len(names)} files fit the {role} of this set: {message}.").problem


_MOST_CHOICES: Final = 10
