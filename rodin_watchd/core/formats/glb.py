"""GLB: whether a model in glTF's binary form is whole, and holds triangles (glTF 2.0 specification, 3 and 4.4)."""

from __future__ import annotations

import json
import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rodin_watchd.core.formats.source import (
    FOLLOWED,
    MAYBE_NOT_COPIED,
    MOST_ZERO_BYTES,
    STEP_LIMIT,
    WHOLE,
    BreaksOffError,
    FileVerdict,
    Wholeness,
    is_hole,
    misfit,
    not_copied,
    proved_by_length,
    unfinished,
    wrong,
    zero_runs,
)
from rodin_watchd.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rodin_watchd.core.formats.source import ByteSource

_HEADER_BYTES: Final = 12
_CHUNK_HEADER_BYTES: Final = 8
_JSON_AT: Final = 16
_JSON: Final = b"JSON"
_BIN: Final = b"BIN\0"

Span: TypeAlias = tuple[int, int]
"""Where some of a model's data begins and ends in its file."""


def probe_glb(source: ByteSource) -> FileVerdict:
    """Compare the length in the header with the file's and walk the chunks."""
    bad = misfit(source, b"glTF", "a GLB model") or _other_version(source.number(4))
    if bad:
        return bad
    length = source.number(8)
    if length < _HEADER_BYTES + _CHUNK_HEADER_BYTES:
        raise BreaksOffError(8)  # the length is written last
    verdict = proved_by_length(source, length)
    return verdict if source.size < length else _chunks(source, length) or verdict


def _other_version(version: int) -> FileVerdict | None:
    if version == 0:
        raise BreaksOffError(4)
    return None if version == 2 else wrong(f"this is a GLB model of version {version}, not 2: export it as glTF 2.0")


def _chunks(source: ByteSource, length: int) -> FileVerdict | None:
    first_kind = source.at(_JSON_AT, 4)
    if first_kind != _JSON:
        if b"\0" in first_kind:
            raise BreaksOffError(_JSON_AT)
        return wrong("this is a damaged GLB model: it does not begin with its JSON part")
    offset = _HEADER_BYTES
    for _ in range(STEP_LIMIT):
        if offset == length:
            return None
        if offset > length or source.number(offset, _CHUNK_HEADER_BYTES) == 0:
            break
        offset += _CHUNK_HEADER_BYTES + source.number(offset)
    raise BreaksOffError(min(offset, source.size))


# ---- All of it: the JSON part, the data that it describes, and the triangles ----------------------------------------


_MOST_PARTS: Final = 1_000_000
"""Objects and lists in the JSON part: an honest model of 10 MB has some ten thousand, and each costs memory."""

_MOST_LOOKED_AT_BYTES: Final = 30_000_000
"""So much data is compared in all: parts of a file may overlap, so that it is many times as long as the file."""

_COMPONENT_BYTES: Final = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5124: 4, 5125: 4, 5126: 4, 5130: 8}
_FLOAT: Final = 5126
_FLOAT_BYTES: Final = 4
_COMPONENTS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_HIGHEST: Final = bytes(byte & 0x7F == 0x7F for byte in range(256))
_ODD: Final = bytes(byte >= 0x80 for byte in range(256))
"""Which highest and second highest bytes of a number hold an exponent of ones."""

_INDEX_CODES: Final = {1: "B", 2: "H", 4: "I"}
_TRIANGLE_MODES: Final = frozenset({4, 5, 6})
_MODE_WORDS: Final = {0: "points", 1: "lines", 2: "lines", 3: "lines"}
_DRACO: Final = "KHR_draco_mesh_compression"
_MESHOPT: Final = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_READ_ANYWHERE: Final = ("KHR_lights_punctual", "KHR_materials_", "KHR_mesh_quantization", "KHR_texture_transform")
"""Extensions, or their beginnings, without which a program still reads the mesh."""

