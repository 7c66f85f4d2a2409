"""Which files belong together: a snapshot of the inbox and its sidecars → candidate sets.

Three kinds of sets, found in this order; a file that one rule used is not offered to the next:

1. *by sidecar* (`by_sidecar`): a TOML that names `model` and/or `image`; what it does not name is looked for by base
   name. Several sidecars may name the same file.
2. *by base name* (`by_base_name`): `chair.glb`, `chair.png` and perhaps `chair.toml` in one folder. Names are compared as
   artists compare them (NFC, case-insensitive); where several spellings compete, equal spelling pairs first.
3. *by folder* (`by_folder`): a sub-folder with exactly the files of one set, and any one TOML, which no base name
   holds together. A folder that holds a `_folder.toml` is a drop folder for many sets, so this rule leaves it alone.

Pure: names and parsed sidecars in, candidates out. Whether files are complete: `core.sets`.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
    FileKind,
)
from rodin_watchd.core.kinds import DEFAULT, KINDS, FileRule, JobKind
from rodin_watchd.core.layout import BUILT, DOWNLOADS, RECEIPT, REPORT, REPORT_DATA, RESULTS
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.references import MOST_JOBS, resolve_member
from rodin_watchd.core.sidecar import PRESET_NAME, Misread, Sidecar, says
from rodin_watchd.core.wording import a_list
from rodin_watchd.errors import AmbiguousSetError, FileRefusedError, Problem, SidecarError
from rodin_watchd.model import Entry, Kind, Role

# ---- What a directory entry can be in a set, by its name and kind alone ---------------------------------------------


LEFTOVERS = frozenset(name.casefold() for name in (RECEIPT, REPORT, REPORT_DATA))
"""Receipts and reports: they come back when somebody drops a delivered or failed folder again.

Their names are kept for them: a set's own file of such a name would be overwritten by the set's receipt or report.
"""


class Member(NamedTuple):
    """A file that can be part of a set."""

    path: str
    role: Role
    unfit: FileKind | None = None  # a format that is not taken under this name

    @property
    def advice(self) -> str:
        """What to do about a file that is not taken under its name; "" for one that is."""
        return self.unfit.advice if self.unfit else ""

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
        folder, _, name = self.path.rpartition("/")
        return (folder, match_key(split_name(name)[0]))


def member_of(path: str) -> Member | None:
    """Return what a path can be in a set, by its extension; None for nothing."""
    found = _BY_EXTENSION.get(split_name(path.rpartition("/")[2])[1])
    return Member(path, *found) if found else None


_BY_EXTENSION: Final[Mapping[str, tuple[Role, FileKind | None]]] = {
    **{extension: (Role.IMAGE, kind) for extension, kind in REFUSED_IMAGE_EXTENSIONS.items()},
    **dict.fromkeys(IMAGE_EXTENSIONS, (Role.IMAGE, None)),
    **{extension: (Role.MODEL, kind) for extension, kind in REFUSED_MODEL_EXTENSIONS.items()},
    **dict.fromkeys(MODEL_EXTENSIONS, (Role.MODEL, None)),
    ".toml": (Role.SIDECAR, None),
}


def sort_out(
    entries: Iterable[Entry], sidecars: Mapping[str, Sidecar | Misread]
) -> tuple[list[Member], dict[str, str], frozenset[str]]:
    """Split a snapshot into members (sorted by path), ignored files with the reason, and drop folders."""
    members: list[Member] = []
    ignored: dict[str, str] = {}
    drop_folders = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if name.casefold() == PRESET_NAME:
            if entry.kind is not Kind.FOLDER:
                drop_folders.add(folder)  # a link, too: it may be meant, and its sets wait until it is a file
            if entry.kind is Kind.FILE:
                continue
        member = member_of(entry.path)
        if reason := _why_ignored(entry, name, member, sidecars):
            ignored[entry.path] = reason
        elif member and entry.kind is Kind.FILE:
            members.append(member)
    members.sort()
    return members, ignored, frozenset(drop_folders)


def _why_ignored(entry: Entry, name: str, member: Member | None, sidecars: Mapping[str, Sidecar | Misread]) -> str:
    """Return the reason for people; "" for what can be a member, and for a plain folder, which needs none."""
    if entry.kind is not Kind.FILE and member:
        return f"“{printable(name)}” is a {entry.kind}; only plain files are taken"
    if entry.kind is Kind.FOLDER:
        return ""
    if entry.kind is not Kind.FILE:
        return f"a {entry.kind}; only plain files are taken"
    if name.casefold() in LEFTOVERS and entry.path not in sidecars:
        return "left over from an earlier job"
    return "" if member else "not a model, an image or a TOML file"


Sidecars: TypeAlias = Mapping[str, Sidecar | Misread]
"""By path below the inbox: what a TOML file says, or what is wrong with it."""

KIND_OF_FILE: Final = {Role.MODEL: "a model file", Role.IMAGE: "an image file", Role.SIDECAR: "a TOML file"}


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
    home: str = ""  # the path of the sub-folder that holds this set and no other, so that more of it may still come

    def member(self, role: Role) -> Member | None:
        """Return the member with this role."""
        return next((m for m in self.members if m.role is role), None)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or wrong by the names."""
        return self.problem is None and not self.missing


