"""The benchmarks run, and their table comes out."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from effort import EFFORT

from benchmarks.figures import Figure, cells, markdown
from benchmarks.growth import PAGE, with_table
from benchmarks.plots import plot

ROOT = Path(__file__).resolve().parent.parent


SAMPLED = () if EFFORT > 1 else ("polling", "hooks")
"""The benchmarks that `make test` runs; `make thorough` runs all, in the quick way as well."""


@pytest.mark.timeout(300 * EFFORT)
def test_the_benchmarks_give_figures() -> None:
    """They run in the quick way, and each figure has a value; how large it is says nothing here."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", *SAMPLED]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert told["machine"]
    assert len(told["figures"]) > (len(SAMPLED) or 30)
    assert all(figure["value"] >= 0 and figure["unit"] for figure in told["figures"])


@pytest.mark.parametrize(
    ("figure", "goal", "met"),
    [
        (Figure("x", 3.0, "ms", 2.0, "bare", at_most_times_floor=1.5), "<= 1.5 x floor", "yes"),
        (Figure("x", 3.1, "ms", 2.0, "bare", at_most_times_floor=1.5), "<= 1.5 x floor", "NO"),
        (Figure("x", 50.0, "ms", at_most=50), "<= 50 ms", "yes"),
        (Figure("x", 50.1, "ms", 2.0, "bare", at_most=50), "<= 50 ms", "NO"),
        (Figure("x", 3.0, "ms", 2.0, "bare"), "", ""),
    ],
)
def test_a_goal_is_met_or_not(figure: Figure, goal: str, met: str) -> None:
    """For the value itself, or for its multiple of the floor; without a goal nothing is claimed."""
    assert cells(figure)[-2:] == (goal, met)


def test_the_table_of_what_grows_is_made_again_between_its_marks() -> None:
    """A column for each size, a row for each cost; the rest of the page stays."""
    page = PAGE.read_text()
    made = with_table(page, {10: {"start": 36.25}, 1_000: {"start": 1234.0}})
    before, after = page.partition("<!-- growth: begin -->")[0], page.partition("<!-- growth: end -->")[2]
    assert made.startswith(before)
    assert made.endswith(after)
    assert "| finished jobs | 10   | 1,000 |" in made
    assert "| start, ms     | 36.2 | 1,234 |" in made
    assert with_table(made, {10: {"start": 36.25}, 1_000: {"start": 1234.0}}) == made


def test_a_plot_names_its_lines() -> None:
    """With the newest value of each, the highest first."""
    drawn = plot(
        "past & future", "jobs", "ms", {"low": [(10, 1.0), (1000, 2.0)], "a < b": [(10, 3.0), (1000, 40.0)]}, 100.0
    )
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
    assert texts[0] == "past & future"
    assert texts[-2:] == ["a < b: 40.0", "low: 2.00"]
    assert {"10", "100", "1,000", "ms", "jobs"} <= set(texts)


def test_a_table_is_aligned_markdown() -> None:
    """Each column is as wide as its widest cell."""
    assert markdown(("a", "bb"), [("1234", "5")]).splitlines() == ["| a    | bb |", "| ---- | -- |", "| 1234 | 5  |"]
