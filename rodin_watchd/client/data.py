"""A job, and how the service is, as data for programs and pages. No secret of a job is ever shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rodin_watchd.adapters.heartbeat import Heartbeat, read_heartbeat, sign_path
from rodin_watchd.client.journal import daemon_of, journal_of, no_room, place_of, standstill
from rodin_watchd.core.balance import BALANCE, left, remembered
from rodin_watchd.core.budget import BUDGET_DAY, Day, day_of, midnight
from rodin_watchd.core.failures import MOST_FAILED, newest_results
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.status import PAGE, Page, ended_line, sorted_jobs
from rodin_watchd.core.store import StoreReader
from rodin_watchd.core.wording import advice_in_full, is_cost_certain
from rodin_watchd.model import Event, InputFile, Job, ServiceEvent, State
from rodin_watchd.settings import Settings

# ---- Numbers --------------------------------------------------------------------------------------------------------


def number(value: object) -> int | float:
    """Return credits as JSON writes numbers; the digits stay as they are: amounts have few, and half credits are exact."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is no type of JSON")
    return int(value) if value == value.to_integral_value() else float(value)


# ---- A job ----------------------------------------------------------------------------------------------------------


def brief(job: Job) -> dict[str, Any]:
    """Return what `list --json` shows of a job."""
    return {
        "id": job.id,
        "set": job.name,
        "folder": job.folder,
        "kind": job.kind,
        "state": job.state.value,
        "hold": job.holds if job.state is State.HELD else None,
        "created_at": job.created_at,
        "since_at": job.since_at,
        "credits": job.spent,
        "cost_is_certain": is_cost_certain(job),
        "place": job.place or None,
        "resolved": job.resolved or None,
        "follows": job.follows or None,
        "then": job.then.job_id if job.then else None,
        "batch": job.batch.id if job.batch else None,
        "variant": job.batch.label if job.batch else None,
        "group": (job.batch.folder or None) if job.batch else None,
        "chosen": job.chosen if job.batch else None,
        "problem": job.problem.message if job.problem else None,
    }


def whole(job: Job, events: Iterable[Event], meanwhile: Iterable[ServiceEvent] = ()) -> dict[str, Any]:
    """Return what `show --json` shows of a job: all but the subscription key and the vendor's raw answer."""
    return {
        **brief(job),
        "files": [_file_data(file) for file in job.files],
        "options": dict(job.options),
        "again": job.again,
        "consent": job.consent or None,
        "fingerprint": job.fingerprint or None,
        "times": dict(job.times),
        "retries": job.retries,
        "attempts": job.attempts,
        "not_before": job.not_before,
        "deadline": job.deadline,
        "task": {"uuid": job.task.uuid, "submitted_at": job.task.submitted_at} if job.task else None,
        "progress": job.progress or None,
        "results": [asdict(result) for result in job.results],
        "problem": _problem_data(job),
        "events": [
            {"at": e.at, "action": e.action, "state": e.state.value, "message": e.message, "code": e.code}
            for e in events
        ],
        "service_events": [asdict(event) for event in meanwhile],
    }


def service_events_of(job: Job, journal: StoreReader, now: float) -> list[ServiceEvent]:
    """Return what happened to the service in the time of a job, oldest first."""
    until_at = job.since_at if job.state in ENDED else now
    return [event for event in reversed(journal.service_events(since_at=job.created_at)) if event.at <= until_at]


def _file_data(file: InputFile) -> dict[str, Any]:
    return {
        "role": file.role.value,
        "name": file.name,
        "source": file.source,
        "bytes": file.signature.size,
        "sha256": file.sha256 or None,
        "changed_to_sha256": file.changed or None,
        "shared": file.shared,
        "warnings": list(file.warnings),
    }


def _problem_data(job: Job) -> dict[str, Any] | None:
    problem = job.problem
    if problem is None:
        return None
    return {
        "code": problem.code,
        "fault": problem.fault.value,
        "message": problem.message,
        "advice": advice_in_full(job),
    }


# ---- The service ----------------------------------------------------------------------------------------------------


NEWEST: Final = 20
"""How many results are on the page."""


