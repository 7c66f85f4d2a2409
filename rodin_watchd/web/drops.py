"""Drops: what a browser sends, kept apart until it is whole, shown as the sets that it makes, and put into the inbox by one rename.

A drop is a folder below the hidden folder of the root. Files come into it in pieces (the tus protocol, `uploads`), each under a
hidden name until its last byte is there. `preview` looks at it with the daemon's own intake, so that a person sees before sending what
the daemon will see after. `send` gives the folder a free name in the inbox: nothing half-written is ever visible there, whatever breaks
off. Nothing of a drop is paid for, or kept, before it is sent; what nobody has touched for a day is removed.

One request at a time works with a drop (a lock in its folder), so what was agreed to is what is sent. The bytes of several files may
come at the same time: each file has a lock of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rodin_watchd.adapters.spool.beneath import (
    Anchor,
    disk_errors,
    file_beneath,
    folder_beneath,
    write_durably_in,
    write_whole_in,
)
from rodin_watchd.adapters.spool.inbox import Inbox
from rodin_watchd.adapters.spool.moving import move_numbered
from rodin_watchd.adapters.spool.sharing import sharing_of
from rodin_watchd.config import Config
from rodin_watchd.core.claims import wanted
from rodin_watchd.core.kinds import KINDS, Article
from rodin_watchd.core.layout import HIDDEN, INBOX
from rodin_watchd.core.names import printable, safe_folder_name
from rodin_watchd.core.pairing import Candidate, member_of
from rodin_watchd.core.sets import ReadySet
from rodin_watchd.core.sidecar import PRESET_NAME
from rodin_watchd.core.toml_text import LIMIT_BYTES
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.errors import (
    DiskError,
    DropBusyError,
    DropError,
    DropOffsetError,
    DropTooLargeError,
    DropUnknownError,
)
from rodin_watchd.model import Role
from rodin_watchd.service.intake import view_at_rest

DROPS: Final = "drops"
"""The folder next to the work folder that holds them."""

KEPT_SECONDS: Final = DAY_SECONDS
"""How long a drop is kept that nobody touches: an upload that broke off can go on for so long."""

MOST_IMAGE_BYTES: Final = 100_000_000
MOST_FILES: Final = 500
MOST_DROP_BYTES: Final = 2_000_000_000
MOST_ALL_BYTES: Final = 10_000_000_000
_MOST_DEPTH: Final = 8
_LONGEST_NAME_BYTES: Final = 255
_LONGEST_PATH_BYTES: Final = 1000
_LEAST_FREE_BYTES: Final = 500_000_000
_BLOCK_BYTES: Final = 1 << 20

_LOCK: Final = "lock"
_NOT_KEPT: Final = "The files that were sent cannot be kept"

_ID: Final = re.compile(r"[0-9a-f]{32}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A file on its way."""

    id: str
    path: str
    offset: int  # bytes that are here, durably
    length: int  # bytes

    @property
    def is_whole(self) -> bool:
        """Whether its last byte is here."""
        return self.offset == self.length


