"""The plot of credits day by day, as numbers for a drawing (SVG) that the page shows without any script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

WIDTH: Final = 960
HEIGHT: Final = 220
LEFT: Final = 44
RIGHT: Final = 12
BELOW: Final = 24
ABOVE: Final = 12
_GAP: Final = 0.25
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_LINES: Final = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One day."""

    day: str
    credits: Decimal
    x: float
    y: float
    width: float
    height: float
    label: str  # below it; "" for most


@dataclass(frozen=True, slots=True)
class GridLine:
    """A value of the scale, or the budget."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Plot:
    """The whole drawing."""

    width: int
    height: int
    left: int
    bars: Sequence[Bar]
    lines: Sequence[GridLine]
    budget: GridLine | None


def plot(by_day: Sequence[Mapping[str, Any]], budget: Decimal | None) -> Plot:
    """Return the drawing of what was spent day by day, below the budget of a day if there is one."""
    most = max([*(one["credits"] for one in by_day), Decimal(1)])
    if budget is not None and budget <= 3 * most:  # one far above would leave nothing to see
        most = max(most, budget)
    step = _step(float(most) / _LINES)
    top = step * math.ceil(float(most) / step)
    room = HEIGHT - ABOVE - BELOW

    def y(value: float) -> float:
        return round(ABOVE + room * (1 - value / top), 1)

    wide = (WIDTH - LEFT - RIGHT) / len(by_day)
    bars = []
    for number, one in enumerate(by_day):
        height = round(room * float(one["credits"]) / top, 1)
        x = round(LEFT + wide * (number + _GAP / 2), 1)
        label = one["day"][5:] if (len(by_day) - 1 - number) % 7 == 0 else ""
        bars.append(
            Bar(
                one["day"],
                one["credits"],
                x,
                round(ABOVE + room - height, 1),
                round(wide * (1 - _GAP), 1),
                height,
                label,
            )
        )
    values = [step * number for number in range(round(top / step) + 1)]
    lines = [GridLine(y(value), f"{value:g}") for value in values]
    shown = GridLine(y(float(budget)), f"{budget:g}") if budget is not None and float(budget) <= top else None
    return Plot(WIDTH, HEIGHT, LEFT, bars, lines, shown)


def _step(least: float) -> float:
    """Return the round number at or above this one."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * one for one in _STEPS if power * one >= least)
