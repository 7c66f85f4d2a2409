"""What those need of the configuration who only look: where the journal is, the budget, whose credits are shown.

Most commands look, and are called often: they read these few keys without the library that checks all of the file (`config`).
Where one of them cannot be used, nothing is returned, and the whole check says why.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
import tomllib
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from rodin_watchd.core.layout import CONFIG_NAME, HIDDEN, PLUGIN_SCRATCH
from rodin_watchd.core.wire import is_loopback, usable_url
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


_IN_A_FILE: Final = (
    "must not contain the password: write it into a file, and name that in store.password_file, or use the systemd credential "
    "rodin-store-password"
)


def as_database_url(value: str) -> str:
    """Return the address of a PostgreSQL database. Raises ValueError for another one, and for one with a password in it."""
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ValueError("must be the address of a PostgreSQL database, as postgresql://USER@HOST/DATABASE")
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if ":" in parts.netloc.rpartition("@")[0] or names & {"password", "passfile", "sslpassword"}:
        raise ValueError(_IN_A_FILE)
    return value


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


class StoreKeys(Protocol):
    """Where the store is."""

    @property
    def url(self) -> str | None:
        """The database that it is in, if it is in one."""

    @property
    def password_file(self) -> Path | None:
        """The file with the password for that."""


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

    @property
    def store(self) -> StoreKeys:
        """Where the store is."""


class _Folders(NamedTuple):
    root: Path
    state: Path | None


class _Budget(NamedTuple):
    per_day_credits: Decimal | None
    per_folder_credits: Decimal | None


class _Api(NamedTuple):
    base_url: str


class _Store(NamedTuple):
    url: str | None
    password_file: Path | None


class _Settings(NamedTuple):
    folders: _Folders
    budget: _Budget
    api: _Api
    store: _Store


_MOST_BYTES: Final = 65_536

KEYS: Final[Mapping[str, frozenset[str]]] = {
    "folders": frozenset({"root", "state", "reserve_megabytes", "lease"}),
    "budget": frozenset(
        ["per_day_credits", "per_folder_credits", "hold_above_sets", "low_balance", "sole_spender", "settle_seconds"]
    ),
    "api": frozenset(
        [
            "base_url",
            "key_file",
            "max_in_flight",
            "requests_per_minute",
            "allow_private_links",
            "connect_seconds",
            "read_seconds",
        ]
    ),
    "store": frozenset({"url", "password_file", "keep_days"}),
}
"""All that the sections may contain which are read here: a misspelt `root` would look like a default, and lead to another service."""


def read_settings(path: Path) -> Settings | None:
    """Return the few keys of a config file, None where they cannot be used: then the check of the whole file says why."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            return None
        document = tomllib.loads(text.decode("utf-8-sig"))
        folders, budget, api, store = (_table(document.get(name, {}), known) for name, known in KEYS.items())
        url = store.get("url")
        folder = path.absolute().parent
        return _Settings(
            _Folders(_place(folders.get("root"), folder) or folder, _place(folders.get("state"), folder)),
            _Budget(_credits(budget.get("per_day_credits")), _credits(budget.get("per_folder_credits"))),
            _Api(as_base_url(_text(api.get("base_url", DEFAULT_BASE_URL)))),
            _Store(
                as_database_url(_text(url)) if url is not None else None, _place(store.get("password_file"), folder)
            ),
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _table(value: object, names: AbstractSet[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() - names:
        raise TypeError("no table of these names")
    return value


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


# ---- where the store is ---------------------------------------------------------------------------------------------


_DATABASE_PORT: Final = 5432
STORE_CREDENTIAL: Final = "rodin-store-password"
CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), Credentials
SECRET_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Address:
    """Where a PostgreSQL database is, and the password for it, which no text shows."""

    url: str
    password: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        """The server's name, and its port if the address has one; this machine's where it is reached by a socket of its own."""
        parts = urlsplit(self.url)
        given = parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "")
        local = not given or given.startswith("/") or is_loopback(given.partition(":")[0])
        return socket.gethostname() if local else given.lower().removesuffix(f":{_DATABASE_PORT}")

    @property
    def database(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.url).path.strip("/"))

    @property
    def role(self) -> str:
        """The user's name in the database, "" where the address has none."""
        return unquote(urlsplit(self.url).netloc.rpartition("@")[0])

    @property
    def shown(self) -> str:
        """What people read."""
        return f"the database {self.database} on {self.host}"


