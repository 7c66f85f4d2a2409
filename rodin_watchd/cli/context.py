"""What commands have in common: reading the journal, whether the daemon runs, printing data, optional parts, how the program is started."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.adapters.ownership import holder
from rodin_watchd.adapters.store.backup import can_grow
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import insert_command
from rodin_watchd.cli.options import F
from rodin_watchd.config import Config, journal_path, lock_path
from rodin_watchd.core.health import TICK_SECONDS, Standstill
from rodin_watchd.core.store import StoreReader
from rodin_watchd.core.wording import local
from rodin_watchd.errors import ConfigError, JournalError


def json_option(command: F) -> F:
    """Add `--json` to a command that prints data."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def journal_of(config: Config) -> Path:
    """Return where the journal is."""
    return journal_path(config, os.environ)


def store_at(journal: Path) -> StoreReader:
    """Open a journal read-only; the caller closes it. Raises JournalError."""
    return JournalReader(journal)


@contextlib.contextmanager
def reader(config: Config) -> Iterator[StoreReader]:
    """Give the store, read-only. Raises JournalError."""
    path = journal_of(config)
    try:
        journal = store_at(path)
    except JournalError as error:
        if found := standstill(path):
            raise JournalError(found, advice="STATUS.txt says more.") from error
        raise
    with contextlib.closing(journal):
        yield journal


def leave_command(config: Config, verb: str, arguments: dict[str, Any], *, once: bool = False) -> int:
    """Leave a command for the daemon, and return its number; with `once` not while the same waits for the same job.

    Raises JournalError, CommandRefusedError.
    """
    return insert_command(journal_of(config), verb, arguments, time.time(), once=once)


def standstill(journal: Path) -> str:
    """Return why a running service can write nothing into its journal, which the journal itself does not show; else ""."""
    try:
        heartbeat, serving = read_heartbeat(sign_path(journal)), holder(journal.with_name("lock"))
    except PermissionError:
        return ""
    if heartbeat is None or serving is None or heartbeat.age_seconds > TICK_SECONDS or not heartbeat.health.standstill:
        return ""
    message = (
        f"Nothing has moved since {local(heartbeat.health.standstill_at, local_zone())}, and what the journal shows is as of then: "
        f"{heartbeat.health.standstill}"
    )
    if Standstill.JOURNAL_GONE in heartbeat.health.paused:
        message += " Do not stop the service: only it knows what was paid for."
    return message


def daemon_of(config: Config) -> dict[str, Any] | None:
    """Return host and pid of the daemon that serves the root, None when none runs.

    While the root is a share that is away, the lock next to the journal shows it. Raises PermissionError if this user may
    see too little for an answer.
    """
    hidden: PermissionError | None = None
    for lock in (lock_path(config), journal_of(config).with_name("lock")):
        try:
            if (found := holder(lock)) is not None:
                return found
        except PermissionError as error:
            hidden = error
    if hidden:
        raise hidden
    return None


def no_room(journal: Path) -> str:
    """Return what people must know of a journal whose disk is full, which the journal itself does not show; else ""."""
    if can_grow(journal):
        return ""
    return (
        f"The disk with the journal {journal} is full: the service does nothing, and its last page may be old. "
        "Make free space; it continues by itself."
    )


def print_json(data: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print data for programs; names that are not UTF-8 come as lone surrogates, escaped (PEP 383)."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=True, default=_number))


def print_json_list(items: Iterable[Any]) -> None:
    """Print a list for programs as `print_json` does, item by item: it may be longer than memory is."""
    before = "[\n"
    for item in items:
        text = json.dumps(item, indent=2, ensure_ascii=True, default=_number)
        click.echo(f"{before}{textwrap.indent(text, '  ')}", nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def _number(value: object) -> int | float:
    """Return credits as JSON writes numbers; the digits stay as they are: amounts have few, and half credits are exact."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is no type of JSON")
    return int(value) if value == value.to_integral_value() else float(value)


# ---- Optional parts of the installation: a friendly word when one is missing ----------------------------------------


@contextlib.contextmanager
def needs_emulator() -> Iterator[None]:
    """Say how to install what the emulator needs, if importing it fails. Raises ConfigError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rodin_watchd":
            raise
        raise ConfigError(
            f"The emulator is not installed: {error.name} is missing.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[emulator]"',
        ) from None


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
