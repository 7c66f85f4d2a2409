"""Sending a body while the other side may already speak. Linux tells what its system has taken; elsewhere nothing is waited for."""

from __future__ import annotations

import fcntl
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

ANSWER_GRACE_SECONDS: Final = 2.0
"""So long an answer that is on its way is waited for, when a body was broken off before its end."""

_SIOCOUTQ: Final = 0x5411  # tcp(7): the bytes of the send queue, those on their way and not acknowledged among them
_LONGEST_PAUSE_MS = 20
_PIECE_BYTES = 64 * 1024
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Withheld:
    """A body whose last bytes wait until all before them were taken; the connection puts its own way to do so here."""

    def __init__(self) -> None:
        self.wait_until_taken: Callable[[], None] = lambda: None
        self.closing_left = False  # whether the last bytes were handed out


class HungUpError(BrokenPipeError):
    """The other side has answered, or has ended the connection: as for any broken pipe, urllib3 then reads the answer."""


class Line:
    """A connection on which a body is sent; what the other side says meanwhile is kept in `come`.

    `sock` is a TCP connection, plain or TLS, or TLS inside a proxy's TLS; `is_answer` tells whether bytes hold the beginning of a final answer. For one
    thread. Readable bytes of a TLS connection may hold nothing for us (session tickets): only what is decrypted counts.
    """

    def __init__(self, sock: Any, is_answer: Callable[[bytes], bool]) -> None:  # noqa: ANN401 - urllib3's TLS in TLS is no socket
        self.come = bytearray()
        self._sock = sock
        self._is_answer = is_answer

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of it.

        Raises HungUpError as soon as an answer has begun or the other side will send no more, TimeoutError when it takes
        longer than `seconds`, OSError when the connection breaks.
        """
        if not isinstance(self._sock, socket.socket):  # TLS in TLS loses what it cannot send at once
            self._sock.settimeout(seconds)
            self._sock.sendall(data)
            self._listen()
            return
        rest, ends_at = memoryview(data), time.monotonic() + seconds
        while rest:
            self._listen()
            try:
                rest = rest[self._sock.send(rest) :]
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, ends_at)
            except _NOT_NOW:
                self._wait(select.POLLIN | select.POLLOUT, ends_at)

    def wait_until_taken(self, block_bytes: int, seconds: float) -> None:
        """Return when all that was sent has been acknowledged by the other system.

        Raises HungUpError as `send` does, TimeoutError when a block, or the rest, takes longer than `seconds`.
        """
        self._listen()
        if sys.platform != "linux":
            return
        mark, ends_at, pause_ms = self._untaken_bytes(), time.monotonic() + seconds, 0
        while left := self._untaken_bytes():
            if left <= mark - block_bytes:
                mark, ends_at = left, time.monotonic() + seconds
            pause_ms = min(pause_ms + 1, _LONGEST_PAUSE_MS)
            self._wait(select.POLLIN, ends_at, pause_ms)
            self._listen()

    def is_answered(self, seconds: float) -> bool:
        """Tell whether any byte has come, after the body was broken off.

        Says to the other side that no more will come, so that it need not be waited for, and waits for at most `seconds`
        until it speaks or ends the connection.
        """
        with suppress(OSError):
            socket.socket.shutdown(self._carrier, socket.SHUT_WR)  # the method of a TLS socket would forget its keys
        ends_at = time.monotonic() + seconds
        with suppress(OSError):
            while not self.come and (left := ends_at - time.monotonic()) > 0:
                self._sock.settimeout(left)
                piece = self._sock.recv(_PIECE_BYTES)
                self.come += piece
                if not piece:
                    break
        return bool(self.come)

    def _listen(self) -> None:
        """Take what has come, without waiting; raises HungUpError when the rest of the body is of no use any more."""
        self._sock.settimeout(0)
        if sys.platform == "linux":  # a side that waits for an acknowledgment before it sends its answer may be closing
            self._carrier.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        with suppress(*_NOT_NOW):
            while piece := self._sock.recv(_PIECE_BYTES):
                self.come += piece
                if self._is_answer(bytes(self.come)):
                    break
            raise HungUpError

    def _wait(self, events: int, ends_at: float, longest_ms: float = float("inf")) -> None:
        left_ms = (ends_at - time.monotonic()) * 1000
        if left_ms <= 0:
            raise TimeoutError("what was sent was taken too slowly")
        line = select.poll()
        line.register(self._sock, events)
        line.poll(min(left_ms, longest_ms))

    def _untaken_bytes(self) -> int:
        """Return how many bytes are not acknowledged; 0 where the system does not tell: then there is nothing to wait for."""
        try:
            (left,) = struct.unpack("i", fcntl.ioctl(self._sock, _SIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(left)

    @property
    def _carrier(self) -> socket.socket:
        """The connection itself, below a TLS inside another."""
        return self._sock if isinstance(self._sock, socket.socket) else self._sock.socket
