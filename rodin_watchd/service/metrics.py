"""Metrics for Prometheus, where the configuration wants any: served, written, fed with the journal's numbers."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Final

from rodin_watchd.config import Config
from rodin_watchd.core.balance import BALANCE, left, remembered
from rodin_watchd.core.farm import FarmState
from rodin_watchd.core.health import SILENT, Meter, MoneyTotals
from rodin_watchd.core.names import printable
from rodin_watchd.core.store import StoreReader
from rodin_watchd.errors import ConfigError
from rodin_watchd.service.clock import Clock

_LONGEST_ROOT: Final = 4096
"""More characters than a path has."""


@contextlib.contextmanager
def metered(config: Config, look: Callable[[], StoreReader], clock: Clock) -> Iterator[Meter]:
    """Give the meter that the configuration wants. `look` opens the store for reading, in any thread.

    Raises ConfigError when its metrics cannot be had.
    """
    if not config.metrics.wanted:
        yield SILENT
        return
    with needs_prometheus():
        from rodin_watchd.adapters import metrics  # noqa: PLC0415 - an optional extra
    root = printable(str(config.folders.root), _LONGEST_ROOT)
    farm = farm_of(look) if config.plugins.farm_names else None
    meter = metrics.Metrics(books_of(look, config.api.base_url), clock.monotonic, root, farm)
    with contextlib.ExitStack() as stack:
        if config.metrics.address:
            stack.enter_context(metrics.served(meter, *config.metrics.address))
        if config.metrics.textfile:
            stack.enter_context(metrics.written(meter, config.metrics.textfile))
        yield meter


@contextlib.contextmanager
def needs_prometheus() -> Iterator[None]:
    """Say how to install what metrics need, if importing it fails. Raises ConfigError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise ConfigError(
            "Metrics are configured, but prometheus_client is not installed.",
            advice=f'Run: {shlex.quote(sys.executable)} -m pip install "rodin-watchd[metrics]"',
        ) from None


def farm_of(look: Callable[[], StoreReader]) -> Callable[[], FarmState]:
    """Return what reads how the farm is, from any thread; it raises JournalError, StoreAwayError."""

    def read() -> FarmState:
        with contextlib.closing(look()) as reader:
            return reader.farm()

    return read


def books_of(look: Callable[[], StoreReader], vendor: str) -> Callable[[], MoneyTotals]:
    """Return what reads the journal's numbers, from any thread; it raises JournalError."""

    def read() -> MoneyTotals:
        with contextlib.closing(look()) as reader:
            known = remembered(reader.meta(BALANCE), vendor)
            spent = reader.charged_by_kind()
            if known is None:
                return MoneyTotals(reader.counts(), spent, None, 0.0)
            return MoneyTotals(reader.counts(), spent, left(known, reader.charged_after), known.at)

    return read