@dataclass(frozen=True, slots=True)
class PreviewSet:
    """One set of a drop, as the daemon will see it."""

    name: str
    folder: str
    kind: str
    files: tuple[tuple[str, str], ...]  # role and path
    reason: str = ""  # why it will wait, or be refused; for people
    advice: str = ""
    is_refused: bool = False
    articles: tuple[Article, ...] = ()  # what it buys, by job; (): nothing as it is

    @property
    def is_ready(self) -> bool:
        """Whether the daemon will take and buy it."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Preview:
    """What a drop comes to."""

    id: str
    name: str
    folder: str
    uploads: tuple[PendingFile, ...]
    sets: tuple[PreviewSet, ...]
    ignored: tuple[tuple[str, str], ...]  # path and reason
    files: tuple[tuple[str, int], ...]  # path and bytes


class Drops:
    """The drops of one root; any thread, and any number of processes."""

    def __init__(self, config: Config, inbox: Callable[[], Anchor]) -> None:
        """`inbox` returns where a path into the inbox starts, which is checked at each use: it may be a share that is away."""
        self._config = config
        self._inbox = inbox
        self._home = config.folders.root / HIDDEN / DROPS

    # ---- making, finding, removing ----------------------------------------------------------------------------------

    def create(self, name: str, folder: str = "") -> str:
        """Begin a drop that is to become the folder `name` in a folder of the inbox; return its id. Raises DropError, DiskError."""
        name, folder = _folder_name(name), _checked_path(folder, is_folder=True)
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep(time.time())
        self._refuse_full(0)
        drop_id = secrets.token_hex(16)
        made = self._home / f".{drop_id}"
        (made / INBOX / folder / name).mkdir(parents=True)
        (made / _LOCK).touch()
        (made / "drop.json").write_text(json.dumps({"name": name, "folder": folder, "tree": INBOX}), encoding="utf-8")
        made.rename(self._home / drop_id)
        return drop_id

    def _refuse_full(self, length: int) -> None:
        """Raise DropTooLargeError where so many bytes would take the room that the service needs itself."""
        if shutil.disk_usage(self._home).free - length < _LEAST_FREE_BYTES:
            raise DropTooLargeError("The disk of the service is almost full.", advice="Tell whoever runs the service.")

    def discard(self, drop_id: str) -> None:
        """Remove a drop and all that was sent for it; may be repeated."""
        with contextlib.suppress(DropUnknownError), self._held(drop_id) as drop:
            self._remove(drop)

    def sweep(self, now: float) -> None:
        """Remove what nobody has touched for a day; `now` is UTC."""
        for drop in list(self._home.iterdir()) if self._home.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                if drop.stat().st_mtime < now - KEPT_SECONDS:
                    self._remove(drop)

    def _remove(self, drop: Path) -> None:
        gone = drop.with_name(f".gone-{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            drop.rename(gone)  # at once, so that no other request finds half of it
            shutil.rmtree(gone, ignore_errors=True)

    @contextlib.contextmanager
    def _held(self, drop_id: str) -> Iterator[Path]:
        """Give the folder of a drop, which no other request works with meanwhile. Raises DropUnknownError, DiskError."""
        drop = self._home / drop_id
        if not _ID.fullmatch(drop_id):
            raise _gone()
        with disk_errors(_NOT_KEPT):
            try:
                lock = (drop / _LOCK).open("ab")
            except FileNotFoundError:
                raise _gone() from None
            with lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not drop.is_dir():  # another request has sent or removed it
                    raise _gone()
                yield drop

    def _place(self, drop: Path) -> tuple[str, str, Path]:
        """Return name, folder and the staged folder of a drop; end a move that was broken off, and a sending. Raises DropUnknownError."""
        said = json.loads((drop / "drop.json").read_bytes())
        home = drop / said["tree"] / said["folder"] / said["name"]
        if before := said.get("before"):
            home.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                (drop / before).rename(home)
        if not home.is_dir():
            self._remove(drop)
            raise _gone()
        return said["name"], said["folder"], home

    def _tree(self, drop: Path) -> Path:
        """Return the folder that stands for the inbox: what it will get of a drop is there as `FOLDER/NAME`, below copies of its presets."""
        tree: str = json.loads((drop / "drop.json").read_bytes())["tree"]
        return drop / tree

    # ---- files ------------------------------------------------------------------------------------------------------

    def begin(self, drop_id: str, path: str, length: int) -> PendingFile:
        """Announce a file of `length` bytes at a path inside the drop. Raises DropError, DiskError."""
        with self._held(drop_id) as drop:
            return self._begun(drop, _checked_path(path), length)

    def _begun(self, drop: Path, path: str, length: int) -> PendingFile:
        if length < 0 or length > self._most_bytes(path):
            raise DropTooLargeError(
                f"“{printable(path)}” has {length:,} bytes; at most {self._most_bytes(path):,} are taken.",
                advice="Make the file smaller: fewer triangles, smaller textures or pictures.",
            )
        sizes = [*(one.length for one in self._uploads(drop)), *(size for _, size in self._files(drop))]
        if len(sizes) >= MOST_FILES or sum(sizes) + length > MOST_DROP_BYTES or self._used() + length > MOST_ALL_BYTES:
            raise DropTooLargeError(
                f"This is too much at once: at most {MOST_FILES} files and {MOST_DROP_BYTES:,} bytes are taken together.",
                advice="Send these first, then drop the rest; or copy the files into the shared folder.",
            )
        self._refuse_full(length)
        upload = PendingFile(secrets.token_hex(16), path, 0, length)
        with folder_beneath(drop, "") as folder:
            write_durably_in(folder, f"{upload.id}.json", json.dumps({"path": path, "length": length}).encode())
            os.close(os.open(f"{upload.id}.part", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder))
        os.utime(drop)
        if upload.is_whole:
            self._finish(drop, upload)
        return upload

    @staticmethod
    def _most_bytes(path: str) -> int:
        member = member_of(path)
        if member is None or member.role is Role.SIDECAR:
            return LIMIT_BYTES  # what else is in a folder that is dropped; it is shown as ignored
        limits = [
            rule.most_bytes or MOST_IMAGE_BYTES
            for kind in KINDS.values()
            for role, rule in kind.files.items()
            if role is member.role
        ]
        return max(limits, default=LIMIT_BYTES)

    def upload(self, drop_id: str, upload_id: str) -> PendingFile:
        """Return how far an upload is. Raises DropUnknownError."""
        with self._held(drop_id) as drop:
            return self._upload(drop, upload_id)

    def _upload(self, drop: Path, upload_id: str) -> PendingFile:
        try:
            said = json.loads((drop / f"{_checked_id(upload_id)}.json").read_bytes())
            offset = (drop / f"{upload_id}.part").stat().st_size
        except FileNotFoundError:
            raise DropUnknownError("There is no such upload any more.", advice="Drop the file again.") from None
        return PendingFile(upload_id, said["path"], offset, said["length"])

    @contextlib.contextmanager
    def receive(self, drop_id: str, upload_id: str, offset: int) -> Iterator[Receiver]:
        """Take the next bytes of an upload, from `offset` on. What came before a connection broke off is kept.

        Raises DropUnknownError, DropOffsetError, DiskError, and DropBusyError while another request writes it.
        """
        with self._held(drop_id) as drop:
            self._upload(drop, upload_id)
            file = (drop / f"{upload_id}.part").open("r+b", buffering=0)
        with file, disk_errors(_NOT_KEPT):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DropBusyError("Another request still sends this file.", advice="Try again in a moment.") from None
            with self._held(drop_id) as drop:
                upload = self._upload(drop, upload_id)  # as it is now that nobody else writes it
            if offset != upload.offset:
                raise DropOffsetError(f"The upload is at byte {upload.offset}, not at {offset}.")
            file.seek(offset)
            receiver = Receiver(file.fileno(), offset, upload.length)
            try:
                yield receiver
            finally:
                os.fdatasync(file)
                with self._held(drop_id) as drop:
                    os.utime(drop)
                    if receiver.offset == upload.length:
                        self._finish(drop, upload)

    def _finish(self, drop: Path, upload: PendingFile) -> None:
        """Let a whole file appear under its name in the drop; a newer one of that name replaces it.

        Raises DropError where that cannot be, and forgets the file: it would keep the others from being sent.
        """
        target = self._place(drop)[2] / upload.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (drop / f"{upload.id}.part").replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            self._forget(drop, upload.id)
            raise DropError(
                f"“{printable(upload.path)}” would be a file and a folder.",
                advice="Rename one of them, then drop it again.",
            ) from None
        (drop / f"{upload.id}.json").unlink()

    def forget(self, drop_id: str, upload_id: str) -> None:
        """Remove an upload that is not whole; may be repeated."""
        with self._held(drop_id) as drop:
            self._forget(drop, _checked_id(upload_id))

    @staticmethod
    def _forget(drop: Path, upload_id: str) -> None:
        for ending in (".json", ".part"):
            (drop / f"{upload_id}{ending}").unlink(missing_ok=True)

    def put(self, drop_id: str, path: str, data: bytes) -> None:
        """Write a small file into the drop, or over the one that is there. Raises DropError."""
        upload = self.begin(drop_id, path, len(data))
        if data:
            with self.receive(drop_id, upload.id, 0) as receiver:
                receiver.write(data)

    def copy(self, drop_id: str, path: str, source: int) -> None:
        """Write a copy of an open file into the drop. Raises DropError, OSError."""
        upload = self.begin(drop_id, path, os.fstat(source).st_size)
        if upload.length:
            with self.receive(drop_id, upload.id, 0) as receiver:
                while block := os.pread(source, _BLOCK_BYTES, receiver.offset):
                    receiver.write(block)

    def move(self, drop_id: str, name: str, folder: str) -> None:
        """Give the drop another name, or another folder of the inbox that it goes to. Raises DropError."""
        with self._held(drop_id) as drop:
            self._move(drop, (_folder_name(name), _checked_path(folder, is_folder=True)))

    def _move(self, drop: Path, after: tuple[str, str]) -> None:
        before = self._place(drop)
        if after == before[:2]:
            return
        tree = f"{INBOX}-{secrets.token_hex(4)}"  # another one: the new name may be below the old one
        said = {"name": after[0], "folder": after[1], "tree": tree, "before": str(before[2].relative_to(drop))}
        with folder_beneath(drop, "") as opened:
            write_durably_in(opened, "drop.json", json.dumps(said).encode())
        self._place(drop)

    def remove(self, drop_id: str, path: str) -> None:
        """Take a file out of the drop; may be repeated. Raises DropError, also for a folder."""
        with self._held(drop_id) as drop:
            try:
                (self._place(drop)[2] / _checked_path(path)).unlink(missing_ok=True)
            except (IsADirectoryError, NotADirectoryError):
                raise DropError(
                    f"“{printable(path)}” is no file of this drop.", advice="Look at the drop again."
                ) from None
            os.utime(drop)

    def read(self, drop_id: str, path: str) -> bytes:
        """Return a small file of the drop, b"" where there is none. Raises DropUnknownError."""
        with self._held(drop_id) as drop:
            try:
                with file_beneath(self._place(drop)[2], _checked_path(path)) as file:
                    return os.read(file, LIMIT_BYTES)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return b""

    def _uploads(self, drop: Path) -> list[PendingFile]:
        found = []
        for path in sorted(drop.glob("*.json")):
            if _ID.fullmatch(path.stem):
                with contextlib.suppress(DropUnknownError):
                    found.append(self._upload(drop, path.stem))
        return found

    def _files(self, drop: Path) -> list[tuple[str, int]]:
        home = self._place(drop)[2]
        found = (path for path in sorted(home.rglob("*")) if path.is_file())
        return [(str(path.relative_to(home)), path.stat().st_size) for path in found]

    def _used(self) -> int:
        """Return how many bytes all drops have; other requests make and remove some meanwhile."""
        used = 0
        for folder, _, names in os.walk(self._home):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    used += Path(folder, name).stat().st_size
        return used

    # ---- looking and sending ----------------------------------------------------------------------------------------

    def preview(self, drop_id: str) -> Preview:
        """Return what the drop comes to by the daemon's own rules. Raises DropError, DiskError."""
        with self._held(drop_id) as drop:
            return self._seen(drop)

    def _seen(self, drop: Path) -> Preview:
        name, folder, _ = self._place(drop)
        self._lay_presets(drop, folder)
        view = view_at_rest(Inbox(self._tree(drop)), self._config)
        inside = f"{folder}/{name}" if folder else name
        sets = [self._ready(ready, inside) for ready in view.ready]
        sets += [_seen(waiting.candidate, inside, reason=waiting.reason) for waiting in view.waiting]
        ignored = ((_below(path, inside), why) for path, why in view.ignored.items() if not path.endswith(PRESET_NAME))
        return Preview(
            drop.name,
            name,
            folder,
            tuple(self._uploads(drop)),
            tuple(sorted(sets, key=lambda one: (one.folder, one.name))),
            tuple(sorted(ignored)),
            tuple(self._files(drop)),
        )

    def _ready(self, ready: ReadySet, inside: str) -> PreviewSet:
        if problem := ready.problem:
            return _seen(ready.candidate, inside, problem.message, problem.advice, is_refused=True)
        return _seen(ready.candidate, inside, articles=wanted(ready, self._config.defaults))

    def _lay_presets(self, drop: Path, folder: str) -> None:
        """Put copies of the presets that hold where the drop goes into its own inbox: they decide what its sets are."""
        tree = self._tree(drop)
        inbox, parts = self._inbox(), folder.split("/") if folder else []
        for above in ("/".join(parts[:depth]) for depth in range(len(parts) + 1)):
            name = f"{above}/{PRESET_NAME}" if above else PRESET_NAME
            copy = tree / name
            try:
                with file_beneath(inbox, name) as file, folder_beneath(copy.parent, "") as beside:
                    write_whole_in(beside, copy.name, os.read(file, LIMIT_BYTES + 1))
            except OSError:
                copy.unlink(missing_ok=True)

    def send(self, drop_id: str, agree: Callable[[Preview], None]) -> str:
        """Put the drop into the inbox under a free name, durably; return where it is, relative to the inbox.

        `agree` gets what is sent, and raises what it will where that is not what a person has seen. Raises DropError where a
        file is missing bytes, or nothing is there; DiskError where the inbox cannot be written.
        """
        with self._held(drop_id) as drop:
            agree(self._seen(drop))
            return self._sent(drop)

    def _sent(self, drop: Path) -> str:
        name, folder, home = self._place(drop)
        if lacking := [upload.path for upload in self._uploads(drop)]:
            raise DropError(
                f"{len(lacking)} files are not here wholly, the first is “{printable(lacking[0])}”.",
                advice="Wait until they are, or drop them again: an upload goes on where it broke off.",
            )
        if not self._files(drop):
            raise DropError("There are no files in it.", advice="Drop a model and an image, or an image alone.")
        sharing = sharing_of(self._config.output.file_mode, self._config.output.group)
        try:
            with folder_beneath(replace(self._inbox(), made=sharing.folder), folder, make=True) as into:
                found = move_numbered(home, into, name, lambda made: sharing.tree(made, into, widen=True))
        except OSError as error:
            raise DiskError.of(f"{INBOX}/{printable(folder, 1000)} cannot be written", error) from error
        self._remove(drop)
        return f"{folder}/{found}" if folder else found


