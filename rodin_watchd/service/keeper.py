"""The keeper of the grounds: notices when a share goes away, and keeps everything off the mount point it leaves behind.

The main thread's alone, but for the belief, which the workers' own checks read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.journal.backup import how_to_recover
from rodin_watchd.adapters.journal.extent import ROOT_ID
from rodin_watchd.adapters.spool.beneath import Anchor
from rodin_watchd.adapters.spool.grounds import Glance, Grounds, read_mark
from rodin_watchd.core.grounds import Ground, Identity, Known, Mark, Traces, is_ours, is_still_theirs, why_away
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.restored import UNMARKED, copied
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.errors import DiskError, FolderGoneError, JournalError, OwnerError, RootAwayError, RootCopiedError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.service.book import Book
from rodin_watchd.service.housekeeping import Housekeeping
from rodin_watchd.service.inside import InsideKeeper, remembered_inside
from rodin_watchd.service.journal_guard import Hold, JournalGuard
from rodin_watchd.service.monitor import Monitor
from rodin_watchd.service.places import is_same_journal, place_of
from rodin_watchd.service.traces import remember_traces, traces_of, why_copied, why_unmarked_copy

GROUNDS = "grounds"
COPIED = "copied"
THEIRS = "theirs"
"""The journal's keys: the grounds as they were last, why it was last told to be a copy.

And the grounds in which another service's mark was seen since ours was.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the journal remembers of the grounds."""

    known: Mapping[Ground, Known]
    theirs: Mapping[Ground, Identity]  # the folders in which another service's mark was seen, since ours was


