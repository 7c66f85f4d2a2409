"""`convert_mesh`: each part of a model that is not converted is told, and nothing damaged is written."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

pytest.importorskip("pxr", reason="OpenUSD is not installed")
from pxr import Sdf, Usd, UsdGeom, UsdLux, UsdShade, UsdUtils
from rodin_watchd_plugins.convert_mesh import Settings as Table
from rodin_watchd_plugins.convert_mesh import rodin_process

SAMPLES = Path(__file__).parents[1] / "samples"
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def converted(directory: Path, *formats: str) -> dict[str, Any]:
    """Convert the one model of a folder, and return what is told of it."""
    [model] = rodin_process(directory, Table.model_validate({"formats": list(formats)}))["models"]
    found: dict[str, Any] = model
    return found


def folder(path: Path, name: str, data: bytes) -> Path:
    """Make a folder with one model."""
    path.mkdir(exist_ok=True)
    (path / name).write_bytes(data)
    return path


# ---- GLB ------------------------------------------------------------------------------------------------------------


def textured(**more: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Make a tetrahedron with all textures."""
    image = Image.open(BytesIO((SAMPLES / "matcap-a.png").read_bytes())).convert("RGB").resize((8, 8))
    textures = ("baseColorTexture", "metallicRoughnessTexture", "normalTexture", "occlusionTexture")
    material = trimesh.visual.material.PBRMaterial(name="m", **dict.fromkeys(textures, image), **more)
    visual = trimesh.visual.TextureVisuals(uv=CORNERS[:, :2].copy(), material=material)
    return trimesh.Trimesh(CORNERS.copy(), FACES, visual=visual, process=False)


def glb(change: Callable[[dict[str, Any]], None] = lambda _: None, mesh: Any = None) -> bytes:  # noqa: ANN401 - as above
    """Return a tetrahedron as GLB, its JSON changed."""
    scene = trimesh.Scene([textured() if mesh is None else mesh])
    data = scene.export(file_type="glb", tree_postprocessor=change)
    assert isinstance(data, bytes)
    return data


