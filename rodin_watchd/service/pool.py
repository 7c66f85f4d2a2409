"""The pool: worker threads that run steps, and the one queue through which they speak to the main thread.

Workers never touch the journal. They hand back outcomes; an upload that is about to send its last bytes asks the main
thread to commit that, and waits for the answer.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from rodin_watchd.core.machine import step_of
from rodin_watchd.core.store import DONE
from rodin_watchd.errors import Fault, Problem, RodinWatchdError, Scope
from rodin_watchd.log_lines import about
from rodin_watchd.model import Answered, Done, HookRun, Job, NotYet, Outcome, Rejected, Retry, Step, Unknown
from rodin_watchd.service.plugins import PluginNews, Ran
from rodin_watchd.service.steps import run
from rodin_watchd.service.steps.results import balance
from rodin_watchd.service.steps.tools import Tools


class UploadDroppedError(RodinWatchdError):
    """The upload was dropped before its last bytes: nothing was submitted."""

    code = "upload-dropped"
    fault = Fault.NOBODY
    scope = Scope.SERVICE


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A worker's step came to its end."""

    job_id: str
    outcome: Outcome | Answered
    step: Step
    seconds: float
    kind: str  # of the job


@dataclass(frozen=True, slots=True)
class Closing:
    """An upload asks for `submitting` to be committed; `reply` is its permission, or the reason against it."""

    job_id: str
    reply: Future[None]


@dataclass(frozen=True, slots=True)
class BalanceRead:
    """The account's credits, or why they are not known; no job's step."""

    answer: Decimal | Problem


@dataclass(frozen=True, slots=True)
class CallRan:
    """A call that was owed to a plugin came to its end."""

    run: HookRun
    problem: Problem | None  # what went wrong


BALANCE = "balance"
"""What the question for the balance is called among the busy; no job has this id."""

_WORDS: Mapping[type[Outcome], str] = {
    Done: "done",
    NotYet: "not-yet",
    Retry: "retry",
    Unknown: "unknown",
    Rejected: "rejected",
}
"""What came of a step, as it is counted."""

Message: TypeAlias = StepFinished | Closing | BalanceRead | Ran | CallRan | PluginNews


_CALL = "call "


def _call_id(run: HookRun) -> str:
    return f"{_CALL}{run.id}"


