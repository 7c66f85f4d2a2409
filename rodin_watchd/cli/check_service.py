"""What `check` finds about the journal and about the service that works with it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

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
from rodin_watchd.adapters.sign import read_sign, sign_path
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.cli.check_user import user_name
from rodin_watchd.cli.context import daemon_of, journal_of, no_room
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.cli.health import told
from rodin_watchd.config import Config, lease_path
from rodin_watchd.core.receipt import local
from rodin_watchd.errors import AlreadyRunningError
from rodin_watchd.service.housekeeping import BACKED_UP_AT


def journal_findings(config: Config) -> Iterator[Finding]:
    """Look whether the journal is whole, not full, and backed up. Raises JournalError."""
    path = journal_of(config)
    if not path.exists():
        yield Finding("journal", f"None yet: the first start makes {path}.")
        return
    with contextlib.closing(JournalReader(path)) as journal:
        state, version, jobs = journal.quick_check(), journal.schema_version(), sum(journal.counts().values())
        backed_up_at = journal.meta(BACKED_UP_AT)
    if full := no_room(path):
        yield Finding("journal", full, Verdict.PROBLEM)
    if state != "ok":
        yield Finding("journal", f"{path} is damaged: {state}.", Verdict.PROBLEM, how_to_recover(path))
    elif not os.access(path, os.W_OK):
        advice = f"This user is {user_name(os.geteuid())}: run it as the user that owns the journal."
        yield Finding("journal", f"{path} may not be written.", Verdict.PROBLEM, advice)
    else:
        backup = f"backed up on {local(backed_up_at, local_zone())}" if backed_up_at else "not backed up yet"
        yield Finding("journal", f"{path} is whole: {jobs:,} jobs, schema {version}, {backup}.")


def service_findings(config: Config) -> Iterator[Finding]:
    """Tell whether it runs, where, and how it is."""
    try:
        daemon = daemon_of(config)
    except PermissionError as error:
        text = f"Whether it runs is not visible: this user may not read {error.filename}."
        yield Finding("service", text, Verdict.WARNING, "Run it as the user of the service, or as root.")
        return
    if daemon is not None:
        yield _running(daemon, journal_of(config))
    elif (lease := read_lease(lease_path(config))) is not None:
        yield leased(lease_path(config), lease, time.monotonic, time.sleep)
    else:
        yield Finding("service", "Not running; `rodin-watchd run` starts it.")


def _running(daemon: Mapping[str, Any], journal: Path) -> Finding:
    """Judge a running service: one that is paused is well, and yet people wait for something."""
    healthy, line = told(journal)
    text = f"Running: {', '.join(f'{key} {value}' for key, value in daemon.items())}; {line}."
    if not healthy:
        return Finding("service", text, Verdict.WARNING, "Look into its log; start it anew if that does not pass.")
    sign = read_sign(sign_path(journal))
    if sign and sign.vitals.paused:
        return Finding("service", text, Verdict.WARNING, "`rodin-watchd status` tells why it is paused.")
    return Finding("service", text)


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
