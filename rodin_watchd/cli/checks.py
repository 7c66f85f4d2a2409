"""What `check` looks at: each finding is ok, a warning or a problem, with what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from rodin_watchd.cli.check_clock import clock_findings
from rodin_watchd.cli.check_folders import filesystem_findings, folder_findings, inbox_of, mount_findings, room_findings
from rodin_watchd.cli.check_key import balance_findings, key_findings
from rodin_watchd.cli.check_metrics import metrics_findings
from rodin_watchd.cli.check_outputs import output_findings
from rodin_watchd.cli.check_service import journal_findings, service_findings
from rodin_watchd.cli.check_unit import unit_findings
from rodin_watchd.cli.check_user import user_findings
from rodin_watchd.cli.configured import find
from rodin_watchd.cli.findings import Finding, Verdict, problem
from rodin_watchd.cli.plugin_checks import plugin_findings
from rodin_watchd.config import Config, load_config
from rodin_watchd.core.layout import INBOX
from rodin_watchd.errors import HiddenKeyError, RodinWatchdError
from rodin_watchd.model import Kind
from rodin_watchd.service.assembly import watcher_of

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
        yield problem("config", error)
        return
    yield Finding("config", f"{path} is valid.")
    for name, check in _checks(path, offline=offline).items():
        yield from _told(name, check, config)


def _told(name: str, check: Check, config: Config) -> Iterator[Finding]:
    """Give what a check finds, and what ended it."""
    try:
        yield from check(config)
    except HiddenKeyError as error:
        yield Finding(name, error.message, Verdict.WARNING, error.advice_given)
    except RodinWatchdError as error:
        yield problem(name, error)
    except OSError as error:
        text = f"{error.filename or config.folders.root}: {error.strerror}."
        yield Finding(
            name, text, Verdict.PROBLEM, "Mend that, or run this as the user of the service; then check again."
        )


def _checks(path: Path, *, offline: bool) -> Mapping[str, Check]:
    """Return the checks of a config file, in their order."""
    checks: dict[str, Check] = {
        "user": partial(user_findings, path),
        "folders": partial(folder_findings, path),
        "mounts": mount_findings,
        "outputs": output_findings,
        "filesystem": filesystem_findings,
        "room": room_findings,
        "watching": _watching,
        "clock": clock_findings,
        "journal": journal_findings,
        "service": service_findings,
        "unit": lambda _config: unit_findings(),
        "metrics": partial(metrics_findings, path),
        "key": partial(key_findings, path),
        "plugins": plugin_findings,
    }
    return checks if offline else {**checks, "balance": partial(balance_findings, path)}


def _watching(config: Config) -> Iterator[Finding]:
    """Start the watcher that the daemon would start, and look at what the kernel allows."""
    if not (config.folders.root / INBOX).is_dir():
        return  # told above
    with contextlib.closing(watcher_of(config)(lambda: None)) as watcher:
        trouble, native = watcher.take_trouble(), watcher.native
        yield Finding("watching", trouble or f"{watcher.description}.", Verdict.WARNING if trouble else Verdict.OK)
    if native:
        yield _watches(sum(e.kind is Kind.FOLDER for e in inbox_of(config).look().entries) + 1)


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
