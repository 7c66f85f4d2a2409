"""Convert the model of a result: GLB, OBJ, STL, PLY and USDZ, several at once, from any of them to any other.

Files are written next to the model; nothing that is there already is changed. Textures are kept where the format can hold
them. What could not be kept is listed for each format, for the receipt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import hookimpl

try:
    from rodin_watchd_plugins.convert_mesh import reading, usd, writing
    from rodin_watchd_plugins.convert_mesh.losses import lost
except ImportError as error:
    raise ImportError(f"{error}; run: pip install 'rodin-watchd[convert-mesh]'") from None

Format: TypeAlias = Literal["glb", "obj", "stl", "ply", "usdz"]

SET_KEYS: Final = ("formats",)

_RICHEST_FIRST: Final = ("glb", "usdz", "obj", "ply", "stl")


class Settings(BaseModel):
    """The table [plugins.convert_mesh]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    formats: Annotated[list[Format], Field(min_length=1)] = Field(
        description="The formats that a result shall have: glb, obj, stl, ply, usdz. One that is there already is left alone."
    )


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for OpenUSD now if it will be needed."""
    if "usdz" in settings.formats:
        usd.require()


@hookimpl
def rodin_process(directory: Path, settings: Settings) -> Mapping[str, Any]:
    """Write what is missing of each model, from the richest of its files."""
    found = _models(directory)
    if not found:
        return {"nothing": "the result holds no model in a format that can be read here (glb, obj, stl, ply, usdz)"}
    return {"models": [_converted(source, directory, settings) for source in found]}


def _models(directory: Path) -> list[Path]:
    """Return the file to convert from of each model: files with equal names but for the suffix are one model."""
    best: dict[Path, Path] = {}
    for suffix in reversed(_RICHEST_FIRST):
        for path in sorted(directory.rglob("*")):
            if path.suffix.lower() == f".{suffix}" and path.is_file() and not path.is_symlink():
                best[path.with_suffix("")] = path
    return sorted(best.values())


def _converted(source: Path, directory: Path, settings: Settings) -> dict[str, Any]:
    there = {path.suffix.lower()[1:] for path in source.parent.iterdir() if path.stem == source.stem}
    wanted = [name for name in dict.fromkeys(settings.formats) if name not in there]
    fields: dict[str, Any] = {"from": source.relative_to(directory).as_posix()}
    if not wanted:
        return {**fields, "written": []}
    model = reading.read(source)
    written: list[dict[str, Any]] = []
    for name in wanted:
        paths = writing.write(model, source.with_suffix(f".{name}"))
        written += [{"name": path.relative_to(directory).as_posix(), "bytes": path.stat().st_size} for path in paths]
    losses = {name: what for name in wanted if (what := lost(model, name))}
    return {**fields, "triangles": model.triangles, "written": written, **({"lost": losses} if losses else {})}
