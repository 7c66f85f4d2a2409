"""Previews, made small. They come from outside: what is broken, huge or no picture is not shown."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

from rodin_watchd_plugins.depth import in_eight_bits

LARGEST: Final = 512
"""Thumbnails are kept in this size, and made smaller from it."""

_FORMATS: Final = ("WEBP", "PNG", "JPEG")
_MOST_BYTES: Final = 50_000_000
_MOST_PIXELS: Final = 64_000_000
_MOST_KEPT: Final = 2000  # of some 20 KB each, for as long as the plugin's process lives


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview as it is there: when the file changes, so does this."""

    path: str
    name: str
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


@lru_cache(maxsize=_MOST_KEPT)
def _small(preview: Preview) -> bytes:
    """Return a preview made small, as WebP; b"" for what cannot be shown."""
    if preview.size > _MOST_BYTES:
        return b""
    try:
        descriptor = os.open(preview.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream, warnings.catch_warnings(action="ignore"):  # noqa: PTH123 - a descriptor
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
