"""Writing USDZ: meshes with UsdPreviewSurface materials and their textures in one package (USDZ specification, 1.3)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils, Vt

from rodin_watchd_plugins.convert_mesh.images import encoded
from rodin_watchd_plugins.convert_mesh.losses import tint
from rodin_watchd_plugins.convert_mesh.model import Model, colors_of, material_of, normals_of, plain_name, uv_of

_TYPES: Final = Sdf.ValueTypeNames


def written(model: Model) -> bytes:
    """Return the package: y up, in metres, one root, textures as PNG or JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        layer, package = Path(folder, "model.usdc"), Path(folder, "model.usdz")
        stage = Usd.Stage.CreateNew(str(layer))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/model").GetPrim())
        painter = _Painter(stage, model, Path(folder))
        for number, mesh in enumerate(model.meshes):
            painter.bind(_shape(stage, mesh, f"{plain_name(mesh.metadata.get('name'), 'mesh')}_{number}"), mesh)
        stage.GetRootLayer().Save()
        if not UsdUtils.CreateNewUsdzPackage(str(layer), str(package)):
            raise ValueError("OpenUSD could not put the USDZ file together")
        return package.read_bytes()


def _floats(rows: Any) -> Any:  # noqa: ANN401 - numpy's, trimesh has no types
    return np.ascontiguousarray(rows, dtype=np.float32)


def _shape(stage: Any, mesh: Any, name: str) -> Any:  # noqa: ANN401 - neither pxr nor trimesh has types
    shape = UsdGeom.Mesh.Define(stage, f"/model/{name}")
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    shape.CreateDoubleSidedAttr(bool(getattr(material_of(mesh), "doubleSided", False)))
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(_floats(mesh.vertices)))
    shape.CreateExtentAttr([Gf.Vec3f(*bound.tolist()) for bound in mesh.bounds])
    shape.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.faces.ravel(), dtype=np.int32)))
    if (normals := normals_of(mesh)) is not None:
        shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(_floats(normals)))
        shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    if (uv := uv_of(mesh)) is not None:
        variable = UsdGeom.PrimvarsAPI(shape).CreatePrimvar("st", _TYPES.TexCoord2fArray, UsdGeom.Tokens.vertex)
        variable.Set(Vt.Vec2fArray.FromNumpy(_floats(uv)))
    if (colors := colors_of(mesh)) is not None and material_of(mesh) is None:  # USD shows them, or the material
        variable = shape.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
        variable.Set(Vt.Vec3fArray.FromNumpy(_floats(colors[:, :3] / 255.0)))
    return shape


