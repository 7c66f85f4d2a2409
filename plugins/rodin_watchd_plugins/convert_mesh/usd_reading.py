"""Reading USDZ: its meshes, and of their materials what UsdPreviewSurface says."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import trimesh
from pxr import Ar, Sdf, Usd, UsdGeom, UsdShade
from trimesh.visual.material import PBRMaterial

from rodin_watchd_plugins.convert_mesh.images import channel, opened, packed
from rodin_watchd_plugins.convert_mesh.keywords import UNREADABLE
from rodin_watchd_plugins.convert_mesh.model import Model, plain_name

_READ: Final = frozenset(("", "Xform", "Scope", "Mesh", "GeomSubset", "Material", "Shader", "NodeGraph"))
_LOST: Final[Mapping[str, str]] = {
    "Camera": "cameras",
    "BlendShape": "morph targets",
    "PointInstancer": "point instancers",
    **dict.fromkeys(("SkelRoot", "Skeleton", "SkelAnimation"), "skeletons"),
}
"""Types of prims, and the words for each; a type without words is given by its own name."""

_HIDDEN: Final = "shapes that are not shown (invisible, guides, proxies)"
_SHOWN: Final = (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)
_AT: Final = Usd.TimeCode.EarliestTime()  # of what moves, the beginning


def read(path: Path) -> Model:
    """Read all meshes that are shown, in metres and with y up. Raises ValueError for a file that OpenUSD cannot open."""
    try:
        stage = Usd.Stage.Open(str(path))
    except Exception as error:  # pxr raises its own kind, which names C++ files and lines
        raise ValueError(f"{path.name} cannot be opened by OpenUSD") from error
    left: set[str] = set()
    shades = _Shades(path, left)
    prims = list(_shown(stage, left))
    meshes = [mesh for prim in prims for mesh in _meshes(prim, _upright(stage), shades)]
    for prim in prims:
        left.update(_left(prim))
    return Model(tuple(meshes), left=tuple(sorted(left)))


def _shown(stage: Any, left: set[str]) -> Iterator[Any]:  # noqa: ANN401 - pxr has no types
    """Give the prims that a renderer draws, or that say something to it; note in `left` what is passed over."""
    prims = iter(Usd.PrimRange(stage.GetPseudoRoot(), Usd.TraverseInstanceProxies()))
    for prim in prims:
        if not prim.IsPseudoRoot():
            kind, shape = prim.GetTypeName(), UsdGeom.Imageable(prim)
            if kind not in _READ:
                left.add(_LOST.get(kind, f"USD primitive {kind}"))
            if kind == "PointInstancer":
                prims.PruneChildren()  # what it copies is not drawn where it stands
            elif shape and prim.IsA(UsdGeom.Gprim) and not _is_drawn(shape):
                left.add(_HIDDEN)
            else:
                yield prim


def _is_drawn(shape: Any) -> bool:  # noqa: ANN401 - pxr has no types
    return shape.ComputeVisibility(_AT) != UsdGeom.Tokens.invisible and shape.ComputePurpose() in _SHOWN


def _left(prim: Any) -> Iterator[str]:  # noqa: ANN401 - pxr has no types
    """Give what is lost of a prim that is drawn."""
    if any(attribute.GetNumTimeSamples() > 1 for attribute in prim.GetAuthoredAttributes()):
        yield "animations"
    if prim.GetVariantSets().GetNames():
        yield "variants that are not chosen"
    if not prim.IsA(UsdGeom.Mesh):
        return
    shape, variables = UsdGeom.Mesh(prim), UsdGeom.PrimvarsAPI(prim)
    if shape.GetSubdivisionSchemeAttr().Get() != UsdGeom.Tokens.none:
        yield "subdivision (the shape has its corners, and is not smoothed)"
    if shape.GetDoubleSidedAttr().Get() and not UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]:
        yield "double-sided surfaces without a material"
    if variables.GetPrimvar("displayOpacity").HasValue():
        yield "transparency of vertex colors"
    coordinates = [name for name in map(str, _coordinates(variables)) if name]
    if len(coordinates) > 1:
        yield "second texture coordinates"
    known = {*coordinates, "displayColor", "displayOpacity", "normals"}
    if any(variable.HasValue() and variable.GetPrimvarName() not in known for variable in variables.GetPrimvars()):
        yield "custom vertex attributes"


def _coordinates(variables: Any) -> list[str]:  # noqa: ANN401 - pxr has no types
    """Return the names of texture coordinates: the usual one first."""
    kinds = (Sdf.ValueTypeNames.TexCoord2fArray, Sdf.ValueTypeNames.Float2Array)
    names = [str(found.GetPrimvarName()) for found in variables.GetPrimvars() if found.GetTypeName() in kinds]
    return sorted(names, key=lambda name: (name != "st", name))


def _upright(stage: Any) -> Any:  # noqa: ANN401 - pxr has no types
    """Return the matrix, for rows, from the stage's axes and unit to y up and metres."""
    matrix = np.eye(3) * UsdGeom.GetStageMetersPerUnit(stage)
    if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z:
        matrix = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]) @ matrix
    return matrix


