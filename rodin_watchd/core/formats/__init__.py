"""Whether a file is whole, by its content, and which files are taken at all.

A file's length proves nothing by itself: copying programs set the full size first and fill it later.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats.fbx import examine_fbx, probe_fbx
from rodin_watchd.core.formats.glb import examine_glb, probe_glb
from rodin_watchd.core.formats.images import probe_jpeg, probe_png, probe_webp
from rodin_watchd.core.formats.plain import examine_obj, examine_stl, probe_obj, probe_stl
from rodin_watchd.core.formats.source import (
    BreaksOffError,
    ByteSource,
    FileVerdict,
    Wholeness,
    sniff,
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
    "MODEL_EXTENSIONS",
    "READ_LIMIT_BYTES",
    "REFUSED_IMAGE_EXTENSIONS",
    "REFUSED_MODEL_EXTENSIONS",
    "FileVerdict",
    "Wholeness",
    "examine",
    "probe",
]

# ---- Which file names are taken for models and images, and what to do with the others -------------------------------


MODEL_EXTENSIONS: Final = frozenset({".glb", ".obj", ".stl", ".fbx", ".usdz"})
"""Models that are taken (API contract, Generate Texture: one binary 3D model file)."""

IMAGE_EXTENSIONS: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Reference images that are taken."""

_AS_GLB: Final = "export as .glb"
_AS_PNG: Final = "export as .png"

REFUSED_MODEL_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".gltf": "a .gltf keeps its data in other files: export as .glb",
        **dict.fromkeys((".usd", ".usda", ".usdc"), "export as .usdz or .glb"),
        **dict.fromkeys(
            (
                *(".3dm", ".3ds", ".3mf", ".abc", ".blend", ".bvh", ".c4d", ".dae", ".drc", ".dxf", ".hip", ".hiplc"),
                *(".iges", ".igs", ".lwo", ".lxo", ".ma", ".max", ".mb", ".off", ".ply", ".pmx", ".sbs", ".skp"),
                *(".sldprt", ".spp", ".step", ".stp", ".vdb", ".vox", ".vrm", ".wrl", ".x3d", ".zpr", ".ztl"),
            ),
            _AS_GLB,
        ),
    }
)
"""3D files that are not taken: extension -> what to do instead."""

REFUSED_IMAGE_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((".jfif", ".jpe"), "rename it to .jpg"),
        **dict.fromkeys(
            (
                *(".ai", ".arw", ".avif", ".bmp", ".clip", ".cr2", ".cr3", ".dds", ".dng", ".eps", ".exr", ".gif"),
                *(".hdr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jxl", ".kra", ".ktx2", ".nef", ".orf"),
                *(".psb", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".tif", ".tiff", ".tx", ".xcf"),
            ),
            _AS_PNG,
        ),
    }
)
"""Pictures that are not taken: extension -> what to do instead."""


READ_LIMIT_BYTES: Final = 320 * 1024
"""The most bytes that one `probe` reads, in at most some two thousand reads, however large the file is."""

_PROBES: Final[Mapping[str, Callable[[ByteSource], FileVerdict]]] = {
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


def probe(extension: str, stream: BinaryIO, size: int) -> FileVerdict:
    """Judge a file by its content.

    Takes its extension (lower case, with the dot; one of `MODEL_EXTENSIONS` or `IMAGE_EXTENSIONS`, others are
    UNDECIDED), a seekable binary stream (one whose `read` gives all that is there) and its size in bytes by `fstat`.
    Reads at most `READ_LIMIT_BYTES`, moves the stream's position, changes nothing, may be repeated. Hostile content
    never raises; an OSError of the stream passes through. WHOLE is a proof of length and ends, not of what is
    between: whether a picture can be decoded is another question.
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
    """Judge a model by all of its content, before money is spent: whether it is whole, and can become a textured model.

    The arguments are those of `probe`, whose verdict it is for all other files, and for models that the vendor takes by
    no means (`MODEL_LIMIT_BYTES`). Takes up to a third of a second, for a hostile file a second, and some 100 MB of memory.
    Hostile content never raises; an OSError of the stream passes through. May be repeated.
    """
    verdict = probe(extension, stream, size)
    may_be = verdict.wholeness in (Wholeness.WHOLE, Wholeness.UNDECIDED)
    if not may_be or extension not in _EXAMINATIONS or size > MODEL_LIMIT_BYTES:
        return verdict
    stream.seek(0)
    data = stream.read(size)
    if len(data) < size:  # it was cut while we read
        return unfinished(f"{len(data):,} of {size:,} bytes are there")
    try:
        return _EXAMINATIONS[extension](data)
    except BreaksOffError as broken:
        return unfinished(str(broken))


# ---- Whether a downloaded result is what its name says: an error page under a status of success is not --------------


_HEAD_BYTES: Final = 1024
_PICTURES: Final[Mapping[str, str]] = {"a PNG image": ".png", "a JPEG image": ".jpg", "a WebP image": ".webp"}
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
    if extension in IMAGE_EXTENSIONS:
        extension = _PICTURES.get(found, extension)
    verdict = probe(extension, stream, size)
    is_none = verdict.wholeness is Wholeness.WRONG and extension in MODEL_EXTENSIONS | IMAGE_EXTENSIONS
    if is_none or verdict.wholeness is Wholeness.UNFINISHED:
        return verdict.detail
    return f"this is {found}" if extension not in _TEXTS.get(found, {extension}) else ""