NO_PRESETS: Final[Mapping[str, str]] = MappingProxyType({})
"""No folder says anything for the sets in it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which kind of job is asked for where: by sidecars, and by the presets of folders."""

    sidecars: Sidecars
    presets: Mapping[str, str]  # folder -> kind; "" is the inbox itself
    each: Mapping[str, str]  # folder -> the role of which a sub-folder may have several files, for a job each

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
        said = _nearest(self.presets, folder)
        return KINDS[said] if said else DEFAULT

    def several(self, folder: str, kind: JobKind, group: Iterable[Member]) -> Role | None:
        """Return the role of which a set of these files of a sub-folder may have several files, for a job each; None for none."""
        toml = self.said_by(group)
        said = (toml.each if toml else None) or _nearest(self.each, folder)
        return Role(said) if said and kind.most(Role(said)) == 1 else None

    def said_by(self, group: Iterable[Member]) -> Sidecar | None:
        """Return what the sidecar among these files says."""
        said = (self.sidecars.get(m.path) for m in group if m.role is Role.SIDECAR)
        return next((one for one in said if isinstance(one, Sidecar)), None)


def _nearest(said: Mapping[str, str], folder: str) -> str:
    """Return what is said for a folder, or for the nearest one above; "" for nothing."""
    while folder and folder not in said:
        folder = folder.rpartition("/")[0]
    return said.get(folder, "")


_ROLES_IN_TURN: Final = tuple(Role)


def candidate_of(
    path: str, group: Sequence[Member], asked: Asked, kind: JobKind, most: Mapping[Role, int]
) -> Candidate:
    """Build the candidate of this name that these files make, with what it lacks and what is wrong with it.

    `most`: how many of a role there may be, where they are all that a folder holds; else there is one. Files in a refused format stay out of
    it where there is an accepted one of the same role.
    """
    folder, _, name = path.rpartition("/")
    found_as: dict[Role, list[Member]] = defaultdict(list)
    for member in group:
        found_as[member.role].append(member)
    by_role = {role: _of_usable_format(found_as[role]) for role in _ROLES_IN_TURN if role in found_as}
    chosen = tuple(chain.from_iterable(by_role.values()))
    missing = [wanted(role, name) for role, rule in kind.files.items() if len(by_role.get(role, ())) < rule.least]
    missing += [_out_of_place(kind, m) for m in chosen if not kind.most(m.role)]
    if not missing and lacks_all(kind, chosen, asked):
        missing.append(f"{' or '.join(KIND_OF_FILE[role] for role in kind.files)}, or a {kind.alone} in its TOML file")
    problems = [ambiguous(role, found) for role, found in by_role.items() if len(found) > most.get(role, 1)]
    problems += [said.problem for m in chosen if isinstance(said := asked.sidecars.get(m.path), Misread)]
    problem = problems[0] if problems else None
    return refuse_formats(Candidate(name, folder, chosen, tuple(missing), problem, kind.name))


def _most_of(kind: JobKind, several: Role | None) -> dict[Role, int]:
    """Return how many files of each role a set has at most that is found by its folder; of `several` each makes a job."""
    return {role: MOST_JOBS if role is several else rule.most for role, rule in kind.files.items()}


