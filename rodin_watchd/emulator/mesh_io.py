"""Reading the models that are sent (GLB, OBJ, STL, PLY, and USDZ where OpenUSD is installed), and writing textured ones."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh

from rodin_watchd.emulator.texture import Mesh, UnusableModelError, face_crosses, images, maps_of, unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import Image

    from rodin_watchd.emulator.texture import Material, TexturedMesh

UNREADABLE = {
    b"Kaydara FBX Binary": "the emulator cannot read FBX models: send GLB, OBJ, STL or PLY",
    b"\x89PNG\r\n": "the model is a PNG image",
    b"\xff\xd8\xff": "the model is a JPEG image",
    b"RIFF": "the model is a WebP image",
    b"%PDF": "the model is a PDF document",
}
USDZ_MISSING = (
    "" if find_spec("pxr") else "the emulator needs the extra 'usdz' for USDZ: pip install 'rodin-watchd[usdz]'"
)
"""Why USDZ can neither be read nor written, or ""."""

NOT_DECODED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


def model_format(data: bytes) -> str:
    """Return what a model is by its content: `glb`, `obj`, `ply`, `stl` or `usdz`.

    Raises ValueError with a sentence for people when it is nothing that the emulator reads.
    """
    for magic, reason in UNREADABLE.items():
        if data.startswith(magic):
            raise ValueError(reason)
    if data.startswith(b"PK\x03\x04"):
        return _usdz_format()
    if data.startswith(b"glTF"):
        return "glb"
    if data.startswith((b"ply\n", b"ply\r")):
        return "ply"
    return _format_without_magic(data)


def _usdz_format() -> str:
    if USDZ_MISSING:
        raise ValueError(USDZ_MISSING)
    return "usdz"


def _format_without_magic(data: bytes) -> str:
    if len(data) >= 84 and len(data) == 84 + 50 * int.from_bytes(data[80:84], "little"):
        return "stl"
    head = data[:65536]
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return "stl"
    if b"\0" not in head and any(line.lstrip().startswith(b"v ") for line in head.splitlines()):
        return "obj"
    raise ValueError("the model is in no format that the emulator reads: send GLB, OBJ, STL, PLY or USDZ")


def read_model(data: bytes) -> Mesh:
    """Read all triangles of a model in world coordinates.

    Raises UnusableModelError for a broken model and for compression that cannot be decoded here.
    """
    try:
        return _read_as(data, model_format(data))
    except UnusableModelError:
        raise
    except Exception as error:  # readers raise anything on hostile content; each means the same
        raise UnusableModelError(f"the model cannot be read: {type(error).__name__}") from error


def _read_as(data: bytes, kind: str) -> Mesh:
    if kind == "usdz":
        from rodin_watchd.emulator import usdz  # noqa: PLC0415 - OpenUSD is large, and few models need it

        return usdz.read_usdz(data)
    if kind == "glb":
        _refuse_compression(data)
    loaded: Any = trimesh.load(BytesIO(data), file_type=kind, force="mesh", process=False, skip_materials=True)
    return Mesh(np.asarray(loaded.vertices, dtype=np.float64), np.asarray(loaded.faces, dtype=np.int64))


def _refuse_compression(data: bytes) -> None:
    length = int.from_bytes(data[12:16], "little")
    required = json.loads(data[20 : 20 + length]).get("extensionsRequired", ())
    for extension in NOT_DECODED:
        if extension in required:
            raise UnusableModelError(f"the model needs {extension}, which cannot be decoded")


# ---- Writing a textured mesh as binary glTF (glTF 2.0, section 4.4: GLB) --------------------------------------------


FLOAT, ARRAY_BUFFER, LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 5126, 34962, 9729, 9987, 33071


def png_bytes(image: Image.Image) -> bytes:
    """Give the image as PNG, quickly rather than small."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def glb_bytes(mesh: TexturedMesh) -> bytes:
    """Give the mesh, its normals, UVs, material and textures as one GLB file."""
    arrays, textures = _arrays(mesh), _textures(mesh)
    blobs = [array.tobytes() for array in arrays.values()] + [png_bytes(image) for image in textures.values()]
    body = b"".join(_padded(blob, b"\0") for blob in blobs)
    document = _document(mesh.material, tuple(arrays), tuple(textures)) | {
        "accessors": [_accessor(index, array) for index, array in enumerate(arrays.values())],
        "bufferViews": _buffer_views(blobs, len(arrays)),
        "buffers": [{"byteLength": len(body)}],
    }
    text = _padded(json.dumps(document, separators=(",", ":")).encode(), b" ")
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(body))
    return b"".join(
        (head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(body), b"BIN\0"), body)
    )


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % 4)


