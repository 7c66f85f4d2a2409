"""What keeps the folders from being used, and what an error in one of them stops."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rodin_watchd.core.layout import ARCHIVE, FAILED, OUTBOX
from rodin_watchd.errors import ArchiveError, DiskError, FailedFolderError, FolderGoneError, OutboxError

_TOP_ERRORS: Final[Mapping[str, type[DiskError]]] = {
    OUTBOX: OutboxError,
    FAILED: FailedFolderError,
    ARCHIVE: ArchiveError,
}


@contextlib.contextmanager
def blamed_on(top: str) -> Iterator[None]:
    """Stop only what publishes there: the rest of the service can go on."""
    try:
        yield
    except FolderGoneError:
        raise
    except DiskError as error:
        raise _TOP_ERRORS[top](error.message, advice=error.advice_given) from error


def problem_of(folder: Path) -> str | None:
    """Return why the service cannot use a folder of its own, in plain words; None if it can."""
    if os.path.islink(folder):  # noqa: PTH114 - unlike Path.is_symlink, False where we may not look
        return f"{folder} is a symbolic link, and those are never followed: mount the other place there instead."
    if not os.path.isdir(folder):  # noqa: PTH112 - as above
        return f"{folder} is {'not a folder' if os.path.lexists(folder) else 'missing'}."
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} cannot be written by this user."
    return None
