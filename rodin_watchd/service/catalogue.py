"""Which plugins are there and which are in use: found, chosen by the configuration, loaded. Nothing of theirs runs here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rodin_watchd.adapters.plugin_host import Limits, Loaded, PluginHost, Ready, clean_environ
from rodin_watchd.adapters.plugin_host.finding import Found, Origin, find
from rodin_watchd.config import Config, journal_path, scratch_path
from rodin_watchd.errors import PluginError, PluginLoadError

START_SECONDS = 60.0
"""So long a plugin may take to be loaded: large libraries come from a cold disk."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The plugins: all that were found, and those that were loaded and are in use."""

    found: Mapping[str, Found]
    loaded: Mapping[str, Loaded]
    left_out: Mapping[str, str]  # optional ones that could not be loaded, with the reason

    def hooks(self) -> dict[str, list[str]]:
        """Return the names of the plugins in use by hook."""
        names = {hook for loaded in self.loaded.values() for hook in loaded.hooks}
        return {hook: [name for name, loaded in self.loaded.items() if hook in loaded.hooks] for hook in sorted(names)}


def chosen(config: Config) -> dict[str, Found]:
    """Return the plugins that the configuration has in use, by name. Raises PluginLoadError.

    Installed ones and files are in use unless `enabled = false`; those that come with the project once they have a table.
    """
    _refuse_scratch(config)
    found = find(config.plugins.folders)
    for name in config.plugins.tables:
        if name not in found:
            near = get_close_matches(name, found, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise PluginLoadError(f"There is no plugin {name}, but the config has a table for it.{hint}")
    return {name: plugin for name, plugin in found.items() if is_chosen(config, plugin)}


def _refuse_scratch(config: Config) -> None:
    """Raise PluginLoadError for a plugins' folder in the one for temporary files, which is cleared at each start."""
    scratch = scratch_path(config, os.environ)
    for folder in config.plugins.folders:
        if folder.resolve().is_relative_to(scratch.resolve()):
            raise PluginLoadError(
                f"The plugins' folder {folder} lies in {scratch}, which the service clears at each start.",
                advice="Move it to another place, and mend plugins.folders.",
            )


def is_chosen(config: Config, plugin: Found) -> bool:
    """Tell whether the configuration has a plugin in use."""
    has_table = plugin.name in config.plugins.tables
    return config.plugins.table(plugin.name).enabled and (has_table or plugin.origin is not Origin.SHIPPED)


@contextlib.contextmanager
def hosted(config: Config, plugins: Mapping[str, Found], scratch: Path, *, clears: bool = True) -> Iterator[PluginHost]:
    """Give the host for these plugins; it ends their processes at the end. `scratch` is for their temporary files alone."""
    ready = [ready_plugin(config, plugin) for plugin in plugins.values()]
    kept = str(journal_path(config, os.environ).parent / "plugin-state")
    environ = {**clean_environ(os.environ, config.plugins.pass_environment), "XDG_STATE_HOME": kept}
    host = PluginHost(ready, config.plugins.workers, environ, scratch, clears=clears)
    with contextlib.closing(host):
        yield host


def ready_plugin(config: Config, plugin: Found) -> Ready:
    """Return what the host has to know of a plugin."""
    settings = config.plugins
    limits = Limits(settings.memory_bytes_of(plugin.name), settings.disk_bytes_of(plugin.name), START_SECONDS)
    return Ready(plugin.source, limits, settings.table(plugin.name).settings, plugin.vet)


def loaded(config: Config, host: PluginHost, plugins: Mapping[str, Found], loading: Callable[[str], None]) -> Catalogue:
    """Load the plugins, each told to `loading` before, and check their settings.

    Raises PluginLoadError for the first that fails, unless it is optional.
    """
    good: dict[str, Loaded] = {}
    left_out: dict[str, str] = {}
    for name, plugin in plugins.items():
        loading(name)
        try:
            good[name] = check_plugin(config, host, plugin)
        except PluginLoadError as error:
            if not config.plugins.table(name).optional:
                raise
            left_out[name] = error.message
    return Catalogue(plugins, good, left_out)


def check_plugin(config: Config, host: PluginHost, plugin: Found) -> Loaded:
    """Load one plugin and check its table. Raises PluginLoadError with file, line and cause."""
    try:
        about = host.load(plugin.name)
        host.check(plugin.name, config.plugins.table(plugin.name).settings, {}, START_SECONDS)
    except PluginError as error:
        said = f"\n{error.output}".rstrip() if error.output else ""
        raise PluginLoadError(f"{error.message}{said}") from None
    return about
