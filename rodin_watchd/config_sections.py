"""The sections of `config.toml` as models: names, limits, defaults, and the words that explain them.

Every field's description becomes its comment in the example file and its help in editors (`config_text`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from rodin_watchd.core.wire_text import usable_url

_NOT_IN_BASE_URL: Final = re.compile(r"[?#\s]")
_DAY_SECONDS: Final = 86_400
_MOST_CREDITS: Final = 1_000_000


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


def _credits(value: object) -> object:
    """Make a number of credits exact: what the file says, digit for digit, and no float anywhere after."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return value
    raise ValueError("must be a number of credits, like 5 or 12.5")


FilePath: TypeAlias = Annotated[Path, BeforeValidator(_path)]
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_base_url), Field(json_schema_extra={"format": "uri"})]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=_DAY_SECONDS)]
Credits: TypeAlias = Annotated[
    Decimal,
    BeforeValidator(_credits),
    Field(ge=0, le=_MOST_CREDITS),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": _MOST_CREDITS}),
]
SecondsOrZero: TypeAlias = Annotated[float, Field(ge=0, le=_DAY_SECONDS)]


class Section(BaseModel):
    """What all sections have in common: frozen, exact types, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


class Folders(Section):
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
    reserve_megabytes: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=200,
        description="While the disk of the work folder has less room than this many megabytes, nothing is taken, sent or "
        "downloaded: a result that was paid for must find its place.",
    )
    lease: Literal["auto", "always"] = Field(
        default="auto",
        description="Whether a file with a heartbeat keeps a second daemon off the root, besides the lock. auto: on a "
        "network share, where locks may not work between machines; always: everywhere. A start after a crash of another "
        "machine's daemon takes half a minute longer.",
    )

    @property
    def reserve_bytes(self) -> int:
        """The same room in bytes."""
        return self.reserve_megabytes * 1_000_000


class Api(Section):
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


class Intake(Section):
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


class Polling(Section):
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


class Results(Section):
    """What is accepted from the vendor's file host."""

    max_file_megabytes: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=2000, description="Largest result file that is downloaded, in megabytes of 1,000,000 bytes."
    )

    @property
    def max_file_bytes(self) -> int:
        """The same limit in bytes."""
        return self.max_file_megabytes * 1_000_000


class Budget(Section):
    """What may be spent, in the vendor's credits; a texture costs 0.5. Left out, there is no limit."""

    per_day_credits: Credits | None = Field(
        default=None,
        description="What may be spent in a day of the service's time zone. What is over it waits, visibly, and goes on by "
        "itself the next day. A held job whose cost is unknown counts.",
        examples=[20],
    )
    per_folder_credits: Credits | None = Field(
        default=None,
        description="What each folder directly below the inbox, with all that is below it, may spend in a day. "
        "Sets that lie in the inbox itself count as one folder.",
        examples=[5],
    )
    hold_above_sets: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="When more new sets than this come within one rescan, none of those is taken until somebody runs "
        "`rodin-watchd approve`. 0: every set waits for approval.",
        examples=[50],
    )
    low_balance: Credits | None = Field(
        default=None,
        description="When the account holds less than this many credits, STATUS.txt and the log say so, once.",
        examples=[10],
    )
    sole_spender: bool = Field(
        default=False,
        description="Whether this service alone spends from the vendor's account, with no person and no other program. Then "
        "the balance can prove that a submit with a lost answer was not charged, and it is submitted again. With a "
        "shared account this must stay false: it could pay twice.",
    )
    settle_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=60,
        description="How long the vendor may take to take a charge off the balance. So long after a submit whose answer was lost, or "
        "was a refusal without one of the vendor's own codes, nothing else is submitted until the balance was read, twice.",
    )


class Service(Section):
    """How the service runs. SIGHUP (`systemctl reload`) has this whole file read anew; a bad one is refused."""

    stop_seconds: SecondsOrZero = Field(
        default=20,
        description="How long SIGTERM lets running steps end; what does not end in time is redone at the next start. An upload "
        "that has not sent its last bytes is dropped, which is free of charge; one that has sent them is given "
        "api.read_seconds, if that is longer, because its answer cannot be asked for again.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="What is logged: debug adds each call to the vendor, warning leaves only what people should look at. "
        "`run --verbose` means debug, whatever stands here.",
    )
