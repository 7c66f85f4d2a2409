"""Bringing the rows of an older journal up to date, where SQL alone cannot: inside the migration's transaction.

The document of a job that has ended stays as it was written: a journal of a million jobs would have to be rewritten as a
whole. It is understood without what is new in it (`rows.job`), and found by its purchases, which are brought up to date.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from rodin_watchd.adapters.journal import rows
from rodin_watchd.core.content import fingerprint, first_fingerprint
from rodin_watchd.core.machine import ENDED

_CONTENTS: Final = """
    SELECT id, fingerprint, CASE WHEN json_valid(doc) THEN json_extract(doc, '$.files', '$.options') END,
        fingerprint <> '' AND (state NOT IN (SELECT value FROM json_each(?))
            OR state = 'archived' AND NOT EXISTS (SELECT 1 FROM purchases WHERE job_id = jobs.id AND outcome <> 'free'))
    FROM jobs WHERE fingerprint <> '' OR id IN (SELECT job_id FROM purchases) ORDER BY rowid
"""
_MOVE: Final = "UPDATE purchases SET fingerprint = :second WHERE job_id = :job_id AND fingerprint = :first"
_UPDATE: Final = """
    UPDATE OR IGNORE jobs SET fingerprint = :second, doc = json_set(doc, '$.fingerprint', :second) WHERE id = :job_id
"""


class _Content(NamedTuple):
    """What a job buys."""

    job_id: str
    first: str  # the fingerprint by which the version before knew it
    second: str
    by_itself: bool  # whether the job is found by its own: it is under way, or has a result of which no purchase tells


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Give purchases, and the jobs that are found by their own fingerprint, that of version 2.

    A purchase of which its job does not say any more what was bought keeps the one it has. The schema allows one live job
    for each fingerprint: the second of two that were told apart keeps its own until it is sent. In the caller's
    transaction. Raises sqlite3.Error.
    """
    by_themselves = []
    for known in _contents(db):
        db.execute(_MOVE, known._asdict())
        if known.by_itself:
            by_themselves.append(known._asdict())
    db.executemany(_UPDATE, by_themselves)


def _contents(db: sqlite3.Connection) -> Iterator[_Content]:
    """Yield what jobs buy whose documents can be read and that were staged; another's fault is told when it is read."""
    for job_id, known, stored, by_itself in db.execute(_CONTENTS, (json.dumps(sorted(ENDED)),)):
        try:
            files, options = rows.bought(stored)
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
        if files and all(file.sha256 for file in files):
            first = known or first_fingerprint(files, options)
            yield _Content(job_id, first, fingerprint(files, options), bool(by_itself))
