"""Hand the result to Blender with a script of your own: for FBX, and everything else that Blender writes.

Blender runs in the background, in the working copy of the result, with its factory settings and a small environment. The
script finds the model's name after `--` in `sys.argv`, and the job as JSON in the file that RODIN_JOB names.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import Job, hookimpl, to_data
from rodin_watchd_plugins.programs import find, last_words, run, small_environ

_MODELS: Final = (".glb", ".gltf", ".usdz", ".fbx", ".obj", ".ply", ".stl")  # the richest first
_SCRIPT_FAILED: Final = "97"
_ADVICE: Final = "run: apt-get install blender, or set program to where it is"

_State = dict[str, tuple[int, int, int]]


class Settings(BaseModel):
    """The table [plugins.blender]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: Path = Field(description="The Python script that Blender runs, with its full path.")
    program: str = Field(default="blender", description="Where Blender is.")
    scene: Path | None = Field(
        default=None,
        description="A .blend file, with its full path, that is open when the script starts: lights, cameras.",
    )
    arguments: tuple[str, ...] = Field(default=(), description="More arguments for the script, after the model's name.")
    expects: Annotated[tuple[str, ...], Field(max_length=100)] = Field(
        default=(),
        description="Patterns of the files that the script must have written or changed; without one of them the run failed.",
    )
    factory_startup: bool = Field(
        default=True,
        description="Whether the preferences and add-ons of the service's user are left out. If not, environment needs HOME.",
    )
    environment: tuple[str, ...] = Field(
        default=(),
        description="Variables that Blender gets besides PATH, language and time zone; the service has to pass them on, "
        "see plugins.pass_environment.",
    )


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for Blender, the script and the scene now, and not when the first result is there."""
    for path in filter(None, (settings.script, settings.scene)):
        if not path.is_absolute() or not path.is_file():
            raise FileNotFoundError(f"{path} is no file; script and scene take a full path")
    _version(settings)


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings) -> Mapping[str, Any]:
    """Run Blender in the working copy. Its exit code, an exception in the script, or a missing file is a failure."""
    before = _state(directory)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "job.json")
        found.write_text(json.dumps(to_data(job)), encoding="utf-8")
        environ = {**small_environ(settings.environment), "RODIN_JOB": str(found)}
        said = run(_command(settings, _model(directory)), environ, directory)
    print(said)  # noqa: T201 - the plugin's output
    after = _state(directory)
    changed = sorted(name for name in after if after[name] != before.get(name))
    _check(settings, changed, said)
    return {
        "blender": _version(settings),
        "script": settings.script.name,
        "written": [{"name": name, "bytes": after[name][0]} for name in changed],
        **({"removed": sorted(before.keys() - after.keys())} if before.keys() - after.keys() else {}),
    }


def _command(settings: Settings, model: str) -> list[str]:
    """Return the command. Order matters to Blender: the settings, then the scene, then what is to be done."""
    return [
        find(settings.program, _ADVICE),
        "--background",
        *(["--factory-startup"] if settings.factory_startup else []),
        "--disable-autoexec",  # scripts inside of .blend files
        *([str(settings.scene)] if settings.scene else []),
        "--python-exit-code",
        _SCRIPT_FAILED,
        "--python",
        str(settings.script),
        "--",
        model,
        *settings.arguments,
    ]


def _version(settings: Settings) -> str:
    """Return what Blender says of itself: `Blender 3.4.1`."""
    lines = run([find(settings.program, _ADVICE), "--version"], small_environ(settings.environment)).splitlines()
    found = [line.strip() for line in lines if line.startswith("Blender ")]
    if not found:
        raise RuntimeError(f"{settings.program} does not say that it is Blender")
    return found[0]


def _model(directory: Path) -> str:
    """Return the name of the result's model, the richest file of it; "" if there is none."""
    names = sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.suffix.lower() in _MODELS
    )
    return min(names, key=lambda name: _MODELS.index(Path(name).suffix.lower()), default="")


def _state(directory: Path) -> _State:
    """Return what distinguishes a changed file from the same: its size, its time and its place on the disk."""
    state: _State = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            seen = path.lstat()
            state[path.relative_to(directory).as_posix()] = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
    return state


def _check(settings: Settings, changed: list[str], said: str) -> None:
    for pattern in settings.expects:
        if not any(Path(name).match(pattern) for name in changed):
            raise FileNotFoundError(f"the script wrote no file like {pattern}; it said: {last_words(said)}")
