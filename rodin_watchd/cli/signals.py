"""The signals that a running service heeds."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

from rodin_watchd.service.serving import Serving

ENDING = (signal.SIGTERM, signal.SIGINT)


def heed_signals(service: Serving) -> None:
    """End politely at the first SIGTERM or Ctrl-C, at once at the second; read the config anew at SIGHUP.

    The SIGHUP of a terminal that was closed ends the service politely: nobody can see it any more.
    """
    terminal = _is_terminal()

    def stop(_number: int, _frame: object) -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
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
