"""Clients that are slow, or do nothing: none holds a connection, a thread or a lock of an upload for as long as it likes.

A stranger needs no login to open connections, and a browser whose network has gone says nothing: TCP notices neither. uvicorn ends
only connections that wait for their next request; these are the limits for the rest of a request and of its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS: Final = 20.0
"""So long the head of a request may take, from its first byte or from the connection."""

PIECE_SECONDS: Final = 20.0
"""After so long without another byte of a request's body the client counts as gone."""

STALL_SECONDS: Final = 60.0
"""After so long in which it took none of an answer, too."""


class _Timer:
    """Calls something unless it is stopped before. The event loop's alone."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._seconds = seconds
        self._act = act
        self._due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to wait; one that waits already goes on."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._seconds, self._ring)

    def stop(self) -> None:
        """Wait no more; may be repeated."""
        if self._due is not None:
            self._due.cancel()
        self._due = None

    def _ring(self) -> None:
        self._due = None
        self._act()


class PatientProtocol(H11Protocol):
    """Ends connections whose clients send no whole head, or do not read what they have asked for. The event loop's alone."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first head."""
        super().connection_made(transport)
        self._head, self._stall = _Timer(HEAD_SECONDS, transport.abort), _Timer(STALL_SECONDS, transport.abort)
        self._head.start()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, if this is a part of one."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._head.start()
        else:
            self._head.stop()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._stall.start()

    def resume_writing(self) -> None:
        """Go on: it has read."""
        self._stall.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head.stop()
        self._stall.stop()
        super().connection_lost(exc)


class WholeBodies:
    """Takes a client for gone that stops in the middle of a request's body (an ASGI middleware)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_whole = scope["type"] != "http"

        async def receive_in_time() -> Message:
            nonlocal is_whole
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), PIECE_SECONDS)
            except TimeoutError:
                is_whole = True
                return {"type": "http.disconnect"}
            is_whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)
