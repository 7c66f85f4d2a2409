"""How much the file of a journal knows, compared with another file: which of two must never take the other one's place.

A journal only grows: its histories are appended to, and the number of its transactions never falls. So a file that has the
newest entries of another one, and no fewer transactions, knows all that the other one knows.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from rodin_watchd.adapters.store.errors import DAMAGED_CODES, code_of, in_words
from rodin_watchd.core.mounts import ROOT_ID

WRITTEN: Final = "written"
"""The journal's key of the number of transactions that it was written in by its services: it never falls."""

_BUSY_SECONDS = 5.0
_HISTORIES = {
    "events": "id, job_id, at, action",
    "service_events": "id, at, kind, message",
    "purchases": "id, job_id, at",
}
"""The tables that are only appended to, with what tells an entry from every other one."""

_NO_JOURNAL_CODES = (*DAMAGED_CODES, sqlite3.SQLITE_ERROR)  # the last one: it has no such table

_Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a whole journal knows, without the content."""

    root_id: str  # "" where it does not know its root yet
    purchases: int  # that were ever begun
    written: int
    newest: tuple[_Row | None, ...]  # the newest entry of each history

    @property
    def rank(self) -> tuple[int, int]:
        """Which of two journals of one root knows more of what was paid, where neither knows all that the other one knows."""
        return self.purchases, self.written


def extent_of(file: Path) -> Extent | None:
    """Return what a journal's file knows, with its write-ahead log; None for what is missing, damaged or no journal at all.

    Any thread, but not while this process has that file open: the file is opened and closed. Raises JournalError,
    JournalBusyError or JournalFaultError where that cannot be told.
    """
    if not file.is_file():
        return None
    with in_words(f"The journal {file} cannot be read"):
        try:
            with contextlib.closing(_opened(file)) as db:
                return _extent_in(db)
        except sqlite3.Error as error:
            if code_of(error) in _NO_JOURNAL_CODES:
                return None
            raise


def knows_all(file: Path, other: Extent) -> bool:
    """Tell whether a whole journal's file knows all that another one of the same root does. Raises as `extent_of`."""
    with in_words(f"The journal {file} cannot be read"), contextlib.closing(_opened(file)) as db:
        return (
            other.root_id in ("", _meta(db, ROOT_ID))
            and int(_meta(db, WRITTEN) or 0) >= other.written
            and all(
                row is None or db.execute(_SAME_ROW[table], row).fetchone()
                for table, row in zip(_HISTORIES, other.newest, strict=True)
            )
        )


_NEWEST_ROW = {
    table: f"SELECT {columns} FROM {table} ORDER BY id DESC LIMIT 1"  # noqa: S608 - names from above
    for table, columns in _HISTORIES.items()
}
_SAME_ROW = {
    table: f"SELECT 1 FROM {table} WHERE ({columns}) = ({', '.join('?' * len(columns.split(', ')))})"  # noqa: S608
    for table, columns in _HISTORIES.items()
}


def _opened(file: Path) -> sqlite3.Connection:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def _extent_in(db: sqlite3.Connection) -> Extent | None:
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        return None
    newest = tuple(db.execute(query).fetchone() for query in _NEWEST_ROW.values())
    purchases = db.execute("SELECT count(*) FROM purchases").fetchone()[0]
    return Extent(_meta(db, ROOT_ID), purchases, int(_meta(db, WRITTEN) or 0), newest)


def _meta(db: sqlite3.Connection, key: str) -> str:
    """Return a value as it is stored, "" if there is none."""
    found = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else ""
