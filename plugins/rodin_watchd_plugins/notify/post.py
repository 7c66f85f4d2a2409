"""The post: keeps messages, sends what is due, and looks after the rest while no hook is called.

A message is on disk before the call that brought it ends. It is sent by whatever comes first once its time has come: a
call, the clockwork of this process, or the next process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rodin_watchd_plugins.notify.quiet import Quiet
from rodin_watchd_plugins.notify.sending import Target
from rodin_watchd_plugins.notify.spool import Kept, Tray
from rodin_watchd_plugins.notify.wording import Message, in_order, together

FIRST_LOOK_SECONDS: Final = 2.0
"""A new process looks after so long for what is due: a check of the settings has ended by then."""
_LOOK_SECONDS: Final = 300.0  # what another process left
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 30.0, 1800.0


@dataclass(frozen=True, slots=True)
class Post:
    """The targets, and what waits for each."""

    folder: Path
    targets: Sequence[Target]
    digest_seconds: float
    quiet: Quiet
    pictures: int  # so many go along with one message

    def keep(self, event_id: str, message: Message, picture: bytes, *, urgent: bool) -> None:
        """Keep a message for all targets; may be repeated. Raises OSError."""
        for target in self.targets:
            self._tray(target).keep(event_id, message, picture, time.time(), urgent=urgent)

    def flush(self, target: Target) -> float | None:
        """Send a target what is due, in one message; return when the next is due (UTC epoch seconds), None for never.

        Raises NotSentError, OSError; the messages wait on then.
        """
        tray = self._tray(target)
        if not tray.is_there:
            return None
        with tray.alone():
            now = time.time()
            kept = tray.kept(now)
            if due := self._due(kept, now):
                self._send(target, due)
                tray.sent(due, now)
            left = [one for one in kept if one not in due]
        return self._due_at(left, now) if left else None

    def _send(self, target: Target, due: Sequence[Kept]) -> None:
        messages = in_order([one.message for one in due])
        title, text = together(messages, self.quiet.zone)
        pictures = [(f"{index}.jpg", one.picture) for index, one in enumerate(due, 1) if one.picture]
        target.send(title, text, messages[0].moment, pictures[: self.pictures])

    def _due(self, kept: Sequence[Kept], now: float) -> list[Kept]:
        """Return what is to be sent now: all, once the oldest has waited long enough; urgent ones always."""
        ordinary = [one for one in kept if not one.urgent]
        if ordinary and self._due_at(ordinary, now) <= now:
            return list(kept)
        return [one for one in kept if one.urgent]

    def _due_at(self, ordinary: Sequence[Kept], now: float) -> float:
        return self.quiet.ends_at(min(ordinary[0].kept_at, now) + self.digest_seconds)

    def _tray(self, target: Target) -> Tray:
        return Tray(self.folder / target.key)


class Clockwork:
    """Sends a target what becomes due while no hook is called, in a thread of its own that ends with the process."""

    def __init__(self, post: Post, target: Target) -> None:
        self._post = post
        self._target = target
        self._woken = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def wake(self) -> None:
        """Have it look when the next is due: something was kept."""
        self._woken.set()

    def _run(self) -> None:
        left, failures = FIRST_LOOK_SECONDS, 0
        while True:
            self._woken.wait(left)
            self._woken.clear()
            try:
                left, failures = self._look(), 0
            except Exception:  # noqa: BLE001 - whatever it is, the next call meets it, too, and says it; this goes on
                time.sleep(min(_FIRST_WAIT_SECONDS * 2 ** min(failures, 10), _LONGEST_WAIT_SECONDS))
                left, failures = 0.0, failures + 1

    def _look(self) -> float:
        """Send what is due; return in how many seconds to look again."""
        next_at = self._post.flush(self._target) if is_ours(self._post.folder) else None
        return _LOOK_SECONDS if next_at is None else min(max(next_at - time.time(), 0.05), _LOOK_SECONDS)


def is_ours(folder: Path) -> bool:
    """Return whether a folder belongs to the user who asks: root, who only looks, leaves the service's messages alone."""
    return folder.is_dir() and folder.stat().st_uid == os.geteuid()
