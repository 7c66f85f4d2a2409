"""The plugins' host: keeps their processes, and has calls carried out there.

Plugin code never runs in the daemon. Each plugin has processes of its own, which stay ready for the next call (so a call
costs less than a millisecond over what the plugin does) and are ended with all that they started when a call takes too long,
writes too much, or breaks the line. What a plugin does wrong costs its own call.

This is protection against accidents, not against malice: the code runs as the service's user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.plugin_host.child import Child, ChildReply, Loaded, PluginSource, ProcessLimits
from rodin_watchd.core.names import printable
from rodin_watchd.errors import PluginError, PluginLoadError, PluginStartError
from rodin_watchd.hooks.leftovers import remove

__all__ = [
    "ChildReply",
    "Loaded",
    "PluginCall",
    "PluginHost",
    "PluginSource",
    "ProcessLimits",
    "Ready",
    "clean_environ",
]

# ---- The folder for plugins' temporary files: made by the host, known by a mark, and only then ever cleared ---------


MARK: Final = ".made-by-rodin-watchd"
_HOME_PREFIX: Final = "run-"


def new_home(scratch: Path, *, clears: bool) -> Path:
    """Make a folder in the scratch folder and return it; `clears`: remove what hosts have left there that live no more.

    The scratch folder is made if it is missing. Raises FileExistsError where something lies there that no host has made;
    OSError.
    """
    try:
        scratch.mkdir(parents=True)
    except FileExistsError:
        if not _is_ours(scratch):
            what = f"a foreign file or folder has the name {scratch}; move it away"
            raise FileExistsError(errno.EEXIST, what, str(scratch)) from None
    (scratch / MARK).touch()
    if clears:
        _clear(scratch)
    return Path(tempfile.mkdtemp(prefix=_HOME_PREFIX, dir=scratch))


def remove_home(home: Path) -> None:
    """Remove what `new_home` returned; may be repeated, never raises OSError."""
    with contextlib.suppress(OSError):
        remove(home)


def _is_ours(scratch: Path) -> bool:
    """Tell whether a host has made it; one that is empty may be one whose mark a crash has prevented. Raises OSError."""
    if scratch.is_symlink() or not scratch.is_dir():
        return False
    names = {path.name for path in scratch.iterdir()}
    return not names or MARK in names


def _clear(scratch: Path) -> None:
    with os.scandir(scratch) as found:
        left = [Path(entry.path) for entry in found if entry.name.startswith(_HOME_PREFIX)]
    for path in left:
        remove_home(path)


_KEPT: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_NEVER: Final = ("RODIN_API_KEY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_MOST_IDLE: Final = 16
"""So many processes wait for their next call; the one that has waited longest makes room."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Ready:
    """A plugin that may be called: its code, its limits, and its table in the configuration."""

    source: PluginSource
    limits: ProcessLimits
    settings: Mapping[str, Any] = field(default_factory=dict)
    vet: Callable[[], None] = _nothing  # raises PluginLoadError when its code is not to be trusted any more


@dataclass(frozen=True, slots=True)
class PluginCall:
    """One call of one hook of one plugin."""

    plugin: str
    hook: str
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    seconds: float
    own: Mapping[str, Any] = field(default_factory=dict)  # what a set says over the settings
    watch: Callable[[], None] = _nothing  # called now and then meanwhile; raises to end it


class PluginHost:
    """Carries out calls, so many at once; any thread. To be closed.

    Its temporary files lie in the folder `scratch`; only a host beside which no other one uses that folder `clears` it.
    """

    def __init__(
        self,
        plugins: Sequence[Ready],
        workers: int,
        environ: Mapping[str, str],
        scratch: Path,
        *,
        clears: bool = True,
    ) -> None:
        self._plugins = {plugin.source.name: plugin for plugin in plugins}
        self._environ = environ
        self._places = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._idle: list[Child] = []  # the longest idle first
        self._busy: set[Child] = set()
        self._closed = False
        self._scratch = scratch
        self._clears = clears
        self._home: Path | None = None  # made for the first process

    def load(self, name: str) -> Loaded:
        """Load a plugin, check its settings and have it get ready; return what it says of itself. Raises PluginError."""
        with self._child(name) as child:
            return child.loaded

    def check(self, name: str, settings: Mapping[str, Any], own: Mapping[str, Any], seconds: float) -> None:
        """Check a table for a plugin, and what a set says over it, without calling any hook. Raises PluginError."""
        self.call(PluginCall(name, "settings", {}, settings, seconds, own))

    def call(self, call: PluginCall) -> ChildReply:
        """Have a call carried out. Raises PluginError, and whatever `call.watch` raises."""
        tables = {"settings": dict(call.settings), "own": dict(call.own)}
        request = {"hook": call.hook, "arguments": dict(call.arguments), **tables}
        with self._child(call.plugin) as child:
            return child.ask(request, call.seconds, call.watch)

    @contextlib.contextmanager
    def _child(self, name: str) -> Iterator[Child]:
        with self._places:
            child = self._taken(name) or self._started(name)
            try:
                if not child.loaded.hooks:
                    self._make_ready(child)
                yield child
            finally:
                self._put_back(child)

    def _taken(self, name: str) -> Child | None:
        with self._lock:
            found = next((child for child in reversed(self._idle) if child.source.name == name), None)
            if found is None:
                return None
            self._idle.remove(found)
            if found.is_open:
                self._busy.add(found)
                return found
        found.close()
        return None

    def _started(self, name: str) -> Child:
        """Start a process; from now on `close` ends it. Nothing is believed of what may have changed since the last one."""
        plugin = self._plugins[name]
        try:
            plugin.vet()
            place = self._place()
            with self._lock:
                if self._closed:
                    raise PluginError("The service is stopping.")
                child = Child(plugin.source, plugin.limits, self._environ, place)
                self._busy.add(child)
        except PluginLoadError as error:
            raise PluginError(f"{error.message} {error.advice_given}") from None
        except OSError as error:
            raise PluginStartError(
                f"The machine could not start the plugin {printable(name)}: {error.strerror}."
            ) from error
        return child

    def _make_ready(self, child: Child) -> None:
        plugin = self._plugins[child.source.name]
        child.load()
        request = {"hook": "rodin_configure", "arguments": {}, "settings": dict(plugin.settings), "own": {}}
        child.ask(request, plugin.limits.start_seconds, _nothing)

    def _put_back(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
            keep = child.is_open and not self._closed
            if keep:
                self._idle.append(child)
            extra = None if keep and len(self._idle) <= _MOST_IDLE else self._idle.pop(0) if keep else child
        if extra:
            extra.close()

    def close(self) -> None:
        """End all processes, also those in the middle of a call; may be repeated."""
        with self._lock:
            self._closed = True
            idle, busy = list(self._idle), list(self._busy)
            self._idle.clear()
        for child in busy:
            child.kill()  # whoever waits for its answer closes it
        for child in idle:
            child.close()
        if self._home:
            remove_home(self._home)

    def _place(self) -> Path:
        """Return the folder for temporary files. Raises OSError."""
        with self._lock:
            if self._home is None:
                self._home = new_home(self._scratch, clears=self._clears)
            return self._home


def clean_environ(environ: Mapping[str, str], passed: Sequence[str]) -> dict[str, str]:
    """Return the environment of plugins: what programs need, and what the configuration passes on; never a secret of ours."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith("LC_") or name in passed}
    return {name: value for name, value in kept.items() if name not in _NEVER}
