"""Reference images: decoded once before money is spent, by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 100_000_000
"""A larger image is refused unread: 10,000 x 10,000 pixels are far beyond any 4K texture, and a bomb is larger."""


def why_undecodable(path: Path) -> str:
    """Decode an image whole and return what is wrong with it, "" for nothing.

    Only PNG, JPEG and WebP decoders are tried, whatever the name says. Raises OSError when the file cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(stream, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    return f"it has {image.width:,} x {image.height:,} pixels, which is more than is believed"
                image.draft("L", (1, 1))  # JPEG: decode all of the data, but not to full size
                image.load()
        except Exception:  # noqa: BLE001 - Pillow's decoders raise whatever broken data makes them meet
            return "it cannot be decoded"
    return ""
