"""The pages for people: links and forms that need no script. What they show is the data of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rodin_watchd.client.data import ServiceState, money_report, service_state
from rodin_watchd.core.approval import Pass
from rodin_watchd.core.budget import midnight
from rodin_watchd.core.health import TICK_SECONDS, Standstill
from rodin_watchd.core.layout import RECEIPT, REPORT
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.store import ListOrder, StoreReader
from rodin_watchd.core.wording import set_name
from rodin_watchd.errors import (
    CommandRefusedError,
    DropBusyError,
    DropError,
    DropOffsetError,
    DropTooLargeError,
    DropUnknownError,
    RodinWatchdError,
)
from rodin_watchd.service.commands import PAUSE
from rodin_watchd.web.access import API, kept_of, local_target, visitor_of
from rodin_watchd.web.api import Asks, Operation, listing_of, number_of, siblings_of
from rodin_watchd.web.data import (
    GROUPS,
    MOST_FOLDERS,
    PAGE_JOBS,
    cards,
    full_name,
    group_of,
    kinds,
    money,
    one_set,
    siblings,
)
from rodin_watchd.web.files import INPUTS, RESULTS, files_of, text_of
from rodin_watchd.web.plot import plot
from rodin_watchd.web.site import DataResponse, ExpiredFormError, Fields, Website
from rodin_watchd.web.viewer import POLICY, models_of

MOST_WAITING: Final = 12
"""So many waiting sets are shown at once; the others are a click away."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers with pages. Any thread."""

    site: Website
    operations: tuple[Operation, ...]

    # ---- looking ----------------------------------------------------------------------------------------------------

    def sets(self, request: Request) -> Response:
        """Show all sets as cards, and what waits in the inbox."""
        wanted = listing_of(request.query_params)
        now = time.time()
        with self.site.journal() as journal:
            report = service_state(self.site.config, journal)
            shown = cards(journal, wanted, now)
            values = {
                "folders": journal.top_folders(MOST_FOLDERS),
                "today": journal.charged_since(midnight(now, self.site.zone)),
                "seen_held": journal.newest_held(),
                "farm": journal.farm() if self.site.config.plugins.farm_names else None,
                "waits_for_approval": Pass.HELD in journal.gate().values(),
                **self._service(journal, report, request),
            }
        query = {name: request.query_params.get(name, "") for name in ("q", "state", "kind", "folder", "sort")}
        return self.site.page(
            request,
            "sets.html",
            **values,
            cards=shown["sets"],
            chosen=query,
            orders=list(ListOrder),
            kinds=kinds(),
            groups=list(GROUPS),
            counts=_counts(report),
            is_first=wanted.after is None,
            is_filtered=any(query.values()),
            next_page=f"/?{urlencode({**_given(query), 'after': shown['next']})}" if shown["next"] else "",
            first_page=f"/?{urlencode(_given(query))}",
            with_state=lambda state: f"/?{urlencode(_given({**query, 'state': state}))}",
            most_waiting=MOST_WAITING,
            page_jobs=PAGE_JOBS,
            sent=printable(request.query_params.get("sent", "")),
        )

    def set(self, request: Request) -> Response:
        """Show one set, with all that is known of it and what can be asked."""
        return self._set(request)

    def _set(self, request: Request, refused: str = "", status: int = 200) -> Response:
        now = time.time()
        root = self.site.config.folders.root
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
            report = service_state(self.site.config, journal)
            data = one_set(job, journal, now)
            values = self._service(journal, report, request)
        files = files_of(root, job)
        models = models_of(files, job)
        answer = self.site.page(
            request,
            "set.html",
            status,
            **values,
            set=data,
            title=full_name(job),
            job=job,
            results=[file for file in files if file.where == RESULTS],
            inputs=[file for file in files if file.where == INPUTS],
            models=models,
            receipt=text_of(root, files, RECEIPT),
            report_text=text_of(root, files, REPORT),
            seen=json.dumps(data["seen"]),
            has_ended=job.state in ENDED,
            refused=refused,
        )
        if models:
            answer.headers["Content-Security-Policy"] = POLICY
        return answer

    def siblings(self, request: Request) -> Response:
        """Show all jobs of a set that makes several side by side, or those that are marked."""
        now, root = time.time(), self.site.config.folders.root
        with self.site.journal() as journal:
            jobs = siblings_of(self.site.job(journal, request), journal)
            report = service_state(self.site.config, journal)
            found = siblings(jobs, journal, now)
            values = self._service(journal, report, request)
        marked = {job.id for job in jobs} & set(request.query_params.getlist("with"))
        shown = [job for job in jobs if not marked or job.id in marked]
        models = {job.id: one for job in shown if (one := models_of(files_of(root, job), job))}
        query = urlencode([("with", job.id) for job in jobs if job.id in marked])
        answer = self.site.page(
            request,
            "siblings.html",
            **values,
            all=found,
            jobs=[one for one in found["jobs"] if not marked or one["id"] in marked],
            title=set_name(jobs[0].folder, (jobs[0].batch and jobs[0].batch.folder) or jobs[0].name),
            folder=printable(jobs[0].folder),
            marked=marked,
            models=models,
            here=f"{request.url.path}{'?' if query else ''}{query}",
        )
        if models:
            answer.headers["Content-Security-Policy"] = POLICY
        return answer

    def money(self, request: Request) -> Response:
        """Show what was spent, and what may be."""
        now = time.time()
        with self.site.journal() as journal:
            report = service_state(self.site.config, journal)
            spent = money_report(self.site.config, journal, now, self.site.zone)
            data = money(spent, journal, now, self.site.zone)
            values = self._service(journal, report, request)
        return self.site.page(
            request, "money.html", **values, money=data, plot=plot(data["by_day"], data["budget"]["per_day"])
        )

    def api(self, request: Request) -> Response:
        """Show what the API can be asked."""
        return self.site.page(request, "api.html", operations=self.operations)

    def login(self, request: Request) -> Response:
        """Show the form for the token; or, after it, the form that was sent when the session had ended."""
        query, kept = request.query_params, kept_of(request)
        if kept and kept.session:
            return self.site.once_more(request, 200, kept.target, kept.fields)
        target, why = (kept.target, kept.why) if kept else (query.get("next", "/"), query.get("why", ""))
        return self.site.page(
            request, "login.html", 401 if kept else 200, next=local_target(target), why=why, kept=kept and kept.fields
        )

    def _service(self, journal: StoreReader, report: ServiceState, request: Request) -> Mapping[str, Any]:
        """Return what every page says of the service: how it is, and the answer to what was asked last."""
        sign = report.sign
        number = request.query_params.get("answer", "")
        is_silent = sign is not None and sign.age_seconds > TICK_SECONDS
        paused = sign.health.paused if sign and report.daemon is not None else ()
        return {
            "report": report,
            "service": "stopped"
            if report.daemon is None
            else "silent"
            if is_silent
            else "paused"
            if paused
            else "running",
            "is_paused_by_request": bool(journal.meta(PAUSE)),
            "may_resume": journal.newest_command(PAUSE),
            "approval": Standstill.APPROVAL in paused,
            "asked": number,
            "answer": journal.answer(number_of(number)) if number else None,
        }

    # ---- asking -----------------------------------------------------------------------------------------------------

    def about_set(self, verb: str) -> Callable[[Request, Fields], Response]:
        """Return what asks one thing about one set, and shows the set with the answer."""
        asks = Asks(self.site)

        def ask(request: Request, given: Fields) -> Response:
            try:
                number = asks.about_set(request, verb, {**given, "seen": _json(given.get("seen"))})
            except CommandRefusedError as error:
                return self._set(request, refused=f"{error.message} {error.advice_in_full}", status=409)
            return self._answered(
                local_target(str(given.get("to") or f"/sets/{request.path_params['job_id']}")), number
            )

        return ask

    def of_service(self, verb: str) -> Callable[[Request, Fields], Response]:
        """Return what asks something of the service, and shows the page with the answer."""
        asks = Asks(self.site)
        return lambda _request, given: self._answered("/", asks.leave(verb, given))

    def _answered(self, target: str, number: int) -> Response:
        Asks(self.site).wait(number)
        return RedirectResponse(f"{target}{'&' if '?' in target else '?'}answer={number}", 303)


