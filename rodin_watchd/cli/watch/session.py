"""The live view at work: keys and what the store says go in, lines come out. The store is asked in a thread of its own."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import tzinfo
from functools import partial
from typing import Final

from rich.console import Console

from rodin_watchd.cli.watch.drawing import FINE, PLAIN, Canvas, Glyphs, as_ansi, drawn
from rodin_watchd.cli.watch.screen import (
    Act,
    AskPause,
    AskRetry,
    Failure,
    Fit,
    Found,
    Look,
    Question,
    Quit,
    Read,
    Refresh,
    Reply,
    Screen,
    pressed,
    received,
)
from rodin_watchd.cli.watch.store_view import StoreView
from rodin_watchd.cli.watch.terminal import LiveTerminal
from rodin_watchd.config import Config

LOOK_SECONDS: Final = 1.0
"""The store is looked at so often, and it is drawn again how far tasks should be."""

_SHARE: Final = 0.01
"""A look takes at most this part of a processor: a store in which many sets wait is looked at less often."""


WIDEST: Final = 10_000
"""More columns than any terminal has: the lines are cut before they get there."""


def watch(config: Config, zone: tzinfo, *, color: bool) -> None:
    """Show the live view in the terminal of the standard streams until `q`, Ctrl-C or a signal."""
    encoding = sys.stdout.encoding or "utf-8"
    console = Console(force_terminal=True, no_color=None if color else True, width=WIDEST, height=1)
    terminal = LiveTerminal(sys.stdin.fileno(), sys.stdout.fileno(), encoding)
    with contextlib.suppress(KeyboardInterrupt, EOFError), terminal:
        _Session(StoreView(config, zone), terminal, _Artist(console, zone, _glyphs(encoding))).run()


def _glyphs(encoding: str) -> Glyphs:
    try:
        "".join(FINE).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return FINE


class _Artist:
    """Makes the lines of a screen for a terminal."""

    def __init__(self, console: Console, zone: tzinfo, glyphs: Glyphs) -> None:
        self._console = console
        self._zone = zone
        self._glyphs = glyphs

    def lines(self, screen: Screen, size: tuple[int, int]) -> tuple[list[str], Fit]:
        """Return them, and how they fit."""
        lines, fit = drawn(screen, Canvas(time.time(), self._zone, *size, self._glyphs))
        return [as_ansi(line, self._console) for line in lines], fit


class _Session:
    """The main thread's part; the store is the worker's."""

    def __init__(self, store: StoreView, terminal: LiveTerminal, artist: _Artist) -> None:
        self._store = store
        self._terminal = terminal
        self._artist = artist
        self._screen = Screen()
        self._fit = Fit()
        self._worker = _Worker(terminal.wake)
        self._is_looking = False
        self._look_at = 0.0  # monotonic

    def run(self) -> None:
        """Work until somebody quits."""
        while True:
            self._look_if_due()
            self._draw()
            for key in self._terminal.wait(LOOK_SECONDS):
                self._screen, wish = pressed(self._screen, key, self._fit)
                if isinstance(wish, Quit):
                    return
                if isinstance(wish, Refresh):
                    self._terminal.forget_lines()
                    self._look_at = 0.0
                elif wish is not None:
                    self._worker.ask(self._call(wish))
            for found, seconds in self._worker.found():
                self._receive(found, seconds)

    def _draw(self) -> None:
        lines, self._fit = self._artist.lines(self._screen, self._terminal.size)
        self._terminal.paint(lines)

    def _call(self, wish: Read | AskRetry | AskPause | Act) -> Callable[[], Found]:
        match wish:
            case Read():
                return partial(self._store.read, wish.job_id)
            case AskRetry():
                return partial(self._store.retry, wish.job_id)
            case AskPause():
                return self._store.pause_or_resume
            case Act():
                return partial(self._store.act, wish.question)

    def _look_if_due(self) -> None:
        """Have the store looked at, one look at a time, and what is read of it renewed."""
        if self._is_looking or time.monotonic() < self._look_at:
            return
        self._is_looking = True
        self._worker.ask(self._store.look)
        if self._screen.reading and self._screen.reading.job_id:
            self._worker.ask(partial(self._store.read, self._screen.reading.job_id))

    def _receive(self, found: Found, seconds: float) -> None:
        """Show what the store said; `seconds` of a processor went into it."""
        self._screen = received(self._screen, found)
        if isinstance(found, Look | Failure):
            self._is_looking = False
            self._look_at = time.monotonic() + max(LOOK_SECONDS, seconds / _SHARE)
        elif isinstance(found, Reply):
            self._look_at = 0.0  # what was done is to be seen
        elif isinstance(found, Question):
            self._terminal.forget_keys()  # what was typed before the question can be read is no answer to it


class _Worker:
    """A thread that makes one call after the other, and wakes the session; it ends with the process, also in the middle of a call."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._calls: queue.SimpleQueue[Callable[[], Found]] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[tuple[Found | Exception, float]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)

    def ask(self, call: Callable[[], Found]) -> None:
        """Have this called."""
        if not self._thread.is_alive():
            self._thread.start()
        self._calls.put(call)

    def found(self) -> Iterator[tuple[Found, float]]:
        """Yield what was found since, each with the seconds of a processor that it took; raises what a call has raised."""
        while True:
            try:
                found, seconds = self._found.get_nowait()
            except queue.Empty:
                return
            if isinstance(found, Exception):
                raise found
            yield found, seconds

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            begun = time.thread_time()
            try:
                found: Found | Exception = call()
            except Exception as error:  # noqa: BLE001 - raised again where it can be seen: in the main thread
                found = error
            self._found.put((found, time.thread_time() - begun))
            self._wake()
