"""Sets of the inbox as values: ready to be claimed, or waiting, and what one look came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rodin_watchd.core.pairing.candidates import Candidate
from rodin_watchd.core.sidecar import Preset, Sidecar
from rodin_watchd.errors import Problem
from rodin_watchd.model import Entry


@dataclass(frozen=True, slots=True)
class ReadySet:
    """A set that may be claimed: complete, settled, with valid options; or one that is to be refused."""

    candidate: Candidate
    entries: Mapping[str, Entry]
    sidecar: Sidecar | None
    presets: tuple[Preset, ...]  # outermost folder first
    settled_since: float  # monotonic
    problem: Problem | None = None  # not None: refuse it


@dataclass(frozen=True, slots=True)
class WaitingSet:
    """A set that cannot be claimed yet, and why, for people."""

    candidate: Candidate
    reason: str
    since: float  # monotonic
    settling: bool  # False: it waits for a person to add or change something
    entries: tuple[Entry, ...] = ()
    late: bool = False  # it has been incomplete for longer than `pair_minutes`
    unmovable: bool = False  # it is complete, and the service may not move its files
    again_at: float = math.inf  # monotonic


@dataclass(frozen=True, slots=True)
class View:
    """What one look at the inbox came to."""

    ready: tuple[ReadySet, ...] = ()
    waiting: tuple[WaitingSet, ...] = ()
    ignored: Mapping[str, str] = field(default_factory=dict)  # path -> reason
    uses: Mapping[str, int] = field(default_factory=dict)  # path -> how many sets name it
    again_at: float = math.inf  # monotonic: when waiting alone may have changed something
