"""The journal of a service as others see it: opened for reading, whether a daemon works with it, and why it may stand still."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.adapters.ownership import has_ended_here, holder, myself
from rodin_watchd.adapters.store.backup import can_grow
from rodin_watchd.adapters.store.factory import open_reader
from rodin_watchd.core.health import TICK_SECONDS, Standstill
from rodin_watchd.core.roots import process_named
from rodin_watchd.core.store import StoreReader
from rodin_watchd.core.wording import local
from rodin_watchd.errors import ConfigError, DiskError, JournalError, OldJournalError
from rodin_watchd.settings import Settings, StorePlace, journal_path, lock_path, store_place


def journal_of(config: Settings) -> Path:
    """Return where the journal is."""
    return journal_path(config, os.environ)


def place_of(config: Settings) -> StorePlace:
    """Return where the store is. Raises ConfigError for a password that cannot be read."""
    if config.store.url is None:
        return store_place(config, os.environ, lambda _folder: "")
    from rodin_watchd.adapters.spool.mounts import root_id_in  # noqa: PLC0415 - slow to import, and only a database asks

    return store_place(config, os.environ, root_id_in)


def has_store(config: Settings) -> bool:
    """Return whether there is a store: a service has once begun. Raises JournalError, StoreAwayError."""
    if config.store.url is None:
        return journal_of(config).exists()
    try:
        open_reader(place_of(config)).close()
    except OldJournalError:
        return False
    return True


def store_at(journal: Path) -> StoreReader:
    """Open a journal read-only; the caller closes it. Raises JournalError."""
    return open_reader(StorePlace(journal))


@contextlib.contextmanager
def reader(config: Settings) -> Iterator[StoreReader]:
    """Give the store, read-only. Raises JournalError, StoreAwayError."""
    place = place_of(config)
    try:
        journal = open_reader(place)
    except OldJournalError as error:
        if is_being_upgraded(place.path):
            raise JournalError(
                _UPGRADED, advice="Wait, then look again. `journalctl` or the log shows how far it is."
            ) from error
        raise
    except JournalError as error:
        if found := standstill(place.path):
            raise JournalError(found, advice="STATUS.txt says more.") from error
        raise
    with contextlib.closing(journal):
        yield journal


def is_being_upgraded(journal: Path) -> bool:
    """Return whether a service holds a journal of an older version: it brings it up to date then, before all else."""
    with contextlib.suppress(PermissionError):
        return holder(journal.with_name("lock")) is not None
    return False


_UPGRADED: Final = (
    "The service is bringing its journal up to date for a new version, which takes minutes where it is large. Until then it cannot be "
    "read, and nothing is taken, sent or delivered."
)


def standstill(journal: Path) -> str:
    """Return why a running service can write nothing into its journal, which the journal itself does not show; else ""."""
    try:
        heartbeat, serving = read_heartbeat(sign_path(journal)), holder(journal.with_name("lock"))
    except PermissionError:
        return ""
    if heartbeat is None or serving is None or heartbeat.age_seconds > TICK_SECONDS or not heartbeat.health.standstill:
        return ""
    if Standstill.STANDBY in heartbeat.health.paused:  # another daemon writes it
        return ""
    message = (
        f"Nothing has moved since {local(heartbeat.health.standstill_at, local_zone())}, and what the journal shows is as of then: "
        f"{heartbeat.health.standstill}"
    )
    if Standstill.JOURNAL_GONE in heartbeat.health.paused:
        message += " Do not stop the service: only it knows what was paid for."
    return message


def daemon_of(config: Settings, store: StoreReader | None = None) -> dict[str, Any] | None:
    """Return host and pid of the daemon that serves the root, None when none runs; `store` where it is open already.

    Where several daemons share the store its lease shows it, if the store can be asked; else a lock: while the root is a share that
    is away, the one next to the journal. Raises PermissionError if this user may see too little for an answer.
    """
    if store is not None and config.store.url is not None:
        return _leaseholder(store)
    if config.store.url is not None:
        with contextlib.suppress(JournalError, DiskError, ConfigError), reader(config) as opened:
            return _leaseholder(opened)
    hidden: PermissionError | None = None
    for lock in (lock_path(config), journal_of(config).with_name("lock")):
        try:
            if (found := holder(lock)) is not None:
                return found
        except PermissionError as error:
            hidden = error
    if hidden:
        raise hidden
    return None


def _leaseholder(store: StoreReader) -> dict[str, Any] | None:
    root = store.served()
    if root is None or not root.daemon or not root.left_seconds or has_ended_here(root.process, myself()):
        return None
    return process_named(root.process)


def no_room(place: StorePlace) -> str:
    """Return what people must know of a journal whose disk is full, which the journal itself does not show; else ""."""
    journal = place.path
    if place.address or can_grow(journal):
        return ""
    return (
        f"The disk with the journal {journal} is full: the service does nothing, and its last page may be old. "
        "Make free space; it continues by itself."
    )
