"""The mount keeper: notices when a share goes away, and keeps everything off the mount point it leaves behind.

The main thread's alone, but for the belief, which the workers' own checks read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.host import filesystem_of
from rodin_watchd.adapters.spool.beneath import Anchor, ServedFolderError
from rodin_watchd.adapters.spool.mounts import Glance, Mounts, leave_mark_in, read_mark, refusal
from rodin_watchd.adapters.spool.statx import birth_at
from rodin_watchd.adapters.store.backup import how_to_recover
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.mounts import (
    Birth,
    Closed,
    Identity,
    Inside,
    Known,
    Mark,
    Mount,
    RootSeen,
    RootVerdict,
    SeenInside,
    Traces,
    Whose,
    is_ours,
    is_still_theirs,
    whose_root,
    why_away,
)
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.core.stillness import Reason, away_word
from rodin_watchd.core.store import ROOT_ID, Store, StoreReader
from rodin_watchd.errors import (
    DiskError,
    FolderGoneError,
    JournalError,
    OwnerError,
    RodinWatchdError,
    RootAwayError,
    RootCopiedError,
)
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.service.housekeeping import Housekeeping
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.journal_guard import Hold, RootLease, StoreGuard
from rodin_watchd.service.snapshot import Monitor
from rodin_watchd.settings import StorePlace

# ---- Shares that are mounted in the inbox: each is marked when it is first seen, and used by the service whose mark it is ----


INSIDE = "inside"
"""The journal's key: the mounts in the inbox that are ours, and the folders there that are another service's."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a share in the inbox is not looked into, and who may change that; for people."""

    reason: str
    advice: str


