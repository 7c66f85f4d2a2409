"""Telling people: STATUS.txt in the shared folder, and the same page in the journal for the command line."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo

from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.core.pauses import Pauses
from rodin_watchd.core.sets import ReadySet, WaitingSet
from rodin_watchd.core.status import PAGE, Line, Page, ended_line, render, signed, sorted_jobs
from rodin_watchd.core.wording import local, set_name
from rodin_watchd.errors import DiskError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import Job
from rodin_watchd.problem import Fault

log = logging.getLogger("rodin_watchd")


def pause_notices(pauses: Pauses, zone: tzinfo) -> tuple[list[str], list[str]]:
    """Return what stands still and why, without a running clock in it: until the account's owner acts, and by itself."""
    owners: list[str] = []
    passing: list[str] = []
    for pause in pauses.values():
        told = f"Paused since {local(pause.since_at, zone)}: {pause.problem.message} {pause.problem.advice}"
        (owners if pause.problem.fault is Fault.ACCOUNT else passing).append(told)
    return owners, passing


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


class StatusWriter:
    """Writes the page where it changed; the main thread's alone."""

    def __init__(self, spool: Spool, journal: Journal, zone: tzinfo) -> None:
        self._spool = spool
        self._zone = zone
        self._in_journal = _Copy("the journal's page", lambda page: journal.set_meta(PAGE, page.as_data()))
        self._in_root = _Copy("STATUS.txt", self._write_status, spool.has_status)

    def tell(self, page: Page) -> None:
        """Write STATUS.txt and the journal's copy, each if the page changed or another one lies there; never raises OSError."""
        self._in_journal.write(page)
        self._in_root.write(page)

    @property
    def trouble(self) -> str:
        """What keeps STATUS.txt from being written, for people; "" if nothing does."""
        return self._in_root.trouble

    def _write_status(self, page: Page) -> None:
        if kept := self._spool.write_status(signed(render(page, self._zone))):
            told = "status: STATUS.txt was not as the service had written it; that one is called %s now"
            log.warning(told, kept, extra={"action": "status"})


class _Copy:
    """One place where the page stands."""

    def __init__(self, name: str, write: Callable[[Page], None], is_there: Callable[[], bool] = lambda: True) -> None:
        self._name = name
        self._write = write
        self._is_there = is_there
        self._written: Page | None = None
        self._trouble = Trouble("status")
        self.trouble = ""

    def write(self, page: Page) -> None:
        """Write the page if it is another one, or not there any more; what keeps it from being written is logged once."""
        if page == self._written and self._is_there():
            return
        try:
            self._write(page)
        except (DiskError, OSError) as error:  # also odd ones: anybody may put a folder where STATUS.txt belongs
            told = f"{self._name} is not up to date: {why(error)}"
            self._trouble.begins(told)
            self.trouble = f"{told} {error.advice_given}" if isinstance(error, DiskError) else told
        else:
            self._written = page
            self.trouble = ""
            self._trouble.ends(f"{self._name} is up to date again.")
