"""Sets by folder: what one sub-folder holds, where that is exactly one set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from rodin_watchd.core.pairing.candidates import Candidate, Sidecars, candidate_of
from rodin_watchd.core.pairing.members import Member
from rodin_watchd.model import Role


def by_folder(groups: Iterable[Candidate], sidecars: Sidecars, drop_folders: frozenset[str]) -> list[Candidate]:
    """Join the base names of a sub-folder that is exactly one set; `groups` are the sets by base name."""
    homes: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in groups:
        if candidate.folder and candidate.folder not in drop_folders:
            homes[candidate.folder].append(candidate)
    return [_joined(folder, found, sidecars) for folder, found in homes.items() if _is_one_set(found)]


def _joined(folder: str, found: Iterable[Candidate], sidecars: Sidecars) -> Candidate:
    parent, _, name = folder.rpartition("/")
    return candidate_of(name, parent, [m for candidate in found for m in candidate.members], sidecars)


def _is_one_set(found: Sequence[Candidate]) -> bool:
    """Tell whether these are one model, one image and at most one sidecar, and no base name holds them all."""
    usable = [_usable(candidate) for candidate in found]
    roles = sorted(member.role for members in usable for member in members)
    return roles in _ONE_SET and all(len(members) < len(roles) for members in usable)


def _usable(candidate: Candidate) -> list[Member]:
    return [member for member in candidate.members if not member.advice]


_ONE_SET: Final = (sorted([Role.MODEL, Role.IMAGE]), sorted(Role))
