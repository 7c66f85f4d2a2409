"""`rodin-watchd web`: the page in the browser."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import click

from rodin_watchd.cli.context import needs_web
from rodin_watchd.cli.options import config_option, find
from rodin_watchd.config import KEY_VARIABLE, load_config
from rodin_watchd.errors import AddressTakenError


@click.command(epilog="Example: rodin-watchd web")
@config_option
@click.option("--while-read", is_flag=True, help="End when standard input ends: so `run` starts it.")
def web(config_file: Path | None, *, while_read: bool) -> None:
    """Serve the page in the browser: the sets, the service and the credits, until SIGTERM or Ctrl-C.

    It reads the journal, and leaves there what people ask for, as the commands do; it works while the service runs and while
    it does not. `web.enabled = true` in the config makes `run` start it.
    """
    config = load_config(find(config_file).absolute())
    os.environ.pop(KEY_VARIABLE, None)  # it has no use for the key
    with needs_web():
        from rodin_watchd.web.app import serve  # noqa: PLC0415 - an optional extra

    def ready(address: str, end: Callable[[], None]) -> None:
        click.echo(f"The page is at http://{address}/")
        if while_read:
            threading.Thread(target=_end_with_input, args=[end], name="input", daemon=True).start()

    try:
        serve(config, os.environ, ready)
    except OSError as error:
        raise AddressTakenError(f"The page cannot listen on {config.web.listen}: {error.strerror}.") from error


def _end_with_input(end: Callable[[], None]) -> None:
    """Wait until whoever started this is gone, then end."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    end()
