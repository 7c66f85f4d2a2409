"""A result's files, as they are in the outbox: opened once, hashed, and uploaded from the same descriptor."""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

RECEIPT: Final = "job.toml"

_TYPES: Final = {
    # IANA, Media Types
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".mtl": "model/mtl",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".toml": "application/toml",
    ".usdz": "model/vnd.usdz+zip",
    ".webp": "image/webp",
}
_COMMON: Final = mimetypes.MimeTypes()  # Python's own table: the same on every machine


@dataclass(frozen=True, slots=True)
class Local:
    """A file to upload."""

    stream: BinaryIO
    size: int
    sha256: str
    content_type: str


@contextlib.contextmanager
def opened(directory: Path, name: str) -> Iterator[Local]:
    """Give a file of a result. Raises OSError when it is not there any more, or is no file of this folder."""
    path = directory / name
    if path.resolve() != directory.resolve() / name:
        raise PermissionError(f"{name} is a link, and not a file of the result")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:  # noqa: PTH123 - a descriptor
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{name} is no file")
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        yield Local(stream, status.st_size, digest, content_type(name))


def content_type(name: str) -> str:
    """Return the media type for a file's name."""
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or _COMMON.guess_type(f"a{suffix}")[0] or "application/octet-stream"
