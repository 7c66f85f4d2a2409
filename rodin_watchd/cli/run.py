"""`rodin-watchd run`: the service in the foreground."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click

from rodin_watchd.adapters.host import collect_seldom, hide_memory, hide_variable, share_memory_pool
from rodin_watchd.adapters.spool.sharing import umask, umask_for
from rodin_watchd.adapters.spool.writers import asking, has_capability
from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.cli.context import program
from rodin_watchd.cli.main import exit_code, in_words
from rodin_watchd.cli.options import config_option, find
from rodin_watchd.config import KEY_VARIABLE, Config, find_key, load_config
from rodin_watchd.core.layout import INBOX
from rodin_watchd.errors import DiskError, RodinWatchdError, RootAwayError, StoreAwayError
from rodin_watchd.log_lines import LogFormat, log_error, set_level, start_log
from rodin_watchd.service.reload import Launch, Serving, serving

# ---- The signals that a running service handles -----------------------------------------------------------------------


ENDING = (signal.SIGTERM, signal.SIGINT)


def await_service() -> None:
    """End in order at a SIGTERM before there is a service: what is held is given back. SIGHUP has nothing to reload yet."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))


def _end_at_once() -> None:
    """Have the next signal end the process; by default the kernel does not end a container's first one, pid_namespaces(7)."""
    for number in ENDING:
        signal.signal(number, _end_process if os.getpid() == 1 else signal.SIG_DFL)


def _end_process(number: int, _frame: object) -> None:
    os._exit(128 + number)


def handle_signals(service: Serving) -> None:
    """End politely at the first SIGTERM or Ctrl-C, at once at the second; read the config again at SIGHUP.

    The SIGHUP of a terminal that was closed ends the service politely: nobody can see it any more.
    """
    terminal = _is_terminal()

    def stop(_number: int, _frame: object) -> None:
        _end_at_once()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _apart(service.stop)

    def reload(number: int, frame: object) -> None:
        if terminal and not _is_terminal():
            stop(number, frame)
        else:
            _apart(service.ask_reload)

    for number in ENDING:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, reload)


def _is_terminal() -> bool:
    """Return whether there is a terminal, open on the other side."""
    return os.isatty(sys.stderr.fileno())


def _apart(action: Callable[[], None]) -> None:
    """Do it in another thread: the loop, interrupted here, may hold a lock that it takes."""
    threading.Thread(target=action).start()


AWAY_SECONDS = 2.0
"""How often a start looks whether the root is back."""

log = logging.getLogger("rodin_watchd")


@click.command(epilog="Example: rodin-watchd run --config /srv/textures/config.toml")
@config_option
@click.option("--until-idle", is_flag=True, help="Process the sets that are there, then exit.")
@click.option("--safe-mode", is_flag=True, help="Start without plugins.")
@click.option("--verbose", is_flag=True, help="Log each call to the vendor, too.")
@click.option(
    "--log-format",
    type=click.Choice(["human", "json", "journal"]),
    help="How lines are logged. Default: journal where standard error leads to journald, else human.",
)
def run(
    config_file: Path | None, *, until_idle: bool, safe_mode: bool, verbose: bool, log_format: LogFormat | None
) -> None:
    """Watch the inbox and make what dropped sets ask for, until SIGTERM or Ctrl-C. A second one ends the service at once.

    Nothing is lost when it ends, in any way: the next start continues. Each change is one line of the log, on standard
    error. `rodin-watchd status --watch` shows the whole state. SIGHUP reloads the config; a bad config is refused.

    With --until-idle the exit code is 0, or 1 when a set failed, is held for a person's decision, or waits for
    something that only a person can do (credits, key, `resume`, approval, a larger budget). Sets with a missing file
    stay in the inbox.
    """
    chosen = start_log(log_format, os.environ)
    hide_memory()
    share_memory_pool()  # there are more threads than places at the vendor
    faulthandler.enable()  # who is ended by the watchdog shows where it was stuck
    await_service()
    pulse = Pulse(Manager.taken_from(os.environ), time.monotonic)
    try:
        code = _serve(
            Setting(find(config_file).absolute(), verbose=verbose), pulse, until_idle=until_idle, safe_mode=safe_mode
        )
    except (RodinWatchdError, OSError) as error:
        found = error if isinstance(error, RodinWatchdError) else DiskError(in_words(error))
        found.has_ended_service()
        if chosen == "human":
            raise
        log_error(logging.CRITICAL, "ended", found)
        code = exit_code(found)
    sys.exit(code)