def lacks_all(kind: JobKind, members: Iterable[Member], asked: Asked) -> bool:
    """Return whether a set has no file at all, and its sidecar does not say what can stand for all of them."""
    group = tuple(members)
    if any(m.role in kind.files for m in group):
        return False
    said = asked.said_by(group)
    return not (kind.alone and said and says(said, kind.alone))


def _out_of_place(kind: JobKind, member: Member) -> str:
    told = f"you to take “{printable(member.name)}” away: a {kind.noun} is not made of a {member.role}"
    return f'{told} (if it is to be a {DEFAULT.noun}: write the line kind = "{DEFAULT.name}" into its TOML file)'


def _of_usable_format(found: list[Member]) -> list[Member]:
    return found if len(found) == 1 else [m for m in found if not m.advice] or found


def refuse_formats(candidate: Candidate) -> Candidate:
    """Refuse a set with a member whose format the vendor does not take under this name; alone, such a file only waits."""
    refused = next((m for m in candidate.members if m.unfit), None)
    if refused is None or refused.unfit is None or candidate.problem:
        return candidate
    name = printable(refused.name)
    if len(candidate.members) == 1:
        return replace(candidate, missing=(f"another format of “{name}” ({refused.advice})",))
    error = FileRefusedError(
        f"“{name}” cannot be used: by its name it is {refused.unfit.phrase}.",
        advice=f"{refused.advice[:1].upper()}{refused.advice[1:]}. Then drop the set into the inbox again.",
    )
    return replace(candidate, problem=error.problem)


def wanted(role: Role, name: str) -> str:
    """Say what a set waits for."""
    return f"{KIND_OF_FILE[role]} of the name “{printable(name)}”: {a_list(_EXTENSIONS[role], 'or')}"


_EXTENSIONS: Final = {
    Role.MODEL: ("a .glb", *sorted(MODEL_EXTENSIONS - {".glb"})),
    Role.IMAGE: ("a .png", *sorted(IMAGE_EXTENSIONS - {".png", ".jpeg"})),
}


def ambiguous(role: Role, choices: Iterable[Member]) -> Problem:
    """Return the problem of several files in one place, with their names."""
    names = [f"“{printable(m.name)}”" for m in choices]
    more = [f"{len(names) - _MOST_CHOICES} more"] if len(names) > _MOST_CHOICES else []
    each = f" For a job of each, name all of them in the set's TOML file, with {role}s."
    return AmbiguousSetError(
        f"{len(names)} files fit the {role} of this set: {a_list([*names[:_MOST_CHOICES], *more], 'and')}.",
        advice="" if role is Role.SIDECAR else f"{AmbiguousSetError.advice}{each}",
    ).problem


_MOST_CHOICES: Final = 10


# ---- Sets by folder: what one sub-folder holds, where that is exactly one set ---------------------------------------


def by_folder(
    groups: Iterable[Candidate], asked: Asked, drop_folders: AbstractSet[str], elsewhere: AbstractSet[str]
) -> list[Candidate]:
    """Join the base names of a sub-folder that is exactly one set; `groups` are the sets by base name.

    Where a set may have several files of a role, a sub-folder is one set whatever the names are. What is not exactly one set
    there waits together, but for files that have a sidecar of their own name: which of them belong together is not guessed. `elsewhere`:
    folders that hold files which sidecars name, so that they hold more than one set.
    """
    homes: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in groups:
        if candidate.folder and candidate.folder not in drop_folders:
            homes[candidate.folder].append(candidate)
    joined: list[Candidate] = []
    for folder, found in homes.items():
        members = _members_of(found)
        kind = asked.of(folder, members)
        several = asked.several(folder, kind, members)
        parent, _, name = folder.rpartition("/")
        if _is_one_set(kind, found, several, is_alone=folder not in elsewhere):
            joined.append(candidate_of(folder, members, asked, kind, _most_of(kind, several)))
        elif open_ones := _open_ones(kind, found, several):
            joined.append(_undecided(kind, name, parent, _members_of(open_ones), several))
    return joined


