"""What there is to say about plugins: which are there, in use or not, and whether they can be used."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.adapters.plugin_host import PluginHost
from rodin_watchd.adapters.plugin_host.finding import FoundPlugin, find
from rodin_watchd.cli.check.findings import Finding, Level, acting_as, user_of
from rodin_watchd.config import Config
from rodin_watchd.errors import ConfigError, PluginLoadError
from rodin_watchd.service.opening import queue_of
from rodin_watchd.service.plugins import check_plugin, chosen, hosted, is_chosen


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the list of plugins."""

    name: str
    state: str
    hooks: tuple[str, ...]
    order: int
    origin: str
    where: str
    about: str
    problem: str = ""


@contextlib.contextmanager
def host_of(config: Config, plugins: Mapping[str, FoundPlugin]) -> Iterator[PluginHost]:
    """Give a host of the command's own, so that nothing of a running service is touched."""
    scratch = tempfile.TemporaryDirectory(prefix="rodin-watchd-")
    with scratch as folder, hosted(config, plugins, Path(folder, "plugins")) as host:
        yield host


def listed(config: Config) -> Iterator[Listed]:
    """Yield every plugin that is there. Raises PluginLoadError for names that clash, and for untrusted places."""
    found = find(config.plugins.folders)
    used = {name: plugin for name, plugin in found.items() if is_chosen(config, plugin)}
    with host_of(config, used) as host:
        for name, plugin in found.items():
            yield _used(config, host, plugin) if name in used else _line(config, plugin, "off")


def _used(config: Config, host: PluginHost, plugin: FoundPlugin) -> Listed:
    try:
        loaded = check_plugin(config, host, plugin)
    except PluginLoadError as error:
        return _line(config, plugin, "cannot be loaded", problem=error.message)
    return _line(config, plugin, "in use", hooks=loaded.hooks, about=loaded.about)


def _line(
    config: Config, plugin: FoundPlugin, state: str, *, hooks: tuple[str, ...] = (), about: str = "", problem: str = ""
) -> Listed:
    order = config.plugins.table(plugin.name).order
    return Listed(plugin.name, state, hooks, order, plugin.origin.value, plugin.where, about, problem)


def plugin_findings(config: Config) -> Iterator[Finding]:
    """Give whether each plugin in use can be used, by the user of the service. Raises PluginLoadError for what is wrong with all."""
    with acting_as(user_of(config)):  # neither may root see what the service does not, nor run what it runs
        found = list(_plugin_findings(config))
    yield from found


def _farm_findings(config: Config) -> Iterator[Finding]:
    """Give where plugins run that do not run here, and whether what that needs is installed."""
    for name in config.plugins.farm_names:
        queue = config.plugins.table(name).queue
        yield Finding(
            "plugins", f"{name} runs on the farm, at workers of the queue {queue}: `rodin-watchd workers` shows them."
        )
    if config.plugins.farm_names:
        try:
            queue_of(config, os.environ)
        except ConfigError as error:
            yield Finding("plugins", error.message, Level.PROBLEM, error.advice_in_full)


def _plugin_findings(config: Config) -> Iterator[Finding]:
    used = chosen(config)
    with host_of(config, used) as host:
        for name, plugin in used.items():
            try:
                loaded = check_plugin(config, host, plugin)
            except PluginLoadError as error:
                optional = config.plugins.table(name).optional
                yield Finding(
                    "plugins", error.message, Level.WARNING if optional else Level.PROBLEM, error.advice_given
                )
            else:
                yield Finding("plugins", f"{name} can be used: {', '.join(loaded.hooks)}.")
    yield from _farm_findings(config)
    if not used:
        yield Finding("plugins", "No plugin is in use.")
