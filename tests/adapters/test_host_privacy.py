"""What a process hides of itself; each in a process of its own, for what is hidden stays hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HIDE = """
import ctypes, os, resource, subprocess, sys
from pathlib import Path
from rodin_watchd.adapters.host import hide_memory, hide_variable
"""
SECRET = "sk-of-the-privacy-tests"  # noqa: S105 - made up


def told(program: str) -> str:
    """Run a program that hides things, and return what it says."""
    environment = {**os.environ, "A_SECRET": SECRET, "ANOTHER": "stays"}
    run = subprocess.run(
        [sys.executable, "-c", HIDE + program], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    return run.stdout.strip()


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here")


@needs_proc
def test_a_hidden_variable_is_nowhere() -> None:
    """Not in this process's environment, not in a child's, not where the system shows it; the others stay."""
    program = """
def seen():
    child = subprocess.run(["env"], capture_output=True, text=True).stdout
    return [("A_SECRET" in os.environ), ("A_SECRET" in child), "{SECRET}" in Path("/proc/self/environ").read_text()]
before = seen()
hide_variable("A_SECRET")
print(before, seen(), os.environ["ANOTHER"], "ANOTHER=stays" in Path("/proc/self/environ").read_text())
"""
    told_all = told(program.replace("{SECRET}", SECRET))
    assert told_all == "[True, True, True] [False, False, False] stays True"


def test_hiding_what_is_not_there_is_no_error() -> None:
    """The key may have come from a file; and hiding may be repeated."""
    program = 'hide_variable("NOT_THERE"); hide_variable("A_SECRET"); hide_variable("A_SECRET"); print("fine")'
    assert told(program) == "fine"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_memory_is_private() -> None:
    """The limit for core dumps is 0, and the kernel is told that none may be made, to whomever it would give them."""
    program = """
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
hide_memory()
hide_memory()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""
    before, after = told(program).splitlines()
    assert before == "1"
    assert after == "0 (0, 0)"


@needs_proc
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two other users")
def test_nobody_but_root_looks_into_the_process() -> None:
    """A program of the same user may read neither its environment nor its memory."""
    program = """
os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # becoming another user hides, too: undone, so that it is `hide_memory` that counts
def readable():
    if (child := os.fork()) == 0:
        try:
            os._exit(not Path(f"/proc/{os.getppid()}/environ").read_bytes())
        except PermissionError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0
before = readable()
hide_memory()
print(before, readable())
"""
    assert told(program) == "True False"
