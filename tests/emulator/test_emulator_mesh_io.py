"""Reading models, and refusing what is none."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from emulator_client import CUBE, MORE_SAMPLES, SAMPLES, cube, glb, obj
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rodin_watchd.emulator import usdz
from rodin_watchd.emulator.mesh_io import model_files, model_format, read_model
from rodin_watchd.emulator.texture import Mesh, UnusableModelError, project

PLY = b"""ply
format ascii 1.0
element vertex 3
property float x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
0 2 0
3 0 1 2
"""
ASCII_STL = b"""solid x
facet normal 0 0 1
outer loop
vertex 0 0 0
vertex 1 0 0
vertex 0 2 0
endloop
endfacet
endsolid x
"""


def area(mesh: Mesh) -> float:
    """Give the surface of a mesh."""
    a, b, c = (mesh.positions[mesh.faces[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


@pytest.mark.parametrize("geometry_file_format", ["glb", "obj", "stl", "usdz"])
def test_a_model_survives_writing_and_reading(geometry_file_format: str) -> None:
    """What is written in a format is read back as the same surface."""
    if geometry_file_format == "usdz":
        pytest.importorskip("pxr", reason="OpenUSD is not installed")
    data = model_files(project(cube(), Image.new("RGB", (2, 2)), "PBR"), geometry_file_format)[0].data
    assert model_format(data) == geometry_file_format
    mesh = read_model(data)
    assert area(mesh) == pytest.approx(24)
    assert (mesh.positions.min(axis=0).tolist(), mesh.positions.max(axis=0).tolist()) == ([-1] * 3, [1] * 3)


@pytest.mark.parametrize(("data", "kind"), [(PLY, "ply"), (ASCII_STL, "stl"), (CUBE, "obj")])
def test_text_formats_are_told_and_read(data: bytes, kind: str) -> None:
    """PLY, text STL and OBJ are known by their content."""
    assert model_format(data) == kind
    assert area(read_model(data)) == pytest.approx(24 if kind == "obj" else 1)


@pytest.mark.parametrize(("name", "faces"), [("suzi.glb", 14842), ("bunny.glb", 5648), ("pmndrs.stl", 1552)])
def test_samples_are_read_whole(name: str, faces: int) -> None:
    """The samples have the faces that they are known to have."""
    assert len(read_model((SAMPLES / name).read_bytes()).faces) == faces


def test_nodes_are_placed_in_the_world() -> None:
    """A GLB's node transforms are applied."""
    data = glb(cube())
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    document["nodes"][0]["translation"] = [10, 0, 0]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    moved = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest
    assert read_model(moved).positions.min(axis=0).tolist() == [9, -1, -1]


def test_compressed_models_are_unusable() -> None:
    """A GLB that requires Draco names what it needs."""
    with pytest.raises(UnusableModelError, match="KHR_draco_mesh_compression"):
        read_model((MORE_SAMPLES / "suzi-draco.glb").read_bytes())


@pytest.mark.parametrize("data", [b"", b"PK", b"glTF", b"v", b"hello", b"\0" * 500, b"%PDF-1.7", b"{}"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    """Neither reading nor telling the format passes for these."""
    with pytest.raises(UnusableModelError):
        read_model(data)


@pytest.mark.parametrize("name", ["suzi.glb", "pmndrs.stl"])
@pytest.mark.parametrize("kept", [0.001, 0.3, 0.99])
def test_cut_models_are_unusable(name: str, kept: float) -> None:
    """A model of which the end is missing is never textured."""
    data = (SAMPLES / name).read_bytes()
    with pytest.raises(UnusableModelError):
        read_model(data[: int(len(data) * kept)])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([b"", b"glTF", b"ply\n", b"solid facet ", b"v 1 2 3\nf "]), st.binary(max_size=200))
def test_hostile_models_do_no_more_than_fail(magic: bytes, data: bytes) -> None:
    """Random bytes behind a good beginning are a mesh or an UnusableModelError, nothing else."""
    try:
        assert read_model(magic + data).faces.shape[1] == 3
    except UnusableModelError as error:
        assert str(error)  # noqa: PT017 - either end is right


def test_usdz_polygons_and_axes() -> None:
    """A USDZ that is z-up and made of four-cornered faces becomes y-up triangles."""
    pxr = pytest.importorskip("pxr", reason="OpenUSD is not installed")
    from pxr import Gf, Usd, UsdGeom  # noqa: PLC0415 - an optional extra

    assert pxr
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    shape = UsdGeom.Mesh.Define(stage, "/quad")
    shape.CreatePointsAttr([Gf.Vec3f(0, 0, 0), Gf.Vec3f(1, 0, 0), Gf.Vec3f(1, 0, 2), Gf.Vec3f(0, 0, 2)])
    shape.CreateFaceVertexCountsAttr([4])
    shape.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    shape.AddTranslateOp().Set(Gf.Vec3d(5, 0, 0))
    mesh = usdz.read_stage(stage)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.positions.max(axis=0).tolist() == [6, 2, 0]


def test_obj_text_is_only_read_as_geometry() -> None:
    """An OBJ that names a material file reads nothing from disk."""
    assert len(read_model(b"mtllib /etc/passwd\n" + obj(cube())).faces) == 12
