"""What the page shows, as data: the JSON API gives it to programs, the templates show the same to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from rodin_watchd.client.choices import actions, choice, was_taken
from rodin_watchd.client.data import MoneyReport, whole
from rodin_watchd.client.forecast import Forecast
from rodin_watchd.core.batches import differences, price_in_all
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.failures import is_open
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import DOING
from rodin_watchd.core.store import Cursor, Listing, ListOrder, StoreReader
from rodin_watchd.core.wording import WHO_CAN_ACT, advice_in_full, cost, is_cost_certain, sentences, set_name
from rodin_watchd.model import Event, HookRun, Job, Role, State

S = State

GROUPS: Final[Mapping[str, frozenset[State]]] = {
    "running": frozenset(State) - ENDED - {S.HELD},
    "held": frozenset({S.HELD}),
    "failed": frozenset({S.FAILED}),
    "delivered": frozenset({S.ARCHIVED}),
    "returned": frozenset({S.RETURNED}),
}
"""What people choose among: the states together that mean the same to them."""

PAGE_JOBS: Final = 48
MOST_FOLDERS: Final = 200


def group_of(state: State) -> str:
    """Return what people call a state."""
    return next(name for name, states in GROUPS.items() if state in states)


def card(job: Job, forecast: Forecast) -> dict[str, Any]:
    """Return what a card shows of a set."""
    left = forecast.left_seconds(job)
    part = forecast.part(job, left)
    return {
        "id": job.id,
        "name": printable(job.title),
        "folder": printable(job.folder),
        "kind": job.kind,
        "state": job.state.value,
        "group": "settled" if job.state is S.FAILED and not is_open(job) else group_of(job.state),
        "doing": DOING[job.state],
        "hold": job.holds if job.state is S.HELD else None,
        "created_at": job.created_at,
        "since_at": job.since_at,
        "progress": None if part is None else round(part, 3),
        "vendor_progress": job.progress if job.state is S.SUBMITTED and job.progress else None,
        "left_seconds": None if left is None else round(left),
        "credits": job.spent,
        "cost": cost(job),
        "cost_is_certain": is_cost_certain(job),
        "problem": sentences(job.problem.message) if job.problem else None,
        "resolved": job.resolved or None,
        "batch": job.batch.id if job.batch else None,
        "variant": printable(job.batch.label) if job.batch else None,
        "of": job.batch.count if job.batch else None,
        "chosen": job.chosen if job.batch else None,
        "picture": f"/sets/{job.id}/picture?of={picture_version(job)}",
    }


def picture_version(job: Job) -> str:
    """Return a word that is another one when the picture of a set may be another one."""
    return f"{len(job.published)}-{job.state.value if job.state in (S.ARCHIVED, S.DELIVERED, S.FAILED) else 'input'}-{job.retries}"


def cards(journal: StoreReader, wanted: Listing, now: float) -> dict[str, Any]:
    """Return one page of cards, and where the next one begins."""
    forecast = Forecast(journal, now, {})
    jobs = journal.listed(wanted)
    last = Cursor.of(wanted.order, jobs[-1]) if len(jobs) == wanted.limit else None
    return {"sets": [card(job, forecast) for job in jobs], "next": cursor_text(last) if last else None}


def cursor_text(cursor: Cursor) -> str:
    """Return a cursor as a word of an address."""
    return f"{cursor.job_id}~{cursor.key}"


def cursor_of(text: str, order: ListOrder) -> Cursor:
    """Return the cursor of such a word. Raises ValueError for another one."""
    job_id, _, key = text.partition("~")
    return Cursor(key if order is ListOrder.NAME else float(key), job_id)


# ---- One set --------------------------------------------------------------------------------------------------------


def one_set(job: Job, journal: StoreReader, now: float) -> dict[str, Any]:
    """Return all that is known of a set: what `show --json` has, its card, its plugins' calls, and what can be asked."""
    events = journal.events(job.id)
    price = price_in_all(job, journal.price)
    found, refused = actions(job, price, now, was_taken=was_taken(events))
    return {
        **whole(job, events),
        **card(job, Forecast(journal, now, {})),
        "doing": DOING[job.state],
        "problem": _problem(job),
        "plugin_calls": [_call(run) for run in journal.runs_of([job.id])],
        "timeline": timeline(job, events, now),
        "seen": Seen.of(job).as_data(),
        "price": price,
        "actions": [action.as_data() for action in found],
        "refused": refused,
    }


