"""A set's own files on their way between the inbox, the work folder, `archive/` and `failed/`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.adapters.images import MOST_BYTES
from rodin_watchd.adapters.spool import Place, Spool
from rodin_watchd.adapters.spool.beneath import disk_errors, write_durably
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.errors import ChangedWhileTakenError, FilesError
from rodin_watchd.model import InputFile, Job


@dataclass(frozen=True, slots=True)
class Left:
    """Why a file is not with the others of its set, and what lies there now."""

    why: str
    now: str


def left_behind(spool: Spool, job: Job, file: InputFile) -> Left | None:
    """Take a file if it can be had, or return why it is not with the others."""
    if file.shared and file.signature.size > MOST_BYTES:  # no copy of what no set can use; the last set moves it
        why = f"“{printable(file.name)}” is very large, and other sets name it as well."
        return Left(why, "It was left where it is.")
    try:
        spool.take(job.id, file)
    except ChangedWhileTakenError as error:
        return Left(error.message, "What lies there now was left where it is.")
    except FilesError as error:
        return Left(error.message, "It was left where it is.")
    return None


def remove_set_folder(spool: Spool, job: Job) -> None:
    """Remove the emptied folder of a set that was dropped as a folder."""
    homes = {f.source.rpartition("/")[0] for f in job.files}
    home = "/".join(filter(None, (INBOX, job.folder, job.name)))
    if homes == {home}:
        spool.clear_leftovers(home)


def put_away(spool: Spool, job: Job, top: str, texts: Mapping[str, str]) -> str:
    """Publish a job's inputs with these texts beside them, forget its work, return the place. May be repeated."""
    source = spool.inputs(job.id)
    spool.make(source)
    write_beside(source, texts)
    place = spool.publish(job, source, Place(top, job.folder, job.name))
    _remove_texts(source, texts)
    spool.forget(job.id)
    return place


def write_beside(folder: Path, texts: Mapping[str, str]) -> None:
    """Write a receipt or report into a folder that is to be published; none there: it was published before."""
    if not folder.is_dir():
        return
    with disk_errors(f"{folder} cannot be written"):
        for name, text in texts.items():
            write_durably(folder / name, text.encode())


def _remove_texts(source: Path, texts: Mapping[str, str]) -> None:
    """Remove what was written in vain, because the folder had been published before a crash."""
    for name in texts:
        (source / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # gone by the rename; or not empty, then it stays
        source.rmdir()
