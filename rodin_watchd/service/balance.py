"""The vendor's account: asks for its balance when that is worth a call, and proves by it what was charged. The main thread's alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from rodin_watchd.config import BudgetSection, Config
from rodin_watchd.core.balance import (
    ACCOUNT,
    BALANCE,
    EVENT_AGES,
    FRESH_SECONDS,
    KEEP_SECONDS,
    LATE,
    Ages,
    Balance,
    Reading,
    Trust,
    after,
    is_stale,
    late_text,
    left,
    low_balance_text,
    notice,
    purchases_of,
    remembered,
    taken_back,
    unwatched,
    unwatched_text,
)
from rodin_watchd.core.budget import is_over_budget
from rodin_watchd.core.kinds import Article, article_of, cheapest
from rodin_watchd.core.machine import AT_VENDOR, SENDING, is_disputed
from rodin_watchd.core.notifications import Notice
from rodin_watchd.core.pauses import Pause, Pauses, account_pauses, cleared, is_over, to_ask_about, until_decided
from rodin_watchd.core.proof import (
    BASELINE,
    GLANCE_AFTER_SECONDS,
    INQUIRY,
    JUDGED,
    LOSSES,
    NO_BASELINE,
    NOTHING_SINCE,
    OVERDUE,
    REFUND_SECONDS,
    UNJUDGED,
    Baseline,
    Inquiry,
    OngoingProof,
    Proof,
    Refusal,
    Settled,
    Since,
    Traffic,
    Verdict,
    concluded,
    held_until,
    judged,
    lower_than_known,
    read_after,
    refusals_judged,
    shows_parts,
)
from rodin_watchd.core.refusals import (
    MOST_PASSED,
    InARow,
    awaits_word,
    bound,
    charged,
    counted,
    held_beside,
    held_often,
    judged_jobs,
    let_go,
    of_this_root,
    outcomes,
    room,
    why_stopped,
)
from rodin_watchd.core.roots import process_in_words
from rodin_watchd.core.stillness import Reason
from rodin_watchd.core.store import NO_META, Store
from rodin_watchd.errors import Lane, Problem
from rodin_watchd.model import Job, ServiceEvent, State, Transition
from rodin_watchd.service.clock import Clock
from rodin_watchd.service.jobs import JobStore

# ---- The ages of the journal's events, counted by monotonic time and kept over restarts; the main thread's alone ----


NOTED_SECONDS: Final = 600.0
"""What was counted is made durable so often; a crash loses no more than that, and makes nothing older than it is."""


class EventAges:
    """Counts while it is asked to `look`. `longest_seconds`: no greater age is ever asked for."""

    def __init__(self, store: Store, monotonic: Callable[[], float], longest_seconds: float) -> None:
        self._store = store
        self._monotonic = monotonic
        self._longest_seconds = longest_seconds
        self._ages = Ages.of_data(store.meta(EVENT_AGES))
        self._looked_at = monotonic()

    def look(self) -> None:
        """Count the time since the last look; to be called in each tick. Raises DiskError; it may be called again."""
        monotonic = self._monotonic()
        passed = monotonic - self._looked_at
        if passed >= NOTED_SECONDS or not self._ages.marks:
            ages = self._ages.grown(passed, self._store.newest_event(), self._longest_seconds)
            self._store.set_meta(EVENT_AGES, ages)
            self._ages, self._looked_at = ages, monotonic

    def older_than(self, seconds: float) -> int:
        """Return the number of the newest event that is surely as old as that, 0 without any."""
        return self._ages.older_than(seconds)


# ---- Proving by the balance whether lost or refused submits were charged (`core.proof`, `core.refusals`); the main thread's alone ----


FAILED_SECONDS = 5.0
"""A reading that failed is tried again after so long (monotonic)."""


@dataclass(frozen=True, slots=True)
class Proving:
    """A proof that may be under way, and the held jobs that are known; purchases by their numbers."""

    inquiry: Inquiry | None = None
    held: frozenset[str] = frozenset()
    undecided: bool = False  # whether it is about the lost answer of one of them
    glanced: frozenset[int] = frozenset()  # refused ones at which a first glance was taken
    passed: frozenset[int] = frozenset()  # those of them that looked free
    sent_at: float | None = None  # when a submit was under way last, monotonic; None: not known
    traffic: Traffic | None = None  # what was seen then of the jobs at the vendor


NOTHING_BEGUN = Proving()


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a reading says of what was believed before it."""

    trust: Trust
    back: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # purchases that were not free after all, by job
    confirmed: tuple[int, int] = (0, 0)  # after the first purchase, up to the second: the balance fell by them
    unwatched: str = ""  # why they are not known to be free any more, where no reading has shown that they were not


