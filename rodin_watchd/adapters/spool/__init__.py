"""The folders: taking files into work, publishing whole folders by one rename.

Every act may be repeated after a crash: it first looks at what is there. Nothing is ever deleted but what this module
itself made or has renamed away and looked at, and no name that is taken is ever overwritten. Raises DiskError (scope service) when a disk or a right of
the service's own folders is to blame, errors of scope set when the set is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.beneath import (
    NO_FOLDER_ERRNOS,
    Anchor,
    disk_errors,
    file_in,
    folder_beneath,
    folder_in,
    is_there,
    new_file,
    refuse_served,
    signature_of,
    sync_folder,
    write_durably_in,
)
from rodin_watchd.adapters.spool.copying import DROPPED_PREFIX, drop, held_in
from rodin_watchd.adapters.spool.inbox import DEEPEST
from rodin_watchd.adapters.spool.mounts import Mounts
from rodin_watchd.adapters.spool.moving import (
    RECEIPTS,
    Destination,
    apart_from_others,
    contents,
    discard,
    exchange,
    give_name,
    has_name,
    holds_own,
    job_named_by,
    move_numbered,
    move_to_free_name,
    names_for,
    own_name,
    published_before,
    report_digest_in,
    settle,
)
from rodin_watchd.adapters.spool.sealing import linked
from rodin_watchd.adapters.spool.sharing import PLAIN, Sharing
from rodin_watchd.adapters.spool.taking import is_claimed, lay_in, rescue, return_file, take_files
from rodin_watchd.core.batches import is_of_copies
from rodin_watchd.core.layout import (
    ARCHIVE,
    BUILT,
    CLAIM_PREFIX,
    DOWNLOADS,
    FAILED,
    HIDDEN,
    INBOX,
    OUTBOX,
    OWN_PREFIX,
    PROBE_PREFIX,
    RECEIPT,
    REPORT,
    REPORT_DATA,
    RESULTS,
    STATUS,
    Claim,
)
from rodin_watchd.core.mounts import PATHS, Mount
from rodin_watchd.core.names import folders_of, junk_reason, may_go_with, printable, safe_folder_name
from rodin_watchd.core.receipt import is_as_written, job_named_in
from rodin_watchd.core.status import is_page
from rodin_watchd.errors import ArchiveError, DiskError, FailedFolderError, FolderGoneError, OutboxError, RightsError
from rodin_watchd.hooks.leftovers import remove
from rodin_watchd.model import InputFile, Job, Signature

__all__ = ["RECEIPTS", "Destination", "Spool", "job_named_by", "whole_files"]

# ---- What keeps the folders from being used, and what an error in one of them stops ---------------------------------


_TOP_ERRORS: Final[Mapping[str, type[DiskError]]] = {
    OUTBOX: OutboxError,
    FAILED: FailedFolderError,
    ARCHIVE: ArchiveError,
}


@contextlib.contextmanager
def errors_of(top: str) -> Iterator[None]:
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


# ---- STATUS.txt in the root: written whole, in place of a page of ours alone, and again where another one is there --


_NEW: Final = f"{OWN_PREFIX}new-{STATUS}"
_MOST_BYTES: Final = 1 << 20


class StatusPage:
    """The page as it was written last; the main thread's alone."""

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts
        self._data = b""
        self._state: tuple[int, int] | None = None  # size and time

    def write(self, data: bytes, set_access: Callable[[int, int], None]) -> str:
        """Give the root this page. Return the new name of what lay there if that was no page of ours, else "".

        `set_access` gives the open file in the open root its mode. Raises DiskError, also where a folder is there.
        """
        try:
            with folder_beneath(self._mounts.anchor(), "") as root:
                if _is_folder(root):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), STATUS)
                kept = give_name(_NEW, root, STATUS, is_page, lambda: write_durably_in(root, _NEW, data, set_access))
                self._data, self._state = data, _state(root)
        except OSError as error:
            raise DiskError.of("STATUS.txt cannot be written", error) from error
        return kept

    def is_there(self) -> bool:
        """Return whether what was written last is there, by a look that costs next to nothing while it does."""
        try:
            with folder_beneath(self._mounts.anchor(), "") as root:
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


