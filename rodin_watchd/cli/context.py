"""What commands have in common: finding the config, reading the journal, whether the daemon runs, printing data."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.journal.ballast import can_grow
from rodin_watchd.adapters.lock import holder
from rodin_watchd.adapters.sign import read_sign, sign_path
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.cli.configured import config_option, find, load
from rodin_watchd.config import Config, journal_path, lock_path
from rodin_watchd.core.receipt import local
from rodin_watchd.core.vitals import TICK_SECONDS, Standstill
from rodin_watchd.errors import JournalError

__all__ = [
    "config_option",
    "daemon_of",
    "find",
    "journal_of",
    "json_option",
    "load",
    "no_room",
    "print_json",
    "reader",
    "standstill",
]

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add `--json` to a command that prints data."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def journal_of(config: Config) -> Path:
    """Return where the journal lies."""
    return journal_path(config, os.environ)


@contextlib.contextmanager
def reader(config: Config) -> Iterator[JournalReader]:
    """Give the journal, read-only. Raises JournalError."""
    path = journal_of(config)
    try:
        journal = JournalReader(path)
    except JournalError as error:
        if told := standstill(path):
            raise JournalError(told, advice="STATUS.txt says more.") from error
        raise
    with contextlib.closing(journal):
        yield journal


def standstill(journal: Path) -> str:
    """Return why a running service can write nothing into its journal, which the journal cannot tell; else ""."""
    try:
        sign, serving = read_sign(sign_path(journal)), holder(journal.with_name("lock"))
    except PermissionError:
        return ""
    if sign is None or serving is None or sign.age_seconds > TICK_SECONDS or not sign.vitals.standstill:
        return ""
    told = (
        f"Nothing has moved since {local(sign.vitals.standstill_at, local_zone())}, and what the journal shows is as of then: "
        f"{sign.vitals.standstill}"
    )
    if Standstill.JOURNAL_GONE in sign.vitals.paused:
        told += " Do not stop the service: it alone knows what was paid for."
    return told


def daemon_of(config: Config) -> dict[str, Any] | None:
    """Return host and pid of the daemon that serves the root, None when none runs.

    While the root is a share that is away, the lock beside the journal tells. Raises PermissionError if this user may
    see too little to tell.
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
    """Return what people must know of a journal whose disk is full, which the journal itself cannot tell; else ""."""
    if can_grow(journal):
        return ""
    return (
        f"The disk with the journal {journal} is full: the service stands still, and what it wrote last may be old. "
        "Make room; it goes on by itself."
    )


def print_json(data: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print data for programs; names that are not UTF-8 come as lone surrogates, escaped (PEP 383)."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=True, default=_number))


def _number(value: object) -> int | float:
    """Return credits as JSON writes numbers; the digits stay as they are: amounts have few, and half credits are exact."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is nothing that JSON knows")
    return int(value) if value == value.to_integral_value() else float(value)