class Keeper:
    """Looks at every ground in every tick; `away` tells which must not be believed, and why.

    `copied` says why the root or its journal is taken for copied or moved, else "": then another service may pay for the
    same sets, and nothing may be taken or sent. A root that was accepted counts so until what may have been sent from
    there is held (`finish_acceptance`).
    """

    def __init__(self, grounds: Grounds, book: Book, journal: Path, now: Callable[[], float]) -> None:
        self._grounds = grounds
        self._book = book
        self._journal = journal
        self._now = now
        self._root_id = str(book.journal.meta(ROOT_ID) or "")
        memory = remembered(book.journal)
        self._known, self._theirs = memory.known, memory.theirs
        self._told_away = _told_away(book.journal)
        self._told_copied = str(book.journal.meta(COPIED) or "")
        self._unmarked = {ground: Trouble("mark") for ground in Ground}
        self._unmarkable: set[Ground] = set()  # until the next `settle`
        self._traces_are_fresh = False
        self.away: Mapping[Ground, str] = {}
        self.copied = ""
        self.inside = InsideKeeper(grounds, book.journal, self._mark_inside)

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
        self._grounds.belong_to(self._root_id)

    def settle(self) -> None:
        """Look once more, now that missing folders are made, and try again to leave the marks that could not be left."""
        self._unmarkable.clear()
        self._traces_are_fresh = False
        self.check()
        if Ground.ROOT not in self.away and not self.copied and self._grounds.mark(Ground.ROOT):
            remember_traces(self._book.journal, self._journal)

    def may_make(self, path: Path) -> bool:
        """Tell whether a missing folder may be made: never where something is to be mounted."""
        known = next((self._known.get(ground) for ground in Ground if self._grounds.path(ground) == path), None)
        return known is None or not known.own

    def lacks_work(self) -> bool:
        """Tell whether the work folder was removed, by somebody and not by a mount that went: then nobody else makes it anew."""
        work, root = self._known.get(Ground.WORK), self._known.get(Ground.ROOT)
        if Ground.WORK not in self.away or work is None or root is None or self._grounds.identity(Ground.WORK):
            return False
        return not work.own and work.identity.device == root.identity.device

    def check(self) -> bool:
        """Look at the grounds; return whether one of them went or came. Raises DiskError when the journal's disk is full."""
        before = self.away
        self.away = self._look()
        self._tell()
        return before.keys() != self.away.keys()

    def keep_inside(self) -> None:
        """Remember what a look into the inbox found of shares in it. Raises DiskError."""
        if Ground.INBOX not in self.away:
            self.inside.keep(self._book.journal)

    def _mark_inside(self, path: str) -> Mark | None:
        return None if self.copied else Mark(self._root_id, path, place_of(self._journal))

    def _look(self, *, leave_marks: bool = True) -> Mapping[Ground, str]:
        """Look at the grounds, the root first; believe in those that may be believed, return why the others may not."""
        known, theirs, away = dict(self._known), dict(self._theirs), dict[Ground, str]()
        marks = dict[Ground, Mark | None]()
        for ground in Ground:
            if Ground.ROOT in away:
                away[ground] = "the root is away"
                continue
            seen = self._grounds.glance(ground)
            verdict = judged(self._grounds, ground, seen, Memory(known, theirs), self._root_id, self._is_here)
            if isinstance(verdict, Known):
                known[ground], marks[ground] = verdict, seen.mark
                if ground is Ground.ROOT:
                    self.copied = self._why_copied(seen.mark)
            else:
                away[ground] = verdict
            self._note_whose(ground, seen, theirs)
        there = {ground: found.identity for ground, found in known.items() if ground not in away}
        self._grounds.believe(there, self._root_id)
        self.inside.believe(self._root_id, self._is_here)
        self._remember(self._marked(known, marks) if leave_marks and not self.copied else known, theirs)
        return away

    def _note_whose(self, ground: Ground, seen: Glance, theirs: dict[Ground, Identity]) -> None:
        """Note that a ground carries another service's mark now, or ours; without any mark it stays as it was noted."""
        if seen.mark is None or seen.identity is None:
            return
        if _is_left_by_us(seen.mark, ground, self._root_id, self._is_here):
            theirs.pop(ground, None)
        else:
            theirs[ground] = seen.identity

    def _why_copied(self, mark: Mark | None) -> str:
        if mark is None:
            return why_unmarked_copy(self._book.journal, self._journal)
        if mark.accepted_from and not why_copied(mark, self._journal):
            return UNMARKED if mark.accepted_from == place_of(self._journal) else copied(mark.accepted_from)
        return why_copied(mark, self._journal)

    @property
    def is_accepted(self) -> bool:
        """Whether a person accepted the root as it is, and what may have been sent is still to be held."""
        mark = self._grounds.mark(Ground.ROOT)
        return mark is not None and bool(mark.accepted_from) and not why_copied(mark, self._journal)

    def finish_acceptance(self) -> None:
        """Take out of the root's mark from where it was accepted, now that what may have been sent is held; may be repeated."""
        mark = self._grounds.mark(Ground.ROOT)
        if mark is None or not self.is_accepted:
            return
        try:
            self._grounds.leave_mark(Ground.ROOT, replace(mark, accepted_from=""), replace=True)
        except (DiskError, OSError) as error:  # nothing is sent until it can be
            self._unmarked[Ground.ROOT].begins(f"{self._grounds.root} cannot be marked: {why(error)}")
            return
        self._unmarked[Ground.ROOT].ends(f"{self._grounds.root} is marked now.")
        self.copied = ""

    def _is_here(self, journal: str) -> bool:
        """Tell whether a mark's journal is ours; a root that was copied or moved has its folders with it, marks and all."""
        return bool(self.copied) or is_same_journal(journal, self._journal)

    def confirm(self) -> None:
        """Look at the root's mark at this very moment. Raises FolderGoneError, RootCopiedError if it is not ours."""
        mark = read_mark(self._grounds.root)
        if mark and not is_ours(mark, Ground.ROOT, self._root_id):
            raise FolderGoneError(f"{self._grounds.root} is marked as another service's {mark.ground}.")
        if reason := self._why_copied(mark):
            raise RootCopiedError(f"{reason}.")

    def _tell(self) -> None:
        """Tell of each ground once that it is away, and once that it is back, and of a copy; a restart tells nothing twice."""
        if self.copied != self._told_copied:
            if self.copied:
                self._book.tell("copied", f"{self.copied}. Nothing is taken or sent.", self._now())
            else:
                self._book.tell("accepted", "The root's mark names this service's journal.", self._now())
            self._book.journal.set_meta(COPIED, self.copied)
            self._told_copied = self.copied
        gone = _causes(self.away)
        for ground in sorted(gone.keys() - self._told_away):
            told = f"{ground} ({self._grounds.path(ground)}): {gone[ground]}"
            self._book.tell("offline", told, self._now(), subject=ground)
        for ground in sorted(self._told_away - self.away.keys()):
            self._book.tell("online", f"{ground} ({self._grounds.path(ground)}) is back.", self._now(), subject=ground)
        self._told_away = (self._told_away & self.away.keys()) | gone.keys()

    def _remember(self, known: Mapping[Ground, Known], theirs: Mapping[Ground, Identity]) -> None:
        if theirs != self._theirs:
            self._book.journal.set_meta(THEIRS, {ground.value: list(there) for ground, there in theirs.items()})
            self._theirs = theirs
        if known != self._known:
            self._book.journal.set_meta(GROUNDS, {ground.value: found.as_data() for ground, found in known.items()})
            self._known = known

    def _marked(self, known: Mapping[Ground, Known], marks: Mapping[Ground, Mark | None]) -> Mapping[Ground, Known]:
        """Mark each ground that is there where the mark is missing; return who is marked now. `marks` are those that were seen."""
        marked = {ground for ground, mark in marks.items() if self._leave_mark(ground, mark)}
        return {
            ground: replace(found, marked=True) if ground in marked and not found.marked else found
            for ground, found in known.items()
        }

    def _leave_mark(self, ground: Ground, mark: Mark | None) -> bool:
        """Mark a ground where the mark is missing, or does not name the journal yet; tell whether it is marked."""
        if mark is not None and mark.journal and not self._is_stale(ground, mark):
            return True
        if ground in self._unmarkable:
            return mark is not None
        traces = traces_of(self._journal) if ground is Ground.ROOT else Traces()
        wanted = Mark(self._root_id, ground.value, place_of(self._journal), traces=traces)
        try:
            self._grounds.leave_mark(ground, wanted, replace=mark is not None)
        except FileExistsError:  # another service was faster: the next look tells
            return False
        except (DiskError, OSError) as error:  # without it the folder is known by its device alone
            self._unmarkable.add(ground)
            self._unmarked[ground].begins(f"{self._grounds.path(ground)} cannot be marked: {why(error)}")
            return False
        self._unmarked[ground].ends(f"{self._grounds.path(ground)} is marked now.")
        return True

    def _is_stale(self, ground: Ground, mark: Mark) -> bool:
        """Tell, once until the next `settle`, whether the root's mark has other traces than it should, or an earlier version's."""
        if ground is not Ground.ROOT or self._traces_are_fresh:
            return False
        self._traces_are_fresh = True  # some filesystems give each look another inode: no writing in every tick
        return mark.traces != traces_of(self._journal, mark)

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [*self._copy_notices(), *self._away_notices(), *self.inside.notices()]

    def _copy_notices(self) -> list[str]:
        if not self.copied:
            return []
        told = (
            "Both could pay for the same sets, so nothing is taken or sent. What is paid for is fetched and delivered."
        )
        return [f"COPIED OR MOVED: {self.copied}. {told} {RootCopiedError.advice}"]

    def _away_notices(self) -> list[str]:
        return [
            f"AWAY: {ground}, {self._grounds.path(ground)}: {reason} Nothing is written there. {advice_for(ground)}"
            for ground, reason in _causes(self.away).items()
        ]


