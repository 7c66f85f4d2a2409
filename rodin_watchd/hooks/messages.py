"""How the daemon and a plugin's process talk: JSON objects, each behind its length as four bytes, most significant first."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

HEAD: Final = struct.Struct(">I")
LIMIT_BYTES: Final = 4 << 20
"""No message is longer; a process that says more is not listened to."""

OVER_MEMORY: Final = 86
"""The exit status of a plugin's process that was ended because it had more memory than its limit."""


def packed(message: dict[str, Any]) -> bytes:
    """Return a message as bytes. Raises ValueError for what is not plain data, or too much of it."""
    try:
        body = json.dumps(message, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if len(body) > LIMIT_BYTES:
        raise ValueError(f"it is larger than {LIMIT_BYTES:,} bytes")
    return HEAD.pack(len(body)) + body


def unpacked(data: bytes | bytearray) -> dict[str, Any] | None:
    """Return the message that `data` begins with; None while it is incomplete. Raises ValueError for what is none."""
    if len(data) < HEAD.size:
        return None
    (length,) = HEAD.unpack_from(data)
    if length > LIMIT_BYTES:
        raise ValueError("a message that is too long")
    if len(data) < HEAD.size + length:
        return None
    try:
        message = json.loads(bytes(data[HEAD.size : HEAD.size + length]))
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if len(data) > HEAD.size + length or not isinstance(message, dict):
        raise ValueError("not one message")
    return message
