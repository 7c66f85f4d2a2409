"""The keeper of the grounds: notices when a share goes away, and keeps everything off the mount point it leaves behind.

The main thread's alone, but for the belief, which the workers' own checks read.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.spool.grounds import Grounds, read_mark
from rodin_watchd.core.grounds import Ground, Identity, Known, Mark, why_away
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.errors import DiskError, OwnerError, RootAwayError
from rodin_watchd.service.book import Book
from rodin_watchd.service.housekeeping import Housekeeping

log = logging.getLogger("rodin_watchd")

ROOT_ID = "root_id"
GROUNDS = "grounds"
"""The journal's keys: the root that it belongs to, and the grounds as they were last."""


class Keeper:
    """Looks at every ground in every tick; `away` tells which must not be believed, and why."""

    def __init__(self, grounds: Grounds, book: Book, journal_place: str, now: Callable[[], float]) -> None:
        self._grounds = grounds
        self._book = book
        self._journal_place = journal_place
        self._now = now
        self._root_id = str(book.journal.meta(ROOT_ID) or "")
        self._known = remembered(book.journal)
        self.away: Mapping[Ground, str] = {}

    def begin(self) -> None:
        """Find out which root this is. Raises RootAwayError while it is away, OwnerError for another journal's root."""
        if not self._root_id:
            self._root_id = self._first_id()
            self._book.journal.set_meta(ROOT_ID, self._root_id)
        self.away = self._look((Ground.ROOT,))
        if reason := self.away.get(Ground.ROOT):
            told = Page.of_data(self._book.journal.meta(PAGE) or Page().as_data())
            self._book.journal.set_meta(PAGE, replace(told, notices=tuple(self.notices())).as_data())
            raise RootAwayError(f"{self._grounds.root} is away: {reason}", advice=advice_for(Ground.ROOT))

    def _first_id(self) -> str:
        mark = read_mark(self._grounds.root)
        if mark and mark.journal:
            raise OwnerError(
                f"{self._grounds.root} was served with another journal ({mark.journal}), and this one does not know "
                "what was paid for there.",
                advice="Set folders.state to that journal's folder, or put its backup in place; if it is lost for good, "
                "`rodin-watchd accept root` begins anew.",
            )
        return mark.root_id if mark else secrets.token_hex(8)

    def settle(self) -> None:
        """Look once more, now that missing folders are made, and leave the marks that are missing."""
        self.check()
        self._leave_marks(self.away)

    def may_make(self, path: Path) -> bool:
        """Tell whether a missing folder may be made: never where something is to be mounted."""
        known = next((self._known.get(ground) for ground in Ground if self._grounds.path(ground) == path), None)
        return known is None or not known.own

    def check(self) -> bool:
        """Look at the grounds; return whether one of them went or came. Raises DiskError when the journal's disk is full."""
        before = self.away
        self.away = self._look(tuple(Ground))
        self._tell(before)
        return before.keys() != self.away.keys()

    def _look(self, grounds: Sequence[Ground]) -> Mapping[Ground, str]:
        """Look at these grounds, the root first; believe in those that may be believed, return why the others may not."""
        known, away = dict(self._known), dict[Ground, str]()
        for ground in grounds:
            root_is_there = Ground.ROOT not in away
            verdict = judged(self._grounds, ground, known, self._root_id) if root_is_there else "the root is away"
            if isinstance(verdict, Known):
                known[ground] = verdict
            else:
                away[ground] = verdict
        self._grounds.believe({ground: found.identity for ground, found in known.items() if ground not in away})
        if known != self._known:
            self._remember(known, away)
        return away

    def _tell(self, before: Mapping[Ground, str]) -> None:
        gone, back = _causes(self.away), _causes(before)
        for ground in sorted(gone.keys() - before.keys()):
            self._book.tell("offline", f"{ground} ({self._grounds.path(ground)}): {gone[ground]}", self._now())
        for ground in sorted(back.keys() - self.away.keys()):
            self._book.tell("online", f"{ground} ({self._grounds.path(ground)}) is back.", self._now())

    def _remember(self, known: dict[Ground, Known], away: Container[Ground]) -> None:
        self._book.journal.set_meta(GROUNDS, {ground.value: found.as_data() for ground, found in known.items()})
        self._known = known
        self._leave_marks(away)

    def _leave_marks(self, away: Container[Ground]) -> None:
        """Mark the root, and each ground that is a mount of its own, where the mark is missing; may be repeated."""
        for ground, known in self._known.items():
            if ground in away or not (known.own or ground is Ground.ROOT):
                continue
            mark = Mark(self._root_id, ground.value, self._journal_place if ground is Ground.ROOT else "")
            if read_mark(self._grounds.path(ground)) == mark:
                continue
            try:
                self._grounds.leave_mark(ground, mark)
            except (DiskError, OSError) as error:  # without it the folder is known by its device alone
                log.warning("%s cannot be marked: %s", self._grounds.path(ground), error, extra={"action": "mark"})

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [
            f"AWAY: {ground}, {self._grounds.path(ground)}: {reason} Nothing is written there. {advice_for(ground)}"
            for ground, reason in _causes(self.away).items()
        ]


def judged(grounds: Grounds, ground: Ground, known: Mapping[Ground, Known], root_id: str) -> Known | str:
    """Return a ground as it is now, or why it must not be believed; `known` is what the journal remembers."""
    before = known.get(ground)
    if before is not None and grounds.identity(ground) == before.identity:
        return before
    seen = grounds.look(ground, Path(filesystem_of(grounds.path(ground)).mount_point))
    root = known[Ground.ROOT].identity if Ground.ROOT in known else Identity(0, 0)
    reason = why_away(ground, before, seen, root, root_id)
    return reason if reason or seen is None else Known(seen.identity, seen.own)


def remembered(journal: JournalReader) -> dict[Ground, Known]:
    """Return the grounds as the journal remembers them."""
    return {Ground(name): Known.of_data(data) for name, data in (journal.meta(GROUNDS) or {}).items()}


def _causes(away: Mapping[Ground, str]) -> Mapping[Ground, str]:
    """Return what is away, without what is away only because the root is."""
    return {Ground.ROOT: away[Ground.ROOT]} if Ground.ROOT in away else away


class Hold(Protocol):
    """What keeps a second daemon off the folders."""

    def keep(self) -> None:
        """Make sure that it is still ours, or make it ours again. Raises AlreadyRunningError, DiskError."""


class Standing:
    """What has to be true before the daemon does anything: the folders are there, and nobody else serves them."""

    def __init__(self, keeper: Keeper, holds: Sequence[Hold], housekeeping: Housekeeping) -> None:
        self.keeper = keeper
        self.housekeeping = housekeeping
        self._holds = holds

    def check(self) -> bool:
        """Look at the grounds, then at the holds; return whether a ground went or came. Raises AlreadyRunningError."""
        changed = self.keeper.check()
        if Ground.ROOT not in self.keeper.away:
            self.keep()
        return changed

    def keep(self) -> None:
        """Make sure that nobody else serves the folders. Raises AlreadyRunningError, DiskError."""
        for hold in self._holds:
            hold.keep()


def advice_for(ground: Ground) -> str:
    """Say what to do about a ground that is away."""
    return (
        "Bring the share or disk back; the service goes on by itself. "
        f"If it was moved on purpose: `rodin-watchd accept {ground}`."
    )
