"""The installed systemd units: where they lie, and what they say with their drop-ins (systemd.unit(5))."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rodin_watchd.api_key import CREDENTIAL_NAME

SYSTEM_FOLDERS: Final = tuple(
    Path(folder)
    for folder in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
USER_FOLDER: Final = Path("~/.config/systemd/user")
UNIT_FOLDERS: Final = (*SYSTEM_FOLDERS, USER_FOLDER)
"""Where units lie, the first one wins (systemd.unit(5), Unit File Load Path)."""

SINGLE, TEMPLATE = "rodin-watchd.service", "rodin-watchd@.service"
_INSTANCE: Final = re.compile(r"(?<=@).*(?=\.service)")
_SETTING: Final = re.compile(
    rf"^(ExecStart|LoadCredential(?=[ \t]*=[ \t]*(?:{CREDENTIAL_NAME}:|$)))[ \t]*=[ \t]*(?:{CREDENTIAL_NAME}:)?(.*)$",
    re.MULTILINE,
)
"""Lines about another credential are passed over; an empty line takes back what was said before."""


def installed(folders: Sequence[Path] = UNIT_FOLDERS) -> list[Path]:
    """Return the file of each unit that is installed, as far as this user may look."""
    return [unit for name in (SINGLE, TEMPLATE) if (unit := _fragment(name, folders))]


def _fragment(name: str, folders: Sequence[Path]) -> Path | None:
    places = (_absolute(folder) / name for folder in folders)
    return next((place for place in places if os.path.isfile(place)), None)  # noqa: PTH113 - no error where we may not look


def _absolute(folder: Path) -> Path:
    return Path(os.path.expanduser(folder))  # noqa: PTH111 - no error for a user without a home


def credential_of(config: Path, folders: Sequence[Path] = UNIT_FOLDERS) -> Path | None:
    """Return the file that systemd gives, as the API key, to the service of this config file; None if no unit says so."""
    for unit in installed(folders):
        for instance in _instances(config, folders) if unit.name == TEMPLATE else [""]:
            said = _said(unit, instance, folders)
            if Path(_config_of(said.get("ExecStart", ""))).resolve() == config.resolve():
                return Path(source) if (source := said.get("LoadCredential")) else None
    return None


def _instances(config: Path, folders: Sequence[Path]) -> Iterator[str]:
    """Give the instances that may serve a config file: the one of its name, and those with drop-ins."""
    yield config.stem
    for folder in folders:
        for drop_ins in _absolute(folder).glob("rodin-watchd@?*.service.d"):
            yield drop_ins.name.removeprefix("rodin-watchd@").removesuffix(".service.d")


def _said(unit: Path, instance: str, folders: Sequence[Path]) -> dict[str, str]:
    """Return what a unit and its drop-ins say at last, specifiers filled in: those that its files use."""
    names = dict.fromkeys((unit.name, _INSTANCE.sub(instance, unit.name)))
    homes = [_absolute(folder) / f"{name}.d" for folder in reversed(folders) for name in names]
    drop_ins = {path.name: path for home in homes for path in home.glob("*.conf")}
    text = "\n".join(_text(path) for path in (unit, *(drop_ins[name] for name in sorted(drop_ins))))
    settings = _absolute(Path("~/.config")) if unit.is_relative_to(_absolute(USER_FOLDER)) else "/etc"
    known = {"%i": instance, "%E": str(settings), "%%": "%"}
    return {line[1]: re.sub("%[iE%]", lambda found: known[found[0]], line[2]) for line in _SETTING.finditer(text)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _config_of(command: str) -> str:
    """Return the config file that a command line names."""
    try:
        words = shlex.split(command)
        return words[words.index("--config") + 1]
    except (ValueError, IndexError):
        return ""
