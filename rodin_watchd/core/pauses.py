"""Pauses of the service: what a service error stops, when it is tried again, and which steps are due now.

A service error (no credits, key refused, network down, disk full) pauses a *lane*: every step that would meet the same
cause. When the wait is over one job goes ahead as a probe; its success ends the pause, another service error renews
it with a longer wait. No set loses an attempt meanwhile. Pure functions on frozen values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final, Self

from rodin_watchd.core.budget import UNLIMITED, Allowance
from rodin_watchd.core.kinds import Article, cheapest
from rodin_watchd.core.machine import POLICIES, RESTING, step_of, takes_place
from rodin_watchd.core.mounts import Mount, has_mount
from rodin_watchd.core.schedule import turn
from rodin_watchd.core.waits import ACCOUNT, LANE, LONGEST_WAIT_SECONDS, UNANSWERED, Backoff, is_due
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import (
    EmptyAccountError,
    Fault,
    Lane,
    NoCreditsError,
    Problem,
    RefusalsError,
    TaskLimitError,
    ThrottledError,
    UnansweredSubmitError,
    UnknownCodeError,
)
from rodin_watchd.model import Job, Outcome, Retry, State, Step

LANES: Mapping[Step, frozenset[Lane]] = {
    Step.STAGE: frozenset({Lane.DISK, Lane.ROOM, Lane.TAKING}),
    Step.SUBMIT: frozenset(  # what is paid for must find its room
        {Lane.SUBMIT, Lane.REFUSALS, Lane.API, Lane.DISK, Lane.ROOM}
    ),
    Step.SPREAD: frozenset({Lane.DISK, Lane.ROOM}),
    Step.POLL: frozenset({Lane.API}),
    Step.DOWNLOAD: frozenset({Lane.API, Lane.DISK, Lane.ROOM}),
    Step.PROCESS: frozenset({Lane.DISK}),
    Step.DELIVER: frozenset({Lane.DISK, Lane.OUTBOX}),
    Step.ARCHIVE: frozenset({Lane.DISK, Lane.ARCHIVE}),
    Step.BURY: frozenset({Lane.DISK, Lane.FAILED}),
    Step.RETURN: frozenset({Lane.DISK}),
}
"""What each step needs to be in order."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a lane stands still, since when (UTC) and until when (UTC) at least; infinity: until its cause ends."""

    problem: Problem
    since_at: float
    until_at: float
    tries: int = 1

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "until_at": None if math.isinf(self.until_at) else self.until_at}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the pause that `as_data` stored."""
        until_at = math.inf if data["until_at"] is None else data["until_at"]
        return cls(**{**data, "problem": Problem.of_data(data["problem"]), "until_at": until_at})


Pauses = Mapping[Lane, Pause]

PAUSES: Final = "pauses"
"""The store's key of the pauses, and of the account whose credits were spent then.

