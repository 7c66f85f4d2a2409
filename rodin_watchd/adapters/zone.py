"""This machine's time zone, for instants that people read."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo


def local_zone() -> tzinfo:
    """Return this machine's time zone with its rules, else its present offset."""
    name = os.environ.get("TZ", "").lstrip(":")
    with contextlib.suppress(OSError, ValueError, KeyError):
        if name:
            return ZoneInfo(name)
        with Path("/etc/localtime").open("rb") as rules:
            return ZoneInfo.from_file(rules)
    return datetime.now().astimezone().tzinfo or UTC
