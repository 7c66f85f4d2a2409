"""Make a smaller copy of each GLB for the web, with gltf-transform or gltfpack.

The copy is next to the original (`model.web.glb`) or takes its place. Geometry is compressed by meshopt or Draco, textures
are scaled down and stored as WebP or KTX2. Sizes before and after go into the receipt.
"""

from __future__ import annotations

import base64
import functools
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import hookimpl
from rodin_watchd_plugins.programs import find, is_memory_limited, run, small_environ

SET_KEYS: Final = ("compression", "texture_size")

_LARGEST_TEXTURE: Final = 16_384  # pixels: no limit, said as a number, because gltf-transform has one of its own
_ADVICE: Final = {
    "gltf-transform": "run: npm install --global @gltf-transform/cli",
    "gltfpack": "run: npm install --global gltfpack, or for textures take the build from its releases",
}
_ROOM: Final = "; programs of Node.js older than 20.15 need memory_megabytes = 0 in [plugins.optimize_gltf]"


class Settings(BaseModel):
    """The table [plugins.optimize_gltf]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compression: Literal["meshopt", "draco", "none"] = Field(
        default="meshopt",
        description="How geometry is compressed. meshopt unpacks fastest; draco is smallest, and needs gltf-transform.",
    )
    texture_size: Annotated[int, Field(ge=0, le=_LARGEST_TEXTURE)] = Field(
        default=2048,
        description="Textures are scaled down to so many pixels at most; 0: they stay as large as they are.",
    )
    texture_format: Literal["keep", "webp", "ktx2"] = Field(
        default="webp",
        description="What textures are stored as. webp is small to load; ktx2 is small in graphics memory too, and needs "
        "a native gltfpack, or the program ktx; keep: PNG and JPEG as they are.",
    )
    output: Annotated[str, Field(pattern=r"^\{stem\}[A-Za-z0-9._-]*\.glb$")] = Field(
        default="{stem}.web.glb",
        description="The name of the smaller file; {stem} stands for the original's name. {stem}.glb puts it in the original's place.",
    )
    tool: Literal["auto", "gltf-transform", "gltfpack"] = Field(
        default="auto", description="The program to use; auto: the first that is there and can do what is asked."
    )
    gltf_transform: str = Field(default="gltf-transform", description="Where the program gltf-transform is.")
    gltfpack: str = Field(default="gltfpack", description="Where the program gltfpack is.")
    arguments: tuple[str, ...] = Field(
        default=(),
        description="More arguments for the program; they go with `tool` set, as the programs do not share any.",
    )


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Try the programs on a small model, with all that is asked for, and not when the first result is there."""
    if settings.arguments and settings.tool == "auto":
        raise ValueError("arguments are for one program: set tool to gltf-transform or gltfpack")
    _chosen(settings)


@hookimpl
def rodin_process(directory: Path, settings: Settings) -> Mapping[str, Any]:
    """Write the smaller files. One that would not be smaller is not written."""
    tool = _chosen(settings)
    done = [_made_smaller(path, directory, settings, tool) for path in _originals(directory, settings)]
    return {"tool": tool, "files": done} if done else {"nothing": "the result holds no GLB file"}


def _originals(directory: Path, settings: Settings) -> list[Path]:
    """Return the GLB files that are not themselves what this plugin writes of another one."""
    found = [path for path in sorted(directory.rglob("*.glb")) if path.is_file() and not path.is_symlink()]
    made = {_target(path, settings) for path in found} if settings.output != "{stem}.glb" else set()
    return [path for path in found if path not in made]


def _target(path: Path, settings: Settings) -> Path:
    return path.with_name(settings.output.replace("{stem}", path.stem))


def _made_smaller(path: Path, directory: Path, settings: Settings, tool: str) -> dict[str, Any]:
    target = _target(path, settings)
    before = path.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        smaller = Path(folder, "smaller.glb")
        _run(tool, settings, path, smaller)
        data = smaller.read_bytes()
    fields = {"from": path.relative_to(directory).as_posix(), "before_bytes": before}
    if len(data) >= before:
        return {**fields, "kept": "it would not become smaller", "would_be_bytes": len(data)}
    target.write_bytes(data)
    saved = round(100 * (1 - len(data) / before), 1)
    return {**fields, "to": target.relative_to(directory).as_posix(), "after_bytes": len(data), "saved_percent": saved}


# ---- the programs ---------------------------------------------------------------------------------------------------


@functools.cache
def _chosen(settings: Settings) -> str:
    """Return the first program that does on a small model what is asked. Raises RuntimeError with what each of them said."""
    said = []
    for tool in [settings.tool] if settings.tool != "auto" else ["gltf-transform", "gltfpack"]:
        try:
            _try(tool, settings)
        except (OSError, RuntimeError, ValueError) as error:
            said.append(str(error))
        else:
            return tool
    raise RuntimeError(". ".join(said) + (_ROOM if is_memory_limited() and "emory" in said[0] else ""))


