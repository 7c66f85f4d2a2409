"""STL and OBJ: whether plain lists of triangles are whole."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.file_kinds import STL_MODEL, is_text, sniff
from rodin_watchd.core.formats.source import (
    HEAD_BYTES,
    MOST_ZERO_BYTES,
    WHOLE,
    FileVerdict,
    begun,
    foreign,
    in_utf16,
    not_copied,
    page_in,
    proved_by_length,
    undecided,
    unfinished,
    wrong,
    zero_runs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rodin_watchd.core.formats.source import ByteSource

_HEADER_BYTES: Final = 84
_TRIANGLE_BYTES: Final = 50
_MOST_BYTES: Final = 2**32
"""No STL is longer: what claims to be has another format, or is cut where its number of triangles should be."""

_TAIL_BYTES: Final = 16 * 1024
_MARK: Final = b"\xef\xbb\xbf"
_BLANK: Final = b" \t\r\n\f\v\0\x1a"
_ENDSOLID: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*end[ \t]*solid\b([^\r\n]*)", re.IGNORECASE)
_GOES_ON: Final = re.compile(rb"[\r\n][ \t]*(?:solid|facet)\b", re.IGNORECASE)
_LINE_END: Final = re.compile(rb"[\r\n]")
_FACET: Final = re.compile(rb"\bfacet\b", re.IGNORECASE)
_SOLID: Final = re.compile(rb"\s*solid\b([^\r\n]*)", re.IGNORECASE)
_VERTEX: Final = re.compile(rb"\bvertex[ \t]+[-+0-9.]", re.IGNORECASE)
_NAMES: Final = re.compile(rb"(?:\A|[\r\n])[ \t]*(?:(?:end[ \t]*)?solid\b|[;#])[^\r\n]*")
_PARTS: Final = ((b"facet",), (b"endfacet", b"end facet"), (b"loop",), (b"endloop", b"end loop"), (b"vertex",))

_MOST_ABSURD: Final = 16
"""So many triangles in a row with points that no model has are no mistake of a program."""

_CORNER_TOPS: Final = tuple(_HEADER_BYTES + offset for offset in range(15, 48, 4))
"""Where the highest bytes of the nine numbers of the first triangle's corners are; its normal comes first, and may be anything."""

_ABSURD: Final = bytes((top & 0x7F) >= 0x58 for top in range(256))
"""By the highest byte of a number: whether it is above 10**14, infinite or none."""

_NO_TRIANGLES: Final = "it has no triangles"
_DAMAGED: Final = "it is not fully copied, or damaged"
_NOT_WRITTEN: Final = "its last bytes have not been written yet"
_OPEN_END: Final = undecided("its last line may be incomplete")


def probe_stl(source: ByteSource) -> FileVerdict:
    """Compare a binary STL's triangle count with its size, or ask an ASCII one for its last line.

    A binary STL has no magic and may begin with "solid" like an ASCII one, so a fitting count decides first
    (both forms: Marshall Burns, Automated Fabrication, 6.5).
    """
    triangles = source.number(80) if source.size >= _HEADER_BYTES else 0
    length = _HEADER_BYTES + _TRIANGLE_BYTES * triangles
    if triangles and length == source.size:
        return proved_by_length(source, length)
    if source.size == _HEADER_BYTES and not triangles:
        return unfinished(_NO_TRIANGLES)
    if is_text(source.head) or _is_text_stl(source.head):
        return _probe_text(source)
    bad = in_utf16(source.head)
    if bad or length > _MOST_BYTES or sniff(source.head):
        return bad or foreign(source, STL_MODEL)
    return proved_by_length(source, length) if triangles else unfinished("its triangle count has not been written yet")


def _is_text_stl(head: bytes) -> bool:
    """Return whether this is the text form, though its name has a character that no text has."""
    return bool(_SOLID.match(head.removeprefix(_MARK)) and _FACET.search(head))


def _probe_text(source: ByteSource) -> FileVerdict:
    start = source.head.removeprefix(_MARK).strip(_BLANK).lower()
    if not start.startswith(b"solid"):
        return begun(source.size) if b"solid".startswith(start) else foreign(source, STL_MODEL)
    tail = source.tail(_TAIL_BYTES)
    found = list(_ENDSOLID.finditer(tail))
    if not found or _GOES_ON.search(tail, found[-1].end()):
        return unfinished("its last line, “endsolid”, is missing")
    if tail.endswith(bytes(MOST_ZERO_BYTES)):
        return unfinished(_NOT_WRITTEN)
    if source.size <= HEAD_BYTES and not _FACET.search(start):
        return unfinished(_NO_TRIANGLES)
    return WHOLE if _LINE_END.search(tail, found[-1].end()) else _OPEN_END


