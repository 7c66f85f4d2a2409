"""The installed systemd units: where they lie, and what they say with their drop-ins (systemd.unit(5))."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rodin_watchd.config.api_key import CREDENTIAL_NAME

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
_SETTING: Final = re.compile(r"^([A-Za-z]+)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_CONTINUED: Final = re.compile(r"\\\n")
_ESCAPED: Final = re.compile(r"\\x([0-9a-fA-F]{2})")
_ON: Final = frozenset({"1", "yes", "y", "true", "t", "on"})


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit, or an instance of one, as it is with its drop-ins: what they say, specifiers filled in."""

    name: str
    by_user: bool  # of `systemctl --user`
    said: Mapping[str, Sequence[str]]

    def last(self, setting: str) -> str:
        """Return what holds for a setting that has one value; "" where nothing is said."""
        return next(reversed(self.said.get(setting, ())), "")

    def words(self, setting: str) -> list[str]:
        """Return what holds for a setting that is a list."""
        return [word for line in self.said.get(setting, ()) for word in _words(line)]

    @property
    def config(self) -> Path:
        """The config file that its command line names; Path() if none."""
        words = _words(self.last("ExecStart"))
        return Path(words[words.index("--config") + 1]) if "--config" in words[:-1] else Path()

    @property
    def hides_homes(self) -> bool:
        """Whether homes are away or read-only for it, whatever else is allowed (systemd.exec(5), ProtectHome)."""
        return self.last("ProtectHome") in {*_ON, "read-only", "tmpfs"}


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
    unit = next(iter(units_of(config, folders)), None)
    credentials = [line.partition(":") for line in unit.said.get("LoadCredential", ())] if unit else []
    return next((Path(source) for name, _, source in reversed(credentials) if name == CREDENTIAL_NAME), None)


def units_of(config: Path, folders: Sequence[Path] = UNIT_FOLDERS) -> list[Unit]:
    """Return the installed units that serve a config file; an instance only where no other unit does: a template fits many."""
    units = [
        unit
        for place in installed(folders)
        for instance in (dict.fromkeys([config.stem, *_changed(folders)]) if place.name == TEMPLATE else [""])
        if (unit := _unit(place, instance, folders)).config.resolve() == config.resolve()
    ]
    return [unit for unit in units if "@" not in unit.name] or units


def _changed(folders: Sequence[Path]) -> Iterator[str]:
    """Give the instances with drop-ins, which may serve a config file of any name."""
    for folder in folders:
        for drop_ins in _absolute(folder).glob("rodin-watchd@?*.service.d"):
            yield drop_ins.name.removeprefix("rodin-watchd@").removesuffix(".service.d")


def _unit(place: Path, instance: str, folders: Sequence[Path]) -> Unit:
    """Read a unit and its drop-ins."""
    name = _INSTANCE.sub(instance, place.name)
    homes = [
        _absolute(folder) / f"{each}.d" for folder in reversed(folders) for each in dict.fromkeys((place.name, name))
    ]
    drop_ins = {path.name: path for home in homes for path in home.glob("*.conf")}
    text = "\n".join(_text(path) for path in (place, *(drop_ins[each] for each in sorted(drop_ins))))
    by_user = place.is_relative_to(_absolute(USER_FOLDER))
    return Unit(name, by_user, _said(text, _specifiers(name, instance, by_user=by_user)))


def _said(text: str, specifiers: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Return the values of each setting, in their order; an empty line takes back what was said before."""
    said: dict[str, list[str]] = {}
    for line in _SETTING.finditer(_CONTINUED.sub(" ", text)):
        value = re.sub("%[A-Za-z%]", lambda found: specifiers.get(found[0], found[0]), line[2])
        said[line[1]] = [*said.get(line[1], ()), value] if value else []
    return said


def bases(*, by_user: bool) -> Mapping[str, str]:
    """Return below which folders systemd makes a unit's own ones, by the setting that names them (systemd.exec(5))."""
    if not by_user:
        own = ("/run", "/var/lib", "/var/cache", "/var/log", "/etc")
    else:
        home = str(_absolute(Path("~")))
        state = f"{home}/.local/state"
        own = (f"/run/user/{os.getuid()}", state, f"{home}/.cache", f"{state}/log", f"{home}/.config")
    names = ("RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory")
    return dict(zip(names, own, strict=True))


def _specifiers(name: str, instance: str, *, by_user: bool) -> Mapping[str, str]:
    """Return what specifiers mean (systemd.unit(5), Specifiers): those that name units and folders."""
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), instance.replace("-", "/"))
    own = dict(zip(("%t", "%S", "%C", "%L", "%E"), bases(by_user=by_user).values(), strict=True))
    home = str(_absolute(Path("~"))) if by_user else "/root"
    stem = name.removesuffix(".service")
    return {
        **own,
        "%i": instance,
        "%I": plain,
        "%n": name,
        "%N": stem,
        "%p": stem.partition("@")[0],
        "%h": home,
        "%%": "%",
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _words(line: str) -> list[str]:
    """Split a line as systemd.syntax(7) does; what cannot be split holds no words."""
    try:
        return shlex.split(line)
    except ValueError:
        return []
