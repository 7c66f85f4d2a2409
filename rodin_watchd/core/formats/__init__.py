"""Whether a file is whole, by its content, and which files are taken at all.

A file's length proves nothing by itself: copying programs set the full size first and fill it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.containers import probe_fbx, probe_glb, probe_usdz
from rodin_watchd.core.formats.extensions import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
)
from rodin_watchd.core.formats.images import probe_jpeg, probe_png, probe_webp
from rodin_watchd.core.formats.meshes import probe_obj, probe_stl
from rodin_watchd.core.formats.source import Source
from rodin_watchd.core.formats.verdict import BreaksOffError, Verdict, Wholeness, undecided, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

__all__ = [
    "IMAGE_EXTENSIONS",
    "MODEL_EXTENSIONS",
    "READ_LIMIT_BYTES",
    "REFUSED_IMAGE_EXTENSIONS",
    "REFUSED_MODEL_EXTENSIONS",
    "Verdict",
    "Wholeness",
    "probe",
]

READ_LIMIT_BYTES: Final = 320 * 1024
"""The most bytes that one `probe` reads, in at most some two thousand reads, however large the file is."""

_PROBES: Final[Mapping[str, Callable[[Source], Verdict]]] = {
    ".fbx": probe_fbx,
    ".glb": probe_glb,
    ".jpeg": probe_jpeg,
    ".jpg": probe_jpeg,
    ".obj": probe_obj,
    ".png": probe_png,
    ".stl": probe_stl,
    ".usdz": probe_usdz,
    ".webp": probe_webp,
}


def probe(extension: str, stream: BinaryIO, size: int) -> Verdict:
    """Judge a file by its content.

    Takes its extension (lower case, with the dot; one of `MODEL_EXTENSIONS` or `IMAGE_EXTENSIONS`, others are
    UNDECIDED), a seekable binary stream (one whose `read` gives all that is there) and its size in bytes by `fstat`.
    Reads at most `READ_LIMIT_BYTES`, moves the stream's position, changes nothing, may be repeated. Hostile content
    never raises; an OSError of the stream passes through. WHOLE is a proof of length and ends, not of what lies
    between: whether a picture can be decoded is another question.
    """
    if extension not in _PROBES:
        return undecided(f"{extension} files are not looked into")
    if size == 0:
        return unfinished("the file is empty")
    try:
        return _PROBES[extension](Source.of(stream, size))
    except BreaksOffError as broken:
        return unfinished(str(broken))
