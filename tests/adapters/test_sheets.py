"""Contact sheets: what is in them, how large they are, and that a changed one is known."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from rodin_watchd.adapters.contact_sheet import MOST_BYTES, TILE_PIXELS, is_ours, made_of
from rodin_watchd.adapters.images import thumbnail


def picture(mode: str, size: tuple[int, int], color: tuple[int, ...] = (200, 30, 30, 255)) -> bytes:
    """Return a small picture as a sheet gets it."""
    out = io.BytesIO()
    Image.new(mode, size, color[: len(mode)]).save(out, "PNG")
    out.seek(0)
    return thumbnail(out, TILE_PIXELS)


def pixel(sheet: Image.Image, x: int, y: int) -> bytes:
    """Return the color of a pixel."""
    return sheet.crop((x, y, x + 1, y + 1)).tobytes()


def test_each_tile_is_in_its_place() -> None:
    """A picture where there is one, else the label alone; the same tiles make the same bytes."""
    tiles = [
        ("seed-1", picture("RGB", (400, 400))),
        ("seed-2", b""),
        ("a label too long for any tile " * 4, picture("RGBA", (90, 300))),
    ]
    made = made_of(tiles)
    assert made == made_of(tiles)
    with Image.open(io.BytesIO(made)) as sheet:
        assert (sheet.format, sheet.width // TILE_PIXELS, sheet.height // TILE_PIXELS) == ("JPEG", 2, 2)
        assert pixel(sheet, TILE_PIXELS // 2, TILE_PIXELS // 2)[0] > 150
        assert max(pixel(sheet, TILE_PIXELS + 30, 30)) < 100


def test_a_changed_sheet_is_not_ours() -> None:
    """Nor is any other file."""
    made = made_of([("seed-1", b"")])
    assert is_ours(made)
    for other in (
        b"",
        made[:-1],
        made + b"x",
        made[:40],
        b"\xff\xd8" + made[2:].replace(b"sha256", b"SHA256"),
        os.urandom(500),
    ):
        assert not is_ours(other)


@pytest.mark.parametrize("count", [1, 64])
def test_a_sheet_is_small(count: int) -> None:
    """However much noise is in the pictures."""
    noise = io.BytesIO()
    Image.frombytes("RGB", (TILE_PIXELS, TILE_PIXELS), os.urandom(3 * TILE_PIXELS**2)).save(noise, "PNG")
    noise.seek(0)
    tile = thumbnail(noise, TILE_PIXELS)
    made = made_of([(f"seed-{number}", tile) for number in range(count)])
    assert 1000 < len(made) < MOST_BYTES
