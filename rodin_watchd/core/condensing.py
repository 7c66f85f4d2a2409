"""Old jobs: what of a job stays in the journal when its details are in the archive file, and what can be asked of it then. Pure."""

from __future__ import annotations

from dataclasses import replace

from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Job, State


def condensed(job: Job, now: float) -> Job:
    """Return what the journal keeps of an old job: all that lists show, and all that decides whether its content is paid for again.

    The task of a failed job is in the archive file alone: its result is not at the vendor any more.
    """
    return replace(
        job,
        files=(),
        options={},
        asked=None,
        variants=(),
        plugins={},
        facts={},
        results=(),
        processed=(),
        answer=None,
        progress="",
        task=None if job.state is State.FAILED else job.task,
        times={job.state.value: job.since_at},
        condensed_at=now,
    )


def refuse_condensed(job: Job) -> None:
    """Raise CommandRefusedError for a job whose details are in the archive file: it can be read, and not changed."""
    if job.condensed_at:
        raise CommandRefusedError(
            f"Job {job.id} ended long ago, and its details were moved to the archive file (store.keep_days): it can be shown, "
            "but not changed.",
            advice="Drop the set into the inbox again, if you need it once more.",
        )
