"""`rodin-watchd worker`: plugins' calls carried out on this machine. `rodin-watchd workers`: who is there, and what waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import click

from rodin_watchd.adapters.host import hide_memory
from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.cli.context import json_option, print_json
from rodin_watchd.cli.main import exit_code, in_words
from rodin_watchd.cli.options import config_option, find, load
from rodin_watchd.client.journal import reader
from rodin_watchd.config import KEY_VARIABLE, Config, as_queue, load_config
from rodin_watchd.core.farm import FarmState, WorkerState, reasons
from rodin_watchd.core.names import printable
from rodin_watchd.errors import ConfigError, DiskError, PluginLoadError, RodinWatchdError
from rodin_watchd.log_lines import LogFormat, log_error, set_level, start_log
from rodin_watchd.service.farm_worker import Executor, FarmService, own_folder
from rodin_watchd.service.opening import queue_of
from rodin_watchd.service.plugins import chosen

log = logging.getLogger("rodin_watchd")


def _queues(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(as_queue(name.strip()) for name in re.split("[,:]", value)))
    except ValueError as error:
        raise click.BadParameter(f"each queue {error}") from None


@click.command(epilog="Example: rodin-watchd worker --queues blender,gpu --config /etc/rodin-watchd/worker.toml")
@config_option
@click.option(
    "--queues",
    default="default",
    show_default=True,
    callback=_queues,
    help="The queues to take calls from, separated by commas (or colons, in a unit's name).",
)
@click.option(
    "--log-format",
    type=click.Choice(["human", "json", "journal"]),
    help="How lines are logged. Default: journal where standard error leads to journald, else human.",
)
def worker(config_file: Path | None, *, queues: tuple[str, ...], log_format: LogFormat | None) -> None:
    """Carry out calls of plugins whose table has where = "farm", until SIGTERM or Ctrl-C. A second one ends it at once.

    It needs the store in PostgreSQL (store.url), the share of the service in folders.root or a bucket in farm.files, and the same
    plugins; no API key. A call that does not end within service.stop_seconds is given back, and another worker makes it.
    """
    form = start_log(log_format, os.environ)
    hide_memory()
    os.environ.pop(KEY_VARIABLE, None)
    try:
        config = load_config(find(config_file).absolute())
        set_level(config.service.log_level)
        _work(config, queues, Pulse(Manager.taken_from(os.environ), time.monotonic))
    except (RodinWatchdError, OSError) as error:
        found = error if isinstance(error, RodinWatchdError) else DiskError(in_words(error))
        found.has_ended_service()
        if form == "human":
            raise
        log_error(logging.CRITICAL, "ended", found)
        sys.exit(exit_code(found))


def _work(config: Config, queues: tuple[str, ...], pulse: Pulse) -> None:
    """Work until a signal. Raises ConfigError, JournalError, DiskError, OSError."""
    open_queue = queue_of(config, os.environ)
    plugins = chosen(config)
    versions = {name: plugin.version for name, plugin in plugins.items()}
    if not versions:
        raise PluginLoadError(
            "No plugin is in use here, so there is nothing to carry out.",
            advice="Give each plugin that runs here a table [plugins.NAME], or name its folder in plugins.folders.",
        )
    with own_folder(config, os.environ) as folder, contextlib.closing(Executor(config, plugins, folder)) as executor:
        service = FarmService(config, queues, open_queue, executor, pulse)
        _handle_signals(service)
        named = ", ".join(sorted(versions))
        log.info("worker: takes calls from %s for %s", ", ".join(queues), named, extra={"action": "worker"})
        asyncio.run(service.run(versions, folder))
    log.info("stopped", extra={"action": "stopped"})


def _handle_signals(service: FarmService) -> None:
    def stop(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        log.info("stopping", extra={"action": "stopping"})
        threading.Thread(target=service.stop).start()  # apart: the loop that is interrupted here may hold a lock

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


# ---- Who is there ---------------------------------------------------------------------------------------------------


@click.command(epilog="Example: rodin-watchd workers")
@config_option
@json_option
def workers(config_file: Path | None, *, as_json: bool) -> None:
    """Show the workers of the farm and what they do, and the queues of calls.

    --json prints one object: workers, each with name, host, pid, queues, places, plugins, for_seconds, silent_seconds and calls; queues,
    each with name, waiting, running, failed, oldest_seconds and workers; and waiting, calls that no worker can take, with why.
    """
    config = load(config_file)
    if config.store.url is None:
        raise ConfigError(
            "There are no workers without the store in PostgreSQL.", advice="See docs/farm.md: set store.url first."
        )
    with reader(config) as store:
        state = store.farm()
    if as_json:
        print_json(_data(state))
        return
    for line in _lines(state):
        click.echo(line)


def _data(state: FarmState) -> dict[str, object]:
    stuck = [
        {"queue": calls.queue, "plugin": calls.plugin, "count": calls.count, "why": why}
        for calls, why in reasons(state)
    ]
    return {
        "workers": [{"name": worker.name, **asdict(worker)} for worker in state.workers],
        "queues": [asdict(queue) for queue in state.queues],
        "waiting": stuck,
    }


def _lines(state: FarmState) -> list[str]:
    lines = [_worker_line(one) for one in state.workers] or ["No worker is there."]
    for queue in state.queues:
        oldest = f", the oldest for {_span(queue.oldest_seconds)}" if queue.waiting else ""
        lines.append(
            f"queue {queue.name}: {queue.waiting} waiting{oldest}, {queue.running} running, {queue.failed} failed, {queue.workers} "
            f"worker{'' if queue.workers == 1 else 's'}"
        )
    lines += [f"{calls.plugin}: {calls.count} in the queue {calls.queue}: {why}" for calls, why in reasons(state)]
    return lines


def _worker_line(one: WorkerState) -> str:
    calls = ", ".join(f"{plugin}: {hook} for {_span(seconds)}" for plugin, hook, seconds in one.calls) or "idle"
    silent = f" (silent for {_span(one.silent_seconds)})" if one.silent_seconds > 15 else ""
    queues, plugins = ", ".join(one.queues), ", ".join(sorted(map(printable, one.plugins)))
    return f"{one.name}{silent}: {calls}; queues {queues}; plugins {plugins}; there for {_span(one.for_seconds)}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
