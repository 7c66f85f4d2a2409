"""Reference images: decoded once before money is spent, by Pillow."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_PIXELS = 100_000_000
"""A larger image is refused unread: 10,000 x 10,000 pixels are far beyond any 4K texture, and a bomb is larger."""

MOST_BYTES = 200_000_000
"""A larger file is refused unread: a WebP image is decoded from memory."""

_one_at_a_time = threading.Lock()  # bounds the memory; and `catch_warnings` is not made for several threads


def why_undecodable(path: Path) -> str:
    """Decode an image whole and return what is wrong with it, "" for nothing.

    Only PNG, JPEG and WebP decoders are tried, whatever the name says. Takes at most some `MOST_BYTES` and 4 bytes for each
    of `MOST_PIXELS` of memory, for one image at a time whatever the number of threads. Raises OSError when the file cannot
    be opened or read.
    """
    if path.stat().st_size > MOST_BYTES:
        return f"it has more than {MOST_BYTES:,} bytes"
    with path.open("rb") as stream, _one_at_a_time, warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    return _too_large()
                image.draft("L", (1, 1))  # JPEG: decode all of the data, but not to full size
                image.load()
        except Image.DecompressionBombError:
            return _too_large()
        except Exception as error:
            if isinstance(error, OSError) and error.errno:  # the disk's fault, not the image's
                raise
            return "it cannot be decoded"
    return ""


def _too_large() -> str:
    return f"it has more than {MOST_PIXELS:,} pixels"
