"""A model between two formats: its meshes in one coordinate system (metres, y up), and what reading it left behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from trimesh.visual.color import to_rgba

TEXTURES: Final = (
    "baseColorTexture",
    "metallicRoughnessTexture",
    "normalTexture",
    "occlusionTexture",
    "emissiveTexture",
)
"""The textures of trimesh's PBRMaterial, by glTF's names."""


@dataclass(frozen=True, slots=True)
class Model:
    """What was read of a file. Texture coordinates count upwards; materials are trimesh's PBRMaterial, or there are none."""

    meshes: tuple[Any, ...]  # trimesh.Trimesh, placed
    unlit: frozenset[str] = frozenset()  # names of materials that are shown as they are, without light
    left: tuple[str, ...] = ()  # what the file had, and trimesh or this plugin cannot take along

    @property
    def triangles(self) -> int:
        """How many there are."""
        return sum(len(mesh.faces) for mesh in self.meshes)

    @property
    def materials(self) -> list[Any]:
        """The materials in use, each once."""
        found = (material_of(mesh) for mesh in self.meshes)
        return list({id(material): material for material in found if material is not None}.values())


def material_of(mesh: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return the material of a mesh, or None."""
    return getattr(mesh.visual, "material", None)


def uv_of(mesh: Any) -> Any:  # noqa: ANN401 - an array of trimesh's, or None
    """Return one texture coordinate for each vertex, or None."""
    uv = getattr(mesh.visual, "uv", None)
    return uv if uv is not None and len(uv) == len(mesh.vertices) else None


def colors_of(mesh: Any) -> Any:  # noqa: ANN401 - an array of trimesh's, or None
    """Return RGBA from 0 to 255 for each vertex, or None if the mesh has no colours of its own."""
    if mesh.visual.kind in {"vertex", "face"}:
        return mesh.visual.vertex_colors
    over: Any = getattr(mesh.visual, "vertex_attributes", {})
    return to_rgba(over["color"]) if "color" in over else None


def paint(mesh: Any, source: Any) -> None:  # noqa: ANN401 - trimesh has no types
    """Give a copy of a mesh the very material of the mesh, and the colours over it: trimesh copies neither."""
    if material_of(source) is not None:
        mesh.visual.material = material_of(source)
        if (colors := colors_of(source)) is not None:
            mesh.visual.vertex_attributes["color"] = colors


def normals_of(mesh: Any) -> Any:  # noqa: ANN401 - an array of trimesh's, or None
    """Return the normals that came with the file, or None: what trimesh would make up, every program makes up itself."""
    return mesh.vertex_normals if "vertex_normals" in mesh._cache else None  # noqa: SLF001 - as trimesh's own writers ask


def plain_name(text: object, fallback: str) -> str:
    """Return a name that every format takes, and that cannot name another folder: letters, digits and underscores."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", str(text or "")).strip("_")[:48]
    return name if name[:1].isalpha() else f"{fallback}_{name}".rstrip("_")
