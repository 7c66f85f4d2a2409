"""Whether a downloaded result is what its name says: an error page under a status of success is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rodin_watchd.core.formats import IMAGE_EXTENSIONS, MODEL_EXTENSIONS, Wholeness, probe
from rodin_watchd.core.formats.sniff import sniff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

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
