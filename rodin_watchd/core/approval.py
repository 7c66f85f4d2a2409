"""Approval: when very many sets come at once, a person is asked before they are paid for. Pure functions on frozen values.

More than `budget.hold_above_sets` new sets within one rescan are most likely a mistake: a library that was moved into the
wrong folder, a restored backup. Then those that are not taken yet are *held* in the inbox until somebody approves
them. A set counts from its first sight as a whole one, also while it still settles, and for as long as a rescan lasts:
file events wake the service many times while a large copy goes on, and each look alone would see only a few sets. Sets that
come while nothing is taken (a pause, a stop of the submits while there is no room) come when that is over: they would all be
taken at once, so they are counted together.

A set counts for as many jobs as it makes, and waits as one.

A set is known by its folder and name, and by the state of its files: other files under the name of a set that has passed
are a new set, which nobody has approved. A verdict is durable, so a restart asks nothing twice and lets nothing slip.

Only an approval ends that a set is held. One that was held and is not there, or not whole, stays held under its name for
when it comes back; any other set that comes back counts as one that comes then. Another name, another folder or a sidecar
that names its files makes no other set of it: what has a file of a held set is held as well.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from rodin_watchd.core.names import match_key, printable
from rodin_watchd.model import Entry, Signature


class Pass(StrEnum):
    """What was decided about a set in the inbox."""

    HELD = "held"
    PASSED = "passed"


class GateKey(NamedTuple):
    """A set in the inbox as a verdict is given about it."""

    name: str  # with its folder
    version: str  # of its files; "" while they are still being copied


class Found(NamedTuple):
    """A set as one look found it."""

    version: str
    settled: bool
    files: frozenset[Signature] = frozenset()
    jobs: int = 1  # that it makes, as far as that is known


class Arrival(NamedTuple):
    """When a set came (monotonic), and the version of its files, "" until they are settled."""

    at: float
    version: str
    files: frozenset[Signature] = frozenset()  # of the newest look; not known of a run before
    jobs: int = 1


Verdicts: TypeAlias = Mapping[GateKey, Pass]


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be stored of a new gate, in this order."""

    gone: tuple[GateKey, ...] = ()
    settled: tuple[tuple[GateKey, GateKey], ...] = ()  # the same sets, whose files are settled now
    new: Verdicts = field(default_factory=dict)  # verdicts that were not there, or were others


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known of the sets in the inbox, by name with folder; instants are monotonic."""

    verdicts: Mapping[str, Pass] = field(default_factory=dict)
    arrived: Mapping[str, Arrival] = field(default_factory=dict)  # those that are there
    left: Mapping[str, Arrival] = field(default_factory=dict)  # those that are not, but are held or came of late
    replaced: tuple[float, ...] = ()  # when those came whose files were replaced since
    idle_since: float | None = None  # when nothing was taken first, without an end until the last look

    @classmethod
    def stored(cls, verdicts: Verdicts, now: float) -> Gate:
        """Return the gate of a run before; what had passed came long ago."""
        came = {key: -math.inf if verdict is Pass.PASSED else now for key, verdict in verdicts.items()}
        arrived = {key.name: Arrival(at, key.version) for key, at in came.items()}
        return cls({key.name: verdict for key, verdict in verdicts.items()}, arrived)

    @property
    def held(self) -> list[str]:
        """The sets that are there and wait for approval."""
        return [name for name in self.arrived if self.verdicts.get(name) is Pass.HELD]

    @property
    def by_key(self) -> Verdicts:
        """The verdicts, each with the version that it is about."""
        known = {**self.left, **self.arrived}
        return {GateKey(name, known[name].version): verdict for name, verdict in self.verdicts.items()}

    def looked(
        self, present: Mapping[str, Found], now: float, window_seconds: float, limit: int, *, idle: bool = False
    ) -> Gate:
        """Return the gate after a look that found these sets whole; `limit` new ones may come within the window.

        `idle`: nothing is taken now. What has come since that began, and has not passed, comes with this look, the last time
        with the first look after the end of that.
        """
        idle_since = self.idle_since if self.idle_since is not None or not idle else now
        since = now - window_seconds
        known = {**self.left, **self.arrived}
        held = {name for name, verdict in self.verdicts.items() if verdict is Pass.HELD}
        replaced_now = {name for name, found in present.items() if name in known and _is_other(known[name], found)}
        replaced = (*self.replaced, *(known[name].at for name in replaced_now for _ in range(known[name].jobs)))
        others = replaced_now | {
            name for name, found in present.items() if name in known and _is_more(known[name], found)
        }
        here = {name: self._arrival(name, found, now, other=name in others) for name, found in present.items()}
        if idle_since is not None:
            here = {n: came._replace(at=now) if self._waits(n, came, idle_since) else came for n, came in here.items()}
        left = {n: came for n, came in known.items() if n not in present and (came.at > since or n in held)}
        recent = tuple(at for at in replaced if at > since)
        new = (arrival.jobs for arrival in (*here.values(), *left.values()) if arrival.at > since)
        crowd = len(recent) + sum(new) > limit
        verdicts = {
            name: verdict
            for name, verdict in self.verdicts.items()
            if name in held or (name in present and name in self.arrived and name not in others)
        }
        held_files = frozenset[Signature]().union(*(known[name].files for name in held if name in known))
        for name in present.keys() - verdicts.keys():
            if (crowd and here[name].at > since) or not held_files.isdisjoint(present[name].files):
                verdicts[name] = Pass.HELD
            elif here[name].at <= since:
                verdicts[name] = Pass.PASSED
        return Gate(verdicts, here, left, recent, idle_since if idle else None)

    def _waits(self, name: str, came: Arrival, since: float) -> bool:
        """Return whether a set is not decided about, or was held after it had come since then."""
        return name not in self.verdicts or (self.verdicts[name] is Pass.HELD and came.at >= since)

    def _arrival(self, name: str, found: Found, now: float, *, other: bool) -> Arrival:
        version = found.version if found.settled else ""
        fresh = Arrival(now, version, found.files, found.jobs)
        if other:
            return fresh
        if name in self.arrived:
            return fresh._replace(at=self.arrived[name].at, version=self.arrived[name].version or version)
        return fresh._replace(version=self.left[name].version or version) if name in self.left else fresh

    def approved(self, folder: str | None, seen: AbstractSet[GateKey]) -> Gate:
        """Return the gate when, of what was seen and is there, the sets of this folder and below, or of this name, are approved; None: all."""
        chosen = {name for name in self.held if GateKey(name, self.arrived[name].version) in seen}
        passed = {name: Pass.PASSED for name in chosen if is_below(name, folder)}
        return replace(self, verdicts={**self.verdicts, **passed})

    def changes_from(self, before: Gate) -> Changes:
        """Return what has to be stored when this gate follows another one."""
        old, new = before.by_key, self.by_key
        settled = tuple(
            (GateKey(key.name, ""), key) for key in new if key.version and key not in old and (key.name, "") in old
        )
        kept = {after: old[known] for known, after in settled} | {key: old[key] for key in old.keys() & new.keys()}
        gone = old.keys() - new.keys() - {known for known, _ in settled}
        return Changes(tuple(gone), settled, {key: verdict for key, verdict in new.items() if kept.get(key) != verdict})


def _is_other(known: Arrival, found: Found) -> bool:
    """Return whether the files of a set are others than those that had settled under its name."""
    return known.version not in ("", found.version)


def _is_more(known: Arrival, found: Found) -> bool:
    """Return whether a set that has just settled makes more jobs than it was counted for: then all of them come now."""
    return not known.version and found.settled and found.jobs > known.jobs


def version_of(entries: Iterable[Entry]) -> str:
    """Return what distinguishes the files of a set from others under the same names: paths, sizes, times and inodes."""
    found = json.dumps(sorted((entry.path, *entry.signature) for entry in entries))
    return hashlib.sha256(found.encode()).hexdigest()[:16]


def is_below(name: str, folder: str | None) -> bool:
    """Return whether a set has this name, or is in this folder or below; both raw or as they are shown; "." is the inbox.

    Every set is below None.
    """
    if folder in (None, "."):
        return folder is None or "/" not in name
    wanted = match_key(str(folder))
    spelled = (match_key(text) for text in (name, printable(name, len(name) * 10 + 1)))
    return any(text == wanted or text.startswith(f"{wanted}/") for text in spelled)
