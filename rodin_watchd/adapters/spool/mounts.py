"""The mounts on the disk: what is there now, the marks, and a check on every folder that is opened.

The check is made on the open descriptor that the act then goes through. So nothing is ever written into the bare mount
point of a share that went away, at whatever moment it went.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import tomli_w

from rodin_watchd.adapters.spool.beneath import (
    SERVED,
    Anchor,
    ServedFolderError,
    file_in,
    folder_beneath,
    is_there,
    new_file,
    refuse_served,
    sync_folder,
)
from rodin_watchd.adapters.spool.moving import rename_file_new
from rodin_watchd.adapters.spool.statx import birth_of, is_mount_point
from rodin_watchd.core.layout import CONFIG_NAME, INBOX, MARK, OWN_PREFIX, SUBMITS_NOTE, owner_of
from rodin_watchd.core.mounts import PATHS, Birth, Closed, Identity, Inside, Mark, Mount, SeenInside, SeenMark, Traces
from rodin_watchd.errors import FolderGoneError

_GROUNDS: Mapping[str, Mount] = {path: mount for mount, path in PATHS.items()}
_MARK_BYTES = 4096
_LEFT_OVER = frozenset({"lost+found", MARK, SUBMITS_NOTE})
_WHY_CLOSED: Mapping[Closed, str] = {
    Closed.SERVED: SERVED,
    Closed.STILL_THEIRS: "a folder that had another service's mark, which somebody has removed; that service restores it",
    Closed.UNMARKED: "a share or disk without a mark of the service yet: it gets one at the next scan",
}
_OPENING = "# rodin_watchd knows this folder by this file. Please do not remove it.\n"
_CLOSED_TO_US: Final = Mark("", "folder, but this user has no permission to read its mark")
_ILLEGIBLE: Final = Mark("", "folder, whose mark is damaged")


class Glance(NamedTuple):
    """What one glance shows of a mount: which folder is there, and its mark; each None if there is none."""

    identity: Identity | None
    mark: Mark | None


class Mounts:
    """The folders that everything stands on. Any thread may use the anchors; the main thread alone says what to believe.

    As long as `believe` was never called nothing is checked: commands that only look have no journal to compare with.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._paths = {mount: root / path for mount, path in PATHS.items()}
        self._mark_paths = {mount: path / MARK for mount, path in self._paths.items()}
        self._trusted: Mapping[Mount, Identity] | None = None
        self._inside: Inside | None = None
        self.owner = ""  # what stands for the root in the names of claims
        self._marks: dict[Mount, tuple[object, Mark | None]] = {}

    def refuse_bare(self) -> None:
        """Raise FolderGoneError for a root in which nothing is ours: it may be the place where a share is to be mounted."""
        advice = "Mount the share or disk of this folder; for a new folder run `rodin-watchd init` first."
        if not os.path.isdir(self.root):  # noqa: PTH112 - unlike Path.is_dir, False also where we may not look
            raise FolderGoneError(f"The folder {self.root} does not exist.", advice=advice)
        if not any(os.path.lexists(self.root / name) for name in (INBOX, MARK, CONFIG_NAME)):
            message = f"The folder {self.root} is not set up: it has neither {INBOX} nor {CONFIG_NAME}."
            raise FolderGoneError(message, advice=advice)

    def path(self, mount: Mount) -> Path:
        """Return where a mount is."""
        return self._paths[mount]

    def set_trusted(self, mounts: Mapping[Mount, Identity], root_id: str) -> None:
        """From now on open only these, as long as each is the same folder; all others are away. `root_id` is the root's."""
        self._trusted = MappingProxyType(dict(mounts))
        self.belong_to(root_id)

    def belong_to(self, root_id: str) -> None:
        """Name the root that claims and notes are made for."""
        self.owner = owner_of(root_id)

    @property
    def is_known(self) -> bool:
        """Whether it was said what to believe."""
        return self._trusted is not None

    def set_trusted_inside(self, inside: Inside) -> None:
        """From now on look only into those folders of the inbox that are ours by these rules."""
        self._inside = inside

    def anchor(self, path: str = "") -> Anchor:
        """Return where paths below a folder of the root start; `path` is relative to the root."""
        return Anchor(self.root / path, partial(self._check, path), frozenset() if path else frozenset(_GROUNDS))

    def _check(self, start: str, walked: str, descriptor: int) -> None:
        """Raise FolderGoneError for an open folder that is not the mount that it should be.

        And ServedFolderError for a folder in the inbox that is not ours to look into.
        """
        path = "/".join(filter(None, (start, walked)))
        if path.startswith(f"{INBOX}/"):
            self._refuse_closed(path.removeprefix(f"{INBOX}/"), descriptor)
        self._check_ground(start, walked, descriptor)

    def _refuse_closed(self, path: str, descriptor: int) -> None:
        if self._inside is None:
            refuse_served(path, descriptor)
        elif closed := self._inside.why_closed(path, self.look_inside(path, descriptor)):
            raise refusal(path, closed)

    def _check_ground(self, start: str, walked: str, descriptor: int) -> None:
        mount = _GROUNDS.get("/".join(filter(None, (start, walked))))
        if mount is None or self._trusted is None:
            return
        if self._trusted.get(mount) != _identity(os.fstat(descriptor)):
            raise _gone(self.path(mount))

    def look_inside(self, path: str, descriptor: int) -> SeenInside:
        """Return what an open folder in the inbox is. Raises ServedFolderError for a mount of ours, mounted there; OSError."""
        identity = _identity(os.fstat(descriptor))
        if identity in (self._trusted or {}).values():  # its mark may have been removed
            raise ServedFolderError(path, "a folder of this service; its files are not taken")
        mark = (_mark_in(descriptor) or _ILLEGIBLE) if is_there(MARK, descriptor) else None
        return SeenInside(identity, is_mount_point(descriptor), mark)

    def gone(self) -> FolderGoneError | None:
        """Return an error if any mount that is believed is not there at this moment."""
        for mount, identity in (self._trusted or {}).items():
            try:
                there = _identity(self.path(mount).stat())
            except OSError:
                there = None
            if there != identity:
                return _gone(self.path(mount))
        return None

    def identity(self, mount: Mount) -> Identity | None:
        """Return which folder is there now, None if none can be looked at: cheap enough for every tick."""
        return self._identity_at(self._paths[mount])

    def _identity_at(self, path: Path) -> Identity | None:
        try:
            status = path.stat(follow_symlinks=path == self.root)
        except OSError:
            return None
        return _identity(status) if stat.S_ISDIR(status.st_mode) else None

    def glance(self, mount: Mount) -> Glance:
        """Return what a tick decides about a mount by: looked at once, so that all of a tick speaks of the same moment."""
        return Glance(self.identity(mount), self.mark(mount))

    def look(self, mount: Mount, mount_point: Path) -> SeenMark | None:
        """Return what is there now; `mount_point` is where the filesystem that the mount is on is mounted."""
        return self.look_at(PATHS[mount], mount_point)

    def look_at(self, path: str, mount_point: Path) -> SeenMark | None:
        """Do the same for any folder below the root; `path` is relative to it."""
        folder = self.root / path
        identity = self._identity_at(folder)
        if identity is None:
            return None
        try:
            with os.scandir(folder) as found:
                empty = all(entry.name in _LEFT_OVER for entry in found)
            return SeenMark(identity, mount_point == Path(os.path.realpath(folder)), empty, read_mark(folder))
        except OSError:
            return None

    def mark(self, mount: Mount) -> Mark | None:
        """Return a mount's mark; it is read only when it changed, so that this may be asked in every tick."""
        try:
            status = self._mark_paths[mount].lstat()
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except OSError:
            return None
        known = self._marks.get(mount)
        if known is None or known[0] != stamp:
            known = self._marks[mount] = (stamp, read_mark(self._paths[mount]))
        return known[1]

    def leave_mark(self, mount: Mount, mark: Mark, *, replace: bool) -> None:
        """Write the mark into a mount; never over one that another service has left meanwhile, unless `replace`.

        Raises FileExistsError, OSError, FolderGoneError.
        """
        self.leave_mark_at(PATHS[mount], mark, replace=replace)

    def leave_mark_at(self, path: str, mark: Mark, *, replace: bool) -> None:
        """Do the same in any folder below the root; `path` is relative to it. What is there now is not looked at."""
        anchor = Anchor(self.root, partial(self._check_ground, ""))
        with folder_beneath(anchor, path) as folder:
            leave_mark_in(folder, mark, replace=replace)


