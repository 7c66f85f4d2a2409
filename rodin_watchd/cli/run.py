"""`rodin-watchd run`: the service in the foreground."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click

from rodin_watchd.adapters.privacy import hide_memory, hide_variable
from rodin_watchd.api_key import KEY_VARIABLE, find_key
from rodin_watchd.cli.context import config_option, load
from rodin_watchd.config import Config
from rodin_watchd.core.layout import INBOX
from rodin_watchd.errors import RodinWatchdError, RootAwayError
from rodin_watchd.service.assembly import assembled
from rodin_watchd.service.daemon import Daemon

DRAIN_SECONDS = 20.0
"""How long a polite end waits for steps under way; what does not end in time is redone at the next start."""

AWAY_SECONDS = 2.0
"""How often a start looks whether the root is back."""

log = logging.getLogger("rodin_watchd")


@click.command(epilog="Example: rodin-watchd run --config /srv/textures/config.toml")
@config_option
@click.option("--until-idle", is_flag=True, help="Work off what is there, then exit.")
@click.option("--safe-mode", is_flag=True, help="Start without plugins.")
@click.option("--verbose", is_flag=True, help="Log more.")
def run(config_file: Path | None, *, until_idle: bool, safe_mode: bool, verbose: bool) -> None:
    """Watch the inbox and texture what is dropped, until SIGTERM or Ctrl-C; a second one ends it at once.

    Nothing is lost by ending it, in whatever way: the next start goes on. One line is logged for each change, on
    standard error; `rodin-watchd status --watch` shows the whole.

    With --until-idle the exit code is 0, or 1 when something failed, is held for a person's decision, or keeps all from
    going on that only a person can mend (credits, key, `pause`, approval, a spent budget). Sets that lack a file stay in the inbox.
    """
    _log_to_stderr(verbose=verbose)
    hide_memory()
    config = load(config_file)
    key = find_key(config.api.key_file, os.environ)
    hide_variable(KEY_VARIABLE)
    with _when_the_root_is_there(config, key, wait=not until_idle, safe_mode=safe_mode) as daemon:
        _stop_on_signals(daemon)
        _tell_start(config, daemon.watching)
        try:
            daemon.run(until_idle=until_idle)
            log.info("stopping")
            ended = daemon.drain(DRAIN_SECONDS, config.api.read_seconds)
            failed = until_idle and (daemon.failed > 0 or daemon.needs_person())
        except Exception as error:  # noqa: BLE001 - whatever ended the loop, the process ends now
            _tell_end(error)
            _leave(1)
    log.info("stopped")
    if not ended:
        _leave(int(failed))
    sys.exit(int(failed))


@contextlib.contextmanager
def _when_the_root_is_there(config: Config, key: str, *, wait: bool, safe_mode: bool) -> Iterator[Daemon]:
    """Give a daemon; while the root is a share that is away, wait for it, holding nothing that a second start could need."""
    told = ""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                daemon = stack.enter_context(assembled(config, key, safe_mode=safe_mode))
                break
            except RootAwayError as error:
                if not wait:
                    raise
                if error.message != told:
                    told = error.message
                    log.warning("%s %s", told, error.advice_given)
            time.sleep(AWAY_SECONDS)
        yield daemon


def _tell_end(error: Exception) -> None:
    """Log why the loop ended: a user's matter in words, a fault of the program with its traceback."""
    if isinstance(error, RodinWatchdError):
        log.critical("%s %s", error.message, error.advice_given)
    else:
        log.critical("a fault in rodin_watchd; please report it", exc_info=error)


def _leave(code: int) -> NoReturn:
    """End the process at once: a thread may wait for the network for minutes; what it does is redone at the next start."""
    logging.shutdown()
    os._exit(code)


def _tell_start(config: Config, watching: str) -> None:
    log.info("serving %s with %s", config.folders.root, urlsplit(config.api.base_url).netloc)
    log.info("watching: %s; drop sets into %s", watching, config.folders.root / INBOX)


def _log_to_stderr(*, verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO,  # of the libraries: what they say beyond that may hold secrets
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    log.setLevel(logging.DEBUG if verbose else logging.INFO)


def _stop_on_signals(daemon: Daemon) -> None:
    """End politely at the first SIGTERM or Ctrl-C, at once at the second."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=daemon.stop).start()  # the loop, interrupted here, may hold the lock that this takes

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
