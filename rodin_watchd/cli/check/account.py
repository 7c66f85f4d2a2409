"""What `check` finds about the API key and the account, and where commands in a shell find the key."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from rodin_watchd.cli.check.findings import Finding, Level
from rodin_watchd.cli.emulator import command_for
from rodin_watchd.cli.systemd import credential_of
from rodin_watchd.client.journal import daemon_of
from rodin_watchd.config import CREDENTIAL_NAME, Config, find_key, key_of_credential
from rodin_watchd.core.kinds import KINDS, cheapest, paid_by
from rodin_watchd.errors import HiddenKeyError, MissingKeyError, NetworkError
from rodin_watchd.service.assembly import client_of


def key_of(path: Path, config: Config) -> str:
    """Return the API key: this process's own, else the one that systemd gives the service of this config file.

    Raises HiddenKeyError where the service may well have one that this user does not see, ConfigError.
    """
    try:
        return find_key(config.api.key_file, os.environ)
    except MissingKeyError:
        if source := credential_seen(path, CREDENTIAL_NAME):
            return key_of_credential(source)
        if _may_run(config):
            advice = "Run this with the key (RODIN_API_KEY) to check it."
            raise HiddenKeyError("Not visible from here: the running service has a key.", advice=advice) from None
        raise


def credential_seen(path: Path, name: str) -> Path | None:
    """Return the file that systemd gives, as a credential, to the service of this config file; None if no unit says so.

    Raises HiddenKeyError for one that this user may not read; one that is missing hides nothing.
    """
    source = credential_of(path, name)
    if source is not None:
        try:
            source.open("rb").close()
        except PermissionError:
            text = f"Not visible from here: systemd shows {source} only to the service."
            raise HiddenKeyError(text, advice="Run this as root to check it.") from None
        except OSError:
            pass
    return source


def _may_run(config: Config) -> bool:
    try:
        return daemon_of(config) is not None
    except PermissionError:
        return True


def key_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Look whether there is a key that can be one. Raises ConfigError."""
    key_of(path, config)
    yield Finding("key", "Found.")


def balance_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Ask the vendor. Raises ConfigError without a key, ServiceError."""
    balance = balance_of(path, config)
    host, text = urlsplit(config.api.base_url).netloc, credits_text(balance)
    if balance >= cheapest().listed:
        yield Finding("balance", f"{host} says: {text}")
    else:
        yield Finding("balance", f"{host} says: {text}", Level.WARNING, "Buy credits: nothing can be submitted.")


def balance_of(path: Path, config: Config) -> Decimal:
    """Ask the vendor for the credits that are left; free. Raises ConfigError without a key, ServiceError."""
    try:
        with contextlib.closing(client_of(config, key_of(path, config))) as client:
            return client.balance()
    except NetworkError as error:
        if not (command := command_for(config.api.base_url)):
            raise
        raise NetworkError(error.message, advice=f"`{command}` starts the emulator there.") from error


def credits_text(balance: Decimal) -> str:
    """Say what a balance is worth."""
    paid = " or ".join(f"{count:,} {KINDS[kind].noun}s" for kind, count in paid_by(balance).items())
    return f"{balance} credits are left, which pay {paid}."