They outlive the process: a service that is killed again and again sends no set again after each start, only to be refused.
"""


def stored_pauses(pauses: Pauses, account: str) -> dict[str, Any]:
    """Return the pauses as JSON can hold them; `account` is whose credits are spent."""
    return {"account": account, "lanes": {lane.value: pause.as_data() for lane, pause in pauses.items()}}


def remembered_pauses(stored: Mapping[str, Any] | None, account: str) -> Pauses:
    """Return what of the stored pauses holds when the credits of this account are spent from now on."""
    if not stored:
        return {}
    pauses = {Lane(lane): Pause.of_data(data) for lane, data in stored["lanes"].items()}
    return pauses if stored["account"] == account else of_another_account(pauses)


def after_start(pauses: Pauses) -> Pauses:
    """Return what of the pauses a start keeps: what stops calls to the vendor.

    Folders and disks are looked at again at once: a look costs nothing, and a person may have corrected the cause.
    """
    return {lane: pause for lane, pause in pauses.items() if lane in _OF_VENDOR}


_OF_VENDOR: Final = frozenset({Lane.SUBMIT, Lane.REFUSALS, Lane.API})

SAID_TO_ACCOUNT: Final = frozenset({ThrottledError.code, TaskLimitError.code, UnknownCodeError.code})
"""What the vendor says to the account, whichever job happens to hear it."""

PROBE_SECONDS: Final = 30.0
"""So long after its time the daemon that has met a pause is left alone to find out whether it is over."""


def with_others(own: Pauses, others: Iterable[Pauses], now: float) -> Pauses:
    """Return a daemon's pauses with those that daemons of other roots have met for the same account: it does not meet them itself.

    Theirs last until they end them, or the time of these is over: PROBE_SECONDS longer where this daemon has met nothing itself,
    so that one finds out for all. What stops the network, the vendor's servers or a disk is each daemon's own.
    """
    found = dict(own)
    for lane in _ASKED_FIRST:
        mine = own.get(lane)
        if mine and not is_over(mine, now):
            continue
        until = now if mine else now - PROBE_SECONDS
        theirs = [p[lane] for p in others if lane in p and not (is_over(p[lane], now) and is_over(p[lane], until))]
        if about_account := [pause for pause in theirs if _is_of_account(pause.problem)]:
            found[lane] = replace(max(about_account, key=lambda pause: pause.until_at), until_at=math.inf)
    return found


def _is_of_account(problem: Problem) -> bool:
    return problem.fault is Fault.ACCOUNT or problem.code in SAID_TO_ACCOUNT


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
    wait = _backoff(problem).seconds(tries, chance)
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
    plugin_steps: frozenset[Step] = frozenset({Step.PROCESS})  # those that are counted so


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
    """Return whether a job has a next step that may be begun, and its wait is over.

    Never so in `submitting`: whatever became of that submit, it is not sent again on its own.
    """
    if job.state in RESTING or job.state is State.SUBMITTING:
        return False
    longest = max(POLICIES[job.state].wait.longest_seconds, job.problem.asked_seconds if job.problem else 0.0)
    return is_due(job.not_before, now, max(longest, longest_poll_seconds if job.state is State.SUBMITTED else 0.0))


def _turn(job: Job, pauses: Pauses) -> tuple[bool, float, float, float]:
    """Sort what costs money last, and first what the vendor will not keep much longer (`core.schedule`)."""
    step = step_of(job)
    return (step is Step.SUBMIT, *turn(job, probing=not LANES[step].isdisjoint(pauses)), job.created_at)


class _Chooser:
    """Counts down the limits while jobs are taken, one after the other."""

    def __init__(
        self, jobs: Iterable[Job], busy: frozenset[str], pauses: Pauses, limits: BackoffLimits, now: float
    ) -> None:
        self.places = limits.at_vendor - sum(map(takes_place, jobs))
        self.calls = limits.calls
        self.workers = limits.workers
        self.submits = limits.submits
        self.budget = limits.budget
        self.away = limits.away
        self.plugin_calls = limits.calls_of_plugins
        self.plugin_steps = limits.plugin_steps
        self.stopped = {lane for lane, pause in pauses.items() if not is_over(pause, now)}
        self.probing = {lane for lane in pauses if lane not in self.stopped}
        self.probing_now = {lane for j in jobs if j.id in busy and j.state not in RESTING for lane in LANES[step_of(j)]}

    def takes(self, job: Job) -> bool:
        """Take the job if everything it needs is free, and count it."""
        step = step_of(job)
        lanes = LANES[step]
        if self.workers < 1 or lanes & self.stopped or lanes & self.probing & self.probing_now:
            return False
        if (Lane.API in lanes and self.calls < 1) or not has_mount(job, self.away):
            return False
        if step in self.plugin_steps and self.plugin_calls is not None and self.plugin_calls < 1:
            return False
        if step is Step.SUBMIT and not self._takes_submit(job):
            return False
        if step in self.plugin_steps and self.plugin_calls is not None:
            self.plugin_calls -= 1
        self.workers -= 1
        self.calls -= Lane.API in lanes
        self.probing_now |= lanes
        return True

    def _takes_submit(self, job: Job) -> bool:
        """Take a place at the vendor and a part of the budget; a job found in `uploading` has a place already."""
        if not self.submits or self.budget.why_not_job(job):
            return False
        if job.state is State.STAGED:
            if self.places < 1:
                return False
            self.places -= 1
        self.budget = self.budget.after_job(job)
        return True


def is_over(pause: Pause, now: float) -> bool:
    """Return whether a pause has lasted long enough for a probe."""
    longest = max(_backoff(pause.problem).longest_seconds, pause.problem.retry_after_seconds or 0.0)
    return not math.isinf(pause.until_at) and is_due(pause.until_at, now, longest)


def _backoff(problem: Problem) -> Backoff:
    return ACCOUNT if problem.code in (NoCreditsError.code, TaskLimitError.code) else LANE


# ---- Storms: while the vendor loses answers, one submit after the other would become a job that a person has to look at ----


_TO_SEND = frozenset({State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING})


def after_unknown(pauses: Pauses, now: float, chance: float, asked_seconds: float = 0.0) -> Pauses:
    """Return the pauses after a submit whose outcome is unknown; `asked_seconds`: the wait that its answer asked for."""
    old = pauses.get(Lane.SUBMIT)
    tries = old.tries + 1 if old else 1
    wait = max(UNANSWERED.seconds(tries, chance), asked_seconds)
    return renewed(pauses, UnansweredSubmitError(retry_after_seconds=wait).problem, now, chance)


def without_idle(pauses: Pauses, jobs: Iterable[Job], now: float) -> Pauses:
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


# ---- How many tasks the vendor runs at once for the account: learned from its refusals, and forgotten slowly ---------------

TASK_LIMIT: Final = "task-limit"
"""The store's key of the limit that was learned, of one account."""

