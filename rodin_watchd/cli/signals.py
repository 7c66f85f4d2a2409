"""The signals that a running service heeds."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from rodin_watchd.service.serving import Serving

ENDING = (signal.SIGTERM, signal.SIGINT)


def await_service() -> None:
    """End in order at a SIGTERM before there is a service: what is held is given back. SIGHUP has nothing to reload yet."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))


def _end_at_once() -> None:
    """Have the next signal end the process; by default the kernel does not end a container's first one, pid_namespaces(7)."""
    for number in ENDING:
        signal.signal(number, _leave if os.getpid() == 1 else signal.SIG_DFL)


def _leave(number: int, _frame: object) -> None:
    os._exit(128 + number)


def heed_signals(service: Serving) -> None:
    """End politely at the first SIGTERM or Ctrl-C, at once at the second; read the config anew at SIGHUP.

    The SIGHUP of a terminal that was closed ends the service politely: nobody can see it any more.
    """
    terminal = _is_terminal()

    def stop(_number: int, _frame: object) -> None:
        _end_at_once()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _apart(service.stop)

    def reload(number: int, frame: object) -> None:
        if terminal and not _is_terminal():
            stop(number, frame)
        else:
            _apart(service.ask_reload)

    for number in ENDING:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, reload)


def _is_terminal() -> bool:
    """Tell whether there is a terminal, open on the other side."""
    return os.isatty(sys.stderr.fileno())


def _apart(action: Callable[[], None]) -> None:
    """Do it in another thread: the loop, interrupted here, may hold a lock that it takes."""
    threading.Thread(target=action).start()
