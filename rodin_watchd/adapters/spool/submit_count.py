"""How many submits were allowed to send their last bytes, kept in the root, outside of the journal.

A journal can lose what it knew without a trace: its write-ahead log is deleted while the service stands still, or an older
copy is put in its place. Then it would pay again for what it forgot. This count gives that away: it is durable before the
last bytes of a submit may leave, and never falls, so a journal that knows of fewer submits has lost some.

Where the journal lies in the root's hidden folder, both may be put back together from a backup. So the count is noted
beside that folder and in the outbox, too. These notes cost no wait for the disk: they are needed where the count itself
was put back, not where power failed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from rodin_watchd.adapters.spool.beneath import file_beneath, folder_beneath, write_durably_in
from rodin_watchd.adapters.spool.grounds import Grounds
from rodin_watchd.core.grounds import PATHS, Ground
from rodin_watchd.core.layout import HIDDEN, SUBMITS_NOTE
from rodin_watchd.errors import DiskError, JournalBehindError, SubmitCountError

NAME = "submits"
_OPENING = (
    b"# So many submits were sent from this folder: rodin_watchd compares its journal with that.\n"
    b"# Please leave it here.\n"
)
_MOST_BYTES = 4096
_NOTED_IN = (Ground.ROOT, Ground.OUTBOX)


class SubmitCount:
    """The file with the count; the main thread's alone."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._path = grounds.root / HIDDEN / NAME

    def read(self) -> int:
        """Return the highest count, 0 where none was kept yet. Raises DiskError for a file that cannot be read or understood.

        Notes that are gone, cannot be read, or are those of another root, say nothing.
        """
        return max(self._counted(), *map(self._noted, _NOTED_IN))

    def _noted(self, ground: Ground) -> int:
        note = f"{PATHS[ground]}/{SUBMITS_NOTE}".lstrip("/")
        with (
            contextlib.suppress(OSError, ValueError, DiskError),
            file_beneath(self._grounds.anchor(), note) as descriptor,
        ):
            count, owner = os.read(descriptor, _MOST_BYTES).removeprefix(_OPENING).split()
            return int(count) if owner.decode() == self._grounds.owner else 0
        return 0

    def _note(self, ground: Ground, count: int) -> None:
        """Note the count where that is possible now."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        text = _text(count).rstrip() + f" {self._grounds.owner}\n".encode()
        with (
            contextlib.suppress(OSError, DiskError),
            folder_beneath(self._grounds.anchor(), PATHS[ground]) as folder,
        ):
            descriptor = os.open(SUBMITS_NOTE, flags, 0o644, dir_fd=folder)
            try:
                os.pwrite(descriptor, text, 0)  # of one length, within one sector
                os.ftruncate(descriptor, len(text))
            finally:
                os.close(descriptor)

    def _counted(self) -> int:
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
                f"{self._grounds.root} counts {kept} submits, but the journal knows of {count}: it is older than what was paid.",
                advice="Start the service again: it holds what may have been paid for meanwhile.",
            )
        self._do(self._overwrite, count)
        if count and self._grounds.owner and self._grounds.is_known:
            for ground in _NOTED_IN:
                self._note(ground, count)

    def _do(self, write: Callable[[int, int], None], count: int) -> None:
        try:
            with folder_beneath(self._grounds.anchor(), HIDDEN, make=True) as folder:
                write(folder, count)
        except OSError as error:
            raise SubmitCountError.of(f"The count of submits cannot be kept in {self._path}", error) from error

    def _overwrite(self, folder: int, count: int) -> None:
        try:
            descriptor = os.open(NAME, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
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
