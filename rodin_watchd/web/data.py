"""What the page shows, as data: the JSON API gives it to programs, the templates show the same to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final

from rodin_watchd.client.data import Report, since_at, whole
from rodin_watchd.core.commands import Seen, may_be_canceled
from rodin_watchd.core.failures import is_cleared, is_open
from rodin_watchd.core.kinds import KINDS, article_of, kind_of
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.schedule import expected_left_seconds
from rodin_watchd.core.status import DOING
from rodin_watchd.core.store import Cursor, Listing, ListOrder, StoreReader
from rodin_watchd.core.wording import WHO_CAN_ACT, advice_in_full, cost, is_cost_certain, sentences, set_name
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Event, HookRun, Job, Role, State
from rodin_watchd.service.commands import JOB_VERBS

S = State

GROUPS: Final[Mapping[str, frozenset[State]]] = {
    "running": frozenset(State) - ENDED - {S.HELD},
    "held": frozenset({S.HELD}),
    "failed": frozenset({S.FAILED}),
    "delivered": frozenset({S.ARCHIVED}),
    "returned": frozenset({S.RETURNED}),
}
"""What people choose among: the states together that mean the same to them."""

PARTS: Final[Mapping[State, float]] = {
    S.CLAIMED: 0.02,
    S.STAGED: 0.04,
    S.UPLOADING: 0.07,
    S.SUBMITTING: 0.1,
    S.SUBMITTED: 0.1,
    S.GENERATED: 0.9,
    S.DOWNLOADED: 0.94,
    S.PROCESSED: 0.97,
    S.DELIVERED: 0.99,
}
"""How much of its way a running job has behind it; while the vendor works, the forecast says how much of the rest."""

PAGE_JOBS: Final = 48
MOST_FOLDERS: Final = 200


def group_of(state: State) -> str:
    """Return what people call a state."""
    return next(name for name, states in GROUPS.items() if state in states)


@dataclass(frozen=True, slots=True)
class Forecast:
    """When tasks at the vendor will be done, by how long those before took; asked once for each kind."""

    journal: StoreReader
    now: float
    known: dict[str, list[float]]

    def left_seconds(self, job: Job) -> float | None:
        """Return in how many seconds the vendor will have done a job; None where that is not known."""
        if job.state is not S.SUBMITTED or job.task is None:
            return None
        kind = kind_of(job)
        name = kind.duration_class(job.options)
        if name not in self.known:
            self.known[name] = self.journal.durations(name)
        elapsed = max(self.now - job.task.submitted_at, 0.0)
        return expected_left_seconds(self.known[name], elapsed, usual=kind.usual_seconds)

    def part(self, job: Job, left: float | None) -> float | None:
        """Return how much of its way a running job has behind it, from 0 to 1; None for one that does not run."""
        if job.state not in PARTS:
            return None
        done = PARTS[job.state]
        if left is None or job.task is None:
            return done
        elapsed = max(self.now - job.task.submitted_at, 0.0)
        return done + (PARTS[S.GENERATED] - done) * elapsed / max(elapsed + left, 1.0)


def card(job: Job, forecast: Forecast) -> dict[str, Any]:
    """Return what a card shows of a set."""
    left = forecast.left_seconds(job)
    part = forecast.part(job, left)
    return {
        "id": job.id,
        "name": printable(job.name),
        "folder": printable(job.folder),
        "kind": job.kind,
        "state": job.state.value,
        "group": "settled" if job.state is S.FAILED and not is_open(job) else group_of(job.state),
        "doing": DOING[job.state],
        "hold": job.holds if job.state is S.HELD else None,
        "created_at": job.created_at,
        "since_at": since_at(job),
        "progress": None if part is None else round(part, 3),
        "vendor_progress": job.progress if job.state is S.SUBMITTED and job.progress else None,
        "left_seconds": None if left is None else round(left),
        "credits": job.spent,
        "cost": cost(job),
        "cost_is_certain": is_cost_certain(job),
        "problem": sentences(job.problem.message) if job.problem else None,
        "resolved": job.resolved or None,
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


CANCEL_LABEL: Final = "Cancel"
CANCEL_WORDS: Final = "Stops it. Its files go to failed/. What was paid is not refunded."
RETRY_LABEL: Final = "Retry"
FETCH_WORDS: Final = "Asks the vendor for its results again, free of charge."
RETRY_WORDS: Final = "Takes it up again, from the files in failed/."
CORRECT_WORDS: Final = "Correct the files in its folder in failed/ first: then it goes back into the inbox as a set."
AGAIN_LABEL: Final = "Pay again"
AGAIN_WORDS: Final = "Submits it once more, and pays once more, in addition to what it cost."
TASK_LABEL: Final = "It is this task"
TASK_WORDS: Final = "The vendor accepted it: its results are fetched. It costs what that submit cost, and nothing more."
FREE_LABEL: Final = "It was not charged"
FREE_WORDS: Final = "It is submitted again. If it was charged after all, it is paid twice."
CLEAR_LABEL: Final = "Clear"
CLEAR_WORDS: Final = (
    "Moves its folder from failed/ to the archive: nobody has to do anything about it any more. Nothing is deleted."
)
GIVE_UP_LABEL: Final = "Give up"
GIVE_UP_WORDS: Final = "Its files go to failed/, with what is known. It costs nothing more than it has cost."
LABELS: Final = (
    *(CANCEL_LABEL, CANCEL_WORDS, RETRY_LABEL, FETCH_WORDS, RETRY_WORDS, CORRECT_WORDS, AGAIN_LABEL, AGAIN_WORDS),
    *(CLEAR_LABEL, CLEAR_WORDS),
    *(TASK_LABEL, TASK_WORDS, FREE_LABEL, FREE_WORDS, GIVE_UP_LABEL, GIVE_UP_WORDS),
)
"""What buttons say, and what is said beside them; catalogues have them in other languages."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be asked about a set as it is now."""

    verb: str
    arguments: Mapping[str, Any]
    label: str  # of the button, in English
    words: str  # what it does and costs
    may_cost: Decimal | None = None  # credits that it may spend
    asks: str = ""  # the name of what has to be written besides

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "verb": self.verb,
            "label": self.label,
            "arguments": dict(self.arguments),
            "words": self.words,
            "may_cost": self.may_cost,
            "asks": self.asks or None,
        }


