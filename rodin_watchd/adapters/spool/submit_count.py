"""How many submits were allowed to send their last bytes, kept in the root, outside of the journal.

A journal can lose what it knew without a trace: its write-ahead log is deleted while the service stands still, or an older
copy is put in its place. Then it would pay again for what it forgot. This count gives that away: it is durable before the
last bytes of a submit may leave, and never falls, so a journal that knows of fewer submits has lost some.

Where the journal is in the root's hidden folder, both may be put back together from a backup. So the count is noted
next to that folder and in the outbox, too. These notes cost no wait for the disk: they are needed where the count itself
was put back, not where power failed.

Where several daemons share a store, the root also has a mark of the process that took it over last, made before the count is
read. Who counts reads the mark afterwards: of two processes that serve the root at the same time, because the store's server
has lost that one of them took it over, one sees the other. Then it sends nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import file_beneath, folder_beneath, write_durably_in
from rodin_watchd.adapters.spool.mounts import Mounts
from rodin_watchd.core.layout import HIDDEN, SUBMITS_NOTE
from rodin_watchd.core.mounts import PATHS, Mount
from rodin_watchd.errors import DiskError, ForeignFileError, JournalBehindError, SubmitCountError
from rodin_watchd.log_lines import Trouble
from rodin_watchd.own_file import opened_own

NAME = "submits"
SERVED_BY = "served-by"
_OPENING = (
    b"# So many submits were sent from this folder: rodin_watchd compares its journal with that.\n"
    b"# Please leave it here.\n"
)
_MOST_BYTES = 4096
_DIGITS = 20
_MOST = 10**15
"""No service ever sends so many submits: a number beyond that was not counted, and says nothing."""

_COUNT = re.compile(rb"\s*(\d{1,%d})\s*" % _DIGITS)
_NOTE = re.compile(rb"\s*(\d{1,%d})\s+(\w+)\s*" % _DIGITS)
_OURS = re.compile(re.escape(_OPENING) + rb"\s*\d+\s+\w+\s*|\0+")  # zeros are what a loss of power may leave
_NOTED_IN = (Mount.ROOT, Mount.OUTBOX)


class SubmitCount:
    """The file with the count; the main thread's alone."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts
        self._path = mounts.root / HIDDEN / NAME
        self._troubles = {mount: Trouble("submits") for mount in _NOTED_IN}
        self._process = b""  # that serves the root; b"": it needs no mark

    def mark(self, process: str) -> None:
        """Mark the root as served by this process, durably; to be done before the count is read. Raises SubmitCountError, FolderGoneError."""
        self._process = process.encode()
        try:
            with folder_beneath(self._mounts.anchor(), HIDDEN, make=True) as folder:
                write_durably_in(folder, SERVED_BY, self._process)
        except OSError as error:
            raise SubmitCountError.of(
                f"The mark of this process cannot be written to {self._path.parent}", error
            ) from error

    def _is_marked(self) -> bool:
        try:
            with file_beneath(self._mounts.anchor(), f"{HIDDEN}/{SERVED_BY}") as descriptor:
                return os.read(descriptor, _MOST_BYTES) == self._process
        except OSError:
            return False

    def read(self) -> int:
        """Return the highest count, 0 where none was kept yet. Raises DiskError for a file that cannot be read or understood.

        Notes that are gone, cannot be read, or are those of another root, say nothing.
        """
        return max(self._counted(), *map(self._noted, _NOTED_IN))

    def _noted(self, mount: Mount) -> int:
        note = f"{PATHS[mount]}/{SUBMITS_NOTE}".lstrip("/")
        with (
            contextlib.suppress(OSError, DiskError),
            file_beneath(self._mounts.anchor(), note) as descriptor,
        ):
            found = _NOTE.fullmatch(os.read(descriptor, _MOST_BYTES).removeprefix(_OPENING))
            if found and found[2].decode() == self._mounts.owner:
                return _parsed_count(found[1]) or 0
        return 0

    def _note(self, mount: Mount, count: int) -> None:
        """Note the count where that is possible now; what is there and is no note of ours stays, which is logged once."""
        text = _text(count).rstrip() + f" {self._mounts.owner}\n".encode()
        try:
            with folder_beneath(self._mounts.anchor(), PATHS[mount]) as folder:
                _write_note(folder, self._mounts.root / PATHS[mount] / SUBMITS_NOTE, text)
        except ForeignFileError as error:
            self._troubles[mount].begins(f"{error.message} The count of submits is not noted there. Move it away.")
        except (OSError, DiskError):
            pass  # whoever needs a folder that cannot be used reports it
        else:
            self._troubles[mount].ends(f"the count is noted in {self._mounts.root / PATHS[mount]} again.")

    def _counted(self) -> int:
        try:
            with (
                file_beneath(self._mounts.anchor(), f"{HIDDEN}/{NAME}") as descriptor,
                open(descriptor, "rb", closefd=False) as stream,
            ):
                found = _COUNT.fullmatch(stream.read(_MOST_BYTES).removeprefix(_OPENING))
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise DiskError.of(f"The count of submits, {self._path}, cannot be read", error) from error
        count = _parsed_count(found[1]) if found else None
        if count is None:
            raise DiskError(
                f"{self._path} does not contain the count of submits any more.",
                advice="If you know that the journal is complete and no older copy, remove that file; then start the service again.",
            )
        return count

    def prepare(self, count: int) -> None:
        """Make sure that there is a file to keep the count in. Raises SubmitCountError, FolderGoneError."""
        if self._path.is_symlink() or not self._path.is_file():
            self._do(self._write, count)

    def keep(self, count: int) -> None:
        """Make a count durable, in one write that needs no room on the disk. It never falls. Raises DiskError.

        A count that is higher was made with a journal that knew more, and a mark of another process by one that serves the root as well:
        JournalBehindError, nothing may be paid by this one.
        """
        if (kept := self.read()) > count:
            raise JournalBehindError(
                f"{self._mounts.root} counts {kept} submits, but the journal only {count}: it is older than what was paid.",
                advice="Start the service again: it holds jobs that may have been paid for meanwhile.",
            )
        self._do(self._overwrite, count)
        if self._process and not self._is_marked():
            raise JournalBehindError(
                f"{self._path.with_name(SERVED_BY)} does not name this process any more: another one serves {self._mounts.root}.",
                advice="Start the service again: it stands by, or holds jobs that may have been paid for meanwhile.",
            )
        if count and self._mounts.owner and self._mounts.is_known:
            for mount in _NOTED_IN:
                self._note(mount, count)

    def _do(self, write: Callable[[int, int], None], count: int) -> None:
        try:
            with folder_beneath(self._mounts.anchor(), HIDDEN, make=True) as folder:
                write(folder, count)
        except OSError as error:
            raise SubmitCountError.of(f"The count of submits cannot be written to {self._path}", error) from error

    def _overwrite(self, folder: int, count: int) -> None:
        try:
            descriptor = os.open(NAME, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            self._write(folder, count)
            return
        try:
            if is_one := os.fstat(descriptor).st_nlink == 1:
                os.pwrite(descriptor, _text(count), 0)  # of one length, within one sector: whole or not at all
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if not is_one:  # its other name may be in somebody's backup
            self._write(folder, count)

    def _write(self, folder: int, count: int) -> None:
        write_durably_in(folder, NAME, _text(count))


def _write_note(folder: int, path: Path, text: bytes) -> None:
    """Write a note over one of ours in an open folder, which is at `path`. Raises ForeignFileError, OSError."""
    descriptor = opened_own(path, lambda head: len(head) < _MOST_BYTES and bool(_OURS.fullmatch(head)), folder)
    try:
        if is_one := os.fstat(descriptor).st_nlink == 1:
            os.pwrite(descriptor, text, 0)  # of one length, within one sector
            os.ftruncate(descriptor, len(text))
    finally:
        os.close(descriptor)
    if not is_one:  # its other name may be in somebody's backup
        write_durably_in(folder, SUBMITS_NOTE, text)


def _parsed_count(digits: bytes) -> int | None:
    """Return a count that may have been counted, else None."""
    return count if (count := int(digits)) <= _MOST else None


def _text(count: int) -> bytes:
    return _OPENING + b"%0*d\n" % (_DIGITS, count)