class Prover:
    """Keeps the baseline, and inquires into held jobs and refusals.

    `budget` says whether nobody else spends from the account (without that only refusals are looked into), and how long the
    vendor may take to book a charge; `account` names the account. `begun` is what the prover before a reload had begun, of this
    account.

    Daemons of several roots may spend from the account by one store. Each has a baseline of its own, and decides about the jobs of its
    root; the sums are over the purchases of all. A reading proves something only if no submit of any root can be in it that the
    sums do not know, and the other way round. Each submit is committed before its first byte leaves. So a reading counts
    where, in a transaction that no other daemon can write into and that begins after the reading, nothing is being sent in any
    root, and nothing has begun to be since before the reading was asked for: no newer purchase (a baseline), no move of a job
    at the vendor (a proof). What was known before that may be older than the store: it can only show too much. While a proof
    is under way the other daemons send nothing (`OngoingProof`); where one does all the same, the proof begins again.

    Every method may raise DiskError: then nothing is known yet, and it may be called again.
    """

    def __init__(
        self,
        job_store: JobStore,
        store: Store,
        clock: Clock,
        budget: BudgetSection,
        account: str,
        begun: Proving = NOTHING_BEGUN,
    ) -> None:
        self._job_store = job_store
        self._store = store
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._trusts = budget.sole_spender
        self._settle_seconds = budget.settle_seconds
        self._account = account
        stored = store.meta(BASELINE)
        self._baseline = Baseline.of_data(stored) if stored else None
        self._judged: int = store.meta(JUDGED) or 0
        self._unjudged = frozenset[int](store.meta(UNJUDGED) or ())
        self._inquiry = begun.inquiry
        self._ages = EventAges(store, clock.monotonic, max(REFUND_SECONDS, KEEP_SECONDS))
        self._not_before = clock.monotonic()
        self._held = begun.held
        self._undecided = begun.undecided  # whether the answer of a held job is looked into
        self._glanced = begun.glanced
        self._passed = begun.passed
        never = -math.inf if not store.newest_purchase() else clock.monotonic()
        self._sent_at = never if begun.sent_at is None else begun.sent_at
        self._traffic = job_store.traffic if begun.traffic is None else begun.traffic
        self._others: Sequence[OngoingProof] = ()  # that daemons of other roots have under way
        self._announced = store.meta(INQUIRY)

    @property
    def begun(self) -> Proving:
        """What a prover that takes this one's place goes on with."""
        return Proving(
            self._inquiry, self._held, self._undecided, self._glanced, self._passed, self._sent_at, self._traffic
        )

    @property
    def inquires(self) -> bool:
        """Whether a proof is under way."""
        return self._inquiry is not None

    @property
    def holds_submits(self) -> bool:
        """Whether a proof is under way that no submit may disturb.

        One about refusals that looked free at the first glance may be put off by others for a while.
        """
        return self._is_holding or self.is_held_up

    @property
    def is_held_up(self) -> bool:
        """Whether a daemon of another root has such a proof under way."""
        return any(one.holds for one in self._others)

    @property
    def _is_holding(self) -> bool:
        if self._inquiry is None:
            return False
        passed = not self._undecided and self._passed.issuperset(refusal.purchase for refusal in self._refused())
        return not (passed and self._inquiry.may_be_put_off(self._monotonic(), self._settle_seconds))

    @property
    def is_settled(self) -> bool:
        """Whether the newest submit is so long ago that its charge is in a balance that is read now."""
        return self._monotonic() - self._sent_at >= self._settle_seconds

    @property
    def about_held(self) -> bool:
        """Whether the proof is about held jobs, so that these may go on without a person."""
        return self._undecided

    @property
    def may_start(self) -> bool:
        """Whether a balance that is read now can be the next baseline."""
        open_states = AT_VENDOR if self._trusts else SENDING
        return self._inquiry is None and not self._is_any(open_states)

    def _is_any(self, states: AbstractSet[State]) -> bool:
        return any(job.state in states for job in self._job_store.everywhere)

    @property
    def judges(self) -> bool:
        """Whether any refusal waits for its verdict, in any root."""
        return bool(self._refused()) or any(one.judges for one in self._others)

    def judged_jobs(self) -> frozenset[str]:
        """Return the jobs that wait until it is known what their refusal cost: nothing is done to them meanwhile."""
        if self._inquiry is None:
            return frozenset()
        return frozenset(job.id for job in judged_jobs(self._refused(), self._job_store.jobs.values()))

    def _refused(self) -> tuple[Refusal, ...]:
        """Return the refusals of this root's jobs that were not looked into yet."""
        after = min((self._judged, *(purchase - 1 for purchase in self._unjudged)))
        refused = self._store.refused_here(after)
        return tuple(one for one in refused if one.purchase > self._judged or one.purchase in self._unjudged)

    # ---- readings ---------------------------------------------------------------------------------------------------

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds the inquiry wants a reading."""
        due_at = self._inquiry.due_at if self._inquiry else None
        return [] if due_at is None else [max(due_at, self._not_before) - self._monotonic()]

    def is_due(self) -> bool:
        """Return whether the inquiry wants a reading now."""
        return any(seconds <= 0 for seconds in self.next_due_seconds())

    def asked_for(self) -> float | None:
        """Return which quiet time a reading that is asked for now belongs to; None if it is for no inquiry."""
        return self._inquiry.quiet_at if self._inquiry and self.is_due() else None

    def read(self, balance: Decimal, quiet_at: float | None) -> None:
        """Note a reading that `asked_for` had said to be for this quiet time."""
        if self._inquiry and quiet_at is not None and quiet_at == self._inquiry.quiet_at:
            self._inquiry = self._inquiry.read(balance)

    def read_failed(self) -> None:
        """Note that the balance could not be read."""
        self._not_before = self._monotonic() + FAILED_SECONDS

    def start_from(self, balance: Decimal, purchase: int, *, exact: bool, settled: bool) -> None:
        """Note a balance that was read while no submit was open, with the newest purchase at that time.

        `exact`: whether the account has ever shown a part of a credit; `settled`: what `is_settled` was when it was asked for. Without
        that an own account's baseline of before is the better one: what was accepted since is known to be charged after it. It is also
        while a process that fell silent may still send: only from before that submit does a balance show whether it was charged.
        """
        if self._inquiry is not None:
            return
        with self._job_store.together(decides=True):
            if self._job_store.sending or self._store.newest_purchase() != purchase:
                return  # a daemon of another root buys meanwhile
            if not (self._baseline is None or self.may_start):
                return
            aged = self._ages.older_than(REFUND_SECONDS)
            read = Baseline(self._account, balance, purchase, self._trusts, settled, aged, self._losses)
            renewed = read if settled or not self._trusts else self._baseline or read
            renewed = self._baseline_of_silent() or renewed
            doubts = self._renew(renewed, self._looked(balance, exact=exact, settled=settled))
        self._baseline = renewed
        self._report(doubts)

    def _baseline_of_silent(self) -> Baseline | None:
        """Return the baseline from before a submit that a silent process may still end, if there is one."""
        return self._baseline if self._trusts and self._store.may_be_sent() else None

    @property
    def _losses(self) -> int:
        return int(self._store.meta(LOSSES) or 0)

    def _renew(
        self,
        renewed: Baseline | None,
        looked: _Looked,
        moves: Sequence[Transition] = (),
        meta: Mapping[str, Any] = NO_META,
        settled: Sequence[Settled] = (),
    ) -> list[ServiceEvent]:
        """Commit a new baseline with what its reading says of the older verdicts, and with what else came of it.

        It is known here (`_baseline`), and what this returns is reported, when that is durable.
        """
        now, moved = self._now(), {move.job.id for move in moves}
        doubted = [move for move in self._taken_back(looked, now) if move.job.id not in moved]
        stays = {move.job.id for move in doubted if awaits_word(move.job)}
        back = [
            Settled(purchase, "refused" if job_id in stays else "unknown", before="free")
            for job_id, purchases in looked.back.items()
            for purchase in purchases
        ]
        baseline = renewed.as_data() if renewed else None
        stored = {BASELINE: baseline, **looked.trust.as_meta(self._account), **meta}
        self._job_store.commit([*moves, *doubted], now, stored, settled=[*settled, *back], confirmed=looked.confirmed)
        if back and looked.unwatched:
            return [ServiceEvent(now, "balance-unwatched", unwatched_text(len(back), looked.unwatched), "balance")]
        return [ServiceEvent(now, "balance-doubted", late_text(looked.trust), "balance")] if back else []

    def _report(self, events: Iterable[ServiceEvent]) -> None:
        for event in events:
            self._job_store.report(event.kind, event.message, event.at, subject=event.subject)

    def _taken_back(self, looked: _Looked, now: float) -> Iterator[Transition]:
        for job_id, purchases in looked.back.items():
            if job := self._job_store.jobs.get(job_id):
                yield taken_back(job, len(purchases), looked.unwatched or LATE, now)

    # ---- whether the balance is believed ----------------------------------------------------------------------------

    @property
    def _trust(self) -> Trust:
        """What daemons of all roots know of the balance; what was shown to be free each remembers for itself."""
        return Trust.of_meta(self._store.meta, self._account).with_others(self._store.meta_elsewhere, self._account)

    def _looked(self, balance: Decimal, *, exact: bool, settled: bool) -> _Looked:
        """Compare a reading while nothing of ours is open with the one before it. `settled`: as for `start_from`."""
        trust, baseline = self._trust, self._baseline
        if baseline is None:
            return _Looked(trust)
        since = self._since(baseline)
        lower = lower_than_known(baseline, since, balance)
        reading = Reading(lower, since, exact, baseline.settled and baseline.sole and self._trusts)
        learned, back = after(trust, reading, self._settle_seconds, self._ages.older_than(KEEP_SECONDS))
        confirmed = (0, 0)
        if settled and reading.matches and reading.sole and learned.moves and since.accepted == 1:
            # of several, wrong costs may have the right sum
            confirmed = (baseline.purchase, self._store.newest_purchase())
        return _Looked(learned, self._by_job(back), confirmed)

    def _unwatched(self, why: str) -> _Looked:
        """Return what is believed when no later reading can be compared with those of before; `why` is for people."""
        trust, back = unwatched(self._trust, self._ages.older_than(KEEP_SECONDS))
        return _Looked(trust, self._by_job(back), unwatched=why)

    def _by_job(self, purchases: frozenset[int]) -> Mapping[str, tuple[int, ...]]:
        return purchases_of(purchases, self._store.owners(purchases))

    # ---- the inquiry ------------------------------------------------------------------------------------------------

    def inquire(self, chance: float, *, exact: bool) -> None:
        """Begin, go on with or end a proof. `exact`: whether the account has ever shown a part of a credit."""
        self._ages.look()
        self._others = self._ongoing_elsewhere()
        if why := self._why_unfit():
            doubts = self._renew(None, self._unwatched(why))
            self._baseline = None
            self._report(doubts)
        if self._baseline is None:
            self._baseline = self._baseline_elsewhere()
        self._note_sending()
        if self._trusts:
            self._look_for_held()
        else:
            self._look_for_no_held()
        self._look_for_refused()
        if self._inquiry is not None:
            self._go_on(self._inquiry, chance, exact=exact)
        self._announce()

    def _baseline_elsewhere(self) -> Baseline | None:
        """Return the newest baseline of another root: it is of the same account, and the sums are the same."""
        oldest = min((refusal.purchase for refusal in self._refused()), default=math.inf)  # a later reading knows of it
        found = map(Baseline.of_data, self._store.meta_elsewhere(BASELINE))
        fit = (one for one in found if one.purchase < oldest and not self._why_not(one))
        return max(fit, key=lambda one: one.purchase, default=None)

    def _ongoing_elsewhere(self) -> Sequence[OngoingProof]:
        found = map(OngoingProof.of_data, self._store.meta_elsewhere(INQUIRY))
        return [one for one in found if one.account == self._account and self._now() < one.until_at]

    def _announce(self) -> None:
        """Let daemons of other roots know of a proof that their submits would disturb."""
        ongoing = None
        if self._inquiry is not None:
            left_seconds = self._inquiry.overdue_at(self._settle_seconds) - self._monotonic()
            known = OngoingProof.of_data(self._announced) if self._announced else None
            until_at = held_until(known, self._account, self._now(), left_seconds)
            ongoing = asdict(OngoingProof(self._account, self._is_holding, bool(self._refused()), until_at))
        if ongoing != self._announced and self._store.shared_now() is not None:  # else nobody reads it
            self._store.set_meta(INQUIRY, ongoing)
            self._announced = ongoing

    def _go_on(self, inquiry: Inquiry, chance: float, *, exact: bool) -> None:
        """Read when it is time, and conclude when all was read, or it takes too long."""
        lasting = inquiry.lasting(self._reads_after())
        self._inquiry = self._seen(lasting)
        now = self._monotonic()
        overdue = self._inquiry.is_overdue(now, self._settle_seconds)
        if self._baseline and self._inquiry.is_complete and self._inquiry.is_glance:
            self._glance(self._baseline, self._inquiry, exact=exact)
        elif self._inquiry.is_complete or overdue or self._baseline is None:
            self._conclude(self._inquiry, chance, exact=exact)

    def _seen(self, inquiry: Inquiry) -> Inquiry:
        """Return a proof with what is open at the vendor now: also a task, for one that fails may be paid back, which would hide a charge."""
        traffic = self._job_store.traffic
        return inquiry.seen(is_open=self._is_any(AT_VENDOR), traffic=traffic, now=self._monotonic())

    def _note_sending(self) -> None:
        """Note when a submit was under way last: until its end was seen, also where it began after the last look."""
        traffic = self._job_store.traffic
        if self._is_any(SENDING) or traffic.submits != self._traffic.submits:
            self._sent_at = self._monotonic()
        self._traffic = traffic

    def _glance(self, baseline: Baseline, inquiry: Inquiry, *, exact: bool) -> None:
        """Let the others go on where refusals look free, until the readings that decide."""
        refused = frozenset(refusal.purchase for refusal in self._refused())
        looked = self._looked(inquiry.readings[-1], exact=exact, settled=False)
        doubt = looked.trust.doubt(self._settle_seconds)
        sums = (baseline, self._since(baseline), inquiry.readings)
        proof = refusals_judged(*sums, exact=exact, sole=self._trusts, doubt=doubt)
        self._glanced = refused
        if proof.verdict is Verdict.NOT_CHARGED and len(refused) <= MOST_PASSED:
            self._passed = refused

    def _why_unfit(self) -> str:
        """Return why the baseline is to be dropped for good, and what was shown to be free with it; "" if it is not.

        It is about another account, or about times in which others may have spent. Or a task is disputed: whose charge is
        whose is not known then, so that no sum shows it. Or it was dropped elsewhere, with a copied or restored journal.

        Durable, before anything is bought: whoever goes back to that account later has bought elsewhere meanwhile.
        """
        if self._baseline is None:
            return "The balance of before is not known any more" if self._trust.freed else ""
        return self._why_not(self._baseline)

    def _why_not(self, baseline: Baseline) -> str:
        if baseline.account != self._account:
            return "Another API key or address is used, which may be another account's"
        if self._trusts and not baseline.sole:
            return "Others may have spent from the account"
        if baseline.losses != self._losses:
            return "Submits are missing in the store"
        if any(job.state is State.HELD and is_disputed(job) for job in self._job_store.everywhere):
            return "A task is disputed, so it is not known which set each charge is for"
        return ""

    def _look_for_held(self) -> None:
        """Begin an inquiry if the balance knows about any held job; end one that no held job needs any more."""
        held = frozenset(job.id for job in self._job_store.jobs.values() if job.state is State.HELD)
        held -= self._store.may_be_sent().keys()  # no balance proves anything about bytes that may still leave
        if held == self._held or self._baseline is None:
            return
        undecided = bool(held & self._since(self._baseline).undecided) if held else False
        if undecided and not self._undecided:
            message = "A submit's answer was lost: the balance is read to find out whether it was charged."
            self._job_store.report("inquiry", message, self._now(), subject="balance")
            self._inquiry = self._inquiry or Inquiry(self._monotonic())
        elif undecided and self._inquiry and held - self._held:
            # It joins, and what was read before may be older than its last bytes: a silent process has sent until it ended.
            self._inquiry = replace(self._inquiry, quiet_at=None, readings=())
        elif not undecided and self._undecided:
            self._job_store.report("inquiry-ended", "A person has decided.", self._now(), subject="balance")
            self._inquiry = None  # begun again, if there are refusals to look into
        self._held, self._undecided = held, undecided

    def _look_for_no_held(self) -> None:
        """End an inquiry into held jobs that began while nobody else spent from the account, and believe its baseline no more.

        Durable: whoever says later that nobody else spends again does not speak of the time between.
        """
        if self._baseline and self._baseline.sole:
            looked = self._unwatched("Others may spend from the account now")
            shared = replace(self._baseline, sole=False)
            doubts = self._renew(shared, looked)
            self._baseline = shared
            self._report(doubts)
        if self._undecided:
            message = "Others may spend from the account now, so the balance proves nothing about a lost answer: a person decides."
            self._job_store.report("inquiry-ended", message, self._now(), subject="balance")
            self._inquiry = None  # begun again, if there are refusals to look into
        self._held, self._undecided = frozenset(), False

    def _look_for_refused(self) -> None:
        """Begin an inquiry if the vendor has refused a set."""
        if self._inquiry is None and self._refused():
            self._inquiry = Inquiry(self._monotonic())

    def _reads_after(self) -> tuple[float, ...]:
        """Return when the balance is read: soon for a first glance, where all refusals say that they were free of charge."""
        refused = self._refused()
        jobs = judged_jobs(refused, self._job_store.jobs.values())
        said = [job.id for job in jobs if job.problem is not None and job.problem.documented]
        all_said = {refusal.job_id for refusal in refused} == set(said)
        is_new = not self._glanced.issuperset(refusal.purchase for refusal in refused)
        glance = is_new and all_said and not self._undecided and self._settle_seconds > GLANCE_AFTER_SECONDS[-1]
        return GLANCE_AFTER_SECONDS if glance else read_after(self._settle_seconds)

    def _since(self, baseline: Baseline) -> Since:
        return self._store.purchases_since(baseline.purchase, baseline.aged_event)

    def _conclude(self, inquiry: Inquiry, chance: float, *, exact: bool) -> None:
        """Commit the verdicts with the new baseline, in one transaction, if no submit has begun in any root meanwhile."""
        with self._job_store.together(decides=True):
            seen = self._seen(inquiry)
            judged_now = self._judge(inquiry, chance, exact=exact) if seen == inquiry else None
        if judged_now is None:
            self._inquiry = seen
            return
        self._baseline, self._judged, self._unjudged, found = judged_now
        self._inquiry, self._undecided = None, False
        self._glanced = self._passed = frozenset()
        self._report(found)

    def _judge(
        self, inquiry: Inquiry, chance: float, *, exact: bool
    ) -> tuple[Baseline | None, int, frozenset[int], list[ServiceEvent]]:
        """Commit the verdicts; return the new baseline, the newest purchase, those that are not judged with them, and what to report."""
        now, newest = self._now(), self._store.newest_purchase()
        baseline, looked = self._baseline, self._unwatched("The balance could not be read for too long")
        since = self._since(baseline) if baseline else NOTHING_SINCE
        answers = refusals = OVERDUE if baseline else NO_BASELINE
        renewed = None
        if baseline and inquiry.is_complete:
            looked = self._looked(inquiry.readings[-1], exact=exact, settled=True)
            doubt = looked.trust.doubt(self._settle_seconds)
            answers = judged(baseline, since, inquiry.readings, exact=exact, doubt=doubt)
            sole = self._trusts
            refusals = refusals_judged(baseline, since, inquiry.readings, exact=exact, sole=sole, doubt=doubt)
            refusals = of_this_root(refusals, since.refused, self._store.refused_here(0))
            aged = self._ages.older_than(REFUND_SECONDS)
            read = Baseline(self._account, inquiry.readings[-1], newest, sole, aged_event=aged, losses=self._losses)
            renewed = self._baseline_of_silent() or read
        lost = [
            job for job in self._job_store.jobs.values() if self._undecided and job.id in since.undecided & self._held
        ]
        refused = self._refused()
        moves = [*self._of_lost(lost, answers, now, chance), *self._of_refused(refused, refusals, now)]
        freed = self._freed(moves, lost, answers, refused, refusals)
        newest_event = self._store.newest_event()
        looked = replace(looked, trust=looked.trust.with_freed(freed, newest_event, self._settle_seconds))
        unjudged = frozenset(self._store.open_of(self._job_store.sending))  # each may be refused later than a newer one
        meta = {JUDGED: newest, UNJUDGED: sorted(unjudged)}
        found = self._renew(renewed, looked, moves, meta, outcomes(refused, refusals))
        for proof in dict.fromkeys(([answers] if lost else []) + ([refusals] if refused else [])):
            if lost or proof.verdict is not Verdict.NOT_CHARGED:
                found.append(ServiceEvent(now, "inquiry-ended", proof.reason, "balance"))
        return renewed, newest, unjudged, found

    def _freed(
        self,
        moves: Sequence[Transition],
        lost: Sequence[Job],
        answers: Proof,
        refused: Sequence[Refusal],
        refusals: Proof,
    ) -> list[int]:
        """Return the purchases that the balance shows to be free; of an own account alone, where that may be taken back."""
        freed = [one.purchase for one in refused] if refusals.verdict is Verdict.NOT_CHARGED else []
        if answers.verdict is Verdict.NOT_CHARGED:
            again = {move.job.id for move in moves if move.job.state is not State.HELD}
            freed += self._store.open_of(again & {job.id for job in lost})
        return freed if self._trusts else []

    def _of_lost(self, lost: Sequence[Job], proof: Proof, now: float, chance: float) -> Iterator[Transition]:
        """Yield what becomes of the jobs whose answers were lost."""
        in_a_row = self._in_a_row()
        in_a_row = in_a_row._replace(tries=in_a_row.tries + len(lost))
        for job in lost:
            reached = bound(job, self._store.failed_tries(job.fingerprint), in_a_row)
            yield from concluded(job, proof, now, chance, bound=reached)

    def _in_a_row(self) -> InARow:
        return counted(self._store.in_a_row(), self._job_store.everywhere)

    def _of_refused(self, refused: Sequence[Refusal], proof: Proof, now: float) -> list[Transition]:
        """Return what becomes of the jobs that were refused, and of older ones when a bound of the account is reached."""
        jobs, store = judged_jobs(refused, self._job_store.jobs.values()), self._store
        if proof.verdict is Verdict.CHARGED:
            return [charged(job, refused, proof, now) for job in jobs]
        in_a_row = self._in_a_row()
        is_free = proof.verdict is Verdict.NOT_CHARGED
        if is_free:
            in_a_row = in_a_row._replace(unclear=0)
        found = []
        for job in jobs:
            failed_tries = store.failed_tries(job.fingerprint)
            if is_free:
                failed_tries = failed_tries._replace(unclear=0, allowed=False)
            held = held_often(job, failed_tries, in_a_row, proof, now)
            found += [held] if held else [let_go(job, proof)] if is_free else []
        return found + self._of_earlier(jobs, in_a_row, now)

    def _of_earlier(self, judged_now: Sequence[Job], in_a_row: InARow, now: float) -> list[Transition]:
        """Hold the staged jobs whose earlier refusals are unclear, if a bound of the account is reached."""
        if not in_a_row.why_stopped:
            return []
        earlier = judged_jobs(self._store.refused_since(0), self._job_store.jobs.values())
        staged = [job for job in earlier if job.state is State.STAGED and job not in judged_now]
        return [held_beside(job, in_a_row, now) for job in staged]

    @property
    def causes(self) -> frozenset[Notice]:
        """Which notices about proofs have a cause now."""
        inquiry = {Notice("inquiry", "balance")} if self._undecided else set()
        doubt = {Notice("balance-doubted", "balance")} if self._trust.is_doubted(self._settle_seconds) else set()
        return frozenset(inquiry | doubt)

    def reasons(self) -> list[Reason]:
        """Return what people must know."""
        doubted = [Reason(text, plain="") for text in notice(self._trust, self._settle_seconds)]
        doubted += self._of_silent_processes()
        if not self._is_holding:
            return [*([Reason(PROOF_ELSEWHERE, plain=PROOF_IN_SHORT)] if self.is_held_up else []), *doubted]
        lost = "A submit's answer was lost: nothing is submitted until the balance shows whether it was charged."
        refused = "The vendor refused a set: nothing is submitted until the balance shows whether it was charged."
        return [Reason(lost if self._undecided else refused, plain=PROOF_IN_SHORT), *doubted]

    def _of_silent_processes(self) -> Iterator[Reason]:
        """Yield which jobs the balance cannot decide yet: a process that fell silent may still send their last bytes."""
        silent: dict[str, list[str]] = {}
        for job_id, process in self._store.may_be_sent().items():
            silent.setdefault(process_in_words(process), []).append(job_id)
        for process, jobs in sorted(silent.items()):
            text = (
                f"{process} fell silent while it submitted {', '.join(sorted(jobs))}, and may still send it. End that process, and start "
                "its service again: then the balance shows whether it was charged. Or decide yourself: `rodin-watchd resolve JOB`."
            )
            yield Reason(text, plain=_SILENT_IN_SHORT)


_SILENT_IN_SHORT: Final = "A set waits until it is known whether it was paid for: the machine that sent it does not answer. Tell the person who runs the service."
PROOF_ELSEWHERE: Final = (
    "The service of another root finds out by the balance whether a set was charged: nothing is submitted meanwhile."
)
PROOF_IN_SHORT: Final = (
    "Nothing is sent at the moment: the service first finds out whether the vendor charged for a set that it refused or did not "
    "answer. That takes some minutes, then it continues by itself. You need do nothing."
)
_LOW = Notice("low-balance", "balance")
_LOW_IN_SHORT = "The vendor's account has few credits left. Tell the person who runs the service."

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


class AccountBalance:
    """What is known of the account that `account` names.

    What the journal remembers counts only if it is about this account: a balance of another one proves nothing. `begun` is
    the proof that was under way before a reload, of this account. Every method may raise DiskError: then nothing is known yet, and it may be called again.
    """

    def __init__(
        self,
        config: Config,
        account: str,
        job_store: JobStore,
        store: Store,
        clock: Clock,
        begun: Proving = NOTHING_BEGUN,
    ) -> None:
        self._low_limit = config.budget.low_balance
        self._vendor = config.api.base_url
        self.name = account
        self._job_store = job_store
        self._store = store
        self._now = clock.now
        self._monotonic = clock.monotonic
        same = store.meta(ACCOUNT) == account
        self._known = remembered(store.meta(BALANCE), self._vendor) if same else None
        self._prover = Prover(job_store, store, clock, config.budget, account, begun)
        self._question: _Question | None = None
        self._asked_once = False
        self._not_before = -math.inf  # monotonic: until then the vendor asks for no question
        self._asked_at = clock.monotonic()
        self._asked_purchase = store.newest_purchase()
        self._paid_in: Decimal | None = None  # what the newest question found; None when it found nothing
        self._cleared: frozenset[Pause] = frozenset()

    # ---- whether submits wait, and for what -------------------------------------------------------------------------

    def holds_submits(self, pauses: Pauses) -> bool:
        """Return whether no submit may begin until the balance was asked for."""
        return self._prover.holds_submits or self._is_unsure() or self.is_empty or bool(self._to_ask_about(pauses))

    def _left(self) -> Decimal | None:
        """Return the account's credits by the newest balance and what was bought since; None: unknown."""
        if self._paid_in is None:
            return None
        return self._paid_in - sum(self._store.spent_since(self._asked_purchase).values(), Decimal(0))

    @property
    def is_empty(self) -> bool:
        """Whether the account is known not to pay the cheapest of what is to be bought."""
        if (left := self._left()) is None:
            return False
        listed = (article_of(job).listed for job in self._to_buy())
        first = next(listed, cheapest().listed)
        return left < first and all(left < price for price in listed)  # mostly known by the first

    @property
    def next_article(self) -> Article:
        """The cheapest of what is to be bought, or of all there is."""
        return min(map(article_of, self._to_buy()), key=lambda one: one.listed, default=cheapest())

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

    def payable(self, intents: Iterator[Transition], sending: int) -> list[Transition]:
        """Return the intents whose submits may begin while so many are under way: the account pays them, by what is known.

        Takes no more of the intents than there may be submits: each costs questions to the store, whose answers may make fewer of them.
        """
        left, chosen = self._left(), list[Transition]()
        while self.room(sending + len(chosen)) > 0 and (intent := next(intents, None)):
            if self.room(sending + len(chosen)) > 0 and (left is None or intent.job.listed <= left):
                left = None if left is None else left - intent.job.listed
                chosen.append(intent)
        return chosen

    def room(self, sending: int) -> int:
        """Return how many more submits may begin while so many of this root are under way."""
        in_a_row = counted(self._store.in_a_row(), self._job_store.everywhere)
        sending += sum(job.state in SENDING for job in self._job_store.elsewhere)
        return room(in_a_row, sending, judging=self._prover.judges)

    def stopped(self, pauses: Pauses) -> Pauses:
        """Return the pauses with one of the submits that a person has to end, while the vendor refuses too much."""
        jobs = list(self._job_store.everywhere)
        why = why_stopped(counted(self._store.in_a_row(), jobs), jobs)
        return until_decided(pauses, why, self._now())

    def judged_jobs(self) -> frozenset[str]:
        """Return the jobs to which nothing is done until it is known what their refusal cost."""
        return self._prover.judged_jobs()

    def inquire(self, chance: float) -> None:
        """Begin, go on with or end a proof about held jobs and refusals; what was not charged goes on without a person."""
        self._prover.inquire(chance, exact=self._known is not None and self._known.exact)

    def next_due_seconds(self) -> list[float]:
        """Return in how many seconds a reading is wanted."""
        return [max(due, self._not_before - self._monotonic()) for due in self._prover.next_due_seconds()]

    def wants_balance(self, pauses: Pauses, *, submits: bool) -> bool:
        """Return whether the balance is to be asked for now. `submits`: whether money may be spent."""
        api = pauses.get(Lane.API)
        if self._question or self._monotonic() < self._not_before or (api and not is_over(api, self._now())):
            return False
        submits = submits and Lane.REFUSALS not in pauses
        ran_dry = self.is_empty and not account_pauses(pauses) and not self._sending()
        first = submits and (self._is_unsure() or ran_dry) and self._must_submit()
        probe = self._probes(pauses, to_send=submits and self._must_submit())
        return first or self._prover.is_due() or probe or self._is_outdated()

    def _probes(self, pauses: Pauses, *, to_send: bool) -> bool:
        """Return whether submits wait for a free call that works; one that the account's owner has to end is reported in any case."""
        unpaid = account_pauses(pauses)
        return any(to_send or pause in unpaid for pause in self._to_ask_about(pauses))

    def _is_unsure(self) -> bool:
        """Return whether the balance has to be asked for before a submit; a proof starts from a fresh one, if it can."""
        is_fresh = self._monotonic() - self._asked_at < FRESH_SECONDS
        return not self._asked_once or (self._prover.may_start and not is_fresh)

    def _to_ask_about(self, pauses: Pauses) -> list[Pause]:
        return to_ask_about(pauses, self._cleared, self._now())

    def _is_outdated(self) -> bool:
        """Return whether somebody watches the balance, and it has changed or may have."""
        if self._low_limit is None or self._prover.inquires:
            return False
        is_low = self._known is not None and self._known.low
        purchases = self._store.newest_purchase() - self._asked_purchase
        return is_stale(purchases + is_low, self._monotonic() - self._asked_at)

    def _sending(self) -> int:
        return len(self._job_store.sending)

    def _must_submit(self) -> bool:
        return any(self._to_buy())

    def _to_buy(self) -> Iterator[Job]:
        return (job for job in self._job_store.jobs.values() if job.state in _TO_BUY and not is_over_budget(job))

    # ---- asking -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Note that the balance is being asked for."""
        newest, prover = self._store.newest_purchase(), self._prover
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
            self._not_before = self._monotonic() + answer.asked_seconds
        self._asked_once = True
        self._asked_at, self._asked_purchase = self._monotonic(), self._question.known_purchase
        self._cleared = cleared(pauses, self._now(), answered=isinstance(answer, Decimal))
        self._question = None

    def _read(self, credits_left: Decimal, question: _Question) -> None:
        low = self._low_limit is not None and credits_left < self._low_limit
        exact = shows_parts(credits_left) or (self._known is not None and self._known.exact)
        known = Balance(credits_left, self._now(), low, exact, self._vendor, question.known_purchase)
        self._job_store.commit((), self._now(), {BALANCE: known.as_data(), ACCOUNT: self.name})
        self._report_low(known)
        self._known = known
        none_open = not question.sending and not self._sending()
        if none_open and question.purchase == self._store.newest_purchase():
            self._prover.start_from(credits_left, question.purchase, exact=exact, settled=question.settled)
        self._prover.read(credits_left, question.quiet_at)

    def _report_low(self, known: Balance) -> None:
        was_low = _LOW in self._job_store.notices
        if known.low and self._low_limit is not None and not was_low:
            message = low_balance_text(known.credits, self._low_limit)
            self._job_store.report("low-balance", message, self._now(), subject="balance")
        elif was_low and not known.low:
            message = "The account has enough credits again."
            self._job_store.report("balance-restored", message, self._now(), subject="balance")

    @property
    def causes(self) -> frozenset[Notice]:
        """Which notices about the account have a cause now."""
        is_low = self._low_limit is not None and self._known is not None and self._known.low
        return self._prover.causes | (frozenset({_LOW}) if is_low else frozenset())

    def reasons(self) -> list[Reason]:
        """Return what people must know."""
        lines, limit = list[Reason](), self._low_limit
        if self._known is not None and limit is not None:
            credits_left = left(self._known, self._store.charged_after)
            if credits_left < limit:
                lines.append(Reason(low_balance_text(credits_left, limit), plain=_LOW_IN_SHORT))
        return [*lines, *self._prover.reasons()]
