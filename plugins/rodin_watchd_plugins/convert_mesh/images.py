"""Textures as files."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from PIL import Image

from rodin_watchd_plugins.depth import in_eight_bits

_PLAIN: Final = ("L", "LA", "RGB", "RGBA")
_SUFFIXES: Final = {"JPEG": "jpg", "PNG": "png"}


def opened(data: bytes) -> Any:  # noqa: ANN401 - Pillow's
    """Return an image that remembers its file. Raises OSError for what is no image."""
    image = Image.open(BytesIO(data))
    remember(image)
    return image


def remember(image: Any) -> None:  # noqa: ANN401 - Pillow's
    """Keep the file of an image that was opened and not yet loaded, so that it can be written as it was."""
    file = getattr(image, "fp", None)
    if file is not None and image.format in _SUFFIXES:
        place = file.tell()
        file.seek(0)
        image.original = file.read()
        file.seek(place)


def encoded(image: Any) -> tuple[bytes, str]:  # noqa: ANN401 - Pillow's
    """Return a texture as the PNG or JPEG file that it was, else as a new PNG; and the suffix."""
    if hasattr(image, "original"):
        return image.original, _SUFFIXES[image.format]
    out = BytesIO()
    plain = in_eight_bits(image)
    if plain.mode not in _PLAIN:
        plain = plain.convert("RGBA" if plain.has_transparency_data else "RGB")
    plain.save(out, "PNG")
    return out.getvalue(), "png"


def channel(image: Any, name: str, factor: float = 1.0) -> Any:  # noqa: ANN401 - Pillow's
    """Return one channel (r, g, b or a) as a grey image, multiplied by a factor from 0 to 1."""
    grey = in_eight_bits(image).convert("RGBA").getchannel(name.upper())
    return grey if factor == 1.0 else grey.point(lambda value: round(value * factor))


def packed(metallic: Any, roughness: Any) -> Any:  # noqa: ANN401 - Pillow's
    """Return two grey images as glTF wants them: roughness in green, metalness in blue. One of them may be None."""
    size = (metallic or roughness).size
    white = Image.new("L", size, 255)
    green, blue = (part.resize(size) if part else white for part in (roughness, metallic))
    return Image.merge("RGB", (white, green, blue))