def _open_ones(kind: JobKind, found: Sequence[Candidate], several: Role | None) -> list[Candidate]:
    """Return those of a sub-folder that wait together: of a kind with several files all that are not decided, else several that all lack a file.

    Files of a folder with a whole set in it are sets by their names, of which some have not come yet.
    """
    undecided = [one for one in found if not _is_decided(kind, one)]
    if kind.takes_several or several:
        return undecided
    plain = [one for one in undecided if not any(member.advice for member in one.members)]
    lone = len(plain) < 2 or any(not one.missing for one in found)
    return [] if lone else plain


def _members_of(found: Iterable[Candidate]) -> tuple[Member, ...]:
    return tuple(sorted((member for candidate in found for member in candidate.members), key=lambda m: m.path))


def _is_one_set(kind: JobKind, found: Sequence[Candidate], several: Role | None, *, is_alone: bool) -> bool:
    """Return whether these are as many files of each role as a set has, and at most one sidecar.

    A set whose base name holds them all is found by that, unless it may have several files of a role.
    """
    usable = [_usable(candidate) for candidate in found]
    counts = Counter(member.role for members in usable for member in members)
    most = _most_of(kind, several)
    own = all(rule.least <= counts[role] <= most[role] for role, rule in kind.files.items())
    if not own or counts[Role.SIDECAR] > 1 or not counts.keys() <= {*kind.files, Role.SIDECAR}:
        return False
    return is_alone if kind.takes_several or several else all(len(members) < counts.total() for members in usable)


def _is_decided(kind: JobKind, candidate: Candidate) -> bool:
    """Return whether files of one name in a sub-folder are a set by themselves: they have a sidecar, or ask for another kind."""
    has_sidecar = {Role.SIDECAR} < {member.role for member in candidate.members}
    return candidate.kind != kind.name or candidate.problem is not None or has_sidecar


def _undecided(kind: JobKind, name: str, parent: str, members: tuple[Member, ...], several: Role | None) -> Candidate:
    """Return files of a sub-folder that may or may not be a set, as one that waits: one line on the page, however many they are."""
    wrong = [_out_of_place(kind, member) for member in members if not kind.most(member.role)]
    wanted_files = a_list(
        [*(_wanted_of(role, rule, several) for role, rule in kind.files.items()), "at most one TOML file"], "and"
    )
    counts = Counter(member.role for member in members)
    more = next(
        (role for role in kind.files if kind.most(role) == 1 and counts[role] > 1 and role is not several), None
    )
    told = (
        f"its folder to hold one set, which is {wanted_files}: it holds {_counted(members)}. Take away what is too much, or add "
        "what is missing. For several sets, make a folder for each"
        f"{_how_several(more)}"
    )
    return Candidate(name, parent, members, (*wrong[:1], told), kind=kind.name)


def _how_several(role: Role | None) -> str:
    """Say how several files of a role make a job each; "" where there is nothing to say."""
    if role is None:
        return ""
    key = f'each = "{role}"'
    return f". For a job of each {role}, write the line {key} into the TOML file of the set, or into the {PRESET_NAME} of a folder above"


def _wanted_of(role: Role, rule: FileRule, several: Role | None) -> str:
    """Say how many files of a role a set has."""
    if role is several:
        return f"at most {MOST_JOBS} {role}s"
    if rule.most == 1:
        return f"one {role}"
    return f"{rule.most} {role}s" if rule.least == rule.most else f"at most {rule.most} {role}s"


def _counted(members: Iterable[Member]) -> str:
    """Say how many files of each role there are."""
    counts = Counter("TOML file" if member.role is Role.SIDECAR else str(member.role) for member in members)
    return a_list([f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items()], "and")


def _usable(candidate: Candidate) -> list[Member]:
    return [member for member in candidate.members if not member.advice]


# ---- Sets by base name: `chair.glb`, `chair.png` and perhaps `chair.toml` in one folder -----------------------------


def by_base_name(members: Iterable[Member], asked: Asked) -> list[Candidate]:
    """Group files whose names are the same to an artist, each group with what it lacks."""
    groups: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in members:
        groups[member.base].append(member)
    return [candidate for group in groups.values() for candidate in _candidates(group, asked)]


