"""Moving whole folders into sight: durable before, by one rename, never onto anything, also from another filesystem."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rodin_watchd.adapters.spool.beneath import (
    Anchor,
    file_beneath,
    file_in,
    folder_beneath,
    folder_in,
    is_there,
    sync_folder,
)
from rodin_watchd.adapters.spool.copying import FolderCopy, Held, drop, held_in
from rodin_watchd.core.layout import ARCHIVE, ASIDE_PREFIX, FAILED, OUTBOX, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import match_key, safe_folder_name
from rodin_watchd.core.receipt import job_named_in
from rodin_watchd.core.toml_text import loaded
from rodin_watchd.errors import DiskError
from rodin_watchd.model import Job

COPY_PREFIX = ".rodin-"
"""What the name of a copy that is being made begins with: nobody sees it yet, even when it is whole."""

_MOST_NAMES = 100
_LONGEST_DISCARDED_BYTES = 1 << 20
_AT_FDCWD = -100  # renameat2(2)
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def move_folder(source: Path, into: int, name: str, set_access: Callable[[int], None]) -> None:
    """Give a folder a name in the open folder `into`: all of it is durable before it appears, and the name when this returns.

    `set_access` gives the open folder the modes that it is to appear with, and makes all of it durable. Crossing to another filesystem it is copied under a
    hidden name there first, and the source goes when the copy has its name and is whole. Whoever takes the folder away as
    soon as it appears does not disturb that. Raises FileExistsError when the name is taken, be it by an empty folder;
    DiskError when no whole copy can be made; OSError.
    """
    try:
        with folder_beneath(source, "") as folder:
            set_access(folder)
        rename_new(source, into, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        drop(source, _moved_by_copy(source, into, name, set_access))
    else:
        sync_folder(into)


def _moved_by_copy(source: Path, into: int, name: str, set_access: Callable[[int], None]) -> Held:
    """Give a copy of a folder its name, durably, and return what of the folder it holds."""
    hidden = f"{COPY_PREFIX}{source.parent.name}-{source.name}"
    shutil.rmtree(hidden, ignore_errors=True, dir_fd=into)
    try:
        os.mkdir(hidden, dir_fd=into)
        with folder_beneath(source, "") as old, folder_in(into, hidden) as new:
            copy = FolderCopy(old, new, set_access)
            copy.make(lambda: rename_new(hidden, into, name, folder=into))
            copy.mend()
            sync_folder(into)
            return copy.held
    except (OSError, DiskError):
        shutil.rmtree(hidden, ignore_errors=True, dir_fd=into)  # half a copy must not fill a disk that is full
        raise


def rename_new(source: Path | str, into: int, name: str, *, folder: int = _AT_FDCWD) -> None:
    """Rename `source` (in the open folder `folder`) to `name` in `into`. Raises FileExistsError if that is taken.

    For folders: plain rename(2) would silently take the place of an empty folder; where the system or the filesystem knows
    no better, that much is left to the caller's look before.
    """
    if not _renamed_new(source, folder, name, into):
        os.rename(source, name, src_dir_fd=None if folder == _AT_FDCWD else folder, dst_dir_fd=into)


def _renamed_new(source: Path | str, folder: int, name: str, into: int) -> bool:
    """Rename if the new name is free; False where the system or the filesystem cannot do that in one act. Raises OSError."""
    return _renamed_by(_RENAME_NOREPLACE, source, folder, name, into)


def _renamed_by(flag: int, source: Path | str, folder: int, name: str, into: int) -> bool:
    if _renameat2 is None:
        return False
    if _renameat2(folder, os.fsencode(source), into, os.fsencode(name), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), name)
    return False


def rename_file_new(source: str, folder: int, name: str, into: int) -> None:
    """Rename a file of the open folder `folder` to `name` in `into`, and never onto another file.

    Raises FileExistsError if the name is taken, OSError. Where no rename keeps from replacing, a second name is made and
    the first one removed.
    """
    if not _renamed_new(source, folder, name, into):
        os.link(source, name, src_dir_fd=folder, dst_dir_fd=into, follow_symlinks=False)
        os.unlink(source, dir_fd=folder)


def give_back(source: str, holder: int, name: str, folder: int, mark: str) -> str:
    """Give a file of the open folder `holder` the name in `folder` back that it had; if that is taken, one with `mark` in it.

    Returns the name that it has there now, "" if none: then it stays where it is. Nothing is ever replaced.
    """
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    others = (f"{stem}-{mark}{'' if number == 1 else f'-{number}'}{ending}" for number in range(1, _MOST_NAMES))
    for wanted in (name, *others):
        try:
            rename_file_new(source, holder, wanted, folder)
        except FileExistsError:
            continue
        except OSError:
            return ""
        sync_folder(folder)
        sync_folder(holder)
        return wanted
    return ""


def discard(folder: int, name: str, is_meant: Callable[[bytes], bool]) -> None:
    """Remove a file from an open folder, if `is_meant` says so of its bytes; else it keeps its name.

    It is renamed away first, and looked at then: what somebody puts in its place meanwhile is not touched. What a crash left
    renamed away is seen to as well. Raises OSError.
    """
    aside = f"{ASIDE_PREFIX}{name}"
    _decide_aside(folder, aside, name, is_meant)
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        rename_file_new(name, folder, aside, folder)
    _decide_aside(folder, aside, name, is_meant)


def give_name(new: str, folder: int, name: str, is_ours: Callable[[bytes], bool], make: Callable[[], None]) -> str:
    """Give `name` to the file `new` of an open folder, which `make` makes; what had that name goes if `is_ours` says so.

    Else it is kept under another one, which is returned; "" if there was none to keep. The two change their names in one
    act where the filesystem can do that: there is no moment without a file, and what somebody puts there in whichever
    moment is not lost. What a crash left under the name `new` is seen to first. Raises FileExistsError, before anything is
    made, where that is somebody else's and cannot be kept; OSError.
    """
    aside = f"{ASIDE_PREFIX}{name}"
    for left in (new, aside):
        _decide_aside(folder, left, name, is_ours)
        if is_there(left, folder):  # `make` would write over it
            stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
            why = f"{left} has a foreign {name}, and it cannot be kept as {stem}-kept{ending}, nor with a number"
            raise FileExistsError(errno.EEXIST, why, left)
    make()
    before = new
    try:
        rename_file_new(new, folder, name, folder)
    except FileExistsError:
        if not _renamed_by(_RENAME_EXCHANGE, new, folder, name, folder):
            before = aside
            rename_file_new(name, folder, aside, folder)
            rename_file_new(new, folder, name, folder)
    sync_folder(folder)
    return _decide_aside(folder, before, name, is_ours)


def settle(new: str, holder: int, name: str, folder: int, is_ours: Callable[[bytes], bool]) -> None:
    """See to what a crash has left of `exchange`: a file of ours is removed, and somebody else's is kept next to `name`."""
    _decide_aside(holder, new, name, is_ours, folder)


