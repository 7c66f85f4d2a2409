"""The JSON API: what the page shows and does, for programs; the page's own script uses it. One table makes routes and OpenAPI document."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rodin_watchd import __version__
from rodin_watchd.client.asking import about, answer_to, leave_command, refuse_unfit
from rodin_watchd.client.data import money_report, taken
from rodin_watchd.client.journal import daemon_of
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.names import natural_key
from rodin_watchd.core.store import Listing, ListOrder, StoreReader
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import Job, State
from rodin_watchd.service.commands import APPROVE, CHOOSE, PAUSE, RESUME, SEEN
from rodin_watchd.web.access import API, CSRF_HEADER, visitor_of
from rodin_watchd.web.data import GROUPS, PAGE_JOBS, cards, cursor_of, money, one_set, siblings
from rodin_watchd.web.files import files_of
from rodin_watchd.web.live import News
from rodin_watchd.web.site import DataResponse, Endpoint, Fields, Website, acting

ROOT: Final = f"{API}v1"
_LONGEST_TEXT: Final = 200
_MOST_NUMBER: Final = 2**53  # beyond it JavaScript has no whole numbers, either


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of the API."""

    method: str
    path: str
    summary: str
    endpoint: Endpoint
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # parameters: name → schema
    body: Mapping[str, Any] | None = None  # schema
    answer: str = "application/json"
    also: Mapping[str, str] = field(default_factory=dict)  # status → what it means here, beyond 200


def operations(site: Website, news: News) -> Sequence[Operation]:
    """Return all that can be asked."""
    asks = Asks(site)
    return (
        Operation("GET", "/status", "How the service is: what `status --json` prints.", _looking(site, _status)),
        Operation("GET", "/sets", "One page of the list of sets.", _looking(site, _sets), query=_LIST),
        Operation("GET", "/sets/{job_id}", "All that is known of one set, and what can be asked about it.", _looking(site, _set)),
        Operation("GET", "/sets/{job_id}/siblings", "All jobs of a set that makes several: what they differ by, and how one is chosen.", _looking(site, _siblings)),
        Operation("GET", "/money", "Credits: today, day by day, by folder, budget and balance.", _looking(site, _money)),
        Operation("GET", "/commands/{number}", "What the service answered to a command, null while it has not.", _looking(site, _answer)),
        Operation("GET", "/session", f"Who asks, and the token that what changes something carries in {CSRF_HEADER}.", _looking(site, _session)),
        Operation("GET", "/events", "Server-sent events: `changed` whenever something was written.", news.stream, answer="text/event-stream"),
        Operation("POST", "/sets/{job_id}/retry", "Take a failed set up again.", acting(asks.of_set("retry")), body=_body(pay_again=_BOOLEAN), also=_COMMAND),
        Operation("POST", "/sets/{job_id}/clear", "Move the folder of a failed set to the archive.", acting(asks.of_set("clear")), body=_body(), also=_COMMAND),
        Operation("POST", "/sets/{job_id}/choose", "Choose a delivered set among those of its siblings, or take that back.", acting(asks.of_set("choose")), body=_body(take_back=_BOOLEAN), also=_COMMAND),
        Operation("POST", "/sets/{job_id}/cancel", "Stop a set before its results arrive.", acting(asks.of_set("cancel")), body=_body(), also=_COMMAND),
        Operation("POST", "/sets/{job_id}/resolve", "Decide about a held set.", acting(asks.of_set("resolve")), body=_body(how=_HOW, task=_TEXT), also=_COMMAND),
        Operation("POST", "/pause", "Take and submit nothing any more.", acting(asks.pause), also=_COMMAND),
        Operation("POST", "/resume", "Go on after a pause.", acting(asks.resume), body=_object({"seen": _NUMBER}), also=_COMMAND),
        Operation("POST", "/approve", "Let held sets in the inbox go on.", acting(asks.approve), body=_object({"folder": _TEXT, "seen": _NUMBER}), also=_COMMAND),
    )  # fmt: skip


def routes(found: Sequence[Operation]) -> list[BaseRoute]:
    """Return the routes of the API, and that of its document."""
    document = openapi(found)
    mine: list[BaseRoute] = [Route(f"{ROOT}{one.path}", one.endpoint, methods=[one.method]) for one in found]
    return [*mine, Route(f"{API}openapi.json", lambda _request: DataResponse(document))]


# ---- looking --------------------------------------------------------------------------------------------------------


