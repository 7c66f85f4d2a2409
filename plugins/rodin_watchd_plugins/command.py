"""Run a program of your own, with the job as JSON on its standard input."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import Event, Job, hookimpl, to_data
from rodin_watchd_plugins.moments import (
    Moment,
    rodin_chosen,
    rodin_delivered,
    rodin_failed,
    rodin_held,
    rodin_service,
    rodin_waiting,
)

__all__ = [
    "Settings",
    "rodin_chosen",
    "rodin_configure",
    "rodin_delivered",
    "rodin_failed",
    "rodin_held",
    "rodin_process",
    "rodin_service",
    "rodin_waiting",
]


class Settings(BaseModel):
    """The table [plugins.command]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Annotated[list[str], Field(min_length=1)] = Field(
        description="The program and its arguments; no shell reads them. {directory} stands for the folder of the result."
    )
    on: list[Literal["process", Moment]] = Field(
        default=["delivered"],
        description="When to run it: process (before publishing, it may change the files), delivered, failed, held, "
        "chosen (a person chose one of several results, or took that back), waiting, service.",
    )

    def send(self, moment: Moment, event: Event, about: Mapping[str, Any], directory: Path | None = None) -> None:
        """Run it for what happened."""
        if moment in self.on:
            _run(self, {"moment": moment, "event": to_data(event), **about}, directory)


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for the program now, and not when the first result is there."""
    if shutil.which(settings.run[0]) is None:
        raise FileNotFoundError(f"the program {settings.run[0]} is not there, or may not be run")


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings) -> Mapping[str, Any] | None:
    """Let the program change the result's files."""
    if "process" not in settings.on:
        return None
    _run(settings, {"moment": "process", "job": to_data(job)}, directory)
    return {"ran": settings.run[0]}


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
    if done.returncode:  # reported without the arguments, which may hold a password
        how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise RuntimeError(f"{settings.run[0]} ended with {how}")
