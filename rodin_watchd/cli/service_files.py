"""The files of a systemd service: what `install-service` writes, and what the packages bring along.

The texts are those of the project's folder `systemd/`, which the package carries as `rodin_watchd/units`. What differs
on a machine (program, config, shared folder) stands in a drop-in, so that the units stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from rodin_watchd.cli.program import NAME
from rodin_watchd.config_text import example
from rodin_watchd.errors import ConfigError

PROGRAM: Final = ("/usr/bin/rodin-watchd",)
"""The program of the units as they are."""

CONFIGS: Final = Path("/etc/rodin-watchd")
SHARE: Final = Path("/srv/rodin-watchd")
STATE: Final = Path("/var/lib/rodin-watchd")
PLACES: Final[Mapping[str, str]] = {
    "systemd/system/rodin-watchd.service": "rodin-watchd.service",
    "systemd/system/rodin-watchd@.service": "rodin-watchd@.service",
    "systemd/user/rodin-watchd.service": "user/rodin-watchd.service",
    "sysusers.d/rodin-watchd.conf": "rodin-watchd.sysusers",
    "tmpfiles.d/rodin-watchd.conf": "rodin-watchd.tmpfiles",
}
"""Where a package puts each file, below /usr/lib, and its name in the project."""

_INSTANCE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}")


@dataclass(frozen=True, slots=True)
class Place:
    """One service: the single one, or an instance."""

    instance: str = ""  # "" for the single one

    def __post_init__(self) -> None:
        """Refuse names that would have to be written in another way in unit names. Raises ConfigError."""
        if self.instance and not _INSTANCE.fullmatch(self.instance):
            raise ConfigError("The name of an instance is made of letters, digits, _, - and . (at most 41).")

    @property
    def unit(self) -> str:
        """The unit to enable."""
        return f"{NAME}@{self.instance}.service" if self.instance else f"{NAME}.service"

    @property
    def template(self) -> str:
        """The unit file that it is made from."""
        return f"{NAME}@.service" if self.instance else f"{NAME}.service"

    @property
    def config(self) -> Path:
        """The config file of the unit as it is."""
        return CONFIGS / f"{self.instance or 'config'}.toml"

    @property
    def share(self) -> Path:
        """The shared folder of the unit as it is."""
        return SHARE.with_name(f"{NAME}-{self.instance}") if self.instance else SHARE

    @property
    def state(self) -> Path:
        """The folder of its journal, which the unit's StateDirectory= makes."""
        return STATE / self.instance

    @property
    def snippet(self) -> str:
        """The file name of its tmpfiles.d snippet."""
        return f"{NAME}-{self.instance}.conf" if self.instance else f"{NAME}.conf"


def text_of(name: str) -> str:
    """Return a file of the project's folder `systemd/`."""
    return files("rodin_watchd").joinpath("units", *name.split("/")).read_text(encoding="utf-8")


def unit_files() -> dict[str, str]:
    """Return what a package installs, by the path below /usr/lib."""
    return {place: text_of(name) for place, name in PLACES.items()}


def config_text(share: Path, state: Path) -> str:
    """Write a config file for a service of the machine, every key with its comment.

    The state folder is named in it, so that `status` and the like find the journal without the service's environment.
    """
    text = example().partition("\n")[2]  # without the schema's place, which is another one
    for line, now in {
        'root = "."': f"root = {_toml(share)}",
        f'# state = "{STATE}"': f"state = {_toml(state)}",
    }.items():
        if f"\n{line}\n" not in text:
            raise AssertionError(f"the example has no line {line}")
        text = text.replace(f"\n{line}\n", f"\n{now}\n", 1)
    return text


def _toml(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def drop_in(program: tuple[str, ...], config: Path, share: Path) -> str:
    """Write what a unit needs to serve another folder, by another program, from another config."""
    return f"""\
# Written by `rodin-watchd install-service`; `rodin-watchd uninstall-service` removes it.
[Unit]
RequiresMountsFor={_word(share)}

[Service]
ExecStart=
ExecReload=
{_commands(program, config)}
ReadWritePaths={_word(f"-{share}")}
"""


def user_unit(program: tuple[str, ...], config: Path) -> str:
    """Write the unit of a user: program and config are in people's homes, so they are named in the unit itself."""
    lines = text_of(f"user/{NAME}.service").splitlines()
    kept = [line for line in lines if not line.startswith("ExecReload=")]
    commands = _commands(program, config)
    return "\n".join(commands if line.startswith("ExecStart=") else line for line in kept) + "\n"


def folders_text(place: Place, config: Path, share: Path) -> str:
    """Write the tmpfiles.d snippet.

    At another place than the usual, folders that are there already are somebody's: the colons, tmpfiles.d(5), keep
    their owner and mode.
    """
    text = text_of(f"{NAME}.tmpfiles").replace(f" {CONFIGS / 'config.toml'} ", f" {_field(config)} ")
    if share != place.share:
        text = re.sub(rf"( {SHARE}\S*) (\S+) (\S+) (\S+)", r"\1 :\2 :\3 :\4", text)
    return re.sub(rf" {SHARE}(/\S*)?(?= )", lambda found: f" {_field(Path(f'{share}{found[1] or str()}'))}", text)


def _commands(program: tuple[str, ...], config: Path) -> str:
    """Write how the service is started, and how it reads its config anew."""
    signal = next(line for line in text_of(f"{NAME}.service").splitlines() if line.startswith("ExecReload=/bin/sh"))
    start = _command(*program, "run", "--config", str(config))
    check = _command(*program, "check", "--config-only", "--config", str(config))
    return f"ExecStart={start}\n{signal}\nExecReload={check}"


def _command(*words: str) -> str:
    return " ".join(_word(word.replace("$", "$$")) for word in words)  # systemd.service(5): variables


def _word(word: object) -> str:
    """Write a word for a unit file, systemd.syntax(7): specifiers, blanks and quotes mean themselves."""
    escaped = str(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", escaped) else escaped


def _field(path: Path) -> str:
    """Write a path as a field of tmpfiles.d(5); all versions take quotes, not all take escapes of blanks."""
    return _word(path)
