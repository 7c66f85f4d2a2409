"""The process in which a plugin's code runs: loads one plugin, then carries out one call after the other.

Started by `adapters.plugin_host` with one end of a socket pair and, as JSON, what to load and what it may use. What the
plugin prints goes where the daemon reads it. Ends when the daemon closes its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import inspect
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

import pluggy
from pydantic import BaseModel, ValidationError

from rodin_watchd.hooks import hookspecs
from rodin_watchd.hooks.leftovers import descendants, end_below
from rodin_watchd.hooks.memory import used_bytes
from rodin_watchd.hooks.messages import OVER_MEMORY, packed, unpacked
from rodin_watchd.v1 import Event, FileSet, Job, Refusal, Waiting, of_data, to_data

HOOKS: Final = tuple(name for name in vars(hookspecs) if name.startswith("rodin_"))
"""The names of all hooks."""

_ARGUMENTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "fileset": lambda data: of_data(FileSet, data),
    "job": lambda data: of_data(Job, data),
    "waiting": lambda data: of_data(Waiting, data),
    "event": lambda data: of_data(Event, data),
    "options": MappingProxyType,
    "directory": Path,
}


class BadPluginError(Exception):
    """The plugin cannot be used: what is wrong with it, and where."""

    def __init__(self, message: str, where: str = "", trace: str = "") -> None:
        """Take words for people, `FILE:LINE`, and a traceback for the plugin's author."""
        super().__init__(message)
        self.message, self.where, self.trace = message, where, trace


class BadSettingsError(BadPluginError):
    """What the config, or a set, says to the plugin is wrong."""


