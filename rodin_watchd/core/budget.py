"""The budget: what may be spent in a day, in all and for each folder. Pure functions on frozen values.

A day is a day of the service's own zone, but it is begun by the clock *and* by the time that was seen to pass: the next
one begins at a midnight, and at the earliest SHORTEST_DAY_SECONDS after the last one began; at a midnight of a date that
has begun before, or of an older one, at the earliest LONGEST_DAY_SECONDS after. Whenever the wall clock moves against
monotonic time, by however little, the day's beginning moves with it, so its age stays true; a start that finds the clock
before the instant at which the day was seen last goes on with the age that it had then. What was bought in a day is known
by the numbers of the purchases, not by any clock. So a clock that runs ahead for an hour, or is set back over midnight,
gives no second budget: it can only make a day longer. What nothing here can see is a clock that was set ahead while the
service stood still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from rodin_watchd.core.batches import is_promised, others_of, promised_by
from rodin_watchd.core.kinds import Article, article_of, cheapest
from rodin_watchd.core.machine import go_on, wait_for_budget
from rodin_watchd.core.names import printable
from rodin_watchd.core.wording import in_credits
from rodin_watchd.errors import OverBudgetError
from rodin_watchd.model import Job, State, Transition

BUDGET_DAY: Final = "budget-day"
"""The journal's key of the budget's day."""

SHORTEST_DAY_SECONDS: Final = 20 * 3600.0
"""Days have 23 to 25 hours, where clocks change; a shorter one is an error of the clock."""

LONGEST_DAY_SECONDS: Final = 25 * 3600.0
"""No honest day is longer, so a date that comes a second time is a new day only after that."""

_LONGEST_NAME: Final = 4096
"""More characters than an escaped file name has: two folders are never taken for one."""


def midnight(now: float, zone: tzinfo) -> float:
    """Return when the day of `now` began in this zone; both UTC."""
    return datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def next_midnight(now: float, zone: tzinfo) -> float:
    """Return when the day after that of `now` begins; both UTC."""
    tomorrow = datetime.fromtimestamp(now, zone) + timedelta(days=1)
    return tomorrow.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


class Day(NamedTuple):
    """A day of the budget, as the journal keeps it: when it began (UTC), and the newest purchase of the day before.

    `lost` are submits that were found missing in the journal in this day: nobody knows for which folder they were.
    `seen_at`: up to when it was seen to last, by the same clock. `date`: the number of the calendar day that it began as.
    The versions that did not store these knew no more than that it had begun.
    """

    began_at: float
    after_purchase: int
    lost: int = 0
    seen_at: float = 0.0
    date: int = 0

    def lost_credits(self, dearest: Callable[[], Decimal]) -> Decimal:
        """Return what the lost submits count as: what they bought is not known, so by the dearest that was bought here."""
        return self.lost * dearest() if self.lost else Decimal(0)

    def moved(self, seconds: float) -> Day:
        """Return it by a clock that was set by so much: as old as before."""
        return self._replace(began_at=self.began_at + seconds, seen_at=self.seen_at + seconds)

    def found(self, now: float) -> Day:
        """Return it as a start finds it: where the clock says less than it had said, the day is as old as it was then."""
        seen = self._replace(seen_at=max(self.seen_at, self.began_at))
        return seen.moved(min(now - seen.seen_at, 0.0))

    def may_end_at(self, midnight: float, date: int) -> bool:
        """Return whether the day of this number may begin at this midnight (UTC)."""
        shortest = SHORTEST_DAY_SECONDS if date > self.date else LONGEST_DAY_SECONDS
        return midnight - self.began_at >= shortest


def day_of(before: Day | None, now: float, zone: tzinfo, newest_purchase: int) -> Day:
    """Return the budget's day, given the last known one by the clock of `now`. To be asked for before each purchase."""
    today, date = midnight(now, zone), _date(now, zone)
    if before is None or before.may_end_at(today, date):
        return Day(today, newest_purchase, seen_at=now, date=date)
    return before._replace(seen_at=max(before.seen_at, now))


def next_day_at(day: Day, now: float, zone: tzinfo) -> float:
    """Return the midnight (UTC) at which the next day of the budget begins if nobody sets the clock."""
    at = next_midnight(now, zone)
    while not day.may_end_at(at, _date(at, zone)):
        at = next_midnight(at, zone)
    return at


def _date(now: float, zone: tzinfo) -> int:
    return datetime.fromtimestamp(now, zone).toordinal()