def _json(text: object) -> Any:  # noqa: ANN401 - whatever stands there: it is checked where it is read
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


def _given(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


def _counts(report: ServiceState) -> dict[str, int]:
    counts = dict.fromkeys(GROUPS, 0)
    for state, number in report.counts.items():
        counts[group_of(state)] += number
    return counts


# ---- what went wrong ------------------------------------------------------------------------------------------------


_STATUS: Final = (
    (CommandRefusedError, 409),
    (DropUnknownError, 404),
    (DropTooLargeError, 413),
    (DropOffsetError, 409),
    (DropBusyError, 423),
    (DropError, 400),
)
"""What HTTP calls an error of ours, the special kinds first; all others are the machine's: 503."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Answers for what cannot be answered: in words, as a page for people and as JSON for programs."""

    site: Website

    def http(self, request: Request, error: Exception) -> Response:
        """Answer with an error that has a status."""
        assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these alone
        if isinstance(error, ExpiredFormError) and not _is_api(request):
            return self.site.once_more(request, error.status_code, request.url.path, error.given)
        return self._told(request, error.status_code, error.detail, "")

    def ours(self, request: Request, error: Exception) -> Response:
        """Answer with what users or their machine can correct: a refused command, a journal that is missing."""
        assert isinstance(error, RodinWatchdError)  # noqa: S101 - as above
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
        return self._told(request, status, error.message, error.advice_in_full)

    def _told(self, request: Request, status: int, message: str, advice: str) -> Response:
        if _is_api(request):
            return DataResponse({"error": message, "advice": advice or None}, status)
        return self.site.page(request, "error.html", status, message=message, advice=advice)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith(API) and visitor_of(request) is not None