def actions(job: Job, price: Decimal, now: float, *, was_taken: bool) -> tuple[list[Action], list[str]]:
    """Return what can be asked about a job as it is, and why something usual cannot be.

    `was_taken`: it was not refused in the inbox, where nobody knows what it asks for.
    """
    if job.state is S.HELD:
        return _resolutions(job, price, now)
    if job.state is S.FAILED:
        return _retries(job, price, now, was_taken=was_taken)
    if may_be_canceled(job):
        return [Action("cancel", {}, CANCEL_LABEL, CANCEL_WORDS)], []
    return [], []


def _retries(job: Job, price: Decimal, now: float, *, was_taken: bool) -> tuple[list[Action], list[str]]:
    found, refused = [], []
    free = {"pay_again": False}
    try:
        JOB_VERBS["retry"](job, free, now)
        if job.task or not was_taken:
            found.append(Action("retry", free, RETRY_LABEL, FETCH_WORDS if job.task else CORRECT_WORDS))
        else:
            found.append(Action("retry", free, RETRY_LABEL, RETRY_WORDS, price))
    except CommandRefusedError as error:
        refused.append(error.message)
    if job.task or refused or job.charges:
        found.append(Action("retry", {"pay_again": True}, AGAIN_LABEL, AGAIN_WORDS, price))
    if not is_cleared(job):
        found.append(Action("clear", {}, CLEAR_LABEL, CLEAR_WORDS))
    return found, refused


def _resolutions(job: Job, price: Decimal, now: float) -> tuple[list[Action], list[str]]:
    found, refused = [Action("resolve", {"how": "task"}, TASK_LABEL, TASK_WORDS, asks="task")], []
    free = {"how": "not-charged"}
    try:
        JOB_VERBS["resolve"](job, free, now)
        found.append(Action("resolve", free, FREE_LABEL, FREE_WORDS, price))
    except CommandRefusedError as error:
        refused.append(error.message)
    return [*found, Action("resolve", {"how": "give-up"}, GIVE_UP_LABEL, GIVE_UP_WORDS)], refused


def one_set(job: Job, journal: StoreReader, now: float) -> dict[str, Any]:
    """Return all that is known of a set: what `show --json` has, its card, its plugins' calls, and what can be asked."""
    events = journal.events(job.id)
    price = journal.price(article_of(job))
    was_taken = not events or events[0].state is not S.FAILING
    found, refused = actions(job, price, now, was_taken=was_taken)
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


def money(report: Report, journal: StoreReader, now: float, zone: tzinfo) -> dict[str, Any]:
    """Return what was spent: today and in the last days, by folder, against the budget; and the balance."""
    first = (datetime.fromtimestamp(now, zone) - timedelta(days=DAYS - 1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    found = report.money
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
    return set_name(job.folder, job.name)
