"""Ending a plugin's processes and all that they started, wherever that went."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from rodin_watchd.hooks.descendants import end_below


def end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and all its descendants, and return its status as `Popen.returncode` tells it.

    The process is a subreaper (prctl(2)): as long as it lives, whatever the plugin started is below it, also what left its
    session. May be repeated.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)  # it takes in what loses its parent, and ends only by us
        end_below(process.pid)
        process.kill()
    return process.wait()
