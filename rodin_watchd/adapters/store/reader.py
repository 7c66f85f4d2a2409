"""Reading the journal: what the command line and the daemon ask it. No error of SQLite's gets out, only JournalError."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store import schema
from rodin_watchd.adapters.store.archive import OF_EVENTS, OF_RUNS, ArchiveReader, OldRows
from rodin_watchd.adapters.store.backup import how_to_recover
from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.connections import closed_on_error, open_read_only
from rodin_watchd.adapters.store.files import errors_in_words, in_words
from rodin_watchd.core.approval import GateKey, Pass
from rodin_watchd.core.condensing import condensed
from rodin_watchd.core.dedup import Provenance, of_set
from rodin_watchd.core.kinds import KINDS, Article, cheapest
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.proof import Refusal, Since
from rodin_watchd.core.refusals import BESIDE, LOOKED, FailedTries, InARow
from rodin_watchd.core.store import DUE, NO_LEASE, JobLease, Listing, ListOrder, OldJob
from rodin_watchd.errors import CommandRefusedError, JournalError, OldJournalError
from rodin_watchd.model import Event, HookRun, Job, OwedCall, ServiceEvent, State

# ---- The calls of plugins' hooks in the journal: what was made is not made again, what is owed is not forgotten -----


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
_OF_JOBS = f"""
    SELECT {_COLUMNS} FROM hook_runs WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608 - as above
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

    @abstractmethod
    def _archived(self, job_ids: str, query: str) -> list[sqlite3.Row]:
        """Return what the archive file has of those jobs, ids in JSON, whose details were moved there."""

    def runs_of(self, job_ids: Iterable[str]) -> list[HookRun]:
        """Return all calls of hooks for these jobs, the first first."""
        wanted = json.dumps([plain(job_id) for job_id in job_ids])
        found = [*self._archived(wanted, OF_RUNS), *self._rows(_OF_JOBS, (wanted,))]
        return sorted(map(_run, found), key=lambda run: run.id)

    def due_runs(self, hooks: Sequence[str], limit: int) -> list[HookRun]:
        """Return the calls that are owed to these hooks of plugins (`PLUGIN:HOOK`), the first due first."""
        return [_run(row) for row in self._rows(_DUE, (json.dumps(hooks), limit))]


class HookRunWriter(ABC):
    """A part of the journal: every call is one transaction, and raises DiskError or JournalError."""

    _db: sqlite3.Connection

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]: ...

    def note_run(self, run: HookRun, words: str, now: float) -> None:
        """Store what came of a call, and record it in the history of its job."""
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
    values = (plain(run.told), plain(run.output), run.seconds)
    return (run.outcome, run.attempts, run.not_before, _json(run.value), *values)


def _row(run: HookRun, now: float) -> tuple[Any, ...]:
    what = (run.event_id, run.job_id or None, run.hook, run.plugin, _json(run.arguments))
    return (*what, *_outcome(run), now)


def _run(row: sqlite3.Row) -> HookRun:
    values = {name: row[name] for name in _COLUMNS.split(", ")}
    parsed = {
        "arguments": json.loads(row["arguments"]),
        "value": json.loads(row["value"]),
        "job_id": row["job_id"] or "",
    }
    return HookRun(**{**values, **parsed})


