"""Metrics for Prometheus, where the configuration wants any: served, written, fed with the journal's numbers."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from rodin_watchd.adapters.journal import JournalReader
from rodin_watchd.config import Config
from rodin_watchd.core.account import BALANCE
from rodin_watchd.core.vitals import Books
from rodin_watchd.errors import ConfigError
from rodin_watchd.model import CREDITS_PER_TEXTURE
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.meter import SILENT, Meter


@contextlib.contextmanager
def metered(config: Config, journal: Path, clock: Clock) -> Iterator[Meter]:
    """Give the meter that the configuration wants. Raises ConfigError when its metrics cannot be had."""
    if not config.metrics.wanted:
        yield SILENT
        return
    with needs_prometheus():
        from rodin_watchd.adapters import metrics  # noqa: PLC0415 - an optional extra
    meter = metrics.Metrics(books_of(journal, config.api.base_url), clock.monotonic)
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


def books_of(journal: Path, vendor: str) -> Callable[[], Books]:
    """Return what reads the journal's numbers, from any thread; it raises JournalError."""

    def read() -> Books:
        with contextlib.closing(JournalReader(journal)) as reader:
            known = reader.meta(BALANCE)
            ours = (
                known if known and known["vendor"] == vendor else None
            )  # what another account held counts for nothing
            balance = Decimal(ours["credits"]) if ours else None
            spent = reader.charges_since(0.0) * CREDITS_PER_TEXTURE
            return Books(reader.counts(), spent, balance, float(ours["at"]) if ours else 0.0)

    return read
