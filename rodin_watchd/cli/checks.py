"""What `check` looks at: each finding is ok, a warning or a problem, with what to do about it."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from rodin_watchd.adapters.filesystems import filesystem_of
from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.adapters.journal.backup import how_to_recover
from rodin_watchd.adapters.lease import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    holder_of,
    is_dead_here,
    myself,
    read_lease,
    watch,
)
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.api_key import find_key
from rodin_watchd.cli.check_clock import clock_findings
from rodin_watchd.cli.check_metrics import metrics_findings
from rodin_watchd.cli.check_outputs import output_findings, user_name
from rodin_watchd.cli.check_unit import unit_findings
from rodin_watchd.cli.context import daemon_of, find, journal_of, no_room, reader
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.cli.health import told
from rodin_watchd.cli.plugin_checks import plugin_findings
from rodin_watchd.config import Config, lease_path, load_config
from rodin_watchd.core.grounds import Ground, Known
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import AlreadyRunningError, JournalError, RodinWatchdError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Kind
from rodin_watchd.service.assembly import client_of, watcher_of
from rodin_watchd.service.housekeeping import BACKED_UP_AT
from rodin_watchd.service.keeper import ROOT_ID, advice_for, judged, remembered, why_not_ours
from rodin_watchd.service.opening import refuse_network_journal

WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
ENOUGH_WATCHES = 524_288
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
FEW_INSTANCES = 64
ENOUGH_INSTANCES = 512


Check = Callable[[Config], Iterator[Finding]]


def findings(config_file: Path | None, *, offline: bool) -> Iterator[Finding]:
    """Give one finding after the other, as they come, the config file's first; `offline`: make no call to the vendor.

    Raises nothing.
    """
    try:
        path = find(config_file)
        config = load_config(path)
    except RodinWatchdError as error:
        yield _problem("config", error)
        return
    yield Finding("config", f"{path} is valid.")
    checks = CHECKS if offline else {**CHECKS, "balance": _balance}
    for name, check in checks.items():
        try:
            yield from check(config)
        except RodinWatchdError as error:
            yield _problem(name, error)
        except OSError as error:
            text = f"{error.filename or config.folders.root}: {error.strerror}."
            yield Finding(name, text, Verdict.PROBLEM, "Mend that, then check again.")


def _problem(name: str, error: RodinWatchdError) -> Finding:
    return Finding(name, error.message, Verdict.PROBLEM, error.advice_given)


# ---- folders --------------------------------------------------------------------------------------------------------


def _folders(config: Config) -> Iterator[Finding]:
    """Compare the folders with those that the journal remembers; then look at those that are there."""
    away = tuple(_away(config))
    yield from away
    spool = Spool(config.folders.root)
    if away:
        return
    if not spool.root.is_dir():
        advice = f"Run `rodin-watchd init {shlex.quote(str(spool.root))}`, or bring the share back."
        yield Finding("folders", f"There is no folder {spool.root}.", Verdict.PROBLEM, advice)
        return
    missing = [str(folder.relative_to(spool.root)) for folder in spool.folders if not folder.is_dir()]
    if missing:
        text = f"Not in {spool.root} yet: {', '.join(missing)}."
        yield Finding("folders", text, Verdict.WARNING, "The start makes them, or `rodin-watchd init`.")
        return
    problems = spool.problems()
    for text in problems:
        yield Finding("folders", text, Verdict.PROBLEM, f"This user is {_user()}: change owner, mode or user.")
    if not problems:
        yield Finding("folders", f"Those in {spool.root} can be read and written by {_user()}.")


def _user() -> str:
    return user_name(os.geteuid())


def _filesystems(config: Config) -> Iterator[Finding]:
    inbox = filesystem_of(config.folders.root / INBOX)
    share = f" network share: changes by other machines are found every {config.intake.rescan_seconds:g} s at best"
    yield Finding("filesystem", f"The inbox is on {inbox.kind}{',' + share if inbox.network else ''}.")
    path = journal_of(config)
    refuse_network_journal(path)
    yield Finding("filesystem", f"The journal is on {filesystem_of(path.parent).kind}, no network share.")


def _away(config: Config) -> Iterator[Finding]:
    """Give what keeps the folders from being believed."""
    known, root_id = _remembered(config)
    if not root_id and (refusal := why_not_ours(config.folders.root, journal_of(config))):
        yield _problem("mounts", refusal)
    grounds = Grounds(config.folders.root)
    for ground in Ground if known else ():
        verdict = judged(grounds, ground, known, root_id)
        if isinstance(verdict, str):
            yield Finding("mounts", f"{grounds.path(ground)}: {verdict}", Verdict.PROBLEM, advice_for(ground))
            if ground is Ground.ROOT:
                return  # all others are in it


def _remembered(config: Config) -> tuple[Mapping[Ground, Known], str]:
    """Return the folders that the journal remembers, and the root's id; nothing where it cannot be read: `_journal` tells."""
    if not journal_of(config).exists():
        return {}, ""
    try:
        with reader(config) as journal:
            return remembered(journal), str(journal.meta(ROOT_ID) or "")
    except JournalError:
        return {}, "unknown"