def _arrays(mesh: TexturedMesh) -> dict[str, NDArray[np.float32]]:
    """Give the attributes of the corners, by their names in glTF; tangents only where there is a normal map."""
    arrays = {"POSITION": mesh.positions, "NORMAL": mesh.normals, "TEXCOORD_0": mesh.uvs}
    if mesh.material == "PBR":
        arrays["TANGENT"] = np.column_stack([mesh.tangents, np.ones(len(mesh.tangents), np.float32)])
    return arrays


def _textures(mesh: TexturedMesh) -> dict[str, Image.Image]:
    """Give the images of the mesh's material in glTF, by their names."""
    if mesh.material == "PBR":
        maps = maps_of(mesh.image)
        return {"texture_diffuse": mesh.image, "texture_pbr": maps.packed, "texture_normal": maps.normal}
    return images(mesh)


def _document(material: Material, arrays: tuple[str, ...], textures: tuple[str, ...]) -> dict[str, Any]:
    attributes = {name: index for index, name in enumerate(arrays)}
    first_image = len(arrays)
    document = {
        "asset": {"version": "2.0", "generator": "rodin-watchd emulator"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "model", "mesh": 0}],
        "meshes": [{"name": "model", "primitives": [{"attributes": attributes, "material": 0}]}],
        "materials": [{"name": material, "doubleSided": True, **_SURFACES[material]}],
    }
    if not textures:
        return document
    used = {"extensionsUsed": ["KHR_materials_unlit"]} if material == "Shaded" else {}
    filters = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR}
    return (
        used
        | document
        | {
            "textures": [{"sampler": 0, "source": index} for index in range(len(textures))],
            "samplers": [filters | {"wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}],
            "images": [
                {"name": name, "bufferView": index, "mimeType": "image/png"}
                for index, name in enumerate(textures, start=first_image)
            ],
        }
    )


_BASE_COLOUR = {"baseColorTexture": {"index": 0}}
_SURFACES: dict[Material, dict[str, Any]] = {
    "PBR": {
        "pbrMetallicRoughness": {**_BASE_COLOUR, "metallicRoughnessTexture": {"index": 1}},
        "normalTexture": {"index": 2},
    },
    "Shaded": {
        "pbrMetallicRoughness": {**_BASE_COLOUR, "metallicFactor": 0.0, "roughnessFactor": 0.7},
        "extensions": {"KHR_materials_unlit": {}},
    },
    "None": {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}},
}
"""The materials: PBR reacts to light; Shaded shows its texture as it is (extension KHR_materials_unlit)."""


def _accessor(index: int, array: NDArray[np.float32]) -> dict[str, Any]:
    shape = {"bufferView": index, "componentType": FLOAT, "count": len(array), "type": f"VEC{array.shape[1]}"}
    if index:
        return shape
    return shape | {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}


def _buffer_views(blobs: list[bytes], arrays: int) -> list[dict[str, int]]:
    views: list[dict[str, int]] = []
    offset = 0
    for index, blob in enumerate(blobs):
        target = {"target": ARRAY_BUFFER} if index < arrays else {}  # images have none
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(blob)} | target)
        offset += len(_padded(blob, b"\0"))
    return views


