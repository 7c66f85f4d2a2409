"""The roots that share a store, and which of them a folder is. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rodin_watchd.core.store import ServedRoot


class ServingProcess(NamedTuple):
    """A daemon and its process of now, as a lease names them."""

    daemon: str  # HOST:STATE FOLDER:LOCK; that lock shows that an earlier process has ended
    process: str  # in JSON


@dataclass(frozen=True, slots=True)
class KnownRoots:
    """The roots that a store knows."""

    roots: Mapping[str, ServedRoot] = field(default_factory=dict)  # by their ids
    places: Mapping[str, str] = field(default_factory=dict)  # ids by where a daemon has had the root: HOST:FOLDER

    def of(self, place: str, mark: str) -> str | None:
        """Return the id of the root in a place, whose mark has this id ("" without any); None for one that was never served.

        What was served there before comes first: where the mark is another one now, another share is mounted there, and the
        service has to find that out. In a store without roots a new one begins with the mark that is there.
        """
        if place in self.places:
            return self.places[place]
        if mark in self.roots or (mark and not self.roots):
            return mark
        return None

    @property
    def shown(self) -> str:
        """All of them, for people."""
        return ", ".join(f"{root.place or 'not served yet'} ({root.id})" for root in self.roots.values())


def process_named(process: str) -> dict[str, Any]:
    """Return host and pid of a process that a lease names, in JSON; {} where that does not say."""
    try:
        found = json.loads(process)
        return {"host": str(found["host"]), "pid": int(found["pid"])}
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}


def process_in_words(process: str) -> str:
    """Return who it is, for people."""
    found = process_named(process)
    return f"Process {found['pid']} on {found['host']}" if found else "Another daemon"