def merged(**parts: Any) -> Callable[[dict[str, Any]], None]:  # noqa: ANN401 - JSON
    """Return what merges parts into the JSON, the first of each list into the first."""

    def merge(into: Any, part: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(part, dict) and isinstance(into, dict):
            return {**into, **{key: merge(into.get(key), value) for key, value in part.items()}}
        if isinstance(part, list) and isinstance(into, list) and part and isinstance(part[0], dict):
            return [merge(into[0], part[0]), *into[1:], *part[1:]]
        return part

    return lambda document: document.update(merge(document, parts))


def attribute(name: str) -> Callable[[dict[str, Any]], None]:
    """Return what gives the vertices one attribute more."""
    return merged(meshes=[{"primitives": [{"attributes": {name: 1}}]}])


GLB_LOSSES = {
    "animations": merged(animations=[{"channels": [], "samplers": []}]),
    "skeletons": merged(skins=[{"joints": [0]}]),
    "cameras": merged(cameras=[{"type": "perspective"}]),
    "scenes that are not shown": merged(scenes=[{}, {"nodes": []}]),
    "morph targets": merged(meshes=[{"primitives": [{"targets": [{"POSITION": 1}]}]}]),
    "second texture coordinates": attribute("TEXCOORD_1"),
    "textures on second coordinates": merged(materials=[{"normalTexture": {"texCoord": 1}}]),
    "second vertex colors": attribute("COLOR_1"),
    "tangents": attribute("TANGENT"),
    "custom vertex attributes": attribute("_TEMPERATURE"),
    "strength of normal maps": merged(materials=[{"normalTexture": {"scale": 0.5}}]),
    "strength of ambient occlusion": merged(materials=[{"occlusionTexture": {"strength": 0.5}}]),
    "texture wrapping": merged(textures=[{"sampler": 0}], samplers=[{"wrapT": 33071}]),
    "texture filtering": merged(textures=[{"sampler": 0}], samplers=[{"magFilter": 9728}]),
    "textures that cannot be read": merged(images=[{"uri": "https://example.com/a.png", "bufferView": None}]),
    "copyright": merged(asset={"copyright": "somebody"}),
    "glTF extension KHR_lights_punctual": merged(extensionsUsed=["KHR_lights_punctual"]),
    "glTF extension EXT_mesh_gpu_instancing": merged(extensionsUsed=["EXT_mesh_gpu_instancing"]),
}


@pytest.mark.parametrize("what", GLB_LOSSES)
def test_what_is_lost_of_a_glb_is_told(tmp_path: Path, what: str) -> None:
    """Whatever the format that it is written in."""
    asked = GLB_LOSSES[what]

    def change(document: dict[str, Any]) -> None:
        asked(document)
        for image in document["images"]:
            if "uri" in image:
                del image["bufferView"]

    lost = converted(folder(tmp_path / "set", "a.glb", glb(change)), "usdz", "obj")["lost"]
    assert what in lost["obj"]
    assert lost["usdz"] == [what]


@pytest.mark.parametrize(("mode", "what"), [(0, "points and lines"), (1, "points and lines"), (6, "triangle fans")])
def test_what_is_no_triangle_is_told(tmp_path: Path, mode: int, what: str) -> None:
    """The rest of the model is converted."""

    def change(document: dict[str, Any]) -> None:
        [mesh] = document["meshes"]
        mesh["primitives"].append({**mesh["primitives"][0], "mode": mode})

    model = converted(folder(tmp_path / "set", "a.glb", glb(change)), "usdz")
    assert (model["triangles"], model["lost"]["usdz"]) == (4, [what])


def test_what_only_some_formats_hold_is_told_of_the_others(tmp_path: Path) -> None:
    """Colours over a material, surfaces with two sides, light of its own."""
    mesh = textured(doubleSided=True, emissiveFactor=[0.0, 0.5, 0.0], metallicFactor=0.5)
    mesh.visual.vertex_attributes["color"] = np.array([[255, 0, 0, 128]] * 4, dtype=np.uint8)
    lost = converted(folder(tmp_path / "set", "a.glb", glb(mesh=mesh)), "obj", "stl", "ply", "usdz")["lost"]
    colors = {"vertex colors over a material", "transparency of vertex colors"}
    assert set(lost["usdz"]) == colors
    assert colors | {"double-sided surfaces"} <= set(lost["obj"])
    rest = {"metalness and roughness", "emission color", "double-sided surfaces", "vertex colors over a material"}
    assert rest <= set(lost["ply"]) & set(lost["stl"])


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON and the binary chunk of a GLB."""
    [length] = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def whole(document: dict[str, Any], binary: bytes) -> bytes:
    """Return a GLB of its parts."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def with_numbers(number: int, kind: int, values: Any, **more: Any) -> bytes:  # noqa: ANN401 - numpy's
    """Return the tetrahedron with other numbers for one of its accessors."""
    document, binary = parts(glb())
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
    view = {"bufferView": len(document["bufferViews"]) - 1}
    place = {"sparse": {**more.pop("sparse"), "values": view}} if "sparse" in more else view
    document["accessors"][number] = {**document["accessors"][number], "componentType": kind, **place, **more}
    binary += values.tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    return whole(document, binary)


def accessor_of(name: str) -> int:
    """Return which accessor has an attribute of the tetrahedron."""
    number: int = parts(glb())[0]["meshes"][0]["primitives"][0]["attributes"][name]
    return number


def test_texture_coordinates_may_be_whole_numbers(tmp_path: Path) -> None:
    """They stand for fractions."""
    values = np.round(CORNERS[:, :2] * 65535).astype("<u2")
    data = with_numbers(accessor_of("TEXCOORD_0"), 5123, values, normalized=True)
    converted(folder(tmp_path / "set", "a.glb", data), "obj")
    found: Any = trimesh.load_mesh(tmp_path / "set" / "a.obj", process=False)
    expected = np.column_stack([CORNERS[:, 0], 1 - CORNERS[:, 1]])
    assert {tuple(row) for row in found.visual.uv.round(3)} == {tuple(row) for row in expected}


def test_a_sparse_accessor_is_read(tmp_path: Path) -> None:
    """Some of its values are stored apart."""
    document, binary = parts(glb())
    document["bufferViews"].append({"buffer": 0, "byteOffset": 0, "byteLength": 4})
    where = {"bufferView": len(document["bufferViews"]), "componentType": 5125}
    values = np.frombuffer(struct.pack("<3fI", 0, 0, 7, 3), dtype="<u1")
    data = with_numbers(accessor_of("POSITION"), 5126, values, sparse={"count": 1, "indices": where})
    document, binary = parts(data)
    last = document["bufferViews"][-1]
    document["bufferViews"].append({**last, "byteOffset": last["byteOffset"] + 12, "byteLength": 4})
    converted(folder(tmp_path / "set", "a.glb", whole(document, binary)), "stl")
    assert trimesh.load_mesh(tmp_path / "set" / "a.stl").bounds[1].tolist() == [1, 1, 7]


def test_a_texture_beside_the_model_is_taken(tmp_path: Path) -> None:
    """By its name, however that is written."""

    def change(document: dict[str, Any]) -> None:
        document["images"] = [{"uri": "the%20color.png"} for _ in document["images"]]

    shutil.copy(SAMPLES / "matcap-a.png", folder(tmp_path / "set", "a.glb", glb(change)) / "the color.png")
    assert "lost" not in converted(tmp_path / "set", "usdz")


# ---- Numbers that are none ------------------------------------------------------------------------------------------


def shape(first: str, rest: str = "") -> bytes:
    """Return an OBJ file with one triangle."""
    return f"v {first}\nv 1 0 0\nv 0 1 0\n{rest}\nf 1 2 3\n".encode()


PLY = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
DAMAGED = {
    "a.obj": (shape("nan 0 0"), "1 of its points are no numbers"),
    "b.obj": (shape("0 -inf 0"), "1 of its points are no numbers"),
    "c.obj": (shape("0 1e39 0"), "1 of its points are no numbers"),
    "d.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt nan 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n", "1 of its texture coordinates"),
    "e.ply": (
        PLY + b"element face 1\nproperty list uchar int vertex_indices\nend_header\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
        "1 of its points are no numbers",
    ),
    "f.stl": (
        bytes(80) + struct.pack("<I12fH", 1, 0, 0, 1, float("inf"), 0, 0, 1, 0, 0, 0, 1, 0, 0),
        "1 of its points are no numbers",
    ),
    "g.glb": (
        with_numbers(accessor_of("POSITION"), 5126, np.where(CORNERS > 0, np.nan, 0).astype("<f4")),
        "3 of its points are no",
    ),
    "h.glb": (glb(merged(nodes=[{}, {"matrix": [float("nan")] * 16}])), "NaN in place of a number"),
    "i.glb": (glb(merged(accessors=[{"count": 10_000}])), "damaged|size"),
    "j.obj": (shape("0 0 0", "f 1 2 9"), "j.obj is damaged"),
    "k.glb": (with_numbers(0, 5125, np.array([0, 1, 99] * 4, dtype="<u4")), "k.glb is damaged"),
    "l.glb": (glb(merged(meshes=[{"primitives": [{"material": 7}]}])), "l.glb is damaged"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_numbers_that_are_none_are_an_error(tmp_path: Path, name: str) -> None:
    """And no file is written that other programs cannot read."""
    data, told = DAMAGED[name]
    with pytest.raises(ValueError, match=told):
        converted(folder(tmp_path / "set", name, data), "stl" if name != "f.stl" else "obj", "usdz")
    assert [path.name for path in (tmp_path / "set").iterdir()] == [name]


def test_normals_are_as_long_as_formats_want_them(tmp_path: Path) -> None:
    """Exporters leave some without a direction, or of any length."""
    text = shape("0 0 0").replace(b"f 1 2 3", b"vn 0 0 0\nvn 0 0 -5\nf 1//1 2//2 3//2")
    converted(folder(tmp_path / "set", "a.obj", text), "glb")
    [found] = trimesh.load_scene(tmp_path / "set" / "a.glb", process=False).geometry.values()
    assert sorted(found.vertex_normals.tolist()) == [[0, 0, -1], [0, 0, -1], [0, 0, 1]]


# ---- OBJ, PLY, STL --------------------------------------------------------------------------------------------------


TEXT_LOSSES = {
    "points and lines": shape("0 0 0", "l 1 2"),
    "curves and surfaces": shape("0 0 0", "cstype bezier\ncurv 0 1 1 2"),
    "groups": shape("0 0 0", "g one\ng two"),
    "smoothing groups": shape("0 0 0", "s 1"),
    "materials in a file that is not there": shape("0 0 0", "mtllib gone.mtl"),
    "materials that are not there": shape("0 0 0", "usemtl gone"),
}
MTL_LOSSES = {
    "specular highlights": "Ks 1 1 1",
    "bump map": "map_Bump a.png",
    "displacement map": "disp a.png",
    "clear coat": "Pc 0.5",
    "sheen": "Ps 0.5",
    "index of refraction": "Ni 1.3",
    "opacity texture": "map_d other.png",
    "textures that cannot be read": "map_Kd gone.png",
    "MTL statement map_rma": "map_rma a.png",
}


@pytest.mark.parametrize("what", [*TEXT_LOSSES, *MTL_LOSSES])
def test_what_is_lost_of_an_obj_is_told(tmp_path: Path, what: str) -> None:
    """Of its materials, too."""
    place = folder(tmp_path / "set", "a.obj", TEXT_LOSSES.get(what, shape("0 0 0", "mtllib a.mtl\nusemtl m")))
    (place / "a.mtl").write_text(f"newmtl m\nKd 1 1 1\nKs 0 0 0\nNi 1.5\nd 1\nillum 2\n{MTL_LOSSES.get(what, '')}\n")
    assert converted(place, "glb")["lost"]["glb"] == [what]


def test_objects_of_an_obj_stay_apart(tmp_path: Path) -> None:
    """Two objects are two shapes."""
    text = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\no one\nf 1 2 3\no two\nf 1 2 4\n"
    model = converted(folder(tmp_path / "set", "a.obj", text), "glb", "stl")
    assert (model["triangles"], model["lost"]) == (2, {"stl": ["separate objects", "unit of length"]})


PLY_LOSSES = {
    "PLY element edge": ("", "element edge 1\nproperty int vertex1\nproperty int vertex2\n"),
    "custom vertex attributes": ("property float quality\n", ""),
    "textures that cannot be read": ("", "comment TextureFile gone.png\n"),
}


@pytest.mark.parametrize("what", PLY_LOSSES)
def test_what_is_lost_of_a_ply_is_told(tmp_path: Path, what: str) -> None:
    """By its head."""
    vertex, more = PLY_LOSSES[what]
    value = " 1" if vertex else ""
    head = f"{PLY.decode()}{vertex}element face 1\nproperty list uchar int vertex_indices\n{more}end_header\n"
    rows = f"0 0 0{value}\n1 0 0{value}\n0 1 0{value}\n3 0 1 2\n{'0 1' if 'edge' in more else ''}\n"
    assert converted(folder(tmp_path / "set", "a.ply", (head + rows).encode()), "glb")["lost"]["glb"] == [what]


def test_a_grey_texture_of_16_bits_is_no_white_one(tmp_path: Path) -> None:
    """Painting programs write roughness like that."""
    grey = Image.fromarray(np.full((4, 4), 0x8080, dtype=np.uint16))
    place = folder(tmp_path / "set", "a.obj", shape("0 0 0", "mtllib a.mtl\nusemtl m"))
    grey.save(place / "rough.png")
    (place / "a.mtl").write_text("newmtl m\nmap_Pr rough.png\n")
    converted(place, "glb")
    [found] = trimesh.load_scene(place / "a.glb", process=False).geometry.values()
    assert found.visual.material.metallicRoughnessTexture.getpixel((0, 0))[1] == 0x80


def test_the_colors_of_an_stl_are_told(tmp_path: Path) -> None:
    """Some programs keep them where the format has two spare bytes."""
    data = bytes(80) + struct.pack("<I12fH", 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x83E0)
    assert converted(folder(tmp_path / "set", "a.stl", data), "glb")["lost"]["glb"] == ["face colors"]


# ---- USD ------------------------------------------------------------------------------------------------------------


def package(tmp_path: Path, fill: Callable[[Any], None]) -> Path:
    """Make a folder with a package: one triangle, and what else somebody puts there."""
    stage = Usd.Stage.CreateNew(str(tmp_path / "scene.usdc"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/all").GetPrim())
    triangle(stage, "/all/plain")
    fill(stage)
    stage.GetRootLayer().Save()
    (tmp_path / "set").mkdir()
    UsdUtils.CreateNewUsdzPackage(str(tmp_path / "scene.usdc"), str(tmp_path / "set" / "a.usdz"))
    return tmp_path / "set"


def triangle(stage: Any, path: str) -> Any:  # noqa: ANN401 - pxr has no types
    """Draw a triangle."""
    made = UsdGeom.Mesh.Define(stage, path)
    made.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    made.CreateFaceVertexCountsAttr([3])
    made.CreateFaceVertexIndicesAttr([0, 1, 2])
    made.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    return made


def surface(stage: Any) -> Any:  # noqa: ANN401 - as above
    """Give the triangle a material, and return its surface."""
    material = UsdShade.Material.Define(stage, "/all/m")
    made = UsdShade.Shader.Define(stage, "/all/m/surface")
    made.CreateIdAttr("UsdPreviewSurface")
    material.CreateSurfaceOutput().ConnectToSource(made.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    prim = stage.GetPrimAtPath("/all/plain")
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)
    return made


def instancer(stage: Any) -> None:  # noqa: ANN401 - as above
    """Copy a triangle to two places."""
    made = UsdGeom.PointInstancer.Define(stage, "/all/copies")
    triangle(stage, "/all/copies/one")
    made.CreatePrototypesRel().SetTargets(["/all/copies/one"])
    made.CreateProtoIndicesAttr([0, 0])
    made.CreatePositionsAttr([(1, 0, 0), (2, 0, 0)])


def moved(stage: Any) -> None:  # noqa: ANN401 - as above
    """Have the triangle grow."""
    points = stage.GetPrimAtPath("/all/plain").GetAttribute("points")
    points.Clear()
    for time in (1, 2):
        points.Set([(0, 0, 0), (time, 0, 0), (0, 1, 0)], time)


def gone_texture(stage: Any) -> None:  # noqa: ANN401 - as above
    """Name a texture that the package does not have."""
    texture = UsdShade.Shader.Define(stage, "/all/m/texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set("gone.png")
    entry = surface(stage).CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    entry.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))


def two_coordinates(stage: Any) -> None:  # noqa: ANN401 - as above
    """Give the triangle two ways to lay textures over it."""
    for name in ("st", "st1"):
        variable(stage, name, COORDINATES, [(0, 0)] * 3)


HIDDEN = "shapes that are not shown (invisible, guides, proxies)"
SMOOTH = "subdivision (the shape has its corners, and is not smoothed)"
COORDINATES = Sdf.ValueTypeNames.TexCoord2fArray


def variable(stage: Any, name: str, kind: Any, values: Any) -> None:  # noqa: ANN401 - as above
    """Give the triangle's points some values."""
    prim = stage.GetPrimAtPath("/all/plain")
    UsdGeom.PrimvarsAPI(prim).CreatePrimvar(name, kind, UsdGeom.Tokens.vertex).Set(values)


USD_LOSSES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "sphere": ("USD primitive Sphere", lambda stage: UsdGeom.Sphere.Define(stage, "/all/x")),
    "curves": ("USD primitive BasisCurves", lambda stage: UsdGeom.BasisCurves.Define(stage, "/all/x")),
    "light": ("USD primitive SphereLight", lambda stage: UsdLux.SphereLight.Define(stage, "/all/x")),
    "camera": ("cameras", lambda stage: UsdGeom.Camera.Define(stage, "/all/x")),
    "instancer": ("point instancers", instancer),
    "invisible": (HIDDEN, lambda stage: triangle(stage, "/all/x").MakeInvisible()),
    "guide": (HIDDEN, lambda stage: triangle(stage, "/all/x").CreatePurposeAttr(UsdGeom.Tokens.guide)),
    "proxy": (HIDDEN, lambda stage: triangle(stage, "/all/x").CreatePurposeAttr(UsdGeom.Tokens.proxy)),
    "subdivision": (SMOOTH, lambda stage: stage.GetPrimAtPath("/all/plain").GetAttribute("subdivisionScheme").Clear()),
    "two sides": (
        "double-sided surfaces without a material",
        lambda stage: UsdGeom.Mesh(stage.GetPrimAtPath("/all/plain")).CreateDoubleSidedAttr(True),
    ),
    "moving": ("animations", moved),
    "second coordinates": (
        "second texture coordinates",
        two_coordinates,
    ),
    "attribute": (
        "custom vertex attributes",
        lambda stage: variable(stage, "heat", Sdf.ValueTypeNames.FloatArray, [1.0] * 3),
    ),
    "clear coat": (
        "clear coat",
        lambda stage: surface(stage).CreateInput("clearcoat", Sdf.ValueTypeNames.Float).Set(1),
    ),
    "other material": ("materials that are no UsdPreviewSurface", lambda stage: surface(stage).CreateIdAttr("ND_x")),
    "texture": ("textures that cannot be read", gone_texture),
}


@pytest.mark.parametrize("case", USD_LOSSES)
def test_what_is_lost_of_a_package_is_told(tmp_path: Path, case: str) -> None:
    """And no shape is written that nobody sees."""
    what, fill = USD_LOSSES[case]
    model = converted(package(tmp_path, lambda stage: (fill(stage), None)[1]), "glb")
    assert (model["triangles"], model["lost"]["glb"]) == (1, [what])


def test_what_is_hidden_with_its_group_is_not_written(tmp_path: Path) -> None:
    """Visibility and purpose hold for all that is below."""

    def fill(stage: Any) -> None:  # noqa: ANN401 - pxr has no types
        group = UsdGeom.Xform.Define(stage, "/all/group")
        group.CreatePurposeAttr(UsdGeom.Tokens.guide)
        triangle(stage, "/all/group/x")
        triangle(stage, "/all/group/y").CreatePurposeAttr(UsdGeom.Tokens.render)

    assert converted(package(tmp_path, fill), "glb")["triangles"] == 2


def test_two_sides_and_other_coordinates_of_a_package_are_kept(tmp_path: Path) -> None:
    """Texture coordinates may have any name; holes of a shape stay holes."""

    def fill(stage: Any) -> None:  # noqa: ANN401 - pxr has no types
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/all/plain"))
        mesh.CreateDoubleSidedAttr(True)
        surface(stage)
        variable(stage, "UVMap", COORDINATES, [(0, 0), (1, 0), (0, 1)])
        mesh.GetFaceVertexCountsAttr().Set([3, 3])
        mesh.GetFaceVertexIndicesAttr().Set([0, 1, 2, 2, 1, 0])
        mesh.CreateHoleIndicesAttr([1])

    model = converted(package(tmp_path, fill), "glb")
    assert (model["triangles"], model.get("lost")) == (1, None)
    document, _ = parts((tmp_path / "set" / "a.glb").read_bytes())
    assert document["materials"][0]["doubleSided"] is True
    assert "TEXCOORD_0" in document["meshes"][0]["primitives"][0]["attributes"]
