"""A contact sheet: small pictures in a grid, each with its name, as one JPEG that is known again as ours while nobody has changed it."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Collection, Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

TILE_PIXELS: Final = 240
"""How wide and high a picture is at most."""

_LABEL_PIXELS, _GAP_PIXELS = 28, 8
_FONT_PIXELS: Final = 15
_GROUND, _TILE, _INK = (32, 32, 34), (58, 58, 62), (235, 235, 235)
_CHOSEN, _CHOSEN_INK, _FRAME_PIXELS = (92, 200, 187), (6, 33, 30), 5
_QUALITIES: Final = (85, 70, 50, 25, 5)

MOST_BYTES: Final = 1_000_000
"""The size of the file: so much of a file is read to know it again."""

_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"  # JPEG (ITU T.81, annex B): the start of the image, and a comment
_SEAL: Final = b"rodin_watchd contact sheet sha256:"
_SEALED: Final = len(_COMMENT) + 2 + len(_SEAL) + 64


def made_of(tiles: Sequence[tuple[str, bytes]], chosen: Collection[str] = ()) -> bytes:
    """Return the sheet of these labels, each with a small picture; b"" stands for none: the tile shows the label alone.

    Those that are `chosen` have a frame. The same tiles give the same sheet.
    """
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    wide, high = TILE_PIXELS + _GAP_PIXELS, TILE_PIXELS + _LABEL_PIXELS + _GAP_PIXELS
    sheet = Image.new("RGB", (columns * wide + _GAP_PIXELS, rows * high + _GAP_PIXELS), _GROUND)
    font = ImageFont.load_default(_FONT_PIXELS)
    for number, (label, data) in enumerate(tiles):
        place = (_GAP_PIXELS + number % columns * wide, _GAP_PIXELS + number // columns * high)
        sheet.paste(_tile(label, data, font, is_chosen=label in chosen), place)
    return _sealed(sheet)


def is_ours(data: bytes) -> bool:
    """Return whether these are the bytes of a sheet that nobody has changed since; never raises."""
    head, body = data[2 : 2 + _SEALED], data[2 + _SEALED :]
    return head == _seal(body)


def _tile(
    label: str, data: bytes, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, *, is_chosen: bool
) -> Image.Image:
    """Return a picture above its label."""
    tile = Image.new("RGB", (TILE_PIXELS, TILE_PIXELS + _LABEL_PIXELS), _TILE)
    if data:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as picture:
            picture.thumbnail((TILE_PIXELS, TILE_PIXELS))
            left, top = (TILE_PIXELS - picture.width) // 2, (TILE_PIXELS - picture.height) // 2
            tile.paste(picture.convert("RGB"), (left, top), picture if picture.has_transparency_data else None)
    draw = ImageDraw.Draw(tile)
    if is_chosen:
        draw.rectangle((0, 0, tile.width - 1, tile.height - 1), outline=_CHOSEN, width=_FRAME_PIXELS)
        draw.rectangle((0, TILE_PIXELS if data else 0, tile.width, tile.height), fill=_CHOSEN)
    text = _fitting(draw, label, font)
    middle = TILE_PIXELS + _LABEL_PIXELS // 2 if data else (TILE_PIXELS + _LABEL_PIXELS) // 2
    draw.text((TILE_PIXELS // 2, middle), text, fill=_CHOSEN_INK if is_chosen else _INK, font=font, anchor="mm")
    return tile


def _fitting(draw: ImageDraw.ImageDraw, label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return as much of a label as a tile has room for."""
    text = label
    while len(text) > 1 and draw.textlength(text, font) > TILE_PIXELS - _GAP_PIXELS:
        text = f"{text[:-2]}…"
    return text


def _sealed(sheet: Image.Image) -> bytes:
    """Return the sheet as a JPEG of at most MOST_BYTES, with a comment that holds the digest of the rest."""
    for quality in _QUALITIES:
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=quality)
        body = out.getvalue()[2:]
        if len(body) + _SEALED < MOST_BYTES:
            break
    return _START + _seal(body) + body


def _seal(body: bytes) -> bytes:
    text = _SEAL + hashlib.sha256(body).hexdigest().encode()
    return _COMMENT + (len(text) + 2).to_bytes(2) + text