def _candidates(group: Sequence[Member], asked: Asked) -> list[Candidate]:
    """Return the sets of one base name: one; but where files compete, first those that are whole in equal spelling."""
    together = _candidate(group, asked)
    if together.problem is None or together.problem.code != AmbiguousSetError.code:
        return [together]
    spellings: dict[str, list[Member]] = defaultdict(list)
    for member in group:
        spellings[member.stem].append(member)
    if any(_is_orphan(alike) for alike in spellings.values()):
        return [together]
    exact = [candidate for alike in spellings.values() if (candidate := _candidate(alike, asked)).is_whole]
    taken = {candidate.name for candidate in exact}
    rest = [member for member in group if member.stem not in taken]
    return [*exact, *([_candidate(rest, asked)] if rest else [])]


def _candidate(group: Sequence[Member], asked: Asked) -> Candidate:
    folder = group[0].folder
    return candidate_of(f"{folder}/{group[0].stem}".lstrip("/"), group, asked, asked.of(folder, group), {})


def _is_orphan(alike: Iterable[Member]) -> bool:
    """Return whether a sidecar's spelling is its own: then it is not known which set it is for, and none is paid."""
    return all(member.role is Role.SIDECAR for member in alike)


# ---- Sets by sidecar: a TOML file that names its model, its image or both -------------------------------------------


def by_sidecar(members: Sequence[Member], asked: Asked) -> list[Candidate]:
    """Build the set of each sidecar that names a file, or says that there is none."""
    stated = ((member, asked.sidecars.get(member.path)) for member in members)
    naming = [(m, said) for m, said in stated if isinstance(said, Sidecar) and _names_files(said)]
    lookup = _Lookup(members if naming else ())
    return [_set_of(m, said, lookup, asked) for m, said in naming]


def _names_files(said: Sidecar) -> bool:
    return bool(said.model or said.models or said.image) or said.images is not None


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found for one role: a file, or what is missing, or what is wrong (with the files in question)."""

    members: tuple[Member, ...] = ()
    missing: str = ""
    problem: Problem | None = None


class _Lookup:
    """Members by path, by what artists mean by a path, and by base name."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._exact = {m.path: m for m in members}
        self._alike: dict[str, list[Member]] = defaultdict(list)
        self._by_base: dict[tuple[str, str], list[Member]] = defaultdict(list)
        for m in self._exact.values():
            self._alike[match_key(m.path)].append(m)
            self._by_base[m.base].append(m)

    def named(self, role: Role, reference: str, toml: Member, key: str = "") -> _Found:
        """Return the file that a sidecar names: the exact one, else the only one that is spelled alike. `key` names it there."""
        try:
            path = resolve_member(reference, toml.folder)
        except SidecarError as error:
            return _Found(problem=error.problem)
        meant = member_of(path)
        if meant is None or meant.role is not role:
            text = (
                f"{printable(toml.name)}: {key or role} names “{printable(path)}”, which is not {KIND_OF_FILE[role]}."
            )
            return _Found(problem=SidecarError(text).problem)
        alike = [self._exact[path]] if path in self._exact else self._alike.get(match_key(path), [])
        if len(alike) > 1:
            return _Found(problem=ambiguous(role, alike))
        return _Found(tuple(alike), "" if alike else f"“{printable(path)}”, which “{printable(toml.name)}” names")

    def partner(self, role: Role, beside: Iterable[Member], name: str) -> _Found:
        """Return the file of a role with the base name of one of these, in this order; equal spelling goes first."""
        for member in beside:
            found = [m for m in self._by_base.get(member.base, []) if m.role is role and not m.advice]
            exact = [m for m in found if m.stem == member.stem]
            found = exact if len(exact) == 1 else found
            if found:
                return _Found(tuple(found), problem=ambiguous(role, found) if len(found) > 1 else None)
        return _Found(missing=wanted(role, name))

    def same_base(self, base: tuple[str, str]) -> list[Member]:
        """Return the files with a base name."""
        return self._by_base.get(base, [])