def judged(
    grounds: Grounds,
    ground: Ground,
    now: Glance,
    memory: Memory,
    root_id: str,
    is_here: Callable[[str], bool],
) -> Known | str:
    """Return a ground as it is `now`, or why it must not be believed; `is_here` tells whether the journal of a mark is ours."""
    known, theirs = memory.known, memory.theirs.get(ground)
    before, path, mark = known.get(ground), grounds.path(ground), now.mark
    same = before is not None and now.identity == before.identity
    if (
        before
        and same
        and not theirs
        and (not before.marked if mark is None else _is_left_by_us(mark, ground, root_id, is_here))
    ):
        return before
    seen = grounds.look(ground, Path(filesystem_of(path).mount_point))
    root = known[Ground.ROOT].identity if Ground.ROOT in known else Identity(0, 0)
    reason = why_away(ground, before, seen, root, root_id, is_here)
    if reason or seen is None:
        return reason
    if is_still_theirs(theirs, before, seen):
        return "it carried another service's mark, which somebody has removed: that service restores it."
    marked = is_ours(seen.mark, ground, root_id) or bool(before and before.marked and same)
    return Known(seen.identity, seen.own, marked)


def _is_left_by_us(mark: Mark, ground: Ground, root_id: str, is_here: Callable[[str], bool]) -> bool:
    return is_ours(mark, ground, root_id) and (ground is Ground.ROOT or not mark.journal or is_here(mark.journal))