def examine_stl(data: bytes) -> FileVerdict:
    """Judge all of a file that `probe_stl` lets pass: no triangles are zeros or noise, and a text has none."""
    length = _HEADER_BYTES + _TRIANGLE_BYTES * int.from_bytes(data[80:84], "little")
    if not _HEADER_BYTES < length <= len(data):
        return _examine_text_stl(data)
    bad = next((run for run in zero_runs(data) if run[0] < length and run[1] > _HEADER_BYTES), None)
    if bad:
        return not_copied(bad)
    absurd = _absurd(data[:length])
    return unfinished(f"its points from byte {absurd:,} on are no numbers: {_DAMAGED}") if absurd else WHOLE


def _absurd(data: bytes) -> int:
    """Return where the first long run of triangles with absurd corners begins, 0 without one: a page of other bytes makes such runs."""
    found, count = 0, (len(data) - _HEADER_BYTES) // _TRIANGLE_BYTES
    for top in _CORNER_TOPS:
        found |= int.from_bytes(data[top::_TRIANGLE_BYTES].translate(_ABSURD), "big")
    first = found.to_bytes(count, "big").find(b"\1" * _MOST_ABSURD)
    return 0 if first < 0 else _HEADER_BYTES + first * _TRIANGLE_BYTES


def _examine_text_stl(data: bytes) -> FileVerdict:
    text = data.rstrip(_BLANK)
    if bad := _zeros_in(text):
        return bad
    if len(list(islice(_VERTEX.finditer(text), 3))) < 3:
        return unfinished(_NO_TRIANGLES)
    if bad := page_in(text.lower(), _NAMES):
        return bad
    if not _are_triangles(text):
        return unfinished(f"parts of its triangles are missing: {_DAMAGED}")
    name, last = _SOLID.match(data.removeprefix(_MARK)), list(_ENDSOLID.finditer(text[-_TAIL_BYTES:]))[-1]
    is_named = name is not None and name[1].split() == last[1].split()
    return WHOLE if is_named or _LINE_END.search(data[-_TAIL_BYTES:], last.end()) else _OPEN_END


def _are_triangles(text: bytes) -> bool:
    """Return whether each facet is closed and has three corners, as far as counting can show it; names and comments may hold any word."""
    words = text.lower()
    names = b"".join(_NAMES.findall(words))
    facets, ends, loops, loop_ends, corners = (
        sum(words.count(spelling) - names.count(spelling) for spelling in spellings) for spellings in _PARTS
    )
    return facets == 2 * ends and loops == 2 * loop_ends and corners == 3 * loop_ends


def _zeros_in(text: bytes) -> FileVerdict | None:
    at = text.find(0)
    return None if at < 0 else unfinished(f"it has zeros from byte {at:,} on: {_DAMAGED}")


# ---- OBJ ------------------------------------------------------------------------------------------------------------


_LOOK_BYTES: Final = 64 * 1024
_NO_VERTEX: Final = "it has no vertices (lines that begin with v)"
_NO_FACE: Final = "it has no faces (lines that begin with f)"
_NO_END: Final = undecided("an OBJ has no mark at its end")

_MOST_CHANGES: Final = 1_000_000
"""More lines that go on, or are indented, are no model of 10 MB, and cost much memory."""

_CONTINUED: Final = re.compile(rb"\\[ \t]*\n")
_INDENT: Final = re.compile(rb"\n[ \t]+")
_FACES: Final = re.compile(rb"(?:\nfo?[ \t][^\n]*+)++")
_COMMENT: Final = re.compile(rb"#[^\n]*")
_WORDS: Final = re.compile(rb"(?:\A|[\r\n])(?:[\t -~]*#|[ \t]*(?:[og]|usemtl|mtllib)[ \t])[^\r\n]*")
_NO_NUMBER: Final = re.compile(rb"\n(?:v[nt]?|fo?)[ \t][\t\v\f -\"$-~]*+[^\t\v\f -~\n]")
_CORNERS: Final = re.compile(rb"\nfo?(?:[ \t]+[-+0-9][-+0-9/]*){3}")
_OTHERS: Final[Mapping[bytes, str]] = {b"l": "lines", b"p": "points", b"curv": "curves", b"surf": "curved surfaces"}
_CUT: Final = re.compile(rb"(?:v|fo?)[ \t]+(?:\S+[ \t]+)?\S*\Z")
_NUMBERED: Final = (b"v", b"vt", b"vn")
_NEVER: Final = rb"(?!)"


