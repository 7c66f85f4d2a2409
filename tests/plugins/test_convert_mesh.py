"""`convert_mesh`: the same model in other formats, and what they cannot hold."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageChops
from refusing import refusal

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Finished, PluginUnderTest, finished, loading

PLUGIN = "rodin_watchd_plugins.convert_mesh"
SAMPLES = Path(__file__).parents[1] / "samples"
CUBE_UV = np.random.default_rng(1).random((8, 2))

Convert = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PluginUnderTest]:
    """Give the plugin; it keeps nothing between its calls."""
    with loading(tmp_path_factory.mktemp("converter")) as load:
        yield load(PLUGIN, formats=["usdz"])


@pytest.fixture
def convert(converter: PluginUnderTest, rodin_finished: Finished) -> Convert:
    """Give a function that converts the models in a folder as a set asks for it, and returns what the plugin tells of them."""
    pytest.importorskip("pxr", reason="OpenUSD is not installed")

    def run(directory: Path, *formats: str) -> dict[str, Any]:
        asked = {"formats": list(formats)}
        facts: dict[str, Any] = converter.call("rodin_process", own=asked, job=rodin_finished.job, directory=directory)
        return facts

    return run


def picture(path: Path) -> Image.Image:
    """Read an image whole, and close its file."""
    return Image.open(BytesIO(path.read_bytes()))


def cube(offset: float, name: str, material: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Make a cube with texture coordinates, or without when it has no material."""
    made = trimesh.creation.box()
    made.vertices += offset
    made.metadata["name"] = name
    if material is not None:
        made.visual = trimesh.visual.TextureVisuals(uv=CUBE_UV, material=material)
    return made


def rich_scene() -> Any:  # noqa: ANN401 - trimesh has no types
    """Make two cubes, one with a texture for everything and a name that is an attack."""
    color, other = picture(SAMPLES / "matcap-b.jpg"), picture(SAMPLES / "matcap-a.png").convert("RGB")
    full = trimesh.visual.material.PBRMaterial(
        name="../../x\nusemtl y",
        baseColorTexture=color,
        metallicRoughnessTexture=other,
        normalTexture=other,
        roughnessFactor=0.5,
        alphaMode="MASK",
        alphaCutoff=0.25,
    )
    tinted = trimesh.visual.material.PBRMaterial(
        name="two", baseColorTexture=other, occlusionTexture=other, baseColorFactor=[0.5, 1.0, 1.0, 1.0]
    )
    return trimesh.Scene([cube(0, "a\nf 1 1 1", full), cube(2, "b", tinted)])


