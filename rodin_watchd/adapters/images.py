"""Reference images: decoded once before money is spent, by Pillow."""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 100_000_000
"""A larger image is refused unread: 10,000 x 10,000 pixels are far beyond any 4K texture, and a bomb is larger."""

MOST_WEBP_PIXELS = 36_000_000
"""The same for WebP, whose decoder takes up to 16 bytes for each pixel of the canvas: 182 bytes can claim any canvas."""

MOST_SCANS = 50
"""A JPEG in more scans is refused unread: honest progressive ones have some ten, and each costs a pass over all pixels."""

MOST_BYTES = 200_000_000
"""A larger file is refused unread: a WebP image is decoded from memory."""

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of those with a length, and the end

_one_at_a_time = threading.Lock()  # bounds the memory; and `catch_warnings` is not made for several threads


def why_undecodable(path: Path) -> str:
    """Decode an image whole and return what is wrong with it, "" for nothing.

    Only PNG, JPEG and WebP decoders are tried, whatever the name says. Takes at most some `MOST_BYTES` and 600 MB of
    memory, for one image at a time whatever the number of threads. Raises OSError when the file cannot be opened or read.
    """
    if path.stat().st_size > MOST_BYTES:
        return f"it has more than {MOST_BYTES:,} bytes"
    with path.open("rb") as stream, _one_at_a_time, warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if why := _why_hostile(image, stream):
                    return why
                image.draft("L", (1, 1))  # JPEG: decode all of the data, but not to full size
                image.load()
        except Image.DecompressionBombError:
            return _too_large(MOST_PIXELS)
        except Exception as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the image's
                raise
            return "it cannot be decoded"
    return ""


def _why_hostile(image: Image.Image, stream: BinaryIO) -> str:
    """Return why an image would take too much memory or time to decode; it has been looked at, not decoded."""
    most_pixels = MOST_WEBP_PIXELS if image.format == "WEBP" else MOST_PIXELS
    if image.width * image.height > most_pixels:
        return _too_large(most_pixels)
    if image.format == "JPEG" and _scans(stream) > MOST_SCANS:
        return f"it has more than {MOST_SCANS} scans"
    return ""


def _scans(stream: BinaryIO) -> int:
    """Count a JPEG's scans, one more than `MOST_SCANS` at most; what is behind its end does not count (ITU-T T.81, B.1).

    Keeps the stream's position. Holds the file in memory: one that is mapped, and cut meanwhile, would kill the process.
    """
    position = stream.tell()
    stream.seek(0)
    data = stream.read(MOST_BYTES)
    stream.seek(position)
    count, found = 0, _MARKER.search(data, 2)
    while found and found[0] != _END and count <= MOST_SCANS:
        count += found[0] == _SCAN
        found = _MARKER.search(data, found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return count


def _too_large(most_pixels: int) -> str:
    return f"it has more than {most_pixels:,} pixels"
