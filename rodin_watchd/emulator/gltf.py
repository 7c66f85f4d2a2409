"""Writing a textured mesh as binary glTF (glTF 2.0, section 4.4: GLB)."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from rodin_watchd.emulator.mesh import Material, TexturedMesh

FLOAT, ARRAY_BUFFER, LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 5126, 34962, 9729, 9987, 33071


def png_bytes(image: Image.Image) -> bytes:
    """Give the image as PNG, quickly rather than small."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def glb_bytes(mesh: TexturedMesh) -> bytes:
    """Give the mesh, its normals, UVs, material and texture as one GLB file."""
    arrays = (mesh.positions, mesh.normals, mesh.uvs)
    blobs = [array.tobytes() for array in arrays] + [png_bytes(mesh.image)]
    body = b"".join(_padded(blob, b"\0") for blob in blobs)
    document = _document(mesh) | {
        "accessors": [_accessor(index, array) for index, array in enumerate(arrays)],
        "bufferViews": _buffer_views(blobs),
        "buffers": [{"byteLength": len(body)}],
    }
    text = _padded(json.dumps(document, separators=(",", ":")).encode(), b" ")
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(body))
    return b"".join(
        (head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(body), b"BIN\0"), body)
    )


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % 4)


def _document(mesh: TexturedMesh) -> dict[str, Any]:
    material = _material(mesh.material)
    used = {"extensionsUsed": sorted(material["extensions"])} if "extensions" in material else {}
    attributes = {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}
    return used | {
        "asset": {"version": "2.0", "generator": "rodin-watchd emulator"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "model", "mesh": 0}],
        "meshes": [{"name": "model", "primitives": [{"attributes": attributes, "material": 0}]}],
        "materials": [material],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [
            {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ],
        "images": [{"name": "texture", "bufferView": 3, "mimeType": "image/png"}],
    }


def _material(material: Material) -> dict[str, Any]:
    """PBR reacts to light; Shaded shows the texture as it is (extension KHR_materials_unlit)."""
    rough = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 0.7}
    surface: dict[str, Any] = {"name": material, "doubleSided": True, "pbrMetallicRoughness": rough}
    return surface if material == "PBR" else surface | {"extensions": {"KHR_materials_unlit": {}}}


def _accessor(index: int, array: NDArray[np.float32]) -> dict[str, Any]:
    shape = {"bufferView": index, "componentType": FLOAT, "count": len(array), "type": f"VEC{array.shape[1]}"}
    if index:
        return shape
    return shape | {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}


def _buffer_views(blobs: list[bytes]) -> list[dict[str, int]]:
    views: list[dict[str, int]] = []
    offset = 0
    for index, blob in enumerate(blobs):
        target = {} if index == len(blobs) - 1 else {"target": ARRAY_BUFFER}
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(blob)} | target)
        offset += len(_padded(blob, b"\0"))
    return views
