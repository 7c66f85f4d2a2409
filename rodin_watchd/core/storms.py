"""Storms: while the vendor loses answers, one submit after the other would become a job that a person has to look at.

So each unknown outcome pauses the submits, twice as long as the one before, up to an hour; a submit that is answered ends
that. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from rodin_watchd.core.machine import RESTING
from rodin_watchd.core.pauses import FIRST_WAIT_SECONDS, Pauses, is_over, renewed
from rodin_watchd.core.schedule import backoff_seconds
from rodin_watchd.errors import UnansweredSubmitError
from rodin_watchd.model import Job, State
from rodin_watchd.problem import Fault, Lane

LONGEST_WAIT_SECONDS = 3600.0

_TO_SEND = frozenset({State.CLAIMED, State.STAGED, State.UPLOADING, State.SUBMITTING})


def after_unknown(pauses: Pauses, now: float, chance: float) -> Pauses:
    """Return the pauses after a submit whose outcome is unknown."""
    old = pauses.get(Lane.SUBMIT)
    tries = old.tries + 1 if old else 1
    wait = backoff_seconds(tries, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, chance)
    return renewed(pauses, UnansweredSubmitError(retry_after_seconds=wait).problem, now, chance)


def calmed(pauses: Pauses, jobs: Iterable[Job], now: float) -> Pauses:
    """Return the pauses without those that are over and that nothing waits for: people need not read of them for ever.

    That is one of the submits when nothing is to be sent, and any when nothing moves at all: whatever comes next finds out
    for itself. One that the account's owner has to end stays.
    """
    if not pauses:
        return pauses
    states = {job.state for job in jobs}
    idle = set(Lane) if states <= RESTING else set()
    idle |= {Lane.SUBMIT} if states.isdisjoint(_TO_SEND) else set()
    return {
        lane: pause
        for lane, pause in pauses.items()
        if lane not in idle or pause.problem.fault is Fault.ACCOUNT or not is_over(pause, now)
    }
