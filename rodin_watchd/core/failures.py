"""Failed sets until they are dealt with: delivered after all, or cleared out of `failed/`. Pure functions on frozen values.

A job that failed stays failed: its history, its cost and its report are kept. It only leaves the lists for people. What an
artist takes for the same set has the same name in the same folder, whatever its bytes are now, or the same content under any name.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from rodin_watchd.core.layout import ARCHIVE
from rodin_watchd.core.names import match_key
from rodin_watchd.errors import AlreadyDoneError
from rodin_watchd.model import Job, State

MOST_FAILED: Final = 200
"""So many of the newest failed sets are known to those that list them, and may turn out to be resolved."""


def is_already_done(job: Job) -> bool:
    """Return whether a set was not taken because its result is in the outbox: nobody has to do anything."""
    return job.state is State.FAILED and job.problem is not None and job.problem.code == AlreadyDoneError.code


def is_cleared(job: Job) -> bool:
    """Return whether a person has cleared the folder of a failed set: it is in the archive."""
    return job.state is State.FAILED and job.place.startswith(f"{ARCHIVE}/")


def is_open(job: Job) -> bool:
    """Return whether a set has failed, and was neither delivered since nor cleared."""
    return job.state is State.FAILED and not job.resolved and not is_cleared(job)


def is_resolved(job: Job) -> bool:
    """Return whether a failed set's folder is of no use any more: the set was delivered, before or since."""
    return job.state is State.FAILED and not is_cleared(job) and (bool(job.resolved) or is_already_done(job))


def resolves(delivered: Job, failed: Job) -> bool:
    """Return whether a delivered set is one that had failed before it was taken (up)."""
    taken_at = delivered.times.get(State.CLAIMED.value, delivered.created_at)
    if taken_at < failed.since_at:
        return False
    contents = {delivered.fingerprint, delivered.dropped} & {failed.fingerprint, failed.dropped}
    return _is_named_alike(delivered, failed) or bool(contents - {""})


def _is_named_alike(delivered: Job, failed: Job) -> bool:
    """Return whether an artist takes both for one set; a set that failed as a whole is one with each of its jobs."""
    names = {match_key(delivered.title), match_key(delivered.name)}
    return match_key(delivered.folder) == match_key(failed.folder) and match_key(failed.title) in names


def newest_results(delivered: Iterable[Job], failed: Iterable[Job], limit: int) -> tuple[Job, ...]:
    """Return the newest of these that people still read of as results, the newest first."""
    found = sorted((*delivered, *filter(is_open, failed)), key=lambda job: job.since_at, reverse=True)
    return tuple(islice(found, limit))
