"""The hooks of plugins that tell all moments alike: they call `tell` of the plugin's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from rodin_watchd.v1 import Event, Job, Waiting, hookimpl, to_data

__all__ = ["Moment", "rodin_delivered", "rodin_failed", "rodin_held", "rodin_service", "rodin_waiting"]

Moment: TypeAlias = Literal["delivered", "failed", "held", "waiting", "service"]


class Telling(Protocol):
    """Settings that know how to tell."""

    def tell(self, moment: Moment, event: Event, about: Mapping[str, Any], directory: Path | None = None) -> None:
        """Tell it, if it is to be told: `about` has the job or the set as plain data. Raise, and it is repeated."""


@hookimpl
def rodin_delivered(job: Job, directory: Path, event: Event, settings: Telling) -> None:
    """Tell of a result in the outbox."""
    settings.tell("delivered", event, {"job": to_data(job)}, directory)


@hookimpl
def rodin_failed(job: Job, directory: Path, event: Event, settings: Telling) -> None:
    """Tell of a failed set."""
    settings.tell("failed", event, {"job": to_data(job)}, directory)


@hookimpl
def rodin_held(job: Job, event: Event, settings: Telling) -> None:
    """Tell of a job that waits for a decision."""
    settings.tell("held", event, {"job": to_data(job)})


@hookimpl
def rodin_waiting(waiting: Waiting, event: Event, settings: Telling) -> None:
    """Tell of a set that lacks a file."""
    settings.tell("waiting", event, {"waiting": to_data(waiting)})


@hookimpl
def rodin_service(event: Event, settings: Telling) -> None:
    """Tell of what happens to the service."""
    settings.tell("service", event, {})
