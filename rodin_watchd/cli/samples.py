"""Samples for plugins: sets, jobs and events as the service has them, with their files. They are made when they are asked for.

`plugins try` and the fixtures of `rodin_watchd.testing` use them. A set is a model and an image that come with the emulator; its
result is made by the emulator.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from hashlib import sha256
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rodin_watchd import __version__
from rodin_watchd.cli.context import needs_emulator
from rodin_watchd.core.kinds import DEFAULT, KINDS
from rodin_watchd.core.layout import FAILED, INBOX, OUTBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.notifications import public_job, public_set
from rodin_watchd.core.pairing import member_of
from rodin_watchd.core.receipt import receipt, report_text, report_toml
from rodin_watchd.errors import EmptyAccountError, FileRefusedError, OutcomeUnknownError, Problem
from rodin_watchd.model import InputFile, ResultFile, Role, Signature, State, Task
from rodin_watchd.model import Job as StoredJob
from rodin_watchd.v1 import Event, FileSet, Job, OptionValue, Waiting, to_data

if TYPE_CHECKING:
    from rodin_watchd.emulator.mesh_io import EmulatedFile

NAME: Final = "suzi"
"""What a sample set is called."""

_SAMPLES: Final[Mapping[Role, str]] = MappingProxyType({Role.MODEL: "suzi.glb", Role.IMAGE: "matcap-a.png"})
_NO_OPTIONS: Final[Mapping[str, OptionValue]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Taken:
    """A set that was taken, as hooks get it, and a folder with its files."""

    fileset: FileSet  # for `rodin_accept`
    job: Job  # for `rodin_options`
    directory: Path


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that has ended, and the folder that it left: a result in the outbox, or a failed set."""

    job: Job
    directory: Path


def taken(
    directory: Path, name: str = NAME, kind: str = DEFAULT.name, options: Mapping[str, OptionValue] = _NO_OPTIONS
) -> Taken:
    """Write a set into a new folder, and return it as `rodin_accept` gets it. Raises KeyError for a kind that there is not."""
    directory.mkdir(parents=True)
    for role, data in _contents(kind).items():
        (directory / _file_name(role, name)).write_bytes(data)
    return taken_from(directory, name, kind, options)


def taken_from(directory: Path, name: str, kind: str, options: Mapping[str, OptionValue]) -> Taken:
    """Return the set whose files are in a folder. Raises OSError."""
    members = [(path, member_of(path.name)) for path in sorted(directory.iterdir()) if path.is_file()]
    files = [_input(member.role, path.name, path.read_bytes()) for path, member in members if member]
    job = _job(State.CLAIMED, name, kind, files, options)
    return Taken(public_set(job, files), public_job(job), directory)


def finished(
    directory: Path, geometry_file_format: str = "glb", name: str = NAME, kind: str = DEFAULT.name
) -> Finished:
    """Make a finished result in a new folder, and return it with its job. Raises KeyError for a kind that there is not."""
    job = _with_result(State.DELIVERED, directory, geometry_file_format, name, kind)
    (directory / RECEIPT).write_text(receipt(job, __version__, time.time()), encoding="utf-8")
    return Finished(public_job(job), directory)


def _with_result(state: State, directory: Path, geometry_file_format: str, name: str, kind: str) -> StoredJob:
    """Make a result in a new folder, and return its job."""
    contents = _contents(kind)
    directory.mkdir(parents=True)
    results = []
    for file in _made(contents.get(Role.MODEL), _sample(Role.IMAGE), geometry_file_format):
        (directory / file.name).write_bytes(file.data)
        results.append(ResultFile(file.name, file.name, len(file.data), sha256(file.data).hexdigest()))
    options = {"geometry_file_format": geometry_file_format}
    return replace(
        _job(state, name, kind, _inputs(contents, name), options),
        task=Task("00000000-0000-4000-8000-000000000000", "", time.time()),
        charges=1,
        results=tuple(results),
        place=f"{OUTBOX}/{name}" if state is State.DELIVERED else "",
    )


