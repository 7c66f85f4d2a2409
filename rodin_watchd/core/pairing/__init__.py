"""Which files belong together: a snapshot of the inbox and its sidecars → candidate sets.

Three kinds of sets, found in this order; a file that one rule used is not offered to the next:

1. *by sidecar* (`by_sidecar`): a TOML that names `model` and/or `image`; what it does not name is looked for by base
   name. Several sidecars may name the same file.
2. *by base name* (`by_name`): `chair.glb`, `chair.png` and perhaps `chair.toml` in one folder. Names are compared as
   artists compare them (NFC, case-insensitive); where several spellings compete, equal spelling pairs first.
3. *by folder* (`by_folder`): a sub-folder with exactly one model and one image, and any one TOML, which no base name
   holds together. A folder that holds a `_folder.toml` is a drop folder for many sets, so this rule leaves it alone.

Pure: names and parsed sidecars in, candidates out. Whether files are complete is `core.settle`'s question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import accumulate

from rodin_watchd.core.formats import IMAGE_EXTENSIONS, MODEL_EXTENSIONS
from rodin_watchd.core.layout import BUILT, DOWNLOADS, RECEIPT, REPORT, REPORT_DATA, RESULTS
from rodin_watchd.core.names import printable
from rodin_watchd.core.pairing.by_folder import by_folder
from rodin_watchd.core.pairing.by_name import by_base_name
from rodin_watchd.core.pairing.by_sidecar import by_sidecar
from rodin_watchd.core.pairing.candidates import Candidate, Sidecars
from rodin_watchd.core.pairing.members import LEFTOVERS, Member, member_of, sort_out
from rodin_watchd.core.sidecar import Sidecar
from rodin_watchd.model import Entry

__all__ = ["DELIVERED", "KEPT", "LEFTOVERS", "Candidate", "Member", "Pairing", "Sidecars", "member_of", "pair"]

DELIVERED = (
    f"part of a delivered result: its receipt {RECEIPT} lies beside it or above it. To have it textured once more, say "
    "`again = true` in a TOML file of the set"
)
"""Why what comes out of the service is no set, for people."""

KEPT = (
    "a result that was paid for: the report of its job lies beside its folder. To have it textured once more, say "
    "`again = true` in a TOML file of the set"
)
"""Why what lies in a folder of results below a report is no set."""

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


def pair(entries: Iterable[Entry], sidecars: Sidecars) -> Pairing:
    """Find the candidate sets of a snapshot; every file is in one of them or ignored with a reason, but presets.

    What lies in a sub-folder beside or below a receipt of this service is none, nor the results below a report, unless its
    sidecar wants it `again`.

    `sidecars` holds, for the TOML files that could be read, what they say or what is wrong with them; receipts and
    reports of this service are not among them.
    """
    members, ignored, drop_folders = sort_out(entries, sidecars)
    named = by_sidecar(members, sidecars)
    alike = by_base_name(_without(members, named), sidecars)
    together = by_folder(alike, sidecars, drop_folders)
    joined = frozenset(_paths(together))
    rest = [candidate for candidate in alike if joined.isdisjoint(m.path for m in candidate.members)]
    found = tuple(_explained(candidate, ignored) for candidate in (*named, *rest, *together))
    receipts = _with_receipts(ignored) - drop_folders
    kept = _kept_results(ignored)
    undelivered = tuple(candidate for candidate in found if not _is_result(candidate, receipts, sidecars))
    candidates = tuple(candidate for candidate in undelivered if not _is_result(candidate, kept, sidecars))
    delivered = dict.fromkeys({*_paths(found)} - {*_paths(candidates)}, DELIVERED)
    delivered |= dict.fromkeys({*_paths(undelivered)} - {*_paths(candidates)}, KEPT)
    left = {m.path: f"beside a file in a format that is taken ({m.advice})" for m in _without(members, found)}
    return Pairing(candidates, {**ignored, **left, **delivered})


def _with_receipts(ignored: Mapping[str, str]) -> frozenset[str]:
    """Return the sub-folders that hold a receipt of this service: each was delivered or archived as a whole."""
    split = (path.rpartition("/") for path in ignored)
    return frozenset(folder for folder, _, name in split if folder and name.casefold() == RECEIPT)


def _kept_results(ignored: Mapping[str, str]) -> frozenset[str]:
    """Return the folders in which results lie below a report: of a set that failed, or of a work folder that was set aside."""
    split = (path.rpartition("/") for path in ignored)
    reported = {folder for folder, _, name in split if name.casefold() in _REPORTS}
    return frozenset(f"{folder}/{name}" if folder else RESULTS for folder in reported for name in _KEPT_IN)


def _is_result(candidate: Candidate, folders: AbstractSet[str], sidecars: Sidecars) -> bool:
    """Tell whether a set lies in or below one of these folders, and does not ask to be bought again.

    Otherwise a program that copies the outbox, or `failed/`, into the inbox would buy a texture of each texture, without end.
    """
    said = (sidecars.get(m.path) for m in candidate.members)
    wanted = any(isinstance(one, Sidecar) and one.again for one in said)
    return not wanted and any(not folders.isdisjoint(_and_above(m.folder)) for m in candidate.members)


def _and_above(folder: str) -> Iterable[str]:
    """Give a folder below the inbox and the folders that it lies in."""
    return accumulate(folder.split("/"), "{}/{}".format)


def _explained(candidate: Candidate, ignored: Mapping[str, str]) -> Candidate:
    """Add to what a set lacks the reasons that are not seen at a glance: a kept name, a link or folder in the way."""
    kept = [m for m in candidate.members if m.name.casefold() in LEFTOVERS]
    names = (f"another name for “{printable(m.name)}”, which receipts and reports are called" for m in kept)
    missing = (*candidate.missing, *names)
    if candidate.missing and (odd := _in_the_way(candidate, ignored)):
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
