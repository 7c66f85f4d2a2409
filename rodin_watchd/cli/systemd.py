"""`rodin-watchd install-service` and `uninstall-service`, for the machine or one user; and what installed units say (systemd.unit(5))."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeAlias

import click

from rodin_watchd.cli.context import NAME, program
from rodin_watchd.config import load_config
from rodin_watchd.config.reference import example
from rodin_watchd.core.layout import CONFIG_NAME
from rodin_watchd.errors import ConfigError, DiskError

# ---- The installed units: their folders, and what they say with their drop-ins ----------------------------------------


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
"""Where units are, the first one wins (systemd.unit(5), Unit File Load Path)."""

SINGLE, TEMPLATE = "rodin-watchd.service", "rodin-watchd@.service"
_INSTANCE_NAME: Final = re.compile(r"(?<=@).*(?=\.service)")
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


def credential_of(config: Path, wanted: str, folders: Sequence[Path] = UNIT_FOLDERS) -> Path | None:
    """Return the file that systemd gives, as a credential, to the service of this config file; None if no unit says so."""
    unit = next(iter(units_of(config, folders)), None)
    credentials = [line.partition(":") for line in unit.said.get("LoadCredential", ())] if unit else []
    return next((Path(source) for name, _, source in reversed(credentials) if name == wanted), None)


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
    name = _INSTANCE_NAME.sub(instance, place.name)
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


# ---- Acts on the machine that can be printed before they are done ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """A file that is to hold a text. With `keep`, one that is there stays as it is."""

    path: Path
    text: str
    keep: bool = False

    def described(self) -> str:
        """Say what would be done, with the whole text."""
        if self.is_done():
            return f"keep    {self.path}: it is there already"
        lines = "".join(f"\n      | {line}".rstrip() for line in self.text.splitlines())
        return f"{self.word()} {self.path} (mode 644){lines}"

    def is_done(self) -> bool:
        """Return whether there is nothing to do."""
        try:
            return self.path.exists() and (self.keep or self.path.read_text(encoding="utf-8") == self.text)
        except (PermissionError, UnicodeDecodeError):
            return False

    def word(self) -> str:
        """Say whether there was one before."""
        return "replace" if self.path.exists() else "write  "

    def do(self) -> str:
        """Write it whole or not at all, and return what was done. Raises OSError."""
        if self.is_done():
            return self.described()
        done = f"{self.word()} {self.path}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        new.write_text(self.text, encoding="utf-8")
        new.chmod(0o644)
        new.replace(self.path)
        return done


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that is to go, and its folder if that is for drop-ins and empty then."""

    path: Path

    def described(self) -> str:
        """Say what would be done."""
        return f"remove  {self.path}" if self.path.exists() else f"        {self.path} is not there"

    def do(self) -> str:
        """Do it, and return what was done. Raises OSError."""
        found = self.described()
        self.path.unlink(missing_ok=True)
        if self.path.parent.name.endswith(".service.d"):
            with contextlib.suppress(OSError):  # somebody's drop-ins are there, too, or there was none
                self.path.parent.rmdir()
        return found