class InsideKeeper:
    """Decides about each folder of the inbox when a look comes to it; see `Inside` for the rules.

    `mark_for` returns the mark to leave in a folder, or None while none may be left.
    """

    def __init__(self, mounts: Mounts, store: StoreReader, mark_for: Callable[[str], Mark | None]) -> None:
        self._mounts = mounts
        self._mark_for = mark_for
        self._rules = remembered_inside(store)
        self._stored = (self._rules.known, self._rules.theirs)
        self._refused: dict[str, Refused] = {}
        self._troubles: dict[str, Trouble] = {}

    @property
    def anchor(self) -> Anchor:
        """Where the looks of the main thread start."""
        return replace(self._mounts.anchor(INBOX), check=self._admit)

    def set_trusted(self, root_id: str, is_here: Callable[[str], bool]) -> None:
        """Go by these from now on: the root's id, and whether the journal that a mark names is ours."""
        self._set(replace(self._rules, root_id=root_id, is_here=is_here))

    def keep(self, store: Store) -> None:
        """Remember what the last look has found; forget folders that are not there any more. Raises DiskError."""
        inbox = self._mounts.path(Mount.INBOX)
        gone = {path for path in (*self._rules.theirs, *self._refused) if not os.path.isdir(inbox / path)}  # noqa: PTH112 - False also where we may not look
        for path in gone & self._refused.keys():
            self._is_open(path)
        if forgotten := {path for path in gone if path in self._rules.theirs and not self._rules.theirs[path].own}:
            self._set(replace(self._rules, theirs=_without(self._rules.theirs, forgotten)))
        found = (self._rules.known, self._rules.theirs)
        if found != self._stored:
            store.set_meta(INSIDE, {"known": _as_data(found[0]), "theirs": _as_data(found[1])})
            self._stored = found

    def reasons(self) -> list[Reason]:
        """Return what people must know."""
        return [
            Reason(
                f"NOT TAKEN: {self._place(path)} is {refused.reason}. {refused.advice}",
                plain=f"Nothing is taken from “inbox/{printable(path)}”. It is {refused.reason}. Tell the person who runs the service.",
            )
            for path, refused in sorted(self._refused.items())
        ]

    # ---- a look -----------------------------------------------------------------------------------------------------

    def _admit(self, path: str, folder: int) -> None:
        """Let a look into an open folder; `path` is relative to the inbox. Raises ServedFolderError, FolderGoneError, OSError."""
        if not path:
            self._mounts.anchor(INBOX).check(path, folder)
            return
        seen = self._mounts.look_inside(path, folder)
        if seen.own and seen.mark is None and self._rules.why_closed(path, seen) in (None, Closed.UNMARKED):
            seen = self._marked(path, folder, seen)
        self._note(path, seen)
        if closed := self._rules.why_closed(path, seen):
            error = refusal(path, closed)
            if seen.is_shared and closed is not Closed.UNMARKED:
                self._is_refused(path, Refused(error.reason, accept_advice(path)))
            raise error
        self._is_open(path)

    def _marked(self, path: str, folder: int, seen: SeenInside) -> SeenInside:
        """Mark a mount; a mount that cannot be marked is refused, unless it was marked before. Raises ServedFolderError."""
        if (mark := self._mark_for(f"{INBOX}/{path}")) is None:
            return seen
        try:
            leave_mark_in(folder, mark, replace=False)
        except FileExistsError:  # another service was faster
            pass
        except OSError as error:
            if self._rules.why_closed(path, seen) is None:
                return seen
            reason = (
                f"a share or disk on which the service cannot write its mark ({why(error)}); its files are not taken"
            )
            self._is_refused(
                path, Refused(reason, "The service needs write permission there; it tries again by itself.")
            )
            raise ServedFolderError(path, reason) from error
        return self._mounts.look_inside(path, folder)

    def _note(self, path: str, seen: SeenInside) -> None:
        """Note whose mark a folder carries; without any it stays as it was noted."""
        known, theirs = self._rules.known, self._rules.theirs
        if seen.mark is None:
            return
        if not self._rules.is_ours(seen.mark):
            theirs = {**theirs, path: Known(seen.identity, seen.own)}
        else:
            theirs = _without(theirs, {path})
            known = {**known, path: Known(seen.identity, own=True, marked=True)} if seen.own else known
        if (known, theirs) != (self._rules.known, self._rules.theirs):
            self._set(replace(self._rules, known=known, theirs=theirs))

    def _set(self, rules: Inside) -> None:
        self._rules = rules
        self._mounts.set_trusted_inside(rules)

    def _is_refused(self, path: str, refused: Refused) -> None:
        self._refused[path] = refused
        self._troubles.setdefault(path, Trouble("mark")).begins(f"{self._place(path)} is {refused.reason}.")

    def _is_open(self, path: str) -> None:
        if self._refused.pop(path, None):
            self._troubles.pop(path).ends(f"{self._place(path)}: this has ended.")

    def _place(self, path: str) -> str:
        return printable(str(self._mounts.path(Mount.INBOX) / path), 1000)


def accept_advice(path: str) -> str:
    """Say how a folder in the inbox becomes this service's; `path` is relative to the inbox."""
    return f"If no other service uses it any more: `rodin-watchd accept {shlex.quote(printable(f'{INBOX}/{path}', 1000))}`."


def remembered_inside(store: StoreReader) -> Inside:
    """Return what the journal remembers of the folders in the inbox."""
    data = store.meta(INSIDE) or {"known": {}, "theirs": {}}
    return Inside(known=_of_data(data["known"]), theirs=_of_data(data["theirs"]))


def _without(folders: Mapping[str, Known], paths: set[str]) -> Mapping[str, Known]:
    return {path: found for path, found in folders.items() if path not in paths}


def _as_data(folders: Mapping[str, Known]) -> dict[str, Any]:
    return {path: found.as_data() for path, found in folders.items()}


def _of_data(data: Mapping[str, Any]) -> Mapping[str, Known]:
    return {path: Known.of_data(found) for path, found in data.items()}


# ---- How a mark names the journal that a root is served with --------------------------------------------------------


