"""Approval: when very many sets come at once, a person is asked before they are paid for. Pure functions on frozen values.

More than `budget.hold_above_sets` new sets within one rescan are most likely a mistake: a library that was moved into the
wrong folder, a restored backup. Then those that are not taken yet are *held* in the inbox until somebody approves
them. A set counts from its first sight as a whole one, also while it still settles, and for as long as a rescan lasts:
file events wake the service many times while a large copy goes on, and each look alone would see only a few sets.

A set is known by its folder and name. A verdict is durable, so a restart asks nothing twice and lets nothing slip.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rodin_watchd.core.names import match_key, printable


class Pass(StrEnum):
    """What was decided about a set in the inbox."""

    HELD = "held"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known of the sets in the inbox, by name with folder; instants are monotonic."""

    verdicts: Mapping[str, Pass] = field(default_factory=dict)
    arrived: Mapping[str, float] = field(default_factory=dict)

    @property
    def held(self) -> list[str]:
        """The sets that wait for approval."""
        return [name for name, verdict in self.verdicts.items() if verdict is Pass.HELD]

    def looked(self, present: Iterable[str], now: float, window_seconds: float, limit: int) -> Gate:
        """Return the gate after a look that found these sets whole; `limit` new ones may come within the window."""
        there = frozenset(present)
        since = now - window_seconds
        verdicts = {name: verdict for name, verdict in self.verdicts.items() if name in there}
        arrived = {name: self.arrived.get(name, _first_seen(verdicts.get(name), now)) for name in there}
        gone = {name: at for name, at in self.arrived.items() if name not in there and at > since}
        crowd = sum(at > since for at in (*arrived.values(), *gone.values())) > limit
        for name in there - verdicts.keys():
            if crowd and arrived[name] > since:
                verdicts[name] = Pass.HELD
            elif arrived[name] <= since:
                verdicts[name] = Pass.PASSED
        return Gate(verdicts, {**arrived, **gone})

    def approved(self, folder: str | None) -> Gate:
        """Return the gate when the sets of this folder and below, or of this name, are approved; None: all."""
        chosen = {name: Pass.PASSED for name in self.held if folder is None or _is_below(name, folder)}
        return Gate({**self.verdicts, **chosen}, self.arrived)

    def changes_from(self, before: Gate) -> dict[str, str | None]:
        """Return what has to be stored: each set whose verdict is another one, None for one that is gone."""
        new = {name: str(verdict) for name, verdict in self.verdicts.items() if before.verdicts.get(name) != verdict}
        return {**dict.fromkeys(before.verdicts.keys() - self.verdicts.keys()), **new}


def _first_seen(verdict: Pass | None, now: float) -> float:
    """Return when a set that was not seen in this run came; one that had passed came long ago."""
    return -math.inf if verdict is Pass.PASSED else now


def _is_below(name: str, folder: str) -> bool:
    """Tell whether a set has this name, or lies in this folder or below; both raw or as they are shown; "." is the inbox."""
    if folder == ".":
        return "/" not in name
    wanted = match_key(folder)
    spelled = (match_key(text) for text in (name, printable(name, len(name) * 10 + 1)))
    return any(text == wanted or text.startswith(f"{wanted}/") for text in spelled)
