"""What `check` finds about the journal, the service that works with it, and the systemd unit that runs it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.adapters.host import filesystems_in, local_zone
from rodin_watchd.adapters.ownership import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    holder_of,
    is_dead_here,
    myself,
    read_lease,
    watch,
)
from rodin_watchd.adapters.spool.writers import Asking, asking
from rodin_watchd.adapters.store.archive import ArchiveReader, archive_path, how_to_restore
from rodin_watchd.adapters.store.backup import how_to_recover
from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.cli.check.findings import Finding, Level, acting_as, problem, user_name, user_of
from rodin_watchd.cli.health import health_line
from rodin_watchd.cli.systemd import UNIT_FOLDERS, USER_FOLDER, Unit, bases, drop_in, installed, units_of
from rodin_watchd.client.journal import daemon_of, has_store, journal_of, no_room, place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.health import Standstill
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.core.wording import local
from rodin_watchd.errors import AlreadyRunningError, JournalError, StoreAwayError
from rodin_watchd.service.housekeeping import BACKED_UP_AT
from rodin_watchd.settings import lease_path


def journal_findings(config: Config) -> Iterator[Finding]:
    """Look whether the journal is whole, not full, and backed up. Raises JournalError."""
    if config.store.url:
        yield _database_finding(config)
        return
    path = journal_of(config)
    if not path.exists():
        yield Finding("journal", f"No journal yet: the first start makes {path}.")
        return
    with contextlib.closing(JournalReader(path)) as journal:
        state, version, jobs = journal.quick_check(), journal.schema_version(), sum(journal.counts().values())
        backed_up_at = journal.meta(BACKED_UP_AT)
        condensed = state == "ok" and journal.has_condensed()
    if full := no_room(place_of(config)):
        yield Finding("journal", full, Level.PROBLEM)
    if state != "ok":
        yield Finding("journal", f"{path} is damaged: {state}.", Level.PROBLEM, how_to_recover(path))
    elif not os.access(path, os.W_OK):
        advice = f"This user is {user_name(os.geteuid())}: run it as the user that owns the journal."
        yield Finding("journal", f"There is no permission to write {path}.", Level.PROBLEM, advice)
    else:
        backup = f"backed up on {local(backed_up_at, local_zone())}" if backed_up_at else "not backed up yet"
        yield Finding("journal", f"{path} is not damaged: {jobs:,} jobs, schema {version}, {backup}.")
    if condensed:
        yield _archive_finding(path)


def _database_finding(config: Config) -> Finding:
    """Look whether the database answers, and what is in it. Raises JournalError, StoreAwayError."""
    shown = place_of(config).shown
    if not has_store(config):
        return Finding("journal", f"No store yet: the first start makes it in {shown}.")
    with reader(config) as store:
        jobs = sum(store.counts().values())
    return Finding("journal", f"The store is in {shown}: {jobs:,} jobs. Its backup is the database's: pg_dump.")


def _archive_finding(journal: Path) -> Finding:
    """Look whether the archive file is there, and whole."""
    path = archive_path(journal)
    try:
        with contextlib.closing(ArchiveReader(journal)) as archive:
            state = archive.quick_check()
    except JournalError as error:
        return problem("journal", error)
    if state != "ok":
        return Finding(
            "journal", f"The archive file {path} is damaged: {state}.", Level.PROBLEM, how_to_restore(journal)
        )
    return Finding("journal", f"The archive file {path} is not damaged.")


def service_findings(config: Config) -> Iterator[Finding]:
    """Return whether it runs, where, and how it is."""
    try:
        daemon = daemon_of(config)
    except PermissionError as error:
        text = f"It is not visible whether it runs: this user has no permission to read {error.filename}."
        yield Finding("service", text, Level.WARNING, "Run it as the user of the service, or as root.")
        return
    if daemon is not None:
        yield _running(daemon, journal_of(config))
    elif (lease := read_lease(lease_path(config))) is not None:
        yield leased(lease_path(config), lease, time.monotonic, time.sleep)
    else:
        yield Finding("service", "Not running; `rodin-watchd run` starts it.")


def _running(daemon: Mapping[str, Any], journal: Path) -> Finding:
    """Judge a running service: one that is paused is well, and yet people wait for something."""
    healthy, line = health_line(journal)
    text = f"Running: {', '.join(f'{key} {value}' for key, value in daemon.items())}; {line.removesuffix('.')}."
    if not healthy:
        return Finding("service", text, Level.WARNING, "Look into its log; start it again if this does not end.")
    heartbeat = read_heartbeat(sign_path(journal))
    if heartbeat and heartbeat.health.paused and Standstill.STANDBY not in heartbeat.health.paused:
        return Finding("service", text, Level.WARNING, "`rodin-watchd status` says why it is paused.")
    return Finding("service", text)


def leased(path: Path, lease: bytes, monotonic: Callable[[], float], wait: Callable[[float], None]) -> Finding:
    """Say who holds the root's lease, and whether it gives a sign of life while we look."""
    holder = holder_of(lease)
    who = holder.words if holder else "unknown who"
    if holder and is_dead_here(holder, myself()):
        return Finding(
            "service", f"Not running. The lease of {who} is still there: the next start takes it over at once."
        )
    try:
        watch(path, lease, 2 * HEARTBEAT_SECONDS, monotonic, wait)
    except AlreadyRunningError as error:
        return Finding("service", f"Running on another machine: {error.message}")
    text = f"The lease {path} is held by {who}, which showed no activity during this check."
    advice = (
        f"Stop the service there, if it runs. A start waits {LEASE_SECONDS:.0f} s for its activity, then takes over."
    )
    return Finding("service", text, Level.WARNING, advice)


