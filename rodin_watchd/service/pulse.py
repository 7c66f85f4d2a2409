"""The pulse: what the service manager hears, from the main loop alone, so that a loop that is stuck falls silent."""

from __future__ import annotations

import math
from collections.abc import Callable

from rodin_watchd.adapters.systemd import Manager

BEATS = 4
"""So many signs of life fit into the time that the manager waits for one; sd_watchdog_enabled(3) asks for two."""

EXTENSION_SECONDS = 30.0
"""What is asked for at a time while a start, a reload or an end takes long."""

_ASK_SECONDS = 1.0


class Pulse:
    """Tells the manager when the service is ready, how it is, and that it lives. The main thread's alone."""

    def __init__(self, manager: Manager, monotonic: Callable[[], float]) -> None:
        self._manager = manager
        self._monotonic = monotonic
        self._ready = False
        self._reading = False
        self._status = ""
        self._beaten_at = -math.inf
        self._asked_at = -math.inf
        self._note = ""  # what is to be read after each status

    def beat(self, status: str, *, looked: bool) -> None:
        """End a tick: `looked` tells whether the inbox was looked at since the start or reload."""
        self._live()
        self._notify(status)
        if not self._ready and looked and not self._reading:
            self._ready = self._manager.ready()
        elif not self._ready:
            self._ask_for_time()

    def wait(self, status: str) -> None:
        """Tell that a start or an end takes its time, and why. No watchdog runs then: the manager looks at its time limits."""
        self._notify(status)
        self._ask_for_time()

    def reload(self, note: str) -> None:
        """Tell that the configuration is read anew, with a note."""
        self._manager.reloading()
        self._ready, self._reading, self._note = False, True, note

    def reloaded(self, note: str) -> None:
        """Say that it was read; the next beat after a look tells so."""
        self._reading, self._note = False, note

    def stop(self) -> None:
        """Tell that the service ends."""
        self._manager.stopping()

    @property
    def longest_sleep_seconds(self) -> float:
        """How long the loop may sleep between two beats."""
        watched = self._manager.watchdog_seconds
        return watched / BEATS if watched else math.inf

    def _live(self) -> None:
        now = self._monotonic()
        if now - self._beaten_at >= self._manager.watchdog_seconds / BEATS and self._manager.alive():
            self._beaten_at = now

    def _notify(self, status: str) -> None:
        status = "; ".join(filter(None, (status, self._note)))
        if status != self._status and self._manager.status(status):
            self._status = status

    def _ask_for_time(self) -> None:
        now = self._monotonic()
        if now - self._asked_at >= _ASK_SECONDS and self._manager.extend(EXTENSION_SECONDS):
            self._asked_at = now
