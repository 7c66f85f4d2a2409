"""What a file really is, by its first bytes: for the sentence that tells people why it was not taken."""

from __future__ import annotations

from typing import Final

FBX_MODEL: Final = "an FBX model"
STL_MODEL: Final = "an STL model"

_MAGICS: Final = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"glTF", "a GLB model"),
    (b"Kaydara FBX Binary", FBX_MODEL),
    (b"%PDF-", "a PDF document"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop document"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"BLENDER", "a Blender file"),
    (b"PXR-USDC", "a binary USD file"),
    (b"#usda", "a text USD file"),
    (b"ply\n", "a PLY model"),
    (b"ply\r", "a PLY model"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x8b\x08", "a gzip archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
)
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\f\r"))
_USD_LAYERS: Final = (b".usd", b".usda", b".usdc")


def sniff(head: bytes) -> str | None:
    """Name, with its article, what the first bytes of a file (1 KiB or more, if there) prove it to be.

    None where they prove nothing, as with a binary STL, which has no magic. Repeatable, never raises. Facts: the formats' own specifications.
    """
    by_magic = (phrase for magic, phrase in _MAGICS if head.startswith(magic))
    return next(by_magic, None) or _container(head) or (_text(head) if is_text(head) else None)


def is_text(data: bytes) -> bool:
    """Tell whether the bytes hold no control characters but white space: text in any encoding that extends ASCII."""
    return len(data.translate(None, _CONTROLS)) == len(data)


def is_usd_layer(name: bytes) -> bool:
    """Tell whether a ZIP member's name is that of a USD layer (USDZ specification, Layout)."""
    return name.lower().endswith(_USD_LAYERS)


def _container(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP image"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "a BMP image"
    if head[4:8] == b"ftyp":
        return "an AVIF or HEIC image" if head[8:10] in {b"av", b"he", b"mi"} else "an MP4 video"
    if head.startswith(b"PK\x03\x04"):
        name_bytes = int.from_bytes(head[26:28], "little")
        return "a USDZ model" if is_usd_layer(head[30 : 30 + name_bytes]) else "a ZIP archive"
    return None


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith((b"<?xml", b"<svg")):
        return "an XML file"
    if text.startswith(b"{"):
        return "a glTF text file" if b'"asset"' in text or b'"buffers"' in text else "a JSON file"
    if text.startswith((b"; fbx", b"fbxheaderextension")):
        return FBX_MODEL
    return STL_MODEL if text.startswith(b"solid") and b"facet" in text else None
