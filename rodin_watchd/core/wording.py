"""Amounts, instants, names and costs in words for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from rodin_watchd.core.layout import REPORT
from rodin_watchd.core.names import printable
from rodin_watchd.errors import Fault, OutcomeUnknownError
from rodin_watchd.model import Job, State

UNKNOWN = OutcomeUnknownError.code


WHO_CAN_ACT: Mapping[Fault, str] = {
    Fault.FILES: "the person who dropped the files",
    Fault.ACCOUNT: "the owner of the vendor account (credits, plan or key)",
    Fault.VENDOR: "the vendor",
    Fault.NETWORK: "the administrator of the network",
    Fault.MACHINE: "the administrator of the machine that runs the service",
    Fault.OWNER: "the person who configured the service",
    Fault.NOBODY: "nobody: a person asked for it",
}
"""Who can correct the cause, in words."""


def cost(job: Job) -> str:
    """Say in words what a job cost."""
    spent = job.spent
    sure = in_credits(spent) if spent else "no credits"
    return f"{sure}{'.' if is_cost_certain(job) else f' for certain, and {_perhaps(job)}.'}"


def _perhaps(job: Job) -> str:
    """Say what a job may have cost besides that."""
    doubts = []
    if _is_lost(job):
        doubts.append(f"{in_credits(job.price)} more if the last submit was accepted")
    if job.refused:
        times = "a submit" if job.refused == 1 else f"{job.refused} submits"
        most = in_credits(job.refused * job.price)
        doubts.append(
            f"{'' if job.refused == 1 else 'up to '}{most} more if the vendor charged {times} that it refused"
        )
    return ", and ".join(doubts)


def is_cost_certain(job: Job) -> bool:
    """Return whether it is known what a job cost."""
    return not (_is_lost(job) or job.refused)


def _is_lost(job: Job) -> bool:
    return job.problem is not None and job.problem.code == UNKNOWN


def in_credits(amount: Decimal) -> str:
    """Say an amount of credits exactly, without needless zeros: `0.5 credits`, `1 credit`, `10 credits`."""
    return f"{format(amount.normalize(), 'f')} {'credit' if amount == 1 else 'credits'}"


def warnings(job: Job) -> list[str]:
    """Return what of a job's files may make the vendor fail, in a sentence each."""
    return [f"“{printable(file.name)}”: {warning}." for file in job.files for warning in file.warnings]


def advice(job: Job) -> str:
    """Return what to do about a job's problem, with its id, and its hold, where a command wants them; "" without a problem."""
    if job.problem is None:
        return ""
    found = job.problem.advice
    if job.state is State.HELD:
        found = found.replace("resolve JOB`", f"resolve {job.id} --hold {job.holds}`")
    return found.replace(" JOB`", f" {job.id}`")


def instant(at: float) -> datetime:
    """Return an instant as TOML writes it: UTC, whole milliseconds."""
    return datetime.fromtimestamp(round(at, 3), UTC)


def local(at: float, zone: tzinfo) -> str:
    """Return an instant for people: local time with its zone."""
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def set_name(folder: str, name: str) -> str:
    """Return a set's name with its folder, for people."""
    return printable(f"{folder}/{name}" if folder else name)


def of_originals(job: Job) -> str:
    """Say of a set that stays in the inbox, because the service may not remove it, what came of the job that copied it."""
    place = printable(job.place)
    if job.state is State.FAILED:
        return (
            f"failed; {place}/{REPORT} says why. To try again, correct the files here: what you change is a new set. The service "
            "cannot remove them from here; you can."
        )
    if job.state in (State.ARCHIVED, State.DELIVERED):
        return f"done: the result is in {place}. The service cannot remove the files from here; you can delete them."
    if job.state is State.RETURNED:
        return "failed; the files that were corrected in failed/ are a set of their own. You can delete these."
    return "is being worked on, as a copy; the service cannot remove the files from here."


def changed_inputs(job: Job) -> list[str]:
    """Say which files of a set were changed after they were taken, and what to do if the changes count."""
    return [
        f"“{printable(file.name)}” was changed after it was taken: the result is made of what it was before. The changed file is "
        "kept in archive/; to have a result of it, drop the set from there into the inbox again."
        for file in job.files
        if file.changed
    ]