MEDIA_TYPES = {
    "glb": "model/gltf-binary",
    "mtl": "text/plain",
    "obj": "text/plain",
    "png": "image/png",
    "stl": "model/stl",
    "usdz": "model/vnd.usdz+zip",
    "webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class EmulatedFile:
    """One file of a result, as it is downloaded."""

    name: str
    data: bytes

    @property
    def media_type(self) -> str:
        """Its Content-Type."""
        return MEDIA_TYPES[self.name.rpartition(".")[2]]


NAMES: dict[Material, str] = {"PBR": "base_basic_pbr", "Shaded": "base_basic_shaded", "None": "base"}
"""What a model is called whose format holds its textures (API contract, second turn: real result names)."""


def model_files(mesh: TexturedMesh, geometry_file_format: str) -> tuple[EmulatedFile, ...]:
    """Give the model in the format, with the files next to it where the format keeps its textures outside."""
    return WRITERS[geometry_file_format](mesh)


def _glb(mesh: TexturedMesh) -> tuple[EmulatedFile, ...]:
    return (EmulatedFile(f"{NAMES[mesh.material]}.glb", glb_bytes(mesh)),)


def _usdz(mesh: TexturedMesh) -> tuple[EmulatedFile, ...]:
    from rodin_watchd.emulator import usdz  # noqa: PLC0415 - as in `_read_as`

    return (EmulatedFile(f"{NAMES[mesh.material]}.usdz", usdz.usdz_bytes(mesh)),)


def _obj(mesh: TexturedMesh) -> tuple[EmulatedFile, ...]:
    return (
        EmulatedFile("base.obj", _obj_text(mesh).encode()),
        EmulatedFile("base.mtl", _mtl_text(mesh.material).encode()),
        *(EmulatedFile(f"{name}.png", png_bytes(image)) for name, image in images(mesh).items()),
    )


def _obj_text(mesh: TexturedMesh) -> str:
    lines = ["mtllib base.mtl", "o model", "usemtl model"]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.positions.tolist()]
    lines += [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uvs_upwards.tolist()]
    lines += [f"vn {x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.normals.tolist()]
    lines += [f"f {a}/{a}/{a} {a + 1}/{a + 1}/{a + 1} {a + 2}/{a + 2}/{a + 2}" for a in range(1, len(mesh.uvs), 3)]
    return "\n".join((*lines, ""))


_PBR_LINES = """Pr 1
Pm 1
map_Kd texture_diffuse.png
map_Pr texture_roughness.png
map_Pm texture_metallic.png
norm texture_normal.png
"""
_SURFACE_LINES: dict[Material, str] = {
    "PBR": f"illum 2\n{_PBR_LINES}",
    "Shaded": "illum 0\nmap_Kd shaded.png\n",
    "None": "illum 2\nPr 0.7\nPm 0\n",
}


def _mtl_text(material: Material) -> str:
    """`illum 0` shows the texture as it is; `Pr`, `Pm` and `norm` are the usual PBR additions to MTL."""
    return f"newmtl model\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\n{_SURFACE_LINES[material]}"


def _stl(mesh: TexturedMesh) -> tuple[EmulatedFile, ...]:
    """STL keeps no texture: only the shape, 80 bytes of header, a count and 50 bytes for each face."""
    corners = mesh.positions.reshape(-1, 3, 3)
    faces = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("flags", "<u2")])
    faces["normal"] = unit(face_crosses(corners.astype(np.float64)))
    faces["corners"] = corners
    head = b"rodin-watchd emulator".ljust(80, b" ") + len(faces).to_bytes(4, "little")
    return (EmulatedFile("base.stl", head + faces.tobytes()),)


WRITERS: dict[str, Callable[[TexturedMesh], tuple[EmulatedFile, ...]]] = {
    "glb": _glb,
    "obj": _obj,
    "stl": _stl,
    "usdz": _usdz,
}
