"""Where a folder is published, and whether it was: names that are free, receipts that tell whose a folder is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import Anchor, file_beneath, folder_in
from rodin_watchd.adapters.spool.copying import Held, held_in
from rodin_watchd.adapters.spool.moving import COPY_PREFIX, move_folder
from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import match_key
from rodin_watchd.model import Job

NAME_LIMIT_BYTES = 255

RECEIPTS: Mapping[str, str] = {OUTBOX: RECEIPT, ARCHIVE: RECEIPT, FAILED: REPORT_DATA}
"""By top folder, the file in each published folder that tells which job it belongs to."""

TEXTS = (RECEIPT, REPORT, REPORT_DATA)  # a repetition writes them anew, with another time in them
_MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a folder is to be published: a top folder, the folder mirrored from the inbox, the set's name."""

    top: str
    folder: str
    name: str

    @property
    def parent(self) -> str:
        """The folder that it goes into, relative to the root."""
        return f"{self.top}/{self.folder}" if self.folder else self.top


def published_before(root: Path, into: int, job: Job, source: Path, place: Place) -> tuple[str, Held] | None:
    """Return the name in `into` under which this job was published before, if it was, and what it holds of `source`.

    Its receipt names the job and this retry of it, and it holds all that is left at `source`: a receipt alone can be a
    forgery, and must not make us forget what was paid for.
    """
    plain, mark = match_key(place.name), _mark(job.id)
    for there in os.listdir(into):
        if there.startswith(COPY_PREFIX) or (mark not in there and match_key(there) != plain):
            continue
        folder = f"{place.parent}/{there}"
        if told_by(root, f"{folder}/{RECEIPTS[place.top]}") == (job.id, job.retries):
            held = _held_in(into, there, source)
            if held is not None:
                return there, held
    return None


def _held_in(into: int, name: str, source: Path) -> Held | None:
    try:
        with folder_in(into, name) as folder:
            return held_in(folder, source, besides=TEXTS)
    except FileNotFoundError:  # somebody has just taken it away
        return None


def move_to_free_name(source: Path, into: int, job: Job, place: Place, dress: Callable[[int], None]) -> str:
    """Move a folder into `into` under the first name that nobody has, compared as artists compare; return the name.

    `dress` gives it the modes that it is to appear with.
    Raises OSError; FileExistsError when others were faster under each of the names.
    """
    taken = {match_key(name) for name in os.listdir(into)}
    for name in _names(place.name, job.id):
        if match_key(name) in taken:
            continue
        try:
            move_folder(source, into, name, dress)
        except FileExistsError:  # somebody was faster
            continue
        return name
    raise FileExistsError(place.name)


def move_stray(source: Path, into: int, name: str, dress: Callable[[int], None]) -> str:
    """Move a folder into `into` under this name, or this name and a number; return the name. Raises OSError."""
    taken = {match_key(there) for there in os.listdir(into)}
    for number in range(1, _MOST_NAMES):
        wanted = _with_suffix(name, "" if number == 1 else f"-{number}")
        if match_key(wanted) not in taken:
            move_folder(source, into, wanted, dress)
            return wanted
    raise FileExistsError(name)


def told_by(root: Path | Anchor, path: str) -> tuple[object, object] | None:
    """Return the job's id and retry that a receipt or report below `root` names; None when it cannot be read."""
    return job_named_in(contents(root, path))


def contents(root: Path | Anchor, path: str) -> bytes:
    """Return the bytes of a small file below `root`; none if it cannot be read."""
    try:
        with file_beneath(root, path) as descriptor, open(descriptor, "rb", closefd=False) as stream:
            return stream.read(1 << 20)
    except OSError:
        return b""


def job_named_in(data: bytes) -> tuple[object, object] | None:
    """Return the job's id and retry that a receipt or report names; None if it is none. Anybody may have written it."""
    try:
        job = tomllib.loads(data.decode())["job"]
        return job["id"], job["retries"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def report_digest_in(data: bytes) -> str:
    """Return what a `report.toml` says of the `REPORT.txt` beside it: the SHA-256 of its bytes, in hex; "" if nothing."""
    try:
        return str(tomllib.loads(data.decode())["report"]["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _names(name: str, job_id: str) -> Iterator[str]:
    """Yield the names that a job's folder may get, the most wanted first; all but the first hold the job's mark."""
    yield name
    for suffix in (_mark(job_id), f"-{job_id}", *(f"-{job_id}-{number}" for number in range(2, _MOST_NAMES))):
        yield _with_suffix(name, suffix)


def _mark(job_id: str) -> str:
    return f"-{job_id[:6]}"


def _with_suffix(name: str, suffix: str) -> str:
    """Add a suffix, within the length that filesystems take; no character is cut in two."""
    while len(os.fsencode(name + suffix)) > NAME_LIMIT_BYTES:
        name = name[:-1]
    return name + suffix
