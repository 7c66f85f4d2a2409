"""Binary glTF: valid by the Khronos validator, and with the texture really inside."""

from __future__ import annotations

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from emulator_client import MORE_SAMPLES, SAMPLES, cube, glb_array, glb_image, glb_parts
from PIL import Image, ImageChops

from rodin_watchd.emulator.mesh_io import glb_bytes, read_model
from rodin_watchd.emulator.texture import Material, Mesh, project, relief, texture_image

ROOT = Path(__file__).parents[2]
VALIDATOR = "gltf-validator@2.0.0-dev.3.10"


def textured(model: str, image: str, material: Material = "PBR") -> bytes:
    """Texture a sample."""
    mesh = read_model((SAMPLES / model).read_bytes())
    return glb_bytes(project(mesh, texture_image((SAMPLES / image).read_bytes(), "Basic"), material))


@pytest.mark.timeout(110)
def test_the_khronos_validator_finds_no_fault(tmp_path: Path) -> None:
    """Samples, both materials, a relief and odd sizes: 0 errors and 0 warnings each."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed for the Khronos glTF validator")
    modules = ROOT / ".node"
    if not (modules / "node_modules" / "gltf-validator").is_dir():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--prefix", modules, VALIDATOR], check=True)
    odd = texture_image((MORE_SAMPLES / "react.webp").read_bytes(), "Basic")
    files = {
        "bunny": textured("bunny.glb", "matcap-a.png"),
        "suzi": textured("suzi.glb", "matcap-b.jpg", "Shaded"),
        "logo": textured("pmndrs.stl", "matcap-c.webp"),
        "relief": glb_bytes(project(relief(odd), odd, "Shaded")),
        "bare": glb_bytes(project(cube(), odd, "None")),
        "tiny": glb_bytes(project(Mesh(cube().positions * 1e-9, cube().faces), odd.resize((1, 3)), "PBR")),
        "large": glb_bytes(project(Mesh(cube().positions * 1e9 + 0.1, cube().faces), odd, "PBR")),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.glb").write_bytes(data)
    command: list[str | Path] = [
        node,
        ROOT / "tools" / "validate_gltf.mjs",
        modules,
        *(tmp_path / f"{name}.glb" for name in files),
    ]
    reports = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert len(reports) == len(files)
    for path, report in reports.items():
        assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0), report["issues"]
        assert report["info"]["drawCallCount"] == 1
        assert report["info"]["hasTextures"] is (Path(path).stem != "bare")


@pytest.mark.parametrize("image", ["matcap-a.png", "matcap-b.jpg", "matcap-c.webp"])
def test_the_texture_inside_is_the_image(image: str) -> None:
    """The decoded texture equals the decoded image, pixel for pixel."""
    with Image.open(SAMPLES / image) as sent:
        difference = ImageChops.difference(glb_image(textured("bunny.glb", image)), sent.convert("RGB"))
    assert difference.getbbox() is None


def test_the_arrays_inside_are_the_mesh() -> None:
    """Positions, normals and UVs are read back as they were, and the bounds are theirs."""
    mesh = project(cube(), Image.new("RGB", (3, 3), "red"), "PBR")
    data = glb_bytes(mesh)
    assert np.array_equal(glb_array(data, "POSITION"), mesh.positions)
    assert np.array_equal(glb_array(data, "NORMAL"), mesh.normals)
    assert np.array_equal(glb_array(data, "TEXCOORD_0"), mesh.uvs)
    assert np.array_equal(glb_array(data, "TANGENT")[:, :3], mesh.tangents)
    assert set(glb_array(data, "TANGENT")[:, 3].tolist()) == {1.0}
    accessor = glb_parts(data)[0]["accessors"][0]
    assert (accessor["min"], accessor["max"], accessor["count"]) == ([-1, -1, -1], [1, 1, 1], 36)


def test_materials_can_be_told_apart() -> None:
    """PBR reacts to light, Shaded is unlit, and both carry the texture as base colour."""
    documents = {}
    for material in ("PBR", "Shaded"):
        document, _ = glb_parts(glb_bytes(project(cube(), Image.new("RGB", (3, 3)), material)))
        documents[material] = document
        assert document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 0}
    assert "extensionsUsed" not in documents["PBR"]
    assert documents["Shaded"]["extensionsUsed"] == ["KHR_materials_unlit"]
    assert documents["Shaded"]["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}


def test_pbr_has_more_maps_than_the_base_colour() -> None:
    """Roughness in green and metallic in blue of one image, normals in another: bright is smooth, a grey that is bright is metal."""
    half = Image.new("RGB", (8, 8), "black")
    half.paste("white", (4, 0, 8, 8))
    data = glb_bytes(project(cube(), half, "PBR"))
    material = glb_parts(data)[0]["materials"][0]
    assert material["pbrMetallicRoughness"]["metallicRoughnessTexture"] == {"index": 1}
    assert material["normalTexture"] == {"index": 2}
    packed, normal = (np.asarray(glb_image(data, number)).astype(int) for number in (1, 2))
    (rough, dull), (smooth, metal) = packed[4, 1, 1:], packed[4, 6, 1:]
    assert (rough > smooth, dull, metal) == (True, 0, 255)
    assert normal[4, 1].tolist() == normal[4, 6].tolist() == [128, 128, 255]
    edge = normal[4, 4]
    assert edge[0] < 100  # it leans to the left, away from the bright side
    assert edge[1] == 128
    assert np.abs(np.linalg.norm(normal / 127.5 - 1, axis=2) - 1).max() < 0.02


def test_the_material_none_has_no_texture() -> None:
    """Such a model is a shape alone."""
    document, _ = glb_parts(glb_bytes(project(cube(), Image.new("RGB", (3, 3), "red"), "None")))
    assert not {"images", "textures", "samplers"} & document.keys()


def test_the_texture_is_png() -> None:
    """The image inside says that it is a PNG, and is."""
    data = textured("bunny.glb", "matcap-b.jpg")
    document, body = glb_parts(data)
    assert document["images"][0]["mimeType"] == "image/png"
    offset = document["bufferViews"][document["images"][0]["bufferView"]]["byteOffset"]
    assert Image.open(BytesIO(body[offset:])).format == "PNG"
