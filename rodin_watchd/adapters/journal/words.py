"""Errors of SQLite's, and of rows that make no sense, in words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from rodin_watchd.errors import JournalBusyError, JournalError, JournalFaultError

BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DAMAGE_ADVICE = "Stop the service; `rodin-watchd check` tells how to put the backup in the file's place."


@contextlib.contextmanager
def in_words(what: str = "The journal cannot be read", recovery: str = _DAMAGE_ADVICE) -> Iterator[None]:
    """Turn what SQLite, or a row that makes no sense, raises into a JournalError.

    JournalBusyError where it is locked, JournalFaultError where the disk reports a fault.
    """
    try:
        yield
    except sqlite3.Error as error:
        if code_of(error) in BUSY_CODES:
            raise JournalBusyError from error
        if code_of(error) == sqlite3.SQLITE_IOERR:
            raise JournalFaultError(f"{what}: {error}.") from error
        damaged = code_of(error) in DAMAGED_CODES
        raise JournalError(f"{what}: {error}.", advice=recovery if damaged else "") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise JournalError(f"{what}: it is damaged ({type(error).__name__} in a row).", advice=recovery) from error


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code of an error, 0 if it has none (https://sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