@dataclass(frozen=True, slots=True)
class Run:
    """A command that is to be run; one that is not `required` may fail."""

    command: tuple[str, ...]
    required: bool = True

    def described(self) -> str:
        """Say what would be run."""
        return f"run     {shlex.join(self.command)}"

    def do(self) -> str:
        """Run it, and return what was run. Raises DiskError when it fails, OSError when it is missing."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        said = "".join(f"\n      | {line}" for line in (done.stdout + done.stderr).splitlines())
        if done.returncode != 0 and self.required:
            raise DiskError(
                f"`{shlex.join(self.command)}` failed ({done.returncode}).{said}",
                advice="Correct this, then run the command again.",
            )
        return self.described() + said


Act: TypeAlias = Put | Remove | Run


def do_all(acts: Iterable[Act], *, dry: bool) -> None:
    """Do one after the other, each printed when it is done; or print them all and do nothing. Raises RodinWatchdError, OSError."""
    for act in acts:
        click.echo(act.described() if dry else act.do())


# ---- The files of a systemd service: what `install-service` writes, and what the packages bring along ---------------


PROGRAM: Final = ("/usr/bin/rodin-watchd",)
"""The program of the units as they are."""

CONFIGS: Final = Path("/etc/rodin-watchd")
SHARE: Final = Path("/srv/rodin-watchd")
STATE: Final = Path("/var/lib/rodin-watchd")
PLACES: Final[Mapping[str, str]] = {
    "systemd/system/rodin-watchd.service": "rodin-watchd.service",
    "systemd/system/rodin-watchd@.service": "rodin-watchd@.service",
    "systemd/system/rodin-watchd-worker@.service": "rodin-watchd-worker@.service",
    "systemd/user/rodin-watchd.service": "user/rodin-watchd.service",
    "sysusers.d/rodin-watchd.conf": "rodin-watchd.sysusers",
    "tmpfiles.d/rodin-watchd.conf": "rodin-watchd.tmpfiles",
}
"""Where a package puts each file, below /usr/lib, and its name in the project."""

_INSTANCE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}")


@dataclass(frozen=True, slots=True)
class InstallPaths:
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


def folders_text(place: InstallPaths, config: Path, share: Path) -> str:
    """Write the tmpfiles.d snippet.

    At another place than the usual, folders that are there already are somebody's: the colons, tmpfiles.d(5), keep
    their owner and mode.
    """
    text = text_of(f"{NAME}.tmpfiles").replace(f" {CONFIGS / 'config.toml'} ", f" {_field(config)} ")
    if share != place.share:
        text = re.sub(rf"( {SHARE}\S*) (\S+) (\S+) (\S+)", r"\1 :\2 :\3 :\4", text)
    return re.sub(rf" {SHARE}(/\S*)?(?= )", lambda found: f" {_field(Path(f'{share}{found[1] or str()}'))}", text)


def _commands(program: tuple[str, ...], config: Path) -> str:
    """Write how the service is started, and how it reloads its config."""
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


ADMIN: Final = Path("/etc")
PACKAGED: Final = Path("/usr/lib/systemd/system")
RUNNING: Final = Path("/run/systemd/system")
"""It is there while systemd is the service manager, sd_booted(3)."""

HIDDEN: Final = (*map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")),)  # noqa: S108 - where nothing may be
"""What ProtectHome= and PrivateTmp= hide from the service, systemd.exec(5)."""

DROP_IN: Final = "10-installed.conf"

user_option = click.option("--user", is_flag=True, help="A service of your own (systemctl --user); needs no root.")
instance_option = click.option("--instance", default="", metavar="NAME", help="One of several: rodin-watchd@NAME.")
dry_option = click.option("--dry-run", is_flag=True, help="Print all that would be done, and do nothing.")


@click.command("install-service", epilog="Example: rodin-watchd install-service --dry-run")
@user_option
@instance_option
@click.option("--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="The config to serve.")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="The shared folder of a new config.")
@click.option("--now", is_flag=True, help="Also start it, or restart it if it runs.")
@dry_option
def install_service(
    *, user: bool, instance: str, config_file: Path | None, root: Path | None, now: bool, dry_run: bool
) -> None:
    """Install this installation as a systemd service: user and group, folders, config, units. Then enable it.

    An existing config is not changed. This may be repeated, for example after an upgrade.
    """
    place = _place(instance, user=user)
    config = (config_file or (_home_config(root) if user else place.config)).absolute()
    share = _share(config, root, config.parent if user else place.share)
    _refuse_unprintable(config, share)
    acts = _user_acts(config, share) if user else _system_acts(place, config, share)
    _refuse_without_rights(user=user, dry_run=dry_run)
    todo = [("daemon-reload",), ("enable", place.unit), *([("restart", place.unit)] if now else [])]
    do_all([*acts, *(Run(("systemctl", *_scope(user=user), *words)) for words in todo)], dry=dry_run)
    click.echo(f"\n{_next_steps(place, config, share, user=user, now=now)}")


@click.command("uninstall-service", epilog="Example: rodin-watchd uninstall-service --dry-run")
@user_option
@instance_option
@dry_option
def uninstall_service(*, user: bool, instance: str, dry_run: bool) -> None:
    """Stop and remove the service that `install-service` made.

    Config, key, journal, the shared folder with its files, and the system's user stay.
    """
    place = _place(instance, user=user)
    _refuse_without_rights(user=user, dry_run=dry_run)
    systemctl = ("systemctl", *_scope(user=user))
    files = [_user_units() / place.unit] if user else list(_system_files(place))
    stop = Run((*systemctl, "disable", "--now", place.unit), required=False)
    do_all([stop, *map(Remove, files), Run((*systemctl, "daemon-reload"))], dry=dry_run)
    click.echo("\nLeft alone: configuration, API key, journal, the shared folder" + ("." if user else ", the user."))


def _system_acts(place: InstallPaths, config: Path, share: Path) -> Iterator[Act]:
    """Give what makes a service of the machine; what a package has brought along is not written a second time."""
    started = program()
    package = Path(str(files("rodin_watchd")))
    _refuse_hidden(Path(started[0]), Path(sys.executable), Path(sys.base_prefix), package, config, share)
    if not _is_packaged(place):
        users = ADMIN / "sysusers.d" / f"{NAME}.conf"
        yield Put(users, text_of(f"{NAME}.sysusers"))
        yield Run(("systemd-sysusers", str(users)))
        yield Put(ADMIN / "systemd" / "system" / place.template, text_of(place.template))
    if (started, config, share) != (PROGRAM, place.config, place.share):
        yield Put(_drop_in_of(place), drop_in(started, config, share))
    yield Put(config, config_text(share, place.state), keep=True)
    folders = ADMIN / "tmpfiles.d" / place.snippet
    yield Put(folders, folders_text(place, config, share))
    yield Run(("systemd-tmpfiles", "--create", str(folders)))


def _user_acts(config: Path, share: Path) -> Iterator[Act]:
    if not config.exists():
        if config != share / CONFIG_NAME:
            advice = f"A new config lies in its folder: --root DIR makes DIR/{CONFIG_NAME}."
            raise ConfigError(f"There is no {config}.", advice=advice)
        yield Run((*program(), "init", str(share)))
    yield Put(_user_units() / f"{NAME}.service", user_unit(program(), config))


def _system_files(place: InstallPaths) -> Iterator[Path]:
    """Give what may have been written for a service, those for all instances with the last of them."""
    yield _drop_in_of(place)
    yield ADMIN / "tmpfiles.d" / place.snippet
    names = _installed() - {place.unit}
    if not any(name.startswith(f"{NAME}@") for name in names) or not place.instance:
        yield ADMIN / "systemd" / "system" / place.template
    if not names:
        yield ADMIN / "sysusers.d" / f"{NAME}.conf"


def _installed() -> set[str]:
    """Return the units that use the common files: those that this program has installed, and those that are enabled."""
    ours = {path.stem for path in (ADMIN / "tmpfiles.d").glob(f"{NAME}*.conf")}
    enabled = {link.name for link in (ADMIN / "systemd" / "system").glob(f"*.wants/{NAME}*.service")}
    return enabled | {InstallPaths(name.removeprefix(NAME).removeprefix("-")).unit for name in ours}


def _is_packaged(place: InstallPaths) -> bool:
    return (PACKAGED / place.template).exists()


def _drop_in_of(place: InstallPaths) -> Path:
    return ADMIN / "systemd" / "system" / f"{place.unit}.d" / DROP_IN


def _user_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _user_units() -> Path:
    return _user_home() / "systemd" / "user"


def _home_config(root: Path | None) -> Path:
    return (root or Path.home() / NAME) / CONFIG_NAME


def _scope(*, user: bool) -> list[str]:
    return ["--user"] if user else []


def _place(instance: str, *, user: bool) -> InstallPaths:
    if user and instance:
        raise ConfigError("--instance is for services of the machine, --user for the one of a user: give one of them.")
    return InstallPaths(instance)


def _share(config: Path, asked: Path | None, usual: Path) -> Path:
    """Return the shared folder: that of a config which is there, else the one that was asked for. Raises ConfigError."""
    try:
        if not config.exists():
            return (asked or usual).absolute()
    except PermissionError:
        raise ConfigError(
            f"This user may not look into {config.parent}.", advice="Use sudo, also for a dry run."
        ) from None
    root = load_config(config).folders.root
    if asked and asked.absolute() != root:
        raise ConfigError(f"{config} is there already, with folders.root {root}; change it there.")
    return root


def _refuse_unprintable(*paths: Path) -> None:
    if bad := next((path for path in paths if not str(path).isprintable()), None):
        raise ConfigError(f"{str(bad)!r} cannot be written into a unit: it holds a line break or the like.")


def _refuse_hidden(*paths: Path) -> None:
    """Raise ConfigError for what the sandbox would hide."""
    for path in paths:
        if why := hidden_on_the_way(path):
            raise ConfigError(
                f"{why} a home or /tmp, which the sandbox hides from a service of the machine.",
                advice="Install the program into /opt (a virtual environment, of a Python outside of homes) and keep the shared "
                "folder in /srv; or make it a service of your own with --user.",
            )


_MOST_STEPS: Final = 1000


def hidden_on_the_way(path: Path, hidden: Sequence[Path] = HIDDEN) -> str:
    """Say how a path leads into one of these folders: itself, or by a link, which is named with its target; "" if it does not.

    Each step counts, not the end alone: a link in a hidden folder leads nowhere, wherever it points. Reads links, nothing else.
    """
    there, rest, link = Path("/"), deque(path.absolute().parts[1:]), Path()
    for _ in range(_MOST_STEPS):  # links may lead in a circle
        if not rest:
            break
        part = rest.popleft()
        step = there.parent if part == ".." else there / part
        if any(step.is_relative_to(folder) for folder in hidden):
            by_link = link != Path()
            return f"{path} leads to {step.joinpath(*rest)} (by the link {link}), in" if by_link else f"{path} lies in"
        if os.path.islink(step):  # noqa: PTH114 - no error where we may not look
            link, target = step, step.readlink()
            there = Path("/") if target.is_absolute() else there
            rest.extendleft(reversed(target.parts[target.is_absolute() :]))
        else:
            there = step
    return ""


def _refuse_without_rights(*, user: bool, dry_run: bool) -> None:
    if dry_run:
        return
    if not user and os.geteuid() != 0:
        raise ConfigError("Only root may do this.", advice="Use sudo, or --user, or look at it first with --dry-run.")
    if not RUNNING.is_dir():
        raise ConfigError("This machine is not run by systemd.", advice="See docs/service.md for others.")


def _next_steps(place: InstallPaths, config: Path, share: Path, *, user: bool, now: bool) -> str:
    secrets = _user_home() / NAME if user else CONFIGS
    systemctl = " ".join(("systemctl", *_scope(user=user)))
    start = f"{systemctl} {'restart' if now else 'start'} {place.unit}"
    linger = "\n  To have it start with the machine: loginctl enable-linger" if user else ""
    return f"""Next:
  1. Look through {config}.
  2. Put the API key into {secrets / "api-key"}: one line, mode 600{"" if user else ", owner root"}.
     For the page in the browser: web.enabled = true, and a token for its login in {secrets / "web-token"}, in the same way.
  3. {start}
  4. Drop a model and an image of the same name into {share / "inbox"}.{linger}"""
