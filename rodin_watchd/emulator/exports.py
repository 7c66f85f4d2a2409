"""Writing a textured mesh in the format that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rodin_watchd.emulator import usdz
from rodin_watchd.emulator.gltf import glb_bytes, png_bytes
from rodin_watchd.emulator.texture import face_crosses, unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from rodin_watchd.emulator.mesh import TexturedMesh

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
class ResultFile:
    """One file of a result, as it is downloaded."""

    name: str
    data: bytes

    @property
    def media_type(self) -> str:
        """Its Content-Type."""
        return MEDIA_TYPES[self.name.rpartition(".")[2]]


def model_files(mesh: TexturedMesh, geometry_file_format: str) -> tuple[ResultFile, ...]:
    """Give the model in the format, with the files beside it where the format keeps its texture outside."""
    return WRITERS[geometry_file_format](mesh)


def _glb(mesh: TexturedMesh) -> tuple[ResultFile, ...]:
    return (ResultFile("model.glb", glb_bytes(mesh)),)


def _usdz(mesh: TexturedMesh) -> tuple[ResultFile, ...]:
    return (ResultFile("model.usdz", usdz.usdz_bytes(mesh)),)


def _obj(mesh: TexturedMesh) -> tuple[ResultFile, ...]:
    return (
        ResultFile("model.obj", _obj_text(mesh).encode()),
        ResultFile("model.mtl", _mtl_text(mesh).encode()),
        ResultFile("texture.png", png_bytes(mesh.image)),
    )


def _obj_text(mesh: TexturedMesh) -> str:
    lines = ["mtllib model.mtl", "o model", "usemtl model"]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.positions.tolist()]
    lines += [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uvs_upwards.tolist()]
    lines += [f"vn {x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.normals.tolist()]
    lines += [f"f {a}/{a}/{a} {a + 1}/{a + 1}/{a + 1} {a + 2}/{a + 2}/{a + 2}" for a in range(1, len(mesh.uvs), 3)]
    return "\n".join((*lines, ""))


def _mtl_text(mesh: TexturedMesh) -> str:
    """`illum 0` shows the texture as it is; `Pr` and `Pm` are the usual PBR additions to MTL."""
    surface = "illum 2\nPr 0.7\nPm 0" if mesh.material == "PBR" else "illum 0"
    return f"newmtl model\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\n{surface}\nmap_Kd texture.png\n"


def _stl(mesh: TexturedMesh) -> tuple[ResultFile, ...]:
    """STL keeps no texture: only the shape, 80 bytes of header, a count and 50 bytes for each face."""
    corners = mesh.positions.reshape(-1, 3, 3)
    faces = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("flags", "<u2")])
    faces["normal"] = unit(face_crosses(corners.astype(np.float64)))
    faces["corners"] = corners
    head = b"rodin-watchd emulator".ljust(80, b" ") + len(faces).to_bytes(4, "little")
    return (ResultFile("model.stl", head + faces.tobytes()),)


WRITERS: dict[str, Callable[[TexturedMesh], tuple[ResultFile, ...]]] = {
    "glb": _glb,
    "obj": _obj,
    "stl": _stl,
    "usdz": _usdz,
}
