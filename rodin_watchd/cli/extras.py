"""Optional parts of the installation: a friendly word when one is missing."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator

from rodin_watchd.errors import ConfigError


@contextlib.contextmanager
def needs_emulator() -> Iterator[None]:
    """Say how to install what the emulator needs, if importing it fails. Raises ConfigError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "rodin_watchd":
            raise
        raise ConfigError(
            f"The emulator is not installed: {error.name} is missing.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[emulator]"',
        ) from None
