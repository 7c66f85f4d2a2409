"""One process of one plugin: started, asked, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rodin_watchd.core.names import printable
from rodin_watchd.errors import (
    PluginCrashedError,
    PluginError,
    PluginGreedyError,
    PluginSettingsError,
    PluginTimeoutError,
)
from rodin_watchd.hooks.leftovers import end_below, remove, size_of
from rodin_watchd.hooks.messages import packed, unpacked

# ---- Ending a plugin's processes and all that they started, wherever that went --------------------------------------


def end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and all its descendants, and return its status as `Popen.returncode` tells it.

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

    memory_bytes: int  # of address space; 0: as much as it wants
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
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-s", "-m", "rodin_watchd.hooks.worker", str(line.fileno()), task],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(line.fileno(),),
        env=dict(environ),
        cwd=home,
        start_new_session=True,
        bufsize=0,
    )


OUTPUT_BYTES: Final = 16_384
"""So much of what a plugin prints in one call is kept, the newest."""

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
        with self._closed_on_error():
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
        with self._closed_on_error():
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
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, PluginError):
                error.has_printed(self.output)
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
            raise self._crashed() from None
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
            raise self._crashed()
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

    def _crashed(self) -> PluginCrashedError:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has hung up: it is ending
            self._process.wait(1.0)
        return PluginCrashedError(f"{self._named} {_how(self.close())}.")


def _how(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-status).name})"
    return f"ended its process in the middle of a call (status {status})"
