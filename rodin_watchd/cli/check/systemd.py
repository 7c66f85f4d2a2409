"""What `check` finds about systemd: the installed unit, and how well it is shut in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rodin_watchd.cli.check.findings import Finding, Level
from rodin_watchd.cli.systemd import drop_in
from rodin_watchd.cli.systemd.units import UNIT_FOLDERS, USER_FOLDER, Unit, bases, installed, units_of
from rodin_watchd.config import Config

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
    return Finding("unit", text, Level.WARNING, advice)


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


# ---- What `check` finds about the walls of the unit that serves a configuration: whether it may write where it has to ----


_NEVER_CLOSED: Final = (Path("/dev"), Path("/proc"), Path("/sys"))
"""What ProtectSystem=strict leaves as it is (systemd.exec(5))."""
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= is about (systemd.exec(5))."""


def folder_walls(path: Path, config: Config, places: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Give a problem for each of the service's own folders that the unit of a config file keeps it from writing."""
    wanted = {"folders.root": config.folders.root}
    if config.folders.state:
        wanted["folders.state"] = config.folders.state
    return _closed("folders", wanted, units_of(path, places))


def textfile_walls(path: Path, config: Config, places: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Do the same for the folder of metrics.textfile, if there is to be one."""
    wanted = {"metrics.textfile": config.metrics.textfile.parent} if config.metrics.textfile else {}
    return _closed("metrics", wanted, units_of(path, places))


def _closed(name: str, wanted: Mapping[str, Path], units: Iterable[Unit]) -> Iterator[Finding]:
    for unit in units:
        for key, folder in wanted.items():
            if not may_write(unit, folder):
                text = f"{unit.name} may not write {folder} ({key}): ProtectSystem=strict, and no ReadWritePaths= names it."
                yield Finding(name, text, Level.PROBLEM, _advice(unit, folder))


def may_write(unit: Unit, folder: Path) -> bool:
    """Tell whether a unit leaves a folder writable; whose folder it is, is another question."""
    if unit.last("ProtectSystem") != "strict":
        return True
    named = (Path(word.lstrip("-+")) for word in unit.words("ReadWritePaths"))
    own = (
        Path(base, word.partition(":")[0])  # after the colon: another name for it
        for setting, base in bases(by_user=unit.by_user).items()
        for word in unit.words(setting)
    )
    return _is_in(folder, (*named, *own, *_NEVER_CLOSED))


def _is_in(folder: Path, places: Sequence[Path]) -> bool:
    real = Path(os.path.realpath(folder))
    return any(real.is_relative_to(os.path.realpath(place)) for place in places)


def _advice(unit: Unit, folder: Path) -> str:
    """Name the lines that open it."""
    lines = [
        "[Service]",
        *(line for line in drop_in((), Path(), folder).splitlines() if line.startswith("ReadWritePaths=")),
    ]
    if unit.hides_homes and _is_in(folder, _HOMES):
        lines.append("ProtectHome=no")
    command = "systemctl --user edit" if unit.by_user else "systemctl edit"
    listed = ", ".join(f"`{line}`" for line in lines)
    return f"Run `{command} {unit.name}`, write there, each on a line of its own, {listed}, and start it anew."
