"""File events as wake-ups: they end the daemon's wait early and vouch for closed files; they decide nothing.

A scan of the folder decides what there is, so a lost event costs a delay and a lost vouch costs the quiet period,
never a set. On Linux the events come from watchdog's `InotifyFD`: its public `Observer` loses events in bursts, does not
tell of a lost queue, and goes blind without a word when the root moves. `InotifyFD` is not in watchdog's documented API;
where it is missing (another platform, a changed watchdog) the `Observer` serves as a hint that vouches for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from rodin_watchd.adapters.watcher._hints import HAS_HINTS, HintSession
from rodin_watchd.adapters.watcher._inotify import HAS_INOTIFY, _InotifySession
from rodin_watchd.adapters.watcher._mailbox import PROBE_NAME, Mailbox, defect, limit_text

__all__ = ["HAS_INOTIFY", "EventWatcher", "PollingWatcher", "Watcher", "_InotifySession", "limit_text", "open_watcher"]

MOST_VOUCHES = 100_000
"""How many closed files are remembered between two calls of `take_closed`, some 10 MB; beyond, all are forgotten."""


class Watcher(Protocol):
    """A source of wake-ups for the main loop. All methods are for the main loop's thread alone."""

    @property
    def description(self) -> str:
        """How changes are noticed, in a few words for people."""

    @property
    def native(self) -> bool:
        """Whether closed files are vouched for."""

    def take_closed(self) -> frozenset[str]:
        """Return what writers closed or moved in since the last call: paths relative to the root, with "/"."""

    def take_trouble(self) -> str | None:
        """Return what people must know that was not told before; a lasting defect is told once. Then call `rearm`."""

    def rearm(self) -> None:
        """Watch anew if anything is amiss, else do nothing: may be called at each rescan. Scan *after* it."""

    def close(self) -> None:
        """Stop; no thread and no descriptor stays open. May be repeated."""


def open_watcher(
    root: Path,
    wake: Callable[[], None],
    mode: Literal["auto", "native", "polling"],
    *,
    share: str = "",
    proof_seconds: float = 2.0,
) -> Watcher:
    """Choose and start the watcher of the folder `root`, recursive.

    `wake` is called from any thread and must return at once. `share` is the kind of the network filesystem that
    the root lies on, empty for a local one. "auto" watches a local root natively if a probe file's event comes back
    within `proof_seconds`, and says so in `take_trouble` if not; "native" insists, also where `root` cannot be
    watched yet. Nothing is raised for a root that is missing or cannot be watched.
    """
    if mode == "polling":
        return PollingWatcher("polling, as configured")
    if mode == "auto" and share:
        return PollingWatcher(f"polling: {str(root)!r} is a network share ({share})")
    if not (HAS_INOTIFY or HAS_HINTS):
        return PollingWatcher("polling: there are no file events on this platform")
    watcher = EventWatcher(root, wake, warning=_share_warning(share))
    return _proven(watcher, root, proof_seconds) if mode == "auto" else watcher


def _share_warning(share: str) -> str:
    return f"; on a network share ({share}) changes by other machines are noticed only by the rescan" if share else ""


def _proven(watcher: EventWatcher, root: Path, timeout_seconds: float) -> Watcher:
    """Return the watcher if file events work there; else close it and return polling with the reason."""
    try:
        doubt = "" if watcher.prove(timeout_seconds) else "the event of a probe file did not come"
    except OSError as error:
        doubt = f"a probe file could not be written ({error.strerror})"
    if not doubt:
        return watcher
    known = watcher.take_trouble()
    watcher.close()
    description = f"polling: file events do not work in {str(root)!r}"
    return PollingWatcher(description, trouble=known or f"File events do not work in {str(root)!r}: {doubt}.")


class PollingWatcher:
    """No events and no thread: the loop's own rescan notices everything."""

    native = False

    def __init__(self, description: str, *, trouble: str | None = None) -> None:
        self.description = description
        self._trouble = trouble

    def take_closed(self) -> frozenset[str]:
        """Return nothing: nobody saw a close."""
        return frozenset()

    def take_trouble(self) -> str | None:
        """Return, once, why events could not be had."""
        trouble, self._trouble = self._trouble, None
        return trouble

    def rearm(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class EventWatcher:
    """Wake-ups by file events: keeps one session of watching and replaces it when that has become unsound."""

    native = HAS_INOTIFY

    def __init__(
        self, root: Path, wake: Callable[[], None], *, warning: str = "", most_vouches: int = MOST_VOUCHES
    ) -> None:
        """Start to watch; what keeps that from working is told by `take_trouble`."""
        self.description = ("native (inotify)" if HAS_INOTIFY else "hints (watchdog's Observer)") + warning
        self._root = root
        self._mailbox = Mailbox(wake, most_vouches)
        self._session: _InotifySession | HintSession | None = None
        self._identity: tuple[int, int] | None = None
        self._defects: dict[str, str] = {}
        self._told: frozenset[str] = frozenset()
        self.rearm()

    def take_closed(self) -> frozenset[str]:
        """Return what was closed or moved in; empty after trouble, and always for hints."""
        return self._mailbox.take_closed()

    def take_trouble(self) -> str | None:
        """Return what was not told before: a lost root or queue each time, a lasting defect once until it is mended."""
        self._check()
        defects = self._defects.copy()
        fresh = [text for kind, text in defects.items() if kind not in self._told]
        self._told = frozenset(defects)
        return " ".join([*self._mailbox.take_said(), *fresh]) or None

    def rearm(self) -> None:
        """Watch the root that is there now, if the present session is unsound or incomplete; vouches are forgotten."""
        self._check()
        if self._session is not None and self._session.sound and not self._defects:
            return
        self.close()
        self._identity = _identity(self._root)
        self._defects = {}
        try:
            self._session = _open_session(os.fsencode(self._root), self._mailbox, self._defects)
        except OSError as error:
            self._defects.update([defect(error, self._root)])

    def close(self) -> None:
        """End the session and its threads. `wake` is not called afterwards."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def prove(self, timeout_seconds: float) -> bool:
        """Tell whether the event of a probe file, made and removed in the root, comes back in time.

        Raises OSError if the probe cannot be written. May be repeated.
        """
        if self._session is None:
            return False
        self._mailbox.probed.clear()
        probe = self._root / PROBE_NAME  # always the same: one that a crash left behind goes with the next
        os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        probe.unlink(missing_ok=True)
        return self._mailbox.probed.wait(timeout_seconds)

    def _check(self) -> None:
        """Notice what sends no event: another folder in the root's place, a watching thread that died."""
        session = self._session
        if session is None or not session.sound:
            return
        present = _identity(self._root)
        if present is None:
            session.lose("The watched folder is gone.")
        elif present != self._identity:
            session.lose("The watched folder is another one now: it was replaced, or something was mounted on it.")
        elif not session.alive:
            session.lose("The thread that reads file events has ended.")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode: what stays equal as long as it is the same folder; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_session(root: bytes, mailbox: Mailbox, defects: dict[str, str]) -> _InotifySession | HintSession:
    return _InotifySession(root, mailbox, defects) if HAS_INOTIFY else HintSession(root, mailbox)
