"""For the tests of plugins: pytest fixtures with sets, jobs, results, events, the emulated vendor, and your plugin at work.

Put `pytest_plugins = ["rodin_watchd.testing"]` into your `conftest.py`. The result is made by the emulator (the extra
`emulator` has to be installed): a textured or a new model with its preview, as the service puts it into the outbox. A plugin runs
as in the service: in a process of its own, with the same limits.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import pytest

from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost, PluginSource, ProcessLimits, Ready, clean_environ
from rodin_watchd.cli.samples import (
    NAME,
    Finished,
    Taken,
    arguments_of,
    as_data,
    event,
    failed,
    finished,
    held,
    taken,
    waiting,
)
from rodin_watchd.core.sidecar import read_sidecar
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.v1 import Event, FileSet, Job

__all__ = [
    "Arguments",
    "Finish",
    "Finished",
    "OpenPlugin",
    "PluginUnderTest",
    "Taken",
    "arguments_of",
    "event",
    "failed",
    "finished",
    "held",
    "loading",
    "rodin_arguments",
    "rodin_emulator",
    "rodin_event",
    "rodin_failed_set",
    "rodin_fileset",
    "rodin_finish",
    "rodin_finished",
    "rodin_inputs",
    "rodin_job",
    "rodin_plugin",
    "rodin_result",
    "rodin_taken",
    "set_keys",
    "taken",
    "waiting",
]

_LIMITS = ProcessLimits(memory_bytes=4 << 30, file_bytes=4 << 30, start_seconds=60.0)


class PluginUnderTest:
    """A plugin in a process of its own, as the service runs it."""

    def __init__(self, host: PluginHost, name: str, settings: Mapping[str, Any]) -> None:
        self._host = host
        self._name = name
        self._settings = settings
        self.hooks = host.load(name).hooks
        self.output = ""  # what it printed in the newest call
        host.check(name, settings, {}, _LIMITS.start_seconds)

    def call(
        self,
        hook: str,
        *,
        own: Mapping[str, Any] = MappingProxyType({}),
        seconds: float = 60.0,
        **arguments: Any,  # noqa: ANN401 - what the hook takes
    ) -> Any:  # noqa: ANN401 - what the hook returns
        """Call a hook with values of `rodin_watchd.v1`, and paths; return what it returns, as JSON has it.

        `own` is what the set's own TOML file says to the plugin (`set_keys`). Raises PluginError with what went wrong
        (`error.output` has what the plugin printed).
        """
        data = {name: as_data(value) for name, value in arguments.items()}
        reply = self._host.call(PluginCall(self._name, hook, data, self._settings, seconds, own))
        self.output = reply.output
        return reply.value

    def close(self) -> None:
        """End the plugin's process, as a stop of the service does."""
        self._host.close()


OpenPlugin: TypeAlias = Callable[..., PluginUnderTest]


@pytest.fixture
def rodin_plugin(tmp_path: Path) -> Iterator[OpenPlugin]:
    """Give a function that loads a plugin: `rodin_plugin("path/to/plugin.py", key="value of its table")`.

    Instead of a file it takes what an entry point would name (`package.module`). Raises PluginError for a plugin that
    cannot be loaded, or settings that it refuses.
    """
    with loading(tmp_path) as load:
        yield load


@contextlib.contextmanager
def loading(folder: Path) -> Iterator[OpenPlugin]:
    """Give what `rodin_plugin` gives, for a fixture of your own that keeps a plugin for many tests.

    The plugins' scratch space is in the folder; all of them are ended in the end.
    """
    with contextlib.ExitStack() as stack:

        def load(code: str | Path, **settings: Any) -> PluginUnderTest:  # noqa: ANN401 - the plugin's own settings
            path = Path(code)
            name = path.stem if path.suffix == ".py" else str(code).rpartition(".")[2]
            source = PluginSource(name, path=str(path)) if path.suffix == ".py" else PluginSource(name, entry=str(code))
            room = Path(tempfile.mkdtemp(prefix="plugin-", dir=folder))
            environ = {**clean_environ(os.environ, ()), "XDG_STATE_HOME": str(room / "state")}
            host = PluginHost([Ready(source, _LIMITS, settings)], 1, environ, room / "scratch")
            stack.enter_context(contextlib.closing(host))
            return PluginUnderTest(host, name, settings)

        yield load


@pytest.fixture
def rodin_result(rodin_finished: Finished) -> Path:
    """Give the folder of a finished result: a textured model (`base_basic_pbr.glb`), `preview.webp` and the receipt `job.toml`."""
    return rodin_finished.directory


@pytest.fixture
def rodin_job(rodin_finished: Finished) -> Job:
    """Give the job of the finished result."""
    return rodin_finished.job


@pytest.fixture
def rodin_finished(tmp_path: Path) -> Finished:
    """Give a finished job and its result together."""
    return finished(tmp_path / "outbox" / NAME)


@pytest.fixture
def rodin_fileset(rodin_taken: Taken) -> FileSet:
    """Give a set that was taken, for `rodin_accept`."""
    return rodin_taken.fileset


@pytest.fixture
def rodin_inputs(rodin_taken: Taken) -> Path:
    """Give the folder with the files of that set: a model and an image."""
    return rodin_taken.directory


@pytest.fixture
def rodin_taken(tmp_path: Path) -> Taken:
    """Give a set that was taken, its job (for `rodin_options`) and the folder with its files together."""
    return taken(tmp_path / "taken" / NAME)


@pytest.fixture
def rodin_failed_set(tmp_path: Path) -> Finished:
    """Give a job that failed, and its folder in `failed/`: the set's files, `REPORT.txt` and `report.toml`."""
    return failed(tmp_path / "failed" / NAME)


@pytest.fixture
def rodin_event(rodin_finished: Finished) -> Event:
    """Give the event that the finished job was delivered; `event` makes others."""
    return event("delivered", rodin_finished.job)


Arguments: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture
def rodin_arguments(tmp_path: Path) -> Arguments:
    """Give a function that makes what a hook is called with: `plugin.call("rodin_held", **rodin_arguments("rodin_held"))`.

    A second argument is the kind of job ("texture", "generate"). All files are new ones, made for the call.
    """

    def make(hook: str, *kind: str) -> dict[str, Any]:
        return arguments_of(hook, Path(tempfile.mkdtemp(prefix="arguments-", dir=tmp_path)), *kind)

    return make


def set_keys(plugin: str, toml: str) -> Mapping[str, Any]:
    """Return what a set's TOML file says to a plugin, for `call(..., own=…)`.

    Raises SidecarError for a text that would refuse the set.
    """
    return read_sidecar(toml.encode(), f"{NAME}.toml", frozenset({plugin})).plugins.get(plugin, {})


Finish: TypeAlias = Callable[[str], Finished]


@pytest.fixture
def rodin_finish(tmp_path: Path) -> Finish:
    """Give a function that makes a finished job of a kind, and its result: `rodin_finish("generate")` for a new model."""
    return lambda kind: finished(tmp_path / "outbox" / kind, name=kind, kind=kind)


@pytest.fixture
def rodin_emulator() -> Iterator[Emulator]:
    """Give a running emulator of the vendor: its tasks are done at once, `base_url` is its address."""
    with Emulator(EmulatorSettings(preview_pixels=64, instant=True)) as emulator:
        yield emulator
