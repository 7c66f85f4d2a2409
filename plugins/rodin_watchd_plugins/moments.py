"""The hooks of plugins that report all moments alike: they call `tell` of the plugin's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from rodin_watchd.v1 import Event, Job, Waiting, hookimpl, to_data

__all__ = ["Moment", "rodin_chosen", "rodin_delivered", "rodin_failed", "rodin_held", "rodin_service", "rodin_waiting"]

Moment: TypeAlias = Literal["delivered", "failed", "held", "chosen", "waiting", "service"]


class Sender(Protocol):
    """Settings that can send a notification."""

    def send(self, moment: Moment, event: Event, about: Mapping[str, Any], directory: Path | None = None) -> None:
        """Send it, if it is wanted: `about` has the job or the set as plain data. Raise, and it is repeated."""


@hookimpl
def rodin_delivered(job: Job, directory: Path, event: Event, settings: Sender) -> None:
    """Notify people of a result in the outbox."""
    settings.send("delivered", event, {"job": to_data(job)}, directory)


@hookimpl
def rodin_failed(job: Job, directory: Path, event: Event, settings: Sender) -> None:
    """Notify people of a failed set."""
    settings.send("failed", event, {"job": to_data(job)}, directory)


@hookimpl
def rodin_held(job: Job, event: Event, settings: Sender) -> None:
    """Notify people of a job that waits for a decision."""
    settings.send("held", event, {"job": to_data(job)})


@hookimpl
def rodin_chosen(job: Job, directory: Path, event: Event, settings: Sender) -> None:
    """Notify people of the job of a set that somebody has chosen, or that is not chosen any more."""
    settings.send("chosen", event, {"job": to_data(job)}, directory)


@hookimpl
def rodin_waiting(waiting: Waiting, event: Event, settings: Sender) -> None:
    """Notify people of a set that lacks a file."""
    settings.send("waiting", event, {"waiting": to_data(waiting)})


@hookimpl
def rodin_service(event: Event, settings: Sender) -> None:
    """Notify people of what happens to the service."""
    settings.send("service", event, {})
