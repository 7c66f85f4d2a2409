"""Writing a model in any of the formats, with the files that belong next to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import trimesh
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply
from trimesh.exchange.stl import export_stl
from trimesh.visual.material import PBRMaterial

from rodin_watchd_plugins.convert_mesh import usd
from rodin_watchd_plugins.convert_mesh.images import channel, encoded
from rodin_watchd_plugins.convert_mesh.losses import tint
from rodin_watchd_plugins.convert_mesh.model import TEXTURES, Model, material_of, paint, plain_name, uv_of


def write(model: Model, path: Path) -> list[Path]:
    """Write a model in the format that the suffix says, and return the files. Raises FileExistsError; nothing is overwritten."""
    written = []
    for name, data in _WRITERS[path.suffix](model, path.stem).items():
        target = path.with_name(name)
        with target.open("xb") as file:
            file.write(data)
        written.append(target)
    return written


_FACTORS: Final = (
    *("name", "baseColorFactor", "metallicFactor", "roughnessFactor", "emissiveFactor"),
    *("alphaMode", "alphaCutoff", "doubleSided"),
)


def _glb(model: Model, stem: str) -> dict[str, bytes]:
    made = {id(material): _with_files(material) for material in model.materials}
    meshes = _named(model)
    for mesh in meshes:
        if material_of(mesh) is not None:
            mesh.visual.material = made[id(material_of(mesh))]
    return {f"{stem}.glb": trimesh.Scene(meshes).export(file_type="glb")}


def _with_files(material: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return the material with textures that are written as they were: trimesh would compress a JPEG once more."""
    textures = {name: _Texture(image) for name in TEXTURES if (image := getattr(material, name)) is not None}
    return PBRMaterial(**{name: getattr(material, name) for name in _FACTORS}, **textures)


class _Texture:
    """A texture as trimesh's GLB writer asks for it."""

    def __init__(self, image: Any) -> None:  # noqa: ANN401 - Pillow's
        self._data, suffix = encoded(image)
        self.format = "JPEG" if suffix == "jpg" else "PNG"

    def save(self, file: BinaryIO, **_: object) -> None:
        """Write the file."""
        file.write(self._data)


def _stl(model: Model, stem: str) -> dict[str, bytes]:
    bare = [trimesh.Trimesh(mesh.vertices, mesh.faces, process=False) for mesh in model.meshes]
    return {f"{stem}.stl": export_stl(trimesh.util.concatenate(bare))}


def _ply(model: Model, stem: str) -> dict[str, bytes]:
    """One mesh; several textures are packed into one, which is a file next to it."""
    whole: Any = trimesh.util.concatenate([mesh.copy(include_cache=True) for mesh in model.meshes])
    texture = getattr(material_of(whole), "baseColorTexture", None)
    if texture is None or uv_of(whole) is None:
        whole.visual = whole.visual.to_color() if hasattr(whole.visual, "to_color") else whole.visual
        return {f"{stem}.ply": export_ply(whole)}
    data, suffix = encoded(texture)
    name = f"{stem}_ply.{suffix}"
    magic, kind, rest = export_ply(whole).split(b"\n", 2)
    return {f"{stem}.ply": b"\n".join((magic, kind, f"comment TextureFile {name}".encode(), rest)), name: data}


def _obj(model: Model, stem: str) -> dict[str, bytes]:
    meshes = _named(model)
    made: dict[int, _ObjMaterial] = {}
    for mesh in meshes:
        material = material_of(mesh)
        if material is not None:
            mesh.visual.material = made.setdefault(id(material), _ObjMaterial(material, stem, model.unlit))
    text, beside = export_obj(trimesh.Scene(meshes), return_texture=True, mtl_name=f"{stem}.mtl", header=None)
    return {f"{stem}.obj": text.encode(), **beside}


def _usdz(model: Model, stem: str) -> dict[str, bytes]:
    return {f"{stem}.usdz": usd.written(model)}


_WRITERS: Final[Mapping[str, Callable[[Model, str], dict[str, bytes]]]] = {
    ".glb": _glb,
    ".obj": _obj,
    ".ply": _ply,
    ".stl": _stl,
    ".usdz": _usdz,
}


def _named(model: Model) -> list[Any]:
    """Return copies with names that cannot break a line of text."""
    copies = [mesh.copy(include_cache=True) for mesh in model.meshes]
    for mesh, source in zip(copies, model.meshes, strict=True):
        mesh.metadata["name"] = plain_name(mesh.metadata.get("name"), "mesh")
        paint(mesh, source)
    return copies


class _ObjMaterial:
    """A material as trimesh's OBJ writer asks for it, with the usual additions to MTL for PBR: Pr, Pm, Ke, norm."""

    def __init__(self, material: Any, stem: str, unlit: frozenset[str]) -> None:  # noqa: ANN401 - trimesh has no types
        self._material, self._stem = material, stem
        self._unlit = material.name in unlit
        self.name = plain_name(material.name, "material")

    def copy(self) -> _ObjMaterial:
        """Return itself: it never changes, and copies of a mesh shall share it."""
        return self

    def to_obj(self, name: str) -> tuple[dict[str, bytes], str]:
        """Return the lines of the material and its textures, as files, and its name."""
        material, files = self._material, dict[str, bytes]()
        color = tint(material)
        lines = [f"newmtl {name}", "Kd {:.6g} {:.6g} {:.6g}".format(*color[:3]), "Ks 0 0 0", f"d {color[3]:.6g}"]
        lines += [f"illum {0 if self._unlit else 2}", f"Pr {_or(material.roughnessFactor, 1.0):.6g}"]
        lines += [f"Pm {_or(material.metallicFactor, 1.0):.6g}"]
        if material.emissiveFactor is not None:
            lines.append("Ke {:.6g} {:.6g} {:.6g}".format(*material.emissiveFactor))
        for key, image in self._textures():
            data, suffix = encoded(image)
            file = f"{self._stem}_{name}_{key.removeprefix('map_')}.{suffix}"
            lines.append(f"{key} {file}")
            files[file] = data
            if key == "map_Kd" and material.alphaMode in {"BLEND", "MASK"}:
                lines.append(f"map_d {file}")
        return {f"{name}.mtl": "\n".join([*lines, ""]).encode(), **files}, name

    def _textures(self) -> list[tuple[str, Any]]:
        material = self._material
        both = material.metallicRoughnessTexture
        found = [
            ("map_Kd", material.baseColorTexture),
            ("map_Pr", both and channel(both, "g", _or(material.roughnessFactor, 1.0))),
            ("map_Pm", both and channel(both, "b", _or(material.metallicFactor, 1.0))),
            ("map_Ke", material.emissiveTexture),
            ("norm", material.normalTexture),
        ]
        return [(key, image) for key, image in found if image is not None]


def _or(value: Any, default: float) -> float:  # noqa: ANN401 - a number of trimesh's, or None
    return default if value is None else float(np.asarray(value))
