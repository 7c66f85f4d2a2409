"""`preview.webp`: a picture of the textured model, in three-quarter view, lit, on a light ground with a soft shadow."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from rodin_watchd.emulator.rasterizer import rasterize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rodin_watchd.emulator.mesh import TexturedMesh
    from rodin_watchd.emulator.rasterizer import Visible

SIZE = 512
"""The picture's edge, in pixels, as the vendor draws it."""
FILLED = 0.80
"""The part of the picture's edge that the model takes up."""
YAW, PITCH = np.radians(32.0), np.radians(17.0)
DISTANCE = 3.6
"""The camera's distance from the middle of the model, in radii of the model."""


def _direction(x: float, y: float, z: float) -> NDArray[np.float32]:
    length = (x * x + y * y + z * z) ** 0.5
    return np.array([x / length, y / length, z / length], dtype=np.float32)


# In camera space: x right, y up, z towards the camera.
KEY_LIGHT = _direction(-0.45, 0.65, 0.62)
RIM_LIGHT = _direction(0.75, 0.35, -0.55)
HALFWAY = _direction(-0.45, 0.65, 1.62)  # between the key light and the camera, for the gloss
GROUND_TOP, GROUND_BOTTOM = np.array([0.93, 0.94, 0.96]), np.array([0.78, 0.80, 0.84])


def preview_webp(mesh: TexturedMesh, size: int = SIZE) -> bytes:
    """Give the picture as WebP, `size` by `size` pixels."""
    out = BytesIO()
    picture(mesh, size).save(out, "WEBP", quality=88, method=2)
    return out.getvalue()


def picture(mesh: TexturedMesh, size: int = SIZE) -> Image.Image:
    """Draw the model larger, with this `edge`, then reduce it: smooth edges."""
    edge = size * 3 // 2
    view, screen, nearness = _camera(mesh, edge)
    canvas = _ground(*_shadow_shape(mesh, view, screen, edge), edge)
    visible = rasterize(screen.reshape(-1, 3, 2), nearness.reshape(-1, 3), edge)
    canvas.reshape(-1, 3)[visible.pixels] = _shade(mesh, visible, edge)
    pixels = (canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX)


def _turn() -> NDArray[np.float64]:
    """From model to camera space: x right, y up, z towards the camera."""
    sine, cosine = np.sin(YAW), np.cos(YAW)
    yaw = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    sine, cosine = np.sin(PITCH), np.cos(PITCH)
    turn: NDArray[np.float64] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ yaw
    return turn


