"""What plugins may say for the receipt: plain data that TOML can hold, and not too much of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import tomli_w

LIMIT_BYTES: Final = 65_536
_DEEPEST_FACT: Final = 6


def checked_facts(value: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a plugin returned
    """Return a plugin's facts; what is None is left out. Raises ValueError for what a receipt cannot hold."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("not a table of names and values")  # noqa: TRY004 - one kind of error for all that is unfit
    facts = _plain(value, 0)
    if len(tomli_w.dumps(facts).encode("utf-8", "replace")) > LIMIT_BYTES:
        raise ValueError(f"larger than {LIMIT_BYTES:,} bytes")
    return dict(facts)


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401 - JSON in, TOML out
    if depth > _DEEPEST_FACT:
        raise ValueError("too many tables or lists inside each other")
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(part, depth + 1) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part, depth + 1) for part in value if part is not None]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return value
    raise ValueError(f"a {type(value).__name__} is in it")


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# ---- What plugins' settings may hold: what JSON and TOML both know. Pure --------------------------------------------


_DEEPEST_VALUE: Final = 8


def unfit(value: object, depth: int = 0) -> str:
    """Say what in a value cannot be handed to a plugin, or return ""."""
    if depth > _DEEPEST_VALUE:
        return "has too many tables or lists inside each other"
    if isinstance(value, dict):
        return next(filter(None, (unfit(part, depth + 1) for part in value.values())), "")
    if isinstance(value, list):
        return next(filter(None, (unfit(part, depth + 1) for part in value)), "")
    if isinstance(value, float) and not math.isfinite(value):
        return "contains a number that is not finite"
    if isinstance(value, str | int | float):
        return ""
    return 'contains a date or a time: put it in "double quotes"'
