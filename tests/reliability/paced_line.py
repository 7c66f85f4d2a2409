"""A slow line: passes what comes to it on to a server, so many bytes a second."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

_BLOCK_BYTES = 32 * 1024
_BUFFER_BYTES = 64 * 1024
_PATIENCE_SECONDS = 10.0


class PacedLine:
    """A relay on a port of its own, as a context manager. `rest` waits until no connection is left."""

    def __init__(self, port: int, bytes_per_second: float) -> None:
        self._server = ("127.0.0.1", port)
        self._pace = bytes_per_second
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._open: list[threading.Thread] = []
        self.base_url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.rest()

    def rest(self) -> None:
        """Wait until all connections have ended; what a dead client had sent is passed on first."""
        for thread in list(self._open):
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                thread = threading.Thread(target=self._relay, args=(client,), daemon=True)
                self._open.append(thread)
                thread.start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server, _PATIENCE_SECONDS) as server:
            back = threading.Thread(target=_pass_back, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):  # one of them is gone
                self._pass_on(client, server)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        due = time.monotonic()
        while block := client.recv(_BLOCK_BYTES):
            server.sendall(block)
            due = max(due + len(block) / self._pace, time.monotonic() - 0.05)
            time.sleep(max(due - time.monotonic(), 0))


def _pass_back(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := server.recv(_BLOCK_BYTES):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
