"""Opening what the service stands on: journal, folders, locks; in the order that lets nothing be written too early."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rodin_watchd.adapters.heartbeat import is_sign, leave_heartbeat, sign_path
from rodin_watchd.adapters.host import filesystem_of, local_zone, since_boot
from rodin_watchd.adapters.ownership import Lease, Lock, holder, is_lock, myself
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.mounts import Mounts, root_id_in
from rodin_watchd.adapters.spool.sharing import sharing_of
from rodin_watchd.adapters.spool.statx import birth_at
from rodin_watchd.adapters.spool.submit_count import SubmitCount
from rodin_watchd.adapters.store.backup import (
    back_up_archive,
    is_ballast,
    make_backup,
    refuse_foreign_backup,
    reserve_path,
)
from rodin_watchd.adapters.store.factory import copy_old_jobs, farm_queue, open_database, open_reader
from rodin_watchd.adapters.store.files import finish, make_private
from rodin_watchd.adapters.store.sqlite import Journal, Tell, silent
from rodin_watchd.config import Config
from rodin_watchd.core.farm import CallQueue
from rodin_watchd.core.health import Health
from rodin_watchd.core.machine import OLDER, Loss, hold_unsent, put_back
from rodin_watchd.core.names import printable
from rodin_watchd.core.pauses import PAUSES, after_start, remembered_pauses, stored_pauses
from rodin_watchd.core.proof import LOSSES
from rodin_watchd.core.roots import process_in_words
from rodin_watchd.core.store import COPIED_AT, MOVED_FROM, MOVED_TO, TOO_OLD, Announcer, ServedRoot, Store
from rodin_watchd.errors import (
    AlreadyRunningError,
    ConfigError,
    DiskError,
    ForeignFileError,
    JournalError,
    RootAwayError,
)
from rodin_watchd.own_file import refuse_foreign_at
from rodin_watchd.service.budget import BudgetDay
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.housekeeping import Backup, CopyOldJobs, Housekeeping
from rodin_watchd.service.jobs import JobStore
from rodin_watchd.service.journal_guard import (
    DatabaseGuard,
    Hold,
    JournalCheck,
    JournalGuard,
    RootLease,
    StateFolder,
    StoreGuard,
    stamp_of,
)
from rodin_watchd.service.metrics import metered
from rodin_watchd.service.mounts import MountKeeper, Standing, why_not_served
from rodin_watchd.service.orphans import Orphans
from rodin_watchd.service.snapshot import Monitor
from rodin_watchd.service.web_page import WebPage
from rodin_watchd.settings import StorePlace, lease_path, lock_path, store_place

_PATIENCE_SECONDS = 5.0
"""How long the daemon's question to the farm's queue waits for a database that is away, until people read it."""


@dataclass(frozen=True, slots=True)
class Base:
    """What is open as long as the daemon runs."""

    spool: Spool
    copy_old_jobs: CopyOldJobs
    store: Store
    job_store: JobStore
    standing: Standing
    budget_day: BudgetDay
    submit_count: SubmitCount
    page: WebPage
    clock: Clock
    """The service's clock: where several daemons share the store, its now is theirs."""
    is_sure: Callable[[], bool]
    """Whether nobody else can serve the root by now, without a look; any thread."""
    open_farm: Callable[[], CallQueue] | None  # where the store is in a database
    begin: Callable[[str, Announcer], None]
    """The repairs of a start, for an account: once, before any worker runs; plugins are owed calls for what they do, and from then on."""


