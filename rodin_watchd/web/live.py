"""News for open pages, by server-sent events (HTML standard, 9.2): that something was written, and never what.

One thread asks the store, as long as somebody listens, for all who do. What is written in one second is one piece of news: all who
have the page open look at it at the same time, and it is made once for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from rodin_watchd.client.journal import reader
from rodin_watchd.config import Config
from rodin_watchd.core.store import StoreReader
from rodin_watchd.errors import RodinWatchdError
from rodin_watchd.web.access import visitor_of
from rodin_watchd.web.words import language_of

LOOK_SECONDS: Final = 0.25
PAUSE_SECONDS: Final = 0.75
"""After news so long nothing is announced: a service at work writes without end, and whoever looks has to see it within a second."""

QUIET_SECONDS: Final = 15.0
"""After so long without news pages are asked to look all the same: time has passed, and the service may have fallen silent."""

NEWS_HEADER: Final = "X-News"
"""What a page's script sends with the number of the news that it looks after."""

SHARED_SECONDS: Final = 5.0
MOST_SHARED: Final = 20
_NO_TOKEN: Final = b"\0"
"""Stands for the token of a session in a page that is kept: pages contain no such character."""

MOST_LISTENERS: Final = 200
_RETRY: Final = "retry: 2000\n\n"


class SharedPages:
    """Pages that many people have open are made once for each news, not once for each of them. Any thread.

    A page is shared among those who see the same: it is kept without the token of the session that it was made for.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[object, ...], tuple[float, bytes, Mapping[str, str]]] = OrderedDict()

    def shared(self, make: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """Return what makes a page, or gives the one that was made for others who have the same news."""

        def page(request: Request) -> Response:
            news, visitor = request.headers.get(NEWS_HEADER), visitor_of(request)
            if news is None:
                return make(request)
            seen = (
                visitor.rights,
                visitor.name,
                visitor.has_session,
                language_of(request.headers.get("accept-language", "")),
            )
            key = (news, str(request.url.path), request.url.query, *seen)
            own = visitor.csrf.encode() or _NO_TOKEN
            with self._lock:
                at, body, headers = self._made.get(key, (0.0, b"", {}))
                if time.monotonic() - at < SHARED_SECONDS:
                    return Response(body.replace(_NO_TOKEN, own), 200, headers)
                made = make(request)
                if made.status_code == 200:
                    kept = {name: value for name, value in made.headers.items() if name != "content-length"}
                    self._made[key] = (time.monotonic(), bytes(made.body).replace(own, _NO_TOKEN), kept)
                    while len(self._made) > MOST_SHARED:
                        self._made.popitem(last=False)
                return made

        return page


class News:
    """Informs all who listen that the store has changed. The event loop's alone."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listeners: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._newest = 0

    async def stream(self, request: Request) -> Response:
        """Answer with a stream that lasts until the browser leaves."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise HTTPException(503, "Too many pages are open.")
        changed = asyncio.Event()
        self._listeners.add(changed)  # at once: many may ask before the first stream begins
        return _Stream(self._lines(request, changed), lambda: self._listeners.discard(changed))

    async def _lines(self, request: Request, changed: asyncio.Event) -> AsyncIterator[str]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        yield _RETRY
        while not await request.is_disconnected():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
            changed.clear()
            yield f"event: changed\ndata: {self._newest}\n\n"

    async def _look(self) -> None:
        """Look into the store as long as somebody listens."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            look = _Look(self._config)
            try:
                while self._listeners:
                    changed = await loop.run_in_executor(thread, look.has_changed)
                    if changed:
                        self._newest += 1
                        for listener in self._listeners:
                            listener.set()
                    await asyncio.sleep(PAUSE_SECONDS if changed else LOOK_SECONDS)
            finally:
                thread.submit(look.close)


class _Stream(StreamingResponse):
    """A stream of events, and what to do when it has ended, however it ends."""

    def __init__(self, lines: AsyncIterator[str], ended: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it until the browser leaves."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


class _Look:
    """The store, opened once for many looks; of one thread alone. One that is missing or locked is opened again at the next look."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = contextlib.ExitStack()
        self._journal: StoreReader | None = None
        self._seen = 0

    def has_changed(self) -> bool:
        """Return whether anything was written since the look before, as far as that is known."""
        try:
            if self._journal is None:
                self._journal = self._stack.enter_context(reader(self._config))
                self._seen = self._journal.version()
                return False
            before, self._seen = self._seen, self._journal.version()
        except RodinWatchdError:
            self.close()
            return False
        return before != self._seen

    def close(self) -> None:
        """Give the store back; may be repeated."""
        self._stack.close()
        self._journal = None