class Spool:
    """The service's folders below one root. Any thread; one job's files by one thread at a time."""

    def __init__(self, root: Path, sharing: Sharing = PLAIN) -> None:
        self.root = root
        self._sharing = sharing
        self.copies = False  # whether sets were copied into the work folder when that was last tried
        self.inbox = root / INBOX
        self.work = root / HIDDEN / "work"
        self.mounts = Mounts(root)
        self.folders = (self.inbox, root / OUTBOX, root / FAILED, root / ARCHIVE, self.work)
        self._page = StatusPage(self.mounts)
        self._naming = {top: threading.Lock() for top in RECEIPTS}  # two jobs may want names that differ in case only

    def share(self, sharing: Sharing) -> None:
        """Publish for others than before, from now on."""
        self._sharing = sharing

    def prepare(self, may_make: Callable[[Path], bool] = lambda _folder: True) -> None:
        """Make the folders that are missing and may be made; may be repeated. Raises DiskError."""
        for folder in filter(may_make, self.folders):
            try:
                self._prepare(folder)
            except OSError as error:
                raise DiskError.of(f"The folder {folder} cannot be made", error) from error

    def _prepare(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        if folder.name in RECEIPTS:
            with folder_beneath(self.root, "") as root, folder_in(root, folder.name) as made:
                self._sharing.folder(made, root)

    def confirm(self, top: str) -> None:
        """Raise DiskError where a folder of the service is not the one that it should be: its share is away, or it is missing."""
        with self._disk_errors(f"{top} cannot be read"), folder_beneath(self.mounts.anchor(), top):
            pass

    def problems(self) -> list[str]:
        """Return what keeps the service from moving inputs and publishing results, in plain words."""
        return [problem for problem in map(problem_of, self.folders) if problem]

    def renames(self) -> bool | None:
        """Try whether a file goes from the inbox to the work folder by a rename; None where that cannot be tried now.

        Where it does not, sets are copied, which takes twice the room for a while. The probe does not stay behind.
        """
        try:
            with folder_beneath(self.mounts.anchor(), INBOX) as inbox, folder_beneath(self._work, "") as work:
                return _renames(inbox, work)
        except (DiskError, OSError):
            return None

    def try_renames(self) -> None:
        """Find out whether sets are copied; where that cannot be tried now, what was found before holds."""
        renames = self.renames()
        if renames is not None:
            self.copies = not renames

    @property
    def _work(self) -> Anchor:
        return self.mounts.anchor(PATHS[Mount.WORK])

    def free_bytes(self) -> int:
        """Return the room on the filesystem that holds the work folder. Raises DiskError."""
        with self._disk_errors(f"{self.work} cannot be read"):
            return shutil.disk_usage(self.work).free

    def inputs(self, job_id: str) -> Path:
        """Return the folder of a job's taken inputs."""
        return self.work / job_id / "inputs"

    def has_inputs(self, job_id: str) -> bool:
        """Return whether the folder of a job's taken inputs is there. Raises DiskError."""
        with self._disk_errors(f"{self.inputs(job_id)} cannot be read"), folder_beneath(self._work, "") as work:
            try:
                with folder_in(work, job_id) as home, folder_in(home, "inputs"):
                    return True
            except FileNotFoundError:
                return False

    def downloads(self, job_id: str) -> Path:
        """Return the folder of a job's downloaded results, as they came."""
        return self.work / job_id / DOWNLOADS

    def drop_results(self, job_id: str) -> None:
        """Remove what was downloaded for a job, and what was made of it; may be repeated. Raises DiskError."""
        for folder in self._results(job_id):
            remove(folder)
            if os.path.lexists(folder):
                raise DiskError(f"{folder} cannot be removed.")

    def _results(self, job_id: str) -> tuple[Path, ...]:
        home = self.work / job_id
        made_here = (self.downloads(job_id), self.result(job_id), self.processed(job_id))
        return (*made_here, *home.glob("after-*"), *home.glob("copy-*"))

    def result(self, job_id: str) -> Path:
        """Return the folder that becomes a job's published result."""
        return self.work / job_id / BUILT

    def processed(self, job_id: str) -> Path:
        """Return the folder of a job's results as plugins left them."""
        return self.work / job_id / "processed"

    def after(self, job_id: str, plugin: str) -> Path:
        """Return the folder of the result as one plugin left it."""
        return self.work / job_id / f"after-{plugin}"

    def working_copy(self, job_id: str) -> Path:
        """Return the name of a folder in which a plugin works; each time another one, not made yet."""
        return self.work / job_id / f"copy-{secrets.token_hex(4)}"

    @contextlib.contextmanager
    def _disk_errors(self, what: str) -> Iterator[None]:
        """Blame the machine for what is its fault; also for a missing folder of the service, which is never made here.

        (It may be the place where a share was mounted: what is written there disappears when the share comes back.)
        """
        try:
            with disk_errors(what):
                yield
        except FileNotFoundError as error:
            gone = next((f for f in self.folders if not os.path.isdir(f)), None)  # noqa: PTH112 - as above
            if gone is None:
                raise
            raise FolderGoneError(f"{what}: the folder {gone} is missing.") from error

    # ---- taking -----------------------------------------------------------------------------------------------------

    def take(self, job_id: str, file: InputFile, *, as_it_is: bool = False) -> Path:
        """Bring one member of a set into the job's work folder and return its path; may be repeated.

        Raises GoneWhileTakenError when it is gone, ChangedWhileTakenError when it is not what the claim says (what was taken before is not checked any
        more if it is wanted `as_it_is`), FileRefusedError when it is not a plain file, RightsError when it may not be
        moved, DiskError.
        """
        self.take_all(job_id, (file,), as_it_is=as_it_is)
        return self.inputs(job_id) / file.name

    def take_all(self, job_id: str, files: Iterable[InputFile], *, as_it_is: bool = False) -> None:
        """Do the same with several members of a set, in this order. When one cannot be taken, those after it are not."""
        with (
            self._disk_errors(f"{self.inputs(job_id)} cannot be written"),
            folder_beneath(self._work, f"{job_id}/inputs", make=True) as into,
        ):
            take_files(self.mounts.anchor(), self._claim(job_id), files, into, as_it_is=as_it_is)

    def put_back(self, job_id: str, file: InputFile) -> None:
        """Bring a member of a set back to where it was taken from, under its name or, where that is taken, one with the job's id.

        May be repeated. A copy of a file that other sets name is removed. Raises DiskError, OSError.
        """
        with (
            self._disk_errors(f"{self.inputs(job_id)} cannot be written"),
            folder_beneath(self._work, f"{job_id}/inputs", make=True) as held,
        ):
            return_file(self.mounts.anchor(), self._claim(job_id), file, held)

    def is_corrected(self, job: Job) -> bool:
        """Return whether somebody has changed the files of a failed job in the folder that it has in `failed/`.

        A file that was edited, exchanged, added or taken away counts; but not that one is missing of a job that was begun with
        copies, for these may never have come there. Nothing is said of a folder that is gone or another job's. Never raises.
        """
        known = {file.name: file.signature[:2] for file in job.files}
        try:
            with folder_beneath(self.mounts.anchor(), job.place) as folder:
                named = job_named_in(contents(folder, REPORT_DATA))
                found = {
                    name: signature_of(os.stat(name, dir_fd=folder, follow_symlinks=False))[:2]
                    for name in _set_files_in(folder)
                }
        except OSError:
            return False
        is_other = found.items() - known.items() if is_of_copies(job) else found != known
        return bool(found) and (named is None or named[0] == job.id) and bool(is_other)

    def put_corrected_back(self, job: Job) -> None:
        """Bring all files of a failed set back to where they were dropped; may be repeated.

        A file that was added goes where the first one goes. A set whose originals stay in the inbox gets a folder of its own there.
        Raises DiskError, OSError.
        """
        dropped = () if job.originals else [f.source for f in job.files if f.source.startswith(f"{INBOX}/")]
        apart = f"{safe_folder_name(job.name)}-{job.id[:6]}"  # of a set that stays where nothing can be put
        home = "/".join(filter(None, (INBOX, apart if job.originals else job.folder)))
        home = next((source.rpartition("/")[0] for source in dropped), home)
        sources = {source.rpartition("/")[2]: source for source in dropped}
        root = self.mounts.anchor()
        with self._disk_errors(f"{job.place} cannot be moved"), contextlib.suppress(FileNotFoundError):
            with folder_beneath(root, job.place) as folder:
                named = job_named_in(contents(folder, REPORT_DATA))
                for name in _set_files_in(folder) if named is None or named[0] == job.id else ():
                    file = replace(job.files[0], source=sources.get(name, f"{home}/{name}"))
                    return_file(root, self._claim(job.id), file, folder)
            self.clear_place(job)

    def lay_in(self, job_id: str, source: Path, sha256: str) -> Signature | None:
        """Copy a file of another job's work into this job's inputs, and return what it is there; may be repeated.

        None where it is neither there with this digest nor at its source. Raises DiskError.
        """
        with (
            self._disk_errors(f"{self.inputs(job_id)} cannot be written"),
            folder_beneath(self._work, f"{job_id}/inputs", make=True) as into,
        ):
            return lay_in(self._work, source.relative_to(self.work).as_posix(), sha256, into)

    def write_in(self, job_id: str, name: str, data: bytes) -> Signature:
        """Write a small file into a job's inputs, durably, and return what it is there; may be repeated. Raises DiskError."""
        with (
            self._disk_errors(f"{self.inputs(job_id)} cannot be written"),
            folder_beneath(self._work, f"{job_id}/inputs", make=True) as into,
        ):
            if contents(into, name) != data:
                write_durably_in(into, name, data)
            return signature_of(os.stat(name, dir_fd=into, follow_symlinks=False))

    def drop_inputs(self, job_id: str) -> None:
        """Remove the inputs that were laid out for a job that is not begun; may be repeated. Raises DiskError."""
        remove(self.inputs(job_id))
        self.forget(job_id)

    def has_taken(self, job_id: str, file: InputFile) -> bool:
        """Return whether a member of a set is in the job's work folder, or claimed by the job. Raises DiskError."""
        with self._disk_errors(f"{self.inputs(job_id)} cannot be read"):
            there = os.path.lexists(self.inputs(job_id) / file.name)
            return there or (not file.shared and is_claimed(self.mounts.anchor(), self._claim(job_id), file))

    def _claim(self, job_id: str) -> Claim:
        return Claim(job_id, self.mounts.owner)

    # ---- publishing -------------------------------------------------------------------------------------------------

    def publish(self, job: Job, source: Path, place: Destination) -> str:
        """Publish a whole folder under its place by one rename and return where it is now, relative to the root.

        It is durable before it appears, and there for good when this returns; somebody may have taken it away by then. May be repeated: a folder whose receipt names
        this job (and this retry of it) and which holds all that `source` still holds is the one published before. A name
        that is taken (compared as artists compare names), be it by an empty folder, gets the job's id added. Raises
        RightsError when something is wrong with the mirrored folder, DiskError; FileNotFoundError when there is neither a
        `source` nor a folder published before (somebody took it away meanwhile).
        """
        place = apart_from_others(self.root, place, job)
        with (
            self._place_errors(place),
            folder_beneath(self._published, place.parent, make=True) as into,
        ):
            with self._naming[place.top]:
                names = names_for(job, into, place)
                before = published_before(self.root, into, names, job, source, place)
                if before is None:
                    set_access = self._access_setter(into, widen=place.top == OUTBOX)
                    name = move_to_free_name(source, into, names, job, place, set_access)
            if before is not None:
                name, held = before
                sync_folder(into)
                drop(source, held)  # what a crash has left behind a copy to another filesystem
        return f"{place.parent}/{name}"

    @property
    def _published(self) -> Anchor:
        return replace(self.mounts.anchor(), made=self._sharing.folder)

    def _access_setter(self, into: int, *, widen: bool) -> Callable[[int], None]:
        return lambda folder: self._sharing.tree(folder, into, widen=widen)

    @contextlib.contextmanager
    def _place_errors(self, place: Destination) -> Iterator[None]:
        """Blame the disk; but a mirrored folder that cannot be used holds up its own sets only."""
        where = printable(place.parent, 1000)
        with errors_of(place.top), self._disk_errors(f"{where} cannot be written"):
            try:
                yield
            except OSError as error:
                if error.errno in NO_FOLDER_ERRNOS and not place.folder:
                    raise DiskError(f"{where} is not a folder.") from error
                if error.errno in NO_FOLDER_ERRNOS:
                    advice = "Remove the file there; the service tries again by itself."
                    raise RightsError(
                        f"“{where}” cannot be made: a file or a link is in the way.", advice=advice
                    ) from error
                if isinstance(error, PermissionError) and place.folder:
                    raise RightsError(f"The service has no permission to write in “{where}”.") from error
                raise

    def write_ours(self, folder: str, name: str, data: bytes, is_ours: Callable[[bytes], bool]) -> None:
        """Write a file of the service's own into a published folder, durably, in place of one that `is_ours`; may be repeated.

        Somebody else's file of that name stays, and nothing is written. Raises DiskError, OSError.
        """
        with self._published_in(folder) as opened:
            there = contents(opened, name)
            if there != data and (is_ours(there) or not is_there(name, opened)):
                new = f"{OWN_PREFIX}new-{name}"
                give_name(new, opened, name, is_ours, lambda: write_durably_in(opened, new, data, self._sharing.file))

    def rewrite_ours(self, folder: str, name: str, rewrite: Callable[[bytes], bytes]) -> bool:
        """Let a file of a published folder be what `rewrite` makes of its bytes, durably and in one act; may be repeated.

        Return False, and write nothing, where that is b"": the file is missing, or is somebody else's. Raises DiskError, OSError.
        """
        parent, _, own = folder.rpartition("/")
        # The new file is made next to the folder: whoever takes the folder away has no file of ours in it.
        new = f"{OWN_PREFIX}new-{hashlib.sha256(os.fsencode(own)).hexdigest()[:12]}-{name}"
        with self._published_in(parent) as holder, folder_in(holder, own) as opened:

            def is_ours(before: bytes) -> bool:
                return bool(rewrite(before))

            settle(new, holder, name, opened, is_ours)
            there = contents(opened, name)
            data = rewrite(there)
            if data not in (b"", there):
                write_durably_in(holder, new, data, self._sharing.file)
                exchange(new, holder, name, opened, is_ours)
            return bool(data)

    @contextlib.contextmanager
    def _published_in(self, folder: str) -> Iterator[int]:
        with (
            errors_of(folder.partition("/")[0]),
            self._disk_errors(f"{folder} cannot be written"),
            folder_beneath(self.mounts.anchor(), folder) as opened,
        ):
            yield opened

    def free_folder(self, job: Job) -> str:
        """Return a name for the folder that all jobs of a job's set go into: nothing has it where they may be published.

        The set's own name, or else with the job's id. Raises DiskError.
        """
        wanted = safe_folder_name(job.name)
        for top in RECEIPTS:
            parent = Destination.of(top, replace(job, batch=None)).parent
            with (
                errors_of(top),
                self._disk_errors(f"{parent} cannot be read"),
                contextlib.suppress(FileNotFoundError),
                folder_beneath(self.mounts.anchor(), parent) as folder,
            ):
                if has_name(folder, wanted):
                    return f"{wanted}-{job.id[:6]}"
        return wanted

    def published_folder(self, job: Job, place: str) -> Path:
        """Return the folder at a place that a job got, for those who read there; never raises.

        If it is not the job's any more, for people take folders away and another job gets the name, it is a path at which
        nothing is.
        """
        return self.root / (place if holds_own(self.root, place, job) else own_name(place, job.id))

    def foreign_in(self, job: Job) -> list[str]:
        """Return what is in the folder of a failed job, and neither its set, its report nor an operating system put there.

        Nothing where there is no folder of this job. Raises DiskError, OSError.
        """
        known = {REPORT, REPORT_DATA, *(file.name for file in job.files)}
        folder = self.published_folder(job, job.place).relative_to(self.root).as_posix()
        with contextlib.suppress(FileNotFoundError), folder_beneath(self.mounts.anchor(), folder) as opened:
            with os.scandir(opened) as found:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
            return sorted(
                name
                for name, is_folder in entries
                if not (is_folder and name == RESULTS) and (is_folder or name not in known) and not junk_reason(name)
            )
        return []

    def archive_failed(self, job: Job) -> str:
        """Move the folder of a failed job to the archive, whole, and return its place there; may be repeated after a crash.

        Raises FileNotFoundError where there is no folder of this job, neither in `failed/` nor moved before; else as `publish`.
        """
        source = self.published_folder(job, job.place)
        place = self.publish(job, source, Destination.of(ARCHIVE, job, report=True))
        with folder_beneath(self.mounts.anchor(), place) as archived:
            for left in source.parent.glob(f"{DROPPED_PREFIX}*"):  # by a crash while a copied original was removed
                held = held_in(archived, left, besides=())
                if held is not None:
                    drop(left, held)
        return place

    def has_place(self, job: Job) -> bool:
        """Return whether there is something at the place that a job got, its own or not; costs one look, never raises."""
        return bool(job.place) and os.path.lexists(self.root / job.place)

    def make(self, folder: Path) -> None:
        """Make a folder of a job's work if it is missing. Raises DiskError, OSError."""
        with (
            self._disk_errors(f"{folder} cannot be written"),
            folder_beneath(self._work, folder.relative_to(self.work).as_posix(), make=True),
        ):
            pass

    def make_way(self, folder: Path, name: str) -> None:
        """Make the folders, durably, that a result's name leads through, below a folder of a job's work; may be repeated.

        Where an earlier list of results had a file in their place, or folders in the place of the file, that goes. Raises DiskError, OSError.
        """
        with self._disk_errors(f"{folder} cannot be written"):
            for above in folders_of(name):
                if not (folder / above).is_dir():
                    remove(folder / above)
            if (folder / name).is_dir():
                remove(folder / name)
        self.make((folder / name).parent)

    def keep_only(self, folder: Path, names: AbstractSet[str]) -> None:
        """Remove from a folder of a job's work all but the files that are named, and the folders that they are in. Raises DiskError."""
        kept = names | {above for name in names for above in folders_of(name)}
        with self._disk_errors(f"{folder} cannot be written"):
            for top, folders, files in os.walk(folder):
                for path in (Path(top, entry) for entry in (*folders, *files)):
                    if path.relative_to(folder).as_posix() not in kept:
                        remove(path)

    def gather(self, target: Path, sources: Iterable[Path], besides: Collection[str]) -> None:
        """Make a folder of a job's work from the whole files below others; the first with a name has it; none where there are none.

        Raises DiskError, OSError.
        """
        found: dict[str, Path] = {}
        folders = set[str]()
        for source in sources:
            for name in whole_files(source):
                above = folders_of(name)
                if name not in (*besides, *folders) and found.keys().isdisjoint(above):
                    found.setdefault(name, source / name)
                    folders.update(above)
        with self._disk_errors(f"{target} cannot be written"):
            remove(target)
            for name, path in found.items():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                linked(str(path), str(target / name))

    def write_status(self, text: str) -> str:
        """Write STATUS.txt; return the new name of what lay there if that was no page of ours, else "". Raises DiskError."""
        return self._page.write(text.encode("utf-8", "backslashreplace"), self._sharing.file)

    def has_status(self) -> bool:
        """Return whether STATUS.txt is what was written last."""
        return self._page.is_there()

    # ---- what belongs to nobody -------------------------------------------------------------------------------------

    def work_folders(self) -> set[str]:
        """Return the names of the folders in the work folder. Raises DiskError."""
        with (
            self._disk_errors(f"{self.work} cannot be read"),
            folder_beneath(self._work, "") as work,
            os.scandir(work) as found,
        ):
            return {entry.name for entry in found if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."}

    def set_aside(self, name: str, report: str) -> str:
        """Move a work folder that no live job has to `failed/`, with a report, and return its place; "" if it was empty.

        Raises DiskError, OSError.
        """
        source = self.work / name
        with contextlib.suppress(OSError):
            source.rmdir()
        if not source.exists():
            return ""
        with (
            errors_of(FAILED),
            self._disk_errors(f"{FAILED} cannot be written"),
            folder_beneath(self.mounts.anchor(), FAILED) as into,
            folder_beneath(self._work, name) as folder,
            _report_beside(folder, report),
            self._naming[FAILED],
        ):
            found = move_numbered(source, into, f"set-aside-{name}", self._access_setter(into, widen=False))
        return f"{FAILED}/{found}"

    def claimed(self) -> Mapping[str, list[str]]:
        """Return by job the hidden folders next to files of people that hold what a job of this root has claimed.

        Raises DiskError, OSError.
        """
        found: dict[str, list[str]] = {}
        for top in (INBOX, FAILED):
            with self._disk_errors(f"{top} cannot be read"), folder_beneath(self.mounts.anchor(), top) as opened:
                check = self.mounts.anchor().check if top == INBOX else refuse_served
                for path in _claims_below(opened, top, DEEPEST, check):
                    claim = Claim.of_name(path.rpartition("/")[2])
                    if claim and claim.owner in ("", self.mounts.owner):  # "": of an earlier version
                        found.setdefault(claim.job_id, []).append(path)
        return found

    def rescue(self, job_id: str, claim: str) -> None:
        """Bring what a job that is not live any more has claimed into its work folder; may be repeated.

        Raises DiskError, OSError.
        """
        folder, _, name = claim.rpartition("/")
        with (
            self._disk_errors(f"{self.inputs(job_id)} cannot be written"),
            folder_beneath(self._work, f"{job_id}/inputs", make=True) as into,
            folder_beneath(self.mounts.anchor(), folder) as parent,
        ):
            with folder_in(parent, name) as claimed:
                rescue(claimed, into)
            with contextlib.suppress(OSError):  # a folder that somebody made in it
                os.rmdir(name, dir_fd=parent)

    # ---- clearing up ------------------------------------------------------------------------------------------------

    def forget(self, job_id: str) -> None:
        """Remove what is left of a job's work folder: copies of what was published; may be repeated."""
        home = self.work / job_id
        for folder in (*self._results(job_id), *home.glob(f"{DROPPED_PREFIX}*")):
            remove(folder)
        with contextlib.suppress(OSError):  # something unexpected in it: it stays
            if self.inputs(job_id).is_dir():  # all went back into the inbox; else it was published as a whole
                self.inputs(job_id).rmdir()
            home.rmdir()

    def clear_place(self, job: Job) -> None:
        """Do the same with the folder in `failed/` that a job has, unless it is another job's by now."""
        named = job_named_by(self.mounts.anchor(), f"{job.place}/{REPORT_DATA}")
        if named is None or named[0] == job.id:
            self.clear_leftovers(job.place)
            if job.batch and job.batch.folder:
                self.remove_emptied(job.place.rpartition("/")[0], frozenset())

    def clear_leftovers(self, folder: str) -> None:
        """Remove from a folder whose set was taken what an earlier job left in it (receipt, report); and it, if empty then.

        What somebody has changed in them since stays: each is known by its bytes.
        """
        with contextlib.suppress(OSError), folder_beneath(self.mounts.anchor(), folder) as opened:
            found = contents(opened, REPORT_DATA)
            if digest := report_digest_in(found):
                discard(opened, REPORT, lambda data: hashlib.sha256(data).hexdigest() == digest)
            for name in (RECEIPT, REPORT_DATA):
                discard(opened, name, is_as_written)
        self.remove_emptied(folder, frozenset())

    def remove_emptied(self, folder: str, files: AbstractSet[str]) -> None:
        """Remove a folder that a set of these `files` came out of, if nothing is left in it but what may go with it.

        Never through links. What comes into it at that moment stays, and so does the folder.
        """
        above, _, name = folder.rpartition("/")
        with contextlib.suppress(OSError), folder_beneath(self.mounts.anchor(), above) as parent:
            with folder_in(parent, name) as opened:
                _clear_what_goes(opened, files)
            os.rmdir(name, dir_fd=parent)


def whole_files(folder: Path) -> Iterator[str]:
    """Yield the names, relative to a folder, of the files below it, but for those that are being written; none where it is missing.

    Links are neither followed nor named.
    """
    for top, _, files in os.walk(folder):
        for path in (Path(top, name) for name in files if not name.endswith(".part")):
            if stat.S_ISREG(path.lstat().st_mode):
                yield path.relative_to(folder).as_posix()


def _clear_what_goes(folder: int, files: AbstractSet[str]) -> None:
    """Remove what may go with a folder that a set of these `files` has left, if there is nothing else in the open folder."""
    with os.scandir(folder) as found:
        left = [(entry.name, entry.is_file(follow_symlinks=False)) for entry in found]
    if all(is_file and may_go_with(name, files) for name, is_file in left):
        for name, _ in left:
            os.unlink(name, dir_fd=folder)


def _set_files_in(folder: int) -> list[str]:
    """Return the names of the files in an open folder in `failed/` that are a set's, not a report or what a program hides."""
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if entry.is_file(follow_symlinks=False)]
    return sorted(name for name in names if name not in (REPORT, REPORT_DATA) and not junk_reason(name))


def _renames(inbox: int, work: int) -> bool:
    name = f"{PROBE_PREFIX}{secrets.token_hex(4)}"
    for folder in (inbox, work):
        _clear_probes(folder)
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=inbox))
    try:
        os.rename(name, name, src_dir_fd=inbox, dst_dir_fd=work)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    finally:
        for folder in (inbox, work):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return True


