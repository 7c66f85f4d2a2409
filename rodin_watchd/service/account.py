"""The vendor's account: asks for its balance when that is worth a call. The main thread's alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from rodin_watchd.config import Config
from rodin_watchd.core.account import (
    ACCOUNT,
    BALANCE,
    FRESH_SECONDS,
    Balance,
    account_pauses,
    cleared,
    is_stale,
    low_balance_text,
    remembered,
    to_ask_about,
)
from rodin_watchd.core.budget import is_over_budget
from rodin_watchd.core.machine import SENDING
from rodin_watchd.core.pauses import Pause, Pauses, is_over
from rodin_watchd.core.proof import shows_parts
from rodin_watchd.core.refusals import room, stopped
from rodin_watchd.model import CREDITS_PER_TEXTURE, State
from rodin_watchd.problem import Lane, Problem
from rodin_watchd.service.book import Book
from rodin_watchd.service.proving import NOTHING_BEGUN, Prover, Proving

_TO_BUY = frozenset({State.CLAIMED, State.STAGED, State.UPLOADING})


@dataclass(frozen=True, slots=True)
class _Question:
    """A question under way, and what was so when it was asked."""

    purchase: int  # the newest
    sending: int  # submits that were open: the answer may know of them or not
    quiet_at: float | None  # of the inquiry that it is a reading for
    settled: bool  # whether all that was charged must be in the answer

    @property
    def known_purchase(self) -> int:
        """The newest purchase that the answer surely knows of."""
        return self.purchase - self.sending


class Account:
    """What is known of the account that `account` names. `now` is UTC and may jump, `monotonic` never does.

    What the journal remembers counts only if it is about this account: a balance of another one proves nothing. `begun` is
    the proof that was under way before a reload, of this account. Every method may raise DiskError: then nothing is known yet, and it may be called again.
    """

    def __init__(
        self,
        config: Config,
        account: str,
        book: Book,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        begun: Proving = NOTHING_BEGUN,
    ) -> None:
        self._low_limit = config.budget.low_balance
        self._vendor = config.api.base_url
        self.name = account
        self._book = book
        self._now = now
        self._monotonic = monotonic
        same = book.journal.meta(ACCOUNT) == account
        self._known = remembered(book.journal.meta(BALANCE), self._vendor) if same else None
        self._prover = Prover(book, now, monotonic, config.budget, account, begun)
        self._question: _Question | None = None
        self._asked_once = False
        self._asked_at = monotonic()
        self._asked_purchase = book.journal.newest_purchase()
        self._paid_in: Decimal | None = None  # what the newest question found; None when it found nothing
        self._cleared: frozenset[Pause] = frozenset()

    # ---- whether submits wait, and for what -------------------------------------------------------------------------

    def holds_submits(self, pauses: Pauses) -> bool:
        """Tell whether no submit may begin until the balance was asked for."""
        return (
            self._prover.holds_submits or self._is_unsure() or self.textures() == 0 or bool(self._to_ask_about(pauses))
        )

    def textures(self) -> int | None:
        """Return how many more textures the account pays, by the newest balance and what was bought since; None: unknown."""
        if self._paid_in is None:
            return None
        spent = sum(self._book.journal.spent_since(self._asked_purchase).values(), Decimal(0))
        return max(int((self._paid_in - spent) // CREDITS_PER_TEXTURE), 0)

    @property
    def begun(self) -> Proving:
        """The proof that another one for the same account goes on with."""
        return self._prover.begun

    @property
    def inquires(self) -> bool:
        """Whether a proof is under way."""
        return self._prover.inquires

    @property
    def may_free_held(self) -> bool:
        """Whether a proof is under way by which held jobs may go on without a person."""
        return self._prover.about_held

    def room(self, sending: int) -> int:
        """Return how many more submits may begin while so many are under way."""
        textures, others = self.textures(), room(self._book.journal.in_a_row(), sending)
        return others if textures is None else min(textures, others)

    def stopped(self, pauses: Pauses) -> Pauses:
        """Return the pauses with one of the submits that a person has to end, while the vendor refuses too much."""
        return stopped(pauses, self._book.journal.in_a_row(), self._book.jobs.values(), self._now())

    def judged_jobs(self) -> frozenset[str]:
        """Return the jobs to which nothing is done until it is known what their refusal cost."""
        return self._prover.judged_jobs()

    def inquire(self, chance: float) -> None:
        """Begin, go on with or end a proof about held jobs and refusals; what was not charged goes on without a person."""
        self._prover.inquire(chance, exact=self._known is not None and self._known.exact)

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds a reading is wanted."""
        return self._prover.next_due_seconds()

    def wants_balance(self, pauses: Pauses, *, submits: bool) -> bool:
        """Tell whether the balance is to be asked for now. `submits`: whether money may be spent."""
        api = pauses.get(Lane.API)
        if self._question or (api and not is_over(api, self._now())):
            return False
        submits = submits and Lane.REFUSALS not in pauses
        ran_dry = self.textures() == 0 and not account_pauses(pauses) and not self._sending()
        first = submits and (self._is_unsure() or ran_dry) and self._has_to_buy()
        probe = self._probes(pauses, to_send=submits and self._has_to_buy())
        return first or self._prover.is_due() or probe or self._is_outdated()

    def _probes(self, pauses: Pauses, *, to_send: bool) -> bool:
        """Tell whether submits wait for a free call that works; one that the account's owner has to end is told in any case."""
        unpaid = account_pauses(pauses)
        return any(to_send or pause in unpaid for pause in self._to_ask_about(pauses))

    def _is_unsure(self) -> bool:
        """Tell whether the balance has to be asked for before a submit; a proof starts from a fresh one, if it can."""
        is_fresh = self._monotonic() - self._asked_at < FRESH_SECONDS
        return not self._asked_once or (self._prover.may_start and not is_fresh)

    def _to_ask_about(self, pauses: Pauses) -> list[Pause]:
        return to_ask_about(pauses, self._cleared, self._now())

    def _is_outdated(self) -> bool:
        """Tell whether somebody watches the balance, and it has changed or may have."""
        if self._low_limit is None or self._prover.inquires:
            return False
        is_low = self._known is not None and self._known.low
        purchases = self._book.journal.newest_purchase() - self._asked_purchase
        return is_stale(purchases + is_low, self._monotonic() - self._asked_at)

    def _sending(self) -> int:
        return sum(job.state in SENDING for job in self._book.jobs.values())

    def _has_to_buy(self) -> bool:
        return any(job.state in _TO_BUY and not is_over_budget(job) for job in self._book.jobs.values())

    # ---- asking -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Note that the balance is being asked for."""
        newest, prover = self._book.journal.newest_purchase(), self._prover
        self._question = _Question(newest, self._sending(), prover.asked_for(), prover.is_settled)

    @property
    def asks(self) -> bool:
        """Whether this account's balance is being asked for."""
        return self._question is not None

    def take(self, answer: Decimal | Problem, pauses: Pauses) -> None:
        """Note what came of it; `pauses` are those after it."""
        if self._question is None:
            return
        self._paid_in = answer if isinstance(answer, Decimal) else None
        if isinstance(answer, Decimal):
            self._read(answer, self._question)
        else:
            self._prover.read_failed()
        self._asked_once = True
        self._asked_at, self._asked_purchase = self._monotonic(), self._question.known_purchase
        self._cleared = cleared(pauses, self._now(), told=isinstance(answer, Decimal))
        self._question = None

    def _read(self, credits_left: Decimal, question: _Question) -> None:
        low = self._low_limit is not None and credits_left < self._low_limit
        exact = shows_parts(credits_left) or (self._known is not None and self._known.exact)
        known = Balance(credits_left, self._now(), low, exact, self._vendor, question.known_purchase)
        self._book.commit((), self._now(), {BALANCE: known.as_data(), ACCOUNT: self.name})
        self._tell_low(known, was_low=self._known is not None and self._known.low)
        self._known = known
        none_open = not question.sending and not self._sending()
        if none_open and question.purchase == self._book.journal.newest_purchase():
            self._prover.start_from(credits_left, question.purchase, exact=exact, settled=question.settled)
        self._prover.read(credits_left, question.quiet_at)

    def _tell_low(self, known: Balance, *, was_low: bool) -> None:
        if known.low == was_low or self._low_limit is None:
            return
        if known.low:
            told = low_balance_text(known.credits, self._low_limit)
            self._book.tell("low-balance", told, self._now(), subject="balance")
        else:
            told = "The account holds enough credits again."
            self._book.tell("balance-restored", told, self._now(), subject="balance")

    def notices(self) -> list[str]:
        """Return what people must know."""
        known, limit = self._known, self._low_limit
        is_low = known is not None and limit is not None and known.credits < limit
        told = [low_balance_text(known.credits, limit)] if is_low and known and limit is not None else []
        return [*told, *self._prover.notices()]
