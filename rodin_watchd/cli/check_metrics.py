"""What `check` finds about metrics: whether they can be had where the configuration wants them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from rodin_watchd.cli.context import daemon_of
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.config import Config


def metrics_findings(config: Config) -> Iterator[Finding]:
    """Look at the extra, the port and the textfile's folder; nothing where no metrics are wanted."""
    if not config.metrics.wanted:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        advice = f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[metrics]"'
        yield Finding("metrics", "prometheus_client is not installed.", Verdict.PROBLEM, advice)
    if config.metrics.address:
        yield _port(*config.metrics.address, running=daemon_of(config) is not None)
    if config.metrics.textfile:
        yield _textfile(config.metrics.textfile)


def _port(host: str, port: int, *, running: bool) -> Finding:
    """Tell whether somebody answers at the port, which should be the service and nobody else."""
    where = f"{host}:{port}"
    answered = False
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2.0):
        answered = True
    if answered and not running:
        advice = "Choose another port in metrics.listen."
        return Finding("metrics", f"Another program listens at {where}.", Verdict.PROBLEM, advice)
    if running and not answered:
        return Finding("metrics", f"Nobody answers at {where}.", Verdict.WARNING, "Start the service anew.")
    return Finding("metrics", f"{where} is {'served' if answered else 'free'}.")


def _textfile(path: Path) -> Finding:
    if path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
        return Finding("metrics", f"{path} can be written.")
    advice = "Make the folder, give the service's user the right to write there, or change metrics.textfile."
    return Finding("metrics", f"{path} cannot be written by this user.", Verdict.PROBLEM, advice)
