"""Times at the vendor: when a task is asked about, and how long what was paid for is kept there. Pure functions.

Polls follow a forecast from how long the tasks before took. Results are kept for about seven days (API contract, Download
Results), counted here from the submit: it is the one instant that is known for certain, and the earliest that the vendor can mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from rodin_watchd.core.waits import DAY_SECONDS, SHORTEST_WAIT_SECONDS, spread
from rodin_watchd.core.wording import local, set_name
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
    task was ever done, close when most were, and ever rarer for a task that has outlived them all. The result is
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


def expected_left_seconds(history: Sequence[float], elapsed_seconds: float, *, usual: float) -> float | None:
    """Return after how many more seconds half of the tasks like this one are done, by the forecast that polls follow.

    The arguments are those of `poll_delay_seconds`. None while no task of the kind is known: all would be a guess.
    """
    if not history:
        return None
    running = _weight_running(history, elapsed_seconds, usual)
    low, high = 0.0, max(usual, *history) + elapsed_seconds
    while high - low > _FORECAST_PRECISION_SECONDS:
        middle = (low + high) / 2
        half_is_done = _weight_running(history, elapsed_seconds + middle, usual) <= running / 2
        low, high = (low, middle) if half_is_done else (middle, high)
    return high


_FORECAST_PRECISION_SECONDS = 0.5


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


# ---- How long results are kept: who is fetched first, how often it is tried, when people are called -----------------


KEPT_SECONDS = 7 * DAY_SECONDS
"""How long the vendor keeps results."""

ALARM_SECONDS = DAY_SECONDS
"""How long before their end people are notified."""

URGENCY = 2_000
"""A wait is at most this part of the time that is left: five minutes with a week to go, two seconds in the last hour."""

AWAITED = frozenset({State.SUBMITTED, State.GENERATED})
"""States of jobs whose results are at the vendor alone."""


def kept_until(job: Job) -> float | None:
    """Return until when (UTC) the results of a job are sure to be kept; None where they are not awaited."""
    return job.task.submitted_at + KEPT_SECONDS if job.task and job.state in AWAITED else None


def urgent_wait_seconds(wait_seconds: float, job: Job, now: float) -> float:
    """Return a wait before the next try, shorter as the end comes near; only finished results become urgent."""
    until = kept_until(job)
    if until is None or job.state is not State.GENERATED:
        return wait_seconds
    return min(wait_seconds, max((until - now) / URGENCY, SHORTEST_WAIT_SECONDS))


def turn(job: Job, *, probing: bool) -> tuple[float, float]:
    """Return what sorts the steps that are due: the oldest deadline first, then who waited longest.

    While a lane of the step is being probed, who waited longest comes first: a job that failed just now, for a reason of
    its own perhaps, must not be every probe.
    """
    until = kept_until(job) if job.state is State.GENERATED and not probing else None
    return (until or math.inf, job.not_before)


def is_alarming(job: Job, now: float) -> bool:
    """Return whether the end of a job's results is less than a day away, or past."""
    until = kept_until(job)
    return until is not None and now >= until - ALARM_SECONDS


# ---- What people read when a result that was paid for may be lost at the vendor. Pure -----------------------


ALARM = "alarm"
"""The action of the event that is written once for each job."""


def alarm(job: Job, zone: tzinfo) -> str:
    """Say what is about to be lost."""
    return f"{_pressing_text(job, zone)} `rodin-watchd show {job.id}` says why it is not here yet."


def plain_alarm(job: Job, zone: tzinfo) -> str:
    """Say it to whoever dropped the set."""
    return f"{_pressing_text(job, zone)} Tell the person who runs the service."


def _pressing_text(job: Job, zone: tzinfo) -> str:
    until = local(kept_until(job) or 0.0, zone)
    return (
        f"The result of “{set_name(job.folder, job.title)}” is paid for and not fetched yet; the vendor keeps it until "
        f"about {until}."
    )


def pressing(jobs: Iterable[Job], now: float) -> list[Job]:
    """Return the jobs whose results may be lost soon, the most pressing first."""
    found = [job for job in jobs if is_alarming(job, now)]
    return sorted(found, key=lambda job: (kept_until(job) or 0.0, job.id))
