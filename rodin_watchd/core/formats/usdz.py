"""USDZ: whether a package of USD layers is whole, and holds a mesh (USDZ specification; ZIP APPNOTE, 4.3)."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from rodin_watchd.core.file_kinds import is_usd_layer
from rodin_watchd.core.formats.source import (
    FOLLOWED,
    WHOLE,
    BreaksOffError,
    FileVerdict,
    misfit,
    undecided,
    unfinished,
    wrong,
)
from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rodin_watchd.core.formats.source import ByteSource

_MEMBER: Final = b"PK\x03\x04"
_MEMBER_BYTES: Final = 30
_DIRECTORY: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_COMMENT_LIMIT: Final = 0xFFFF
_ZIP64: Final = 0xFFFFFFFF
_LARGE: Final = undecided("it is a large ZIP archive (ZIP64), whose end is not checked")
_COMPRESSED: Final = (
    "this is a ZIP archive, not a USDZ model: its files are compressed; export it again as .usdz or .glb"
)


def probe_usdz(source: ByteSource) -> FileVerdict:
    """Ask for a stored USD layer first and a consistent directory last."""
    bad = misfit(source, _MEMBER, "a USDZ model") or _other_archive(source)
    return bad or _directory(source)


def _other_archive(source: ByteSource) -> FileVerdict | None:
    name = source.at(_MEMBER_BYTES, source.number(26, 2))
    if not is_usd_layer(name):
        if not name or b"\0" in name:  # a preallocated copy has not been filled so far
            raise BreaksOffError(_MEMBER_BYTES)
        return wrong(f"this is a ZIP archive, not a USDZ model: its first file is “{_shown(name)}”")
    return wrong(_COMPRESSED) if source.number(8, 2) != 0 else None


def _directory(source: ByteSource) -> FileVerdict:
    tail = source.tail(_END_BYTES + _COMMENT_LIMIT)
    found = tail.rfind(_END)
    if found < 0:
        return unfinished("its directory, which comes last, is missing")
    end = source.size - len(tail) + found
    size, start = source.number(end + 12), source.number(end + 16)
    if start == _ZIP64:
        return _LARGE
    if start + size != end or source.at(start, 4) != _DIRECTORY:
        raise BreaksOffError(min(start, source.size))
    after = end + _END_BYTES + source.number(end + 20, 2)
    if after > source.size:
        raise BreaksOffError(source.size)
    return WHOLE if after == source.size else FOLLOWED


# ---- All of it: each file in the package with its checksum, and a mesh in one of its layers -------------------------


_MOST_TOKEN_BYTES: Final = 1_000_000
_LONGEST_NAME: Final = 60
_CRATE: Final = b"PXR-USDC"
_CRATE_HEADER_BYTES: Final = 88
_PACKED_SINCE: Final = (0, 4, 0)
_SHAPES: Final = frozenset(
    {
        b"Mesh",
        b"Capsule",
        b"Capsule_1",
        b"Cone",
        b"Cube",
        b"Cylinder",
        b"Cylinder_1",
        b"NurbsPatch",
        b"Plane",
        b"Sphere",
    }
)
_TEXT_SHAPE: Final = re.compile(
    rb"\b(?:def|over|class)\s+(?:Mesh|Capsule(?:_1)?|Cone|Cube|Cylinder(?:_1)?|NurbsPatch|Plane|Sphere)\b"
)


class _Member(NamedTuple):
    """One file of the package, as the directory says."""

    name: bytes
    flags: int
    method: int
    crc: int
    size: int
    at: int


def examine_usdz(data: bytes) -> FileVerdict:
    """Judge all of a file that `probe_usdz` lets pass.

    USD programs map a package into memory and read it as it is there: they find no file that is compressed, encrypted, or
    whose size stands behind it. Raises BreaksOffError where the directory leads nowhere.
    """
    layers, length, members = [], 0, list(_members(data))
    if not members or any(_ZIP64 in (member.size, member.at) for member in members):
        return _LARGE
    for member in members:
        length += _MEMBER_BYTES + member.size
        if length > len(data):
            return wrong("this is a damaged USDZ model: its files overlap")
        if bad := _unreadable(member) or _damaged(data, member):
            return bad
        if is_usd_layer(member.name) or member.name.lower().endswith(b".usdz"):
            start = _start_of(data, member)
            layers.append(data[start : start + member.size])
    if not _may_hold_mesh(layers):
        return wrong("it holds no mesh: export it again with the model's geometry inside")
    return WHOLE


def _members(data: bytes) -> Iterator[_Member]:
    """Yield what the directory lists."""
    end = data.rfind(_END, -_END_BYTES - _COMMENT_LIMIT)
    offset = int.from_bytes(data[end + 16 : end + 20], "little")
    while offset < end:
        if data[offset : offset + 4] != _DIRECTORY or offset + 46 > end:
            raise BreaksOffError(offset)
        flags, method, crc, packed, size, name, extra, comment, at = struct.unpack_from(
            "<8xHH4xIIIHHH8xI", data, offset
        )
        if packed != size and not method:
            raise BreaksOffError(offset)
        yield _Member(data[offset + 46 : offset + 46 + name], flags, method, crc, size, at)
        offset += 46 + name + extra + comment


def _unreadable(member: _Member) -> FileVerdict | None:
    """Return what keeps USD programs from reading a file of the package."""
    if member.flags & 1:
        return wrong(
            "this is a ZIP archive, not a USDZ model: its files are encrypted; export it again without a password"
        )
    if member.method:
        return wrong(_COMPRESSED)
    if member.flags & 8 and member.size:
        return wrong(
            "its files have data descriptors (they were packed as a stream), which USD programs cannot read; "
            "export it again as .usdz or .glb"
        )
    return None


def _damaged(data: bytes, member: _Member) -> FileVerdict | None:
    """Compare a file's content with its checksum; some programs write none, which is 0."""
    if data[member.at : member.at + 4] != _MEMBER or member.at + _MEMBER_BYTES > len(data):
        raise BreaksOffError(member.at)
    start = _start_of(data, member)
    if start + member.size > len(data):
        raise BreaksOffError(len(data))
    if not member.crc or zlib.crc32(memoryview(data)[start : start + member.size]) == member.crc:
        return None
    return unfinished(f"its file “{_shown(member.name)}” is not fully copied, or damaged")


