"""What trimesh does not show of a GLB file, read from its JSON (glTF 2.0)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from rodin_watchd_plugins.convert_mesh.accessors import made_plain, primitives
from rodin_watchd_plugins.convert_mesh.model import TEXTURES, plain_name

_UNLIT: Final = "KHR_materials_unlit"
_UNDERSTOOD: Final = frozenset({_UNLIT, "EXT_texture_webp", "KHR_mesh_quantization"})
_COMPRESSED: Final = frozenset({"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"})
_FLAT_MODES: Final = frozenset({0, 1, 2, 3})  # points and lines
_FANS: Final = 6
_REPEAT: Final = 10497
_NEAREST: Final = frozenset({9728, 9984, 9986})


def _has_attribute(prefix: str) -> Callable[[dict[str, Any]], bool]:
    """Return whether a vertex has something of this kind, apart from the first."""
    return lambda document: any(
        name.startswith(prefix) and name != f"{prefix}0" for part in primitives(document) for name in part["attributes"]
    )


def _textures(document: dict[str, Any], *slots: str) -> Iterator[dict[str, Any]]:
    """Give what the materials say of their textures; `slots`: of these alone."""
    for material in document.get("materials", []):
        for where in (material, material.get("pbrMetallicRoughness", {})):
            yield from (where[slot] for slot in slots or TEXTURES if slot in where)


def _samplers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for texture in _textures(document):
        sampler = document["textures"][texture["index"]].get("sampler")
        if sampler is not None:
            yield document["samplers"][sampler]


_LEFT: Final[Mapping[str, Callable[[dict[str, Any]], bool]]] = {
    "animations": lambda document: bool(document.get("animations")),
    "skeletons": lambda document: bool(document.get("skins")),
    "cameras": lambda document: bool(document.get("cameras")),
    "scenes that are not shown": lambda document: len(document.get("scenes", [])) > 1,
    "morph targets": lambda document: any(part.get("targets") for part in primitives(document)),
    "points and lines": lambda document: any(part.get("mode", 4) in _FLAT_MODES for part in primitives(document)),
    "triangle fans": lambda document: any(part.get("mode") == _FANS for part in primitives(document)),
    "second texture coordinates": _has_attribute("TEXCOORD_"),
    "textures on second coordinates": lambda document: any(part.get("texCoord") for part in _textures(document)),
    "second vertex colors": _has_attribute("COLOR_"),
    "tangents": _has_attribute("TANGENT"),
    "custom vertex attributes": _has_attribute("_"),
    "strength of normal maps": lambda document: any(
        part.get("scale", 1) != 1 for part in _textures(document, "normalTexture")
    ),
    "strength of ambient occlusion": lambda document: any(
        part.get("strength", 1) != 1 for part in _textures(document, "occlusionTexture")
    ),
    "texture wrapping": lambda document: any(
        sampler.get(wrap, _REPEAT) != _REPEAT for sampler in _samplers(document) for wrap in ("wrapS", "wrapT")
    ),
    "texture filtering": lambda document: any(
        sampler.get(scaled) in _NEAREST for sampler in _samplers(document) for scaled in ("magFilter", "minFilter")
    ),
    "copyright": lambda document: bool(document.get("asset", {}).get("copyright")),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A GLB file as trimesh reads it right."""

    data: bytes  # with a plain name of its own for each material
    unlit: frozenset[str]  # the names of materials that are shown without light
    left: tuple[str, ...]  # what trimesh leaves behind
    textures: Mapping[str, frozenset[str]]  # the textures of each material


def prepared(data: bytes) -> Prepared:
    """Return the file with everything that trimesh would misread put right.

    Raises ValueError when the file is damaged, or needs an extension that trimesh does not read; it would give a wrong shape.
    """
    document, binary = _taken_apart(data)
    _check(document.get("extensionsRequired", []))
    materials = document.get("materials", [])
    for number, material in enumerate(materials):
        material["name"] = f"{plain_name(material.get('name'), 'material')}_{number}"
    unlit = frozenset(material["name"] for material in materials if _UNLIT in material.get("extensions", {}))
    extensions = sorted(set(document.get("extensionsUsed", [])) - _UNDERSTOOD)
    left = [what for what, has in _LEFT.items() if has(document)]
    textures = {
        material["name"]: frozenset({*material, *material.get("pbrMetallicRoughness", {})}.intersection(TEXTURES))
        for material in materials
    }
    whole = _put_together(document, made_plain(document, binary))
    return Prepared(whole, unlit, (*left, *(f"glTF extension {name}" for name in extensions)), textures)


def _check(required: list[str]) -> None:
    if packed := sorted(_COMPRESSED.intersection(required)):
        raise ValueError(
            f"the GLB file is compressed ({packed[0]}), which cannot be read here: a plugin that compresses it needs a "
            "larger `order` than convert_mesh"
        )
    if unknown := sorted(set(required) - _UNDERSTOOD):
        raise ValueError(f"the GLB file needs the glTF extension {unknown[0]}, which cannot be read here")


def _taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the binary chunk."""
    magic, version, _, length, kind = struct.unpack_from("<4sIII4s", data) if len(data) >= 20 else (b"", 0, 0, 0, b"")
    if (magic, version, kind) != (b"glTF", 2, b"JSON"):
        raise ValueError("the file is not a GLB file of version 2")
    rest = data[20 + length :]
    size, kind = struct.unpack_from("<I4s", rest) if len(rest) >= 8 else (0, b"")
    return json.loads(data[20 : 20 + length], parse_constant=_refused), rest[8 : 8 + size] if kind == b"BIN\0" else b""


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"the GLB file has {constant} in place of a number")


def _put_together(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
