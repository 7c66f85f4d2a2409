"""Jobs as rows of the journal, and back.

A job is stored whole as an ASCII JSON document, next to the few columns that queries and invariants need. ASCII, because
file names that are not UTF-8 carry lone surrogates, which JSON escapes and SQLite's text columns refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rodin_watchd.core.approval import GateKey
from rodin_watchd.core.budget import top_folder
from rodin_watchd.core.dedup import of_set
from rodin_watchd.core.kinds import kind_of
from rodin_watchd.core.names import printable
from rodin_watchd.core.schedule import vendor_seconds
from rodin_watchd.errors import Problem
from rodin_watchd.model import (
    Answer,
    Batch,
    Event,
    InputFile,
    Job,
    OptionValue,
    Original,
    ResultFile,
    Role,
    Sequel,
    Signature,
    State,
    Task,
    Transition,
    Variant,
)

_PRICE_BEFORE_2: Final = Decimal("0.5")
"""What each submit cost, in credits, as far as the documents of version 1 knew: they do not say."""


def row(job: Job, changed_at: float) -> dict[str, Any]:
    """Return the columns of a job's row."""
    columns = {
        "id": job.id,
        "state": job.state.value,
        "name": printable(job.name),
        "folder": printable(job.folder),
        "top": top_folder(job.folder),
        "fingerprint": job.fingerprint,
        "kind": kind_of(job).duration_class(job.options),
        "vendor_seconds": vendor_seconds(job),
        "task_uuid": job.task.uuid if job.task else None,
        "charges": job.charges,
        "created_at": job.created_at,
        "changed_at": changed_at,
        "place": printable(job.place),
        "doc": document(job),
    }
    return {name: plain(value) for name, value in columns.items()}


def document(job: Job) -> str:
    """Return a job as it is stored, whole."""
    return json.dumps(job, default=_as_plain, separators=(",", ":"))


def job(doc: str) -> Job:
    """Return the job of a stored document."""
    data = json.loads(doc)
    return Job(
        **{
            "consent": of_set(data["again"]),  # as the next: of a version that did not write it
            "holds": int(data["state"] == State.HELD),
            **data,
            "state": State(data["state"]),
            "files": tuple(_input_file(f) for f in data["files"]),
            "task": _task(data["task"]) if data["task"] else None,
            "spent": Decimal(data["spent"]) if "spent" in data else data["charges"] * _PRICE_BEFORE_2,
            "listed": Decimal(data.get("listed", _PRICE_BEFORE_2)),
            "price": Decimal(data.get("price", _PRICE_BEFORE_2)),
            "answer": _answer(data["answer"]) if data["answer"] else None,
            "results": tuple(ResultFile(**r) for r in data["results"]),
            "processed": tuple(ResultFile(**r) for r in data["processed"]),
            "problem": Problem.of_data(data["problem"]) if data["problem"] else None,
            "then": _sequel(data["then"]) if data.get("then") else None,
            "batch": Batch(**data["batch"]) if data.get("batch") else None,
            "variants": tuple(map(_variant, data.get("variants", ()))),
            "originals": tuple(Original(path, Signature(*seen), one) for path, seen, one in data.get("originals", ())),
        }
    )


def bought(files_and_options: str) -> tuple[tuple[InputFile, ...], dict[str, OptionValue]]:
    """Return what makes a job's content, from the two parts of its document that say so."""
    files, options = json.loads(files_and_options)
    return tuple(map(_input_file, files)), dict(options)


def event(stored: Any) -> Event:  # noqa: ANN401 - a row, its columns by their names
    """Return the event of a stored row."""
    state = State(stored["state"])
    return Event(stored["job_id"], stored["at"], stored["action"], state, stored["message"], stored["code"])


def event_row(transition: Transition, at: float) -> dict[str, Any]:
    """Return the columns of the event that records a move."""
    columns = {
        "job_id": transition.job.id,
        "at": at,
        "action": transition.action,
        "state": transition.job.state.value,
        "message": transition.message,
        "code": transition.code,
    }
    return {name: plain(value) for name, value in columns.items()}


def gate_name(key: GateKey) -> str:
    """Return the text by which the table of the gate knows a set."""
    return json.dumps(key if key.version else key.name)


def gate_key(name: str) -> GateKey:
    """Return the set of a stored text; the versions before this one stored its name alone."""
    known = json.loads(name)
    return GateKey(known, "") if isinstance(known, str) else GateKey(*known)


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """Return a value with its text storable as UTF-8, without the NUL that PostgreSQL cannot store."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _as_plain(value: Any) -> Any:  # noqa: ANN401 - any of the project's values that JSON does not know
    """Return a value as what JSON can hold, one level of it: the encoder asks for what is inside."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return str(value)
    return {name: getattr(value, name) for name in value.__slots__}  # all others are dataclasses with slots


def _task(data: dict[str, Any]) -> Task:
    found = data.get("credits")
    return Task(**{**data, "credits": None if found is None else Decimal(found)})


def _sequel(data: dict[str, Any]) -> Sequel:
    problem = Problem.of_data(data["problem"]) if data["problem"] else None
    return Sequel(**{**data, "files": tuple(map(_input_file, data["files"])), "problem": problem})


def _variant(data: dict[str, Any]) -> Variant:
    found = {
        "takes": tuple(data["takes"]),
        "then": _sequel(data["then"]) if data["then"] else None,
        "files": tuple(map(_input_file, data["files"])),
        "problem": Problem.of_data(data["problem"]) if data["problem"] else None,
    }
    return Variant(**{**data, **found})


def _input_file(data: dict[str, Any]) -> InputFile:
    found = {"role": Role(data["role"]), "signature": Signature(*data["signature"])}
    return InputFile(**{**data, **found, "warnings": tuple(data.get("warnings", ()))})


def _answer(data: dict[str, Any]) -> Answer:
    return Answer(**{**data, "body": data["body"].encode("latin-1")})
