"""The bytes around the files of a `multipart/form-data` body (RFC 7578, RFC 2046 section 5.1).

The closing boundary line is a value of its own, because the client withholds it: without it no server can take the
body for complete. A text part ends with its own line break; after a file's content comes `NEXT` or `closing`.
"""

from __future__ import annotations

import re

NEXT = b"\r\n"
"""What stands between a file's content and the next part."""

_EXTENSION = re.compile(r"\.[a-z0-9]{1,8}$")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.IGNORECASE)


def content_type(boundary: str) -> str:
    """Return the value of the request's Content-Type header."""
    return f"multipart/form-data; boundary={boundary}"


def text_part(boundary: str, name: str, value: str) -> bytes:
    """Return a whole text part. It has no file name: with one the vendor takes it for a file and ignores its value.

    Source: API contract, Generate Texture. The value is sent as UTF-8 (RFC 7578, section 5.1.2).
    """
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file_head(boundary: str, name: str, filename: str, media_type: str) -> bytes:
    """Return what stands before a file's content; of `filename` only the extension is sent, never the artist's name."""
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"
    disposition = f'form-data; name="{name}"; filename="{part_filename(name, filename)}"'
    return f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode()


def part_filename(name: str, filename: str) -> str:
    """Return the file name that is sent for the part `name`: `model.glb` for "Stühle von Anna.GLB"."""
    extension = _EXTENSION.search(filename.lower())
    return name + (extension.group() if extension else "")


def closing(boundary: str) -> bytes:
    """Return the whole closing boundary line, with the line break that belongs to it (RFC 2046, section 5.1.1)."""
    return f"\r\n--{boundary}--\r\n".encode()
