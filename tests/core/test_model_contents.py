"""Whether a model can become a textured one, by all of its content."""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rodin_watchd.core.formats import examine, probe
from rodin_watchd.core.formats.source import FileVerdict, Wholeness
from rodin_watchd.model import MODEL_LIMIT_BYTES

SAMPLES = Path(__file__).parents[1] / "samples"
PAGE = 4096
WHOLE, UNFINISHED, UNDECIDED, WRONG = Wholeness.WHOLE, Wholeness.UNFINISHED, Wholeness.UNDECIDED, Wholeness.WRONG
FBX_FOOTER = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")


def judged(extension: str, data: bytes) -> FileVerdict:
    """Examine some bytes as a file, and check what holds for every verdict."""
    verdict = examine(extension, io.BytesIO(data), len(data))
    assert (verdict.detail == "") == (verdict.wholeness is WHOLE)
    for text in (verdict.detail, *verdict.warnings):
        assert text.isprintable()
        assert len(text) < 200
    return verdict


EXPORTS = {
    path.name: path.read_bytes()
    for folder in (SAMPLES, SAMPLES / "exporters")
    for path in sorted(folder.iterdir())
    if path.suffix in {".glb", ".obj", ".stl", ".fbx", ".usdz"}
}
each_export = pytest.mark.parametrize("name", EXPORTS)


# ---- What programs write --------------------------------------------------------------------------------------------


@each_export
def test_what_programs_export_is_taken(name: str) -> None:
    """No model of a real exporter is refused; where the end cannot be proven, time decides."""
    verdict = judged(Path(name).suffix, EXPORTS[name])
    is_unproven = name.endswith(".obj") or name == "blender-bone.glb"
    assert verdict.wholeness is (UNDECIDED if is_unproven else WHOLE), verdict


def places(size: int, number: int) -> Iterator[int]:
    """Choose places in a file of this size, always the same ones."""
    chosen = random.Random(size)  # noqa: S311 - no secret
    return (chosen.randrange(1, size) for _ in range(number))


@each_export
def test_no_cut_model_is_whole(name: str) -> None:
    """A copy that broke off is recognised; of an OBJ and a text that ends with a line that cannot be."""
    extension, data = Path(name).suffix, EXPORTS[name]
    seen = {judged(extension, data[:cut]).wholeness for cut in places(len(data), 60)}
    assert seen <= ({UNFINISHED, UNDECIDED} if extension == ".obj" else {UNFINISHED})


@each_export
def test_no_half_filled_model_is_whole(name: str) -> None:
    """A copy that has its full size, and zeros from any byte on."""
    extension, data = Path(name).suffix, EXPORTS[name]
    seen = {judged(extension, data[:cut] + bytes(len(data) - cut)).wholeness for cut in places(len(data) - 64, 60)}
    assert seen <= ({UNFINISHED, UNDECIDED} if extension == ".glb" else {UNFINISHED})
    assert UNFINISHED in seen


@each_export
def test_no_model_with_a_hole_is_whole(name: str) -> None:
    """A copy whose pages came in another order, or that has holes."""
    extension, data = Path(name).suffix, EXPORTS[name]
    for start in range(0, len(data) - PAGE, PAGE):
        holed = data[:start] + bytes(PAGE) + data[start + PAGE :]
        verdict = judged(extension, holed)
        assert verdict.wholeness is UNFINISHED or (name == "blender-bone.glb" and verdict.wholeness is UNDECIDED)


# ---- What programs write beyond the letter of the formats -----------------------------------------------------------


CUBE = (
    "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
    + "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\n"
).encode()
FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
FACETS = f"solid chair leg\n{FACET * 3}".encode()
FACES = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\n"


