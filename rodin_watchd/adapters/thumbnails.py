"""Small pictures of images, made in a process of its own: what a decoder takes of memory ends with it, and so does a decoder that crashes.

The process is started when a picture is wanted and ends when none was for a while. It is given open files alone, one at a time
(`adapters.images` is what runs in it).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Final

DECODER: Final = "rodin_watchd.adapters.images"
"""The module that is the process: this one does without any decoder."""

MOST_CACHED_BYTES: Final = 4_000_000
"""What is kept of the pictures that were made."""

LONGEST_SECONDS: Final = 20.0
MOST_BYTES: Final = 200_000  # of one picture: a socket's message


class Thumbnails:
    """Makes and keeps small pictures. Any thread; one picture is made at a time. To be closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._known_bytes = 0
        self._maker: _Maker | None = None

    def of(self, name: str, file: int) -> bytes:
        """Return the picture of an open image file; b"" if it cannot be decoded. `name` stands for its content, for ever."""
        with self._lock:
            if name in self._known:
                self._known.move_to_end(name)
                return self._known[name]
            made = self._made(file)
            self._keep(name, made)
            return made

    def close(self) -> None:
        """End the process; may be repeated."""
        with self._lock:
            if self._maker:
                self._maker.close()
            self._maker = None

    def _made(self, file: int) -> bytes:
        """Ask the process, and one more time a new one: it may have ended because nobody asked."""
        for _ in range(2):
            maker = self._maker or _Maker()
            self._maker = None
            try:
                made = maker.make(file)
            except OSError:
                maker.close()
                continue
            self._maker = maker
            return made
        return b""

    def _keep(self, name: str, made: bytes) -> None:
        self._known[name] = made
        self._known_bytes += len(made)
        while self._known_bytes > MOST_CACHED_BYTES:
            _, forgotten = self._known.popitem(last=False)
            self._known_bytes -= len(forgotten)


class _Maker:
    """The process that decodes, and the socket to it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-m", DECODER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._socket.settimeout(LONGEST_SECONDS)

    def make(self, file: int) -> bytes:
        """Return the picture of an open file, b"" for none. Raises OSError when the process does not answer."""
        socket.send_fds(self._socket, [b"?"], [file])
        answer = self._socket.recv(MOST_BYTES)
        if not answer:
            raise ConnectionResetError
        return answer[1:]

    def close(self) -> None:
        """End it at once."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
