"""What a fault does to one call: small functions from a call to the answer it gets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from rodin_watchd.emulator.forms import EmulatedRefusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class EmulatedCall:
    """One call that a fault strikes. `answer` is what the call would have got, once it was carried out.

    `earlier_task`: the uuid of the newest task that an answer has named since the faults were set, "" without one.
    `elsewhere`: the base URL of another host, where redirects lead.
    """

    request: Request
    value: str
    answer: Response
    earlier_task: str = ""
    elsewhere: str = ""


Effect: TypeAlias = "Callable[[EmulatedCall], Awaitable[Response]]"
JsonObject: TypeAlias = dict[str, Any]

PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1><hr>openresty</body></html>"
EXPIRED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
)
MOVED = "/moved"
"""What the paths of redirected calls begin with, at the other host."""

INFORMATIONAL = (102, 103, 100)
EVIL_NAMES = {
    "traversal": "../../x",
    "absolute": "/etc/passwd",
    "backslash": "..\\..\\x.glb",
    "drive": "C:\\Windows\\x.glb",
    "device": "CON.glb",
    "control": "mo\x00del\x1b[2J\n.glb",
    "bidi": "model\u202eblg.exe",
    "empty": "",
    "dots": "..",
    "hidden": ".bashrc",
    "dash": "-rf.glb",
    "long": "m" * 5000 + ".glb",
    "receipt": "job.toml",
}


class Dropped(Response):
    """No answer: what was sent so far is sent, then the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Close the connection and wait until it is gone, so that the server adds nothing."""
        scope["state"]["close"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class Cut(Dropped):
    """An answer whose Content-Length promises all of its body, of which only the first half comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and half of the body, then drop the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await super().__call__(scope, receive, send)


def expired_link() -> Response:
    """Answer as a file host does when a link is no longer good."""
    return Response(EXPIRED, 403, media_type="application/xml")


async def drain(request: Request) -> None:
    """Read the request to its end, so that the client gets to read an answer given without it."""
    try:
        async for _ in request.stream():
            pass
    except ClientDisconnect:
        pass


async def drop(_call: EmulatedCall) -> Response:
    """Close the connection without an answer."""
    return Dropped()


async def cut(call: EmulatedCall) -> Response:
    """Promise the whole body, send half."""
    return Cut(call.answer.body, call.answer.status_code, media_type=call.answer.media_type)