def failed(directory: Path, name: str = NAME, kind: str = DEFAULT.name) -> Finished:
    """Make a failed set in a new folder, with its report, and return it with its job: its image cannot be used."""
    contents = _contents(kind)
    directory.mkdir(parents=True)
    for role, data in contents.items():
        (directory / _file_name(role, name)).write_bytes(data)
    image = _file_name(Role.IMAGE, name)
    problem = FileRefusedError(f"“{image}” cannot be used: it ends in the middle.").problem
    found = replace(_job(State.FAILED, name, kind, _inputs(contents, name)), problem=problem, place=f"{FAILED}/{name}")
    text = report_text(found, time.time(), UTC)
    (directory / REPORT).write_text(text, encoding="utf-8")
    (directory / REPORT_DATA).write_text(report_toml(found, __version__, time.time(), text=text), encoding="utf-8")
    return Finished(public_job(found), directory)


def held(name: str = NAME, kind: str = DEFAULT.name) -> Job:
    """Return a job whose submit may have been charged: a person decides."""
    job = _job(State.HELD, name, kind, _inputs(_contents(kind), name))
    return public_job(replace(job, problem=OutcomeUnknownError().problem, holds=1))


def waiting(name: str = NAME) -> Waiting:
    """Return a set that has lacked its image for long."""
    model = _file_name(Role.MODEL, name)
    return Waiting(name, "", (model,), f"waits for an image of the name “{name}”. Is it still coming?")


def event(kind: str, about: Job | Waiting | None = None, *, attempt: int = 1) -> Event:
    """Return an event as hooks get it: of a job (its state), of a set that waits ("waiting"), or of the service ("paused" …)."""
    code, subject = "", ""
    if isinstance(about, Job):
        words, code = f"{about.name}: {about.place}".removesuffix(": "), (about.problem.code if about.problem else "")
    elif about:
        words = f"{about.name}: {about.reason}"
    else:
        words, subject, code = _SERVICE.get(kind, (f"A sample of an event “{kind}”.", "", ""))
    now = time.time()
    return Event(f"sample-{kind}-{now:.6f}", kind, now, words, attempt, subject, code)


_NO_CREDITS: Final[Problem] = EmptyAccountError().problem
_SERVICE: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "paused": (f"submit: {_NO_CREDITS.message}", "submit", _NO_CREDITS.code),
        "resumed": ("submit: This has ended.", "submit", _NO_CREDITS.code),
        "low-balance": ("The account has 2 credits left: they pay 4 textures.", "balance", ""),
        "offline": ("outbox is not there.", "outbox", "share-gone"),
        "online": ("outbox is there again.", "outbox", ""),
        "plugin-aside": (
            "The plugin notify failed 5 times in a row in rodin_delivered and is not called for a while.",
            "notify",
            "plugin-failed",
        ),
    }
)
"""Events of the service: words, subject, code."""

SERVICE_KINDS: Final[Sequence[str]] = tuple(_SERVICE)
"""The kinds of events of the service that there are samples of."""


def arguments_of(hook: str, folder: Path, kind: str = DEFAULT.name) -> dict[str, Any]:
    """Return what a hook is called with, as values of `rodin_watchd.v1`; its files are written into a new folder in `folder`.

    Raises KeyError for a hook that there is not.
    """
    return _ARGUMENTS[hook](folder / hook, kind)


def _of_accept(folder: Path, kind: str) -> dict[str, Any]:
    found = taken(folder, kind=kind)
    return {"fileset": found.fileset, "directory": found.directory}


def _of_options(folder: Path, kind: str) -> dict[str, Any]:
    found = taken(folder, kind=kind)
    return {"job": found.job, "options": dict(found.job.options), "directory": found.directory}


