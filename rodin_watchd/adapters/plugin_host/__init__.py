"""The plugins' host: keeps their processes, and has calls carried out there.

Plugin code never runs in the daemon. Each plugin has processes of its own, which stay ready for the next call (so a call
costs less than a millisecond over what the plugin does) and are ended with all that they started when a call takes too long,
writes too much, or breaks the line, and whenever they have too much memory. What a plugin does wrong costs its own call.

This is protection against accidents, not against malice: the code runs as the service's user.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rodin_watchd.core.names import printable
from rodin_watchd.errors import (
    PluginCrashedError,
    PluginError,
    PluginGreedyError,
    PluginLoadError,
    PluginMemoryError,
    PluginSettingsError,
    PluginStartError,
    PluginTimeoutError,
)
from rodin_watchd.hooks.leftovers import end_below, remove, size_of
from rodin_watchd.hooks.messages import OVER_MEMORY, packed, unpacked

# ---- Ending a plugin's processes and all that they started, wherever that went --------------------------------------


def end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and all its descendants, and return its status in the form of `Popen.returncode`.

    The process is a subreaper (prctl(2)): as long as it lives, whatever the plugin started is below it, also what left its
    session. May be repeated.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)  # it takes in what loses its parent, and ends only by us
        end_below(process.pid)
        process.kill()
    return process.wait()


# ---- Starting a plugin's process ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a plugin's process may use."""

    memory_bytes: int  # of all its processes together; 0: as much as they want
    file_bytes: int  # of one file, and of all temporary files together
    start_seconds: float  # until it is loaded


@dataclass(frozen=True, slots=True)
class PluginSource:
    """Which code is a plugin's: a file, or an object as an entry point names it (`module:attribute`)."""

    name: str
    path: str = ""
    entry: str = ""

    @property
    def where(self) -> str:
        """For people."""
        return self.path or self.entry


def started(
    source: PluginSource, limits: ProcessLimits, environ: Mapping[str, str], line: socket.socket, home: Path
) -> subprocess.Popen[bytes]:
    """Start a plugin's process, which hears and answers on `line`. Raises OSError."""
    code = {"path": source.path} if source.path else {"entry": source.entry}
    task = json.dumps({"name": source.name, "source": code, "limits": asdict(limits)})
    # -P and -s (python(1)): no file in the working folder or the user's own packages may take a module's place. A session of
    # its own: Ctrl-C in a terminal is sent to the whole group of the daemon, and would end a plugin in the middle of its work.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-s", "-m", "rodin_watchd.hooks.worker", str(line.fileno()), task],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one pipe: lines stay in the order in which the plugin wrote them
        pass_fds=(line.fileno(),),
        env=dict(environ),
        cwd=home,
        start_new_session=True,
        bufsize=0,
    )


OUTPUT_BYTES: Final = 16_384
"""How much of what a plugin prints in one call is kept: the newest part."""

