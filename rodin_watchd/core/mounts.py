"""Whether the folders are still those that the service knows: a share that is away leaves an empty folder behind.

A *mount* is one of the six folders that everything stands on. Each may be a mount of its own, and a mount may vanish
under a running service; then its mount point shows, which looks like a folder that was emptied. So a mount is believed
only while it is the same folder (device and inode), or carries the mark that the service left in it. Device numbers of
shares and removable disks change between two mounts, and are given again to others: where there is, or was, a mark, it
decides. A mark names the journal that its folder is served with, so it also shows another service on the same folder.
Pure: what was seen is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

from rodin_watchd.core.layout import ARCHIVE, FAILED, HIDDEN, INBOX, OUTBOX
from rodin_watchd.core.machine import COPIED_TOGETHER, UNMARKED, copied, step_of
from rodin_watchd.model import Job, Step


class Mount(StrEnum):
    """A folder that may be a mount of its own."""

    ROOT = "root"
    INBOX = "inbox"
    OUTBOX = "outbox"
    FAILED = "failed"
    ARCHIVE = "archive"
    WORK = "work"


PATHS: Mapping[Mount, str] = {
    Mount.ROOT: "",
    Mount.INBOX: INBOX,
    Mount.OUTBOX: OUTBOX,
    Mount.FAILED: FAILED,
    Mount.ARCHIVE: ARCHIVE,
    Mount.WORK: f"{HIDDEN}/work",
}
"""Where each is, relative to the root."""

NEEDS: Mapping[Step, frozenset[Mount]] = {
    Step.STAGE: frozenset(Mount),  # nothing is bought that could not be delivered
    Step.SUBMIT: frozenset({Mount.WORK}),
    Step.SPREAD: frozenset(
        {Mount.WORK, Mount.OUTBOX, Mount.FAILED, Mount.ARCHIVE}
    ),  # its folder has a free name in each
    Step.POLL: frozenset(),
    Step.DOWNLOAD: frozenset({Mount.WORK}),
    Step.PROCESS: frozenset({Mount.WORK}),
    Step.DELIVER: frozenset({Mount.WORK, Mount.OUTBOX}),
    Step.ARCHIVE: frozenset({Mount.WORK, Mount.ARCHIVE}),
    Step.BURY: frozenset({Mount.WORK, Mount.FAILED}),
    Step.RETURN: frozenset({Mount.WORK}),
}
"""What each step stands on, besides the places that a set's own files come from."""

_TAKING = frozenset({Step.STAGE, Step.BURY, Step.RETURN})


def has_mount(job: Job, away: AbstractSet[Mount]) -> bool:
    """Return whether the next step of a live job touches no folder that is away."""
    step = step_of(job)
    tops = {file.source.partition("/")[0] for file in job.files} if step in _TAKING else set()
    return NEEDS[step].isdisjoint(away) and not any(mount.value in tops for mount in away)


class Identity(NamedTuple):
    """What stays equal as long as it is the same folder of the same mount."""

    device: int
    inode: int


class Birth(NamedTuple):
    """What distinguishes a file or folder from its copy: the inode, and when it was made."""

    inode: int
    made_ns: int = 0  # since 1970; 0: the filesystem does not show it


@dataclass(frozen=True, slots=True)
class Traces:
    """What a copy of a root and its journal does not carry over; what is not known is empty."""

    machine: str = ""
    state: Birth | None = None  # the lock next to the journal
    mark: Birth | None = None  # the root's mark itself
    state_folder: Birth | None = None  # where that lock is: a copy by hard links has the same files elsewhere
    root: Birth | None = None  # the root itself


def is_a_copy(marked: Traces, here: Traces) -> bool:
    """Return whether a root whose mark has these traces is a copy, together with its journal, of the one that was marked.

    What is next to the journal is also made again, alone, when the folder is put back from a backup, and the mark alone
    when the root moves to another disk; only a copy of both brings a second journal.
    """
    if marked.machine and here.machine and marked.machine != here.machine:
        return True
    return (
        _surely_replaced(marked.state, here.state) or _surely_replaced(marked.state_folder, here.state_folder)
    ) and (_was_replaced(marked.mark, here.mark) or _was_replaced(marked.root, here.root))


def is_unmarked_copy(remembered: Traces, here: Traces) -> bool:
    """Return whether a root without its mark is a copy: the journal remembers the traces of the one that it was kept for."""
    if remembered.machine and here.machine and remembered.machine != here.machine:
        return True
    return _was_replaced(remembered.state, here.state) or _was_replaced(remembered.state_folder, here.state_folder)


