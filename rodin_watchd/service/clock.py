"""Where the service's time and chance come from, so that tests can turn them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from."""

    now: Callable[[], float]  # UTC epoch seconds; may jump
    monotonic: Callable[[], float]  # seconds; never goes back
    chance: Callable[[], float]  # in [0, 1)
