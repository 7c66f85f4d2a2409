"""`optimize_gltf`: smaller files by real programs, where they are installed, and by small ones that stand in their place."""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from refusing import refusal

from rodin_watchd.testing import Finished, OpenPlugin

PLUGIN = "rodin_watchd_plugins.optimize_gltf"
NODE_PROGRAMS = Path(__file__).parents[2] / ".node" / "node_modules" / ".bin"
NOWHERE = {"gltf_transform": "no-gltf-transform-here", "gltfpack": "no-gltfpack-here"}


def found(program: str) -> str | None:
    """Return where a program is, or that of `make` if there is a Node.js that runs it."""
    own = shutil.which(program, path=NODE_PROGRAMS) if shutil.which("node") else None
    return shutil.which(program) or own


GLTF_TRANSFORM, GLTFPACK = found("gltf-transform"), found("gltfpack")
needs_gltf_transform = pytest.mark.skipif(GLTF_TRANSFORM is None, reason="gltf-transform is not installed")
needs_gltfpack = pytest.mark.skipif(GLTFPACK is None, reason="gltfpack is not installed")


def document(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return a GLB's JSON and its binary part."""
    data = path.read_bytes()
    [length] = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def texture(path: Path) -> Image.Image:
    """Return the first texture of a GLB."""
    told, binary = document(path)
    view = told["bufferViews"][told["images"][0]["bufferView"]]
    start = view.get("byteOffset", 0)
    return Image.open(BytesIO(binary[start : start + view["byteLength"]]))


def made_smaller(rodin_plugin: OpenPlugin, job: Finished, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - the plugin's settings
    """Run the plugin on a finished result, and return what it tells."""
    facts: dict[str, Any] = rodin_plugin(PLUGIN, **settings).call("rodin_process", job=job.job, directory=job.directory)
    return facts


def stand_in(folder: Path, code: str) -> str:
    """Write a program that stands in for one that misbehaves."""
    path = folder / "stand-in"
    path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{code}\n")
    path.chmod(0o755)
    return str(path)


@needs_gltf_transform
def test_gltf_transform_makes_it_smaller(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """Geometry is compressed, the texture scaled and stored as WebP, the original untouched, the sizes told."""
    original = (rodin_finished.directory / "base_basic_pbr.glb").read_bytes()
    asked = {**NOWHERE, "texture_size": 128, "gltf_transform": GLTF_TRANSFORM}
    facts = made_smaller(rodin_plugin, rodin_finished, **asked)
    made = rodin_finished.directory / "base_basic_pbr.web.glb"
    assert "EXT_meshopt_compression" in document(made)[0]["extensionsRequired"]
    assert (texture(made).format, max(texture(made).size)) == ("WEBP", 128)
    assert (rodin_finished.directory / "base_basic_pbr.glb").read_bytes() == original
    [told] = facts["files"]
    assert facts["tool"] == "gltf-transform"
    assert (told["before_bytes"], told["after_bytes"]) == (len(original), made.stat().st_size)
    assert told["after_bytes"] * 10 < told["before_bytes"]
    assert told["saved_percent"] > 90


@needs_gltf_transform
def test_large_textures_need_no_more_memory_than_there_is(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """A model with all its textures, as large as the vendor makes them, within the limit that the service has without a word."""
    noise = np.random.default_rng(1).integers(0, 256, (3, 2048, 2048, 3), dtype=np.uint8)
    color, rough, normal = (Image.fromarray(part) for part in noise)
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=color, metallicRoughnessTexture=rough, normalTexture=normal
    )
    cube = trimesh.creation.box()
    cube.visual = trimesh.visual.TextureVisuals(uv=noise[0, 0, :8, :2] / 255, material=material)
    (rodin_finished.directory / "base_basic_pbr.glb").write_bytes(trimesh.Scene([cube]).export(file_type="glb"))
    facts = made_smaller(rodin_plugin, rodin_finished, **NOWHERE | {"gltf_transform": GLTF_TRANSFORM})
    assert facts["files"][0]["to"] == "base_basic_pbr.web.glb"
    assert len(document(rodin_finished.directory / "base_basic_pbr.web.glb")[0]["textures"]) == 3


def test_the_settings_are_tried_on_a_model_with_large_textures(rodin_plugin: OpenPlugin, tmp_path: Path) -> None:
    """A program that needs more memory or time for them than there is fails then, and not with the first result."""
    kept = tmp_path / "tried.glb"
    copy = f"data = pathlib.Path(sys.argv[2]).read_bytes(); pathlib.Path({str(kept)!r}).write_bytes(data)"
    done = "pathlib.Path(sys.argv[3]).write_bytes(data)"
    rodin_plugin(PLUGIN, **NOWHERE | {"gltf_transform": stand_in(tmp_path, f"{copy}\n{done}")})
    [shape] = trimesh.load_scene(kept).geometry.values()
    material = shape.visual.material
    textures = [material.baseColorTexture, material.metallicRoughnessTexture, material.normalTexture]
    assert [(texture.size, texture.mode) for texture in textures] == [((2048, 2048), "RGB")] * 3
    assert len({texture.tobytes() for texture in textures}) == 3


@needs_gltf_transform
def test_it_may_take_the_original_s_place(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """Then there is one file, with Draco here; textures as they are stay PNG and keep their size."""
    before = texture(rodin_finished.directory / "base_basic_pbr.glb").size
    asked = {"output": "{stem}.glb", "compression": "draco", "texture_format": "keep", "texture_size": 0}
    tool = {**NOWHERE, "gltf_transform": GLTF_TRANSFORM}
    [told] = made_smaller(rodin_plugin, rodin_finished, **tool, **asked)["files"]
    assert told["to"] == "base_basic_pbr.glb"
    assert [path.name for path in rodin_finished.directory.glob("*.glb")] == ["base_basic_pbr.glb"]
    kept = rodin_finished.directory / "base_basic_pbr.glb"
    assert "KHR_draco_mesh_compression" in document(kept)[0]["extensionsRequired"]
    assert (texture(kept).format, texture(kept).size) == ("PNG", before)


@needs_gltfpack
def test_gltfpack_makes_it_smaller(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """It compresses with meshopt; `auto` takes it when gltf-transform is not there; names are kept."""
    asked = {"texture_format": "keep", "texture_size": 0, "gltfpack": GLTFPACK}
    facts = made_smaller(rodin_plugin, rodin_finished, **{**NOWHERE, **asked})
    made = document(rodin_finished.directory / "base_basic_pbr.web.glb")[0]
    assert facts["tool"] == "gltfpack"
    assert "EXT_meshopt_compression" in made["extensionsRequired"]
    assert [material["name"] for material in made["materials"]] == ["PBR"]
    assert facts["files"][0]["saved_percent"] > 50


@needs_gltfpack
def test_done_again_it_makes_the_same(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """Its own files are not made smaller once more; a repeated call writes the same."""
    asked = {**NOWHERE, "texture_format": "keep", "texture_size": 0, "gltfpack": GLTFPACK}
    first = made_smaller(rodin_plugin, rodin_finished, **asked)
    assert made_smaller(rodin_plugin, rodin_finished, **asked) == first
    assert sorted(path.name for path in rodin_finished.directory.glob("*.glb")) == [
        "base_basic_pbr.glb",
        "base_basic_pbr.web.glb",
    ]


def test_a_file_that_would_not_shrink_is_not_written(
    rodin_plugin: OpenPlugin, rodin_finished: Finished, tmp_path: Path
) -> None:
    """And the receipt says so."""
    copy = "pathlib.Path(sys.argv[3]).write_bytes(pathlib.Path(sys.argv[2]).read_bytes())"
    asked = {**NOWHERE, "gltf_transform": stand_in(tmp_path, copy)}
    [told] = made_smaller(rodin_plugin, rodin_finished, **asked)["files"]
    size = (rodin_finished.directory / "base_basic_pbr.glb").stat().st_size
    assert told == {
        "from": "base_basic_pbr.glb",
        "before_bytes": size,
        "kept": "it would not become smaller",
        "would_be_bytes": size,
    }
    assert not (rodin_finished.directory / "base_basic_pbr.web.glb").exists()


def test_a_result_without_glb_says_so(rodin_plugin: OpenPlugin, rodin_finished: Finished, tmp_path: Path) -> None:
    """That is no failure."""
    (rodin_finished.directory / "base_basic_pbr.glb").unlink()
    copy = "pathlib.Path(sys.argv[3]).write_bytes(pathlib.Path(sys.argv[2]).read_bytes())"
    facts = made_smaller(rodin_plugin, rodin_finished, **{**NOWHERE, "gltf_transform": stand_in(tmp_path, copy)})
    assert facts == {"nothing": "the result holds no GLB file"}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("print('no licence'); sys.exit(3)", r"failed \(exit code 3\): no licence"),
        ("import os; os.abort()", "ended by signal 6"),
        ("pass", "left no whole GLB file behind"),
        ("pathlib.Path(sys.argv[3]).write_bytes(b'glTF' + bytes(16))", "left no whole GLB file behind"),
    ],
)
def test_a_program_that_does_not_do_it_is_told_at_the_start(tmp_path: Path, code: str, told: str) -> None:
    """Every way of failing, before the first result is there."""
    assert re.search(told, refusal(PLUGIN, {**NOWHERE, "gltf_transform": stand_in(tmp_path, code)}))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (NOWHERE, "npm install --global @gltf-transform/cli.*npm install --global gltfpack"),
        ({**NOWHERE, "tool": "gltfpack", "compression": "draco"}, "no-gltfpack-here is not there"),
        ({"arguments": ["-si", "0.5"]}, "arguments are for one program"),
        ({"output": "../{stem}.glb"}, "output: "),
        ({"texture_size": -1}, "texture_size: "),
        ({"compression": "zip"}, "compression: "),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], told: str) -> None:
    """With the command that mends it, or the key."""
    assert re.search(told, refusal(PLUGIN, settings))


@needs_gltfpack
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"compression": "draco"}, "it takes gltf-transform"),
        ({"texture_format": "keep"}, "set texture_format, or texture_size = 0"),
    ],
)
def test_what_gltfpack_cannot_do_is_told(settings: dict[str, object], told: str) -> None:
    """Nothing that was asked for is left out in silence."""
    assert re.search(told, refusal(PLUGIN, {"tool": "gltfpack", "gltfpack": GLTFPACK, **settings}))
