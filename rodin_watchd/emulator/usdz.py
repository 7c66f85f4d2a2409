"""USDZ through OpenUSD (`pxr`), which is an optional extra: `rodin-watchd[usdz]`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

from rodin_watchd.emulator.texture import Mesh, UnusableModelError, images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rodin_watchd.emulator.texture import Material, TexturedMesh


def read_usdz(data: bytes) -> Mesh:
    """Read all meshes of a USDZ file, in world coordinates, y up. Raises UnusableModelError when there are none."""
    with tempfile.TemporaryDirectory(prefix="rodin-emulator-") as folder:
        path = Path(folder, "model.usdz")
        path.write_bytes(data)
        return read_stage(Usd.Stage.Open(str(path)))


def read_stage(stage: Any) -> Mesh:  # noqa: ANN401 - pxr has no types
    """Read all meshes of an open stage, as `read_usdz` does."""
    z_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z
    parts = [_part(prim, z_up=z_up) for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    if not parts:
        raise UnusableModelError("the USDZ file holds no mesh")
    starts = np.cumsum([0, *(len(part.positions) for part in parts)])
    return Mesh(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
    )


def _part(prim: Any, *, z_up: bool) -> Mesh:  # noqa: ANN401 - pxr has no types
    mesh = UsdGeom.Mesh(prim)
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()))
    points = np.array(mesh.GetPointsAttr().Get(), dtype=np.float64).reshape(-1, 3) @ matrix[:3, :3] + matrix[3, :3]
    upright = points[:, [0, 2, 1]] * (1.0, 1.0, -1.0) if z_up else points
    counts, indices = mesh.GetFaceVertexCountsAttr().Get(), mesh.GetFaceVertexIndicesAttr().Get()
    return Mesh(upright, np.array(list(_fans(counts, indices)), dtype=np.int64).reshape(-1, 3))


def _fans(counts: Any, indices: Any) -> Iterator[tuple[int, int, int]]:  # noqa: ANN401 - pxr has no types
    start = 0
    for count in counts:
        for corner in range(1, count - 1):
            yield indices[start], indices[start + corner], indices[start + corner + 1]
        start += count


def usdz_bytes(mesh: TexturedMesh) -> bytes:
    """Give the mesh with a UsdPreviewSurface material and its textures inside as one USDZ package."""
    with tempfile.TemporaryDirectory(prefix="rodin-emulator-") as folder:
        layer, package = Path(folder, "model.usdc"), Path(folder, "model.usdz")
        for name, image in images(mesh).items():
            image.save(Path(folder, f"{name}.png"), compress_level=1)
        _write_stage(mesh, layer)
        UsdUtils.CreateNewUsdzPackage(str(layer), str(package))
        return package.read_bytes()


def _write_stage(mesh: TexturedMesh, path: Path) -> None:
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/model")
    stage.SetDefaultPrim(root.GetPrim())
    shape = _define_shape(stage, mesh)
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(_define_material(stage, mesh.material))
    stage.GetRootLayer().Save()


def _define_shape(stage: Any, mesh: TexturedMesh) -> Any:  # noqa: ANN401 - pxr has no types
    shape = UsdGeom.Mesh.Define(stage, "/model/shape")
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    shape.CreateDoubleSidedAttr(True)
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.positions))
    shape.CreateExtentAttr([Gf.Vec3f(*bound.tolist()) for bound in (mesh.positions.min(0), mesh.positions.max(0))])
    shape.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.positions) // 3, 3, np.int32)))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.arange(len(mesh.positions), dtype=np.int32)))
    shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.faceVarying)
    coordinates = UsdGeom.PrimvarsAPI(shape).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    coordinates.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uvs_upwards)))
    return shape


_COLOR, _NUMBER, _NORMAL = Sdf.ValueTypeNames.Color3f, Sdf.ValueTypeNames.Float, Sdf.ValueTypeNames.Normal3f
_TEXTURES: dict[Material, tuple[tuple[str, Any, str], ...]] = {
    "PBR": (
        ("diffuseColor", _COLOR, "texture_diffuse"),
        ("metallic", _NUMBER, "texture_metallic"),
        ("roughness", _NUMBER, "texture_roughness"),
        ("normal", _NORMAL, "texture_normal"),
    ),
    "Shaded": (("emissiveColor", _COLOR, "shaded"),),  # the texture as it is, without light
    "None": (),
}
"""For each material the inputs of UsdPreviewSurface that an image has, their types, and the images."""


def _define_material(stage: Any, kind: Material) -> Any:  # noqa: ANN401 - pxr has no types
    material = UsdShade.Material.Define(stage, "/model/material")
    reader = _shader(stage, "coordinates", "UsdPrimvarReader_float2", {"varname": (Sdf.ValueTypeNames.String, "st")})
    coordinates = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    surface = _shader(stage, "surface", "UsdPreviewSurface", {} if kind == "PBR" else {"roughness": (_NUMBER, 0.7)})
    if kind == "Shaded":
        surface.CreateInput("diffuseColor", _COLOR).Set(Gf.Vec3f(0))
    for name, value_type, file in _TEXTURES[kind]:
        inputs = {"file": (Sdf.ValueTypeNames.Asset, f"./{file}.png"), **_reading(value_type)}
        image = _shader(stage, file, "UsdUVTexture", inputs)
        image.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(coordinates)
        output = image.CreateOutput(*(("r", _NUMBER) if value_type == _NUMBER else ("rgb", Sdf.ValueTypeNames.Float3)))
        surface.CreateInput(name, value_type).ConnectToSource(output)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def _reading(value_type: Any) -> dict[str, tuple[Any, Any]]:  # noqa: ANN401 - pxr has no types
    """Return how the bytes of an image become values: numbers are linear, and normals go from -1 to 1 (UsdPreviewSurface)."""
    if value_type == _COLOR:
        return {}
    raw = {"sourceColorSpace": (Sdf.ValueTypeNames.Token, "raw")}
    if value_type == _NUMBER:
        return raw
    scale, bias = Gf.Vec4f(2, 2, 2, 1), Gf.Vec4f(-1, -1, -1, 0)
    return {**raw, "scale": (Sdf.ValueTypeNames.Float4, scale), "bias": (Sdf.ValueTypeNames.Float4, bias)}


def _shader(stage: Any, name: str, kind: str, inputs: dict[str, tuple[Any, Any]]) -> Any:  # noqa: ANN401 - pxr has no types
    shader = UsdShade.Shader.Define(stage, f"/model/material/{name}")
    shader.CreateIdAttr(kind)
    for key, (value_type, value) in inputs.items():
        shader.CreateInput(key, value_type).Set(value)
    return shader
