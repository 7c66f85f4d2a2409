"""The config file that a command works with: named, found, read. It loads no journal, for a probe is called every few seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rodin_watchd.settings import Settings, find_config, journal_path, read_settings

if TYPE_CHECKING:
    from rodin_watchd.config import Config

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config FILE` to a command."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, readable=False),  # reported like all that is wrong with it
        metavar="FILE",
        help="The config file. Default: $RODIN_WATCHD_CONFIG, ./config.toml, /etc/rodin-watchd/config.toml.",
    )(command)


def find(config_file: Path | None) -> Path:
    """Return the config file to use. Raises ConfigError."""
    return find_config(config_file, os.environ, Path.cwd())


def load(config_file: Path | None) -> Config:
    """Return the configuration, checked as a whole. Raises ConfigError."""
    return _checked(find(config_file))


def load_settings(config_file: Path | None) -> Settings:
    """Return what a command needs that only looks. A mistake elsewhere in the file does not matter to it. Raises ConfigError.

    Where there is no journal, such a mistake may be why: then the whole file is checked.
    """
    path = find(config_file)
    settings = read_settings(path)
    if settings and settings.store.url:
        return settings
    if settings is None or not os.path.exists(journal_path(settings, os.environ)):  # noqa: PTH110 - False also where we may not look
        return _checked(path)
    return settings


def _checked(path: Path) -> Config:
    from rodin_watchd.config import load_config  # noqa: PLC0415 - checking takes a third of the time of a whole command

    return load_config(path)
