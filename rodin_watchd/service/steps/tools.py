"""What all steps share: the things they work with, and the room they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TypeAlias

from rodin_watchd.adapters.rodin_client import RodinClient
from rodin_watchd.adapters.spool import Spool
from rodin_watchd.core.health import SILENT, Meter
from rodin_watchd.errors import RoomError
from rodin_watchd.service.plugins import Plugins
from rodin_watchd.service.steps.sheets import Sheets

BeforeClosing: TypeAlias = Callable[[], None]
"""Blocks until `submitting` is committed; raises to abort the upload."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What the steps work with."""

    spool: Spool
    client: RodinClient
    plugins: Plugins
    now: Callable[[], float]  # UTC epoch seconds
    zone: tzinfo
    max_file_bytes: int
    reserve_bytes: int  # less free room than this, and nothing is taken, sent or downloaded
    meter: Meter = SILENT
    is_sure: Callable[[], bool] = lambda: True  # whether nobody else can serve the root by now
    sheets: Sheets = field(default_factory=Sheets)


def need_room(tools: Tools) -> None:
    """Raise RoomError when the disk of the work folder is nearly full."""
    free = tools.spool.free_bytes()
    if free < tools.reserve_bytes:
        raise RoomError(f"Only {free // 1_000_000:,} MB are free on the disk of {tools.spool.work}.")