def is_same_store(named: str, place: StorePlace) -> bool:
    """Return whether a mark names this store: by its name, or by another path of this host to the same journal in the same folder.

    A file may have a second name in another folder (a copy by hard links), with a write-ahead log of its own; a folder has not.
    """
    if named == place.name:
        return True
    if place.address:
        return False
    host, _, path = named.partition(":")
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        there, here = Path(path).resolve(strict=True), place.path.resolve(strict=True)
        return host == socket.gethostname() and there.name == here.name and there.parent.samefile(here.parent)
    return False


# ---- What a copy of a root and its journal does not carry over, as it is on this machine now; see `core.mounts.Traces` ----


TRACES: Final = "traces"
"""The journal's key of the traces of the root that it belongs to."""

_MACHINE_ID: Final = Path("/etc/machine-id")
_CONTAINER_SIGNS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_SHORT_LIVED_KINDS: Final = ("overlay", "tmpfs", "fuse.fuse-overlayfs")
"""There a container's image or one boot gave the machine its id."""


def traces_of(place: StorePlace, mark: Mark | None = None) -> Traces:
    """Return the traces of a journal's place, and of the root's mark as it is there.

    The lock stands for the journal: nothing writes it again, as a backup that is put back does with the journal's own file.
    A store in a database has no traces on this machine: it is not copied with the root, and serves one daemon at a time.
    """
    if place.address:
        return Traces(mark=mark.birth if mark else None, root=mark.folder if mark else None)
    lock, folder = birth_at(place.path.with_name("lock")), birth_at(place.path.parent.resolve())
    return Traces(_machine(), lock, mark.birth if mark else None, folder, mark.folder if mark else None)


def root_seen(mark: Mark | None, memory: Memory, place: StorePlace) -> RootSeen:
    """Look at what shows whose a root is: its mark as it is there, the store's place, and what the store remembers."""
    is_here = mark is not None and bool(mark.journal) and is_same_store(mark.journal, place)
    return RootSeen(memory.root_id, mark, is_here, place.name, traces_of(place, mark), memory.traces)


def _remembered_traces(store: StoreReader) -> Traces | None:
    stored = store.meta(TRACES)
    if not stored:
        return None
    machine, inode, made_ns, *folder = stored  # an earlier version knew of no folder
    return Traces(machine, Birth(inode, made_ns), state_folder=Birth(*folder) if folder else None)


def remember_traces(store: Store, place: StorePlace) -> None:
    """Remember what a copy does not carry over, for a root that loses its mark. Raises DiskError; may be repeated."""
    here = traces_of(place)
    if here.state and store.meta(TRACES) != (found := [here.machine, *here.state, *(here.state_folder or ())]):
        store.set_meta(TRACES, found)


@cache
def _machine() -> str:
    """Return what stands for this machine, "" where its id says nothing. The id itself must stay secret (machine-id(5))."""
    if any(sign.exists() for sign in _CONTAINER_SIGNS) or filesystem_of(_MACHINE_ID).kind in _SHORT_LIVED_KINDS:
        return ""
    try:
        message = _MACHINE_ID.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(b"rodin_watchd " + message).hexdigest()[:16] if message else ""


GROUNDS = "grounds"
COPIED = "copied"
THEIRS = "theirs"
"""The journal's keys: the mounts as they were last, why it was last found to be a copy.

And the mounts in which another service's mark was seen since ours was.
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the journal remembers of the root and its mounts."""

    root_id: str = ""  # "": it knows no root
    known: Mapping[Mount, Known] = field(default_factory=dict)
    theirs: Mapping[Mount, Identity] = field(
        default_factory=dict
    )  # where another service's mark was seen, since ours was
    traces: Traces | None = None  # what a copy does not carry over; for a root that loses its mark


