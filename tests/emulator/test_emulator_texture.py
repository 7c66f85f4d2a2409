"""Texturing: where on the model which part of the image lands."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from emulator_client import MORE_SAMPLES, SAMPLES, cube, png
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from rodin_watchd.emulator.mesh_io import read_model
from rodin_watchd.emulator.texture import SHADES, Mesh, UnusableModelError, project, shaded, texture_image

WHITE = Image.new("RGB", (4, 4), "white")


def uv_at(mesh_point: tuple[float, float, float], side: tuple[int, int, int]) -> tuple[float, float]:
    """Give where in the image a corner of the cube lands on one of its sides."""
    textured = project(cube(), WHITE, "PBR")
    same = (textured.positions == mesh_point).all(axis=1) & (textured.normals @ np.array(side) > 0.9)
    u, v = textured.uvs[same][0].tolist()
    return u, v


@pytest.mark.parametrize(
    ("top_left", "side"),
    [
        ((-1, 1, 1), (0, 0, 1)),
        ((1, 1, -1), (0, 0, -1)),
        ((1, 1, 1), (1, 0, 0)),
        ((-1, 1, -1), (-1, 0, 0)),
        ((-1, 1, -1), (0, 1, 0)),
        ((-1, -1, 1), (0, -1, 0)),
    ],
)
def test_no_side_shows_the_image_mirrored(top_left: tuple[int, int, int], side: tuple[int, int, int]) -> None:
    """On each side of a cube the image's top left is where a person in front of it sees top left."""
    assert uv_at(top_left, side) == (0.0, 0.0)
    normal, up = np.array(side), np.array((0, 1, 0) if side[1] == 0 else (0, 0, -side[1]))
    right = np.cross(up, normal)
    across, down = np.array(top_left) + 2 * right, np.array(top_left) - 2 * up
    assert uv_at(tuple(across.tolist()), side) == (1.0, 0.0)
    assert uv_at(tuple(down.tolist()), side) == (0.0, 1.0)
    textured = project(cube(), WHITE, "PBR")
    assert (textured.tangents[textured.normals @ normal > 0.9] == right).all()


@pytest.mark.parametrize("name", ["bunny.glb", "suzi.glb", "pmndrs.stl"])
def test_samples_are_unwelded_with_unit_normals_and_uvs_in_range(name: str) -> None:
    """Each face has three corners of its own, UVs lie in the image and are spread over it."""
    mesh = read_model((SAMPLES / name).read_bytes())
    textured = project(mesh, WHITE, "PBR")
    assert len(textured.positions) == len(textured.normals) == len(textured.uvs)
    assert len(mesh.faces) - 2 <= len(textured.positions) / 3 <= len(mesh.faces)  # but for faces without an area
    assert np.abs(np.linalg.norm(textured.normals, axis=1) - 1).max() < 1e-5
    assert np.abs(np.linalg.norm(textured.tangents, axis=1) - 1).max() < 1e-5
    assert np.abs((textured.tangents * textured.normals).sum(axis=1)).max() < 1e-5
    assert textured.uvs.min() >= 0
    assert textured.uvs.max() <= 1
    assert np.ptp(textured.uvs, axis=0).min() > 0.6


def test_edges_stay_sharp_and_curves_smooth() -> None:
    """A cube's normals point along the axes, the bunny's differ from its faces' own."""
    box = project(cube(), WHITE, "PBR")
    assert set(np.abs(box.normals).max(axis=1).tolist()) == {1.0}
    bunny = project(read_model((SAMPLES / "bunny.glb").read_bytes()), WHITE, "PBR")
    assert (bunny.normals[0::3] != bunny.normals[1::3]).any(axis=1).mean() > 0.9