def refusal(path: str, closed: Closed) -> ServedFolderError:
    """Return the error for a folder in the inbox that is not ours to look into."""
    return ServedFolderError(path, _WHY_CLOSED[closed])


def leave_mark_in(folder: int, mark: Mark, *, replace: bool) -> None:
    """Write a mark into an open folder, as `Mounts.leave_mark` does. A root's mark says what its own file is, which no copy of it says any more."""
    part = f"{OWN_PREFIX}mark-{mark.root_id}.part"  # what a crash left of it goes with the next try
    with new_file(folder, part) as descriptor, open(descriptor, "wb", closefd=False) as stream:
        if mark.mount == Mount.ROOT and mark.journal:
            traces = dataclasses.replace(mark.traces, mark=birth_of(descriptor), root=birth_of(folder))
            mark = dataclasses.replace(mark, traces=traces)
        stream.write(mark_text(mark).encode())
    try:
        if replace or (is_there(MARK, folder) and _mark_in(folder) is None):
            os.replace(part, MARK, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            rename_file_new(part, folder, MARK, folder)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        raise
    sync_folder(folder)


def read_mark(folder: Path) -> Mark | None:
    """Return a folder's mark; None when there is none. One that this user may not read is another service's."""
    try:
        with folder_beneath(folder, "") as opened:
            return _mark_in(opened)
    except PermissionError:
        return _CLOSED_TO_US
    except OSError:
        return None


def root_id_in(folder: Path) -> str:
    """Return the id of the root in a folder, by its mark; "" where it has none."""
    mark = read_mark(folder)
    return mark.root_id if mark else ""


def _mark_in(folder: int) -> Mark | None:
    """Return an open folder's mark, None when there is none that can be understood."""
    try:
        with file_in(folder, MARK) as descriptor, open(descriptor, "rb", closefd=False) as stream:
            data = tomllib.loads(stream.read(_MARK_BYTES).decode())
            birth = birth_of(descriptor)
        texts = (str(data["id"]), str(data["folder"]), str(data.get("journal", "")), str(data.get("accepted_from", "")))
        return Mark(*texts, _traces(data.get("original", {})), birth, birth_of(folder))
    except PermissionError:
        return _CLOSED_TO_US
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):  # anybody may have written it
        return None


