"""News for open pages, by server-sent events (HTML standard, 9.2): that something was written, and never what.

One thread asks the store twice a second, as long as somebody listens, for all who do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rodin_watchd.client.journal import reader
from rodin_watchd.config import Config
from rodin_watchd.core.store import StoreReader
from rodin_watchd.errors import JournalError

LOOK_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 15.0
"""After so long without news pages are told to look all the same: time has passed, and the service may have fallen silent."""

MOST_LISTENERS: Final = 200
_RETRY: Final = "retry: 2000\n\n"


class News:
    """Tells all who listen that the store has changed. The event loop's alone."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._listeners: set[asyncio.Event] = set()
        self._looking: asyncio.Task[None] | None = None
        self._newest = 0

    async def stream(self, request: Request) -> Response:
        """Answer with a stream that lasts until the browser leaves."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise HTTPException(503, "Too many pages are open.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._lines(request), media_type="text/event-stream", headers=headers)

    async def _lines(self, request: Request) -> AsyncIterator[str]:
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            yield _RETRY
            while not await request.is_disconnected():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), QUIET_SECONDS)
                changed.clear()
                yield f"event: changed\ndata: {self._newest}\n\n"
        finally:
            self._listeners.discard(changed)

    async def _look(self) -> None:
        """Look into the store as long as somebody listens."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:
            look = _Look(self._config)
            try:
                while self._listeners:
                    if await loop.run_in_executor(thread, look.has_changed):
                        self._newest += 1
                        for listener in self._listeners:
                            listener.set()
                    await asyncio.sleep(LOOK_SECONDS)
            finally:
                thread.submit(look.close)


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
        except JournalError:
            self.close()
            return False
        return before != self._seen

    def close(self) -> None:
        """Give the store back; may be repeated."""
        self._stack.close()
        self._journal = None
