"""How many submits were allowed to send their last bytes, kept in the root, outside of the journal.

A journal can lose what it knew without a trace: its write-ahead log is deleted while the service stands still, or an older
copy is put in its place. Then it would pay again for what it forgot. This count gives that away: it is durable before the
last bytes of a submit may leave, and never falls, so a journal that knows of fewer submits has lost some.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rodin_watchd.adapters.spool.beneath import file_beneath, folder_beneath, write_durably_in
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.errors import DiskError, JournalBehindError, SubmitCountError

NAME = "submits"
_OPENING = (
    b"# So many submits were sent from this folder: rodin_watchd compares its journal with that.\n"
    b"# Please leave it here.\n"
)
_MOST_BYTES = 4096


class SubmitCount:
    """The file with the count; the main thread's alone."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._path = grounds.root / HIDDEN / NAME

    def read(self) -> int:
        """Return the count, 0 where none was kept yet. Raises DiskError for a file that cannot be read or understood."""
        try:
            with (
                file_beneath(self._grounds.anchor(), f"{HIDDEN}/{NAME}") as descriptor,
                open(descriptor, "rb", closefd=False) as stream,
            ):
                return int(stream.read(_MOST_BYTES).removeprefix(_OPENING))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise DiskError.of(f"The count of submits, {self._path}, cannot be read", error) from error
        except ValueError as error:
            raise DiskError(
                f"{self._path} does not hold the count of submits any more.",
                advice="If you know that the journal is whole and no older copy, remove that file; then start the service anew.",
            ) from error

    def prepare(self, count: int) -> None:
        """Make sure that there is a file to keep the count in. Raises SubmitCountError, FolderGoneError."""
        if self._path.is_symlink() or not self._path.is_file():
            self._do(self._write, count)

    def keep(self, count: int) -> None:
        """Make a count durable, in one write that needs no room on the disk. It never falls. Raises DiskError.

        A count that is higher was made with a journal that knew more: JournalBehindError, nothing may be paid by this one.
        """
        if (kept := self.read()) > count:
            raise JournalBehindError(
                f"{self._path} counts {kept} submits, but the journal knows of {count}: it is older than what was paid.",
                advice="Start the service again: it holds what may have been paid for meanwhile.",
            )
        self._do(self._overwrite, count)

    def _do(self, write: Callable[[int, int], None], count: int) -> None:
        try:
            with folder_beneath(self._grounds.anchor(), HIDDEN, make=True) as folder:
                write(folder, count)
        except OSError as error:
            raise SubmitCountError.of(f"The count of submits cannot be kept in {self._path}", error) from error

    def _overwrite(self, folder: int, count: int) -> None:
        try:
            descriptor = os.open(NAME, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            self._write(folder, count)
            return
        try:
            os.pwrite(descriptor, _text(count), 0)  # of one length, within one sector: whole or not at all
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _write(self, folder: int, count: int) -> None:
        write_durably_in(folder, NAME, _text(count))


def _text(count: int) -> bytes:
    return _OPENING + b"%020d\n" % count
