"""Taking a file of a set into the work folder: by a rename, or by a copy where it is shared or lies on another disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import (
    NO_FOLDER_ERRNOS,
    Anchor,
    file_in,
    folder_beneath,
    signature_of,
    sync_folder,
)
from rodin_watchd.adapters.spool.moving import copy_file
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.errors import ChangedWhileTakenError, FileRefusedError, RightsError
from rodin_watchd.model import InputFile

_PART = ".taken.part"  # a copy that is not whole
_IN_USE_ERRNOS = (errno.EBUSY, errno.ETXTBSY)


def take_file(root: Path | Anchor, file: InputFile, into: int) -> None:
    """Bring a file into the open folder `into` under its own name; may be repeated after a crash at any point.

    Raises ChangedWhileTakenError, FileRefusedError, RightsError, and OSError when the machine is to blame.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_PART, dir_fd=into)
    if not _is_there(file.name, into):
        with _file_errors(file):
            _bring(root, file, into)
    _check(file, os.stat(file.name, dir_fd=into, follow_symlinks=False))
    if not file.shared:
        with _file_errors(file):
            _remove_original(root, file)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _file_errors(file: InputFile) -> Iterator[None]:
    """Blame the file, or the folder that it lies in, for what is theirs."""
    name = printable(file.name)
    try:
        yield
    except FileNotFoundError as error:
        raise ChangedWhileTakenError(f"“{name}” vanished before it could be taken.") from error
    except PermissionError as error:
        raise RightsError(f"The service may not move “{name}” out of its folder.") from error
    except OSError as error:
        if error.errno in NO_FOLDER_ERRNOS:
            raise ChangedWhileTakenError(f"“{name}” vanished before it could be taken.") from error
        if error.errno in _IN_USE_ERRNOS:
            advice = "Close the program that has it open; the service tries again by itself."
            raise RightsError(f"“{name}” is in use and cannot be moved.", advice=advice) from error
        raise


def _bring(root: Path | Anchor, file: InputFile, into: int) -> None:
    folder, _, name = file.source.rpartition("/")
    with folder_beneath(root, folder) as parent:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        _check(file, status)
        if _is_another(file, status):
            raise _changed(file)
        if file.shared or not _renamed(name, parent, into):
            _copy(file, name, parent, into)


def _check(file: InputFile, status: os.stat_result) -> None:
    """Refuse what is no plain file of ours alone, or not the file of the claim."""
    name = printable(file.name)
    if not stat.S_ISREG(status.st_mode):
        raise FileRefusedError(f"“{name}” is not a plain file; it is not taken.")
    if signature_of(status)[:2] != file.signature[:2]:
        raise _changed(file)
    if status.st_nlink > 1:
        raise FileRefusedError(f"“{name}” has a second name elsewhere (a hard link); it is not taken.")


def _is_another(file: InputFile, status: os.stat_result) -> bool:
    """Tell by the inode whether this is another file than the claim's; one in `failed/` may have come there as a copy."""
    return file.source.startswith(f"{INBOX}/") and status.st_ino != file.signature.ino


def _changed(file: InputFile) -> ChangedWhileTakenError:
    return ChangedWhileTakenError(f"“{printable(file.name)}” changed while it was taken.")


def _renamed(name: str, parent: int, into: int) -> bool:
    """Move a file, durably; False when it lies on another filesystem."""
    try:
        os.rename(name, name, src_dir_fd=parent, dst_dir_fd=into)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    sync_folder(into)  # before the other: a crash may leave the file in both folders, never in none
    sync_folder(parent)
    return True


def _copy(file: InputFile, name: str, parent: int, into: int) -> None:
    """Copy a file; it appears under its name when it is whole, durable, and proven not to have changed meanwhile."""
    with file_in(parent, name) as source:
        status = os.fstat(source)
        _check(file, status)
        copy_file(source, into, _PART, file.signature.size)
        if signature_of(os.fstat(source)) != signature_of(status):
            raise _changed(file)
    os.rename(_PART, name, src_dir_fd=into, dst_dir_fd=into)
    sync_folder(into)


def _remove_original(root: Path | Anchor, file: InputFile) -> None:
    """Remove what was copied from another filesystem; after a rename there is nothing of this identity any more."""
    folder, _, name = file.source.rpartition("/")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), folder_beneath(root, folder) as parent:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if signature_of(status)[:2] == file.signature[:2] and not _is_another(file, status):
            os.unlink(name, dir_fd=parent)