class MountKeeper:
    """Looks at every mount in every tick; `away` says which must not be believed, and why.

    `copied` says why the root or its journal is taken for copied or moved, else "": then another service may pay for the
    same sets, and nothing may be taken or sent. A root that was accepted counts so until what may have been sent from
    there is held (`finish_acceptance`). `root_id` is what the store has for a root that was not served yet, "" where it has none.
    """

    def __init__(
        self,
        mounts: Mounts,
        job_store: JobStore,
        store: Store,
        place: StorePlace,
        now: Callable[[], float],
        root_id: str = "",
    ) -> None:
        self._given_id = root_id
        self._mounts = mounts
        self._job_store = job_store
        self._store = store
        self._place = place
        self._now = now
        memory = remembered(store)
        self._root_id = memory.root_id
        self._known, self._theirs = memory.known, memory.theirs
        self._reported_away = _reported_away(store)
        self._reported_copied = str(store.meta(COPIED) or "")
        self._unmarked = {mount: Trouble("mark") for mount in Mount}
        self._unmarkable: set[Mount] = set()  # until the next `settle`
        self._traces_are_fresh = False
        self.away: Mapping[Mount, str] = {}
        self.copied = ""
        self.inside = InsideKeeper(mounts, store, self._mark_inside)

    @property
    def knows_root(self) -> bool:
        """Whether the journal knows which root it belongs to."""
        return bool(self._root_id)

    def find(self) -> None:
        """Make sure that a root that the journal knows is there. Raises RootAwayError; nothing is written into the root."""
        self.away = self._look(leave_marks=False)
        if reason := self.away.get(Mount.ROOT):
            self._report()
            page = Page.of_data(self._store.meta(PAGE) or Page().as_data())
            self._store.set_meta(
                PAGE,
                replace(
                    page, notices=tuple(reason.notice for reason in self.reasons() if reason.notice), plain_notices=()
                ).as_data(),
            )
            raise RootAwayError(f"{self._mounts.root} is away: {reason}", advice=advice_for(Mount.ROOT))

    def adopt(self) -> None:
        """Take a root that the journal does not know for its own. Raises OwnerError for one that has another journal."""
        mark = read_mark(self._mounts.root)
        if refusal := refusal_of(self._whose(mark), self._mounts.root, self._place):
            raise refusal
        self._root_id = self._given_id or (mark.root_id if mark else secrets.token_hex(8))
        self._store.set_meta(ROOT_ID, self._root_id)
        self._mounts.belong_to(self._root_id)

    def settle(self) -> None:
        """Look once more, now that missing folders are made, and try again to leave the marks that could not be left."""
        self._unmarkable.clear()
        self._traces_are_fresh = False
        self.check()
        if Mount.ROOT not in self.away and not self.copied and self._mounts.mark(Mount.ROOT):
            remember_traces(self._store, self._place)

    def may_make(self, path: Path) -> bool:
        """Return whether a missing folder may be made: never where something is to be mounted."""
        known = next((self._known.get(mount) for mount in Mount if self._mounts.path(mount) == path), None)
        return known is None or not known.own

    def lacks_work(self) -> bool:
        """Return whether the work folder was removed, by somebody and not by a mount that went: then nobody else makes it again."""
        work, root = self._known.get(Mount.WORK), self._known.get(Mount.ROOT)
        if Mount.WORK not in self.away or work is None or root is None or self._mounts.identity(Mount.WORK):
            return False
        return not work.own and work.identity.device == root.identity.device

    def check(self) -> None:
        """Look at the mounts. Raises DiskError when the journal's disk is full."""
        self.away = self._look()
        self._report()

    @property
    def mounted(self) -> tuple[AbstractSet[Mount], Mapping[Mount, int]]:
        """What is away, and the devices of the mounts: another value where one went, came or is on another device."""
        return frozenset(self.away), _devices(self._known)

    def keep_inside(self) -> None:
        """Remember what a look into the inbox found of shares in it. Raises DiskError."""
        if Mount.INBOX not in self.away:
            self.inside.keep(self._store)

    def _mark_inside(self, path: str) -> Mark | None:
        return None if self.copied else Mark(self._root_id, path, self._place.name)

    def _look(self, *, leave_marks: bool = True) -> Mapping[Mount, str]:
        """Look at the mounts, the root first; believe in those that may be believed, return why the others may not."""
        known, theirs, away = dict(self._known), dict(self._theirs), dict[Mount, str]()
        marks = dict[Mount, Mark | None]()
        for mount in Mount:
            if Mount.ROOT in away:
                away[mount] = "the root is away"
                continue
            seen = self._mounts.glance(mount)
            verdict = judged(self._mounts, mount, seen, Memory(self._root_id, known, theirs), self._is_here)
            if isinstance(verdict, Known):
                known[mount], marks[mount] = verdict, seen.mark
                if mount is Mount.ROOT:
                    self.copied = self._whose(seen.mark).copied
            else:
                away[mount] = verdict
            self._note_whose(mount, seen, theirs)
        there = {mount: found.identity for mount, found in known.items() if mount not in away}
        self._mounts.set_trusted(there, self._root_id)
        self.inside.set_trusted(self._root_id, self._is_here)
        self._remember(self._marked(known, marks) if leave_marks and not self.copied else known, theirs)
        return away

    def _note_whose(self, mount: Mount, seen: Glance, theirs: dict[Mount, Identity]) -> None:
        """Note that a mount carries another service's mark now, or ours; without any mark it stays as it was noted."""
        if seen.mark is None or seen.identity is None:
            return
        if _is_left_by_us(seen.mark, mount, self._root_id, self._is_here):
            theirs.pop(mount, None)
        else:
            theirs[mount] = seen.identity

    def _whose(self, mark: Mark | None) -> RootVerdict:
        """Return whose the root is that has this mark now."""
        traces = _remembered_traces(self._store) if mark is None else None
        return whose_root(root_seen(mark, Memory(self._root_id, traces=traces), self._place))

    @property
    def is_accepted(self) -> bool:
        """Whether a person accepted the root as it is, and what may have been sent is still to be held."""
        return self._whose(self._mounts.mark(Mount.ROOT)).whose is Whose.ACCEPTED

    def finish_acceptance(self) -> None:
        """Take out of the root's mark from where it was accepted, now that what may have been sent is held; may be repeated."""
        mark = self._mounts.mark(Mount.ROOT)
        if mark is None or not self.is_accepted:
            return
        try:
            self._mounts.leave_mark(Mount.ROOT, replace(mark, accepted_from=""), replace=True)
        except (DiskError, OSError) as error:  # nothing is sent until it can be
            self._unmarked[Mount.ROOT].begins(f"{self._mounts.root} cannot be marked: {why(error)}")
            return
        self._unmarked[Mount.ROOT].ends(f"{self._mounts.root} is marked now.")
        self.copied = ""

    def _is_here(self, journal: str) -> bool:
        """Return whether a mark's journal is ours; a root that was copied or moved has its folders with it, marks and all."""
        return bool(self.copied) or is_same_store(journal, self._place)

    def confirm(self) -> None:
        """Look at the root's mark at this very moment. Raises FolderGoneError, RootCopiedError if it is not ours."""
        verdict = self._whose(read_mark(self._mounts.root))
        if refusal := refusal_of(verdict, self._mounts.root, self._place):
            raise refusal

    def _report(self) -> None:
        """Report once that a mount is away, once that it is back, and a copied root; a restart reports nothing twice."""
        if self.copied != self._reported_copied:
            if self.copied:
                self._job_store.report("copied", f"{self.copied}. Nothing is taken or sent.", self._now())
            else:
                self._job_store.report("accepted", "The root's mark names this service's journal.", self._now())
            self._store.set_meta(COPIED, self.copied)
            self._reported_copied = self.copied
        gone = _causes(self.away)
        for mount in sorted(gone.keys() - self._reported_away):
            message = f"{mount} ({self._mounts.path(mount)}): {gone[mount]}"
            self._job_store.report("offline", message, self._now(), subject=mount)
        for mount in sorted(self._reported_away - self.away.keys()):
            self._job_store.report(
                "online", f"{mount} ({self._mounts.path(mount)}) is back.", self._now(), subject=mount
            )
        self._reported_away = (self._reported_away & self.away.keys()) | gone.keys()

    def _remember(self, known: Mapping[Mount, Known], theirs: Mapping[Mount, Identity]) -> None:
        if theirs != self._theirs:
            self._store.set_meta(THEIRS, {mount.value: list(there) for mount, there in theirs.items()})
            self._theirs = theirs
        if known != self._known:
            self._store.set_meta(GROUNDS, {mount.value: found.as_data() for mount, found in known.items()})
            self._known = known

    def _marked(self, known: Mapping[Mount, Known], marks: Mapping[Mount, Mark | None]) -> Mapping[Mount, Known]:
        """Mark each mount that is there where the mark is missing; return who is marked now. `marks` are those that were seen."""
        marked = {mount for mount, mark in marks.items() if self._leave_mark(mount, mark)}
        return {
            mount: replace(found, marked=True) if mount in marked and not found.marked else found
            for mount, found in known.items()
        }

    def _leave_mark(self, mount: Mount, mark: Mark | None) -> bool:
        """Mark a mount where the mark is missing, or does not name the journal yet; return whether it is marked."""
        if mark is not None and mark.journal and not self._is_stale(mount, mark):
            return True
        if mount in self._unmarkable:
            return mark is not None
        traces = traces_of(self._place) if mount is Mount.ROOT else Traces()
        wanted = Mark(self._root_id, mount.value, self._place.name, traces=traces)
        try:
            self._mounts.leave_mark(mount, wanted, replace=mark is not None)
        except FileExistsError:  # another service was faster: the next look shows it
            return False
        except (DiskError, OSError) as error:  # without it the folder is known by its device alone
            self._unmarkable.add(mount)
            self._unmarked[mount].begins(f"{self._mounts.path(mount)} cannot be marked: {why(error)}")
            return False
        self._unmarked[mount].ends(f"{self._mounts.path(mount)} is marked now.")
        return True

    def _is_stale(self, mount: Mount, mark: Mark) -> bool:
        """Say, once until the next `settle`, whether the root's mark has other traces than it should, or an earlier version's."""
        if mount is not Mount.ROOT or self._traces_are_fresh:
            return False
        self._traces_are_fresh = True  # some filesystems give each look another inode: no writing in every tick
        return mark.traces != traces_of(self._place, mark)

    def reasons(self) -> list[Reason]:
        """Return what stands still because of the folders, and what else people must know of them."""
        return [*self._copy_reasons(), *self._away_reasons(), *self.inside.reasons()]

    def _copy_reasons(self) -> Iterator[Reason]:
        if self.copied:
            told = (
                "Both could pay for the same sets, so nothing is taken or sent. Paid results are fetched and delivered."
            )
            notice = f"COPIED OR MOVED: {self.copied}. {told} {RootCopiedError.advice}"
            plain = "Nothing is taken or sent: another service may serve this folder, too. Paid results still arrive. Tell the person who runs the service."
            yield Reason(notice, Standstill.COPIED, RootCopiedError.code, plain=plain)

    def _away_reasons(self) -> Iterator[Reason]:
        causes = _causes(self.away)
        for mount in self.away:
            where = f"{mount}, {self._mounts.path(mount)}"
            told = f"{causes.get(mount)} Nothing is written there. {advice_for(mount)}"
            notice = f"AWAY: {where}: {told}" if mount in causes else ""
            plain = f"The folder {mount} is not there at the moment. The service waits for it. Tell the person who runs the service."
            yield Reason(notice, away_word(mount), FolderGoneError.code, plain=plain if mount in causes else "")


