"""How much memory processes have, asked of real ones."""

from __future__ import annotations

import mmap
import os
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

from rodin_watchd.hooks.memory import used_bytes

MANY = 1 << 50
LARGE = 64 << 20


def hold(line: Connection, own_bytes: int) -> None:
    """Take some memory in a process of its own, say so, and keep it until somebody answers."""
    kept = b"x" * own_bytes
    line.send(None)
    line.recv()
    del kept


def used_by_children(number: int, own_bytes: int, most: int) -> int:
    """Return how much memory so many children of this process have, each with some of its own."""
    lines = [Pipe() for _ in range(number)]
    children = [get_context("fork").Process(target=hold, args=(theirs, own_bytes)) for _, theirs in lines]
    for child, (ours, _) in zip(children, lines, strict=True):
        child.start()
        ours.recv()
    try:
        return used_bytes([child.pid or 0 for child in children], most)
    finally:
        for child, (ours, _) in zip(children, lines, strict=True):
            ours.send(None)
            child.join()


def test_what_processes_share_is_counted_once() -> None:
    """Where it matters: a pool of workers has no more memory because it was forked from a large process."""
    shared = b"x" * LARGE
    summed = used_by_children(4, 0, MANY)
    assert summed > 4 * LARGE
    assert used_by_children(4, 0, 0) < summed / 2
    assert len(shared) == LARGE


def test_what_processes_have_of_their_own_adds_up() -> None:
    """However it is counted."""
    assert used_by_children(3, LARGE, MANY) > 3 * LARGE
    assert used_by_children(3, LARGE, 0) > 3 * LARGE


def test_reserved_addresses_do_not_count() -> None:
    """Only pages that were written to."""
    before = used_bytes([os.getpid()], 0)
    with mmap.mmap(-1, LARGE) as reserved:
        assert used_bytes([os.getpid()], 0) < before + LARGE // 2
        reserved.write(b"x" * LARGE)
        assert used_bytes([os.getpid()], 0) > before + LARGE // 2


def test_a_process_that_has_ended_has_none() -> None:
    """It may end at any time."""
    child = get_context("fork").Process(target=os.getpid)
    child.start()
    child.join()
    assert used_bytes([child.pid or 0], 0) == 0