def _meshes(prim: Any, upright: Any, shades: _Shades) -> Iterator[Any]:  # noqa: ANN401 - neither pxr nor trimesh has types
    """Give a mesh for each material of a shape; none for what is no shape."""
    shape = UsdGeom.Mesh(prim)
    points = shape.GetPointsAttr().Get(_AT) if shape else None
    if not points:
        return
    faces, corners, owners = _triangles(shape)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(points)):
        raise ValueError(f"the shape {prim.GetName()} names points that it does not have")
    world = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(_AT))
    placed = (np.array(points, dtype=np.float64) @ world[:3, :3] + world[3, :3]) @ upright
    rest = ~np.isin(owners, np.array(shape.GetHoleIndicesAttr().Get(_AT) or [], dtype=np.int64))
    parts = []
    for subset in UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets():
        chosen = np.isin(owners, np.array(subset.GetIndicesAttr().Get(_AT) or [], dtype=np.int64)) & rest
        rest &= ~chosen
        parts.append((chosen, subset.GetPrim()))
    variables = _variables(shape)
    if "normal" in variables:
        how, normals = variables["normal"]
        variables["normal"] = how, normals @ np.linalg.pinv(world[:3, :3] @ upright).T
    for chosen, painted in [*parts, (rest, prim)]:
        if chosen.any():
            mesh = _mesh(
                placed, faces[chosen], corners[chosen], variables, shades.of(painted, shape.GetDoubleSidedAttr().Get())
            )
            mesh.metadata["name"] = prim.GetName()
            yield mesh


def _triangles(shape: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401 - pxr has no types
    """Return for each triangle its three points, its three corners among all corners, and the face it is a part of."""
    counts, indices = (
        np.array(a.Get(_AT) or [], dtype=np.int64)
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
    """Return texture coordinates, colours and normals with how they are laid over the shape."""
    api = UsdGeom.PrimvarsAPI(shape)
    names = {"uv": next(iter(_coordinates(api)), "st"), "color": "displayColor", "normal": "normals"}
    found = {name: api.GetPrimvar(key) for name, key in names.items()}
    read = {
        name: (str(variable.GetInterpolation()), np.array(variable.ComputeFlattened(_AT)))
        for name, variable in found.items()
        if variable and variable.HasValue()
    }
    if "normal" not in read and (normals := shape.GetNormalsAttr().Get(_AT)):
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

    def __init__(self, path: Path, left: set[str]) -> None:
        self._package = path
        self._left = left  # gets what the materials say, and is not read
        self._known: dict[tuple[str, bool], Any] = {}

    def of(self, prim: Any, double_sided: object) -> Any:  # noqa: ANN401 - neither pxr nor trimesh has types
        """Return what a prim is painted with, as trimesh's PBRMaterial, or None."""
        bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial(UsdShade.Tokens.preview)[0]
        surface = bound.ComputeSurfaceSource()[0] if bound else None
        if not surface:
            return None
        key = str(bound.GetPath()), bool(double_sided)
        if key not in self._known:
            name = f"{plain_name(bound.GetPrim().GetName(), 'material')}_{len(self._known)}"
            self._known[key] = self._material(surface, name, double_sided=bool(double_sided))
            self._left.update(_unread(surface))
        return self._known[key]

    def _material(self, surface: Any, name: str, *, double_sided: bool) -> Any:  # noqa: ANN401 - as above
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
            doubleSided=double_sided,
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
        self._left.update(_unread_texture(shader, name) if image else [UNREADABLE if file else "shading networks"])
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
        key = f"image {name}", False
        if key not in self._known:
            try:
                with zipfile.ZipFile(self._package) as archive:
                    self._known[key] = opened(archive.read(name))
            except (OSError, KeyError):  # no image, or not there
                self._known[key] = None
        return self._known[key]


_NOT_READ: Final[Mapping[str, tuple[object, str]]] = {
    "clearcoat": (0.0, "clear coat"),
    "displacement": (0.0, "displacement map"),
    "ior": (1.5, "index of refraction"),
    "useSpecularWorkflow": (0, "specular colors"),
}
"""Inputs of UsdPreviewSurface, what they are where nothing is said, and what is lost with another value."""

_NORMALS: Final = ((2, 2, 2, 1), (-1, -1, -1, 0))
_COLORS: Final = (None, (0, 0, 0, 0))


def _unread(surface: Any) -> Iterator[str]:  # noqa: ANN401 - pxr has no types
    if surface.GetIdAttr().Get() != "UsdPreviewSurface":
        yield "materials that are no UsdPreviewSurface"
    for name, (default, what) in _NOT_READ.items():
        entry = surface.GetInput(name)
        if entry and (entry.HasConnectedSource() or entry.Get() not in (None, default)):
            yield what


def _unread_texture(shader: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - as above
    values = {entry.GetBaseName(): entry.Get() for entry in shader.GetInputs()}
    if any(values.get(wrap) not in (None, "repeat", "useMetadata") for wrap in ("wrapS", "wrapT")):
        yield "texture wrapping"
    scale, bias = (values.get(key) and tuple(values[key]) for key in ("scale", "bias"))
    if name == "normal" and (scale, bias) != _NORMALS:
        yield "strength of normal maps"
    if name != "normal" and bias not in _COLORS:
        yield "bias of textures"
    place = shader.GetInput("st")
    source = UsdShade.Shader(place.GetConnectedSource()[0].GetPrim()) if place and place.HasConnectedSource() else None
    if source and source.GetIdAttr().Get() != "UsdPrimvarReader_float2":
        yield "texture transforms"


def _plain(value: Any) -> Any:  # noqa: ANN401 - pxr's in
    return float(value) if isinstance(value, (int, float)) else tuple(float(part) for part in value)
