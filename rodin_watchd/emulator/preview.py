"""`preview.webp`: a picture of the textured model, in three-quarter view, lit, on a light ground with a soft shadow."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rodin_watchd.emulator.texture import TexturedMesh

# ---- A z-buffer in numpy: which triangle is seen in each pixel, and where on it -------------------------------------


PIXELS_AT_ONCE = 1_000_000
"""Pixels drawn in one go: bounds the memory to some tens of megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """The covered pixels (flat, row by row), the triangle in each, and its corner weights (n, 3), perspective-correct."""

    pixels: NDArray[np.int64]
    triangles: NDArray[np.int64]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Rows of pixels inside triangles: where each starts (flat), its length, and the nearness along it."""

    triangles: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    nearness: NDArray[np.float64]
    slopes: NDArray[np.float64]

    def portion(self, chosen: NDArray[np.bool_]) -> Spans:
        """Give some of the spans."""
        return Spans(
            self.triangles[chosen],
            self.starts[chosen],
            self.lengths[chosen],
            self.nearness[chosen],
            self.slopes[chosen],
        )


def rasterize(screen: NDArray[np.float64], nearness: NDArray[np.float64], size: int) -> Visible:
    """Find what is seen in a square picture of `size` pixels.

    `screen` (m, 3, 2) are the corners in pixels, x to the right and y downwards; `nearness` (m, 3) is 1 / distance.
    """
    planes = _planes(screen, nearness)
    depth = np.zeros(size * size)
    seen = np.full(size * size, -1, dtype=np.int64)
    for spans in _portions(_spans(planes, screen, size)):
        _draw(spans, depth, seen)
    covered = np.flatnonzero(seen >= 0)
    return Visible(covered, seen[covered], _weights(planes[seen[covered]], covered, size))


def _planes(screen: NDArray[np.float64], nearness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give (m, 3, 3): for each corner a, b, c so that a*x + b*y + c is its weight times its nearness.

    Inside the triangle all three are positive. Triangles seen edge-on get planes of NaN.
    """
    following, last = np.roll(screen, -1, axis=1), np.roll(screen, -2, axis=1)
    a = following[..., 1] - last[..., 1]
    b = last[..., 0] - following[..., 0]
    c = following[..., 0] * last[..., 1] - last[..., 0] * following[..., 1]
    area = c.sum(axis=1)
    area[np.abs(area) < 1e-9] = np.nan
    planes: NDArray[np.float64] = np.stack([a, b, c], axis=2) * (nearness / area[:, None])[..., None]
    return planes


def _spans(planes: NDArray[np.float64], screen: NDArray[np.float64], size: int) -> Spans:
    """Cut each triangle into its rows of pixels."""
    triangles, rows = _triangle_rows(planes, screen[..., 1], size)
    y = rows + 0.5
    slopes = planes[triangles, :, 0]
    rest = planes[triangles, :, 1] * y[:, None] + planes[triangles, :, 2]
    left, right = _row_bounds(slopes, rest)
    low = np.ceil(left - 0.5).clip(0, size).astype(np.int64)
    high = np.floor(right - 0.5).clip(-1, size - 1).astype(np.int64)
    slope = slopes.sum(axis=1)
    spans = Spans(triangles, rows * size + low, high - low + 1, slope * (low + 0.5) + rest.sum(axis=1), slope)
    return spans.portion(spans.lengths > 0)


def _triangle_rows(
    planes: NDArray[np.float64], heights: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low = np.ceil(heights.min(axis=1) - 0.5).clip(0, size).astype(np.int64)
    high = np.floor(heights.max(axis=1) - 0.5).clip(-1, size - 1).astype(np.int64)
    counts = np.where(np.isfinite(planes[:, 0, 0]), high - low + 1, 0).clip(0)
    triangles = np.repeat(np.arange(len(planes)), counts)
    return triangles, low[triangles] + _counted(counts)


def _row_bounds(
    slopes: NDArray[np.float64], rest: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give from where to where in a row all three of slope*x + rest are positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -rest / slopes
    left = np.where(slopes > 0, crossing, -np.inf).max(axis=1)
    right = np.where(slopes < 0, crossing, np.inf).min(axis=1)
    outside = ((slopes == 0) & (rest < 0)).any(axis=1)
    return left, np.where(outside, -np.inf, right)


def _counted(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count 0, 1, 2, … for each entry: (2, 3) gives 0 1 0 1 2."""
    counted: NDArray[np.int64] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return counted


def _portions(spans: Spans) -> Iterator[Spans]:
    turns = np.cumsum(spans.lengths) // PIXELS_AT_ONCE
    for turn in np.unique(turns):
        yield spans.portion(turns == turn)


def _draw(spans: Spans, depth: NDArray[np.float64], seen: NDArray[np.int64]) -> None:
    steps = _counted(spans.lengths)
    pixels = np.repeat(spans.starts, spans.lengths) + steps
    nearness = np.repeat(spans.nearness, spans.lengths) + np.repeat(spans.slopes, spans.lengths) * steps
    triangles = np.repeat(spans.triangles, spans.lengths)
    order = np.flatnonzero(nearness > depth[pixels])
    order = order[np.argsort(nearness[order], kind="stable")]  # the nearest is written last, so it stays
    depth[pixels[order]] = nearness[order]
    seen[pixels[order]] = triangles[order]


def _weights(planes: NDArray[np.float64], pixels: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    rows, columns = np.divmod(pixels, size)
    parts = planes[..., 0] * (columns + 0.5)[:, None] + planes[..., 1] * (rows + 0.5)[:, None] + planes[..., 2]
    weights: NDArray[np.float64] = parts / parts.sum(axis=1, keepdims=True)
    return weights


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
    canvas = _mount(*_shadow_shape(mesh, view, screen, edge), edge)
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


def _mount(corners: NDArray[np.float64], nearness: NDArray[np.float64], edge: int) -> NDArray[np.float64]:
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
