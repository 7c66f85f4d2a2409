"""A process that runs beside the service: started, listened to, and ended with it, also where the service is killed.

What the process says on standard output and standard error is read line by line in a thread. Its standard input stays open as long
as the service lives: at its end the process ends, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

END_SECONDS: Final = 4.0
_LAST_LINES: Final = 4
_LONGEST_LINE: Final = 2000


class Companion:
    """The process. `say` is called with each of its lines, in a thread. Raises OSError where it cannot be started."""

    def __init__(self, command: Sequence[str], say: Callable[[str], None]) -> None:
        self._say = say
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        self._reading = threading.Thread(target=self._read, name="companion", daemon=True)
        self._reading.start()

    def last_words(self) -> str | None:
        """Return what it said last, once it has ended; None while it runs."""
        if self._process.poll() is None:
            return None
        self._reading.join(1.0)
        return " ".join(self._lines) or f"It ended with exit code {self._process.returncode}."

    def close(self) -> None:
        """End it, politely first; may be repeated."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join(1.0)

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 - a pipe, as asked for
        with self._process.stdout as lines:
            for line in iter(lambda: lines.readline(_LONGEST_LINE), ""):
                if words := line.strip():
                    self._lines.append(words)
                    self._say(words)
