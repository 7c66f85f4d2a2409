"""`rodin-watchd run`: the service in the foreground."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import click

from rodin_watchd.cli.context import config_option, find
from rodin_watchd.config import find_key, load_config
from rodin_watchd.service.assembly import assembled
from rodin_watchd.service.daemon import Daemon

DRAIN_SECONDS = 20.0
"""How long a polite end waits for steps under way; what does not end in time is redone at the next start."""

log = logging.getLogger("rodin_watchd")


@click.command()
@config_option
@click.option("--until-idle", is_flag=True, help="Work off what is there, then exit: 1 if something failed or is held.")
@click.option("--verbose", is_flag=True, help="Log more.")
def run(config_file: Path | None, *, until_idle: bool, verbose: bool) -> None:
    """Watch the inbox until SIGTERM or Ctrl-C."""
    _log_to_stderr(verbose=verbose)
    path = find(config_file)
    config = load_config(path)
    with assembled(config, find_key(config, os.environ)) as daemon:
        _stop_on_signals(daemon)
        log.info("watching %s (%s)", config.folders.root, daemon.watching)
        daemon.run(until_idle=until_idle)
        log.info("stopping")
        ended = daemon.drain(DRAIN_SECONDS)
        failed = until_idle and (daemon.failed > 0 or daemon.needs_person())
    log.info("stopped")
    if not ended:  # a thread still waits for the network; all it could tell is redone at the next start
        logging.shutdown()
        os._exit(int(failed))
    sys.exit(int(failed))


def _log_to_stderr(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )


def _stop_on_signals(daemon: Daemon) -> None:
    """End politely at the first SIGTERM or Ctrl-C, at once at the second."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
