"""What the live view asks of the store, and what it leaves there: each call opens the store, read-only, and closes it again.

The session calls these in a thread of its own, for a store that is locked answers late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from typing import Any, Final

from rodin_watchd.adapters.heartbeat import Heartbeat
from rodin_watchd.cli.job_text import text_of
from rodin_watchd.cli.watch.screen import Failure, Found, ListSection, Look, Mood, OpenText, Question, Reply, Row
from rodin_watchd.client.asking import NO_ANSWER, about, answer_to, leave_command, refuse_unfit
from rodin_watchd.client.choices import actions, was_taken
from rodin_watchd.client.data import Report, service_events_of, taken
from rodin_watchd.client.forecast import Forecast
from rodin_watchd.client.journal import daemon_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.batches import price_in_all
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.health import TICK_SECONDS, Standstill
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import Line
from rodin_watchd.core.store import StoreReader
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import advice_in_full, cost, in_credits, local, sentences, set_name
from rodin_watchd.errors import CommandRefusedError, RodinWatchdError
from rodin_watchd.model import Job, State
from rodin_watchd.service.commands import PAUSE, RESUME, SEEN

MOST_ROWS: Final = 300
"""How many sets of a section are listed; the heading counts all."""

_LAST_SCAN: Final = "No service runs: waiting and paused things are from its last scan. `rodin-watchd run` starts it."

_LONGEST_TEXT: Final = 600


class StoreView:
    """Reads for the view, and gives its commands. Every call returns what was found, or why not; none raises."""

    def __init__(self, config: Config, zone: tzinfo, now: Callable[[], float] = time.time) -> None:
        self._config = config
        self._zone = zone
        self._now = now

    def look(self) -> Found:
        """Return how everything stands."""
        try:
            now = self._now()
            with reader(self._config) as journal:
                report = taken(self._config, journal, now, self._zone)
                return _Shown(report, journal, now, self._zone).look
        except (RodinWatchdError, OSError) as error:
            return Failure(_in_words(error))

    def read(self, job_id: str) -> Found:
        """Return what `show` says of a job."""
        return self._answered(lambda journal: self._reading(journal, job_id))

    def retry(self, job_id: str) -> Found:
        """Return the question whether a failed job is to be taken up again, with its price; or why it cannot be."""
        return self._answered(lambda journal: self._retry(journal, job_id))

    def pause_or_resume(self) -> Found:
        """Return the question whether the service is to pause, or to go on."""
        return self._answered(self._pause_or_resume)

    def act(self, question: Question) -> Found:
        """Give the command that a person has confirmed, and return its answer."""
        return self._answered(lambda journal: self._act(journal, question))

    def _act(self, journal: StoreReader, question: Question) -> Reply:
        number = leave_command(self._config, question.verb, question.arguments)
        if daemon_of(self._config) is None:
            return Reply("The service is not running: the command will run when it starts.", Mood.WAITS)
        answer = answer_to(journal, number)
        if answer is None:
            return Reply(NO_ANSWER, Mood.WAITS)
        return Reply(plain(answer["message"], _LONGEST_TEXT), Mood.GOOD if answer["ok"] else Mood.BAD)

    def _answered(self, ask: Callable[[StoreReader], Found]) -> Found:
        try:
            with reader(self._config) as journal:
                return ask(journal)
        except (RodinWatchdError, OSError) as error:
            return Reply(_in_words(error), Mood.BAD)

    def _reading(self, journal: StoreReader, job_id: str) -> Found:
        job = journal.find(job_id)
        events, meanwhile = journal.events(job.id), service_events_of(job, journal, self._now())
        text = text_of(job, events, meanwhile, self._zone, journal.siblings(job))
        return OpenText(set_name(job.folder, job.title), text, job.id)

    def _retry(self, journal: StoreReader, job_id: str) -> Question:
        """Return what `retry` would do and cost; where only a new submit helps, that is what is asked."""
        job = journal.find(job_id)
        refuse_unfit(self._config, job, "retry", {"pay_again": True})  # a job that did not fail is refused, in words
        taken = was_taken(journal.events(job.id))
        found, refused = actions(job, price_in_all(job, journal.price), self._now(), was_taken=taken)
        choice = next((action for action in found if action.verb == "retry"), None)
        if choice is None:
            raise CommandRefusedError(" ".join(refused), advice=advice_in_full(job))
        price = f"It may cost {in_credits(choice.may_cost)}." if choice.may_cost else "It costs nothing now."
        said = (_failed(job), f"Cost so far: {cost(job)}", *refused, f"{choice.label}? {choice.words}", price)
        return Question(" ".join(said), choice.verb, about(job.id, Seen.of(job), choice.arguments))

    def _pause_or_resume(self, journal: StoreReader) -> Question:
        if not journal.meta(PAUSE):
            return Question(
                "Pause? Nothing is taken or submitted until `resume`; what is paid for is still fetched. This costs nothing.",
                PAUSE,
                {},
            )
        message = (
            "Resume? Sets are taken and submitted again, and each one costs credits; the dearest so far: "
            f"{in_credits(journal.dearest())}."
        )
        return Question(message, RESUME, {SEEN: journal.newest_command(PAUSE)})


def _failed(job: Job) -> str:
    why = f" {plain(sentences(job.problem.message), _LONGEST_TEXT)}" if job.problem else ""
    return f"{set_name(job.folder, job.title)} (job {job.id}): {job.state}.{why}"


def _in_words(error: RodinWatchdError | OSError) -> str:
    if isinstance(error, RodinWatchdError):
        return plain(f"{error.message} {error.advice_in_full}".rstrip(), _LONGEST_TEXT)
    return f"{error.strerror or error}."


# ---- a report as the view shows it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shown:
    report: Report
    journal: StoreReader
    now: float
    zone: tzinfo

    @property
    def look(self) -> Look:
        page = self.report.page
        lines = {
            ListSection.HELD: page.held,
            ListSection.RUNNING: page.running,
            ListSection.FAILED: page.failed,
            ListSection.WAITING: page.waiting,
            ListSection.RECENT: page.recent,
        }
        mood, service = self._service()
        return Look(
            at=self.now,
            service=service,
            mood=mood,
            root=printable(str(self.report.root)),
            money=self._money(),
            notices=tuple(plain(notice, _LONGEST_TEXT) for notice in (*self._stopped, *page.notices)),
            rows=tuple(self._row(section, line) for section, some in lines.items() for line in some[:MOST_ROWS]),
            counts={section: len(some) for section, some in lines.items()} | {ListSection.WAITING: page.all_waiting},
            paused=self._is_paused,
        )

    def _row(self, section: ListSection, line: Line) -> Row:
        shown = Line(line.name, plain(line.text, _LONGEST_TEXT), line.job_id, line.since_at)
        return Row(section, shown, *self._forecasts.get(line.job_id, (None, None)))

    @cached_property
    def _forecasts(self) -> dict[str, tuple[float, float | None]]:
        """When the vendor got each job that it works on, and when it should be done (UTC), by how long those before took."""
        forecast, found = Forecast(self.journal, self.now, {}), {}
        for job in self.journal.jobs([State.SUBMITTED]):
            left = forecast.left_seconds(job)
            found[job.id] = (job.task.submitted_at if job.task else self.now, None if left is None else self.now + left)
        return found

    @property
    def _stopped(self) -> tuple[str, ...]:
        """What is to be known of a page that nobody renews."""
        return (_LAST_SCAN,) if self.report.daemon is None else ()

    @cached_property
    def _is_paused(self) -> bool:
        return bool(self.journal.meta(PAUSE))

    def _service(self) -> tuple[Mood, str]:
        """Return how the service is, in a few words."""
        report = self.report
        if report.daemon is None:
            at = report.page.stopped_at or (report.sign.health.at if report.sign else None)
            return Mood.BAD, f"STOPPED since {local(at, self.zone)}" if at else "STOPPED"
        sign = report.sign if report.sign and report.sign.pid == report.daemon.get("pid", report.sign.pid) else None
        if sign is None:
            return Mood.WAITS, "STARTING"
        if sign.age_seconds > TICK_SECONDS:
            return Mood.BAD, f"HUNG since {local(sign.health.at, self.zone)}"
        return self._works(sign)

    def _works(self, sign: Heartbeat) -> tuple[Mood, str]:
        what = list(sign.health.paused)
        if self._is_paused:
            return Mood.WAITS, f"PAUSED by request{_and(one for one in what if one != Standstill.BY_REQUEST)}"
        return (Mood.WAITS, f"PAUSED: {', '.join(what)}") if what else (Mood.GOOD, "RUNNING")

    def _money(self) -> str:
        money = self.report.money
        parts = [f"Credits: {money.today} today"]
        if money.per_day is not None:
            parts.append(f"{money.spent} of the day's budget of {money.per_day}")
        if money.balance:
            parts.append(f"balance {money.balance.credits}{' (low)' if money.balance.low else ''}")
        return ", ".join(parts)


def _and(words: Iterable[Any]) -> str:
    found = ", ".join(map(str, words))
    return f" ({found})" if found else ""