def _try(tool: str, settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.glb")
        small.write_bytes(_SMALL)
        _run(tool, settings, small, Path(folder, "smaller.glb"))


def _run(tool: str, settings: Settings, source: Path, target: Path) -> None:
    """Have a file made smaller. Raises when it fails, or leaves no GLB file behind."""
    program = find(settings.gltf_transform if tool == "gltf-transform" else settings.gltfpack, _ADVICE[tool])
    arguments = _of_gltf_transform(settings) if tool == "gltf-transform" else _of_gltfpack(settings)
    places = (
        ["optimize", str(source), str(target)] if tool == "gltf-transform" else ["-i", str(source), "-o", str(target)]
    )
    run([program, *places, *arguments, *settings.arguments], _environ())
    data = target.read_bytes() if target.is_file() else b""
    if data[:4] != b"glTF" or int.from_bytes(data[8:12], "little") != len(data):
        raise RuntimeError(f"{tool} left no whole GLB file behind")


def _environ() -> dict[str, str]:
    """Return a small environment. Node.js takes 8 GiB of addresses for each WebAssembly memory unless it is forbidden."""
    room = {"NODE_OPTIONS": "--disable-wasm-trap-handler"} if is_memory_limited() else {}
    return {**small_environ(), **room}


def _of_gltf_transform(settings: Settings) -> Iterator[str]:
    """Give the arguments of `gltf-transform optimize` (version 4). What changes the shape or the materials is left out."""
    yield from ("--compress", "false" if settings.compression == "none" else settings.compression)
    yield from ("--simplify", "false", "--palette", "false", "--flatten", "false", "--join", "false")
    if settings.texture_format == "keep":
        yield from ("--texture-compress", "auto" if settings.texture_size else "false")
    else:
        yield from ("--texture-compress", settings.texture_format)
    yield from ("--texture-size", str(settings.texture_size or _LARGEST_TEXTURE))


def _of_gltfpack(settings: Settings) -> Iterator[str]:
    """Give the arguments of gltfpack. Names of nodes and materials are kept. Raises ValueError for what it cannot do."""
    if settings.compression == "draco":
        raise ValueError("gltfpack has no Draco compression: it takes gltf-transform")
    if settings.texture_format == "keep" and settings.texture_size:
        raise ValueError(
            "gltfpack scales textures only if it encodes them again: set texture_format, or texture_size = 0"
        )
    yield from ("-kn", "-km")
    if settings.compression == "meshopt":
        yield "-cc"
    if settings.texture_format != "keep":
        yield "-tw" if settings.texture_format == "webp" else "-tc"
        if settings.texture_size:
            yield from ("-tl", str(settings.texture_size))


_SMALL: Final = zlib.decompress(
    base64.b64decode(
        "eNpLzwlxY2JgYOhgZmDoATK8gv39qpUSi4tTS5SsqpXKUouKM/PzlKyUjPQMlGp1lIqTU/NSlawMoKxiJavoaqW8/BQwyyC2NlYHzqtWyk0t"
        "zgCqBQmCmFDRgqLM3MySzDIoN7GkpCgzqbQExK1WCvAP9gzx9PcDWxHiGuHs7x/kEm+gZGUItDw3sSS1KDMxB2wm2FSoANTgpCLf1JLEnJzM"
        "5KD80vQMoPPAZiYlFqc65+fkF4WkVpSUFqWCxDLzUlIrQObUgswpgUhAjCnOLy1KToW6OzM3MR0qnlSalpZaFJaZWq5kZQS0OzM3NaSyAKgQ"
        "oki/IC9dCaQlMTkZaHF+EaYuoJeS83ML8vNS80ogWk0NjcxAgqV5wOA2BjoEYmCYq7OxEsiKPFCo6gAh2LNAB0cb6hgCebU6qCYbkmCyEdiV"
        "CN3I7gS7MamyJNUnNS+9BBh5xmYIq+CS/mlp4PRhbIaq2MgEj2IzNJMNzYwR7oC6AdksoGGxtQoPgGnTydOPARU02BPPb7DvDPBz5+WS4gJy"
        "eD09XIKANAcIc4ASvneu5h0gleXp4hhScUu0x1GQwZHn0KolXgFCqqFNQlMWvPhWMcknrU3WxODOA0Xn9pmp4ro62ytOXqp1WDPBYc6GjhVy"
        "P66W/7M2YPl1qPjNwt/vrWuevLBNuHZif80xtWV1CjkB/46wtrc8a9zk+vdweExQlB1zvTejNFOWK8hxnq5+LuucEpoYANcEHJk="
    )
)
"""One triangle with a texture of eight by eight pixels."""