def judged(
    mounts: Mounts,
    mount: Mount,
    now: Glance,
    memory: Memory,
    is_here: Callable[[str], bool],
) -> Known | str:
    """Return a mount as it is `now`, or why it must not be believed; `is_here` says whether the journal of a mark is ours."""
    known, theirs, root_id = memory.known, memory.theirs.get(mount), memory.root_id
    before, path, mark = known.get(mount), mounts.path(mount), now.mark
    same = before is not None and now.identity == before.identity
    if (
        before
        and same
        and not theirs
        and (not before.marked if mark is None else _is_left_by_us(mark, mount, root_id, is_here))
    ):
        return before
    seen = mounts.look(mount, Path(filesystem_of(path).mount_point))
    root = known[Mount.ROOT].identity if Mount.ROOT in known else Identity(0, 0)
    reason = why_away(mount, before, seen, root, root_id, is_here)
    if reason or seen is None:
        return reason
    if is_still_theirs(theirs, before, seen):
        return "it carried another service's mark, which somebody has removed; that service restores it."
    marked = is_ours(seen.mark, mount, root_id) or bool(before and before.marked and same)
    return Known(seen.identity, seen.own, marked)


def _is_left_by_us(mark: Mark, mount: Mount, root_id: str, is_here: Callable[[str], bool]) -> bool:
    return is_ours(mark, mount, root_id) and (mount is Mount.ROOT or not mark.journal or is_here(mark.journal))


