"""The emulator's settings, the API's routes and the file host's: both listen on ports of their own and share one shop."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from concurrent.futures import wait
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rodin_watchd.emulator.effects import MOVED, Dropped, EmulatedCall, drain, expired_link
from rodin_watchd.emulator.faults import FaultPlan, Site, Terms, terms_of
from rodin_watchd.emulator.forms import EmulatedRefusal, check_key, invalid, parse_fields, parse_multipart, read_body
from rodin_watchd.emulator.ledger import Ledger, LedgerSnapshot
from rodin_watchd.emulator.orders import generation_order, texture_order
from rodin_watchd.emulator.tasks import TaskBook, Workshop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rodin_watchd.emulator.faults import EmulatedFault
    from rodin_watchd.emulator.forms import Form
    from rodin_watchd.emulator.ledger import Charge
    from rodin_watchd.emulator.orders import Order
    from rodin_watchd.emulator.tasks import EmulatedTask


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """How the emulator behaves.

    `host`, `port`, `files_port`: where the API and the file host listen; port 0 takes a free one. `balance`: credits at
    the start. `waiting_seconds`, `generating_seconds`: how long the last job of a task is Waiting, then Generating.
    `link_seconds`: life of a result link. `keep_seconds`: life of a task and its results. `faults`: from `parse_fault`.
    `instant`: a submit is answered when its task is Done, at once when an equal order was made before; the two durations
    do not count. `consumed`: answers to accepted orders say what was charged. `task_limit`: how many tasks of one key run at once; None: any number. `success_error`: the
    `error` of an answer that is none, `null`, `ok` or `absent`; "": as documented for each call. `preview_pixels`: the edge of
    the previews; drawing them is most of the work, and small ones do where nobody looks at them. `clock` gives UTC epoch
    seconds.
    """

    host: str = "127.0.0.1"
    port: int = 0
    files_port: int = 0
    api_keys: tuple[str, ...] = ("emulator-key",)
    balance: Decimal = Decimal(100)
    waiting_seconds: float = 2.0
    generating_seconds: float = 6.0
    link_seconds: float = 600.0
    keep_seconds: float = 7 * 86400.0
    faults: tuple[EmulatedFault, ...] = ()
    instant: bool = False
    consumed: bool = False
    task_limit: int | None = None
    success_error: str = ""
    preview_pixels: int = 512
    clock: Callable[[], float] = time.time


# ---- Result links: signed, and only good until a moment that is written in them -------------------------------------


class Links:
    """Makes and checks links with a secret of its own."""

    def __init__(self, link_seconds: float) -> None:
        self._link_seconds = link_seconds
        self._secret = secrets.token_bytes(32)

    def path(self, task_uuid: str, name: str, now: float) -> str:
        """Give the path and query of a link that is good from `now` on for `link_seconds`."""
        expires = repr(now + self._link_seconds)
        query = urlencode({"expires": expires, "signature": self._signature(task_uuid, name, expires)})
        return f"/results/{quote(task_uuid)}/{quote(name)}?{query}"

    def good(self, task_uuid: str, name: str, query: Mapping[str, str], now: float) -> bool:
        """Return whether the link was made here and has not expired."""
        expires = query.get("expires", "")
        signature = self._signature(task_uuid, name, expires)
        return hmac.compare_digest(signature.encode(), query.get("signature", "").encode()) and now < float(expires)

    def _signature(self, *words: str) -> str:
        return hmac.new(self._secret, "\n".join(words).encode(), "sha256").hexdigest()


_SUCCESS: Final[dict[str, dict[str, str | None]]] = {"null": {"error": None}, "ok": {"error": "OK"}, "absent": {}}

Act: TypeAlias = "Callable[[Request], Awaitable[Response]]"
CarryOut: TypeAlias = "Callable[[tuple[EmulatedFault, ...], Request], Awaitable[Response]]"


class Accepted(JSONResponse):
    """The answer to an order that was charged."""


class Shop:
    """The emulator without its sockets: routes, tasks, money, work and faults."""

    def __init__(self, settings: EmulatorSettings, files_url: str, on_charge: Callable[[Charge], None]) -> None:
        self._settings = settings
        self._files_url = files_url
        self._ledger = Ledger(settings.balance, on_charge)
        self._faults = FaultPlan(settings.faults, self._ledger.faults)
        self._named_task = ""  # the newest one that was named to its own customer since the faults were set
        self._links = Links(settings.link_seconds)
        self._workshop = Workshop(settings.preview_pixels)
        lasting = (0.0, 0.0) if settings.instant else (settings.waiting_seconds, settings.generating_seconds)
        self._tasks = TaskBook(*lasting, settings.keep_seconds)

    def api(self) -> Starlette:
        """Give the application that serves the API."""
        texture = self._counted(partial(self._submit, texture_order))
        generation = self._counted(partial(self._submit, generation_order))
        return Starlette(
            routes=[
                Route("/api/v2/rodin_texture_only", self._call(Site.SUBMIT, texture), methods=["POST"]),
                Route("/api/v2/rodin", self._call(Site.SUBMIT, generation), methods=["POST"]),
                Route(
                    "/api/v2/status", self._call(Site.STATUS, partial(self._carry_out, self._status)), methods=["POST"]
                ),
                Route(
                    "/api/v2/download",
                    self._call(Site.DOWNLOAD, partial(self._carry_out, self._download)),
                    methods=["POST"],
                ),
                Route(
                    "/api/v2/check_balance",
                    self._call(Site.BALANCE, partial(self._carry_out, self._balance)),
                    methods=["GET"],
                ),
                Route("/emulator/ledger", self._show_ledger, methods=["GET"]),
            ],
            exception_handlers={404: _no_such_call, 405: _no_such_call},
        )

    def files(self) -> Starlette:
        """Give the application that serves the results."""
        file = self._call(Site.FILE, partial(self._carry_out, self._file))
        return Starlette(
            routes=[
                Route("/results/{task_uuid}/{name}", file, methods=["GET"]),
                Route(MOVED + "/results/{task_uuid}/{name}", self._file, methods=["GET"]),
                Route("/{path:path}", self._nothing, methods=["GET", "POST"]),
            ]
        )

    def ledger(self) -> LedgerSnapshot:
        """Give the ledger as it stands."""
        return self._ledger.snapshot(self._outcome)

    @property
    def charges(self) -> list[Charge]:
        """What was charged so far, oldest first."""
        return self._ledger.charges

    def subscription_keys(self) -> dict[str, str]:
        """Give the keys that were handed out, by the tasks' ids."""
        return self._tasks.subscription_keys()

    def set_faults(self, faults: tuple[EmulatedFault, ...]) -> None:
        """Have other faults strike from the next call on."""
        self._faults.replace(faults)
        self._named_task = ""

    def pay_in(self, amount: Decimal) -> None:
        """Add to the balance; not while an order is being charged."""
        self._ledger.balance += amount

    def close(self) -> None:
        """End the work."""
        self._workshop.close()

    def _outcome(self, task_uuid: str) -> str:
        now = self._settings.clock()
        task = self._tasks.kept(task_uuid, now)
        return task.outcome(now) if task else "Expired"

    def _call(self, site: Site, carry_out: CarryOut) -> Act:
        """Carry out a call, then let the faults that strike it work on the answer."""

        async def endpoint(request: Request) -> Response:
            self._ledger.settle(self._settings.clock())
            striking = self._faults.strike(site)
            answer = await carry_out(striking, request)
            own, earlier = _task_in(answer), self._named_task
            for fault in striking:
                if fault.kind.effect and not fault.kind.instead and not isinstance(answer, Dropped):
                    answer = await fault.kind.effect(
                        EmulatedCall(request, fault.value, answer, earlier, self._files_url)
                    )
            if own and _task_in(answer) == own:
                self._named_task = own
            return answer

        return endpoint

    def _counted(self, submit: Callable[[Terms, Request], Awaitable[Response]]) -> CarryOut:
        """Count how each submit ends, whatever a fault then makes of the answer."""

        async def carry_out(striking: tuple[EmulatedFault, ...], request: Request) -> Response:
            self._ledger.uploads["begun"] += 1
            answer = await self._carry_out(partial(submit, terms_of(striking)), striking, request)
            self._ledger.uploads[_fate(answer)] += 1
            return answer

        return carry_out

    async def _carry_out(self, act: Act, striking: tuple[EmulatedFault, ...], request: Request) -> Response:
        """Carry out a call unless a fault takes its place."""
        for fault in striking:
            if fault.kind.effect and fault.kind.instead:
                call = EmulatedCall(request, fault.value, Response(), elsewhere=self._files_url)
                return await _after_reading(request, await fault.kind.effect(call))
        try:
            return await act(request)
        except EmulatedRefusal as refusal:
            return refusal.answer()
        except ClientDisconnect:
            return Dropped()

    async def _submit(self, read: Callable[[Form], Order], terms: Terms, request: Request) -> Response:
        """Take an order, charge it by these terms and answer with the task."""
        body = await read_body(request)
        api_key = check_key(request, self._settings.api_keys)
        content_type = request.headers.get("content-type", "")
        order = await run_in_threadpool(lambda: read(parse_multipart(body, content_type)))
        task = await self._accept(api_key, order, terms)
        consumed = (
            {"consumed": float(order.price if terms.price is None else terms.price)} if self._settings.consumed else {}
        )
        return Accepted({**self._success(None), **_submitted(task), **consumed}, 201)

    async def _accept(self, api_key: str, order: Order, terms: Terms) -> EmulatedTask:
        self._ledger.require_credit(order.price)
        self._require_place(api_key)
        work = self._workshop.begin(order)
        if self._settings.instant and not work.done():
            await run_in_threadpool(wait, [work])
            self._ledger.require_credit(order.price)  # others may have spent it meanwhile; from here on nothing waits
        now = self._settings.clock()
        struck = next((fault.kind for fault in self._faults.strike(Site.TASK)), None)
        end, leaves_model = (struck.end, struck.leaves_model) if struck else ("Done", False)
        task = self._tasks.open(api_key, work, now, end, leaves_model=leaves_model)
        price = order.price if terms.price is None else terms.price
        if terms.late_seconds:
            self._ledger.charge_at(now + terms.late_seconds, task.uuid, order, price)
            asyncio.get_running_loop().call_later(
                terms.late_seconds, lambda: self._ledger.settle(self._settings.clock())
            )
        else:
            self._ledger.charge(task.uuid, order, now, price)
        return task

    def _require_place(self, api_key: str) -> None:
        """Raise EmulatedRefusal when as many tasks of this key run as may (API contract, second turn)."""
        limit = self._settings.task_limit
        if limit is not None and self._tasks.running(api_key, self._settings.clock()) >= limit:
            message = f"At most {limit} tasks run at once."
            raise EmulatedRefusal(400, "API_PARALLELISM_LIMIT_REACHED", message)

    async def _status(self, request: Request) -> Response:
        now = self._settings.clock()
        api_key, subscription_key = await self._asked(request, "subscription_key")
        task = self._tasks.by_subscription(subscription_key, api_key, now)
        words = zip(task.jobs, task.statuses(now), strict=True)
        queue = {"queue_length": self._tasks.queue_length(now)}
        jobs = [{"uuid": job.uuid, "status": word, **(queue if word == "Waiting" else {})} for job, word in words]
        return JSONResponse({**self._success("OK"), "jobs": jobs}, 201)

    async def _download(self, request: Request) -> Response:
        now = self._settings.clock()
        api_key, task_uuid = await self._asked(request, "task_uuid")
        task = self._tasks.by_uuid(task_uuid, api_key, now)
        names = [file.name for file in task.results(now)]
        listed = [{"url": self._files_url + self._links.path(task.uuid, name, now), "name": name} for name in names]
        return JSONResponse({**self._success("OK"), "list": listed}, 201)

    def _success(self, documented: str | None) -> dict[str, str | None]:
        """Return the `error` of an answer that is none: as the settings say it, or as documented for the call."""
        usual = {"error": documented}
        return _SUCCESS.get(self._settings.success_error, usual)

    async def _asked(self, request: Request, field: str) -> tuple[str, str]:
        """Give the API key and the one field that a status or download call must have."""
        body = await read_body(request)
        api_key = check_key(request, self._settings.api_keys)
        fields = parse_fields(body, request.headers.get("content-type", ""))
        if not fields.get(field):
            raise invalid(f"{field} is required")
        return api_key, fields[field]

    async def _balance(self, request: Request) -> Response:
        check_key(request, self._settings.api_keys)
        balance = self._ledger.balance
        return JSONResponse({"balance": int(balance) if balance == int(balance) else float(balance)}, 201)

    async def _show_ledger(self, _request: Request) -> Response:
        self._ledger.settle(self._settings.clock())
        return JSONResponse(self.ledger())

    async def _nothing(self, request: Request) -> Response:
        """Say that there is nothing here, and note a key that came along, as one does that follows a redirect."""
        self._note_key(request)
        return Response(status_code=404)

    def _note_key(self, request: Request) -> None:
        if "authorization" in request.headers:
            self._ledger.key_leaks.append(request.url.path)

    async def _file(self, request: Request) -> Response:
        self._note_key(request)
        now = self._settings.clock()
        task_uuid, name = request.path_params["task_uuid"], request.path_params["name"]
        task = self._tasks.kept(task_uuid, now)
        if task is None or not self._links.good(task_uuid, name, request.query_params, now):
            return expired_link()
        file = task.result(name)
        return Response(file.data, media_type=file.media_type)


