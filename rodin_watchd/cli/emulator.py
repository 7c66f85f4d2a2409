"""`rodin-watchd emulator`: an emulator of the vendor's API on this machine."""

from __future__ import annotations

from decimal import Decimal
from http.client import HTTP_PORT
from typing import Final
from urllib.parse import urlsplit

import click

from rodin_watchd.cli.context import needs_emulator
from rodin_watchd.core.wire import is_loopback
from rodin_watchd.errors import ConfigError


class _WithFaults(click.Command):
    """Lists the faults below the options, by their own table."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example and the faults; the list needs what the emulator needs."""
        super().format_epilog(ctx, formatter)
        try:
            with needs_emulator():
                from rodin_watchd.emulator.faults import FAULTS  # noqa: PLC0415 - an optional extra
        except ConfigError as error:
            formatter.write_text(f"{error.message} {error.advice_in_full}")
            return
        with formatter.section("Faults (NAME, NAME=VALUE, NAME@N or NAME=VALUE@N; @N: only the Nth such call)"):
            formatter.write_dl(list(FAULTS.items()))


PORT: Final = 8765
"""Where the emulator listens if nothing else is said: the address that the documentation and `check` name."""


def command_for(base_url: str) -> str:
    """Return the command that has an emulator listen at an address; "" if that is not on this machine."""
    address = urlsplit(base_url)
    if not is_loopback(address.hostname or ""):
        return ""
    return (
        "rodin-watchd emulator" if address.port == PORT else f"rodin-watchd emulator --port {address.port or HTTP_PORT}"
    )


@click.command(cls=_WithFaults, epilog="Example: rodin-watchd emulator --fault lost-answer@2")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="Of the API; 0: any.")
@click.option(
    "--files-port", default=0, show_default=True, type=click.IntRange(0, 65535), help="Of the file host; 0: any."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--key", "keys", multiple=True, default=("emulator-key",), show_default=True, help="An API key that is accepted."
)
@click.option("--balance", default="100", show_default=True, metavar="CREDITS", help="Credits at the start.")
@click.option(
    "--waiting",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Seconds in the queue.",
)
@click.option(
    "--generating", default=6.0, show_default=True, type=click.FloatRange(0), metavar="SECONDS", help="Seconds of work."
)
@click.option("--instant", is_flag=True, help="Answer a submit when its results are there, without waits.")
@click.option("--consumed", is_flag=True, help="Say in each answer to a submit what was charged (`consumed`).")
@click.option(
    "--success-error",
    type=click.Choice(["null", "ok", "absent"]),
    help="What `error` is in an answer that is no error; without it null for a submit and OK for the other calls.",
)
@click.option(
    "--task-limit",
    type=click.IntRange(1),
    metavar="N",
    help="How many tasks of a key run at once; one more is refused with API_PARALLELISM_LIMIT_REACHED.",
)
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT", help="A fault from the list below; can be given several times."
)
def emulator(  # noqa: PLR0913 - one argument for each option
    *,
    port: int,
    files_port: int,
    host: str,
    keys: tuple[str, ...],
    balance: str,
    waiting: float,
    generating: float,
    instant: bool,
    consumed: bool,
    task_limit: int | None,
    success_error: str | None,
    faults: tuple[str, ...],
) -> None:
    """Run an emulator of the Rodin API until Ctrl-C. It really textures, has a ledger, and costs nothing.

    Set api.base_url of a config to its address, and RODIN_API_KEY to one of its keys.
    """
    with needs_emulator():
        from rodin_watchd.emulator.api import EmulatorSettings  # noqa: PLC0415 - optional extra
        from rodin_watchd.emulator.faults import parse_fault  # noqa: PLC0415 - optional extra
        from rodin_watchd.emulator.server import serve  # noqa: PLC0415 - optional extra
    try:
        settings = EmulatorSettings(
            host=host,
            port=port,
            files_port=files_port,
            api_keys=keys,
            balance=_credits(balance),
            waiting_seconds=waiting,
            generating_seconds=generating,
            faults=tuple(map(parse_fault, faults)),
            instant=instant,
            consumed=consumed,
            task_limit=task_limit,
            success_error=success_error or "",
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        serve(settings)
    except OSError as error:
        raise ConfigError(
            f"The emulator cannot listen on {host}, port {port}: {error.strerror}.",
            advice="Choose another one with --port; 0 takes any that is free.",
        ) from None


def _credits(text: str) -> Decimal:
    try:
        credits_left = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"--balance must be a number of credits, like 12.5, not {text!r}.") from None
    if not (credits_left.is_finite() and credits_left >= 0):
        raise ValueError(f"--balance must be a number of credits from 0, not {text!r}.")
    return credits_left
