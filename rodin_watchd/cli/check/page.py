"""What `check` finds about the page in the browser: whether it can run where the configuration wants it, and who may use it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from rodin_watchd.cli.check.account import credential_seen
from rodin_watchd.cli.check.findings import Finding, Level, acting_as, user_of
from rodin_watchd.cli.context import needs_web
from rodin_watchd.client.journal import daemon_of
from rodin_watchd.config import Config
from rodin_watchd.errors import HiddenKeyError

_LOOK_SECONDS = 3.0


def page_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Look at the extra, the login and the port; nothing where no page is wanted. Raises ConfigError, as the page would."""
    if not config.web.enabled:
        return
    yield _login(path, config)
    yield _port(config)


def _login(path: Path, config: Config) -> Finding:
    """Say for whom the page is: by the tokens of this process, else those that systemd gives the service of this config file."""
    with needs_web():
        from rodin_watchd.web import access  # noqa: PLC0415 - an optional extra
    with acting_as(user_of(config)):
        access.find_tokens(config.web, {})  # the configured files, as the service reads them
    credentials = dict(access.credentials_in(os.environ))
    try:
        for name in {access.TOKEN_CREDENTIAL, access.VIEWER_CREDENTIAL} - credentials.keys():
            if (source := credential_seen(path, name)) and source.exists():
                credentials[name] = source
    except HiddenKeyError as error:
        return Finding("page", error.message, Level.WARNING, error.advice_given)
    tokens = access.find_tokens(config.web, credentials)
    access.refuse_open(config.web, tokens)
    people = (
        "who logs in" if tokens else "whom the proxy names" if config.web.proxy_header else "everybody on this machine"
    )
    return Finding("page", f"http://{config.web.listen}/ is for {people}.")


def _port(config: Config) -> Finding:
    """Say whether the page is there, or could be."""
    where, is_running = f"http://{config.web.listen}/", False
    with contextlib.suppress(PermissionError):
        is_running = daemon_of(config) is not None
    if _is_taken(config):
        return Finding("page", f"{where} answers.") if is_running else _strange(where)
    if is_running:
        advice = "Look into the log for `web-ended`, or start the service again."
        return Finding("page", f"No program answers at {where}.", Level.WARNING, advice)
    return Finding("page", f"{where} is free.")


def _is_taken(config: Config) -> bool:
    host, port = config.web.address
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing listens here
    try:
        with socket.create_connection((reached, port), _LOOK_SECONDS):
            return True
    except OSError:
        return False


def _strange(where: str) -> Finding:
    return Finding("page", f"Another program listens at {where}.", Level.PROBLEM, "Choose another port in web.listen.")
