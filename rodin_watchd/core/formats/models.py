"""GLB, USDZ, FBX, STL and OBJ: whether models are whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.source import (
    FBX_MODEL,
    FOLLOWED,
    STEP_LIMIT,
    STL_MODEL,
    WHOLE,
    BreaksOffError,
    begun,
    foreign,
    is_text,
    is_usd_layer,
    misfit,
    proved_by_length,
    sniff,
    undecided,
    unfinished,
    wrong,
)
from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from rodin_watchd.core.formats.source import ByteSource, FileVerdict

_GLB_HEADER_BYTES: Final = 12
_GLB_CHUNK_HEADER_BYTES: Final = 8
_GLB_JSON_AT: Final = 16
_GLB_JSON: Final = b"JSON"

_ZIP_MEMBER: Final = b"PK\x03\x04"
_ZIP_NAME_AT: Final = 30
_ZIP_DIRECTORY: Final = b"PK\x01\x02"
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ZIP_COMMENT_LIMIT: Final = 0xFFFF
_ZIP64: Final = 0xFFFFFFFF

_FBX_MAGIC: Final = b"Kaydara FBX Binary  \0"
_FBX_NODES_AT: Final = 27
_FBX_LOOK_BYTES: Final = 64
_FBX_END: Final = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")


def probe_glb(source: ByteSource) -> FileVerdict:
    """Compare the length in the header with the file's and walk the chunks (glTF 2.0 specification, 4.4)."""
    bad = misfit(source, b"glTF", "a GLB model") or _other_glb_version(source.number(4))
    if bad:
        return bad
    length = source.number(8)
    if length < _GLB_HEADER_BYTES + _GLB_CHUNK_HEADER_BYTES:
        raise BreaksOffError(8)  # the length is written last
    verdict = proved_by_length(source, length)
    return verdict if source.size < length else _glb_chunks(source, length) or verdict


def _other_glb_version(version: int) -> FileVerdict | None:
    if version == 0:
        raise BreaksOffError(4)
    return None if version == 2 else wrong(f"this is a GLB model of version {version}, not 2: export it as glTF 2.0")


def _glb_chunks(source: ByteSource, length: int) -> FileVerdict | None:
    first_kind = source.at(_GLB_JSON_AT, 4)
    if first_kind != _GLB_JSON:
        _ask_written(first_kind, _GLB_JSON_AT)
        return wrong("this is a damaged GLB model: it does not begin with its JSON part")
    offset = _GLB_HEADER_BYTES
    for _ in range(STEP_LIMIT):
        if offset == length:
            return None
        if offset > length or source.number(offset, _GLB_CHUNK_HEADER_BYTES) == 0:
            break
        offset += _GLB_CHUNK_HEADER_BYTES + source.number(offset)
    raise BreaksOffError(min(offset, source.size))


def _ask_written(data: bytes, offset: int) -> None:
    """Break off where a zero shows that a preallocated copy has not been filled so far."""
    if not data or b"\0" in data:
        raise BreaksOffError(offset)


def probe_usdz(source: ByteSource) -> FileVerdict:
    """Ask for a stored USD layer first and a consistent directory last (USDZ specification; ZIP APPNOTE, 4.3)."""
    bad = misfit(source, _ZIP_MEMBER, "a USDZ model") or _other_archive(source)
    return bad or _zip_directory(source)


def _other_archive(source: ByteSource) -> FileVerdict | None:
    name = source.at(_ZIP_NAME_AT, source.number(26, 2))
    if not is_usd_layer(name):
        _ask_written(name, _ZIP_NAME_AT)
        shown = printable(name.decode("utf-8", "surrogateescape"))
        return wrong(f'this is a ZIP archive, not a USDZ model: its first file is "{shown}"')
    if source.number(8, 2) != 0:
        return wrong(
            "this is a ZIP archive, not a USDZ model: its files are compressed; export it again as .usdz or .glb"
        )
    return None


def _zip_directory(source: ByteSource) -> FileVerdict:
    tail = source.tail(_ZIP_END_BYTES + _ZIP_COMMENT_LIMIT)
    found = tail.rfind(_ZIP_END)
    if found < 0:
        return unfinished("its directory, which comes last, is missing")
    end = source.size - len(tail) + found
    size, start = source.number(end + 12), source.number(end + 16)
    if start == _ZIP64:
        return undecided("it is a large ZIP archive (ZIP64), whose end is not checked")
    if start + size != end or source.at(start, 4) != _ZIP_DIRECTORY:
        raise BreaksOffError(min(start, source.size))
    after = end + _ZIP_END_BYTES + source.number(end + 20, 2)
    if after > source.size:
        raise BreaksOffError(source.size)
    return WHOLE if after == source.size else FOLLOWED


