"""Finding plugins without running any of their code, and refusing those that somebody else could change."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from importlib.metadata import Distribution, EntryPoints, entry_points
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.plugin_host import PluginSource
from rodin_watchd.config import PluginsSection
from rodin_watchd.errors import PluginLoadError
from rodin_watchd.v1 import GROUP

SHIPPED: Final = "rodin_watchd.shipped"
"""The group of entry points of the plugins that come with the project; each is off until it has a table."""

RESERVED: Final = frozenset(PluginsSection.model_fields)
"""Keys of the section [plugins], which no table can be called."""

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Origin(StrEnum):
    """Where a plugin comes from."""

    SHIPPED = "shipped"
    INSTALLED = "installed"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """A plugin that is there; nothing of it has been run."""

    source: PluginSource
    origin: Origin
    package: str = ""  # of an installed one: name and version

    @property
    def name(self) -> str:
        """The name of its table."""
        return self.source.name

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.source.where} ({self.package})" if self.package else self.source.where

    @property
    def version(self) -> str:
        """Which code it is: the package with its version, or the beginning of a file's digest. Raises OSError."""
        if self.package:
            return self.package
        return f"sha256 {hashlib.sha256(Path(self.source.path).read_bytes()).hexdigest()[:16]}"

    def vet(self) -> None:
        """Look once more whether others could change it. Raises PluginLoadError."""
        if self.origin is Origin.FILE:
            refuse_untrusted(Path(self.source.path))


def find(folders: Sequence[Path]) -> dict[str, FoundPlugin]:
    """Return the plugins by name. Raises PluginLoadError for names that clash, and for what others could change."""
    found: dict[str, FoundPlugin] = {}
    for plugin in (*_of_packages(tuple((entry, _changed_ns(entry)) for entry in sys.path)), *_files(folders)):
        if plugin.name in RESERVED or not NAME.fullmatch(plugin.name):
            raise PluginLoadError(
                f"A plugin cannot be called “{plugin.name}” ({plugin.where}).",
                advice="Its name must be a word of small letters, digits and _, up to 40, and no key of [plugins].",
            )
        if other := found.get(plugin.name):
            raise PluginLoadError(
                f"Two plugins are called {plugin.name}: {other.where} and {plugin.where}.",
                advice="Rename or remove one of them.",
            )
        found[plugin.name] = plugin
    return found


@lru_cache(maxsize=1)
def _of_packages(_installed_into: tuple[tuple[str, int], ...]) -> tuple[FoundPlugin, ...]:
    """Return the plugins that come in packages: looked for once in each state of the folders that packages are installed into."""
    points = entry_points()
    shipped = _installed(points.select(group=SHIPPED), Origin.SHIPPED)
    return (*shipped, *_installed(points.select(group=GROUP), Origin.INSTALLED))


def _changed_ns(folder: str) -> int:
    """Return when a folder's names changed last, 0 for none; each package that comes or goes changes them."""
    try:
        return os.stat(folder or ".").st_mtime_ns  # noqa: PTH116 - of every entry of sys.path at each start
    except OSError:
        return 0


def _installed(points: EntryPoints, origin: Origin) -> Iterator[FoundPlugin]:
    package = cache(_package)  # of several plugins: to ask for its metadata is to parse them
    for point in sorted(points, key=lambda point: point.name):
        yield FoundPlugin(PluginSource(point.name, entry=point.value), origin, package(point.dist))


def _package(distribution: Distribution | None) -> str:
    if distribution is None:
        return ""
    metadata = distribution.metadata
    return f"{metadata['Name']} {metadata['Version']}"


def _files(folders: Iterable[Path]) -> Iterator[FoundPlugin]:
    for folder in folders:
        names = _names_in(folder)
        refuse_untrusted(folder)
        for path in (folder / name for name in names if name.endswith(".py")):
            if not path.name.startswith((".", "_", "test_")):
                refuse_untrusted(path)
                yield FoundPlugin(PluginSource(path.stem, path=str(path)), Origin.FILE)


def _names_in(folder: Path) -> list[str]:
    """Return what is in a folder. Raises PluginLoadError: a plugin that guards the money must not be missed in silence."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names
    except (FileNotFoundError, NotADirectoryError):
        raise PluginLoadError(
            f"The plugins' folder {folder} is missing.", advice="Make it, or correct plugins.folders."
        ) from None
    except OSError as error:
        raise PluginLoadError(
            f"The plugins' folder {folder} cannot be read: {error.strerror}.",
            advice="Give the user of the service read permission, or correct plugins.folders.",
        ) from None


def refuse_untrusted(path: Path) -> None:
    """Raise PluginLoadError for what another user could change: itself, or a folder above it, by either name.

    Its code runs as the service.
    """
    for place in dict.fromkeys((path, *path.absolute().parents, *path.resolve().parents)):
        try:
            status = place.stat()
        except OSError as error:
            raise PluginLoadError(
                f"{place} cannot be checked: {error.strerror}.", advice="Correct or remove it."
            ) from None
        writers = status.st_mode & _OTHERS_WRITE
        shared = place != path and status.st_mode & stat.S_ISVTX  # like /tmp: what is in it only its owner can change
        if writers and not shared:
            command = f"chmod go-w {shlex.quote(str(place))}"
        elif status.st_uid not in (0, os.geteuid()):
            command = f"chown {os.geteuid()} {shlex.quote(str(place))}"
        else:
            continue
        raise PluginLoadError(
            f"Others can change {place}, so no plugin is loaded from {'it' if place == path else path}.",
            advice=f"Run: {command}",
        )
