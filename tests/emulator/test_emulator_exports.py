"""OBJ, STL and USDZ results."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest
from emulator_client import cube
from PIL import Image, ImageChops

from rodin_watchd.emulator.mesh_io import MEDIA_TYPES, WRITERS, model_files
from rodin_watchd.emulator.texture import project

if TYPE_CHECKING:
    from pathlib import Path

    from rodin_watchd.emulator.texture import Material

MATERIALS: tuple[Material, ...] = ("PBR", "Shaded")
TEXTURES = {
    "PBR": [f"texture_{name}.png" for name in ("diffuse", "metallic", "normal", "roughness")],
    "Shaded": ["shaded.png"],
}
IMAGE = Image.radial_gradient("L").convert("RGB")


def files(geometry_file_format: str, material: Material = "PBR") -> dict[str, bytes]:
    """Write a textured cube."""
    written = model_files(project(cube(), IMAGE, material), geometry_file_format)
    assert all(file.media_type in MEDIA_TYPES.values() for file in written)
    return {file.name: file.data for file in written}


def test_obj_has_uvs_normals_and_its_texture_beside_it() -> None:
    """The OBJ names its MTL, the MTL its PNG, and the PNG is the image."""
    written = files("obj")
    lines = written["base.obj"].decode().splitlines()
    counts = {word: sum(line.startswith(word + " ") for line in lines) for word in ("v", "vt", "vn", "f")}
    assert counts == {"v": 36, "vt": 36, "vn": 36, "f": 12}
    assert "mtllib base.mtl" in lines
    maps = [line.split()[1] for line in written["base.mtl"].decode().splitlines() if line.startswith(("map_", "norm"))]
    assert maps == [f"texture_{name}.png" for name in ("diffuse", "roughness", "metallic", "normal")]
    assert written.keys() == {"base.obj", "base.mtl", "texture_pbr.png", *maps}
    assert ImageChops.difference(Image.open(BytesIO(written["texture_diffuse.png"])), IMAGE).getbbox() is None


def test_obj_counts_v_from_the_bottom() -> None:
    """The corner that shows the image's top left has v = 1 in an OBJ."""
    lines = files("obj")["base.obj"].decode().splitlines()
    points = [line for line in lines if line.startswith("v ")]
    texels = [line for line in lines if line.startswith("vt ")]
    normals = [line for line in lines if line.startswith("vn ")]
    front = [vt for v, vt, vn in zip(points, texels, normals, strict=True) if (v, vn) == ("v -1 1 1", "vn 0 0 1")]
    assert set(front) == {"vt 0 1"}


def test_obj_materials_can_be_told_apart() -> None:
    """Shaded asks for no light, PBR for light."""
    assert b"illum 0\nmap_Kd shaded.png" in files("obj", "Shaded")["base.mtl"]
    assert files("obj", "Shaded").keys() == {"base.obj", "base.mtl", "shaded.png"}
    assert files("obj", "None").keys() == {"base.obj", "base.mtl"}
    assert b"illum 2" in files("obj", "PBR")["base.mtl"]


def test_stl_has_fifty_bytes_for_each_face() -> None:
    """The count in the header, the length and the first normal are right."""
    data = files("stl")["base.stl"]
    assert struct.unpack_from("<I", data, 80) == (12,)
    assert len(data) == 84 + 50 * 12
    assert not data.startswith(b"solid")
    assert struct.unpack_from("<3f", data, 84) == (-1, 0, 0)


@pytest.mark.parametrize("material", MATERIALS)
def test_usdz_holds_the_scene_and_its_texture(material: Material) -> None:
    """The package is stored uncompressed, begins with the scene and holds the image."""
    pytest.importorskip("pxr", reason="OpenUSD is not installed")
    shown, *others = TEXTURES[material]
    with ZipFile(BytesIO(files("usdz", material)[f"base_basic_{material.lower()}.usdz"])) as package:
        assert package.namelist()[0] == "model.usdc"
        assert set(package.namelist()[1:]) == {shown, *others}
        assert {entry.compress_type for entry in package.infolist()} == {0}
        with package.open(shown) as texture:
            assert ImageChops.difference(Image.open(texture), IMAGE).getbbox() is None


def test_usdz_is_valid(tmp_path: Path) -> None:
    """OpenUSD's own validators find no fault in either material."""
    validation = pytest.importorskip("pxr.UsdValidation", reason="OpenUSD with its validators is not installed")
    from pxr import Tf, Usd  # noqa: PLC0415 - an optional extra

    try:
        validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    except Tf.ErrorException:
        pytest.skip("this OpenUSD was packed without the libraries of its validators, as 25.2 was")
    assert validators
    for material in MATERIALS:
        path = tmp_path / f"{material}.usdz"
        path.write_bytes(files("usdz", material)[f"base_basic_{material.lower()}.usdz"])
        errors = validation.ValidationContext(validators).Validate(Usd.Stage.Open(str(path)))
        assert [error.GetErrorAsString() for error in errors] == []


def test_the_writable_formats_are_those_of_the_contract_but_fbx() -> None:
    """Nothing can be asked for that is not written."""
    assert set(WRITERS) == {"glb", "usdz", "obj", "stl"}
