"""Bringing the rows of an older journal up to date, where SQL alone cannot: inside the migration's transaction.

Written for a million jobs: of each document only what is needed is parsed, and what is new in it is written into its text.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from rodin_watchd.core import content
from rodin_watchd.core.consent import by_person, by_sidecar
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.options import canonical
from rodin_watchd.model import Role

_PRICE: Final = Decimal("0.5")
"""What every texture cost as far as the journals before version 2 knew."""

_BATCH: Final = 5000
_JOBS: Final = "SELECT rowid, id, state, fingerprint, charges, doc FROM jobs WHERE rowid > ? ORDER BY rowid LIMIT ?"
_BOTH: Final = {Role.MODEL.value, Role.IMAGE.value}
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Known:
    """What an old document says of the content: its fingerprint by version 1 and by version 2, and its consent."""

    old: str
    new: str
    consent: str  # of the job
    bought_by: str  # of its purchases: those that a TOML file asked for are not bought with it again


def to_version_2(db: sqlite3.Connection) -> None:
    """Give jobs and purchases the fingerprints of version 2, the cost and the consent; in the caller's transaction.

    What cannot be recomputed stays as it is, and so does the second of two live jobs that mean the same: the unique index
    allows one. A look-up still finds them (`core.content.fingerprints`). Raises sqlite3.Error.
    """
    db.execute("DROP INDEX one_live_job_for_each_content")
    db.execute("DROP INDEX jobs_by_content")
    live: set[str] = set()
    for batch in _batches(db):
        known = [_known(row[1], row[5]) for row in batch]
        db.executemany("UPDATE jobs SET fingerprint = ?, doc = ? WHERE rowid = ?", _jobs(batch, known, live))
        found = [(row[1], k) for row, k in zip(batch, known, strict=True) if k]
        db.executemany(
            "UPDATE purchases SET fingerprint = ? WHERE job_id = ? AND fingerprint = ?",
            [(k.new, job_id, k.old) for job_id, k in found],
        )
        consents = [(k.bought_by, job_id) for job_id, k in found if k.bought_by]
        db.executemany("UPDATE purchases SET consent = ? WHERE job_id = ?", consents)
    ended = ", ".join(f"'{state}'" for state in sorted(ENDED))
    db.execute(
        "CREATE UNIQUE INDEX one_live_job_for_each_content ON jobs (fingerprint) "
        f"WHERE fingerprint <> '' AND state NOT IN ({ended})"
    )
    db.execute("CREATE INDEX jobs_by_content ON jobs (fingerprint) WHERE fingerprint <> ''")


def _batches(db: sqlite3.Connection) -> Iterator[Sequence[Any]]:
    last = -(1 << 63)
    while batch := db.execute(_JOBS, (last, _BATCH)).fetchall():
        yield batch
        last = batch[-1][0]


def _jobs(batch: Sequence[Any], known: Iterable[_Known | None], live: set[str]) -> Iterator[tuple[str, str, int]]:
    """Yield the new columns of the jobs in which anything changes."""
    for (rowid, _, state, stored, charges, doc), found in zip(batch, known, strict=True):
        fingerprint = found.new if found and found.old == stored else stored
        if state not in ENDED and fingerprint:
            fingerprint = stored if fingerprint in live else fingerprint
            live.add(fingerprint)
        news = {"spent": str(charges * _PRICE)} if charges else {}
        news |= {"consent": found.consent} if found and found.consent else {}
        if fingerprint != stored or news:
            yield fingerprint, _renewed(doc, stored, fingerprint, news), rowid


def _renewed(doc: str, stored: str, fingerprint: str, news: dict[str, str]) -> str:
    """Return a document with another fingerprint and with new entries; what else is in it stays letter by letter."""
    text = doc.replace(f'"fingerprint":"{stored}"', f'"fingerprint":"{fingerprint}"', 1)
    added = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in news.items())
    return f"{text[:-1]}{added}}}"


def _known(job_id: str, doc: str) -> _Known | None:
    """Return what a document says of its content; None where that is not known (it was never staged), or not readable.

    A quotation mark inside of a name is escaped, so a key with its quotation marks and colon is found only where it is a
    key; files and options stand before everything that may have keys of the same name.
    """
    try:
        files, end = _DECODER.raw_decode(doc, _after(doc, '"files":', 0))
        options, end = _DECODER.raw_decode(doc, _after(doc, '"options":', end))
        again, end = _DECODER.raw_decode(doc, _after(doc, '"again":', end))
        retries, _ = _DECODER.raw_decode(doc, _after(doc, '"retries":', end))
        sha256 = {file["role"]: file["sha256"] for file in files}
        sidecar = sha256.pop(Role.SIDECAR.value, "")
        if sha256.keys() != _BOTH or not all(sha256.values()):
            return None
        old, new = _told(json.dumps(options, sort_keys=True))
        bought_by = by_sidecar(sidecar) if again and sidecar else ""
        consent = by_person(job_id, retries) if again and retries else bought_by  # the person spoke last
        return _Known(content.first_of(sha256, old), content.second_of(sha256, new), consent, bought_by)
    except (ValueError, TypeError, LookupError):
        return None


def _after(doc: str, key: str, start: int) -> int:
    return doc.index(key, start) + len(key)


@lru_cache(maxsize=4096)
def _told(options: str) -> tuple[str, str]:
    """Return how options enter the fingerprints of version 1 and 2; most jobs of a studio have the same."""
    said = json.loads(options)
    return content.first_options(said), content.sorted_json(canonical(said))
