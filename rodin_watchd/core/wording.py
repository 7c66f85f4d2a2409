"""Amounts, instants, names and costs in words for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Final

from rodin_watchd.core.layout import REPORT
from rodin_watchd.core.names import printable
from rodin_watchd.errors import TOML, Fault, Lane, OutcomeUnknownError, Problem
from rodin_watchd.model import Job, Role, State

UNKNOWN = OutcomeUnknownError.code


WHO_CAN_ACT: Mapping[Fault, str] = {
    Fault.FILES: "you, who dropped the files",
    Fault.ACCOUNT: "the person who runs the service (in the vendor's account: credits, plan or key)",
    Fault.VENDOR: "the vendor; the person who runs the service can ask them",
    Fault.NETWORK: "the person who runs the service (it is about the network)",
    Fault.MACHINE: "the person who runs the service (it is about their computer)",
    Fault.OWNER: "the person who runs the service (it is about their settings)",
    Fault.NOBODY: "nobody: a person asked for it",
}
"""Who can correct the cause, in words."""


def cost(job: Job) -> str:
    """Say in words what a job cost, or may have cost."""
    doubts = _doubts(job)
    known = [in_credits(job.spent)] if job.spent else [] if doubts else ["no credits"]
    return f"{'; and '.join([*known, *doubts])}."


def _doubts(job: Job) -> list[str]:
    """Say what a job may have cost besides what is known."""
    more, doubts = " more" if job.spent else "", []
    if _is_lost(job):
        doubts.append(f"perhaps {in_credits(job.price)}{more}, if the vendor accepted the last try")
        more = " more"
    if job.refused:
        tries = "a try" if job.refused == 1 else f"{job.refused} tries"
        most = f"{'' if job.refused == 1 else 'up to '}{in_credits(job.refused * job.price)}"
        doubts.append(f"perhaps {most}{more}, if the vendor charged for {tries} that it refused")
    return doubts


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
    """Return what whoever dropped a set can do about its problem, with the names of its files; "" without a problem."""
    return with_names(job.problem.advice, job) if job.problem else ""


def command(job: Job) -> str:
    """Return what the person who runs the service can do about a job's problem, with what a command wants; "" for nothing."""
    return with_names(job.problem.command, job) if job.problem else ""


def advice_in_full(job: Job) -> str:
    """Return what all people can do about a job's problem; "" without a problem."""
    return f"{advice(job)} {command(job)}".strip()


def with_names(text: str, job: Job) -> str:
    """Put the job's id, its hold, and the name of its TOML file in the place of the words that stand for them."""
    if job.state is State.HELD:
        text = text.replace("resolve JOB", f"resolve {job.id} --hold {job.holds}")
    toml = job.file(Role.SIDECAR)
    return text.replace(" JOB", f" {job.id}").replace(TOML, printable(toml.name if toml else f"{job.name}.toml"))


def a_list(words: Sequence[str], last: str) -> str:
    """Return words as a list in a sentence, `last` before the last one: `a, b or c`."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def sentences(text: str) -> str:
    """Return the mistakes of a message, each on a line of its own, as sentences on one line."""
    lines = filter(None, (line.strip() for line in text.splitlines()))
    return " ".join(line if line.endswith((".", "!", "?", ":")) else f"{line}." for line in lines)


def page_notice(problem: Problem) -> str:
    """Return what whoever drops files must know of a problem of the service: who acts, and that no file is lost."""
    message = _CANNOT.get(problem.lane, _CANNOT_WORK) if problem.fault in _INSIDE else sentences(problem.message)
    return f"{message} {_WHO_ACTS[problem.fault]} Your files are safe."


_INSIDE: Final = frozenset({Fault.MACHINE, Fault.OWNER})
"""Faults whose cause is a matter of administrators: `status`, `check` and the log name it."""

_CANNOT_WORK: Final = "The service cannot work at the moment."
_CANNOT: Final[Mapping[Lane | None, str]] = {
    Lane.SUBMIT: "The service cannot send anything to the vendor at the moment.",
    Lane.REFUSALS: "The service cannot send anything to the vendor at the moment.",
    Lane.TAKING: "The service cannot take new files at the moment.",
    Lane.ROOM: "The service has too little disk space.",
    Lane.OUTBOX: "The service cannot write into outbox/ at the moment.",
    Lane.FAILED: "The service cannot write into failed/ at the moment.",
    Lane.ARCHIVE: "The service cannot write into archive/ at the moment.",
}


_TELL: Final = "Tell the person who runs the service."
_BY_ITSELF: Final = "Nobody has to do anything: the service goes on by itself."
_WHO_ACTS: Final[Mapping[Fault, str]] = {
    Fault.FILES: _TELL,
    Fault.ACCOUNT: "Tell the person who runs the service: they can look into the vendor's account.",
    Fault.VENDOR: _BY_ITSELF,
    Fault.NETWORK: f"The service tries again by itself. If this stays so for long: {_TELL[0].lower()}{_TELL[1:]}",
    Fault.MACHINE: _TELL,
    Fault.OWNER: _TELL,
    Fault.NOBODY: _BY_ITSELF,
}


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
