"""`rodin-watchd web`: the page in the browser."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from rodin_watchd.cli.options import config_option, find
from rodin_watchd.config import KEY_VARIABLE, load_config
from rodin_watchd.errors import ConfigError, RodinWatchdError


class AddressTakenError(RodinWatchdError):
    """The page cannot listen where it is to."""

    code = "address-taken"
    advice = "End the other program, or name another address in web.listen."


@click.command(epilog="Example: rodin-watchd web")
@config_option
def web(config_file: Path | None) -> None:
    """Serve the page in the browser: the sets, the service and the credits, until SIGTERM or Ctrl-C.

    It reads the journal, and leaves there what people ask for, as the commands do; it works while the service runs and while
    it does not. `web.enabled = true` in the config makes `run` start it.
    """
    config = load_config(find(config_file).absolute())
    os.environ.pop(KEY_VARIABLE, None)  # it has no use for the key
    with needs_web():
        from rodin_watchd.web.app import serve  # noqa: PLC0415 - an optional extra
    try:
        serve(config, os.environ, lambda address: click.echo(f"The page is at http://{address}/"))
    except OSError as error:
        raise AddressTakenError(f"The page cannot listen on {config.web.listen}: {error.strerror}.") from error


@contextlib.contextmanager
def needs_web() -> Iterator[None]:
    """Say how to install what the page needs, if importing it fails. Raises ConfigError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rodin_watchd":
            raise
        raise ConfigError(
            f"The page is not installed: {error.name} is missing.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[web]"',
        ) from None
