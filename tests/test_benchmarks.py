"""The benchmarks run, and their table comes out."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from effort import EFFORT

from benchmarks.drops import (
    BEFORE,
    COPIED,
    DOWN,
    KINDS,
    MANY,
    STARTED_DURING,
    Dropped,
    Kind,
    Place,
    Write,
    bring,
    bring_at_once,
    digest_of,
    digests,
    paused,
    preallocated,
    reopened,
)
from benchmarks.figures import Figure, cells, markdown
from benchmarks.growth import PAGE, with_table
from benchmarks.plots import plot
from benchmarks.watchers import Take, Verdict, judged

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


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Make a folder to bring sets to, whose writers never wait."""
    for name in ("inbox", "aside"):
        (tmp_path / name).mkdir()
    return Place(tmp_path / "inbox", tmp_path / "aside", lambda _seconds: None)


ALL_KINDS = [*KINDS, BEFORE, DOWN, MANY, STARTED_DURING]


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.title)
@pytest.mark.parametrize("number", [0, 1])
def test_a_drop_ends_with_its_last_version(place: Place, kind: Kind, number: int) -> None:
    """However it is written, whole files lie there at its end, and nothing else."""
    dropped = bring(kind, place, number)
    assert _digests(place.inbox) == dropped.versions[-1]
    assert not any(path.is_file() for path in place.aside.rglob("*"))


def test_all_at_once_are_whole_as_soon_as_they_are_there(place: Place) -> None:
    """Each file is written elsewhere and renamed."""
    brought = bring_at_once(COPIED, place, range(3))
    assert _digests(place.inbox) == {path: digest for one in brought for path, digest in one.versions[0].items()}


@pytest.mark.parametrize(
    ("write", "share", "is_open"),
    [(paused(1), 0.5, True), (reopened(1), 0.5, False), (preallocated(1), 1.0, True)],
    ids=["paused", "reopened", "preallocated"],
)
def test_in_the_pause_half_of_a_file_is_there(place: Place, write: Write, share: float, *, is_open: bool) -> None:
    """Open or closed, with its own size or its full one, as the way has it; the other file is whole already."""
    kind = Kind("paused", write)
    seen: list[tuple[Mapping[str, str], int, bool]] = []

    def look(_seconds: float) -> None:
        path = place.inbox / f"{kind.name(0)}.glb"
        held = path in (descriptor.resolve() for descriptor in Path("/proc/self/fd").iterdir())
        seen.append((_digests(place.inbox), path.stat().st_size, held))

    (last,) = bring(kind, replace(place, pause=look), 0).versions
    (image, model), size = last, (place.inbox / f"{kind.name(0)}.glb").stat().st_size
    assert [(found[image], found[model] == last[model], there, held) for found, there, held in seen] == [
        (last[image], False, int(size * share), is_open)
    ]


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.title)
def test_no_set_is_another_ones(kind: Kind) -> None:
    """Their contents differ, and no name is the beginning of another."""
    digests_of_all = [
        digest for other in ALL_KINDS for number in (0, 1) for one in digests(other, number) for digest in one.values()
    ]
    assert len(set(digests_of_all)) == len(digests_of_all)
    names = {other.name(0) for other in ALL_KINDS} - {kind.name(0)}
    assert not any(name.startswith(kind.name(0)) for name in names)


WHOLE = {"set-1.png": "image", "set-1.glb": "model"}
BROUGHT = Dropped("copied", "set-1", (WHOLE,), 100.0)
TAKEN = [Take("set-1.png", "image", 98.0), Take("set-1.glb", "model", 103.0)]


@pytest.mark.parametrize(
    ("dropped", "takes", "verdict"),
    [
        (BROUGHT, TAKEN, Verdict(3.0, half=False, twice=False)),
        (BROUGHT, TAKEN[:1], Verdict(None, half=False, twice=False)),
        (BROUGHT, [*TAKEN[:1], Take("set-1.glb", "part", 99.0)], Verdict(None, half=True, twice=False)),
        (BROUGHT, [*TAKEN, Take("set-1.glb", "part", 99.0)], Verdict(3.0, half=True, twice=False)),
        (BROUGHT, [*TAKEN, Take(".set-1.glb.Xy12Zw", "model", 99.0)], Verdict(3.0, half=True, twice=False)),
        (BROUGHT, [*TAKEN, Take("set-1.glb", "model", 105.0)], Verdict(3.0, half=False, twice=True)),
        (BROUGHT, [*TAKEN, Take("set-2.glb", "part", 105.0)], Verdict(3.0, half=False, twice=False)),
        (BROUGHT, [TAKEN[0], Take("set-1.glb", "model", 9999.0)], Verdict(None, half=False, twice=False)),
        (BROUGHT.watched(102.0, 110.0), TAKEN, Verdict(1.0, half=False, twice=False)),
        (BROUGHT.watched(90.0, 101.0), TAKEN, Verdict(None, half=False, twice=False)),
        (
            replace(BROUGHT, versions=({"set-1.png": "older", "set-1.glb": "old"}, WHOLE)),
            [Take("set-1.glb", "old", 95.0), *TAKEN],
            Verdict(3.0, half=False, twice=False),
        ),
    ],
)
def test_a_set_is_judged_by_what_was_taken(dropped: Dropped, takes: list[Take], verdict: Verdict) -> None:
    """Whole, in part, too late, under a temporary name, twice, or in two versions that were both whole."""
    assert judged(dropped, takes) == verdict


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): digest_of(path.read_bytes()) for path in files}
