"""Notify people by mail, Slack, Discord, Teams, ntfy, Telegram and whatever else apprise knows."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from rodin_watchd.v1 import Event, Job, Waiting, hookimpl
from rodin_watchd_plugins.moments import Moment
from rodin_watchd_plugins.notify.quiet import DAYS, Quiet, hours_of
from rodin_watchd_plugins.notify.wording import Message, of_job, of_service, of_waiting
from rodin_watchd_plugins.secret import secret_text

try:
    from rodin_watchd_plugins.notify.post import Clockwork, Post, is_ours
    from rodin_watchd_plugins.notify.sending import NotSentError, Target
except ModuleNotFoundError as _missing:
    if _missing.name != "apprise":
        raise
    raise ImportError("the library apprise is missing; run: pip install 'rodin-watchd[notify]'") from None

_PREVIEW: Final = "preview.webp"
_PREVIEW_PIXELS: Final = 512
_MOST_PREVIEW_BYTES: Final = 20_000_000

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Hours = Annotated[str, StringConstraints(pattern=r"^\d\d:\d\d-\d\d:\d\d$")]


class Settings(BaseModel):
    """The table [plugins.notify]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: list[SecretStr] = Field(
        default=[],
        description="The addresses that get notifications, in apprise's form. Those with a password or token belong into urls_file.",
        examples=[["mailto://mail.studio.example?from=rodin@studio.example&to=artists@studio.example"]],
    )
    urls_file: Path | None = Field(
        default=None, description="A file with more of them, one on each line; nobody else may be able to read it."
    )
    urls_environment: str | None = Field(
        default=None,
        description="An environment variable with more of them, with spaces between; name it in "
        "plugins.pass_environment, too.",
    )
    on: list[Moment] = Field(
        default=["delivered", "failed", "held", "waiting", "service"],
        description="The moments that are sent. There is also chosen: a person chose one of several results, or took that back.",
    )
    leave_out: list[str] = Field(
        default=["started"], description="Kinds of the service's events that are not sent.", examples=[["alarm"]]
    )
    urgent: list[Moment] = Field(
        default=[], description="The moments that are sent at once, whatever digest_seconds and the quiet hours say."
    )
    digest_seconds: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="How long to gather what happens into one message, from the first on; 0: a message for each.",
    )
    quiet_hours: list[Hours] = Field(
        default=[],
        description="Hours at which nothing is sent; what happens then is sent in one message when they end.",
        examples=[["22:00-07:00"]],
    )
    quiet_days: list[Day] = Field(default=[], description="Days on which nothing is sent.", examples=[["sat", "sun"]])
    time_zone: str | None = Field(
        default=None,
        description="Where these hours and days hold; without it the machine's.",
        examples=["Europe/Berlin"],
    )
    thumbnails: int = Field(
        default=3, ge=0, le=10, description="How many previews go along with a message, where the service takes them."
    )
    shown_root: str = Field(
        default="",
        description=r"What people call the service's folder; put before each path.",
        examples=["//nas/rodin/"],
    )
    spool: Path | None = Field(
        default=None,
        description="The folder for messages that wait; without it rodin-watchd/notify in $XDG_STATE_HOME, which the service sets.",
    )

    @property
    def quiet(self) -> Quiet:
        """When nothing is sent. Raises ValueError."""
        days = frozenset(DAYS.index(day) for day in self.quiet_days)
        return Quiet(tuple(hours_of(text) for text in self.quiet_hours), days, _zone(self.time_zone))

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if not (self.urls or self.urls_file or self.urls_environment):
            raise ValueError("say whom to tell: urls, urls_file or urls_environment")
        self.quiet.ends_at(0.0)
        return self


_post: list[tuple[Post, list[Clockwork]]] = []
"""The post of this process, once it is configured."""


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Understand the addresses, see that messages can wait on disk, and send those whose time came meanwhile."""
    urls = _urls(settings)
    targets = [Target(url, number) for number, url in enumerate(urls, 1)]
    post = Post(_spool(settings), targets, settings.digest_seconds, settings.quiet, settings.thumbnails)
    _post.append((post, [Clockwork(post, target) for target in targets]))


@hookimpl
def rodin_delivered(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Notify people of a result, with its preview."""
    _send(event, of_job("delivered", job, event, settings.shown_root), settings, directory)


