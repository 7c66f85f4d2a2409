"""Reading a model of any of the formats."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import trimesh

from rodin_watchd_plugins.convert_mesh import glb, keywords, usd
from rodin_watchd_plugins.convert_mesh.images import remember
from rodin_watchd_plugins.convert_mesh.materials import as_pbr, is_unlit
from rodin_watchd_plugins.convert_mesh.model import TEXTURES, Model, material_of, normals_of, paint, uv_of


class Beside:
    """Finds the files that a model names, in its own folder and nowhere else: the names come from outside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes:
        """Return the bytes of a file. Raises FileNotFoundError for anything that is not a plain file in the folder."""
        path = self._folder / unquote(name.strip()).removeprefix("./")
        if path.parent != self._folder or path.is_symlink() or not path.is_file():
            raise FileNotFoundError(f"{name!r} is no file beside the model")
        return path.read_bytes()

    __getitem__ = get  # trimesh asks in both ways


def read(path: Path) -> Model:
    """Read a model. Raises ValueError when there is no triangle in it, or it is stored in a way that cannot be read."""
    kind = path.suffix.lower()[1:]
    try:
        with np.errstate(all="ignore"):  # what is no number is looked for afterwards
            model = usd.read(path) if kind == "usdz" else _glb(path) if kind == "glb" else _other(path, kind)
            if not model.triangles:
                raise ValueError(f"{path.name} holds no triangles")
            _check_numbers(model, path.name)
            for mesh in model.meshes:
                _straighten(mesh)
    except (LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"{path.name} is damaged: its parts do not fit together ({error})") from error
    return model


_FACTORS: Final = ("baseColorFactor", "emissiveFactor", "metallicFactor", "roughnessFactor", "alphaCutoff")


def _check_numbers(model: Model, name: str) -> None:
    """Raise ValueError for what is no number, or too large for the four bytes that the formats have for one."""
    for what, of in (("points", _points), ("normals", normals_of), ("texture coordinates", uv_of)):
        values = [of(mesh) for mesh in model.meshes]
        wrong = sum(int((~_finite(rows)).any(axis=1).sum()) for rows in values if rows is not None)
        if wrong:
            raise ValueError(f"{name} is damaged: {wrong:,} of its {what} are no numbers (NaN or infinite)")
    if any(mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices) for mesh in model.meshes):
        raise ValueError(f"{name} is damaged: a triangle names points that are not there")
    for material in model.materials:
        factors = [getattr(material, factor) for factor in _FACTORS]
        if not all(_finite(values).all() for values in factors if values is not None):
            raise ValueError(f"{name} is damaged: a color or factor of a material is no number (NaN or infinite)")


def _straighten(mesh: Any) -> None:  # noqa: ANN401 - trimesh has no types
    """Make normals as long as formats want them; a point that has none gets that of the triangles around it."""
    normals = normals_of(mesh)
    if normals is None:
        return
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    if (lengths == 0).any():
        corners = mesh.vertices[mesh.faces]
        around = np.zeros_like(mesh.vertices)
        np.add.at(around, mesh.faces, np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, None])
        around[~around.any(axis=1)] = [0.0, 1.0, 0.0]
        normals = np.where(lengths > 0, normals, around)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    mesh.vertex_normals = normals / lengths


def _points(mesh: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    return mesh.vertices


def _finite(values: Any) -> Any:  # noqa: ANN401 - numpy's
    with np.errstate(over="ignore"):
        return np.isfinite(np.asarray(values).astype(np.float32))


def _glb(path: Path) -> Model:
    found = glb.prepared(path.read_bytes())
    beside: Any = Beside(path.parent)
    scene = trimesh.load_scene(BytesIO(found.data), file_type="glb", process=False, resolver=beside)
    model = Model(_placed(scene), found.unlit, found.left)
    lacking = any(
        getattr(material, texture) is None
        for material in model.materials
        for texture in found.textures.get(material.name, ())
    )
    return replace(model, left=(*model.left, keywords.UNREADABLE)) if lacking else model


def _other(path: Path, kind: str) -> Model:
    data, beside = path.read_bytes(), Beside(path.parent)
    resolver: Any = beside  # trimesh asks no more of it, whatever its types say
    options: dict[str, Any] = {"split_objects": True} if kind == "obj" else {}
    readable = keywords.without_edges(data) if kind == "ply" else data
    scene = trimesh.load_scene(BytesIO(readable), file_type=kind, process=False, resolver=resolver, **options)
    known = {"obj": keywords.of_obj, "ply": keywords.of_ply}.get(kind)
    left = [*(known(data, beside.get) if known else ()), *keywords.of_meshes(_meshes(scene).values())]
    meshes, unlit = _placed(scene), set()
    made: dict[int, Any] = {}  # one for each material: meshes go on sharing it
    for mesh in meshes:
        material = material_of(mesh)
        if material is not None:
            if id(material) not in made:
                made[id(material)] = as_pbr(material, beside.get)
            mesh.visual.material = made[id(material)]
            unlit |= {material.name} if is_unlit(material) else set()
    return Model(meshes, frozenset(unlit), tuple(dict.fromkeys(left)))


def _meshes(scene: Any) -> dict[str, Any]:  # noqa: ANN401 - trimesh has no types
    """Return what has triangles: clouds of points and lines have no materials."""
    found = scene.geometry.items()
    return {name: mesh for name, mesh in found if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces)}


def _placed(scene: Any) -> tuple[Any, ...]:  # noqa: ANN401 - trimesh has no types
    """Return the meshes where the scene puts them. They share their materials: a copy would forget the textures' files."""
    meshes = _meshes(scene)
    for source in meshes.values():
        for name in ("image", *TEXTURES):
            remember(getattr(material_of(source), name, None))
    placed = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        if source := meshes.get(name):
            mesh: Any = source.copy(include_cache=True)
            mesh.apply_transform(matrix)
            mesh.metadata["name"] = name
            mesh.vertex_attributes.clear()
            mesh.face_attributes.clear()
            paint(mesh, source)
            placed.append(mesh)
    return tuple(placed)