def _surely_replaced(before: Birth | None, now: Birth | None) -> bool:
    return bool(before and now and before.made_ns and now.made_ns) and _was_replaced(before, now)


def _was_replaced(before: Birth | None, now: Birth | None) -> bool:
    """Compare by the times, where both are known: inodes repeat on new disks, and some shares give others at each mount."""
    if before is None or now is None:
        return False
    if before.made_ns and now.made_ns:
        return before.made_ns != now.made_ns
    return before.inode != now.inode


@dataclass(frozen=True, slots=True)
class Mark:
    """What the file that the service leaves in a mount says."""

    root_id: str
    mount: str  # or, of a share that is mounted in the inbox, the path that it had there: `inbox/…`
    journal: str = ""  # where the journal is that knows what was paid for; "" before the first start
    accepted_from: str = ""  # the root's: the journal named before a person accepted it; "" once it was acted on
    traces: Traces = field(default=Traces(), compare=False)  # the root's; as they were when it was written
    birth: Birth | None = field(default=None, compare=False)  # of the file that it was read from
    folder: Birth | None = field(default=None, compare=False)  # of the folder that it was read in


# ---- Whose root it is: one rule for the service, `check` and `accept` -----------------------------------------------


class Whose(StrEnum):
    """To whom a root belongs."""

    OURS = "ours"
    NEW = "new"  # no service has used it: the journal may take it for its own
    EMPTIED = "emptied"  # this journal served it, and knows nothing of it any more
    ANOTHERS = "anothers"  # it was served with another journal, which this one knows nothing of
    MARKED = "marked"  # another service's mark is there, where the journal knows a root of its own
    COPIED = "copied"  # it or its journal was copied or moved: another service may pay for the same sets
    ACCEPTED = "accepted"  # it was, a person has accepted it, and what may have been sent is still to be held


_BOTH_MAY_PAY = frozenset({Whose.COPIED, Whose.ACCEPTED})


class RootVerdict(NamedTuple):
    """Whose a root is, and why; the reason is for people, without a full stop, "" for one that is ours or new."""

    whose: Whose
    reason: str = ""

    @property
    def copied(self) -> str:
        """Why nothing may be taken or sent, because another service may pay for the same sets; "" if it may."""
        return self.reason if self.whose in _BOTH_MAY_PAY else ""


@dataclass(frozen=True, slots=True)
class RootSeen:
    """What a look at a root, its mark and its journal found."""

    root_id: str  # as the journal knows the root; "": it knows none
    mark: Mark | None
    is_here: bool  # whether the journal that the mark names is this one
    place: str  # how a mark names this journal
    here: Traces  # what a copy does not carry over, as it is now
    remembered: Traces | None  # the same as the journal remembers it, None where it does not


def whose_root(seen: RootSeen) -> RootVerdict:
    """Return whose a root is."""
    mark = seen.mark
    if not seen.root_id:
        return _whose_unknown(seen)
    if mark is None:
        is_copy = seen.remembered is not None and is_unmarked_copy(seen.remembered, seen.here)
        return RootVerdict(Whose.COPIED, UNMARKED) if is_copy else RootVerdict(Whose.OURS)
    if not is_ours(mark, Mount.ROOT, seen.root_id):
        return RootVerdict(Whose.MARKED, f"it is marked as another service's {mark.mount}")
    if mark.journal and (not seen.is_here or is_a_copy(mark.traces, seen.here)):
        return RootVerdict(Whose.COPIED, COPIED_TOGETHER if seen.is_here else copied(mark.journal))
    if mark.accepted_from:
        unmarked = mark.accepted_from == seen.place
        return RootVerdict(Whose.ACCEPTED, UNMARKED if unmarked else copied(mark.accepted_from))
    return RootVerdict(Whose.OURS)


def _whose_unknown(seen: RootSeen) -> RootVerdict:
    """Return whose a root is that the journal does not know."""
    if seen.mark is None or not seen.mark.journal:
        return RootVerdict(Whose.NEW)
    if seen.is_here:
        return RootVerdict(Whose.EMPTIED, "it was used with this journal, which knows nothing of it any more")
    return RootVerdict(Whose.ANOTHERS, f"it was used with another journal ({seen.mark.journal})")


@dataclass(frozen=True, slots=True)
class SeenMark:
    """What a look at a mount found."""

    identity: Identity
    own: bool  # something is mounted on just this folder
    empty: bool
    mark: Mark | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal remembers of a mount."""

    identity: Identity
    own: bool
    marked: bool = False  # the service's mark was seen there

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"device": self.identity.device, "inode": self.identity.inode, "own": self.own, "marked": self.marked}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return what `as_data` stored."""
        return cls(Identity(data["device"], data["inode"]), data["own"], data["marked"])


