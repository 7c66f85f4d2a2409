"""Imports the command line once; then, for each order on a socket, forks and runs it as `python -m rodin_watchd` does."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from typing import Any

COMMANDS = ("check", "commands", "explain", "health", "plugins", "run", "setup", "status")
MOST_BYTES = 100_000
"""How large an order may be."""


def main() -> None:
    """Carry out orders until nobody can give one any more; a child returns, too, once it is set up to be the command."""
    for command in COMMANDS:
        importlib.import_module(f"rodin_watchd.cli.{command}")
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        while True:
            data, streams, _, _ = socket.recv_fds(orders, MOST_BYTES, 3)
            if not data:
                os._exit(0)
            child = os.fork()
            if child == 0:
                become(json.loads(data), streams)
                return
            for stream in streams:
                os.close(stream)
            orders.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def become(order: dict[str, Any], streams: list[int]) -> None:
    """Take the arguments, environment, folder and standard streams of a process of one's own; it is ended after so many seconds."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["folder"])
    os.umask(order["umask"])
    signal.alarm(order["seconds"])
    sys.argv = order["arguments"]


if __name__ == "__main__":
    main()
    runpy.run_module("rodin_watchd", run_name="__main__")