# ---- What `check` finds about the clock: a budget's day, the vendor's TLS and every instant in the journal hang on it ----


FIRST_YEAR: Final = 2025
"""No machine that runs this is older."""

LAST_YEAR: Final = 2100

BEHIND_SECONDS: Final = 60.0
"""By so much clocks differ after they are set by the network."""

_ADVICE: Final = "Set the clock, and let the network set it: `timedatectl set-ntp true`."


def clock_findings(config: Config) -> Iterator[Finding]:
    """Compare the clock with what it cannot be, and with what the journal has seen. Raises JournalError."""
    newest_at = None
    with contextlib.suppress(StoreAwayError):  # reported for the journal
        if has_store(config):
            with reader(config) as journal:
                newest_at = journal.newest_at()
    yield clock_finding(time.time(), newest_at)


def clock_finding(now: float, newest_at: float | None) -> Finding:
    """Judge an instant (UTC) by its year and by the newest one of the journal."""
    year = datetime.fromtimestamp(now, UTC).year
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return Finding("clock", f"The clock shows the year {year}.", Level.PROBLEM, _ADVICE)
    message = local(now, local_zone())
    if newest_at is not None and now < newest_at - BEHIND_SECONDS:
        text = f"It says {message}, but the journal knows of {local(newest_at, local_zone())}: the clock was set back, or was wrong then."
        return Finding("clock", text, Level.WARNING, f"{_ADVICE} Today's budget may last longer than a day.")
    return Finding(
        "clock", f"It says {message}{'' if newest_at is None else ', later than the newest entry of the journal'}."
    )


# ---- What `check` finds about metrics: whether they can be had where the configuration wants them -------------------


TIMEOUT_SECONDS: Final = 3.0
_OURS: Final = b"\nrodin_watchd_info{"
_LONGEST_BYTES: Final = 10_000_000


def metrics_findings(path: Path, config: Config) -> Iterator[Finding]:
    """Look at the extra, the port and the textfile's folder; nothing where no metrics are wanted."""
    if not config.metrics.wanted:
        return
    if importlib.util.find_spec("prometheus_client") is None:
        advice = f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[metrics]"'
        yield Finding("metrics", "prometheus_client is not installed.", Level.PROBLEM, advice)
    if config.metrics.address:
        yield _port(*config.metrics.address, config)
    if config.metrics.textfile:
        with acting_as(user_of(config)):
            found = _textfile(config.metrics.textfile)
        walls = tuple(textfile_walls(path, config))
        yield from walls
        if not (walls and found.verdict is Level.OK):
            yield found