# ---- The jobs of one set, side by side ---------------------------------------------------------------------------


def siblings(jobs: Sequence[Job], journal: StoreReader, now: float) -> dict[str, Any]:
    """Return all jobs of a set that makes several: their cards, what they differ by, how one is chosen; and how many are not begun."""
    forecast, unlike = Forecast(journal, now, {}), differences(jobs)
    return {
        "jobs": [
            {
                **card(job, forecast),
                "place": job.place or None,
                "differs_by": [{"name": name, "value": value} for name, value in unlike.get(job.id, ())],
                "seen": Seen.of(job).as_data(),
                "choice": found.as_data() if (found := choice(job)) else None,
                "then": job.then.job_id if job.then and job.state is S.ARCHIVED else None,
            }
            for job in jobs
        ],
        "credits": sum((job.spent for job in jobs), Decimal(0)),
        "not_begun": sum(len(job.variants) for job in jobs),
    }


def _problem(job: Job) -> dict[str, Any] | None:
    if job.problem is None:
        return None
    return {
        "code": job.problem.code,
        "message": sentences(job.problem.message),
        "who_can_act": WHO_CAN_ACT[job.problem.fault],
        "advice": advice_in_full(job),
    }


def _call(run: HookRun) -> dict[str, Any]:
    return {
        "plugin": run.plugin,
        "hook": run.hook,
        "outcome": run.outcome,
        "attempts": run.attempts,
        "seconds": run.seconds,
        "message": run.told or None,
        "output": run.output or None,
    }


def timeline(job: Job, events: Sequence[Event], now: float) -> list[dict[str, Any]]:
    """Return the stretches of a job's way: the states that it was in, from when, and for how long."""
    found: list[dict[str, Any]] = []
    for event in events:
        if not found or found[-1]["doing"] != DOING[event.state]:
            found.append({"state": event.state.value, "doing": DOING[event.state], "at": event.at})
    for one, after in zip(found, [*(later["at"] for later in found[1:]), None], strict=True):
        end = after if after is not None else None if job.state in ENDED else now
        one["seconds"] = None if end is None else round(max(end - one["at"], 0.0), 3)
    return found


# ---- Money ----------------------------------------------------------------------------------------------------------


DAYS: Final = 30


def money(found: MoneyReport, journal: StoreReader, now: float, zone: tzinfo) -> dict[str, Any]:
    """Return what was spent: today and in the last days, by folder, against the budget; and the balance."""
    first = (datetime.fromtimestamp(now, zone) - timedelta(days=DAYS - 1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return {
        "today": found.today,
        "total": found.total,
        "by_day": _by_day(journal.charged_by_hour(first.timestamp()), first, zone),
        "by_folder": [
            {"folder": name, "credits": amount}
            for name, amount in _dearest(journal.charged_by_folder(first.timestamp()))
        ],
        "by_kind": dict(journal.charged_by_kind()),
        "budget": {
            "per_day": found.per_day,
            "spent": found.spent,
            "per_folder": found.per_folder,
            "folders": dict(found.folders),
        },
        "balance": asdict(found.balance) if found.balance else None,
    }


def _by_day(by_hour: Mapping[int, Decimal], first: datetime, zone: tzinfo) -> list[dict[str, Any]]:
    days = [(first + timedelta(days=number)).date() for number in range(DAYS)]
    sums = dict.fromkeys(days, Decimal(0))
    for hour, amount in by_hour.items():
        day = datetime.fromtimestamp(hour * 3600, zone).date()
        if day in sums:
            sums[day] += amount
    return [{"day": day.isoformat(), "credits": amount} for day, amount in sums.items()]


def _dearest(by_folder: Mapping[str, Decimal]) -> Iterable[tuple[str, Decimal]]:
    return sorted(by_folder.items(), key=lambda one: (-one[1], one[0]))


def kinds() -> list[str]:
    """Return the kinds of jobs."""
    return list(KINDS)


def reference_image(job: Job) -> str:
    """Return the name of the picture that was dropped, "" without one."""
    image = job.file(Role.IMAGE)
    return image.name if image else ""


def full_name(job: Job) -> str:
    """Return a set's name with its folder."""
    return set_name(job.folder, job.title)
