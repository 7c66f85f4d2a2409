"""Working copies for plugins, and what they leave in them: measured, checked, made durable."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.beneath import file_beneath, folder_beneath, sync_folder
from rodin_watchd.core.layout import RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.names import printable
from rodin_watchd.model import ResultFile

MOST_FILES: Final = 10_000
_DEEPEST: Final = 8
_NO_LINKS_ERRNOS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # link(2)
_OURS: Final = frozenset(name.casefold() for name in (RECEIPT, REPORT, REPORT_DATA))


class UnfitFileError(Exception):
    """Something in a folder that cannot be published."""


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, so that whatever happens to the copy leaves the folder as it is. Raises OSError."""
    _second_tree(source, target, shutil.copy2)


def link_tree(source: Path, target: Path) -> None:
    """Make a second folder of the same files (copies where there are no hard links). Raises OSError."""
    _second_tree(source, target, linked)


def _second_tree(source: Path, target: Path, second: Callable[[str, str], object]) -> None:
    """Make folders again, with the mode that the umask and set-gid folders give.

    `shutil.copytree` would set the set-gid bit itself, which a sandbox (RestrictSUIDSGID=) forbids.
    """
    target.mkdir()
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        there = target / entry.name
        if entry.is_symlink():
            there.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            _second_tree(Path(entry.path), there, second)
        else:
            second(entry.path, str(there))


def linked(source: str, target: str) -> None:
    """Give a file a second name, or copy it where there are no hard links. Raises OSError."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS_ERRNOS:
            raise
        shutil.copyfile(source, target)


def sealed(folder: Path) -> tuple[ResultFile, ...]:
    """Make everything below a folder durable, and return its files in the order of their names.

    Raises UnfitFileError for what cannot be published: links, special files, names of ours, far too much; OSError.
    """
    found: list[ResultFile] = []
    for path, status in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if problem := _problem(name, status.st_mode, len(found)):
            raise UnfitFileError(f"“{printable(name)}” {problem}")
        if stat.S_ISREG(status.st_mode):
            found.append(_sealed_file(folder, name))
        else:
            with folder_beneath(folder, name) as opened:
                sync_folder(opened)
    with folder_beneath(folder, "") as opened:
        sync_folder(opened)
    return tuple(sorted(found, key=lambda file: file.name))


def _problem(name: str, mode: int, count: int) -> str:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "is neither a file nor a folder"
    if not name.isprintable() or not _is_utf8(name):
        return "has a name with special characters"
    if name.casefold() in _OURS:
        return "has a name that the service uses itself"
    if name.count("/") >= _DEEPEST:
        return "is in too many folders"
    return f"is one of more than {MOST_FILES:,} files" if count >= MOST_FILES else ""


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:  # lone surrogates stand for bytes that are no UTF-8 (PEP 383)
        return False


def _sealed_file(folder: Path, name: str) -> ResultFile:
    with file_beneath(folder, name) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(descriptor)
        return ResultFile(name, "", os.fstat(descriptor).st_size, digest)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all that is below a folder, links not followed."""
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top, name)
            try:
                yield path, path.lstat()
            except FileNotFoundError:
                continue