FORGET_SECONDS: Final = LONGEST_WAIT_SECONDS
"""So long after a limit was learned, or held, one task more is tried."""


@dataclass(frozen=True, slots=True)
class TaskLimit:
    """The vendor took so many tasks of an account at once and no more, at that instant (UTC)."""

    account: str
    most: int
    learned_at: float

    @classmethod
    def of_data(cls, data: Mapping[str, Any] | None, account: str) -> Self | None:
        """Return what was stored of it, if it is about this account."""
        return cls(**data) if data and data["account"] == account else None

    def places(self, now: float) -> int:
        """Return how many tasks may be at the vendor now: one more than it took, after a while."""
        return self.most + is_due(self.learned_at + FORGET_SECONDS, now, FORGET_SECONDS)

    @property
    def notice(self) -> str:
        """Say what was learned, for people."""
        return f"The vendor works on at most {self.most} tasks of this account at once (learned from its refusals)."


def limit_refused(limit: TaskLimit | None, account: str, others: int, now: float) -> TaskLimit | None:
    """Return the limit after a refusal for it, with so many other jobs at the vendor or on their way to it.

    With none it teaches nothing: then others use the account up. Of several submits under way at once the last refusal finds
    the real number: each one before it counts those that are refused after it.
    """
    return TaskLimit(account, others, now) if others else limit


def limit_passed(limit: TaskLimit | None, tasks: int, now: float) -> TaskLimit | None:
    """Return the limit after the vendor took a task, of so many that it works on now."""
    return replace(limit, most=tasks, learned_at=now) if limit and tasks > limit.most else limit


# ---- Places at the vendor that daemons of several roots share: the oldest set goes first, whichever root it is of ----------

PLACE_WANTED: Final = "place-wanted"
"""The store's key of the oldest set of a root that waits for nothing but a place at the vendor."""

_WANTED_SECONDS: Final = 60.0
"""So long other daemons leave a place to it: a daemon that is gone wants none."""


