"""The task book: what was ordered, and how its jobs stand at a given moment."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rodin_watchd.emulator.refusal import EmulatedRefusal

if TYPE_CHECKING:
    from rodin_watchd.emulator.exports import EmulatedFile
    from rodin_watchd.emulator.workshop import Work

JOB_SHARES = (0.5, 0.8, 1.0)
"""A task has a job for each entry; it needs this part of the time, so that they do not finish at the same moment."""


@dataclass(frozen=True, slots=True)
class EmulatedJob:
    """One job of a task: it waits, then it is worked on, then it has its end."""

    uuid: str
    waiting_until: float
    generating_until: float
    end: str = "Done"

    def status(self, now: float, work: Work) -> str:
        """Tell its status word. It is never Done before the real work is."""
        if now < self.waiting_until:
            return "Waiting"
        if now < self.generating_until or not work.done():
            return "Generating"
        return "Failed" if work.cancelled() or work.exception() else self.end


@dataclass(frozen=True, slots=True)
class EmulatedTask:
    """One paid task and the work behind it."""

    uuid: str
    subscription_key: str
    api_key: str
    submitted_at: float
    jobs: tuple[EmulatedJob, ...]
    work: Work

    def statuses(self, now: float) -> tuple[str, ...]:
        """Give the status words of its jobs."""
        return tuple(job.status(now, self.work) for job in self.jobs)

    def outcome(self, now: float) -> str:
        """Sum the jobs up in one status word, for the ledger."""
        words = self.statuses(now)
        order = ("Failed", "Canceled", "Generating", "Waiting", "Done")
        return min(words, key=order.index)

    def results(self, now: float) -> tuple[EmulatedFile, ...]:
        """Give what can be downloaded: all when Done, only the preview while some jobs still run, else nothing."""
        words = set(self.statuses(now))
        if words == {"Done"}:
            return self.work.result()
        return self.work.result()[-1:] if words == {"Done", "Generating"} and self.work.done() else ()

    def result(self, name: str) -> EmulatedFile:
        """Give one file by its own name."""
        return next(file for file in self.work.result() if file.name == name)


class TaskBook:
    """All tasks that are still kept. Used by the event loop's thread alone."""

    def __init__(self, waiting_seconds: float, generating_seconds: float, keep_seconds: float) -> None:
        self._waiting_seconds = waiting_seconds
        self._generating_seconds = generating_seconds
        self._keep_seconds = keep_seconds
        self._tasks: dict[str, EmulatedTask] = {}
        self._by_subscription: dict[str, str] = {}

    def open(self, api_key: str, work: Work, now: float, end: str = "Done") -> EmulatedTask:
        """Enter a task; `end` is the status word with which its last job ends."""
        self._forget(now)
        task_uuid = str(uuid.uuid4())
        task = EmulatedTask(task_uuid, _token(task_uuid, now), api_key, now, self._jobs(now, end), work)
        self._tasks[task.uuid] = task
        self._by_subscription[task.subscription_key] = task.uuid
        return task

    def by_subscription(self, subscription_key: str, api_key: str, now: float) -> EmulatedTask:
        """Find the task of Check Status. Raises EmulatedRefusal (`NO_SUCH_TASK`)."""
        return self.by_uuid(self._by_subscription.get(subscription_key, ""), api_key, now)

    def by_uuid(self, task_uuid: str, api_key: str, now: float) -> EmulatedTask:
        """Find the task of Download Results. Raises EmulatedRefusal (`NO_SUCH_TASK`)."""
        task = self.kept(task_uuid, now)
        if task is None or task.api_key != api_key:
            raise EmulatedRefusal(404, "NO_SUCH_TASK", "There is no such task.")
        return task

    def kept(self, task_uuid: str, now: float) -> EmulatedTask | None:
        """Give the task as long as its results are kept."""
        task = self._tasks.get(task_uuid)
        return task if task and now < task.submitted_at + self._keep_seconds else None

    def subscription_keys(self) -> dict[str, str]:
        """Give the keys of Check Status by the tasks' ids; any thread."""
        return {task.uuid: task.subscription_key for task in tuple(self._tasks.values())}

    def _jobs(self, now: float, end: str) -> tuple[EmulatedJob, ...]:
        last = len(JOB_SHARES) - 1
        return tuple(
            EmulatedJob(
                uuid=str(uuid.uuid4()),
                waiting_until=now + self._waiting_seconds * share,
                generating_until=now + (self._waiting_seconds + self._generating_seconds) * share,
                end=end if index == last else "Done",
            )
            for index, share in enumerate(JOB_SHARES)
        )

    def _forget(self, now: float) -> None:
        gone = [task for task in self._tasks.values() if now >= task.submitted_at + self._keep_seconds]
        for task in gone:
            del self._tasks[task.uuid], self._by_subscription[task.subscription_key]


def _token(task_uuid: str, now: float) -> str:
    """Give a subscription key in the shape of a JWT (RFC 7519), as the API does; its signature is random."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"task": task_uuid, "iat": int(now)})
    texts = (json.dumps(part, separators=(",", ":")).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(text).decode().rstrip("=") for text in (*texts, secrets.token_bytes(32)))
