"""Pauses of the service: what a service error stops, when it is tried again, and which steps are due now.

A service error (no credits, key refused, network down, disk full) pauses a *lane*: every step that would meet the same
cause. When the wait is over one job goes ahead as a probe; its success ends the pause, another service error renews
it with a longer wait. No set loses an attempt meanwhile. Pure functions on frozen values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rodin_watchd.core.budget import UNLIMITED, Allowance
from rodin_watchd.core.machine import AT_VENDOR, POLICIES, RESTING
from rodin_watchd.core.mounts import Mount, has_mount
from rodin_watchd.core.retention import turn
from rodin_watchd.core.schedule import backoff_seconds, is_due
from rodin_watchd.errors import UnansweredSubmitError
from rodin_watchd.model import Job, State, Step
from rodin_watchd.problem import Fault, Lane, Problem

LANES: Mapping[Step, frozenset[Lane]] = {
    Step.STAGE: frozenset({Lane.DISK, Lane.ROOM, Lane.TAKING}),
    Step.SUBMIT: frozenset(  # what is paid for must find its room
        {Lane.SUBMIT, Lane.REFUSALS, Lane.API, Lane.DISK, Lane.ROOM}
    ),
    Step.POLL: frozenset({Lane.API}),
    Step.DOWNLOAD: frozenset({Lane.API, Lane.DISK, Lane.ROOM}),
    Step.PROCESS: frozenset({Lane.DISK}),
    Step.DELIVER: frozenset({Lane.DISK, Lane.OUTBOX}),
    Step.ARCHIVE: frozenset({Lane.DISK, Lane.ARCHIVE}),
    Step.BURY: frozenset({Lane.DISK, Lane.FAILED}),
}
"""What each step needs to be in order."""

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a lane stands still, since when (UTC) and until when (UTC) at least; infinity: until its cause ends."""

    problem: Problem
    since_at: float
    until_at: float
    tries: int = 1


Pauses = Mapping[Lane, Pause]


def renewed(pauses: Pauses, problem: Problem, now: float, chance: float) -> Pauses:
    """Return the pauses after one more service error; a `Retry-After` of the vendor is honoured."""
    if problem.lane is None:
        return pauses
    old = pauses.get(problem.lane)
    asked_until = now + (problem.retry_after_seconds or 0.0)
    if old and not is_over(old, now):  # several steps were under way when the lane stopped: one pause, one notice
        longer = replace(old, problem=problem, until_at=asked_until)
        return {**pauses, problem.lane: longer} if asked_until > old.until_at else pauses
    tries = old.tries + 1 if old else 1
    wait = backoff_seconds(tries, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, chance)
    since_at = old.since_at if old else now
    return {**pauses, problem.lane: Pause(problem, since_at, max(now + wait, asked_until), tries)}


def ended(pauses: Pauses, step: Step, now: float) -> Pauses:
    """Return the pauses after this step succeeded: what it needed is in order.

    A pause whose time is not over yet stays: the step was begun before it, and proves nothing about now.
    """
    return ended_by(pauses, LANES[step], now)


def ended_by(pauses: Pauses, lanes: frozenset[Lane], now: float) -> Pauses:
    """Return the pauses after something worked that needs these lanes."""
    return {lane: pause for lane, pause in pauses.items() if lane not in lanes or not is_over(pause, now)}


@dataclass(frozen=True, slots=True)
class BackoffLimits:
    """What bounds the choice of the next steps."""

    at_vendor: int  # jobs between the upload's first byte and the vendor's Done
    calls: int  # API calls that the rate budget allows now
    workers: int  # free threads
    submits: bool = True  # False while a person has paused the service
    longest_poll_seconds: float = 120.0  # between two status calls about one task, as configured
    away: frozenset[Mount] = frozenset()  # folders that are not there
    budget: Allowance = UNLIMITED
    calls_of_plugins: int | None = None  # steps that may call plugins now; None: none does


def due_jobs(jobs: Iterable[Job], busy: frozenset[str], pauses: Pauses, limits: BackoffLimits, now: float) -> list[Job]:
    """Choose the jobs whose next step is to be handed out now, oldest first.

    `busy` holds the ids of jobs whose step is under way. Everything is bounded: the vendor's places, the rate budget,
    the threads; a lane whose pause is over lets one probe through.
    """
    jobs = list(jobs)
    chooser = _Chooser(jobs, busy, pauses, limits, now)
    ready = [j for j in jobs if j.id not in busy and is_ready(j, now, limits.longest_poll_seconds)]
    ready.sort(key=lambda job: _turn(job, pauses))
    return [j for j in ready if chooser.takes(j)]


def is_ready(job: Job, now: float, longest_poll_seconds: float) -> bool:
    """Tell whether a job has a next step that may be begun, and its wait is over.

    Never so in `submitting`: whatever became of that submit, it is not sent again on its own.
    """
    if job.state in RESTING or job.state is State.SUBMITTING:
        return False
    longest = POLICIES[job.state].longest_wait_seconds
    return is_due(job.not_before, now, max(longest, longest_poll_seconds if job.state is State.SUBMITTED else 0.0))


def _turn(job: Job, pauses: Pauses) -> tuple[bool, float, float, float]:
    """Sort what costs money last, and first what the vendor will not keep much longer (`core.retention`)."""
    step = POLICIES[job.state].step
    return (step is Step.SUBMIT, *turn(job, probing=not LANES[step].isdisjoint(pauses)), job.created_at)


