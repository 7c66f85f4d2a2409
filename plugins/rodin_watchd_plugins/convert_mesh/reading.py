"""Reading a model of any of the formats."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import trimesh

from rodin_watchd_plugins.convert_mesh import glb, usd
from rodin_watchd_plugins.convert_mesh.images import remember
from rodin_watchd_plugins.convert_mesh.materials import as_pbr, is_unlit
from rodin_watchd_plugins.convert_mesh.model import TEXTURES, Model, material_of


class Beside:
    """Finds the files that a model names, in its own folder and nowhere else: the names come from outside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes:
        """Return the bytes of a file. Raises FileNotFoundError for anything that is not a plain file in the folder."""
        path = self._folder / name.strip().removeprefix("./")
        if path.parent != self._folder or path.is_symlink() or not path.is_file():
            raise FileNotFoundError(f"{name!r} is no file beside the model")
        return path.read_bytes()

    __getitem__ = get  # trimesh asks in both ways


def read(path: Path) -> Model:
    """Read a model. Raises ValueError when there is no triangle in it, or it is stored in a way that cannot be read."""
    kind = path.suffix.lower()[1:]
    model = usd.read(path) if kind == "usdz" else _glb(path) if kind == "glb" else _other(path, kind)
    if not model.triangles:
        raise ValueError(f"{path.name} holds no triangles")
    return model


def _glb(path: Path) -> Model:
    renamed, unlit, left = glb.prepared(path.read_bytes())
    scene = trimesh.load_scene(BytesIO(renamed), file_type="glb", process=False)
    return Model(_placed(scene), unlit, left)


def _other(path: Path, kind: str) -> Model:
    beside: Any = Beside(path.parent)  # trimesh asks no more of it, whatever its types say
    scene = trimesh.load_scene(BytesIO(path.read_bytes()), file_type=kind, process=False, resolver=beside)
    meshes, unlit = _placed(scene), set()
    made: dict[int, Any] = {}  # one for each material: meshes go on sharing it
    for mesh in meshes:
        material = material_of(mesh)
        if material is not None:
            if id(material) not in made:
                made[id(material)] = as_pbr(material, beside.get)
            mesh.visual.material = made[id(material)]
            unlit |= {material.name} if is_unlit(material) else set()
    return Model(meshes, frozenset(unlit))


def _placed(scene: Any) -> tuple[Any, ...]:  # noqa: ANN401 - trimesh has no types
    """Return the meshes where the scene puts them. They share their materials: a copy would forget the textures' files."""
    for source in scene.geometry.values():
        for name in ("image", *TEXTURES):
            remember(getattr(material_of(source), name, None))
    placed = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        source = scene.geometry[name]
        if isinstance(source, trimesh.Trimesh) and len(source.faces):
            mesh: Any = source.copy(include_cache=True)
            mesh.apply_transform(matrix)
            mesh.metadata["name"] = name
            if material_of(source) is not None:
                mesh.visual.material = material_of(source)
            placed.append(mesh)
    return tuple(placed)
