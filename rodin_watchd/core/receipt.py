"""What a job leaves behind in words: the receipt of a delivery, and the report of a failure."""

from __future__ import annotations

import hashlib
from datetime import tzinfo
from typing import Any

import tomli_w

from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.names import printable
from rodin_watchd.core.toml_text import loaded
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import (
    WHO_CAN_ACT,
    advice,
    advice_in_full,
    changed_inputs,
    command,
    cost,
    instant,
    is_cost_certain,
    local,
    sentences,
    warnings,
)
from rodin_watchd.errors import Problem
from rodin_watchd.model import Job, State

_SOFTWARE = "rodin_watchd "
_SEAL, _SEAL_END = '\n[unchanged]\nsha256 = "', '"\n'


NO_PREVIEW = (
    "There is no preview.webp: the vendor did not list one, or it could not be downloaded. The model is complete."
)


def is_preview(name: str) -> bool:
    """Return whether a result is the picture of the model, by its name (API contract, Download Results)."""
    return name.lower().endswith("preview.webp")


def receipt(job: Job, version: str, now: float) -> str:
    """Return the text of `job.toml`: what went in, what was asked, what it cost, what came out. Holds no secret."""
    results = [
        {"name": r.name, "bytes": r.size, "sha256": r.sha256, "original_name": _text(r.original_name)}
        for r in job.published
    ]
    found = _facts_of(job, version, now)
    if job.batch:
        found["job"]["chosen"] = job.chosen
    if job.then:
        found["job"]["then"] = job.then.job_id
    if notes := _notes(job):
        found["job"]["notes"] = notes
    return sealed(tomli_w.dumps({**found, "results": results, **({"plugins": dict(job.facts)} if job.facts else {})}))


def with_choice(data: bytes, job: Job) -> bytes:
    """Return the bytes of a receipt with whether its job is chosen; b"" if it is not this job's, or somebody has changed it.

    All else in it stays as it is: it is about the delivery.
    """
    if not is_as_written(data) or job_named_in(data) != (job.id, job.retries):
        return b""
    found = loaded(data.rpartition(_SEAL.encode())[0])
    if found["job"].get("chosen", False) is job.chosen:
        return data
    found["job"]["chosen"] = job.chosen
    return sealed(tomli_w.dumps(found)).encode()


def _notes(job: Job) -> list[str]:
    """Return what people must know of the results, and of the files that were sent."""
    has_preview = not (job.results and kind_of(job).has_preview) or any(
        is_preview(result.name) for result in job.results
    )
    unlisted = [
        f"“{printable(result.name)}” was downloaded completely; later the vendor did not list it any more."
        for result in job.results
        if result.unlisted
    ]
    flaws = [f"{job.flaw} What it had made was complete, and is here; please look at it."] if job.flaw else []
    return [
        *flaws,
        *([] if has_preview else [NO_PREVIEW]),
        *unlisted,
        *changed_inputs(job),
        *map(_text, warnings(job)),
    ]


