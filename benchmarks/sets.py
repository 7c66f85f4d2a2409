"""Sets to drop: each differs from all others by its seed, for an equal set is never paid for twice."""

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path

from benchmarks.vendor import SAMPLES

MODEL, IMAGE = SAMPLES / "bunny.glb", SAMPLES / "matcap-b.jpg"


def drop(inbox: Path, number: int, *, prefix: str = "set", sidecar: bool = True) -> float:
    """Write a set's files one after the other; return when the last byte was written (CLOCK_MONOTONIC, seconds).

    With a sidecar, which comes last, the seed makes the set one of its kind; without one the end of its image does.
    """
    name = f"{prefix}{number:05}"
    _write(inbox / f"{name}.glb", MODEL.read_bytes())
    if not sidecar:
        return _write(inbox / f"{name}.jpg", _numbered_jpeg(number))
    _write(inbox / f"{name}.jpg", IMAGE.read_bytes())
    return _write(inbox / f"{name}.toml", f"seed = {number}\n".encode())


def _numbered_jpeg(number: int) -> bytes:
    """Return the image with a comment segment (ITU-T T.81, B.2.4.5) after its first marker."""
    image = IMAGE.read_bytes()
    return image[:2] + b"\xff\xfe\x00\x0a" + f"{number:08}".encode() + image[2:]


def _write(path: Path, data: bytes) -> float:
    with path.open("wb", buffering=0) as file:
        file.write(data)
        return time.monotonic()


def folders(path: Path) -> int:
    """Count what is in a folder for people to see; 0 when it is not there."""
    return sum(not entry.name.startswith(".") for entry in path.iterdir()) if path.is_dir() else 0


def _small_png() -> bytes:
    """Return a PNG of one pixel (W3C PNG, 5.2 to 11.2)."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in parts)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def marked_png(image: bytes, mark: str) -> bytes:
    """Return the PNG with a text chunk (W3C PNG, 11.3.3.2) before its end, which makes it one of its kind."""
    end = _png_chunk(b"IEND", b"")
    return image.removesuffix(end) + _png_chunk(b"tEXt", b"Comment\0" + mark.encode()) + end


def marked_glb(model: bytes, mark: str) -> bytes:
    """Return the GLB with a word among its asset's extras (glTF 2.0, 4.4 and 5.9), which makes it one of its kind."""
    (length,) = struct.unpack_from("<I", model, 12)
    scene = json.loads(model[20 : 20 + length])
    scene["asset"]["extras"] = {"mark": mark}
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    rest = model[20 + length :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def _small_glb() -> bytes:
    """Return a GLB of one triangle (glTF 2.0, 4.4)."""
    points = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    position = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]}
    scene = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(points)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(points)}],
        "accessors": [position],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    text = json.dumps(scene).encode()
    padded = text.ljust(-(-len(text) // 4) * 4)
    chunks = b"".join(
        struct.pack("<I4s", len(data), kind) + data for kind, data in ((b"JSON", padded), (b"BIN\0", points))
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


SMALL_MODEL, SMALL_IMAGE = _small_glb(), _small_png()
"""Whole files of the fewest bytes, to be dropped by the thousand."""


def drop_small(inbox: Path, number: int) -> None:
    """Write a whole set of the fewest bytes, whose seed makes it one of its kind."""
    name = f"set{number:05}"
    _write(inbox / f"{name}.glb", SMALL_MODEL)
    _write(inbox / f"{name}.png", SMALL_IMAGE)
    _write(inbox / f"{name}.toml", f"seed = {number}\n".encode())
