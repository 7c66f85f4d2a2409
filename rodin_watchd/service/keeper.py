"""The keeper of the grounds: notices when a share goes away, and keeps everything off the mount point it leaves behind.

The main thread's alone, but for the belief, which the workers' own checks read.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.journal.backup import how_to_recover
from rodin_watchd.adapters.spool.grounds import Grounds, read_mark
from rodin_watchd.core.grounds import Ground, Identity, Known, Mark, is_ours, why_away
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.errors import DiskError, FolderGoneError, JournalError, OwnerError, RootAwayError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.service.book import Book
from rodin_watchd.service.housekeeping import Housekeeping
from rodin_watchd.service.journal_guard import JournalGuard
from rodin_watchd.service.monitor import Monitor

ROOT_ID = "root_id"
GROUNDS = "grounds"
"""The journal's keys: the root that it belongs to, and the grounds as they were last."""


class Keeper:
    """Looks at every ground in every tick; `away` tells which must not be believed, and why."""

    def __init__(self, grounds: Grounds, book: Book, journal: Path, now: Callable[[], float]) -> None:
        self._grounds = grounds
        self._book = book
        self._journal = journal
        self._now = now
        self._root_id = str(book.journal.meta(ROOT_ID) or "")
        self._known: Mapping[Ground, Known] = remembered(book.journal)
        self._told_away = _told_away(book.journal)
        self._unmarked = {ground: Trouble("mark") for ground in Ground}
        self.away: Mapping[Ground, str] = {}

    @property
    def knows_root(self) -> bool:
        """Whether the journal knows which root it belongs to."""
        return bool(self._root_id)

    def find(self) -> None:
        """Make sure that a root that the journal knows is there. Raises RootAwayError; nothing is written into the root."""
        self.away = self._look(leave_marks=False)
        if reason := self.away.get(Ground.ROOT):
            self._tell()
            told = Page.of_data(self._book.journal.meta(PAGE) or Page().as_data())
            self._book.journal.set_meta(PAGE, replace(told, notices=tuple(self.notices())).as_data())
            raise RootAwayError(f"{self._grounds.root} is away: {reason}", advice=advice_for(Ground.ROOT))

    def adopt(self) -> None:
        """Take a root that the journal does not know for its own. Raises OwnerError for one that has another journal."""
        if refusal := why_not_ours(self._grounds.root, self._journal):
            raise refusal
        mark = read_mark(self._grounds.root)
        self._root_id = mark.root_id if mark else secrets.token_hex(8)
        self._book.journal.set_meta(ROOT_ID, self._root_id)

    def settle(self) -> None:
        """Look once more, now that missing folders are made, and leave the marks that are missing."""
        self.check()
        self._remember(self._marked(self._known, self.away))

    def may_make(self, path: Path) -> bool:
        """Tell whether a missing folder may be made: never where something is to be mounted."""
        known = next((self._known.get(ground) for ground in Ground if self._grounds.path(ground) == path), None)
        return known is None or not known.own

    def check(self) -> bool:
        """Look at the grounds; return whether one of them went or came. Raises DiskError when the journal's disk is full."""
        before = self.away
        self.away = self._look()
        self._tell()
        return before.keys() != self.away.keys()

    def _look(self, *, leave_marks: bool = True) -> Mapping[Ground, str]:
        """Look at the grounds, the root first; believe in those that may be believed, return why the others may not."""
        known, away = dict(self._known), dict[Ground, str]()
        for ground in Ground:
            root_is_there = Ground.ROOT not in away
            verdict = judged(self._grounds, ground, known, self._root_id) if root_is_there else "the root is away"
            if isinstance(verdict, Known):
                known[ground] = verdict
            else:
                away[ground] = verdict
        self._grounds.believe({ground: found.identity for ground, found in known.items() if ground not in away})
        if known != self._known:
            self._remember(self._marked(known, away) if leave_marks else known)
        return away

    def _tell(self) -> None:
        """Tell of each ground once that it is away, and once that it is back; a restart tells nothing twice."""
        gone = _causes(self.away)
        for ground in sorted(gone.keys() - self._told_away):
            self._book.tell("offline", f"{ground} ({self._grounds.path(ground)}): {gone[ground]}", self._now())
        for ground in sorted(self._told_away - self.away.keys()):
            self._book.tell("online", f"{ground} ({self._grounds.path(ground)}) is back.", self._now())
        self._told_away = (self._told_away & self.away.keys()) | gone.keys()

    def _remember(self, known: Mapping[Ground, Known]) -> None:
        if known != self._known:
            self._book.journal.set_meta(GROUNDS, {ground.value: found.as_data() for ground, found in known.items()})
            self._known = known

    def _marked(self, known: Mapping[Ground, Known], away: Container[Ground]) -> Mapping[Ground, Known]:
        """Mark the root, and each ground that is a mount of its own, where the mark is missing; return who is marked now."""
        there = {g for g, found in known.items() if g not in away and (found.own or g is Ground.ROOT)}
        marked = {ground for ground in there if self._leave_mark(ground)}
        return {g: replace(found, marked=True) if g in marked else found for g, found in known.items()}

    def _leave_mark(self, ground: Ground) -> bool:
        """Mark a ground where the mark is missing; tell whether it is marked. May be repeated."""
        mark = Mark(self._root_id, ground.value, place_of(self._journal) if ground is Ground.ROOT else "")
        if read_mark(self._grounds.path(ground)) == mark:
            return True
        try:
            self._grounds.leave_mark(ground, mark)
        except (DiskError, OSError) as error:  # without it the folder is known by its device alone
            self._unmarked[ground].begins(f"{self._grounds.path(ground)} cannot be marked: {why(error)}")
            return False
        self._unmarked[ground].ends(f"{self._grounds.path(ground)} is marked now.")
        return True

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [
            f"AWAY: {ground}, {self._grounds.path(ground)}: {reason} Nothing is written there. {advice_for(ground)}"
            for ground, reason in _causes(self.away).items()
        ]


