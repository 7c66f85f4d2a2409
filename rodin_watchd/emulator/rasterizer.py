"""A z-buffer in numpy: which triangle is seen in each pixel, and where on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

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