def exchange(new: str, holder: int, name: str, folder: int, is_ours: Callable[[bytes], bool]) -> None:
    """Give `name` in an open folder to the file `new` of another one, in one act; what had the name goes if `is_ours` says so.

    Else it is kept next to it under another one. There is no moment without a file. Where the filesystem cannot exchange two
    names, what is there at that moment is replaced. Raises FileNotFoundError where nothing has that name any more, OSError.
    """
    try:
        if not _renamed_by(_RENAME_EXCHANGE, new, holder, name, folder):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            os.replace(new, name, src_dir_fd=holder, dst_dir_fd=folder)
    except FileNotFoundError:
        os.unlink(new, dir_fd=holder)
        raise
    sync_folder(folder)
    sync_folder(holder)
    settle(new, holder, name, folder, is_ours)


def _decide_aside(
    folder: int, aside: str, name: str, is_meant: Callable[[bytes], bool], into: int | None = None
) -> str:
    meant, kept = False, ""
    try:
        with file_in(folder, aside) as file:
            if stat.S_ISREG(os.fstat(file).st_mode):
                with open(file, "rb", closefd=False) as stream:
                    meant = is_meant(stream.read(_LONGEST_DISCARDED_BYTES))
    except FileNotFoundError:
        return ""
    except OSError:  # a link, or not to be read: not what is meant
        pass
    if meant:
        os.unlink(aside, dir_fd=folder)
    else:
        kept = give_back(aside, folder, name, folder if into is None else into, "kept")
    sync_folder(folder)
    return kept


