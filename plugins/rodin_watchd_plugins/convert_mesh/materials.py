"""Materials of OBJ and PLY files, as PBR: what trimesh read of them, and the usual additions to MTL for PBR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from trimesh.visual.material import PBRMaterial

from rodin_watchd_plugins.convert_mesh.images import channel, opened, packed

_NOT_SAID: Final = (102, 102, 102, 255)
"""What trimesh takes for a colour that the file does not say."""


def as_pbr(material: Any, beside: Callable[[str], bytes]) -> Any:  # noqa: ANN401 - trimesh has no types
    """Return a material of trimesh's as its PBRMaterial; `beside` gives the bytes of a file that the material names."""
    if isinstance(material, PBRMaterial):
        return material
    said = getattr(material, "kwargs", {})
    image = material.image if getattr(material.image, "format", None) else None  # without: trimesh made it up
    textures = {name: _image(said.get(name), beside) for name in ("map_pr", "map_pm", "map_ke", "norm")}
    both = [part and channel(part, "r") for part in (textures["map_pm"], textures["map_pr"])]
    clear = _numbers(said, "d", [1.0 - _numbers(said, "tr", [0.0])[0]])[0]
    return PBRMaterial(
        name=material.name,
        baseColorTexture=image,
        baseColorFactor=[*_color(material.diffuse), clear],
        metallicRoughnessTexture=packed(*both) if any(both) else None,
        roughnessFactor=1.0 if both[1] else _numbers(said, "pr", [0.9])[0],
        metallicFactor=1.0 if both[0] else _numbers(said, "pm", [0.0])[0],
        emissiveFactor=_numbers(said, "ke", [1.0] * 3 if textures["map_ke"] else [0.0] * 3),
        emissiveTexture=textures["map_ke"],
        normalTexture=textures["norm"],
        alphaMode="BLEND" if clear < 1 or "map_d" in said else "OPAQUE",
    )


def is_unlit(material: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether an MTL file says that a material is shown without light (`illum 0`)."""
    return getattr(material, "kwargs", {}).get("illum") == ["0"]


def _color(diffuse: Any) -> list[float]:  # noqa: ANN401 - as above
    if tuple(diffuse) == _NOT_SAID:
        return [1.0] * 3
    return [float(value) / 255 for value in np.asarray(diffuse)[:3]]


def _numbers(said: dict[str, list[str]], name: str, default: list[float]) -> list[float]:
    """Return the numbers of a line of an MTL file, or the default if it has none or they are not so many."""
    try:
        values = [float(np.clip(float(word), 0.0, 1.0)) for word in said.get(name, [])]
    except ValueError:
        return default
    return values if len(values) == len(default) else default


def _image(words: list[str] | None, beside: Callable[[str], bytes]) -> Any:  # noqa: ANN401 - Pillow's
    """Return the texture that a line of an MTL file names, or None."""
    if not words:
        return None
    try:
        return opened(beside(" ".join(words)))
    except OSError:  # not there, or no image: the model has its shape all the same, as with trimesh
        return None
