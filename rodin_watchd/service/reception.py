"""The reception: when to look at the inbox, and which ready sets to claim. The main thread's alone."""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import replace

from rodin_watchd.adapters.watcher import Watcher
from rodin_watchd.config import Config
from rodin_watchd.core.budget import is_over_budget
from rodin_watchd.core.claims import Claims, Turn, claims, taken_paths
from rodin_watchd.core.sets import ReadySet, View
from rodin_watchd.errors import DiskError, FolderGoneError, Problem
from rodin_watchd.model import State
from rodin_watchd.service.admission import Admission
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.intake import Intake
from rodin_watchd.service.jobs import JobStore

log = logging.getLogger("rodin_watchd")

RESCAN_SHARE = 300
"""A rescan comes at the earliest after so many times its own duration: at most 0.33 % of a core."""

LOOK_SHARE = 4
"""Looks that file events ask for are this many times their own duration apart: at most a fifth of a core."""


class Reception:
    """Looks at the inbox when files woke us, when waiting may be over, and every `intake.rescan_seconds`."""

    def __init__(
        self, config: Config, job_store: JobStore, intake: Intake, watcher: Watcher, admission: Admission, clock: Clock
    ) -> None:
        self._config = config
        self._admission = admission
        self._job_store = job_store
        self._intake = intake
        self._watcher = watcher
        self._clock = clock
        self._look_seconds = 0.0
        self._looked_at = -math.inf
        self._woken = True
        self._wholly = True  # whether the next look is to be at all of the inbox
        self._returns = job_store.returns  # how many sets had come back at the last look
        self._scanned_at = -math.inf  # when the last one was
        self._scan_seconds = 0.0
        self.looks = 0  # grows with each look and each claim: view and claims change with nothing else
        self.view = View()
        self.claims = Claims()
        self.problem: Problem | None = None  # why the inbox cannot be looked at

    def wake(self, *, wholly: bool = True) -> None:
        """Ask for a look at the inbox: at all of it, or at where files have changed."""
        self._woken = True
        self._wholly |= wholly

    @property
    def is_settled(self) -> bool:
        """Whether the inbox was looked at and nothing settles; what waits for its turn or for a person does not count."""
        if self._woken or self._is_returned() or self.problem is not None:
            return False
        return not any(w.settling for w in self.view.waiting)

    @property
    def trouble(self) -> str:
        """What keeps files from being found at once, for people; "" if nothing does."""
        return self._watcher.defect

    def bill(self, ready: ReadySet) -> str:
        """Say what the jobs of a set that waits come to, "" where it is one."""
        return self._admission.bill(ready)

    def take_in(self, *, paused: bool, stopped: bool = False) -> None:
        """Look at the inbox if it is time, and commit the claims of what is ready, in one transaction.

        `paused`: nothing is taken. `stopped`: what was taken is not sent for now, so that there may be no room for more. Where only room has come, and nothing woke us, what the last look found to be next is claimed, if that is untouched.
        """
        started = self._clock.monotonic()
        if self._is_time(started):
            wholly = self._look(started)
            self._look_seconds = self._clock.monotonic() - started
            self._looked_at = started
            if wholly:
                self._scanned_at, self._scan_seconds = started, self._look_seconds
            self._claim(self._choose(paused=paused, stopped=stopped))
        elif self._has_room_for_more() and not (paused or self._woken):
            self._claim_remembered()

    def _claim(self, claims: Claims) -> None:
        self.looks += 1
        self.claims, self._woken = claims, True
        self._job_store.commit(claims.begun, self._clock.now())
        self._woken = False  # not before: what could not be committed is looked at again

    def _claim_remembered(self) -> None:
        """Claim the next sets without a look at all the others; where that is not to be decided, ask for a look."""
        chosen = self.claims.next_in_turn(self.view.uses, self._room())
        if chosen and self._admission.still_admits(chosen) and self._intake.is_as_seen(chosen):
            self._claim(self.claims.begin(chosen, self._config.defaults, _new_id, self._clock.now()))
        else:
            self.wake()

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds a look may become due."""
        now = self._clock.monotonic()
        soonest = max(self._looked_at + LOOK_SHARE * self._look_seconds, now + self._watcher.burst_seconds())
        at = [max(self.view.again_at, soonest), max(self._scanned_at + self._rescan_seconds(), soonest)]
        if self._woken or self._is_copied() or self._is_returned():
            at.append(soonest)
        return [max(instant - now, 0.0) for instant in at]

    def _is_time(self, now: float) -> bool:
        since = now - self._looked_at
        woken = self._woken or now >= self.view.again_at or self._is_copied() or self._is_returned()
        is_due = (woken or self._is_rescan_due(now)) and since >= LOOK_SHARE * self._look_seconds
        return is_due and not self._watcher.burst_seconds()

    def _is_rescan_due(self, now: float) -> bool:
        return now - self._scanned_at >= self._rescan_seconds()

    def _rescan_seconds(self) -> float:
        return max(self._config.intake.rescan_seconds, RESCAN_SHARE * self._scan_seconds)

    def _look(self, now: float) -> bool:
        """Look at the inbox: at all of it when it is time, else at where files have changed; return whether at all of it."""
        if trouble := self._watcher.take_trouble():
            log.warning("watching: %s", trouble, extra={"action": "watching"})
        self._watcher.rearm()
        changed = self._watcher.take_changed()
        wholly = changed is None or self._wholly or self._is_rescan_due(now) or self._is_returned()
        self._wholly, self._returns = False, self._job_store.returns
        seen = self._watcher.take_seen()  # before the look: it holds for what is found now
        self.view, self.claims = View(), Claims()  # not two views at once: of 10,000 sets each has 10 MB
        self.looks += 1
        try:
            self.view = self._intake.look(
                now, seen, taken_paths(self._job_store.jobs.values()), None if wholly else changed
            )
        except DiskError as error:
            self._cannot_look(error)
        except OSError as error:
            self._cannot_look(DiskError.of("The inbox cannot be read", error))
        else:
            self._can_look()
        return wholly

    def _cannot_look(self, error: DiskError) -> None:
        if self.problem is None and not isinstance(error, FolderGoneError):  # the mount keeper reports that
            self._job_store.report("paused", str(error), self._clock.now(), subject="intake", code=error.code)
        self.problem, self.view = error.problem, View()

    def _can_look(self) -> None:
        if self.problem is not None:
            if self.problem.code != FolderGoneError.code:
                message = f"{self.problem.message} This has ended."
                self._job_store.report("resumed", message, self._clock.now(), subject="intake", code=self.problem.code)
            self.problem = None

    def _choose(self, *, paused: bool, stopped: bool) -> Claims:
        if self.problem is not None:
            return Claims()
        idle = paused or (stopped and self._room() < 1)
        view, barred = self._admission.admit(self.view, self._clock.monotonic(), idle=idle)
        if paused:  # what waits for something else is known all the same, and when it waits no more
            return Claims(waiting=(*((ready, Turn.PAUSED) for ready in view.ready), *barred))
        jobs = self._job_store.jobs.values()
        chosen = claims(view, jobs, self._room(), self._config.defaults, _new_id, self._clock.now())
        return replace(chosen, waiting=(*chosen.waiting, *barred))

    def _room(self) -> int:
        """Return how many more sets may be claimed: so many that the vendor's places never wait for one."""
        ahead = (job for job in self._job_store.jobs.values() if job.state in (State.CLAIMED, State.STAGED))
        return 2 * self._config.api.max_in_flight - sum(not is_over_budget(job) for job in ahead)

    def _has_room_for_more(self) -> bool:
        return self.claims.crowded and self._room() >= self._config.api.max_in_flight

    def _is_returned(self) -> bool:
        """Return whether a set has gone back into the inbox since the last look."""
        return self._returns != self._job_store.returns

    def _is_copied(self) -> bool:
        return self.claims.is_copied(self._job_store.jobs.values())


def _new_id() -> str:
    return secrets.token_hex(6)
