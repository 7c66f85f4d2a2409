"""Rodin Generation: a new model from an image (a relief of its brightness) or from a text (an image of the text)."""

from __future__ import annotations

import colorsys
import hashlib
import textwrap
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from rodin_watchd.emulator.mesh import Mesh

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS = 96
DEPTH = 0.16
BACK = -0.12


def text_image(prompt: str) -> bytes:
    """Give a PNG of the text, on a colour that comes from the text."""
    hue = hashlib.sha256(prompt.encode()).digest()[0] / 255
    ground, ink = (
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, *rest)) for rest in ((0.55, 0.35), (0.25, 1.0))
    )
    image = Image.new("RGB", (512, 512), ground)
    lines = "\n".join(textwrap.wrap(prompt, 18)[:8])
    ImageDraw.Draw(image).multiline_text(
        (256, 256), lines, fill=ink, font=ImageFont.load_default(48), anchor="mm", align="center"
    )
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def relief(image: Image.Image) -> Mesh:
    """Give a closed plate in the image's proportions whose front rises where the image is bright."""
    across, down = _grid_size(image)
    heights = _heights(image, across, down)
    front = _sheet(across, down, heights)
    back = front * (1.0, 1.0, 0.0) + (0.0, 0.0, BACK)
    faces = _sheet_faces(across, down)
    rim = _rim(across, down)
    return Mesh(
        np.concatenate([front, back]),
        np.concatenate([faces, faces[:, ::-1] + len(front), _walls(rim, len(front))]),
    )


def _grid_size(image: Image.Image) -> tuple[int, int]:
    longest = max(image.size)
    return max(2, round(CELLS * image.width / longest)), max(2, round(CELLS * image.height / longest))


def _heights(image: Image.Image, across: int, down: int) -> NDArray[np.float64]:
    small = image.convert("L").resize((across, down), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(2))
    return np.asarray(small, dtype=np.float64) / 255 * DEPTH


def _sheet(across: int, down: int, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = np.mgrid[0:down, 0:across]
    step = 2.0 / (max(across, down) - 1)
    x, y = (columns - (across - 1) / 2) * step, ((down - 1) / 2 - rows) * step
    return np.stack([x, y, heights], axis=2).reshape(-1, 3)


def _sheet_faces(across: int, down: int) -> NDArray[np.int64]:
    index = np.arange(across * down).reshape(down, across)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def _rim(across: int, down: int) -> NDArray[np.int64]:
    index = np.arange(across * down).reshape(down, across)
    return np.concatenate([index[0, :-1], index[:-1, -1], index[-1, :0:-1], index[:0:-1, 0]])


def _walls(rim: NDArray[np.int64], back: int) -> NDArray[np.int64]:
    after = np.roll(rim, -1)
    return np.concatenate(
        [np.stack([rim, after, after + back], axis=1), np.stack([rim, after + back, rim + back], axis=1)]
    )
