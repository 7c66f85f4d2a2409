"""What people are told when a result that was paid for may be lost at the vendor. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

from rodin_watchd.core.receipt import local
from rodin_watchd.core.retention import is_alarming, kept_until
from rodin_watchd.core.status import set_name
from rodin_watchd.model import Job

ALARM = "alarm"
"""The action of the event that is written once for each job."""


def alarm(job: Job, zone: tzinfo) -> str:
    """Say what is about to be lost."""
    until = local(kept_until(job) or 0.0, zone)
    return (
        f"The result of “{set_name(job.folder, job.name)}” is paid for and not fetched yet; the vendor keeps it until "
        f"about {until}. `rodin-watchd show {job.id}` tells what keeps it from coming."
    )


def alarms(jobs: Iterable[Job], now: float, zone: tzinfo) -> list[str]:
    """Return what STATUS.txt says, the most pressing first."""
    pressing = [job for job in jobs if is_alarming(job, now)]
    return [alarm(job, zone) for job in sorted(pressing, key=lambda job: (kept_until(job) or 0.0, job.id))]
