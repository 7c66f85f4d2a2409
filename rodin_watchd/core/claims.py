"""From sets that are ready to jobs: who goes next, what is copied instead of moved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import islice, takewhile

from rodin_watchd.core.batches import Choice, choices, count, with_own
from rodin_watchd.core.kind_options import Options
from rodin_watchd.core.kinds import KINDS, Article, article
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.machine import claim
from rodin_watchd.core.sets import ReadySet, View
from rodin_watchd.core.sidecar import Preset, layered, layered_of_sequel, sequel_of
from rodin_watchd.core.wording import in_credits
from rodin_watchd.model import (
    Batch,
    Entry,
    InputFile,
    Job,
    Original,
    Role,
    Sequel,
    Signature,
    State,
    Transition,
    Variant,
)


class Turn(StrEnum):
    """Why a set that is ready is not claimed yet, for people."""

    ROOM = "complete, waits until it is taken"
    COPY = "waits until another set has copied a file that both sets name"
    PAUSED = "complete, but the service is paused"
    APPROVAL = "complete, waits until the person who runs the service approves it"
    BUDGET = "complete, waits for another day: today's budget is spent"


MOVING = frozenset({Turn.ROOM, Turn.COPY})
"""What ends without a person, and before another day."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The jobs to begin, and the sets that have to wait for their turn, with the reason.

    `crowded` says whether any waits for room, `blocked` holds the paths of each set that waits for a copy.
    """

    begun: tuple[Transition, ...] = ()
    waiting: tuple[tuple[ReadySet, Turn], ...] = ()
    crowded: bool = False
    blocked: tuple[AbstractSet[str], ...] = ()

    def is_copied(self, jobs: Iterable[Job]) -> bool:
        """Return whether a set that waits for a copy may have its turn now."""
        copying = copied_paths(jobs) if self.blocked else frozenset()
        return any(copying.isdisjoint(paths) for paths in self.blocked)

    def next_in_turn(self, uses: Mapping[str, int], room: int) -> tuple[ReadySet, ...]:
        """Return the sets that wait for room alone and are next, `room` of them at most; () where the first one shares a file.

        What shares a file is decided about with all sets that name it.
        """
        first = islice(self.waiting, max(room, 0))
        alone = takewhile(lambda one: one[1] is Turn.ROOM and all(uses[path] == 1 for path in one[0].entries), first)
        return tuple(ready for ready, _ in alone)

    def begin(self, chosen: Sequence[ReadySet], defaults: Options, new_id: Callable[[], str], now: float) -> Claims:
        """Return what the claims are when these, which were the `next_in_turn`, are claimed."""
        begun = tuple(_begin(ready, frozenset(), defaults, new_id, now) for ready in chosen)
        waiting = self.waiting[len(chosen) :]
        return replace(self, begun=begun, waiting=waiting, crowded=any(turn is Turn.ROOM for _, turn in waiting))


def claims(
    view: View, jobs: Iterable[Job], room: int, defaults: Options, new_id: Callable[[], str], now: float
) -> Claims:
    """Choose which ready sets become jobs now.

    Sets that are to be refused always do; of the others only `room` many, so that the rest stays in the hands of
    whoever dropped it. A file that other sets name as well is copied; the last set that names it moves it, once
    every copy is made.
    """
    uses = dict(view.uses)
    copying = set(copied_paths(jobs))
    begun: list[Transition] = []
    waiting: list[tuple[ReadySet, Turn]] = []
    for ready in view.ready:
        shared = frozenset(path for path in ready.entries if uses[path] > 1)
        if copying & (ready.entries.keys() - shared):
            waiting.append((ready, Turn.COPY))
        elif ready.problem is None and room < 1:
            waiting.append((ready, Turn.ROOM))
        else:
            room -= ready.problem is None
            begun.append(_begin(ready, shared, defaults, new_id, now))
            copying |= shared
            for path in ready.entries:
                uses[path] -= 1
    crowded = any(turn is Turn.ROOM for _, turn in waiting)
    blocked = tuple(ready.entries.keys() for ready, turn in waiting if turn is Turn.COPY)
    return Claims(tuple(begun), tuple(waiting), crowded, blocked)


def _begin(
    ready: ReadySet, shared: frozenset[str], defaults: Options, new_id: Callable[[], str], now: float
) -> Transition:
    """Return the job that a set becomes: claimed, or on its way to `failed/`. Of several it is the one that goes ahead."""
    first, *others = (Choice("", {}, ()),) if ready.problem else jobs_of(ready, defaults)
    files = tuple(
        InputFile(m.role, f"{INBOX}/{m.path}", ready.entries[m.path].signature, shared=ready.stays or m.path in shared)
        for m in ready.candidate.members
    )
    job_id = new_id()
    job = Job(
        id=job_id,
        name=ready.candidate.name,
        folder=ready.candidate.folder,
        state=State.CLAIMED,
        files=with_own(files, first.takes) if others else files,
        kind=ready.candidate.kind,
        options=first.options,
        plugins=ready.plugins,
        created_at=now,
        again=ready.sidecar.again if ready.sidecar else False,
        then=None if ready.problem else _sequel(ready, defaults, new_id),
        originals=tuple(Original(path, entry.signature, path in shared) for path, entry in _staying(ready)),
        batch=Batch(job_id, first.label, 1 + len(others)) if others else None,
        variants=tuple(
            Variant(new_id(), one.label, one.options, one.takes, _sequel(ready, defaults, new_id)) for one in others
        ),
    )
    return claim(job, ready.problem, now)


def _staying(ready: ReadySet) -> Iterable[tuple[str, Entry]]:
    return ready.entries.items() if ready.stays else ()


def _sequel(ready: ReadySet, defaults: Options, new_id: Callable[[], str]) -> Sequel | None:
    """Return what the result of a set goes on to, if its TOML files say so; with the first image, if they name no other."""
    said = _said(ready)
    name = sequel_of(KINDS[ready.candidate.kind], *said)
    if not name:
        return None
    images = (m.path for m in ready.candidate.members if m.role is Role.IMAGE)
    image = ready.candidate.then_image or next(images)
    return Sequel(new_id(), name, image.rpartition("/")[2], layered_of_sequel(name, defaults, *said))


def jobs_of(ready: ReadySet, defaults: Options) -> tuple[Choice, ...]:
    """Return the jobs that a set makes which is not to be refused; mostly one."""
    kind, said = KINDS[ready.candidate.kind], _said(ready)
    return choices(kind, _files(ready), said, layered(defaults, *said, kind=kind))


def _files(ready: ReadySet) -> list[tuple[Role, str]]:
    return [(member.role, member.name) for member in ready.candidate.members]


def wanted(ready: ReadySet, defaults: Options) -> tuple[Article, ...]:
    """Return what a set buys, by job."""
    return tuple(article(ready.candidate.kind, one.options) for one in jobs_of(ready, defaults))


def bill(ready: ReadySet, defaults: Options, price: Callable[[Article], Decimal]) -> str:
    """Say how many jobs a set makes and what they may cost together; "" for one job, whose price is known."""
    if ready.problem or count(KINDS[ready.candidate.kind], _files(ready), _said(ready)) < 2:
        return ""  # computed for each set that waits, after each look: the count alone is cheap
    articles = wanted(ready, defaults)
    return (
        f"it makes {len(articles)} {articles[0].noun}s, for {in_credits(sum(map(price, articles), Decimal(0)))} in all"
    )


def _said(ready: ReadySet) -> list[Preset]:
    """Return what the TOML files say for a set, the nearest last."""
    return [*ready.presets, *([ready.sidecar] if ready.sidecar else [])]


def copied_paths(jobs: Iterable[Job]) -> frozenset[str]:
    """Return the paths below the inbox that a job is about to copy; one that cannot be buried holds nobody up."""
    copying = (job for job in jobs if job.state is State.CLAIMED or (job.state is State.FAILING and not job.attempts))
    return frozenset(_inbox_paths(copying, shared=True))


def taken_paths(jobs: Iterable[Job]) -> frozenset[str]:
    """Return the paths below the inbox that belong to a live job: it is about to move them, or works on copies of them."""
    live = tuple(jobs)
    taking = (job for job in live if job.state in (State.CLAIMED, State.FAILING, State.RETURNING))
    staying = (original.path for job in live for original in job.originals if not original.shared)
    return frozenset(_inbox_paths(taking, shared=False)).union(staying)


def version_in_inbox(files: Iterable[Entry | Original]) -> frozenset[tuple[str, Signature]]:
    """Return what files of the inbox are known by that stay there: as soon as one of them changes, they are another set."""
    return frozenset((file.path, file.signature) for file in files)


def _inbox_paths(jobs: Iterable[Job], *, shared: bool) -> Iterable[str]:
    prefix = f"{INBOX}/"
    return (
        f.source.removeprefix(prefix)
        for job in jobs
        for f in job.files
        if f.shared is shared and f.source.startswith(prefix)
    )
