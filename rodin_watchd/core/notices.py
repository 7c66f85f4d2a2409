"""Notices that begin and end: which events of the service begin one, and which end it. Pure functions on frozen values.

The journal's events alone say which notices people were given and not taken back. So another daemon, after a reload or a
start, ends those whose cause is not there any more, whatever ended it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from rodin_watchd.model import ServiceEvent


class Notice(NamedTuple):
    """What people were given notice of."""

    kind: str  # of the event that begins it
    subject: str


class Begun(NamedTuple):
    """A notice that has not ended."""

    event: ServiceEvent  # the newest that began it
    times: int = 1  # so often it was begun: so often it ends


Notices: TypeAlias = Mapping[Notice, Begun]


class _End(NamedTuple):
    kind: str
    words: str  # where nothing more is known than that its cause is not there any more


_ENDS: Final[Mapping[str, _End]] = {
    "paused": _End("resumed", "This has ended."),
    "inquiry": _End("inquiry-ended", "That has ended: the account or the configuration is another one."),
    "low-balance": _End("balance-restored", "That is not watched any more: the account or the limit is another one."),
    "balance-doubted": _End("balance-believed", "It is believed again: budget.settle_seconds is longer now."),
    "crowd": _End("crowd-ended", "No set waits for approval any more."),
    "plugin-aside": _End("plugin-back", "This has ended: it is called again, or not in use any more."),
}

_BEGINS: Final[Mapping[str, str]] = {**{end.kind: kind for kind, end in _ENDS.items()}, "approved": "crowd"}

_REPEATED: Final = frozenset({"plugin-aside"})
"""Those that begin again for another cause while the first lasts; of the others the newest cause stands for all."""

END_KINDS: Final = frozenset(end.kind for end in _ENDS.values())
"""The kinds of events that `end_of` returns."""

NOTICE_KINDS: Final = frozenset({*_ENDS, *_BEGINS, "started"})
"""The kinds of events that begin or end notices."""


def noticed(notices: Notices, event: ServiceEvent) -> Notices:
    """Return what has not ended after an event. A start ends what is paused: it is looked at anew."""
    if event.kind == "started":
        return {notice: begun for notice, begun in notices.items() if notice.kind != "paused"}
    notice = Notice(_BEGINS.get(event.kind, event.kind), event.subject)
    before = notices.get(notice)
    if event.kind in _ENDS:
        times = before.times + 1 if before and event.kind in _REPEATED else 1
        return {**notices, notice: Begun(event, times)}
    if before is None:
        return notices
    left = {other: begun for other, begun in notices.items() if other != notice}
    return {**left, notice: before._replace(times=before.times - 1)} if before.times > 1 else left


def all_noticed(events: Iterable[ServiceEvent]) -> Notices:
    """Return what has not ended after these events, oldest first."""
    notices: Notices = {}
    for event in events:
        notices = noticed(notices, event)
    return notices


def end_of(notice: Notice, begun: Begun, at: float) -> ServiceEvent:
    """Return the event that ends a notice whose cause is not there any more."""
    end = _ENDS[notice.kind]
    return ServiceEvent(at, end.kind, f"{begun.event.message} {end.words}", notice.subject, begun.event.code)