_BIRTHS = ("state", "mark", "state_folder", "root")


def _traces(data: Mapping[str, Any]) -> Traces:
    births = {name: Birth(*map(int, data[name])) for name in _BIRTHS if name in data}
    return Traces(str(data.get("machine", "")), **births)


def service_above(root: Path) -> Path | None:
    """Return the inbox, or another folder for sets and results, of a service that a root is in; None if there is none."""
    marks = ((folder, read_mark(folder)) for folder in root.resolve().parents)
    return next((folder for folder, mark in marks if mark and mark.mount != Mount.ROOT), None)


def mark_text(mark: Mark) -> str:
    """Return the text of a mark."""
    traces = {"machine": mark.traces.machine} | {name: getattr(mark.traces, name) for name in _BIRTHS}
    original = {
        name: list(fields) if isinstance(fields, Birth) else fields for name, fields in traces.items() if fields
    }
    known = {"journal": mark.journal, "accepted_from": mark.accepted_from, "original": original}
    fields = {name: value for name, value in known.items() if value}
    return _OPENING + tomli_w.dumps({"id": mark.root_id, "folder": mark.mount, **fields})


def _gone(path: Path) -> FolderGoneError:
    return FolderGoneError(f"{path} is not the folder that the service knows: is a share or disk not mounted?")


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino)
