"""How often and how long a step is tried: attempts, waits and deadlines of a job. Pure functions.

A deadline is used up by the waits that were decided, and by nothing else: what counts is its distance from `not_before`.
So hours in which the service stood still or its lane was paused, and a clock that jumps, cost no job its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rodin_watchd.core.schedule import backoff_seconds
from rodin_watchd.errors import OverdueError, TaskLostError
from rodin_watchd.model import Job, Step
from rodin_watchd.problem import Problem

PATIENCE: Mapping[str, int] = {TaskLostError.code: 12}
"""Set errors that end a job after so many tries, whatever its state: a new task may be unknown for a moment only."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a state goes on: its step, how often set errors are tried, how long it may last, how long to wait."""

    step: Step
    max_attempts: int | None = None  # None: until it works
    deadline_seconds: float | None = None
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 300.0


def wait_seconds(attempts: int, policy: Policy, problem: Problem, chance: float) -> float:
    """Return the wait before the next attempt; what the vendor asks for is honoured as far as the policy's longest."""
    asked = min(problem.retry_after_seconds or 0.0, policy.longest_wait_seconds)
    return max(backoff_seconds(attempts, policy.first_wait_seconds, policy.longest_wait_seconds, chance), asked)


def spent(job: Job, policy: Policy, now: float) -> Problem | None:
    """Return the problem to fail with, when no attempt or no time is left."""
    limits = (policy.max_attempts, PATIENCE.get(job.problem.code) if job.problem else None)
    if any(limit is not None and job.attempts >= limit for limit in limits):
        return job.problem
    return overdue(job, now)


def later(job: Job, now: float) -> Job:
    """Move the deadline by the time since the step was due, forwards or backwards: only decided waits use it up."""
    return job if job.deadline is None else replace(job, deadline=job.deadline + now - job.not_before)


def overdue(job: Job, now: float) -> Problem | None:
    """Return the problem to fail with, when the state's deadline has passed."""
    if job.deadline is None or now <= job.deadline:
        return None
    said = OverdueError(f"The vendor did not finish in time; its last word was “{job.progress or 'nothing'}”.")
    return job.problem or said.problem