class Receiver:
    """Where the bytes of one request go; one thread at a time."""

    def __init__(self, file: int, offset: int, length: int) -> None:
        self._file = file
        self.offset = offset
        self._length = length

    def write(self, data: bytes) -> None:
        """Add bytes. Raises DropTooLargeError for more than were announced, DiskError."""
        if self.offset + len(data) > self._length:
            raise DropTooLargeError(f"More bytes came than the {self._length:,} that were announced.")
        view = memoryview(data)
        while view:
            with disk_errors(_NOT_KEPT):
                written = os.write(self._file, view)
            self.offset += written
            view = view[written:]


def _gone() -> DropUnknownError:
    return DropUnknownError(
        "These files are not here any more: they were sent, removed, or left alone for a day.",
        advice="Look whether the set is on the first page; else drop the files again.",
    )


def _seen(
    candidate: Candidate,
    inside: str,
    reason: str = "",
    advice: str = "",
    *,
    is_refused: bool = False,
    articles: tuple[Article, ...] = (),
) -> PreviewSet:
    files = tuple((member.role.value, _below(member.path, inside)) for member in candidate.members)
    return PreviewSet(candidate.name, candidate.folder, candidate.kind, files, reason, advice, is_refused, articles)


def _below(path: str, inside: str) -> str:
    return path.removeprefix(f"{inside}/")


def _checked_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise DropUnknownError("There is no such upload.")
    return text


def _folder_name(name: str) -> str:
    safe = safe_folder_name(_CONTROL.sub("_", name).strip().lstrip("."))
    return safe if safe.strip(" ._") else "drop"


def _checked_path(path: str, *, is_folder: bool = False) -> str:
    """Return a path inside a drop or the inbox. Raises DropError for one that leads elsewhere, is hidden or cannot be a name."""
    if is_folder and not path.strip("/"):
        return ""
    parts = path.strip("/").split("/")
    bad = (
        not path
        or len(parts) > _MOST_DEPTH
        or len(os.fsencode(path)) > _LONGEST_PATH_BYTES
        or any(_is_bad(part) for part in parts)
    )
    if bad:
        raise DropError(
            f"“{printable(path)}” cannot be the name of a file here.",
            advice="Hidden files, control characters, and very long or deep names are not taken: rename it.",
        )
    return "/".join(parts)


def _is_bad(part: str) -> bool:
    return (
        not part or part.startswith(".") or bool(_CONTROL.search(part)) or len(os.fsencode(part)) > _LONGEST_NAME_BYTES
    )
