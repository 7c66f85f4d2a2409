"""Meshes inside the emulator, and their texture: the image is projected on the model from six sides (box projection)."""

from __future__ import annotations

import colorsys
import hashlib
import textwrap
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Material = Literal["PBR", "Shaded", "None"]


class UnusableModelError(Exception):
    """The model cannot be read or textured: its task ends `Failed`, as it does at the vendor's."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles: `positions` (n, 3), y up, and `faces` (m, 3), indices into them."""

    positions: NDArray[np.float64]
    faces: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TexturedMesh:
    """Unwelded triangles: three rows of `positions`, `normals`, `tangents` (both of unit length) and `uvs` for each face.

    A tangent points to the right in the image, along the surface; no face shows the image mirrored.
    `uvs` are in 0..1 with v counted downwards from the top of the image (glTF 2.0, section 3.8.3). `image` is RGB; the material
    `None` does not show it.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    tangents: NDArray[np.float32]
    uvs: NDArray[np.float32]
    image: Image.Image
    material: Material

    @property
    def uvs_upwards(self) -> NDArray[np.float32]:
        """The UVs as OBJ and USD want them: v counted upwards from the bottom of the image."""
        return np.stack([self.uvs[:, 0], 1 - self.uvs[:, 1]], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """The maps of a PBR material besides its base colour: grey, grey, and a tangent-space normal map (glTF 2.0, section 3.9)."""

    metallic: Image.Image
    roughness: Image.Image
    normal: Image.Image

    @property
    def packed(self) -> Image.Image:
        """Roughness in green and metallic in blue, as glTF wants them in one image; red, which may hold an occlusion, is full."""
        return Image.merge("RGB", (Image.new("L", self.metallic.size, 255), self.roughness, self.metallic))


def maps_of(image: Image.Image) -> Maps:
    """Derive maps from a base colour simply: bright is smooth, bright without a colour is metal, and brightness is height."""
    red, green, blue = (np.asarray(part, dtype=np.float32) / np.float32(255) for part in image.split())
    bright: NDArray[np.float32] = np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    around = np.pad(bright, 1, mode="edge")
    left, up = around[1:-1, :-2] - around[1:-1, 2:], around[2:, 1:-1] - around[:-2, 1:-1]
    half = np.float32(0.5) / np.sqrt(left * left + up * up + np.float32(_FLATNESS * _FLATNESS))
    normal = Image.merge("RGB", [_grey(part * half + np.float32(0.5)) for part in (left, up, np.float32(_FLATNESS))])
    return Maps(_grey((2 * bright - 1).clip(0, 1) * (1 - spread)), _grey(0.9 - 0.5 * bright), normal)


_FLATNESS = 1.0
"""The height of the normal before it gets length 1: the smaller, the steeper is a step of brightness."""


def _grey(values: NDArray[np.floating[Any]]) -> Image.Image:
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8))


def images(mesh: TexturedMesh) -> dict[str, Image.Image]:
    """Give the images of the mesh's material, by their names; of PBR also those that glTF has in one image."""
    if mesh.material != "PBR":
        return {"shaded": mesh.image} if mesh.material == "Shaded" else {}
    maps = maps_of(mesh.image)
    return {
        "texture_diffuse": mesh.image,
        "texture_metallic": maps.metallic,
        "texture_normal": maps.normal,
        "texture_pbr": maps.packed,
        "texture_roughness": maps.roughness,
    }


# ---- The image is projected on the model from six sides (box projection) --------------------------------------------


TEXTURE_EDGE = {"Basic": 2048, "High": 4096}
"""Longest edge of the texture in pixels for each `resolution` (API contract, Generate Texture)."""

CREASE_COSINE = 0.72
"""Corners bent by more than about 45 degrees stay sharp."""

# For the sides +X -X +Y -Y +Z -Z, as seen from outside with y up: which axis runs to the right in the image and
# which runs up, and in which direction, so that no side shows the image mirrored.
RIGHT_AXIS = np.array([2, 2, 0, 0, 0, 0])
RIGHT_SIGN = np.array([-1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
UP_AXIS = np.array([1, 1, 2, 2, 1, 1])
UP_SIGN = np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0])


def texture_image(data: bytes, resolution: str) -> Image.Image:
    """Give the image as RGB, upright, transparency laid on white, its longest edge bounded by `resolution`."""
    with Image.open(BytesIO(data)) as source:
        upright = _in_eight_bits(ImageOps.exif_transpose(source)).convert("RGBA")
    upright.thumbnail((TEXTURE_EDGE[resolution], TEXTURE_EDGE[resolution]), Image.Resampling.LANCZOS)
    ground = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(ground, upright).convert("RGB")


SHADES: Final = 5
"""So many colourings there are: seeds that differ by a multiple of it give the same."""

_LEAST_TINT: Final = 40


