"""What commands have in common: printing data, optional parts, how the program is started."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import click

from rodin_watchd.cli.options import F
from rodin_watchd.client.data import number
from rodin_watchd.errors import ConfigError


def json_option(command: F) -> F:
    """Add `--json` to a command that prints data."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def print_json(data: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print data for programs; names that are not UTF-8 come as lone surrogates, escaped (PEP 383)."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=True, default=number))


def print_json_list(items: Iterable[Any]) -> None:
    """Print a list for programs as `print_json` does, item by item: it may be longer than memory is."""
    before = "[\n"
    for item in items:
        text = json.dumps(item, indent=2, ensure_ascii=True, default=number)
        click.echo(f"{before}{textwrap.indent(text, '  ')}", nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


# ---- Optional parts of the installation: a friendly word when one is missing ----------------------------------------


@contextlib.contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Say how to install an optional part (`what`, for people), if importing what it needs fails. Raises ConfigError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rodin_watchd":
            raise
        raise ConfigError(
            f"{what} is not installed: {error.name} is missing.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[{extra}]"',
        ) from None


def needs_emulator() -> AbstractContextManager[None]:
    """Do so for the emulator."""
    return needs_extra("emulator", "The emulator")


def needs_web() -> AbstractContextManager[None]:
    """Do so for the page in the browser."""
    return needs_extra("web", "The page")


# ---- How this installation is started -------------------------------------------------------------------------------


NAME: Final = "rodin-watchd"


def program() -> tuple[str, ...]:
    """Return the words that start it from anywhere."""
    called = Path(sys.argv[0])
    if called.name == NAME and (found := shutil.which(str(called))):
        return (str(Path(found).absolute()),)
    return (sys.executable, "-m", "rodin_watchd")


def program_to_type() -> str:
    """Return what a person types to start it: its name, if the shell finds it by that."""
    found = shutil.which(NAME)
    return NAME if found and (str(Path(found).absolute()),) == program() else shlex.join(program())