def _mounts(config: Config) -> Iterator[Finding]:
    known, _root_id = _remembered(config)
    if known and not any(_away(config)):
        own = ", ".join(ground.value for ground in known if known[ground].own) or "none"
        yield Finding("mounts", f"All folders are those that the journal knows; mounts of their own: {own}.")


def _room(config: Config) -> Iterator[Finding]:
    spool = Spool(config.folders.root)
    if not spool.work.is_dir():
        return
    free, wanted = (n // 1_000_000 for n in (spool.free_bytes(), config.folders.reserve_bytes))
    if free < wanted:
        advice = f"Nothing is taken or downloaded below {wanted:,} MB: make room."
        yield Finding("room", f"Only {free:,} MB are free for results.", Verdict.PROBLEM, advice)
    else:
        yield Finding("room", f"{free:,} MB are free for results.")


# ---- watching -------------------------------------------------------------------------------------------------------


def _watching(config: Config) -> Iterator[Finding]:
    """Start the watcher that the daemon would start, and look at what the kernel allows."""
    if not (config.folders.root / INBOX).is_dir():
        return  # told above
    with contextlib.closing(watcher_of(config)(lambda: None)) as watcher:
        trouble, native = watcher.take_trouble(), watcher.native
        yield Finding("watching", trouble or f"{watcher.description}.", Verdict.WARNING if trouble else Verdict.OK)
    if native:
        yield _watches(sum(e.kind is Kind.FOLDER for e in Inbox(config.folders.root / INBOX).look().entries) + 1)


def _watches(folders: int) -> Finding:
    """Compare the folders of the inbox with the kernel's limit (inotify(7)), which all programs of a user share."""
    limit, instances = (int(path.read_text(encoding="ascii")) for path in (WATCHES, INSTANCES))
    text = f"{folders:,} folders to watch; fs.inotify.max_user_watches is {limit:,}, max_user_instances {instances:,}."
    return limits_finding(text, folders, limit, instances)


def limits_finding(text: str, folders: int, limit: int, instances: int) -> Finding:
    """Judge the kernel's limits; a warning names the line to set."""
    if folders * 2 > limit:
        setting = f"fs.inotify.max_user_watches={max(ENOUGH_WATCHES, limit * 4)}"
    elif instances < FEW_INSTANCES:
        setting = f"fs.inotify.max_user_instances={ENOUGH_INSTANCES}"
    else:
        return Finding("inotify", text)
    advice = f"Run `sysctl -w {setting}`, and put `{setting}` into /etc/sysctl.d/60-rodin-watchd.conf."
    return Finding("inotify", text, Verdict.WARNING, advice)


# ---- the service and the vendor -------------------------------------------------------------------------------------


def _journal(config: Config) -> Iterator[Finding]:
    path = journal_of(config)
    if not path.exists():
        yield Finding("journal", f"None yet: the first start makes {path}.")
        return
    with contextlib.closing(JournalReader(path)) as journal:
        state, version, jobs = journal.quick_check(), journal.schema_version(), sum(journal.counts().values())
        backed_up_at = journal.meta(BACKED_UP_AT)
    if told := no_room(path):
        yield Finding("journal", told, Verdict.PROBLEM)
    if state != "ok":
        yield Finding("journal", f"{path} is damaged: {state}.", Verdict.PROBLEM, how_to_recover(path))
    elif not os.access(path, os.W_OK):
        advice = f"This user is {_user()}: run it as the user that owns the journal."
        yield Finding("journal", f"{path} may not be written.", Verdict.PROBLEM, advice)
    else:
        backup = f"backed up on {local(backed_up_at, local_zone())}" if backed_up_at else "not backed up yet"
        yield Finding("journal", f"{path} is whole: {jobs:,} jobs, schema {version}, {backup}.")


def _daemon(config: Config) -> Iterator[Finding]:
    daemon = daemon_of(config)
    if daemon is not None:
        healthy, line = told(journal_of(config))
        text = f"Running: {', '.join(f'{key} {value}' for key, value in daemon.items())}; {line}."
        advice = "" if healthy else "Look into its log; start it anew if that does not pass."
        yield Finding("service", text, Verdict.OK if healthy else Verdict.WARNING, advice)
    elif (lease := read_lease(lease_path(config))) is not None:
        yield leased(lease_path(config), lease, time.monotonic, time.sleep)
    else:
        yield Finding("service", "Not running; `rodin-watchd run` starts it.")


def leased(path: Path, lease: bytes, monotonic: Callable[[], float], wait: Callable[[float], None]) -> Finding:
    """Tell who holds the root's lease, and whether it gives a sign of life while we look."""
    holder = holder_of(lease)
    who = holder.words if holder else "unknown who"
    if holder and is_dead_here(holder, myself()):
        return Finding("service", f"Not running. The lease of {who} was left behind: the next start takes it at once.")
    try:
        watch(path, lease, 2 * HEARTBEAT_SECONDS, monotonic, wait)
    except AlreadyRunningError as error:
        return Finding("service", f"Running on another machine: {error.message}")
    text = f"The lease {path} is held by {who}, which gave no sign of life while this looked."
    advice = (
        f"Stop the service there, if it runs. A start waits {LEASE_SECONDS:.0f} s for a sign of life, then takes over."
    )
    return Finding("service", text, Verdict.WARNING, advice)


def _key(config: Config) -> Iterator[Finding]:
    find_key(config.api.key_file, os.environ)
    yield Finding("key", "Found.")


def _balance(config: Config) -> Iterator[Finding]:
    balance = balance_of(config)
    host, text = urlsplit(config.api.base_url).netloc, credits_text(balance)
    if textures(balance):
        yield Finding("balance", f"{host} says: {text}")
    else:
        yield Finding("balance", f"{host} says: {text}", Verdict.WARNING, "Buy credits: nothing can be submitted.")


def balance_of(config: Config) -> Decimal:
    """Ask the vendor for the credits that are left; free. Raises ConfigError without a key, ServiceError."""
    with contextlib.closing(client_of(config, find_key(config.api.key_file, os.environ))) as client:
        return client.balance()


def textures(balance: Decimal) -> int:
    """Return how many textures a balance pays for."""
    return max(int(balance // CREDITS_PER_TEXTURE), 0)


def credits_text(balance: Decimal) -> str:
    """Say what a balance is worth."""
    return f"{balance} credits are left, which pay {textures(balance):,} textures."


CHECKS: dict[str, Check] = {
    "folders": _folders,
    "mounts": _mounts,
    "outputs": output_findings,
    "filesystem": _filesystems,
    "room": _room,
    "watching": _watching,
    "clock": clock_findings,
    "journal": _journal,
    "service": _daemon,
    "unit": lambda _config: unit_findings(),
    "metrics": metrics_findings,
    "key": _key,
    "plugins": plugin_findings,
}
