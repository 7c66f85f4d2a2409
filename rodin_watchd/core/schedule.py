"""When to do what: waiting times, polling, the rate budget, and which jobs are due. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rodin_watchd.model import VENDOR_DEFAULTS, Job, OptionValue, State

JITTER = 0.2
"""Waiting times are spread over ±10 %, so that jobs which failed together do not come back together."""

CALL_WORTH_SECONDS = 0.4
"""How many seconds of expected delay one poll is worth; `benchmarks/polling.py` shows what it buys."""

OVERDUE_GROWTH = 0.15
"""Without a forecast, polls are spaced by this share of the time already waited."""

ENOUGH_HISTORY = 5
"""Fewer finished tasks than this are no forecast."""


def backoff_seconds(attempts: int, first_seconds: float, longest_seconds: float, chance: float) -> float:
    """Return how long to wait after the given number of failures: doubling, clamped, spread by `chance` in [0, 1)."""
    doublings = min(max(attempts - 1, 0), 60)  # beyond 60 doublings any wait is the longest
    return spread(min(first_seconds * 2.0**doublings, longest_seconds), chance)


def spread(seconds: float, chance: float) -> float:
    """Spread a waiting time by ±10 %."""
    return seconds * (1.0 + JITTER * (chance - 0.5))


def is_due(not_before: float, now: float, longest_seconds: float) -> bool:
    """Tell whether a wait is over.

    A wait longer than any that is ever set means that the clock was turned back meanwhile: it is over, too.
    """
    return not_before <= now or not_before - now > longest_seconds * (1.0 + JITTER)


def kind_of(options: Mapping[str, OptionValue]) -> str:
    """Name the kind of a task: tasks of one kind take about as long."""
    return "/".join(str(options.get(key, default)) for key, default in VENDOR_DEFAULTS.items())


def vendor_seconds(job: Job) -> float | None:
    """Return how long the vendor worked on a job, as far as polling could see it; None while it does."""
    generated_at = job.times.get(State.GENERATED)
    if job.task is None or generated_at is None:
        return None
    return max(generated_at - job.task.submitted_at, 0.0)


def poll_delay_seconds(
    history: Sequence[float], elapsed_seconds: float, *, shortest: float, longest: float, chance: float
) -> float:
    """Return the seconds until the next status call for a task that has been running for `elapsed_seconds`.

    `history` holds the durations (submit to Done, seconds) of finished tasks of the same kind. A call after x seconds
    finds the task done with probability P(x), and then comes x/2 late on average; so the call that is worth making is
    the first one for which x * P(x) reaches `CALL_WORTH_SECONDS`. That is rarely while no known task was ever done,
    closely when most were, and closer the narrower the history. Once a task has outlived its history, the spacing
    grows with the time by which it is overdue. The result lies within `shortest` and `longest`, spread included.
    """
    remaining = sorted(d - elapsed_seconds for d in history if d > elapsed_seconds)
    if len(history) >= ENOUGH_HISTORY and remaining:
        wanted = _worthwhile_seconds(remaining)
    else:
        known = max(history, default=0.0) if len(history) >= ENOUGH_HISTORY else 0.0
        wanted = OVERDUE_GROWTH * (elapsed_seconds - known)
    return min(max(spread(wanted, chance), shortest), longest)


def _worthwhile_seconds(remaining: Sequence[float]) -> float:
    """Return the smallest x with x * P(done within x) >= CALL_WORTH_SECONDS, P by the sorted remaining times."""
    count = len(remaining)
    return min(max(x, CALL_WORTH_SECONDS * count / rank) for rank, x in enumerate(remaining, 1))


@dataclass(frozen=True, slots=True)
class RateBudget:
    """The calls an account may make: `per_minute` on average, `burst` at once (the generic cell rate algorithm).

    `full_at` is the instant (monotonic seconds) at which the budget would be whole again.
    """

    per_minute: float
    burst: int = 10
    full_at: float = 0.0

    def available(self, now: float) -> int:
        """Return how many calls may go now."""
        return max(0, int(self.burst - (self.full_at - now) / self._cost_seconds)) if self.full_at > now else self.burst

    def wait_seconds(self, now: float) -> float:
        """Return how long the next call has to wait; 0 when it may go now."""
        return max(0.0, self.full_at - now - (self.burst - 1) * self._cost_seconds)

    def spend(self, now: float) -> RateBudget:
        """Return the budget after one call at `now`."""
        return replace(self, full_at=max(self.full_at, now) + self._cost_seconds)

    @property
    def _cost_seconds(self) -> float:
        return 60.0 / self.per_minute
