"""Reference images: decoded before money is spent, by Pillow, and asked whether all of their data is there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
import resource
import socket
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from rodin_watchd.core.formats.images import (
    Stream,
    Zeros,
    image_extension,
    is_too_long,
    jpeg_stream,
    webp_streams,
    zeros_in,
)
from rodin_watchd.core.formats.source import BreaksOffError

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

UNDECODABLE = "it cannot be decoded"
BROKEN = "a part of its picture is missing or damaged"

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of those with a length, and the end

_one_at_a_time = threading.Lock()  # bounds the memory; and `catch_warnings` is not made for several threads


def why_undecodable(path: Path) -> str:
    """Decode an image whole and return what is wrong with it, "" for nothing.

    Only PNG, JPEG and WebP decoders are tried, whatever the name says. Takes at most some 600 MB of memory and some times the file,
    for one image at a time whatever the number of threads. Raises OSError when the file cannot be opened or read.
    """
    if path.stat().st_size > MOST_BYTES:
        return _too_many(MOST_BYTES, "bytes")
    with path.open("rb") as stream, _one_at_a_time, warnings.catch_warnings(action="ignore"):
        return _why_endless(stream) or _why_unfit(stream) or _WHY_BROKEN[image_extension(_head(stream))](stream)


def _head(stream: BinaryIO) -> bytes:
    """Return the first bytes, and leave the stream at its beginning."""
    head = stream.read(12)
    stream.seek(0)
    return head


def _why_unfit(stream: BinaryIO) -> str:
    """Return why an image is too large, or what its decoder says against it. Leaves the stream at its beginning."""
    is_jpeg = _head(stream).startswith(_JPEG)
    try:
        with Image.open(stream, formats=FORMATS) as image:
            most_pixels = MOST_WEBP_PIXELS if image.format == "WEBP" else MOST_PIXELS
            if image.width * image.height > most_pixels:
                return _too_many(most_pixels, "pixels")
            if not is_jpeg:  # of a JPEG the picture alone is decoded, later
                image.load()
    except Image.DecompressionBombError:
        return _too_many(MOST_PIXELS, "pixels")
    except Exception as error:  # decoders raise whatever comes to them
        if isinstance(error, OSError) and error.errno:  # the disk's fault, not the image's
            raise
        return UNDECODABLE
    stream.seek(0)
    return ""


def thumbnail(stream: BinaryIO, most_pixels: int) -> bytes:
    """Return an image as a small WebP picture, at most so many pixels wide and high; b"" for what is not decoded.

    The limits are those of `why_undecodable`, but for the size of the file. The stream can be searched. Raises OSError when it cannot be read.
    """
    with _one_at_a_time, warnings.catch_warnings(action="ignore"):
        if _why_endless(stream):
            return b""
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if image.width * image.height > (MOST_WEBP_PIXELS if image.format == "WEBP" else MOST_PIXELS):
                    return b""
                image.draft("RGB", (most_pixels, most_pixels))
                image.thumbnail((most_pixels, most_pixels))
                upright = ImageOps.exif_transpose(image)
                small = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
                made = (_webp(small, quality) for quality in _QUALITIES)
                return next((data for data in made if len(data) <= MOST_THUMBNAIL_BYTES), b"")
        except Exception as error:  # decoders raise whatever comes to them
            if isinstance(error, OSError) and error.errno:
                raise
            return b""


def _webp(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality)
    return out.getvalue()


_QUALITIES = (80, 50, 20, 0)  # a picture of noise is large

# ---- Decoders fill in what is missing, and say nothing: how it is noticed ----------------------------------------------


MOST_SPANS_JUDGED = 4
"""Of how many pieces of one picture with zeros in them it is asked whether they are all there: those with the most zeros."""

_FILL = bytes((37 * place + 11) % 251 for place in range(256))  # so much that another block of the picture begins in it
_CHANGED_BYTES = 512  # more than a block of a JPEG takes
_LAST_BYTES = 32  # where all of the pixels are compared


def _why_broken_png(stream: BinaryIO) -> str:
    """Compare the checksum of each chunk (PNG specification, 5.3): decoders leave out that of what they do not need."""
    stream.seek(8)
    while len(header := stream.read(8)) == 8:
        left, found = int.from_bytes(header[:4], "big"), zlib.crc32(header[4:])
        while left > 0 and (piece := stream.read(min(left, _PIECE_BYTES))):
            left, found = left - len(piece), zlib.crc32(piece, found)
        if left or stream.read(4) != found.to_bytes(4, "big"):
            return BROKEN
        if header[4:] == b"IEND":
            return ""
    return BROKEN


_PIECE_BYTES = 1 << 20


def _why_broken_jpeg(stream: BinaryIO) -> str:
    """Decode the picture alone, and once more with other bits behind each piece of its data.

    Where data is missing, libjpeg fills up with zeros and only warns, which nobody hears: then other bits give another picture.
    """
    try:
        picture = jpeg_stream(stream.read(MOST_BYTES))
    except BreaksOffError:
        return UNDECODABLE
    if not (seen := _digest(picture.data, picture)):
        return UNDECODABLE
    edges = [0, *(span.end for span in picture.spans), len(picture.data)]
    pieces = [picture.data[start:end] for start, end in itertools.pairwise(edges)]
    return BROKEN if _digest(_FILL.join(pieces), picture) != seen else _why_hollow(picture, seen)


def _why_broken_webp(stream: BinaryIO) -> str:
    try:
        frames = webp_streams(stream.read(MOST_BYTES))
    except BreaksOffError:
        return BROKEN
    hollow = (frame for frame in frames if any(zeros_in(frame)))
    return next((why for frame in hollow if (why := _why_hollow(frame, _digest(frame.data, frame)))), "")


_WHY_BROKEN: dict[str, Callable[[BinaryIO], str]] = {
    ".png": _why_broken_png,
    ".jpg": _why_broken_jpeg,
    ".webp": _why_broken_webp,
}


def _why_hollow(picture: Stream, seen: bytes) -> str:
    """Return whether long runs of zeros in compressed data are holes; `seen` is the picture as it is decoded.

    A flat area may be packed into zeros. In the place of other data they are decoded as another amount of picture, so that
    the end of the data is not reached. Zeros that are not reached themselves are padding.
    """
    runs = sorted(zeros_in(picture), key=lambda run: run.start - run.end)[:MOST_SPANS_JUDGED]
    return BROKEN if any(_is_hole(picture, run, seen) for run in runs) else ""


def _is_hole(picture: Stream, run: Zeros, seen: bytes) -> bool:
    if _digest(_changed(picture.data, run.start, min(run.end, run.start + _CHANGED_BYTES)), picture) == seen:
        return False
    if is_too_long(picture, run):
        return True
    last_bytes = _CHANGED_BYTES if picture.is_sequential else _LAST_BYTES
    tail = max(run.span.start, run.span.end - last_bytes)
    return _digest(_changed(picture.data, tail, run.span.end), picture) == seen


def _changed(data: bytes, start: int, end: int) -> bytes:
    """Return the data with other bytes in a place; none of them makes a marker of a JPEG."""
    return data[:start] + data[start:end].translate(_OTHER_BYTES) + data[end:]


_OTHER_BYTES = bytes((byte + 91) % 251 for byte in range(256))


def _digest(data: bytes, picture: Stream) -> bytes:
    """Decode a picture and return a digest of its pixels; b"" for data that the decoder refuses.

    A JPEG of blocks that come at once is decoded to an eighth of its size, which takes the least time.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            shrink = 8 if picture.is_sequential else 2 if pixels > MOST_WEBP_PIXELS else 1
            image.draft(image.mode, (max(image.width // shrink, 1), max(image.height // shrink, 1)))
            image.load()
            digest = hashlib.sha256()
            for top in range(0, image.height, _STRIP_ROWS):
                digest.update(image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height))).tobytes())
            return digest.digest()
    except Exception:  # noqa: BLE001 - as above
        return b""