def saved(scene: Any, path: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Path:  # noqa: ANN401 - trimesh has no types
    """Write a scene as GLB, its JSON changed, and return the folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(scene.export(file_type="glb", tree_postprocessor=change))
    return path.parent


def loaded(path: Path) -> Any:  # noqa: ANN401 - trimesh has no types
    """Read a file with trimesh as its own user would, as one mesh."""
    return trimesh.load_scene(path, process=False).to_mesh()


def texture_of(mesh: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return a mesh's texture as RGB."""
    material = mesh.visual.material
    image = getattr(material, "baseColorTexture", None) or material.image
    return image.convert("RGB")


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - Pillow's, as trimesh gives it
    """Tell whether two images show the same."""
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def colored_corners(mesh: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return position and texture coordinate of every corner of every triangle, sorted: however vertices are numbered."""
    rows = np.hstack([mesh.vertices[mesh.faces.ravel()], mesh.visual.uv[mesh.faces.ravel()] % 1.0]).round(4) + 0.0
    return rows[np.lexsort(rows.T)]


MADE = "base_basic_pbr"
"""The stem of the model in a finished result."""


def test_a_result_in_every_format(convert: Convert, rodin_finished: Finished) -> None:
    """The files lie beside the model, their sizes are told, the model is untouched, and so is what STL cannot hold."""
    folder = rodin_finished.directory
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    [model] = convert(folder, "obj", "stl", "ply", "usdz", "glb")["models"]
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.name not in before}
    assert {file["name"]: file["bytes"] for file in model["written"]} == sizes
    assert sizes.keys() == {
        *(f"{MADE}.{name}" for name in ("obj", "mtl", "stl", "ply", "usdz")),
        *(f"{MADE}_{name}.png" for name in ("PBR_0_Kd", "PBR_0_Pm", "PBR_0_Pr", "PBR_0_norm", "ply")),
    }
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in before.items())
    assert (model["from"], model["triangles"]) == (f"{MADE}.glb", len(loaded(folder / f"{MADE}.glb").faces))
    two = "double-sided surfaces"
    rough = "metalness and roughness texture"
    assert {name: lost[2:] for name, lost in model["lost"].items()} == {
        "usdz": [],
        "obj": [two, "unit of length"],
        "ply": [rough, "normal map", two, "unit of length"],
        "stl": ["color texture", rough, "normal map", two, "texture coordinates", "smooth normals", "unit of length"],
    }
    assert {tuple(lost[:2]) for lost in model["lost"].values()} == {("tangents", "texture wrapping")}


@pytest.mark.parametrize("name", ["obj", "ply"])
def test_textures_lie_beside(convert: Convert, rodin_finished: Finished, name: str) -> None:
    """Whoever reads the file finds the texture, and every corner shows the same place of it."""
    folder = rodin_finished.directory
    convert(folder, name)
    source, made = loaded(folder / f"{MADE}.glb"), loaded(folder / f"{MADE}.{name}")
    assert same(texture_of(made), texture_of(source))
    np.testing.assert_allclose(colored_corners(made), colored_corners(source), atol=2e-4)


@pytest.mark.parametrize("name", ["obj", "ply", "stl", "usdz"])
def test_there_and_back(convert: Convert, rodin_finished: Finished, tmp_path: Path, name: str) -> None:
    """A GLB made of any of the formats has the shape of the first one, and the texture if the format holds it."""
    convert(rodin_finished.directory, name)
    back = tmp_path / "back"
    shutil.copytree(rodin_finished.directory, back, ignore=shutil.ignore_patterns("*.glb"))
    [model] = convert(back, "glb")["models"]
    assert model["from"] == f"{MADE}.{name}"
    source, made = loaded(rodin_finished.directory / f"{MADE}.glb"), loaded(back / f"{MADE}.glb")
    assert len(made.faces) == len(source.faces)
    np.testing.assert_allclose(made.triangles_center.mean(axis=0), source.triangles_center.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(made.bounds, source.bounds, atol=1e-5)
    if name == "stl":
        assert made.visual.kind is None
    else:
        assert same(texture_of(made), texture_of(source))
        np.testing.assert_allclose(colored_corners(made), colored_corners(source), atol=2e-4)


def test_what_the_vendor_delivers_as_usdz_becomes_glb(convert: Convert, tmp_path: Path) -> None:
    """Also with its coordinates laid over corners instead of points."""
    made = finished(tmp_path / "usdz", "usdz").directory
    plain = finished(tmp_path / "glb").directory
    [model] = convert(made, "glb")["models"]
    assert model["from"] == f"{MADE}.usdz"
    source, back = loaded(plain / f"{MADE}.glb"), loaded(made / f"{MADE}.glb")
    np.testing.assert_allclose(colored_corners(back), colored_corners(source), atol=2e-4)
    assert same(texture_of(back), texture_of(source))
    first, second = source.visual.material, back.visual.material
    assert same(second.normalTexture.convert("RGB"), first.normalTexture)
    for index in (1, 2):  # green and blue carry roughness and metalness
        assert same(second.metallicRoughnessTexture.getchannel(index), first.metallicRoughnessTexture.getchannel(index))


def usd_faults(path: Path) -> list[str]:
    """Return what OpenUSD's own validators find; skips where they are not installed."""
    validation = pytest.importorskip("pxr.UsdValidation", reason="OpenUSD with its validators is not installed")
    from pxr import Tf, Usd  # noqa: PLC0415 - an extra

    try:
        validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    except Tf.ErrorException:
        pytest.skip("this OpenUSD was packed without the libraries of its validators, as 25.2 was")
    found = validation.ValidationContext(validators).Validate(Usd.Stage.Open(str(path)))
    return [error.GetErrorAsString() for error in found]


def test_usdz_is_valid(convert: Convert, tmp_path: Path) -> None:
    """OpenUSD's own validators find no fault; every texture is the very file that was in the GLB."""
    folder = saved(rich_scene(), tmp_path / "rich" / "model.glb")
    convert(folder, "usdz")
    assert usd_faults(folder / "model.usdz") == []
    with ZipFile(folder / "model.usdz") as package:
        textures = {name: package.read(name) for name in package.namelist()[1:]}
    assert {Path(name).suffix for name in textures} == {".jpg", ".png"}
    assert all(data in (folder / "model.glb").read_bytes() for data in textures.values())


def test_materials_survive_usdz(convert: Convert, tmp_path: Path) -> None:
    """Two materials with all their textures, factors and transparency come back as they were."""
    folder = saved(rich_scene(), tmp_path / "rich" / "model.glb")
    assert "lost" not in convert(folder, "usdz")["models"][0]
    (folder / "model.glb").rename(folder.parent / "first.glb")
    convert(folder, "glb")
    first, back = trimesh.load_scene(folder.parent / "first.glb"), trimesh.load_scene(folder / "model.glb")
    kept = {mesh.visual.material.alphaMode: mesh.visual.material for mesh in back.geometry.values()}
    meant = {mesh.visual.material.alphaMode or "OPAQUE": mesh.visual.material for mesh in first.geometry.values()}
    cut, plain = kept["MASK"], kept["OPAQUE"]
    assert (cut.alphaCutoff, cut.roughnessFactor, cut.metallicFactor) == (0.25, 0.5, 1.0)
    assert plain.baseColorFactor.tolist() == [128, 255, 255, 255]
    for name in ("baseColorTexture", "normalTexture"):
        assert same(getattr(cut, name).convert("RGB"), getattr(meant["MASK"], name).convert("RGB"))
    for index in (1, 2):  # green and blue carry roughness and metalness
        assert same(
            cut.metallicRoughnessTexture.getchannel(index), meant["MASK"].metallicRoughnessTexture.getchannel(index)
        )
    assert same(plain.occlusionTexture.convert("RGB"), meant["OPAQUE"].occlusionTexture.convert("RGB"))


def test_obj_names_what_mtl_can_hold(convert: Convert, tmp_path: Path) -> None:
    """The PBR additions to MTL are written, each with its own file; names from outside cannot leave the folder or the line."""
    folder = saved(rich_scene(), tmp_path / "rich" / "model.glb")
    [model] = convert(folder, "obj")["models"]
    assert model["lost"]["obj"] == ["ambient occlusion", "unit of length"]
    lines = (folder / "model.mtl").read_text().splitlines()
    assert {"newmtl x_usemtl_y_0", "newmtl two_1", "Pr 0.5", "norm model_x_usemtl_y_0_norm.png"} <= set(lines)
    named = {line.split()[1] for line in lines if line.startswith(("map_", "norm"))}
    assert named == {path.name for path in folder.iterdir()} - {"model.glb", "model.obj", "model.mtl"}
    assert len((folder / "model.obj").read_text().split("\nf ")) == 25
    rough = picture(folder / "model_x_usemtl_y_0_Pr.png")
    whole = picture(SAMPLES / "matcap-a.png").convert("RGB").getchannel("G")
    assert abs(rough.getpixel((256, 256)) - whole.getpixel((256, 256)) / 2) <= 1  # type: ignore[operator]  # one channel
    assert picture(folder / "model_x_usemtl_y_0_Kd.jpg").format == "JPEG"


def test_what_only_other_programs_read_is_told(convert: Convert, tmp_path: Path) -> None:
    """Animations, extensions and the like are lost on the way, whatever the format."""

    def change(document: dict[str, Any]) -> None:
        document["animations"] = [{"channels": [], "samplers": []}]
        document["extensionsUsed"] = ["KHR_texture_transform"]

    folder = saved(trimesh.Scene([cube(0, "a", None)]), tmp_path / "set" / "model.glb", change)
    [model] = convert(folder, "usdz", "stl")["models"]
    assert model["lost"]["usdz"] == ["animations", "glTF extension KHR_texture_transform"]
    assert model["lost"]["stl"] == ["animations", "glTF extension KHR_texture_transform", "unit of length"]


def test_a_shaded_texture_stays_without_light(convert: Convert, tmp_path: Path) -> None:
    """The vendor's Shaded material is unlit: OBJ says `illum 0`, USDZ lets it glow."""

    def change(document: dict[str, Any]) -> None:
        document["materials"][0]["extensions"] = {"KHR_materials_unlit": {}}
        document["extensionsUsed"] = ["KHR_materials_unlit"]

    material = trimesh.visual.material.PBRMaterial(baseColorTexture=picture(SAMPLES / "matcap-a.png"))
    folder = saved(trimesh.Scene([cube(0, "a", material)]), tmp_path / "set" / "model.glb", change)
    [model] = convert(folder, "obj", "usdz")["models"]
    assert model["lost"] == {"obj": ["unit of length"]}
    assert "illum 0" in (folder / "model.mtl").read_text().splitlines()
    from pxr import Usd, UsdShade  # noqa: PLC0415 - an extra

    stage = Usd.Stage.Open(str(folder / "model.usdz"))
    surfaces = [UsdShade.Shader(prim) for prim in stage.Traverse() if prim.GetName() == "surface"]
    [glow] = [surface.GetInput("emissiveColor") for surface in surfaces]
    assert glow.HasConnectedSource()


def test_usd_axes_and_units_are_understood(convert: Convert, tmp_path: Path) -> None:
    """A package with z up and in centimetres becomes a GLB with y up and in metres; left-handed faces are turned."""
    from pxr import Usd, UsdGeom, UsdUtils  # noqa: PLC0415 - an extra

    folder = tmp_path / "set"
    folder.mkdir()
    stage = Usd.Stage.CreateNew(str(tmp_path / "scene.usdc"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    shape = UsdGeom.Mesh.Define(stage, "/quad")
    shape.CreatePointsAttr([(0, 0, 0), (100, 0, 0), (100, 0, 200), (0, 0, 200)])
    shape.CreateFaceVertexCountsAttr([4])
    shape.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    shape.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    stage.SetDefaultPrim(shape.GetPrim())
    stage.GetRootLayer().Save()
    UsdUtils.CreateNewUsdzPackage(str(tmp_path / "scene.usdc"), str(folder / "quad.usdz"))
    convert(folder, "glb")
    made = loaded(folder / "quad.glb")
    assert made.bounds.round(5).tolist() == [[0, 0, 0], [1, 2, 0]]
    assert len(made.faces) == 2
    assert made.face_normals.round(5).tolist() == [[0, 0, -1]] * 2


def test_nothing_outside_the_folder_is_read(convert: Convert, tmp_path: Path) -> None:
    """A model that names files elsewhere does not get them."""
    folder = tmp_path / "set"
    folder.mkdir()
    shutil.copy(SAMPLES / "matcap-a.png", tmp_path / "secret.png")
    (tmp_path / "secret.mtl").write_text("newmtl m\nmap_Kd ../secret.png\n")
    (folder / "a.mtl").write_text(f"newmtl m\nmap_Kd {tmp_path}/secret.png\nnorm ../secret.png\n")
    shape = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\n"
    (folder / "a.obj").write_text("mtllib a.mtl\n" + shape)
    (folder / "b.obj").write_text("mtllib ../secret.mtl\n" + shape)
    assert [model["triangles"] for model in convert(folder, "glb")["models"]] == [1, 1]
    assert b"image/" not in (folder / "a.glb").read_bytes() + (folder / "b.glb").read_bytes()


def test_what_is_there_already_is_left_alone(convert: Convert, tmp_path: Path) -> None:
    """A format that the result has, in whatever spelling, is not written again."""
    folder = tmp_path / "set"
    folder.mkdir()
    shutil.copy(SAMPLES / "bunny.obj", folder / "model.OBJ")
    shutil.copy(SAMPLES / "bunny.glb", folder / "model.glb")
    assert convert(folder, "obj", "glb") == {"models": [{"from": "model.glb", "written": []}]}
    assert {path.name for path in folder.iterdir()} == {"model.OBJ", "model.glb"}


def test_a_result_without_a_readable_model_says_so(convert: Convert, tmp_path: Path) -> None:
    """FBX is for the plugin blender; that is no failure here."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "model.fbx").write_bytes(b"Kaydara FBX Binary")
    assert "holds no model" in convert(tmp_path / "set", "glb")["nothing"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((SAMPLES / "suzi-draco.glb").read_bytes(), "compressed .KHR_draco_mesh_compression.*larger `order`"),
        (b"glTF but not really, far from it", "not a GLB file"),
    ],
)
def test_a_model_that_cannot_be_read_is_a_failing_call(
    convert: Convert, tmp_path: Path, data: bytes, told: str
) -> None:
    """And not an empty or a wrong file."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "model.glb").write_bytes(data)
    with pytest.raises(PluginError, match=told):
        convert(tmp_path / "set", "stl")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["model.glb"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "formats: "),
        ({"formats": []}, "formats: "),
        ({"formats": ["fbx"]}, "'glb', 'obj'"),
        ({"format": "glb"}, "format: "),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], told: str) -> None:
    """At the check, by name."""
    assert re.search(told, refusal(PLUGIN, settings))
