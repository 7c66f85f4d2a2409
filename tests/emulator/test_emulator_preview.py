"""The preview is a picture of the textured model."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from emulator_client import SAMPLES, cube
from PIL import Image, ImageChops, ImageStat

from rodin_watchd.emulator.mesh_io import read_model
from rodin_watchd.emulator.preview import SIZE, picture, preview_webp
from rodin_watchd.emulator.texture import Mesh, TexturedMesh, project, texture_image

MIDDLE = (SIZE // 2, SIZE // 2)


def painted(color: str, mesh: Mesh | None = None) -> TexturedMesh:
    """Give a mesh in one colour."""
    return project(mesh or cube(), Image.new("RGB", (8, 8), color), "PBR")


def channels(image: Image.Image, place: tuple[int, int] = MIDDLE) -> tuple[int, ...]:
    """Give the colour of a pixel."""
    pixel = image.getpixel(place)
    assert isinstance(pixel, tuple)
    return tuple(int(part) for part in pixel)


@pytest.mark.parametrize("name", ["bunny.glb", "suzi.glb", "pmndrs.stl"])
def test_it_shows_the_model_before_a_ground(name: str) -> None:
    """The model fills a good part of the picture, its border is ground, and it is not of one colour."""
    textured = project(
        read_model((SAMPLES / name).read_bytes()),
        texture_image((SAMPLES / "matcap-b.jpg").read_bytes(), "Basic"),
        "PBR",
    )
    with Image.open(BytesIO(preview_webp(textured))) as drawn:
        assert (drawn.format, drawn.size) == ("WEBP", (SIZE, SIZE))
        red, green, _ = drawn.convert("RGB").split()
    reddish = (
        np.asarray(red, dtype=np.int64) - np.asarray(green, dtype=np.int64) > 25
    )  # the matcap is red, the ground grey
    assert 0.12 < reddish.mean() < 0.8
    assert not reddish[:20].any()
    assert not reddish[:, :20].any()
    assert np.asarray(red)[reddish].std() > 10


def test_it_depends_on_the_image() -> None:
    """The same model in another colour is another picture, in that colour."""
    red, blue = picture(painted("#d02020")), picture(painted("#2020d0"))
    assert channels(red)[0] > 2 * channels(red)[2]
    assert channels(blue)[2] > 2 * channels(blue)[0]
    assert sum(ImageStat.Stat(ImageChops.difference(red, blue)).mean) > 30


def test_it_depends_on_the_model() -> None:
    """Another model under the same image is another picture."""
    flat = Mesh(cube().positions * (1, 0.1, 1), cube().faces)
    difference = ImageChops.difference(picture(painted("#20d020")), picture(painted("#20d020", flat)))
    assert sum(ImageStat.Stat(difference).mean) > 30


def test_the_image_is_upright_on_the_front() -> None:
    """A texture that is red above and blue below appears so."""
    image = Image.new("RGB", (64, 64), "#2020d0")
    image.paste((208, 32, 32), (0, 0, 64, 32))
    drawn = picture(project(cube(), image, "PBR"))
    above, below = channels(drawn, (190, 230)), channels(drawn, (190, 400))
    assert above[0] > 2 * above[2]
    assert below[2] > 2 * below[0]


def test_sides_are_lit_differently() -> None:
    """Light comes from somewhere: the three visible sides of a white cube differ."""
    drawn = picture(painted("#a0a0a0"))
    front, side, top = (channels(drawn, place)[0] for place in ((190, 300), (400, 280), (270, 110)))
    assert len({front, side, top}) == 3
    assert max(front, side, top) - min(front, side, top) > 15


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_size_does_not_matter(scale: float) -> None:
    """A model of any size fills the picture as any other."""
    scaled = picture(painted("#d02020", Mesh(cube().positions * scale, cube().faces)))
    difference = ImageChops.difference(scaled, picture(painted("#d02020")))
    assert max(ImageStat.Stat(difference).mean) < 0.5


def test_one_triangle_seen_edge_on_is_drawn_without_trouble() -> None:
    """A model without thickness gives a picture, if an empty one."""
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 1]]), np.array([[0, 1, 2]]))
    assert picture(painted("#d02020", mesh)).size == (SIZE, SIZE)
