"""What `check` finds about the page in the browser: whether it can run where the configuration wants it, and who may use it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from rodin_watchd.cli.check.findings import Finding, Level, acting_as, user_of
from rodin_watchd.cli.context import needs_web
from rodin_watchd.client.journal import daemon_of
from rodin_watchd.config import Config

_LOOK_SECONDS = 3.0


def page_findings(config: Config) -> Iterator[Finding]:
    """Look at the extra, the login and the port; nothing where no page is wanted. Raises ConfigError, as the page would."""
    if not config.web.enabled:
        return
    with needs_web():
        from rodin_watchd.web.access import find_tokens, refuse_open  # noqa: PLC0415 - an optional extra
    with acting_as(user_of(config)):
        tokens = find_tokens(config.web, os.environ)
    refuse_open(config.web, tokens)
    people = (
        "who logs in" if tokens else "whom the proxy names" if config.web.proxy_header else "everybody on this machine"
    )
    yield Finding("page", f"http://{config.web.listen}/ is for {people}.")
    yield _port(config)


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