_MOST_WARNINGS: Final = 4
_LONGEST_NAME: Final = 60
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_MOST_PLAIN_ZEROS: Final = 32
"""So many zeros may stand in a row at the end of places or indices: the last two points at the origin, say."""


class _NoModelError(Exception):
    """What the JSON part says makes no model; the sentence says why."""


def examine_glb(data: bytes) -> FileVerdict:
    """Judge all of a file that `probe_glb` lets pass.

    The JSON part must describe at least one mesh with triangles, and all data that it describes must be in the file. Long
    runs of zeros where a mesh or a picture has none are what a copy has not filled.
    """
    size, data = len(data), data[: int.from_bytes(data[8:12], "little")]  # what follows is no part of it
    described, start, end = _parts(data)
    text = described.rstrip(b"\0 ")
    if b"\0" in text:
        return unfinished("its JSON part has zeros: it is not fully copied, or damaged")
    if text.count(b"{") + text.count(b"[") > _MOST_PARTS:
        return wrong(f"its JSON part has more than {_MOST_PARTS:,} objects and lists")
    try:
        gltf = json.loads(text.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return wrong("this is a damaged GLB model: its JSON part cannot be read")
    try:
        mesh = _Mesh.of(_Data.of(gltf, start, end), data)
    except _NoModelError as error:
        return wrong(str(error))
    verdict = mesh.unfilled or _zeros(data, mesh)
    if verdict.wholeness is Wholeness.WHOLE and len(data) < size:
        verdict = FOLLOWED
    return FileVerdict(verdict.wholeness, verdict.detail, _warnings(gltf, mesh.needs))


def _parts(data: bytes) -> tuple[bytes, int, int]:
    """Return the JSON chunk, and where the data of the BIN chunk is; there is none in a file without one."""
    described = b""
    offset, length = _HEADER_BYTES, int.from_bytes(data[8:12], "little")
    while offset < length:
        size, kind = struct.unpack_from("<I4s", data, offset)
        start = offset + _CHUNK_HEADER_BYTES
        offset = start + size
        if kind == _JSON and not described:
            described = data[start:offset]
        elif kind == _BIN:
            return described, start, offset
    return described, 0, 0


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Some data, `length` bytes of it: in the file from `start` on, in the JSON text (`is_text`), or nowhere."""

    length: int
    start: int | None
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class _View:
    """A part of a buffer, with its length once it is unpacked; `span` is where it is in the file, if it is there."""

    length: int
    stride: int
    span: Span | None
    is_packed: bool


@dataclass(frozen=True, slots=True)
class _Accessor:
    """A list of `count` elements of `size` bytes each; `span` is where it is in the file, if it is there as it is."""

    count: int
    size: int
    stride: int
    is_float: bool
    view: _View | None
    span: Span | None
    is_sparse: bool

    @property
    def is_tight(self) -> bool:
        """Whether nothing is between its elements."""
        return self.stride == self.size


@dataclass(frozen=True, slots=True)
class _Data:
    """The JSON part with its lists of buffers, views and accessors, all of which are in the file."""

    gltf: Mapping[str, Any]
    views: Sequence[_View]
    accessors: Sequence[_Accessor]

    @classmethod
    def of(cls, gltf: object, start: int, end: int) -> _Data:
        """Check each; the BIN chunk's data is from `start` to `end`. Raises _NoModelError."""
        if not isinstance(gltf, dict):
            raise _NoModelError("this is a damaged GLB model: its JSON part is no object")
        buffers = [_buffer(number, one, start, end) for number, one in enumerate(_objects(gltf, "buffers"))]
        views = [_view(one, buffers) for one in _objects(gltf, "bufferViews")]
        return cls(gltf, views, [_accessor(one, views) for one in _objects(gltf, "accessors")])

    def accessor(self, holder: Mapping[str, Any], key: str) -> _Accessor | None:
        """Return the accessor that is named under a key, None where none is."""
        return _chosen(self.accessors, holder, key) if key in holder else None


def _buffer(number: int, one: Mapping[str, Any], start: int, end: int) -> _Buffer:
    length, uri = _number(one, "byteLength"), one.get("uri")
    if isinstance(uri, str):
        if not uri.startswith("data:"):
            raise _NoModelError(f"its mesh is in {_elsewhere(uri)}: export it as one .glb with everything inside")
        if len(uri.partition(",")[2]) * 3 // 4 < length:
            raise _NoModelError(_OUTSIDE)
        return _Buffer(length, None, is_text=True)
    if number or not start:
        return _Buffer(length, None)  # of compressed meshes: a place without data, for programs that unpack into it
    if length > end - start:
        raise _NoModelError(f"this is a damaged GLB model: it has {end - start:,} of {length:,} bytes of its data")
    return _Buffer(length, start)


def _view(one: Mapping[str, Any], buffers: Sequence[_Buffer]) -> _View:
    packed = next((p for name in _MESHOPT if isinstance(p := _extension(one, name), dict)), None)
    span, length = _placed(packed or one, buffers), _number(one, "byteLength")
    buffer = _chosen(buffers, packed or one, "buffer")
    if span is None and not buffer.is_text:
        raise _NoModelError("some of its data is not in the file: export it as one .glb with everything inside")
    return _View(length, _number(one, "byteStride", 0), span, packed is not None)


def _placed(one: Mapping[str, Any], buffers: Sequence[_Buffer]) -> Span | None:
    buffer, offset = _chosen(buffers, one, "buffer"), _number(one, "byteOffset", 0)
    end = offset + _number(one, "byteLength")
    if end > buffer.length:
        raise _NoModelError(_OUTSIDE)
    return None if buffer.start is None else (buffer.start + offset, buffer.start + end)


def _accessor(one: Mapping[str, Any], views: Sequence[_View]) -> _Accessor:
    count = _number(one, "count")
    kind = _number(one, "componentType")
    size = _COMPONENT_BYTES.get(kind, 0) * _COMPONENTS.get(str(one.get("type")), 0)
    if not size:
        raise _NoModelError("this is a damaged GLB model: it has data of an unknown type")
    sparse = one.get("sparse")
    if isinstance(sparse, dict):
        _check_sparse(sparse, size, views)
    if "bufferView" not in one:
        return _Accessor(count, size, size, kind == _FLOAT, None, None, is_sparse=sparse is not None)
    view, offset = _chosen(views, one, "bufferView"), _number(one, "byteOffset", 0)
    stride = view.stride or size
    length = stride * (count - 1) + size if count else 0
    if offset + length > view.length:
        raise _NoModelError(_OUTSIDE)
    span = None if view.span is None or view.is_packed else (view.span[0] + offset, view.span[0] + offset + length)
    return _Accessor(count, size, stride, kind == _FLOAT, view, span, is_sparse=sparse is not None)


def _check_sparse(sparse: Mapping[str, Any], size: int, views: Sequence[_View]) -> None:
    count = _number(sparse, "count")
    indices, values = _object(sparse, "indices"), _object(sparse, "values")
    index_size = _COMPONENT_BYTES.get(_number(indices, "componentType"), 0)
    for holder, length in ((indices, count * index_size), (values, count * size)):
        if _number(holder, "byteOffset", 0) + length > _chosen(views, holder, "bufferView").length:
            raise _NoModelError(_OUTSIDE)


_OUTSIDE: Final = "this is a damaged GLB model: it refers to data behind its end"
_UNREADABLE: Final = "this is a damaged GLB model: its JSON part does not follow glTF 2.0"


def _objects(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = holder.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _NoModelError(_UNREADABLE)
    return found


def _object(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = holder.get(key, {})
    if not isinstance(found, dict):
        raise _NoModelError(_UNREADABLE)
    return found


def _extension(holder: Mapping[str, Any], name: str) -> object:
    extensions = holder.get("extensions")
    return extensions.get(name) if isinstance(extensions, dict) else None


def _number(holder: Mapping[str, Any], key: str, default: int | None = None) -> int:
    found = holder.get(key, default)
    if not isinstance(found, int | float) or not 0 <= found < 2**53 or found % 1:
        raise _NoModelError(_UNREADABLE)
    return int(found)


def _chosen(items: Sequence[Any], holder: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - an item of the list
    number = _number(holder, key)
    if number >= len(items):
        raise _NoModelError(_UNREADABLE)
    return items[number]


def _elsewhere(uri: str) -> str:
    return f"another file, “{_shown(uri)}”" if uri.strip() else "another file, whose name is missing"


def _shown(name: str) -> str:
    return printable(name[: 2 * _LONGEST_NAME], _LONGEST_NAME)


# ---- Triangles ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Mesh:
    """Where in the file the places and triangles of a model are, and its pictures."""

    spans: list[Span] = field(default_factory=list)  # data in which a long run of zeros makes no sense
    movements: list[Span] = field(default_factory=list)  # the same, but some programs write nothing but zeros there
    floats: list[Span] = field(default_factory=list)
    pictures: list[Span] = field(default_factory=list)
    unfilled: FileVerdict | None = None
    needs: set[str] = field(default_factory=set)  # the extensions without which there is no mesh
    looked_at: int = 0  # bytes
    has_extent: bool = False
    modes: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, found: _Data, data: bytes) -> _Mesh:
        """Find the triangles of a model. Raises _NoModelError where there are none."""
        mesh = cls()
        for primitive in _primitives(found.gltf):
            mesh.add(found, primitive, data)
        if not mesh.has_extent and not mesh.unfilled:
            raise _NoModelError(mesh.why_empty())
        mesh.add_movements(found)
        mesh.floats = [one.span for one in found.accessors if one.span and one.is_float]
        packed = (view.span for view in found.views if view.is_packed and view.span)
        if any(start < end and not data[start] for start, end in packed):  # they begin with the number of their kind
            mesh.unfilled = unfinished("some of its packed data is not copied, or damaged")
        for image in _objects(found.gltf, "images"):
            view = _chosen(found.views, image, "bufferView") if "bufferView" in image else None
            if view and view.span:
                mesh.pictures.append(view.span)
        return mesh

    def add(self, found: _Data, primitive: Mapping[str, Any], data: bytes) -> None:
        """Add a primitive, if it is made of triangles."""
        mode, attributes = _number(primitive, "mode", 4), _object(primitive, "attributes")
        places = found.accessor(attributes, "POSITION")
        indices = found.accessor(primitive, "indices")
        if places is None or (indices or places).count < 3:
            return
        self.modes.add(mode)
        if mode not in _TRIANGLE_MODES:
            return
        packed = _extension(primitive, _DRACO)
        if isinstance(packed, dict):
            self._add_span(_chosen(found.views, packed, "bufferView").span)
            self.has_extent = True
            self.needs |= set() if places.view else {_DRACO}
            return
        for one in (places, indices):
            self._add_span(one.span if one else None)
        if indices and indices.view and indices.view.is_packed and indices.view.span:
            self._add_end(indices.view.span)  # packed indices end with a table
        if indices and self._highest(indices, data) >= places.count:
            raise _NoModelError("this is a damaged GLB model: its triangles use points that it does not have")
        if self._has_no_numbers(places, data):
            raise _NoModelError("this is a damaged GLB model: some of its points are no numbers")
        self.has_extent = self.has_extent or self._is_extended(places, data)

    def add_movements(self, found: _Data) -> None:
        """Add what skins and animations are made of: matrices and times, and rotations."""
        for skin in _objects(found.gltf, "skins"):
            self._add_span(_span_of(found, skin, "inverseBindMatrices"), self.movements)
        for animation in _objects(found.gltf, "animations"):
            samplers = _objects(animation, "samplers")
            for channel in _objects(animation, "channels"):
                sampler = _chosen(samplers, channel, "sampler")
                self._add_span(_span_of(found, sampler, "input"), self.movements)
                if _object(channel, "target").get("path") == "rotation":
                    self._add_span(_span_of(found, sampler, "output"), self.movements)

    def why_empty(self) -> str:
        """Say what the file holds in the place of triangles."""
        if _TRIANGLE_MODES & self.modes:
            return "all points of its mesh are at the same place"
        words = sorted({_MODE_WORDS[mode] for mode in self.modes if mode in _MODE_WORDS})
        if words:
            return f"it holds {' and '.join(words)} only, and no triangles: export it as a mesh with faces"
        return "it holds no mesh with triangles"

    def _add_end(self, span: Span) -> None:
        self._add_span((max(span[0], span[1] - MOST_ZERO_BYTES), span[1]))

    def _add_span(self, span: Span | None, to: list[Span] | None = None) -> None:
        if span and span[0] < span[1]:
            (self.spans if to is None else to).append(span)

    def _may_look(self, one: _Accessor) -> bool:
        """Return whether a list is there as it is, and count its bytes."""
        if one.span is None or self.looked_at > _MOST_LOOKED_AT_BYTES:
            return False
        self.looked_at += one.count * one.size
        return True

    def _highest(self, indices: _Accessor, data: bytes) -> int:
        code = _INDEX_CODES.get(indices.size)
        if code is None or indices.is_sparse or not indices.is_tight or not indices.span or not self._may_look(indices):
            return -1
        start, end = indices.span
        block, highest = 16_384 * indices.size, 0
        for at in range(start, end, block):
            part = data[at : min(at + block, end)]
            numbers: tuple[int, ...] = struct.unpack(f"<{len(part) // indices.size}{code}", part)
            highest = max((highest, *numbers))
        return highest

    def _has_no_numbers(self, places: _Accessor, data: bytes) -> bool:
        """Return whether infinite numbers or such that are none are in a list: all bits of their exponent are set."""
        if not places.is_float or not places.span or not self._may_look(places):
            return False
        start, end = places.span
        for at in range(start, min(start + places.size, end), _FLOAT_BYTES):
            high, low = (data[at + place : end : places.stride] for place in (3, 2))
            if int.from_bytes(high.translate(_HIGHEST)) & int.from_bytes(low.translate(_ODD)):
                return True
        return False

    def _is_extended(self, places: _Accessor, data: bytes) -> bool:
        """Return whether not all points are at the same place."""
        if places.view is None:
            return places.is_sparse  # without data all are at the origin
        if places.is_sparse or not places.is_tight or not places.span or not self._may_look(places):
            return True
        start, end = places.span
        first = data[start : start + places.size]
        if data[start:end] != first * places.count:
            return True
        if not any(first):
            self.unfilled = not_copied(places.span)
        return False


def _span_of(found: _Data, holder: Mapping[str, Any], key: str) -> Span | None:
    accessor = found.accessor(holder, key)
    return accessor.span if accessor else None


def _primitives(gltf: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the meshes that nodes show are made of; of all meshes where no node shows one."""
    meshes = _objects(gltf, "meshes")
    shown = {_number(node, "mesh") for node in _objects(gltf, "nodes") if "mesh" in node}
    for number, mesh in enumerate(meshes):
        if number in shown or not shown:
            yield from _objects(mesh, "primitives")


# ---- Zeros ----------------------------------------------------------------------------------------------------------


def _zeros(data: bytes, mesh: _Mesh) -> FileVerdict:
    """Judge long runs of zeros: they are no places, no indices and no end of a picture. Anything else may be zero."""
    runs = list(zero_runs(data))
    if not runs:
        return WHOLE
    filled = [span for span in mesh.movements if not _is_within(span, runs)]
    intact, pictures = _judged_pictures(data, mesh.pictures)
    solid, floats = _joined([*mesh.spans, *filled, *pictures]), sorted(mesh.floats)
    runs = [run for run in runs if not _is_within(run, intact)]
    for run in runs:
        is_solid = _overlap(run, solid) >= _MOST_PLAIN_ZEROS
        if is_solid or is_hole(run, len(data)) or _splits_number(run, floats):
            return not_copied(run)
    return MAYBE_NOT_COPIED if runs else WHOLE


def _begin(span: Span) -> int:
    return span[0]


def _is_within(span: Span, runs: Sequence[Span]) -> bool:
    """Return whether some data is in one of these runs, which are in order."""
    number = bisect_right(runs, span[0], key=_begin) - 1
    return number >= 0 and span[1] <= runs[number][1]


def _splits_number(run: Span, floats: Sequence[Span]) -> bool:
    """Return whether a run begins within a number: the last byte of a number that is not zero is not zero, either."""
    number = bisect_right(floats, run[0], key=_begin) - 1
    if number < 0 or run[0] >= floats[number][1]:
        return False
    return (run[0] - floats[number][0]) % _FLOAT_BYTES != 0


def _judged_pictures(data: bytes, pictures: Iterable[Span]) -> tuple[list[Span], list[Span]]:
    """Return the PNGs whose checksums are right, and where else in pictures long runs of zeros make no sense, both in order.

    That is the end of a JPEG, and all of any other PNG. A WebP picture may end in zeros.
    """
    intact, solid, looked_at = list[Span](), list[Span](), 0
    for start, end in sorted(set(pictures)):
        if data.startswith(_PNG, start):
            looked_at += end - start
            if looked_at <= _MOST_LOOKED_AT_BYTES:
                (intact if _is_png_intact(data, start, end) else solid).append((start, end))
        elif data.startswith(_JPEG, start):
            solid.append((max(start, end - MOST_ZERO_BYTES), end))
    return _joined(intact), solid


def _is_png_intact(data: bytes, start: int, end: int) -> bool:
    """Return whether the checksums of all chunks of a PNG are right (PNG specification, 5.3); what follows its end does not count."""
    offset = start + len(_PNG)
    while offset + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, offset)
        crc_at = offset + 8 + length
        if crc_at + 4 > end or zlib.crc32(data[offset + 4 : crc_at]) != int.from_bytes(
            data[crc_at : crc_at + 4], "big"
        ):
            return False
        if kind == b"IEND":
            return True
        offset = crc_at + 4
    return False


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that overlap as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _overlap(run: Span, solid: Sequence[Span]) -> int:
    """Return how many bytes of a run are in these spans."""
    shared, number = 0, max(bisect_right(solid, run[0], key=_begin) - 1, 0)
    while number < len(solid) and solid[number][0] < run[1]:
        shared += max(0, min(run[1], solid[number][1]) - max(run[0], solid[number][0]))
        number += 1
    return shared


# ---- What the vendor may not read -----------------------------------------------------------------------------------


def _warnings(gltf: Mapping[str, Any], needed: Iterable[str]) -> tuple[str, ...]:
    """Return what the model needs a program to know, also where it does not say so, and what of it is not sent."""
    required = gltf.get("extensionsRequired", [])
    names = [one for one in required if isinstance(one, str)] if isinstance(required, list) else []
    found = [
        f"it needs {_shown(name)}, which the vendor may not be able to read; if the job fails, export the model without it"
        for name in dict.fromkeys([*names, *needed])
        if not name.startswith(_READ_ANYWHERE)
    ]
    found += (
        f"its picture is in {_elsewhere(uri)}, and is not sent"
        for image in _objects(gltf, "images")
        if isinstance(uri := image.get("uri"), str) and not uri.startswith("data:")
    )
    return tuple(found[:_MOST_WARNINGS])
