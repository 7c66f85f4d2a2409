"""Leaving a command for the daemon about what a person saw, and waiting a while for its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from rodin_watchd.cli.context import daemon_of, leave_command
from rodin_watchd.config import Config
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.store import StoreReader
from rodin_watchd.service.commands import CANCEL, JOB_VERBS, SEEN

ANSWER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1


def ask_about(
    config: Config, journal: StoreReader, verb: str, job_id: str, seen: Seen, arguments: Mapping[str, Any]
) -> int:
    """Leave a command about one job as somebody saw it, and return its number. Raises CommandRefusedError, JournalError."""
    job = journal.find(job_id)
    # What does not fit the job now will not later, but for a `cancel` that a running daemon judges when a step has ended.
    if Seen.of(job) == seen and (verb != CANCEL or daemon_of(config) is None):
        JOB_VERBS[verb](job, arguments, time.time())
    return leave_command(config, verb, {**arguments, "job": job.id, SEEN: seen.as_data()}, once=True)


def answer_to(config: Config, journal: StoreReader, number: int) -> Mapping[str, Any] | None:
    """Wait for the daemon's answer for a while; None where none came, or no daemon runs."""
    if daemon_of(config) is None:
        return journal.answer(number)
    until = time.monotonic() + ANSWER_SECONDS
    while (answer := journal.answer(number)) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return answer