def binary_stl(some: bytes, after: int = 50) -> bytes:
    """Make a binary STL with some triangles of other bytes between good ones."""
    triangle = bytes(12) + b"\x3f" * 36 + bytes(2)
    return bytes(80) + struct.pack("<I", 50 + after + len(some) // 50) + triangle * 50 + some + triangle * after


TAKEN = {
    "a zero behind the last line (ZBrush)": (".obj", CUBE + b"\n\n\0"),
    "a zero and a line end behind the last line (ZBrush)": (".obj", CUBE + b"\n\n\0\n"),
    "the end mark of DOS": (".obj", CUBE + b"\x1a"),
    "line ends of Windows": (".obj", CUBE.replace(b"\n", b"\r\n")),
    "line ends of old Macs": (".obj", CUBE.replace(b"\n", b"\r")),
    "a byte order mark": (".obj", b"\xef\xbb\xbf" + CUBE),
    "only a byte order mark before the first vertex": (".obj", b"\xef\xbb\xbf" + FACES + b"f 1 2 3\n"),
    "indented lines": (".obj", CUBE.replace(b"\n", b"\n\t  ")),
    "long comments first": (".obj", b"# nothing yet\n" * 30_000 + CUBE),
    "faces before vertices": (".obj", b"f 1 2 3\n" + FACES),
    "faces far from the ends": (".obj", FACES + b"f 1 2 3\n" + b"# and so on\n" * 30_000),
    "lines that go on": (".obj", FACES + b"f 1 \\\n 2 \\\r\n 3\n"),
    "relative numbers": (".obj", FACES + b"f -3 -2 -1\nf -3/-1 -2/-1 -1/-1\nf -3//-1 -2//-1 -1//-1\n"),
    "texture points and normals": (
        ".obj",
        FACES + b"f 1/1/1 2/1/1 3/1/1\nf 1/1 2/1 3/1\nf 1//1 2//1 3//1\nf 1/1/ 2/1/ 3/1/",
    ),
    "texture points that are not written": (".obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/7/9 2/7/9 3/7/9\n"),
    "a comment behind a face": (".obj", FACES + b"f 1 2 3 # of 12\n"),
    "faces by their old name": (".obj", FACES + b"fo 1 2 3\n"),
    "colours of vertices": (".obj", b"v 0 0 0 1 1 1\nv 1 0 0 0 0 0\nv 0 1 0 1 0 0\nf 1 2 3\n"),
    "a Windows path in a comment": (".obj", b"v 0 0 0\n# from C:\\models\\\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "a name in Shift-JIS": (".obj", "o 机の表\n".encode("shift-jis") + CUBE),
    "names in Latin-1": (".obj", b"o K\xf6rper\n" + CUBE),
    "control characters in a comment": (".obj", b"# \x07\n" + CUBE),
    "control characters in a comment behind a face": (".obj", FACES + b"f 1 2 3 # \x07\xff\n"),
    "control characters in a name": (".obj", CUBE + b"o \x01\n"),
    "tags and braces in comments and names": (".obj", CUBE + b'# <html>\n# {"a": 1}\ng <none>\nusemtl {"a": 1}\n'),
    "tabs": (".obj", CUBE.replace(b" ", b"\t")),
    "end solid, as two words": (".stl", FACETS + b"end solid chair leg\n"),
    "a comment behind the end": (".stl", FACETS + b"endsolid chair leg\n; 3 facets, made by hand\n"),
    "a zero behind the end": (".stl", FACETS + b"endsolid chair leg\n\0"),
    "the end mark of DOS behind the end": (".stl", FACETS + b"endsolid chair leg\r\n\x1a"),
    "a byte order mark before solid": (".stl", b"\xef\xbb\xbf" + FACETS + b"endsolid chair leg\n"),
    "capitals": (".stl", FACETS.upper() + b"ENDSOLID\n"),
    "an end without a name": (".stl", FACETS + b"endsolid\n"),
    "no name, and no line end": (".stl", FACETS.replace(b" chair leg", b"") + b"endsolid"),
    "the full name, and no line end": (".stl", FACETS + b"endsolid chair leg"),
    "words of its own in the name": (
        ".stl",
        FACETS.replace(b"chair", b"endloop vertex") + b"endsolid endloop vertex leg\n",
    ),
    "end facet, as two words": (".stl", FACETS.replace(b"endf", b"end f").replace(b"endl", b"end l") + b"endsolid\n"),
    "all in a line": (".stl", FACETS.replace(b"\n", b" ") + b"\nendsolid\n"),
    "several solids": (".stl", 2 * (FACETS + b"endsolid chair leg\n")),
    "control characters in the name": (".stl", FACETS.replace(b"chair leg", b"\x01\x02") + b"endsolid\n"),
    "a long comment before the first facet": (
        ".stl",
        FACETS.replace(b"leg\n", b"leg\n" + b"; so\n" * 1200) + b"endsolid\n",
    ),
    "a binary STL that begins with solid": (
        ".stl",
        b"solid part".ljust(80) + struct.pack("<I", 2) + b"\x01" * 100,
    ),
    "tags in the name": (".stl", FACETS.replace(b"chair leg", b"<html>") + b"endsolid <html>\n"),
    "a triangle that is none": (".stl", binary_stl(b"\xff" * 50)),
    "normals and attributes that are no numbers": (
        ".stl",
        binary_stl((b"\xff" * 12 + b"\x3f" * 36 + b"\xff" * 2) * 82),
    ),
    "normals of zero": (".stl", bytes(80) + struct.pack("<I", 50) + (bytes(12) + b"\x3f" * 36 + bytes(2)) * 50),
}


@pytest.mark.parametrize("case", TAKEN)
def test_habits_of_programs_are_taken(case: str) -> None:
    """What real exporters write, though no standard says so."""
    extension, data = TAKEN[case]
    verdict = judged(extension, data)
    assert verdict.wholeness is (UNDECIDED if extension == ".obj" else WHOLE), verdict


# ---- GLB ------------------------------------------------------------------------------------------------------------


TRIANGLE = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + struct.pack("<3H", 0, 1, 2)
SCENE: Mapping[str, Any] = {
    "asset": {"version": "2.0"},
    "buffers": [{"byteLength": 42}],
    "bufferViews": [
        {"buffer": 0, "byteLength": 36},
        {"buffer": 0, "byteOffset": 36, "byteLength": 6},
    ],
    "accessors": [
        {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"},
    ],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
}


def glb(scene: object, data: bytes = TRIANGLE) -> bytes:
    """Make a GLB file."""
    text = (scene if isinstance(scene, str) else json.dumps(scene)).encode("utf-8", "surrogateescape")
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    if data:
        data += bytes(-len(data) % 4)
        body += struct.pack("<I4s", len(data), b"BIN\0") + data
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def primitive(**changes: object) -> dict[str, Any]:
    """Return the scene with a primitive like this."""
    return {**SCENE, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, **changes}]}]}


def with_view(number: int, **changes: object) -> dict[str, Any]:
    """Return the scene with a changed buffer view."""
    views = [dict(view) for view in SCENE["bufferViews"]]
    views[number] |= changes
    return {**SCENE, "bufferViews": views}


def with_accessor(number: int, **changes: object) -> dict[str, Any]:
    """Return the scene with a changed accessor."""
    accessors = [dict(accessor) for accessor in SCENE["accessors"]]
    accessors[number] |= changes
    return {**SCENE, "accessors": accessors}


DATA_URI = "data:application/octet-stream;base64," + "AAAA" * 14
PACKED = {"EXT_meshopt_compression": {"buffer": 0, "byteLength": 6, "count": 3, "byteStride": 12}}
SPARSE = {"count": 1, "indices": {"bufferView": 1, "componentType": 5123}, "values": {"bufferView": 0}}

