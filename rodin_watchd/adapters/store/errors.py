"""Errors of SQLite's, and of rows that make no sense, in words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

from rodin_watchd.errors import DiskError, JournalBusyError, JournalError, JournalFaultError

_P = ParamSpec("_P")
_T = TypeVar("_T")

BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WHAT = "The journal cannot be read"
_DAMAGE_ADVICE = "Stop the service; `rodin-watchd check` says how to put the backup in the file's place."
_TRANSLATED = (sqlite3.Error, ValueError, TypeError, LookupError, AttributeError)


@contextlib.contextmanager
def in_words(what: str = _WHAT, recovery: str = _DAMAGE_ADVICE) -> Iterator[None]:
    """Turn what SQLite, or a row that makes no sense, raises into a JournalError.

    JournalBusyError where it is locked, JournalFaultError where the disk reports a fault.
    """
    try:
        yield
    except _TRANSLATED as error:
        raise _translated(error, what, recovery) from error


def errors_in_words(ask: Callable[_P, _T]) -> Callable[_P, _T]:
    """Do the same around each call of a function; as a tick makes hundreds of them, with nothing made anew for a call."""

    @wraps(ask)
    def asked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return ask(*args, **kwargs)
        except _TRANSLATED as error:
            raise _translated(error, _WHAT, _DAMAGE_ADVICE) from error

    return asked


def _translated(error: Exception, what: str, recovery: str) -> JournalError | DiskError:
    if not isinstance(error, sqlite3.Error):
        return JournalError(f"{what}: it is damaged ({type(error).__name__} in a row).", advice=recovery)
    if code_of(error) in BUSY_CODES:
        return JournalBusyError()
    if code_of(error) == sqlite3.SQLITE_IOERR:
        return JournalFaultError(f"{what}: {error}.")
    return JournalError(f"{what}: {error}.", advice=recovery if code_of(error) in DAMAGED_CODES else "")


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code of an error, 0 if it has none (https://sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
