"""Draw the light of the 3D viewer: a grey studio with three soft boxes, as a small HDR panorama (Radiance RGBE).

model-viewer's own studio is worked out in the browser, from a scene: without a graphics card that takes a minute, on a remote desktop
as well. A panorama of this size takes none. It is white, so that textures have the colours that they were painted with.
"""

from __future__ import annotations

import math
import sys
from itertools import groupby
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "rodin_watchd" / "web" / "static" / "studio.hdr"
WIDTH, HEIGHT = 128, 64

FLOOR, SKY = 0.3, 0.62
"""The radiance straight below and straight above; between them it changes evenly."""

BOXES = ((-42.0, 40.0, 26.0, 20.0, 3.0), (64.0, 22.0, 16.0, 30.0, 1.7), (180.0, 46.0, 50.0, 16.0, 1.6))
"""Soft boxes, in degrees: where (from the front to the right, and upwards), half their size, radiance."""

SOFT_DEGREES = 14.0
MOST_RUN, MOST_PLAIN = 127, 128


def radiance(right: float, up: float) -> float:
    """Return how bright the studio is in a direction, in degrees from the front."""
    light = FLOOR + (SKY - FLOOR) * (math.sin(math.radians(up)) + 1) / 2
    for at_right, at_up, wide, high, bright in BOXES:
        aside = abs((right - at_right + 180) % 360 - 180) * math.cos(math.radians(up))
        light += bright * _inside(aside, wide) * _inside(abs(up - at_up), high)
    return light


def _inside(distance: float, half: float) -> float:
    part = min(max((half + SOFT_DEGREES / 2 - distance) / SOFT_DEGREES, 0.0), 1.0)
    return part * part * (3 - 2 * part)


def pixel(light: float) -> tuple[int, int]:
    """Return mantissa and exponent of a grey."""
    mantissa, exponent = math.frexp(light)
    return int(mantissa * 256), exponent + 128


def packed(channel: list[int]) -> bytes:
    """Return one channel of a line, run-length encoded."""
    found, plain = bytearray(), bytearray()

    def flush() -> None:
        for start in range(0, len(plain), MOST_PLAIN):
            piece = plain[start : start + MOST_PLAIN]
            found.extend((len(piece), *piece))
        plain.clear()

    for value, group in groupby(channel):
        run = len(list(group))
        if run < 3:  # shorter ones cost more than they save
            plain.extend([value] * run)
            continue
        flush()
        while run:
            part = min(run, MOST_RUN)
            found.extend((128 + part, value))
            run -= part
    flush()
    return bytes(found)


def panorama() -> bytes:
    """Return the whole file."""
    lines = [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (HEIGHT, WIDTH)]
    for row in range(HEIGHT):
        up = 90 - (row + 0.5) * 180 / HEIGHT
        pixels = [pixel(radiance((column + 0.5) * 360 / WIDTH - 180, up)) for column in range(WIDTH)]
        grey, exponents = packed([one for one, _ in pixels]), packed([one for _, one in pixels])
        lines.append(bytes((2, 2, WIDTH >> 8, WIDTH & 255)) + 3 * grey + exponents)
    return b"".join(lines)


def main() -> int:
    """Write the file."""
    TARGET.write_bytes(panorama())
    return 0


if __name__ == "__main__":
    sys.exit(main())
