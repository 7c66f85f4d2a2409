"""From sets that are ready to jobs: who goes next, what is copied instead of moved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.options import Options
from rodin_watchd.core.sidecar import layered
from rodin_watchd.model import InputFile, Job, State, Transition
from rodin_watchd.service.intake import ReadySet, View


@dataclass(frozen=True, slots=True)
class Claims:
    """The jobs to begin, and the sets that have to wait for their turn, with the reason."""

    begun: tuple[Transition, ...]
    waiting: tuple[tuple[ReadySet, str], ...]


def claims(
    view: View, jobs: Iterable[Job], room: int, defaults: Options, new_id: Callable[[], str], now: float
) -> Claims:
    """Choose which ready sets become jobs now.

    Sets that are to be refused always do; of the others only `room` many, so that the rest stays in the hands of
    whoever dropped it. A file that other sets name as well is copied; the last set that names it moves it, once
    every copy is made.
    """
    uses = dict(view.uses)
    copying = {f.source for job in jobs if job.state in (State.CLAIMED, State.FAILING) for f in job.files if f.shared}
    begun: list[Transition] = []
    waiting: list[tuple[ReadySet, str]] = []
    for ready in view.ready:
        shared = frozenset(path for path in ready.entries if uses[path] > 1)
        sources = {f"{INBOX}/{path}" for path in ready.entries if path not in shared}
        if sources & copying:
            waiting.append((ready, "waits until another set has copied a file that both name"))
        elif ready.problem is None and room < 1:
            waiting.append((ready, "complete, waits for its turn"))
        else:
            room -= ready.problem is None
            begun.append(_begin(ready, shared, defaults, new_id(), now))
            copying |= {f"{INBOX}/{path}" for path in shared}
            for path in ready.entries:
                uses[path] -= 1
    return Claims(tuple(begun), tuple(waiting))


def _begin(ready: ReadySet, shared: frozenset[str], defaults: Options, job_id: str, now: float) -> Transition:
    """Return the job that a set becomes: claimed, or on its way to `failed/`."""
    state = State.FAILING if ready.problem else State.CLAIMED
    layers: list[Options] = [defaults, *ready.presets, *([ready.sidecar] if ready.sidecar else [])]
    job = Job(
        id=job_id,
        name=ready.candidate.name,
        folder=ready.candidate.folder,
        state=state,
        files=tuple(
            InputFile(m.role, f"{INBOX}/{m.path}", ready.entries[m.path].signature, shared=m.path in shared)
            for m in ready.candidate.members
        ),
        options={} if ready.problem else layered(*layers),
        created_at=now,
        again=bool(ready.sidecar and ready.sidecar.again),
        not_before=now,
        times={state.value: now},
        problem=ready.problem,
    )
    return Transition(job, action=state.value, message=ready.problem.message if ready.problem else "")


def taken_paths(jobs: Iterable[Job]) -> frozenset[str]:
    """Return the paths below the inbox that belong to a job which is about to move them."""
    prefix = f"{INBOX}/"
    return frozenset(
        f.source.removeprefix(prefix)
        for job in jobs
        if job.state in (State.CLAIMED, State.FAILING)
        for f in job.files
        if not f.shared and f.source.startswith(prefix)
    )
