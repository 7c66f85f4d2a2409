"""Sweeping: what the journal has blotted out does not stay in its write-ahead log. The main thread's alone."""

from __future__ import annotations

import math
from collections.abc import Callable

from rodin_watchd.adapters.journal import Journal

SWEEP_SECONDS = 30.0
"""How long a secret that is not needed any more may stay in the log."""


class Sweeper:
    """Sweeps the journal every now and then; where nothing was written, that costs nothing."""

    def __init__(self, journal: Journal, monotonic: Callable[[], float]) -> None:
        self._journal = journal
        self._monotonic = monotonic
        self._swept_at = -math.inf

    def sweep(self) -> None:
        """Sweep if it is time."""
        now = self._monotonic()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._journal.sweep()