@contextlib.contextmanager
def opened(  # noqa: PLR0913, PLR0915 - what it is made of, in the order in which it may be opened
    config: Config,
    clock: Clock,
    wait: Callable[[float], None],
    web_command: Sequence[str] = (),
    tell: Tell = silent,
    stand_by: Callable[[str], None] = lambda _words: None,
    *,
    waits: bool = False,
) -> Iterator[Base]:
    """Give the journal and the folders, held against a second daemon until the end; `web_command` starts the page in the browser.

    `tell` is called before what takes long (`sqlite.Tell`), `stand_by` every second while another daemon serves the root, or nobody
    can: where the store is shared and the root is away, `waits` waits for it here.

    Raises OwnerError (ConfigError for a group that cannot be given, and for metrics that cannot be served), DiskError, RootAwayError. Into a root that is away nothing is written.
    """
    spool = Spool(config.folders.root, sharing_of(config.output.file_mode, config.output.group))
    place = store_place(config, os.environ, root_id_in)
    path = place.path
    if not os.path.exists(path.with_name("lock") if place.address else path):  # noqa: PTH110 - unlike Path.exists, False also where we may not look
        spool.mounts.refuse_bare()  # before the journal's folder is made, which may be in it
    with contextlib.ExitStack() as stack:
        _make_place(place)
        _refuse_foreign(place)
        first = stack.enter_context(_own_lock(place))
        own_holds: list[Hold] = [StateFolder(path.parent, fixed=True), first]
        kept = (
            _database(place, spool.mounts, clock, wait, stack, stand_by, waits=waits)
            if place.address
            else _journal(path, clock, own_holds, stack, tell)
        )
        store, job_store, clock = kept.store, kept.job_store, kept.clock
        refuse_moved(store, place)
        stack.callback(kept.guard.end)
        mounts_keeper = MountKeeper(spool.mounts, job_store, store, place, clock.now, kept.root_id)
        knew_root = mounts_keeper.knows_root
        if knew_root:
            mounts_keeper.find()
        else:
            spool.mounts.refuse_bare()
        spool.prepare(mounts_keeper.may_make)
        # A lease keeps every daemon off that has this store; the mark, which names the store, all others.
        holds = [*own_holds, *(() if kept.lease else _root_holds(config, path, clock, wait, stack))]
        if not mounts_keeper.knows_root:
            mounts_keeper.adopt()  # who serves it now is named before anybody can know its journal
        meter = stack.enter_context(metered(config, lambda: open_reader(place), clock))
        orphans = Orphans(spool, job_store, store, local_zone(), clock.now)

        def daily() -> None:
            mounts_keeper.settle()
            spool.try_renames()
            if kept.is_whole() and not mounts_keeper.copied:
                # A journal that has lost a row would make the files of a live job look like nobody's. Of a copied root, what this
                # journal does not know may be another service's, which goes on with it.
                orphans.look(frozenset(mounts_keeper.away))

        def remake_work() -> None:
            with contextlib.suppress(DiskError):  # then it stays away, which people read
                spool.prepare(lambda folder: folder == spool.work)
                daily()

        def begin(account: str, announcer: Announcer) -> None:
            job_store.announce_to(announcer)
            kept.report_start()
            process = kept.lease.serving.process if kept.lease else ""
            _repair(base, clock.now(), account, process, knew_root=knew_root)
            daily()

        keepers = (Housekeeping(job_store, store, kept.backup, clock, daily), Monitor(sign_path(path), meter))
        checks = kept.checks(daily)
        holds += (kept.guard, *checks)  # the guard writes: not before everything else is held
        standing = Standing(mounts_keeper, holds, kept.guard, checks, *keepers, remake_work, kept.lease)
        money = BudgetDay(store, local_zone(), clock), SubmitCount(spool.mounts)
        page = stack.enter_context(contextlib.closing(WebPage(config, web_command, clock)))
        copy, owns = partial(copy_old_jobs, place), kept.owns()
        base = Base(spool, copy, store, job_store, standing, *money, page, clock, owns, _farm_of(place), begin)
        yield base


class _Kept(NamedTuple):
    """A store that is open, and what is to be done for it."""

    store: Store
    job_store: JobStore
    guard: StoreGuard
    report_start: Callable[[], None]
    backup: Backup | None
    is_whole: Callable[[], bool]  # it is known that no row was lost
    checks: Callable[
        [Callable[[], None]], Sequence[Hold]
    ]  # hold everything up until that is known; then something is done
    clock: Clock
    lease: RootLease | None = None  # of the root, where several daemons share the store
    root_id: str = ""  # that the store has for it

    def owns(self) -> Callable[[], bool]:
        """Begin to work with the root; return the check that nobody else can serve it."""
        if self.lease is None:
            return _always
        self.lease.use()
        return self.lease.is_sure


def _always() -> bool:
    return True


def _journal(path: Path, clock: Clock, holds: Sequence[Hold], stack: contextlib.ExitStack, tell: Tell) -> _Kept:
    """Open the journal, after what a run before has left undone is done."""
    make_private(path)
    finished = finish(path, stamp_of(clock.now()))
    journal = stack.enter_context(contextlib.closing(Journal(path, tell=tell)))
    job_store = JobStore(journal)
    guard = JournalGuard(job_store, journal, path, clock, holds)

    def backup(now: float) -> Callable[[], None]:
        files = journal.files

        def copy() -> None:
            make_backup(path, now, files)
            back_up_archive(path)

        return copy

    def checks(then: Callable[[], None]) -> Sequence[Hold]:
        return [stack.enter_context(contextlib.closing(JournalCheck(journal, then)))]

    def report_start() -> None:
        guard.report_finished(finished)

    return _Kept(journal, job_store, guard, report_start, backup, lambda: journal.is_checked, checks, clock)


