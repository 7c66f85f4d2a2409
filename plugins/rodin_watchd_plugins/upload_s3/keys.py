"""Keys: where in the bucket a result is. Pure."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from rodin_watchd.v1 import Job

KEY_BYTES: Final = 1024
"""No key is longer (Amazon S3 user guide, Naming objects)."""

_PLACES: Final = frozenset({"folder", "name", "id", "year", "month", "day"})
_OWN: Final = frozenset({"name", "id"})


def check_template(template: str) -> None:
    """Raise ValueError for a prefix that names what there is not, or under which results would overwrite each other."""
    parts = list(string.Formatter().parse(template))
    named = {name for _, name, _, _ in parts if name is not None}
    if unknown := sorted(named - _PLACES):
        raise ValueError(f"there is no {{{unknown[0]}}}; there are {', '.join(sorted(_PLACES))}")
    if any(form or turned for _, _, form, turned in parts):
        raise ValueError("its places are plain names in braces")
    if not named & _OWN:
        raise ValueError("it needs {id} or {name}: each result would overwrite the one before")


def prefix_of(template: str, job: Job) -> str:
    """Return what the job's keys begin with: "" or with "/" at the end, no empty step in it, none that leads elsewhere."""
    at = datetime.fromtimestamp(job.created_at, UTC)
    values = {"folder": job.folder, "name": job.name, "id": job.id}
    days = {"year": f"{at:%Y}", "month": f"{at:%m}", "day": f"{at:%d}"}
    steps = template.format(**{name: _clean(value) for name, value in values.items()}, **days).split("/")
    return "".join(f"{_step(step)}/" for step in steps if step)


def key_of(prefix: str, name: str) -> str:
    """Return the key of a result's file."""
    return f"{prefix}{_clean(name)}"


def key_problem(key: str) -> str:
    """Say why a store would not take a key; "" if it does."""
    return f"its key is longer than {KEY_BYTES} bytes" if len(key.encode()) > KEY_BYTES else ""


def public_address(base: str | None, key: str) -> str:
    """Return the address of an object below a public one."""
    return f"{(base or '').rstrip('/')}/{quote(key)}"


def _clean(text: str) -> str:
    """Return a name from outside as stores, logs and XML can hold it."""
    return "".join(letter if letter.isprintable() else "_" for letter in text)


def _step(step: str) -> str:
    return "_" * len(step) if step in (".", "..") else step
