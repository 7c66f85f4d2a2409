"""What is secret about a job, and for how long it is kept: no longer than a step needs it. Pure functions.

The vendor's answer to a submit holds the task's subscription key. The raw answer is kept until it is understood (by the
service, or by a person while the job is held), the key until the vendor is done: results are asked for by the task's id.
A failed job that is taken up again does without the key, too (`service.steps.results.poll`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from rodin_watchd.model import Job, State

_SHORTEST_SECRET = 8
"""A word that is shorter is let be: it stands for itself too often."""

_NOT_UNDERSTOOD = frozenset({State.UPLOADING, State.SUBMITTING, State.HELD})


def forgetting(job: Job) -> Job:
    """Return the job without the secrets that its state does not need."""
    answer = job.answer if job.state in _NOT_UNDERSTOOD else None
    task = job.task
    if task is not None and job.state is not State.SUBMITTED:
        task = replace(task, subscription_key="")
    return replace(job, task=task, answer=answer)


def blotted(body: bytes, secrets: Mapping[str, str]) -> bytes:
    """Return an answer's body with each secret replaced by what stands for it, as JSON and addresses spell it, too."""
    for secret, instead in secrets.items():
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in dict.fromkeys(_spellings(secret)):
                body = body.replace(spelling.encode(), instead.encode())
    return body


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield quote(secret, safe="")