def _camera(mesh: TexturedMesh, edge: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give the points (n, 3) in radii around the middle, where they are on the screen, and how near."""
    points = mesh.positions.astype(np.float64)
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    points /= np.linalg.norm(points, axis=1).max()
    nearness = _nearness(points)
    flat = _flat(points)
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = FILLED * edge / (high - low).max()
    return points, (flat - (low + high) / 2) * scale + edge / 2, nearness


def _nearness(points: NDArray[np.float64]) -> NDArray[np.float64]:
    nearness: NDArray[np.float64] = 1 / (DISTANCE - points @ _turn()[2])
    return nearness


def _flat(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Perspective; y downwards, as pictures have it."""
    flat: NDArray[np.float64] = (points @ _turn()[:2].T) * _nearness(points)[:, None] * (1.0, -1.0)
    return flat


def _shadow_shape(
    mesh: TexturedMesh, points: NDArray[np.float64], screen: NDArray[np.float64], edge: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the corners (m, 3, 2) and nearness of the model pressed flat on the ground below it, in small pixels."""
    pressed = points.copy()
    pressed[:, 1] = points[:, 1].min()
    flat, below = _flat(points), _flat(pressed)
    top = int(flat[:, 0].argmin()), int(flat[:, 0].argmax())
    scale = (screen[top[1], 0] - screen[top[0], 0]) / max(flat[top[1], 0] - flat[top[0], 0], 1e-12)
    moved = (below - flat[top[0]]) * scale + screen[top[0]]
    small = moved * (_shadow_edge(edge) / edge)
    return small.reshape(len(mesh.positions) // 3, 3, 2), _nearness(pressed).reshape(-1, 3)


def _shadow_edge(edge: int) -> int:
    return edge // 3  # it is soft: no finer


def _ground(corners: NDArray[np.float64], nearness: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
    size = _shadow_edge(edge)
    covered = np.zeros(size * size, dtype=np.uint8)
    covered[rasterize(corners, nearness, size).pixels] = 255
    shadow = Image.fromarray(covered.reshape(size, size)).filter(ImageFilter.GaussianBlur(7 * size / 256))
    large = shadow.resize((edge, edge), Image.Resampling.BICUBIC)
    slope = np.linspace(0, 1, edge)[:, None, None] ** 1.5
    ground = GROUND_TOP + (GROUND_BOTTOM - GROUND_TOP) * slope
    darkened: NDArray[np.float64] = ground * (1 - 0.42 * np.asarray(large, dtype=np.float64)[..., None] / 255)
    return darkened


def _shade(mesh: TexturedMesh, visible: Visible, edge: int) -> NDArray[np.float32]:
    """Light the texture in linear light and give it back as sRGB (gamma 2.2)."""
    weights = visible.weights.astype(np.float32)
    uvs, normals = (_mixed(corners, visible, weights) for corners in (mesh.uvs, mesh.normals))
    normals = normals @ _turn().T.astype(np.float32)
    normals /= np.maximum(np.sqrt(np.einsum("ij,ij->i", normals, normals)), np.float32(1e-9))[:, None]
    normals *= np.where(normals[:, 2:] < -0.2, np.float32(-1), np.float32(1))  # backs are lit as if they were fronts
    lit: NDArray[np.float32] = _sample(mesh.image, uvs, edge) * _light(normals)[:, None] + _gloss(normals)[:, None]
    return lit.clip(0, 1) ** np.float32(1 / 2.2)


def _mixed(values: NDArray[np.float32], visible: Visible, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the values at the corners of each visible triangle, mixed by its weights."""
    mixed: NDArray[np.float32] = np.einsum(
        "ij,ijk->ik", weights, values.reshape(-1, 3, values.shape[1])[visible.triangles]
    )
    return mixed


def _light(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    key = (normals @ KEY_LIGHT).clip(0)
    rim = (normals @ RIM_LIGHT).clip(0)
    sky = 0.5 + 0.5 * normals[:, 1]
    return (0.30 + 0.22 * sky + 0.72 * key + 0.30 * rim).astype(np.float32)


def _gloss(normals: NDArray[np.float32]) -> NDArray[np.float32]:
    return (0.05 * (normals @ HALFWAY).clip(0) ** 40).astype(np.float32)


def _sample(image: Image.Image, uvs: NDArray[np.float32], edge: int) -> NDArray[np.float32]:
    """Look up the texture between its four nearest pixels (bilinear); linear light, 0..1 for each colour."""
    small = image.copy()
    small.thumbnail((edge, edge), Image.Resampling.BOX)  # no finer than the picture can show
    texels = ((np.asarray(small, dtype=np.float32) / 255) ** 2.2).astype(np.float32)
    limit = np.array([small.width - 1, small.height - 1])
    place = (uvs * (limit + 1).astype(np.float32) - np.float32(0.5)).clip(0, limit.astype(np.float32))
    low = place.astype(np.int64)
    high, part = np.minimum(low + 1, limit), (place - low).astype(np.float32)
    upper = _between(texels[low[:, 1], low[:, 0]], texels[low[:, 1], high[:, 0]], part[:, :1])
    lower = _between(texels[high[:, 1], low[:, 0]], texels[high[:, 1], high[:, 0]], part[:, :1])
    return _between(upper, lower, part[:, 1:])


def _between(one: NDArray[np.float32], other: NDArray[np.float32], part: NDArray[np.float32]) -> NDArray[np.float32]:
    between: NDArray[np.float32] = one + (other - one) * part
    return between
