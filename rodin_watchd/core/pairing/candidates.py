"""Candidate sets as values, and what is said of them to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from rodin_watchd.core.formats import IMAGE_EXTENSIONS, MODEL_EXTENSIONS
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing.members import Member
from rodin_watchd.core.sidecar import Sidecar
from rodin_watchd.errors import AmbiguousSetError, FileRefusedError
from rodin_watchd.model import Role
from rodin_watchd.problem import Problem

Sidecars: TypeAlias = Mapping[str, Sidecar | Problem]
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

    def member(self, role: Role) -> Member | None:
        """Return the member with this role."""
        return next((m for m in self.members if m.role is role), None)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or wrong by the names."""
        return self.problem is None and not self.missing


def candidate_of(name: str, folder: str, group: Sequence[Member], sidecars: Sidecars) -> Candidate:
    """Build the candidate that these files make, with what it lacks and what is wrong with it.

    Files in a refused format stay out of it where there is an accepted one of the same role.
    """
    by_role = {role: _usable([m for m in group if m.role is role]) for role in Role}
    chosen = tuple(m for found in by_role.values() for m in found)
    missing = tuple(wanted(role, name) for role in (Role.MODEL, Role.IMAGE) if not by_role[role])
    problems = [ambiguous(role, found) for role, found in by_role.items() if len(found) > 1]
    problems += [said for m in chosen if isinstance(said := sidecars.get(m.path), Problem)]
    return refuse_formats(Candidate(name, folder, chosen, missing, problems[0] if problems else None))


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
        f"“{name}” is in a format that the vendor does not take.",
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
    told = ", ".join(names[:_MOST_CHOICES]) + (", …" if len(names) > _MOST_CHOICES else "")
    return AmbiguousSetError(f"{len(names)} files compete to be the {role} of this set: {told}.").problem


_MOST_CHOICES: Final = 10
