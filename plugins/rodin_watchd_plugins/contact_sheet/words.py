"""Names from outside, as people read them."""

from __future__ import annotations

_UNITS = ("bytes", "KB", "MB", "GB")


def shown(name: str) -> str:
    """Return a name without what cannot be shown, or would turn the text around it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def in_bytes(size: float) -> str:
    """Return a size for people: `980 bytes`, `1.5 MB`."""
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"