def _set_of(toml: Member, sidecar: Sidecar, lookup: _Lookup, asked: Asked) -> Candidate:
    """Build the set that a sidecar names; what it needs and does not name is looked for by base name.

    The image for the job that follows may be one of the images of the set.
    """
    kind = asked.by(toml)
    named = {
        role: [lookup.named(role, reference, toml) for reference in references]
        for role, references in _references(sidecar).items()
    }
    beside = (toml, *(m for found in named.values() for one in found for m in one.members))
    partners = (role for role, rule in kind.files.items() if rule.least and not named[role])
    found = {**named, **{role: [lookup.partner(role, beside, toml.stem)] for role in partners}}
    parts = [one for role in (Role.MODEL, Role.IMAGE) for one in found[role]]
    own = tuple(dict.fromkeys((toml, *(m for one in parts for m in one.members))))
    parts += [
        then := lookup.named(Role.IMAGE, sidecar.then_image, toml, "then_image") if sidecar.then_image else _Found()
    ]
    known = {m.path for m in own}
    members = (*own, *(m._replace(role=Role.THEN_IMAGE) for m in then.members if m.path not in known))
    problem = next((one.problem for one in parts if one.problem), None) or _same_names(members)
    if problem:
        return replace(_refused(toml, sidecar, members, problem, lookup), kind=kind.name)
    missing = [one.missing for one in parts if one.missing]
    if not missing and lacks_all(kind, members, asked):
        missing.append(f"a {kind.alone} in “{printable(toml.name)}”, or a file that it names")
    found_set = Candidate(toml.stem, toml.folder, members, tuple(missing), kind=kind.name)
    return refuse_formats(replace(found_set, then_image=then.members[0].path if then.members else ""))


def _same_names(members: Iterable[Member]) -> Problem | None:
    """Return what is wrong with files of a set that come from several folders and have one name: they go into one folder."""
    named = Counter(m.name for m in members)
    twice = next((m for m in members if named[m.name] > 1), None)
    if twice is None:
        return None
    return SidecarError(f"Several files of this set are called “{printable(twice.name)}”: rename them.").problem


def _references(sidecar: Sidecar) -> dict[Role, list[str]]:
    """Return the files that a sidecar names, by role."""
    images = sidecar.images if sidecar.images is not None else [sidecar.image] if sidecar.image else []
    models = sidecar.models or ([sidecar.model] if sidecar.model else [])
    return {Role.MODEL: models, Role.IMAGE: images}


def _refused(toml: Member, sidecar: Sidecar, members: Iterable[Member], problem: Problem, lookup: _Lookup) -> Candidate:
    """Refuse a set with all that its sidecar may mean: without the sidecar, that would be paid as it is.

    A reference with the wrong extension, or in the place of another one, still means the files of its base name.
    """
    bases = (toml.base, *_meant_bases(toml, sidecar))
    others = (m for base in bases for m in lookup.same_base(base) if m.role is not Role.SIDECAR)
    return Candidate(toml.stem, toml.folder, tuple(dict.fromkeys((*members, *others))), problem=problem)


def _meant_bases(toml: Member, sidecar: Sidecar) -> Iterator[tuple[str, str]]:
    """Yield the base names that a sidecar's references have, whatever their extensions."""
    for references in _references(sidecar).values():
        for reference in references:
            with contextlib.suppress(SidecarError):
                yield Member(resolve_member(reference, toml.folder), Role.MODEL).base


DELIVERED = (
    f"part of a delivered result: its receipt {RECEIPT} is in the same folder or above. To use it again, write the line "
    "`again = true` into the TOML file of the set"
)
"""Why a result of the service is no set, for people."""

KEPT = (
    "a result that was paid for: its report is next to its folder. To use it again, write the line `again = true` into the "
    "TOML file of the set"
)
"""Why a folder of results below a report is no set."""

_REPORTS = frozenset({REPORT.casefold(), REPORT_DATA.casefold()})
_KEPT_IN = frozenset({RESULTS, DOWNLOADS, BUILT})


@dataclass(frozen=True, slots=True)
class Pairing:
    """The candidates of a snapshot, and by path why other files are ignored."""

    candidates: tuple[Candidate, ...]
    ignored: Mapping[str, str]

    def uses(self) -> Mapping[str, int]:
        """Count by path how many candidates name a file."""
        return Counter(_paths(self.candidates))


