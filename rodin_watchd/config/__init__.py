"""The configuration: `config.toml`, checked as a whole, and where it and the API key are found.

What its sections may say is in `config_sections`. The API key is never in here.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, ValidationError

from rodin_watchd.config.api_key import CREDENTIAL_NAME, KEY_VARIABLE
from rodin_watchd.config.sections import (
    ApiSection,
    BudgetSection,
    FoldersSection,
    IntakeSection,
    MetricsSection,
    OutputSection,
    PluginsSection,
    PollingSection,
    ResultsSection,
    Section,
    ServiceSection,
)
from rodin_watchd.core.kinds import KINDS, AnyOptions, unfit_values
from rodin_watchd.core.layout import CONFIG_NAME, HIDDEN, PLUGIN_SCRATCH
from rodin_watchd.core.toml_text import LIMIT_BYTES, explain_validation_error, parse
from rodin_watchd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ApiSection",
    "BudgetSection",
    "Config",
    "FoldersSection",
    "IntakeSection",
    "MetricsSection",
    "OutputSection",
    "PluginsSection",
    "PollingSection",
    "ResultsSection",
    "ServiceSection",
    "find_config",
    "journal_path",
    "lease_path",
    "load_config",
    "lock_path",
]


CONFIG_VARIABLE: Final = "RODIN_WATCHD_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/rodin-watchd/config.toml")
STATE_VARIABLE: Final = "STATE_DIRECTORY"  # systemd.exec(5), StateDirectory

_KEY_ELSEWHERE: Final = (
    f"the key must not be in this file; remove it, and set {KEY_VARIABLE}, or name a file in api.key_file, "
    f"or use the systemd credential {CREDENTIAL_NAME}"
)
_KEY_SPELLINGS: Final = ("key", "api_key", "apikey", "rodin_api_key", "rodin_key", "token", "api_token", "secret")
_REFUSED: Final = MappingProxyType(dict.fromkeys(_KEY_SPELLINGS, _KEY_ELSEWHERE))


def _for_every_kind(defaults: AnyOptions) -> AnyOptions:
    """Refuse a default that some kind of job does not take: each set of that kind would be refused."""
    for kind in KINDS.values():
        for told in unfit_values(kind, defaults).values():
            raise ValueError(f"holds a value that not every kind of job takes ({told}): say it in a _folder.toml")
    return defaults


class Config(Section):
    """The configuration of rodin-watchd."""

    folders: FoldersSection = Field(default_factory=FoldersSection)
    api: ApiSection = Field(default_factory=ApiSection)
    intake: IntakeSection = Field(default_factory=IntakeSection)
    polling: PollingSection = Field(default_factory=PollingSection)
    results: ResultsSection = Field(default_factory=ResultsSection)
    budget: BudgetSection = Field(default_factory=BudgetSection)
    output: OutputSection = Field(default_factory=OutputSection)
    service: ServiceSection = Field(default_factory=ServiceSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    plugins: PluginsSection = Field(default_factory=PluginsSection)
    defaults: Annotated[AnyOptions, AfterValidator(_for_every_kind)] = Field(
        default_factory=AnyOptions,
        description="Options for every set, of each kind those that it has, under the presets (_folder.toml) and the sidecars. "
        "Only options that are set in one of these are sent; for all others the vendor's own defaults apply.",
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
        advice = "Give this user read permission, or run this as another user."
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", advice=advice) from None


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
            advice=f"`rodin-watchd init DIR` makes one. Give its path with --config or in ${CONFIG_VARIABLE}.",
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


def scratch_path(config: Config, environ: Mapping[str, str]) -> Path:
    """Return where plugins' temporary files lie: in a folder for them alone, beside the journal."""
    return journal_path(config, environ).with_name(PLUGIN_SCRATCH)


def lock_path(config: Config) -> Path:
    """Return the lock that the daemon of this root holds."""
    return config.folders.root / HIDDEN / "lock"


def lease_path(config: Config) -> Path:
    """Return the lease that the daemon of this root holds, where one is needed."""
    return lock_path(config).with_name("lease")
