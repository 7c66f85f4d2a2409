"""Reading the purchases: what was begun to be bought, when, for which folder, and what came of it.

A row begins with the intent to upload, in the same transaction (the schema's triggers), and ends `charged`, `free` (proven
not charged), `refused` (the answer was a refusal, which proves less than it says) or `unknown`
(given up without knowing). So it is the content ledger (what was paid for is not paid again), and
the budget's books (what is not known to be free counts as spent). The numbers of the rows only grow: unlike
instants they tell before and after whatever the clock says.
"""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from rodin_watchd.adapters.journal.words import errors_in_words
from rodin_watchd.core.machine import SENDING
from rodin_watchd.core.proof import Refusal, Since
from rodin_watchd.core.refusals import LOOKED, InARow, InVain
from rodin_watchd.model import CREDITS_PER_TEXTURE

_SPENT = """
    SELECT top, cost, outcome = 'charged', confirmed, count(*) FROM purchases WHERE id > ? AND outcome <> 'free'
        GROUP BY 1, 2, 3, 4
"""
_NEWEST_COSTS = "SELECT cost FROM purchases WHERE outcome = 'charged' ORDER BY id DESC LIMIT 20"
_CHARGED = "SELECT cost, count(*) FROM purchases WHERE at >= ? AND outcome = 'charged' GROUP BY cost"
_NEWEST = "SELECT coalesce(max(id), 0) FROM purchases"
_SINCE = "SELECT outcome, cost, count(*), sum(told) FROM purchases WHERE id > ? GROUP BY outcome, cost"
_CONFIRMED = "SELECT DISTINCT cost FROM purchases WHERE outcome = 'charged' AND confirmed"
_LAST_COST = "SELECT cost FROM purchases WHERE outcome = 'charged' ORDER BY id DESC LIMIT 1"
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
_MAY_HAVE_BOUGHT = "SELECT 1 FROM purchases WHERE job_id = ? AND outcome NOT IN ('free', 'refused') LIMIT 1"
_UNKNOWN_OF = """
    SELECT id FROM purchases WHERE job_id = :job AND outcome = 'unknown' AND :consent IN ('', consent) ORDER BY id
"""
_IN_A_ROW = """
    SELECT count(*) FROM purchases AS refused WHERE outcome = 'refused' AND NOT EXISTS (
        SELECT 1 FROM purchases AS later WHERE later.id > refused.id AND later.outcome = 'charged')
"""
_IS_TRY = """
    CASE outcome WHEN 'open' THEN job_id IN (SELECT id FROM jobs WHERE state = 'held')
        ELSE sent OR told OR outcome IN ('refused', 'unknown') END
"""  # it has ended, and could have been charged: sent as a whole, answered, or held because nobody could read what was answered
_TRIES_OF = f"""
    {_SAME} SELECT count(*) FROM same WHERE {_IS_TRY} AND outcome <> 'charged'
        AND id > coalesce((SELECT max(id) FROM same WHERE outcome = 'charged'), 0)
"""  # noqa: S608 - of words of this module
_TRIES_IN_A_ROW = f"""
    SELECT count(*) FROM purchases WHERE {_IS_TRY} AND outcome IN ('free', 'refused') AND id > max(?, coalesce(
        (SELECT id FROM purchases WHERE outcome = 'charged' ORDER BY id DESC LIMIT 1), 0))
"""  # noqa: S608 - as above
_OWNERS = "SELECT id, job_id FROM purchases WHERE id IN (SELECT value FROM json_each(?))"
_OPEN_OF = "SELECT id FROM purchases WHERE outcome = 'open' AND job_id IN (SELECT value FROM json_each(?))"
_OPEN = "SELECT job_id FROM purchases WHERE id > ? AND outcome = 'open'"
_SENDING = """
    SELECT purchases.id FROM purchases JOIN jobs ON jobs.id = job_id
        WHERE outcome = 'open' AND state IN (SELECT value FROM json_each(?))
"""
_REFUNDABLE = """
    SELECT (SELECT count(*) FROM events WHERE id > :event AND state = 'failing'
            AND job_id IN (SELECT job_id FROM purchases WHERE outcome NOT IN ('free', 'refused')))
        + (SELECT count(*) FROM purchases JOIN jobs ON jobs.id = job_id
            WHERE purchases.id <= :purchase AND outcome NOT IN ('free', 'refused') AND state = 'held'
            AND EXISTS (SELECT 1 FROM events WHERE job_id = jobs.id AND events.id > :event AND events.state = 'held'))
"""  # a task that failed, or one that nobody can ask about


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
        spent: dict[str, Decimal] = {}
        price = self.price()
        for top, cost, is_charged, confirmed, count in self._kept_rows(_SPENT, (purchase,)):
            least = CREDITS_PER_TEXTURE if is_charged else price
            each = Decimal(cost) if confirmed else max(Decimal(cost), least)
            spent[top] = spent.get(top, Decimal(0)) + each * count
        return spent

    @errors_in_words
    def price(self) -> Decimal:
        """Return what a texture may cost, in credits: the dearest of the 20 newest charges, and at least the list price."""
        return max({CREDITS_PER_TEXTURE} | self._newest_costs())

    def _newest_costs(self) -> frozenset[Decimal]:
        return frozenset(Decimal(row[0]) for row in self._kept_rows(_NEWEST_COSTS))

    @errors_in_words
    def charged_since(self, at: float) -> Decimal:
        """Return what was charged for submits since an instant (UTC), in credits."""
        return _sum((Decimal(cost), count) for cost, count in self._rows(_CHARGED, (at,)))

    def newest_purchase(self) -> int:
        """Return the number of the newest purchase, 0 without any."""
        return int(self._kept_rows(_NEWEST)[0][0])

    def newest_event(self) -> int:
        """Return the number of the newest event of a job, 0 without any."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    @errors_in_words
    def purchases_since(self, purchase: int, aged_event: int) -> Since:
        """Return what happened to the money after a purchase; failed and lost tasks count if an event after `aged_event` tells of it."""
        rows = [(outcome, Decimal(cost), count, told) for outcome, cost, count, told in self._rows(_SINCE, (purchase,))]
        last = self._rows(_LAST_COST)
        known = {CREDITS_PER_TEXTURE, *(Decimal(row[0]) for row in self._rows(_CONFIRMED))}
        return Since(
            charged=_sum((cost, count) for outcome, cost, count, _ in rows if outcome == "charged"),
            unknown=sum(count for outcome, _, count, _ in rows if outcome in _UNDECIDED),
            at_stake=_sum((cost, count) for outcome, cost, count, _ in rows if outcome in _UNDECIDED),
            undecided=frozenset(row[0] for row in self._rows(_OPEN, (purchase,))),
            refundable=self._rows(_REFUNDABLE, {"purchase": purchase, "event": aged_event})[0][0],
            told=sum(told for *_, told in rows),
            refused=self.refused_since(purchase),
            gratis=bool(last) and not Decimal(last[0][0]),
            prices=self._newest_costs() or frozenset({CREDITS_PER_TEXTURE}),
            unconfirmed=not known.issuperset(cost for outcome, cost, *_ in rows if outcome == "charged"),
        )

    def refused_since(self, purchase: int) -> tuple[Refusal, ...]:
        """Return the submits after a purchase that were refused and are not known to have been free, oldest first."""
        return tuple(map(_refusal, self._kept_rows(f"{_REFUSED} AND id > ? ORDER BY id", (purchase,))))

    def sending(self) -> frozenset[int]:
        """Return the numbers of the purchases whose submits are under way: each may be refused later than a newer one."""
        return frozenset(row[0] for row in self._rows(_SENDING, (json.dumps(sorted(SENDING)),)))

    def refused_of(self, fingerprint: str, dropped: str = "") -> tuple[Refusal, ...]:
        """Return the same of one content, of all times; and of what was dropped for it, whatever plugins made of that."""
        return tuple(map(_refusal, self._rows(_REFUSED_OF, {"content": fingerprint, "dropped": dropped})))

    def may_have_bought(self, job_id: str) -> bool:
        """Tell whether a submit of this job was charged, or may have been, other than by a refusal."""
        return bool(self._rows(_MAY_HAVE_BOUGHT, (job_id,)))

    def unknown_of(self, job_id: str, consent: str) -> tuple[int, ...]:
        """Return the submits of a job that may have been charged, and that its consent does not allow to pay for once more."""
        return tuple(row[0] for row in self._rows(_UNKNOWN_OF, {"job": job_id, "consent": consent}))

    def in_vain(self, fingerprint: str, dropped: str = "") -> InVain:
        """Return how many submits of one content, or of what was dropped for it, came to nothing, since it was charged."""
        tries = int(self._rows(_TRIES_OF, {"content": fingerprint, "dropped": dropped})[0][0])
        return InVain(len(self.refused_of(fingerprint, dropped)), tries)

    def in_a_row(self) -> InARow:
        """Return how many submits of the account came to nothing, since the newest one that was charged."""
        tries = self._kept_rows(_TRIES_IN_A_ROW, (self.meta(LOOKED) or 0,))
        return InARow(int(self._kept_rows(_IN_A_ROW)[0][0]), int(tries[0][0]))

    def open_of(self, jobs: Iterable[str]) -> tuple[int, ...]:
        """Return the open purchases of these jobs."""
        return tuple(row[0] for row in self._rows(_OPEN_OF, (json.dumps(sorted(jobs)),)))

    def owners(self, purchases: Iterable[int]) -> Mapping[int, str]:
        """Return the ids of the jobs that these purchases are of."""
        return {row[0]: row[1] for row in self._rows(_OWNERS, (json.dumps(sorted(purchases)),))}


def _refusal(row: sqlite3.Row) -> Refusal:
    return Refusal(row[0], row[1], row[2], Decimal(row[3]))


def _sum(costs: Iterable[tuple[Decimal, int]]) -> Decimal:
    return sum((cost * count for cost, count in costs), Decimal(0))