class _Painter:
    """Makes each material and each texture file once."""

    def __init__(self, stage: Any, model: Model, folder: Path) -> None:  # noqa: ANN401 - pxr has no types
        self._stage, self._unlit, self._folder = stage, model.unlit, folder
        self._materials: dict[int, Any] = {}
        self._files: dict[int, str] = {}

    def bind(self, shape: Any, mesh: Any) -> None:  # noqa: ANN401 - neither pxr nor trimesh has types
        """Give a shape its material, if it has one."""
        material = material_of(mesh)
        if material is None:
            return
        if id(material) not in self._materials:
            self._materials[id(material)] = self._material(material)
        UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(self._materials[id(material)])

    def _material(self, material: Any) -> Any:  # noqa: ANN401 - as above
        path = f"/model/{plain_name(material.name, 'material')}_material_{len(self._materials)}"
        made = UsdShade.Material.Define(self._stage, path)
        surface = UsdShade.Shader.Define(self._stage, f"{path}/surface")
        surface.CreateIdAttr("UsdPreviewSurface")
        made.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", _TYPES.Token))
        if material.name in self._unlit:
            surface.CreateInput("diffuseColor", _TYPES.Color3f).Set(Gf.Vec3f(0))
            self._colored(surface, "emissiveColor", material.baseColorTexture, tint(material))
        else:
            self._lit(surface, material)
        self._opacity(surface, material)
        return made

    def _lit(self, surface: Any, material: Any) -> None:  # noqa: ANN401 - as above
        self._colored(surface, "diffuseColor", material.baseColorTexture, tint(material))
        glow = material.emissiveFactor
        if glow is not None or material.emissiveTexture is not None:
            self._colored(
                surface, "emissiveColor", material.emissiveTexture, (*(np.ones(3) if glow is None else glow), 1)
            )
        both = material.metallicRoughnessTexture
        self._number(surface, ("metallic", "b"), both, material.metallicFactor)
        self._number(surface, ("roughness", "g"), both, material.roughnessFactor)
        if material.occlusionTexture is not None:
            self._number(surface, ("occlusion", "r"), material.occlusionTexture, None)
        if material.normalTexture is not None:
            texture = self._texture(surface, "normal", material.normalTexture)
            texture.CreateInput("scale", _TYPES.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", _TYPES.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
            surface.CreateInput("normal", _TYPES.Normal3f).ConnectToSource(texture.CreateOutput("rgb", _TYPES.Float3))

    def _opacity(self, surface: Any, material: Any) -> None:  # noqa: ANN401 - as above
        if material.alphaMode not in {"BLEND", "MASK"}:
            return
        alpha = float(tint(material)[3])
        self._number(surface, ("opacity", "a"), material.baseColorTexture, alpha)
        if material.alphaMode == "MASK":
            cutoff = 0.5 if material.alphaCutoff is None else float(material.alphaCutoff)
            surface.CreateInput("opacityThreshold", _TYPES.Float).Set(cutoff)

    def _colored(self, surface: Any, name: str, image: Any, factor: Any) -> None:  # noqa: ANN401 - as above
        values = [float(value) for value in factor]
        entry = surface.CreateInput(name, _TYPES.Color3f)
        if image is None:
            entry.Set(Gf.Vec3f(*values[:3]))
            return
        texture = self._texture(surface, name, image, "sRGB")
        texture.CreateInput("scale", _TYPES.Float4).Set(Gf.Vec4f(*values))
        entry.ConnectToSource(texture.CreateOutput("rgb", _TYPES.Float3))

    def _number(self, surface: Any, place: tuple[str, str], image: Any, factor: Any) -> None:  # noqa: ANN401 - as above
        name, output = place
        value = 1.0 if factor is None else float(factor)
        entry = surface.CreateInput(name, _TYPES.Float)
        if image is None:
            entry.Set(value)
            return
        texture = self._texture(surface, name, image)
        texture.CreateInput("scale", _TYPES.Float4).Set(Gf.Vec4f(value))
        entry.ConnectToSource(texture.CreateOutput(output, _TYPES.Float))

    def _texture(self, surface: Any, name: str, image: Any, space: str = "raw") -> Any:  # noqa: ANN401 - as above
        root = surface.GetPath().GetParentPath()
        reader = UsdShade.Shader.Define(self._stage, root.AppendChild("coordinates"))
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", _TYPES.String).Set("st")
        texture = UsdShade.Shader.Define(self._stage, root.AppendChild(f"{name}_texture"))
        texture.CreateIdAttr("UsdUVTexture")
        texture.CreateInput("file", _TYPES.Asset).Set(self._file(image))
        texture.CreateInput("sourceColorSpace", _TYPES.Token).Set(space)
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, _TYPES.Token).Set("repeat")
        source = reader.CreateOutput("result", _TYPES.Float2)
        texture.CreateInput("st", _TYPES.Float2).ConnectToSource(source)
        return texture

    def _file(self, image: Any) -> str:  # noqa: ANN401 - Pillow's
        if id(image) not in self._files:
            data, suffix = encoded(image)
            name = f"texture_{len(self._files)}.{suffix}"
            (self._folder / name).write_bytes(data)
            self._files[id(image)] = f"./{name}"
        return self._files[id(image)]
