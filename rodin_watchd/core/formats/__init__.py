"""Whether a file is whole, by its content, and which files are taken at all.

A file's length proves nothing by itself: copying programs set the full size first and fill it later.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.file_kinds import (
    IMAGE_EXTENSIONS,
    MODEL_EXTENSIONS,
    REFUSED_IMAGE_EXTENSIONS,
    REFUSED_MODEL_EXTENSIONS,
    FileKind,
    sniff,
)
from rodin_watchd.core.formats.fbx import examine_fbx, probe_fbx
from rodin_watchd.core.formats.glb import examine_glb, probe_glb
from rodin_watchd.core.formats.images import JPEG_LIMIT_BYTES, examine_image, image_extension, probe_image
from rodin_watchd.core.formats.plain import examine_obj, examine_stl, probe_obj, probe_stl
from rodin_watchd.core.formats.source import (
    ENDS_IN_ZEROS,
    FOLLOWED,
    BreaksOffError,
    ByteSource,
    FileVerdict,
    Wholeness,
    undecided,
    unfinished,
)
from rodin_watchd.core.formats.usdz import examine_usdz, probe_usdz
from rodin_watchd.model import MODEL_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

__all__ = [
    "IMAGE_EXTENSIONS",
    "JPEG_LIMIT_BYTES",
    "MODEL_EXTENSIONS",
    "READ_LIMIT_BYTES",
    "REFUSED_IMAGE_EXTENSIONS",
    "REFUSED_MODEL_EXTENSIONS",
    "FileKind",
    "FileVerdict",
    "Wholeness",
    "examine",
    "image_extension",
    "probe",
]

READ_LIMIT_BYTES: Final = 320 * 1024
"""The most bytes that one `probe` reads, in at most some two thousand reads, however large the file is.

An image that goes on behind its end is read up to there: `JPEG_LIMIT_BYTES` more, or the heads of its chunks.
"""

_PROBES: Final[Mapping[str, Callable[[ByteSource], FileVerdict]]] = {
    ".fbx": probe_fbx,
    ".glb": probe_glb,
    ".obj": probe_obj,
    ".stl": probe_stl,
    ".usdz": probe_usdz,
    **{extension: partial(probe_image, extension) for extension in IMAGE_EXTENSIONS},
}


def probe(extension: str, stream: BinaryIO, size: int) -> FileVerdict:
    """Judge a file by its content.

    Takes its extension (lower case, with the dot; one of `MODEL_EXTENSIONS` or `IMAGE_EXTENSIONS`, others are
    UNDECIDED), a seekable binary stream (one whose `read` gives all that is there) and its size in bytes by `fstat`.
    Reads at most `READ_LIMIT_BYTES`, moves the stream's position, changes nothing, may be repeated. Hostile content
    never raises; an OSError of the stream passes through. WHOLE is a proof of length and ends, not of what is
    between: whether a picture can be decoded is another question. Images go by their content: a PNG under `.jpg` is whole.
    """
    if extension not in _PROBES:
        return undecided(f"{extension} files are not checked")
    if size == 0:
        return unfinished("the file is empty")
    try:
        return _PROBES[extension](ByteSource.of(stream, size))
    except BreaksOffError as broken:
        return unfinished(str(broken))


_EXAMINATIONS: Final[Mapping[str, Callable[[bytes], FileVerdict]]] = {
    ".fbx": examine_fbx,
    ".glb": examine_glb,
    ".obj": examine_obj,
    ".stl": examine_stl,
    ".usdz": examine_usdz,
}


def examine(extension: str, stream: BinaryIO, size: int) -> FileVerdict:
    """Judge a file by all of its content, before money is spent: a model, whether it is whole and can become a textured model.

    Of an image: whether there are holes in it that show without decoding. The arguments are those of `probe`, whose verdict it is for
    all other files, and for larger ones (`MODEL_LIMIT_BYTES`, `JPEG_LIMIT_BYTES` of an image). Takes up to a third of a second, for a
    hostile file a second, and some 100 MB of memory. Hostile content never raises; an OSError of the stream passes through. May be
    repeated.
    """
    verdict = probe(extension, stream, size)
    may_be = verdict.wholeness in (Wholeness.WHOLE, Wholeness.UNDECIDED)
    most = JPEG_LIMIT_BYTES if extension in IMAGE_EXTENSIONS else MODEL_LIMIT_BYTES
    if not may_be or extension not in _EXAMINATIONS.keys() | IMAGE_EXTENSIONS or size > most:
        return verdict
    stream.seek(0)
    data = stream.read(size)
    if len(data) < size:  # it was cut while we read
        return unfinished(f"{len(data):,} of {size:,} bytes are there")
    if extension in IMAGE_EXTENSIONS:
        return examine_image(data, verdict)
    try:
        found = _EXAMINATIONS[extension](data)
    except BreaksOffError as broken:
        return unfinished(str(broken))
    is_doubtful = verdict in (FOLLOWED, ENDS_IN_ZEROS) and found.wholeness is Wholeness.WHOLE
    return replace(verdict, warnings=found.warnings) if is_doubtful else found


# ---- Whether a downloaded result is what its name says: an error page under a status of success is not --------------


_HEAD_BYTES: Final = 1024
_TEXTS: Final[Mapping[str, frozenset[str]]] = {
    "an HTML page": frozenset({".htm", ".html"}),
    "a JSON file": frozenset({".gltf", ".json"}),
    "an XML file": frozenset({".dae", ".svg", ".x3d", ".xml"}),
}
"""What servers answer instead of a file, and the names under which it may be the file itself."""


def why_damaged(extension: str, stream: BinaryIO, size: int) -> str:
    """Return what is wrong with a result by its content, "" for nothing; the arguments and the bounds are those of `probe`.

    Refused are files that break off, models and pictures that are none, and pages of a server under any other name. A
    picture may be one of another format than its name says.
    """
    if not size:
        return "the file is empty"
    stream.seek(0)
    found = sniff(stream.read(_HEAD_BYTES)) or ""
    verdict = probe(extension, stream, size)
    is_none = verdict.wholeness is Wholeness.WRONG and extension in MODEL_EXTENSIONS | IMAGE_EXTENSIONS
    if is_none or verdict.wholeness is Wholeness.UNFINISHED:
        return verdict.detail
    return f"this is {found}" if extension not in _TEXTS.get(found, {extension}) else ""


def is_proven(extension: str, stream: BinaryIO, size: int) -> bool:
    """Return whether a result's content proves that nothing of it is missing; the arguments and the bounds are those of `probe`."""
    return probe(extension, stream, size).wholeness is Wholeness.WHOLE
