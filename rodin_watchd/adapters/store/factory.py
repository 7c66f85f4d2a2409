"""The store of a configuration, opened: the journal, or the database that it names. The one place where somebody chooses."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Final, Protocol

from rodin_watchd.adapters.store.archive import ArchiveFile
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.farm import CallQueue
from rodin_watchd.core.roots import KnownRoots, ServingProcess
from rodin_watchd.core.store import MOVED_FROM, MOVED_TO, ROOT_ID, OldJob, ServedRoot, Store, StoreReader
from rodin_watchd.errors import CommandRefusedError, ConfigError, OldJournalError, UnknownRootError
from rodin_watchd.settings import Address, StorePlace


class SharedStore(Store, Protocol):
    """A store that daemons of several roots have open at the same time, each for its root, which it takes before it writes."""

    @property
    def root_id(self) -> str:
        """The id of the root."""

    @property
    def ahead_seconds(self) -> float:
        """How far the clock that all daemons of the store go by is ahead of this machine's."""

    def begin_process(self, me: ServingProcess, place: str) -> None:
        """Note that this process is the newest of its daemon: its state folder's lock shows that the one before has ended.

        And where it has the root: it is the same one there when its share is away at the next start.
        """

    def seen_root(self) -> tuple[ServedRoot | None, int]:
        """Return the root as it is at this moment, None where nobody ever had it, and the number of the connection."""

    def take_root(
        self, me: ServingProcess, place: str, seconds: float, seen: ServedRoot | None, *, ended: bool
    ) -> None:
        """Take the root for so long, as it was `seen`; all that is written is fenced from then on.

        `ended`: whether the owner's process is known to have ended, if there is one. Raises StandbyError where the root is not as
        it was seen.
        """

    def extend_root(self, seconds: float) -> None:
        """Keep the root for so long from now. Raises FencedError where another daemon has it by now."""

    def extend_root_beside(self, seconds: float) -> None:
        """Do the same by a connection of its own, from one other thread."""

    def free_root(self) -> None:
        """Let another daemon have the root at once: this one does nothing more. Raises DiskError."""


def open_reader(place: StorePlace) -> StoreReader:
    """Open a store for reading; the caller closes it. Raises JournalError, StoreAwayError; ConfigError without the extra."""
    if place.address is None:
        return JournalReader(place.path)
    with _needs_psycopg():
        from rodin_watchd.adapters.store.postgres import PostgresReader  # noqa: PLC0415 - an optional extra
    return PostgresReader(place.address, _reads(place))


def open_database(place: StorePlace) -> SharedStore:
    """Open the store in a database for a daemon; its schema is made, or brought up to date. Raises as `open_reader`.

    And AlreadyRunningError where another program needs it alone, UnknownRootError for a folder that is no root of this store.
    """
    assert place.address is not None  # noqa: S101 - the caller has asked
    with _needs_psycopg():
        from rodin_watchd.adapters.store.postgres import PostgresStore  # noqa: PLC0415 - an optional extra
    return PostgresStore(place.address, partial(_root_to_serve, place=place))


def add_root(place: StorePlace) -> str:
    """Make a folder a root of a store in a database, for the daemon to adopt at its next start; return its id. May be repeated.

    Raises as `open_reader`, and CommandRefusedError for one that is a root already.
    """
    assert place.address is not None and place.root is not None  # noqa: S101, PT018 - the caller has asked
    with _needs_psycopg():
        from rodin_watchd.adapters.store import postgres  # noqa: PLC0415 - an optional extra
    return postgres.add_root(place.address, place.root.place, place.root.mark)


def _reads(place: StorePlace) -> Callable[[KnownRoots], str]:
    """Return what chooses the root for somebody who looks: that of the folder, else the only one."""

    def choose(known: KnownRoots) -> str:
        from rodin_watchd.adapters.store.postgres import only_root  # noqa: PLC0415 - as above

        root = place.root if len(known.roots) > 1 else None
        found = known.of(root.place, root.mark) if root else None
        return only_root(known) if found is None else found

    return choose


def _root_to_serve(known: KnownRoots, place: StorePlace) -> str:
    """Choose the root that a daemon serves. Raises UnknownRootError for a folder that is none of a store that has others."""
    assert place.root is not None  # noqa: S101 - a configuration's place has one
    mark = place.root.mark
    if found := known.of(place.root.place, mark):
        return found
    if not known.roots:
        return secrets.token_hex(8)
    what = f"has the mark of another root ({mark})" if mark else "has no mark"
    raise UnknownRootError(
        f"{place.root.folder} {what}: it is none of the roots of {place.shown}, which are {known.shown}."
    )


def farm_queue(address: Address, patience: float) -> CallQueue:
    """Return the queue of the farm's calls in a database; nothing is opened. Raises ConfigError without the extra.

    `patience`: for how many seconds its calls wait for a database that is away.
    """
    with _needs_procrastinate():
        from rodin_watchd.adapters.store.farm import FarmQueue  # noqa: PLC0415 - an optional extra
    return FarmQueue(address, patience)


