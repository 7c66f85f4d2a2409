"""The reception: when to look at the inbox, and which ready sets to claim. The main thread's alone."""

from __future__ import annotations

import logging
import math
import secrets

from rodin_watchd.adapters.watcher import Watcher
from rodin_watchd.config import Config
from rodin_watchd.errors import DiskError, Problem
from rodin_watchd.model import State
from rodin_watchd.service.book import Book
from rodin_watchd.service.claims import Claims, claims, taken_paths
from rodin_watchd.service.desk import Clock
from rodin_watchd.service.intake import Intake, View

log = logging.getLogger("rodin_watchd")

RESCAN_SHARE = 200
"""A rescan comes at the earliest after so many times its own duration: at most 0.5 % of a core."""

LOOK_SHARE = 4
"""Looks that file events ask for are this many times their own duration apart: at most a fifth of a core."""


class Reception:
    """Looks at the inbox when files woke us, when waiting may be over, and every `intake.rescan_seconds`."""

    def __init__(self, config: Config, book: Book, intake: Intake, watcher: Watcher, clock: Clock) -> None:
        self._config = config
        self._book = book
        self._intake = intake
        self._watcher = watcher
        self._clock = clock
        self._look_seconds = 0.0
        self._looked_at = -math.inf
        self.woken = True
        self.view = View()
        self.claims = Claims((), ())
        self.problem: Problem | None = None  # why the inbox cannot be looked at
        self.trouble = ""  # what people must know about the watching

    @property
    def is_quiet(self) -> bool:
        """Whether nothing settles and nothing waits for its turn; sets that wait for a person do not count."""
        looked = math.isfinite(self._looked_at) and not self.woken
        return looked and not self.claims.waiting and not any(w.settling for w in self.view.waiting)

    def take_in(self, *, paused: bool) -> None:
        """Look at the inbox if it is time, and commit the claims of what is ready, in one transaction."""
        started = self._clock.monotonic()
        if not self._is_time(started):
            return
        self.woken = False
        self._look(started)
        self._look_seconds = self._clock.monotonic() - started
        self._looked_at = started
        self.claims = self._choose(paused=paused)
        self._book.commit(self.claims.begun, self._clock.now())

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds a look may become due."""
        now = self._clock.monotonic()
        at = [self.view.again_at, self._looked_at + self._rescan_seconds()]
        if self.woken or self._has_room_for_waiting():
            at.append(self._looked_at + LOOK_SHARE * self._look_seconds)
        return [max(instant - now, 0.0) for instant in at]

    def _is_time(self, now: float) -> bool:
        since = now - self._looked_at
        woken = self.woken or now >= self.view.again_at or self._has_room_for_waiting()
        return since >= self._rescan_seconds() or (woken and since >= LOOK_SHARE * self._look_seconds)

    def _rescan_seconds(self) -> float:
        return max(self._config.intake.rescan_seconds, RESCAN_SHARE * self._look_seconds)

    def _look(self, now: float) -> None:
        self._watcher.rearm()
        if trouble := self._watcher.take_trouble():
            log.warning("watching: %s", trouble, extra={"action": "watcher"})
            self.trouble = trouble
        closed = self._watcher.take_closed()  # before the look: a vouch holds for what is found now
        try:
            self.view = self._intake.look(now, closed, taken_paths(self._book.jobs.values()))
        except DiskError as error:
            if self.problem is None:
                log.warning("inbox: %s", error, extra={"action": "inbox"})
            self.problem, self.view = error.problem, View()
        else:
            self.problem = None

    def _choose(self, *, paused: bool) -> Claims:
        if paused:
            return Claims((), tuple((ready, "complete, but the service is paused") for ready in self.view.ready))
        jobs = self._book.jobs.values()
        return claims(self.view, jobs, self._room(), self._config.defaults, _new_id, self._clock.now())

    def _room(self) -> int:
        """Return how many more sets may be claimed: so many that the vendor's places never wait for one."""
        ahead = sum(job.state in (State.CLAIMED, State.STAGED) for job in self._book.jobs.values())
        return 2 * self._config.api.max_in_flight - ahead

    def _has_room_for_waiting(self) -> bool:
        return bool(self.claims.waiting) and self._room() >= self._config.api.max_in_flight


def _new_id() -> str:
    return secrets.token_hex(6)