def _looking(site: Website, look: Callable[[Website, Request], Any]) -> Endpoint:
    """Return the endpoint of something that changes nothing."""

    async def endpoint(request: Request) -> Response:
        return DataResponse(await run_in_threadpool(look, site, request))

    return endpoint


def _status(site: Website, _request: Request) -> Any:  # noqa: ANN401 - JSON
    with site.journal() as journal:
        return taken(site.config, journal, time.time(), site.zone).as_data()


def _sets(site: Website, request: Request) -> Any:  # noqa: ANN401 - JSON
    with site.journal() as journal:
        return cards(journal, listing_of(request.query_params), time.time())


def _set(site: Website, request: Request) -> Any:  # noqa: ANN401 - JSON
    with site.journal() as journal:
        job = site.job(journal, request)
        data = one_set(job, journal, time.time())
    files = files_of(site.config.folders.root, job)
    return {
        **data,
        "files_to_fetch": [{"where": file.where, "name": file.name, "url": file.url(job)} for file in files],
    }


def _siblings(site: Website, request: Request) -> Any:  # noqa: ANN401 - JSON
    with site.journal() as journal:
        return siblings(siblings_of(site.job(journal, request), journal), journal, time.time())


def siblings_of(job: Job, journal: StoreReader) -> list[Job]:
    """Return all jobs of a job's set, by their labels. Raises HTTPException for a set that makes one."""
    if job.batch is None:
        raise HTTPException(404, "This set makes one job: there is nothing to compare it with.")
    return sorted(journal.siblings(job), key=lambda one: natural_key(one.batch.label if one.batch else ""))


def _money(site: Website, _request: Request) -> Any:  # noqa: ANN401 - JSON
    now = time.time()
    with site.journal() as journal:
        return money(money_report(site.config, journal, now, site.zone), journal, now, site.zone)


def _answer(site: Website, request: Request) -> Any:  # noqa: ANN401 - JSON
    with site.journal() as journal:
        return journal.answer(number_of(request.path_params["number"]))


def _session(_site: Website, request: Request) -> Any:  # noqa: ANN401 - JSON
    visitor = visitor_of(request)
    return {"may_act": visitor.may_act, "name": visitor.name or None, "csrf": visitor.csrf or None}


def listing_of(query: QueryParams) -> Listing:
    """Return which sets an address asks for. Raises HTTPException for one that makes no sense."""
    group, kind, folder = query.get("state", ""), query.get("kind", ""), query.get("folder", "")
    try:
        order = ListOrder(query.get("sort") or ListOrder.NEWEST)
        states = GROUPS[group] if group else frozenset(State)
        after = cursor_of(query["after"], order) if query.get("after") else None
        kind = KINDS[kind].name if kind else ""
    except (ValueError, KeyError):
        raise HTTPException(400, "There is no such state, kind, order or page.") from None
    text = query.get("q", "").strip()[:_LONGEST_TEXT]
    return Listing(states, kind, folder_of(folder), text, order, after, PAGE_JOBS)


def folder_of(text: str) -> str | None:
    """Return the folder that an address names: none for any, "." for the inbox itself."""
    return None if not text else "" if text == "." else text.strip("/")


def number_of(text: object) -> int:
    """Return a number of an address or a form. Raises HTTPException for any that the store cannot have given."""
    try:
        number = int(str(text))
    except ValueError:
        number = -1
    if not 0 <= number <= _MOST_NUMBER:
        raise HTTPException(400, "This is no number.")
    return number


