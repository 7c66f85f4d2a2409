"""Waiting until the other side's system has taken what was sent. Linux tells; elsewhere nothing is waited for."""

from __future__ import annotations

import fcntl
import select
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_SIOCOUTQ: Final = 0x5411  # tcp(7): the bytes of the send queue, those on their way and not acknowledged among them
_LONGEST_PAUSE_MS = 20


class Withheld:
    """A body whose last bytes wait until all before them were taken; the connection puts its own way to do so here."""

    def __init__(self) -> None:
        self.wait_until_taken: Callable[[], None] = lambda: None


class HungUpError(BrokenPipeError):
    """The other side has ended the connection, perhaps after an answer: as for any broken pipe, urllib3 reads that."""


def wait_until_taken(sock: socket.socket, block_bytes: int, seconds: float) -> None:
    """Return when all that was sent on a TCP connection, plain or TLS, has been acknowledged by the other system.

    Raises HungUpError when the other side will send no more, TimeoutError when a block, or the rest, takes longer than
    `seconds`.
    """
    if sys.platform != "linux":
        return
    line = select.poll()
    line.register(sock, select.POLLRDHUP)
    mark, ends_at, pause_ms = _untaken_bytes(sock), time.monotonic() + seconds, 0
    while not line.poll(pause_ms):
        left = _untaken_bytes(sock)
        if not left:
            return
        if left <= mark - block_bytes:
            mark, ends_at = left, time.monotonic() + seconds
        if time.monotonic() > ends_at:
            raise TimeoutError("what was sent was taken too slowly")
        pause_ms = min(pause_ms + 1, _LONGEST_PAUSE_MS)
    raise HungUpError


def _untaken_bytes(sock: socket.socket) -> int:
    """Return how many bytes are not acknowledged; 0 where the system does not tell: then there is nothing to wait for."""
    try:
        (left,) = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(left)
