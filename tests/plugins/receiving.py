"""An address on this machine that takes what plugins send."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue


@dataclass
class Receiver:
    """An address that takes messages: what it was sent, and with which statuses it answers, the last for good."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    arrived: SimpleQueue[bytes] = field(default_factory=SimpleQueue)

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """Take a message, and return the status to answer with."""
        self.requests.append((path, headers, body))
        self.arrived.put(body)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def serving(receiver: Receiver) -> Iterator[ThreadingHTTPServer]:
    """Serve a receiver on a free port."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take it."""
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(receiver.take(self.path, dict(self.headers.items()), body))
            self.send_header("location", receiver.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook?token=hidden-token"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
