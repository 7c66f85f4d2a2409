"""Which file names are taken for models and images, and what to do with the others."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL_EXTENSIONS: Final = frozenset({".glb", ".obj", ".stl", ".fbx", ".usdz"})
"""Models that are taken (API contract, Generate Texture: one binary 3D model file)."""

IMAGE_EXTENSIONS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Reference images that are taken."""

_AS_GLB: Final = "export as .glb"
_AS_PNG: Final = "export as .png"

REFUSED_MODEL_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".gltf": "a .gltf keeps its data in other files: export as .glb",
        **dict.fromkeys((".usd", ".usda", ".usdc"), "export as .usdz or .glb"),
        **dict.fromkeys(
            (
                *(".3dm", ".3ds", ".3mf", ".abc", ".blend", ".bvh", ".c4d", ".dae", ".drc", ".dxf", ".hip", ".hiplc"),
                *(".iges", ".igs", ".lwo", ".lxo", ".ma", ".max", ".mb", ".off", ".ply", ".pmx", ".sbs", ".skp"),
                *(".sldprt", ".spp", ".step", ".stp", ".vdb", ".vox", ".vrm", ".wrl", ".x3d", ".zpr", ".ztl"),
            ),
            _AS_GLB,
        ),
    }
)
"""3D files that are not taken: extension -> what to do instead."""

REFUSED_IMAGE_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((".jfif", ".jpe"), "rename it to .jpg"),
        **dict.fromkeys(
            (
                *(".ai", ".arw", ".avif", ".bmp", ".clip", ".cr2", ".cr3", ".dds", ".dng", ".eps", ".exr", ".gif"),
                *(".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".kra", ".ktx2", ".nef", ".orf"),
                *(".psb", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".tif", ".tiff", ".tx", ".xcf"),
            ),
            _AS_PNG,
        ),
    }
)
"""Pictures that are not taken: extension -> what to do instead."""
