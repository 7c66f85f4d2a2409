"""The journal's file as another program sees it, and changes it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any


def query(journal: Path, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask a journal, or change it, as another program does that keeps its foreign keys; what was changed is committed."""
    with contextlib.closing(sqlite3.connect(journal, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        return [tuple(row) for row in db.execute(text, values)]