def _database(  # noqa: PLR0913 - what it is made of
    place: StorePlace,
    mounts: Mounts,
    clock: Clock,
    wait: Callable[[float], None],
    stack: contextlib.ExitStack,
    stand_by: Callable[[str], None],
    *,
    waits: bool,
) -> _Kept:
    """Open the store in a database, whose backup is the studio's own, and own the root; waits while another daemon has it."""
    store = stack.enter_context(contextlib.closing(open_database(place)))
    daemon = _daemon_name(place)

    def waiting(why: str) -> None:
        with contextlib.suppress(DiskError, ForeignFileError, OSError):
            leave_heartbeat(sign_path(place.path), Health.of_standby(clock.now(), clock.monotonic(), why))
        stand_by(why)

    is_standby = False

    def why_not(root: ServedRoot | None) -> str:
        nonlocal is_standby
        is_standby = is_standby or (root is not None and root.daemon not in ("", daemon))
        found = why_not_served(mounts, store, place, for_another=is_standby)
        if found and not waits:
            raise RootAwayError(found, advice=" ")
        return found

    assert place.root is not None  # noqa: S101 - a configuration's place has one
    lease = stack.enter_context(
        RootLease(store, myself(), daemon, place.root.place, since_boot, wait, waiting, why_not)
    )

    def checks(_then: Callable[[], None]) -> Sequence[Hold]:
        return [lease]

    job_store, guard = JobStore(store), DatabaseGuard(store)
    shared = replace(clock, now=lambda: clock.now() + store.ahead_seconds)
    return _Kept(store, job_store, guard, lambda: None, None, lambda: True, checks, shared, lease, store.root_id)


def _daemon_name(place: StorePlace) -> str:
    """Return what names the daemon of a state folder, whose lock proves that an earlier process of it has ended.

    Machines that were made from one image have one name, and so have their folders: the lock's own file distinguishes them.
    """
    made = birth_at(place.path.with_name("lock"))
    return f"{socket.gethostname()}:{place.path.parent}:{made.inode}-{made.made_ns}" if made else secrets.token_hex(8)


def _root_holds(
    config: Config, journal: Path, clock: Clock, wait: Callable[[float], None], stack: contextlib.ExitStack
) -> Iterator[Hold]:
    """Give what keeps others off the root, besides the lock next to the journal, which often is the root's own."""

    def is_leased() -> bool:
        return config.folders.lease == "always" or filesystem_of(config.folders.root).network

    if journal.parent != lock_path(config).parent:
        yield StateFolder(lock_path(config).parent, fixed=False)
        yield stack.enter_context(Lock(lock_path(config), lambda: not is_leased()))
    yield stack.enter_context(Lease(lease_path(config), clock.monotonic, wait, is_needed=is_leased))


def _farm_of(place: StorePlace) -> Callable[[], CallQueue] | None:
    return partial(farm_queue, place.address, _PATIENCE_SECONDS) if place.address else None


def queue_of(config: Config, environ: Mapping[str, str]) -> Callable[[], CallQueue]:
    """Return what makes a queue of the farm's calls, for a worker. Raises ConfigError without a database, or without the extra."""
    address = store_place(config, environ, root_id_in).address
    if address is None:
        raise ConfigError(
            "A worker needs the store in PostgreSQL, where plugins' calls wait for it.",
            advice="Set store.url to the database of the service (docs/farm.md).",
        )
    farm_queue(address, _PATIENCE_SECONDS)
    return partial(farm_queue, address, config.farm.silent_seconds)


def _repair(base: Base, now: float, account: str, process: str, *, knew_root: bool) -> None:
    """Bring the store in line with what a run before has left, and with what the root knows of it.

    `process`: which one serves the root from now on, where several could; "" else.
    """
    if process:
        base.submit_count.mark(process)  # before the count is read: who still counts sees it, or is seen by the count
    if base.standing.mounts_keeper.copied:
        losses = int(base.store.meta(LOSSES) or 0)
        base.store.set_meta(LOSSES, losses + 1)  # what was bought elsewhere since is in no sum
    submits = base.submit_count.read()
    _find_lost(base, submits, now, account, knew_root=knew_root)
    _report_older_root(base.job_store, submits, now)
    base.submit_count.keep(base.job_store.submits)
    base.store.free_cut_uploads()  # after that: what a backup takes for being sent may have been sent
    known = base.store.meta(PAUSES)
    pauses = after_start(remembered_pauses(known, account))
    if known and known != (kept := stored_pauses(pauses, account)):
        base.store.set_meta(PAUSES, kept)
    base.job_store.start(now, {lane: pause.problem for lane, pause in pauses.items()})


