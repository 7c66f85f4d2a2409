"""What plugins' settings may hold: what JSON and TOML both know. Pure."""

from __future__ import annotations

import math
from typing import Final

_DEEPEST: Final = 8


def unfit(value: object, depth: int = 0) -> str:
    """Say what in a value cannot be handed to a plugin, or return ""."""
    if depth > _DEEPEST:
        return "has too many tables or lists inside each other"
    if isinstance(value, dict):
        return next(filter(None, (unfit(part, depth + 1) for part in value.values())), "")
    if isinstance(value, list):
        return next(filter(None, (unfit(part, depth + 1) for part in value)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "holds a number that is not finite"
    if isinstance(value, str | int | float):
        return ""
    return 'holds a date or a time: put it in "double quotes"'
