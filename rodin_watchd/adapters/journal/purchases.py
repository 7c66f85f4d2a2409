"""Reading the purchases: what was begun to be bought, when, for which folder, and what came of it.

A row begins with the intent to upload, in the same transaction (the schema's triggers), and ends `charged`, `free` (proven
not charged), `refused` (the whole body was sent and the answer was a refusal, which proves less than it says) or `unknown`
(given up without knowing). So it is the content ledger (what was paid for is not paid again), and
the budget's books (what is not known to be free counts as spent). The numbers of the rows only grow: unlike
instants they tell before and after whatever the clock says.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rodin_watchd.core.proof import Refusal, Since

_SPENT = "SELECT top, count(*) FROM purchases WHERE id > ? AND outcome <> 'free' GROUP BY top"
_CHARGED = "SELECT count(*) FROM purchases WHERE at >= ? AND outcome = 'charged'"
_NEWEST = "SELECT coalesce(max(id), 0) FROM purchases"
_SINCE = """
    SELECT coalesce(sum(outcome = 'charged'), 0), coalesce(sum(outcome IN ('open', 'unknown')), 0), coalesce(sum(told), 0)
    FROM purchases WHERE id > ?
"""
_REFUSED = "SELECT id, job_id, fingerprint, cost FROM purchases WHERE outcome = 'refused'"
_REFUSED_OF = f"{_REFUSED} AND fingerprint = ? ORDER BY id"
_IN_A_ROW = """
    SELECT count(*) FROM purchases AS refused WHERE outcome = 'refused' AND NOT EXISTS (
        SELECT 1 FROM purchases AS later WHERE later.id > refused.id AND later.outcome = 'charged')
"""
_OPEN = "SELECT job_id FROM purchases WHERE id > ? AND outcome = 'open'"
_REFUNDABLE = """
    SELECT (SELECT count(*) FROM events WHERE at >= :at AND state = 'failing'
            AND job_id IN (SELECT job_id FROM purchases WHERE outcome NOT IN ('free', 'refused')))
        + (SELECT count(*) FROM purchases JOIN jobs ON jobs.id = job_id
            WHERE purchases.id <= :purchase AND at >= :at AND outcome NOT IN ('free', 'refused') AND state = 'held')
"""  # a task that failed, or one that nobody can ask about


class PurchaseReader(ABC):
    """A part of the journal's reader; every method raises JournalError."""

    @abstractmethod
    def _rows(self, query: str, values: Any = ()) -> list[sqlite3.Row]: ...  # noqa: ANN401 - as sqlite3 takes them

    def spent_since(self, purchase: int) -> Mapping[str, int]:
        """Return how many textures were bought after a purchase, by top folder, "" for the inbox itself.

        One whose outcome is not known to be free counts: what is being sent, and what is held.
        """
        return {row[0]: row[1] for row in self._rows(_SPENT, (purchase,))}

    def charges_since(self, at: float) -> int:
        """Return how many textures were charged that were sent since an instant (UTC)."""
        return int(self._rows(_CHARGED, (at,))[0][0])

    def newest_purchase(self) -> int:
        """Return the number of the newest purchase, 0 without any."""
        return int(self._rows(_NEWEST)[0][0])

    def purchases_since(self, purchase: int, refunds_at: float) -> Since:
        """Return what happened to the money after a purchase; failed and lost tasks count from `refunds_at` (UTC) on."""
        charged, unknown, told = self._rows(_SINCE, (purchase,))[0]
        undecided = frozenset(row[0] for row in self._rows(_OPEN, (purchase,)))
        refundable = self._rows(_REFUNDABLE, {"purchase": purchase, "at": refunds_at})[0][0]
        return Since(charged, unknown, undecided, refundable, told, self.refused_since(purchase))

    def refused_since(self, purchase: int) -> tuple[Refusal, ...]:
        """Return the submits after a purchase that were refused whole and are not known to have been free, oldest first."""
        return tuple(map(_refusal, self._rows(f"{_REFUSED} AND id > ? ORDER BY id", (purchase,))))

    def refused_of(self, fingerprint: str) -> tuple[Refusal, ...]:
        """Return the same of one content, of all times."""
        return tuple(map(_refusal, self._rows(_REFUSED_OF, (fingerprint,))))

    def refused_in_a_row(self) -> int:
        """Return how many such submits there are since the newest one that was charged."""
        return int(self._rows(_IN_A_ROW)[0][0])


def _refusal(row: sqlite3.Row) -> Refusal:
    return Refusal(row[0], row[1], row[2], Decimal(row[3]))