def remembered(journal: JournalReader) -> Memory:
    """Return the grounds as the journal remembers them."""
    known = {Ground(name): Known.of_data(data) for name, data in (journal.meta(GROUNDS) or {}).items()}
    theirs = {Ground(name): Identity(*there) for name, there in (journal.meta(THEIRS) or {}).items()}
    return Memory(known, theirs)


def inbox_anchor(grounds: Grounds, memory: JournalReader | None, journal: Path) -> Anchor:
    """Return where a look into the inbox starts that changes nothing, by what the journal remembers; None: there is none yet."""
    if memory is not None:
        root_id = str(memory.meta(ROOT_ID) or "")
        is_here = partial(is_same_journal, journal=journal)
        grounds.believe_inside(replace(remembered_inside(memory), root_id=root_id, is_here=is_here))
    return grounds.anchor(INBOX)


def _told_away(journal: JournalReader) -> frozenset[Ground]:
    """Return the grounds of which the journal's newest event says that they are away."""
    newest: dict[str, str] = {}
    for event in journal.service_events(kinds=("offline", "online")):
        newest.setdefault(event.subject, event.kind)
    return frozenset(ground for ground in Ground if newest.get(ground.value) == "offline")


def why_not_ours(root: Path, journal: Path) -> OwnerError | None:
    """Return why a root must not be served with a journal that does not know it, None if it may."""
    mark = read_mark(root)
    if mark is None or not mark.journal:
        return None
    if is_same_journal(mark.journal, journal):
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


class Standing:
    """What has to be true before the daemon does anything: folders and journal are there, and nobody else serves them."""

    def __init__(
        self,
        keeper: Keeper,
        holds: Sequence[Hold],
        guard: JournalGuard,
        housekeeping: Housekeeping,
        monitor: Monitor,
        remake_work: Callable[[], None],
    ) -> None:
        self.keeper = keeper
        self._remake_work = remake_work
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
            if self.keeper.lacks_work():
                self._remake_work()
        return changed

    def confirm(self) -> None:
        """Do the same by a look at this very moment. Raises FolderGoneError, too: of a root that is away nobody can tell.

        And RootCopiedError.
        """
        if reason := self.keeper.away.get(Ground.ROOT):
            raise FolderGoneError(f"The root is away: {reason}")
        self.keeper.confirm()
        for hold in self._holds:
            hold.confirm()

    def end(self) -> None:
        """Close the journal, in its place; for a process that is about to end. May be repeated."""
        self._guard.end()

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [*self.keeper.notices(), *self._guard.notices()]


def advice_for(ground: Ground) -> str:
    """Say what to do about a ground that is away."""
    return (
        "Bring the share, disk or folder back; the service goes on by itself. "
        f"If it was moved on purpose, or no other service uses it any more: `rodin-watchd accept {ground}`."
    )
