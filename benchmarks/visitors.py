"""People who have the page open: each listens to its events and looks once more after news, as the page's script does.

As a program, `python -m benchmarks.visitors ADDRESS COUNT` has so many pages open until it is ended. It goes behind all others:
people's browsers run on other machines. It imports nothing of the project, so that its start costs little.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import threading
import time

PAUSE_SECONDS = 1.0
"""Between two looks, as in `live.js`."""


def visit(address: str) -> None:
    """Do what the script of one open page does, until the process ends: what comes while it looks is one more look, not several."""
    pages, has_news = http.client.HTTPConnection(address), threading.Condition()
    newest = seen = ""

    def is_new() -> bool:
        return newest != seen

    def listen() -> None:
        nonlocal newest
        events = http.client.HTTPConnection(address)
        events.request("GET", "/api/v1/events")
        for line in events.getresponse():
            if line.startswith(b"data:"):
                with has_news:
                    newest = line.partition(b":")[2].strip().decode()
                    has_news.notify()

    threading.Thread(target=listen, daemon=True).start()
    while True:
        with has_news:
            has_news.wait_for(is_new)
            seen = newest
        look(pages, seen)
        time.sleep(PAUSE_SECONDS)


def look(pages: http.client.HTTPConnection, news: str) -> None:
    """Fetch the page; over a new connection where the server has closed the one that rested."""
    for _ in range(2):
        with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError):
            pages.request("GET", "/", headers={"X-News": news})
            pages.getresponse().read()
            return
        pages.close()


if __name__ == "__main__":
    os.nice(19)
    for _ in range(int(sys.argv[2])):
        threading.Thread(target=visit, args=[sys.argv[1]], daemon=True).start()
    threading.Event().wait()
