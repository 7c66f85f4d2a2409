"""When a plugin that fails again and again is set aside, and when it is tried again. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a plugin fared lately; instants are monotonic."""

    failures: int = 0  # in a row
    until: float = 0.0  # so long it is set aside

    def is_open(self, now: float) -> bool:
        """Tell whether the plugin is set aside now."""
        return now < self.until

    def after_failure(self, now: float, most: int, rest_seconds: float) -> Breaker:
        """Return the breaker after one more failure: the last one that is borne sets the plugin aside."""
        failures = self.failures + 1
        return Breaker(failures, now + rest_seconds if failures >= most else 0.0)
