"""What this process hides of itself, so that the API key stays in it: its memory, and its environment."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)


def hide_memory() -> None:
    """Let no core dump be made of this process, and nobody but root look into its memory and its environment.

    A limit of 0 alone would not do: the kernel does not heed it for dumps that it pipes to a program (core(5)). Holds for
    children until they execute another program. Where the system knows no such wish, the limit is all there is.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def hide_variable(name: str) -> None:
    """Take a variable out of the environment: from children, from `ps e`, and from `/proc/PID/environ`.

    Removing it is not enough for the last two: they show the memory in which the process was given its environment.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    if address := getenv(os.fsencode(name)):
        ctypes.memset(address, ord("*"), len(ctypes.string_at(address)))
    os.environ.pop(name, None)
