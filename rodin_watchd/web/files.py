"""The files of a set in the browser: results and inputs that the journal names, opened beneath the root without following links.

Images and models are shown; everything else is a download, whatever it says that it is.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from rodin_watchd.adapters.spool.beneath import file_beneath
from rodin_watchd.adapters.spool.moving import archived_place, holds_own
from rodin_watchd.core.layout import HIDDEN, RECEIPT, REPORT, REPORT_DATA
from rodin_watchd.core.layout import RESULTS as RESULTS_FOLDER
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import safe_folder_name, split_name
from rodin_watchd.core.receipt import is_preview
from rodin_watchd.model import Job, Role, State
from rodin_watchd.web.site import Website

RESULTS: Final = "results"
INPUTS: Final = "inputs"

SHOWN: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".glb": "model/gltf-binary",
}
"""What is shown in the page, by its extension; all other files are downloads."""

PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
ANY: Final = "application/octet-stream"
_FILE_POLICY: Final = "default-src 'none'; sandbox"
_PIECE_BYTES: Final = 1 << 18
_MOST_TEXT_BYTES: Final = 200_000
_PICTURE_SECONDS: Final = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class SetFile:
    """A file of a set that is there to be fetched."""

    where: str  # RESULTS or INPUTS
    name: str
    path: str  # relative to the root

    @property
    def is_picture(self) -> bool:
        """Whether it can be shown as a picture."""
        return split_name(self.name)[1] in PICTURES

    @property
    def is_preview(self) -> bool:
        """Whether it is the vendor's picture of the result."""
        return self.where == RESULTS and is_preview(self.name)

    def url(self, job: Job) -> str:
        """Return its address."""
        return f"/sets/{job.id}/files/{self.where}/{quote(os.fsencode(self.name))}"


def files_of(root: Path, job: Job) -> list[SetFile]:
    """Return the results and inputs of a set that have a place; whether each is there, opening it says."""
    results, inputs = _places(root, job)
    made = [file.name for file in job.published]
    given = [file.name for file in job.files]
    made = [*made, RECEIPT] if results and job.state is not State.FAILED else made
    given = [*given, REPORT, REPORT_DATA] if job.state is State.FAILED else given
    found = [SetFile(RESULTS, name, f"{results}/{name}") for name in made if results]
    return found + [SetFile(INPUTS, name, f"{inputs}/{name}") for name in given if inputs]


def _places(root: Path, job: Job) -> tuple[str, str]:
    """Return the folders with the results and with the inputs, relative to the root, "" for none."""
    if job.state is State.FAILED:
        own = job.place if job.place and holds_own(root, job.place, job) else ""
        return f"{own}/{RESULTS_FOLDER}" if own else "", own
    if job.state in ENDED or job.state is State.DELIVERED:
        made = job.place if job.place and holds_own(root, job.place, job) else ""
        return made, archived_place(root, job) or _work(job)
    return "", _work(job)


def _work(job: Job) -> str:
    return f"{HIDDEN}/work/{job.id}/inputs"


