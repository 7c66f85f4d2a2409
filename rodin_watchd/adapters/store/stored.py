"""What is asked of a store and written into it, in whatever database: the queries that all of them take, and what rows mean.

A query names its values (`:name`); `IN (:name*)` stands for a list. Each kind of database gives them its own form, has the
queries that are not the same everywhere (`Dialect`), and says what its errors mean: only JournalError and DiskError get out.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias

from rodin_watchd.adapters.store import codec as rows
from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.files import errors_in_words, in_words
from rodin_watchd.adapters.store.schema import BLOCK
from rodin_watchd.core.approval import Changes, GateKey, Pass
from rodin_watchd.core.condensing import condensed
from rodin_watchd.core.dedup import Provenance, of_set
from rodin_watchd.core.kinds import KINDS, Article, cheapest
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.proof import Refusal, Since
from rodin_watchd.core.refusals import BESIDE, LOOKED, FailedTries, InARow
from rodin_watchd.core.store import (
    DUE,
    MOVED_TO,
    NO_META,
    NOTHING_BESIDE,
    SILENT,
    Announcer,
    Beside,
    Command,
    CommandReply,
    Listing,
    ListOrder,
    OldJob,
    ServedRoot,
)
from rodin_watchd.errors import CommandRefusedError, JournalError
from rodin_watchd.model import Event, HookRun, Job, OwedCall, ServiceEvent, State, Transition

Values: TypeAlias = Mapping[str, object]
NO_VALUES: Final[Values] = MappingProxyType({})
ALL: Final = 2**62
"""A limit that nothing reaches."""


class StoredRow(Protocol):
    """A stored row: its columns by their names, or in their order."""

    def __getitem__(self, key: Any, /) -> Any: ...  # noqa: ANN401 - a name or a number; whatever is stored
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What is not the same in every database: queries and parts of them."""

    newest_costs: str  # of the 20 newest charges
    commands: str  # the table of those of all roots
    tries_in_a_row: str  # how many, after the purchase `looked`, or of those `beside`
    made: str  # the job that made `contents`
    siblings: str  # the jobs of this name in this batch
    old: str  # what can be condensed
    with_file: str
    with_originals: str
    save: str  # a job's row, new or known
    condense: str
    free_uploads: str
    cost: str  # of a job, in credits, as an index has it
    name: str  # of a job, to put lists in order without upper and lower case of ASCII letters
    by_state: str  # the state, where no index of it is to be used
    position: str  # the function that finds a text in another one
    recent_events: str  # the service's events, found by their time

    def in_order(self, order: ListOrder) -> tuple[str, str, str]:
        """Return what a list is ordered by, how its next page compares with the last job of the page before, and the order."""
        return {
            ListOrder.NEWEST: ("created_at", "<", "created_at DESC, id DESC"),
            ListOrder.OLDEST: ("created_at", ">", "created_at, id"),
            ListOrder.NAME: (self.name, ">", f"{self.name}, id"),
            ListOrder.COST: (self.cost, "<", f"{self.cost} DESC, id DESC"),
        }[order]


# ---- What is known of an old job ------------------------------------------------------------------------------------


EVENT_COLUMNS: Final = "job_id, id, at, action, state, message, code"
RUN_COLUMNS: Final = (
    "job_id, id, event_id, hook, plugin, outcome, arguments, attempts, not_before, value, told, output, seconds, at"
)
OF_EVENTS: Final = f"SELECT {EVENT_COLUMNS} FROM events WHERE job_id = :job ORDER BY id"  # noqa: S608 - the columns stand above
OF_RUNS: Final = f"SELECT {RUN_COLUMNS} FROM hook_runs WHERE job_id = :job ORDER BY id"  # noqa: S608 - as above
"""A job's history, and the calls of its plugins; in the store and in its archive."""


class OldRows(NamedTuple):
    """All that the store has of an old job."""

    known: OldJob
    doc: str
    events: Sequence[StoredRow]
    runs: Sequence[StoredRow]


# ---- The calls of plugins' hooks in the journal: what was made is not made again, what is owed is not forgotten -----


_COLUMNS = "id, event_id, job_id, hook, plugin, outcome, arguments, attempts, not_before, value, told, output, seconds"
_INSERT = """
    INSERT INTO hook_runs (event_id, job_id, hook, plugin, arguments, outcome, attempts, not_before, value, told, output,
        seconds, at)
    VALUES (:event_id, :job_id, :hook, :plugin, :arguments, :outcome, :attempts, :not_before, :value, :told, :output,
        :seconds, :at)
    ON CONFLICT (event_id, plugin) DO UPDATE SET outcome = excluded.outcome, attempts = excluded.attempts,
        value = excluded.value, told = excluded.told, output = excluded.output, seconds = excluded.seconds, at = excluded.at
"""
_OWE = _INSERT.partition("ON CONFLICT")[0] + "ON CONFLICT (event_id, plugin) DO NOTHING"
_DUE = f"""
    SELECT {_COLUMNS} FROM hook_runs WHERE outcome = 'due' AND plugin || ':' || hook IN (:hooks*)
    ORDER BY not_before, id LIMIT :limit
"""  # noqa: S608 - the columns stand above
_OF_JOBS = f"""
    SELECT {_COLUMNS} FROM hook_runs WHERE job_id IN (:jobs*) ORDER BY id
"""  # noqa: S608 - as above
_UPDATE = """
    UPDATE hook_runs SET outcome = :outcome, attempts = :attempts, not_before = :not_before, value = :value, told = :told,
        output = :output, seconds = :seconds, at = :at
    WHERE id = :id
"""
_EVENT_OF_PLUGIN = """
    INSERT INTO events (job_id, at, action, state, message) SELECT id, :at, 'plugin', state, :message FROM jobs WHERE id = :job
"""
_AGAIN = """
    UPDATE hook_runs SET outcome = 'due', attempts = 0, not_before = :now
    WHERE id IN (SELECT max(id) FROM hook_runs WHERE job_id = :job AND hook = :hook GROUP BY plugin) AND plugin IN (:plugins*)
"""


