"""PNG, JPEG and WebP: whether images are whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.source import STEP_LIMIT, BreaksOffError, misfit, proved_by_length, proved_by_mark

if TYPE_CHECKING:
    from rodin_watchd.core.formats.source import ByteSource, FileVerdict

_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES: Final = 33  # the signature and the chunk IHDR
_PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"  # the empty chunk IEND with its CRC

_JPEG_MAGIC: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_SCAN: Final = 0xDA
_JPEG_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})


def probe_png(source: ByteSource) -> FileVerdict:
    """Ask for IHDR first and IEND last (PNG specification, 5.6 and 11.2)."""
    bad = misfit(source, _PNG_MAGIC, "a PNG image")
    if bad:
        return bad
    if source.at(0, _PNG_HEADER_BYTES)[12:16] != b"IHDR":
        raise BreaksOffError(12)
    return proved_by_mark(source, _PNG_END, _PNG_HEADER_BYTES)


def probe_jpeg(source: ByteSource) -> FileVerdict:
    """Ask for EOI as the last thing after the first scan (ITU-T T.81, B.1.1); a thumbnail's EOI is before it."""
    bad = misfit(source, _JPEG_MAGIC, "a JPEG image")
    return bad or proved_by_mark(source, _JPEG_END, _scan_start(source))


def _scan_start(source: ByteSource) -> int:
    offset = 2
    for _ in range(STEP_LIMIT):
        prefix, marker = source.at(offset, 2)
        if prefix != 0xFF:
            break
        if marker == _JPEG_SCAN:
            return offset + 2
        offset += _segment_bytes(source, offset, marker)
    raise BreaksOffError(offset)


def _segment_bytes(source: ByteSource, offset: int, marker: int) -> int:
    if marker == 0xFF:  # a fill byte
        return 1
    if marker in _JPEG_WITHOUT_LENGTH:
        return 2
    length = int.from_bytes(source.at(offset + 2, 2), "big")
    if marker < 0xC0 or marker == 0xD9 or length < 2:
        raise BreaksOffError(offset)
    return 2 + length


def probe_webp(source: ByteSource) -> FileVerdict:
    """Compare the RIFF size with the file's (RFC 9649, 2.3 and 2.4)."""
    bad = misfit(source, b"RIFF", "a WebP image") or misfit(source, source.at(0, 8) + b"WEBP", "a WebP image")
    if bad:
        return bad
    length = source.number(4)
    if length < 12:
        raise BreaksOffError(4)  # the size is written last
    return proved_by_length(source, 8 + length)