# ---- Where a folder is published, and whether it was: names that are free, receipts that show whose a folder is -----


NAME_LIMIT_BYTES = 255

RECEIPTS: Mapping[str, str] = {OUTBOX: RECEIPT, ARCHIVE: RECEIPT, FAILED: REPORT_DATA}
"""By top folder, the file in each published folder that names its job."""

TEXTS = (RECEIPT, REPORT, REPORT_DATA)  # a repetition writes them again, with another time in them
_MOST_FREE_NAMES = 100


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a folder is to be published: a top folder, the folder mirrored from the inbox, the set's name."""

    top: str
    folder: str
    name: str
    report: bool = False  # whether a report names the job in the folder, wherever it goes

    @classmethod
    def of(cls, top: str, job: Job, *, report: bool = False) -> Self:
        """Return where a job's folder goes: as the artist spells it, in a form that every client of a share can show."""
        parts = [*(job.folder.split("/") if job.folder else ()), job.name]
        if job.batch and job.batch.folder:
            parts[-1:] = [job.batch.folder, job.batch.label]
        *folders, name = map(safe_folder_name, parts)
        return cls(top, "/".join(folders), name, report)

    @property
    def receipt(self) -> str:
        """The file in the folder that names its job."""
        return REPORT_DATA if self.report else RECEIPTS[self.top]

    @property
    def parent(self) -> str:
        """The folder that it goes into, relative to the root."""
        return f"{self.top}/{self.folder}" if self.folder else self.top


def apart_from_others(root: Path, place: Destination, job: Job) -> Destination:
    """Return where a job's folder goes: with the others of its set, but never into the folder of another set that got that name since."""
    is_anothers = (
        job.batch
        and job.batch.folder
        and any(job_named_by(root, f"{place.parent}/{name}") for name in (RECEIPT, REPORT_DATA))
    )
    return (
        replace(place, folder=_with_suffix(place.folder, _mark(job.batch.id))) if job.batch and is_anothers else place
    )


def names_for(job: Job, into: int, place: Destination) -> list[str]:
    """Return those names in `into` that matter for the place of a job's folder: equal to an artist's eye, or with the job's mark.

    There may be 100,000 others. They are gone through one by one, and none is kept.
    """
    return _names_like(into, {match_key(place.name), match_key(job.name)}, match_key(_mark(job.id)))


def has_name(into: int, name: str) -> bool:
    """Return whether an open folder has this name, compared as artists compare. Raises OSError."""
    return bool(_names_like(into, {match_key(name)}))


def _names_like(into: int, keys: AbstractSet[str], mark: str = "") -> list[str]:
    with os.scandir(into) as found:
        known = ((item.name, match_key(item.name)) for item in found)
        return [name for name, key in known if key in keys or (mark and mark in key)]


def published_before(
    root: Path, into: int, names: Iterable[str], job: Job, source: Path, place: Destination
) -> tuple[str, Held] | None:
    """Return which of the `names` in `into` this job was published under before, if any, and what that holds of `source`.

    Its receipt names the job and this retry of it, and it holds all that is left at `source`: a receipt alone can be a
    forgery, and must not make us forget what was paid for.
    """
    plain, mark = {match_key(place.name), match_key(job.name)}, _mark(job.id)  # job.name: as earlier versions did
    for there in names:
        if there.startswith(COPY_PREFIX) or (mark not in there and match_key(there) not in plain):
            continue
        folder = f"{place.parent}/{there}"
        if job_named_by(root, f"{folder}/{place.receipt}") == (job.id, job.retries):
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


def move_to_free_name(
    source: Path, into: int, names: Iterable[str], job: Job, place: Destination, set_access: Callable[[int], None]
) -> str:
    """Move a folder into `into` under the first name that nobody has, compared as artists compare; return the name.

    `names` are those in it that matter; `set_access` as `move_folder` says. Raises OSError; FileExistsError when others were faster under each of the names.
    """
    taken = set(map(match_key, names))
    for name in _names(place.name, job.id):
        if match_key(name) in taken:
            continue
        try:
            move_folder(source, into, name, set_access)
        except FileExistsError:  # somebody was faster
            continue
        return name
    raise FileExistsError(place.name)


