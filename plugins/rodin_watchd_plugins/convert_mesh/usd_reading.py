"""Reading USDZ: its meshes, and of their materials what UsdPreviewSurface says."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import trimesh
from pxr import Ar, Usd, UsdGeom, UsdShade, UsdSkel
from trimesh.visual.material import PBRMaterial

from rodin_watchd_plugins.convert_mesh.images import channel, opened, packed
from rodin_watchd_plugins.convert_mesh.model import Model, plain_name

_SKELETONS: Final = "skeletons"


def read(path: Path) -> Model:
    """Read all meshes, in metres and with y up. Raises ValueError for a file that OpenUSD cannot open."""
    try:
        stage = Usd.Stage.Open(str(path))
    except Exception as error:  # pxr raises its own kind, which names C++ files and lines
        raise ValueError(f"{path.name} cannot be opened by OpenUSD") from error
    shades = _Shades(path)
    prims = [prim for prim in stage.Traverse(Usd.TraverseInstanceProxies()) if prim.IsA(UsdGeom.Mesh)]
    meshes = [mesh for prim in prims for mesh in _meshes(prim, _upright(stage), shades)]
    return Model(tuple(meshes), left=tuple(_left(stage)))


def _left(stage: Any) -> Iterator[str]:  # noqa: ANN401 - pxr has no types
    prims = list(stage.Traverse())
    if stage.HasAuthoredTimeCodeRange():
        yield "animations"
    if any(prim.IsA(UsdSkel.Skeleton) for prim in prims):
        yield _SKELETONS
    if any(prim.IsA(UsdGeom.Camera) for prim in prims):
        yield "cameras"
    if any(prim.GetVariantSets().GetNames() for prim in prims):
        yield "variants that are not chosen"


def _upright(stage: Any) -> Any:  # noqa: ANN401 - pxr has no types
    """Return the matrix, for rows, from the stage's axes and unit to y up and metres."""
    matrix = np.eye(3) * UsdGeom.GetStageMetersPerUnit(stage)
    if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z:
        matrix = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]) @ matrix
    return matrix


def _meshes(prim: Any, upright: Any, shades: _Shades) -> Iterator[Any]:  # noqa: ANN401 - neither pxr nor trimesh has types
    """Give a mesh for each material of a shape."""
    shape = UsdGeom.Mesh(prim)
    points = shape.GetPointsAttr().Get()
    if not points:
        return
    faces, corners, owners = _triangles(shape)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(points)):
        raise ValueError(f"the shape {prim.GetName()} names points that it does not have")
    world = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()))
    placed = (np.array(points, dtype=np.float64) @ world[:3, :3] + world[3, :3]) @ upright
    rest = np.ones(len(owners), dtype=bool)
    parts = []
    for subset in UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets():
        chosen = np.isin(owners, np.array(subset.GetIndicesAttr().Get() or [], dtype=np.int64))
        rest &= ~chosen
        parts.append((chosen, subset.GetPrim()))
    variables = _variables(shape)
    if "normal" in variables:
        how, normals = variables["normal"]
        variables["normal"] = how, normals @ np.linalg.pinv(world[:3, :3] @ upright).T
    for chosen, painted in [*parts, (rest, prim)]:
        if chosen.any():
            mesh = _mesh(placed, faces[chosen], corners[chosen], variables, shades.of(painted))
            mesh.metadata["name"] = prim.GetName()
            yield mesh


