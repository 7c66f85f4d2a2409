"""What a directory entry can be in a set, by its name and kind alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rodin_watchd.core.formats import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
)
from rodin_watchd.core.layout import RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import match_key, printable, split_name
from rodin_watchd.core.sidecar import PRESET_NAME, Sidecar
from rodin_watchd.model import Entry, Kind, Role
from rodin_watchd.problem import Problem

LEFTOVERS = frozenset(name.casefold() for name in (RECEIPT, REPORT, REPORT_DATA))
"""Receipts and reports: they come back when somebody drops a delivered or failed folder again.

Their names are kept for them: a set's own file of such a name would be overwritten by the set's receipt or report.
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A file that can be part of a set."""

    path: str
    role: Role
    advice: str = ""  # not empty: a format that is refused, and what to do about it

    @property
    def folder(self) -> str:
        """The folder below the inbox."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The base name."""
        return split_name(self.name)[0]

    @property
    def base(self) -> tuple[str, str]:
        """What files that belong together by base name have in common."""
        return (self.folder, match_key(self.stem))


def member_of(path: str) -> Member | None:
    """Return what a path can be in a set, by its extension; None for nothing."""
    extension = split_name(path.rpartition("/")[2])[1]
    for role, accepted, refused in _ROLES:
        if extension in accepted:
            return Member(path, role)
        if extension in refused:
            return Member(path, role, advice=refused[extension])
    return None


_ROLES: tuple[tuple[Role, frozenset[str], Mapping[str, str]], ...] = (
    (Role.MODEL, MODEL_EXTENSIONS, REFUSED_MODEL_EXTENSIONS),
    (Role.IMAGE, IMAGE_EXTENSIONS, REFUSED_IMAGE_EXTENSIONS),
    (Role.SIDECAR, frozenset({".toml"}), {}),
)


def sort_out(
    entries: Iterable[Entry], sidecars: Mapping[str, Sidecar | Problem]
) -> tuple[list[Member], dict[str, str], frozenset[str]]:
    """Split a snapshot into members (sorted by path), ignored files with the reason, and drop folders."""
    members: list[Member] = []
    ignored: dict[str, str] = {}
    drop_folders = set()
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        member = member_of(entry.path)
        if name.casefold() == PRESET_NAME and entry.kind is Kind.FILE:
            drop_folders.add(folder)
        elif reason := _why_ignored(entry, member, sidecars):
            ignored[entry.path] = reason
        elif member and entry.kind is Kind.FILE:
            members.append(member)
    members.sort(key=lambda m: m.path)
    return members, ignored, frozenset(drop_folders)


def _why_ignored(entry: Entry, member: Member | None, sidecars: Mapping[str, Sidecar | Problem]) -> str:
    """Return the reason for people; "" for what can be a member, and for a plain folder, which needs none."""
    name = entry.path.rpartition("/")[2]
    if entry.kind is not Kind.FILE and member:
        return f"“{printable(name)}” is a {entry.kind}; only plain files are taken"
    if entry.kind is Kind.FOLDER:
        return ""
    if entry.kind is not Kind.FILE:
        return f"a {entry.kind}; only plain files are taken"
    if name.casefold() in LEFTOVERS and entry.path not in sidecars:
        return "left over from an earlier job"
    return "" if member else "not a model, an image or a sidecar"
