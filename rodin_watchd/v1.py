"""The API for plugins, version 1: the marker `hookimpl`, and the frozen values that hooks receive.

A plugin imports this module and no other of the project. Within version 1 names stay and nothing is removed; values may
gain fields. Every value is plain data, because plugins run in processes of their own: `to_data` makes JSON of it, and
`of_data` makes the value again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeAlias, TypeVar

import pluggy

__all__ = [
    "GROUP",
    "Event",
    "File",
    "FileSet",
    "Job",
    "OptionValue",
    "Problem",
    "Refusal",
    "Settings",
    "Waiting",
    "hookimpl",
]

GROUP: Final = "rodin_watchd.v1"
"""The group of entry points under which an installed package names its plugins."""

hookimpl = pluggy.HookimplMarker("rodin_watchd")
"""Marks a function of a plugin as the implementation of the hook with its name."""

OptionValue: TypeAlias = str | int | float
"""A value of one of the vendor's options."""

Settings: TypeAlias = Any
"""An instance of the plugin's own `Settings` model; a read-only mapping for a plugin without one."""

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a set, or of a result."""

    name: str  # of a result with folders in it: with "/"
    size: int  # bytes
    sha256: str = ""  # hex; "" where it is not known yet
    role: str = ""  # of a set's file: "model", "image", "sidecar", "then_image", "other_model" or "other_image"
    changed: bool = False  # of a set's file: a program has changed it after it was taken; `sha256` is of what was sent


@dataclass(frozen=True, slots=True)
class FileSet:
    """A dropped set that is complete and was taken, before anything is sent."""

    name: str
    folder: str  # below the inbox, "" for the inbox itself
    files: tuple[File, ...]
    options: Mapping[str, OptionValue]
    kind: str = "texture"  # what is to be made of it


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plugin refuses a set; what `rodin_accept` returns. Plain text: people read at most 1000 characters of each."""

    reason: str  # what is wrong with the set, in a sentence
    advice: str = ""  # what whoever dropped the set can do; "": correct the files and drop the set again


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a job failed or is held."""

    code: str  # a stable machine word
    fault: str  # who can correct it: files, account, vendor, network, machine, owner, nobody
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Job:
    """One set on its way."""

    id: str
    name: str
    folder: str  # below the inbox; mirrored below outbox, failed and archive
    state: str
    options: Mapping[str, OptionValue]
    files: tuple[File, ...]
    created_at: float  # UTC epoch seconds
    results: tuple[File, ...] = ()
    credits: str = "0"  # what it is known to have cost, as a decimal number
    task: str = ""  # the vendor's id
    place: str = ""  # where it was published or buried, relative to the service's root
    problem: Problem | None = None
    kind: str = "texture"  # what is made of it
    batch: str = ""  # of a set that makes several jobs: the id of the one that went ahead, which all of them have
    variant: str = ""  # which of them it is, and the name of its folder
    chosen: bool = False  # whether a person has chosen it among them


@dataclass(frozen=True, slots=True)
class Waiting:
    """A set that has been incomplete for long."""

    name: str
    folder: str
    files: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people may want to know; sent at least once, and each time with the same id."""

    id: str
    kind: str  # delivered, failed, held, chosen, unchosen, waiting; or of the service: paused, resumed, low-balance, alarm, …
    at: float  # UTC epoch seconds
    message: str  # a sentence for people
    attempt: int = 1  # counts the times it was sent to this plugin, from 1 again when a person repeats it
    subject: str = ""  # of the service: what it is about (a lane, a folder, a plugin, …), a stable machine word
    code: str = ""  # of the error that it is about, a stable machine word; "" where it is about none


_NESTED: Final[Mapping[type, Mapping[str, type]]] = {
    FileSet: {"files": File},
    Job: {"files": File, "results": File, "problem": Problem},
}


def to_data(value: File | FileSet | Job | Waiting | Event | Refusal) -> dict[str, Any]:
    """Return a value as JSON can hold it."""
    return asdict(value)


def of_data(kind: type[_Value], data: Mapping[str, Any]) -> _Value:
    """Return the value that `to_data` was given; fields that this version does not know are left out."""
    nested = _NESTED.get(kind, {})
    known = {f.name for f in fields(kind)} & data.keys()  # type: ignore[arg-type]  # every kind is a dataclass
    return kind(**{name: _part(data[name], nested.get(name)) for name in known})


def _part(data: Any, kind: type | None) -> Any:  # noqa: ANN401 - JSON in, a field's value out
    if isinstance(data, list | tuple):
        return tuple(of_data(kind, part) if kind else part for part in data)
    return of_data(kind, data) if kind and data is not None else data