class MessageQueue:
    """Where workers leave messages: any thread puts one there and wakes the main thread, which alone takes them."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def put(self, message: Message) -> None:
        """Leave a message."""
        self._messages.put(message)
        self._wake()

    def __len__(self) -> int:
        """Return how many messages wait."""
        return self._messages.qsize()

    def take(self) -> list[Message]:
        """Return what was left since the last call."""
        return [self._messages.get_nowait() for _ in range(len(self))]


class Pool:
    """Runs steps; all methods are for the main thread. Plugins leave what came of their calls in the same `messages`."""

    def __init__(self, tools: Tools, workers: int, messages: MessageQueue) -> None:
        self.messages = messages
        self._busy: set[str] = set()
        self._processing: set[str] = set()  # jobs whose step may wait long for a plugin
        self._called: dict[str, str] = {}  # owed calls under way -> plugin
        self._asked: dict[str, Future[None]] = {}  # by job id: who may still wait for permission
        self._closed = False
        self._use(tools, workers)

    def _use(self, tools: Tools, workers: int) -> None:
        self._tools = tools
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="step")

    def renew(self, tools: Tools, workers: int) -> Callable[[], None]:
        """Run what is handed out from now on with other tools; return what waits until the last step with the old ones ends."""
        threads = self._threads
        self._use(tools, workers)
        return threads.shutdown

    @property
    def busy(self) -> frozenset[str]:
        """The ids of the jobs whose step is under way, or whose outcome is not dealt with yet; and BALANCE likewise."""
        return frozenset(self._busy)

    @property
    def free(self) -> int:
        """How many more steps can be run at once."""
        return self._workers - len(self._busy)

    def hand_out(self, job: Job) -> None:
        """Start a job's next step. The job must not be busy."""
        self._busy.add(job.id)
        if step_of(job) in self._tools.plugins.slow_steps:
            self._processing.add(job.id)
        self._threads.submit(self._work, self._tools, job)

    def ask_balance(self) -> None:
        """Ask for the account's credits; it is busy as BALANCE until it is released."""
        self._busy.add(BALANCE)
        tools = self._tools
        self._threads.submit(lambda: self.messages.put(BalanceRead(balance(tools))))

    def hand_out_call(self, run: HookRun, job: Job | None, place: str) -> None:
        """Have an owed call made, about the folder at this place of the job's ("": about none); it is busy until it is released."""
        self._busy.add(_call_id(run))
        self._called[_call_id(run)] = run.plugin
        tools = self._tools

        def call() -> None:
            directory = tools.spool.published_folder(job, place) if job and place else None
            with about(job) if job else contextlib.nullcontext():
                made = tools.plugins.make_call(run, job, directory)
            self.messages.put(CallRan(made.run, made.problem))

        self._threads.submit(call)

    def is_calling(self, run: HookRun) -> bool:
        """Return whether an owed call is under way."""
        return _call_id(run) in self._busy

    def release_call(self, run: HookRun) -> None:
        """Say that what came of an owed call has been dealt with."""
        self._busy.discard(_call_id(run))
        self._called.pop(_call_id(run), None)

    @property
    def plugin_places(self) -> int | None:
        """How many more steps may use plugins at once; None: no plugin works on results."""
        plugins = self._tools.plugins
        if not plugins.names:
            return None
        return plugins.step_places - len(self._processing) - self._calls(here=True)

    @property
    def slow_steps(self) -> frozenset[Step]:
        """The steps that take one of those places."""
        return self._tools.plugins.slow_steps

    def has_place_for(self, run: HookRun) -> bool:
        """Return whether an owed call may be begun now. Those on other machines do not hold up those that are made here."""
        plugins = self._tools.plugins
        if plugins.is_on_farm(run.plugin):
            return self._calls(here=False) < plugins.call_places(run.plugin)
        waiting = plugins.step_places > plugins.settings.workers  # steps wait for other machines
        steps = 0 if waiting else len(self._processing)
        return steps + self._calls(here=True) < plugins.call_places(run.plugin)

    def _calls(self, *, here: bool) -> int:
        return sum(self._tools.plugins.is_on_farm(plugin) is not here for plugin in self._called.values())

    def take(self) -> list[Message]:
        """Return what the workers said since the last call."""
        messages = self.messages.take()
        for message in messages:
            if isinstance(message, Ran | CallRan):
                self._count(message.run)
        self._asked |= {m.job_id: m.reply for m in messages if isinstance(m, Closing)}
        return messages

    def forget(self, job_id: str) -> None:
        """Say that a job has ended: its plugins' answers are not needed any more."""
        self._tools.plugins.forget(job_id)

    def end(self, finished: StepFinished, outcome: Outcome) -> None:
        """Say what was made of a step that ended; it is counted, and its job is not busy any more."""
        self._tools.meter.step(finished.step, _WORDS[type(outcome)], finished.kind, finished.seconds)
        self.release(finished.job_id)

    def release(self, job_id: str) -> None:
        """Say that the outcome of a job's step has been dealt with."""
        self._busy.discard(job_id)
        self._processing.discard(job_id)
        self._asked.pop(job_id, None)

    def close(self) -> None:
        """Start nothing more and let no upload send its last bytes; does not wait for what is under way. May be repeated."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.take()
        for reply in self._asked.values():
            if not reply.done():
                reply.set_exception(UploadDroppedError())

    def _work(self, tools: Tools, job: Job) -> None:
        began = time.monotonic()
        outcome = run(tools, job, lambda: self.ask_to_close(job.id))
        self.messages.put(StepFinished(job.id, outcome, step_of(job), time.monotonic() - began, job.kind))

    def ask_to_close(self, job_id: str) -> None:
        """Ask the main thread whether an upload may send its last bytes, and wait for the answer; a worker's thread.

        Raises UploadDroppedError where it may not.
        """
        reply: Future[None] = Future()
        self.messages.put(Closing(job_id, reply))
        # After asking: either `close` finds the question, or this finds it closed.
        if self._closed and not reply.done():
            raise UploadDroppedError
        reply.result()

    def _count(self, run: HookRun) -> None:
        if run.outcome == DONE or run.told:  # else it was not called: the plugin is set aside
            self._tools.meter.hook_run(run.plugin, run.hook, "done" if run.outcome == DONE else "failed")
