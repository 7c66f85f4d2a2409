"""Taking a file of a set into the work folder: by a rename, or by a claim and a copy where it is on another filesystem.

A file is taken by one rename, and whoever made it has the file: straight into the work folder, or, where that is another
filesystem, into a hidden folder next to the file, which carries the job's id and the root's. Only from there it is copied, and only
what is there is removed. So of two services that look at one inbox one takes a file and the other finds it gone, and a
version that somebody puts in the file's place at whatever moment is never removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from rodin_watchd.adapters.spool.beneath import (
    NO_FOLDER_ERRNOS,
    Anchor,
    ServedFolderError,
    file_in,
    folder_beneath,
    folder_in,
    is_there,
    signature_of,
    sync_folder,
)
from rodin_watchd.adapters.spool.copying import copy_file, same_bytes
from rodin_watchd.adapters.spool.moving import contents, digest_in, give_back, rename_file_new
from rodin_watchd.adapters.spool.writers import is_open_for_writing
from rodin_watchd.core.layout import INBOX, OWN_PREFIX, REPORT_DATA, Claim
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import job_named_in
from rodin_watchd.errors import (
    ChangedWhileTakenError,
    FileRefusedError,
    FilesError,
    GoneWhileTakenError,
    RightsError,
    StillWrittenError,
)
from rodin_watchd.model import InputFile, Signature

_MOST_NAMES = 100
_PART = ".taken.part"  # a copy that is not whole
_IN_USE_ERRNOS = (errno.EBUSY, errno.ETXTBSY)


def take_files(
    root: Path | Anchor, claim: Claim, files: Iterable[InputFile], into: int, *, as_it_is: bool = False
) -> None:
    """Bring files into the open folder `into`, each under its own name; may be repeated after a crash at any point.

    `as_it_is`: what was taken before is not checked any more. All is durable when this returns or raises. Raises
    ChangedWhileTakenError, FileRefusedError, RightsError, and OSError when the machine is to blame. What is raised for a file
    leaves it visible in its own folder, and takes none after it.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_PART, dir_fd=into)
    with _Sources(root, into) as sources:
        for file in files:
            with _file_errors(file):
                if not is_there(file.name, into):
                    _bring(sources, claim, file, into)
                elif not file.shared:
                    _finish(root, claim, file, into)
            if not as_it_is:
                _check(file, os.stat(file.name, dir_fd=into, follow_symlinks=False))


class _Sources:
    """The folders that files are taken from, each opened once; at its end what was renamed out of them is durable."""

    def __init__(self, root: Path | Anchor, into: int) -> None:
        self._root = root
        self._into = into
        self._open: dict[str, int] = {}
        self._renamed_from: set[int] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._sync()

    def opened(self, path: str) -> int:
        """Return a folder's descriptor, which is open until the end. Raises OSError."""
        if path not in self._open:
            self._open[path] = self._stack.enter_context(folder_beneath(self._root, path))
        return self._open[path]

    def note_rename(self, parent: int) -> None:
        """Note that a file was renamed out of an open folder."""
        self._renamed_from.add(parent)

    def _sync(self) -> None:
        if self._renamed_from:
            sync_folder(self._into)  # before the others: a crash may leave a file in both folders, never in none
        for parent in self._renamed_from:
            sync_folder(parent)


def lay_in(root: Path | Anchor, source: str, sha256: str, into: int) -> Signature | None:
    """Copy a file of ours with this digest into the open folder `into`, and return what it is there; may be repeated.

    None where neither has it. It appears under its name when it is whole, durable and proven to have that digest. Raises OSError.
    """
    folder, _, name = source.rpartition("/")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_PART, dir_fd=into)
    if is_there(name, into) and digest_in(name, into) != sha256:
        os.unlink(name, dir_fd=into)
    if not is_there(name, into):
        with contextlib.suppress(FileNotFoundError), folder_beneath(root, folder) as parent:
            with file_in(parent, name) as opened:
                copy_file(opened, into, _PART, os.fstat(opened))
            if digest_in(_PART, into) == sha256:
                os.rename(_PART, name, src_dir_fd=into, dst_dir_fd=into)
                sync_folder(into)
            else:
                os.unlink(_PART, dir_fd=into)
    return signature_of(os.stat(name, dir_fd=into, follow_symlinks=False)) if is_there(name, into) else None