_WATCH_SECONDS: Final = 0.25
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ChildReply:
    """What came of a call."""

    value: Any
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a plugin says of itself."""

    hooks: tuple[str, ...]
    about: str
    schema: Mapping[str, Any] | None


class Child:
    """A plugin's process, to be loaded first. One call at a time, from any thread."""

    def __init__(self, source: PluginSource, limits: ProcessLimits, environ: Mapping[str, str], scratch: Path) -> None:
        self.source = source
        self.loaded = Loaded((), "", None)
        self._limits = limits
        self._number = 0
        self._output = bytearray()
        self._home = Path(tempfile.mkdtemp(prefix=f"{source.name}-", dir=scratch))
        with contextlib.ExitStack() as undo:
            undo.callback(remove, self._home)
            self._line, theirs = socket.socketpair()
            undo.callback(self._line.close)
            with theirs:
                self._process = started(source, limits, {**environ, "TMPDIR": str(self._home)}, theirs, self._home)
            undo.pop_all()  # it runs: `close` ends it
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._line.setblocking(False)

    def load(self) -> None:
        """Wait until the plugin is loaded. Raises PluginError when it cannot be; then the process is gone."""
        with self._closed_on_error(time.monotonic()):
            found, _ = self._receive(self._limits.start_seconds, lambda: None)
            self.loaded = self._loaded(found)

    def ask(self, request: Mapping[str, Any], seconds: float, watch: Callable[[], None]) -> ChildReply:
        """Have a call carried out. `watch` is called now and then meanwhile, and raises to end it.

        Raises PluginError with what the plugin printed, and whatever `watch` raises. After a failure the process is gone,
        with all that it started: nothing of it can reach the next call.
        """
        began = time.monotonic()
        self._read_output()
        self._output.clear()
        self._number += 1
        with self._closed_on_error(began):
            self._send(self._packed(request), began + seconds)
            value, left = self._receive(seconds, watch)
        if left or not self._emptied():  # processes of its own that still run; or no folder for the next call
            self.close()
        return ChildReply(value, self.output, time.monotonic() - began)

    def _packed(self, request: Mapping[str, Any]) -> bytes:
        try:
            return packed({**request, "number": self._number})
        except ValueError as error:
            raise PluginError(f"{self._named} cannot get these values: {error}.") from None

    @contextlib.contextmanager
    def _closed_on_error(self, began: float) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, PluginError):
                error.has_run(self.output, time.monotonic() - began)
            raise

    def _emptied(self) -> bool:
        """Remove what the call left among its temporary files; False if the folder is not what it was."""
        with contextlib.suppress(OSError):
            if not self._home.is_symlink():
                for entry in self._home.iterdir():
                    remove(entry)
                return True
        return False

    @property
    def is_open(self) -> bool:
        """Whether it can be asked again."""
        return self._line.fileno() >= 0 and self._process.poll() is None

    @property
    def output(self) -> str:
        """What it printed in the newest call, the end of it."""
        return self._output.decode("utf-8", "replace")

    def kill(self) -> int:
        """End it and all that it started, and return its status; any thread, may be repeated."""
        return end(self._process)

    def close(self) -> int:
        """End it, give back what it used, and return its status; may be repeated."""
        status = self.kill()
        with contextlib.suppress(OSError):
            self._read_output()
        self._line.close()
        self._pipe.close()
        remove(self._home)
        return status

    # ---- talking ----------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, until: float) -> None:
        """Send a whole message; a process that does not listen gets no more time than for its answer."""
        self._line.settimeout(max(until - time.monotonic(), 0.01))
        try:
            self._line.sendall(data)
        except TimeoutError:
            raise self._late(0.0) from None
        except OSError:
            raise self._gone() from None
        finally:
            if self._line.fileno() >= 0:
                self._line.setblocking(False)

    def _receive(self, seconds: float, watch: Callable[[], None]) -> tuple[Any, bool]:
        """Wait for an answer, and read what is printed meanwhile. Returns the value, and whether it left processes."""
        looked_at = time.monotonic()
        until = looked_at + seconds
        data = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            selector.register(self._pipe, selectors.EVENT_READ)
            while (answer := self._understood(data)) is None:
                left = until - time.monotonic()
                if left <= 0:
                    raise self._late(seconds)
                for key, _ in selector.select(min(left, _WATCH_SECONDS)):
                    if key.fileobj is self._line:
                        data += self._read_line()
                    elif not self._read_output():
                        selector.unregister(self._pipe)  # closed by the plugin: it may go on without
                if time.monotonic() - looked_at >= _WATCH_SECONDS:
                    self._watch(watch)
                    looked_at = time.monotonic()
        self._watch(watch)
        self._read_output()
        return self._accepted(answer)

    def _watch(self, watch: Callable[[], None]) -> None:
        if size_of(self._home) > self._limits.file_bytes:
            raise PluginGreedyError(f"{self._named} wrote too many temporary files and was ended.")
        watch()

    def _understood(self, data: bytearray) -> dict[str, Any] | None:
        try:
            return unpacked(data)
        except ValueError:
            raise self._garbage() from None

    def _loaded(self, found: Any) -> Loaded:  # noqa: ANN401 - whatever came
        try:
            return Loaded(tuple(map(str, found["hooks"])), str(found["about"]), found["schema"])
        except (KeyError, TypeError):
            raise self._garbage() from None

    def _accepted(self, answer: Mapping[str, Any]) -> tuple[Any, bool]:
        """Return the value; raise what the plugin raised. A plugin can write to its line, too: nothing is believed."""
        try:
            if answer["number"] != self._number:
                raise self._garbage()
            if answer["ok"] is True:
                return answer["value"], bool(answer["left"])
            lines = [str(answer[key]) for key in ("message", "where", "trace")]
            kind = PluginSettingsError if answer["settings"] is True else PluginError
        except KeyError:
            raise self._garbage() from None
        at = f" ({lines[1]})" if lines[1] else ""
        raise kind(f"{self._named} failed: {lines[0]}{at}.", trace=lines[2])

    def _read_line(self) -> bytes:
        try:
            part = self._line.recv(_READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            part = b""
        if not part:
            raise self._gone()
        return part

    def _read_output(self) -> bool:
        """Take some of what was printed, as much as a pipe holds; return False at its end."""
        if self._pipe.closed:
            return False
        try:
            part = os.read(self._pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        self._output += part
        del self._output[:-OUTPUT_BYTES]
        return bool(part)

    @property
    def _named(self) -> str:
        return f"The plugin {printable(self.source.name)}"

    def _garbage(self) -> PluginCrashedError:
        return PluginCrashedError(f"{self._named} gave an answer that cannot be read.")

    def _late(self, seconds: float) -> PluginTimeoutError:
        return PluginTimeoutError(f"{self._named} took longer than {seconds:g} seconds and was ended.")

    def _gone(self) -> PluginError:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has hung up: it is ending
            self._process.wait(1.0)
        status = self.close()
        if status == OVER_MEMORY:
            most = f"{self._limits.memory_bytes >> 20:,} MB of memory (`memory_megabytes` in its table)"
            return PluginMemoryError(
                f"{self._named} and the programs that it started used more than {most} and were ended."
            )
        return PluginCrashedError(f"{self._named} {_how(status)}.")


def _how(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-status).name})"
    return f"ended its process in the middle of a call (status {status})"


