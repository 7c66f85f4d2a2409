"""How the service is at one moment, what counts its work, and whether a probe should worry. What stands still is in `core.stillness`. Pure.

A probe worries about two things: a loop that does not tick, and a set that should have moved and did not. What stands
still for a reason that people can read (a pause, a folder that is away, the budget, a question to a person) is no reason
to start the service again. All waiting is measured as observed, in one process, by monotonic time: no clock that is set
makes a set old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol, Self

from rodin_watchd.model import State

TICK_SECONDS: Final = 30.0
"""A loop that has not ticked for so long is stuck; it ticks every second, and a look at a huge inbox takes a few."""

SET_SECONDS: Final = 1800.0
"""A set that should have moved and stands still for so long is stuck: longer than any single step takes."""

SETTLING, INCOMPLETE, UNMOVABLE, READY = "settling", "incomplete", "unmovable", "ready"
"""What sets in the inbox wait for: that their files are whole, that a person adds or corrects a file, that the service gets the
right to move them, that they are taken."""


class Standstill(StrEnum):
    """What can stand still besides a lane (`Lane`), and what needs a folder that is away."""

    BY_REQUEST = "by request"  # a person's pause: nothing is taken or submitted
    COPIED = "root copied"  # its mark names another journal: nothing is taken or submitted until `accept root`
    JOURNAL = "journal"  # its disk is full, or another program has it locked: nothing at all moves
    JOURNAL_GONE = "journal gone"  # its files were removed or exchanged, and cannot be written out again yet
    INBOX = "inbox"  # it cannot be looked at: nothing is taken
    STOPPING = "stopping"  # nothing is begun any more
    BUDGET = "budget"  # sets wait for another day
    APPROVAL = "approval"  # sets wait for `approve`
    PAGE = "status page"  # STATUS.txt cannot be written
    STANDBY = "standby"  # another daemon serves the root: this one waits


@dataclass(frozen=True, slots=True)
class Health:
    """What one tick leaves for others to see; durations in seconds, as of that tick."""

    at: float  # UTC
    monotonic: float
    running: int  # live jobs, without the held ones
    held: int
    inbox: Mapping[str, int]  # sets that are not taken, by what they wait for
    oldest_seconds: Mapping[str, float]  # how long the oldest of each has waited
    overdue_seconds: float  # for how long the worst set has not moved though it should have
    overdue: str  # its name, "" without any
    paused: tuple[str, ...]  # what stands still, of `stillness.STANDSTILLS`
    lost_submits: int = 0  # that are missing in the journal, and that nobody has accepted yet
    standstill: str = ""  # why nothing at all moves, for people
    standstill_at: float = 0.0  # UTC: since when

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {name: getattr(self, name) for name in self.__slots__}  # nothing in it is changed by anybody

    @classmethod
    def of_standby(cls, at: float, monotonic: float, why: str) -> Self:
        """Return how a daemon is that waits for another one's end; `why` is for people."""
        return cls(at, monotonic, 0, 0, {}, {}, 0.0, "", (Standstill.STANDBY,), standstill=why, standstill_at=at)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return what `as_data` made; raises TypeError or LookupError for anything else."""
        return cls(**{**data, "paused": tuple(data["paused"])})


@dataclass(frozen=True, slots=True)
class MoneyTotals:
    """What the journal says in numbers."""

    states: Mapping[State, int]  # jobs, of all times
    spent: Mapping[str, Decimal]  # credits, ever, by kind of job
    balance: Decimal | None  # credits, as the vendor said last, less what was charged since; None: it was never asked
    balance_at: float  # UTC: when it said so


# ---- What is counted while the service works: by a meter, which may be metrics or nothing ----------------------------


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


# ---- what a probe says ----------------------------------------------------------------------------------------------


def verdict(health: Health, age_seconds: float, tick_seconds: float, set_seconds: float) -> tuple[bool, str]:
    """Return whether the service is well, and say so in one line. `age_seconds`: how long ago those vitals were left."""
    if age_seconds > tick_seconds:
        return False, f"stuck: the last tick was {_ago(age_seconds)} ago"
    if Standstill.STANDBY in health.paused:
        return True, f"ok: stands by: {health.standstill}"
    if Standstill.JOURNAL_GONE in health.paused:
        return (
            False,
            "journal gone: its files were removed or replaced; nothing is paid until they are written again",
        )
    if health.overdue_seconds > set_seconds:
        return False, f"stuck: “{health.overdue}” should have moved {_ago(health.overdue_seconds)} ago"
    waiting, stuck = sum(health.inbox.values()), health.inbox.get(UNMOVABLE, 0)
    message = f"last tick {_ago(age_seconds)} ago; {health.running} running, {health.held} held, {waiting} in the inbox"
    message += f" ({stuck} done, and cannot be removed)" if stuck else ""
    message += f"; {health.lost_submits:,} submits are missing in the journal" if health.lost_submits else ""
    message += f"; paused: {', '.join(health.paused)}" if health.paused else ""
    if health.standstill:
        message += f": nothing has moved for {_ago(health.at - health.standstill_at)}: {health.standstill}"
    return True, f"ok: {message}"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
