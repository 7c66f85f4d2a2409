"""How long the vendor keeps what was paid for: who is fetched first, how often it is tried, when people are called.

Results are kept for about seven days (API contract, Download Results), counted here from the submit: it is the one
instant that is known for certain, and the earliest that the vendor can mean. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import tzinfo

from rodin_watchd.core.waits import DAY_SECONDS, SHORTEST_WAIT_SECONDS
from rodin_watchd.core.wording import local, set_name
from rodin_watchd.model import Job, State

KEPT_SECONDS = 7 * DAY_SECONDS
"""How long the vendor keeps results."""

ALARM_SECONDS = DAY_SECONDS
"""How long before their end people are told."""

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
    """Tell whether the end of a job's results is less than a day away, or past."""
    until = kept_until(job)
    return until is not None and now >= until - ALARM_SECONDS


# ---- What people are told when a result that was paid for may be lost at the vendor. Pure ---------------------------


ALARM = "alarm"
"""The action of the event that is written once for each job."""


def alarm(job: Job, zone: tzinfo) -> str:
    """Say what is about to be lost."""
    until = local(kept_until(job) or 0.0, zone)
    return (
        f"The result of “{set_name(job.folder, job.name)}” is paid for and not fetched yet; the vendor keeps it until "
        f"about {until}. `rodin-watchd show {job.id}` says why it is not here yet."
    )


def alarms(jobs: Iterable[Job], now: float, zone: tzinfo) -> list[str]:
    """Return what STATUS.txt says, the most pressing first."""
    pressing = [job for job in jobs if is_alarming(job, now)]
    return [alarm(job, zone) for job in sorted(pressing, key=lambda job: (kept_until(job) or 0.0, job.id))]