def test_unusable_meshes_are_refused() -> None:
    """No faces, faces without an area, and coordinates that are no numbers cannot be textured."""
    line = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    face = np.array([[0, 1, 2]])
    for positions, faces in (
        (line, np.zeros((0, 3), dtype=np.int64)),
        (line, face),
        (line * np.nan, face),
        (line * 1e30, face),
    ):
        with pytest.raises(UnusableModelError):
            project(Mesh(positions, faces), WHITE, "PBR")


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (6, 3), elements=st.floats(width=32)))
def test_any_triangles_are_textured_or_refused(positions: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    """Whatever the coordinates, the result is in range or the model is refused."""
    with np.errstate(all="ignore"):
        try:
            textured = project(Mesh(positions, np.array([[0, 1, 2], [3, 4, 5]])), WHITE, "PBR")
        except UnusableModelError:
            return
    assert np.isfinite(textured.positions).all()
    assert ((textured.uvs >= 0) & (textured.uvs <= 1)).all()
    assert np.allclose(np.linalg.norm(textured.normals, axis=1), 1, atol=1e-3)
    assert np.allclose(np.linalg.norm(textured.tangents, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(("resolution", "edge"), [("Basic", 2048), ("High", 4096)])
def test_the_resolution_bounds_the_texture(resolution: str, edge: int) -> None:
    """A larger image is made smaller in its proportions, a smaller one stays as it is."""
    assert texture_image(png(size=(4200, 60)), resolution).size == (edge, round(60 * edge / 4200))
    assert texture_image(png(size=(300, 200)), resolution).size == (300, 200)


def test_images_become_upright_and_opaque() -> None:
    """Transparency is laid on white, grey and palettes become RGB, the EXIF orientation is applied."""
    with Image.open(MORE_SAMPLES / "react.webp") as transparent:
        corner_alpha = transparent.convert("RGBA").getpixel((0, 0))
    assert isinstance(corner_alpha, tuple)
    assert corner_alpha[3] == 0
    assert texture_image((MORE_SAMPLES / "react.webp").read_bytes(), "Basic").getpixel((0, 0)) == (255, 255, 255)
    turned = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 10), 50).save(turned, "JPEG", exif=exif)
    upright = texture_image(turned.getvalue(), "Basic")
    assert (upright.size, upright.mode) == ((10, 30), "RGB")


def test_a_grey_image_of_sixteen_bits_keeps_its_greys() -> None:
    """Photographs and height maps are stored so; cut off at 255 each would be white."""
    out = BytesIO()
    ramp = np.linspace(0, 0xFFFF, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(out, "PNG")
    assert np.array_equal(np.asarray(texture_image(out.getvalue(), "Basic"))[..., 0], ramp // 257)


def saved(image: Image.Image, kind: str = "PNG", **settings: object) -> bytes:
    """Return an image as a file."""
    image.save(out := BytesIO(), kind, **settings)
    return out.getvalue()


def sixteen_bits(colour_type: int, *samples: int, nothing: bytes = b"") -> bytes:
    """Write a PNG of 4 x 4 equal pixels with 16 bits for each sample, which Pillow writes in grey alone (PNG, third edition)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + struct.pack(f">{len(samples)}H", *samples) * 4) * 4
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0))]
    parts += [chunk(b"tRNS", nothing)] if nothing else []
    return b"\x89PNG\r\n\x1a\n" + b"".join((*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")))


PALETTE = Image.new("P", (4, 4), 1)
PALETTE.putpalette([0, 0, 0, 200, 100, 50])


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (sixteen_bits(0, 0x8080), (128, 128, 128)),
        (sixteen_bits(0, 0x01FF), (1, 1, 1)),
        (sixteen_bits(0, 0xFFFF), (255, 255, 255)),
        (sixteen_bits(0, 0x8080, nothing=b"\x80\x80"), (255, 255, 255)),
        (sixteen_bits(0, 0x8080, nothing=b"\x80\x81"), (128, 128, 128)),
        (sixteen_bits(2, 0xC8C8, 0x6464, 0x3232), (200, 100, 50)),
        (sixteen_bits(4, 0x6464, 0xFFFF), (100, 100, 100)),
        (sixteen_bits(4, 0x6464, 0x0000), (255, 255, 255)),
        (sixteen_bits(6, 0xC8C8, 0x6464, 0x3232, 0xFFFF), (200, 100, 50)),
        (sixteen_bits(6, 0xC8C8, 0x6464, 0x3232, 0x0000), (255, 255, 255)),
        (saved(PALETTE), (200, 100, 50)),
        (saved(PALETTE, transparency=1), (255, 255, 255)),
        (saved(PALETTE, transparency=0), (200, 100, 50)),
        (saved(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        (saved(Image.new("LA", (4, 4), (100, 0))), (255, 255, 255)),
        (saved(Image.new("RGB", (4, 4), (200, 100, 50)).convert("CMYK"), "JPEG", quality=100), (200, 100, 50)),
        (saved(Image.new("L", (4, 4), 100), "JPEG", quality=100), (100, 100, 100)),
    ],
)
def test_every_kind_of_pixel_has_its_colour(data: bytes, seen: tuple[int, int, int]) -> None:
    """16 bits, with and without alpha, palettes, one bit, inks: what a viewer shows on white is what is textured."""
    image = texture_image(data, "Basic")
    assert (image.mode, image.size) == ("RGB", (4, 4))
    for shown, wanted in zip(image.getpixel((1, 1)), seen, strict=True):  # type: ignore[arg-type]  # a pixel of RGB
        assert abs(shown - wanted) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_each_orientation_is_turned_upright(orientation: int, mode: str) -> None:
    """The corner that is bright lies top left when a viewer shows it, in 16 bits as well (EXIF, Orientation)."""
    upright = Image.new("L", (6, 4), 0)
    upright.putpixel((0, 0), 255)
    stored = upright if orientation == 1 else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257) if mode == "I;16" else stored.convert(mode)
    shown = texture_image(saved(image, exif=exif), "Basic")
    assert (shown.size, shown.getpixel((0, 0)), shown.getpixel((5, 3))) == ((6, 4), (255,) * 3, (0,) * 3)


STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is stored for each orientation."""


def test_a_seed_changes_the_colours_and_none_leaves_them() -> None:
    """So the jobs of a set that differ by their seeds can be told apart; a grey image gets a tint."""
    for ground in ((200, 40, 40), (128, 128, 128)):
        image = Image.new("RGB", (4, 4), ground)
        assert shaded(image, 0) is image
        pictures = {shaded(image, shade).tobytes() for shade in range(SHADES)}
        assert len(pictures) == SHADES
