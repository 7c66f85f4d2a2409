"""What `check` finds about metrics: whether they can be had where the configuration wants them."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rodin_watchd.cli.check_user import acting_as, user_of
from rodin_watchd.cli.check_walls import textfile_walls
from rodin_watchd.cli.context import daemon_of
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.config import Config

PATIENCE_SECONDS: Final = 3.0
_OURS: Final = b"\nrodin_watchd_info{"
_LONGEST_BYTES: Final = 10_000_000


def metrics_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Look at the extra, the port and the textfile's folder; nothing where no metrics are wanted."""
    if not config.metrics.wanted:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        advice = f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[metrics]"'
        yield Finding("metrics", "prometheus_client is not installed.", Verdict.PROBLEM, advice)
    if config.metrics.address:
        yield _port(*config.metrics.address, config)
    if config.metrics.textfile:
        with acting_as(user_of(config)):
            found = _textfile(config.metrics.textfile)
        walls = tuple(textfile_walls(path, config))
        yield from walls
        if not (walls and found.verdict is Verdict.OK):
            yield found


def _port(host: str, port: int, config: Config) -> Finding:
    """Fetch them: the running service should answer, and nobody else."""
    where, answer = f"{host}:{port}", _answer(host, port)
    try:
        running = daemon_of(config) is not None
    except PermissionError:  # then whoever serves metrics like ours may be the service
        running = answer is not None and _OURS in answer
    if not running:
        return _unused(where) if answer is None else _strange(where)
    if not answer:
        return Finding("metrics", f"Nobody answers at {where}.", Verdict.WARNING, "Start the service anew.")
    return Finding("metrics", f"{where} is served.") if _OURS in answer else _strange(where)


def _unused(where: str) -> Finding:
    return Finding("metrics", f"{where} is free.")


def _strange(where: str) -> Finding:
    advice = "Choose another port in metrics.listen."
    return Finding("metrics", f"Another program listens at {where}.", Verdict.PROBLEM, advice)


def _answer(host: str, port: int) -> bytes | None:
    """Return what is served there; nothing if somebody listens and does not answer, None if nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError:
            return None
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read(_LONGEST_BYTES)
        except (OSError, http.client.HTTPException):
            return b""


def _textfile(path: Path) -> Finding:
    """Judge as the service writes it: another file beside it, which then takes its place."""
    if path.is_dir():
        advice = "Name a file in metrics.textfile."
        return Finding("metrics", f"{path} is a folder.", Verdict.PROBLEM, advice)
    if path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
        return Finding("metrics", f"{path} can be written.")
    advice = "Make the folder, give the service's user the right to write there, or change metrics.textfile."
    return Finding("metrics", f"{path} cannot be written by this user.", Verdict.PROBLEM, advice)
