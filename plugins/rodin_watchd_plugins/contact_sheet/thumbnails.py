"""Previews, made small. They come from outside: what is broken, huge or no picture is not shown."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import warnings
from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from rodin_watchd_plugins.contact_sheet.publishing import Folder, opened
from rodin_watchd_plugins.depth import in_eight_bits

LARGEST: Final = 512
"""Thumbnails are kept in this size, and made smaller from it."""

STORE: Final = ".index"
"""The hidden folder in the outbox with the thumbnails of the index."""

_OURS: Final = re.compile(r"[0-9a-f]{32}\.webp")
_FORMATS: Final = ("WEBP", "PNG", "JPEG")
_MOST_BYTES: Final = 50_000_000
_MOST_PIXELS: Final = 64_000_000
_MOST_KEPT: Final = 2000  # of some 20 KB each, for as long as the plugin's process lives


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview as it is there: when the file changes, so does this."""

    top: str  # the folder that a sheet or an index is about
    path: str  # below it
    name: str  # in the result's folder
    size: int
    modified_ns: int
    inode: int


def is_picture(preview: Preview) -> bool:
    """Return whether it can be shown."""
    return bool(_small(preview))


def thumbnail(preview: Preview, edge: int) -> Image.Image:
    """Return a preview that can be shown, as RGBA, no wider and no higher than `edge` pixels."""
    with Image.open(BytesIO(_small(preview))) as image:
        return ImageOps.contain(image.convert("RGBA"), (edge, edge))


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """The folder `STORE`, open, for one call at a time."""

    folder: Folder

    def has(self, preview: Preview) -> bool:
        """Return whether there is a thumbnail, made now if it was not there; False for what cannot be shown. Raises OSError."""
        name = file_name(preview)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(os.stat(name, dir_fd=self.folder.descriptor, follow_symlinks=False).st_mode):
                return True
        small = _small(preview)
        if small:
            self.folder.replace(name, small)
        return bool(small)

    def keep(self, previews: Collection[Preview]) -> None:
        """Remove all thumbnails but these. Raises OSError."""
        there = set(filter(_OURS.fullmatch, os.listdir(self.folder.descriptor)))  # noqa: PTH208 - of a descriptor
        for name in there.difference(map(file_name, previews)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder.descriptor)


@contextlib.contextmanager
def thumbnails(outbox: Folder) -> Iterator[Thumbnails]:
    """Give the thumbnails of a locked folder; the folder for them is made where it is missing. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(STORE, dir_fd=outbox.descriptor)
    with opened(STORE, inside=outbox.descriptor) as folder:
        yield Thumbnails(folder)


def file_name(preview: Preview) -> str:
    """Return the name of a preview's thumbnail in `STORE`: another one as soon as the preview changes."""
    _, *identity = astuple(preview)
    return f"{hashlib.sha256(repr((LARGEST, *identity)).encode()).hexdigest()[:32]}.webp"


@lru_cache(maxsize=_MOST_KEPT)
def _small(preview: Preview) -> bytes:
    """Return a preview made small, as WebP; b"" for what cannot be shown."""
    if preview.size > _MOST_BYTES:
        return b""
    try:
        with (
            opened(Path(preview.top)) as top,
            top.reading(preview.path) as stream,
            warnings.catch_warnings(action="ignore"),
        ):
            return _decoded(BytesIO(stream.read(_MOST_BYTES)))
    except Exception:  # noqa: BLE001 - decoders raise whatever a broken file makes them
        return b""


def _decoded(data: BytesIO) -> bytes:
    with Image.open(data, formats=_FORMATS) as image:
        if image.width * image.height > _MOST_PIXELS:
            return b""
        image.draft("RGB", (LARGEST, LARGEST))
        small = in_eight_bits(ImageOps.exif_transpose(image)).convert("RGBA")
    small.thumbnail((LARGEST, LARGEST))
    out = BytesIO()
    small.save(out, "WEBP", quality=90, method=1)
    return out.getvalue()