def pair(
    entries: Iterable[Entry],
    sidecars: Sidecars,
    presets: Mapping[str, str] = NO_PRESETS,
    drop_folders: AbstractSet[str] = frozenset(),
    each: Mapping[str, str] = NO_PRESETS,
) -> Pairing:
    """Find the candidate sets of a snapshot; every file is in one of them or ignored with a reason, but presets.

    What is in a sub-folder next to or below a receipt of this service is none, nor the results below a report, unless its
    sidecar wants it `again`.

    `sidecars` holds what the TOML files say, or why they cannot be used, also of those that are no plain files; receipts and
    reports of this service are not among them. `presets` holds the kind of job that the presets of folders ask for, `each` the role
    of which a sub-folder there may have several files.
    `drop_folders` are folders whose preset is not there just now.
    """
    asked = Asked(sidecars, presets, each)
    members, ignored, with_presets = sort_out(entries, sidecars)
    drop_folders = with_presets | drop_folders
    named = by_sidecar(members, asked)
    alike = by_base_name(_without(members, named), asked)
    elsewhere = frozenset(path.rpartition("/")[0] for path in _paths(named))
    together = by_folder(alike, asked, drop_folders, elsewhere)
    joined = frozenset(_paths(together))
    rest = [candidate for candidate in alike if joined.isdisjoint(m.path for m in candidate.members)]
    misread = _misread(sidecars)
    plain = (_waiting_for(misread, candidate) for candidate in (*rest, *together))
    found = tuple(_at_home([_explained(candidate, ignored) for candidate in (*named, *plain)], drop_folders))
    receipts = _with_receipts(ignored) - drop_folders
    kept = _kept_results(ignored)
    undelivered = tuple(candidate for candidate in found if not _is_result(candidate, receipts, sidecars))
    candidates = tuple(candidate for candidate in undelivered if not _is_result(candidate, kept, sidecars))
    delivered = dict.fromkeys({*_paths(found)} - {*_paths(candidates)}, DELIVERED)
    delivered |= dict.fromkeys({*_paths(undelivered)} - {*_paths(candidates)}, KEPT)
    left = {m.path: f"next to a file in an accepted format ({m.advice})" for m in _without(members, found)}
    return Pairing(candidates, {**ignored, **left, **delivered})


def _at_home(candidates: Sequence[Candidate], drop_folders: AbstractSet[str]) -> Iterator[Candidate]:
    """Give the candidates; those that have a sub-folder to themselves carry its path.

    Whoever makes such a folder means one set, and a second image or a sidecar may come late.
    """
    homes = [{m.folder for m in candidate.members} for candidate in candidates]
    shared = Counter(folder for folders in homes for folder in folders)
    for candidate, folders in zip(candidates, homes, strict=True):
        folder = next(iter(folders)) if len(folders) == 1 else ""
        is_own = folder and shared[folder] == 1 and folder not in drop_folders
        yield replace(candidate, home=folder) if is_own else candidate


def is_apart(sidecars: Sidecars, reports: Iterable[str], within: Callable[[str], bool]) -> bool:
    """Return whether these TOML files and leftovers of one branch of the inbox say nothing of another branch.

    Then the branch may be paired by itself. `within` says whether a path is in it. A sidecar with a mistake, and a report in
    the inbox itself, may be about anything.
    """
    for path, said in sidecars.items():
        if not isinstance(said, Sidecar):
            return False
        for reference in filter(
            None, (said.model, said.image, said.then_image, *(said.images or ()), *(said.models or ()))
        ):
            try:
                meant = resolve_member(reference, path.rpartition("/")[0])
            except SidecarError:
                continue
            if not within(meant):
                return False
    return not any("/" not in path and path.casefold() in _REPORTS for path in reports)


def _misread(sidecars: Sidecars) -> list[tuple[Member, Misread]]:
    found = ((path, said) for path, said in sorted(sidecars.items()) if isinstance(said, Misread))
    return [(Member(path, Role.SIDECAR), said) for path, said in found]


def _waiting_for(misread: Iterable[tuple[Member, Misread]], candidate: Candidate) -> Candidate:
    """Let a set wait for a TOML file of another name that cannot be used, and names or may name its files: it is not bought without it."""
    for toml, said in misread:
        if why := _why_awaited(toml, said, candidate):
            missing = f"a correction of “{printable(toml.name)}”, which {why}"
            return replace(candidate, missing=(*candidate.missing, missing), awaits=toml.path)
    return candidate


