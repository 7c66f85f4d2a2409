"""Make a smaller copy of each GLB for the web, with gltf-transform or gltfpack.

The copy is next to the original (`model.web.glb`) or takes its place. Geometry is compressed by meshopt or Draco, textures
are scaled down and stored as WebP or KTX2. Sizes before and after go into the receipt.
"""

from __future__ import annotations

import functools
import json
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import hookimpl
from rodin_watchd_plugins.programs import find, run, small_environ

SET_KEYS: Final = ("compression", "texture_size")

_LARGEST_TEXTURE: Final = 16_384  # pixels: no limit, said as a number, because gltf-transform has one of its own
_ADVICE: Final = {
    "gltf-transform": "run: npm install --global @gltf-transform/cli",
    "gltfpack": "run: npm install --global gltfpack, or for textures take the build from its releases",
}


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
    """Try the programs on a model like those of the vendor, with all that is asked for, and not when the first result is there."""
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
    """Return the first program that does with a model what is asked. Raises RuntimeError with what each of them said."""
    said = []
    for tool in [settings.tool] if settings.tool != "auto" else ["gltf-transform", "gltfpack"]:
        try:
            _try(tool, settings)
        except (OSError, RuntimeError, ValueError) as error:
            said.append(str(error))
        else:
            return tool
    raise RuntimeError(". ".join(said))


def _try(tool: str, settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.glb")
        model.write_bytes(_model())
        _run(tool, settings, model, Path(folder, "smaller.glb"))


def _run(tool: str, settings: Settings, source: Path, target: Path) -> None:
    """Have a file made smaller. Raises when it fails, or leaves no GLB file behind."""
    program = find(settings.gltf_transform if tool == "gltf-transform" else settings.gltfpack, _ADVICE[tool])
    arguments = _of_gltf_transform(settings) if tool == "gltf-transform" else _of_gltfpack(settings)
    places = (
        ["optimize", str(source), str(target)] if tool == "gltf-transform" else ["-i", str(source), "-o", str(target)]
    )
    run([program, *places, *arguments, *settings.arguments], small_environ())
    data = target.read_bytes() if target.is_file() else b""
    if data[:4] != b"glTF" or int.from_bytes(data[8:12], "little") != len(data):
        raise RuntimeError(f"{tool} left no whole GLB file behind")


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


# ---- a model to try the programs on: its textures are as large as those of a result, so that it needs as much memory ----


_TEXTURE_PIXELS: Final = 2048
_TRIANGLE: Final = (struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0), struct.pack("<6f", 0, 0, 1, 0, 0, 1))


def _model() -> bytes:
    """Return a triangle with three textures, as GLB."""
    parts = [*_TRIANGLE, *(_png(channel) for channel in range(3))]
    padded = [part + bytes(-len(part) % 4) for part in parts]
    starts = [sum(map(len, padded[:number])) for number in range(len(parts))]
    binary = b"".join(padded)
    points = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
    base, rough = {"baseColorTexture": {"index": 0}}, {"metallicRoughnessTexture": {"index": 1}}
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}],
        "accessors": [points, {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"}],
        "materials": [{"name": "material", "pbrMetallicRoughness": base | rough, "normalTexture": {"index": 2}}],
        "textures": [{"source": number} for number in range(3)],
        "images": [{"bufferView": number, "mimeType": "image/png"} for number in range(2, 5)],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part)}
            for start, part in zip(starts, parts, strict=True)
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return head + _chunk(b"JSON", text) + _chunk(b"BIN\0", binary)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I4s", len(data), kind) + data


def _png(channel: int) -> bytes:
    """Return a texture with a gradient in one of the channels red, green and blue: no two are the same."""
    row = bytearray(b"\x80" * (3 * _TEXTURE_PIXELS))
    row[channel::3] = bytes(256 * pixel // _TEXTURE_PIXELS for pixel in range(_TEXTURE_PIXELS))
    head = struct.pack(">IIBBBBB", _TEXTURE_PIXELS, _TEXTURE_PIXELS, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    rows = zlib.compress((b"\0" + row) * _TEXTURE_PIXELS, 1)
    parts = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
