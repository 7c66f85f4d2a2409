"""Worker threads that the test lets go, one step at a time: every order of events can be had, and had again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

TIMEOUT_SECONDS = 30.0
_LOOK_SECONDS = 0.002


class Turnstile(Executor):
    """Takes steps as a thread pool does, and begins none before the test says so.

    `said` tells how many messages of the workers wait for the main thread. An upload speaks to it in the middle of its
    step, and waits for the answer: it stands still then.
    """

    def __init__(self, said: Callable[[], int]) -> None:
        self._said = said
        self._waiting: list[Callable[[], Any]] = []
        self._threads: list[threading.Thread] = []

    def submit(self, step: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:  # noqa: ANN401 - as inherited
        """Take a step; it has to wait."""
        self._waiting.append(lambda: step(*args, **options))
        return Future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Drop what has not begun; with `wait`, let all that has begun end."""
        if cancel_futures:
            self._waiting.clear()
        while wait and self._waiting:  # as in any pool, they are still let go
            threading.Event().wait(_LOOK_SECONDS)
        for thread in list(self._threads) if wait else ():
            thread.join(TIMEOUT_SECONDS)
            assert not thread.is_alive(), "a step hangs"

    @property
    def waiting(self) -> int:
        """How many steps have not begun."""
        return len(self._waiting)

    def drop(self) -> None:
        """Have the steps that wait never begin, as when the power is cut."""
        self._waiting.clear()

    def let_go(self, pick: int) -> None:
        """Let one of the waiting steps go, until it ends or asks the main thread."""
        said = self._said()
        step = self._waiting[pick % len(self._waiting)]
        thread = threading.Thread(target=step, daemon=True)
        thread.start()
        self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
        self._waiting.remove(step)  # only now: who waits for the end of all steps finds it in one of the two lists
        self._until(lambda: self._said() > said or not thread.is_alive())

    def settle(self, asking: int) -> None:
        """Wait until no step moves: all that have begun have ended, but for so many that wait for the main thread."""
        self._until(lambda: sum(thread.is_alive() for thread in self._threads) <= asking)

    def _until(self, true: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(TIMEOUT_SECONDS / _LOOK_SECONDS)):
            if true():
                return
            pause.wait(_LOOK_SECONDS)
        raise AssertionError("a step hangs")
