"""PNG, JPEG and WebP: whether images are whole.

Programs read an image by its content, whatever its name says, and so does the vendor: `chair.jpg` may be a PNG.
"""

from __future__ import annotations

import re
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from rodin_watchd.core.file_kinds import JPEG_LS_IMAGE, advice_of
from rodin_watchd.core.formats.source import (
    FOLLOWED,
    MAYBE_NOT_COPIED,
    MOST_ZERO_BYTES,
    WHOLE,
    BreaksOffError,
    misfit,
    proved_by_length,
    undecided,
    unfinished,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rodin_watchd.core.formats.source import ByteSource, FileVerdict

_RIFF: Final = b"RIFF"
_WEBP: Final = b"WEBP"
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC: Final = b"\xff\xd8\xff"

_WANTED: Final = {
    ".png": (_PNG_MAGIC, "a PNG image"),
    ".jpg": (_JPEG_MAGIC, "a JPEG image"),
    ".jpeg": (_JPEG_MAGIC, "a JPEG image"),
    ".webp": (_RIFF, "a WebP image"),
}
"""By extension: the beginning that is expected, and what people call it."""


def image_extension(head: bytes) -> str:
    """Return the extension that fits the content of an image, by its first 12 bytes; "" where it is none that is taken."""
    if head.startswith(_PNG_MAGIC):
        return ".png"
    if head.startswith(_JPEG_MAGIC) and head[3:4] != b"\xf7":  # JPEG-LS is another format
        return ".jpg"
    return ".webp" if head.startswith(_RIFF) and head[8:12] == _WEBP else ""


def probe_image(extension: str, source: ByteSource) -> FileVerdict:
    """Judge an image by its content; `extension`, one of `IMAGE_EXTENSIONS`, says only what it is expected to be."""
    match image_extension(source.head):
        case ".png":
            return _png(source)
        case ".jpg":
            return _jpeg(source)
        case ".webp":
            return _webp(source)
    magic, wanted = _WANTED[extension]
    whole_magic = source.at(0, 8) + _WEBP if magic == _RIFF and source.head.startswith(_RIFF) else magic + b"\0"
    return (
        misfit(source, magic, wanted) or misfit(source, whole_magic, wanted) or unfinished("its beginning is missing")
    )


# ---- PNG ------------------------------------------------------------------------------------------------------------

_PNG_HEADER_BYTES: Final = 33  # the signature and the chunk IHDR
_PNG_CHUNK_BYTES: Final = 12  # length, kind and CRC
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"  # the empty chunk IEND with its CRC
_PNG_STEPS: Final = 2000
_PNG_KIND: Final = re.compile(rb"[A-Za-z]{4}")


def _png(source: ByteSource) -> FileVerdict:
    """Ask for IHDR first and IEND last (PNG specification, 5.6 and 11.2)."""
    first = source.at(0, 16)[12:]
    if first == b"CgBI":
        return wrong(
            "this is a PNG image from the inside of an iPhone app, which other programs cannot read: export it as .png again"
        )
    if first != b"IHDR":
        raise BreaksOffError(12)
    if source.size - len(_PNG_END) >= _PNG_HEADER_BYTES and source.tail(len(_PNG_END)) == _PNG_END:
        return WHOLE
    return _png_with_more(source)


def _png_with_more(source: ByteSource) -> FileVerdict:
    """Follow the chunks to IEND: phones and editors leave more behind it."""
    offset = len(_PNG_MAGIC)
    for _ in range(_PNG_STEPS):
        header = source.at(offset, 8)
        if not _PNG_KIND.fullmatch(header[4:]):
            raise BreaksOffError(offset)
        if header[4:] == b"IEND":
            return FOLLOWED if source.at(offset, _PNG_CHUNK_BYTES) == _PNG_END else unfinished("its end is missing")
        offset += _PNG_CHUNK_BYTES + int.from_bytes(header[:4], "big")
    return undecided("it has very many parts, whose end is not looked for")


# ---- JPEG -----------------------------------------------------------------------------------------------------------

JPEG_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""How far one `probe` looks for the end of a JPEG that has more behind it: a phone's film, the other pictures of an MPO."""

_HEAD_STEPS, _SCAN_STEPS = 400, 200  # segments before the first scan, and from it on; honest files have a few dozen
JPEG_SCAN, JPEG_END = 0xDA, 0xD9
_JPEG_END_MARK: Final = b"\xff\xd9"
_SMALL_WINDOW_BYTES, _WINDOW_BYTES = 64, 256 * 1024
_MOST_GAP_BYTES: Final = 64 * 1024  # between two segments of the head, where honest files have nothing

JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""What ends a scan: any marker but those without a length that may stand in it (ITU-T T.81, B.1.1)."""

_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_LS_FRAME: Final = 0xF7
_EVERYDAY_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_RARE_FRAMES: Final = {0xC3: "lossless", **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded")}


class _Marker(NamedTuple):
    """A marker of a JPEG: its second byte, and where it ends (bytes)."""

    code: int
    end: int


def _jpeg(source: ByteSource) -> FileVerdict:
    """Walk from the start, by segments, to the picture's own EOI; a thumbnail's is inside a segment (ITU-T T.81, B.1.1).

    Where the last two bytes are EOI, nothing behind the first scan needs to be read: no other data can hold that mark.
    """
    marker, verdict = _Marker(0, 2), None
    for _ in range(_HEAD_STEPS):
        marker = _next_marker(source, marker.end)
        verdict = verdict or _unusable(source, marker)
        if marker.code == JPEG_SCAN:
            return verdict or _jpeg_scans(source, marker)
        marker = _behind(source, marker)
    raise BreaksOffError(marker.end)


def _jpeg_scans(source: ByteSource, marker: _Marker) -> FileVerdict:
    if source.size >= marker.end + len(_JPEG_END_MARK) and source.tail(len(_JPEG_END_MARK)) == _JPEG_END_MARK:
        return WHOLE
    limit = marker.end + JPEG_LIMIT_BYTES
    for _ in range(_SCAN_STEPS):
        marker = _next_marker(source, _behind(source, marker).end, limit)
        if marker.code == JPEG_END:
            return FOLLOWED
        if not marker.code:
            return undecided(f"its end is not in its first {JPEG_LIMIT_BYTES:,} bytes")
    return undecided("it has very many parts, whose end is not looked for")


def _next_marker(source: ByteSource, offset: int, limit: int | None = None) -> _Marker:
    """Find the next marker as decoders do, which skip what they do not know; without one before `limit` its code is 0.

    The windows grow, so that a file of many small parts is not read many times.
    """
    limit = offset + _MOST_GAP_BYTES if limit is None else limit
    window_bytes = _SMALL_WINDOW_BYTES
    while offset < limit:
        window = source.at(offset, min(window_bytes, source.size - offset))
        if found := JPEG_MARKER.search(window):
            return _Marker(found[0][1], offset + found.end())
        if offset + len(window) >= source.size:
            raise _EndlessError
        offset += len(window) - 1  # its last byte may be the first one of a marker
        window_bytes = min(2 * window_bytes, _WINDOW_BYTES)
    return _Marker(0, offset)


class _EndlessError(BreaksOffError):
    """The file holds no further marker: its EOI is missing."""

    def __init__(self) -> None:
        Exception.__init__(self, "its end is missing")


def _behind(source: ByteSource, marker: _Marker) -> _Marker:
    """Return the marker with the end of its segment, by the length that it says. Raises BreaksOffError where it can have none."""
    start = marker.end - 2
    length = int.from_bytes(source.at(marker.end, 2), "big") if marker.code >= 0xC0 and marker.code != JPEG_END else 0
    if length < 2:
        raise BreaksOffError(start)
    return _Marker(marker.code, marker.end + length)


def _unusable(source: ByteSource, marker: _Marker) -> FileVerdict | None:
    """Name a kind of JPEG that hardly any program reads."""
    if marker.code == _JPEG_LS_FRAME:
        return wrong(f"this is {JPEG_LS_IMAGE}, not a JPEG image: {advice_of(JPEG_LS_IMAGE)}")
    if marker.code not in _FRAMES:
        return None
    if marker.code not in _EVERYDAY_FRAMES:
        rare = _RARE_FRAMES.get(marker.code, "hierarchical")
        return wrong(f"this is a JPEG image of a rare kind ({rare}), which hardly any program reads: export it as .png")
    bits = source.at(marker.end, 3)[2]
    return (
        wrong(f"this is a JPEG image of {bits} bits a channel instead of 8: export it as .png") if bits != 8 else None
    )


# ---- WebP -----------------------------------------------------------------------------------------------------------


def _webp(source: ByteSource) -> FileVerdict:
    """Compare the RIFF size with the file's (RFC 9649, 2.3 and 2.4)."""
    length = source.number(4)
    if length < 12:
        raise BreaksOffError(4)  # the size is written last
    return proved_by_length(source, 8 + length)


# ---- What an image's compressed data is made of: for the judgement by decoding ----------------------------------------


_MOST_PARTS: Final = 100_000  # each costs time, though it be empty


class Span(NamedTuple):
    """A piece of compressed data in a picture (bytes), and whether a flat area can be packed into zeros there."""

    start: int
    end: int
    may_be_zeros: bool = True


class Stream(NamedTuple):
    """A picture alone, without what programs say about it, and its compressed data."""

    data: bytes
    spans: tuple[Span, ...]
    is_sequential: bool = False  # of a JPEG: each block of pixels comes at once, not bit by bit
    most_zeros: int | None = None  # so many in a row at most, where that is known


_JPEG_TABLES: Final = 0xC4
_JPEG_KEPT: Final = frozenset({0xE0, 0xEE})  # JFIF and Adobe say what the colours mean
_JPEG_NOTES: Final = frozenset({*range(0xE0, 0xF0), 0xFE})
_JPEG_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")


def jpeg_stream(data: bytes) -> Stream:
    """Return the picture of a JPEG up to its own EOI; each span ends where a marker follows. Raises BreaksOffError."""
    kept, spans, end = bytearray(b"\xff\xd8"), list[Span](), 2
    coding = _JpegCoding()
    for _ in range(_MOST_PARTS):
        if not (found := JPEG_MARKER.search(data, end)):
            break
        code, start = found[0][1], found.start()
        if code == JPEG_END:
            return Stream(bytes(kept + _JPEG_END_MARK), tuple(spans), coding.frame in _SEQUENTIAL_FRAMES)
        end = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if code not in _JPEG_NOTES or code in _JPEG_KEPT:
            kept += data[start:end]
        coding.read(code, data[start + 4 : end])
        if code == JPEG_SCAN:
            following = JPEG_MARKER.search(data, end)
            scan = data[end : following.start() if following else len(data)]
            edges = [found.span() for found in islice(_JPEG_RESTART.finditer(scan), _MOST_PARTS)]
            starts, ends = [0, *(after for _, after in edges)], [*(before for before, _ in edges), len(scan)]
            spans += [
                Span(len(kept) + a, len(kept) + b, coding.may_be_zeros) for a, b in zip(starts, ends, strict=True)
            ]
            kept += scan
            end += len(scan)
    raise BreaksOffError(len(data))


class _JpegCoding:
    """What the segments of a JPEG say of its scans: whether zeros can be a flat area in them (ITU-T T.81, B.2.3, F.1, G.1).

    The first symbol of a Huffman table has the code of zeros. Where it is no "end of block", zeros are coefficients of noise. In
    progressive scans one symbol ends a run of blocks, so that no two of them follow each other, but those of the longest run.
    """

    def __init__(self) -> None:
        self.frame = 0
        self.may_be_zeros = True
        self._symbols: dict[int, bytes] = {}  # by the table's class and number

    def read(self, code: int, payload: bytes) -> None:
        """Take in a segment."""
        if code in _FRAMES:
            self.frame = code
        elif code == _JPEG_TABLES:
            self._read_tables(payload)
        elif code == JPEG_SCAN and len(payload) >= _SCAN_HEADER_BYTES:
            self.may_be_zeros = self._of_scan(payload)

    def _read_tables(self, payload: bytes) -> None:
        while len(payload) > _TABLE_HEADER_BYTES:
            end = _TABLE_HEADER_BYTES + sum(payload[1:_TABLE_HEADER_BYTES])
            self._symbols[payload[0]] = payload[_TABLE_HEADER_BYTES:end]
            payload = payload[end:]

    def _of_scan(self, payload: bytes) -> bool:
        tables = payload[2 : 1 + 2 * payload[0] : 2]
        first, refines = payload[-3], payload[-1] >> 4
        differences = [self._symbols.get(table >> 4, b"\0") for table in tables]
        blocks = [self._symbols.get(0x10 | table & 0xF, b"\0") for table in tables]
        if self.frame not in _SEQUENTIAL_FRAMES and first:
            return all(symbols[:1] == (b"\0" if _RUNS.isdisjoint(symbols) else _LONGEST_RUN) for symbols in blocks)
        if refines:
            return True  # one bit for each block, without a code
        codes = differences if first or self.frame not in _SEQUENTIAL_FRAMES else differences + blocks
        return all(symbols[:1] == b"\0" for symbols in codes)


_SCAN_HEADER_BYTES, _TABLE_HEADER_BYTES = 6, 17
_LONGEST_RUN: Final = b"\xe0"
_RUNS: Final = frozenset(range(0x10, 0xF0, 0x10))  # "end of so many blocks"
_SEQUENTIAL_FRAMES: Final = frozenset({0xC0, 0xC1})

_RIFF_HEADER_BYTES, _CHUNK_HEADER_BYTES, _FRAME_HEADER_BYTES = 12, 8, 16
_LOSSY, _LOSSLESS, _ALPHA, _FRAME = b"VP8 ", b"VP8L", b"ALPH", b"ANMF"
_PACKED_ALPHA: Final = 1


def webp_streams(data: bytes) -> list[Stream]:
    """Return each frame of a WebP as a picture of its own (RFC 9649, 2.5 to 2.7). Raises BreaksOffError where chunks do not fit."""
    frames, own = list[Stream](), dict[bytes, bytes]()
    for kind, start, end in _webp_chunks(
        data, _RIFF_HEADER_BYTES, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    ):
        if kind == _FRAME:
            inner = _webp_chunks(data, start + _FRAME_HEADER_BYTES, end)
            frames += _webp_frame({kind: data[a:b] for kind, a, b in inner})
        elif kind in (_LOSSY, _LOSSLESS, _ALPHA):
            own[kind] = data[start:end]
    return [*_webp_frame(own), *frames]


def _webp_chunks(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MOST_PARTS):
        if start >= end:
            return
        kind, length = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        first, start = start + _CHUNK_HEADER_BYTES, start + _CHUNK_HEADER_BYTES + (length + 1) // 2 * 2
        if first + length > end or not any(kind):
            raise BreaksOffError(first - _CHUNK_HEADER_BYTES)
        yield kind, first, first + length
    raise BreaksOffError(start)


def _webp_frame(chunks: Mapping[bytes, bytes]) -> Iterator[Stream]:
    """Give a frame as files of their own: its picture, and its transparency together with it."""
    picture = chunks.get(_LOSSY, b"")
    if _LOSSLESS in chunks:
        yield _riff({_LOSSLESS: chunks[_LOSSLESS]}, _LOSSLESS)
    if picture:
        width, height = (int.from_bytes(picture[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        blocks = -(-width // _BLOCK_SIDE) * -(-height // _BLOCK_SIDE)
        yield _riff({_LOSSY: picture}, _LOSSY, MOST_ZERO_BYTES + blocks * _MOST_BLOCK_BYTES)
        alpha = chunks.get(_ALPHA, b"\0")
        if alpha[:1] and alpha[0] & 3 == _PACKED_ALPHA and width and height:
            size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
            yield _riff({b"VP8X": b"\x10\0\0\0" + size, _ALPHA: alpha, _LOSSY: picture}, _ALPHA)


def _riff(chunks: Mapping[bytes, bytes], judged: bytes, most_zeros: int | None = None) -> Stream:
    body, span = bytearray(_WEBP), Span(0, 0)
    for kind, payload in chunks.items():
        body += kind + len(payload).to_bytes(4, "little")
        if kind == judged:
            span = Span(8 + len(body), 8 + len(body) + len(payload))
        body += payload + bytes(len(payload) % 2)
    return Stream(_RIFF + len(body).to_bytes(4, "little") + bytes(body), (span,), most_zeros=most_zeros)


# ---- Long runs of zeros in compressed data ----------------------------------------------------------------------------


class Zeros(NamedTuple):
    """A run of zeros in the compressed data of a picture; in bytes from its beginning."""

    start: int
    end: int
    span: Span


_ZEROS: Final = re.compile(rb"(?<!\0)\0{64,}")
_BLOCK_SIDE: Final = 16  # pixels, of a lossy WebP
_MOST_BLOCK_BYTES: Final = 22
"""A flat block is 25 times "nothing follows" (RFC 6386, 13), which costs 7 bits where the rest of the picture is noise."""


def zeros_in(picture: Stream) -> Iterator[Zeros]:
    """Yield the longest run of zeros of each span that has one."""
    for span in picture.spans:
        runs = (found.span() for found in _ZEROS.finditer(picture.data, span.start, span.end))
        if longest := max(runs, key=lambda run: run[1] - run[0], default=None):
            yield Zeros(*longest, span)


def is_too_long(picture: Stream, run: Zeros) -> bool:
    """Return whether no flat area is packed into so many zeros there. Behind the data's end, zeros may fill it up."""
    most = len(picture.data) if picture.most_zeros is None else picture.most_zeros
    return not run.span.may_be_zeros or run.end - run.start > most


def examine_image(data: bytes, verdict: FileVerdict) -> FileVerdict:
    """Judge an image by all of its content, without decoding it: holes are what a copy has not reached; else the `verdict` stands.

    Zeros in a WebP may be a flat area. Only decoding can say so: they prove nothing here.
    """
    if bytes(MOST_ZERO_BYTES) not in data:
        return verdict
    extension = image_extension(data)
    try:
        has_hole = _HAS_HOLE[extension](data)
    except BreaksOffError:
        has_hole = True
    if has_hole:
        return unfinished("there are zeros in the middle of it: it is not fully copied, or damaged")
    return MAYBE_NOT_COPIED if extension == ".webp" and verdict == WHOLE else verdict


def _has_hole_png(data: bytes) -> bool:
    """Return whether zeros are in a chunk whose checksum does not fit (PNG specification, 5.3)."""
    offset = len(_PNG_MAGIC)
    for _ in range(_MOST_PARTS):
        header = data[offset : offset + 8]
        if len(header) < 8 or header[4:] == b"IEND":
            break
        end = offset + _PNG_CHUNK_BYTES + int.from_bytes(header[:4], "big")
        part, checksum = data[offset + 4 : end - 4], data[end - 4 : end]
        if zlib.crc32(part) != int.from_bytes(checksum, "big"):
            return bytes(MOST_ZERO_BYTES) in part or not _PNG_KIND.fullmatch(header[4:])
        offset = end
    return False


def _has_hole_jpeg(data: bytes) -> bool:
    picture = jpeg_stream(data)
    return any(run.end < run.span.end and is_too_long(picture, run) for run in zeros_in(picture))


def _has_hole_webp(data: bytes) -> bool:
    return any(is_too_long(frame, run) for frame in webp_streams(data) for run in zeros_in(frame))


_HAS_HOLE: Final = {".png": _has_hole_png, ".jpg": _has_hole_jpeg, ".webp": _has_hole_webp}