@dataclass(frozen=True, slots=True)
class PlaceWanted:
    """A set that waits for a place: of which account, when it was taken, and how long others leave a place to it; UTC."""

    account: str
    since_at: float
    until_at: float

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the one that was stored as a dict of its fields."""
        return cls(**data)


def place_wanted(known: PlaceWanted | None, account: str, since_at: float, now: float) -> PlaceWanted:
    """Return what to store, or what is stored already and holds long enough."""
    wanted = PlaceWanted(account, since_at, now + _WANTED_SECONDS)
    same = known and (known.account, known.since_at) == (account, since_at)
    return known if known and same and _WANTED_SECONDS / 2 <= known.until_at - now <= _WANTED_SECONDS else wanted


def left_to_others(wanted: Iterable[PlaceWanted], account: str, job: Job, now: float) -> int:
    """Return to how many sets of other roots a job leaves a place: to those that came before it."""
    return sum(one.account == account and now < one.until_at and one.since_at < job.created_at for one in wanted)


# ---- The account: its balance is the probe of what stops the submits (`core.balance`) --------------------------------

MOST_ASKED: Final = 6
"""So many waits of a pause end with a balance that cannot be read: some two minutes; then an upload tries."""

_ASKED_FIRST: Final = (Lane.SUBMIT, Lane.API)


def account_pauses(pauses: Pauses) -> list[Pause]:
    """Return the pauses that only the account's owner can end, and that stop submits."""
    return [pause for pause in _of_submits(pauses) if pause.problem.fault is Fault.ACCOUNT]


def of_another_account(pauses: Pauses) -> Pauses:
    """Return what of the pauses holds for another account, or another vendor: what stops the disk, and lost answers.

    A refusal of the account or the network was about the one before; the wait after lost answers bounds what may be paid
    without anybody knowing, whoever is asked.
    """
    kept = {UnansweredSubmitError.code}
    return {
        lane: pause
        for lane, pause in pauses.items()
        if pause.problem.fault not in (Fault.ACCOUNT, Fault.NETWORK, Fault.VENDOR) or pause.problem.code in kept
    }


def to_ask_about(pauses: Pauses, cleared: frozenset[Pause], now: float) -> list[Pause]:
    """Return the pauses of the submits whose wait is over, and about which the balance was not asked since.

    `cleared` holds those about which it was: the call worked and did not explain them, so an upload has to try.
    """
    return [pause for pause in _of_submits(pauses) if is_over(pause, now) and pause not in cleared]


def cleared(pauses: Pauses, now: float, *, answered: bool) -> frozenset[Pause]:
    """Return the pauses about which the balance need not be asked any more, now that it was; `told`: it could be read.

    A call that fails each time says nothing of the others in the end: after MOST_ASKED waits an upload tries all the same.
    """
    return frozenset(p for p in _of_submits(pauses) if is_over(p, now) and (answered or p.tries > MOST_ASKED))


def _of_submits(pauses: Pauses) -> list[Pause]:
    return [pause for pause in map(pauses.get, _ASKED_FIRST) if pause]


def after_no_balance(pauses: Pauses, problem: Problem, now: float, chance: float) -> Pauses:
    """Return the pauses when the balance could not be read: what submits waited for is not known to be over."""
    failed = renewed(pauses, problem, now, chance)
    for pause in _of_submits(failed):
        if is_over(pause, now) and pause.tries <= MOST_ASKED:
            failed = renewed(failed, replace(pause.problem, retry_after_seconds=None), now, chance)
    return failed


def after_balance(pauses: Pauses, balance: Decimal, now: float, chance: float, wanted: Article | None = None) -> Pauses:
    """Return the pauses when the balance was read: the API works; an empty account stops submits, credits let them go on.

    `wanted`: the cheapest of what is to be bought; None: of all there is.
    """
    reached = ended_by(pauses, frozenset({Lane.API}), now)
    wanted = wanted or cheapest()
    if balance < wanted.listed:
        return renewed(reached, empty(balance, wanted).problem, now, chance)
    submit = reached.get(Lane.SUBMIT)
    if submit and submit.problem.code == EmptyAccountError.code:
        return {lane: pause for lane, pause in reached.items() if lane is not Lane.SUBMIT}
    return reached