@hookimpl
def rodin_failed(job: Job, event: Event, settings: Settings) -> None:
    """Notify people of a failed set, and why."""
    _send(event, of_job("failed", job, event, settings.shown_root), settings)


@hookimpl
def rodin_held(job: Job, event: Event, settings: Settings) -> None:
    """Notify people of a job that waits for a decision."""
    _send(event, of_job("held", job, event, settings.shown_root), settings)


@hookimpl
def rodin_chosen(job: Job, event: Event, settings: Settings) -> None:
    """Notify people of the result that somebody has chosen among several, or that is not chosen any more."""
    _send(event, of_job("chosen", job, event, settings.shown_root), settings)


@hookimpl
def rodin_waiting(waiting: Waiting, event: Event, settings: Settings) -> None:
    """Notify people of a set that lacks a file."""
    _send(event, of_waiting(waiting, event), settings)


@hookimpl
def rodin_service(event: Event, settings: Settings) -> None:
    """Notify people of what happens to the service."""
    if event.kind not in settings.leave_out:
        _send(event, of_service(event), settings)


def _send(event: Event, message: Message, settings: Settings, directory: Path | None = None) -> None:
    """Keep the message, and send all that is due. Raises RuntimeError: then it waits on, and the call is repeated."""
    if message.moment not in settings.on:
        return
    post, clocks = _post[-1]
    picture = _preview(directory) if directory and settings.thumbnails else b""
    post.keep(event.id, message, picture, urgent=message.moment in settings.urgent)
    problems = []
    for target, clock in zip(post.targets, clocks, strict=True):
        try:
            post.flush(target)
        except NotSentError as error:
            problems.append(str(error))  # the clockwork looks by itself, if the service does not come again
        else:
            clock.wake()
    if problems:
        raise RuntimeError("; ".join(problems))


def _preview(directory: Path) -> bytes:
    """Return the preview as a JPEG, which every mail program shows; nothing where there is none that can be read."""
    path = min(directory.rglob(_PREVIEW), key=lambda found: len(found.parts), default=directory / _PREVIEW)
    with contextlib.suppress(OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        if path.stat().st_size <= _MOST_PREVIEW_BYTES:
            with Image.open(path, formats=["WEBP"]) as image:
                image.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
                shown = image.convert("RGBA")
            ground = Image.new("RGBA", shown.size, "white")
            ground.alpha_composite(shown)
            ground.convert("RGB").save(file := io.BytesIO(), "JPEG", quality=85)
            return file.getvalue()
    return b""


# ---- settings -------------------------------------------------------------------------------------------------------


def _urls(settings: Settings) -> list[str]:
    """Return the addresses from wherever they stand. Raises RuntimeError."""
    urls = [url.get_secret_value() for url in settings.urls]
    if settings.urls_file:
        lines = secret_text(settings.urls_file, None, "the addresses of notify").splitlines()
        urls += [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if settings.urls_environment:
        urls += secret_text(None, settings.urls_environment, "the addresses of notify").split()
    if not urls:
        raise RuntimeError(f"the file {settings.urls_file} holds no address")
    return list(dict.fromkeys(urls))


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"there is no time zone {name} on this machine (names look like Europe/Berlin)") from None


def _spool(settings: Settings) -> Path:
    """Return the folder for messages that wait; it is made with the first. Raises RuntimeError when it cannot be."""
    folder = settings.spool or _state_home() / "rodin-watchd" / "notify"
    if not folder.is_absolute():
        raise RuntimeError("spool must be a whole path, from / on")
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 - False where it may not look
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)) or (there == folder and not is_ours(folder)):
        advice = 'give the service a folder of its own there, or name another, such as spool = "/var/lib/rodin-watchd/notify"'
        raise RuntimeError(f"messages cannot wait in {folder}: {there} is not this user's to write in; {advice}")
    return folder


def _state_home() -> Path:
    """Return where programs keep what must last (XDG Base Directory Specification, $XDG_STATE_HOME)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
