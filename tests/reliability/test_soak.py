"""The long proof of `make soak` runs, and does not claim what it has not done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from all_stories import STORIES
from crash_start import NO_COMPILER

SOAK = Path(__file__).resolve().parents[2] / "tools" / "soak.py"


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.timeout(300)
def test_a_soak_without_time_proves_nothing() -> None:
    """With no time it prints its tables, names every story as not made, and exits 1."""
    command = [sys.executable, str(SOAK), "--seconds", "0", "--jobs", "1", "--seed", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "| killed before each effect | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in done.stdout
    names = ", ".join([*(story.name for story in STORIES), "uploads"])
    assert f"Not struck, so nothing is proven: {names}." in done.stdout


def test_each_story_has_a_row_of_its_own() -> None:
    """No two stories have one name: their figures would be mixed."""
    assert len({story.name for story in STORIES}) == len(STORIES)
