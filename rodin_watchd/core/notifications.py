"""What plugins are told, and when: from a job's move, or the service's own event, to the calls that are owed. Pure.

A call that is owed becomes a row of the journal in the same transaction as what it tells of, so none is forgotten; it is
made afterwards, at least once, and always with the same event id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rodin_watchd.core.names import printable
from rodin_watchd.model import Entry, InputFile, Job, OwedCall, ServiceEvent, State, Transition
from rodin_watchd.v1 import File, FileSet, Problem, Waiting
from rodin_watchd.v1 import Job as PublicJob

HOOK_OF: Mapping[State, str] = {
    State.DELIVERED: "rodin_delivered",
    State.FAILED: "rodin_failed",
    State.HELD: "rodin_held",
}
"""Which hook tells of which state."""

SERVICE, WAITING = "rodin_service", "rodin_waiting"

_NEWS = frozenset({"plugin-aside", "plugin-back"})

MOST_TRIES = 12
"""So often a call is made until it is given up: with the waits of `core.waits.PLUGIN_CALL`, over more than two hours."""


@dataclass(frozen=True, slots=True)
class Announcer:
    """Knows which plugins want to hear of what: plugins by hook, in the order in which they are called."""

    plugins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of_move(self, move: Transition, now: float) -> list[OwedCall]:
        """Return the calls that a move owes: those of the hook that tells of the state that it enters."""
        job = move.job
        if move.action != job.state.value or job.state not in HOOK_OF:
            return []
        words = printable(move.message, 1000) or job_words(job)
        event = {"kind": job.state.value, "at": now, "message": words, "code": move.code}
        return self._owed(HOOK_OF[job.state], {"job": asdict(public_job(job)), "event": event})

    def of_service(self, event: ServiceEvent) -> list[OwedCall]:
        """Return the calls that an event of the service owes; news of a plugin are not told to that plugin."""
        owed = self._owed(SERVICE, {"event": asdict(event)})
        return [call for call in owed if not (event.kind in _NEWS and event.subject == call.plugin)]

    def of_waiting(self, waiting: Waiting, at: float) -> list[OwedCall]:
        """Return the calls that a set owes which has been incomplete for long."""
        event = {"kind": "waiting", "at": at, "message": f"{waiting.name}: {waiting.reason}"}
        return self._owed(WAITING, {"waiting": asdict(waiting), "event": event})

    def _owed(self, hook: str, arguments: Mapping[str, Any]) -> list[OwedCall]:
        return [OwedCall(hook, plugin, arguments) for plugin in self.plugins.get(hook, ())]


SILENT = Announcer()
"""No plugin wants to hear of anything."""


def plugin_news(plugin: str, words: str) -> str:
    """Say something about a plugin."""
    return f"The plugin {plugin} {words}"


def job_words(job: Job) -> str:
    """Say in a line what became of a job."""
    name = printable(job.name)
    return f"{name}: {printable(job.place, 1000)}" if job.place else name


def waiting_id(folder: str, name: str, entries: Sequence[Entry]) -> str:
    """Name the state that an incomplete set is in: the same files, untouched, have the same name."""
    text = repr((folder, name, sorted((entry.path, *entry.signature) for entry in entries)))
    return f"waiting-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


# ---- values for plugins ---------------------------------------------------------------------------------------------


def public_job(job: Job) -> PublicJob:
    """Return a job as plugins see it."""
    return PublicJob(
        id=job.id,
        name=job.name,
        folder=job.folder,
        state=job.state.value,
        options=dict(job.options),
        files=_public_files(job.files),
        created_at=job.created_at,
        results=tuple(File(r.name, r.size, r.sha256) for r in job.published),
        credits=str(job.spent),
        task=job.task.uuid if job.task else "",
        place=job.place,
        problem=_public_problem(job),
        kind=job.kind,
    )


def public_set(job: Job, files: Sequence[InputFile]) -> FileSet:
    """Return a set that was taken and checked as plugins see it."""
    return FileSet(job.name, job.folder, _public_files(files), dict(job.options), job.kind)


def _public_files(files: Sequence[InputFile]) -> tuple[File, ...]:
    return tuple(File(f.name, f.signature.size, f.sha256, f.role.value) for f in files)


def _public_problem(job: Job) -> Problem | None:
    found = job.problem
    return Problem(found.code, found.fault.value, found.message, found.advice) if found else None
