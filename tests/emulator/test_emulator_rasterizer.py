"""The z-buffer, against a slow and simple one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.emulator.preview import rasterize

SIZE = 12
COORDINATE = st.integers(-8, 40).map(lambda number: number / 2 + 0.25)  # never on a pixel's middle row or column
TRIANGLE = st.tuples(*[st.tuples(COORDINATE, COORDINATE, st.integers(1, 99).map(float))] * 3)


def slowly(triangles: list[tuple[tuple[float, float, float], ...]], x: float, y: float) -> tuple[int, float]:
    """Give the triangle seen at a point and its nearness, one by one."""
    best, nearest = -1, 0.0
    for index, ((x0, y0, n0), (x1, y1, n1), (x2, y2, n2)) in enumerate(triangles):
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        b1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
        b2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
        nearness = (1 - b1 - b2) * n0 + b1 * n1 + b2 * n2
        if min(b1, b2, 1 - b1 - b2) > 1e-9 and nearness > nearest + 1e-9:
            best, nearest = index, nearness
    return best, nearest


@settings(max_examples=60, deadline=None)
@given(st.lists(TRIANGLE, min_size=1, max_size=6))
def test_it_agrees_with_a_simple_one(triangles: list[tuple[tuple[float, float, float], ...]]) -> None:
    """In each pixel the nearest triangle is seen; on its very edge either answer is right."""
    corners = np.array(triangles)
    visible = rasterize(corners[..., :2], corners[..., 2], SIZE)
    seen = dict(zip(visible.pixels.tolist(), visible.triangles.tolist(), strict=True))
    for pixel in range(SIZE * SIZE):
        x, y = pixel % SIZE + 0.5, pixel // SIZE + 0.5
        expected, nearness = slowly(triangles, x, y)
        if expected >= 0:
            got = slowly([triangles[seen[pixel]]], x, y)[1]
            assert seen[pixel] == expected or got == 0 or abs(got - nearness) < 1e-6


def test_weights_are_perspective_correct() -> None:
    """Half-way on the screen is nearer to the near corner on the model."""
    screen = np.array([[[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]])
    visible = rasterize(screen, np.array([[1.0, 0.25, 1.0]]), 10)
    at = dict(zip(visible.pixels.tolist(), visible.weights.tolist(), strict=True))
    weights = at[4]  # x = 4.5, y = 0.5: screen weights 0.5, 0.45, 0.05
    total = 0.5 * 1 + 0.45 * 0.25 + 0.05 * 1
    assert np.allclose(weights, [0.5 / total, 0.45 * 0.25 / total, 0.05 / total])


def test_many_pixels_are_drawn_in_portions() -> None:
    """More overdraw than fits in one portion changes nothing: the nearest of many full squares wins."""
    square = np.array([[[-1.0, -1.0], [9999.0, -1.0], [-1.0, 9999.0]]])
    screen = np.repeat(square, 40, axis=0)
    nearness = np.linspace(1, 2, 40)[:, None].repeat(3, axis=1)[np.r_[20:40, 0:20]]
    visible = rasterize(screen, nearness, 256)
    assert len(visible.pixels) == 256 * 256
    assert set(visible.triangles.tolist()) == {19}


def test_nothing_is_seen_outside() -> None:
    """Triangles beside the picture and triangles without an area cover nothing."""
    outside = np.array([[[-9.0, 0.0], [-1.0, 0.0], [-1.0, 9.0]], [[0.0, 0.0], [5.0, 5.0], [10.0, 10.0]]])
    assert len(rasterize(outside, np.ones((2, 3)), 10).pixels) == 0