def return_file(root: Path | Anchor, claim: Claim, file: InputFile, held: int) -> None:
    """Bring a file from the open folder `held`, or from the job's claim, back to its folder; may be repeated after a crash at any point.

    A folder that was removed meanwhile is made again. Where a file of the same bytes has its name, because other sets name it as
    well or somebody has dropped it again, that one stays alone: two would make no set. Raises OSError; FileExistsError where no
    name is free.
    """
    folder, _, name = file.source.rpartition("/")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_PART, dir_fd=held)
    with folder_beneath(root, folder, make=True) as parent:
        is_back = _give_back_claimed(claim, file, parent) or _is_there_as_well(name, held, parent)
        _remove_claim(claim.name, parent)
        if not is_there(name, held):
            return
        if is_back:
            os.unlink(name, dir_fd=held)
        else:  # it is the only one: the original is gone, with its claim or with another set
            _give_back_far(name, held, parent, claim.job_id)


def _give_back_claimed(claim: Claim, file: InputFile, parent: int) -> bool:
    """Give a file back that the job has claimed in its open folder, and return whether there was one."""
    with contextlib.suppress(FileNotFoundError), folder_in(parent, claim.name) as mine:
        if is_there(file.name, mine):
            if _is_there_as_well(file.name, mine, parent):
                os.unlink(file.name, dir_fd=mine)
            elif not give_back(file.name, mine, file.name, parent, claim.job_id):
                raise FileExistsError(errno.EEXIST, "no name is free", file.source)
            return True
    return False


def _is_there_as_well(name: str, held: int, parent: int) -> bool:
    """Return whether a file of the same bytes durably has its name in `parent`, and no program can add to the one in `held`."""
    with contextlib.suppress(OSError), file_in(held, name) as ours, file_in(parent, name) as theirs:
        if not os.path.samestat(os.fstat(ours), os.fstat(theirs)) and same_bytes(ours, theirs):
            os.fsync(theirs)
            sync_folder(parent)
            return is_open_for_writing(ours) is False
    return False


def _give_back_far(name: str, held: int, parent: int, job_id: str) -> None:
    """Give a file back, also to another filesystem: there a whole, durable copy gets the name before ours is removed."""
    if give_back(name, held, name, parent, job_id):
        return
    part = f"{OWN_PREFIX}{job_id}.part"
    with file_in(held, name) as source:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=parent)
        copy_file(source, parent, part, os.fstat(source))
    wanted = give_back(part, parent, name, parent, job_id)
    if not wanted:
        raise FileExistsError(errno.EEXIST, "no name is free", name)
    os.unlink(name, dir_fd=held)


def is_claimed(root: Path | Anchor, claim: Claim, file: InputFile) -> bool:
    """Return whether a job has claimed a file that is not copied yet. Raises OSError when the machine is to blame."""
    try:
        with folder_beneath(root, file.source.rpartition("/")[0]) as parent:
            return _is_claimed_in(parent, claim, file)
    except OSError as error:
        if error.errno in (errno.ENOENT, *NO_FOLDER_ERRNOS):
            return False
        raise


def _is_claimed_in(parent: int, claim: Claim, file: InputFile) -> bool:
    try:
        with folder_in(parent, claim.name) as mine:
            return is_there(file.name, mine)
    except OSError as error:
        if error.errno in (errno.ENOENT, *NO_FOLDER_ERRNOS):
            return False
        raise


def rescue(claim: int, into: int) -> None:
    """Bring all files of a claim whose job is not live any more into the open folder `into`, each under a free name.

    May be repeated after a crash at any point. Raises OSError.
    """
    with os.scandir(claim) as found:
        names = sorted(entry.name for entry in found if entry.is_file(follow_symlinks=False))
    for name in names:
        if _is_held(name, claim, into):
            os.unlink(name, dir_fd=claim)
        else:
            _copy_again(name, claim, into)


