"""The config file that a command works with: named, found, read. It loads no journal, for a probe is called every few seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rodin_watchd.config import Config, find_config, load_config

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
    """Return the configuration. Raises ConfigError."""
    return load_config(find(config_file))
