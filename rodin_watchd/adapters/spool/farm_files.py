"""Files of the farm's calls on the share itself: laid in by the daemon, fetched by workers, each attempt's in a folder of its own."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.beneath import folder_beneath
from rodin_watchd.adapters.spool.sealing import copy_tree, link_tree
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.hooks.leftovers import remove

_WORK: Final = f"{HIDDEN}/work"
_LAID_IN: Final = "farm-"


class ShareFiles:
    """The files of calls, in the work folder of the same share on each machine. Any thread.

    A key is the path of a folder below the root. What one attempt made is in a folder of its own name, so that a late one
    touches nothing of another. All raise OSError.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def lay_in(self, source: Path) -> str:
        """Have a folder ready for workers, and return its key: a second one of the same files, or itself where it was published."""
        place = source.relative_to(self._root).as_posix()
        if not place.startswith(f"{_WORK}/"):
            return place
        there = source.with_name(f"{_LAID_IN}{secrets.token_hex(4)}")
        link_tree(source, there)
        return there.relative_to(self._root).as_posix()

    def fetch(self, key: str, target: Path) -> None:
        """Copy what was laid in to a folder that is not there yet; a worker's."""
        with folder_beneath(self._root, key):
            copy_tree(self._root / key, target)

    def publish(self, key: str, attempt: int, source: Path) -> None:
        """Leave what an attempt made; a worker's."""
        made = self._made(key, attempt)
        part = made.with_name(f"{made.name}.part")
        with folder_beneath(self._root, key):
            remove(part)
            copy_tree(source, part)
            remove(made)
            part.rename(made)

    def take(self, key: str, attempt: int, target: Path) -> None:
        """Move what an attempt made to a folder that is not there yet."""
        os.rename(self._made(key, attempt), target)  # noqa: PTH104 - never into a folder that is there

    def discard(self, key: str, attempt: int) -> None:
        """Remove what an attempt made: it is nobody's."""
        remove(self._made(key, attempt))

    def remove(self, key: str) -> None:
        """Remove what was laid in, and what attempts have left."""
        folder = self._root / key
        if folder.name.startswith(_LAID_IN) and key.startswith(f"{_WORK}/") and folder.parent.is_dir():
            for path in folder.parent.iterdir():
                if path.name == folder.name or path.name.startswith(f"{folder.name}-"):
                    remove(path)

    def _made(self, key: str, attempt: int) -> Path:
        if not key.startswith(f"{_WORK}/") or ".." in key.split("/"):
            raise PermissionError(errno.EPERM, "no place of an attempt", key)
        folder = self._root / key
        return folder.with_name(f"{folder.name}-{attempt:d}")
