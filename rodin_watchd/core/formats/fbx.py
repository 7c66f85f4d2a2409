"""FBX, binary and ASCII: whether a model is whole, and holds a mesh.

Autodesk publishes no specification: these facts are what readers and writers agree on (Blender's io_scene_fbx, ufbx,
assimp). A binary FBX is a chain of records. Each says where it ends, and may hold such a chain; an empty record closes it.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from rodin_watchd.core.file_kinds import FBX_MODEL, is_text, sniff
from rodin_watchd.core.formats.source import (
    FOLLOWED,
    MAYBE_NOT_COPIED,
    PAGE_BYTES,
    STEP_LIMIT,
    WHOLE,
    BreaksOffError,
    FileVerdict,
    begun,
    in_utf16,
    is_hole,
    misfit,
    not_copied,
    page_in,
    undecided,
    unfinished,
    wrong,
    zero_runs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rodin_watchd.core.formats.source import ByteSource

_MAGIC: Final = b"Kaydara FBX Binary  \0"
_ORDER_AT: Final = 22
_VERSION_AT: Final = 23
_NODES_AT: Final = 27
_LOOK_BYTES: Final = 64
_END: Final = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")
_NO_FOOTER: Final = undecided("its closing mark is missing, which some programs do not write")
_TOO_MUCH: Final = undecided("it has too many parts to be checked")
_NO_MESH: Final = wrong("it holds no mesh: export it again with the model's polygons inside")


def probe_fbx(source: ByteSource) -> FileVerdict:
    """Ask a binary FBX for its footer; an ASCII one has no end that could be asked for.

    Where a writer left the footer out, the chain of top-level records must at least reach its closing empty record.
    """
    bad = misfit(source, _MAGIC, FBX_MODEL)
    if bad:
        return in_utf16(source.head) or _begun_text(source) or bad
    return WHOLE if source.tail(len(_END)) == _END else _chain(source)


def _begun_text(source: ByteSource) -> FileVerdict | None:
    written = source.head.rstrip(b"\0")
    if written and b"; FBX".startswith(written):
        return begun(len(written))
    text = written.replace(b"\0", b"")  # of pages that came in another order
    if sniff(text) != FBX_MODEL or text.startswith(_MAGIC[:1]) or not is_text(text):
        return None
    if source.tail(1) == b"\0":
        return unfinished("its last bytes have not been written yet")
    return undecided("an ASCII FBX has no mark at its end")


def _closes(source: ByteSource, offset: int) -> bool:
    """Distinguish the closing empty record (13 or 25 zeros, then a footer or nothing) from the zeros of a preallocated copy."""
    rest = source.at(offset, min(_LOOK_BYTES, source.size - offset))
    return len(rest) < _LOOK_BYTES or any(rest)


def _chain(source: ByteSource) -> FileVerdict:
    """Follow the end offsets; from version 7500 on they have 8 bytes, of which 4 do for any file below 4 GiB."""
    offset = _NODES_AT
    for _ in range(STEP_LIMIT):
        end = source.number(offset)
        if end == 0 and offset > _NODES_AT and _closes(source, offset):
            return _NO_FOOTER
        if end <= offset:
            break
        offset = end
    raise BreaksOffError(min(offset, source.size))


# ---- All of it: the records down to the meshes, or the braces of a text ---------------------------------------------


_FOOTER_LOOK_BYTES: Final = 4096
_WIDE_SINCE: Final = 7500
_MOST_STEPS: Final = 200_000
"""Records and properties that are looked at; an honest file has some ten thousand objects."""

_MOST_TEXTS: Final = 500_000
_MOST_INFLATED_BYTES: Final = 50_000_000
_MESH_ARRAYS: Final = frozenset({b"Vertices", b"PolygonVertexIndex"})
_MESH_HOLDERS: Final = frozenset({b"Geometry", b"Model"})  # a Model holds its mesh itself before version 7000
_SCALAR_BYTES: Final = {b"Y": 2, b"C": 1, b"B": 1, b"I": 4, b"F": 4, b"D": 8, b"L": 8}
_ARRAY_ITEM_BYTES: Final = {b"b": 1, b"c": 1, b"i": 4, b"f": 4, b"d": 8, b"l": 8}
_TEXTS: Final = frozenset({b"S", b"R"})
_NO_CODE: Final = re.compile(rb'"[^"]*(?:"|\Z)|;[^\n]*')
_TEXT_CONNECTIONS: Final = re.compile(rb"^Connections:\s*\{", re.MULTILINE)
_TEXT_TAKES: Final = re.compile(rb"^Takes:\s*\{", re.MULTILINE)
_TEXT_LIST: Final = re.compile(rb"\*(\d{1,9})\s*\{\s*a:([^}]*)\}")
_TEXT_POLYGONS: Final = re.compile(rb"PolygonVertexIndex:\s*(?:\*\d+\s*\{\s*a:\s*)?-?\d")


def examine_fbx(data: bytes) -> FileVerdict:
    """Judge all of a file that `probe_fbx` lets pass. Raises BreaksOffError where its records lead nowhere."""
    if not data.startswith(_MAGIC):
        return _examine_text(data)
    try:
        return _examine_records(_Chains(data))
    except _TooLongError:
        return _TOO_MUCH


def _examine_records(chains: _Chains) -> FileVerdict:
    data = chains.data
    top = list(chains.records(_NODES_AT, len(data)))
    end = top[-1].end if top else _NODES_AT
    if chains.behind(end) and _END not in data[end : end + _FOOTER_LOOK_BYTES]:
        return unfinished("its closing mark is cut")
    if not _has_mesh(chains, top):
        return _NO_MESH
    found = [_zeros(chains, run) for run in zero_runs(data) if run[1] - run[0] >= PAGE_BYTES]
    doubts = sorted((one for one in found if one), key=lambda one: one is MAYBE_NOT_COPIED)
    ends_well = WHOLE if data.endswith(_END) else FOLLOWED
    return next(iter(doubts), ends_well if chains.behind(end) else _NO_FOOTER)


class _Record(NamedTuple):
    """One record: its name, how many properties it has, where they are, and where the record begins and ends."""

    name: bytes
    held: int
    start: int
    properties: int
    inner: int  # where its own records begin
    end: int


class _TooLongError(Exception):
    """The file has more parts than an honest one."""


class _Chains:
    """The records of a file; no file keeps the reader busy: so many steps are done in all, and so much is unpacked."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        sign = ">" if data[_ORDER_AT] else "<"
        (version,) = struct.unpack_from(f"{sign}I", data, _VERSION_AT)
        is_wide = version >= _WIDE_SINCE
        self._head = struct.Struct(f"{sign}QQQB" if is_wide else f"{sign}IIIB")
        self.array_head = struct.Struct(f"{sign}III")
        self._steps_left = _MOST_STEPS
        self._inflated_left = _MOST_INFLATED_BYTES

    def step(self) -> None:
        """Count a step. Raises _TooLongError."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise _TooLongError

    def records(self, start: int, end: int) -> Iterator[_Record]:
        """Yield the records of a chain. Raises BreaksOffError where it does not go on, or is closed too early."""
        while start + self._head.size <= end:
            stop, count, length, name_length = self._head.unpack_from(self.data, start)
            if not stop:
                if start + self._head.size != end < len(self.data):
                    raise BreaksOffError(start)
                return
            properties = start + self._head.size + name_length
            if not properties + length <= stop <= end:
                raise BreaksOffError(start)
            self.step()
            name = self.data[properties - name_length : properties]
            yield _Record(name, count, start, properties, properties + length, stop)
            start = stop

    def behind(self, offset: int) -> bytes:
        """Return the beginning of what comes behind the empty record that closes the chain of all: the footer, if there is one.

        Raises BreaksOffError where there is no such record, or zeros behind it.
        """
        size = self._head.size
        closing, rest = self.data[offset : offset + size], self.data[offset + size : offset + size + _LOOK_BYTES]
        if closing != bytes(size) or rest == bytes(_LOOK_BYTES):
            raise BreaksOffError(offset)
        return rest

    def inflates(self, packed: bytes) -> bool:
        """Return whether compressed data is whole by its own checksum. Raises _TooLongError."""
        unpacker = zlib.decompressobj()
        try:
            while packed and not unpacker.eof:
                self._inflated_left -= len(unpacker.decompress(packed, 1_000_000))
                packed = unpacker.unconsumed_tail
                if self._inflated_left < 0:
                    raise _TooLongError
        except zlib.error:
            return False
        return unpacker.eof


def _has_mesh(chains: _Chains, top: Iterable[_Record]) -> bool:
    """Return whether a file has points and polygons, in one of its objects or, before version 6000, next to them."""
    for one in top:
        inner = chains.records(one.inner, one.end) if one.name == b"Objects" else iter((one,))
        if any(_is_mesh(chains, record) for record in inner):
            return True
    return False


def _is_mesh(chains: _Chains, record: _Record) -> bool:
    if record.name not in _MESH_HOLDERS:
        return False
    parts = (part for part in chains.records(record.inner, record.end) if part.name in _MESH_ARRAYS)
    return {part.name for part in parts if _is_filled(chains, part)} == _MESH_ARRAYS


def _is_filled(chains: _Chains, record: _Record) -> bool:
    """Return whether a record has numbers: an array that is not empty or, before version 7000, one property for each."""
    if not record.held or record.properties >= record.inner:
        return False
    kind = chains.data[record.properties : record.properties + 1]
    return kind not in _ARRAY_ITEM_BYTES or any(chains.data[record.properties + 1 : record.properties + 5])


def _zeros(chains: _Chains, run: tuple[int, int]) -> FileVerdict | None:
    """Judge a long run of zeros: None where it is proven to be data, by unpacking it.

    Such runs are in one array, text or picture; between records there are none, and no mesh has so many points at the origin.
    """
    record, (start, end), packed = _place_of(chains, run)
    if record is None:
        return not_copied(run)
    if packed:
        return None if chains.inflates(chains.data[start:end]) else not_copied(run)
    is_mesh = record.name in _MESH_ARRAYS
    return not_copied(run) if is_mesh or is_hole(run, len(chains.data)) else MAYBE_NOT_COPIED


def _place_of(chains: _Chains, run: tuple[int, int]) -> tuple[_Record | None, tuple[int, int], bool]:
    """Return the record in one of whose properties a run begins, where that property is, and whether it is compressed.

    Raises BreaksOffError where the run goes on into the next record.
    """
    start, end, nowhere = _NODES_AT, len(chains.data), (None, (0, 0), False)
    while True:
        chain = chains.records(start, end)
        record = next((r for r in chain if r.start <= run[0] < r.end), None)
        if record is None:
            return nowhere
        if run[1] > record.end:  # as zeros of its own, the chain may have its end, or the beginning of the next number
            next(chain, None)
        if run[0] >= record.inner:
            start, end = record.inner, record.end
            continue
        for span, packed in _properties(chains, record):
            if span[0] <= run[1] and run[0] < span[1]:
                return record, span, packed
        return nowhere


def _properties(chains: _Chains, record: _Record) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield where the data of each property is, and whether it is compressed."""
    offset, data = record.properties, chains.data
    while offset < record.inner:
        chains.step()
        kind = data[offset : offset + 1]
        count, encoding, packed = chains.array_head.unpack(data[offset + 1 : offset + 13].ljust(12, b"\0"))
        offset += 1
        if kind in _ARRAY_ITEM_BYTES:
            offset, length = offset + 12, packed if encoding else count * _ARRAY_ITEM_BYTES[kind]
        elif kind in _TEXTS:
            offset, length = offset + 4, count
        elif kind in _SCALAR_BYTES:
            length = _SCALAR_BYTES[kind]
        else:
            raise BreaksOffError(offset - 1)
        yield (offset, offset + length), bool(encoding) and kind in _ARRAY_ITEM_BYTES
        offset += length


def _examine_text(data: bytes) -> FileVerdict:
    """Count the braces outside of texts and comments, and the numbers of each list; connections come after all objects, then takes, if any."""
    if b"\0" in data:
        return unfinished(f"it has zeros from byte {data.index(0):,} on: it is not fully copied, or damaged")
    if data.count(b'"') + data.count(b";") > _MOST_TEXTS:
        return _TOO_MUCH
    code = _NO_CODE.sub(b"", data)
    bad = page_in(data, _NO_CODE)
    opened = code.count(b"{") - code.count(b"}")
    has_takes = _TEXT_TAKES.search(code)
    if bad or opened or not (has_takes or _TEXT_CONNECTIONS.search(code)):
        return bad or unfinished("its last part is missing")
    for said, numbers in _TEXT_LIST.findall(code):
        if (found := numbers.count(b",") + 1) < int(said):
            return unfinished(
                f"it has {found:,} numbers where it says {int(said):,}: it is not fully copied, or damaged"
            )
    if not _TEXT_POLYGONS.search(code):
        return _NO_MESH
    return WHOLE if has_takes else undecided("its last part, “Takes”, is missing, which some programs do not write")
