"""Sets by base name: `chair.glb`, `chair.png` and perhaps `chair.toml` in one folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rodin_watchd.core.pairing.candidates import Candidate, Sidecars, candidate_of
from rodin_watchd.core.pairing.members import Member
from rodin_watchd.errors import AmbiguousSetError
from rodin_watchd.model import Role


def by_base_name(members: Iterable[Member], sidecars: Sidecars) -> list[Candidate]:
    """Group files whose names are the same to an artist, each group with what it lacks."""
    groups: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for member in members:
        groups[member.base].append(member)
    return [candidate for group in groups.values() for candidate in _candidates(group, sidecars)]


def _candidates(group: Sequence[Member], sidecars: Sidecars) -> list[Candidate]:
    """Return the sets of one base name: one; but where files compete, first those that are whole in equal spelling."""
    together = _candidate(group, sidecars)
    if together.problem is None or together.problem.code != AmbiguousSetError.code:
        return [together]
    spellings: dict[str, list[Member]] = defaultdict(list)
    for member in group:
        spellings[member.stem].append(member)
    if any(_is_stray(alike) for alike in spellings.values()):
        return [together]
    exact = [candidate for alike in spellings.values() if (candidate := _candidate(alike, sidecars)).is_whole]
    taken = {candidate.name for candidate in exact}
    rest = [member for member in group if member.stem not in taken]
    return [*exact, *([_candidate(rest, sidecars)] if rest else [])]


def _candidate(group: Sequence[Member], sidecars: Sidecars) -> Candidate:
    return candidate_of(group[0].stem, group[0].folder, group, sidecars)


def _is_stray(alike: Iterable[Member]) -> bool:
    """Tell whether a sidecar's spelling is its own: then nobody can tell which set it is for, and none is paid."""
    return all(member.role is Role.SIDECAR for member in alike)
