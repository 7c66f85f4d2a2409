"""The configuration: the sections of `config.toml` with their limits, checked as a whole; and where the API key is found.

Every field's description becomes its comment in the example file and its help in editors (`config.reference`). The API key is
never in a `Config`, so nothing that prints or stores one can show it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from rodin_watchd.core.any_options import AnyOptions, unfit_values
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.toml_text import LIMIT_BYTES, explain_validation_error, parse, unfit
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.core.wire import is_loopback, usable_url
from rodin_watchd.errors import ConfigError, MissingKeyError
from rodin_watchd.settings import (
    CREDENTIALS_VARIABLE,
    DEFAULT_BASE_URL,
    MOST_CREDITS,
    as_base_url,
    as_credits,
    as_database_url,
    as_path,
    secret_in,
)


def _path(value: object, info: ValidationInfo) -> object:
    return as_path(value, (info.context or {}).get("folder", Path()))


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_path)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(as_base_url), Field(json_schema_extra={"format": "uri"})]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=int(DAY_SECONDS))]
Credits: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(as_credits),
    Field(ge=0, le=MOST_CREDITS),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": MOST_CREDITS}),
]
SecondsOrZero: TypeAlias = Annotated[float, Field(ge=0, le=int(DAY_SECONDS))]


class Section(BaseModel):
    """What all sections have in common: frozen, exact types, no unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        defer_build=True,  # `Config` alone checks: what it is made of is part of its own schema
        model_title_generator=lambda section: section.__name__.removesuffix("Section"),
    )


class FoldersSection(Section):
    """Where the folders are. Relative paths start from the folder of this file; ~ is the home folder."""

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
    reserve_megabytes: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=200,
        description="While the disk of the work folder has less free space than this many megabytes, nothing is taken, sent or "
        "downloaded: there must be space for results that were paid for.",
    )
    lease: Literal["auto", "always"] = Field(
        default="auto",
        description="Whether a file with a heartbeat, in addition to the lock, keeps a second daemon away from the root. auto: on a "
        "network share, where locks may not work between machines; always: everywhere. A start after a crash of another "
        "machine's daemon takes half a minute longer.",
    )

    @property
    def reserve_bytes(self) -> int:
        """The same room in bytes."""
        return self.reserve_megabytes * 1_000_000


class ApiSection(Section):
    """The vendor's API. The API key is never written here: set the environment variable RODIN_API_KEY, or key_file."""

    base_url: BaseUrl = Field(
        default=DEFAULT_BASE_URL,
        description="Address of the API: https, or http on this machine only (the emulator).",
    )
    key_file: FilePath | None = Field(
        default=None,
        description="File with the API key and nothing else. Only the service may read it.",
        examples=["/etc/rodin-watchd/api-key"],
    )
    max_in_flight: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="How many jobs are in progress at the same time, of all services that share the store."
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=120,
        description="How many calls to the API are allowed in a minute, of all services that share the store; the vendor allows 120 to 240, "
        "depending on the plan.",
    )
    allow_private_links: bool | None = Field(
        default=None,
        description="Whether result links may lead to addresses of this machine and of private networks. "
        "Left out: only where base_url is on this machine (the emulator).",
        examples=[False],
    )
    connect_seconds: Seconds = Field(default=10, description="How long to wait for a connection.")
    read_seconds: Seconds = Field(default=120, description="How long a connection may be silent.")


