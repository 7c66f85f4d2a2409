"""What of a model a format cannot hold, in words for the receipt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from rodin_watchd_plugins.convert_mesh.model import Model, colors_of, material_of, normals_of, uv_of


def _textured(name: str) -> Callable[[Model], bool]:
    return lambda model: any(getattr(material, name, None) is not None for material in model.materials)


def _transparent(model: Model) -> bool:
    return any(getattr(material, "alphaMode", None) in {"BLEND", "MASK"} for material in model.materials)


def _tinted(model: Model) -> bool:
    return any(not np.allclose(tint(material), 1.0) for material in model.materials)


def tint(material: Any) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return the colour that a material's texture is multiplied by: linear RGBA from 0 to 1."""
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return np.ones(4)
    values = np.asarray(factor)
    values = values / 255.0 if values.dtype.kind in "ui" else values.astype(float)
    return np.append(values, 1.0)[:4]


FEATURES: Final[Mapping[str, Callable[[Model], bool]]] = {
    "color texture": _textured("baseColorTexture"),
    "metalness and roughness texture": _textured("metallicRoughnessTexture"),
    "normal map": _textured("normalTexture"),
    "ambient occlusion": _textured("occlusionTexture"),
    "emission texture": _textured("emissiveTexture"),
    "emission color": lambda model: any(
        getattr(material, "emissiveTexture", None) is None and np.any(material.emissiveFactor)
        for material in model.materials
    ),
    "metalness and roughness": lambda model: any(
        getattr(material, name, None) is not None
        for material in model.materials
        for name in ("metallicFactor", "roughnessFactor")
    ),
    "material colors": _tinted,
    "transparency": _transparent,
    "unlit material": lambda model: bool(model.unlit),
    "double-sided surfaces": lambda model: any(getattr(material, "doubleSided", None) for material in model.materials),
    "vertex colors": lambda model: any(
        colors_of(mesh) is not None for mesh in model.meshes if material_of(mesh) is None
    ),
    "vertex colors over a material": lambda model: any(
        colors_of(mesh) is not None for mesh in model.meshes if material_of(mesh) is not None
    ),
    "transparency of vertex colors": lambda model: any(
        (colors[:, 3] < 255).any() for mesh in model.meshes if (colors := colors_of(mesh)) is not None
    ),
    "texture coordinates": lambda model: any(uv_of(mesh) is not None for mesh in model.meshes),
    "smooth normals": lambda model: any(normals_of(mesh) is not None for mesh in model.meshes),
    "separate objects": lambda model: len(model.meshes) > 1,
    "unit of length": lambda _: True,
}

_ALL: Final = frozenset(FEATURES)

HELD: Final[Mapping[str, frozenset[str]]] = {
    "glb": _ALL - {"unlit material"},
    "usdz": _ALL - {"vertex colors over a material", "transparency of vertex colors"},
    "obj": _ALL
    - {"ambient occlusion", "double-sided surfaces", "vertex colors over a material", "transparency of vertex colors"}
    - {"unit of length"},
    "ply": frozenset(
        ("color texture", "vertex colors", "transparency of vertex colors", "texture coordinates", "smooth normals")
    ),
    "stl": frozenset(),
}
"""What each format holds as this plugin writes it. OBJ: with the usual additions to MTL for PBR, and colours after the
coordinates of a vertex. PLY: with the texture as a file next to it (`comment TextureFile`), as MeshLab does it."""


def lost(model: Model, name: str) -> list[str]:
    """Return what the model has and a file in this format has not."""
    return [*model.left, *(what for what, has in FEATURES.items() if what not in HELD[name] and has(model))]