@dataclass(frozen=True, slots=True)
class KnownBalance:
    """The credits of the vendor's account."""

    credits: Decimal  # what it should have now: what the vendor said, less what was charged since
    said: Decimal  # what the vendor said
    at: float  # UTC: when it was asked
    low: bool  # whether what it said was below `budget.low_balance`


@dataclass(frozen=True, slots=True)
class MoneyReport:
    """What was spent, and what may be; in credits."""

    total: Decimal
    today: Decimal  # charged since midnight
    per_day: Decimal | None  # the budget
    spent: Decimal  # of the budget, with what may have been charged
    per_folder: Decimal | None  # the budget of each top folder
    folders: Mapping[str, Decimal]  # what of it each has spent; "" is the inbox itself
    balance: KnownBalance | None  # None: it was never read


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How the service is, and what the daemon has left on its page."""

    root: Path
    daemon: Mapping[str, Any] | None  # host and pid; None when it is stopped
    sign: Heartbeat | None  # its last sign of life
    page: Page
    counts: Mapping[State, int]


@dataclass(frozen=True, slots=True)
class Report(ServiceState):
    """What `status` shows: the daemon's page, with the jobs as the journal has them now."""

    money: MoneyReport
    events: Sequence[ServiceEvent]  # the service's own, newest first

    def as_data(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "root": str(self.root),
            "running": self.daemon is not None,
            "stopped_at": self.page.stopped_at if self.daemon is None else None,
            "sign_of_life_at": self.sign.health.at if self.sign else None,
            "daemon": self.daemon,
            "credits": {"total": self.money.total, "today": self.money.today},
            "budget": {
                "per_day": self.money.per_day,
                "spent": self.money.spent,
                "per_folder": self.money.per_folder,
                "folders": dict(self.money.folders),
            },
            "balance": asdict(self.money.balance) if self.money.balance else None,
            "events": [asdict(event) for event in self.events],
            "counts": {state.value: number for state, number in self.counts.items()},
            "page": self.page.as_data(),
        }


def service_state(config: Settings, journal: StoreReader) -> ServiceState:
    """Return how the service is; it costs the same whatever was bought and made."""
    found = journal.meta(PAGE)
    page = Page.of_data(found) if found else Page()
    pressing = standstill(journal_of(config)) or no_room(place_of(config))
    page = replace(page, notices=(*filter(None, (pressing,)), *page.notices))
    return ServiceState(config.folders.root, daemon_of(config, journal), _last_sign(config), page, journal.counts())


def taken(config: Settings, journal: StoreReader, now: float, zone: tzinfo) -> Report:
    """Put the report together."""
    running, held = sorted_jobs(journal.jobs(state for state in State if state not in ENDED))
    state = service_state(config, journal)
    listed = {line.job_id for line in state.page.failed}
    ended = newest_results(journal.jobs((State.ARCHIVED,), NEWEST), journal.jobs((State.FAILED,), MOST_FAILED), NEWEST)
    recent = tuple(ended_line(job) for job in ended if job.id not in listed)
    page = replace(state.page, running=running, held=held, recent=recent)
    money, events = money_report(config, journal, now, zone), journal.service_events(NEWEST)
    return Report(state.root, state.daemon, state.sign, page, state.counts, money, events)


def _last_sign(config: Settings) -> Heartbeat | None:
    try:
        return read_heartbeat(sign_path(journal_of(config)))
    except PermissionError:
        return None


def money_report(config: Settings, journal: StoreReader, now: float, zone: tzinfo) -> MoneyReport:
    """Return what was spent, and what may be; it reads what was bought in the budget's day."""
    known, budget = journal.meta(BUDGET_DAY), config.budget
    day = day_of(Day(*known).found(now) if known else None, now, zone, journal.newest_purchase())
    folders = journal.spent_since(day.after_purchase)
    total, today = journal.charged_since(0.0), journal.charged_since(midnight(now, zone))
    spent = sum(folders.values(), day.lost_credits(journal.dearest))
    return MoneyReport(
        total, today, budget.per_day_credits, spent, budget.per_folder_credits, folders, _balance(config, journal)
    )


def _balance(config: Settings, journal: StoreReader) -> KnownBalance | None:
    known = remembered(journal.meta(BALANCE), config.api.base_url)
    return KnownBalance(left(known, journal.charged_after), known.credits, known.at, known.low) if known else None