def _copy_again(name: str, claim: int, into: int) -> None:
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    names = (name, *(f"{stem}-{number}{ending}" for number in range(2, _MOST_NAMES)))
    taken = os.listdir(into)
    wanted = next(free for free in names if free not in taken)
    try:
        rename_file_new(name, claim, wanted, into)
        sync_folder(into)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with file_in(claim, name) as source:
            status = os.fstat(source)
            copy_file(source, into, _PART, status)
            if signature_of(os.fstat(source)) != signature_of(status):
                raise OSError(errno.EBUSY, "it is being changed", name) from None
        rename_file_new(_PART, into, wanted, into)
        sync_folder(into)
        os.unlink(name, dir_fd=claim)


def _is_held(name: str, claim: int, into: int) -> bool:
    """Return whether the folder has a file of this name with these bytes: copied before a crash."""
    try:
        with file_in(claim, name) as claimed, file_in(into, name) as copy:
            return same_bytes(claimed, copy)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _file_errors(file: InputFile) -> Iterator[None]:
    """Blame the file, or the folder that it is in, for what is theirs."""
    name = printable(file.name)
    try:
        yield
    except FileNotFoundError as error:
        raise GoneWhileTakenError(f"“{name}” disappeared before it could be taken.") from error
    except ServedFolderError as error:
        raise GoneWhileTakenError(f"“{name}” is in the folder of a service now: that service takes it.") from error
    except PermissionError as error:
        what = f"read “{name}”" if file.shared else f"move “{name}” out of its folder"
        raise RightsError(f"The service has no permission to {what}.") from error
    except OSError as error:
        if error.errno in NO_FOLDER_ERRNOS:
            raise GoneWhileTakenError(f"“{name}” disappeared before it could be taken.") from error
        if error.errno in _IN_USE_ERRNOS:
            advice = "Close the program that has it open; the service tries again by itself."
            raise RightsError(f"“{name}” is in use and cannot be moved.", advice=advice) from error
        raise


# ---- taking ---------------------------------------------------------------------------------------------------------


def _bring(sources: _Sources, claim: Claim, file: InputFile, into: int) -> None:
    """Take a file that is not in the work folder yet: from this job's claim of it, or from where it lay when it was claimed."""
    folder, _, name = file.source.rpartition("/")
    parent = sources.opened(folder)
    if not file.shared and _is_claimed_in(parent, claim, file):
        _take_claimed(claim, file, parent, into)
        return
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not _is_dropped(file):
        _refuse_others(file, claim.job_id, parent, status)
    _refuse_another(file, status)
    if file.shared:
        _copy(file, parent, into)
    elif _renamed(file, claim.job_id, parent, into):
        sources.note_rename(parent)
    else:
        _claim(name, claim.name, parent)
        _take_claimed(claim, file, parent, into)


def _renamed(file: InputFile, job_id: str, parent: int, into: int) -> bool:
    """Move a file; False when it is on another filesystem. What came in its place in that moment goes back."""
    name = file.name
    try:
        os.rename(name, name, src_dir_fd=parent, dst_dir_fd=into)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    try:
        _refuse_another(file, os.stat(name, dir_fd=into, follow_symlinks=False))
        with file_in(into, name) as taken:
            refuse_written(file, taken)  # its writer goes on with the file, whatever its name is
    except FilesError:
        give_back(name, into, name, parent, job_id)
        raise
    return True