def remembered(store: StoreReader) -> Memory:
    """Return the root and its mounts as the journal remembers them."""
    known = {Mount(name): Known.of_data(data) for name, data in (store.meta(GROUNDS) or {}).items()}
    theirs = {Mount(name): Identity(*there) for name, there in (store.meta(THEIRS) or {}).items()}
    return Memory(str(store.meta(ROOT_ID) or ""), known, theirs, _remembered_traces(store))


def why_not_served(mounts: Mounts, store: StoreReader, place: StorePlace, *, for_another: bool) -> str:
    """Return why the root that the store knows cannot be served with the folder that is here now, "" if it can. Only looks.

    `for_another`: in the place of another daemon, which a copy of its root must never be.
    """
    memory = remembered(store)
    if not memory.root_id:
        return ""
    verdict = judged(mounts, Mount.ROOT, mounts.glance(Mount.ROOT), memory, partial(is_same_store, place=place))
    if isinstance(verdict, str):
        return f"{mounts.root} is away: {verdict} {advice_for(Mount.ROOT)}"
    whose = whose_root(root_seen(read_mark(mounts.root), memory, place))
    if for_another and whose.whose is Whose.COPIED:
        return f"{whose.reason}; here it would be {place.name}. {_SAME_URL}"
    return ""


def inbox_anchor(mounts: Mounts, memory: StoreReader | None, place: StorePlace) -> Anchor:
    """Return where a look into the inbox starts that changes nothing, by what the journal remembers; None: there is none yet."""
    if memory is not None:
        root_id = str(memory.meta(ROOT_ID) or "")
        is_here = partial(is_same_store, place=place)
        mounts.set_trusted_inside(replace(remembered_inside(memory), root_id=root_id, is_here=is_here))
    return mounts.anchor(INBOX)


