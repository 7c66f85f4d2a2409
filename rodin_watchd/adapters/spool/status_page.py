"""STATUS.txt in the root: written whole, in place of a page of ours alone, and again where another one lies there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from rodin_watchd.adapters.spool.beneath import file_in, folder_beneath, write_durably_in
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.adapters.spool.moving import give_name
from rodin_watchd.core.layout import OWN_PREFIX, STATUS
from rodin_watchd.core.status import is_page
from rodin_watchd.errors import DiskError

_NEW: Final = f"{OWN_PREFIX}new-{STATUS}"
_MOST_BYTES: Final = 1 << 20


class StatusPage:
    """The page as it was written last; the main thread's alone."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._data = b""
        self._state: tuple[int, int] | None = None  # size and time

    def write(self, data: bytes, dress: Callable[[int, int], None]) -> str:
        """Give the root this page. Return the new name of what lay there if that was no page of ours, else "".

        `dress` gives the open file in the open root its mode. Raises DiskError, also where a folder lies there.
        """
        try:
            with folder_beneath(self._grounds.anchor(), "") as root:
                if _is_folder(root):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), STATUS)
                kept = give_name(_NEW, root, STATUS, is_page, lambda: write_durably_in(root, _NEW, data, dress))
                self._data, self._state = data, _state(root)
        except OSError as error:
            raise DiskError.of("STATUS.txt cannot be written", error) from error
        return kept

    def is_there(self) -> bool:
        """Tell whether what was written last lies there, by a look that costs next to nothing while it does."""
        try:
            with folder_beneath(self._grounds.anchor(), "") as root:
                state = _state(root)
                if state == self._state:
                    return True
                with file_in(root, STATUS) as file, open(file, "rb", closefd=False) as stream:
                    if stream.read(_MOST_BYTES) != self._data:
                        return False
        except (DiskError, OSError):
            return False
        self._state = state  # another time, which a share or a copy has given it
        return True


def _is_folder(root: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(STATUS, dir_fd=root, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _state(root: int) -> tuple[int, int]:
    status = os.stat(STATUS, dir_fd=root, follow_symlinks=False)
    return status.st_size, status.st_mtime_ns