def _start_of(data: bytes, member: _Member) -> int:
    name, extra = struct.unpack_from("<HH", data, member.at + 26)
    return member.at + _MEMBER_BYTES + int(name) + int(extra)


def _shown(name: bytes) -> str:
    return printable(name[: 2 * _LONGEST_NAME].decode("utf-8", "surrogateescape"), _LONGEST_NAME)


def _may_hold_mesh(layers: Iterable[bytes]) -> bool:
    """Return whether a layer defines a mesh or another surface; also where that cannot be found out."""
    unpacked = 0
    for layer in layers:
        if not layer.startswith(_CRATE):
            if not layer.startswith(b"#usda") or _TEXT_SHAPE.search(layer):
                return True
            continue
        try:
            tokens = _tokens(layer, _MOST_TOKEN_BYTES - unpacked)
        except (struct.error, _UnreadableError):
            return True
        unpacked += len(tokens)
        if not _SHAPES.isdisjoint(tokens.split(b"\0")):
            return True
    return False


class _UnreadableError(Exception):
    """The table of a layer is not as this reader knows it."""


def _tokens(layer: bytes, most: int) -> bytes:
    """Return the words of a binary layer, types of prims among them (OpenUSD, pxr/usd/usd/crateFile.cpp).

    Raises struct.error and _UnreadableError, also where they have more than `most` bytes.
    """
    version = tuple(layer[8:11])
    (contents,) = struct.unpack_from("<q", layer, 16)
    if not _CRATE_HEADER_BYTES <= contents < len(layer):
        raise _UnreadableError
    (sections,) = struct.unpack_from("<Q", layer, contents)
    for number in range(min(sections, 64)):
        name, start, _ = struct.unpack_from("<16sqq", layer, contents + 8 + 32 * number)
        if name.rstrip(b"\0") == b"TOKENS" and start >= 0:
            return _token_table(layer, start, version, most)
    raise _UnreadableError


def _token_table(layer: bytes, start: int, version: tuple[int, ...], most: int) -> bytes:
    if version < _PACKED_SINCE:
        _, size = struct.unpack_from("<QQ", layer, start)
        return layer[start + 16 : start + 16 + size]
    _, size, packed = struct.unpack_from("<QQQ", layer, start)
    if size > most or packed > most:
        raise _UnreadableError
    return _unpacked(layer[start + 24 : start + 24 + packed], size)


def _unpacked(packed: bytes, size: int) -> bytes:
    """Unpack what OpenUSD has packed (pxr/base/tf/fastCompression.cpp): one block of LZ4, or some with their lengths."""
    if not packed:
        raise _UnreadableError
    if packed[0] == 0:
        return _lz4(packed[1:], size)
    made, offset = b"", 1
    for _ in range(packed[0]):
        (length,) = struct.unpack_from("<i", packed, offset)
        if length <= 0:
            raise _UnreadableError
        made += _lz4(packed[offset + 4 : offset + 4 + length], size - len(made))
        offset += 4 + length
    return made


def _lz4(block: bytes, most: int) -> bytes:
    """Unpack a block of LZ4 (LZ4 Block Format Description) of at most `most` bytes. Raises _UnreadableError."""
    made, offset = bytearray(), 0
    try:
        while offset < len(block):
            token = block[offset]
            literals, offset = _lz4_length(block, offset + 1, token >> 4)
            made += block[offset : offset + literals]
            offset += literals
            if offset >= len(block):
                break
            back = block[offset] | block[offset + 1] << 8
            copied, offset = _lz4_length(block, offset + 2, token & 15)
            _repeat(made, back, copied + 4, most)
    except IndexError as error:
        raise _UnreadableError from error
    return bytes(made)


def _repeat(made: bytearray, back: int, length: int, most: int) -> None:
    """Add `length` bytes from `back` bytes before the end on; what is added may be among them."""
    start = len(made) - back
    if not back or start < 0 or len(made) + length > most:
        raise _UnreadableError
    pattern = bytes(made[start : start + length])
    made += pattern if back >= length else (pattern * (length // back + 1))[:length]


def _lz4_length(block: bytes, offset: int, length: int) -> tuple[int, int]:
    if length == 15:
        while block[offset] == 255:
            length += 255
            offset += 1
        length += block[offset]
        offset += 1
    return length, offset
