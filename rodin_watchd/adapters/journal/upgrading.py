"""Bringing the rows of an older journal up to date, where SQL alone cannot: inside the migration's transaction.

What has ended stays as it was written: a journal of a million jobs would have to be rewritten as a whole. It is found and
read all the same: a look-up asks for every fingerprint that an older version may have stored (`core.content.fingerprints`),
and a document without what is new in it is understood (`rows.job`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Final

from rodin_watchd.adapters.journal import rows
from rodin_watchd.core.consent import by_person, by_sidecar
from rodin_watchd.core.content import fingerprint
from rodin_watchd.core.machine import ENDED
from rodin_watchd.model import Job, Role

_LIVE: Final = (
    "SELECT doc FROM jobs WHERE fingerprint <> '' AND state NOT IN (SELECT value FROM json_each(?)) ORDER BY rowid"
)
_AGAIN: Final = "SELECT doc FROM jobs WHERE instr(doc, '\"again\":true') > 0"
_UPDATE: Final = "UPDATE OR IGNORE jobs SET fingerprint = ?, doc = json_set(doc, '$.fingerprint', ?) WHERE id = ?"


def to_version_2(db: sqlite3.Connection) -> None:
    """Give live jobs the fingerprint of version 2 and their consent, and note which TOML files have paid again.

    The schema allows one live job for each fingerprint: the second of two that version 1 told apart keeps its own. In the
    caller's transaction. Raises sqlite3.Error.
    """
    for job in _jobs(db, _AGAIN, ()):
        sidecar = job.file(Role.SIDECAR)
        paid_by = by_sidecar(sidecar.sha256) if sidecar and sidecar.sha256 else ""
        consent = by_person(job.id, job.retries) if job.retries else paid_by  # the person spoke last
        if job.again and job.state not in ENDED:
            db.execute("UPDATE jobs SET doc = json_set(doc, '$.consent', ?) WHERE id = ?", (consent, job.id))
        if job.again and paid_by:
            db.execute("UPDATE purchases SET consent = ? WHERE job_id = ?", (paid_by, job.id))
    for job in _jobs(db, _LIVE, (json.dumps(sorted(ENDED)),)):
        content = fingerprint(job.files, job.options)
        if db.execute(_UPDATE, (content, content, job.id)).rowcount:
            moved = (content, job.id, job.fingerprint)
            db.execute("UPDATE purchases SET fingerprint = ? WHERE job_id = ? AND fingerprint = ?", moved)


def _jobs(db: sqlite3.Connection, query: str, values: tuple[str, ...]) -> Iterator[Job]:
    """Yield the jobs whose documents can be read and that were staged; another's fault is told when it is read."""
    for (doc,) in db.execute(query, values).fetchall():
        try:
            job = rows.job(doc)
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
        if all(file.sha256 for file in job.files):
            yield job
