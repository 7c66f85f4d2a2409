"""File events by watchdog's public `Observer`, where there is nothing better."""

from __future__ import annotations

import os
from pathlib import Path

from watchdog.events import FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from rodin_watchd.adapters.watcher._mailbox import PROBE_NAME, Mailbox

HAS_HINTS = Observer is not PollingObserver
"""Whether this platform has file events at all."""


class HintSession(FileSystemEventHandler):
    """watchdog's public Observer as a hint: every event wakes, none vouches, since it may come seconds late.

    Raises OSError, and leaves nothing running, if the root cannot be watched.
    """

    def __init__(self, root: bytes, mailbox: Mailbox) -> None:
        self.sound = True
        self._mailbox = mailbox
        self._observer = Observer()
        # Without "created", what is moved in from outside would go unseen.
        kinds: list[type[FileSystemEvent]] = [FileClosedEvent, FileMovedEvent, FileCreatedEvent]
        self._observer.schedule(self, os.fsdecode(root), recursive=True, event_filter=kinds)
        try:
            self._observer.start()
        except OSError:
            self._observer.stop()
            raise

    @property
    def alive(self) -> bool:
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def lose(self, text: str) -> None:
        self.sound = False
        self._mailbox.say(text)

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if Path(os.fsdecode(event.src_path)).name == PROBE_NAME:
            self._mailbox.probed.set()
        else:
            self._mailbox.wake()
