"""The terminal of the live view: keys without an echo, the second screen, and only the lines that changed are written.

Whatever ends the view, an error, Ctrl-C, SIGTERM or the end of the connection, gives the terminal back as it was; so does
Ctrl-Z until `fg`. (Nothing can do that for SIGKILL: `reset` does.)
"""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Final, Self

from rodin_watchd.cli.watch import screen as keys

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""The second screen, no cursor, no line goes on in the next one: a character of a doubtful width breaks one line alone."""

_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

_ESCAPE_SECONDS: Final = 0.1
"""A key that begins with ESC comes in one piece, or over a slow line so soon after it."""

_MOST_BYTES: Final = 4096

_SEQUENCES: Final[Mapping[str, str]] = {
    **{
        f"\x1b{kind}{letter}": key
        for kind in "[O"
        for letter, key in zip("ABCDHF", ("up", "down", "right", "left", "home", "end"), strict=True)
    },
    "\x1b[5~": keys.PAGE_UP,
    "\x1b[6~": keys.PAGE_DOWN,
    "\x1b[1~": keys.HOME,
    "\x1b[4~": keys.END,
    "\x1b[7~": keys.HOME,
    "\x1b[8~": keys.END,
}
_CONTROLS: Final[Mapping[str, str]] = {
    "\r": keys.ENTER,
    "\n": keys.ENTER,
    "\t": keys.TAB,
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x1b": keys.ESCAPE,
    "\x0c": keys.REFRESH,
}


def keys_in(text: str) -> list[str]:
    """Return the keys that were pressed; a sequence that is not known is no key, and certainly not its letters."""
    found = []
    while text:
        length = _length_of_key(text)
        key, text = text[:length], text[length:]
        name = _SEQUENCES.get(key) or _CONTROLS.get(key) or (key if key.isprintable() else "")
        if name:
            found.append(name)
    return found


def _length_of_key(text: str) -> int:
    """Return how many characters the first key has (ECMA-48, 5.4: a control sequence ends with a byte of 0x40 to 0x7e)."""
    if len(text) == 1 or text[0] != "\x1b":
        return 1
    if text[1] == "O":
        return 3
    if text[1] != "[":
        return 1 if text[1] == "\x1b" else 2  # Alt and a letter
    return next((at + 1 for at, letter in enumerate(text) if at > 1 and "@" <= letter <= "~"), len(text))


class LiveTerminal:
    """The terminal as a context: entered, it belongs to the view. Of the main thread alone, but for `wake`."""

    def __init__(self, source: int, target: int, encoding: str) -> None:
        self._source = source
        self._target = target
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._has_keys = os.isatty(source)
        self._modes: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._lines: Sequence[str] = ()
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        handlers = {
            signal.SIGWINCH: self._resized,
            signal.SIGTSTP: self._stopped,
            signal.SIGTERM: _ended,
            signal.SIGHUP: _ended,
        }
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._take()
        return self

    def __exit__(self, *_error: object) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._waker)

    # ---- what it shows ----------------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """Its columns and lines now."""
        columns, lines = os.get_terminal_size(self._target)
        return columns or 80, lines or 24  # some programs that offer a terminal do not say

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines, of which only those are written that have changed."""
        whole = len(lines) != len(self._lines)
        changed = [
            f"\x1b[{number};1H{line}\x1b[0m\x1b[K"
            for number, line in enumerate(lines, 1)
            if whole or line != self._lines[number - 1]
        ]
        self._lines = list(lines)
        if changed:
            self._write("".join(changed))

    # ---- what happens -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> list[str]:
        """Return the keys that were pressed: as soon as any was, somebody calls `wake`, the size changes, or the time is over."""
        watched = [self._woken, *([self._source] if self._has_keys else [])]
        ready, _, _ = select.select(watched, [], [], max(seconds, 0.0))
        if self._woken in ready:
            os.read(self._woken, _MOST_BYTES)
        return self._pressed() if self._source in ready else []

    def forget_lines(self) -> None:
        """Have the next `paint` write all lines: something else may have written over them."""
        self._lines = ()

    def wake(self) -> None:
        """End a `wait`; from any thread, and after the end without an effect."""
        try:
            os.write(self._waker, b"!")
        except OSError:  # full: it is woken anyway; or closed
            return

    def forget_keys(self) -> None:
        """Drop the keys that were pressed and not read yet."""
        if self._has_keys:
            termios.tcflush(self._source, termios.TCIFLUSH)

    def _pressed(self) -> list[str]:
        data = os.read(self._source, _MOST_BYTES)
        if not data:  # the other end is gone: there are no keys any more
            raise EOFError
        text = self._decoder.decode(data)
        if text.endswith(("\x1b", "\x1b[", "\x1bO")) and select.select([self._source], [], [], _ESCAPE_SECONDS)[0]:
            text += self._decoder.decode(os.read(self._source, _MOST_BYTES))
        return keys_in(text)

    # ---- whose it is ------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        if self._has_keys:
            self._modes = termios.tcgetattr(self._source)
            tty.setcbreak(self._source)  # signals stay: Ctrl-C and Ctrl-Z mean what they always do
        self._lines = ()
        self._write(_ENTER)

    def _give_back(self) -> None:
        try:
            self._write(_LEAVE)
            if self._has_keys:
                termios.tcsetattr(self._source, termios.TCSAFLUSH, self._modes)
        except (OSError, termios.error):  # it is not there any more
            return

    def _write(self, text: str) -> None:
        """Write by the descriptor: a signal's handler writes, too, and Python's streams cannot be written by both."""
        data = text.encode(self._encoding, "replace")
        while data:
            data = data[os.write(self._target, data) :]

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.forget_lines()
        self.wake()

    def _stopped(self, _number: int, _frame: FrameType | None) -> None:
        """Give the terminal back while the shell has it, and take it again after `fg`."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self.wake()


def _ended(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