async def _no_such_call(request: Request, error: Exception) -> Response:
    """Answer a path or method that is no call, as JSON like every error of the API (API contract, Errors)."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 404)
    refusal = EmulatedRefusal(status, status.name, f"There is no {request.method} {request.url.path}.")
    return await _after_reading(request, refusal.answer())


async def _after_reading(request: Request, answer: Response) -> Response:
    """Read the request before answering it; else the client may see a reset connection instead of the answer."""
    if not isinstance(answer, Dropped):
        await drain(request)
    return answer


def _task_in(answer: Response) -> str:
    """Return the uuid of the task that an answer names, or ""."""
    reply = json.loads(bytes(answer.body)) if isinstance(answer, JSONResponse) and answer.status_code < 300 else {}
    return str(reply.get("uuid") or "") if isinstance(reply, dict) else ""


def _fate(answer: Response) -> str:
    if isinstance(answer, Dropped):
        return "cut"
    return "accepted" if isinstance(answer, Accepted) else "refused"


def _submitted(task: EmulatedTask) -> dict[str, object]:
    return {
        "message": "Submitted.",
        "uuid": task.uuid,
        "submit_time": datetime.fromtimestamp(task.submitted_at, UTC).isoformat(),
        "jobs": {"uuids": [job.uuid for job in task.jobs], "subscription_key": task.subscription_key},
    }