class HookRunReader(ABC):
    """A part of a store's reader; every method raises JournalError."""

    @abstractmethod
    def _rows(self, query: str, values: Values = NO_VALUES) -> Sequence[StoredRow]: ...

    @abstractmethod
    def _archived(self, job_ids: Sequence[str], query: str) -> list[StoredRow]:
        """Return what the archive has of those jobs whose details were moved there: rows of `OF_EVENTS` or `OF_RUNS`."""

    def runs_of(self, job_ids: Iterable[str]) -> list[HookRun]:
        """Return all calls of hooks for these jobs, the first first."""
        wanted = [plain(job_id) for job_id in job_ids]
        found = [*self._archived(wanted, OF_RUNS), *self._rows(_OF_JOBS, {"jobs": wanted})]
        return sorted(map(_run, found), key=lambda run: run.id)

    def due_runs(self, hooks: Sequence[str], limit: int) -> list[HookRun]:
        """Return the calls that are owed to these hooks of plugins (`PLUGIN:HOOK`), the first due first."""
        return [_run(row) for row in self._rows(_DUE, {"hooks": list(hooks), "limit": limit})]


class HookRunWriter(ABC):
    """A part of a store: every call is one transaction, and raises DiskError or JournalError."""

    @abstractmethod
    def _transaction(self, *, vital: bool = False) -> AbstractContextManager[None]:
        """Make all that is written within it one transaction, or a part of the one that `together` makes."""

    @abstractmethod
    def _write(self, query: str, values: Values = NO_VALUES) -> int:
        """Change rows, in a transaction; return how many."""

    def note_run(self, run: HookRun, words: str, now: float) -> None:
        """Store what came of a call, and record it in the history of its job."""
        with self._transaction():
            self._write(_EVENT_OF_PLUGIN, {"at": now, "message": plain(words), "job": run.job_id})
            self._write(_UPDATE if run.id else _INSERT, _row(run, now))

    def owe(self, event_id: str, job_id: str, calls: Iterable[OwedCall], now: float) -> None:
        """Store calls that are to be made; those that are there already stay as they are."""
        with self._transaction():
            self._owe(event_id, job_id, calls, now)

    def _owe(self, event_id: str, job_id: str, calls: Iterable[OwedCall], now: float) -> None:
        for call in calls:
            run = HookRun(0, event_id, job_id, call.hook, call.plugin, DUE, call.arguments, not_before=now)
            self._write(_OWE, _row(run, now))

    def repeat_runs(self, job_id: str, hook: str, plugins: Sequence[str], now: float) -> int:
        """Have the newest calls of a hook for a job made once more, with their old event id; return how many."""
        with self._transaction():
            return self._write(_AGAIN, {"now": now, "job": job_id, "hook": hook, "plugins": list(plugins)})


def _row(run: HookRun, now: float) -> dict[str, Any]:
    return {
        "id": run.id,
        "event_id": run.event_id,
        "job_id": run.job_id or None,
        "hook": run.hook,
        "plugin": run.plugin,
        "arguments": json.dumps(run.arguments),
        "outcome": run.outcome,
        "attempts": run.attempts,
        "not_before": run.not_before,
        "value": json.dumps(run.value),
        "told": plain(run.told),
        "output": plain(run.output),
        "seconds": run.seconds,
        "at": now,
    }


def _run(row: StoredRow) -> HookRun:
    values = {name: row[name] for name in _COLUMNS.split(", ")}
    parsed = {
        "arguments": json.loads(row["arguments"]),
        "value": json.loads(row["value"]),
        "job_id": row["job_id"] or "",
    }
    return HookRun(**{**values, **parsed})


# ---- Reading the purchases: what was begun to be bought, when, for which folder, and what came of it ----------------


LAST_CHARGED = "coalesce((SELECT max(id) FROM purchases WHERE outcome = 'charged'), 0)"
SPENT = f"""
    SELECT top, kind, listed, cost, charged, confirmed, sum(purchases) FROM (
        SELECT * FROM spent_by_block WHERE block > :after / {BLOCK} AND purchases > 0
        UNION ALL SELECT 0, top, kind, listed, cost, CASE outcome WHEN 'charged' THEN 1 ELSE 0 END, confirmed, 1 FROM purchases
            WHERE id > :after AND id < (:after / {BLOCK} + 1) * {BLOCK} AND outcome <> 'free'
    ) AS found GROUP BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - a number; whole blocks of purchases, and what is left of the first one
"""What was bought after a purchase: top folder, kind, list price, cost, whether it was charged, whether the balance confirms it, how many."""

_COSTS_OF = f"""
    SELECT * FROM (SELECT cost FROM purchases
        WHERE outcome = 'charged' AND kind = :kind AND listed = :listed ORDER BY id DESC LIMIT 20) AS newest
    UNION SELECT cost FROM purchases WHERE outcome = 'refused' AND kind = :kind AND listed = :listed
        AND id > {LAST_CHARGED}
"""  # noqa: S608 - of words of this module; and what was refused since the newest charge, which may have cost what the refusal says
_ARTICLES = "SELECT kind, listed FROM articles"
_CHARGED = """
    SELECT cost, purchases FROM charged WHERE hour > :hour
    UNION ALL SELECT cost, count(*) FROM purchases
        WHERE outcome = 'charged' AND at >= :at AND at < (:hour + 1) * 3600 GROUP BY cost
"""  # whole hours, and what is left of the first one
_CHARGED_BY_HOUR = "SELECT hour, cost, purchases FROM charged WHERE hour >= :hour AND purchases > 0"
_CHARGED_BY_FOLDER = """
    SELECT top, cost, sum(purchases) FROM charged_by_top WHERE hour > :hour AND purchases > 0 GROUP BY top, cost
    UNION ALL SELECT top, cost, count(*) FROM purchases
        WHERE outcome = 'charged' AND at >= :at AND at < (:hour + 1) * 3600 GROUP BY top, cost