def _json(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    return json.dumps(value)


# ---- Reading the purchases: what was begun to be bought, when, for which folder, and what came of it ----------------


_LAST_CHARGED = "coalesce((SELECT max(id) FROM purchases WHERE outcome = 'charged'), 0)"
SPENT = f"""
    SELECT top, kind, listed, cost, charged, confirmed, sum(purchases) FROM (
        SELECT * FROM spent_by_block WHERE block > :after / {schema.BLOCK} AND purchases > 0
        UNION ALL SELECT 0, top, kind, listed, cost, outcome = 'charged', confirmed, 1 FROM purchases
            WHERE id > :after AND id < (:after / {schema.BLOCK} + 1) * {schema.BLOCK} AND outcome <> 'free'
    ) GROUP BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - a number; whole blocks of purchases, and what is left of the first one
"""What was bought after a purchase: top folder, kind, list price, cost, whether it was charged, whether the balance confirms it, how many."""

_SPENT_SINCE = SPENT.replace(":after", "?1")
_COSTS_OF = f"""
    SELECT * FROM (SELECT cost FROM purchases
        WHERE outcome = 'charged' AND kind = ?1 AND listed = ?2 ORDER BY id DESC LIMIT 20)
    UNION SELECT cost FROM purchases WHERE outcome = 'refused' AND kind = ?1 AND listed = ?2
        AND id > {_LAST_CHARGED}
"""  # noqa: S608 - of words of this module; and what was refused since the newest charge, which may have cost what the refusal says
_ARTICLES = "SELECT kind, listed FROM articles"
_NEWEST_COSTS = """
    SELECT cost FROM purchases INDEXED BY purchases_charged WHERE outcome = 'charged'
        ORDER BY id DESC LIMIT 20
"""
_CHARGED = """
    SELECT cost, purchases FROM charged WHERE hour > :hour
    UNION ALL SELECT cost, count(*) FROM purchases
        WHERE outcome = 'charged' AND at >= :at AND at < (:hour + 1) * 3600 GROUP BY cost
"""  # whole hours, and what is left of the first one
_CHARGED_BY_HOUR = "SELECT hour, cost, purchases FROM charged WHERE hour >= ? AND purchases > 0"
_CHARGED_BY_FOLDER = """
    SELECT top, cost, sum(purchases) FROM charged_by_top WHERE hour > :hour AND purchases > 0 GROUP BY top, cost
    UNION ALL SELECT top, cost, count(*) FROM purchases
        WHERE outcome = 'charged' AND at >= :at AND at < (:hour + 1) * 3600 GROUP BY top, cost
"""  # as above
_CHARGED_AFTER = "SELECT cost, count(*) FROM purchases WHERE outcome = 'charged' AND id > ? GROUP BY cost"
_CHARGED_BY_KIND = "SELECT kind, cost, sum(purchases) FROM charged WHERE purchases > 0 GROUP BY kind, cost"
_NEWEST = "SELECT coalesce(max(id), 0) FROM purchases"
_SINCE = """
    SELECT outcome, cost, listed, count(*), sum(told) FROM purchases WHERE id > ? GROUP BY outcome, cost, listed
"""
_CONFIRMED = "SELECT cost FROM confirmed_costs"
_LAST_COST = "SELECT cost FROM purchases WHERE id = (SELECT max(id) FROM purchases WHERE outcome = 'charged')"
_UNDECIDED = ("open", "unknown")
_REFUSED = "SELECT id, job_id, fingerprint, cost FROM purchases WHERE outcome = 'refused'"
_SAME = """
    WITH same AS (
        SELECT * FROM purchases WHERE fingerprint = :content
        UNION SELECT * FROM purchases WHERE dropped <> '' AND dropped IN (
            SELECT :dropped UNION SELECT dropped FROM purchases WHERE fingerprint = :content
        )
    )
"""  # the purchases of a content, and of what was dropped for it
_REFUSED_OF = f"{_SAME} SELECT id, job_id, fingerprint, cost FROM same WHERE outcome = 'refused' ORDER BY id"  # noqa: S608 - as below
_REFUSED_ON_A_WORD = f"""
    {_SAME} SELECT 1 FROM same WHERE outcome = 'refused' AND (consent <> '' OR EXISTS (SELECT 1 FROM events
        WHERE events.job_id = same.job_id AND action = 'resolve' AND state = 'staged')) LIMIT 1
"""  # noqa: S608 - as above; after `resolve --not-charged` all that a job sends is sent on that word
_MAY_HAVE_BOUGHT = "SELECT 1 FROM purchases WHERE job_id = ? AND outcome NOT IN ('free', 'refused') LIMIT 1"
_UNKNOWN_OF = """
    SELECT id FROM purchases WHERE job_id = :job AND outcome = 'unknown' AND :consent IN ('', consent) ORDER BY id
"""
_IN_A_ROW = f"""
    SELECT count(*) FROM purchases
        WHERE outcome = 'refused' AND (id > {_LAST_CHARGED} OR id IN (SELECT value FROM json_each(?)))
"""  # noqa: S608 - as above
_IS_TRY = """
    CASE outcome WHEN 'open' THEN job_id IN (SELECT id FROM jobs WHERE state = 'held')
        ELSE sent OR told OR outcome IN ('refused', 'unknown') END
"""  # it has ended, and could have been charged: sent as a whole, answered, or held because nobody could read what was answered
_TRIES_OF = f"""
    {_SAME} SELECT count(*) FROM same WHERE {_IS_TRY} AND outcome <> 'charged'
        AND id > coalesce((SELECT max(id) FROM same WHERE outcome = 'charged'), 0)
"""  # noqa: S608 - of words of this module
_TRIES_IN_A_ROW = f"""
    WITH counted AS (
        SELECT id FROM purchases WHERE id > max(?1, {_LAST_CHARGED})
        UNION SELECT value FROM json_each(?2) WHERE value > ?1
    )
    SELECT count(*) FROM purchases WHERE id IN counted AND {_IS_TRY} AND outcome IN ('free', 'refused')
"""  # noqa: S608 - as above
_OWNERS = "SELECT id, job_id FROM purchases WHERE id IN (SELECT value FROM json_each(?))"
_OPEN_OF = "SELECT id FROM purchases WHERE outcome = 'open' AND job_id IN (SELECT value FROM json_each(?))"
_OPEN = "SELECT job_id FROM purchases WHERE id > ? AND outcome = 'open'"
_REFUNDABLE = """
    SELECT (SELECT count(*) FROM events WHERE id > :event AND (state = 'failing' OR code = 'task-failed')
            AND EXISTS (SELECT 1 FROM purchases
                WHERE purchases.job_id = events.job_id AND outcome NOT IN ('free', 'refused')))
        + (SELECT count(*) FROM purchases JOIN jobs ON jobs.id = job_id
            WHERE purchases.id <= :purchase AND outcome NOT IN ('free', 'refused') AND state = 'held'
            AND EXISTS (SELECT 1 FROM events WHERE job_id = jobs.id AND events.id > :event AND events.state = 'held'))
"""  # a task that failed, also one whose results were fetched all the same, or one that nobody can ask about


class PurchaseReader(ABC):
    """A part of the journal's reader; every method raises JournalError."""

    @abstractmethod
    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""

    @abstractmethod
    def _rows(self, query: str, values: Any = ()) -> list[sqlite3.Row]: ...  # noqa: ANN401 - as sqlite3 takes them

    @abstractmethod
    def _kept_rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Do the same where the daemon asks in every tick: a writer knows the answer until something is written."""

    @errors_in_words
    def spent_since(self, purchase: int) -> Mapping[str, Decimal]:
        """Return what was spent after a purchase, in credits, by top folder, "" for the inbox itself.

        What is not known to be free counts, by `price`: what is being sent, and what is held. What the vendor says to have been
        cheaper than the list counts as that only where the balance has confirmed it.
        """
        return self._spent(self._kept_rows(_SPENT_SINCE, (purchase,)))

    def _spent(self, rows: Iterable[Sequence[Any]]) -> Mapping[str, Decimal]:
        """Return what such purchases come to, by top folder: rows of `SPENT`."""
        spent: dict[str, Decimal] = {}
        for top, kind, listed, cost, is_charged, confirmed, count in rows:
            bought = Article(kind, Decimal(listed))
            least = bought.listed if is_charged else self.price(bought)
            each = Decimal(cost) if confirmed else max(Decimal(cost), least)
            spent[top] = spent.get(top, Decimal(0)) + each * count
        return spent

    @errors_in_words
    def price(self, article: Article) -> Decimal:
        """Return what this may cost, in credits: the dearest of the 20 newest charges for it, and at least the list price.

        What was refused since the newest charge counts as well.
        """
        costs = self._kept_rows(_COSTS_OF, (article.kind, str(article.listed)))
        return max([article.listed, *(Decimal(row[0]) for row in costs)])

    @errors_in_words
    def dearest(self) -> Decimal:
        """Return what the dearest of all that was ever bought here may cost now, in credits."""
        known = [Article(kind, Decimal(listed)) for kind, listed in self._kept_rows(_ARTICLES)]
        return max(map(self.price, [cheapest(), *known]))

    def _newest_costs(self) -> frozenset[Decimal]:
        return frozenset(Decimal(row[0]) for row in self._kept_rows(_NEWEST_COSTS))

    @errors_in_words
    def charged_since(self, at: float) -> Decimal:
        """Return what was charged for submits since an instant (UTC), in credits."""
        charged = self._rows(_CHARGED, _from_hour(at))
        return _sum((Decimal(cost), count) for cost, count in charged)

    @errors_in_words
    def charged_by_hour(self, since_at: float) -> Mapping[int, Decimal]:
        """Return what was charged since the hour of an instant (UTC), in credits, by the hour since 1970 in which its submit began."""
        return _sums(self._rows(_CHARGED_BY_HOUR, (int(since_at // _HOUR_SECONDS),)))

    @errors_in_words
    def charged_by_folder(self, since_at: float) -> Mapping[str, Decimal]:
        """Return what was charged for submits since an instant (UTC), in credits, by top folder."""
        return _sums(self._rows(_CHARGED_BY_FOLDER, _from_hour(since_at)))

    def charged_after(self, purchase: int) -> Decimal:
        """Return what was charged for submits after a purchase, in credits; for one that is not long ago."""
        return _sum((Decimal(cost), count) for cost, count in self._kept_rows(_CHARGED_AFTER, (purchase,)))

    def charged_by_kind(self) -> Mapping[str, Decimal]:
        """Return what was ever charged for submits, in credits, by kind of job; kinds without a charge are left out."""
        return _sums(self._rows(_CHARGED_BY_KIND))

    def newest_purchase(self) -> int:
        """Return the number of the newest purchase, 0 without any."""
        return int(self._kept_rows(_NEWEST)[0][0])

    def newest_event(self) -> int:
        """Return the number of the newest event of a job, 0 without any."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    @errors_in_words
    def purchases_since(self, purchase: int, aged_event: int) -> Since:
        """Return what happened to the money after a purchase; failed and lost tasks count if an event after `aged_event` records it."""
        rows = [
            (outcome, Decimal(cost), Decimal(listed), count, found)
            for outcome, cost, listed, count, found in self._rows(_SINCE, (purchase,))
        ]
        last = self._rows(_LAST_COST)
        known = {Decimal(row[0]) for row in self._rows(_CONFIRMED)}
        return Since(
            charged=_sum((cost, count) for outcome, cost, _, count, _ in rows if outcome == "charged"),
            accepted=sum(count for outcome, _, _, count, _ in rows if outcome == "charged"),
            unknown=sum(count for outcome, _, _, count, _ in rows if outcome in _UNDECIDED),
            at_stake=_sum((cost, count) for outcome, cost, _, count, _ in rows if outcome in _UNDECIDED),
            undecided=frozenset(row[0] for row in self._rows(_OPEN, (purchase,))),
            refundable=self._rows(_REFUNDABLE, {"purchase": purchase, "event": aged_event})[0][0],
            decided=sum(decided for *_, decided in rows),
            refused=self.refused_since(purchase),
            gratis=bool(last) and not Decimal(last[0][0]),
            prices=self._newest_costs() or frozenset({cheapest().listed}),
            unconfirmed=any(
                outcome == "charged" and cost != listed and cost not in known for outcome, cost, listed, *_ in rows
            ),
        )

    def refused_since(self, purchase: int) -> tuple[Refusal, ...]:
        """Return the submits after a purchase that were refused and are not known to have been free, oldest first."""
        return tuple(map(_refusal, self._kept_rows(f"{_REFUSED} AND id > ? ORDER BY id", (purchase,))))

    def refused_of(self, fingerprint: str, dropped: str = "") -> tuple[Refusal, ...]:
        """Return the same of one content, of all times; and of what was dropped for it, whatever plugins made of that."""
        return tuple(map(_refusal, self._rows(_REFUSED_OF, {"content": fingerprint, "dropped": dropped})))

    def may_have_bought(self, job_id: str) -> bool:
        """Return whether a submit of this job was charged, or may have been, other than by a refusal."""
        return bool(self._rows(_MAY_HAVE_BOUGHT, (job_id,)))

    def unknown_of(self, job_id: str, consent: str) -> tuple[int, ...]:
        """Return the submits of a job that may have been charged, and that its consent does not allow to pay for once more."""
        return tuple(row[0] for row in self._rows(_UNKNOWN_OF, {"job": job_id, "consent": consent}))

    def failed_tries(self, fingerprint: str, dropped: str = "") -> FailedTries:
        """Return how many submits of one content, or of what was dropped for it, came to nothing, since it was charged."""
        same = {"content": fingerprint, "dropped": dropped}
        tries = int(self._rows(_TRIES_OF, same)[0][0])
        allowed = bool(self._rows(_REFUSED_ON_A_WORD, same))
        return FailedTries(len(self.refused_of(fingerprint, dropped)), tries, allowed)

    def in_a_row(self) -> InARow:
        """Return how many submits of the account came to nothing, since the newest one that was charged.

        What was under way then counts when it is refused later, whenever it began.
        """
        beside = json.dumps(self.meta(BESIDE) or [])
        tries = self._kept_rows(_TRIES_IN_A_ROW, (self.meta(LOOKED) or 0, beside))
        return InARow(int(self._kept_rows(_IN_A_ROW, (beside,))[0][0]), int(tries[0][0]))

    def open_of(self, jobs: Iterable[str]) -> tuple[int, ...]:
        """Return the open purchases of these jobs."""
        return tuple(row[0] for row in self._rows(_OPEN_OF, (json.dumps(sorted(jobs)),)))

    def owners(self, purchases: Iterable[int]) -> Mapping[int, str]:
        """Return the ids of the jobs that these purchases are of."""
        return {row[0]: row[1] for row in self._rows(_OWNERS, (json.dumps(sorted(purchases)),))}


def _refusal(row: sqlite3.Row) -> Refusal:
    return Refusal(row[0], row[1], row[2], Decimal(row[3]))


def _from_hour(at: float) -> Mapping[str, float]:
    """Return an instant, and its hour, as queries that count whole hours ask for them."""
    return {"at": at, "hour": int(at // _HOUR_SECONDS)}


def _sums(rows: Iterable[Sequence[Any]]) -> dict[Any, Decimal]:
    """Return sums by their keys: rows of a key, a cost and how many."""
    found: dict[Any, Decimal] = {}
    for key, cost, count in rows:
        found[key] = found.get(key, Decimal(0)) + Decimal(cost) * count
    return found


def _sum(costs: Iterable[tuple[Decimal, int]]) -> Decimal:
    return sum((cost * count for cost, count in costs), Decimal(0))


_LAST_LETTER = "\U0010ffff"
_HOUR_SECONDS = 3600
"""What the table of charges counts together."""

_SAME_CONTENT = """
    WITH content AS (SELECT value FROM json_each(:content)),
        bought AS (
            SELECT job_id, outcome FROM purchases
                WHERE fingerprint IN content AND outcome <> 'free'
            UNION ALL SELECT job_id, outcome FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
        )
    SELECT doc FROM jobs WHERE id <> :besides AND (
        id IN (SELECT id FROM jobs WHERE fingerprint IN content AND fingerprint <> '' AND state <> 'failed')
        OR id IN (SELECT job_id FROM bought WHERE outcome <> 'refused')
    ) ORDER BY state IN ('archived', 'failed'), state = 'failed', created_at DESC LIMIT 1
"""  # a live one first: it must not be joined by a second; then one that has a result
_BOUGHT = """
    WITH same AS (
        SELECT id FROM purchases WHERE fingerprint IN (SELECT value FROM json_each(:content))
            AND outcome <> 'free'
        UNION SELECT id FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
    )
    SELECT doc, consent FROM purchases JOIN jobs ON jobs.id = job_id
        WHERE purchases.id IN same AND job_id <> :besides AND outcome <> 'refused'
        ORDER BY created_at DESC, purchases.id DESC
"""
_MADE = """
    SELECT doc FROM jobs WHERE id = (
        SELECT job_id FROM results AS made
            WHERE sha256 = (SELECT value FROM json_each(:contents) LIMIT 1) AND job_id <> :besides
            AND given IN (SELECT value FROM json_each(:given)) AND kind IN (SELECT value FROM json_each(:kinds))
            AND NOT EXISTS (SELECT 1 FROM json_each(:contents) AS one
                WHERE NOT EXISTS (SELECT 1 FROM results WHERE sha256 = one.value))
            AND NOT EXISTS (SELECT 1 FROM json_each(:contents) AS one WHERE NOT EXISTS (SELECT 1 FROM results
                WHERE sha256 = one.value AND given IN (SELECT value FROM json_each(:given)) AND job_id = made.job_id))
            LIMIT 1
    )
"""  # first whether each content is a result of any job: that one is in many jobs, and another one in none, is usual
_NEWEST_IN = """
    SELECT * FROM (
        SELECT rowid AS number, changed_at AS at, id AS name FROM jobs WHERE state = ? AND changed_at >= ?
            ORDER BY changed_at DESC, id LIMIT ?
    )
"""  # in the order of `jobs_by_state`: no more rows are read than are wanted
_OF_NUMBERS = "SELECT rowid, doc FROM jobs WHERE rowid IN (SELECT value FROM json_each(?))"
_AT_FIRST: Final = 20
"""How many jobs of a long list come before the others are put in order."""

_AT_ONCE: Final = 500
"""How many jobs are in memory at once where a caller asks for all, one by one."""

_DURATIONS = """
    SELECT vendor_seconds FROM jobs WHERE kind = ? AND vendor_seconds IS NOT NULL ORDER BY created_at DESC LIMIT ?
"""
_IN_ORDER: Final[Mapping[ListOrder, tuple[str, str, str]]] = {
    ListOrder.NEWEST: ("created_at", "<", "created_at DESC, id DESC"),
    ListOrder.OLDEST: ("created_at", ">", "created_at, id"),
    ListOrder.NAME: ("name COLLATE NOCASE", ">", "name COLLATE NOCASE, id"),
    ListOrder.COST: (schema.COST, "<", f"{schema.COST} DESC, id DESC"),
}
"""What a list is ordered by, how its next page compares with the last job of the page before, and the order."""

_FIRST: Final[Mapping[ListOrder, tuple[float | str, str]]] = {
    ListOrder.NEWEST: (1e18, ""),
    ListOrder.OLDEST: (-1e18, ""),
    ListOrder.NAME: ("", ""),
    ListOrder.COST: (1e18, ""),
}
"""Before the first job of a list."""

_TOP_FOLDERS = """
    WITH RECURSIVE found AS (
        SELECT min(top) AS top FROM jobs
        UNION ALL SELECT (SELECT min(top) FROM jobs WHERE top > found.top) FROM found WHERE found.top IS NOT NULL LIMIT ?
    )
    SELECT top FROM found WHERE top IS NOT NULL
"""  # from one to the next: the jobs of each are not read
_MOST_FOUND: Final = 5
"""So many jobs are named where a person has to choose."""

_FIND = f"""
    SELECT doc FROM jobs WHERE id IN (
        SELECT * FROM (SELECT id FROM jobs WHERE id >= :begins AND id < :ends ORDER BY id LIMIT {_MOST_FOUND})
        UNION SELECT * FROM (SELECT id FROM jobs WHERE name = :name ORDER BY created_at DESC LIMIT {_MOST_FOUND})
    ) ORDER BY id = :name DESC, created_at DESC LIMIT {_MOST_FOUND}
"""  # noqa: S608 - a number; a whole id is the first of those that begin with it
_SIBLINGS = """
    SELECT doc FROM jobs WHERE name = :name AND json_valid(doc) AND json_extract(doc, '$.batch.id') = :batch
    ORDER BY created_at, rowid
"""
_COUNTS = f"""
    SELECT state, count(*) FROM jobs WHERE state IN ({", ".join(f"'{s}'" for s in State if s not in ENDED)}) GROUP BY state
    UNION ALL SELECT state, jobs FROM ended WHERE jobs > 0
"""  # noqa: S608 - the names of states
_NEWEST_AT = " UNION ALL ".join(
    [
        "SELECT max(at) AS at FROM service_events",
        *(f"SELECT max(changed_at) FROM jobs WHERE state = '{s}'" for s in State),  # noqa: S608 - as above
    ]
)
_NEWEST_FIRST = "ORDER BY id DESC LIMIT :limit"
_CONDENSED = "SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND condensed_at <> 0.0"
_ENDED: Final = ", ".join(f"'{s}'" for s in sorted(ENDED))
_OLD = f"""
    SELECT id, changed_at, doc FROM jobs INDEXED BY jobs_to_condense WHERE changed_at < :before AND condensed_at = 0.0
        AND (state IN ('archived', 'returned') OR state = 'failed' AND place GLOB 'archive/*')
        AND NOT EXISTS (SELECT 1 FROM hook_runs WHERE job_id = jobs.id AND outcome = 'due')
        AND NOT EXISTS (SELECT 1 FROM purchases WHERE job_id = jobs.id AND outcome = 'open')
        AND json_valid(doc)
        AND NOT EXISTS (SELECT 1 FROM jobs AS next WHERE next.id = json_extract(jobs.doc, '$.then.job_id')
            AND next.state NOT IN ({_ENDED}))
        AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.name = jobs.name AND other.state NOT IN ({_ENDED})
            AND json_valid(other.doc) AND json_extract(other.doc, '$.batch.id') = json_extract(jobs.doc, '$.batch.id'))
    ORDER BY changed_at LIMIT :limit
"""  # noqa: S608 - the names of states
_WITH_FILE = """
    SELECT doc FROM jobs WHERE id IN (SELECT job_id FROM input_names WHERE name = json_extract(?, '$'))
    ORDER BY created_at DESC
"""  # the name as JSON: so a name that is no UTF-8 is decoded as it was when it was stored


class JournalReader(PurchaseReader, HookRunReader):
    """Read the journal; from any process and thread of its own, while the daemon runs or not.

    Opening raises JournalError when there is no journal, it is damaged, of another version, or may not be read; so do
    all methods, and JournalBusyError while another program keeps it locked. One that was opened while no daemon ran, by a user who may not write next to the file, sees the file as
    it is and nothing that comes later: open it again for each look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with in_words(f"The journal {path} cannot be read", how_to_recover(path)):
            self._db = open_read_only(path)
            with closed_on_error(self._db):
                check_version(self._db, path)
                if self.schema_version() < schema.VERSION:
                    raise OldJournalError(f"The journal {path} is not set up for this version of rodin_watchd.")

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._db.close()

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def find(self, prefix: str) -> Job:
        """Return the one job whose id is or begins with `prefix`, or whose set has this name, raw or as it is shown.

        A whole id wins over everything else. Raises CommandRefusedError when there is none, or several.
        """
        shown = printable(prefix)
        begins = shown.lower()  # ids are
        ends = f"{begins}{_LAST_LETTER}" if begins else ""
        found = self._jobs(_FIND, {"begins": begins, "ends": ends, "name": shown})
        if not found:
            raise CommandRefusedError(f"There is no job “{shown}”.", advice="`rodin-watchd list` shows them all.")
        if len(found) > 1 and found[0].id != shown:
            ids = ", ".join(job.id for job in found)
            raise CommandRefusedError(f"“{shown}” fits several jobs: {ids}.", advice="Name one of them by its id.")
        return self._whole(found[0])

    def siblings(self, job: Job) -> list[Job]:
        """Return all jobs of a job's set, if that makes several, this one as well, in the order in which they were begun."""
        if job.batch is None:
            return []
        return self._jobs(_SIBLINGS, {"name": printable(job.name), "batch": job.batch.id})

    def jobs(self, states: Iterable[State] = State, limit: int = -1, changed_since: float = 0.0) -> list[Job]:
        """Return the jobs in these states that have changed since (UTC), newest change first; `limit` < 0 means all."""
        newest, values = _newest(states, limit, changed_since)
        query = f"SELECT doc FROM ({newest}) JOIN jobs ON jobs.rowid = number ORDER BY at DESC, jobs.id"  # noqa: S608 - as above
        return self._jobs(query, values)

    def each_job(self, states: Iterable[State] = State, limit: int = -1) -> Iterator[Job]:
        """Yield the same in the same order, however many there are, with only a few in memory at once.

        Each is as it is when it comes; one that has left these states meanwhile is left out.
        """
        wanted = frozenset(states)
        first = self._numbers(wanted, _AT_FIRST if limit < 0 else min(limit, _AT_FIRST))
        yield from self._numbered(first, wanted)
        if len(first) == _AT_FIRST != limit:  # all of them are put in order only when the first ones have been seen
            shown = frozenset(first)
            rest = array("q", (number for number in self._numbers(wanted, limit) if number not in shown))
            yield from self._numbered(rest if limit < 0 else rest[: limit - len(first)], wanted)

    @errors_in_words
    def _numbers(self, states: Iterable[State], limit: int) -> array[int]:
        newest, values = _newest(states, limit)
        return array("q", (row["number"] for row in self._db.execute(newest, values)))

    def _numbered(self, numbers: array[int], states: frozenset[State]) -> Iterator[Job]:
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            found = {row["rowid"]: row["doc"] for row in self._rows(_OF_NUMBERS, (json.dumps(list(some)),))}
            with in_words():
                jobs = [rows.job(found[number]) for number in some if number in found]
            yield from (job for job in jobs if job.state in states)

    def listed(self, wanted: Listing) -> list[Job]:
        """Return one page of a list of jobs."""
        query, values = _page(wanted)
        return self._jobs(query, values)

    @errors_in_words
    def top_folders(self, limit: int) -> list[str]:
        """Return the top folders below the inbox that jobs came from, sorted; "" stands for the inbox itself."""
        return [str(row["top"]) for row in self._rows(_TOP_FOLDERS, (limit,))]

    def same_content(self, fingerprints: Sequence[str], besides: str, dropped: str = "") -> Job | None:
        """Return another job that has this content, or was, or may have been, charged for it; None if there is none.

        `dropped` is the fingerprint of what was dropped: a job that was charged for the same is one, too.

        The live one comes first, then the newest that was delivered; a failed one that cost nothing does not count.
        """
        values = {"content": json.dumps(fingerprints), "besides": rows.plain(besides), "dropped": dropped}
        return next(iter(self._jobs(_SAME_CONTENT, values)), None)

    @errors_in_words
    def bought(
        self, fingerprints: Sequence[str], besides: str, consent: str | None = None, dropped: str = ""
    ) -> Job | None:
        """Return the newest other job that was, or may have been, charged for this content, or for the same drop, if any was.

        With a consent: by this one, or while its TOML file gave this one.
        """
        values = {"content": json.dumps(fingerprints), "besides": rows.plain(besides), "dropped": dropped}
        found = self._rows(_BOUGHT, values)
        bought = ((rows.job(doc), spent) for doc, spent in found)
        return next((job for job, spent in bought if consent in (None, spent, of_set(job.again))), None)

    def made(self, origin: Provenance, besides: str) -> Job | None:
        """Return another job that all of these contents came out of, as they came or as plugins left them."""
        values = {
            "contents": json.dumps(sorted(origin.contents)),
            "given": json.dumps([0, 1] if origin.given else [0]),
            "kinds": json.dumps(sorted(origin.kinds)),
            "besides": rows.plain(besides),
        }
        return next(iter(self._jobs(_MADE, values)), None)

    def job(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        found = self._jobs("SELECT doc FROM jobs WHERE id = ?", (rows.plain(job_id),))
        return self._whole(found[0]) if found else None

    def _whole(self, job: Job) -> Job:
        """Return a job with its details, from the archive file if they were moved there and it can be read."""
        if job.condensed_at:
            with contextlib.suppress(JournalError), contextlib.closing(ArchiveReader(self.path)) as archive:
                return replace(archive.job(job.id) or job, condensed_at=job.condensed_at)
        return job

    def _archived(self, job_ids: str, query: str) -> list[sqlite3.Row]:
        moved = self._rows(_CONDENSED, (job_ids,))
        if not moved:
            return []
        with contextlib.closing(ArchiveReader(self.path)) as archive:
            return [row for (job_id,) in moved for row in archive.rows(query, job_id)]

    def old_jobs(self, before_at: float, now: float, limit: int) -> list[OldRows]:
        """Return all that is known of jobs that ended before an instant (UTC) and that nothing asks for any more, oldest first.

        A failed set stays until it is cleared: its folder is in `failed/`. So does a job with a call that a plugin is owed, one
        that another job goes on from, one of a set whose other jobs have not ended, and one that cannot be read.
        """
        found = self._rows(_OLD, {"before": before_at, "limit": limit})
        return [self._old(row, now) for row in found]

    @errors_in_words
    def _old(self, row: sqlite3.Row, now: float) -> OldRows:
        job = rows.job(row["doc"])
        events, runs = self._rows(OF_EVENTS, (row["id"],)), self._rows(OF_RUNS, (row["id"],))
        newest = max((event["id"] for event in events), default=0), max((run["at"] for run in runs), default=0.0)
        return OldRows(OldJob(condensed(job, now), row["changed_at"], *newest), row["doc"], events, runs)

    def newest_with(self, fingerprint: str, dropped: str) -> Job | None:
        """Return the job of the newest purchase of a content, or of what was dropped for it."""
        query = """SELECT doc FROM jobs WHERE id = (SELECT job_id FROM (
                       SELECT id, job_id FROM purchases WHERE fingerprint = :content
                       UNION SELECT id, job_id FROM purchases WHERE dropped = :dropped AND dropped <> ''
                   ) ORDER BY id DESC LIMIT 1)"""
        return next(iter(self._jobs(query, {"content": rows.plain(fingerprint), "dropped": dropped})), None)

    def with_task(self, uuid: str) -> Job | None:
        """Return the job that has this task of the vendor, or had it before it was paid again."""
        query = "SELECT doc FROM jobs WHERE id = (SELECT job_id FROM tasks WHERE uuid = ?)"
        return next(iter(self._jobs(query, (rows.plain(uuid),))), None)

    def had_task_before(self, job_id: str, other_id: str) -> bool:
        """Return whether a job had its task before the newest upload of another one began; by the order of events, not by any clock."""
        query = """SELECT (SELECT max(id) FROM events WHERE job_id = ? AND action IN ('submitted', 'resolve'))
                       < (SELECT max(id) FROM events WHERE job_id = ? AND action = 'uploading')"""
        return bool(self._rows(query, (rows.plain(job_id), rows.plain(other_id)))[0][0])

    def having_task(self, uuid: str) -> list[Job]:
        """Return the jobs that have this task of the vendor now."""
        return self._jobs("SELECT doc FROM jobs WHERE task_uuid = ?", (rows.plain(uuid),))

    def with_file(self, name: str) -> list[Job]:
        """Return the jobs that have or had an input of this name, newest first."""
        return self._jobs(_WITH_FILE, (json.dumps(name),))

    def has_condensed(self) -> bool:
        """Return whether the details of any job are in the archive file. It reads all jobs where none are."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE condensed_at <> 0.0 LIMIT 1"))

    def with_originals(self) -> list[Job]:
        """Return the jobs whose files stay in the inbox, newest first."""
        query = """SELECT doc FROM jobs WHERE instr(doc, '"originals":[[') > 0 ORDER BY created_at DESC"""
        return self._jobs(query)

    def lease(self, job_id: str) -> JobLease:
        """Return the newest lease of a job, over or not."""
        found = self._rows("SELECT owner, lease_until FROM jobs WHERE id = ?", (rows.plain(job_id),))
        return JobLease(*found[0]) if found else NO_LEASE

    # ---- numbers and history ----------------------------------------------------------------------------------------

    @errors_in_words
    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""
        return {State(row[0]): row[1] for row in self._rows(_COUNTS)}

    @errors_in_words
    def events(self, job_id: str) -> list[Event]:
        """Return a job's whole history, oldest first."""
        moved = self._archived(json.dumps([rows.plain(job_id)]), OF_EVENTS)
        found = {row["id"]: row for row in (*moved, *self._rows(OF_EVENTS, (rows.plain(job_id),)))}
        return [rows.event(found[number]) for number in sorted(found)]

    @errors_in_words
    def service_events(self, limit: int = -1, since_at: float = 0.0, kinds: Iterable[str] = ()) -> list[ServiceEvent]:
        """Return the service's own history since an instant (UTC), newest first, of these kinds or all; `limit` < 0: all."""
        asked = {f"kind_{number}": kind for number, kind in enumerate(kinds)}
        table, since = "service_events", "1"
        if since_at:
            table, since = "service_events INDEXED BY service_events_by_time", "at >= :since_at"
        where = [f"{since} AND kind = :{name}" for name in asked] or [since]
        newest = " UNION ALL ".join(
            f"SELECT * FROM (SELECT * FROM {table} WHERE {one} {_NEWEST_FIRST})"  # noqa: S608 - as above
            for one in where
        )
        query = f"SELECT at, kind, message, subject, code FROM ({newest}) {_NEWEST_FIRST}"  # noqa: S608 - as above
        values = {**asked, "since_at": since_at, "limit": limit}
        return [ServiceEvent(*row) for row in self._rows(query, values)]

    def newest_at(self) -> float | None:
        """Return the newest instant (UTC) of all events, None without any: a clock that says less was set back."""
        at = self._value(f"SELECT max(at) FROM ({_NEWEST_AT})")  # noqa: S608 - as above
        return None if at is None else float(at)

    def begun_at(self) -> float | None:
        """Return when (UTC) the first job was taken, None if none was."""
        found = self._kept_rows("SELECT at FROM events ORDER BY id LIMIT 1")
        return float(found[0][0]) if found else None

    def durations(self, kind: str, limit: int = 50) -> list[float]:
        """Return how long the newest tasks of this kind took, in seconds from submit to Done."""
        return [row[0] for row in self._rows(_DURATIONS, (kind, limit))]

    # ---- what else is kept ------------------------------------------------------------------------------------------

    @errors_in_words
    def gate(self, up_to: int | None = None) -> dict[GateKey, Pass]:
        """Return what was decided about the sets in the inbox; or only what was stored up to a number."""
        query = "SELECT name, verdict FROM gate WHERE :up_to IS NULL OR id <= :up_to ORDER BY id"
        return {rows.gate_key(row["name"]): Pass(row["verdict"]) for row in self._rows(query, {"up_to": up_to})}

    def newest_held(self) -> int:
        """Return the number of the newest set that is held for approval, 0 without any; no number is given twice."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM gate WHERE verdict = 'held'"))

    def newest_command(self, verb: str) -> int:
        """Return the number of the newest command of this kind, answered or not, 0 without any."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM commands WHERE verb = ?", (verb,)))

    @errors_in_words
    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""
        found = self._kept_rows("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    @errors_in_words
    def answer(self, command_id: int) -> dict[str, Any] | None:
        """Return the daemon's answer to a command, None while it is open."""
        stored = self._value("SELECT answer FROM commands WHERE id = ?", (command_id,))
        return dict(json.loads(stored)) if stored else None

    def version(self) -> int:
        """Return a number that is another one after any other process has written, as long as this reader is open."""
        return int(self._value("PRAGMA data_version"))

    def interrupt(self) -> None:
        """Have the question end with an error that another thread asks through this object now; from any thread, also when closed."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            self._db.interrupt()

    def quick_check(self) -> str:
        """Return "ok", or what SQLite finds damaged. Reads all of the file."""
        return str(self._value("PRAGMA quick_check(1)"))

    def schema_version(self) -> int:
        """Return the number of the schema that the file has."""
        return int(self._value("PRAGMA user_version"))

    # ---- asking SQLite ----------------------------------------------------------------------------------------------

    @errors_in_words
    def _rows(self, query: str, values: Any = ()) -> list[sqlite3.Row]:  # noqa: ANN401 - as sqlite3 takes them
        """Ask, and read all of the answer: an open statement would hold up the writer's checkpoints."""
        return self._db.execute(query, values).fetchall()

    def _kept_rows(self, query: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Do the same; a reader never knows what the writer writes meanwhile."""
        return self._rows(query, values)

    @errors_in_words
    def _jobs(self, query: str, values: Any = ()) -> list[Job]:  # noqa: ANN401 - as sqlite3 takes them
        return [rows.job(row["doc"]) for row in self._rows(query, values)]

    def _value(self, query: str, values: Any = ()) -> Any:  # noqa: ANN401 - whatever is stored
        found = self._rows(query, values)
        return found[0][0] if found else None


def _newest(states: Iterable[State], limit: int, changed_since: float = 0.0) -> tuple[str, tuple[object, ...]]:
    """Return the query for the numbers of the jobs in these states that have changed since, newest change first, and its values."""
    wanted = tuple(dict.fromkeys(states))
    one_by_one = " UNION ALL ".join([_NEWEST_IN] * len(wanted)) or "SELECT 0 AS number, 0 AS at, '' AS name WHERE 0"
    values = [value for state in wanted for value in (state.value, changed_since, limit)]
    return f"{one_by_one} ORDER BY at DESC, name LIMIT ?", (*values, limit)


def _page(wanted: Listing) -> tuple[str, dict[str, object]]:
    """Return the query for one page of a list, and its values.

    All but delivered jobs are few, or are found by an index of their own: they are sorted. Else the list is walked in its order.
    """
    key, compares, order = _IN_ORDER[wanted.order]
    last, last_id = wanted.after or _FIRST[wanted.order]
    values: dict[str, object] = {"last": plain(last), "last_id": last_id, "limit": wanted.limit}
    where = [
        f"{key} {compares}= :last",
        f"({key} {compares} :last OR id {compares} :last_id)",
        *_conditions(wanted, values),
    ]
    if State.ARCHIVED in wanted.states:
        chosen = [] if wanted.states == frozenset(State) else [f"+state IN ({_quoted(wanted.states)})"]
        pages = [[*chosen, *where]]
    else:
        one_by_one = (f"state = '{state}'{_NOT_DELIVERED if state in ENDED else ''}" for state in sorted(wanted.states))
        pages = [[one, *where] for one in one_by_one]
    numbers = " UNION ALL ".join(
        f"SELECT * FROM (SELECT rowid AS number FROM jobs WHERE {' AND '.join(page)} ORDER BY {order} LIMIT :limit)"  # noqa: S608 - of words of this module
        for page in pages
    )
    return f"SELECT doc FROM jobs WHERE rowid IN ({numbers}) ORDER BY {order} LIMIT :limit", values  # noqa: S608 - as above


_NOT_DELIVERED: Final = " AND state IN ('failed', 'returned')"
"""As the index says it: by that SQLite knows that it may be used."""


def _lower(text: str) -> str:
    """Return a text as SQLite's `lower` makes it: of ASCII letters alone."""
    return text.translate(_LOWER)


_LOWER: Final = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}


def _quoted(states: Iterable[State]) -> str:
    return ", ".join(f"'{state}'" for state in states)


def _conditions(wanted: Listing, values: dict[str, object]) -> Iterator[str]:
    """Yield what a list asks of its jobs besides their state, and add the values."""
    if wanted.folder is not None:
        top, _, below = wanted.folder.partition("/")
        values["top"] = plain(top)
        yield "top = :top"
        if below:
            values["folder"] = plain(wanted.folder)
            yield "(folder = :folder OR substr(folder, 1, length(:folder) + 1) = :folder || '/')"
    if wanted.kind:
        mine = KINDS[wanted.kind].duration_prefix
        values["kind"] = mine
        yield "substr(kind, 1, length(:kind)) = :kind"
        for number, other in enumerate(kind.duration_prefix for kind in KINDS.values()):
            if other != mine and other.startswith(mine):
                values[f"kind_{number}"] = other
                yield f"substr(kind, 1, length(:kind_{number})) <> :kind_{number}"
    if wanted.text:
        values["text"] = _lower(plain(wanted.text))
        yield "instr(lower(folder || '/' || name), :text) > 0"


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError for a journal that a newer program wrote."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise JournalError(
            f"The journal {path} was written by a newer rodin_watchd (schema {version}, this one knows {schema.VERSION}).",
            advice="Install the newer version again: this version cannot read its journal, and could pay twice.",
        )
