"""Trying a plugin on a finished result, as the service would call it."""

from __future__ import annotations

import shutil
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import tomli_w

from rodin_watchd.adapters.plugin_host import Call, PluginHost
from rodin_watchd.adapters.plugin_host.finding import find
from rodin_watchd.adapters.spool.sealing import UnfitFileError, copy_tree, sealed
from rodin_watchd.cli.plugin_checks import host_of
from rodin_watchd.config import Config
from rodin_watchd.core.facts import checked_facts
from rodin_watchd.core.layout import RECEIPT
from rodin_watchd.core.receipt_reading import job_of
from rodin_watchd.errors import CommandRefusedError, PluginError, PluginLoadError
from rodin_watchd.service.catalogue import check_plugin
from rodin_watchd.v1 import Event, Job

PROCESS, DELIVERED = "rodin_process", "rodin_delivered"
TRIED = (PROCESS, DELIVERED, "rodin_failed", "rodin_held", "rodin_service")


def tried(config: Config, name: str, result: Path, hook: str | None, into: Path) -> Iterator[str]:
    """Call a plugin on a result and yield what came of it, in lines. Raises CommandRefusedError, PluginError."""
    found = find(config.plugins.folders)
    if name not in found:
        raise PluginLoadError(f"There is no plugin {name}.", advice="`rodin-watchd plugins list` shows them all.")
    job = _job(result)
    with host_of(config, {name: found[name]}) as host:
        hooks = check_plugin(config, host, found[name]).hooks
        wanted = hook or next((known for known in TRIED if known in hooks), "")
        if wanted not in hooks or wanted not in TRIED:
            raise CommandRefusedError(
                f"{name} has no {wanted or 'hook'} to try; it has {', '.join(hooks)}.", advice=" "
            )
        try:
            yield from (
                _process(config, host, name, job, result, into)
                if wanted == PROCESS
                else _tell(config, host, name, wanted, job, result)
            )
        except PluginError as error:
            click.echo(error.output, nl=False)
            raise


def _job(result: Path) -> Job:
    try:
        return job_of(tomllib.loads((result / RECEIPT).read_text(encoding="utf-8")), str(result))
    except (OSError, ValueError, LookupError, TypeError):
        raise CommandRefusedError(
            f"{result} holds no receipt ({RECEIPT}) that can be read.", advice="Name a folder of the outbox."
        ) from None


def _process(config: Config, host: PluginHost, name: str, job: Job, result: Path, into: Path) -> Iterator[str]:
    if into.exists():
        raise CommandRefusedError(f"{into} is there already.", advice="Remove it, or say --into.")
    copy_tree(result, into)
    (into / RECEIPT).unlink()
    before = {file.name: file.sha256 for file in sealed(into)}
    try:
        facts = yield from _called(config, host, name, PROCESS, {"job": asdict(job), "directory": str(into.absolute())})
        after = {file.name: file.sha256 for file in sealed(into)}
        told = checked_facts(facts)
    except (PluginError, ValueError, UnfitFileError) as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, PluginError):
            raise
        raise PluginError(f"The plugin {name} left what cannot be published: {error}.") from None
    yield from _changes(before, after)
    if told:
        yield f"For the receipt:\n{tomli_w.dumps({'plugins': {name: told}})}".rstrip()
    yield f"The changed result is in {into}."


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for file in sorted({*before, *after}):
        if file not in before:
            yield f"  added    {file}"
        elif file not in after:
            yield f"  removed  {file}"
        elif before[file] != after[file]:
            yield f"  changed  {file}"


def _tell(config: Config, host: PluginHost, name: str, hook: str, job: Job, result: Path) -> Iterator[str]:
    event = Event(f"try-{int(time.time())}", hook.removeprefix("rodin_"), time.time(), f"A try with {result}.")
    arguments: dict[str, Any] = {"event": asdict(event)}
    if hook != "rodin_service":
        arguments["job"] = asdict(job)
    if hook in (DELIVERED, "rodin_failed"):
        arguments["directory"] = str(result.absolute())
    yield from _called(config, host, name, hook, arguments)


def _called(config: Config, host: PluginHost, name: str, hook: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - lines, then JSON
    """Make the call, yield what the plugin printed, and return what it returned."""
    table = config.plugins.table(name).settings
    reply = host.call(Call(name, hook, arguments, table, config.plugins.timeout_of(name)))
    yield from reply.output.splitlines()
    yield f"{hook} was called: {reply.seconds:.2f} s."
    return reply.value
