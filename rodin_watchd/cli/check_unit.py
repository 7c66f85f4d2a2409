"""What `check` finds about systemd: the installed unit, and how well it is shut in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.cli.unit_files import UNIT_FOLDERS, USER_FOLDER, installed

GOOD_SCORE: Final = 1.5
"""The unit that comes along is at most at this; 10 is not shut in at all."""

_SCORE: Final = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
_SECONDS: Final = 30.0


def unit_findings(folders: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Look at each unit that is installed."""
    units = installed(folders)
    for unit in units:
        yield _judged(unit)
    if not units:
        yield Finding("unit", "No systemd unit is installed; `rodin-watchd run` works without.")


def _judged(unit: Path) -> Finding:
    """Judge a unit; a user's service has only the part of the sandbox that needs no root."""
    score = score_of(unit)
    if score is None:
        return Finding("unit", f"{unit} is installed; systemd-analyze is not there to judge it.")
    text = f"{unit} is installed; its exposure is {score:.1f} of 10 (`systemd-analyze security`)."
    if score <= GOOD_SCORE or unit.parent == Path(os.path.expanduser(USER_FOLDER)):  # noqa: PTH111 - no error without a home
        return Finding("unit", text)
    advice = f"At most {GOOD_SCORE} is what the unit of this version has: look at changes and drop-ins."
    return Finding("unit", text, Verdict.WARNING, advice)


def score_of(unit: Path) -> float | None:
    """Return a unit's exposure, 0 to 10, drop-ins and all; None where nobody can tell."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    command = [program, "security", "--offline=true", "--no-pager", str(unit)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - a fixed command
    except subprocess.TimeoutExpired:
        return None
    found = _SCORE.search(run.stdout)
    return float(found[1]) if found else None
