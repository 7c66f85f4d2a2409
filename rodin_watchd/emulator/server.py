"""Running the emulator: two uvicorn servers on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Self, TypeAlias

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rodin_watchd.emulator.api import Shop
from rodin_watchd.emulator.faults import FAULTS, Fault, parse_fault
from rodin_watchd.emulator.settings import EmulatorSettings
from rodin_watchd.emulator.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from starlette.applications import Starlette

    from rodin_watchd.emulator.ledger import Charge, Snapshot

__all__ = ["FAULTS", "Emulator", "EmulatorSettings", "Fault", "parse_fault", "serve"]

OnCharge: TypeAlias = "Callable[[Charge], None]"
START_SECONDS = 30.0
_GRACE_SECONDS = 1.0


class Emulator:
    """A running emulator, as a context manager: it listens from `__enter__` to `__exit__`.

    `on_charge` is called in the emulator's thread for each charge. Raises OSError when a port cannot be had.
    """

    def __init__(self, settings: EmulatorSettings | None = None, on_charge: OnCharge = lambda _charge: None) -> None:
        self.settings = settings or EmulatorSettings()
        self._api_socket = _listen(self.settings.host, self.settings.port)
        try:
            self._files_socket = _listen(self.settings.host, self.settings.files_port)
        except OSError:
            self._api_socket.close()
            raise
        self.base_url = _url(self._api_socket)
        self.files_url = _url(self._files_socket)
        self._shop = Shop(self.settings, self.files_url, on_charge)
        self._servers = (_Server(self._shop.api()), _Server(self._shop.files()))
        self._thread = threading.Thread(target=self._run, name="rodin-emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for server in self._servers:
            if not server.ready.wait(START_SECONDS):
                raise RuntimeError("the emulator did not start")
        return self

    def __exit__(self, *_error: object) -> None:
        for server in self._servers:
            server.end()
        self._thread.join()
        self._shop.close()

    def ledger(self) -> Snapshot:
        """Give the ledger as it stands; also after the end."""
        return self._shop.ledger()

    def pay_in(self, amount: Decimal) -> None:
        """Have credits paid into the account, or spent from it by somebody else (a negative amount)."""
        self._shop.pay_in(amount)

    def set_faults(self, *faults: Fault) -> None:
        """Have these faults strike instead of those before; `@N` counts from the next call on."""
        self._shop.set_faults(faults)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        api, files = self._servers
        await asyncio.gather(api.serve([self._api_socket]), files.serve([self._files_socket]))


def serve(settings: EmulatorSettings) -> None:
    """Run the emulator until Ctrl-C or SIGTERM; print where it is, each charge, and the ledger at the end.

    To be called in the main thread. Raises OSError when a port cannot be had.
    """
    terminal = Terminal()
    with _until_told() as told, Emulator(settings, terminal.charge) as emulator:
        terminal.started(emulator.base_url, emulator.files_url, settings)
        told.wait()
    terminal.ended(emulator.ledger())


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, action in before.items():
            signal.signal(number, action)


class _Protocol(H11Protocol):
    """HTTP/1.1 whose requests can close their own connection, or send informational answers, as some faults do."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        self.app_state = {"close": transport.close, "inform": self._inform}
        super().connection_made(transport)

    def _inform(self, status: int) -> None:
        """Send an informational answer (RFC 9110, section 15.2), which ASGI has no words for; nothing to who has gone."""
        if self.conn.our_state is not h11.SEND_RESPONSE:
            return
        event = h11.InformationalResponse(status_code=status, headers=[], reason=HTTPStatus(status).phrase.encode())
        self.transport.write(self.conn.send(event))


class _Server(uvicorn.Server):
    """One uvicorn server that says when it listens."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="error",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self._ended = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    def end(self) -> None:
        """Ask the server to end; any thread, once it is ready. May be repeated."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._ended.set)

    async def main_loop(self) -> None:
        """Serve until the end is asked for, and end then: uvicorn's own loop sees that up to 0.1 s later."""
        ticking = asyncio.create_task(super().main_loop())
        await self._ended.wait()
        ticking.cancel()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, and end as soon as their requests have: an answer that a fault holds back holds up nothing.

        uvicorn's own shutdown lets the connections go on, and looks every 0.1 s.
        """
        for closing in (*self.servers, *(sockets or ())):
            closing.close()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)  # those that are left are canceled with the loop


def _listen(host: str, port: int) -> socket.socket:
    """Name the protocol outright: asyncio turns Nagle's delays off only for sockets that do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.listen(512)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
