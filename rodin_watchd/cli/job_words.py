"""A job in words and as data, for people and programs at the command line. No secret of a job is ever told."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import tzinfo
from typing import Any

from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import WHOSE, advice, cost, is_cost_certain, local
from rodin_watchd.core.status import DOING, doing, set_name
from rodin_watchd.model import Event, InputFile, Job, ServiceEvent, State


def since_at(job: Job) -> float:
    """Return when the job came into its state, UTC."""
    return job.times.get(job.state.value, job.created_at)


# ---- as data --------------------------------------------------------------------------------------------------------


def brief(job: Job) -> dict[str, Any]:
    """Return what `list --json` tells of a job."""
    return {
        "id": job.id,
        "set": job.name,
        "folder": job.folder,
        "state": job.state.value,
        "hold": job.holds if job.state is State.HELD else None,
        "created_at": job.created_at,
        "since_at": since_at(job),
        "credits": job.spent,
        "cost_is_certain": is_cost_certain(job),
        "place": job.place or None,
        "problem": job.problem.message if job.problem else None,
    }


def whole(job: Job, events: Iterable[Event], meanwhile: Iterable[ServiceEvent] = ()) -> dict[str, Any]:
    """Return what `show --json` tells of a job: all but the subscription key and the vendor's raw answer."""
    return {
        **brief(job),
        "files": [_file_data(file) for file in job.files],
        "options": dict(job.options),
        "again": job.again,
        "consent": job.consent or None,
        "fingerprint": job.fingerprint or None,
        "times": dict(job.times),
        "retries": job.retries,
        "attempts": job.attempts,
        "not_before": job.not_before,
        "deadline": job.deadline,
        "task": {"uuid": job.task.uuid, "submitted_at": job.task.submitted_at} if job.task else None,
        "progress": job.progress or None,
        "results": [asdict(result) for result in job.results],
        "problem": _problem_data(job),
        "events": [
            {"at": e.at, "action": e.action, "state": e.state.value, "message": e.message, "code": e.code}
            for e in events
        ],
        "service_events": [asdict(event) for event in meanwhile],
    }


def _file_data(file: InputFile) -> dict[str, Any]:
    return {
        "role": file.role.value,
        "name": file.name,
        "source": file.source,
        "bytes": file.signature.size,
        "sha256": file.sha256 or None,
        "shared": file.shared,
    }


def _problem_data(job: Job) -> dict[str, Any] | None:
    problem = job.problem
    if problem is None:
        return None
    return {
        "code": problem.code,
        "fault": problem.fault.value,
        "message": problem.message,
        "advice": problem.advice,
    }


# ---- in words -------------------------------------------------------------------------------------------------------

HEADINGS = ("ID", "SET", "STATE", "SINCE", "CREDITS", "PLACE")


def row(job: Job, zone: tzinfo) -> tuple[str, ...]:
    """Return a job's row of the table that `list` prints."""
    doubt = "" if is_cost_certain(job) else "?"
    since = local(since_at(job), zone)
    spent = f"{job.spent}{doubt}"
    return (job.id, set_name(job.folder, job.name), doing(job), since, spent, printable(job.place) or "-")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns, as a terminal shows them."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _cells(text: str) -> int:
    """Return how many columns a text takes (Unicode Standard Annex 11; marks combine with what is before them)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def page(job: Job, events: Sequence[Event], meanwhile: Sequence[ServiceEvent], zone: tzinfo) -> str:
    """Return all that is known of a job, and its history with what happened to the service meanwhile, for people."""
    facts = [
        ("Set", set_name(job.folder, job.name)),
        ("Job", f"{job.id}, since {local(job.created_at, zone)}"),
        ("State", f"{DOING[job.state]} ({_state(job)}), since {local(since_at(job), zone)}"),
        *_trouble(job, zone),
        ("Cost", cost(job)),
        *([("Place", printable(job.place))] if job.place else []),
        *([("Task", f"{printable(job.task.uuid)} at the vendor")] if job.task else []),
        *([("Progress", job.progress)] if job.progress else []),
        ("Options", ", ".join(f"{key} = {_plain(value)}" for key, value in job.options.items()) or "the vendor's own"),
        *(("Input", _file_words(file)) for file in job.files),
        *(("Result", f"{printable(r.name)}, {r.size:,} bytes, sha256 {r.sha256}") for r in job.results),
    ]
    told = "\n".join(f"{name + ':':<13}{text}" for name, text in facts)
    return f"{told}\n\nHistory\n{_history(events, meanwhile, zone)}"


def _state(job: Job) -> str:
    return f"{job.state}, hold {job.holds}" if job.state is State.HELD else job.state.value


def _trouble(job: Job, zone: tzinfo) -> list[tuple[str, str]]:
    if job.problem is None:
        return []
    told = [
        ("Problem", _plain(job.problem.message)),
        ("Who can mend", WHOSE[job.problem.fault]),
        ("What to do", _plain(advice(job))),
    ]
    again = [("Next try", f"{local(job.not_before, zone)}, after {job.attempts} that failed")] if job.attempts else []
    return [*told, *again]


def _file_words(file: InputFile) -> str:
    digest = f", sha256 {file.sha256}" if file.sha256 else ""
    shared = ", shared with other sets" if file.shared else ""
    return f"{file.role}: {printable(file.source)}, {file.signature.size:,} bytes{digest}{shared}"


def _history(events: Sequence[Event], meanwhile: Sequence[ServiceEvent], zone: tzinfo) -> str:
    own = [(e.at, e.action, e.message) for e in events]
    told = sorted([*own, *((e.at, "(service)", f"{e.kind}: {e.message}") for e in meanwhile)], key=lambda row: row[0])
    rows = [(f"  {local(at, zone)}", action, _plain(message)) for at, action, message in told]
    return table(rows) if rows else "  nothing yet"


def _plain(value: object) -> str:
    """Return text on one line, whatever was in it."""
    return printable(str(value), limit=2000)
