"""Storms: while the vendor loses answers, one submit after the other would become a job that a person has to look at.

So each unknown outcome pauses the submits, twice as long as the one before, up to an hour; a submit that is answered ends
that. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    """Return the pauses without one of the submits that is over and that nothing waits for: people need not read of it.

    One that the account's owner has to end stays.
    """
    pause = pauses.get(Lane.SUBMIT)
    if pause is None or pause.problem.fault is Fault.ACCOUNT or not is_over(pause, now):
        return pauses
    if any(job.state in _TO_SEND for job in jobs):
        return pauses
    return {lane: pause for lane, pause in pauses.items() if lane is not Lane.SUBMIT}
