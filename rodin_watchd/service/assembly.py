"""Putting the service together from its configuration; the one place that knows all parts."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import Journal
from rodin_watchd.adapters.lock import Lock
from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.watcher import Watcher, open_watcher
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.config import Config, journal_path, lock_path
from rodin_watchd.core.layout import INBOX
from rodin_watchd.errors import DiskError, JournalError
from rodin_watchd.service.book import Book
from rodin_watchd.service.daemon import SPARE_WORKERS, Daemon
from rodin_watchd.service.desk import Clock
from rodin_watchd.service.quiet import quiet_seconds
from rodin_watchd.service.steps import Tools

SYSTEM_CLOCK = Clock(time.time, time.monotonic, random.random)


@contextlib.contextmanager
def assembled(config: Config, key: str, clock: Clock = SYSTEM_CLOCK) -> Iterator[Daemon]:
    """Give a daemon that is ready to run; holds the lock, the journal and the connections until the end.

    Raises OwnerError or DiskError when it cannot run as it is set up.
    """
    spool = Spool(config.folders.root)
    spool.prepare()
    with contextlib.ExitStack() as stack:
        stack.enter_context(Lock(lock_path(config)))
        path = _journal_place(config)
        if path.parent != lock_path(config).parent:  # two roots must not share a journal either
            stack.enter_context(Lock(path.with_name("lock")))
        journal = stack.enter_context(contextlib.closing(Journal(path)))
        client = stack.enter_context(contextlib.closing(client_of(config, key)))
        tools = Tools(spool, client, clock.now, local_zone(), config.results.max_file_bytes)
        daemon = Daemon(config, tools, Book(journal), watcher_of(config), clock, quiet_seconds(config))
        stack.callback(daemon.close)  # whatever ends it: no upload waits for ever for permission to send its last bytes
        yield daemon


def _journal_place(config: Config) -> Path:
    """Return where the journal lies, with its folder made. Raises JournalError on a network share, DiskError."""
    path = journal_path(config, os.environ)
    refuse_network_journal(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"The state folder {path.parent} cannot be made: {error.strerror}.") from error
    return path


def refuse_network_journal(path: Path) -> None:
    """Raise JournalError for a journal on a network filesystem (https://sqlite.org/wal.html: WAL does not work there)."""
    there = filesystem_of(path.parent)
    if there.network:
        raise JournalError(
            f"The journal {path} would lie on a network share ({there.kind}), where SQLite's locks cannot be trusted.",
            advice="Set folders.state in the config to a folder on a local disk.",
        )


def client_of(config: Config, key: str) -> RodinClient:
    """Return the client for the vendor's API, to be closed by the caller. Raises ConfigError."""
    timeouts = Timeouts(config.api.connect_seconds, config.api.read_seconds)
    return RodinClient(config.api.base_url, key, timeouts=timeouts, max_calls=config.api.max_in_flight + SPARE_WORKERS)


def watcher_of(config: Config) -> Callable[[Callable[[], None]], Watcher]:
    """Return what starts the inbox's watcher, given whom it is to wake."""

    def start(wake: Callable[[], None]) -> Watcher:
        inbox = config.folders.root / INBOX
        there = filesystem_of(inbox)
        return open_watcher(inbox, wake, config.intake.watcher, share=there.kind if there.network else "")

    return start
