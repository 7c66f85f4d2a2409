"""Accessors of a GLB file in the two forms that trimesh reads right: plain floats, plain whole numbers (glTF 2.0, section 3.6.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

_FLOAT, _UNSIGNED_INT = 5126, 5125
_KINDS: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", _UNSIGNED_INT: "<u4", _FLOAT: "<f4"}
_COLUMNS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_FLOATS: Final = frozenset({"POSITION", "NORMAL", "TEXCOORD", "COLOR"})


def made_plain(document: dict[str, Any], binary: bytes) -> bytes:
    """Replace accessors that are sparse, and whole numbers that stand for fractions. Return the binary chunk with their values.

    Raises ValueError for an accessor that reaches beyond its data.
    """
    for number, kind in dict(_unplain(document)).items():
        accessor = document["accessors"][number]
        data = _values(document, binary, accessor).astype(_KINDS[kind]).tobytes()
        binary += bytes(-len(binary) % 4)
        view = {"buffer": 0, "byteOffset": len(binary), "byteLength": len(data)}
        document["accessors"][number] = {
            **{key: accessor[key] for key in ("count", "type")},
            "bufferView": len(document.setdefault("bufferViews", [])),
            "componentType": kind,
        }
        document["bufferViews"].append(view)
        binary += data
        document.setdefault("buffers", [{}])[0]["byteLength"] = len(binary)
    return binary


def primitives(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of all meshes."""
    return [part for mesh in document.get("meshes", []) for part in mesh["primitives"]]


def _unplain(document: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Give the accessors to be replaced, and as which kind of numbers."""
    for part in primitives(document):
        for name, number in part["attributes"].items():
            accessor = document["accessors"][number]
            if name.partition("_")[0] in _FLOATS and ("sparse" in accessor or accessor["componentType"] != _FLOAT):
                yield number, _FLOAT
        if "indices" in part and "sparse" in document["accessors"][part["indices"]]:
            yield part["indices"], _UNSIGNED_INT


def _values(document: dict[str, Any], binary: bytes, accessor: dict[str, Any]) -> Any:  # noqa: ANN401 - numpy's
    kind, shape = np.dtype(_KINDS[accessor["componentType"]]), (accessor["count"], _COLUMNS[accessor["type"]])
    values = _stored(document, binary, accessor, kind, shape) if "bufferView" in accessor else np.zeros(shape, kind)
    if sparse := accessor.get("sparse"):
        values, some = values.copy(), sparse["count"]
        places = _stored(
            document, binary, sparse["indices"], np.dtype(_KINDS[sparse["indices"]["componentType"]]), (some, 1)
        )
        if some and places.max() >= len(values):
            raise ValueError("the GLB file has a sparse accessor with a place beyond its end")
        values[places.ravel()] = _stored(document, binary, sparse["values"], kind, (some, shape[1]))
    return np.maximum(values / np.iinfo(kind).max, -1.0) if accessor.get("normalized") else values


def _stored(  # what of a bufferView an accessor, or a part of a sparse one, names
    document: dict[str, Any], binary: bytes, place: dict[str, Any], kind: np.dtype[Any], shape: tuple[int, int]
) -> Any:  # noqa: ANN401 - numpy's
    view = document["bufferViews"][place["bufferView"]]
    if view["buffer"] or "uri" in document["buffers"][0]:
        raise ValueError("the GLB file has numbers in another file, which cannot be read here")
    start = view.get("byteOffset", 0)
    data = binary[start : start + view["byteLength"]]
    strides = view.get("byteStride", shape[1] * kind.itemsize), kind.itemsize
    try:
        return np.ndarray(shape, kind, data, place.get("byteOffset", 0), strides)
    except (TypeError, ValueError):
        raise ValueError("the GLB file has an accessor that reaches beyond its data") from None
