"""Waits: how long until something is tried again, and how many calls may go. Pure functions.

Every backoff of the service is declared here, so one look shows how patient it is. The pauses of the service are made of these
waits (`core.pauses`), and so are the waits of jobs (`core.machine`) and of plugins' calls. Only the time until a task is asked
about follows another rule: it is a forecast (`core.schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

DAY_SECONDS: Final = 86_400.0

LONGEST_WAIT_SECONDS: Final = 3600.0
"""Nothing waits longer until it is tried again, whoever asks for it."""

JITTER: Final = 0.2
"""Waiting times are spread over ±10 %, so that jobs which failed together do not come back together."""


class Backoff(NamedTuple):
    """A growing wait: from the first to the longest, in seconds."""

    first_seconds: float
    longest_seconds: float

    def seconds(self, attempts: int, chance: float) -> float:
        """Return how long to wait after so many failures; `chance` in [0, 1) spreads it."""
        return backoff_seconds(attempts, self.first_seconds, self.longest_seconds, chance)


STEP: Final = Backoff(2.0, 300.0)
"""A job's step that failed."""

POLL: Final = Backoff(2.0, 120.0)
"""A status call about a task that failed: the task may be done meanwhile."""

DOWNLOAD: Final = Backoff(1.0, 300.0)
"""A download that failed: links live for ten minutes."""

LANE: Final = Backoff(2.0, 120.0)
"""A lane that a service error has paused: a person who has corrected the cause waits for it."""

ACCOUNT: Final = Backoff(5.0, 1800.0)
"""A lane that the vendor has paused for the account, where only one more submit shows that this is over.

Each is a refusal more, and their number is bounded (`core.refusals`): the waits let the bound last for hours.
"""

UNANSWERED: Final = Backoff(2.0, LONGEST_WAIT_SECONDS)
"""The submits after one whose outcome is unknown: each of these may have to be looked into by a person."""

PLUGIN_CALL: Final = Backoff(5.0, LONGEST_WAIT_SECONDS)
"""A plugin's call that is owed and failed."""

WEB_PAGE: Final = Backoff(1.0, 300.0)
"""The start of the page in the browser, whose process ended."""

SHORTEST_WAIT_SECONDS: Final = 2.0
"""What is urgent waits for so long at least."""


def backoff_seconds(attempts: int, first_seconds: float, longest_seconds: float, chance: float) -> float:
    """Return how long to wait after the given number of failures: doubling, clamped, spread by `chance` in [0, 1)."""
    doublings = min(max(attempts - 1, 0), 60)  # beyond 60 doublings any wait is the longest
    return spread(min(first_seconds * 2.0**doublings, longest_seconds), chance)


def spread(seconds: float, chance: float) -> float:
    """Spread a waiting time by ±10 %."""
    return seconds * (1.0 + JITTER * (chance - 0.5))


def is_due(not_before: float, now: float, longest_seconds: float) -> bool:
    """Return whether a wait is over.

    A wait longer than any that is ever set means that the clock was turned back meanwhile: it is over, too.
    """
    return not_before <= now or not_before - now > longest_seconds * (1.0 + JITTER)


CALLS: Final = "calls"
"""The store's key of the instant (monotonic) up to which calls to the vendor are counted (`RateBudget.noted_at`)."""


_COVERED_SECONDS: Final = 1.0
"""What is stored of a budget covers so much of it: where many calls may go, a write for each few would be most of the work."""


@dataclass(frozen=True, slots=True)
class RateBudget:
    """The calls an account may make: `per_minute` on average, `burst` at once (the generic cell rate algorithm).

    `full_at` is the instant (monotonic seconds) at which the budget would be whole again.

    What is stored of it is `noted_at`, an instant at or after `full_at`: so a process that resumes from it never makes more
    calls than one that had gone on. Monotonic time counts from the machine's boot, so it compares over a crash, however the
    clock was set. After a reboot the stored instant seems later than it is, which costs a wait of one burst at most.
    """

    per_minute: float
    burst: int = 10
    full_at: float = 0.0

    def resumed(self, noted_at: float, now: float) -> RateBudget:
        """Return the budget of a process that begins at `now`, by what the one before has stored."""
        return replace(self, full_at=min(noted_at, now + self.burst * self._cost_seconds))

    @property
    def noted_at(self) -> float:
        """What to store: it covers the next half of a burst, or second, as well, so most calls need no write of their own."""
        return self.full_at + max(self.burst / 2 * self._cost_seconds, _COVERED_SECONDS)

    def available(self, now: float) -> int:
        """Return how many calls may go now."""
        if self.wait_seconds(now) > 0:
            return 0
        return max(1, int(self.burst - max(self.full_at - now, 0.0) / self._cost_seconds))

    def wait_seconds(self, now: float) -> float:
        """Return how long the next call has to wait; 0 when it may go now."""
        return max(0.0, self.full_at - now - (self.burst - 1) * self._cost_seconds)

    def spend(self, now: float, calls: int = 1) -> RateBudget:
        """Return the budget after so many calls at `now`."""
        return replace(self, full_at=max(self.full_at, now) + calls * self._cost_seconds)

    @property
    def _cost_seconds(self) -> float:
        return 60.0 / self.per_minute
