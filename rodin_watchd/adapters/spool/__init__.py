"""The folders: taking files into work, publishing whole folders by one rename.

Every act may be repeated after a crash: it first looks at what is there. Nothing is ever deleted but what this module
itself made, and no name that is taken is ever overwritten. Raises DiskError (scope service) when a disk or a right of
the service's own folders is to blame, errors of scope set when the set is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rodin_watchd.adapters.spool.beneath import (
    disk_errors,
    file_beneath,
    folder_beneath,
    signature_of,
    sync_folder,
    write_durably,
)
from rodin_watchd.core.layout import ARCHIVE, FAILED, HIDDEN, INBOX, OUTBOX, RECEIPT, REPORT, REPORT_DATA, STATUS
from rodin_watchd.core.names import match_key
from rodin_watchd.errors import ChangedWhileTakenError, FileRefusedError, FolderGoneError, RightsError
from rodin_watchd.model import InputFile, Job

NAME_LIMIT_BYTES = 255

RECEIPTS: Mapping[str, str] = {OUTBOX: RECEIPT, ARCHIVE: RECEIPT, FAILED: REPORT_DATA}
"""By top folder, the file in each published folder that tells which job it belongs to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a folder is to be published: a top folder, the folder mirrored from the inbox, the set's name."""

    top: str
    folder: str
    name: str

    @property
    def parent(self) -> str:
        """The folder that it goes into, relative to the root."""
        return f"{self.top}/{self.folder}" if self.folder else self.top


