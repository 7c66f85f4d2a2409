"""Telling people: STATUS.txt in the shared folder, and the same page in the journal for the command line."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from rodin_watchd.adapters.journal import Journal
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.pauses import Pauses
from rodin_watchd.core.receipt import local
from rodin_watchd.core.status import Line, Page, ended_line, render, set_name, sorted_jobs
from rodin_watchd.errors import DiskError, Problem
from rodin_watchd.model import Job
from rodin_watchd.service.intake import ReadySet, WaitingSet

log = logging.getLogger("rodin_watchd")

PAGE = "page"
"""The journal's key of the page."""


def pause_notices(pauses: Pauses, zone: tzinfo) -> list[str]:
    """Return what stands still and why, without a running clock in it."""
    return [
        f"Paused since {local(pause.since_at, zone)}: {pause.problem.message} {pause.problem.advice}"
        for pause in pauses.values()
    ]


def page_of(
    notices: Iterable[str], waiting: Sequence[Line], jobs: Iterable[Job], recent: Iterable[Job], ignored: Iterable[str]
) -> Page:
    """Build the page from what the daemon knows."""
    running, held = sorted_jobs(jobs)
    counted = tuple(sorted(Counter(ignored).items()))
    return Page(tuple(notices), tuple(waiting), running, held, tuple(map(ended_line, recent)), counted)


def waiting_line(waiting: WaitingSet, offset: float) -> Line:
    """Return the line of a set that waits; `offset` makes monotonic time UTC."""
    name = set_name(waiting.candidate.folder, waiting.candidate.name)
    return Line(name, waiting.reason, since_at=None if waiting.settling else round(waiting.since + offset))


def turn_line(ready: ReadySet, reason: str) -> Line:
    """Return the line of a complete set that is not claimed yet."""
    return Line(set_name(ready.candidate.folder, ready.candidate.name), reason)


class Teller:
    """Writes the page where it changed; the main thread's alone."""

    def __init__(self, spool: Spool, journal: Journal, zone: tzinfo) -> None:
        self._spool = spool
        self._journal = journal
        self._zone = zone
        self._told: Page | None = None

    def tell(self, page: Page) -> Problem | None:
        """Write STATUS.txt and the journal's copy if the page changed; return what kept STATUS.txt from it."""
        if page == self._told:
            return None
        self._journal.set_meta(PAGE, page.as_data())
        try:
            self._spool.write_status(render(page, self._zone))
        except DiskError as error:
            log.warning("STATUS.txt: %s", error)
            return error.problem
        self._told = page
        return None