"""  # as above
_CHARGED_AFTER = "SELECT cost, count(*) FROM purchases WHERE outcome = 'charged' AND id > :after GROUP BY cost"
_CHARGED_BY_KIND = "SELECT kind, cost, sum(purchases) FROM charged WHERE purchases > 0 GROUP BY kind, cost"
_NEWEST = "SELECT coalesce(max(id), 0) FROM purchases"
_SINCE = """
    SELECT outcome, cost, listed, count(*), sum(told) FROM purchases WHERE id > :after GROUP BY outcome, cost, listed
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
_MAY_HAVE_BOUGHT = "SELECT 1 FROM purchases WHERE job_id = :job AND outcome NOT IN ('free', 'refused') LIMIT 1"
_UNKNOWN_OF = """
    SELECT id FROM purchases WHERE job_id = :job AND outcome = 'unknown' AND :consent IN ('', consent) ORDER BY id
"""
_IN_A_ROW = f"""
    SELECT count(*) FROM purchases
        WHERE outcome = 'refused' AND (id > {LAST_CHARGED} OR id IN (:beside*))
"""  # noqa: S608 - as above
IS_TRY = """
    CASE outcome WHEN 'open' THEN job_id IN (SELECT id FROM all_jobs WHERE state = 'held')
        ELSE sent = 1 OR told = 1 OR outcome IN ('refused', 'unknown') END
"""  # it has ended, and could have been charged: sent as a whole, answered, or held because nobody could read what was answered
_TRIES_OF = f"""
    {_SAME} SELECT count(*) FROM same WHERE {IS_TRY} AND outcome <> 'charged'
        AND id > coalesce((SELECT max(id) FROM same WHERE outcome = 'charged'), 0)
"""  # noqa: S608 - of words of this module
_OWNERS = "SELECT id, job_id FROM purchases WHERE id IN (:purchases*)"
_OPEN_OF = "SELECT id FROM purchases WHERE outcome = 'open' AND job_id IN (:jobs*)"
_OPEN = "SELECT job_id FROM purchases WHERE id > :after AND outcome = 'open'"
_REFUNDABLE = """
    SELECT (SELECT count(*) FROM events WHERE id > :event AND (state = 'failing' OR code = 'task-failed')
            AND EXISTS (SELECT 1 FROM purchases
                WHERE purchases.job_id = events.job_id AND outcome NOT IN ('free', 'refused')))
        + (SELECT count(*) FROM purchases JOIN all_jobs AS jobs ON jobs.id = job_id
            WHERE purchases.id <= :purchase AND outcome NOT IN ('free', 'refused') AND state = 'held'
            AND EXISTS (SELECT 1 FROM events WHERE job_id = jobs.id AND events.id > :event AND events.state = 'held'))
"""  # a task that failed, also one whose results were fetched all the same, or one that nobody can ask about