# ---- The folder for plugins' temporary files: made by the host, known by a mark, and only then ever cleared ---------


MARK: Final = ".made-by-rodin-watchd"
_HOME_PREFIX: Final = "run-"


def new_home(scratch: Path, *, clears: bool) -> Path:
    """Make a folder in the scratch folder and return it; `clears`: remove what hosts have left there that live no more.

    The scratch folder is made if it is missing. Raises FileExistsError where something is there that no host has made;
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
    """Return whether a host has made it; one that is empty may be one whose mark a crash has prevented. Raises OSError."""
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
"""How many processes wait for their next call; the one that has waited longest makes room."""


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Ready:
    """A plugin that may be called: its code, its limits, and its table in the configuration."""

    source: PluginSource
    limits: ProcessLimits
    settings: Mapping[str, Any] = field(default_factory=dict)
    vet: Callable[[], None] = _nothing  # raises PluginLoadError when its code is not to be trusted any more
    configures: bool = True  # its `rodin_configure` is called in each process


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

    Its temporary files are in the folder `scratch`; only a host that shares that folder with no other one `clears` it.
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
            raise PluginError(f"{error.message} {error.advice_in_full}") from None
        except OSError as error:
            raise PluginStartError(
                f"The machine could not start the plugin {printable(name)}: {error.strerror}."
            ) from error
        return child

    def _make_ready(self, child: Child) -> None:
        plugin = self._plugins[child.source.name]
        child.load()
        if not plugin.configures:
            return
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
