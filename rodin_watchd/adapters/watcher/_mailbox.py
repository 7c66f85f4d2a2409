"""What a watching thread leaves for the main loop: wake-ups, vouches, and sentences for people."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

PROBE_NAME = ".rodin-watchd-probe"
"""The probe file: hidden, so that no scan takes it for a member of a set."""

_LEAST_LIMITS = {"max_user_watches": 524_288, "max_user_instances": 1024}
# What the errors of inotify_add_watch(2) and inotify_init(2) mean.
_LIMITS = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}


class Mailbox:
    """Where a watching thread leaves what the main loop takes. Paths are bytes, as the kernel gives them."""

    def __init__(self, wake: Callable[[], None], most_vouches: int) -> None:
        self.wake = wake
        self.probed = threading.Event()
        self._most = most_vouches
        self._lock = threading.Lock()
        self._closed: dict[bytes, set[bytes]] = {}  # folder -> names
        self._vouches = 0
        self._said: dict[str, None] = {}  # an ordered set

    def vouch(self, folder: bytes, name: bytes) -> None:
        """Note that a file was closed or moved in; when there are too many, forget them all."""
        with self._lock:
            names = self._closed.setdefault(folder, set())
            self._vouches += name not in names
            names.add(name)
            if self._vouches > self._most:
                self._closed, self._vouches = {}, 0
        self.wake()

    def void(self, folder: bytes, name: bytes) -> None:
        """Forget a file: another one was made under its name."""
        with self._lock:
            names = self._closed.get(folder, set())
            self._vouches -= name in names
            names.discard(name)

    def void_folder(self, folder: bytes) -> None:
        """Forget the files of a folder: another one came under its name."""
        with self._lock:
            self._vouches -= len(self._closed.pop(folder, ()))

    def say(self, text: str) -> None:
        """Leave a sentence for people."""
        with self._lock:
            self._said[text] = None
        self.wake()

    def take_closed(self) -> frozenset[str]:
        with self._lock:
            closed, self._closed, self._vouches = self._closed, {}, 0
        return frozenset(os.fsdecode(join(folder, name)) for folder, names in closed.items() for name in names)

    def take_said(self) -> list[str]:
        with self._lock:
            said, self._said = self._said, {}
        return list(said)


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


# ---- texts -----------------------------------------------------------------------------------------------------------


def defect(error: OSError, folder: Path) -> tuple[str, str]:
    """Say in words for people why a folder is not watched, with a word for the kind of defect before it."""
    if isinstance(error, PermissionError):
        return (
            "unreadable",
            f"Nothing is seen in {str(folder)!r} ({error.strerror}): give the service the right to read it.",
        )
    limit = _LIMITS.get(error.errno or 0)
    if limit is None:
        return "unwatched", f"Not watched for changes, only found by the rescan: {str(folder)!r} ({error.strerror})."
    return limit, limit_text(limit, _present_limit(limit))


def limit_text(limit: str, present: int | None) -> str:
    """Name an inotify limit of the kernel (inotify(7)), its present value if known, and how to raise it."""
    setting = f"fs.inotify.{limit}={max(2 * (present or 0), _LEAST_LIMITS[limit])}"
    return (
        f"The kernel's limit fs.inotify.{limit} ({present or 'unknown'} now) is used up, so that changes in some folders "
        f"are noticed only by the rescan. Set a higher one: `sysctl -w {setting}`, and put the line `{setting}` into "
        "/etc/sysctl.d/60-rodin-watchd.conf to keep it."
    )


def _present_limit(limit: str) -> int | None:
    try:
        return int(Path("/proc/sys/fs/inotify", limit).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