def top_folder(folder: str) -> str:
    """Return the top folder below the inbox, as the journal's books spell it; "" for the inbox itself."""
    return printable(folder.partition("/")[0], _LONGEST_NAME)


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be spent in a day, in credits; None is no limit."""

    per_day: Decimal | None = None
    per_folder: Decimal | None = None

    @property
    def any(self) -> bool:
        """Whether there is any: without one nobody has to know what was spent."""
        return self.per_day is not None or self.per_folder is not None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may still be spent today: `spent` has the credits that were, by top folder; `price` says what an article may cost.

    `promised`, also by top folder, is for the other jobs of sets that were afforded as a whole: to all others it is spent, too.
    `lost` was spent as well, nobody knows for which folder: it counts once for the day, and for every folder.
    """

    caps: Caps
    spent: Mapping[str, Decimal]
    price: Callable[[Article], Decimal]
    lost: Decimal = Decimal(0)
    promised: Mapping[str, Decimal] = field(default_factory=dict)

    def why_not(self, folder: str, wanted: Article, others: Sequence[Article] = (), *, promised: bool = False) -> str:
        """Return why this cannot be bought today for a set of this folder, "" if it can.

        `others` are what has to be bought with it, or nothing at all. `promised`: it was afforded before, with its set.
        """
        top = top_folder(folder)
        where = f"the folder “{printable(top)}”" if top else "the inbox itself"
        kept: Mapping[str, Decimal] = {} if promised else self.promised
        spent = sum((*self.spent.values(), *kept.values()), self.lost)
        own = self.spent.get(top, Decimal(0)) + kept.get(top, Decimal(0)) + self.lost
        articles = (wanted, *others)
        day = self._why_over(articles, self.caps.per_day, spent, "")
        return day or self._why_over(articles, self.caps.per_folder, own, f" for {where}")

    def _why_over(self, articles: Sequence[Article], cap: Decimal | None, spent: Decimal, whose: str) -> str:
        """Return why a budget has no room for these, "" if it has."""
        if cap is None or spent + (price := sum(map(self.price, articles), Decimal(0))) <= cap:
            return ""
        budget, wanted = f"today's budget of {in_credits(cap)}{whose}", articles[0]
        if spent + cheapest().listed > cap:
            return f"{budget} is spent"
        if len(articles) > 1:
            return f"the rest of {budget} is too small for the whole set: its {len(articles)} jobs may cost {in_credits(price)}"
        if spent + wanted.listed > cap:
            return f"the rest of {budget} is too small: a {wanted.noun} like this costs {in_credits(wanted.listed)}"
        return f"the rest of {budget} is too small: the newest {wanted.noun}s cost up to {in_credits(price)} each"

    def why_not_job(self, job: Job) -> str:
        """Return why a job cannot be bought today, "" if it can: with it all other jobs of its set that begin after it."""
        if not self.caps.any:  # asked for each job that waits, in each tick
            return ""
        return self.why_not(job.folder, article_of(job), others_of(job), promised=is_promised(job))

    def after(self, folder: str, bought: Article) -> Allowance:
        """Return what is left when this was bought for this folder."""
        top = top_folder(folder)
        return replace(self, spent={**self.spent, top: self.spent.get(top, Decimal(0)) + self.price(bought)})

    def after_job(self, job: Job) -> Allowance:
        """Return what is left when a job was bought: what was promised for it is spent, and the rest of its set is promised."""
        if not self.caps.any:
            return self
        top, bought = top_folder(job.folder), article_of(job)
        kept = sum(map(self.price, others_of(job)), Decimal(0)) - (
            self.price(bought) if is_promised(job) else Decimal(0)
        )
        promised_now = {**self.promised, top: self.promised.get(top, Decimal(0)) + kept}
        return replace(self.after(job.folder, bought), promised=promised_now)

    def affordable(self, intents: Iterable[Transition]) -> list[Transition]:
        """Return the intents that may go, in their order."""
        left, chosen = self, []
        for intent in intents:
            if not left.why_not_job(intent.job):
                left = left.after_job(intent.job)
                chosen.append(intent)
        return chosen


def promised(jobs: Iterable[Job], price: Callable[[Article], Decimal]) -> Mapping[str, Decimal]:
    """Return what is promised to live jobs, in credits, by top folder."""
    kept: dict[str, Decimal] = {}
    for job in jobs:
        for wanted in promised_by(job):
            top = top_folder(job.folder)
            kept[top] = kept.get(top, Decimal(0)) + price(wanted)
    return kept


UNLIMITED: Final = Allowance(Caps(), {}, lambda wanted: wanted.listed)


def is_over_budget(job: Job) -> bool:
    """Return whether a job waits for another day."""
    return job.state is State.STAGED and job.problem is not None and job.problem.code == OverBudgetError.code


def put_off(job: Job, reason: str, now: float) -> Transition | None:
    """Return the move that notes why a job in `staged` or `uploading` waits for another day, or with "" that it does not.

    None where that is known already. An upload that a crash has cut is no upload any more.
    """
    if not reason:
        return go_on(job) if is_over_budget(job) else None
    problem = OverBudgetError(f"It waits for another day: {reason}.").problem
    return None if job.problem == problem else wait_for_budget(job, problem, now)