def _reported_away(store: StoreReader) -> frozenset[Mount]:
    """Return the mounts of which the journal's newest event says that they are away."""
    newest: dict[str, str] = {}
    for event in store.service_events(kinds=("offline", "online")):
        newest.setdefault(event.subject, event.kind)
    return frozenset(mount for mount in Mount if newest.get(mount.value) == "offline")


def refusal_of(verdict: RootVerdict, root: Path, place: StorePlace) -> RodinWatchdError | None:
    """Return why a root must not be served, with what to do; None if it may. Of a copy nothing may be taken or sent."""
    match verdict.whose:
        case Whose.OURS | Whose.NEW:
            return None
        case Whose.EMPTIED:
            return JournalError(
                f"{root} was used before, but {place.shown} is empty: it was removed or emptied, and it is not known "
                "what was paid for.",
                advice=_DATABASE_EMPTIED if place.address else how_to_recover(place.path),
            )
        case Whose.ANOTHERS:
            return OwnerError(
                f"{root}: {verdict.reason}, and this one does not know what was paid for there.",
                advice="Set folders.state to that journal's folder (or [store] url to that database), or put its backup in place; if it is lost for good, "
                "`rodin-watchd accept root` allows a new beginning.",
            )
        case Whose.MARKED:
            return FolderGoneError(f"{root}: {verdict.reason}.")
        case Whose.COPIED | Whose.ACCEPTED:
            return RootCopiedError(
                f"{verdict.reason}. Nothing is taken or sent.", advice=_SAME_URL if place.address else ""
            )