def probe_obj(source: ByteSource) -> FileVerdict:
    """Look for what an OBJ cannot be; any number of its lines is an OBJ again, so it is never known to be whole.

    Only the first and the last 64 KiB are read.
    """
    head, tail = source.at(0, min(source.size, _LOOK_BYTES)), source.tail(_LOOK_BYTES)
    if not any(head[:16]):
        return begun(0)
    if bad := in_utf16(head):
        return bad
    if sniff(source.head) or not is_text(_WORDS.sub(b"", source.head.replace(b"\0", b"").rstrip(b"\x1a"))):
        return foreign(source, "an OBJ model")
    if _without_end(tail).endswith(b"\0"):
        return unfinished(_NOT_WRITTEN)
    if source.size <= _LOOK_BYTES:
        text = _without_end(tail)
        lines = _joined(_lines_of(text))
        if not _CORNERS.search(lines):
            return _zeros_in(text) or unfinished(_why_no_face(lines))
    return _NO_END


def _without_end(data: bytes) -> bytes:
    """Leave out the one zero that ZBrush writes behind its last line, and the end mark of DOS."""
    rest = data.rstrip(b"\r\n\x1a")
    return rest[:-1] if rest.endswith((b"\n\0", b"\r\0")) else data.rstrip(b"\x1a")


def examine_obj(data: bytes) -> FileVerdict:
    """Judge all of a file that `probe_obj` lets pass: there are faces, and the points that they name."""
    text = _without_end(data)
    if bad := _zeros_in(text):
        return bad
    single = _lines_of(text)
    lines = _joined(single)
    if bad := page_in(lines, _COMMENT):
        return bad
    if found := _NO_NUMBER.search(lines):
        return unfinished(f"it has a line of other characters than numbers, around byte {found.end():,}: {_DAMAGED}")
    last = lines[lines.rindex(b"\n") + 1 :]
    if _CUT.match(last):
        return unfinished("its last line is cut")
    if not _CORNERS.search(lines):
        return unfinished(_why_no_face(lines))
    return _beyond(lines, single) or _NO_END


def _lines_of(text: bytes) -> bytes:
    """Return the lines, each after a line feed, without indents."""
    lines = b"\n" + text.removeprefix(_MARK)
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if 0 < lines.count(b"\n ") + lines.count(b"\n\t") < _MOST_CHANGES:
        lines = _INDENT.sub(b"\n", lines)
    return lines


def _joined(lines: bytes) -> bytes:
    """Return lines that go on in the next one as one."""
    return _CONTINUED.sub(b" ", lines) if 0 < lines.count(b"\\") < _MOST_CHANGES else lines


def _count(lines: bytes, word: bytes) -> int:
    return lines.count(b"\n" + word + b" ") + lines.count(b"\n" + word + b"\t")


def _why_no_face(lines: bytes) -> str:
    if not _count(lines, b"v"):
        return _NO_VERTEX
    found = [words for word, words in _OTHERS.items() if _count(lines, word)]
    return f"it holds {' and '.join(found)} only, and no faces (lines that begin with f)" if found else _NO_FACE


def _beyond(lines: bytes, single: bytes) -> FileVerdict | None:
    r"""Return which number in a face names nothing; some programs number texture points and normals that they do not write.

    A line that ends with `\` by chance goes on for some programs only: a Windows path in a comment, a Japanese name in Shift-JIS.
    So points are counted in the `single` lines, too.
    """
    faces = b"".join(_FACES.findall(lines)).replace(b"\t", b" ") + b"\n"
    if b"#" in faces:
        faces = _COMMENT.sub(b"", faces)
    if any(b" 0" + end in faces for end in (b"/", b" ", b"\n")):
        return wrong("its faces name vertex 0; in an OBJ the first one is 1")
    counts = [max(_count(lines, word), _count(single, word)) for word in _NUMBERED]
    place, texture, normal = (_above(count) for count in counts)
    found = re.search(
        rb" -?(?:(%b)[/ \n]|\d++/-?(?:(%b)[/ \n]|\d*+/-?(%b)[ \n]))"
        % (place, texture if counts[1] else _NEVER, normal if counts[2] else _NEVER),
        faces,
    )
    if not found:
        return None
    which = (found.lastindex or 1) - 1
    number, word = found[which + 1].decode(), _NUMBERED[which].decode()
    return unfinished(f"a face names number {number[:20]} of its {counts[which]:,} lines that begin with {word}")


def _above(most: int) -> bytes:
    """Return a pattern of all whole numbers above `most`: much quicker than to read each number of a file."""
    digits = str(most)
    pattern = _NEVER.decode()
    for place in range(len(digits) - 1, -1, -1):
        higher = "" if digits[place] == "9" else rf"|[{int(digits[place]) + 1}-9]\d{{{len(digits) - place - 1}}}"
        pattern = rf"{digits[place]}(?:{pattern}){higher}"
    return rf"(?:{pattern}|[1-9]\d{{{len(digits)},}})".encode()