@contextlib.contextmanager
def opened(root: Path, file: SetFile) -> Iterator[int]:
    """Open a file for reading and give its descriptor. Raises HTTPException where it is gone, or is no plain file."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(file_beneath(root, file.path))
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileNotFoundError(file.path)
        except OSError:
            raise HTTPException(404, "This file is not there any more.") from None
        yield descriptor


def text_of(root: Path, files: Sequence[SetFile], name: str) -> str:
    """Return the text of the receipt or report of a set, "" if there is none."""
    file = next((file for file in files if file.name == name), None)
    if file is None:
        return ""
    try:
        with opened(root, file) as descriptor:
            data = os.pread(descriptor, _MOST_TEXT_BYTES, 0)
    except (HTTPException, OSError):
        return ""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in data.decode("utf-8", "replace")
    )


# ---- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Files:
    """Answers with files of sets. Any thread."""

    site: Website

    def file(self, request: Request) -> Response:
        """Answer with one file as it is."""
        _, file = self._wanted(request)
        ending = split_name(file.name)[1]
        kind = SHOWN.get(ending, ANY)
        shown = "inline" if ending in SHOWN else "attachment"
        stack = contextlib.ExitStack()
        descriptor = stack.enter_context(opened(self._root, file))
        headers = {
            "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(_plain(file.name), safe='')}",
            "Content-Length": str(os.fstat(descriptor).st_size),
            "Content-Security-Policy": _FILE_POLICY,
            "Cache-Control": "private, no-cache",
        }
        if request.method == "HEAD":
            stack.close()
            return Response(None, 200, headers, kind)
        return StreamingResponse(_pieces(descriptor, os.fstat(descriptor).st_size, stack), 200, headers, kind)

    def picture(self, request: Request) -> Response:
        """Answer with the small picture of a set: its preview, or the image that was dropped."""
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
        for file in _pictures(files_of(self._root, job), job):
            if made := self._small(file):
                return _picture(made)
        raise HTTPException(404, "There is no picture of this set.")

    def small(self, request: Request) -> Response:
        """Answer with the small picture of one image."""
        _, file = self._wanted(request)
        made = self._small(file) if file.is_picture else b""
        if not made:
            raise HTTPException(404, "There is no picture of this file.")
        return _picture(made)

    def zip(self, request: Request) -> Response:
        """Answer with all results of a set, in an archive that is made while it is sent."""
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
        files = [file for file in files_of(self._root, job) if file.where == RESULTS]
        if not files:
            raise HTTPException(404, "There are no results of this set.")
        name = f"{safe_folder_name(job.title.replace('/', '-'))}.zip"
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(_plain(name), safe='')}"}
        return StreamingResponse(_zipped(self._root, files), 200, headers, "application/zip")

    @property
    def _root(self) -> Path:
        return self.site.config.folders.root

    def _wanted(self, request: Request) -> tuple[Job, SetFile]:
        """Return the file that an address names, of those that the journal names."""
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
        where = request.path_params["where"]
        raw = bytes(request.scope["raw_path"]).partition(f"/{where}/".encode())[2]
        name = os.fsdecode(unquote_to_bytes(raw))
        for file in files_of(self._root, job):
            if (file.where, file.name) == (where, name):
                return job, file
        raise HTTPException(404, "This set has no such file.")

    def _small(self, file: SetFile) -> bytes:
        try:
            with opened(self._root, file) as descriptor:
                status = os.fstat(descriptor)
                name = f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
                return self.site.thumbnails.of(name, descriptor)
        except HTTPException:
            return b""


def _pictures(files: Sequence[SetFile], job: Job) -> list[SetFile]:
    """Return what shows a set, the best first: its preview, the reference image, any other picture."""
    images = {file.name for file in job.files if file.role is Role.IMAGE}
    pictures = [file for file in files if file.is_picture]

    def turn(file: SetFile) -> int:
        if file.is_preview:
            return 0
        return 1 if file.where == INPUTS and file.name in images else 2

    return sorted((file for file in pictures if turn(file) < 2), key=turn)


def _plain(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _picture(made: bytes) -> Response:
    headers = {"Cache-Control": f"private, max-age={_PICTURE_SECONDS}", "Content-Security-Policy": _FILE_POLICY}
    return Response(made, 200, headers, "image/webp")


def _pieces(descriptor: int, length: int, stack: contextlib.ExitStack) -> Iterator[bytes]:
    """Yield a file's bytes, as many as it had when it was opened. Raises OSError where it has fewer by now: half a file is none."""
    with stack:
        start = 0
        while start < length:
            piece = os.pread(descriptor, min(_PIECE_BYTES, length - start), start)
            if not piece:
                raise OSError(errno.ESTALE, "the file was cut while it was sent")
            start += len(piece)
            yield piece


class _Out(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # bytes, or a view of them
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since."""
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _zipped(root: Path, files: Sequence[SetFile]) -> Iterator[bytes]:
    """Yield an archive of files piece by piece; results are compressed already. One that is gone is left out.

    Raises OSError for one that is cut or cannot be read to its end: the browser then knows that the archive is not whole.
    """
    out = _Out()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            with contextlib.suppress(HTTPException), opened(root, file) as descriptor:
                status = os.fstat(descriptor)
                changed_at = min(max(status.st_mtime, _FIRST_OF_ZIP), _LAST_OF_ZIP)
                info = zipfile.ZipInfo(_plain(file.name), time.localtime(changed_at)[:6])
                info.file_size = status.st_size
                with archive.open(info, "w", force_zip64=status.st_size > _MOST_ZIP32_BYTES) as entry:
                    for piece in _pieces(descriptor, status.st_size, contextlib.ExitStack()):
                        entry.write(piece)
                        yield out.take()
    yield out.take()


_FIRST_OF_ZIP: Final = 315_619_200.0  # 1980, the first year that the format knows
_LAST_OF_ZIP: Final = 4_354_000_000.0  # 2107, the last one
_MOST_ZIP32_BYTES: Final = 2_000_000_000