class IntakeSection(Section):
    """How sets in the inbox are recognised, and when they are complete."""

    sidecar: Literal["optional", "required"] = Field(
        default="optional", description="Whether a set needs a TOML file of its own before it is taken."
    )
    sidecar_wait_seconds: SecondsOrZero = Field(
        default=3,
        description="How long a complete model and image wait for a sidecar that may still come. 0: no wait.",
    )
    quiet_seconds: SecondsOrZero | Literal["auto"] = Field(
        default="auto",
        description="How long a file must stay unchanged when nothing else shows that it is complete. "
        '"auto": 2 for a set on a local disk, 10 where one of its files is on a network share, also on one that is mounted in the inbox.',
    )
    unproven_quiet_seconds: SecondsOrZero = Field(
        default=30,
        description="How long a file must stay unchanged when its content cannot show that it is complete (OBJ, text STL and FBX, "
        "TOML), and how long nothing must change in a folder that is a set of its own.",
    )
    rescan_seconds: Seconds = Field(
        default=10, description="How often the inbox is scanned, also when the watcher reports nothing."
    )
    pair_minutes: Annotated[float, Field(gt=0, le=10_080)] = Field(
        default=10,
        description="After how many minutes STATUS.txt says what is missing in an incomplete set. The set still waits.",
    )
    incomplete_seconds: Seconds = Field(
        default=600,
        description="How long an incomplete file may stay unchanged before its set is refused.",
    )
    watcher: Literal["auto", "native", "polling"] = Field(
        default="auto",
        description="What wakes the service when files arrive. native: the system's file events; polling: only the "
        "rescan; auto: native, but polling on a network share, which does not report changes of other machines, and where a probe "
        "file shows that there are no events.",
    )


_USUAL_POLL_SECONDS = 5
"""What the vendor advises as the wait before the first question about a task."""


class PollingSection(Section):
    """How often the service asks the vendor whether a task is done. Asking is free."""

    min_seconds: Seconds = Field(
        default=_USUAL_POLL_SECONDS,
        description="Shortest time between two questions about one task, and before the first. "
        "Where max_seconds is shorter and this is left out, it is as short.",
    )
    max_seconds: Seconds = Field(default=30, description="Longest time between two questions about one task.")

    @model_validator(mode="before")
    @classmethod
    def _as_short_as_max(cls, given: Any) -> Any:  # noqa: ANN401 - whatever the file says
        """Let a max_seconds below the default of min_seconds stand alone."""
        most = given.get("max_seconds") if isinstance(given, dict) and "min_seconds" not in given else None
        short = isinstance(most, int | float) and not isinstance(most, bool) and 0 < most < _USUAL_POLL_SECONDS
        return {**given, "min_seconds": most} if short else given

    @field_validator("max_seconds")
    @classmethod
    def _not_below_min(cls, value: float, info: ValidationInfo) -> float:
        low = info.data.get("min_seconds", value)
        if value < low:
            raise ValueError(f"must not be below polling.min_seconds, which is {low:g}, but is {value:g}")
        return value


class ResultsSection(Section):
    """Limits for files from the vendor's file host."""

    max_file_megabytes: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=2000, description="Largest result file that is downloaded, in megabytes of 1,000,000 bytes."
    )

    @property
    def max_file_bytes(self) -> int:
        """The same limit in bytes."""
        return self.max_file_megabytes * 1_000_000


class BudgetSection(Section):
    """What the service may spend, in the vendor's credits. Without a value there is no limit."""

    per_day_credits: Credits | None = Field(
        default=None,
        description="What may be spent in a day of the service's time zone, by all services that share the store. Sets over the budget wait (STATUS.txt shows them) and continue by "
        "itself the next day. A held job whose cost is unknown counts.",
        examples=[20],
    )
    per_folder_credits: Credits | None = Field(
        default=None,
        description="What each folder directly below the inbox, with everything below it, may spend in a day. "
        "Sets directly in the inbox count together as one folder, and so do folders of the same name in several roots of a store.",
        examples=[5],
    )
    hold_above_sets: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="When more new sets than this come within one rescan, none of them is taken until somebody runs "
        "`rodin-watchd approve`. 0: every set waits for approval.",
        examples=[50],
    )
    low_balance: Credits | None = Field(
        default=None,
        description="When the account has fewer credits than this, STATUS.txt and the log say so, once.",
        examples=[10],
    )
    sole_spender: bool = Field(
        default=False,
        description="Whether only this service, or those that share its store, spend from the vendor's account, and no person or other program does. Then "
        "the balance can prove that a submit with a lost answer was not charged, and it is submitted again. With a "
        "shared account this must stay false: it could pay twice.",
    )
    settle_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=60,
        description="How long the vendor may need until a charge shows in the balance. For this time after a submit whose answer was lost, or "
        "was a refusal without one of the vendor's own codes, nothing else is submitted. Then the balance is read, twice.",
    )


