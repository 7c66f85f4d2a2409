"""Sets by sidecar: a TOML file that names its model, its image or both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rodin_watchd.core.names import match_key, printable
from rodin_watchd.core.pairing.candidates import KIND_OF_FILE, Candidate, Sidecars, ambiguous, refuse_formats, wanted
from rodin_watchd.core.pairing.members import Member, member_of
from rodin_watchd.core.sidecar import Sidecar, resolve_member
from rodin_watchd.errors import SidecarError
from rodin_watchd.model import Role
from rodin_watchd.problem import Problem


def by_sidecar(members: Sequence[Member], sidecars: Sidecars) -> list[Candidate]:
    """Build the set of each sidecar that names a file."""
    stated = ((member, sidecars.get(member.path)) for member in members)
    naming = [(m, said) for m, said in stated if isinstance(said, Sidecar) and (said.model or said.image)]
    lookup = _Lookup(members if naming else ())
    return [_set_of(m, said, lookup) for m, said in naming]


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

    def named(self, role: Role, reference: str, toml: Member) -> _Found:
        """Return the file that a sidecar names: the exact one, else the only one that is spelled alike."""
        try:
            path = resolve_member(reference, toml.folder)
        except SidecarError as error:
            return _Found(problem=error.problem)
        meant = member_of(path)
        if meant is None or meant.role is not role:
            text = f"{role} names “{printable(path)}”, which is not {KIND_OF_FILE[role]}."
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

    def same_base(self, member: Member) -> list[Member]:
        """Return the files with a member's base name."""
        return self._by_base.get(member.base, [])


def _set_of(toml: Member, sidecar: Sidecar, lookup: _Lookup) -> Candidate:
    """Build the set that a sidecar names."""
    references = {Role.MODEL: sidecar.model, Role.IMAGE: sidecar.image}
    named = {role: lookup.named(role, reference, toml) for role, reference in references.items() if reference}
    beside = (toml, *(m for found in named.values() for m in found.members))
    both = [named.get(role) or lookup.partner(role, beside, toml.stem) for role in references]
    members = (toml, *(m for found in both for m in found.members))
    problem = next((found.problem for found in both if found.problem), None)
    if problem:
        return _refused(toml, members, problem, lookup)
    missing = tuple(found.missing for found in both if found.missing)
    return refuse_formats(Candidate(toml.stem, toml.folder, members, missing))


def _refused(toml: Member, members: Iterable[Member], problem: Problem, lookup: _Lookup) -> Candidate:
    """Refuse a set with all that shares its sidecar's base name: without the sidecar, that would be paid as it is."""
    everything = dict.fromkeys((*members, *(m for m in lookup.same_base(toml) if m.role is not Role.SIDECAR)))
    return Candidate(toml.stem, toml.folder, tuple(everything), problem=problem)
