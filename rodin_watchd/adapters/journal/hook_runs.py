"""The calls of plugins' hooks in the journal: what was made is not made again, what is owed is not forgotten."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from rodin_watchd.adapters.journal.rows import plain
from rodin_watchd.model import HookRun, OwedCall

DUE: Final = "due"
DONE: Final = "done"
FAILED: Final = "failed"

_COLUMNS = "id, event_id, job_id, hook, plugin, outcome, arguments, attempts, not_before, value, told, output, seconds"
_INSERT = """
    INSERT INTO hook_runs (event_id, job_id, hook, plugin, arguments, outcome, attempts, not_before, value, told, output,
        seconds, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (event_id, plugin) DO UPDATE SET outcome = excluded.outcome, attempts = excluded.attempts,
        value = excluded.value, told = excluded.told, output = excluded.output, seconds = excluded.seconds, at = excluded.at
"""
_OWE = _INSERT.partition("ON CONFLICT")[0] + "ON CONFLICT (event_id, plugin) DO NOTHING"
_DUE = f"""
    SELECT {_COLUMNS} FROM hook_runs WHERE outcome = 'due' AND plugin || ':' || hook IN (SELECT value FROM json_each(?))
    ORDER BY not_before, id LIMIT ?
"""  # noqa: S608 - the columns stand above
_ANSWERS = f"""
    SELECT {_COLUMNS} FROM hook_runs WHERE outcome = 'done' AND job_id IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608 - as above
_OF_JOB = f"SELECT {_COLUMNS} FROM hook_runs WHERE job_id = ? ORDER BY id"  # noqa: S608 - as above
_UPDATE = """
    UPDATE hook_runs SET outcome = ?, attempts = ?, not_before = ?, value = ?, told = ?, output = ?, seconds = ?, at = ?
    WHERE id = ?
"""
_EVENT = """
    INSERT INTO events (job_id, at, action, state, message) SELECT id, ?, 'plugin', state, ? FROM jobs WHERE id = ?
"""
_AGAIN = """
    UPDATE hook_runs SET outcome = 'due', attempts = 0, not_before = ?
    WHERE id IN (SELECT max(id) FROM hook_runs WHERE job_id = ? AND hook = ? GROUP BY plugin)
        AND plugin IN (SELECT value FROM json_each(?))
"""


class HookRunReader(ABC):
    """A part of the journal's reader; every method raises JournalError."""

    @abstractmethod
    def _rows(self, query: str, values: Any = ()) -> list[sqlite3.Row]: ...  # noqa: ANN401 - as sqlite3 takes them

    def runs_of(self, job_id: str) -> list[HookRun]:
        """Return all calls of hooks for a job, the first first."""
        return [_run(row) for row in self._rows(_OF_JOB, (plain(job_id),))]

    def due_runs(self, hooks: Sequence[str], limit: int) -> list[HookRun]:
        """Return the calls that are owed to these hooks of plugins (`PLUGIN:HOOK`), the first due first."""
        return [_run(row) for row in self._rows(_DUE, (json.dumps(hooks), limit))]

    def answers(self, job_ids: Sequence[str]) -> list[HookRun]:
        """Return the calls for these jobs that were made and came to a good end."""
        return [_run(row) for row in self._rows(_ANSWERS, (json.dumps(job_ids),))]


class HookRunWriter(ABC):
    """A part of the journal: every call is one transaction, and raises DiskError or JournalError."""

    _db: sqlite3.Connection

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]: ...

    def note_run(self, run: HookRun, words: str, now: float) -> None:
        """Store what came of a call, and tell it in the history of its job."""
        with self._transaction():
            self._db.execute(_EVENT, (now, plain(words), run.job_id))
            if run.id:
                self._db.execute(_UPDATE, (*_outcome(run), now, run.id))
            else:
                self._db.execute(_INSERT, _row(run, now))

    def owe(self, event_id: str, job_id: str, calls: Iterable[OwedCall], now: float) -> None:
        """Store calls that are to be made; those that are there already stay as they are."""
        with self._transaction():
            self._owe(event_id, job_id, calls, now)

    def _owe(self, event_id: str, job_id: str, calls: Iterable[OwedCall], now: float) -> None:
        runs = (
            HookRun(0, event_id, job_id, call.hook, call.plugin, DUE, call.arguments, not_before=now) for call in calls
        )
        self._db.executemany(_OWE, [_row(run, now) for run in runs])

    def repeat_runs(self, job_id: str, hook: str, plugins: Sequence[str], now: float) -> int:
        """Have the newest calls of a hook for a job made once more, with their old event id; return how many."""
        with self._transaction():
            return self._db.execute(_AGAIN, (now, job_id, hook, json.dumps(plugins))).rowcount


def _outcome(run: HookRun) -> tuple[Any, ...]:
    told = (plain(run.told), plain(run.output), run.seconds)
    return (run.outcome, run.attempts, run.not_before, _json(run.value), *told)


def _row(run: HookRun, now: float) -> tuple[Any, ...]:
    what = (run.event_id, run.job_id or None, run.hook, run.plugin, _json(run.arguments))
    return (*what, *_outcome(run), now)


def _run(row: sqlite3.Row) -> HookRun:
    values = dict(row)
    parsed = {
        "arguments": json.loads(row["arguments"]),
        "value": json.loads(row["value"]),
        "job_id": row["job_id"] or "",
    }
    return HookRun(**{**values, **parsed})


def _json(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    return json.dumps(value)