TAKEN_GLB = {
    "a triangle": glb(SCENE),
    "without indices": glb(primitive()),
    "a strip": glb(primitive(mode=5, indices=1)),
    "a fan": glb(primitive(mode=6, indices=1)),
    "numbers as C# writes them": glb(json.dumps(SCENE).replace("42", "42.0")),
    "a byte order mark": glb("\ufeff" + json.dumps(SCENE)),
    "names in Latin-1": glb(json.dumps({**SCENE, "nodes": [{"name": "@"}]}).replace("@", "\udcfc")),
    "its JSON part is filled up with zeros": glb(json.dumps(SCENE) + "\0\0\0"),
    "no BIN part, all in the text": glb({**SCENE, "buffers": [{"byteLength": 42, "uri": DATA_URI}]}, b""),
    "a mesh that no node shows": glb({**SCENE, "nodes": [{}]}),
    "points and triangles": glb(
        {**SCENE, "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}, *SCENE["meshes"]]}
    ),
    "a sparse accessor": glb(with_accessor(0, sparse=SPARSE)),
    "an accessor that is nothing but sparse": glb(
        {
            **SCENE,
            "accessors": [{"componentType": 5126, "count": 3, "type": "VEC3", "sparse": SPARSE}, SCENE["accessors"][1]],
        }
    ),
    "a packed view into a place without data": glb(
        {
            **with_view(0, buffer=1, extensions=PACKED),
            "buffers": [
                {"byteLength": 42},
                {"byteLength": 36, "extensions": {"EXT_meshopt_compression": {"fallback": True}}},
            ],
        },
        b"\xa0" + TRIANGLE[1:],
    ),
    "an animation and a skin": glb(
        {
            **SCENE,
            "skins": [{"joints": [0], "inverseBindMatrices": 0}],
            "animations": [
                {
                    "samplers": [{"input": 0, "output": 0}],
                    "channels": [{"sampler": 0, "target": {"path": "rotation"}}],
                }
            ],
        }
    ),
}


@pytest.mark.parametrize("case", TAKEN_GLB)
def test_forms_of_glb_are_taken(case: str) -> None:
    """Each way to say a mesh that glTF allows, and some that it does not."""
    verdict = judged(".glb", TAKEN_GLB[case])
    assert verdict.wholeness is WHOLE, verdict


DAMAGED = "this is a damaged GLB model"
HOPELESS_GLB = {
    "no mesh": (glb({"asset": {"version": "2.0"}}, b""), "it holds no mesh with triangles"),
    "an empty mesh": (glb({**SCENE, "meshes": [{"primitives": []}]}), "it holds no mesh with triangles"),
    "points": (glb(primitive(mode=0)), "it holds points only"),
    "lines": (glb(primitive(mode=3)), "it holds lines only"),
    "two points": (
        glb({**primitive(), "accessors": with_accessor(0, count=2)["accessors"]}),
        "it holds no mesh with triangles",
    ),
    "no places": (glb(primitive(attributes={"NORMAL": 0})), "it holds no mesh with triangles"),
    "all points at one place": (
        glb(SCENE, TRIANGLE[12:24] * 3 + TRIANGLE[36:]),
        "all points of its mesh are at the same place",
    ),
    "places without data": (
        glb({**SCENE, "accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}, SCENE["accessors"][1]]}),
        "all points of its mesh are at the same place",
    ),
    "a mesh in another file": (
        glb({**SCENE, "buffers": [{"byteLength": 42, "uri": "chair.bin"}]}),
        "its mesh is in another file, “chair.bin”: export it as one .glb with everything inside",
    ),
    "a mesh in another file without a name": (
        glb({**SCENE, "buffers": [{"byteLength": 42, "uri": ""}]}),
        "its mesh is in another file, whose name is missing: export it as one .glb with everything inside",
    ),
    "a point that is no number": (
        glb(SCENE, TRIANGLE[:8] + struct.pack("<f", float("nan")) + TRIANGLE[12:]),
        f"{DAMAGED}: some of its points are no numbers",
    ),
    "points that are no numbers": (
        glb(SCENE, b"\xff" * 36 + TRIANGLE[36:]),
        f"{DAMAGED}: some of its points are no numbers",
    ),
    "an infinite point between others": (
        glb(
            {
                **with_view(0, byteStride=16, byteLength=44),
                "buffers": [{"byteLength": 48}],
                "meshes": primitive()["meshes"],
            },
            b"".join(
                struct.pack("<3fI", *place, 0xFFFFFFFF) for place in ((0, 0, 0), (1, 0, 0), (0, float("-inf"), 0))
            ),
        ),
        f"{DAMAGED}: some of its points are no numbers",
    ),
    "a file with a very long name": (
        glb({**SCENE, "buffers": [{"byteLength": 42, "uri": "a" * 9000}]}),
        "its mesh is in another file, “aaa",
    ),
    "a buffer that is nowhere": (
        glb({**SCENE, "buffers": [{"byteLength": 42}]}, b""),
        "some of its data is not in the file",
    ),
    "a second buffer that is nowhere": (
        glb({**with_view(1, buffer=1), "buffers": [{"byteLength": 42}, {"byteLength": 99}]}),
        "some of its data is not in the file",
    ),
    "a buffer that is too long": (
        glb({**SCENE, "buffers": [{"byteLength": 4200}]}),
        f"{DAMAGED}: it has 44 of 4,200 bytes of its data",
    ),
    "too little data in the text": (
        glb({**SCENE, "buffers": [{"byteLength": 43, "uri": DATA_URI}]}, b""),
        f"{DAMAGED}: it refers to data behind",
    ),
    "a view behind the end": (glb(with_view(1, byteOffset=40)), f"{DAMAGED}: it refers to data behind its end"),
    "a packed view behind the end": (
        glb(with_view(0, extensions={"EXT_meshopt_compression": {"buffer": 0, "byteLength": 99}})),
        f"{DAMAGED}: it refers to data behind its end",
    ),
    "an accessor behind the end": (glb(with_accessor(0, count=4)), f"{DAMAGED}: it refers to data behind its end"),
    "a sparse accessor behind the end": (
        glb(with_accessor(0, sparse={**SPARSE, "count": 4})),
        f"{DAMAGED}: it refers to data behind its end",
    ),
    "an index behind the end": (
        glb(SCENE, TRIANGLE[:-1] + b"\1"),
        f"{DAMAGED}: its triangles use points that it does not have",
    ),
    "a view that is not there": (
        glb(with_accessor(0, bufferView=7)),
        f"{DAMAGED}: its JSON part does not follow glTF 2.0",
    ),
    "an accessor that is not there": (glb(primitive(indices=9)), f"{DAMAGED}: its JSON part does not follow glTF 2.0"),
    "an unknown kind of number": (
        glb(with_accessor(0, componentType=5127)),
        f"{DAMAGED}: it has data of an unknown type",
    ),
    "JSON that breaks off": (glb('{"asset":'), f"{DAMAGED}: its JSON part cannot be read"),
    "JSON that is no object": (glb("[]"), f"{DAMAGED}: its JSON part is no object"),
    "numbers in the place of meshes": (
        glb({**SCENE, "meshes": [1, 2]}),
        f"{DAMAGED}: its JSON part does not follow glTF 2.0",
    ),
    "a number in the place of attributes": (
        glb(primitive(attributes=3)),
        f"{DAMAGED}: its JSON part does not follow glTF 2.0",
    ),
    "a negative count": (glb(with_accessor(0, count=-1)), f"{DAMAGED}: its JSON part does not follow glTF 2.0"),
    "an infinite count": (
        glb(json.dumps(SCENE).replace('"count": 3', '"count": 1e999', 1)),
        f"{DAMAGED}: its JSON part",
    ),
    "JSON of brackets": (glb("[" * 90_000), f"{DAMAGED}: its JSON part cannot be read"),
}


@pytest.mark.parametrize("case", HOPELESS_GLB)
def test_a_glb_without_a_model_is_named(case: str) -> None:
    """People read what their file lacks."""
    data, detail = HOPELESS_GLB[case]
    verdict = judged(".glb", data)
    assert verdict.wholeness is WRONG
    assert verdict.detail.startswith(detail)


def test_zeros_in_a_small_glb_are_what_a_copy_has_not_filled() -> None:
    """In its JSON part, or in the place of all points."""
    data = bytearray(glb(SCENE))
    data[60:90] = bytes(30)
    assert judged(".glb", bytes(data)).wholeness is UNFINISHED
    assert judged(".glb", glb(SCENE, bytes(36) + TRIANGLE[36:])).wholeness is UNFINISHED


def test_what_the_vendor_may_not_read_is_a_warning() -> None:
    """A needed extension refuses nothing; those that no program needs for the mesh are not worth a word."""
    needs = ["KHR_draco_mesh_compression", "KHR_texture_basisu", "KHR_materials_unlit", "KHR_mesh_quantization", 7]
    images = [{"uri": "wood.png"}, {"uri": "data:image/png;base64,AA"}]
    verdict = judged(".glb", glb({**SCENE, "extensionsRequired": needs, "images": images}))
    advice = "which the vendor may not be able to read; if the job fails, export the model without it"
    assert verdict == FileVerdict(
        WHOLE,
        "",
        (
            f"it needs KHR_draco_mesh_compression, {advice}",
            f"it needs KHR_texture_basisu, {advice}",
            "its picture is in another file, “wood.png”, and is not sent",
        ),
    )


def test_what_a_model_needs_without_saying_so_is_a_warning_too() -> None:
    """A packed mesh without a plain one next to it."""
    packed = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    plain = glb(primitive(extensions=packed))
    assert judged(".glb", plain) == FileVerdict(WHOLE)
    accessors = [{"componentType": 5126, "count": 3, "type": "VEC3"}]
    needy = glb({**primitive(extensions=packed), "accessors": accessors})
    assert [warning.partition(",")[0] for warning in judged(".glb", needy).warnings] == [
        "it needs KHR_draco_mesh_compression"
    ]


# ---- OBJ, STL, FBX and USDZ -----------------------------------------------------------------------------------------


def usdz(members: Mapping[str, bytes], *, packed: Mapping[str, bytes] | None = None, stream: bool = False) -> bytes:
    """Make a USDZ package, with some files that are packed; as a stream, with the sizes behind the files."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return not stream

        def seek(self, offset: int, whence: int = 0, /) -> int:
            if stream:
                raise io.UnsupportedOperation
            return super().seek(offset, whence)

        def tell(self) -> int:
            if stream:
                raise io.UnsupportedOperation
            return super().tell()

    made = Stream()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        for name, data in (packed or {}).items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def flagged(data: bytes, flag: int) -> bytes:
    """Set a flag of the first file in a package."""
    made = bytearray(data)
    made[6] |= flag
    made[data.index(b"PK\x01\x02") + 8] |= flag
    return bytes(made)


MESH = b'#usda 1.0\ndef Xform "Chair" {\n  def Mesh "Leg" {\n    point3f[] points = [(0, 0, 0)]\n  }\n}\n'
TEXT_FBX = (
    b"; FBX 7.3.0 project file\n; not a brace: {\nFBXHeaderExtension:  {\n\tFBXVersion: 7300\n}\n"
    b'Objects:  {\n\tGeometry: 1, "Geometry::{", "Mesh" {\n\t\tVertices: *9 {\n\t\t\ta: 0,0,0,1,0,0,0,1,0\n\t\t}\n'
    b"\t\tPolygonVertexIndex: *3 {\n\t\t\ta: 0,1,-3\n\t\t}\n\t}\n}\n"
    b'Connections:  {\n\tC: "OO",1,0\n}\n'
)
TAKES = b'Takes:  {\n\tCurrent: ""\n}\n'

OTHERS = {
    "an OBJ without faces": (".obj", FACES, UNFINISHED, "it has no faces (lines that begin with f)"),
    "an OBJ of lines": (
        ".obj",
        FACES + b"l 1 2 3\np 1\n" + b"#\n" * 40_000,
        UNFINISHED,
        "it holds lines and points only, and no faces",
    ),
    "an OBJ of comments": (".obj", b"# talk\n" * 20_000, UNFINISHED, "it has no vertices (lines that begin with v)"),
    "faces of two corners": (".obj", FACES + b"f 1 2\n", UNFINISHED, "it has no faces (lines that begin with f)"),
    "a face that is cut": (".obj", FACES + b"f 1 2 3\nf 1 2", UNFINISHED, "its last line is cut"),
    "a vertex that is cut": (".obj", FACES + b"f 1 2 3\nv 0.5 1", UNFINISHED, "its last line is cut"),
    "a vertex that is not there": (
        ".obj",
        FACES + b"f 1 2 4\n",
        UNFINISHED,
        "a face names number 4 of its 3 lines that begin with v",
    ),
    "a vertex that is far away": (".obj", FACES + b"f 1 2 -14\n", UNFINISHED, "a face names number 14 of its 3 lines"),
    "a texture point that is not there": (
        ".obj",
        FACES + b"f 1/1 2/2 3/1\n",
        UNFINISHED,
        "a face names number 2 of its 1 lines that begin with vt",
    ),
    "a normal that is not there": (
        ".obj",
        FACES + b"f 1//1 2//1 3//2\n",
        UNFINISHED,
        "a face names number 2 of its 1 lines that begin with vn",
    ),
    "vertices counted from 0": (
        ".obj",
        FACES + b"f 0 1 2\n",
        WRONG,
        "its faces name vertex 0; in an OBJ the first one is 1",
    ),
    "a zero within a line": (".obj", FACES + b"f 1\0 2 3\n", UNFINISHED, "it has zeros from byte "),
    "zeros in the middle": (".obj", FACES + bytes(5000) + b"\nf 1 2 3\n", UNFINISHED, "it has zeros from byte "),
    "two zeros at the end": (".obj", CUBE + b"\0\0", UNFINISHED, "its last bytes have not been written yet"),
    "an OBJ in UTF-16": (".obj", CUBE.decode().encode("utf-16"), WRONG, "it is saved as UTF-16 text"),
    "an OBJ in UTF-16 without a mark": (".obj", CUBE.decode().encode("utf-16-be"), WRONG, "it is saved as UTF-16 text"),
    "an OBJ with a web page behind it": (".obj", CUBE + b"<html>504</html>", WRONG, "a web page is in it"),
    "an OBJ that goes on as a web page": (
        ".obj",
        CUBE[:-3] + b"<!DOCTYPE html>\n<head>\n",
        WRONG,
        "a web page is in it, because its download broke off: download it again",
    ),
    "an OBJ with a web page in it": (
        ".obj",
        CUBE[:20] + b'<?xml version="1.0"?>\n<Error/>' + CUBE[20:],
        WRONG,
        "a web page is in it",
    ),
    "an OBJ that goes on as an error message": (
        ".obj",
        CUBE[:-3] + b'{"error": {"code": 503}}\n',
        WRONG,
        "a server's error message is in it",
    ),
    "an OBJ with other bytes in its middle": (
        ".obj",
        CUBE[:20] + b"\xff" * 100 + CUBE[20:],
        UNFINISHED,
        "it has a line of other characters than numbers, around byte 2",
    ),
    "a text STL with a web page behind it": (
        ".stl",
        FACETS + b"endsolid\n<HTML>504</HTML>\n",
        WRONG,
        "a web page is in it",
    ),
    "a text STL with an error message behind it": (
        ".stl",
        FACETS + b'endsolid\n{\n  "error": 1\n}\n',
        WRONG,
        "a server's error message is in it",
    ),
    "a text FBX with a web page behind it": (
        ".fbx",
        TEXT_FBX + TAKES + b'<html lang="en">504</html>',
        WRONG,
        "a web page is in it",
    ),
    "a text FBX with an error message behind it": (
        ".fbx",
        TEXT_FBX + TAKES + b'{"error": 1}',
        WRONG,
        "a server's error message is in it",
    ),
    "a text FBX with a tag in a text": (".fbx", TEXT_FBX.replace(b"Geometry::{", b"<html>") + TAKES, WHOLE, ""),
    "a binary STL with other bytes in its middle": (
        ".stl",
        binary_stl(b"\xff" * 4100),
        UNFINISHED,
        "its points from byte 2,584 on are no numbers",
    ),
    "a binary STL with noise in its middle": (
        ".stl",
        binary_stl(random.Random(1).randbytes(4100)),  # noqa: S311 - no secret
        UNFINISHED,
        "its points from byte ",
    ),
    "a binary STL whose last bytes are zeros, and alone in their page": (
        ".stl",
        binary_stl(b"", 1341),
        UNDECIDED,
        "its last bytes are zeros",
    ),
    "an STL in UTF-16": (
        ".stl",
        (FACETS + b"endsolid\n").decode().encode("utf-16"),
        WRONG,
        "it is saved as UTF-16 text",
    ),
    "an FBX in UTF-16": (".fbx", (TEXT_FBX + TAKES).decode().encode("utf-16"), WRONG, "it is saved as UTF-16 text"),
    "an STL without its end": (".stl", FACETS, UNFINISHED, "its last line, “endsolid”, is missing"),
    "an STL whose second solid breaks off": (
        ".stl",
        FACETS + b"endsolid\n" + FACETS,
        UNFINISHED,
        "its last line, “endsolid”, is missing",
    ),
    "an STL whose second solid begins": (
        ".stl",
        FACETS + b"endsolid\nsolid b\n",
        UNFINISHED,
        "its last line, “endsolid”, is missing",
    ),
    "an STL whose end is not sure": (".stl", FACETS + b"endsolid chair", UNDECIDED, "its last line may be incomplete"),
    "an STL with zeros behind a solid": (
        ".stl",
        FACETS + b"endsolid\n" + bytes(900),
        UNFINISHED,
        "its last bytes have not been written yet",
    ),
    "an STL with zeros in the middle": (
        ".stl",
        FACETS + bytes(9) + b"\nendsolid\n",
        UNFINISHED,
        "it has zeros from byte ",
    ),
    "an STL that lacks a part of its middle": (
        ".stl",
        FACETS.replace(b"vertex 1 0 0\n", b"", 1) + b"endsolid\n",
        UNFINISHED,
        "parts of its triangles are missing",
    ),
    "an STL with blanks in the place of a part": (
        ".stl",
        FACETS.replace(b"endloop\nendfacet", b" " * 16, 1) + b"endsolid\n",
        UNFINISHED,
        "parts of its triangles are missing",
    ),
    "a text STL without triangles": (".stl", b"solid a\nendsolid a\n", UNFINISHED, "it has no triangles"),
    "a number of triangles that no file has": (".stl", bytes(80) + b"part" * 9, WRONG, "this is not an STL model"),
    "an empty binary STL": (".stl", b"made by hand".ljust(80) + bytes(4), UNFINISHED, "it has no triangles"),
    "a binary STL of zeros": (
        ".stl",
        bytes(80) + struct.pack("<I", 99) + bytes(4950),
        UNFINISHED,
        "it has 4,953 zeros from byte 81 on",
    ),
    "a text under .stl": (".stl", b"Dear Sir, \0\x01 thank you for the model. " * 9, WRONG, "this is not an STL model"),
    "an FBX whose first bytes are damaged": (
        ".fbx",
        b"Kaydara FBX Binary   .",
        WRONG,
        "this is an FBX model whose beginning is damaged",
    ),
    "a text FBX": (".fbx", TEXT_FBX + TAKES, WHOLE, ""),
    "a text FBX with takes of Windows": (".fbx", (TEXT_FBX + TAKES).replace(b"\n", b"\r\n"), WHOLE, ""),
    "a text FBX with a comment of its program first": (".fbx", b"; Made by hand\n" + TEXT_FBX + TAKES, WHOLE, ""),
    "a text FBX that lacks a part of its middle": (
        ".fbx",
        (TEXT_FBX + TAKES).replace(b"0,0,0,1,", b"0,", 1),
        UNFINISHED,
        "it has 6 numbers where it says 9",
    ),
    "a text FBX without takes": (".fbx", TEXT_FBX, UNDECIDED, "its last part, “Takes”, is missing"),
    "a text FBX that breaks off in a block": (".fbx", TEXT_FBX[:-3], UNFINISHED, "its last part is missing"),
    "a text FBX that breaks off between blocks": (
        ".fbx",
        TEXT_FBX[: TEXT_FBX.index(b"Connections")],
        UNFINISHED,
        "its last part is missing",
    ),
    "a text FBX that breaks off in a name": (
        ".fbx",
        TEXT_FBX[: TEXT_FBX.index(b'{", "Mesh')],
        UNFINISHED,
        "its last part is missing",
    ),
    "a text FBX with zeros": (
        ".fbx",
        TEXT_FBX.replace(b"a: 0,0", bytes(5)) + TAKES,
        UNFINISHED,
        "it has zeros from byte ",
    ),
    "a text FBX without polygons": (
        ".fbx",
        TEXT_FBX.replace(b"PolygonVertexIndex", b"Edges") + TAKES,
        WRONG,
        "it holds no mesh",
    ),
    "a USDZ of text": (".usdz", usdz({"a.usda": MESH}), WHOLE, ""),
    "a USDZ without a mesh": (".usdz", usdz({"a.usda": MESH.replace(b"Mesh", b"Camera")}), WRONG, "it holds no mesh"),
    "a USDZ whose mesh is in its second layer": (
        ".usdz",
        usdz({"a.usda": b"#usda 1.0\n", "b/c.usda": MESH}),
        WHOLE,
        "",
    ),
    "a USDZ with a layer that nobody knows": (".usdz", usdz({"a.usdc": b"PXR-USDC" + bytes(99)}), WHOLE, ""),
    "a USDZ of points": (".usdz", usdz({"a.usda": MESH.replace(b"Mesh", b"Points")}), WRONG, "it holds no mesh"),
    "a USDZ of a stream": (".usdz", usdz({"a.usda": MESH}, stream=True), WRONG, "its files have data descriptors"),
    "a USDZ with a compressed texture": (
        ".usdz",
        usdz({"a.usda": MESH}, packed={"wood.png": bytes(99)}),
        WRONG,
        "this is a ZIP archive, not a USDZ model: its files are compressed",
    ),
    "a USDZ whose directory is of the large form": (
        ".usdz",
        usdz({"a.usda": MESH})[:-6] + b"\xff\xff\xff\xff\0\0",
        UNDECIDED,
        "it is a large ZIP archive",
    ),
    "a GLB with zeros behind its end": (
        ".glb",
        EXPORTS["blender.glb"] + bytes(9000),
        UNDECIDED,
        "there are more bytes",
    ),
    "an FBX with a line end behind its end": (
        ".fbx",
        EXPORTS["blender.fbx"] + b"\r\n",
        UNDECIDED,
        "there are more bytes",
    ),
    "an STL with a comment behind its end": (
        ".stl",
        EXPORTS["blender.stl"] + b"made by hand",
        UNDECIDED,
        "there are more bytes",
    ),
    "a USDZ with a line end behind its end": (
        ".usdz",
        EXPORTS["blender.usdz"] + b"\r\n",
        UNDECIDED,
        "there are more bytes",
    ),
    "a USDZ with a password": (
        ".usdz",
        flagged(usdz({"a.usda": MESH}), 1),
        WRONG,
        "this is a ZIP archive, not a USDZ model: its files are encrypted",
    ),
    "a USDZ with other bytes in it": (
        ".usdz",
        usdz({"a.usda": MESH}).replace(b"Leg", b"Arm", 1),
        UNFINISHED,
        "its file “a.usda” is not fully copied",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_models_are_judged_by_all_of_their_content(case: str) -> None:
    """Each rule of each format, on the smallest file that shows it."""
    extension, data, wholeness, detail = OTHERS[case]
    verdict = judged(extension, data)
    assert verdict.wholeness is wholeness, verdict
    assert verdict.detail.startswith(detail)
    if wholeness is WHOLE:
        assert verdict.detail == ""


# ---- Hostile files --------------------------------------------------------------------------------------------------


def crate(tokens: bytes, size: int) -> bytes:
    """Make a binary USD layer that holds nothing but its words."""
    contents = 88 + 24 + len(tokens)
    head = b"PXR-USDC\0\x08" + bytes(6) + struct.pack("<q", contents) + bytes(64)
    table = struct.pack("<QQQ", 1, size, len(tokens)) + tokens
    return head + table + struct.pack("<Q16sqq", 1, b"TOKENS", 88, 24 + len(tokens))


def fbx(*records: bytes) -> bytes:
    """Make a binary FBX of these records, each without its end, and of a footer."""
    data = b"Kaydara FBX Binary  \0\x1a\0" + struct.pack("<I", 7400)
    for record in records:
        data += struct.pack("<I", len(data) + 4 + len(record)) + record
    return data + bytes(13) + b"\xfa\xbc" + bytes(120) + FBX_FOOTER


def listed(name: bytes, *values: int) -> bytes:
    """Make the record of a list that is not compressed, without its end."""
    data = struct.pack(f"<{len(values)}i", *values)
    held = b"i" + struct.pack("<III", len(values), 0, len(data)) + data
    return struct.pack("<IIB", 1, len(held), len(name)) + name + held


def holding(name: bytes, at: int, *records: bytes) -> bytes:
    """Make a record of records, without its end; `at` is where it begins in the file."""
    head = struct.pack("<IIB", 0, 0, len(name)) + name
    data = b""
    for record in records:
        end = at + 4 + len(head) + len(data) + 4 + len(record)
        data += struct.pack("<I", end) + record
    return head + data + bytes(13)


def fbx_of_one_material(faces: int) -> bytes:
    """Make an FBX that lists the material of each face, which is number 0: such a list is the last thing in its layer."""
    start = 27
    mesh = [listed(b"Vertices", *range(1, 10)), listed(b"PolygonVertexIndex", *(1, 2, -4) * faces)]
    geometry_at = start + 4 + 9 + len(b"Objects")
    layer_at = geometry_at + 4 + 9 + len(b"Geometry") + sum(4 + len(one) for one in mesh)
    layer = holding(b"LayerElementMaterial", layer_at, listed(b"Materials", *[0] * faces))
    return fbx(holding(b"Objects", start, holding(b"Geometry", geometry_at, *mesh, layer)), listed(b"Takes", 1))


def test_lists_of_zeros_that_end_a_part_are_no_holes() -> None:
    """What follows a list that is not compressed may begin with zeros, too. A hole that goes on into the next record is one."""
    data = fbx_of_one_material(2000)
    assert judged(".fbx", data).wholeness is UNDECIDED
    at = data.index(bytes(PAGE))
    holed = data[:at] + bytes(8100) + data[at + 8100 :]
    assert judged(".fbx", holed).wholeness is UNFINISHED


def test_zeros_in_normals_and_weights_are_left_to_time() -> None:
    """Exporters write such for faces without an area, and for points without a bone; in places they are a hole."""
    places = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) * 200
    views = [{"buffer": 0, "byteOffset": at, "byteLength": 7200} for at in (0, 7200)]
    accessors = [{"bufferView": view, "componentType": 5126, "count": 600, "type": "VEC3"} for view in (0, 1)]
    scene = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": 14400}], "bufferViews": views}
    for name in ("NORMAL", "WEIGHTS_0"):
        attributes = {"POSITION": 0, name: 1}
        made = {**scene, "accessors": accessors, "meshes": [{"primitives": [{"attributes": attributes}]}]}
        half = places[:3000] + bytes(4200)
        assert judged(".glb", glb(made, places + places)).wholeness is WHOLE
        assert judged(".glb", glb(made, places + half)).wholeness is UNDECIDED
        assert judged(".glb", glb(made, half + places)).wholeness is UNFINISHED


def test_a_black_picture_in_a_glb_is_no_hole() -> None:
    """Black is packed into pages of zeros, up to the end of a PNG, whose checksums tell; its view may be longer than it is."""
    chunk = bytes(4) + b"IDAT" + bytes(9000)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 9000) + chunk[4:] + struct.pack(">I", zlib.crc32(chunk[4:]))
    png += b"\0\0\0\0IEND\xaeB`\x82"

    def with_picture(picture: bytes) -> bytes:
        views = [*SCENE["bufferViews"], {"buffer": 0, "byteOffset": 42, "byteLength": len(picture)}]
        images = [{"bufferView": 2, "mimeType": "image/png"}]
        data = TRIANGLE + picture
        return glb({**SCENE, "bufferViews": views, "images": images, "buffers": [{"byteLength": len(data)}]}, data)

    assert judged(".glb", with_picture(png)).wholeness is WHOLE
    assert judged(".glb", with_picture(png + b"\0\0")).wholeness is WHOLE
    assert judged(".glb", with_picture(png.replace(b"IDAT\0", b"IDAT\1"))).wholeness is UNFINISHED


LARGE = 300_000
MANY = {**SCENE, "meshes": [{"primitives": SCENE["meshes"][0]["primitives"] * 5000}]}
HOSTILE = {
    "a GLB of lists": (".glb", glb('{"a":[' + "[]," * 1_100_000 + "0]}")),
    "a GLB of brackets": (".glb", glb("[" * 900_000)),
    "a GLB of a long number": (".glb", glb('{"a":' + "1" * LARGE + "}")),
    "a GLB whose parts overlap": (".glb", glb({**MANY, "buffers": [{"byteLength": LARGE}]}, TRIANGLE + bytes(LARGE))),
    "an OBJ of blanks": (".obj", b"v 1 2 3\nf" + b" " * LARGE),
    "an OBJ of indents": (".obj", b"v 1 2 3\n" + b" \n" * LARGE),
    "an OBJ of lines that go on": (".obj", b"v 1 2 3\n" + b"\\ " * LARGE),
    "an OBJ of digits": (".obj", b"v 1 2 3\nf 1 1 " + b"0" * LARGE + b"1\n"),
    "an OBJ of slashes": (".obj", b"v 1 2 3\nvt 1 2\nf 1 1 1 1" + b"/" * LARGE + b"1\n"),
    "an OBJ of one corner": (".obj", b"v 1 2 3\nvt 1 2\nvn 1 2 3\nf" + b" 1/1" * LARGE + b"\n"),
    "an STL of one line": (".stl", b"solid a\nfacet" + b" vertex 1" * LARGE + b"\nendsolid a\n"),
    "an STL of names": (".stl", FACETS + b"solid\n" * LARGE + b"facet\nendsolid\n"),
    "an STL of ends": (".stl", FACETS + b"endsolid\n" * LARGE),
    "an FBX of records": (".fbx", fbx(*[b"\0" * 9] * 4000)),
    "an FBX of records in records": (
        ".fbx",
        fbx(b"".join(struct.pack("<IIIB7s", LARGE, 0, 0, 7, b"Objects") for _ in range(9000))),
    ),
    "an FBX of quotes": (".fbx", TEXT_FBX + b'"' * LARGE),
    "an FBX of comments": (".fbx", TEXT_FBX + b";\n" * LARGE),
    "an FBX of lists": (".fbx", TEXT_FBX + TAKES + b"*9 { a:" * LARGE),
    "an FBX of comments first": (".fbx", b"; a\n" * LARGE + TEXT_FBX),
    "an FBX of blanks": (".fbx", TEXT_FBX + b"PolygonVertexIndex: * " * 50_000),
    "a USDZ of many files": (".usdz", usdz(dict.fromkeys((f"{n}.usda" for n in range(3000)), b""))),
    "a USDZ of repeated words": (".usdz", usdz({"a.usdc": crate(b"\0\x10a\1\0" + b"\0\1\0" * 20_000, 999_999)})),
    "a USDZ of words in words": (".usdz", usdz({"a.usdc": crate(b"\xff" + b"\1\0\0\0\0" * 255, 9)})),
    "a USDZ of definitions": (".usdz", usdz({"a.usda": b"#usda" + b"def " * LARGE})),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(20)
def test_hostile_models_are_judged_within_bounds(case: str) -> None:
    """Files made to keep a reader busy: each is judged in its turn, with little memory for what it claims to hold."""
    extension, data = HOSTILE[case]
    tracemalloc.start()
    try:
        judged(extension, data)
        assert tracemalloc.get_traced_memory()[1] < 150_000_000
    finally:
        tracemalloc.stop()


def test_files_of_one_package_cannot_be_the_same_bytes() -> None:
    """A small package cannot claim to hold more than it does: each file would be read for itself."""
    data = usdz({"a.usda": MESH})
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[at:end]
    data = data[:at] + entry * 200 + data[end : end + 12] + struct.pack("<IIH", len(entry) * 200, at, 0)
    assert judged(".usdz", data) == FileVerdict(WRONG, "this is a damaged USDZ model: its files overlap")


def test_a_model_that_no_vendor_takes_is_not_read_whole() -> None:
    """What is larger than the vendor takes is refused for that; nobody needs to read it."""
    data = CUBE.ljust(MODEL_LIMIT_BYTES + 1, b"\n")
    assert judged(".obj", data) == probe(".obj", io.BytesIO(data), len(data))
    assert judged(".obj", data[:-1]).wholeness is UNDECIDED


def test_a_model_that_shrinks_while_it_is_read_is_unfinished() -> None:
    """A file that holds less than its size said is not all there."""
    assert examine(".obj", io.BytesIO(CUBE), len(CUBE) + 9).wholeness is UNFINISHED