def move_numbered(source: Path, into: int, name: str, set_access: Callable[[int], None]) -> str:
    """Move a folder into `into` under this name, or this name and a number; return the name. Raises OSError."""
    taken = {match_key(there) for there in os.listdir(into)}
    for number in range(1, _MOST_FREE_NAMES):
        wanted = _with_suffix(name, "" if number == 1 else f"-{number}")
        if match_key(wanted) not in taken:
            move_folder(source, into, wanted, set_access)
            return wanted
    raise FileExistsError(name)


def job_named_by(root: Path | Anchor, path: str) -> tuple[object, object] | None:
    """Return the job's id and retry that a receipt or report below `root` names; None when it cannot be read."""
    return job_named_in(contents(root, path))


def job_named_at(root: Path | Anchor, place: str) -> tuple[object, object] | None:
    """Return the job's id and retry that the receipt of a published folder names; in the archive, where cleared failures are, too, its report."""
    top = place.partition("/")[0]
    names = (RECEIPTS.get(top, RECEIPT), *((REPORT_DATA,) if top == ARCHIVE else ()))
    return next(filter(None, (job_named_by(root, f"{place}/{name}") for name in names)), None)


def contents(root: Path | Anchor | int, path: str) -> bytes:
    """Return the bytes of a small file below `root`, or in that open folder; none if it cannot be read."""
    try:
        found = file_in(root, path) if isinstance(root, int) else file_beneath(root, path)
        with found as descriptor, open(descriptor, "rb", closefd=False) as stream:
            return stream.read(1 << 20)
    except OSError:
        return b""


def holds_own(root: Path, place: str, job: Job) -> bool:
    """Return whether the folder at a place is the one that a job was published or buried in, and no later one of that name.

    Its receipt says so; where none can be read, its files do: all that have the names of the job's have their bytes.
    """
    top = place.partition("/")[0]
    if named := job_named_at(root, place):
        return named[0] == job.id
    known = [(f.name, f.sha256) for f in (job.published if top == OUTBOX else job.files)]
    found: list[bool] = []
    with contextlib.suppress(OSError), folder_beneath(root, place) as folder:
        for name, sha256 in known:
            with contextlib.suppress(FileNotFoundError):
                found.append(bool(sha256) and digest_in(name, folder) == sha256)
        return bool(found) and all(found)
    return False


def archived_place(root: Path, job: Job) -> str:
    """Return where the inputs of a delivered job are, relative to the root, "" where they are not any more; never raises.

    The journal does not say it: it is one of the names that a job's folder may get, and its receipt names the job.
    """
    wanted = apart_from_others(root, Destination.of(ARCHIVE, job), job)
    places = (f"{wanted.parent}/{name}" for name in itertools.islice(_names(wanted.name, job.id), _USUAL_NAMES))
    return next((place for place in places if (job_named_by(root, f"{place}/{RECEIPT}") or ("",))[0] == job.id), "")


_USUAL_NAMES = 3


def digest_in(name: str, folder: int) -> str:
    """Return the SHA-256 of a file in an open folder, in hex. Raises OSError."""
    with file_in(folder, name) as file, open(file, "rb", closefd=False) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def report_digest_in(data: bytes) -> str:
    """Return what a `report.toml` says of the `REPORT.txt` next to it: the SHA-256 of its bytes, in hex; "" if nothing."""
    try:
        return str(loaded(data)["report"]["sha256"])
    except (ValueError, KeyError, TypeError):
        return ""


def _names(name: str, job_id: str) -> Iterator[str]:
    """Yield the names that a job's folder may get, the most wanted first; all but the first hold the job's mark."""
    yield name
    for suffix in (_mark(job_id), f"-{job_id}", *(f"-{job_id}-{number}" for number in range(2, _MOST_FREE_NAMES))):
        yield _with_suffix(name, suffix)


def own_name(place: str, job_id: str) -> str:
    """Return a place next to this one whose name no other job gets."""
    parent, _, name = place.rpartition("/")
    return f"{parent}/{_with_suffix(name, f'-{job_id}')}"


def _mark(job_id: str) -> str:
    return f"-{job_id[:6]}"


def _with_suffix(name: str, suffix: str) -> str:
    """Add a suffix, within the length that filesystems take; no character is cut in two."""
    while len(os.fsencode(name + suffix)) > NAME_LIMIT_BYTES:
        name = name[:-1]
    return name + suffix
