"""Acting right before a system call of the code under test: what others do, or a kill, in whichever moment.

Python tells of the calls that change files, or open them, before it makes them (`sys.addaudithook`).
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

MOST_CALLS = 300
"""More than any act makes."""

_CALLS = frozenset(
    {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.scandir", "os.listdir", "os.truncate"}
)


class Killed(BaseException):
    """The process is gone."""


class _Trap:
    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None
        self.left = 0
        self.thread = 0

    def __call__(self, event: str, _arguments: object) -> None:
        if self.act is None or event not in _CALLS or threading.get_ident() != self.thread:
            return
        if self.left:
            self.left -= 1
            return
        act, self.act = self.act, None
        act()


_TRAP = _Trap()
sys.addaudithook(_TRAP)  # it cannot be taken away again; without an act it does nothing


@contextlib.contextmanager
def before_call(number: int, act: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Act once, right before the call of this number (from 0) that this thread makes; give what tells whether it came."""
    _TRAP.act, _TRAP.left, _TRAP.thread = act, number, threading.get_ident()
    came: list[bool] = []
    try:
        yield lambda: came[0] if came else _TRAP.act is None
    finally:
        came.append(_TRAP.act is None)
        _TRAP.act = None


def kill() -> None:
    """End the act under test, as a kill does."""
    raise Killed