def _port(host: str, port: int, config: Config) -> Finding:
    """Fetch them: the running service should answer, and nobody else."""
    where, answer = f"{host}:{port}", _answer(host, port)
    try:
        running = daemon_of(config) is not None
    except PermissionError:  # then whoever serves metrics like ours may be the service
        running = answer is not None and _OURS in answer
    if not running:
        return _unused(where) if answer is None else _strange(where)
    if not answer:
        return Finding("metrics", f"No program answers at {where}.", Level.WARNING, "Start the service again.")
    return Finding("metrics", f"{where} is served.") if _OURS in answer else _strange(where)


def _unused(where: str) -> Finding:
    return Finding("metrics", f"{where} is free.")


def _strange(where: str) -> Finding:
    advice = "Choose another port in metrics.listen."
    return Finding("metrics", f"Another program listens at {where}.", Level.PROBLEM, advice)


def _answer(host: str, port: int) -> bytes | None:
    """Return what is served there; nothing if somebody listens and does not answer, None if nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.connect()
        except OSError:
            return None
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read(_LONGEST_BYTES)
        except (OSError, http.client.HTTPException):
            return b""


def _textfile(path: Path) -> Finding:
    """Judge as the service writes it: another file next to it, which then takes its place."""
    if path.is_dir():
        advice = "Name a file in metrics.textfile."
        return Finding("metrics", f"{path} is a folder.", Level.PROBLEM, advice)
    if path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK):
        return Finding("metrics", f"{path} can be written.")
    advice = "Make the folder, give the service's user write permission there, or change metrics.textfile."
    return Finding("metrics", f"{path} cannot be written by this user.", Level.PROBLEM, advice)


# ---- The installed unit, and how well it is shut in ------------------------------------------------------------------


GOOD_SCORE: Final = 1.5
"""The unit that comes along is at most at this; 10 is not shut in at all."""

_SCORE: Final = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
_SECONDS: Final = 30.0


def unit_findings(folders: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Look at each unit that is installed."""
    units = installed(folders)
    for unit in units:
        yield _judged(unit)
    if not units:
        yield Finding("unit", "No systemd unit is installed; `rodin-watchd run` works without.")


def _judged(unit: Path) -> Finding:
    """Judge a unit; a user's service has only the part of the sandbox that needs no root."""
    score = score_of(unit)
    if score is None:
        return Finding("unit", f"{unit} is installed; systemd-analyze is missing, so it was not checked.")
    text = f"{unit} is installed; its exposure is {score:.1f} of 10 (`systemd-analyze security`)."
    if score <= GOOD_SCORE or unit.parent == Path(os.path.expanduser(USER_FOLDER)):  # noqa: PTH111 - no error without a home
        return Finding("unit", text)
    advice = f"The unit of this version has at most {GOOD_SCORE}: look at changes and drop-ins."
    return Finding("unit", text, Level.WARNING, advice)


def score_of(unit: Path) -> float | None:
    """Return a unit's exposure, 0 to 10, drop-ins and all; None where it is not known."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    command = [program, "security", "--offline=true", "--no-pager", str(unit)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - a fixed command
    except subprocess.TimeoutExpired:
        return None
    found = _SCORE.search(run.stdout)
    return float(found[1]) if found else None


# ---- What `check` finds about writers: whether the kernel says which files of the inbox a program still writes -------


_OTHERS_MAY_DROP: Final = stat.S_IWGRP | stat.S_IWOTH


def writer_findings(path: Path, config: Config, places: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Judge by the running service, else by the unit that serves the config file, else by this process. Raises OSError."""
    inbox, user = config.folders.root / INBOX, user_of(config)
    if not inbox.is_dir():
        return  # reported with the folders
    units = [] if user.serves else units_of(path, places)
    has_lease = all("CAP_LEASE" in unit.words("AmbientCapabilities") for unit in units) if units else user.has_lease
    answer = asking(inbox, with_capability=has_lease)
    yield _writers(f"{answer.value[0].upper()}{answer.value[1:]}.", inbox, answer)
    for folder in (inbox / below for below in filesystems_in(inbox)):
        with contextlib.suppress(OSError):  # one that has died is a finding of the folders
            there = asking(folder, with_capability=has_lease)
            if there is not answer:
                yield _writers(f"In {printable(str(folder), 1000)} {there.value}.", folder, there)