class ServiceSection(Section):
    """How the service runs. SIGHUP (`systemctl reload`) reloads this whole file; a file with mistakes is refused."""

    stop_seconds: SecondsOrZero = Field(
        default=20,
        description="How long running steps may take to end after SIGTERM; a step that does not end in time is done again at the next start. An upload "
        "that has not sent its last bytes is dropped, which is free of charge. An upload that has sent them gets "
        "api.read_seconds, if that is longer, because its answer comes only once.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="What is logged: debug adds each call to the vendor, warning logs only problems. "
        "`run --verbose` means debug, for any value here.",
    )


DatabaseUrl: TypeAlias = Annotated[str, AfterValidator(as_database_url)]


class StoreSection(Section):
    """Where the journal is, and what it keeps."""

    url: DatabaseUrl | None = Field(
        default=None,
        description="A PostgreSQL database that the store is in, instead of the journal on the local disk; needs the extra "
        "`postgres`. The password is never written here. Left out: the journal, which needs no server.",
        examples=["postgresql://rodin@db.example/rodin"],
    )
    password_file: FilePath | None = Field(
        default=None,
        description="File with the password for that database and nothing else. Only the service may read it. Left out: the "
        "systemd credential rodin-store-password, if there is one.",
        examples=["/etc/rodin-watchd/store-password"],
    )
    keep_days: Annotated[int, Field(ge=30, le=36_500)] | None = Field(
        default=None,
        description="After so many days the details of a job that has ended (history, files, options, calls of plugins) are moved "
        "from the journal to journal.archive.sqlite3 next to it, or to tables of their own in the same database. Lists, credits, and what protects from paying twice stay "
        "in the journal; folders are not touched. Left out: everything stays in the journal.",
        examples=[365],
    )


# ---- The sections of `config.toml` that say what others get to see: published files, and metrics --------------------


_MODE: Final = re.compile(r"0?6[046][046]")
_GROUP: Final = re.compile(r"[^\s:/,]{1,64}")


def _mode(value: str) -> str:
    if not _MODE.fullmatch(value):
        raise ValueError(
            'must be the mode of a file in octal digits, like "0664": the owner reads and writes (6), '
            "group and others read and write (6), read (4) or neither (0)"
        )
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        raise ValueError("must be the name or the number of a group")
    return value


def _loopback(value: str) -> str:
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        host, port = "", 0
    if not (is_loopback(host) and port and parts.netloc == value and "@" not in value):
        raise ValueError("must be an address of this machine with a port, like 127.0.0.1:9746 or [::1]:9746")
    return value


def _textfile(value: Path) -> Path:
    if value.suffix != ".prom":
        raise ValueError("must end in .prom: node_exporter reads no other files")
    return value


class OutputSection(Section):
    """Who may use published files: the results, the archived inputs, the reports, and STATUS.txt.

    Without these keys the umask of the service and the group of a set-gid folder apply.
    """

    mode: Annotated[str, AfterValidator(_mode)] | None = Field(
        default=None,
        description="Mode of the files, in octal digits; users who may read them may also enter their folders. Without it, the "
        "umask of the service applies.",
        examples=["0664"],
    )
    group: Annotated[str, AfterValidator(_group)] | None = Field(
        default=None,
        description="Group of files and folders; the user of the service must belong to it. Without it, a set-gid folder "
        "gives its group to everything that is published in it.",
        examples=["artists"],
    )

    @property
    def file_mode(self) -> int | None:
        """The mode as a number; None: the umask holds."""
        return None if self.mode is None else int(self.mode, 8)


