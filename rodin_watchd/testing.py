"""For the tests of plugins: pytest fixtures with a finished job, its result, the emulated vendor, and your plugin at work.

Put `pytest_plugins = ["rodin_watchd.testing"]` into your `conftest.py`. The result is made by the emulator (the extra
`emulator` has to be installed): a textured or a new model with its preview, as the service puts it into the outbox. A plugin runs
as in the service: in a process of its own, with the same limits.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import pytest

from rodin_watchd import __version__
from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost, PluginSource, ProcessLimits, Ready, clean_environ
from rodin_watchd.core.kinds import DEFAULT, KINDS
from rodin_watchd.core.notifications import public_job
from rodin_watchd.core.receipt import receipt
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.mesh_io import EmulatedFile
from rodin_watchd.emulator.orders import Order
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.emulator.tasks import make
from rodin_watchd.model import InputFile, ResultFile, Role, Signature, State, Task
from rodin_watchd.model import Job as StoredJob
from rodin_watchd.v1 import Event, FileSet, Job, Waiting

__all__ = [
    "Finish",
    "PluginUnderTest",
    "finished",
    "loading",
    "rodin_emulator",
    "rodin_finish",
    "rodin_job",
    "rodin_plugin",
    "rodin_result",
]

_LIMITS = ProcessLimits(memory_bytes=4 << 30, file_bytes=4 << 30, start_seconds=60.0)
_SAMPLES: Mapping[Role, str] = MappingProxyType({Role.MODEL: "suzi.glb", Role.IMAGE: "matcap-a.png"})
_VALUES = (Job, Event, FileSet, Waiting)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that was delivered, and the folder of its result."""

    job: Job
    directory: Path


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

        `own` is what the set's own TOML file says to the plugin. Raises PluginError with what went wrong
        (`error.output` has what the plugin printed).
        """
        data = {name: _data(value) for name, value in arguments.items()}
        reply = self._host.call(PluginCall(self._name, hook, data, self._settings, seconds, own))
        self.output = reply.output
        return reply.value

    def close(self) -> None:
        """End the plugin's process, as a stop of the service does."""
        self._host.close()


OpenPlugin: TypeAlias = Callable[..., PluginUnderTest]


def _data(value: Any) -> Any:  # noqa: ANN401 - a hook's argument in, JSON out
    if isinstance(value, _VALUES):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value


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
            environ = clean_environ(os.environ, ())
            scratch = Path(tempfile.mkdtemp(prefix="plugin-", dir=folder)) / "scratch"
            host = PluginHost([Ready(source, _LIMITS, settings)], 1, environ, scratch)
            stack.enter_context(contextlib.closing(host))
            return PluginUnderTest(host, name, settings)

        yield load


@pytest.fixture
def rodin_result(rodin_finished: Finished) -> Path:
    """Give the folder of a finished result: a textured `model.glb`, `preview.webp` and the receipt `job.toml`."""
    return rodin_finished.directory


@pytest.fixture
def rodin_job(rodin_finished: Finished) -> Job:
    """Give the job of the finished result."""
    return rodin_finished.job


@pytest.fixture
def rodin_finished(tmp_path: Path) -> Finished:
    """Give a finished job and its result together."""
    return finished(tmp_path / "outbox" / "suzi")


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


def finished(
    directory: Path, geometry_file_format: str = "glb", name: str = "suzi", kind: str = DEFAULT.name
) -> Finished:
    """Make a finished result in a new folder, and return it with its job. Raises KeyError for a kind that there is not."""
    samples = resources.files("rodin_watchd.emulator") / "samples"
    known = {role: (samples / sample).read_bytes() for role, sample in _SAMPLES.items()}
    data = {role: known[role] for role in KINDS[kind].roles}
    directory.mkdir(parents=True)
    results = []
    for file in _made(data.get(Role.MODEL), known[Role.IMAGE], geometry_file_format):
        (directory / file.name).write_bytes(file.data)
        results.append(ResultFile(file.name, file.name, len(file.data), sha256(file.data).hexdigest()))
    inputs = tuple(_input(role, f"{name}{Path(_SAMPLES[role]).suffix}", sample) for role, sample in data.items())
    job = StoredJob(
        id="0123456789ab",
        name=name,
        folder="",
        state=State.DELIVERED,
        files=inputs,
        options={"geometry_file_format": geometry_file_format},
        created_at=time.time(),
        task=Task("00000000-0000-4000-8000-000000000000", "", time.time()),
        charges=1,
        results=tuple(results),
        place=f"outbox/{name}",
        kind=kind,
    )
    (directory / "job.toml").write_text(receipt(job, __version__, time.time()))
    return Finished(public_job(job), directory)


@functools.cache
def _made(model: bytes | None, image: bytes, geometry_file_format: str) -> tuple[EmulatedFile, ...]:
    """Return what the emulator makes of it; once for all tests of a process."""
    return make(Order(model, image, geometry_file_format, ("PBR",), "Basic", {}, None, ""))


def _input(role: Role, name: str, data: bytes) -> InputFile:
    return InputFile(role, f"inbox/{name}", Signature(len(data), 0, 0), sha256=sha256(data).hexdigest())
