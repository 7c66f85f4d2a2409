"""How far a running job is, and when the vendor will have done it: for bars and for "about two minutes left"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.schedule import expected_left_seconds
from rodin_watchd.core.store import StoreReader
from rodin_watchd.model import Job, State

PARTS: Final[Mapping[State, float]] = {
    State.CLAIMED: 0.02,
    State.STAGED: 0.04,
    State.UPLOADING: 0.07,
    State.SUBMITTING: 0.1,
    State.SUBMITTED: 0.1,
    State.GENERATED: 0.9,
    State.DOWNLOADED: 0.94,
    State.PROCESSED: 0.97,
    State.DELIVERED: 0.99,
}
"""How much of its way a running job has behind it; while the vendor works, the forecast says how much of the rest."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When tasks at the vendor will be done, by how long those before took; asked once for each kind."""

    journal: StoreReader
    now: float
    known: dict[str, list[float]]

    def left_seconds(self, job: Job) -> float | None:
        """Return in how many seconds the vendor will have done a job; None where that is not known."""
        if job.state is not State.SUBMITTED or job.task is None:
            return None
        kind = kind_of(job)
        name = kind.duration_class(job.options)
        if name not in self.known:
            self.known[name] = self.journal.durations(name)
        elapsed = max(self.now - job.task.submitted_at, 0.0)
        return expected_left_seconds(self.known[name], elapsed, usual=kind.usual_seconds)

    def part(self, job: Job, left: float | None) -> float | None:
        """Return how much of its way a running job has behind it, from 0 to 1; None for one that does not run."""
        if job.state not in PARTS:
            return None
        done = PARTS[job.state]
        if left is None or job.task is None:
            return done
        elapsed = max(self.now - job.task.submitted_at, 0.0)
        return done + (PARTS[State.GENERATED] - done) * elapsed / max(elapsed + left, 1.0)