def _why_awaited(toml: Member, said: Misread, candidate: Candidate) -> str:
    """Say for people what a TOML file that cannot be used has to do with a set; "" if nothing.

    Of what cannot be read at all nobody knows which files it names: it concerns what is next to it and below.
    """
    folder = candidate.members[0].folder
    below = not toml.folder or f"{folder}/".startswith(f"{toml.folder}/")
    if any(m.path == toml.path for m in candidate.members):
        return ""
    if said.unknown:
        concerned = below and candidate.member(Role.SIDECAR) is None
        return f"{said.unknown}, and may name these files" if concerned else ""
    for name in (m.name for m in candidate.members if m.role is not Role.SIDECAR):
        outside = () if below else _named_from_outside(name, folder, toml.folder)
        if (below and said.mentions(name)) or any(map(said.mentions_path, outside)):
            return f"names “{printable(name)}”"
    return ""


def _named_from_outside(name: str, folder: str, toml_folder: str) -> list[str]:
    """Return how a TOML file names a file that is neither next to it nor below: with its folder's name, or from a folder below."""
    named = [f"{folder.rpartition('/')[2]}/{name}"] if folder else []
    is_above = not folder or toml_folder.startswith(f"{folder}/")
    return [*named, f"../{name}"] if is_above else named


def _with_receipts(ignored: Mapping[str, str]) -> frozenset[str]:
    """Return the sub-folders that hold a receipt of this service: each was delivered or archived as a whole."""
    split = (path.rpartition("/") for path in ignored)
    return frozenset(folder for folder, _, name in split if folder and name.casefold() == RECEIPT)


def _kept_results(ignored: Mapping[str, str]) -> frozenset[str]:
    """Return the folders below a report that hold results: of a set that failed, or of a work folder that was set aside."""
    split = (path.rpartition("/") for path in ignored)
    reported = {folder for folder, _, name in split if name.casefold() in _REPORTS}
    return frozenset(f"{folder}/{name}" if folder else RESULTS for folder in reported for name in _KEPT_IN)


def _is_result(candidate: Candidate, folders: AbstractSet[str], sidecars: Sidecars) -> bool:
    """Return whether a set is in or below one of these folders, and does not ask to be bought again.

    Otherwise a program that copies the outbox, or `failed/`, into the inbox would buy a texture of each texture, without end.
    """
    if not folders:
        return False
    said = (sidecars.get(m.path) for m in candidate.members)
    wanted = any(isinstance(one, Sidecar) and one.again for one in said)
    return not wanted and any(not folders.isdisjoint(_and_above(m.folder)) for m in candidate.members)


def _and_above(folder: str) -> Iterable[str]:
    """Give a folder below the inbox and the folders that it is in."""
    return accumulate(folder.split("/"), "{}/{}".format)


def _explained(candidate: Candidate, ignored: Mapping[str, str]) -> Candidate:
    """Add to what a set lacks the reasons that are not seen at a glance: a kept name, a link or folder in the way."""
    kept = [m for m in candidate.members if m.name.casefold() in LEFTOVERS]
    names = (f"another name for “{printable(m.name)}”, which is the name of receipts and reports" for m in kept)
    missing = (*candidate.missing, *names)
    if candidate.missing and ignored and (odd := _in_the_way(candidate, ignored)):
        missing = (*missing[:-1], f"{missing[-1]} ({odd})")
    return replace(candidate, missing=missing) if missing != candidate.missing else candidate


def _in_the_way(candidate: Candidate, ignored: Mapping[str, str]) -> str:
    """Return why something with a name that the set waits for does not count, "" if there is no such thing."""
    for extension in (*MODEL_EXTENSIONS, *IMAGE_EXTENSIONS):
        name = f"{candidate.name}{extension}"
        path = f"{candidate.folder}/{name}" if candidate.folder else name
        if path in ignored:
            return ignored[path]
    return ""


def _paths(candidates: Iterable[Candidate]) -> Iterable[str]:
    return (member.path for candidate in candidates for member in candidate.members)


def _without(members: Iterable[Member], candidates: Iterable[Candidate]) -> list[Member]:
    used = frozenset(_paths(candidates))
    return [member for member in members if member.path not in used]