class MetricsSection(Section):
    """Metrics for Prometheus; needs the extra `metrics`. They contain numbers, no names of sets and no keys."""

    listen: Annotated[str, AfterValidator(_loopback)] | None = Field(
        default=None,
        description="Address of this machine and port where Prometheus fetches them, at /metrics.",
        examples=["127.0.0.1:9746"],
    )
    textfile: Annotated[FilePath, AfterValidator(_textfile)] | None = Field(
        default=None,
        description="File that is replaced every 15 seconds, for the textfile collector of node_exporter. Under systemd "
        "its folder must be in ReadWritePaths= of the unit (`systemctl edit rodin-watchd`).",
        examples=["/var/lib/prometheus/node-exporter/rodin-watchd.prom"],
    )

    @property
    def wanted(self) -> bool:
        """Whether metrics are configured."""
        return self.listen is not None or self.textfile is not None

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on."""
        if self.listen is None:
            return None
        parts = urlsplit(f"//{self.listen}")
        return parts.hostname or "", parts.port or 0


# ---- The section `[web]` of `config.toml`: the page in the browser ---------------------------------------------------


_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")


def _listen(value: str) -> str:
    parts = _address(value)
    if parts is None:
        raise ValueError("must be an address with a port, like 127.0.0.1:8770, 0.0.0.0:8770 or [::1]:8770")
    return value


def _address(value: str) -> tuple[str, int] | None:
    """Return the host and the port of an address; None if it is none."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname or "", parts.port or 0
        ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return None
    return (host, port) if port and parts.netloc == value and "@" not in value else None


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value):
        raise ValueError("must be the name of an HTTP header, like X-Remote-User")
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError("must be the name of a host or an address, without a port, like textures.example.org")
    return value.lower()


def _ip(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an IP address, like 127.0.0.1") from None


class WebSection(Section):
    """The page in the browser; needs the extra `web`. It shows the sets, and leaves what people ask for as the command line does."""

    enabled: bool = Field(
        default=False,
        description="Whether `run` starts the page as a process of its own. `rodin-watchd web` starts it alone, with any value here.",
    )
    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:8770",
        description="Address and port of the page. Other addresses than this machine's need a login (token_file) or a proxy.",
    )
    allowed_hosts: list[Annotated[str, AfterValidator(_host)]] = Field(
        default_factory=list,
        description="Names under which browsers may reach the page, in addition to the address that it listens on. Requests for other "
        "names are refused, because a hostile page could lead its own name here.",
        examples=[["textures.example.org"]],
    )
    token_file: FilePath | None = Field(
        default=None,
        description="File with the token that people log in with: one line of at least 16 characters. Only the service may read it. "
        "Left out: the credential rodin-web-token, which the systemd units make of /etc/rodin-watchd/web-token.",
        examples=["/etc/rodin-watchd/web-token"],
    )
    viewer_token_file: FilePath | None = Field(
        default=None,
        description="File with a second token, for people who look and change nothing. Left out: the credential "
        "rodin-web-viewer-token, which the systemd units make of /etc/rodin-watchd/web-viewer-token.",
        examples=["/etc/rodin-watchd/web-viewer-token"],
    )
    read_only: bool = Field(default=False, description="Whether nobody may change anything in the page.")
    proxy_header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None,
        description="Header in which a reverse proxy gives the name of the person who has logged in there.",
        examples=["X-Remote-User"],
    )
    proxy_from: list[Annotated[str, AfterValidator(_ip)]] = Field(
        default_factory=list,
        description="Addresses of the reverse proxy. From all others its headers are ignored.",
        examples=[["127.0.0.1"]],
    )
    proxy_actors: list[str] | None = Field(
        default=None,
        description="Names of the people behind the proxy who may change something; all others only look. Left out: all may.",
        examples=[["ada", "kenji"]],
    )

    proxy_address_header: Annotated[str, AfterValidator(_header)] | None = Field(
        default=None,
        description="Header to which a reverse proxy adds the address of whoever asks. Wrong tokens are counted for each address; "
        "without this header all people behind a proxy share one count.",
        examples=["X-Forwarded-For"],
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return _address(self.listen) or ("", 0)

    @model_validator(mode="after")
    def _whole_proxy(self) -> Self:
        """Refuse half of what names a proxy."""
        if bool(self.proxy_header or self.proxy_address_header) != bool(self.proxy_from):
            raise ValueError(
                ": proxy_from and proxy_header, or proxy_address_header, belong together: one of them is missing"
            )
        return self


# ---- The section `[plugins]` of `config.toml`: what holds for all plugins, and a table for each ---------------------


_MEGABYTE: Final = 1_000_000
_MEBIBYTE: Final = 1 << 20

Megabytes = Annotated[int, Field(ge=1, le=10_000_000)]
MegabytesOrZero = Annotated[int, Field(ge=0, le=10_000_000)]


_QUEUE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,23}")


