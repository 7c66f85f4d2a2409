"""What is counted while the service works; without metrics nobody listens. Any thread."""

from __future__ import annotations

from typing import Protocol

from rodin_watchd.core.health import Health


class Meter(Protocol):
    """Counts for others to see. Every method is cheap and raises nothing."""

    def step(self, step: str, outcome: str, kind: str, seconds: float) -> None:
        """Note a step that ended."""

    def api_call(self, call: str, result: str) -> None:
        """Note a call over HTTP: what was asked for, and the status of the answer or "none"."""

    def hook_run(self, plugin: str, hook: str, outcome: str) -> None:
        """Note a call of a plugin's hook."""

    def tick(self, health: Health) -> None:
        """Note how it stands."""


class Silent:
    """Counts nothing."""

    def step(self, step: str, outcome: str, kind: str, seconds: float) -> None:
        """Note nothing."""

    def api_call(self, call: str, result: str) -> None:
        """Note nothing."""

    def hook_run(self, plugin: str, hook: str, outcome: str) -> None:
        """Note nothing."""

    def tick(self, health: Health) -> None:
        """Note nothing."""


SILENT: Meter = Silent()