def _writers(text: str, folder: Path, answer: Asking) -> Finding:
    if answer is Asking.OWN and folder.stat().st_mode & _OTHERS_MAY_DROP:
        return Finding("writers", text, Level.WARNING, _LEASE_ADVICE)
    return Finding("writers", text if answer is Asking.ALL else f"{text} {_ELSE}")


_ELSE: Final = "Where it does not, file events, temporary files and `intake.unproven_quiet_seconds` decide when a file is complete."
_LEASE_ADVICE: Final = (
    f"{_ELSE} Give the service that one capability: `rodin-watchd install-service` renews the unit "
    "(AmbientCapabilities=CAP_LEASE); in a container it is `cap_add: [LEASE]`."
)


# ---- What `check` finds about the walls of the unit that serves a configuration: whether it may write where it has to ----


_NEVER_CLOSED: Final = (Path("/dev"), Path("/proc"), Path("/sys"))
"""What ProtectSystem=strict leaves as it is (systemd.exec(5))."""
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= is about (systemd.exec(5))."""


def folder_walls(path: Path, config: Config, places: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Give a problem for each of the service's own folders that the unit of a config file keeps it from writing."""
    wanted = {"folders.root": config.folders.root}
    if config.folders.state:
        wanted["folders.state"] = config.folders.state
    return _closed("folders", wanted, units_of(path, places))


def textfile_walls(path: Path, config: Config, places: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Do the same for the folder of metrics.textfile, if there is to be one."""
    wanted = {"metrics.textfile": config.metrics.textfile.parent} if config.metrics.textfile else {}
    return _closed("metrics", wanted, units_of(path, places))


def _closed(name: str, wanted: Mapping[str, Path], units: Iterable[Unit]) -> Iterator[Finding]:
    for unit in units:
        for key, folder in wanted.items():
            if not may_write(unit, folder):
                text = f"{unit.name} may not write {folder} ({key}): ProtectSystem=strict, and no ReadWritePaths= names it."
                yield Finding(name, text, Level.PROBLEM, _advice(unit, folder))


def may_write(unit: Unit, folder: Path) -> bool:
    """Return whether a unit leaves a folder writable; whose folder it is, is another question."""
    if unit.last("ProtectSystem") != "strict":
        return True
    named = (Path(word.lstrip("-+")) for word in unit.words("ReadWritePaths"))
    own = (
        Path(base, word.partition(":")[0])  # after the colon: another name for it
        for setting, base in bases(by_user=unit.by_user).items()
        for word in unit.words(setting)
    )
    return _is_in(folder, (*named, *own, *_NEVER_CLOSED))


def _is_in(folder: Path, places: Sequence[Path]) -> bool:
    real = Path(os.path.realpath(folder))
    return any(real.is_relative_to(os.path.realpath(place)) for place in places)


def _advice(unit: Unit, folder: Path) -> str:
    """Name the lines that open it."""
    lines = [
        "[Service]",
        *(line for line in drop_in((), Path(), folder).splitlines() if line.startswith("ReadWritePaths=")),
    ]
    if unit.hides_homes and _is_in(folder, _HOMES):
        lines.append("ProtectHome=no")
    command = "systemctl --user edit" if unit.by_user else "systemctl edit"
    listed = ", ".join(f"`{line}`" for line in lines)
    return f"Run `{command} {unit.name}`, write there, each on its own line, {listed}, and start it again."