class _Chooser:
    """Counts down the limits while jobs are taken, one after the other."""

    def __init__(
        self, jobs: Iterable[Job], busy: frozenset[str], pauses: Pauses, limits: BackoffLimits, now: float
    ) -> None:
        self.places = limits.at_vendor - sum(j.state in AT_VENDOR for j in jobs)
        self.calls = limits.calls
        self.workers = limits.workers
        self.submits = limits.submits
        self.budget = limits.budget
        self.away = limits.away
        self.plugin_calls = limits.calls_of_plugins
        self.stopped = {lane for lane, pause in pauses.items() if not is_over(pause, now)}
        self.probing = {lane for lane in pauses if lane not in self.stopped}
        self.probing_now = {
            lane for j in jobs if j.id in busy and j.state not in RESTING for lane in LANES[POLICIES[j.state].step]
        }

    def takes(self, job: Job) -> bool:
        """Take the job if everything it needs is free, and count it."""
        step = POLICIES[job.state].step
        lanes = LANES[step]
        if self.workers < 1 or lanes & self.stopped or lanes & self.probing & self.probing_now:
            return False
        if (Lane.API in lanes and self.calls < 1) or not has_mount(job, self.away):
            return False
        if step is Step.PROCESS and self.plugin_calls is not None and self.plugin_calls < 1:
            return False
        if step is Step.SUBMIT and not self._takes_submit(job):
            return False
        if step is Step.PROCESS and self.plugin_calls is not None:
            self.plugin_calls -= 1
        self.workers -= 1
        self.calls -= Lane.API in lanes
        self.probing_now |= lanes
        return True

    def _takes_submit(self, job: Job) -> bool:
        """Take a place at the vendor and a part of the budget; a job found in `uploading` has a place already."""
        if not self.submits or self.budget.why_not(job.folder):
            return False
        if job.state is State.STAGED:
            if self.places < 1:
                return False
            self.places -= 1
        self.budget = self.budget.after(job.folder)
        return True


def is_over(pause: Pause, now: float) -> bool:
    """Tell whether a pause has lasted long enough for a probe."""
    return not math.isinf(pause.until_at) and is_due(
        pause.until_at, now, max(LONGEST_WAIT_SECONDS, pause.problem.retry_after_seconds or 0.0)
    )


# ---- Storms: while the vendor loses answers, one submit after the other would become a job that a person has to look at ----


LONGEST_UNKNOWN_WAIT_SECONDS = 3600.0

_TO_SEND = frozenset({State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING})


def after_unknown(pauses: Pauses, now: float, chance: float) -> Pauses:
    """Return the pauses after a submit whose outcome is unknown."""
    old = pauses.get(Lane.SUBMIT)
    tries = old.tries + 1 if old else 1
    wait = backoff_seconds(tries, FIRST_WAIT_SECONDS, LONGEST_UNKNOWN_WAIT_SECONDS, chance)
    return renewed(pauses, UnansweredSubmitError(retry_after_seconds=wait).problem, now, chance)


def calmed(pauses: Pauses, jobs: Iterable[Job], now: float) -> Pauses:
    """Return the pauses without those that are over and that nothing waits for: people need not read of them for ever.

    That is one of the submits when nothing is to be sent, and any when nothing moves at all: whatever comes next finds out
    for itself. One that the account's owner has to end stays.
    """
    if not pauses:
        return pauses
    states = {job.state for job in jobs}
    idle = set(Lane) if states <= RESTING else set()
    idle |= {Lane.SUBMIT} if states.isdisjoint(_TO_SEND) else set()
    return {
        lane: pause
        for lane, pause in pauses.items()
        if lane not in idle or pause.problem.fault is Fault.ACCOUNT or not is_over(pause, now)
    }


# ---- Whose fault a service error is: the service's, or that of the one job which alone meets it ---------------------


class Suspects:
    """Remembers who failed in which lane, and when a lane last worked. The main thread's alone."""

    def __init__(self) -> None:
        self._turn = 0  # grows with each event: clocks may stand still between two of them
        self._begun: dict[str, int] = {}  # job id -> when its step was handed out
        self._failed: dict[tuple[str, Lane], int] = {}
        self._worked: dict[Lane, int] = {}  # lane -> when the newest step that worked in it was handed out

    def begin(self, job_id: str) -> None:
        """Note that a job's step begins."""
        self._turn += 1
        self._begun[job_id] = self._turn

    def worked(self, job_id: str, lanes: Iterable[Lane]) -> None:
        """Note that a job's step worked, and so everything that it needs."""
        begun = self._begun.get(job_id, 0)
        for lane in lanes:
            self._worked[lane] = max(self._worked.get(lane, 0), begun)
            self._failed.pop((job_id, lane), None)

    def is_own(self, job_id: str, lane: Lane) -> bool:
        """Note that a job failed in a lane, and tell whether the lane has worked since the job failed there before."""
        self._turn += 1
        before = self._failed.get((job_id, lane), self._turn)
        self._failed[job_id, lane] = self._turn
        return self._worked.get(lane, 0) > before

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._begun.pop(job_id, None)
        for key in [key for key in self._failed if key[0] == job_id]:
            del self._failed[key]
