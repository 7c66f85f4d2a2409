"""Secrets that a table names instead of holding them: in a file, or in an environment variable."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 65_536


def secret_text(file: Path | None, variable: str | None, what: str) -> str:
    """Return a secret from a file, or from an environment variable. Raises RuntimeError, which never repeats it."""
    return of_variable(variable or "", what) if file is None else of_file(file, what)


def of_variable(name: str, what: str) -> str:
    """Return what a variable says. Raises RuntimeError when it says nothing."""
    if text := os.environ.get(name, "").strip():
        return text
    raise RuntimeError(
        f"the environment variable {name} for {what} is not set; name it in plugins.pass_environment, too"
    )


def of_file(file: Path, what: str) -> str:
    """Return a file's text. Raises RuntimeError for one that cannot be read, that everybody can read, or that is empty."""
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(_MOST_BYTES + 1).decode("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RuntimeError(f"the file {file} for {what} cannot be read: {why}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise RuntimeError(
            f"everybody on this machine can read or change {what}; run: chmod o-rw {shlex.quote(str(file))}"
        )
    if not text or len(text) > _MOST_BYTES:
        raise RuntimeError(f"the file {file} for {what} is {'empty' if not text else 'too long'}")
    return text
