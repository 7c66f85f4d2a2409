"""Running the emulator: two uvicorn servers on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Self, TypeAlias

import h11
import uvicorn
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from uvicorn.protocols.http.h11_impl import H11Protocol

from rodin_watchd.emulator.api import EmulatorSettings, Shop
from rodin_watchd.emulator.faults import EmulatedFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from starlette.applications import Starlette

    from rodin_watchd.emulator.api import EmulatorSettings
    from rodin_watchd.emulator.ledger import Charge, ChargeRow, LedgerSnapshot

# ---- What the emulator prints for people: where it is, a line for each charge, and the ledger at its end ------------


class Terminal:
    """Prints to standard output."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else 160
        self._console = Console(soft_wrap=True, highlight=False, width=width)

    def started(self, base_url: str, files_url: str, settings: EmulatorSettings) -> None:
        """Say where the emulator listens and what to use it with."""
        self._console.print("[bold]Rodin emulator[/bold]: nothing here costs real money")
        self._console.print(f"  base URL   {base_url}")
        self._console.print(f"  file host  {files_url}")
        self._console.print(f"  API key    {escape(', '.join(settings.api_keys))}")
        self._console.print(f"  balance    {settings.balance} credits")
        for fault in settings.faults:
            self._console.print(f"  fault      {escape(fault.name)}: {escape(fault.kind.meaning)}")

    def charge(self, charge: Charge) -> None:
        """Print one charge as one line."""
        self._console.print(
            f"{_clock(charge.at)} charged {charge.credits}, left {charge.balance}"
            f" | task {charge.task_uuid} | model {_short(charge.model_sha256)} | image {_short(charge.image_sha256)}"
            f" | {escape(_options(charge.options))}"
        )

    def ended(self, ledger: LedgerSnapshot) -> None:
        """Print the ledger as a table, with the counts below it."""
        table = Table(title="Ledger")
        for heading in ("time (UTC)", "task", "model", "image", "options", "credits", "left", "outcome"):
            table.add_column(heading, overflow="fold")
        for row in ledger["charges"]:
            table.add_row(*_cells(row))
        self._console.print(table, soft_wrap=False)
        self._console.print(f"spent {ledger['spent']}, left {ledger['balance']}, uploads {_counts(ledger['uploads'])}")
        self._warnings(ledger)

    def _warnings(self, ledger: LedgerSnapshot) -> None:
        if ledger["faults"]:
            self._console.print(f"faults that struck: {_counts(ledger['faults'])}")
        if ledger["charged_again"]:
            self._console.print(f"[red]charged again for the same set: {ledger['charged_again']}[/red]")
        for path in ledger["key_leaks"]:
            self._console.print(f"[red]the API key was sent to the file host: {escape(repr(path))}[/red]")


def _cells(row: ChargeRow) -> tuple[str, ...]:
    return (
        _clock(row["at"]),
        row["task_uuid"][:8],
        _short(row["model_sha256"]),
        _short(row["image_sha256"]),
        escape(_options(row["options"])),
        row["credits"],
        row["balance"],
        row["outcome"],
    )


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "-"


def _options(options: dict[str, str]) -> str:
    """Control characters come out escaped: options are text from outside."""
    return " ".join(f"{key}={value[:60]!r}" for key, value in options.items()) or "-"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


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

    def ledger(self) -> LedgerSnapshot:
        """Give the ledger as it stands; also after the end."""
        return self._shop.ledger()

    @property
    def charges(self) -> list[Charge]:
        """What was charged so far, oldest first; the ledger has it as JSON."""
        return self._shop.charges

    def subscription_keys(self) -> dict[str, str]:
        """Give the keys that were handed out, by the tasks' ids: they are secrets, so the ledger names none."""
        return self._shop.subscription_keys()

    def pay_in(self, amount: Decimal) -> None:
        """Have credits paid into the account, or spent from it by somebody else (a negative amount)."""
        self._shop.pay_in(amount)

    def set_faults(self, *faults: EmulatedFault) -> None:
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
    with _until_signal() as found, Emulator(settings, terminal.charge) as emulator:
        terminal.started(emulator.base_url, emulator.files_url, settings)
        found.wait()
    terminal.ended(emulator.ledger())


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set."""
    found = threading.Event()
    before = {number: signal.signal(number, lambda *_: found.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
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
