"""When a task is asked about: a forecast from how long the tasks before it took. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from rodin_watchd.core.waits import spread
from rodin_watchd.model import Job, State

CALL_WORTH = 50.0
"""One poll is worth this many seconds of expected delay, divided by the seconds that half of the known tasks took.

So calls come about as late whether tasks are short or long, about as late as by asking every 5 s, and about half as often;
`benchmarks/polling.py` and `benchmarks/calls.py` show it.
"""

MOST_WORTH = 1 / 8
"""No poll is worth more than this share of that time: very short tasks are noticed soon as well."""

LEAST_WORTH_SECONDS = 0.3
"""What a poll is worth at least; and while no task of the kind is known: the forecast is a guess then."""

LIKENESS = 12
"""How closely a task repeats a known one: about seven in ten come within 15 % of it."""

_POLL_PRECISION_SECONDS = 0.05
_BRIEFEST_SECONDS = 0.01  # no task is quicker, and nothing is divided by zero


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
    that is worth making is the first one for which x * P(x) reaches what it is worth (`CALL_WORTH`). `history` holds the durations
    (submit to Done, seconds) of finished tasks of the same kind, `usual` what half of all need, and P follows from them: calls are rare while no known
    task was ever done, close when most were, and ever rarer for a task that has outlived them all. The result lies
    within `shortest` and `longest`, spread included.
    """
    running = _weight_running(history, elapsed_seconds, usual)
    worth = _worth_seconds(history)
    low, high = shortest, longest
    while high - low > _POLL_PRECISION_SECONDS:
        middle = (low + high) / 2
        done = 1.0 - _weight_running(history, elapsed_seconds + middle, usual) / running
        low, high = (low, middle) if middle * done >= worth else (middle, high)
    return min(max(spread(high, chance), shortest), longest)


def _worth_seconds(history: Sequence[float]) -> float:
    """Return how many seconds of expected delay one poll is worth."""
    if not history:
        return LEAST_WORTH_SECONDS
    usual = max(sorted(history)[len(history) // 2], _BRIEFEST_SECONDS)
    return min(max(CALL_WORTH / usual, LEAST_WORTH_SECONDS), MOST_WORTH * usual)


def _weight_running(history: Sequence[float], seconds: float, usual: float) -> float:
    """Return how many of the known tasks, and of one typical one, would still run after so long.

    Each stands for durations about its own by the log-logistic distribution; the typical one for the widest of these.
    """
    alike = sum(1.0 / (1.0 + (seconds / max(known, _BRIEFEST_SECONDS)) ** LIKENESS) for known in history)
    return alike + 1.0 / (1.0 + seconds / usual)
