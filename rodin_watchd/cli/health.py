"""`rodin-watchd health`: for probes. One line, one exit code, and quick: it opens neither journal nor network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.ownership import holder
from rodin_watchd.cli.options import config_option, load_settings
from rodin_watchd.core.health import SET_SECONDS, TICK_SECONDS, verdict
from rodin_watchd.settings import journal_path


@click.command(epilog="Example: rodin-watchd health --config /srv/textures/config.toml")
@config_option
@click.option(
    "--tick-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=TICK_SECONDS,
    show_default=True,
    help="Greatest age of the last tick.",
)
@click.option(
    "--set-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=SET_SECONDS,
    show_default=True,
    help="Longest time for which a set that should move may not move.",
)
def health(config_file: Path | None, tick_seconds: float, set_seconds: float) -> None:
    """Print in one line whether the service works. Exit code 1: it does not work, or does not run.

    A service that is paused (no credits, a disconnected share, `pause`) works: the line says what it waits for, and a
    restart would not help. Run this as a user that may read the service's state folder, on the same machine.
    """
    config = load_settings(config_file)
    healthy, line = health_line(journal_path(config, os.environ), tick_seconds, set_seconds)
    click.echo(line)
    sys.exit(0 if healthy else 1)


def health_line(
    journal: Path, tick_seconds: float = TICK_SECONDS, set_seconds: float = SET_SECONDS
) -> tuple[bool, str]:
    """Return whether the daemon of this journal is well, and the line that says so."""
    lock = journal.with_name("lock")
    try:
        lock.stat()
        heartbeat, serving = read_heartbeat(sign_path(journal)), holder(lock)
    except FileNotFoundError:
        return False, f"not running: there is no {lock}"
    except PermissionError as error:
        return False, f"unknown: this user may not read {error.filename}"
    if serving is None:
        return False, "not running"
    if heartbeat is None or heartbeat.pid != serving.get("pid"):
        return False, "starting: no tick yet"
    return verdict(heartbeat.health, heartbeat.age_seconds, tick_seconds, set_seconds)
