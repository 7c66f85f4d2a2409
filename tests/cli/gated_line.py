"""A line to a server that passes large requests on only when the test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

_BLOCK_BYTES = 16 * 1024
_HELD_BYTES = 64 * 1024
"""So much of a request is read before the gate counts: calls are smaller, uploads are larger."""


class GatedLine:
    """A relay on a port of its own, as a context manager; `gate` is closed at first."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK_BYTES)
        self.gate = threading.Event()
        self.base_url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            while block := server.recv(_BLOCK_BYTES):
                client.sendall(block)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := client.recv(_BLOCK_BYTES):
                passed += len(block)
                if passed > _HELD_BYTES:
                    self.gate.wait()
                server.sendall(block)
            server.shutdown(socket.SHUT_WR)
