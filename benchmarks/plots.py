"""Plots for the documents: lines over two logarithmic axes, as SVG that is readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

from benchmarks.figures import short

Point: TypeAlias = tuple[float, float]

_WIDTH: Final = 860
_HEIGHT: Final = 440
_LEFT: Final = 70
_RIGHT: Final = 250  # for the names of the lines
_TOP: Final = 64
_BOTTOM: Final = 50
_COLORS: Final = (
    "#2f6db5",
    "#c2571a",
    "#2d8a4e",
    "#8a4fb0",
    "#b58a00",
    "#b3305a",
    "#3c8f96",
    "#7a6a5a",
    "#5566cc",
    "#999999",
)
_STYLE: Final = """
    text { font: 12px sans-serif; fill: #24292f; }
    .title { font-size: 14px; font-weight: bold; }
    .grid { stroke: #d0d7de; }
    .goal { stroke: #cf222e; stroke-dasharray: 6 4; }
    .line { fill: none; stroke-width: 2; }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .grid { stroke: #3d444d; } }
"""


class _Axis:
    """A logarithmic axis over whole decades."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        """Return where a value is, in pixels."""
        return self._start + (math.log10(value) - self.low) / (self.high - self.low) * (self._end - self._start)

    @property
    def decades(self) -> list[float]:
        """Return the values that have a line."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def plot(title: str, across: str, up: str, lines: Mapping[str, Sequence[Point]], goal: float) -> str:
    """Return a plot of these lines, each of points above 0, with a line for the goal."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x_axis = _Axis(xs, _LEFT, _WIDTH - _RIGHT)
    y_axis = _Axis([*ys, goal], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x_axis, y_axis, across, up, goal), *_lines(lines, x_axis, y_axis)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
    named = f'<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<text class="title" x="{_LEFT}" y="22">{escape(title)}</text>'
    return "\n".join([head, named, *parts, "</svg>"]) + "\n"


def _grid(x_axis: _Axis, y_axis: _Axis, across: str, up: str, goal: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in x_axis.decades:
        x = x_axis.place(value)
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:,.0f}</text>'
    for value in y_axis.decades:
        y = y_axis.place(value)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>'
    y = y_axis.place(goal)
    yield f'<line class="goal" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
    yield f'<text x="{(_LEFT + right) / 2:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>'
    yield f'<text x="{_LEFT - 60}" y="{_TOP - 18}">{escape(up)}</text>'


def _lines(lines: Mapping[str, Sequence[Point]], x_axis: _Axis, y_axis: _Axis) -> Iterator[str]:
    highest_first = sorted(lines, key=lambda name: lines[name][-1][1], reverse=True)
    for number, name in enumerate(highest_first):
        color, points = _COLORS[number % len(_COLORS)], lines[name]
        path = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in points)
        yield f'<polyline class="line" stroke="{color}" points="{path}"/>'
        y = _TOP + 14 + 24 * number
        label = f"{name}: {short(points[-1][1])}"
        yield f'<line class="line" stroke="{color}" x1="{_WIDTH - _RIGHT + 14}" y1="{y - 4}" x2="{_WIDTH - _RIGHT + 34}" y2="{y - 4}"/>'
        yield f'<text x="{_WIDTH - _RIGHT + 40}" y="{y}">{escape(label)}</text>'
