"""The API key: where it is found, and what can be one. It is never in the configuration, and no error repeats it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rodin_watchd.errors import ConfigError, MissingKeyError

KEY_VARIABLE: Final = "RODIN_API_KEY"
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), Credentials
CREDENTIAL_NAME: Final = "rodin-api-key"
_KEY_BYTES: Final = 4096


def find_key(key_file: Path | None, environ: Mapping[str, str]) -> str:
    """Find the API key: $RODIN_API_KEY, else `key_file` (the config's `api.key_file`), else the systemd credential.

    The result is one line of printable ASCII. Raises MissingKeyError when there is none, ConfigError when it cannot be a key, or when
    others may read its file; the error never repeats what was found.
    """
    if environ.get(KEY_VARIABLE, "").strip():
        return _checked_key(environ[KEY_VARIABLE], f"${KEY_VARIABLE}")
    if key_file is not None:
        return _key_from(key_file, "the file that api.key_file names")
    folder = environ.get(CREDENTIALS_VARIABLE)
    if folder and Path(folder, CREDENTIAL_NAME).exists():
        return key_of_credential(Path(folder, CREDENTIAL_NAME))
    raise MissingKeyError(
        advice=f"Set {KEY_VARIABLE}, or name a file in api.key_file, or give the service the systemd credential "
        f"{CREDENTIAL_NAME} (LoadCredential=).",
    )


def key_of_credential(path: Path) -> str:
    """Return the key that the systemd credential is, or is made from. Raises ConfigError."""
    return _key_from(path, f"the credential {CREDENTIAL_NAME}")


def _key_from(path: Path, origin: str) -> str:
    """Read a key file; its path is not repeated unless it exists, for it may be a key written in the wrong place."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_KEY_BYTES + 1).decode("utf-8-sig", "replace")
    except OSError as error:
        advice = "Make the file, or give the user of the service the right to read it."
        raise ConfigError(f"The API key cannot be read: {origin}: {error.strerror}.", advice=advice) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(
            f"Everybody on this machine can read or change the API key: {origin}.",
            advice=f"Run: chmod o-rw {shlex.quote(str(path))}",
        )
    return _checked_key(text, origin)


def _checked_key(text: str, origin: str) -> str:
    key = text.strip()
    if not key:
        raise ConfigError(f"The API key is empty: {origin}.")
    if len(text) > _KEY_BYTES or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"The API key must be one line of plain characters without spaces: {origin}.")
    return key
