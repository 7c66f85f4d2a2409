"""Whose fault a service error is: the service's, or that of the one job which alone meets it.

A service error pauses a whole lane. But one job can meet it by itself for ever: its work folder has odd rights, its
options need another plan, its task belongs to another account. So when a lane is seen to work for others after a job
failed in it, and the job fails in it again, the error counts as the job's own: it uses up an attempt, and stops nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

from rodin_watchd.problem import Lane


class Blame:
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
