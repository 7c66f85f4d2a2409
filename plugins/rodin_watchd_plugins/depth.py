"""Images with more than eight bits a channel."""

from __future__ import annotations

from typing import Any


def in_eight_bits(image: Any) -> Any:  # noqa: ANN401 - Pillow's
    """Return a grey image of 16 bits in 8, any other as it is: Pillow's own conversion cuts values off at 255, which is white."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
