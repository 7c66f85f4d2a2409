"""What `check` finds about the clock: a budget's day, the vendor's TLS and every instant in the journal hang on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.cli.context import journal_of, reader
from rodin_watchd.cli.findings import Finding, Verdict
from rodin_watchd.config import Config
from rodin_watchd.core.receipt import local

FIRST_YEAR: Final = 2025
"""No machine that runs this is older."""

LAST_YEAR: Final = 2100

BEHIND_SECONDS: Final = 60.0
"""By so much clocks differ after they are set by the network."""

_ADVICE: Final = "Set the clock, and have the network keep it: `timedatectl set-ntp true`."


def clock_findings(config: Config) -> Iterator[Finding]:
    """Compare the clock with what it cannot be, and with what the journal has seen. Raises JournalError."""
    newest_at = None
    if journal_of(config).exists():
        with reader(config) as journal:
            newest_at = journal.newest_at()
    yield clock_finding(time.time(), newest_at)


def clock_finding(now: float, newest_at: float | None) -> Finding:
    """Judge an instant (UTC) by its year and by the newest one of the journal."""
    year = datetime.fromtimestamp(now, UTC).year
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return Finding("clock", f"It says that this is the year {year}.", Verdict.PROBLEM, _ADVICE)
    told = local(now, local_zone())
    if newest_at is not None and now < newest_at - BEHIND_SECONDS:
        text = f"It says {told}, but the journal knows of {local(newest_at, local_zone())}: it was set back, or was wrong then."
        return Finding("clock", text, Verdict.WARNING, f"{_ADVICE} Today's budget may last longer than a day.")
    return Finding("clock", f"It says {told}{'' if newest_at is None else ', later than all that the journal knows'}.")
