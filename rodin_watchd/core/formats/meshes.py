"""STL and OBJ: whether plain lists of triangles are whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.sniff import STL_MODEL, is_text, sniff
from rodin_watchd.core.formats.source import begun, foreign, proved_by_length
from rodin_watchd.core.formats.verdict import WHOLE, undecided, unfinished, wrong

if TYPE_CHECKING:
    from rodin_watchd.core.formats.source import Source
    from rodin_watchd.core.formats.verdict import Verdict

_STL_HEADER_BYTES: Final = 84
_STL_TRIANGLE_BYTES: Final = 50
_STL_TAIL_BYTES: Final = 1024

_OBJ_LOOK_BYTES: Final = 64 * 1024
_OBJ_VERTEX: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*v[ \t]")
_OBJ_FACE: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*(?:f|fo|surf)[ \t]")


def probe_stl(source: Source) -> Verdict:
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


def _ascii_stl(source: Source) -> Verdict:
    start = source.head.lstrip().lower()
    if not start.startswith(b"solid"):
        return begun(source.size) if source.size < _STL_HEADER_BYTES else foreign(source, STL_MODEL)
    tail = source.tail(_STL_TAIL_BYTES)
    last_line = re.split(rb"[\r\n]", tail.rstrip())[-1].strip().lower()
    if not last_line.startswith(b"endsolid"):
        return unfinished('its last line, "endsolid", is missing')
    if b"facet" not in start:
        return unfinished("it holds no triangles")
    return WHOLE if tail.endswith(b"\n") else undecided("its last line may go on")


def probe_obj(source: Source) -> Verdict:
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


def _obj_lines(head: bytes, tail: bytes, *, is_all: bool) -> Verdict:
    if not _OBJ_VERTEX.search(head):
        no_vertex = "it has no vertices (lines that begin with v)"
        return unfinished(no_vertex) if is_all else wrong(f"this is not an OBJ model: {no_vertex}")
    if is_all and not _OBJ_FACE.search(tail):
        return unfinished("it has no faces (lines that begin with f)")
    return undecided("an OBJ does not say where it ends")
