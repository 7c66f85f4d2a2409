"""The farm: calls of plugins that workers on other machines carry out; what is known of both, and why a call waits. Pure.

Durations are in seconds, by the clock of the store's server; nobody else's clock is compared with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeAlias

from rodin_watchd.core.names import printable

MOST_LOST: Final = 3
"""How often a call is made again because its worker was lost: what takes its machine with it must not take them all."""

_MOST_OF_A_REASON: Final = 300

SPARE_SECONDS: Final = 600.0
"""How much longer than its own limit a call may take at a worker: to load the plugin, and to move its files."""


def line_of(queue: str, place: str, plugin: str, version: str) -> str:
    """Name the line of the queueing engine for calls of one plugin: only a worker with the same files and code is in it.

    `place` is where the files are (`PlaceOfFiles`). The name is short: it becomes the name of a channel of PostgreSQL.
    """
    content = json.dumps([queue, place, plugin, version]).encode()
    return f"{queue}-{hashlib.blake2b(content, digest_size=6).hexdigest()}"


@dataclass(frozen=True, slots=True)
class FarmCall:
    """A call for a worker."""

    root: str  # the id of the root that asks
    event_id: str
    job_id: str  # "": it is about no job
    plugin: str
    hook: str
    queue: str  # as the configuration names it
    place: str  # of its files
    version: str  # of the plugin
    seconds: float  # it may take
    files: str  # the key of those that it is about, in that place; "": none
    request: str  # JSON: what the plugin is called with

    @property
    def line(self) -> str:
        """The line of the queueing engine that it waits in."""
        return line_of(self.queue, self.place, self.plugin, self.version)


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call that was asked for before."""

    id: int
    state: str  # waiting, running, done, failed
    place: str
    files: str
    line: str

    def may_be_awaited(self, call: FarmCall) -> bool:
        """Return whether this is the same call, and what comes of it can be used.

        One that waits where nobody takes it any more is none: the plugin has another version since, say.
        """
        if self.state == "failed" or self.place != call.place:
            return False
        return self.state != "waiting" or self.line == call.line


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call as a worker took it; only the newest attempt of a call can publish."""

    call_id: int
    number: int
    plugin: str
    hook: str
    place: str  # of its files
    files: str
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallState:
    """How a call stands."""

    attempt: int
    has_ended: bool
    reply: Mapping[str, Any] | None  # what the worker published; None where it has not ended, or was given up


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that is there."""

    id: int
    host: str
    pid: int
    queues: tuple[str, ...]
    places: tuple[str, ...]  # of files that it can reach
    plugins: Mapping[str, str]  # name -> version
    unfit: Mapping[str, str]  # plugins that cannot be used there -> why
    for_seconds: float  # that it has been there
    silent_seconds: float
    calls: tuple[tuple[str, str, float], ...] = ()  # that it makes now: plugin, hook, for how long

    @property
    def name(self) -> str:
        """For people."""
        return f"{printable(self.host)}:{self.pid}"


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue that has calls, or workers."""

    name: str
    waiting: int
    running: int
    failed: int  # the newest attempt of calls that may be made again
    oldest_seconds: float  # that the first of those that wait has waited
    workers: int


@dataclass(frozen=True, slots=True)
class WaitingCalls:
    """Calls of one plugin that wait for a worker."""

    root: str  # whose
    queue: str
    place: str
    plugin: str
    version: str
    count: int
    since_at: float  # UTC
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class FarmState:
    """What there is at one moment."""

    workers: tuple[WorkerState, ...] = ()
    queues: tuple[QueueState, ...] = ()
    waiting: tuple[WaitingCalls, ...] = ()


NO_FARM: Final = FarmState()


def why_waiting(calls: WaitingCalls, workers: Sequence[WorkerState]) -> str:
    """Say why no worker can take these calls, and what to do; "" where some can, and are busy."""
    start = f"Start one: `rodin-watchd worker --queues {calls.queue}`."
    if not workers:
        return f"No worker is there. {start}"
    serving = [worker for worker in workers if calls.queue in worker.queues]
    if not serving:
        return f"No worker serves the queue {calls.queue}. {start}"
    near = [worker for worker in serving if calls.place in worker.places]
    if not near:
        return (
            f"{_named(serving)} cannot reach the files: mount the same share there, and name it in folders.root; or set farm.files "
            "to the same bucket everywhere."
        )
    return _why_without_plugin(calls, near)


def _why_without_plugin(calls: WaitingCalls, workers: Sequence[WorkerState]) -> str:
    """Say why none of the workers that have the queue and the files can call the plugin; "" where some can."""
    having = [worker for worker in workers if calls.plugin in worker.plugins]
    unfit = [worker for worker in workers if calls.plugin in worker.unfit]
    if any(worker.plugins[calls.plugin] == calls.version for worker in having):
        return ""
    if having:
        other = ", ".join(sorted({printable(worker.plugins[calls.plugin]) for worker in having}))
        return (
            f"{_named(having)} has another version of the plugin {calls.plugin} ({other}; the service has {printable(calls.version)}): "
            "install the same one, and start the worker again."
        )
    if unfit:
        why = printable(unfit[0].unfit[calls.plugin], _MOST_OF_A_REASON)
        return f"The plugin {calls.plugin} cannot be used on {_named(unfit)}: {why}"
    return (
        f"The plugin {calls.plugin} is not in use on {_named(workers)}: install it there, and give it a table "
        f"[plugins.{calls.plugin}] in that configuration."
    )


def _named(workers: Sequence[WorkerState]) -> str:
    names = sorted({worker.name for worker in workers})
    return names[0] if len(names) == 1 else f"Each of the {len(names)} workers ({', '.join(names[:3])} …)"


def reasons(state: FarmState) -> Iterator[tuple[WaitingCalls, str]]:
    """Yield the calls that no worker can take, each with why and what to do."""
    for calls in state.waiting:
        if why := why_waiting(calls, state.workers):
            yield calls, why


# ---- The queue and its workers, as protocols (`adapters.store.farm`) ------------------------------------------------


CarryOut: TypeAlias = Callable[[Attempt], Awaitable[Mapping[str, Any] | None]]
"""Carries out a call and returns the reply; None: it is given back, for another worker, and this one stops."""

Published: TypeAlias = Callable[[Attempt, bool], None]
"""Learns that an attempt has ended, and whether it was still the newest one; else all that it made is to be removed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker can do, and how."""

    queues: Sequence[str]
    places: Sequence[str]  # of files
    plugins: Mapping[str, str]  # name -> version
    unfit: Mapping[str, str]  # plugins that cannot be used here -> why
    at_once: int
    silent_seconds: float  # after so long without a sign of life it is taken for dead
    stop_seconds: float  # how long calls under way may take to end

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the engine that such a worker takes calls from."""
        return tuple(
            line_of(queue, place, plugin, version)
            for queue in self.queues
            for place in self.places
            for plugin, version in self.plugins.items()
        )


