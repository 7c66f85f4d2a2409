"""Imports the program once; then, for each order on standard input, forks and runs it as `python -m rodin_watchd` does."""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import sys
from typing import Any

import rodin_watchd.cli.main
import rodin_watchd.cli.run  # noqa: F401 - what is imported here need not be imported after each fork


def main() -> None:
    """Serve orders until standard input ends; the child returns, too, once it is set up to be the daemon."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            become(order)
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    os._exit(0)


def become(order: dict[str, Any]) -> None:
    """Take the descriptors and arguments of a process of one's own, and count effects from here on."""
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(source, target)
    signal.alarm(order["seconds"])
    sys.argv = order["arguments"]
    when, call, effects = (order[name].encode() for name in ("when", "call", "effects"))
    ctypes.CDLL(None).crash_arm(ctypes.c_long(order["at"]), when, order["error"], call, order["descriptors"], effects)


if __name__ == "__main__":
    main()
    runpy.run_module("rodin_watchd", run_name="__main__")