def _find_lost(base: Base, submits: int, now: float, account: str, *, knew_root: bool) -> None:
    """Find out whether the journal is older than what was bought from this root; then hold what may have been paid for since.

    It is a backup that was put back (it carries a mark), or the root counts more `submits`: it is an older copy, or one
    whose write-ahead log was removed. A journal that did not know the root was accepted to begin again: what was lost with
    the one before counts against no budget. `account`: whose credits what is held may have spent.
    """
    store, job_store, day = base.store, base.job_store, base.budget_day
    copied_at = store.meta(COPIED_AT)
    missing = max(submits - job_store.submits, 0)
    if copied_at is None and not missing:
        return
    reason = OLDER if copied_at is None else put_back(float(copied_at), day.zone)
    for job in list(job_store.jobs.values()):
        job_store.commit(hold_unsent(job, reason, now, store.price, account), now)
    job_store.refuse_open_commands(TOO_OLD)
    lost = missing if knew_root else 0
    loss = Loss(lost, now, reason) if lost else None
    before = job_store.loss.submits if job_store.loss else 0
    day.lose(lost, job_store.submits + missing, loss and loss._replace(submits=before + lost))
    job_store.look_for_loss()
    message = f"{reason}. Jobs that may have been submitted since are held, or failed with that reason."
    if loss:
        message += f" {loss.counted}: today's budget counts them as spent."
    job_store.report("restored", message, now, subject="journal")


def _report_older_root(job_store: JobStore, submits: int, now: float) -> None:
    """Report a root that counts fewer `submits` than a crash explains: its folders are from a backup, and lack what came after it.

    Each submit that was not counted before a crash is that of a live job. A root without a count has no old one.
    """
    if submits and job_store.submits - submits > len(job_store.jobs):
        message = (
            f"The folders are older than the store: they count {submits} submits, the store {job_store.submits}. Results that were "
            "delivered since may be missing in outbox. `rodin-watchd list` shows which sets were delivered, and where."
        )
        job_store.report("root-restored", message, now, subject="root")


def _own_lock(place: StorePlace) -> Lock:
    """Return the lock next to the journal: two roots must not share one, and daemons on one database no state folder."""
    lock = Lock(place.path.with_name("lock"))
    if place.address and (found := holder(place.path.with_name("lock"))) is not None:
        raise AlreadyRunningError(
            f"Another rodin_watchd ({process_in_words(json.dumps(found))}) uses the state folder {place.path.parent}.",
            advice="Stop that one; or give each daemon a folder of its own, on a local disk: set folders.state.",
        )
    return lock


def _make_place(place: StorePlace) -> None:
    """Make the state folder. Raises JournalError for a journal on a network share, DiskError."""
    path = place.path
    if place.address is None:
        refuse_network_journal(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError.of(f"The state folder {path.parent} cannot be made", error) from error


def _refuse_foreign(place: StorePlace) -> None:
    """Raise ForeignFileError where somebody else's file is under a name that the service will write to."""
    path = place.path
    refuse_foreign_at(path.with_name("lock"), is_lock)
    refuse_foreign_at(sign_path(path), is_sign)
    if place.address is None:
        refuse_foreign_at(reserve_path(path), is_ballast)
        refuse_foreign_backup(path)


def refuse_moved(store: Store, place: StorePlace) -> None:
    """Raise JournalError for a store that was copied to another place, which knows what was paid since; a copy is used from now on."""
    if moved := store.meta(MOVED_TO):
        raise JournalError(
            f"{place.shown[0].upper()}{place.shown[1:]} was copied to {printable(moved['name'], 500)}, and is not used any more: what was "
            "paid since is there.",
            advice="Set [store] url, or folders.state, to that place; or copy it back: `rodin-watchd store copy`.",
        )
    if store.meta(MOVED_FROM):
        store.set_meta(MOVED_FROM, None)


def refuse_network_journal(path: Path) -> None:
    """Raise JournalError for a journal on a network filesystem (https://sqlite.org/wal.html: WAL does not work there)."""
    there = filesystem_of(path.parent)
    if there.network:
        raise JournalError(
            f"The journal {path} would be on a network share ({there.kind}), where SQLite's locks cannot be trusted.",
            advice="Set folders.state in the config to a folder on a local disk.",
        )
