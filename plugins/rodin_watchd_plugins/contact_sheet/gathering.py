"""What is in a folder: the newest results, what their receipts say, and their previews."""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from rodin_watchd_plugins.contact_sheet.publishing import Folder
from rodin_watchd_plugins.contact_sheet.thumbnails import Preview, is_picture

RECEIPT: Final = "job.toml"
PREVIEWS: Final = ("preview.webp", "preview.png", "preview.jpg", "preview.jpeg")
MOST_FOLDERS: Final = 100_000
"""So many folders are looked at, results or not."""

_RECEIPT_BYTES: Final = 1 << 20
_MOST_DOTS: Final = 1000
_LEADS_OUT: Final = frozenset({"", ".", ".."})
_NOT_OURS: Final = (PermissionError, FileNotFoundError, NotADirectoryError)
"""Why a folder below cannot be looked at: it is closed to the service, or has just gone."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a result."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """A published result."""

    path: str  # of its folder, below the one that was looked through
    at: datetime
    credits: Decimal | None
    files: tuple[File, ...]
    preview: Preview | None
    is_chosen: bool = False  # by a person, among those of its set

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The folder that it is in, "" for the one that was looked through."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is shown of a folder; equal ones make equal pages."""

    results: tuple[Result, ...]  # the newest first
    count: int  # of all results that were found
    is_all: bool = True  # whether every folder was looked at


class _Job(BaseModel):
    written_at: AwareDatetime
    credits: Annotated[Decimal, Field(ge=0, le=1_000_000)] | None = None
    chosen: bool = False


class _File(BaseModel):
    name: str
    bytes: Annotated[int, Field(ge=0)]


class _Receipt(BaseModel):
    """What is read of a receipt, which anybody may have written."""

    job: _Job
    results: Annotated[list[_File], Field(max_length=10_000)] = []


def is_result(folder: int, path: str) -> bool:
    """Return whether a folder below an open one is a result; links are not."""
    return _receipt_age(folder, path) is not None


def gathered(
    folder: Folder, newest: int, can_show: Callable[[Preview], bool] = is_picture, *, depth: int = 0
) -> Gathered:
    """Return the newest results in a folder, and in folders below down to `depth`; of all others, only the receipts' ages are read.

    `can_show` says whether a preview is a picture. Hidden folders and links are not looked at. Raises OSError.
    """
    looked_at = 0
    ages = []
    for age, path in _found(folder.descriptor, depth):
        looked_at += 1
        if looked_at > MOST_FOLDERS:
            break
        if age is not None:
            ages.append((age, path))
    found = (_result(folder, path, can_show) for _, path in heapq.nlargest(newest, ages))
    results = sorted((result for result in found if result), key=lambda result: (result.at, result.path), reverse=True)
    return Gathered(tuple(results), len(ages), looked_at <= MOST_FOLDERS)


def _found(folder: int, depth: int) -> Iterator[tuple[int | None, str]]:
    """Yield the folders below, each with the age of its receipt; a result has one, and nothing in it is looked at."""
    for above, names, _, holder in os.fwalk(".", dir_fd=folder, onerror=_raise_on):
        inside = os.path.normpath(above)
        deeper = []
        for name in names:
            if name.startswith("."):
                continue
            age = _receipt_age(holder, name)
            yield age, name if inside == "." else f"{inside}/{name}"
            if age is None:
                deeper.append(name)
        names[:] = deeper if inside.count("/") + (inside != ".") < depth else []


def _raise_on(error: OSError) -> None:
    if not isinstance(error, _NOT_OURS):
        raise error


def _receipt_age(folder: int, path: str) -> int | None:
    try:
        status = os.stat(f"{path}/{RECEIPT}", dir_fd=folder, follow_symlinks=False)
        is_folder = stat.S_ISDIR(os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return None
    return status.st_mtime_ns if is_folder and stat.S_ISREG(status.st_mode) else None


def _result(folder: Folder, path: str, can_show: Callable[[Preview], bool]) -> Result | None:
    """Return a result; None, with a word about it, when its receipt cannot be understood or it has just gone."""
    try:
        with folder.reading(f"{path}/{RECEIPT}") as stream:
            receipt = _Receipt.model_validate(_loaded(stream.read(_RECEIPT_BYTES).decode()))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        print(f"{path!r} is left out: {RECEIPT}: {type(error).__name__}")  # noqa: T201 - a plugin's log
        return None
    files = tuple(File(file.name, file.bytes) for file in receipt.results if not _LEADS_OUT & {*file.name.split("/")})
    preview = next(filter(can_show, _previews(folder, path, files)), None)
    return Result(path, receipt.job.written_at, receipt.job.credits, files, preview, receipt.job.chosen)


def _loaded(text: str) -> dict[str, Any]:
    """Return what a receipt holds. Raises ValueError, RecursionError: anybody may have written it."""
    if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
        raise ValueError("a key of far too many parts: the parser takes an hour for half a million")
    return tomllib.loads(text)


def _previews(folder: Folder, path: str, files: Iterable[File]) -> Iterator[Preview]:
    """Yield the previews of a result; those in its own folders, which its receipt names, last."""
    deeper = [file.name for file in files if "/" in file.name and file.name.rpartition("/")[2] in PREVIEWS]
    for name in (*PREVIEWS, *deeper):
        with contextlib.suppress(OSError, ValueError), folder.reading(f"{path}/{name}") as stream:
            status = os.fstat(stream.fileno())
            yield Preview(str(folder.path), f"{path}/{name}", name, status.st_size, status.st_mtime_ns, status.st_ino)
