"""The snapshot: one frozen value, made at the end of a tick, from which everything is made that the service shows of itself.

STATUS.txt, the page in the journal, the heartbeat, the metrics and the service manager's status line say the same, because
they are made from the same value. Commands that only read load this module: it imports nothing that acts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rodin_watchd.core.health import Reason, away_word, headline, stopped_by
from rodin_watchd.core.mounts import Mount
from rodin_watchd.core.status import Line, Page, ended_line, sorted_jobs
from rodin_watchd.core.wording import local
from rodin_watchd.model import Job
from rodin_watchd.problem import Lane

if TYPE_CHECKING:  # these load what reads images
    from datetime import tzinfo

    from rodin_watchd.core.claims import Turn
    from rodin_watchd.core.sets import ReadySet, View


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the service stands; nothing in it changes."""

    at: float  # UTC
    monotonic: float
    jobs: tuple[Job, ...]  # that have not ended
    recent: tuple[Job, ...]  # that have, the newest first
    busy: AbstractSet[str]  # the ids of those whose step is under way
    view: View
    turns: tuple[tuple[ReadySet, Turn], ...]  # complete sets that are not claimed yet
    reasons: tuple[Reason, ...]  # what stands still and why, and what else people must know; as the page lists them
    standstill: str = ""  # why nothing at all moves, for people
    lost_submits: int = 0  # that are missing in the journal
    has_ended: bool = False  # the service stopped after this

    @property
    def paused(self) -> tuple[str, ...]:
        """What stands still, of `STANDSTILLS`, in their order."""
        return stopped_by(self.reasons)

    @property
    def lanes(self) -> AbstractSet[Lane]:
        """The lanes that stand still."""
        return set(Lane).intersection(self.paused)

    @property
    def away(self) -> AbstractSet[Mount]:
        """The folders that are not there."""
        paused = self.paused
        return {mount for mount in Mount if away_word(mount) in paused}

    @property
    def headline(self) -> str:
        """How the service is, in a line."""
        codes = [reason.code for reason in self.reasons if reason.what]
        return headline(self.jobs, waiting=len(self.view.waiting) + len(self.turns), codes=codes)

    def page(self, waiting: tuple[Line, ...], zone: tzinfo) -> Page:
        """Return what STATUS.txt says; `waiting` are the lines of the sets in the inbox.

        What may end by itself may end while nobody is there to take the notice away: after the end it says of when it is.
        """
        as_of = f"When the service stopped ({local(self.at, zone)}): " if self.has_ended else ""
        notices = [f"{as_of if one.passes else ''}{one.notice}" for one in self.reasons if one.notice]
        running, held = sorted_jobs(self.jobs)
        ignored = tuple(sorted(Counter(self.view.ignored.values()).items()))
        return Page(tuple(notices), waiting, running, held, tuple(map(ended_line, self.recent)), ignored)
