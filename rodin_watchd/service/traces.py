"""What a copy of a root and its journal does not carry over, as it is on this machine now; see `core.grounds.Traces`."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import Journal
from rodin_watchd.adapters.spool.statx import birth_at
from rodin_watchd.core.grounds import Birth, Mark, Traces, is_a_copy, is_unmarked_copy
from rodin_watchd.core.restored import COPIED_TOGETHER, UNMARKED, copied
from rodin_watchd.service.places import is_same_journal

TRACES: Final = "traces"
"""The journal's key of the traces of the root that it belongs to."""

_MACHINE_ID: Final = Path("/etc/machine-id")
_CONTAINER_SIGNS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_SHORT_LIVED_KINDS: Final = ("overlay", "tmpfs", "fuse.fuse-overlayfs")
"""There a container's image or one boot gave the machine its id."""


def traces_of(journal: Path, mark: Mark | None = None) -> Traces:
    """Return the traces of a journal's place, and of the root's mark as it lies there.

    The lock stands for the journal: nothing writes it anew, as a backup that is put back does with the journal's own file.
    """
    lock, folder = birth_at(journal.with_name("lock")), birth_at(journal.parent.resolve())
    return Traces(_machine(), lock, mark.birth if mark else None, folder, mark.folder if mark else None)


def why_copied(mark: Mark | None, journal: Path) -> str:
    """Say why a root with this mark, or its journal, is taken for copied or moved; "" if it is not."""
    if mark is None or not mark.journal:
        return ""
    if not is_same_journal(mark.journal, journal):
        return copied(mark.journal)
    return COPIED_TOGETHER if is_a_copy(mark.traces, traces_of(journal, mark)) else ""


def why_unmarked_copy(journal: Journal, path: Path) -> str:
    """Say why a root without its mark is taken for a copy, "" if it is not; `path` is the journal's."""
    stored = journal.meta(TRACES)
    if not stored:
        return ""
    machine, inode, made_ns, *folder = stored  # an earlier version knew of no folder
    before = Traces(machine, Birth(inode, made_ns), state_folder=Birth(*folder) if folder else None)
    return UNMARKED if is_unmarked_copy(before, traces_of(path)) else ""


def remember_traces(journal: Journal, path: Path) -> None:
    """Remember what a copy does not carry over, for a root that loses its mark. Raises DiskError; may be repeated."""
    here = traces_of(path)
    if here.state and journal.meta(TRACES) != (found := [here.machine, *here.state, *(here.state_folder or ())]):
        journal.set_meta(TRACES, found)


@cache
def _machine() -> str:
    """Return what stands for this machine, "" where its id says nothing. The id itself must stay secret (machine-id(5))."""
    if any(sign.exists() for sign in _CONTAINER_SIGNS) or filesystem_of(_MACHINE_ID).kind in _SHORT_LIVED_KINDS:
        return ""
    try:
        told = _MACHINE_ID.read_bytes().strip()
    except OSError:
        return ""
    return hashlib.sha256(b"rodin_watchd " + told).hexdigest()[:16] if told else ""