def probe_fbx(source: ByteSource) -> FileVerdict:
    """Ask a binary FBX for its footer; an ASCII one has no end that could be asked for.

    Autodesk publishes no specification: these facts are what readers and writers agree on. Where a writer left the
    footer out, the chain of top-level nodes must at least reach its closing empty record.
    """
    bad = misfit(source, _FBX_MAGIC, FBX_MODEL)
    if bad:
        return _ascii_fbx(source) or bad
    return WHOLE if source.tail(len(_FBX_END)) == _FBX_END else _fbx_nodes(source)


def _ascii_fbx(source: ByteSource) -> FileVerdict | None:
    written = source.head.rstrip(b"\0")
    if written and b"; FBX".startswith(written):
        return begun(len(written))
    if sniff(written) != FBX_MODEL or not is_text(written):
        return None
    if source.tail(1) == b"\0":
        return unfinished("its last bytes have not been written yet")
    return undecided("an ASCII FBX has no mark at its end")


def _closes_fbx(source: ByteSource, offset: int) -> bool:
    """Distinguish the closing empty record (13 or 25 zeros, then a footer or nothing) from the zeros of a preallocated copy."""
    rest = source.at(offset, min(_FBX_LOOK_BYTES, source.size - offset))
    return len(rest) < _FBX_LOOK_BYTES or any(rest)


def _fbx_nodes(source: ByteSource) -> FileVerdict:
    """Follow the end offsets; from version 7500 on they have 8 bytes, of which 4 do for any file below 4 GiB."""
    offset = _FBX_NODES_AT
    for _ in range(STEP_LIMIT):
        end = source.number(offset)
        if end == 0 and offset > _FBX_NODES_AT and _closes_fbx(source, offset):
            return undecided("its closing mark is missing, which some programs do not write")
        if end <= offset:
            break
        offset = end
    raise BreaksOffError(min(offset, source.size))


# ---- STL and OBJ: whether plain lists of triangles are whole --------------------------------------------------------


_STL_HEADER_BYTES: Final = 84
_STL_TRIANGLE_BYTES: Final = 50
_STL_TAIL_BYTES: Final = 1024

_OBJ_LOOK_BYTES: Final = 64 * 1024
_OBJ_VERTEX: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*v[ \t]")
_OBJ_FACE: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*(?:f|fo|surf)[ \t]")


def probe_stl(source: ByteSource) -> FileVerdict:
    """Compare a binary STL's triangle count with its size, or ask an ASCII one for its last line.

    A binary STL has no magic and may begin with "solid" like an ASCII one, so a fitting count decides first
    (both forms: Marshall Burns, Automated Fabrication, 6.5).
    """
    triangles = source.number(80) if source.size >= _STL_HEADER_BYTES else 0
    length = _STL_HEADER_BYTES + _STL_TRIANGLE_BYTES * triangles
    if triangles and length == source.size:
        return proved_by_length(source, length)
    if sniff(source.head) not in {None, STL_MODEL}:
        return foreign(source, STL_MODEL)
    if is_text(source.head):
        return _ascii_stl(source)
    return proved_by_length(source, length) if triangles else unfinished("its triangle count has not been written yet")


def _ascii_stl(source: ByteSource) -> FileVerdict:
    start = source.head.lstrip().lower()
    if not start.startswith(b"solid"):
        return begun(source.size) if source.size < _STL_HEADER_BYTES else foreign(source, STL_MODEL)
    tail = source.tail(_STL_TAIL_BYTES)
    last_line = re.split(rb"[\r\n]", tail.rstrip())[-1].strip().lower()
    if not last_line.startswith(b"endsolid"):
        return unfinished('its last line, "endsolid", is missing')
    if b"facet" not in start:
        return unfinished("it has no triangles")
    return WHOLE if tail.endswith(b"\n") else undecided("its last line may be incomplete")


def probe_obj(source: ByteSource) -> FileVerdict:
    """Look for what an OBJ cannot be; any number of its lines is an OBJ again, so it is never known to be whole.

    Only the first and the last 64 KiB are read.
    """
    head, tail = source.at(0, min(source.size, _OBJ_LOOK_BYTES)), source.tail(_OBJ_LOOK_BYTES)
    written = head.rstrip(b"\0")
    if not any(head[:16]):
        return begun(0)
    if sniff(source.head) or not is_text(written):
        return foreign(source, "an OBJ model")
    if tail.endswith(b"\0"):
        return unfinished("its last bytes have not been written yet")
    return _obj_lines(head, tail, is_all=source.size <= _OBJ_LOOK_BYTES)


def _obj_lines(head: bytes, tail: bytes, *, is_all: bool) -> FileVerdict:
    if not _OBJ_VERTEX.search(head):
        no_vertex = "it has no vertices (lines that begin with v)"
        return unfinished(no_vertex) if is_all else wrong(f"this is not an OBJ model: {no_vertex}")
    if is_all and not _OBJ_FACE.search(tail):
        return unfinished("it has no faces (lines that begin with f)")
    return undecided("an OBJ has no mark at its end")