@dataclass(frozen=True, slots=True)
class SeenRoot:
    """A root on this machine, whose mark shows which one it is."""

    folder: Path
    id_in: Callable[[Path], str] = field(compare=False)  # reads the id in its mark, "" where it has none

    @property
    def place(self) -> str:
        """How a store that several daemons share names it."""
        return f"{socket.gethostname()}:{self.folder.absolute()}"

    @property
    def mark(self) -> str:
        """The id in its mark, as it is now."""
        return self.id_in(self.folder)


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where the store is."""

    path: Path  # the journal's file; with a database, locks and the heartbeat are next to where it would be
    address: Address | None = None  # the database, if it is in one
    root: SeenRoot | None = None  # that is meant where a database has several

    @property
    def shown(self) -> str:
        """What people read."""
        return self.address.shown if self.address else f"the journal {self.path}"

    @property
    def name(self) -> str:
        """How a root's mark names it."""
        if self.address:
            return f"postgresql://{self.address.host}/{self.address.database}"
        return f"{socket.gethostname()}:{self.path}"


def store_place(config: Settings, environ: Mapping[str, str], id_in: Callable[[Path], str]) -> StorePlace:
    """Return where the store is; `id_in` reads the id in a root's mark. Raises ConfigError for a password that cannot be read."""
    path, url = journal_path(config, environ), config.store.url
    address = Address(url, _store_password(config, environ)) if url else None
    return StorePlace(path, address, SeenRoot(config.folders.root, id_in))


def place_named(config: Settings, environ: Mapping[str, str], target: str, password_file: Path | None) -> StorePlace:
    """Return the place that a person named: a database's address, or the folder of a journal. Raises ConfigError."""
    if "://" not in target:
        return StorePlace(Path(target).expanduser().absolute() / "journal.sqlite3")
    try:
        url = as_database_url(target)
    except ValueError as error:
        raise ConfigError(f"The address {error}.") from None
    password = _checked_password(password_file, "the file that --password-file names") if password_file else ""
    return StorePlace(journal_path(config, environ), Address(url, password or _store_password(config, environ)))


def _store_password(config: Settings, environ: Mapping[str, str]) -> str:
    """Find the password of the database: store.password_file, else the systemd credential; "" where neither is there."""
    if config.store.password_file is not None:
        return _checked_password(config.store.password_file, "the file that store.password_file names")
    folder = environ.get(CREDENTIALS_VARIABLE)
    if folder and Path(folder, STORE_CREDENTIAL).exists():
        return _checked_password(Path(folder, STORE_CREDENTIAL), f"the credential {STORE_CREDENTIAL}")
    return ""


def _checked_password(path: Path, origin: str) -> str:
    password = secret_in(path, "password of the database", origin).strip("\r\n")
    if not password or "\n" in password or "\0" in password or len(password) > SECRET_BYTES:
        raise ConfigError(f"The password of the database must be one line: {origin}.")
    return password


def secret_in(path: Path, what: str, origin: str) -> str:
    """Read a secret's file; its path is not repeated unless it exists, for it may be a secret written in the wrong place."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(SECRET_BYTES + 1).decode("utf-8-sig", "replace")
    except OSError as error:
        advice = "Make the file, or give the user of the service the right to read it."
        raise ConfigError(f"The {what} cannot be read: {origin}: {error.strerror}.", advice=advice) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(
            f"Everybody on this machine can read or change the {what}: {origin}.",
            advice=f"Run: chmod o-rw {shlex.quote(str(path))}",
        )
    return text
