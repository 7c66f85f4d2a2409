"""A set's own files on their way between the inbox, the work folder, `archive/` and `failed/`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import stat
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from rodin_watchd.adapters.images import MOST_BYTES, why_undecodable
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.adapters.spool.beneath import disk_errors, folder_beneath, part_of, signature_of, write_whole_in
from rodin_watchd.adapters.spool.moving import Destination
from rodin_watchd.core.formats import Wholeness, examine
from rodin_watchd.core.layout import INBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import printable, split_name
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    FileRefusedError,
    FilesError,
    GoneWhileTakenError,
    OutcomeUnknownError,
    UnfinishedFileError,
)
from rodin_watchd.model import InputFile, Job, Role, State

log = logging.getLogger("rodin_watchd")

_TURN = {role: turn for turn, role in enumerate(Role)}


IMAGES = (Role.IMAGE, Role.THEN_IMAGE, Role.OTHER_IMAGE)


def refuse_unfit(file: InputFile, path: Path) -> tuple[str, ...]:
    """Judge a file by all of its content, and return what of it may make the vendor fail. Raises FilesError, DiskError.

    May be repeated, also after the purchase: to find out why a task has failed.
    """
    if file.role is Role.SIDECAR:
        return ()
    name = printable(file.name)
    with disk_errors(f"{path} cannot be read"), path.open("rb") as stream:
        verdict = examine(split_name(file.name)[1], stream, file.signature.size)
        if verdict.wholeness is Wholeness.WRONG:
            raise FileRefusedError(f"“{name}” cannot be used: {verdict.detail}.")
        if verdict.wholeness is Wholeness.UNFINISHED:
            raise UnfinishedFileError(f"“{name}” is not complete: {verdict.detail}.")
        if file.role in IMAGES and (why := why_undecodable(path)):
            raise FileRefusedError(f"“{name}” is not a usable image: {why}.")
    return verdict.warnings


def in_order(job: Job) -> Sequence[InputFile]:
    """Return a set's files in the order in which they are taken: first what no other set names.

    The first one decides whose the set is: who finds it gone, and has taken nothing, leaves the others where they are.
    """
    return sorted(job.files, key=lambda file: (file.shared, _TURN[file.role]))


def is_left_to_others(spool: Spool, job: Job) -> bool:
    """Return whether nothing of a set in the inbox was taken, and its first file is gone or another one. Raises DiskError.

    Somebody has moved or replaced it meanwhile, or another service has taken it.
    """
    if job.problem and job.problem.code == OutcomeUnknownError.code:
        return False  # a set that may have been paid for gets its report
    first = in_order(job)[0]
    is_dropped = first.source.startswith(f"{INBOX}/") and State.STAGED not in job.times
    if (
        (first.shared and not job.originals)
        or not is_dropped
        or any(spool.has_taken(job.id, file) for file in job.files)
    ):
        return False
    try:
        spool.take(job.id, first)
    except GoneWhileTakenError:
        return True
    except FilesError:
        pass
    return False


@dataclass(frozen=True, slots=True)
class Left:
    """Why a file is not with the others of its set, and what is there now."""

    why: str
    now: str


def left_alone(_spool: Spool, job: Job, file: InputFile) -> Left | None:
    """Say of a file of a set that was left to others that it was not touched; None of the first, which is gone."""
    return None if file is in_order(job)[0] else Left("", f"“{printable(file.name)}” stays where it is.")


def left_behind(spool: Spool, job: Job, file: InputFile) -> Left | None:
    """Take a file if it can be had, or return why it is not with the others."""
    if file.shared and file.signature.size > MOST_BYTES:  # no copy of what no set can use
        why = f"“{printable(file.name)}” is very large, and would be copied, not moved."
        return Left(why, "It stays where it is.")
    try:
        spool.take(job.id, file, as_it_is=True)
    except ChangedWhileTakenError as error:
        return Left(error.message, "The file that is there now stays.")
    except FilesError as error:
        return Left(error.message, "It stays where it is.")
    return None


def noting_changes(spool: Spool, job: Job) -> Job:
    """Note which files of a set were changed after they were taken: what was sent is not what is archived.

    A program that had one open may go on with it wherever it was moved. The digest is taken again where size or time differ.
    Raises DiskError.
    """
    files = tuple(replace(file, changed=_changed(spool.inputs(job.id) / file.name, file)) for file in job.files)
    for before, file in zip(job.files, files, strict=True):
        if file.changed != before.changed:
            message = "changed-input: “%s” was changed after it was taken; what was sent is not what is kept"
            log.warning(message, printable(file.name), extra={"action": "changed-input"})
    return replace(job, files=files)


def _changed(path: Path, file: InputFile) -> str:
    with disk_errors(f"{path} cannot be read"):
        try:
            status = path.lstat()
            if signature_of(status)[:2] == file.signature[:2] or not stat.S_ISREG(status.st_mode):
                return file.changed
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:  # archived before a crash, or somebody has cleaned up
            return file.changed
    return digest if digest != file.sha256 else ""


def remove_set_folder(spool: Spool, job: Job) -> None:
    """Remove the emptied folder of a set that was dropped as a folder."""
    homes = {f.source.rpartition("/")[0] for f in job.files}
    home = "/".join(filter(None, (INBOX, job.folder, job.name)))
    if homes == {home}:
        spool.clear_leftovers(home)
        spool.remove_emptied(home, {file.name for file in job.files})


def remove_emptied_folders(spool: Spool, job: Job) -> None:
    """Remove the folders of the inbox that a set has left empty, but for what operating systems lay into each folder."""
    names = {file.name for file in job.files}
    sources = {file.source.rpartition("/")[0] for file in job.files if file.source.startswith(f"{INBOX}/")}
    for folder in sources - {INBOX}:
        spool.remove_emptied(folder, names)


def put_away(spool: Spool, job: Job, top: str, texts: Mapping[str, str]) -> str:
    """Publish a job's inputs with these texts next to them, forget its work, return the place. May be repeated."""
    source = spool.inputs(job.id)
    spool.make(source)
    _remove_texts(source, {*texts, *(file.name for file in job.files)})
    write_beside(source, texts)
    place = spool.publish(job, source, Destination.of(top, job))
    spool.forget(job.id)
    return place


def _remove_texts(folder: Path, besides: AbstractSet[str]) -> None:
    """Remove the receipts and reports that were written for another end of the job, whole or cut, but for these names.

    A kill while a set is archived leaves one; an older journal, put back after it, may know of no result, and the set fails.
    """
    with disk_errors(f"{folder} cannot be written"):
        for name in {RECEIPT, REPORT, REPORT_DATA} - besides:
            for left in (name, part_of(name)):
                (folder / left).unlink(missing_ok=True)


def write_beside(folder: Path, texts: Mapping[str, str]) -> None:
    """Write a receipt or report into a folder that is to be published; none there: it was published before.

    Publishing makes it durable with the rest, and a crash before that has it written once more.
    """
    with (
        disk_errors(f"{folder} cannot be written"),
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        folder_beneath(folder, "") as opened,
    ):
        for name, text in texts.items():
            write_whole_in(opened, name, text.encode())
