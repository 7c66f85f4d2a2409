"""What plugins share that act outside the result's folder: tables that a set cannot change, and secrets from elsewhere.

Whoever may drop a file may drop a TOML file with a table [plugins.NAME], which the service lays over the one in its
config. Where a program is run, an address is called or a file is read, that must stay the owner's word.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_SETS_MAY_CHANGE: Final = frozenset({"on"})
_MOST_BYTES: Final = 65_536

_configured: dict[type[BaseModel], BaseModel] = {}


class OwnersTable(BaseModel):
    """A plugin's table of which a set may change nothing but `on`, once `remember` was told the owner's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _says_the_owner(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - a field's value, in and out
        own = _configured.get(cls)
        name = str(info.field_name)
        if own is not None and name not in _SETS_MAY_CHANGE and value != getattr(own, name):
            raise ValueError("only the service's config can say this, not a set")
        return value


def remember(settings: OwnersTable) -> None:
    """Take these as the owner's settings from here on, in this process: `rodin_configure` is given the config's table."""
    _configured[type(settings)] = settings


def secret_text(file: Path | None, variable: str | None, what: str) -> str:
    """Return a secret from a file, or from an environment variable. Raises RuntimeError, which never repeats it."""
    if file is not None:
        return _of_file(file, what)
    text = os.environ.get(variable or "", "").strip()
    if not text:
        raise RuntimeError(
            f"the environment variable {variable} for {what} is not set; name it in plugins.pass_environment, too"
        )
    return text


def _of_file(file: Path, what: str) -> str:
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
