"""Filesystems that come and go: a disk of its own, which is mounted on a folder by a bind mount and taken away again."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from strangers import IS_ROOT, mounted


class Share:
    """A filesystem that can be mounted on a folder, taken away under whoever uses it, and brought back."""

    def __init__(self, disk: Path, place: Path) -> None:
        """Take the mounted disk, and the folder that it is to appear at."""
        self.disk = disk
        self.place = place
        self.place.mkdir(parents=True, exist_ok=True)
        self.is_there = False

    def come(self) -> None:
        """Mount it."""
        subprocess.run(["mount", "--bind", str(self.disk), str(self.place)], check=True)
        self.is_there = True

    def freeze(self) -> None:
        """Let nobody write there."""
        subprocess.run(["mount", "-o", "remount,bind,ro", str(self.place)], check=True)

    def thaw(self) -> None:
        """Let everybody write again."""
        subprocess.run(["mount", "-o", "remount,bind,rw", str(self.place)], check=True)

    def go(self) -> None:
        """Take it away, whoever has files open on it."""
        if self.is_there:
            subprocess.run(["umount", "-l", str(self.place)], check=True)
            self.is_there = False


@contextlib.contextmanager
def share(disk: Path, place: Path, size: str = "32m") -> Iterator[Share]:
    """Give a share that is there; it is taken away at the end."""
    if not IS_ROOT:
        pytest.skip("only root may mount a filesystem")
    with mounted(disk, size=size):
        given = Share(disk, place)
        given.come()
        try:
            yield given
        finally:
            given.go()
