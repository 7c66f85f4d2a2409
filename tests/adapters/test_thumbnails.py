"""Small pictures of images: of sound ones, of broken ones and of bombs; the process that decodes them ends and is started again."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from rodin_watchd.adapters.images import THUMBNAIL_PIXELS
from rodin_watchd.adapters.thumbnails import MOST_CACHED_BYTES, Thumbnails

SAMPLES = Path(__file__).parents[1] / "samples"
IMAGES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".png", ".jpg", ".webp"))


@pytest.fixture(scope="module")
def thumbnails() -> Iterator[Thumbnails]:
    """Give what makes pictures."""
    with closing(Thumbnails()) as made:
        yield made


def picture_of(thumbnails: Thumbnails, path: Path, name: str = "") -> bytes:
    """Return the small picture of a file."""
    with path.open("rb") as stream:
        return thumbnails.of(name or str(path), stream.fileno())


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_an_image_gets_a_small_picture(thumbnails: Thumbnails, path: Path) -> None:
    """In its own shape, and no larger than a card needs it."""
    with Image.open(path) as image, Image.open(io.BytesIO(picture_of(thumbnails, path))) as small:
        assert small.format == "WEBP"
        assert max(small.size) <= THUMBNAIL_PIXELS
        assert small.width / small.height == pytest.approx(image.width / image.height, rel=0.02)


def test_a_photo_is_turned_upright(thumbnails: Thumbnails, tmp_path: Path) -> None:
    """As cameras mark it."""
    marks = Image.Exif()
    marks[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (400, 100), "red").save(tmp_path / "photo.jpg", exif=marks)
    with Image.open(io.BytesIO(picture_of(thumbnails, tmp_path / "photo.jpg"))) as small:
        assert small.width < small.height


def _claims(width: int, height: int) -> bytes:
    """Return a small PNG that says that it is so large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100_000)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff",
        _claims(60_000, 60_000),
        _claims(9_000, 9_000),
    ],
    ids=["empty", "text", "gif", "svg", "cut", "bomb", "large and cut"],
)
def test_what_is_no_image_has_no_picture(thumbnails: Thumbnails, tmp_path: Path, data: bytes) -> None:
    """And the next one has its own all the same."""
    (tmp_path / "image.png").write_bytes(data)
    assert picture_of(thumbnails, tmp_path / "image.png") == b""
    assert picture_of(thumbnails, IMAGES[0], f"after {len(data)}")


def test_a_picture_is_kept_by_the_name_of_its_content(thumbnails: Thumbnails, tmp_path: Path) -> None:
    """It is not decoded again; other content has another name."""
    first = picture_of(thumbnails, IMAGES[0], "one")
    (tmp_path / "none").write_bytes(b"")
    assert picture_of(thumbnails, tmp_path / "none", "one") == first
    assert picture_of(thumbnails, tmp_path / "none", "two") == b""


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """The oldest goes first: it is made again when it is wanted."""
    noise = Image.frombytes("RGB", (480, 480), os.urandom(480 * 480 * 3))
    noise.save(tmp_path / "noise.png")
    with closing(Thumbnails()) as thumbnails:
        size = len(picture_of(thumbnails, tmp_path / "noise.png", "0"))
        for number in range(1, MOST_CACHED_BYTES // size + 2):
            picture_of(thumbnails, tmp_path / "noise.png", str(number))
        (tmp_path / "none").write_bytes(b"")
        assert picture_of(thumbnails, tmp_path / "none", "0") == b""


def test_a_closed_one_starts_again() -> None:
    """As when the process has ended because nobody asked for a while."""
    thumbnails = Thumbnails()
    assert picture_of(thumbnails, IMAGES[0], "one")
    thumbnails.close()
    assert picture_of(thumbnails, IMAGES[0], "two")
    thumbnails.close()
    thumbnails.close()
