"""Reference images: decoded once before money is spent, by Pillow."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
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

MOST_PARTS = 100_000
"""A file of more chunks or segments is refused unread: each costs the decoder's time and memory, though it be empty."""

MOST_HEADER_BYTES = 20_000_000
"""A JPEG with more before its picture is refused unread: its parts are put together in a time of the size squared."""

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
        return _too_many(MOST_BYTES, "bytes")
    with path.open("rb") as stream, _one_at_a_time, warnings.catch_warnings(action="ignore"):
        if why := _why_endless(stream):
            return why
        try:
            with Image.open(stream, formats=FORMATS) as image:
                most_pixels = MOST_WEBP_PIXELS if image.format == "WEBP" else MOST_PIXELS
                if image.width * image.height > most_pixels:
                    return _too_many(most_pixels, "pixels")
                image.draft("L", (1, 1))  # JPEG: decode all of the data, but not to full size
                image.load()
        except Image.DecompressionBombError:
            return _too_many(MOST_PIXELS, "pixels")
        except Exception as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the image's
                raise
            return "it cannot be decoded"
    return ""


def _why_endless(stream: BinaryIO) -> str:
    """Return why an image has too many parts to be even opened, "" for nothing. Leaves the stream at its beginning."""
    head = stream.read(12)
    if head.startswith(b"\xff\xd8"):
        why = _why_endless_jpeg(stream)
    elif head.startswith(b"\x89PNG"):
        why = _why_endless_chunks(stream, 8, lambda header: 12 + int.from_bytes(header[:4], "big"))
    elif head.startswith(b"RIFF"):
        why = _why_endless_chunks(stream, 12, lambda header: 8 + (int.from_bytes(header[4:], "little") + 1) // 2 * 2)
    else:
        why = ""
    stream.seek(0)
    return why


def _why_endless_chunks(stream: BinaryIO, start: int, size_of: Callable[[bytes], int]) -> str:
    """Walk the chunks of a PNG or WebP file (PNG specification, 5.3; RFC 9649, 2.3)."""
    for _ in range(MOST_PARTS):
        stream.seek(start)
        header = stream.read(8)
        if len(header) < 8:
            return ""
        start += size_of(header)
    return _too_many(MOST_PARTS, "parts")


def _why_endless_jpeg(stream: BinaryIO) -> str:
    """Walk the segments of a JPEG file, and what is between them before its picture (ITU-T T.81, B.1).

    What is behind its end does not count. Holds the file in memory: one that is mapped, and cut meanwhile, would kill
    the process.
    """
    stream.seek(0)
    parts, scans = 0, 0
    for marker, start, gap in _segments(stream.read(MOST_BYTES)):
        parts += 1 if scans else 1 + gap  # until the picture begins the decoder goes byte by byte
        if parts > MOST_PARTS:
            return _too_many(MOST_PARTS, "parts")
        if start > MOST_HEADER_BYTES and not scans:
            return f"it has a head of more than {MOST_HEADER_BYTES:,} bytes"
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            return _too_many(MOST_SCANS, "scans")
        if scans and marker == _END:
            break
    return ""


def _segments(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each marker, where it is, and how many bytes are between it and the segment before; b"" for the file's end."""
    end, found = 2, _MARKER.search(data, 2)
    while found:
        yield found[0], found.start(), found.start() - end
        length = data[found.end() : found.end() + 2] if found[0] != _END else b""
        end = found.end() + int.from_bytes(length, "big")
        found = _MARKER.search(data, end)
    yield b"", len(data), max(len(data) - end, 0)


def _too_many(most: int, what: str) -> str:
    return f"it has more than {most:,} {what}"
