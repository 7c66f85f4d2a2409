"""Run a program of your own, with the job as JSON on its standard input."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rodin_watchd.v1 import Event, Job, Waiting, hookimpl, to_data
from rodin_watchd_plugins._owner import OwnersTable, remember

Moment = Literal["process", "delivered", "failed", "held", "waiting", "service"]


class Settings(OwnersTable):
    """The table [plugins.command]."""

    run: Annotated[list[str], Field(min_length=1)] = Field(
        description="The program and its arguments; no shell reads them. {directory} stands for the folder of the result."
    )
    on: list[Moment] = Field(
        default=["delivered"],
        description="When to run it: process (before publishing, it may change the files), delivered, failed, held, "
        "waiting, service.",
    )


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for the program now, and not when the first result is there."""
    if shutil.which(settings.run[0]) is None:
        raise FileNotFoundError(f"the program {settings.run[0]} is not there, or may not be run")
    remember(settings)


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings) -> Mapping[str, Any] | None:
    """Let the program change the result's files."""
    if "process" not in settings.on:
        return None
    _run(settings, {"moment": "process", "job": to_data(job)}, directory)
    return {"ran": settings.run[0]}


@hookimpl
def rodin_delivered(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Run it on a result in the outbox."""
    _tell("delivered", event, settings, {"job": to_data(job)}, directory)


@hookimpl
def rodin_failed(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Run it on a failed set."""
    _tell("failed", event, settings, {"job": to_data(job)}, directory)


@hookimpl
def rodin_held(job: Job, event: Event, settings: Settings) -> None:
    """Run it for a job that waits for a decision."""
    _tell("held", event, settings, {"job": to_data(job)})


@hookimpl
def rodin_waiting(waiting: Waiting, event: Event, settings: Settings) -> None:
    """Run it for a set that lacks a file."""
    _tell("waiting", event, settings, {"waiting": to_data(waiting)})


@hookimpl
def rodin_service(event: Event, settings: Settings) -> None:
    """Run it for what happens to the service."""
    _tell("service", event, settings, {})


def _tell(
    moment: Moment, event: Event, settings: Settings, about: Mapping[str, Any], directory: Path | None = None
) -> None:
    if moment in settings.on:
        _run(settings, {"moment": moment, "event": to_data(event), **about}, directory)


def _run(settings: Settings, said: Mapping[str, Any], directory: Path | None) -> None:
    """Run the program; what it prints becomes the plugin's output. Raises when it fails."""
    folder = str(directory or "")
    command = [part.replace("{directory}", folder) for part in settings.run]
    done = subprocess.run(  # noqa: S603 - the owner's own program, by his config
        command,
        input=json.dumps({**said, "directory": folder}),
        text=True,
        check=False,
        cwd=directory,
    )
    if done.returncode:  # told without the arguments, which may hold a password
        how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise RuntimeError(f"{settings.run[0]} ended with {how}")
