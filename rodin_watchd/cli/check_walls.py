"""What `check` finds about the walls of the unit that serves a configuration: whether it may write where it has to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.cli.service_files import drop_in
from rodin_watchd.cli.unit_files import UNIT_FOLDERS, Unit, bases, units_of
from rodin_watchd.config import Config

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
                yield Finding(name, text, Verdict.PROBLEM, _advice(unit, folder))


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
