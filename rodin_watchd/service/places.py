"""How a mark names the journal that a root is served with."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path


def place_of(journal: Path) -> str:
    """Return how a root's mark names the journal that it was served with."""
    return f"{socket.gethostname()}:{journal}"


def is_same_journal(place: str, journal: Path) -> bool:
    """Tell whether a mark names this journal: by host and path, or another path of this host to the very same file."""
    if place == place_of(journal):
        return True
    host, _, path = place.partition(":")
    with contextlib.suppress(OSError, ValueError):
        return host == socket.gethostname() and os.path.samefile(path, journal)  # noqa: PTH121 - raises alike
    return False
