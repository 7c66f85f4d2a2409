"""One line that tells how the service is, for the service manager's `status`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rodin_watchd.core.machine import ENDED
from rodin_watchd.model import Job, State

_WORDS: Mapping[str, str] = {
    "network": "the vendor cannot be reached",
    "vendor-down": "the vendor is in trouble",
    "throttled": "the vendor asks for fewer calls",
    "key-refused": "the vendor refuses the key",
    "empty-account": "no credits",
    "disk": "a folder cannot be written",
    "outbox": "the outbox cannot be written",
    "archive": "the archive cannot be written",
    "failed-folder": "the folder for failed sets cannot be written",
    "unfit-folders": "the folders do not fit",
    "folder-gone": "a folder is away",
    "root-away": "the root is away",
    "root-copied": "the root was copied or moved",
}
"""Codes of problems that are not words of their own."""


def headline(jobs: Iterable[Job], *, waiting: int, codes: Iterable[str]) -> str:
    """Return the line: what runs, is held and waits in the inbox, and for which problems (by code) something is paused."""
    live = [job.state for job in jobs if job.state not in ENDED]
    held = live.count(State.HELD)
    counted = {"running": len(live) - held, "held": held, "waiting": waiting}
    told = [f"{count:,} {word}" for word, count in counted.items() if count] or ["nothing to do"]
    reasons = dict.fromkeys(map(why_paused, codes))
    return ", ".join([*told, f"paused: {', '.join(reasons)}"] if reasons else told)


def why_paused(code: str) -> str:
    """Return a problem's code as words."""
    return _WORDS.get(code, code.replace("-", " "))