class Spool:
    """The service's folders below one root. Any thread; one job's files by one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = root / INBOX
        self.work = root / HIDDEN / "work"
        self.folders = (self.inbox, root / OUTBOX, root / FAILED, root / ARCHIVE, self.work)

    def prepare(self) -> None:
        """Make the folders that are missing; may be repeated. Raises DiskError, or FolderGoneError without a root."""
        if not self.root.is_dir():
            raise FolderGoneError(f"The folder {self.root} does not exist.", advice="Run `rodin-watchd init` for it.")
        with disk_errors(f"The folders below {self.root} cannot be made"):
            for folder in self.folders:
                folder.mkdir(parents=True, exist_ok=True)

    def problems(self) -> list[str]:
        """Return what keeps the service from moving inputs and publishing results, in plain words."""
        rights = os.R_OK | os.W_OK | os.X_OK
        found = [
            f"{folder} cannot be written by this user." for folder in self.folders if not os.access(folder, rights)
        ]
        if not found and self.inbox.stat().st_dev != self.work.stat().st_dev:
            found.append(
                f"{self.inbox} and {self.work} are on different filesystems: a set cannot be taken by renames."
            )
        return found

    def free_bytes(self) -> int:
        """Return the room on the filesystem that holds the work folder. Raises DiskError."""
        with disk_errors(f"{self.work} cannot be looked at"):
            return shutil.disk_usage(self.work).free

    def inputs(self, job_id: str) -> Path:
        """Return the folder of a job's taken inputs."""
        return self.work / job_id / "inputs"

    def downloads(self, job_id: str) -> Path:
        """Return the folder of a job's downloaded results, as they came."""
        return self.work / job_id / "download"

    def result(self, job_id: str) -> Path:
        """Return the folder that becomes a job's published result."""
        return self.work / job_id / "result"

    # ---- taking -----------------------------------------------------------------------------------------------------

    def take(self, job_id: str, file: InputFile) -> Path:
        """Bring one member of a set into the job's work folder and return its path; may be repeated.

        Raises ChangedWhileTakenError when it is gone or not what the claim says, FileRefusedError when it is not a
        plain file, RightsError when it may not be moved.
        """
        target = self.inputs(job_id) / file.name
        with disk_errors(f"The work folder {self.work} cannot be written"):
            target.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(target):
            self._bring(file, target)
        status = target.lstat()
        now = signature_of(status)
        if now[:2] != file.signature[:2] or (now.ino != file.signature.ino and not file.shared):
            raise ChangedWhileTakenError(f"“{file.name}” changed while it was taken.")
        return target

    def _bring(self, file: InputFile, target: Path) -> None:
        folder, _, name = file.source.rpartition("/")
        try:
            with folder_beneath(self.root, folder) as parent:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if signature_of(status) != file.signature:
                    raise ChangedWhileTakenError(f"“{file.name}” changed while it was taken.")
                if status.st_nlink > 1:
                    raise FileRefusedError(f"“{file.name}” has a second name elsewhere (a hard link); it is not taken.")
                if file.shared:
                    self._copy(file, target)
                else:
                    self._rename(parent, name, target)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ChangedWhileTakenError(f"“{file.name}” vanished before it could be taken.") from error

    def _rename(self, parent: int, name: str, target: Path) -> None:
        try:
            os.rename(name, target, src_dir_fd=parent)
        except PermissionError as error:
            raise RightsError(f"The service may not move “{name}” out of its folder.") from error
        sync_folder(parent)
        with folder_beneath(target.parent, "") as into:
            sync_folder(into)

    def _copy(self, file: InputFile, target: Path) -> None:
        """Copy a shared file, times included; it appears under its name when it is whole."""
        part = target.with_name(".shared.part")
        with disk_errors("A shared file cannot be copied into the work folder"):
            with file_beneath(self.root, file.source) as source, part.open("wb") as out:
                with open(source, "rb", closefd=False) as stream:
                    shutil.copyfileobj(stream, out, 1 << 20)
                if signature_of(os.fstat(source)) != file.signature:
                    raise ChangedWhileTakenError(f"“{file.name}” changed while it was copied.")
                out.flush()
                os.utime(out.fileno(), ns=(file.signature.mtime_ns, file.signature.mtime_ns))
                os.fsync(out.fileno())
            part.rename(target)

    # ---- publishing -------------------------------------------------------------------------------------------------

    def publish(self, job: Job, source: Path, place: Place) -> str:
        """Publish a whole folder under its place by one rename and return where it lies now, relative to the root.

        May be repeated: a folder whose receipt names this job (and this retry of it) is the one published before. A name that is taken
        (compared as artists compare names) gets the job's id added. Raises DiskError.
        """
        with (
            disk_errors(f"{self.root / place.parent} cannot be written"),
            folder_beneath(self.root, place.parent, make=True) as into,
        ):
            taken = {match_key(other): other for other in os.listdir(into)}  # noqa: PTH208 - of a descriptor
            published = self._published(place, taken, job)
            if published is None:
                published = _free_name(place.name, taken, job.id)
                self._move_folder(source, place.parent, into, published)
        return f"{place.parent}/{published}"

    def _published(self, place: Place, taken: Mapping[str, str], job: Job) -> str | None:
        """Return the name under which this job was published before, if it was."""
        for suffix in _suffixes(job.id):
            there = taken.get(match_key(_with_suffix(place.name, suffix)))
            if there is None:
                return None
            told = _told_by(self.root, f"{place.parent}/{there}/{RECEIPTS[place.top]}")
            if told == (job.id, job.retries):
                return there
        return None

    def _move_folder(self, source: Path, parent: str, into: int, name: str) -> None:
        try:
            os.rename(source, name, dst_dir_fd=into)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_folder(source, parent, into, name)
        sync_folder(into)

    def _copy_folder(self, source: Path, parent: str, into: int, name: str) -> None:
        """Cross to another filesystem: copy under a hidden name there, make it durable, then rename."""
        hidden = f".rodin-{source.parent.name}"
        copy = self.root / parent / hidden
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, symlinks=True)
        for item in (*copy.iterdir(), copy):
            if not item.is_symlink():
                _sync(item)
        os.rename(hidden, name, src_dir_fd=into, dst_dir_fd=into)
        shutil.rmtree(source)

    def start_over(self, folder: Path) -> None:
        """Make a folder of a job's work anew, empty. Raises OSError."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def link(self, source: Path, target: Path) -> None:
        """Give a file of a job's work a second name, or copy it where the filesystem has no hard links."""
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            shutil.copyfile(source, target)

    def write_status(self, text: str) -> None:
        """Replace STATUS.txt. Raises DiskError."""
        with disk_errors("STATUS.txt cannot be written"):
            write_durably(self.root / STATUS, text.encode("utf-8", "backslashreplace"))

    def forget(self, job_id: str) -> None:
        """Remove what is left of a job's work folder: copies of what was published; may be repeated."""
        home = self.work / job_id
        for made_here in (self.downloads(job_id), self.result(job_id)):
            shutil.rmtree(made_here, ignore_errors=True)
        with contextlib.suppress(OSError):  # something unexpected in it: it stays
            home.rmdir()

    def clear_report(self, place: str) -> None:
        """Remove a failure's report whose set is being taken up again, and the folder if nothing else is in it."""
        with contextlib.suppress(OSError), folder_beneath(self.root, place) as folder:
            for name in (REPORT, REPORT_DATA):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        self.remove_empty(place)

    def remove_empty(self, folder: str) -> None:
        """Remove the folder of a set that was dropped as a folder, if nothing is left in it."""
        with contextlib.suppress(OSError), folder_beneath(self.root, folder.rpartition("/")[0]) as parent:
            os.rmdir(folder.rpartition("/")[2], dir_fd=parent)


def _told_by(root: Path, path: str) -> tuple[object, object] | None:
    """Return the job's id and retry that a receipt or report below `root` names; None when it cannot be read."""
    try:
        with file_beneath(root, path) as descriptor, open(descriptor, "rb", closefd=False) as stream:
            job = tomllib.loads(stream.read(1 << 20).decode())["job"]
            return job["id"], job["retries"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _suffixes(job_id: str) -> tuple[str, ...]:
    return ("", f"-{job_id[:6]}", f"-{job_id}")


def _free_name(name: str, taken: Mapping[str, str], job_id: str) -> str:
    """Return the name, or the name with (more of) the job's id, whichever nobody has."""
    names = [_with_suffix(name, suffix) for suffix in _suffixes(job_id)]
    return next((n for n in names if match_key(n) not in taken), names[-1])


def _with_suffix(name: str, suffix: str) -> str:
    """Add a suffix, within the length that filesystems take."""
    room = NAME_LIMIT_BYTES - len(suffix)
    return os.fsdecode(os.fsencode(name)[:room]) + suffix


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        sync_folder(descriptor)
    finally:
        os.close(descriptor)
