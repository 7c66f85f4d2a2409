"""Connections to the files of the store: how SQLite opens them, and what makes a commit durable."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rodin_watchd.errors import JournalError

BUSY_SECONDS: Final = 5.0
"""How long a lock of another program is waited for."""

_CACHE_KILOBYTES: Final = 512
"""What a reader keeps of the file: the system keeps it as well, and a page in the browser has several readers."""


def connect(path: Path, options: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open the file by SQLite's URI options, in autocommit mode. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?{options}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_seconds)
    db.row_factory = sqlite3.Row
    return db


@contextlib.contextmanager
def closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Close a connection whose owner does not come into being."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def check_exists(path: Path) -> None:
    """Raise JournalError where there is no journal, or its folder is closed to this user."""
    try:
        path.stat()
    except PermissionError as error:
        raise JournalError(f"This user has no permission to read the journal {path}.") from error
    except OSError as error:
        advice = "Has `rodin-watchd run` ever been started here?"
        raise JournalError(f"There is no journal at {path}.", advice=advice) from error


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open for reading, also as a user that may not write next to the file.

    A closed WAL database has no `-wal` file, and a reader without write permission could not make one: the file is
    complete then, and is read as it is (https://sqlite.org/wal.html, Read-Only Databases).
    """
    check_exists(path)
    try:
        return _opened(path, "mode=ro")
    except sqlite3.OperationalError:
        if Path(f"{path}-wal").exists():
            raise
    return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, options: str) -> sqlite3.Connection:
    db = connect(path, options)
    with closed_on_error(db):
        db.execute(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}")
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    return db


def prepare(db: sqlite3.Connection) -> None:
    """Set what makes a commit durable (https://sqlite.org/pragma.html). Raises JournalError where that is not to be had."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise JournalError(
            f"SQLite cannot keep a write-ahead log there (it says “{mode}”).",
            advice="Set folders.state in the config to a folder on a local disk.",
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON")  # what is overwritten is overwritten with zeros
    db.execute("PRAGMA temp_store = MEMORY")  # what is counted next to it needs no room on any disk
    db.execute("PRAGMA recursive_triggers = ON")  # else INSERT OR REPLACE deletes rows that are kept for good
