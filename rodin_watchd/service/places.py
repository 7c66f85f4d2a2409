"""How a mark names the journal that a root is served with."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path


def place_of(journal: Path) -> str:
    """Return how a root's mark names the journal that it was served with."""
    return f"{socket.gethostname()}:{journal}"


def is_same_journal(place: str, journal: Path) -> bool:
    """Tell whether a mark names this journal: by host and path, or another path of this host to the same name in the same folder.

    A file may have a second name in another folder (a copy by hard links), with a write-ahead log of its own; a folder has not.
    """
    if place == place_of(journal):
        return True
    host, _, path = place.partition(":")
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        there, here = Path(path).resolve(strict=True), journal.resolve(strict=True)
        return host == socket.gethostname() and there.name == here.name and there.parent.samefile(here.parent)
    return False