def _of_process(folder: Path, kind: str) -> dict[str, Any]:
    job = _with_result(State.DOWNLOADED, folder, "glb", NAME, kind)
    return {"job": public_job(job), "directory": folder}


def _of_delivered(folder: Path, kind: str) -> dict[str, Any]:
    return _announced(finished(folder, kind=kind))


def _of_chosen(folder: Path, kind: str) -> dict[str, Any]:
    found = finished(folder, kind=kind)
    job = replace(found.job, batch=found.job.id, variant="seed-1", chosen=True)
    return {"job": job, "directory": found.directory, "event": event("chosen", job)}


def _of_failed(folder: Path, kind: str) -> dict[str, Any]:
    return _announced(failed(folder, kind=kind))


def _announced(found: Finished) -> dict[str, Any]:
    return {"job": found.job, "directory": found.directory, "event": event(found.job.state, found.job)}


def _of_held(_folder: Path, kind: str) -> dict[str, Any]:
    job = held(kind=kind)
    return {"job": job, "event": event(job.state, job)}


def _of_waiting(_folder: Path, _kind: str) -> dict[str, Any]:
    found = waiting()
    return {"waiting": found, "event": event("waiting", found)}


_ARGUMENTS: Final[Mapping[str, Callable[[Path, str], dict[str, Any]]]] = MappingProxyType(
    {
        "rodin_configure": lambda _folder, _kind: {},
        "rodin_accept": _of_accept,
        "rodin_options": _of_options,
        "rodin_process": _of_process,
        "rodin_delivered": _of_delivered,
        "rodin_failed": _of_failed,
        "rodin_held": _of_held,
        "rodin_chosen": _of_chosen,
        "rodin_waiting": _of_waiting,
        "rodin_service": lambda _folder, _kind: {"event": event(SERVICE_KINDS[0])},
    }
)


def as_data(value: Any) -> Any:  # noqa: ANN401 - a hook's argument in, JSON out
    """Return what a hook is called with as the plugin's process is sent it."""
    if isinstance(value, Job | Event | FileSet | Waiting):
        return to_data(value)
    return str(value) if isinstance(value, Path) else value


# ---- What samples are made of ---------------------------------------------------------------------------------------


def _contents(kind: str) -> dict[Role, bytes]:
    return {role: _sample(role) for role in KINDS[kind].roles}


def _sample(role: Role) -> bytes:
    return (resources.files("rodin_watchd.emulator") / "samples" / _SAMPLES[role]).read_bytes()


def _file_name(role: Role, name: str) -> str:
    return f"{name}{Path(_SAMPLES[role]).suffix}"


def _inputs(contents: Mapping[Role, bytes], name: str) -> tuple[InputFile, ...]:
    return tuple(_input(role, _file_name(role, name), data) for role, data in contents.items())


def _input(role: Role, name: str, data: bytes) -> InputFile:
    return InputFile(role, f"{INBOX}/{name}", Signature(len(data), 0, 0), sha256=sha256(data).hexdigest())


def _job(
    state: State,
    name: str,
    kind: str,
    files: Sequence[InputFile],
    options: Mapping[str, OptionValue] = _NO_OPTIONS,
) -> StoredJob:
    return StoredJob(
        id="0123456789ab",
        name=name,
        folder="",
        state=state,
        files=tuple(files),
        options=dict(options),
        created_at=time.time(),
        kind=kind,
    )


@functools.cache
def _made(model: bytes | None, image: bytes, geometry_file_format: str) -> tuple[EmulatedFile, ...]:
    """Return what the emulator makes of it; once for all samples of a process. Raises ConfigError where it is not installed."""
    with needs_emulator():
        from rodin_watchd.emulator.orders import Order  # noqa: PLC0415 - an optional extra
        from rodin_watchd.emulator.tasks import make  # noqa: PLC0415 - the same
    return make(Order(model, image, geometry_file_format, ("PBR",), "Basic", {}, None, ""))