def judged(grounds: Grounds, ground: Ground, known: Mapping[Ground, Known], root_id: str) -> Known | str:
    """Return a ground as it is now, or why it must not be believed; `known` is what the journal remembers."""
    before, path = known.get(ground), grounds.path(ground)
    same = before is not None and grounds.identity(ground) == before.identity
    if before and same and (not before.marked or is_ours(read_mark(path), ground, root_id)):
        return before
    seen = grounds.look(ground, Path(filesystem_of(path).mount_point))
    root = known[Ground.ROOT].identity if Ground.ROOT in known else Identity(0, 0)
    reason = why_away(ground, before, seen, root, root_id)
    if reason or seen is None:
        return reason
    marked = is_ours(seen.mark, ground, root_id) or bool(before and before.marked and same)
    return Known(seen.identity, seen.own, marked)


def remembered(journal: JournalReader) -> dict[Ground, Known]:
    """Return the grounds as the journal remembers them."""
    return {Ground(name): Known.of_data(data) for name, data in (journal.meta(GROUNDS) or {}).items()}


def _told_away(journal: JournalReader) -> frozenset[Ground]:
    """Return the grounds of which the journal's newest event says that they are away."""
    newest: dict[str, str] = {}
    for event in journal.service_events(kinds=("offline", "online")):
        newest.setdefault(event.message.partition(" ")[0], event.kind)
    return frozenset(ground for ground in Ground if newest.get(ground.value) == "offline")


def place_of(journal: Path) -> str:
    """Return how a root's mark names the journal that it was served with."""
    return f"{socket.gethostname()}:{journal}"


def why_not_ours(root: Path, journal: Path) -> OwnerError | None:
    """Return why a root must not be served with a journal that does not know it, None if it may."""
    mark = read_mark(root)
    if mark is None or not mark.journal:
        return None
    if mark.journal == place_of(journal):
        return JournalError(
            f"{root} was served before, but the journal {journal} is empty: it was removed or cut, and nothing is known "
            "of what was paid for.",
            advice=how_to_recover(journal),
        )
    return OwnerError(
        f"{root} was served with another journal ({mark.journal}), and this one does not know what was paid for there.",
        advice="Set folders.state to that journal's folder, or put its backup in place; if it is lost for good, "
        "`rodin-watchd accept root` begins anew.",
    )


def _causes(away: Mapping[Ground, str]) -> Mapping[Ground, str]:
    """Return what is away, without what is away only because the root is."""
    return {Ground.ROOT: away[Ground.ROOT]} if Ground.ROOT in away else away


class Hold(Protocol):
    """What keeps a second daemon off the folders."""

    def keep(self) -> None:
        """Make sure that it is still ours, or make it ours again; cheap. Raises AlreadyRunningError, DiskError."""

    def confirm(self) -> None:
        """Do the same by a look at this very moment."""


class Standing:
    """What has to be true before the daemon does anything: folders and journal are there, and nobody else serves them."""

    def __init__(
        self,
        keeper: Keeper,
        holds: Sequence[Hold],
        guard: JournalGuard,
        housekeeping: Housekeeping,
        monitor: Monitor,
    ) -> None:
        self.keeper = keeper
        self.housekeeping = housekeeping
        self.monitor = monitor
        self._guard = guard
        self._holds = (*holds, guard)  # the guard writes: not before everything else is held

    def check(self) -> bool:
        """Look at the grounds, then at the holds; return whether a ground went or came. Raises AlreadyRunningError, DiskError."""
        changed = self.keeper.check()
        if Ground.ROOT not in self.keeper.away:
            for hold in self._holds:
                hold.keep()
        return changed

    def confirm(self) -> None:
        """Do the same by a look at this very moment. Raises FolderGoneError, too: of a root that is away nobody can tell."""
        if reason := self.keeper.away.get(Ground.ROOT):
            raise FolderGoneError(f"The root is away: {reason}")
        for hold in self._holds:
            hold.confirm()

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [*self.keeper.notices(), *self._guard.notices()]


def advice_for(ground: Ground) -> str:
    """Say what to do about a ground that is away."""
    return (
        "Bring the share, disk or folder back; the service goes on by itself. "
        f"If it was moved on purpose: `rodin-watchd accept {ground}`."
    )
