"""A terminal for tests: a program on a pseudo-terminal, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyte

SECONDS = 30.0
"""How long a test waits for something to be seen."""


class ScreenReader:
    """A running program and its screen, as an xterm would show it."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, columns: int, lines: int) -> None:
        self.process = process
        self._modes = termios.tcgetattr(ours)
        self.written = b""  # all that came
        self._ours = ours
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def lines(self) -> list[str]:
        """What the screen shows."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The same, as one text."""
        return "\n".join(self.lines)

    def colors(self, column: int, line: int) -> tuple[str, bool]:
        """Return the color of a character, and whether it is in reverse."""
        character = self._screen.buffer[line][column]
        return character.fg, character.reverse

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal, as a person who drags its corner."""
        self._screen.resize(lines, columns)
        _set_size(self._ours, columns, lines)

    def until(self, fits: Callable[[str], Any], wanted: str = "") -> str:
        """Read until the screen fits; return its text."""
        until_at = time.monotonic() + SECONDS
        while not fits(self.text):
            assert time.monotonic() < until_at, f"{wanted or fits} is not seen on:\n{self.text}"
            assert self._read(0.2), f"the program ended, before {wanted or fits} was seen:\n{self.text}"
        return self.text

    def shows(self, *words: str) -> str:
        """Read until the screen has all of these words; return its text."""
        return self.until(lambda text: all(word in text for word in words), repr(words))

    def ended(self) -> int:
        """Read to the end of the program, and return its exit code."""
        until_at = time.monotonic() + SECONDS
        while self._read(0.2):
            assert time.monotonic() < until_at, f"it does not end:\n{self.text}"
        return self.process.wait(SECONDS)

    def _read(self, seconds: float) -> bool:
        """Take in what the program writes within some time; return whether it may write more."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 65_536)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def is_given_back(self) -> bool:
        """Return whether the terminal is as it was: its modes, its first screen, its cursor, its long lines."""
        hidden = (b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?7l", b"\x1b[?7h")
        restored = all(self.written.rfind(on) > self.written.rfind(off) for off, on in hidden)
        return restored and termios.tcgetattr(self._ours) == self._modes


def _set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def on_a_terminal(
    command: Sequence[str | bytes], environment: Mapping[str, str], columns: int = 80, lines: int = 24
) -> Iterator[ScreenReader]:
    """Run a program on a terminal of this size, of its own session, so that the keys for signals work; it is killed in the end."""
    ours, theirs = pty.openpty()
    _set_size(ours, columns, lines)
    wanted = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    given = {"TERM": "xterm-256color", "LANG": "C.UTF-8", **wanted}
    of_its_own = ["setsid", "--ctty", *command]  # or no key is a signal
    process = subprocess.Popen(of_its_own, env=given, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield ScreenReader(process, ours, columns, lines)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(ours)
