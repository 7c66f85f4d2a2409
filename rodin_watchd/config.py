"""The configuration: `config.toml`, checked as a whole, and where it and the API key are found.

The models are also the documentation: every field's description becomes its comment in the example file and its
help in editors (`config_text`). The API key is never in here.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from rodin_watchd.api_key import CREDENTIAL_NAME, KEY_VARIABLE
from rodin_watchd.core.layout import HIDDEN
from rodin_watchd.core.options import Options
from rodin_watchd.core.toml_text import LIMIT_BYTES, explain_validation_error, parse
from rodin_watchd.core.wire_text import usable_url
from rodin_watchd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_NAME: Final = "config.toml"
CONFIG_VARIABLE: Final = "RODIN_WATCHD_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/rodin-watchd/config.toml")
STATE_VARIABLE: Final = "STATE_DIRECTORY"  # systemd.exec(5), StateDirectory

_NOT_IN_BASE_URL: Final = re.compile(r"[?#\s]")
_DAY_SECONDS: Final = 86_400
_KEY_ELSEWHERE: Final = (
    f"the key never belongs into this file; take it out, and set {KEY_VARIABLE}, or name a file in api.key_file, "
    f"or use the systemd credential {CREDENTIAL_NAME}"
)
_KEY_SPELLINGS: Final = ("key", "api_key", "apikey", "rodin_api_key", "rodin_key", "token", "api_token", "secret")
_REFUSED: Final = MappingProxyType(dict.fromkeys(_KEY_SPELLINGS, _KEY_ELSEWHERE))


def _path(value: object, info: ValidationInfo) -> object:
    """Make a path absolute: `~` is the home folder, and a relative one starts from the folder of the config file."""
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("must be a path, but is empty or holds a NUL")
    try:
        return Path((info.context or {}).get("folder", ""), Path(value).expanduser())
    except RuntimeError:
        raise ValueError("must be a path, but nobody knows the home folder that its ~ means") from None


def _base_url(value: str) -> str:
    if not usable_url(value, loopback=True) or _NOT_IN_BASE_URL.search(value):
        raise ValueError(
            "must be an https:// address like https://api.hyper3d.com, without user name, password or query; "
            "http:// is only for this machine (localhost, 127.0.0.1, [::1])"
        )
    return value.rstrip("/")


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_path)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url), Field(json_schema_extra={"format": "uri"})]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=_DAY_SECONDS)]
SecondsOrZero: TypeAlias = Annotated[float, Field(ge=0, le=_DAY_SECONDS)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class Folders(_Section):
    """Where things lie. Relative paths start from the folder of this file; ~ is the home folder."""

    root: FilePath = Field(
        default=Path(),
        description="The shared folder with inbox, outbox, failed and archive. The default is the folder of this file.",
    )
    state: FilePath | None = Field(
        default=None,
        description="Folder of the journal; it must be on a local disk. "
        "Left out: the service's state directory if there is one, else .rodin-watchd in the root.",
        examples=["/var/lib/rodin-watchd"],
    )


class Api(_Section):
    """The vendor's API. The API key is never written here: set the environment variable RODIN_API_KEY, or key_file."""

    base_url: BaseUrl = Field(
        default="https://api.hyper3d.com",
        description="Address of the API: https, or http on this machine only (the emulator).",
    )
    key_file: FilePath | None = Field(
        default=None,
        description="File that holds the API key and nothing else, and that only the service may read.",
        examples=["/etc/rodin-watchd/api-key"],
    )
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="How many jobs go on at the same time."
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=120,
        description="How many calls to the API a minute may hold; the vendor allows 120 to 240, depending on the plan.",
    )
    connect_seconds: Seconds = Field(default=10, description="How long to wait for a connection.")
    read_seconds: Seconds = Field(default=120, description="How long a connection may be silent.")


class Intake(_Section):
    """How sets in the inbox are recognised, and when they are complete."""

    sidecar: Literal["optional", "required"] = Field(
        default="optional", description="Whether a set needs a TOML file of its own before it is taken."
    )
    sidecar_wait_seconds: SecondsOrZero = Field(
        default=3,
        description="How long a complete model and image wait for a sidecar that may still come; 0: not at all.",
    )
    quiet_seconds: SecondsOrZero | Literal["auto"] = Field(
        default="auto",
        description="How long a file must stay unchanged when nothing else tells that it is complete. "
        '"auto": 2 on a local disk, 10 on a network share.',
    )
    rescan_seconds: Seconds = Field(
        default=10, description="How often the inbox is looked through, whatever the watcher reports."
    )
    pair_minutes: Annotated[float, Field(gt=0, le=10_080)] = Field(
        default=10,
        description="After how many minutes STATUS.txt says what an incomplete set is missing; it goes on waiting.",
    )
    incomplete_seconds: Seconds = Field(
        default=600,
        description="How long a file that proves itself unfinished may stay unchanged before its set is refused.",
    )
    watcher: Literal["auto", "native", "polling"] = Field(
        default="auto",
        description="What wakes the service when files arrive. native: the system's file events; polling: the rescan "
        "alone; auto: native, but polling on a network share, which reports no changes made elsewhere.",
    )


class Polling(_Section):
    """How often the vendor is asked whether a task is done; asking is free."""

    min_seconds: Seconds = Field(default=2, description="Shortest time between two questions about one task.")
    max_seconds: Seconds = Field(default=30, description="Longest time between two questions about one task.")

    @field_validator("max_seconds")
    @classmethod
    def _not_below_min(cls, value: float, info: ValidationInfo) -> float:
        low = info.data.get("min_seconds", value)
        if value < low:
            raise ValueError(f"must not be below polling.min_seconds, which is {low:g}, but is {value:g}")
        return value


class Results(_Section):
    """What is accepted from the vendor's file host."""

    max_file_megabytes: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=2000, description="Largest result file that is downloaded, in megabytes of 1,000,000 bytes."
    )

    @property
    def max_file_bytes(self) -> int:
        """The same limit in bytes."""
        return self.max_file_megabytes * 1_000_000


class Config(_Section):
    """The configuration of rodin-watchd."""

    folders: Folders = Field(default_factory=Folders)
    api: Api = Field(default_factory=Api)
    intake: Intake = Field(default_factory=Intake)
    polling: Polling = Field(default_factory=Polling)
    results: Results = Field(default_factory=Results)
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
