"""The grounds on the disk: what is there now, the marks, and a check on every folder that is opened.

The check is made on the open descriptor that the act then goes through. So nothing is ever written into the bare mount
point of a share that went away, at whatever moment it went.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import tomli_w

from rodin_watchd.adapters.spool.beneath import (
    Anchor,
    ServedFolderError,
    file_beneath,
    folder_beneath,
    new_file,
    refuse_served,
    sync_folder,
)
from rodin_watchd.adapters.spool.moving import rename_file_new
from rodin_watchd.core.grounds import PATHS, Ground, Identity, Mark, Seen
from rodin_watchd.core.layout import CONFIG_NAME, INBOX, MARK, OWN_PREFIX, owner_of
from rodin_watchd.errors import FolderGoneError

_GROUNDS: Mapping[str, Ground] = {path: ground for ground, path in PATHS.items()}
_MARK_BYTES = 4096
_LEFT_OVER = frozenset({"lost+found", MARK})
_OPENING = "# rodin_watchd knows this folder by this file. Please leave it here.\n"


class Grounds:
    """The folders that everything stands on. Any thread may use the anchors; the main thread alone says what to believe.

    As long as `believe` was never called nothing is checked: commands that only look have no journal to compare with.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._believed: Mapping[Ground, Identity] | None = None
        self.owner = ""  # what stands for the root in the names of claims
        self._marks: dict[Ground, tuple[object, Mark | None]] = {}

    def refuse_bare(self) -> None:
        """Raise FolderGoneError for a root in which nothing is ours: it may be the place where a share is to be mounted."""
        advice = "Mount the share or disk that belongs there; for a new folder run `rodin-watchd init` first."
        if not os.path.isdir(self.root):  # noqa: PTH112 - unlike Path.is_dir, False also where we may not look
            raise FolderGoneError(f"The folder {self.root} does not exist.", advice=advice)
        if not any(os.path.lexists(self.root / name) for name in (INBOX, MARK, CONFIG_NAME)):
            told = f"The folder {self.root} is not set up: it has neither {INBOX} nor {CONFIG_NAME}."
            raise FolderGoneError(told, advice=advice)

    def path(self, ground: Ground) -> Path:
        """Return where a ground lies."""
        return self.root / PATHS[ground]

    def believe(self, grounds: Mapping[Ground, Identity], root_id: str) -> None:
        """From now on open only these, as long as each is the same folder; all others are away. `root_id` is the root's."""
        self._believed = MappingProxyType(dict(grounds))
        self.owner = owner_of(root_id)

    def anchor(self, path: str = "") -> Anchor:
        """Return where paths below a folder of the root start; `path` is relative to the root."""
        return Anchor(self.root / path, partial(self._check, path), frozenset() if path else frozenset(_GROUNDS))

    def _check(self, start: str, walked: str, descriptor: int) -> None:
        """Raise FolderGoneError for an open folder that is not the ground that it should be.

        And ServedFolderError for a folder in the inbox that is a ground of this root, or carries the mark of any service.
        """
        path = "/".join(filter(None, (start, walked)))
        if path.startswith(f"{INBOX}/"):
            self._refuse_served(descriptor, path)
        ground = _GROUNDS.get(path)
        if ground is None or self._believed is None:
            return
        if self._believed.get(ground) != _identity(os.fstat(descriptor)):
            raise _gone(self.path(ground))

    def _refuse_served(self, descriptor: int, path: str) -> None:
        refuse_served(descriptor, path)
        if _identity(os.fstat(descriptor)) in (self._believed or {}).values():  # by another mount; its mark was removed
            raise ServedFolderError(errno.ENOTDIR, "it is a folder of this service", path)

    def gone(self) -> FolderGoneError | None:
        """Return an error if any ground that is believed is not there at this moment."""
        for ground, identity in (self._believed or {}).items():
            try:
                there = _identity(self.path(ground).stat())
            except OSError:
                there = None
            if there != identity:
                return _gone(self.path(ground))
        return None

    def identity(self, ground: Ground) -> Identity | None:
        """Return which folder is there now, None if none can be looked at: cheap enough for every tick."""
        try:
            status = self.path(ground).stat(follow_symlinks=ground is Ground.ROOT)
        except OSError:
            return None
        return _identity(status) if stat.S_ISDIR(status.st_mode) else None

    def look(self, ground: Ground, mount_point: Path) -> Seen | None:
        """Return what is there now; `mount_point` is where the filesystem that the ground lies on is mounted."""
        identity, path = self.identity(ground), self.path(ground)
        if identity is None:
            return None
        try:
            with os.scandir(path) as found:
                empty = all(entry.name in _LEFT_OVER for entry in found)
            return Seen(identity, mount_point == path.resolve(), empty, read_mark(path))
        except OSError:
            return None

    def mark(self, ground: Ground) -> Mark | None:
        """Return a ground's mark; it is read only when it changed, so that this may be asked in every tick."""
        path = self.path(ground)
        try:
            status = (path / MARK).lstat()
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        except OSError:
            return None
        known = self._marks.get(ground)
        if known is None or known[0] != stamp:
            known = self._marks[ground] = (stamp, read_mark(path))
        return known[1]

    def leave_mark(self, ground: Ground, mark: Mark, *, replace: bool) -> None:
        """Write the mark into a ground; never over one that another service has left meanwhile, unless `replace`.

        Raises FileExistsError, OSError, FolderGoneError.
        """
        part = f"{OWN_PREFIX}mark-{mark.root_id}.part"  # what a crash left of it goes with the next try
        with folder_beneath(self.anchor(), PATHS[ground]) as folder:
            with new_file(folder, part) as descriptor, open(descriptor, "wb", closefd=False) as stream:
                stream.write(mark_text(mark).encode())
            try:
                if replace or (os.path.lexists(self.path(ground) / MARK) and read_mark(self.path(ground)) is None):
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
        with file_beneath(folder, MARK) as descriptor, open(descriptor, "rb", closefd=False) as stream:
            data = tomllib.loads(stream.read(_MARK_BYTES).decode())
        return Mark(
            str(data["id"]), str(data["folder"]), str(data.get("journal", "")), str(data.get("accepted_from", ""))
        )
    except PermissionError:
        return Mark("", "folder, whose mark this user may not read")
    except (OSError, ValueError, KeyError, RecursionError):  # anybody may have written it
        return None


def service_above(root: Path) -> Path | None:
    """Return the inbox, or another folder for sets and results, of a service that a root lies in; None if there is none."""
    marks = ((folder, read_mark(folder)) for folder in root.resolve().parents)
    return next((folder for folder, mark in marks if mark and mark.ground != Ground.ROOT), None)


def mark_text(mark: Mark) -> str:
    """Return the text of a mark."""
    known = {"journal": mark.journal, "accepted_from": mark.accepted_from}
    told = {name: place for name, place in known.items() if place}
    return _OPENING + tomli_w.dumps({"id": mark.root_id, "folder": mark.ground, **told})


def _gone(path: Path) -> FolderGoneError:
    return FolderGoneError(f"{path} is not the folder that the service knows: is a share or disk not mounted?")


def _identity(status: os.stat_result) -> Identity:
    return Identity(status.st_dev, status.st_ino)