def leave_command(place: StorePlace, verb: str, arguments: dict[str, Any], now: float, *, once: bool) -> int:
    """Leave a command for the daemon, and return its number; `once`: not while the same waits for the same job.

    Raises as `open_reader`, JournalBusyError, CommandRefusedError.
    """
    if place.address is None:
        return insert_command(place.path, verb, arguments, now, once=once)
    with _needs_psycopg():
        from rodin_watchd.adapters.store import postgres  # noqa: PLC0415 - an optional extra
    return postgres.insert_command(place.address, verb, arguments, now, once=once, choose=_reads(place))


def copy_old_jobs(place: StorePlace, before_at: float, now: float, limit: int) -> list[OldJob]:
    """Copy the oldest jobs that ended before an instant (UTC) to the archive, durably; return them. From any thread.

    Raises DiskError, JournalError.
    """
    if place.address is None:
        with contextlib.closing(JournalReader(place.path)) as journal:
            found = journal.old_jobs(before_at, now, limit)
        if found:
            with contextlib.closing(ArchiveFile(place.path)) as archive:
                archive.put(found)
        return [one.known for one in found]
    with _needs_psycopg():
        from rodin_watchd.adapters.store import postgres  # noqa: PLC0415 - an optional extra
    with contextlib.closing(postgres.PostgresReader(place.address, _reads(place))) as reader:
        found = reader.old_jobs(before_at, now, limit)
    if found:
        with contextlib.closing(postgres.PostgresArchive(place.address)) as tables:
            tables.put(found)
    return [one.known for one in found]


def copy_store(source: StorePlace, target: StorePlace, now: float, stamp: str) -> int:
    """Copy a store as a whole to another place, and mark the source as moved there; return how many jobs it has. May be repeated.

    No service may run on either. What is in the target's place is put aside, to a name with the stamp. Raises
    CommandRefusedError where that is a store of its own, or the source was moved elsewhere; JournalError, DiskError, ConfigError:
    then nothing was changed.
    """
    with _needs_psycopg():
        from rodin_watchd.adapters.store import copying, postgres  # noqa: PLC0415 - an optional extra
    _refuse_own(target)
    moved = {"name": target.name, "at": now}
    with contextlib.closing(
        postgres.PostgresStore(source.address, _root_to_copy, alone=True) if source.address else Journal(source.path)
    ) as store:
        if (before := store.meta(MOVED_TO)) and before["name"] != target.name:
            raise CommandRefusedError(
                f"{source.shown} was copied to {before['name']} already, and is not used any more.",
                advice="Copy from there.",
            )
        copied = copying.copy_store(source, target, str(store.meta(ROOT_ID) or ""), now, stamp)
        store.set_meta(MOVED_TO, moved)  # only now: until the copy is whole the source is the store
    return copied["jobs"].rows


def _root_to_copy(known: KnownRoots) -> str:
    """Choose the only root. Raises CommandRefusedError for a store that has several: no journal and no copy has more than one."""
    if len(known.roots) > 1:
        raise CommandRefusedError(
            f"This store has several roots, which share what was paid for: {known.shown}. Only a store with one root can be copied.",
            advice="To move it to another PostgreSQL server, stop all daemons and use pg_dump and pg_restore.",
        )
    return next(iter(known.roots), "")


def _refuse_own(target: StorePlace) -> None:
    """Raise CommandRefusedError where a place has a store that is no copy that nobody has used, and was not moved from there."""
    if target.address is None and not target.path.exists():
        return
    try:
        with contextlib.closing(open_reader(target)) as there:
            is_free = there.meta(MOVED_TO) or there.meta(MOVED_FROM) or not (there.counts() or there.meta(ROOT_ID))
    except OldJournalError:
        is_free = target.address is not None  # nothing is there
    if not is_free:
        raise CommandRefusedError(
            f"{target.shown[0].upper()}{target.shown[1:]} has a store of its own, which knows what was paid for.",
            advice="Name an empty database, or another folder.",
        )


@contextlib.contextmanager
def _needs(extra: str, modules: AbstractSet[str], what: str) -> Iterator[None]:
    """Say how to install an optional extra, if importing one of its modules fails: `what` needs it. Raises ConfigError."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in modules:
            raise
        raise ConfigError(
            what, advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[{extra}]"'
        ) from None


_PSYCOPG: Final = frozenset({"psycopg", "psycopg_binary", "psycopg_c"})
_needs_psycopg: Final = partial(
    _needs, "postgres", _PSYCOPG, "store.url names a PostgreSQL database, but psycopg is not installed."
)
_needs_procrastinate: Final = partial(
    _needs,
    "farm",
    _PSYCOPG | {"procrastinate", "psycopg_pool"},
    "A plugin's table says where = “farm”, or this is a worker, but procrastinate is not installed.",
)
