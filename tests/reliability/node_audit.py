"""What must be true once several daemons on one store have come to rest, whatever was done to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from crash_scene import DroppedSet
from crash_truth import (
    Kind,
    Placed,
    Violation,
    conserved,
    disputed_in,
    published,
    told_job,
    unwritten,
    why_held,
    wrong_set,
)
from ledgers import Leaves, Told, check_history, check_money
from nodes import Share, Site

from rodin_watchd.emulator.ledger import ChargeRow
from rodin_watchd.errors import RefusedOftenError
from rodin_watchd.model import Event, Job, State


class Sort(StrEnum):
    """How many jobs a dropped set makes, and whether it was dropped elsewhere, too."""

    SINGLE = "single"
    TWIN = "in both roots"
    SEVERAL = "three seeds"
    FOLLOWED = "generate, then texture"


@dataclass(frozen=True)
class Dropped:
    """A set, and where it was dropped."""

    share: Share
    dropped: DroppedSet
    sort: Sort = Sort.SINGLE


History = Mapping[str, tuple[Job, Sequence[Event]]]


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    violations: Sequence[Violation]
    ends: Counter[str]  # how the sets ended
    held: Counter[str]  # why jobs are held
    charges: int


def audit(site: Site, sets: Sequence[Dropped]) -> Verdict:
    """Compare the folders, the store and the vendor's ledger."""
    told, charges = site.told(), site.vendor.ledger()["charges"]
    histories = {share.number: share.history() for share in site.shares}
    found = list(conserved(site.shares, charges))
    found += _asserted(told, site)
    ends: Counter[str] = Counter()
    for share in site.shares:
        mine = [one for one in sets if one.share is share]
        jobs = [job for job, _ in histories[share.number].values()]
        found += unwritten(share, jobs)
        placed = Placed(share.root)
        disputed = disputed_in([one.dropped for one in mine], jobs, charges)
        for one in mine:
            ours = _became(one, jobs)
            found += _wrong(one, placed, ours, charges, disputed)
            ends[_end_of(ours)] += 1
    found += _wrong_twins(sets, histories)
    found += _delivered_twice(site)
    held = [
        (job, _why(events))
        for history in histories.values()
        for job, events in history.values()
        if job.state is State.HELD
    ]
    found += [Violation(Kind.WRONG, f"{job.name} (job {job.id}) is held for no reason") for job, why in held if not why]
    return Verdict(found, ends, Counter(why for _, why in held), len(charges))


def _became(one: Dropped, jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs that a set became: each set has a name of its own in its root."""
    return [job for job in jobs if job.name in (one.dropped.name, f"{one.dropped.name}-texture")]


def _asserted(told: Told, site: Site) -> Iterator[Violation]:
    """Check the history, and the record of purchases against the ledger."""
    try:
        check_history(Told({}, ()), told)
    except AssertionError as error:
        yield Violation(Kind.WRONG, f"the history: {error}")
    try:
        check_money(told, site.vendor.charges, Leaves())
    except AssertionError as error:
        yield Violation(Kind.DUPLICATE, f"the money: {error}")


def _wrong(
    one: Dropped, placed: Placed, jobs: list[Job], charges: Sequence[ChargeRow], disputed: set[str]
) -> Iterator[Violation]:
    dropped, states = one.dropped, Counter(job.state for job in jobs)
    if not jobs:
        yield Violation(Kind.LOST, f"{dropped.name} in root {one.share.number} is no job")
    elif one.sort is Sort.SINGLE:
        yield from wrong_set(placed, dropped, jobs, charges, disputed)
    elif states[State.HELD]:
        return
    elif one.sort is Sort.FOLLOWED and Counter(job.kind for job in jobs if job.state is State.ARCHIVED) != {
        "generate": 1,
        "texture": 1,
    }:
        yield Violation(Kind.LOST, f"{dropped.name}: one of two jobs is missing, or failed: {states}")
    elif one.sort is Sort.SEVERAL and states != {State.ARCHIVED: 3}:
        yield Violation(Kind.LOST, f"{dropped.name}: one of several jobs is missing, or failed: {states}")


def _wrong_twins(sets: Iterable[Dropped], histories: Mapping[int, History]) -> Iterator[Violation]:
    """Find sets that were dropped into both roots and delivered in both, or in none although nobody has to decide about it."""
    twins: dict[tuple[str | None, str], list[Job]] = {}
    for one in (one for one in sets if one.sort is Sort.TWIN):
        jobs = _became(one, [job for job, _ in histories[one.share.number].values()])
        twins.setdefault(one.dropped.bought, []).extend(jobs)
        if len(jobs) > 1:
            yield Violation(Kind.DUPLICATE, f"{one.dropped.name} became {len(jobs)} jobs in root {one.share.number}")
    for jobs in twins.values():
        states = Counter(job.state for job in jobs)
        if states[State.ARCHIVED] > 1:
            yield Violation(Kind.DUPLICATE, f"{jobs[0].name} was delivered in both roots")
        elif not states[State.ARCHIVED] + states[State.HELD]:
            yield Violation(Kind.LOST, f"{jobs[0].name} was delivered in neither root: {[job.problem for job in jobs]}")


def _why(events: Sequence[Event]) -> str:
    """Return why a job is held; "" if its history does not justify that."""
    newest = next((event for event in reversed(events) if event.state is State.HELD), None)
    if newest is not None and newest.code == RefusedOftenError.code:
        return "refused several times"
    return why_held(events)


def _delivered_twice(site: Site) -> Iterator[Violation]:
    owners = Counter(told_job(folder) for share in site.shares for folder in published(share.root, "outbox"))
    for job, count in owners.items():
        if count > 1:
            yield Violation(Kind.DUPLICATE, f"job {job} was delivered {count} times")


def _end_of(jobs: Sequence[Job]) -> str:
    """Return in a word how a set has ended."""
    states = {job.state for job in jobs}
    for state, word in ((State.HELD, "held"), (State.FAILED, "failed"), (State.ARCHIVED, "delivered")):
        if state in states:
            return word
    return ", ".join(sorted(states)) or "nothing"
