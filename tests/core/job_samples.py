"""Jobs, problems and answers for the tests of the core."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rodin_watchd import errors
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.machine import POLICIES
from rodin_watchd.errors import (
    DiskError,
    KeyRefusedError,
    NetworkError,
    NoCreditsError,
    Problem,
    RodinWatchdError,
    ServiceError,
    ThrottledError,
    VendorAnswerError,
)
from rodin_watchd.model import Answer, InputFile, Job, ResultFile, Role, Signature, State, Task

NOW = 1_700_000_000.0
SECRET = "eyJ-subscription-secret"  # noqa: S105 - what must not be shown, made up
TASK = Task("11111111-2222-3333-4444-555555555555", SECRET, NOW - 90.0)
RESULTS = (ResultFile("model.glb", "model.glb", 1234, "cd" * 32), ResultFile("preview.webp", "p.webp", 56, "ef" * 32))
PAID = frozenset({State.SUBMITTED, State.GENERATED, State.DOWNLOADED, State.PROCESSED, State.DELIVERED, State.ARCHIVED})
SERVICE_ERRORS = (NetworkError, NoCreditsError, KeyRefusedError, ThrottledError, DiskError)


def a_job(state: State = State.CLAIMED, **changes: Any) -> Job:  # noqa: ANN401 - fields of a Job
    """Return a plausible job in a state; `changes` are fields."""
    policy = POLICIES.get(state)
    fields: dict[str, Any] = {
        "id": "abc123def456",
        "name": "chair",
        "folder": "",
        "state": state,
        "files": some_files(),
        "options": {"prompt": "worn oak", "seed": 7},
        "created_at": NOW - 100.0,
        "not_before": NOW,
        "fingerprint": "" if state is State.CLAIMED else "ab" * 32,
        "deadline": NOW + policy.deadline_seconds if policy and policy.deadline_seconds else None,
        "times": {State.CLAIMED.value: NOW - 99.0, state.value: NOW},
        "task": TASK if state in PAID else None,
        "charges": 1 if state in PAID else 0,
        "place": {State.FAILED: "failed/chair", State.ARCHIVED: "outbox/chair"}.get(state, ""),
    }
    asked = {**fields, **changes}
    return Job(**{"spent": asked["charges"] * TEXTURE.list_price({}), **asked})


def some_files(folder: str = "inbox", name: str = "chair") -> tuple[InputFile, ...]:
    """Return the files of a set."""
    return (
        InputFile(Role.MODEL, f"{folder}/{name}.glb", Signature(1000, 5, 11), sha256="aa" * 32),
        InputFile(Role.IMAGE, f"{folder}/{name}.png", Signature(200, 6, 12), sha256="bb" * 32, shared=True),
        InputFile(Role.SIDECAR, f"{folder}/{name}.toml", Signature(30, 7, 13), sha256="cc" * 32),
    )


def accepted(uuid: str = TASK.uuid, key: str = SECRET) -> Answer:
    """Return the vendor's answer to a submit that it took (API contract, Generate Texture)."""
    return said(201, {"error": None, "uuid": uuid, "jobs": {"uuids": ["x"], "subscription_key": key}})


def said(status: int, body: Mapping[str, object]) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, json.dumps(body).encode())


def all_errors() -> Iterator[type[RodinWatchdError]]:
    """Give every error class for people: those of the one module that has them, whatever else was imported."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, RodinWatchdError) and kind is not RodinWatchdError:
            yield kind


def all_problems() -> list[Problem]:
    """Return one problem of every error class."""
    return [kind().problem for kind in all_errors() if kind is not ServiceError]


SET_PROBLEM = VendorAnswerError().problem
"""A problem of one set that may pass."""
