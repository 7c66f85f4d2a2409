"""Reading the models that are sent: GLB, OBJ, STL, PLY, and USDZ where OpenUSD is installed."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import trimesh

from rodin_watchd.emulator import usdz
from rodin_watchd.emulator.mesh import Mesh, UnusableModelError

UNREADABLE = {
    b"Kaydara FBX Binary": "the emulator cannot read FBX models: send GLB, OBJ, STL or PLY",
    b"\x89PNG\r\n": "the model is a PNG image",
    b"\xff\xd8\xff": "the model is a JPEG image",
    b"RIFF": "the model is a WebP image",
    b"%PDF": "the model is a PDF document",
}
NOT_DECODED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


def model_format(data: bytes) -> str:
    """Tell by its content what a model is: `glb`, `obj`, `ply`, `stl` or `usdz`.

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
    if not usdz.AVAILABLE:
        raise ValueError(usdz.MISSING)
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
        return _read(data, model_format(data))
    except UnusableModelError:
        raise
    except Exception as error:  # readers raise anything on hostile content; each means the same
        raise UnusableModelError(f"the model cannot be read: {type(error).__name__}") from error


def _read(data: bytes, kind: str) -> Mesh:
    if kind == "usdz":
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
