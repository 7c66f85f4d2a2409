"""What is in a folder: the newest results, what their receipts say, and their previews."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from rodin_watchd_plugins.contact_sheet.publishing import Folder
from rodin_watchd_plugins.contact_sheet.thumbnails import Preview, is_picture

RECEIPT: Final = "job.toml"
PREVIEWS: Final = ("preview.webp", "preview.png", "preview.jpg", "preview.jpeg")

_RECEIPT_BYTES: Final = 1 << 20
_LEADS_OUT: Final = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class File:
    """A file of a result."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """A published result."""

    name: str  # of its folder
    at: datetime
    files: tuple[File, ...]
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is shown of a folder; equal ones make equal sheets."""

    results: tuple[Result, ...]  # the newest first
    count: int  # of all results in the folder


class _Job(BaseModel):
    written_at: AwareDatetime


class _File(BaseModel):
    name: str
    bytes: Annotated[int, Field(ge=0)]


class _Receipt(BaseModel):
    """What is read of a receipt, which anybody may have written."""

    job: _Job
    results: Annotated[list[_File], Field(max_length=10_000)] = []


def is_result(folder: int, name: str) -> bool:
    """Return whether a folder inside an open one is a result; links are not."""
    return _receipt_age(folder, name) is not None


def gathered(folder: Folder, newest: int) -> Gathered:
    """Return the newest results of a folder; of all others, only the receipts' ages are looked at. Raises OSError."""
    with os.scandir(folder.descriptor) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    ages = [(age, name) for name in names if (age := _receipt_age(folder.descriptor, name)) is not None]
    found = (_result(folder, name) for _, name in heapq.nlargest(newest, ages))
    results = sorted((result for result in found if result), key=lambda result: (result.at, result.name), reverse=True)
    return Gathered(tuple(results), len(ages))


def _receipt_age(folder: int, name: str) -> int | None:
    try:
        status = os.stat(f"{name}/{RECEIPT}", dir_fd=folder, follow_symlinks=False)
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return None
    return status.st_mtime_ns if is_folder and stat.S_ISREG(status.st_mode) else None


def _result(folder: Folder, name: str) -> Result | None:
    """Return a result; None, with a word about it, when its receipt cannot be understood or it has just gone."""
    try:
        receipt = _Receipt.model_validate(tomllib.loads(_text(folder.descriptor, f"{name}/{RECEIPT}")))
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        print(f"{name!r} is left out: {RECEIPT}: {type(error).__name__}")  # noqa: T201 - a plugin's log
        return None
    files = tuple(File(file.name, file.bytes) for file in receipt.results if not _LEADS_OUT & {*file.name.split("/")})
    return Result(name, receipt.job.written_at, files, next(_previews(folder, name, files), None))


def _previews(folder: Folder, name: str, files: Iterable[File]) -> Iterator[Preview]:
    """Yield the pictures of a result that can be shown; those in its own folders, which its receipt names, last."""
    deeper = [file.name for file in files if "/" in file.name and file.name.rpartition("/")[2] in PREVIEWS]
    for file in (*PREVIEWS, *deeper):
        with contextlib.suppress(OSError):
            if not _is_in_folders(folder.descriptor, f"{name}/{file}"):
                continue
            status = os.stat(f"{name}/{file}", dir_fd=folder.descriptor, follow_symlinks=False)
            preview = Preview(str(folder.path / name / file), file, status.st_size, status.st_mtime_ns, status.st_ino)
            if stat.S_ISREG(status.st_mode) and is_picture(preview):
                yield preview


def _is_in_folders(folder: int, path: str) -> bool:
    """Return whether a path leads through folders only, and through no link. Raises OSError."""
    above = (path[: slash.start()] for slash in re.finditer("/", path))
    return all(stat.S_ISDIR(os.stat(one, dir_fd=folder, follow_symlinks=False).st_mode) for one in above)


def _text(folder: int, path: str) -> str:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(path, flags, dir_fd=folder), "rb") as stream:  # noqa: PTH123 - a descriptor
        return stream.read(_RECEIPT_BYTES).decode()