def _serve(setting: Setting, pulse: Pulse, *, until_idle: bool, safe_mode: bool) -> int:
    """Serve until the end; return the exit code, or leave at once if something does not end. Raises OwnerError, DiskError."""
    config, key = setting.read()
    setting.take_level(config)
    hide_variable(KEY_VARIABLE)
    command = (*program(), "web", "--while-read", "--config", str(setting.path))
    start = partial(serving, config, key, pulse, launch=Launch(safe_mode, command, waits=not until_idle))
    with _when_the_root_is_there(start, pulse, wait=not until_idle) as service:
        setting.take(config)
        handle_signals(service)
        _log_start(config, service.daemon.watching)
        collect_seldom()
        try:
            service.run(setting.read, setting.take, until_idle=until_idle)
            log.info("stopping", extra={"action": "stopping"})
            daemon, config = service.daemon, service.config
            ended = daemon.drain(config.service.stop_seconds, config.api.read_seconds)
            failed = until_idle and (daemon.failed > 0 or daemon.needs_person())
        except Exception as error:  # noqa: BLE001 - whatever ended the loop, the process ends now
            _log_end(error)
            service.end_journal()
            _leave(1)
    log.info("stopped", extra={"action": "stopped"})
    if not ended:
        _leave(int(failed))
    return int(failed)


class Setting:
    """The config file and the key, read as often as somebody asks; and what they say of the whole process."""

    def __init__(self, path: Path, *, verbose: bool) -> None:
        self.path = path
        self._umask = umask()
        self._verbose = verbose
        self._given = {
            name: os.environ[name] for name in (KEY_VARIABLE,) if name in os.environ
        }  # hidden after the start

    def read(self) -> tuple[Config, str]:
        """Return the configuration and the key. Raises ConfigError."""
        config = load_config(self.path)
        return config, find_key(config.api.key_file, {**os.environ, **self._given})

    def take(self, config: Config) -> None:
        """Log as the configuration says, and make files and folders as what is published has to be.

        To be called when the journal is open: what is made before that, for nobody else's eyes, follows the umask alone.
        """
        self.take_level(config)
        mode = config.output.file_mode
        os.umask(self._umask if mode is None else umask_for(mode))

    def take_level(self, config: Config) -> None:
        """Log what the configuration says is grave enough."""
        set_level("debug" if self._verbose else config.service.log_level)


@contextlib.contextmanager
def _when_the_root_is_there(
    start: Callable[[], AbstractContextManager[Serving]], pulse: Pulse, *, wait: bool
) -> Iterator[Serving]:
    """Give a service; wait for a root or a database that is away, holding nothing that a second start could need."""
    message = ""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                service = stack.enter_context(start())
                break
            except (RootAwayError, StoreAwayError) as error:
                if not wait:
                    raise
                if error.message != message:
                    message = error.message
                    if isinstance(error, RootAwayError):
                        log.warning("root-away: %s %s", message, error.advice_in_full, extra={"action": "root-away"})
                    else:
                        log.warning("store-away: %s %s", message, error.advice_in_full, extra={"action": "store-away"})
                pulse.wait(f"waits: {message}")
            time.sleep(AWAY_SECONDS)
        yield service


def _log_end(error: Exception) -> None:
    """Log why the loop ended: a user's matter in words, a fault of the program with its traceback."""
    if isinstance(error, RodinWatchdError):
        error.has_ended_service()
        log_error(logging.CRITICAL, "ended", error)
    else:
        log.critical("ended: a fault in rodin_watchd; please report it", exc_info=error, extra={"action": "ended"})


def _leave(code: int) -> NoReturn:
    """End the process at once: a thread may wait for the network for minutes; what it does is redone at the next start."""
    logging.shutdown()
    os._exit(code)


def _how_writers_are_noticed(inbox: Path) -> str:
    with contextlib.suppress(OSError):  # a share that is away
        return f"{asking(inbox, with_capability=has_capability()).value}; "
    return ""


def _log_start(config: Config, watching: str) -> None:
    root, host = config.folders.root, urlsplit(config.api.base_url).netloc
    log.info("serving %s with %s", root, host, extra={"action": "serving"})
    writers = _how_writers_are_noticed(root / INBOX)
    log.info("watching: %s; %sdrop sets into %s", watching, writers, root / INBOX, extra={"action": "watching"})
