"""What ends the main loop's sleep."""

from __future__ import annotations

import threading


class Wake:
    """Ends the loop's sleep; `for_files` also asks for a look at the inbox. Any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._files = threading.Event()

    def __call__(self) -> None:
        """Wake the loop."""
        self._event.set()

    def for_files(self) -> None:
        """Wake the loop and have the inbox looked at."""
        self._files.set()
        self._event.set()

    def take(self) -> bool:
        """Begin a tick: tell whether files woke us, and be ready for the next wake-up."""
        self._event.clear()
        files = self._files.is_set()
        if files:
            self._files.clear()  # before the look: what comes after asks for another one
        return files

    def wait(self, seconds: float) -> None:
        """Sleep until woken, for so long at most."""
        self._event.wait(seconds)
