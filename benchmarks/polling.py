"""How many status calls a task costs and how late its end is noticed: a simulation, no network.

`core.schedule.poll_delay_seconds` against asking every 5 seconds, as the vendor's sample does, for several plausible
distributions of task durations. Prints a table in Markdown: `python -m benchmarks.polling`.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TypeAlias

from benchmarks.figures import Effort, Figure, markdown, median
from rodin_watchd.config import PollingSection
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.schedule import poll_delay_seconds

FIXED_SECONDS = 5.0
HISTORIES = (0, 5, 50)
LIMITS = PollingSection()

Draw: TypeAlias = Callable[[random.Random], float]
NextDelay: TypeAlias = Callable[[float], float]


def _lognormal(median_seconds: float, sigma: float) -> Draw:
    return lambda chance: chance.lognormvariate(math.log(median_seconds), sigma)


def _mixed(first: Draw, second: Draw, share: float) -> Draw:
    return lambda chance: (first if chance.random() < share else second)(chance)


DURATIONS: Mapping[str, Draw] = {
    "about 20 s, narrow": _lognormal(20, 0.15),
    "about 60 s, narrow": _lognormal(60, 0.15),
    "about 60 s, wide": _lognormal(60, 0.5),
    "about 180 s, narrow": _lognormal(180, 0.15),
    "about 180 s, wide": _lognormal(180, 0.5),
    "two kinds in one: 45 s and 150 s": _mixed(_lognormal(45, 0.15), _lognormal(150, 0.15), 0.5),
    "60 s, one in ten waits long (Pareto)": _mixed(
        _lognormal(60, 0.2), lambda chance: 60 * chance.paretovariate(1.2), 0.9
    ),
}
"""Seconds from submit to Done; nobody publishes real ones, so they span what users report."""


def _asked(duration: float, next_delay: NextDelay) -> tuple[int, float]:
    """Return the calls that a task takes, and how many seconds after its end the last one comes."""
    elapsed, calls = 0.0, 0
    while elapsed < duration or not calls:
        elapsed += next_delay(elapsed)
        calls += 1
    return calls, elapsed - duration


def simulated(draw: Draw, known: int, tasks: int) -> tuple[float, float, float, float]:
    """Return calls and mean delay for each task: by forecast with so many known durations, then by the fixed interval."""
    chance = random.Random(7)  # noqa: S311 - the same tasks in each run
    forecast, fixed = [], []
    for _ in range(tasks):
        history = [draw(chance) for _ in range(known)]
        duration = draw(chance)
        forecast.append(_asked(duration, lambda elapsed, known_ones=history: _delay(known_ones, elapsed, chance)))  # type: ignore[misc] # a bound default
        fixed.append(_asked(duration, lambda _elapsed: FIXED_SECONDS))
    columns = (*zip(*forecast, strict=True), *zip(*fixed, strict=True))
    calls, delay, fixed_calls, fixed_delay = (fmean(column) for column in columns)
    return calls, delay, fixed_calls, fixed_delay


def _delay(history: Sequence[float], elapsed: float, chance: random.Random) -> float:
    return poll_delay_seconds(
        history,
        elapsed,
        usual=TEXTURE.usual_seconds,
        shortest=LIMITS.min_seconds,
        longest=LIMITS.max_seconds,
        chance=chance.random(),
    )


def rows(tasks: int) -> list[tuple[str, int, tuple[float, float, float, float]]]:
    """Simulate every distribution with every length of history."""
    return [(name, known, simulated(draw, known, tasks)) for name, draw in DURATIONS.items() for known in HISTORIES]


def measure(effort: Effort) -> list[Figure]:
    """Return the medians over all distributions, for tasks whose kind is known."""
    known = [result for _, count, result in rows(effort.of(1000, 50)) if count == HISTORIES[-1]]
    calls, delay, fixed_calls, fixed_delay = (median(column) for column in zip(*known, strict=True))
    return [
        Figure("status calls for a task (simulated)", calls, "calls", fixed_calls, "every 5 s"),
        Figure("delay from Done to noticed (simulated)", delay, "s", fixed_delay, "every 5 s"),
    ]


def main() -> None:
    """Print the whole table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="tasks to simulate for each line")
    headings = ("durations", "known", "calls", "delay", "calls, every 5 s", "delay, every 5 s")
    table = [
        (name, f"{known}", f"{calls:.1f}", f"{delay:.1f} s", f"{fixed_calls:.1f}", f"{fixed_delay:.1f} s")
        for name, known, (calls, delay, fixed_calls, fixed_delay) in rows(parser.parse_args().tasks)
    ]
    print(markdown(headings, table))


if __name__ == "__main__":
    main()
