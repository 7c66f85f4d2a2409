"""The multipart body of a submit: read from disk while it is sent, checked, and its end withheld."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from rodin_watchd.adapters.rodin_client.transfer import BLOCK_BYTES, Withheld
from rodin_watchd.core.wire import plain
from rodin_watchd.errors import ChangedWhileTakenError, DiskError

# ---- The bytes around the files of a `multipart/form-data` body (RFC 7578, RFC 2046 section 5.1) --------------------


NEXT = b"\r\n"
"""What stands between a file's content and the next part."""

_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}$")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.IGNORECASE)


def content_type(boundary: str) -> str:
    """Return the value of the request's Content-Type header."""
    return f"multipart/form-data; boundary={boundary}"


def text_part(boundary: str, name: str, value: str) -> bytes:
    """Return a whole text part. It has no file name: with one the vendor takes it for a file and ignores its value.

    Source: API contract, Generate Texture. The value is sent as UTF-8 (RFC 7578, section 5.1.2).
    """
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file_head(boundary: str, name: str, filename: str, media_type: str) -> bytes:
    """Return what stands before a file's content; of `filename` only the extension is sent, never the artist's name."""
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"
    disposition = f'form-data; name="{name}"; filename="{part_filename(name, filename)}"'
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode()


def part_filename(name: str, filename: str) -> str:
    """Return the file name that is sent for the part `name`: `model.glb` for "Stühle von Anna.GLB"."""
    extension = _EXTENSION.search(filename.lower())
    return name + (extension.group() if extension else "")


def closing(boundary: str) -> bytes:
    """Return the whole closing boundary line, with the line break that belongs to it (RFC 2046, section 5.1.1)."""
    return f"\r\n--{boundary}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be sent, with what is known of its content; of `filename` only the extension is sent."""

    path: Path
    size: int  # bytes
    sha256: str  # hex
    part: str  # the name of its part
    filename: str
    content_type: str


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _CheckedFile:
    """A file whose every byte is hashed while it is read, and which must be what it was announced to be."""

    def __init__(self, file: BinaryIO, upload: Upload) -> None:
        self._file = file
        self._upload = upload
        self._left = upload.size
        self._digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        self._digest.update(data)
        if not data:
            self._check()
        return data

    def _check(self) -> None:
        whole = self._left == 0 and not self._file.read(1)  # one byte more: a file that grew is another one
        if not whole or self._digest.hexdigest() != self._upload.sha256:
            raise ChangedWhileTakenError(f"{plain(self._upload.filename, 120)} changed while it was sent.")


class WithdrawnError(Exception):
    """The body was not handed out to its end; the reason is in `UploadBody.failure`.

    urllib3 swallows some errors of the operating system that come out of a body; this one passes it.
    """


class UploadBody(Withheld):
    """A multipart body that is read from disk as it is sent, and whose closing boundary line is withheld.

    A server cannot take a body of known length for complete before that line. So everything else is handed out, the files
    are found to be what they were announced to be, all of it is waited for to arrive at the other system, `before_closing`
    is called, and only when it has returned is the line handed out. http.client sends what one `read` gave before it calls the next.
    """

    def __init__(
        self, uploads: Sequence[Upload], fields: Sequence[tuple[str, str]], before_closing: Callable[[], None]
    ) -> None:
        super().__init__()
        boundary = secrets.token_hex(16)
        self.content_type = content_type(boundary)
        self.failure: Exception | None = None
        self._before_closing = before_closing
        self._closing = closing(boundary)
        texts = b"".join(text_part(boundary, name, value) for name, value in fields)
        heads = [_head(boundary, upload) for upload in uploads]
        # What ends a part belongs to the boundary line that comes next: to the closing one, where no file follows the texts.
        self._heads = (texts + heads[0], *(NEXT + head for head in heads[1:])) if heads else ()
        self._alone = b"" if heads else texts.removesuffix(NEXT)
        self._uploads = tuple(uploads)
        sizes = (*map(len, self._heads), len(self._alone), *(upload.size for upload in uploads), len(self._closing))
        self._length = sum(sizes)
        self._files = ExitStack()
        self._sources: list[_Source] = []

    def __enter__(self) -> Self:
        """Open the files; raises DiskError when they cannot be opened."""
        with ExitStack() as opened:
            for head, upload in zip(self._heads, self._uploads, strict=True):
                self._sources += [io.BytesIO(head), _CheckedFile(opened.enter_context(_opened(upload.path)), upload)]
            self._files = opened.pop_all()
        if self._alone:
            self._sources.append(io.BytesIO(self._alone))
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        """Return at most `size` bytes (the closing line comes in one piece), b"" at the end."""
        with self._withdrawing():
            content = self._content(size)
        if content or self.closing_left:
            return content
        # The order decides about money. Without its closing line the request is incomplete, so a crash up to here has bought
        # nothing. The intent is durable before the line is handed out, so a crash after it finds the intent and asks a person.
        # Waiting for the acknowledgment first makes the time in between, in which nobody knows, one round trip long.
        self.wait_until_taken()
        with self._withdrawing():
            self._before_closing()
        self.closing_left = True
        return self._closing

    @contextmanager
    def _withdrawing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.failure = error
            raise WithdrawnError from error

    def _content(self, size: int) -> bytes:
        while self._sources:
            data = self._read(self._sources[0], size)
            if data:
                return data
            self._sources.pop(0)
        return b""

    @staticmethod
    def _read(source: _Source, size: int) -> bytes:
        try:
            return source.read(size)
        except OSError as error:
            raise DiskError.of("A file of the set cannot be read", error) from error


def _head(boundary: str, upload: Upload) -> bytes:
    return file_head(boundary, upload.part, upload.filename, upload.content_type)


def _opened(path: Path) -> BinaryIO:
    try:  # O_NOFOLLOW: a link in a file's place would send some other file of this machine to the vendor
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)
    except OSError as error:
        raise DiskError.of("A file of the set cannot be opened", error) from error