def _devices(known: Mapping[Mount, Known]) -> Mapping[Mount, int]:
    """Return the devices alone: on some filesystems each look finds another inode."""
    return {mount: found.identity.device for mount, found in known.items()}


_SAME_URL: Final = f"If it is the same database under another name: write the same [store] url on each machine. {RootCopiedError.advice}"
_DATABASE_EMPTIED: Final = (
    "Restore the database from its backup, or correct [store] url; if it is lost for good, `rodin-watchd accept root` allows a "
    "new beginning."
)


def _causes(away: Mapping[Mount, str]) -> Mapping[Mount, str]:
    """Return what is away, without what is away only because the root is."""
    return {Mount.ROOT: away[Mount.ROOT]} if Mount.ROOT in away else away


class Standing:
    """What has to be true before the daemon does anything: folders and journal are there, and nobody else serves them.

    The `holds` are kept in their order; the guard and the `checks` are among them.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what it is made of
        self,
        mounts_keeper: MountKeeper,
        holds: Sequence[Hold],
        guard: StoreGuard,
        checks: Sequence[Hold],
        housekeeping: Housekeeping,
        monitor: Monitor,
        remake_work: Callable[[], None],
        lease: RootLease | None = None,
    ) -> None:
        self._lease = lease
        self.mounts_keeper = mounts_keeper
        self._remake_work = remake_work
        self.housekeeping = housekeeping
        self.monitor = monitor
        self._guard = guard
        self._checks = checks
        self._holds = holds
        self._mounted = mounts_keeper.mounted

    def check(self) -> bool:
        """Look at the mounts, then at the holds; return whether a mount went, came or is on another device now.

        Now is since the last call that returned. Raises AlreadyRunningError, DiskError.
        """
        self.mounts_keeper.check()
        if Mount.ROOT in self.mounts_keeper.away:
            for check in self._checks:
                check.confirm()  # commands and old jobs need no root: not by a journal that was not read
        else:
            for hold in self._holds:
                hold.keep()
            if self.mounts_keeper.lacks_work():
                self._remake_work()
        before, self._mounted = self._mounted, self.mounts_keeper.mounted
        return before != self._mounted

    def confirm(self) -> None:
        """Do the same by a look at this very moment. Raises FolderGoneError, too: of a root that is away it is not known.

        And RootCopiedError.
        """
        if reason := self.mounts_keeper.away.get(Mount.ROOT):
            raise FolderGoneError(f"The root is away: {reason}")
        self.mounts_keeper.confirm()
        for hold in self._holds:
            hold.confirm()

    def free(self) -> None:
        """Let a standby have the root, where there may be one; for an end at which no thread of this process can send any more."""
        if self._lease:
            self._lease.free()

    def end(self) -> None:
        """Close the store, a journal in its place; for a process that is about to end. May be repeated."""
        self._guard.end()

    def reasons(self) -> list[Reason]:
        """Return what stands still because of folders or journal, and what else people must know of them."""
        return [*self.mounts_keeper.reasons(), *(Reason(text, plain="") for text in self._guard.notices())]


def advice_for(mount: Mount) -> str:
    """Say what to do about a mount that is away."""
    return (
        "Bring the share, disk or folder back; the service continues by itself. "
        f"If it was moved on purpose, or no other service uses it any more: `rodin-watchd accept {mount}`."
    )