def as_queue(value: str) -> str:
    """Return the name of a queue. Raises ValueError."""
    if not _QUEUE.fullmatch(value):
        raise ValueError("must be a word of small letters, digits, - and _, up to 24")
    return value


QueueName: TypeAlias = Annotated[str, AfterValidator(as_queue)]
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?")


def _bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value):
        raise ValueError("must be a bucket and the beginning of names in it, like s3://bucket/rodin-watchd")
    return value.rstrip("/")


def _endpoint(value: str) -> str:
    if not usable_url(value, loopback=True):
        raise ValueError(
            "must be an https:// address, without user name and password; http:// is only for this machine"
        )
    return value.rstrip("/")


class FarmSection(Section):
    """Plugins on other machines: those whose tables have where = "farm". Workers read this section, too. See docs/farm.md."""

    calls: Annotated[int, Field(ge=1, le=512)] = Field(
        default=32, description="How many calls are given to workers at the same time, in addition to plugins.workers."
    )
    silent_seconds: Annotated[float, Field(ge=1, le=600)] = Field(
        default=30,
        description="After so many seconds without a sign of life a worker is taken for dead, and its calls are made by another one. "
        "The same for the service and all workers.",
    )
    files: Annotated[str, AfterValidator(_bucket)] | None = Field(
        default=None,
        description="A bucket of an S3-compatible store for the files of calls, if not all workers have the share; needs the extra `s3`.",
        examples=["s3://bucket/rodin-watchd"],
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        description="The address of that store; left out: Amazon's.",
        examples=["https://objects.example"],
    )
    credentials_file: FilePath | None = Field(
        default=None,
        description="File with the credentials for that store, as the AWS tools write it ([default], aws_access_key_id, "
        "aws_secret_access_key). Only the service may read it. Left out: the AWS environment variables, or the machine's role.",
        examples=["/etc/rodin-watchd/s3-credentials"],
    )


class PluginTable(Section):
    """What the service reads in a plugin's table [plugins.NAME]; every other key there is the plugin's own."""

    model_config = ConfigDict(extra="allow")

    enabled: bool = Field(default=True, description="Whether the plugin is used.")
    optional: bool = Field(
        default=False, description="Whether the service starts without the plugin when it cannot be loaded."
    )
    required: bool = Field(
        default=False,
        description="What happens when the plugin cannot process a result. true: the job fails, and its results are next to the "
        "report; false: the result is delivered without the plugin's work.",
    )
    order: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Plugins are called from the smallest number to the largest; equal ones by name."
    )
    timeout_seconds: Seconds | None = Field(
        default=None, description="How long one call may take, instead of plugins.timeout_seconds.", examples=[600]
    )
    memory_megabytes: MegabytesOrZero | None = Field(
        default=None, description="How much memory, instead of plugins.memory_megabytes.", examples=[8000]
    )
    disk_megabytes: Megabytes | None = Field(
        default=None, description="How much disk, instead of plugins.disk_megabytes.", examples=[10000]
    )
    where: Literal["daemon", "farm"] = Field(
        default="daemon",
        description="Where the plugin runs. daemon: on the machine of the service; farm: where a `rodin-watchd worker` is, see docs/farm.md.",
    )
    queue: QueueName = Field(default="default", description="Which workers take its calls, if it runs on the farm.")

    @model_validator(mode="after")
    def _plain(self) -> Self:
        """Refuse values that cannot be sent to a plugin: dates and times, numbers that are not finite."""
        for key, value in self.settings.items():
            if why := unfit(value):
                raise ValueError(f": {key} {why}")
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """The plugin's own keys."""
        return self.model_extra or {}


