"""What those need of the configuration who only look: where the journal is, the budget, whose credits are shown.

Most commands look, and are called often: they read these few keys without the library that checks all of the file (`config`).
Where one of them cannot be used, nothing is returned, and the whole check says why.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from rodin_watchd.core.layout import CONFIG_NAME, HIDDEN, PLUGIN_SCRATCH
from rodin_watchd.core.wire import usable_url
from rodin_watchd.errors import ConfigError

DEFAULT_BASE_URL: Final = "https://api.hyper3d.com"
MOST_CREDITS: Final = 1_000_000
_NOT_IN_BASE_URL: Final = re.compile(r"[?#\s]")


def as_path(value: object, folder: Path) -> object:
    """Make a path absolute: `~` is the home folder, and a relative one starts from `folder`. Raises ValueError."""
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("must be a path, but is empty or contains a NUL")
    try:
        return Path(folder, Path(value).expanduser())
    except RuntimeError:
        raise ValueError("must be a path, but the home folder of its ~ is not known") from None


def as_base_url(value: str) -> str:
    """Return the address of the API without a slash at its end. Raises ValueError."""
    if not usable_url(value, loopback=True) or _NOT_IN_BASE_URL.search(value):
        raise ValueError(
            "must be an https:// address like https://api.hyper3d.com, without user name, password or query; "
            "http:// is only for this machine (localhost, 127.0.0.1, [::1])"
        )
    return value.rstrip("/")


def as_credits(value: object) -> Decimal:
    """Make a number of credits exact: every digit of the file stays, and no float is used afterwards. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return value
    raise ValueError("must be a number of credits, like 5 or 12.5")


# ---- The few keys ---------------------------------------------------------------------------------------------------


class Folders(Protocol):
    """Where the folders are; absolute."""

    @property
    def root(self) -> Path:
        """The shared folder."""

    @property
    def state(self) -> Path | None:
        """The folder of the journal."""


class Limits(Protocol):
    """What may be spent, in credits; None is no limit."""

    @property
    def per_day_credits(self) -> Decimal | None:
        """In a day."""

    @property
    def per_folder_credits(self) -> Decimal | None:
        """In a day, for each folder of the inbox."""


class Api(Protocol):
    """The vendor's API."""

    @property
    def base_url(self) -> str:
        """Its address."""


class Settings(Protocol):
    """What is known of a configuration to those who look: all of a checked one, or the few keys."""

    @property
    def folders(self) -> Folders:
        """Where the folders are."""

    @property
    def budget(self) -> Limits:
        """What may be spent."""

    @property
    def api(self) -> Api:
        """The vendor's API."""


class _Folders(NamedTuple):
    root: Path
    state: Path | None


class _Budget(NamedTuple):
    per_day_credits: Decimal | None
    per_folder_credits: Decimal | None


class _Api(NamedTuple):
    base_url: str


class _Settings(NamedTuple):
    folders: _Folders
    budget: _Budget
    api: _Api


_MOST_BYTES: Final = 65_536


def read_settings(path: Path) -> Settings | None:
    """Return the few keys of a config file, None where they cannot be used: then the check of the whole file says why."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            return None
        document = tomllib.loads(text.decode("utf-8-sig"))
        folders, budget, api = (dict[str, Any](document.get(name, {})) for name in ("folders", "budget", "api"))
        folder = path.absolute().parent
        return _Settings(
            _Folders(_place(folders.get("root"), folder) or folder, _place(folders.get("state"), folder)),
            _Budget(_credits(budget.get("per_day_credits")), _credits(budget.get("per_folder_credits"))),
            _Api(as_base_url(_text(api.get("base_url", DEFAULT_BASE_URL)))),
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _place(value: object, folder: Path) -> Path | None:
    found = as_path(value, folder) if value is not None else None
    if found is not None and not isinstance(found, Path):
        raise TypeError("no path")
    return found


def _credits(value: object) -> Decimal | None:
    found = as_credits(value) if value is not None else None
    if found is not None and not (found.is_finite() and 0 <= found <= MOST_CREDITS):
        raise ValueError("no number of credits")
    return found


# ---- The file -------------------------------------------------------------------------------------------------------


CONFIG_VARIABLE: Final = "RODIN_WATCHD_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/rodin-watchd/config.toml")
STATE_VARIABLE: Final = "STATE_DIRECTORY"  # systemd.exec(5), StateDirectory


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


def journal_path(config: Settings, environ: Mapping[str, str]) -> Path:
    """Return where the journal is: folders.state, else systemd's StateDirectory, else hidden in the root."""
    given = environ.get(STATE_VARIABLE, "").split(":")[0]
    folder = config.folders.state or (Path(given) if given else config.folders.root / HIDDEN)
    return folder / "journal.sqlite3"


def scratch_path(config: Settings, environ: Mapping[str, str]) -> Path:
    """Return where plugins' temporary files are: in a folder for them alone, next to the journal."""
    return journal_path(config, environ).with_name(PLUGIN_SCRATCH)


def lock_path(config: Settings) -> Path:
    """Return the lock that the daemon of this root holds."""
    return config.folders.root / HIDDEN / "lock"


def lease_path(config: Settings) -> Path:
    """Return the lease that the daemon of this root holds, where one is needed."""
    return lock_path(config).with_name("lease")