def _triangles(shape: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - pxr has no types
    """Return for each triangle its three points, its three corners among all corners, and the face it is a part of."""
    counts, indices = (
        np.array(a.Get() or [], dtype=np.int64)
        for a in (shape.GetFaceVertexCountsAttr(), shape.GetFaceVertexIndicesAttr())
    )
    starts = np.cumsum(counts) - counts
    if counts.sum() != len(indices):
        raise ValueError("a shape's faces and its corners are not of one number")
    owners = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    steps = np.concatenate([np.arange(1, count - 1) for count in counts] or [np.zeros(0, np.int64)]).astype(np.int64)
    corners = np.stack([starts[owners], starts[owners] + steps, starts[owners] + steps + 1], axis=1)
    if shape.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded:
        corners = corners[:, ::-1]
    return indices[corners], corners, owners


def _variables(shape: Any) -> dict[str, tuple[str, Any]]:  # noqa: ANN401 - pxr has no types
    """Return texture coordinates and colours with how they are laid over the shape."""
    api = UsdGeom.PrimvarsAPI(shape)
    found = {name: api.GetPrimvar(key) for name, key in (("uv", "st"), ("color", "displayColor"))}
    read = {
        name: (str(variable.GetInterpolation()), np.array(variable.ComputeFlattened()))
        for name, variable in found.items()
        if variable and variable.HasValue()
    }
    if normals := shape.GetNormalsAttr().Get():
        read["normal"] = (str(shape.GetNormalsInterpolation()), np.array(normals))
    return read


def _laid(laid: tuple[str, Any] | None, points: Any, corners: Any) -> Any:  # noqa: ANN401 - numpy's
    """Return a variable's value at each corner of each triangle, or None if there is none for each."""
    if laid is None:
        return None
    interpolation, values = laid
    if interpolation == UsdGeom.Tokens.constant:
        return np.repeat(values[:1], points.size, axis=0)
    place = corners.ravel() if interpolation == UsdGeom.Tokens.faceVarying else points.ravel()
    known = interpolation in {UsdGeom.Tokens.faceVarying, UsdGeom.Tokens.vertex, UsdGeom.Tokens.varying}
    return values[place] if known and place.max() < len(values) else None


def _mesh(points: Any, faces: Any, corners: Any, variables: dict[str, tuple[str, Any]], material: Any) -> Any:  # noqa: ANN401 - numpy's and trimesh's
    """Return a mesh with one vertex for each different corner."""
    uv, color, normal = (_laid(variables.get(name), faces, corners) for name in ("uv", "color", "normal"))
    columns = [faces.reshape(-1, 1), *(part for part in (uv, color, normal) if part is not None)]
    _, first, inverse = np.unique(np.hstack(columns), axis=0, return_index=True, return_inverse=True)
    mesh = trimesh.Trimesh(
        points[faces.ravel()[first]],
        inverse.reshape(-1, 3),
        vertex_normals=None if normal is None else normal[first],
        process=False,
    )
    if material is not None:
        mesh.visual = trimesh.visual.TextureVisuals(uv=None if uv is None else uv[first], material=material)
    elif color is not None:
        mesh.visual = trimesh.visual.ColorVisuals(
            mesh, vertex_colors=np.clip(color[first] * 255, 0, 255).astype(np.uint8)
        )
    return mesh


class _Shades:
    """The materials of a package, each read once; textures come out of the package and from nowhere else."""

    def __init__(self, path: Path) -> None:
        self._package = path
        self._known: dict[str, Any] = {}

    def of(self, prim: Any) -> Any:  # noqa: ANN401 - neither pxr nor trimesh has types
        """Return what a prim is painted with, as trimesh's PBRMaterial, or None."""
        bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
        surface = bound.ComputeSurfaceSource()[0] if bound else None
        if not surface:
            return None
        path = str(bound.GetPath())
        if path not in self._known:
            self._known[path] = self._material(
                surface, f"{plain_name(bound.GetPrim().GetName(), 'material')}_{len(self._known)}"
            )
        return self._known[path]

    def _material(self, surface: Any, name: str) -> Any:  # noqa: ANN401 - as above
        base, tint, _ = self._input(surface, "diffuseColor", (0.18, 0.18, 0.18))
        glow, glow_tint, _ = self._input(surface, "emissiveColor", (0, 0, 0))
        metal, metallic, metal_channel = self._input(surface, "metallic", 0.0)
        rough, roughness, rough_channel = self._input(surface, "roughness", 0.5)
        alpha, opacity, _ = self._input(surface, "opacity", 1.0)
        _, threshold, _ = self._input(surface, "opacityThreshold", 0.0)
        both = (metal and channel(metal, metal_channel), rough and channel(rough, rough_channel))
        clear = alpha is not None or opacity < 1
        return PBRMaterial(
            name=name,
            baseColorTexture=base,
            baseColorFactor=[*tint, opacity if clear else 1.0],
            emissiveTexture=glow,
            emissiveFactor=glow_tint,
            metallicRoughnessTexture=packed(*both) if any(both) else None,
            metallicFactor=metallic,
            roughnessFactor=roughness,
            normalTexture=self._input(surface, "normal", None)[0],
            occlusionTexture=self._input(surface, "occlusion", None)[0],
            alphaMode=("MASK" if threshold else "BLEND") if clear else "OPAQUE",
            alphaCutoff=threshold or None,
        )

    def _input(self, surface: Any, name: str, default: Any) -> tuple[Any, Any, str]:  # noqa: ANN401 - as above
        """Return an input's texture or None, its value or the texture's factor, and the channel that it reads."""
        entry = surface.GetInput(name)
        if not entry:
            return None, default, ""
        if not entry.HasConnectedSource():
            value = entry.Get()
            return None, default if value is None else _plain(value), ""
        source, output, _ = entry.GetConnectedSource()
        shader = UsdShade.Shader(source.GetPrim())
        file = shader.GetInput("file").Get() if shader.GetIdAttr().Get() == "UsdUVTexture" else None
        image = self._image(file) if file else None
        scale = shader.GetInput("scale").Get() if image and shader.GetInput("scale") else None
        factor = tuple(scale) if scale is not None else (1.0, 1.0, 1.0, 1.0)
        return (
            (image, factor[:3] if len(output) > 1 else float(factor["rgba".index(output)]), output)
            if image
            else (None, default, "")
        )

    def _image(self, asset: Any) -> Any:  # noqa: ANN401 - pxr's in, Pillow's out
        if not Ar.IsPackageRelativePath(asset.resolvedPath):
            return None
        package, name = Ar.SplitPackageRelativePathInner(asset.resolvedPath)
        if Path(package) != self._package or not name:
            return None
        key = f"image {name}"
        if key not in self._known:
            with zipfile.ZipFile(self._package) as archive:
                self._known[key] = opened(archive.read(name))
        return self._known[key]


def _plain(value: Any) -> Any:  # noqa: ANN401 - pxr's in
    return float(value) if isinstance(value, (int, float)) else tuple(float(part) for part in value)
