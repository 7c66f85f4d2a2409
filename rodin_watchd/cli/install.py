"""`rodin-watchd install-service` and `uninstall-service`: a systemd service, for the machine or for one user."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from rodin_watchd.cli.acts import Act, Put, Remove, Run, do_all
from rodin_watchd.cli.program import NAME, program
from rodin_watchd.cli.service_files import (
    CONFIGS,
    PROGRAM,
    Place,
    config_text,
    drop_in,
    folders_text,
    text_of,
    user_unit,
)
from rodin_watchd.config import load_config
from rodin_watchd.core.layout import CONFIG_NAME
from rodin_watchd.errors import ConfigError

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
@click.option("--now", is_flag=True, help="Start it, too; or anew, if it runs.")
@dry_option
def install_service(
    *, user: bool, instance: str, config_file: Path | None, root: Path | None, now: bool, dry_run: bool
) -> None:
    """Make a systemd service of this installation: user and group, folders, config, units; and enable it.

    A config that is there stays as it is. This may be repeated, after an upgrade for example.
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

    Config, key, journal, the shared folder with all in it, and the system's user are left alone.
    """
    place = _place(instance, user=user)
    _refuse_without_rights(user=user, dry_run=dry_run)
    systemctl = ("systemctl", *_scope(user=user))
    files = [_user_units() / place.unit] if user else list(_system_files(place))
    stop = Run((*systemctl, "disable", "--now", place.unit), required=False)
    do_all([stop, *map(Remove, files), Run((*systemctl, "daemon-reload"))], dry=dry_run)
    click.echo("\nLeft alone: configuration, API key, journal, the shared folder" + ("." if user else ", the user."))


def _system_acts(place: Place, config: Path, share: Path) -> Iterator[Act]:
    """Give what makes a service of the machine; what a package has brought along is not written a second time."""
    started = program()
    _refuse_hidden(Path(started[0]), Path(sys.executable), config, share)
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


def _system_files(place: Place) -> Iterator[Path]:
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
    return enabled | {Place(name.removeprefix(NAME).removeprefix("-")).unit for name in ours}


def _is_packaged(place: Place) -> bool:
    return (PACKAGED / place.template).exists()


def _drop_in_of(place: Place) -> Path:
    return ADMIN / "systemd" / "system" / f"{place.unit}.d" / DROP_IN


def _user_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _user_units() -> Path:
    return _user_home() / "systemd" / "user"


def _home_config(root: Path | None) -> Path:
    return (root or Path.home() / NAME) / CONFIG_NAME


def _scope(*, user: bool) -> list[str]:
    return ["--user"] if user else []


def _place(instance: str, *, user: bool) -> Place:
    if user and instance:
        raise ConfigError("--instance is for services of the machine, --user for the one of a user: give one of them.")
    return Place(instance)


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
        real = path.resolve()
        if any(real.is_relative_to(home) for home in HIDDEN):
            raise ConfigError(
                f"{path} lies in a home or in /tmp, which the sandbox hides from a service of the machine.",
                advice="Install the program into /opt (a virtual environment) and keep the shared folder in /srv; "
                "or make it a service of your own with --user.",
            )


def _refuse_without_rights(*, user: bool, dry_run: bool) -> None:
    if dry_run:
        return
    if not user and os.geteuid() != 0:
        raise ConfigError("Only root may do this.", advice="Use sudo, or --user, or look at it first with --dry-run.")
    if not RUNNING.is_dir():
        raise ConfigError("This machine is not run by systemd.", advice="See docs/service.md for others.")


def _next_steps(place: Place, config: Path, share: Path, *, user: bool, now: bool) -> str:
    key = (_user_home() / NAME if user else CONFIGS) / "api-key"
    systemctl = " ".join(("systemctl", *_scope(user=user)))
    start = f"{systemctl} {'restart' if now else 'start'} {place.unit}"
    linger = "\n  To have it start with the machine: loginctl enable-linger" if user else ""
    return f"""Next:
  1. Look through {config}.
  2. Put the API key into {key}: one line, mode 600{"" if user else ", owner root"}.
  3. {start}
  4. Drop a model and an image of the same name into {share / "inbox"}.{linger}"""
