"""The configuration: `config.toml`, checked as a whole, and where it and the API key are found.

What its sections may say is in `config_sections`. The API key is never in here.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pydantic import Field, ValidationError

from rodin_watchd.config_sections import Api, Budget, Folders, Intake, Polling, Results, Section
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.core.options import Options
from rodin_watchd.core.toml_text import LIMIT_BYTES, explain_validation_error, parse
from rodin_watchd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Api",
    "Budget",
    "Config",
    "Folders",
    "Intake",
    "Polling",
    "Results",
    "find_config",
    "find_key",
    "journal_path",
    "lease_path",
    "load_config",
    "lock_path",
]

CONFIG_NAME: Final = "config.toml"
CONFIG_VARIABLE: Final = "RODIN_WATCHD_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/rodin-watchd/config.toml")
KEY_VARIABLE: Final = "RODIN_API_KEY"
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), Credentials
STATE_VARIABLE: Final = "STATE_DIRECTORY"  # systemd.exec(5), StateDirectory
CREDENTIAL_NAME: Final = "rodin-api-key"

_KEY_BYTES: Final = 4096
_KEY_ELSEWHERE: Final = (
    f"the key never belongs into this file; take it out, and set {KEY_VARIABLE}, or name a file in api.key_file, "
    f"or use the systemd credential {CREDENTIAL_NAME}"
)
_KEY_SPELLINGS: Final = ("key", "api_key", "apikey", "rodin_api_key", "rodin_key", "token", "api_token", "secret")
_REFUSED: Final = MappingProxyType(dict.fromkeys(_KEY_SPELLINGS, _KEY_ELSEWHERE))


class Config(Section):
    """The configuration of rodin-watchd."""

    folders: Folders = Field(default_factory=Folders)
    api: Api = Field(default_factory=Api)
    intake: Intake = Field(default_factory=Intake)
    polling: Polling = Field(default_factory=Polling)
    results: Results = Field(default_factory=Results)
    budget: Budget = Field(default_factory=Budget)
    defaults: Options = Field(
        default_factory=Options,
        description="Options for every set, under the presets (_folder.toml) and the sidecars. "
        "Only what is set here or there is sent; for all else the vendor's own defaults hold.",
    )


def load_config(path: Path) -> Config:
    """Read and check a config file. All paths in the result are absolute.

    Raises ConfigError, which tells every mistake on a line of its own: the file's name, the line, the key, what is
    allowed. Values of unknown keys are never repeated. May be called again to read the file anew.
    """
    document = parse(_content(path), path.name)
    if document.problems:
        raise ConfigError(document.report(document.problems))
    values = {**{section: {} for section in Config.model_fields}, **document.values}
    try:
        return Config.model_validate(values, context={"folder": path.absolute().parent})
    except ValidationError as error:
        problems = explain_validation_error(error, document, Config, _REFUSED)
        raise ConfigError(document.report(problems)) from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def find_config(explicit: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Find the config file: the given one, else $RODIN_WATCHD_CONFIG, else ./config.toml, else the system's.

    One that is named must be there: the next place is not tried. Raises ConfigError, which says where it looked.
    """
    named = environ.get(CONFIG_VARIABLE)
    if explicit is not None:
        places = {"--config": cwd / explicit}
    elif named:
        places = {f"${CONFIG_VARIABLE}": cwd / named}
    else:
        places = {"this folder": cwd / CONFIG_NAME, "this system": SYSTEM_CONFIG}
    found = next((path for path in places.values() if _is_file(path)), None)
    if found is None:
        looked = ", ".join(f"{path} ({origin})" for origin, path in places.items())
        raise ConfigError(
            f"There is no config file at {looked}.",
            advice=f"`rodin-watchd init DIR` makes one; name it with --config or in ${CONFIG_VARIABLE}.",
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that we may not look into
        return False


# ---- where the service keeps its own files --------------------------------------------------------------------------


def journal_path(config: Config, environ: Mapping[str, str]) -> Path:
    """Return where the journal lies: folders.state, else systemd's StateDirectory, else hidden in the root."""
    given = environ.get(STATE_VARIABLE, "").split(":")[0]
    folder = config.folders.state or (Path(given) if given else config.folders.root / HIDDEN)
    return folder / "journal.sqlite3"


def lock_path(config: Config) -> Path:
    """Return the lock that the daemon of this root holds."""
    return config.folders.root / HIDDEN / "lock"


def lease_path(config: Config) -> Path:
    """Return the lease that the daemon of this root holds, where one is needed."""
    return lock_path(config).with_name("lease")


# ---- the API key ----------------------------------------------------------------------------------------------------


def find_key(config: Config, environ: Mapping[str, str]) -> str:
    """Find the API key: $RODIN_API_KEY, else the file `api.key_file`, else the systemd credential.

    The result is one line of printable ASCII. Raises ConfigError when there is none, when it cannot be a key, or when
    others may read its file; the error never repeats what was found.
    """
    if environ.get(KEY_VARIABLE, "").strip():
        return _checked_key(environ[KEY_VARIABLE], f"${KEY_VARIABLE}")
    if config.api.key_file is not None:
        return _key_from(config.api.key_file, "the file that api.key_file names")
    folder = environ.get(CREDENTIALS_VARIABLE)
    if folder and _is_file(Path(folder, CREDENTIAL_NAME)):
        return _key_from(Path(folder, CREDENTIAL_NAME), f"the credential {CREDENTIAL_NAME}")
    raise ConfigError(
        "There is no API key.",
        advice=f"Set {KEY_VARIABLE}, or name a file in api.key_file, or give the service the systemd credential "
        f"{CREDENTIAL_NAME} (LoadCredential=).",
    )


def _key_from(path: Path, origin: str) -> str:
    """Read a key file; its path is not repeated unless it exists, for it may be a key written in the wrong place."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_KEY_BYTES + 1).decode("utf-8-sig", "replace")
    except OSError as error:
        raise ConfigError(f"The API key cannot be read: {origin}: {error.strerror}.") from None
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
