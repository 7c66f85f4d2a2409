"""What `check` looks at: each finding is ok, a warning or a problem, with what to do about it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path

import click

from rodin_watchd.cli.check.account import balance_findings, balance_of, credits_text, key_findings
from rodin_watchd.cli.check.findings import Finding, Level, line_of, problem, user_findings
from rodin_watchd.cli.check.folders import (
    away_findings,
    filesystem_findings,
    folder_findings,
    inbox_of,
    mount_findings,
    output_findings,
    room_findings,
)
from rodin_watchd.cli.check.page import page_findings
from rodin_watchd.cli.check.plugins import plugin_findings
from rodin_watchd.cli.check.service import (
    clock_findings,
    journal_findings,
    metrics_findings,
    service_findings,
    unit_findings,
    writer_findings,
)
from rodin_watchd.cli.context import json_option, print_json
from rodin_watchd.cli.options import config_option, find
from rodin_watchd.config import Config, load_config
from rodin_watchd.core.kinds import paid_by
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


def all_findings(config_file: Path | None, *, offline: bool) -> Iterator[Finding]:
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
        yield from _findings_of(name, check, config)


def _findings_of(name: str, check: Check, config: Config) -> Iterator[Finding]:
    """Give what a check finds, and what ended it."""
    try:
        yield from check(config)
    except HiddenKeyError as error:
        yield Finding(name, error.message, Level.WARNING, error.advice_given)
    except RodinWatchdError as error:
        yield problem(name, error)
    except OSError as error:
        text = f"{error.filename or config.folders.root}: {error.strerror}."
        yield Finding(
            name, text, Level.PROBLEM, "Correct this, or run this as the user of the service; then check again."
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
        "writers": partial(writer_findings, path),
        "clock": clock_findings,
        "journal": journal_findings,
        "service": service_findings,
        "unit": lambda _config: unit_findings(),
        "metrics": partial(metrics_findings, path),
        "page": partial(page_findings, path),
        "key": partial(key_findings, path),
        "plugins": plugin_findings,
    }
    return checks if offline else {**checks, "balance": partial(balance_findings, path)}


def _watching(config: Config) -> Iterator[Finding]:
    """Start the watcher that the daemon would start, and look at what the kernel allows."""
    if not (config.folders.root / INBOX).is_dir() or any(away_findings(config)):
        return  # reported above; nothing is written where a share is not mounted
    with contextlib.closing(watcher_of(config)(lambda: None)) as watcher:
        trouble, native = watcher.take_trouble(), watcher.native
        yield Finding("watching", trouble or f"{watcher.description}.", Level.WARNING if trouble else Level.OK)
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
    return Finding("inotify", text, Level.WARNING, advice)


# ---- `rodin-watchd check` and `balance`: whether all is in order, before money is spent -----------------------------


@click.command(epilog="Example: rodin-watchd check --config /srv/textures/config.toml")
@config_option
@json_option
@click.option("--offline", is_flag=True, help="Make no call to the vendor.")
@click.option("--config-only", is_flag=True, help="Check nothing but the config file.")
def check(config_file: Path | None, *, as_json: bool, offline: bool, config_only: bool) -> None:
    """Check config, folders, permissions, limits, disk space, clock, journal, unit, key and balance. Exit code 1: a problem.

    Run it as the user of the service, or as root: then the permissions are those of the running service. It makes one
    free call and changes nothing. It makes and removes a hidden file in the inbox, to test file events. The key is
    never printed.

    --json prints one object: ok (no problem found) and checks, each with name, verdict (ok, warning, problem), text
    and advice.
    """
    found = []
    for finding in islice(all_findings(config_file, offline=offline), 1 if config_only else None):
        found.append(finding)
        if not as_json:
            click.echo(line_of(finding))
    ok = all(finding.verdict is not Level.PROBLEM for finding in found)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(finding) for finding in found]})
    sys.exit(0 if ok else 1)


@click.command(epilog="Example: rodin-watchd balance")
@config_option
@json_option
def balance(config_file: Path | None, *, as_json: bool) -> None:
    """Ask the vendor for the number of credits. The call is free.

    --json prints one object: credits, and pays: for each kind of job, how many they pay.
    """
    path = find(config_file)
    left = balance_of(path, load_config(path))
    if as_json:
        print_json({"credits": left, "pays": paid_by(left)})
    else:
        click.echo(credits_text(left))
