"""The long proof of `make soak` runs, and does not claim what it has not done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from crash_start import NO_COMPILER

SOAK = Path(__file__).resolve().parents[2] / "tools" / "soak.py"


@pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)
@pytest.mark.timeout(300)
def test_a_soak_without_time_proves_nothing() -> None:
    """With no time and no kills it prints its tables, says that nothing is proven, and exits 1."""
    command = [sys.executable, str(SOAK), "--seconds", "0", "--kills", "0", "--jobs", "1", "--seed", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "| before each effect | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in done.stdout
    assert (
        "Nothing was killed, so nothing is proven: before each effect, after each effect, at two effects, with a plugin at work, random times, uploads"
        in done.stdout
    )