class PurchaseReader(ABC):
    """A part of a store's reader; every method raises JournalError."""

    dialect: ClassVar[Dialect]

    @abstractmethod
    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""

    @abstractmethod
    def _rows(self, query: str, values: Values = NO_VALUES) -> Sequence[StoredRow]: ...

    @abstractmethod
    def _kept_rows(self, query: str, values: Values = NO_VALUES) -> Sequence[StoredRow]:
        """Do the same where the daemon asks in every tick: a writer knows the answer until something is written."""

    @errors_in_words
    def spent_since(self, purchase: int) -> Mapping[str, Decimal]:
        """Return what was spent after a purchase, in credits, by top folder, "" for the inbox itself.

        What is not known to be free counts, by `price`: what is being sent, and what is held. What the vendor says to have been
        cheaper than the list counts as that only where the balance has confirmed it.
        """
        return self._spent(self._kept_rows(SPENT, {"after": purchase}))

    def _spent(self, rows: Iterable[StoredRow]) -> Mapping[str, Decimal]:
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
        costs = self._kept_rows(_COSTS_OF, {"kind": article.kind, "listed": str(article.listed)})
        return max([article.listed, *(Decimal(row[0]) for row in costs)])

    @errors_in_words
    def dearest(self) -> Decimal:
        """Return what the dearest of all that was ever bought here may cost now, in credits."""
        known = [Article(kind, Decimal(listed)) for kind, listed in self._kept_rows(_ARTICLES)]
        return max(map(self.price, [cheapest(), *known]))

    def _newest_costs(self) -> frozenset[Decimal]:
        return frozenset(Decimal(row[0]) for row in self._kept_rows(self.dialect.newest_costs))

    @errors_in_words
    def charged_since(self, at: float) -> Decimal:
        """Return what was charged for submits since an instant (UTC), in credits."""
        charged = self._rows(_CHARGED, _from_hour(at))
        return _sum((Decimal(cost), count) for cost, count in charged)

    @errors_in_words
    def charged_by_hour(self, since_at: float) -> Mapping[int, Decimal]:
        """Return what was charged since the hour of an instant (UTC), in credits, by the hour since 1970 in which its submit began."""
        return _sums(self._rows(_CHARGED_BY_HOUR, {"hour": int(since_at // _HOUR_SECONDS)}))

    @errors_in_words
    def charged_by_folder(self, since_at: float) -> Mapping[str, Decimal]:
        """Return what was charged for submits since an instant (UTC), in credits, by top folder."""
        return _sums(self._rows(_CHARGED_BY_FOLDER, _from_hour(since_at)))

    def charged_after(self, purchase: int) -> Decimal:
        """Return what was charged for submits after a purchase, in credits; for one that is not long ago."""
        return _sum((Decimal(cost), count) for cost, count in self._kept_rows(_CHARGED_AFTER, {"after": purchase}))

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
            for outcome, cost, listed, count, found in self._rows(_SINCE, {"after": purchase})
        ]
        last = self._rows(_LAST_COST)
        known = {Decimal(row[0]) for row in self._rows(_CONFIRMED)}
        return Since(
            charged=_sum((cost, count) for outcome, cost, _, count, _ in rows if outcome == "charged"),
            accepted=sum(count for outcome, _, _, count, _ in rows if outcome == "charged"),
            unknown=sum(count for outcome, _, _, count, _ in rows if outcome in _UNDECIDED),
            at_stake=_sum((cost, count) for outcome, cost, _, count, _ in rows if outcome in _UNDECIDED),
            undecided=frozenset(row[0] for row in self._rows(_OPEN, {"after": purchase})),
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
        return tuple(map(_refusal, self._kept_rows(f"{_REFUSED} AND id > :after ORDER BY id", {"after": purchase})))

    def refused_here(self, purchase: int) -> tuple[Refusal, ...]:
        """Return those of them that are of this root's jobs."""
        query = f"{_REFUSED} AND id > :after AND job_id IN (SELECT id FROM jobs) ORDER BY id"  # noqa: S608 - of words of this module
        return tuple(map(_refusal, self._kept_rows(query, {"after": purchase})))

    def refused_of(self, fingerprint: str, dropped: str = "") -> tuple[Refusal, ...]:
        """Return the same of one content, of all times; and of what was dropped for it, whatever plugins made of that."""
        return tuple(map(_refusal, self._rows(_REFUSED_OF, {"content": fingerprint, "dropped": dropped})))

    def may_have_bought(self, job_id: str) -> bool:
        """Return whether a submit of this job was charged, or may have been, other than by a refusal."""
        return bool(self._rows(_MAY_HAVE_BOUGHT, {"job": job_id}))

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
        beside = list(self.meta(BESIDE) or [])
        tries = self._kept_rows(self.dialect.tries_in_a_row, {"looked": self.meta(LOOKED) or 0, "beside": beside})
        return InARow(int(self._kept_rows(_IN_A_ROW, {"beside": beside})[0][0]), int(tries[0][0]))

    def open_of(self, jobs: Iterable[str]) -> tuple[int, ...]:
        """Return the open purchases of these jobs."""
        return tuple(row[0] for row in self._rows(_OPEN_OF, {"jobs": sorted(jobs)}))

    def owners(self, purchases: Iterable[int]) -> Mapping[int, str]:
        """Return the ids of the jobs that these purchases are of."""
        return {row[0]: row[1] for row in self._rows(_OWNERS, {"purchases": sorted(purchases)})}


def _refusal(row: StoredRow) -> Refusal:
    return Refusal(row[0], row[1], row[2], Decimal(row[3]))


def _from_hour(at: float) -> Mapping[str, float]:
    """Return an instant, and its hour, as queries that count whole hours ask for them."""
    return {"at": at, "hour": int(at // _HOUR_SECONDS)}


def _sums(rows: Iterable[StoredRow]) -> dict[Any, Decimal]:
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
    WITH bought AS (
        SELECT job_id, outcome FROM purchases
            WHERE fingerprint IN (:content*) AND outcome <> 'free'
        UNION ALL SELECT job_id, outcome FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
    )
    SELECT doc FROM all_jobs WHERE id <> :besides AND (
        id IN (SELECT id FROM all_jobs WHERE fingerprint IN (:content*) AND fingerprint <> '' AND state <> 'failed')
        OR id IN (SELECT job_id FROM bought WHERE outcome <> 'refused')
    ) ORDER BY state IN ('archived', 'failed'), state = 'failed', created_at DESC LIMIT 1
"""  # a live one first: it must not be joined by a second; then one that has a result
_BOUGHT = """
    WITH same AS (
        SELECT id FROM purchases WHERE fingerprint IN (:content*)
            AND outcome <> 'free'
        UNION SELECT id FROM purchases WHERE dropped = :dropped AND dropped <> '' AND outcome <> 'free'
    )
    SELECT doc, consent FROM purchases JOIN all_jobs AS jobs ON jobs.id = job_id
        WHERE purchases.id IN (SELECT id FROM same) AND job_id <> :besides AND outcome <> 'refused'
        ORDER BY created_at DESC, purchases.id DESC
"""
_NEWEST_IN = """
    SELECT * FROM (
        SELECT rowid AS number, changed_at AS at, id AS name FROM jobs
            WHERE state = :state_$ AND changed_at >= :since ORDER BY changed_at DESC, id LIMIT :limit
    ) AS newest
"""  # in the order of `jobs_by_state`: no more rows are read than are wanted
_OF_NUMBERS = "SELECT rowid, doc FROM jobs WHERE rowid IN (:numbers*)"
_AT_FIRST: Final = 20
"""How many jobs of a long list come before the others are put in order."""

_AT_ONCE: Final = 500
"""How many jobs are in memory at once where a caller asks for all, one by one."""

_DURATIONS = """
    SELECT vendor_seconds FROM jobs WHERE kind = :kind AND vendor_seconds IS NOT NULL ORDER BY created_at DESC LIMIT :limit
"""
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
        UNION ALL SELECT (SELECT min(top) FROM jobs WHERE top > found.top) FROM found WHERE found.top IS NOT NULL
    )
    SELECT top FROM found WHERE top IS NOT NULL LIMIT :limit
"""  # from one to the next: the jobs of each are not read
_MOST_FOUND: Final = 5
"""So many jobs are named where a person has to choose."""

_FIND = f"""
    SELECT doc FROM jobs WHERE id IN (
        SELECT * FROM (SELECT id FROM jobs WHERE id >= :begins AND id < :ends ORDER BY id LIMIT {_MOST_FOUND}) AS begins
        UNION SELECT * FROM (SELECT id FROM jobs WHERE name = :name ORDER BY created_at DESC LIMIT {_MOST_FOUND}) AS named
    ) ORDER BY id = :name DESC, created_at DESC LIMIT {_MOST_FOUND}
"""  # noqa: S608 - a number; a whole id is the first of those that begin with it
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
_CONDENSED = "SELECT id FROM jobs WHERE id IN (:jobs*) AND condensed_at <> 0.0"


class StoredReader(PurchaseReader, HookRunReader):
    """Read a store: what is asked, and what rows mean. Each kind of database has its connection and its dialect."""

    # ---- asking the database ----------------------------------------------------------------------------------------

    @abstractmethod
    def _archived_job(self, job_id: str) -> Job | None:
        """Return a job as it was when its details were moved to the archive; None where that has none."""

    def _kept_rows(self, query: str, values: Values = NO_VALUES) -> Sequence[StoredRow]:
        """Do the same as `_rows`; a reader never knows what the writer writes meanwhile."""
        return self._rows(query, values)

    @errors_in_words
    def _jobs(self, query: str, values: Values = NO_VALUES) -> list[Job]:
        return [rows.job(row["doc"]) for row in self._rows(query, values)]

    def _value(self, query: str, values: Values = NO_VALUES) -> Any:  # noqa: ANN401 - whatever is stored
        found = self._rows(query, values)
        return found[0][0] if found else None

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
        return self._jobs(self.dialect.siblings, {"name": printable(job.name), "batch": job.batch.id})

    def jobs(self, states: Iterable[State] = State, limit: int = -1, changed_since: float = 0.0) -> list[Job]:
        """Return the jobs in these states that have changed since (UTC), newest change first; `limit` < 0 means all."""
        newest, values = _newest(states, limit, changed_since)
        query = f"SELECT doc FROM ({newest}) AS newest JOIN jobs ON jobs.rowid = number ORDER BY at DESC, jobs.id"  # noqa: S608 - as above
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
        return array("q", (row["number"] for row in self._rows(newest, values)))

    def _numbered(self, numbers: array[int], states: frozenset[State]) -> Iterator[Job]:
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            found = {row["rowid"]: row["doc"] for row in self._rows(_OF_NUMBERS, {"numbers": list(some)})}
            with in_words():
                jobs = [rows.job(found[number]) for number in some if number in found]
            yield from (job for job in jobs if job.state in states)

    def listed(self, wanted: Listing) -> list[Job]:
        """Return one page of a list of jobs."""
        query, values = self._page(wanted)
        return self._jobs(query, values)

    @errors_in_words
    def top_folders(self, limit: int) -> list[str]:
        """Return the top folders below the inbox that jobs came from, sorted; "" stands for the inbox itself."""
        return [str(row["top"]) for row in self._rows(_TOP_FOLDERS, {"limit": limit})]

    def same_content(self, fingerprints: Sequence[str], besides: str, dropped: str = "") -> Job | None:
        """Return another job that has this content, or was, or may have been, charged for it; None if there is none.

        `dropped` is the fingerprint of what was dropped: a job that was charged for the same is one, too.

        The live one comes first, then the newest that was delivered; a failed one that cost nothing does not count.
        """
        values = {"content": list(fingerprints), "besides": plain(besides), "dropped": dropped}
        return next(iter(self._jobs(_SAME_CONTENT, values)), None)

    @errors_in_words
    def bought(
        self, fingerprints: Sequence[str], besides: str, consent: str | None = None, dropped: str = ""
    ) -> Job | None:
        """Return the newest other job that was, or may have been, charged for this content, or for the same drop, if any was.

        With a consent: by this one, or while its TOML file gave this one.
        """
        values = {"content": list(fingerprints), "besides": plain(besides), "dropped": dropped}
        found = self._rows(_BOUGHT, values)
        bought = ((rows.job(doc), spent) for doc, spent in found)
        return next((job for job, spent in bought if consent in (None, spent, of_set(job.again))), None)

    def made(self, origin: Provenance, besides: str) -> Job | None:
        """Return another job that all of these contents came out of, as they came or as plugins left them."""
        values = {
            "contents": sorted(origin.contents),
            "given": [0, 1] if origin.given else [0],
            "kinds": sorted(origin.kinds),
            "besides": plain(besides),
        }
        return next(iter(self._jobs(self.dialect.made, values)), None)

    def job(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        found = self._jobs("SELECT doc FROM jobs WHERE id = :job", {"job": plain(job_id)})
        return self._whole(found[0]) if found else None

    def _whole(self, job: Job) -> Job:
        """Return a job with its details, from the archive if they were moved there and it can be read."""
        if job.condensed_at:
            with contextlib.suppress(JournalError):
                return replace(self._archived_job(job.id) or job, condensed_at=job.condensed_at)
        return job

    def _moved(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of these jobs whose details are in the archive."""
        return [row[0] for row in self._rows(_CONDENSED, {"jobs": list(job_ids)})]

    def old_jobs(self, before_at: float, now: float, limit: int) -> list[OldRows]:
        """Return all that is known of jobs that ended before an instant (UTC) and that nothing asks for any more, oldest first.

        A failed set stays until it is cleared: its folder is in `failed/`. So does a job with a call that a plugin is owed, one
        that another job goes on from, one of a set whose other jobs have not ended, and one that cannot be read.
        """
        found = self._rows(self.dialect.old, {"before": before_at, "limit": limit})
        return [self._old(row, now) for row in found]

    @errors_in_words
    def _old(self, row: StoredRow, now: float) -> OldRows:
        job = rows.job(row["doc"])
        events, runs = (self._rows(query, {"job": row["id"]}) for query in (OF_EVENTS, OF_RUNS))
        newest = max((event["id"] for event in events), default=0), max((run["at"] for run in runs), default=0.0)
        return OldRows(OldJob(condensed(job, now), row["changed_at"], *newest), row["doc"], events, runs)

    def newest_with(self, fingerprint: str, dropped: str) -> Job | None:
        """Return the job of the newest purchase of a content, or of what was dropped for it."""
        query = """SELECT doc FROM all_jobs WHERE id = (SELECT job_id FROM (
                       SELECT id, job_id FROM purchases WHERE fingerprint = :content
                       UNION SELECT id, job_id FROM purchases WHERE dropped = :dropped AND dropped <> ''
                   ) AS same ORDER BY id DESC LIMIT 1)"""
        return next(iter(self._jobs(query, {"content": plain(fingerprint), "dropped": dropped})), None)

    def with_task(self, uuid: str) -> Job | None:
        """Return the job that has this task of the vendor, or had it before it was paid again."""
        query = "SELECT doc FROM all_jobs WHERE id = (SELECT job_id FROM tasks WHERE uuid = :uuid)"
        return next(iter(self._jobs(query, {"uuid": plain(uuid)})), None)

    def had_task_before(self, job_id: str, other_id: str) -> bool:
        """Return whether a job had its task before the newest upload of another one began; by the order of events, not by any clock."""
        query = """SELECT (SELECT max(id) FROM events WHERE job_id = :job AND action IN ('submitted', 'resolve'))
                       < (SELECT max(id) FROM events WHERE job_id = :other AND action = 'uploading')"""
        return bool(self._rows(query, {"job": plain(job_id), "other": plain(other_id)})[0][0])

    def having_task(self, uuid: str) -> list[Job]:
        """Return the jobs that have this task of the vendor now."""
        return self._jobs("SELECT doc FROM all_jobs WHERE task_uuid = :uuid", {"uuid": plain(uuid)})

    def with_file(self, name: str) -> list[Job]:
        """Return the jobs that have or had an input of this name, newest first."""
        return self._jobs(self.dialect.with_file, {"name": json.dumps(name)})

    def has_condensed(self) -> bool:
        """Return whether the details of any job are in the archive file. It reads all jobs where none are."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE condensed_at <> 0.0 LIMIT 1"))

    def with_originals(self) -> list[Job]:
        """Return the jobs whose files stay in the inbox, newest first."""
        return self._jobs(self.dialect.with_originals)

    # ---- numbers and history ----------------------------------------------------------------------------------------

    @errors_in_words
    def counts(self) -> dict[State, int]:
        """Return how many jobs there are in each state."""
        return {State(row[0]): row[1] for row in self._rows(_COUNTS)}

    @errors_in_words
    def events(self, job_id: str) -> list[Event]:
        """Return a job's whole history, oldest first."""
        mine = plain(job_id)
        found = {row["id"]: row for row in (*self._archived([mine], OF_EVENTS), *self._rows(OF_EVENTS, {"job": mine}))}
        return [rows.event(found[number]) for number in sorted(found)]

    @errors_in_words
    def service_events(self, limit: int = -1, since_at: float = 0.0, kinds: Iterable[str] = ()) -> list[ServiceEvent]:
        """Return the service's own history since an instant (UTC), newest first, of these kinds or all; `limit` < 0: all."""
        asked = {f"kind_{number}": kind for number, kind in enumerate(kinds)}
        table, since = ("service_events", "1 = 1") if not since_at else (self.dialect.recent_events, "at >= :since_at")
        where = [f"{since} AND kind = :{name}" for name in asked] or [since]
        newest = " UNION ALL ".join(
            f"SELECT * FROM (SELECT * FROM {table} WHERE {one} {_NEWEST_FIRST}) AS part"  # noqa: S608 - as above
            for one in where
        )
        query = f"SELECT at, kind, message, subject, code FROM ({newest}) AS parts {_NEWEST_FIRST}"  # noqa: S608 - as above
        values = {**asked, "since_at": since_at, "limit": limit if limit >= 0 else ALL}
        return [ServiceEvent(*row) for row in self._rows(query, values)]

    def newest_at(self) -> float | None:
        """Return the newest instant (UTC) of all events, None without any: a clock that says less was set back."""
        at = self._value(f"SELECT max(at) FROM ({_NEWEST_AT}) AS parts")  # noqa: S608 - as above
        return None if at is None else float(at)

    def begun_at(self) -> float | None:
        """Return when (UTC) the first job was taken, None if none was."""
        found = self._kept_rows("SELECT at FROM events ORDER BY id LIMIT 1")
        return float(found[0][0]) if found else None

    def durations(self, kind: str, limit: int = 50) -> list[float]:
        """Return how long the newest tasks of this kind took, in seconds from submit to Done."""
        return [row[0] for row in self._rows(_DURATIONS, {"kind": kind, "limit": limit})]

    # ---- what else is kept ------------------------------------------------------------------------------------------

    def served(self) -> ServedRoot | None:
        """Return nothing: a journal has one root, and its lock shows who serves it."""
        return None

    def may_be_sent(self) -> Mapping[str, str]:
        """Return the jobs whose last bytes may still leave: of a store for one service none, its lock shows that the one before ended."""
        return {}

    @errors_in_words
    def gate(self, up_to: int | None = None) -> dict[GateKey, Pass]:
        """Return what was decided about the sets in the inbox; or only what was stored up to a number."""
        query = "SELECT name, verdict FROM gate WHERE id <= :up_to ORDER BY id"
        return {
            rows.gate_key(row["name"]): Pass(row["verdict"])
            for row in self._rows(query, {"up_to": ALL if up_to is None else up_to})
        }

    def newest_held(self) -> int:
        """Return the number of the newest set that is held for approval, 0 without any; no number is given twice."""
        return int(self._value("SELECT coalesce(max(id), 0) FROM gate WHERE verdict = 'held'"))

    def newest_command(self, verb: str) -> int:
        """Return the number of the newest command of this kind in all roots, answered or not, 0 without any."""
        query = f"SELECT coalesce(max(id), 0) FROM {self.dialect.commands} WHERE verb = :verb"  # noqa: S608 - a name
        return int(self._value(query, {"verb": verb}))

    @errors_in_words
    def meta(self, key: str) -> Any:  # noqa: ANN401 - whatever JSON was stored
        """Return a stored JSON value, None if there is none."""
        found = self._kept_rows("SELECT value FROM meta WHERE key = :key", {"key": key})
        return json.loads(found[0][0]) if found else None

    @errors_in_words
    def answer(self, command_id: int) -> dict[str, Any] | None:
        """Return the daemon's answer to a command, None while it is open."""
        stored = self._value("SELECT answer FROM commands WHERE id = :id", {"id": command_id})
        return dict(json.loads(stored)) if stored else None

    def _page(self, wanted: Listing) -> tuple[str, dict[str, object]]:
        """Return the query for one page of a list, and its values.

        All but delivered jobs are few, or are found by an index of their own: they are sorted. Else the list is walked in its order.
        """
        key, compares, order = self.dialect.in_order(wanted.order)
        last, last_id = wanted.after or _FIRST[wanted.order]
        last = _lower(plain(last)) if isinstance(last, str) else last
        values: dict[str, object] = {"last": last, "last_id": last_id, "limit": wanted.limit}
        where = [
            f"{key} {compares}= :last",
            f"({key} {compares} :last OR id {compares} :last_id)",
            *self._conditions(wanted, values),
        ]
        if State.ARCHIVED in wanted.states:
            every = wanted.states == frozenset(State)
            chosen = [] if every else [f"{self.dialect.by_state} IN ({quoted(wanted.states)})"]
            pages = [[*chosen, *where]]
        else:
            one_by_one = (
                f"state = '{state}'{_NOT_DELIVERED if state in ENDED else ''}" for state in sorted(wanted.states)
            )
            pages = [[one, *where] for one in one_by_one] or [["1 = 0", *where]]
        numbers = " UNION ALL ".join(
            f"SELECT * FROM (SELECT rowid AS number FROM jobs WHERE {' AND '.join(page)} ORDER BY {order} LIMIT :limit) AS page"  # noqa: S608 - of words of this module
            for page in pages
        )
        return f"SELECT doc FROM jobs WHERE rowid IN ({numbers}) ORDER BY {order} LIMIT :limit", values  # noqa: S608 - as above

    def _conditions(self, wanted: Listing, values: dict[str, object]) -> Iterator[str]:
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
            yield f"{self.dialect.position}(lower(folder || '/' || name), :text) > 0"


def _newest(states: Iterable[State], limit: int, changed_since: float = 0.0) -> tuple[str, dict[str, object]]:
    """Return the query for the numbers of the jobs in these states that have changed since, newest change first, and its values."""
    wanted = tuple(dict.fromkeys(states))
    parts = [_NEWEST_IN.replace("$", str(number)) for number in range(len(wanted))]
    one_by_one = " UNION ALL ".join(parts) or "SELECT 0 AS number, 0 AS at, '' AS name WHERE 1 = 0"
    values = {f"state_{number}": state.value for number, state in enumerate(wanted)}
    limits = {"since": changed_since, "limit": limit if limit >= 0 else ALL}
    return f"{one_by_one} ORDER BY at DESC, name LIMIT :limit", {**values, **limits}


_NOT_DELIVERED: Final = " AND state IN ('failed', 'returned')"
"""As the index says it: by that SQLite knows that it may be used."""


def _lower(text: str) -> str:
    """Return a text as SQLite's `lower` makes it: of ASCII letters alone."""
    return text.translate(_LOWER)


_LOWER: Final = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}


def quoted(states: Iterable[State]) -> str:
    """Return states as SQL lists them."""
    return ", ".join(f"'{state}'" for state in states)


# ---- Writing --------------------------------------------------------------------------------------------------------


_EVENT = """
    INSERT INTO events (job_id, at, action, state, message, code)
    VALUES (:job_id, :at, :action, :state, :message, :code) RETURNING id
"""
_SERVICE_EVENT = """
    INSERT INTO service_events (at, kind, message, subject, code) VALUES (:at, :kind, :message, :subject, :code) RETURNING id
"""
_NEW_IN_GATE = "INSERT INTO gate (name, verdict) VALUES (:name, :verdict)"
_OPEN_COMMANDS = "SELECT id, verb, arguments FROM commands WHERE answer IS NULL ORDER BY id"
_ANSWER = "UPDATE commands SET answer = :answer, arguments = :arguments WHERE id = :id"
_SECRET_ARGUMENT = "subscription_key"  # noqa: S105 - its name
_SETTLE = "UPDATE purchases SET outcome = :outcome, told = :told WHERE id = :id AND outcome = :before"
_CONFIRM = "UPDATE purchases SET confirmed = 1 WHERE outcome = 'charged' AND id > :after AND id <= :up_to"
_DROP_HISTORY = """
    DELETE FROM events WHERE job_id = :id AND action NOT IN ('submitted', 'resolve') AND state <> 'failing'
        AND code <> 'task-failed' AND id < :event AND id > (SELECT min(id) FROM events)
"""  # what is asked when money is decided stays; so do a job's newest event, by which journals are compared, and the first of all


class StoredWriter(StoredReader, HookRunWriter):
    """Write into a store: what each call changes. Each kind of database has its transactions, and what they raise."""

    def __init__(self) -> None:
        self._group: contextlib.ExitStack | None = None  # ends the transaction that several calls share
        self._kept: dict[tuple[object, ...], Sequence[StoredRow]] = {}  # answers, since anybody wrote
        self._kept_at = 0  # what was changed here by then

    @property
    @abstractmethod
    def changes(self) -> int:
        """A number that grows with each change that is made through this object."""

    def _kept_rows(self, query: str, values: Values = NO_VALUES) -> Sequence[StoredRow]:
        """Ask once, until something is written; in a transaction each time, for there it decides about money.

        What another process has written is known with the next `changed_outside`, which each tick asks for.
        """
        if self._in_transaction:
            return self._rows(query, values)
        if self._kept_at != self.changes:
            self._kept_at = self.changes
            self._kept.clear()
        key = (query, *map(repr, values.values()))
        if key not in self._kept:
            self._kept[key] = self._rows(query, values)
        return self._kept[key]

    @property
    @abstractmethod
    def _in_transaction(self) -> bool: ...

    @abstractmethod
    def _own_transaction(self, *, vital: bool) -> AbstractContextManager[None]: ...

    @abstractmethod
    def spent_in_day(self, purchase: int) -> Mapping[str, Decimal]:
        """Return the same as `spent_since`, for the purchase after which the budget's day began."""

    @abstractmethod
    def _returned(self, query: str, values: Values) -> Sequence[StoredRow]:
        """Change rows, in a transaction; return what the query returns of them."""

    def _facts(self, _job: Job) -> Mapping[str, object]:
        """Return further columns of a job: what this database does not read out of its document."""
        return NO_VALUES

    @contextlib.contextmanager
    def _transaction(self, *, vital: bool = False) -> Iterator[None]:
        if self._group is None:
            with self._own_transaction(vital=vital):
                yield
            return
        if not self._in_transaction:
            self._group.enter_context(self._own_transaction(vital=vital))
        yield

    @contextlib.contextmanager
    def together(self, *, decides: bool = False) -> Iterator[None]:
        """Make all that is written within the context one transaction, which its first writing call begins, or at once (`decides`)."""
        with contextlib.ExitStack() as group:
            self._group = group
            try:
                if decides:
                    group.enter_context(self._own_transaction(vital=False))
                yield
            finally:
                self._group = None

    def _commit(
        self,
        transitions: Sequence[Transition],
        now: float,
        meta: Mapping[str, Any] = NO_META,
        announcer: Announcer = SILENT,
        beside: Beside = NOTHING_BESIDE,
        *,
        vital: bool = False,
    ) -> None:
        with self._transaction(vital=vital):
            self._save(transitions, now, announcer)
            for verdict in beside.settled:
                told = int(verdict.decided)
                known = {"id": verdict.purchase, "before": verdict.before}
                self._write(_SETTLE, {**known, "outcome": verdict.outcome, "told": told})
            after, up_to = beside.confirmed
            if after < up_to:
                self._write(_CONFIRM, {"after": after, "up_to": up_to})
            self._set_meta(meta)
            self._set_gate(beside.gate)
            self._reply(beside.reply)

    def _save(self, transitions: Sequence[Transition], now: float, announcer: Announcer = SILENT) -> None:
        for transition in transitions:
            job = transition.job
            self._write(self.dialect.save, {**rows.row(job, now), **self._facts(job)})
            event = self._returned(_EVENT, rows.event_row(transition, now))[0][0]
            if owed := announcer.of_move(transition, now):
                self._owe(f"{job.id}-{event}", job.id, owed, now)

    def condense(self, copied: Sequence[OldJob]) -> int:
        """Keep of these jobs the main points, and of their histories what decides about money; return of how many.

        Each is in the archive, durably. One that was changed since it was copied stays whole.
        """
        with self._transaction():
            return len(self._condensed(copied))

    def _condensed(self, copied: Sequence[OldJob]) -> list[str]:
        done = []
        for one in copied:
            known = {"id": plain(one.job.id), "event": one.newest_event}
            seen = {"changed_at": one.changed_at, "call_at": one.newest_call_at}
            stored = {"doc": rows.document(one.job), "at": one.job.condensed_at, **self._facts(one.job)}
            if self._write(self.dialect.condense, {**known, **seen, **stored}):
                self._write("DELETE FROM hook_runs WHERE job_id = :id", known)
                self._write(_DROP_HISTORY, known)
                done.append(str(known["id"]))
        return done

    def set_meta(self, key: str, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        """Store a JSON value; None takes it away."""
        with self._transaction():
            self._set_meta({key: value})

    def _set_meta(self, meta: Mapping[str, Any]) -> None:
        for key, value in meta.items():
            if value is None:
                self._write("DELETE FROM meta WHERE key = :key", {"key": key})
                continue
            stored = {"key": key, "value": json.dumps(value)}
            if not self._write("UPDATE meta SET value = :value WHERE key = :key", stored):
                self._write("INSERT INTO meta (key, value) VALUES (:key, :value)", stored)

    def free_cut_uploads(self) -> None:
        """Book the uploads that a run before had begun and not ended as free: they were proven not submitted.

        For a start alone, before any worker runs: an upload that is under way may still be charged.
        """
        with self._transaction():
            self._write(self.dialect.free_uploads)

    def note_service_event(self, event: ServiceEvent, announcer: Announcer = SILENT) -> None:
        """Add to the service's own history."""
        with self._transaction():
            words = {"kind": event.kind, "message": event.message, "subject": event.subject, "code": event.code}
            values = {name: plain(word) for name, word in words.items()}
            number = self._returned(_SERVICE_EVENT, {"at": event.at, **values})[0][0]
            self._owe(f"service-{number}", "", announcer.of_service(event), event.at)

    @errors_in_words
    def open_commands(self) -> list[Command]:
        """Return the commands that nobody has answered yet, oldest first."""
        return [Command(row[0], row[1], dict(json.loads(row[2]))) for row in self._rows(_OPEN_COMMANDS)]

    def _set_gate(self, changes: Changes) -> None:
        """Store which sets are held for approval or have passed (see `core.approval`).

        A set keeps its number when it settles or is approved; one that is stored again gets a number that none had before.
        """
        for key in changes.gone:
            self._write("DELETE FROM gate WHERE name = :name", {"name": rows.gate_name(key)})
        for before, after in changes.settled:
            names = {"before": rows.gate_name(before), "after": rows.gate_name(after)}
            self._write("UPDATE gate SET name = :after WHERE name = :before", names)
        for key, verdict in changes.new.items():
            decided = {"name": rows.gate_name(key), "verdict": verdict.value}
            if not self._write("UPDATE gate SET verdict = :verdict WHERE name = :name", decided):
                self._write(_NEW_IN_GATE, decided)

    def _reply(self, reply: CommandReply | None) -> None:
        """Close a command; what was secret in it is erased."""
        if reply is None:
            return
        number = {"id": reply.command_id}
        asked = json.loads(self._value("SELECT arguments FROM commands WHERE id = :id", number) or "{}")
        kept = {name: value for name, value in asked.items() if name != _SECRET_ARGUMENT}
        answer = json.dumps({"ok": reply.ok, "message": reply.message})
        self._write(_ANSWER, {**number, "answer": answer, "arguments": json.dumps(kept)})


WHERE_MOVED: Final = f"SELECT value FROM meta WHERE key = '{MOVED_TO}'"  # noqa: S608 - a name


def refuse_moved(found: Sequence[Any]) -> None:
    """Raise CommandRefusedError for a store that was copied to another place, which `WHERE_MOVED` has found: no service reads commands there."""
    if found:
        name = printable(json.loads(found[0][0])["name"], 500)
        raise CommandRefusedError(
            f"The store was copied to {name}, and is not used here any more.",
            advice="Set [store] url, or folders.state, to that place, then give the command again.",
        )