def why_away(
    mount: Mount,
    known: Known | None,
    seen: SeenMark | None,
    root: Identity,
    root_id: str,
    is_here: Callable[[str], bool] = lambda _journal: True,
) -> str:
    """Say why a mount must not be believed, "" if it may; `root` is the root's identity, as it is believed.

    A mount that was never seen before is believed, unless it carries the mark of something else. `is_here` says whether
    the journal that a mark names is ours.
    """
    if seen is None:
        return "it is missing."
    if seen.mark:
        return _why_marked_away(seen.mark, mount, root_id, is_here)
    if known is None or (seen.identity == known.identity and not (known.marked and seen.empty)):
        return ""
    if mount is not Mount.ROOT and not known.own and not seen.own and seen.identity.device == root.device:
        return ""  # a plain folder: people may make it again, or remove all that is in it
    what = "an empty folder" if seen.empty else "another folder without the service's mark"
    return f"{what} is there now: is the share or disk not mounted?"


def _why_marked_away(mark: Mark, mount: Mount, root_id: str, is_here: Callable[[str], bool]) -> str:
    if not is_ours(mark, mount, root_id):
        return f"what is there now is marked as another service's {mark.mount}."
    if mount is Mount.ROOT or not mark.journal or is_here(mark.journal):
        return ""
    return f"what is there now is marked by a service on a copy of this root (its journal: {mark.journal})."


def is_still_theirs(theirs: Identity | None, known: Known | None, seen: SeenMark) -> bool:
    """Return whether a folder without a mark may be the one in which another service's mark was seen, `theirs`.

    Somebody who removes the mark, as a program does that mirrors a folder, hands it over to nobody: that service restores
    its mark. Until ours is there (by `accept`, or on our own folder, come back) only the very folder that we knew is ours.
    """
    if theirs is None or seen.mark:
        return False
    return known is None or seen.identity != known.identity or seen.identity == theirs


def is_ours(mark: Mark | None, mount: Mount, root_id: str) -> bool:
    """Return whether a mark is the one that the service leaves in this mount."""
    return mark is not None and (mark.root_id, mark.mount) == (root_id, mount.value)


# ---- folders in the inbox -------------------------------------------------------------------------------------------


class Closed(StrEnum):
    """Why a folder in the inbox is not looked into."""

    SERVED = "served"  # it carries the mark of another service, or of another folder of ours
    STILL_THEIRS = "still-theirs"  # it carried one, which somebody removed
    UNMARKED = "unmarked"  # something is mounted there that carries no mark yet


@dataclass(frozen=True, slots=True)
class SeenInside:
    """What a look at a folder in the inbox found."""

    identity: Identity
    own: bool  # something is mounted on just this folder
    mark: Mark | None

    @property
    def is_shared(self) -> bool:
        """Whether it is mounted, here or by the service that marked it: people may want it to be ours."""
        return self.own or (self.mark is not None and is_inside_mark(self.mark))


@dataclass(frozen=True, slots=True)
class Inside:
    """Which folders in the inbox are ours to look into. Paths are relative to the inbox.

    One share may be mounted in the inboxes of several services. So each mount there gets a mark, like the inbox itself,
    and is only used by the service whose mark it is. What is no mount needs none.
    """

    root_id: str = ""
    is_here: Callable[[str], bool] = lambda _journal: True  # whether the journal that a mark names is ours
    known: Mapping[str, Known] = field(default_factory=dict)  # mounts that carried our mark
    theirs: Mapping[str, Known] = field(default_factory=dict)  # folders that carried another service's since

    def why_closed(self, path: str, seen: SeenInside) -> Closed | None:
        """Say why a folder must not be looked into, None if it may."""
        if seen.mark is not None:
            return None if self.is_ours(seen.mark) else Closed.SERVED
        known, theirs = self.known.get(path), self.theirs.get(path)
        is_known = known is not None and known.identity == seen.identity
        if theirs and (theirs.identity == seen.identity or (seen.own and not is_known)):
            return Closed.STILL_THEIRS
        return Closed.UNMARKED if seen.own and not is_known else None

    def is_ours(self, mark: Mark) -> bool:
        """Return whether it is the mark that this service leaves in a mount in its inbox, wherever that was mounted then."""
        mine = is_inside_mark(mark) and mark.root_id == self.root_id
        return mine and (not mark.journal or self.is_here(mark.journal))


def is_inside_mark(mark: Mark) -> bool:
    """Return whether a mark was left in a share that is mounted in an inbox."""
    return mark.mount.startswith(f"{INBOX}/")
