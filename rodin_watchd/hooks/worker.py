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
from collections.abc import Mapping
from typing import Any, Final

from rodin_watchd.hooks.descendants import end_below
from rodin_watchd.hooks.messages import packed, unpacked
from rodin_watchd.hooks.plugin import BadPluginError, BadSettingsError, Plugin

_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_NICE: Final = 10  # a conversion that takes minutes must not slow the service down
_FIRST_VICTIM: Final = "1000"  # proc(5), oom_score_adj: rather this process than the daemon


def main() -> None:
    """Serve until the daemon hangs up. Arguments: the socket's descriptor, and the plugin as JSON.

    Two processes: the first runs none of the plugin's code. It waits for the daemon to hang up, or for the second to end,
    and then ends whatever the plugin has started, wherever that went.
    """
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    _take_in_orphans()
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)  # what the plugin does to its group does not reach the one that watches
        _take_in_orphans()
        _serve(line, json.loads(sys.argv[2]))
    else:
        _guard(line, worker)


def _take_in_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _guard(line: socket.socket, worker: int) -> None:
    """Wait for the end of either side; end the rest; end as the worker ended."""
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(line.fileno(), select.POLLRDHUP)
    poll.register(ended, select.POLLIN)
    poll.poll()
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)  # no more than a zombie, if it ended by itself
    _, status = os.waitpid(worker, 0)
    end_below(os.getpid())
    _end_as(os.waitstatus_to_exitcode(status))


def _end_as(code: int) -> None:
    """End with an exit code, or, below 0, by a signal: as the worker did."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _serve(line: socket.socket, task: Mapping[str, Any]) -> None:
    me = os.getpid()
    _bound(task["limits"])
    plugin = _loaded(line, task)
    while plugin and (request := _received(line)) is not None:
        os.chdir(os.environ["TMPDIR"])
        answer = _answered(plugin, request)
        if os.getpid() != me:
            os._exit(0)  # a process that the plugin forked: the other one answers
        line.sendall(answer)


def _loaded(line: socket.socket, task: Mapping[str, Any]) -> Plugin | None:
    try:
        plugin = Plugin(task["name"], task["source"])
        fields = {"hooks": plugin.hooks, "about": plugin.about, "schema": plugin.schema}
        line.sendall(_success(0, fields, left=False))
    except BadPluginError as error:
        line.sendall(_failure(0, error))
        return None
    return plugin


def _received(line: socket.socket) -> dict[str, Any] | None:
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
        answer = _success(request["number"], value, left=_has_children())
    except BadPluginError as error:
        answer = _failure(request["number"], error)
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


def _success(number: int, value: Any, *, left: bool) -> bytes:  # noqa: ANN401 - whatever the plugin returned
    try:
        return packed({"number": number, "ok": True, "value": value, "left": left})
    except ValueError as error:
        return _failure(number, BadPluginError(f"what it returned is not plain data: {error}"))


def _failure(number: int, error: BadPluginError) -> bytes:
    """Return what went wrong, cut to what people read."""
    fields = {"message": error.message[:4000], "where": error.where[:1000], "trace": error.trace[-16_000:]}
    return packed({"number": number, "ok": False, "settings": isinstance(error, BadSettingsError), **fields})


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


if __name__ == "__main__":
    main()