class CallWorker(Protocol):
    """Takes calls until it is stopped."""

    async def run(self) -> None:
        """Work until `stop`. Raises StoreAwayError, JournalError."""

    def stop(self) -> None:
        """Take nothing more; end when the calls under way have ended, or were given back. Any thread."""


class CallQueue(Protocol):
    """The queue of calls, for a daemon or a worker, in one event loop.

    All raise StoreAwayError while the database cannot be reached; JournalError for every other failure.
    """

    def opened(self) -> AbstractAsyncContextManager[Self]:
        """Open it until the end; its tables are made, or brought up to date."""

    async def add_root(self, root: str, host: str, folder: str) -> None:
        """Let workers know a root whose calls there may be."""

    async def known(self, root: str, event_id: str, plugin: str) -> KnownCall | None:
        """Return a call that was asked for before, by whatever daemon."""

    async def ask(self, call: FarmCall) -> int:
        """Have a call made, and return its number. One that is under way already is not asked for again."""

    async def progress(self, call_ids: Collection[int]) -> Mapping[int, CallState]:
        """Return how these calls stand; one that is not there any more is left out."""

    async def renew_lost(self, root: str, silent_seconds: float) -> Sequence[int]:
        """Have the calls of a root made again whose worker is silent, hung, or gone; return their numbers.

        One that was lost too often is given up.
        """

    async def state(self) -> FarmState:
        """Return what there is now."""

    async def drop(self, root: str, event_id: str, plugin: str) -> None:
        """Forget a call: nobody waits for it. What a worker makes of it is discarded."""

    async def forget(self, root: str, job_ids: Collection[str] = ()) -> None:
        """Forget the calls for these jobs, and what ended long ago."""

    async def roots(self) -> Sequence[tuple[str, str, str]]:
        """Return the roots whose calls there may be: id, host and folder of each."""

    def worker(self, offer: Offer, carry_out: CarryOut, published: Published) -> CallWorker:
        """Return a new worker; it works while it is run."""
