"""The folder for plugins' temporary files: made by the host, known by a mark, and only then ever cleared.

A name alone says nothing of who made a folder: what lies there without the mark is somebody else's, and is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from rodin_watchd.hooks.litter import remove

MARK: Final = ".made-by-rodin-watchd"
_HOME_PREFIX: Final = "run-"


def new_home(scratch: Path, *, clears: bool) -> Path:
    """Make a folder in the scratch folder and return it; `clears`: remove what hosts have left there that live no more.

    The scratch folder is made if it is missing. Raises FileExistsError where something lies there that no host has made;
    OSError.
    """
    try:
        scratch.mkdir(parents=True)
    except FileExistsError:
        if not _is_ours(scratch):
            what = f"what the service has not made lies in the place of {scratch}; move it away"
            raise FileExistsError(errno.EEXIST, what, str(scratch)) from None
    (scratch / MARK).touch()
    if clears:
        _clear(scratch)
    return Path(tempfile.mkdtemp(prefix=_HOME_PREFIX, dir=scratch))


def remove_home(home: Path) -> None:
    """Remove what `new_home` returned; may be repeated, never raises OSError."""
    with contextlib.suppress(OSError):
        remove(home)


def _is_ours(scratch: Path) -> bool:
    """Tell whether a host has made it; one that is empty may be one whose mark a crash has prevented. Raises OSError."""
    if scratch.is_symlink() or not scratch.is_dir():
        return False
    names = {path.name for path in scratch.iterdir()}
    return not names or MARK in names


def _clear(scratch: Path) -> None:
    with os.scandir(scratch) as found:
        left = [Path(entry.path) for entry in found if entry.name.startswith(_HOME_PREFIX)]
    for path in left:
        remove_home(path)
