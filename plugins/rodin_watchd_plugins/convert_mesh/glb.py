"""What trimesh does not show of a GLB file, read from its JSON (glTF 2.0, section 4.4)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from rodin_watchd_plugins.convert_mesh.model import plain_name

_UNLIT: Final = "KHR_materials_unlit"
_UNDERSTOOD: Final = frozenset({_UNLIT, "EXT_texture_webp"})
_COMPRESSED: Final = frozenset({"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"})
_FLAT_MODES: Final = frozenset({0, 1, 2, 3})  # points and lines

_LEFT: Final[Mapping[str, Callable[[dict[str, Any]], bool]]] = {
    "animations": lambda document: bool(document.get("animations")),
    "skeletons": lambda document: bool(document.get("skins")),
    "cameras": lambda document: bool(document.get("cameras")),
    "morph targets": lambda document: any(part.get("targets") for part in _primitives(document)),
    "points and lines": lambda document: any(part.get("mode", 4) in _FLAT_MODES for part in _primitives(document)),
    "second texture coordinates": lambda document: any(
        "TEXCOORD_1" in part["attributes"] for part in _primitives(document)
    ),
}


def prepared(data: bytes) -> tuple[bytes, frozenset[str], tuple[str, ...]]:
    """Return the file with a plain name of its own for each material, the names of unlit ones, and what trimesh leaves behind.

    Raises ValueError when the file needs an extension that trimesh does not read; it would give a wrong shape.
    """
    document, rest = _taken_apart(data)
    _check(document.get("extensionsRequired", []))
    materials = document.get("materials", [])
    for number, material in enumerate(materials):
        material["name"] = f"{plain_name(material.get('name'), 'material')}_{number}"
    unlit = frozenset(material["name"] for material in materials if _UNLIT in material.get("extensions", {}))
    extensions = sorted(set(document.get("extensionsUsed", [])) - _UNDERSTOOD)
    left = [what for what, has in _LEFT.items() if has(document)]
    return _put_together(document, rest), unlit, (*left, *(f"glTF extension {name}" for name in extensions))


def _check(required: list[str]) -> None:
    if packed := sorted(_COMPRESSED.intersection(required)):
        raise ValueError(
            f"the GLB file is compressed ({packed[0]}), which cannot be read here: a plugin that compresses it needs a "
            "larger `order` than convert_mesh"
        )
    if unknown := sorted(set(required) - _UNDERSTOOD):
        raise ValueError(f"the GLB file needs the glTF extension {unknown[0]}, which cannot be read here")


def _primitives(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for mesh in document.get("meshes", []) for part in mesh["primitives"]]


def _taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, _, length, kind = struct.unpack_from("<4sIII4s", data) if len(data) >= 20 else (b"", 0, 0, 0, b"")
    if (magic, version, kind) != (b"glTF", 2, b"JSON"):
        raise ValueError("the file is not a GLB file of version 2")
    return json.loads(data[20 : 20 + length]), data[20 + length :]


def _put_together(document: dict[str, Any], rest: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest
