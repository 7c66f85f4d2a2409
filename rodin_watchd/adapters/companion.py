"""A process that runs next to the service: started, listened to, and ended with it, also where the service is killed.

What the process says is read line by line, in threads: its first line on standard output says that it does its work, and what
stands on standard error last says why it ended. Its standard input stays open as long as the service lives: at its end the process
ends, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Final

END_SECONDS: Final = 4.0
_LAST_LINES: Final = 4
_LONGEST_LINE: Final = 2000


class Companion:
    """The process. `say` is called with each of its lines, in threads. Raises OSError where it cannot be started."""

    def __init__(self, command: Sequence[str], say: Callable[[str], None]) -> None:
        self._say = say
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = subprocess.Popen(  # noqa: S603 - this program itself
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        self._is_ready = threading.Event()
        self._reading = [
            threading.Thread(target=read, name="companion", daemon=True)
            for read in (self._read_output, self._read_errors)
        ]
        for thread in self._reading:
            thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it does its work."""
        return self._is_ready.is_set()

    def last_words(self) -> str | None:
        """Return what it said last, once it has ended; None while it runs."""
        if self._process.poll() is None:
            return None
        self._join()
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
        self._join()

    def _join(self) -> None:
        for thread in self._reading:
            thread.join(1.0)

    def _read_output(self) -> None:
        for line in _lines_of(self._process.stdout):
            self._is_ready.set()
            self._say(line)

    def _read_errors(self) -> None:
        for line in _lines_of(self._process.stderr):
            self._lines.append(line)
            self._say(line)


def _lines_of(stream: IO[str] | None) -> Iterator[str]:
    """Yield the lines of a pipe until its end, without blanks around them and without empty ones."""
    assert stream  # noqa: S101 - a pipe, as asked for
    with stream:
        for line in iter(lambda: stream.readline(_LONGEST_LINE), ""):
            if words := line.strip():
                yield words
