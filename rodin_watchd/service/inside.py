"""Shares that are mounted in the inbox: each is marked when it is first seen, and used by the service whose mark it is.

The main thread's alone, but for the rules, which the workers' own checks read.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rodin_watchd.adapters.journal import Journal, JournalReader
from rodin_watchd.adapters.spool.beneath import Anchor, ServedFolderError
from rodin_watchd.adapters.spool.grounds import Grounds, leave_mark_in, refusal
from rodin_watchd.core.grounds import Closed, Ground, Inside, Known, Mark, SeenInside
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.log_lines import Trouble, why

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

    def __init__(self, grounds: Grounds, journal: JournalReader, mark_for: Callable[[str], Mark | None]) -> None:
        self._grounds = grounds
        self._mark_for = mark_for
        self._rules = remembered_inside(journal)
        self._stored = (self._rules.known, self._rules.theirs)
        self._refused: dict[str, Refused] = {}
        self._troubles: dict[str, Trouble] = {}

    @property
    def anchor(self) -> Anchor:
        """Where the looks of the main thread start."""
        return replace(self._grounds.anchor(INBOX), check=self._admit)

    def believe(self, root_id: str, is_here: Callable[[str], bool]) -> None:
        """Go by these from now on: the root's id, and whether the journal that a mark names is ours."""
        self._set(replace(self._rules, root_id=root_id, is_here=is_here))

    def keep(self, journal: Journal) -> None:
        """Remember what the last look has found; forget folders that are not there any more. Raises DiskError."""
        inbox = self._grounds.path(Ground.INBOX)
        gone = {path for path in (*self._rules.theirs, *self._refused) if not os.path.isdir(inbox / path)}  # noqa: PTH112 - False also where we may not look
        for path in gone & self._refused.keys():
            self._is_open(path)
        if forgotten := {path for path in gone if path in self._rules.theirs and not self._rules.theirs[path].own}:
            self._set(replace(self._rules, theirs=_without(self._rules.theirs, forgotten)))
        found = (self._rules.known, self._rules.theirs)
        if found != self._stored:
            journal.set_meta(INSIDE, {"known": _as_data(found[0]), "theirs": _as_data(found[1])})
            self._stored = found

    def notices(self) -> list[str]:
        """Return what people must know."""
        return [
            f"NOT TAKEN: {self._place(path)} is {refused.reason}. {refused.advice}"
            for path, refused in sorted(self._refused.items())
        ]

    # ---- a look -----------------------------------------------------------------------------------------------------

    def _admit(self, path: str, folder: int) -> None:
        """Let a look into an open folder; `path` is relative to the inbox. Raises ServedFolderError, FolderGoneError, OSError."""
        if not path:
            self._grounds.anchor(INBOX).check(path, folder)
            return
        seen = self._grounds.look_inside(path, folder)
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
                f"a share or disk that the service cannot mark as its own ({why(error)}); what lies in it is not taken"
            )
            self._is_refused(path, Refused(reason, "The service needs to write there: it tries again by itself."))
            raise ServedFolderError(path, reason) from error
        return self._grounds.look_inside(path, folder)

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
        self._grounds.believe_inside(rules)

    def _is_refused(self, path: str, refused: Refused) -> None:
        self._refused[path] = refused
        self._troubles.setdefault(path, Trouble("mark")).begins(f"{self._place(path)} is {refused.reason}.")

    def _is_open(self, path: str) -> None:
        if self._refused.pop(path, None):
            self._troubles.pop(path).ends(f"{self._place(path)}: that is over.")

    def _place(self, path: str) -> str:
        return printable(str(self._grounds.path(Ground.INBOX) / path), 1000)


def accept_advice(path: str) -> str:
    """Say how a folder in the inbox becomes this service's; `path` is relative to the inbox."""
    return f"If no other service uses it any more: `rodin-watchd accept {shlex.quote(printable(f'{INBOX}/{path}', 1000))}`."


def remembered_inside(journal: JournalReader) -> Inside:
    """Return what the journal remembers of the folders in the inbox."""
    data = journal.meta(INSIDE) or {"known": {}, "theirs": {}}
    return Inside(known=_of_data(data["known"]), theirs=_of_data(data["theirs"]))


def _without(folders: Mapping[str, Known], paths: set[str]) -> Mapping[str, Known]:
    return {path: found for path, found in folders.items() if path not in paths}


def _as_data(folders: Mapping[str, Known]) -> dict[str, Any]:
    return {path: found.as_data() for path, found in folders.items()}


def _of_data(data: Mapping[str, Any]) -> Mapping[str, Known]:
    return {path: Known.of_data(found) for path, found in data.items()}
