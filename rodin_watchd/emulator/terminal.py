"""What the emulator prints for people: where it is, a line for each charge, and the ledger at its end."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rodin_watchd.emulator.ledger import Charge, ChargeRow, Snapshot
    from rodin_watchd.emulator.settings import EmulatorSettings


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

    def ended(self, ledger: Snapshot) -> None:
        """Print the ledger as a table, with the counts below it."""
        table = Table(title="Ledger")
        for heading in ("time (UTC)", "task", "model", "image", "options", "credits", "left", "outcome"):
            table.add_column(heading, overflow="fold")
        for row in ledger["charges"]:
            table.add_row(*_cells(row))
        self._console.print(table, soft_wrap=False)
        self._console.print(f"spent {ledger['spent']}, left {ledger['balance']}, uploads {_counts(ledger['uploads'])}")
        self._warnings(ledger)

    def _warnings(self, ledger: Snapshot) -> None:
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