def _clear_probes(folder: int) -> None:
    """Remove probes that a crash left behind: they are empty."""
    with os.scandir(folder) as found:
        left = [entry for entry in found if entry.name.startswith(PROBE_PREFIX)]
    for entry in left:
        if entry.is_file(follow_symlinks=False) and not entry.stat(follow_symlinks=False).st_size:
            os.unlink(entry.name, dir_fd=folder)


@contextlib.contextmanager
def _report_beside(folder: int, text: str) -> Iterator[None]:
    """Lay a report into an open folder that is about to be moved, under a free name; it goes again if that fails."""
    names = itertools.chain((REPORT,), (f"REPORT-{number}.txt" for number in itertools.count(2)))
    taken = os.listdir(folder)
    name = next(free for free in names if free not in taken)
    with new_file(folder, name) as descriptor, open(descriptor, "wb", closefd=False) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
    try:
        yield
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise


def _claims_below(folder: int, path: str, depth: int, check: Callable[[str, int], None]) -> Iterator[str]:
    with os.scandir(folder) as found:
        names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    for name in names:
        if name.startswith(CLAIM_PREFIX):
            yield f"{path}/{name}"
        elif depth and not name.startswith("."):
            with contextlib.suppress(OSError), folder_in(folder, name) as inner:  # gone, closed to us, or served
                check(f"{path}/{name}", inner)
                yield from _claims_below(inner, f"{path}/{name}", depth - 1, check)
