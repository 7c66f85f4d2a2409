"""The emulator's settings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rodin_watchd.emulator.faults import EmulatedFault


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """How the emulator behaves.

    `host`, `port`, `files_port`: where the API and the file host listen; port 0 takes a free one. `balance`: credits at
    the start. `waiting_seconds`, `generating_seconds`: how long the last job of a task is Waiting, then Generating.
    `link_seconds`: life of a result link. `keep_seconds`: life of a task and its results. `faults`: from `parse_fault`.
    `instant`: a submit is answered when its task is Done, at once when an equal order was made before; the two durations
    do not count. `consumed`: answers to accepted orders say what was charged. `preview_pixels`: the edge of
    the previews; drawing them is most of the work, and small ones do where nobody looks at them. `clock` gives UTC epoch
    seconds.
    """

    host: str = "127.0.0.1"
    port: int = 0
    files_port: int = 0
    api_keys: tuple[str, ...] = ("emulator-key",)
    balance: Decimal = Decimal(100)
    waiting_seconds: float = 2.0
    generating_seconds: float = 6.0
    link_seconds: float = 600.0
    keep_seconds: float = 7 * 86400.0
    faults: tuple[EmulatedFault, ...] = ()
    instant: bool = False
    consumed: bool = False
    preview_pixels: int = 512
    clock: Callable[[], float] = time.time