_STRIP_ROWS = 256
_JPEG = b"\xff\xd8"


# ---- Images that no decoder may see ----------------------------------------------------------------------------------


def _why_endless(stream: BinaryIO) -> str:
    """Return why an image has too many parts to be even opened, "" for nothing. Leaves the stream at its beginning."""
    head = stream.read(12)
    if head.startswith(_JPEG):
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


# ---- The process that makes small pictures, for `adapters.thumbnails` --------------------------------------------------


THUMBNAIL_PIXELS = 480
"""How wide and high a picture is at most: a card is half as wide, and screens have two pixels for one."""

MOST_THUMBNAIL_BYTES = 150_000
MOST_MEMORY_BYTES = 1_500_000_000
IDLE_SECONDS = 20.0
"""The process ends when nobody has asked for so long."""


def serve_thumbnails(connection: socket.socket) -> None:
    """Answer each open file that comes with its small picture, behind a mark; none for what is not decoded. Until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    connection.settimeout(IDLE_SECONDS)
    with contextlib.suppress(OSError):
        while True:
            asked, files, _, _ = socket.recv_fds(connection, 1, 1)
            if not asked:
                return
            connection.send(b"!" + _thumbnail_of(files[0]))


def _thumbnail_of(file: int) -> bytes:
    try:
        with open(file, "rb") as stream:
            return thumbnail(stream, THUMBNAIL_PIXELS)
    except (OSError, MemoryError):
        return b""


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(5)
    serve_thumbnails(socket.socket(fileno=int(sys.argv[1])))