def _claim(name: str, claim: str, parent: int) -> None:
    """Move a file into a hidden folder next to it: from now on it is this job's alone."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(claim, dir_fd=parent)
    try:
        with folder_in(parent, claim) as mine:
            os.rename(name, name, src_dir_fd=parent, dst_dir_fd=mine)
            sync_folder(mine)
            sync_folder(parent)
    except BaseException:
        _remove_claim(claim, parent)
        raise


def _take_claimed(claim: Claim, file: InputFile, parent: int, into: int) -> None:
    """Copy a claimed file, then remove it; where the file is to blame that this cannot be done, it becomes visible again."""
    with folder_in(parent, claim.name) as mine:
        try:
            _copy(file, mine, into, remove=True)
        except (FilesError, PermissionError):
            give_back(file.name, mine, file.name, parent, claim.job_id)
            _remove_claim(claim.name, parent)
            raise
    _remove_claim(claim.name, parent)


def _remove_claim(claim: str, parent: int) -> None:
    with contextlib.suppress(OSError):  # another file of the set is still in it
        os.rmdir(claim, dir_fd=parent)
        sync_folder(parent)


def _copy(file: InputFile, folder: int, into: int, *, remove: bool = False) -> None:
    """Copy a file; it appears under its name when it is whole, durable, and proven not to have changed meanwhile."""
    name = file.name
    with file_in(folder, name) as source:
        status = os.fstat(source)
        _refuse_another(file, status)
        refuse_written(file, source)
        copy_file(source, into, _PART, status)
        if signature_of(os.fstat(source)) != signature_of(status):
            os.unlink(_PART, dir_fd=into)
            raise _changed(file)
        os.rename(_PART, name, src_dir_fd=into, dst_dir_fd=into)
        sync_folder(into)
        if not remove:
            return
        if signature_of(os.fstat(source)) != signature_of(status):  # by a program that still has it open
            os.unlink(name, dir_fd=into)
            raise _changed(file)
        try:
            refuse_written(file, source)
        except StillWrittenError:
            os.unlink(name, dir_fd=into)
            raise
        os.unlink(name, dir_fd=folder)


def _finish(root: Path | Anchor, claim: Claim, file: InputFile, into: int) -> None:
    """Remove what was claimed and is copied, after a crash in between; a claimed file with other bytes becomes visible again."""
    folder = file.source.rpartition("/")[0]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), folder_beneath(root, folder) as parent:
        with folder_in(parent, claim.name) as mine:
            if is_there(file.name, mine):
                with file_in(mine, file.name) as claimed, file_in(into, file.name) as copy:
                    same = same_bytes(claimed, copy)
                if same:
                    os.unlink(file.name, dir_fd=mine)
                else:
                    give_back(file.name, mine, file.name, parent, claim.job_id)
        _remove_claim(claim.name, parent)


# ---- checks ---------------------------------------------------------------------------------------------------------


def _check(file: InputFile, status: os.stat_result) -> None:
    """Refuse what is no plain file of ours alone, or not the file of the claim."""
    name = printable(file.name)
    _refuse_special(file, status)
    if signature_of(status)[:2] != file.signature[:2]:
        raise _changed(file)
    if status.st_nlink > 1:
        raise FileRefusedError(f"“{name}” has a second name elsewhere (a hard link); it is not taken.")


def _refuse_another(file: InputFile, status: os.stat_result) -> None:
    """Do the same, and compare the inode; that of a file in `failed/` may be another one, for it may have come as a copy."""
    _refuse_special(file, status)
    if _is_dropped(file) and status.st_ino != file.signature.ino:
        raise GoneWhileTakenError(_changed(file).message)
    _check(file, status)


def _is_dropped(file: InputFile) -> bool:
    """Return whether a file is in the inbox; else it is in `failed/`, in the folder that its job got there."""
    return file.source.startswith(f"{INBOX}/")


def _refuse_others(file: InputFile, job_id: str, folder: int, status: os.stat_result) -> None:
    """Raise GoneWhileTakenError unless a file in `failed/` is this job's: another one may have got the name of its folder.

    The report in the open folder says whose the files are. Where none can be read, the file's own bytes do.
    """
    named = job_named_in(contents(folder, REPORT_DATA))
    if named and named[0] == job_id:
        return
    name, where = printable(file.name), printable(file.source.rpartition("/")[0])
    advice = "Find the files of this job, and drop them into the inbox again."
    if named:
        raise GoneWhileTakenError(
            f"“{name}” was taken away: {where} holds the files of job {printable(str(named[0]))} now.", advice=advice
        )
    _refuse_special(file, status)
    if not file.sha256 or digest_in(file.name, folder) != file.sha256:
        raise GoneWhileTakenError(
            f"“{name}” in {where} is not known to be this job's: the report is gone, and the content is not the same.",
            advice=advice,
        )


def refuse_written(file: InputFile, descriptor: int) -> None:
    """Raise StillWrittenError for an open file that a program has open for writing, where that can be known."""
    if is_open_for_writing(descriptor):
        raise StillWrittenError(f"“{printable(file.name)}” is still open in the program that writes it.")


def _refuse_special(file: InputFile, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileRefusedError(f"“{printable(file.name)}” is not a plain file; it is not taken.")


def _changed(file: InputFile) -> ChangedWhileTakenError:
    return ChangedWhileTakenError(f"“{printable(file.name)}” changed while it was taken.")