def shaded(image: Image.Image, shade: int) -> Image.Image:
    """Give an RGB image in one of the colourings: its hues turned, and greys with a tint; 0 leaves it as it is."""
    if not shade:
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = hue.point(lambda found: (found + shade * 256 // SHADES) % 256)
    return Image.merge("HSV", (turned, saturation.point(lambda found: max(found, _LEAST_TINT)), value)).convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Give a grey image of 16 bits in 8: a mere conversion would cut its values off at 255, and leave it white.

    (Pillow itself reads 16 bits for each colour, or grey with alpha, as 8.) One grey may stand for nothing (PNG, tRNS).
    """
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64).clip(0, 0xFFFF)
    grey = Image.fromarray((values // 257).astype(np.uint8))
    if (nothing := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(values == nothing, 0, 255).astype(np.uint8)))
    return grey


def project(mesh: Mesh, image: Image.Image, material: Material) -> TexturedMesh:
    """Put the image on the mesh; each face takes it from the side that its normal points to most.

    Raises UnusableModelError when the mesh has no face with an area, or coordinates that are no numbers.
    """
    corners = _solid_corners(mesh)
    face_normals = unit(face_crosses(corners))
    sides, normals = _sides(face_normals), _corner_normals(corners, face_normals)
    return TexturedMesh(
        positions=corners.reshape(-1, 3).astype(np.float32),
        normals=normals.reshape(-1, 3).astype(np.float32),
        tangents=_tangents(normals, sides).reshape(-1, 3).astype(np.float32),
        uvs=_box_uvs(corners, sides).reshape(-1, 2).astype(np.float32),
        image=image,
        material=material,
    )


def face_crosses(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a vector along the normal of each triangle (m, 3, 3), twice its area long."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _solid_corners(mesh: Mesh) -> NDArray[np.float64]:
    if not len(mesh.faces):
        raise UnusableModelError("the model has no faces")
    corners = mesh.positions[mesh.faces]
    if not np.isfinite(corners).all() or np.abs(corners).max() > 1e18:  # its square must fit float32
        raise UnusableModelError("the model has coordinates that are no usable numbers")
    solid: NDArray[np.float64] = corners[np.linalg.norm(face_crosses(corners), axis=1) > 1e-30]
    if not len(solid):
        raise UnusableModelError("the model has no face with an area")
    return solid


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the vectors with length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.maximum(lengths, 1e-300)
    return scaled


def _corner_normals(corners: NDArray[np.float64], face_normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth normals where the surface bends gently, the face's own where it has an edge.

    Faces count by their angle at the point, so that it does not matter how a flat side is cut into triangles.
    """
    keys = np.ascontiguousarray(corners.reshape(-1, 3).astype(np.float32) + np.float32(0)).view("V12").ravel()
    _, points = np.unique(keys, return_inverse=True)
    flat = np.broadcast_to(face_normals[:, None, :], corners.shape)
    weights = (flat * _angles(corners)[..., None]).reshape(-1, 3)
    sums: NDArray[np.float64] = np.stack([np.bincount(points, weights[:, axis]) for axis in range(3)], axis=1)
    smooth = unit(sums)[points].reshape(-1, 3, 3)
    gentle = np.sum(smooth * flat, axis=2, keepdims=True) > CREASE_COSINE
    return np.where(gentle, smooth, flat)


def _angles(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the angle at each corner (m, 3) in radians."""
    onwards = unit(np.roll(corners, -1, axis=1) - corners)
    back = unit(np.roll(corners, 1, axis=1) - corners)
    angles: NDArray[np.float64] = np.arccos((onwards * back).sum(axis=2).clip(-1, 1))
    return angles


def _sides(face_normals: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which of the six sides each face takes the image from."""
    axis = np.abs(face_normals).argmax(axis=1)
    sides: NDArray[np.int64] = axis * 2 + (face_normals[np.arange(len(axis)), axis] < 0)
    return sides


def _tangents(normals: NDArray[np.float64], side: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each corner the direction along the surface that runs to the right in the image."""
    right = (np.eye(3)[RIGHT_AXIS] * RIGHT_SIGN[:, None])[side][:, None, :]
    up = (np.eye(3)[UP_AXIS] * UP_SIGN[:, None])[side][:, None, :]
    away = (right * normals).sum(axis=2, keepdims=True)
    steep = np.abs(away) > 0.9  # the surface hardly runs that way: what is across it and the way up
    return unit(np.where(steep, np.cross(np.broadcast_to(up, normals.shape), normals), right - away * normals))


def _box_uvs(corners: NDArray[np.float64], side: NDArray[np.int64]) -> NDArray[np.float64]:
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    centred = (corners - (low + high) / 2) / (high - low).max()  # one scale: the image keeps its proportions
    rows = np.arange(len(corners))
    right = centred[rows, :, RIGHT_AXIS[side]] * RIGHT_SIGN[side, None]
    up = centred[rows, :, UP_AXIS[side]] * UP_SIGN[side, None]
    return np.stack([0.5 + right, 0.5 - up], axis=2).clip(0.0, 1.0)


# ---- Rodin Generation: a new model from an image (a relief of its brightness) or from a text (an image of the text) ----


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