def empty(balance: Decimal, wanted: Article) -> EmptyAccountError:
    """Return the error of an account that cannot pay what is to be bought."""
    lead = "is empty: it has" if balance < cheapest().listed else "has too little:"
    held, cost = in_credits(balance), in_credits(wanted.listed)
    return EmptyAccountError(f"The vendor's account {lead} {held}, a {wanted.noun} costs {cost}.")


def of_submits(outcome: Outcome, step: Step, pauses: Pauses) -> Outcome:
    """Return the outcome of a step, where what the account or the network refuses to a submit concerns the submits alone.

    Free calls may still work then, over the connections that they have, and prove nothing: each submit makes its own.
    Where no call comes through, that stops all of them, and is not reported twice.
    """
    if step is not Step.SUBMIT or not isinstance(outcome, Retry) or outcome.problem.lane is not Lane.API:
        return outcome
    fault = outcome.problem.fault
    alone = fault is Fault.ACCOUNT or (fault is Fault.NETWORK and Lane.API not in pauses)
    return Retry(replace(outcome.problem, lane=Lane.SUBMIT)) if alone else outcome


def until_decided(pauses: Pauses, why: str, now: float) -> Pauses:
    """Return the pauses with one of all submits that lasts until a person has decided about refusals, or without it.

    `why`: for people, "" where nothing stops the submits.
    """
    others: dict[Lane, Pause] = {lane: pause for lane, pause in pauses.items() if lane is not Lane.REFUSALS}
    if not why:
        return others if len(others) < len(pauses) else pauses
    old = pauses.get(Lane.REFUSALS)
    return {**others, Lane.REFUSALS: Pause(RefusalsError(why).problem, old.since_at if old else now, math.inf)}


# ---- What a service error concerns: the whole service, or the one job which alone meets it ---------------------------


class Suspects:
    """Remembers who failed in which lane, when a lane last worked, and who met a code that nobody knows. The main thread's alone."""

    def __init__(self) -> None:
        self._turn = 0  # grows with each event: clocks may stand still between two of them
        self._begun: dict[str, int] = {}  # job id -> when its step was handed out
        self._failed: dict[tuple[str, Lane], int] = {}
        self._worked: dict[Lane, int] = {}  # lane -> when the newest step that worked in it was handed out
        self._puzzled: set[str] = set()  # jobs whose submits met such a code since one was accepted

    def begin(self, job_id: str) -> None:
        """Note that a job's step begins."""
        self._turn += 1
        self._begun[job_id] = self._turn

    def worked(self, job_id: str, lanes: Iterable[Lane]) -> None:
        """Note that a job's step worked, and so everything that it needs."""
        begun = self._begun.get(job_id, 0)
        if Lane.SUBMIT in lanes:
            self._puzzled.clear()
        for lane in lanes:
            self._worked[lane] = max(self._worked.get(lane, 0), begun)
            self._failed.pop((job_id, lane), None)

    def is_own(self, job_id: str, lane: Lane) -> bool:
        """Note that a job failed in a lane, and return whether the lane has worked since the job failed there before."""
        self._turn += 1
        before = self._failed.get((job_id, lane), self._turn)
        self._failed[job_id, lane] = self._turn
        return self._worked.get(lane, 0) > before

    def are_several(self, job_id: str) -> bool:
        """Note that a job's submit met a code that nobody knows, and return whether another one has met such a code as well."""
        self._puzzled.add(job_id)
        return len(self._puzzled) > 1

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._puzzled.discard(job_id)
        self._begun.pop(job_id, None)
        for key in [key for key in self._failed if key[0] == job_id]:
            del self._failed[key]


# ---- When a plugin that fails again and again is set aside, and when it is tried again ------------------------------


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a plugin fared lately; instants are monotonic."""

    failures: int = 0  # in a row
    until: float = 0.0  # so long it is set aside

    def is_open(self, now: float) -> bool:
        """Return whether the plugin is set aside now."""
        return now < self.until

    def after_failure(self, now: float, most: int, rest_seconds: float) -> Breaker:
        """Return the breaker after one more failure: the last one that is borne sets the plugin aside."""
        failures = self.failures + 1
        return Breaker(failures, now + rest_seconds if failures >= most else 0.0)
