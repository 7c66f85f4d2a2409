"""The process in which a plugin's code runs: loads one plugin, then carries out one call after the other.

Started by `adapters.plugin_host` with one end of a socket pair and, as JSON, what to load and what it may use. What the
plugin prints goes where the daemon reads it. Ends when the daemon closes its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any, Final

from rodin_watchd.hooks.messages import packed, unpacked
from rodin_watchd.hooks.plugin import BadPluginError, Plugin

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER: Final = 36
_NICE: Final = 10  # a conversion that takes minutes must not slow the service down
_FIRST_VICTIM: Final = "1000"  # proc(5), oom_score_adj: rather this process than the daemon


def main() -> None:
    """Serve until the daemon hangs up. Arguments: the socket's descriptor, and the plugin as JSON."""
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    task = json.loads(sys.argv[2])
    _bound(task["limits"])
    threading.Thread(target=_end_with, args=(line.fileno(),), daemon=True).start()
    plugin = _loaded(line, task)
    while plugin and (request := _heard(line)) is not None:
        line.sendall(_answered(plugin, request))


def _end_with(descriptor: int) -> None:
    """Wait until the daemon hangs up, in the middle of a call or not, and end with all that the plugin started."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


def _loaded(line: socket.socket, task: Mapping[str, Any]) -> Plugin | None:
    try:
        plugin = Plugin(task["name"], task["source"])
        told = {"hooks": plugin.hooks, "about": plugin.about, "schema": plugin.schema}
        line.sendall(_success(told, left=False))
    except BadPluginError as error:
        line.sendall(_failure(error))
        return None
    return plugin


def _heard(line: socket.socket) -> dict[str, Any] | None:
    data = bytearray()
    while (message := unpacked(data)) is None:
        part = line.recv(1 << 16)
        if not part:
            return None
        data += part
    return message


def _answered(plugin: Plugin, request: Mapping[str, Any]) -> bytes:
    try:
        value = _carried_out(plugin, request)
        answer = _success(value, left=_has_children())
    except BadPluginError as error:
        answer = _failure(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return answer


def _carried_out(plugin: Plugin, request: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON out
    if request["hook"] == "settings":
        plugin.settings(request["settings"], request["own"])
        return None
    return plugin.call(request["hook"], request["arguments"], request["settings"], request["own"])


def _success(value: Any, *, left: bool) -> bytes:  # noqa: ANN401 - whatever the plugin returned
    try:
        return packed({"ok": True, "value": value, "left": left})
    except ValueError as error:
        return _failure(BadPluginError(f"what it returned is not plain data: {error}"))


def _failure(error: BadPluginError) -> bytes:
    """Return what went wrong, cut to what people read."""
    told = {"message": error.message[:4000], "where": error.where[:1000], "trace": error.trace[-16_000:]}
    return packed({"ok": False, **told})


def _has_children() -> bool:
    """Tell whether processes that the plugin started still run, wherever they went (they come back to the subreaper)."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _bound(limits: Mapping[str, int]) -> None:
    """Take on the limits, as far as the system has them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits["memory_bytes"]:
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as knob:  # noqa: PTH123 - no path to speak of
        knob.write(_FIRST_VICTIM)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a plugin that keeps the interpreter's lock ends, too


if __name__ == "__main__":
    main()