# ---- asking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asks:
    """Leaves commands for the daemon, each about what the person saw, and answers with what it said."""

    site: Website

    def of_set(self, verb: str) -> Callable[[Request, Fields], Response]:
        """Return what asks one thing about one set."""
        return lambda request, given: self._answered(self.about_set(request, verb, given))

    def about_set(self, request: Request, verb: str, given: Fields) -> int:
        """Leave a command about a set. Raises CommandRefusedError, JournalError, HTTPException."""
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
            seen, arguments = Seen.of_data(given.get("seen")), arguments_of(verb, given)
            if Seen.of(job) == seen:
                refuse_unfit(self.site.config, job, verb, arguments)
        return leave_command(self.site.config, verb, about(job.id, seen, arguments))

    def pause(self, _request: Request, _given: Fields) -> Response:
        """Ask the service to take and submit nothing."""
        return self._answered(self.leave(PAUSE, {}))

    def resume(self, _request: Request, given: Fields) -> Response:
        """Ask it to go on."""
        return self._answered(self.leave(RESUME, given))

    def approve(self, _request: Request, given: Fields) -> Response:
        """Let sets go on that are held in the inbox."""
        return self._answered(self.leave(APPROVE, given))

    def leave(self, verb: str, given: Fields) -> int:
        """Leave a command about the service, and return its number."""
        arguments: dict[str, Any] = {} if verb == PAUSE else {SEEN: number_of(given.get("seen"))}
        if verb == APPROVE:
            arguments["folder"] = str(given["folder"]) if given.get("folder") else None
        return leave_command(self.site.config, verb, arguments)

    def wait(self, number: int) -> Mapping[str, Any] | None:
        """Wait a while for what the daemon says; None where it says nothing."""
        with self.site.journal() as journal:
            return journal.answer(number) if daemon_of(self.site.config) is None else answer_to(journal, number)

    def _answered(self, number: int) -> Response:
        answer = self.wait(number)
        refused = answer is not None and not answer["ok"]
        return DataResponse({"command": number, "answer": answer}, 409 if refused else 202 if answer is None else 200)


def arguments_of(verb: str, given: Fields) -> dict[str, Any]:
    """Return the arguments of a command, of what a form or a program gives. Raises CommandRefusedError."""
    if verb == "retry":
        return {"pay_again": given.get("pay_again") in (True, "true")}
    if verb == CHOOSE:
        return {"take_back": given.get("take_back") in (True, "true")}
    if verb != "resolve":
        return {}
    how = str(given.get("how", ""))
    if how != "task":
        return {"how": how}
    task = str(given.get("task", "")).strip()
    if not task or not task.isascii() or not task.isprintable() or " " in task:
        raise CommandRefusedError(
            "The task's UUID must be one word of plain characters.", advice="Copy it from the vendor's account."
        )
    return {"how": how, "task": task, "subscription_key": ""}


# ---- the document ---------------------------------------------------------------------------------------------------


_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}
_BOOLEAN: Final = {"type": "boolean"}
_HOW: Final = {"type": "string", "enum": ["task", "not-charged", "give-up"]}
_COMMAND: Final = {
    "202": "The command is left; the service has not answered yet.",
    "409": "The service refused it, or the set is not as it was seen.",
}
_SEEN: Final = {
    "type": "object",
    "description": "What was seen of the set: `seen` of GET /sets/{job_id}. A set that is another one by now is not changed.",
}
_LIST: Final[Mapping[str, Mapping[str, Any]]] = {
    "state": {"type": "string", "enum": list(GROUPS)},
    "kind": {"type": "string", "enum": list(KINDS)},
    "folder": {"type": "string", "description": "Below the inbox, with all below it; “.” is the inbox itself."},
    "q": {"type": "string", "description": "A part of the name, with its folder."},
    "sort": {"type": "string", "enum": [order.value for order in ListOrder]},
    "after": {"type": "string", "description": "`next` of the page before."},
}


def _object(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "properties": dict(properties)}


def _body(**properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_object({"seen": _SEEN, **properties}), "required": ["seen"]}


def openapi(found: Sequence[Operation]) -> dict[str, Any]:
    """Return the document that describes the API (OpenAPI 3.1)."""
    paths: dict[str, dict[str, Any]] = {}
    for one in found:
        paths.setdefault(f"{ROOT}{one.path}", {})[one.method.lower()] = _described(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rodin_watchd", "version": __version__},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
            }
        },
    }


def _described(one: Operation) -> dict[str, Any]:
    in_path = [part.strip("{}") for part in one.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in in_path]
    parameters += [{"name": name, "in": "query", "schema": dict(schema)} for name, schema in one.query.items()]
    body = {"requestBody": {"content": {"application/json": {"schema": one.body}}}} if one.body else {}
    changes = one.method not in ("GET", "HEAD")
    answers: dict[str, Any] = {"200": {"description": "OK", "content": {one.answer: {}}}}
    if changes:
        answers["403"] = {"description": "No right to change anything, or no token."}
    answers |= {status: {"description": meaning} for status, meaning in one.also.items()}
    security: list[dict[str, list[str]]] = [{"token": []}, {"csrf": []}] if changes else [{"token": []}, {}]
    return {"summary": one.summary, "parameters": parameters, **body, "responses": answers, "security": security}
