"""Opening the journal for writing, and leaving a command in it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from rodin_watchd.adapters.journal.reading import check_exists, check_version, connect
from rodin_watchd.adapters.journal.words import BUSY_CODES, code_of
from rodin_watchd.errors import CommandRefusedError, JournalBusyError, JournalError

_NO_RIGHT_CODES = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


_INSERT = "INSERT INTO commands (at, verb, arguments) VALUES (:at, :verb, :arguments)"
_INSERT_ONCE = """
    INSERT INTO commands (at, verb, arguments) SELECT :at, :verb, :arguments WHERE NOT EXISTS (
        SELECT 1 FROM commands WHERE answer IS NULL AND verb = :verb
            AND json_extract(arguments, '$.job') = json_extract(:arguments, '$.job')
    )
"""  # one statement: two terminals cannot both find that nothing waits


def insert_command(path: Path, verb: str, arguments: dict[str, Any], now: float, *, once: bool = False) -> int:
    """Leave a command for the daemon; from any process that may write the journal. Returns the command's number.

    Raises JournalError when there is no journal, or this user may not write it, JournalBusyError while it is locked; and, with `once`, CommandRefusedError while
    the same is asked of the same job already and not answered yet.
    """
    check_exists(path)
    try:
        with contextlib.closing(connect(path, "mode=rw")) as db:
            check_version(db, path)
            prepare(db)
            values = {"at": now, "verb": verb, "arguments": json.dumps(arguments)}
            done = db.execute(_INSERT_ONCE if once else _INSERT, values)
            if not done.rowcount:
                raise CommandRefusedError(f"`{verb}` was asked of this job already, and waits for the service.")
            return done.lastrowid or 0
    except sqlite3.Error as error:
        if code_of(error) in BUSY_CODES:
            raise JournalBusyError(advice="Close what has the journal open, then give the command again.") from error
        advice = "Make room there, then give it again." if code_of(error) == sqlite3.SQLITE_FULL else ""
        advice = "Run it as the user that the service runs as." if code_of(error) in _NO_RIGHT_CODES else advice
        raise JournalError(f"The command could not be left in {path}: {error}.", advice=advice) from error


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
    db.execute("PRAGMA recursive_triggers = ON")  # else INSERT OR REPLACE deletes rows that are kept for good
