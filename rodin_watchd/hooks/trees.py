"""What strangers' code leaves on the disk: measured, and removed however it was left."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder have; what vanishes under the look does not count."""
    total = 0
    for top, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(top, name))  # noqa: PTH118 - a Path for each of many files takes its time
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, also what nobody may write; what stays, stays."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    shutil.rmtree(path, onerror=_open_and_repeat)


def _open_and_repeat(function: Callable[[str], object], path: str, _error: object) -> None:
    """Give ourselves the rights on a folder that the plugin took away, and try once more; links are not followed."""
    with contextlib.suppress(OSError):
        _open_up(os.path.dirname(path))  # noqa: PTH120 - as shutil gives it
        if function in (os.rmdir, os.unlink):
            function(path)
        else:
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)


def _open_up(folder: str) -> None:
    """Give ourselves the rights on a folder; what a link leads to keeps its own. Raises OSError."""
    if stat.S_ISDIR(os.lstat(folder).st_mode):
        os.chmod(folder, stat.S_IRWXU)  # noqa: PTH101 - as above
