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
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _small_glb() -> bytes:
    """Return a GLB with one triangle (glTF 2.0, 3.6 to 4.4)."""
    places = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 1)
    scene = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(places)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(places)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = ((b"JSON", text), (b"BIN\0", places))
    body = b"".join(struct.pack("<I4s", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


SMALL_MODEL, SMALL_IMAGE = _small_glb(), _small_png()
"""Whole files of the fewest bytes, to be dropped by the thousand."""