class Plugin:
    """One plugin. Loading imports its code: raises BadPluginError for whatever goes wrong in it."""

    def __init__(self, name: str, source: Mapping[str, str]) -> None:
        self._name = name
        self._source = source
        try:
            self._module = _imported(name, source)
        except BaseException as error:  # noqa: BLE001 - whatever a stranger's code raises is reported, not passed on
            raise bad(error, source) from None
        self._manager = pluggy.PluginManager("rodin_watchd")
        self._manager.add_hookspecs(hookspecs)
        self._register()
        self.hooks = tuple(caller.name for caller in self._manager.get_hookcallers(self._module) or ())
        if not self.hooks:
            raise BadPluginError(f"it implements no hook (a function marked with @hookimpl, named {HOOKS[1]}, say)")
        self._model = _settings_model(self._module)
        self._for_sets = _keys_for_sets(self._module)

    def _register(self) -> None:
        """Take the hooks in; a misspelt hook or argument, and a hook that is not marked, is an error."""
        for name, function in inspect.getmembers(self._module, inspect.isroutine):
            _refuse_misspelt(name, function)
        try:
            self._manager.register(self._module, self._name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise BadPluginError(" ".join(str(error).split()), self._source.get("path", "")) from None

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self._module) or "").partition("\n")[0]

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema of its settings, if it has a model or a schema."""
        if isinstance(self._model, dict) or self._model is None:
            return self._model
        try:
            return self._model.model_json_schema()
        except Exception:  # noqa: BLE001 - a model may hold what no schema can say; it works all the same
            return None

    def settings(self, table: Mapping[str, Any], own: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the plugin's own type
        """Understand the plugin's table, with what a set says (`own`) over it, as far as the plugin lets sets decide.

        Raises BadPluginError, which names every mistake on a line of its own.
        """
        if forbidden := sorted(own.keys() - self._for_sets):
            allowed = f"only {', '.join(sorted(self._for_sets))}" if self._for_sets else "none of its keys"
            raise BadSettingsError(f"{forbidden[0]}: a set may change {allowed}; the rest belongs to the config")
        table = {**table, **own}
        if self._model is None:
            return MappingProxyType(table)
        if isinstance(self._model, dict):
            return _by_schema(self._model, table)
        try:
            return self._model.model_validate(table)
        except ValidationError as error:
            problems = error.errors(include_input=False)
            lines = (f"{_key(problem['loc']) or 'its table'}: {problem['msg']}" for problem in problems)
            raise BadSettingsError("\n".join(lines)) from None

    def call(self, hook: str, arguments: Mapping[str, Any], table: Mapping[str, Any], own: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON out
        """Call its implementation of a hook. Raises BadPluginError for whatever it raises."""
        if hook not in self.hooks:
            if hook == "rodin_configure":
                return None
            raise BadPluginError(f"it has no hook {hook} any more")
        settings = self.settings(table, own)
        values = {name: _ARGUMENTS[name](data) for name, data in arguments.items()}
        try:
            answers = getattr(self._manager.hook, hook)(**values, settings=settings)
        except BaseException as error:  # noqa: BLE001 - as above
            raise bad(error, self._source) from None
        answer = next((answer for answer in answers if answer is not None), None)
        return to_data(answer) if isinstance(answer, Refusal) else answer


def _refuse_misspelt(name: str, function: Any) -> None:  # noqa: ANN401 - a function of the plugin
    """Raise BadPluginError for a function that is, or looks like, a hook and can never be called."""
    marked = getattr(function, "rodin_watchd_impl", None)
    meant = (marked or {}).get("specname") or name
    if meant in HOOKS and marked is None:
        raise BadPluginError(f"{name} is not marked with @hookimpl", _line_of(function))
    if meant not in HOOKS and (marked is not None or name.startswith("rodin_")):
        near = get_close_matches(meant, HOOKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f" (there are {', '.join(HOOKS)})"
        raise BadPluginError(f"there is no hook {meant}{hint}", _line_of(function))


def _imported(name: str, source: Mapping[str, str]) -> Any:  # noqa: ANN401 - a module, or an object with hooks
    if "path" not in source:
        module, _, attribute = source["entry"].partition(":")
        found = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        return found
    sys.dont_write_bytecode = True  # nothing is left behind in the folder of the plugins
    spec = importlib.util.spec_from_file_location(f"rodin_watchd_plugin_{name}", source["path"])
    if spec is None or spec.loader is None:
        raise ImportError(f"{source['path']} is no Python file")
    module_ = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module_
    spec.loader.exec_module(module_)
    return module_


def _keys_for_sets(module: ModuleType) -> frozenset[str]:
    keys = getattr(module, "SET_KEYS", ())
    if isinstance(keys, str) or not isinstance(keys, Collection) or not all(isinstance(key, str) for key in keys):
        raise BadPluginError("SET_KEYS must be a set of names of settings")
    return frozenset(keys)


def _settings_model(module: ModuleType) -> type[BaseModel] | dict[str, Any] | None:
    """Return what the plugin's table is checked by: a pydantic model `Settings`, or a JSON schema `SETTINGS_SCHEMA`."""
    model = getattr(module, "Settings", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model
    schema = getattr(module, "SETTINGS_SCHEMA", None)
    return schema if isinstance(schema, dict) else None


def _by_schema(schema: dict[str, Any], table: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        import jsonschema  # noqa: PLC0415 - only a plugin that has a schema instead of a model needs it
    except ImportError:
        advice = "its settings are checked by a JSON schema: run `pip install jsonschema`, or give it a pydantic model"
        raise BadPluginError(advice) from None
    errors = jsonschema.Draft202012Validator(schema).iter_errors(dict(table))
    if lines := [f"{_key(tuple(error.path)) or 'its table'}: {error.message}" for error in errors]:
        raise BadSettingsError("\n".join(lines))
    return MappingProxyType(dict(table))


def _key(path: tuple[int | str, ...]) -> str:
    return ".".join(map(str, path))


_UNSAID: Final = "(it cannot be shown)"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a stranger's exception may fail at anything
        return _UNSAID


def bad(error: BaseException, source: Mapping[str, str]) -> BadPluginError:
    """Return what a plugin raised, with the place in its own code where that was known."""
    found = f"{type(error).__name__}: {_said(error)}".removesuffix(": ")
    if isinstance(error, SyntaxError):
        return BadPluginError(found, f"{error.filename}:{error.lineno}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == source.get("path")] or [
        frame for frame in frames if "importlib" not in frame.filename and "pluggy" not in frame.filename
    ]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else source.get("path", "")
    trace = "".join(traceback.format_exception(error)) if _said(error) != _UNSAID else ""
    return BadPluginError(found, where, trace)


def _line_of(function: Any) -> str:  # noqa: ANN401 - a function of the plugin
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


# ---- The process: serves one call after the other -------------------------------------------------------------------


_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_NICE: Final = 10  # a conversion that takes minutes must not slow the service down
_FIRST_VICTIM: Final = "1000"  # proc(5), oom_score_adj: rather this process than the daemon
_FASTEST_GROWTH: Final = 4 << 30  # bytes a second: faster than programs fill memory
_LOOK_SECONDS: Final = (0.1, 1.0)  # between two looks at the memory: at least, at most
_LOOK_SHARE: Final = 0.05  # of the time, at most, goes into looking


def main() -> None:
    """Serve until the daemon hangs up. Arguments: the socket's descriptor, and the plugin as JSON.

    Two processes: the first runs none of the plugin's code. It waits for the daemon to hang up, for the second to end, or
    until the plugin has more memory than it may have, and then ends whatever the plugin has started, wherever that went.
    """
    task = json.loads(sys.argv[2])
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    _take_in_orphans()
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)  # what the plugin does to its group does not reach the one that watches
        _take_in_orphans()
        _serve(line, task)
    else:
        _guard(line, worker, task["limits"]["memory_bytes"])


def _take_in_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _guard(line: socket.socket, worker: int, most_bytes: int) -> None:
    """Wait for the end of either side, or for too much memory (0: never); end the rest; end as the worker ended."""
    ended = os.pidfd_open(worker)
    poll = select.poll()
    poll.register(line.fileno(), select.POLLRDHUP)
    poll.register(ended, select.POLLIN)
    within = _waited(poll, most_bytes)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)  # no more than a zombie, if it ended by itself
    _, status = os.waitpid(worker, 0)
    end_below(os.getpid())
    _end_as(os.waitstatus_to_exitcode(status) if within else OVER_MEMORY)


def _waited(poll: select.poll, most_bytes: int) -> bool:
    """Wait for an event. Return False as soon as the processes below have more memory than they may have together."""
    seconds = 0.0
    while not poll.poll(seconds * 1000 if most_bytes else None):
        began = time.monotonic()
        used = used_bytes(descendants(os.getpid()), most_bytes)
        if used > most_bytes:
            return False
        soonest, latest = _LOOK_SECONDS
        soonest = max(soonest, (time.monotonic() - began) / _LOOK_SHARE)
        seconds = max(soonest, min(latest, (most_bytes - used) / _FASTEST_GROWTH))
    return True


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
    """Return whether processes that the plugin started still run, wherever they went (they come back to the subreaper)."""
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
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as knob:  # noqa: PTH123 - no path to speak of
        knob.write(_FIRST_VICTIM)


if __name__ == "__main__":
    main()
