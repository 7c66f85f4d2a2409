"""Leaving commands for the daemon, each about what a person saw, and waiting for its answers.

What a command is about is left with it, so what has changed by the time that the daemon reads it is not what was decided about.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from rodin_watchd.adapters.store import factory
from rodin_watchd.client.journal import daemon_of, place_of
from rodin_watchd.config import Config
from rodin_watchd.core.commands import Seen, named
from rodin_watchd.core.condensing import refuse_condensed
from rodin_watchd.core.store import StoreReader
from rodin_watchd.model import Job
from rodin_watchd.service.commands import CANCEL, JOB_VERBS, SEEN

ANSWER_SECONDS: Final = 5.0
"""How long a command waits for the daemon's answer."""

LOOK_SECONDS: Final = 0.1
"""The journal is asked for the answer so often."""

NO_ANSWER: Final = (
    "The service has not answered yet: it first ends the job's running step. "
    "`rodin-watchd status` and `show` say what happened."
)


def leave_command(config: Config, verb: str, arguments: Mapping[str, Any]) -> int:
    """Leave a command, and return its number; one about a job not while the same waits for the same job.

    Raises JournalError, CommandRefusedError.
    """
    return factory.leave_command(place_of(config), verb, dict(arguments), time.time(), once=verb in JOB_VERBS)


def refuse_unfit(config: Config, job: Job, verb: str, arguments: Mapping[str, Any]) -> None:
    """Raise CommandRefusedError for what does not fit a job now: it will not later, either.

    But for a `cancel`, which a running daemon judges when the job's step has ended.
    """
    refuse_condensed(job)
    if verb in JOB_VERBS and (verb != CANCEL or daemon_of(config) is None):
        with named(job):
            JOB_VERBS[verb](job, arguments, time.time())


def about(job_id: str, seen: Seen, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a command about one job as somebody saw it."""
    return {**arguments, "job": job_id, SEEN: seen.as_data()}


def answer_to(journal: StoreReader, number: int, seconds: float = ANSWER_SECONDS) -> Mapping[str, Any] | None:
    """Wait for the daemon's answer for so long; None where none came."""
    until = time.monotonic() + seconds
    while (answer := journal.answer(number)) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return answer
