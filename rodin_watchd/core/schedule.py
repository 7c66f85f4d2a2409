"""When to do what: waiting times, polling, the rate budget, and which jobs are due. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rodin_watchd.model import Job, State

JITTER = 0.2
"""Waiting times are spread over ±10 %, so that jobs which failed together do not come back together."""

CALL_WORTH_SECONDS = 0.3
"""How many seconds of expected delay one poll is worth; `benchmarks/polling.py` shows what it buys."""

LIKENESS = 12
"""How closely a task repeats a known one: about seven in ten come within 15 % of it."""

_POLL_PRECISION_SECONDS = 0.05
_BRIEFEST_SECONDS = 0.01  # no task is quicker, and nothing is divided by zero


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


def vendor_seconds(job: Job) -> float | None:
    """Return how long the vendor worked on a job, as far as polling could see it.

    It was done at some time between the last call that said "not yet" and the one that said "Done"; the middle is taken.
    (The later end would make the forecast prove itself right: polled late, noticed late, expected late.)

    None while it does; and for a task that was not watched from its submit on (taken up again, or adopted by a person),
    or whose times a jump of the clock has turned round: such figures would spoil the forecast.
    """
    generated_at = job.times.get(State.GENERATED)
    watched = State.SUBMITTING in job.times and State.HELD not in job.times
    if job.task is None or generated_at is None or not watched:
        return None
    seconds = (max(job.working_at, job.task.submitted_at) + generated_at) / 2 - job.task.submitted_at
    return seconds if seconds > 0 else None


def poll_delay_seconds(
    history: Sequence[float],
    elapsed_seconds: float,
    *,
    usual: float,
    shortest: float,
    longest: float,
    chance: float,
) -> float:
    """Return the seconds until the next status call for a task that has been running for `elapsed_seconds`.

    A call after x seconds finds the task done with probability P(x), and then comes x/2 late on average; so the call
    that is worth making is the first one for which x * P(x) reaches `CALL_WORTH_SECONDS`. `history` holds the durations
    (submit to Done, seconds) of finished tasks of the same kind, `usual` what half of all need, and P follows from them: calls are rare while no known
    task was ever done, close when most were, and ever rarer for a task that has outlived them all. The result lies
    within `shortest` and `longest`, spread included.
    """
    running = _weight_running(history, elapsed_seconds, usual)
    low, high = shortest, longest
    while high - low > _POLL_PRECISION_SECONDS:
        middle = (low + high) / 2
        done = 1.0 - _weight_running(history, elapsed_seconds + middle, usual) / running
        low, high = (low, middle) if middle * done >= CALL_WORTH_SECONDS else (middle, high)
    return min(max(spread(high, chance), shortest), longest)


def _weight_running(history: Sequence[float], seconds: float, usual: float) -> float:
    """Return how many of the known tasks, and of one typical one, would still run after so long.

    Each stands for durations about its own by the log-logistic distribution; the typical one for the widest of these.
    """
    alike = sum(1.0 / (1.0 + (seconds / max(known, _BRIEFEST_SECONDS)) ** LIKENESS) for known in history)
    return alike + 1.0 / (1.0 + seconds / usual)


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
        if self.wait_seconds(now) > 0:
            return 0
        return max(1, int(self.burst - max(self.full_at - now, 0.0) / self._cost_seconds))

    def wait_seconds(self, now: float) -> float:
        """Return how long the next call has to wait; 0 when it may go now."""
        return max(0.0, self.full_at - now - (self.burst - 1) * self._cost_seconds)

    def spend(self, now: float) -> RateBudget:
        """Return the budget after one call at `now`."""
        return replace(self, full_at=max(self.full_at, now) + self._cost_seconds)

    @property
    def _cost_seconds(self) -> float:
        return 60.0 / self.per_minute