class PluginsSection(Section):
    """Plugins: where they are and what they may use. Each plugin has its own table [plugins.NAME]."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, PluginTable] = Field(init=False)

    folders: list[FilePath] = Field(
        default_factory=list,
        description="Folders with plugins as single .py files. Only the service's user may have write permission there.",
        examples=[["/etc/rodin-watchd/plugins"]],
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="How many calls run at the same time.")
    timeout_seconds: Seconds = Field(default=300, description="How long one call may take before its process is ended.")
    memory_megabytes: MegabytesOrZero = Field(
        default=4096,
        description="How much memory a plugin and the programs that it starts may use together; with more, they are ended. "
        "0: no limit.",
    )
    disk_megabytes: Megabytes = Field(
        default=4096, description="How much disk space a plugin may use in the working copy of a result."
    )
    tries: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="How often a result is processed before a failing plugin is skipped."
    )
    failures_before_rest: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="After this many failures in a row a plugin is not called for a while."
    )
    rest_seconds: Seconds = Field(
        default=900, description="For how long such a plugin is not called before it is tried again."
    )
    pass_environment: list[str] = Field(
        default_factory=list,
        description="Environment variables that plugins may see in addition to PATH, HOME, the language and the time zone. "
        "The API key is never passed.",
        examples=[["DISPLAY"]],
    )

    @property
    def tables(self) -> Mapping[str, PluginTable]:
        """The table of each plugin that has one."""
        return self.__pydantic_extra__ or {}

    def table(self, name: str) -> PluginTable:
        """Return a plugin's table; an empty one if it has none."""
        return self.tables.get(name, PluginTable())

    @property
    def farm_names(self) -> tuple[str, ...]:
        """The plugins that run where workers are, sorted."""
        return tuple(sorted(name for name, table in self.tables.items() if table.enabled and table.where == "farm"))

    def is_on_farm(self, name: str) -> bool:
        """Return whether a plugin runs where workers are."""
        return self.table(name).where == "farm"

    def timeout_of(self, name: str) -> float:
        """Return how long one call may take, in seconds."""
        return self.table(name).timeout_seconds or self.timeout_seconds

    def memory_bytes_of(self, name: str) -> int:
        """Return how much memory its processes may have together; 0: any."""
        own = self.table(name).memory_megabytes
        return (self.memory_megabytes if own is None else own) * _MEBIBYTE

    def disk_bytes_of(self, name: str) -> int:
        """Return how much it may leave in a working copy."""
        return (self.table(name).disk_megabytes or self.disk_megabytes) * _MEGABYTE


# ---- The API key: where it is found, and what can be one. It is never in the configuration, and no error repeats it -


KEY_VARIABLE: Final = "RODIN_API_KEY"
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
    return _checked_key(secret_in(path, "API key", origin), origin)


def _checked_key(text: str, origin: str) -> str:
    key = text.strip()
    if not key:
        raise ConfigError(f"The API key is empty: {origin}.")
    if len(text) > _KEY_BYTES or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"The API key must be one line of plain characters without spaces: {origin}.")
    return key


# ---- The file: found, read, checked as a whole ----------------------------------------------------------------------


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
    store: StoreSection = Field(default_factory=StoreSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    web: WebSection = Field(default_factory=WebSection)
    plugins: PluginsSection = Field(default_factory=PluginsSection)
    farm: FarmSection = Field(default_factory=FarmSection)
    defaults: Annotated[AnyOptions, AfterValidator(_for_every_kind)] = Field(
        default_factory=AnyOptions,
        description="Options for every set, of each kind those that it has, under the presets (_folder.toml) and the sidecars. "
        "Only options that are set in one of these are sent; for all others the vendor's own defaults apply.",
    )

    @field_validator("plugins")
    @classmethod
    def _farm_has_a_store(cls, plugins: PluginsSection, info: ValidationInfo) -> PluginsSection:
        """Refuse plugins on the farm whose calls no database could hold."""
        store, names = info.data.get("store"), plugins.farm_names
        if names and store is not None and store.url is None:
            raise ValueError(
                f'[plugins.{names[0]}] where = "farm" needs the store in PostgreSQL: set store.url (docs/postgres.md), or remove where'
            )
        return plugins


def load_config(path: Path) -> Config:
    """Read and check a config file. All paths in the result are absolute.

    Raises ConfigError, which names every mistake on a line of its own: the file's name, the line, the key, what is
    allowed. Values of unknown keys are never repeated. May be called again to read the file again.
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