def report_toml(job: Job, version: str, now: float, notes: tuple[str, ...] = (), *, text: str = "") -> str:
    """Return the text of `report.toml`: the failure for programs. `text` is that of the `REPORT.txt` next to it."""
    problem = _problem(job)
    found = _facts_of(job, version, now)
    found["job"]["cost_is_certain"] = is_cost_certain(job)
    found["problem"] = {
        "code": problem.code,
        "fault": problem.fault.value,
        "message": _text(problem.message),
        "advice": _text(advice_in_full(job)),
        "notes": [_text(n) for n in (*notes, *warnings(job))],
    }
    found["report"] = {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    return sealed(tomli_w.dumps(found))


def sealed(text: str) -> str:
    """Return the text of a receipt or report with a last table that holds its digest: so it is known whether anybody edited it."""
    return f"{text}{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}{_SEAL_END}"


def is_as_written(data: bytes) -> bool:
    """Return whether these are the bytes of a receipt or report that nobody has changed since; never raises."""
    text, seal, found = data.rpartition(_SEAL.encode())
    return bool(seal) and found == f"{hashlib.sha256(text).hexdigest()}{_SEAL_END}".encode()


def _facts_of(job: Job, version: str, now: float) -> dict[str, Any]:
    """Return what receipts and reports have in common."""
    fields: dict[str, Any] = {
        "job": {
            "id": job.id,
            "kind": job.kind,
            "retries": job.retries,
            "set": _text(job.name),
            "folder": _text(job.folder),
            "credits": job.spent,
            "software": f"{_SOFTWARE}{version}",
            "written_at": instant(now),
        },
        "options": dict(job.options),
        "times": _times(job),
        "inputs": _inputs(job),
    }
    if job.batch and job.batch.folder:
        fields["job"] |= {"batch": job.batch.id, "variant": _text(job.batch.label), "of": job.batch.count}
    if job.follows:
        fields["job"]["follows"] = job.follows
    if job.task:
        fields["task"] = {"uuid": _text(job.task.uuid), "submitted_at": instant(job.task.submitted_at)}
    return fields


def is_ours(data: bytes) -> bool:
    """Return whether a file is a receipt or a report of this service; never raises, whatever the bytes are."""
    try:
        software = loaded(data)["job"]["software"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(software, str) and software.startswith(_SOFTWARE)


def job_named_in(data: bytes) -> tuple[object, object] | None:
    """Return the job's id and retry that a receipt or report names; None if it is none. Anybody may have written it."""
    try:
        job = loaded(data)["job"]
        return job["id"], job["retries"]
    except (ValueError, KeyError, TypeError):
        return None


def report_text(job: Job, now: float, zone: tzinfo, notes: tuple[str, ...] = ()) -> str:
    """Return the text of `REPORT.txt`: cause, fault, cost and what to do next, for whoever dropped the set."""
    problem = _problem(job)
    task = f" The vendor's task is {plain(job.task.uuid)}." if job.task else ""
    lines = [
        f"“{printable(job.title)}” was not {kind_of(job).done}.",
        "",
        *_paragraph("What happened:", "\n".join(map(sentences, problem.message.splitlines()))),
        *_paragraph("Who can act:", WHO_CAN_ACT[problem.fault]),
        *_paragraph("What it cost:", cost(job)),
        *_paragraph("What to do:", advice(job)),
        *(_paragraph("Administrator:", command(job)) if command(job) else []),
        *(line for note in (*notes, *warnings(job), *_before(job)) for line in _paragraph("Note:", note)),
        "",
        f"Job {job.id}, {local(now, zone)}.{task}",
    ]
    return "\n".join(lines) + "\n"


def _before(job: Job) -> list[str]:
    """Return what people must know of the job that this one follows."""
    if not job.follows:
        return []
    return [f"It was to go on from the result of job {job.follows}. That one was delivered, and stays delivered."]


def _paragraph(label: str, text: str) -> list[str]:
    """Return labelled text, further lines indented: what comes from outside cannot pass for a label."""
    lines = [plain(line, _LONGEST_LINE) for line in text.splitlines()] or [""]
    return [f"{head:<16}{line}" for head, line in zip((label, *[""] * (len(lines) - 1)), lines, strict=True)]


_LONGEST_LINE = 500


def _problem(job: Job) -> Problem:
    if job.problem is None:
        raise ValueError("a failed job has a problem")
    return job.problem


def _times(job: Job) -> dict[str, Any]:
    order = {state.value: number for number, state in enumerate(State)}
    reached = {"created": instant(job.created_at)}
    return reached | {state: instant(job.times[state]) for state in sorted(job.times, key=lambda s: order[s])}


def _inputs(job: Job) -> list[dict[str, Any]]:
    return [
        {"role": f.role.value, "name": _text(f.name), "bytes": f.signature.size}
        | ({"sha256": f.sha256} if f.sha256 else {})
        | ({"changed_to_sha256": f.changed} if f.changed else {})
        for f in job.files
    ]


def _text(text: str) -> str:
    """Return text that UTF-8 and TOML can hold."""
    return text.encode("utf-8", "backslashreplace").decode()
