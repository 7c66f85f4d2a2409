"""What a benchmark gives: figures next to their floors, and the one table of them all."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, what the same costs a bare script, and the goal: for the value, or for value / floor."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    at_most: float | None = None
    at_most_times_floor: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its floor."""
        return self.value / self.floor if self.floor else None

    @property
    def goal(self) -> str:
        """The goal in words, "" for none."""
        if self.at_most_times_floor is not None:
            return f"<= {self.at_most_times_floor:g} x floor"
        return "" if self.at_most is None else f"<= {self.at_most:g} {self.unit}"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.at_most_times_floor is not None:
            return self.ratio is not None and self.ratio <= self.at_most_times_floor
        return None if self.at_most is None else self.value <= self.at_most


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured: `quick` only proves that everything runs; `size` is how large what grows is made."""

    quick: bool = False
    size: int | None = None

    def of(self, full: int, quick: int) -> int:
        """Return a count for this effort."""
        return quick if self.quick else full

    def sized(self, full: int, quick: int) -> int:
        """Return how many jobs, sets or files there are to be, in a benchmark of what grows with them."""
        return self.size or self.of(full, quick)


Measure: TypeAlias = Callable[[Effort], list[Figure]]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def machine() -> str:
    """Describe the machine in one line."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, {python}"


HEADINGS = ("what", "measured", "floor", "x floor", "goal", "met")


def print_table(figures: Iterable[Figure]) -> None:
    """Print the machine and the figures for people."""
    print(f"{machine()}\n\n{markdown(HEADINGS, [cells(figure) for figure in figures])}")


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with its columns aligned."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def cells(figure: Figure) -> tuple[str, ...]:
    """Return a figure's row."""
    floor = "" if figure.floor is None else f"{short(figure.floor)} {figure.unit} ({figure.floor_name})"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    return (figure.name, f"{short(figure.value)} {figure.unit}", floor, ratio, figure.goal, met)


def short(value: float) -> str:
    """Write a number with about three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f}"


def print_json(figures: Iterable[Figure]) -> None:
    """Print the figures for programs."""
    rows = [{**asdict(f), "ratio": f.ratio, "goal": f.goal, "met": f.met} for f in figures]
    sys.stdout.write(json.dumps({"machine": machine(), "figures": rows}, indent=2) + "\n")


def main(benchmarks: Sequence[tuple[str, Measure]], arguments: Sequence[str] | None = None) -> None:
    """Run benchmarks from the command line: all, or those that are named."""
    names = [name for name, _ in benchmarks]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few rounds only: proves that it runs, measures little")
    parser.add_argument(
        "--size", type=int, metavar="N", help="how many jobs, sets or files, where the figures depend on that"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    figures = []
    for name, measure in benchmarks:
        if not asked.names or name in asked.names:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            figures += measure(Effort(asked.quick, asked.size))
    (print_json if asked.json else print_table)(figures)