async def truncated(call: EmulatedCall) -> Response:
    """Send half of the body as if it were all."""
    body = bytes(call.answer.body)
    return Response(body[: len(body) // 2], call.answer.status_code, media_type=call.answer.media_type)


async def emptied(call: EmulatedCall) -> Response:
    """Send no body."""
    return Response(b"", call.answer.status_code)


async def html(call: EmulatedCall) -> Response:
    """Send a page instead of the answer, under the answer's own status."""
    return HTMLResponse(PAGE.format("Please wait"), call.answer.status_code)


async def late(call: EmulatedCall) -> Response:
    """Send the answer VALUE seconds later, or never when the client has gone by then."""
    try:
        await asyncio.wait_for(_gone(call.request), float(call.value))
    except TimeoutError:
        return call.answer
    return Dropped()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def error_in_success(call: EmulatedCall) -> Response:
    """Say the error code VALUE under HTTP 201."""
    return JSONResponse({"error": call.value, "message": f"{call.value}: something went wrong."}, 201)


async def too_many(call: EmulatedCall) -> Response:
    """Answer HTTP 429, with Retry-After when there is a VALUE."""
    headers = {"Retry-After": call.value} if call.value else {}
    return JSONResponse({"error": "TOO_MANY_REQUESTS", "message": "Too many requests."}, 429, headers)


async def expired(_call: EmulatedCall) -> Response:
    """Say that the link has expired."""
    return expired_link()


def refused(status: int, code: str, message: str) -> Effect:
    """Give the effect that answers with this error."""

    async def effect(_call: EmulatedCall) -> Response:
        return EmulatedRefusal(status, code, message).answer()

    return effect


def outage(status: int, reason: str) -> Effect:
    """Give the effect that answers with a proxy's HTML page."""

    async def effect(_call: EmulatedCall) -> Response:
        return HTMLResponse(PAGE.format(f"{status} {reason}"), status)

    return effect


def charged(status: int, reason: str) -> Effect:
    """Give the effect that answers with this status: an HTML page, or a JSON error whose code is VALUE."""

    async def effect(call: EmulatedCall) -> Response:
        headers = {"Location": moved(call)} if 300 <= status < 400 else {}
        if call.value:
            return JSONResponse({"error": call.value, "message": f"{call.value}: {reason}."}, status, headers)
        return HTMLResponse(PAGE.format(f"{status} {reason}"), status, headers)

    return effect


async def charged_late(call: EmulatedCall) -> Response:
    """Close the connection, or answer with the status in VALUE (`SECONDS:STATUS`)."""
    status = call.value.partition(":")[2]
    return HTMLResponse(PAGE.format(status), int(status)) if status else Dropped()


async def redirected(call: EmulatedCall) -> Response:
    """Say with the status VALUE that the call belongs to another host."""
    return HTMLResponse(PAGE.format("Moved"), int(call.value), {"Location": moved(call)})


def moved(call: EmulatedCall) -> str:
    """Return where a redirected call belongs."""
    query = f"?{call.request.url.query}" if call.request.url.query else ""
    return f"{call.elsewhere}{MOVED}{call.request.url.path}{query}"


async def interim(call: EmulatedCall) -> Response:
    """Send VALUE informational answers (102, 103, 100 in turn) before the real one."""
    for number in range(int(call.value)):
        call.request.scope["state"]["inform"](INFORMATIONAL[number % len(INFORMATIONAL)])
    return call.answer


async def repeated_uuid(call: EmulatedCall) -> Response:
    """Answer with the uuid of an earlier task, when there is one."""
    repeat = edited(lambda reply, _: reply | {"uuid": call.earlier_task} if call.earlier_task else reply)
    return await repeat(call)


def edited(edit: Callable[[JsonObject, str], JsonObject]) -> Effect:
    """Give the effect that changes the JSON of a successful answer; `edit` takes it and the fault's VALUE."""

    async def effect(call: EmulatedCall) -> Response:
        if not isinstance(call.answer, JSONResponse) or call.answer.status_code >= 300:
            return call.answer
        return JSONResponse(edit(json.loads(bytes(call.answer.body)), call.value), call.answer.status_code)

    return effect


def without(key: str) -> Effect:
    """Give the effect that takes one key out of the answer."""
    return edited(lambda reply, _: {name: value for name, value in reply.items() if name != key})


def with_empty(key: str) -> Effect:
    """Give the effect that makes one list of the answer empty."""
    return edited(lambda reply, _: reply | {key: []})


def unknown_status(reply: JsonObject, word: str) -> JsonObject:
    """Give every job the status VALUE."""
    return reply | {"jobs": [job | {"status": word} for job in reply["jobs"]]}


def partial_list(reply: JsonObject, _value: str) -> JsonObject:
    """Keep only the last entry, `preview.webp`."""
    return reply | {"list": reply["list"][-1:]}


def evil_names(reply: JsonObject, _value: str) -> JsonObject:
    """Add the first file once more under each evil name."""
    first = reply["list"][:1]
    return reply | {"list": reply["list"] + [entry | {"name": name} for entry in first for name in EVIL_NAMES.values()]}


def evil_name(reply: JsonObject, kind: str) -> JsonObject:
    """Give the first file the evil name of this kind."""
    first = [entry | {"name": EVIL_NAMES[kind]} for entry in reply["list"][:1]]
    return reply | {"list": first + reply["list"][1:]}


def sub_folders(reply: JsonObject, folder: str) -> JsonObject:
    """Name all files by paths in this folder; where the links lead does not change."""
    return reply | {"list": [entry | {"name": f"{folder}/{entry['name']}"} for entry in reply["list"]]}


def same_names(reply: JsonObject, _value: str) -> JsonObject:
    """Give all files the name of the first."""
    return reply | {"list": [entry | {"name": reply["list"][0]["name"]} for entry in reply["list"]]}
