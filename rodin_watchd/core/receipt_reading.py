"""Reading a receipt again: the finished job as plugins see it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rodin_watchd.model import State
from rodin_watchd.v1 import File, Job


def job_of(receipt: Mapping[str, Any], place: str) -> Job:
    """Return the job that a receipt (`job.toml`, parsed) tells of. Raises LookupError, TypeError, AttributeError."""
    job = receipt["job"]
    return Job(
        id=str(job["id"]),
        name=str(job["set"]),
        folder=str(job["folder"]),
        state=State.DELIVERED.value,
        options=dict(receipt["options"]),
        files=tuple(File(f["name"], f["bytes"], f.get("sha256", ""), f["role"]) for f in receipt["inputs"]),
        created_at=job["written_at"].timestamp(),
        results=tuple(File(f["name"], f["bytes"], f["sha256"]) for f in receipt["results"]),
        credits=str(job["credits"]),
        task=str(receipt.get("task", {}).get("uuid", "")),
        place=place,
    )
