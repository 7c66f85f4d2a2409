"""Uploads: files come into a drop in pieces that survive a broken connection (tus 1.0.0), or all at once as a plain form.

The protocol is small: an upload is announced with its length, its bytes come by PATCH requests that say where they begin, and HEAD
returns how far it is. There is no kept-up server library for it that needs no other framework, so the server's side is here; the
browser's side is tus-js-client. What the bytes become is in `drops`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote

import tomli_w
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rodin_watchd.client.data import money_report
from rodin_watchd.core.kinds import DEFAULT, KINDS
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import split_name
from rodin_watchd.core.options import declared, plain_schema
from rodin_watchd.core.toml_text import parse
from rodin_watchd.errors import DropError, DropTooLargeError, DropUnknownError
from rodin_watchd.model import Role
from rodin_watchd.web.api import ROOT, Operation
from rodin_watchd.web.data import MOST_FOLDERS
from rodin_watchd.web.drops import (
    MOST_DROP_BYTES,
    MOST_FILES,
    Drops,
    Preview,
    PreviewSet,
)
from rodin_watchd.web.files import INPUTS, files_of, opened
from rodin_watchd.web.forms import read_whole
from rodin_watchd.web.site import DataResponse, Fields, Website, acting, refuse_expired, refuse_lookers

DROPS: Final = f"{ROOT}/drops"
TUS: Final = "1.0.0"
_PIECE: Final = "application/offset+octet-stream"
_BLOCK_BYTES: Final = 1 << 20
_TUS_HEADERS: Final = {
    "Tus-Resumable": TUS,
    "Tus-Version": TUS,
    "Tus-Extension": "creation,termination",
    "Tus-Max-Size": str(MOST_DROP_BYTES),
}


@dataclass(frozen=True, slots=True)
class Uploads:
    """Answers about drops: to a script by the API, to a person by pages and plain forms. Any thread."""

    site: Website
    drops: Drops

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the pages; those of the API are made of `operations`."""
        return [
            Route("/drop", self.page_to_begin, methods=["GET"]),
            Route("/drop", self.begin_by_form, methods=["POST"]),
            Route("/drops/{drop_id}", self.page, methods=["GET"]),
            Route("/drops/{drop_id}/files", self.add_by_form, methods=["POST"]),
            *(
                Route(f"/drops/{{drop_id}}/{verb}", acting(act), methods=["POST"])
                for verb, act in (
                    ("options", self.set_options),
                    ("remove", self.remove),
                    ("move", self.move),
                    ("send", self.send),
                    ("discard", self.discard),
                )
            ),
            Route("/sets/{job_id}/again", acting(self.again), methods=["POST"]),
        ]

    def operations(self) -> Sequence[Operation]:
        """Return what the API can be asked about drops."""
        one, files = "/drops/{drop_id}", "/drops/{drop_id}/uploads"
        upload = f"{files}/{{upload_id}}"
        return (
            Operation("POST", "/drops", "Begin a drop: files that are to become a folder of the inbox.", acting(self.create), body=_NEW_DROP),
            Operation("GET", one, "The sets that the files of a drop make, their price, and what is wrong.", self.show),
            Operation("DELETE", one, "Remove a drop.", acting(self.delete)),
            Operation("POST", f"{one}/send", "Put a drop into the inbox, at the price that was seen.", acting(self.send_for_script), body=_SEEN_PRICE),
            Operation("POST", files, "Announce a file (tus 1.0.0, creation).", self.announce),
            Operation("HEAD", upload, "How far a file is (tus 1.0.0).", self.how_far),
            Operation("PATCH", upload, "The next bytes of a file (tus 1.0.0).", self.patch),
            Operation("DELETE", upload, "Give a file up (tus 1.0.0, termination).", self.forget),
        )  # fmt: skip

    # ---- tus --------------------------------------------------------------------------------------------------------

    async def announce(self, request: Request) -> Response:
        """Begin an upload (creation): `Upload-Length`, and the file's path in `Upload-Metadata` as `path`."""
        refuse_lookers(request)
        refuse_expired(request, {})
        path = _metadata(request.headers.get("upload-metadata", "")).get("path", "")
        length = _number(request.headers.get("upload-length"))
        upload = await run_in_threadpool(self.drops.begin, request.path_params["drop_id"], path, length)
        where = f"{DROPS}/{request.path_params['drop_id']}/uploads/{upload.id}"
        return Response(None, 201, {"Location": where, "Upload-Offset": "0", **_TUS_HEADERS})

    async def how_far(self, request: Request) -> Response:
        """Return how far an upload is."""
        upload = await run_in_threadpool(self.drops.upload, *_upload_of(request))
        headers = {
            "Upload-Offset": str(upload.offset),
            "Upload-Length": str(upload.length),
            "Cache-Control": "no-store",
        }
        return Response(None, 200, {**headers, **_TUS_HEADERS})

    async def patch(self, request: Request) -> Response:
        """Take the next bytes of an upload; those that came before a connection broke off stay."""
        refuse_lookers(request)
        refuse_expired(request, {})
        if request.headers.get("content-type") != _PIECE:
            raise HTTPException(415, "The bytes of a file must come as application/offset+octet-stream.")
        stack = contextlib.ExitStack()
        writing = self.drops.receive(*_upload_of(request), _number(request.headers.get("upload-offset")))
        receiver = await run_in_threadpool(stack.enter_context, writing)
        try:
            block = bytearray()
            with contextlib.suppress(ClientDisconnect):
                async for piece in request.stream():
                    block += piece
                    if len(block) >= _BLOCK_BYTES:
                        await run_in_threadpool(receiver.write, bytes(block))
                        block.clear()
            await run_in_threadpool(receiver.write, bytes(block))
        finally:
            await run_in_threadpool(stack.close)  # it waits for the disk, and for others who work with the drop
        return Response(None, 204, {"Upload-Offset": str(receiver.offset), **_TUS_HEADERS})

    async def forget(self, request: Request) -> Response:
        """Give an upload up (termination)."""
        refuse_lookers(request)
        refuse_expired(request, {})
        await run_in_threadpool(self.drops.forget, *_upload_of(request))
        return Response(None, 204, _TUS_HEADERS)

    # ---- the API ----------------------------------------------------------------------------------------------------

    def create(self, _request: Request, given: Fields) -> Response:
        """Begin a drop."""
        drop_id = self.drops.create(str(given.get("name", "")), str(given.get("folder", "")))
        return DataResponse({"id": drop_id, "uploads": f"{DROPS}/{drop_id}/uploads"}, 201)

    async def show(self, request: Request) -> Response:
        """Show what a drop comes to."""
        return await run_in_threadpool(self._show, request)

    def _show(self, request: Request) -> Response:
        shown = self.drops.preview(request.path_params["drop_id"])
        prices = self._prices(shown)
        data = {
            "id": shown.id,
            "name": shown.name,
            "folder": shown.folder,
            "sets": [_set_data(one, price) for one, price in zip(shown.sets, prices, strict=True)],
            "ignored": dict(shown.ignored),
            "files": dict(shown.files),
            "uploads": [{"path": one.path, "offset": one.offset, "length": one.length} for one in shown.uploads],
            "credits": _total(prices),
        }
        return DataResponse(data)

    def delete(self, request: Request, _given: Fields) -> Response:
        """Remove a drop."""
        self.drops.discard(request.path_params["drop_id"])
        return Response(None, 204)

    def send_for_script(self, request: Request, given: Fields) -> Response:
        """Put a drop into the inbox."""
        return DataResponse({"place": f"{INBOX}/{self._sent(request, given)}"}, 200)

    # ---- pages ------------------------------------------------------------------------------------------------------

    def page_to_begin(self, request: Request) -> Response:
        """Show where to drop files."""
        folder = request.query_params.get("folder", "")
        return self.site.page(request, "drop.html", shown=None, folder=folder, folders=self._folders(), refused="")

    async def begin_by_form(self, request: Request) -> Response:
        """Take all files of a plain form at once."""
        async with _form_of(request) as form:
            files = _files_in(form)
            name = str(form.get("name", "")) or (split_name(files[0].filename or "")[0] if files else "")
            drop_id = await run_in_threadpool(self.drops.create, name, str(form.get("folder", "")))
            return await self._added(request, drop_id, files)

    async def add_by_form(self, request: Request) -> Response:
        """Add files of a plain form to a drop."""
        async with _form_of(request) as form:
            return await self._added(request, request.path_params["drop_id"], _files_in(form))

    async def _added(self, request: Request, drop_id: str, files: list[UploadFile]) -> Response:
        for file in files:
            try:
                await run_in_threadpool(self._copied, drop_id, file)
            except DropError as error:
                return await run_in_threadpool(
                    self._page, request, drop_id, f"{error.message} {error.advice_in_full}", 400
                )
        return RedirectResponse(f"/drops/{drop_id}", 303)

    def _copied(self, drop_id: str, file: UploadFile) -> None:
        upload = self.drops.begin(drop_id, (file.filename or "").replace("\\", "/"), file.size or 0)
        if upload.length:
            with self.drops.receive(drop_id, upload.id, 0) as receiver:
                while block := file.file.read(_BLOCK_BYTES):
                    receiver.write(block)

    def page(self, request: Request) -> Response:
        """Show a drop: its files, the sets that they make, and what it costs."""
        return self._page(request, request.path_params["drop_id"])

    def _page(self, request: Request, drop_id: str, refused: str = "", status: int = 200) -> Response:
        shown = self.drops.preview(drop_id)
        prices = self._prices(shown)
        return self.site.page(
            request,
            "drop.html",
            status,
            shown=shown,
            sets=[self._set_for_page(shown, one, price) for one, price in zip(shown.sets, prices, strict=True)],
            total=_total(prices),
            is_sendable=bool(shown.files) and not shown.uploads,
            folder=shown.folder,
            folders=self._folders(),
            refused=refused,
            **self._money(),
        )

    def _money(self) -> Mapping[str, Any]:
        """Return what is left of today's budget and what the balance was, None for what is not known or not limited."""
        with self.site.journal() as journal:
            money = money_report(self.site.config, journal, time.time(), self.site.zone)
        left = None if money.per_day is None else max(money.per_day - money.spent, Decimal(0))
        return {"budget_left": left, "balance": money.balance.credits if money.balance else None}

    def _set_for_page(self, shown: Preview, one: PreviewSet, price: Decimal | None) -> Mapping[str, Any]:
        toml = toml_of(one)
        said = parse(self.drops.read(shown.id, toml), toml).values
        return {
            "set": one,
            "price": price,
            "toml": toml,
            "fields": fields_for(one.kind, said),
            "again": bool(said.get("again")),
        }

    def _folders(self) -> list[str]:
        with self.site.journal() as journal:
            return [folder for folder in journal.top_folders(MOST_FOLDERS) if folder]

    def _prices(self, shown: Preview) -> list[Decimal | None]:
        """Return what each set of a drop costs, in credits; None: nothing is bought as it is."""
        with self.site.journal() as journal:
            return [sum(map(journal.price, one.articles), Decimal(0)) if one.articles else None for one in shown.sets]

    # ---- forms ------------------------------------------------------------------------------------------------------

    def set_options(self, request: Request, given: Fields) -> Response:
        """Write the TOML file of one set of a drop, of the fields of a form; what else it says stays."""
        drop_id, toml = request.path_params["drop_id"], str(given.get("toml", ""))
        kind = str(given.get("kind", ""))
        if kind not in KINDS or not toml.lower().endswith(".toml"):
            raise HTTPException(400, "There is no such kind of set, or no such file.")
        before = parse(self.drops.read(drop_id, toml), toml)
        if before.problems:
            refused = (
                f"{before.report(before.problems)} Take the file away, or drop a correct one; then choose options here."
            )
            return self._page(request, drop_id, refused, 409)
        self.drops.put(drop_id, toml, _written(options_of(kind, before.values, given)))
        return RedirectResponse(f"/drops/{drop_id}", 303)

    def remove(self, request: Request, given: Fields) -> Response:
        """Take a file out of a drop."""
        self.drops.remove(request.path_params["drop_id"], str(given.get("path", "")))
        return RedirectResponse(f"/drops/{request.path_params['drop_id']}", 303)

    def move(self, request: Request, given: Fields) -> Response:
        """Give a drop another name, or another folder of the inbox to go to."""
        self.drops.move(request.path_params["drop_id"], str(given.get("name", "")), str(given.get("folder", "")))
        return RedirectResponse(f"/drops/{request.path_params['drop_id']}", 303)

    def send(self, request: Request, given: Fields) -> Response:
        """Put a drop into the inbox, and show the list of sets; or show what is wrong."""
        try:
            place = self._sent(request, given)
        except DropUnknownError:
            raise
        except DropError as error:
            refused = f"{error.message} {error.advice_in_full}"
            return self._page(request, request.path_params["drop_id"], refused, 409)
        return RedirectResponse(f"/?sent={quote(place)}", 303)

    def _sent(self, request: Request, given: Fields) -> str:
        seen = _credits(given.get("credits"))

        def agree(shown: Preview) -> None:
            if seen != _total(self._prices(shown)):
                raise DropError(
                    "This is not what you saw: files, options or prices have changed since.",
                    advice="Look at the sets and at what they cost, then send them.",
                )

        return self.drops.send(request.path_params["drop_id"], agree)

    def discard(self, request: Request, _given: Fields) -> Response:
        """Remove a drop."""
        self.drops.discard(request.path_params["drop_id"])
        return RedirectResponse("/drop", 303)

    def again(self, request: Request, _given: Fields) -> Response:
        """Begin a drop with the files and options of a set that was taken before; nothing is sent before the person says so."""
        with self.site.journal() as journal:
            job = self.site.job(journal, request)
        drop_id = self.drops.create(job.name, job.folder)
        root = self.site.config.folders.root
        inputs = {file.name for file in job.files}
        for file in files_of(root, job):
            if file.where == INPUTS and file.name in inputs:
                with opened(root, file) as descriptor:
                    self.drops.copy(drop_id, file.name, descriptor)
        for one in self.drops.preview(drop_id).sets[:1]:
            toml = toml_of(one)
            said = parse(self.drops.read(drop_id, toml), toml).values
            kind = {} if job.kind == DEFAULT.name else {"kind": job.kind}
            self.drops.put(drop_id, toml, _written({**said, **kind, **job.options}))
        return RedirectResponse(f"/drops/{drop_id}", 303)


_NEW_DROP: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Of the folder that it becomes."},
        "folder": {"type": "string", "description": "Of the inbox, where it goes; the inbox itself without it."},
    },
}
_SEEN_PRICE: Final = {
    "type": "object",
    "required": ["credits"],
    "properties": {"credits": {"type": "number", "description": "`credits` of GET /drops/{drop_id}: what was seen."}},
}


# ---- what a set is, and its options as a form -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FormField:
    """One option of a set, as a form shows it."""

    name: str
    words: str  # what it is, in English
    kind: str  # text, long, number, whole or choice
    choices: tuple[str, ...]
    value: str


def fields_for(kind: str, said: Mapping[str, Any]) -> list[FormField]:
    """Return the fields of a form for the options of a kind, with what a TOML file says of them."""
    schema = plain_schema(KINDS[kind].options)["properties"]
    return [_field(name, schema[name], said.get(name)) for name in declared(KINDS[kind].options)]


def _field(name: str, schema: Mapping[str, Any], value: object) -> FormField:
    shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    words = str(schema.get("description", ""))
    if choices := schema.get("enum"):
        return FormField(name, words, "choice", tuple(map(str, choices)), shown)
    if schema.get("type") == "boolean":
        return FormField(name, words, "choice", ("true", "false"), shown)
    kinds = {"integer": "whole", "number": "number"}
    long = "long" if schema.get("maxLength", 0) > _LONG_TEXT else "text"
    return FormField(name, words, kinds.get(str(schema.get("type")), long), (), shown)


_LONG_TEXT: Final = 500


def options_of(kind: str, before: Mapping[str, Any], given: Fields) -> dict[str, Any]:
    """Return what a TOML file says after a form was filled in; what is no value of its type is kept as text, and refused by its words."""
    schema = plain_schema(KINDS[kind].options)["properties"]
    said = {name: value for name, value in before.items() if name not in schema and name not in ("kind", "again")}
    if kind != DEFAULT.name:
        said["kind"] = kind
    for name in declared(KINDS[kind].options):
        if text := str(given.get(name, "")).strip():
            said[name] = _value(text, str(schema[name].get("type")))
    if given.get("again"):
        said["again"] = True
    return said


def _written(said: Mapping[str, Any]) -> bytes:
    """Return a TOML file that says this. Raises DropError for characters that no TOML file can hold."""
    try:
        return tomli_w.dumps(said).encode()
    except UnicodeEncodeError:
        raise DropError("These options hold a character that is none.", advice="Write them again.") from None


def _value(text: str, kind: str) -> object:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        return text
    return text == "true" if kind == "boolean" and text in ("true", "false") else text.replace("\r\n", "\n")


def toml_of(one: PreviewSet) -> str:
    """Return the path of a set's TOML file in its drop: the one that it has, or the one that would be its own."""
    paths = dict(reversed(one.files))
    if Role.SIDECAR.value in paths:
        return paths[Role.SIDECAR.value]
    path = paths.get(Role.MODEL.value) or paths.get(Role.IMAGE.value) or "set"
    folder, _, name = path.rpartition("/")
    return f"{folder}/{split_name(name)[0]}.toml" if folder else f"{split_name(name)[0]}.toml"


def _total(prices: Iterable[Decimal | None]) -> Decimal:
    return sum((price for price in prices if price is not None), Decimal(0))


def _set_data(one: PreviewSet, price: Decimal | None) -> Mapping[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "files": [{"role": role, "path": path} for role, path in one.files],
        "ready": one.is_ready,
        "refused": one.is_refused,
        "reason": one.reason or None,
        "advice": one.advice or None,
        "jobs": len(one.articles) or None,
        "credits": price,
    }


# ---- requests -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _form_of(request: Request) -> AsyncIterator[FormData]:
    """Give a plain form with files, which are on the disk while it is open: nothing is read of strangers, and no more than a drop holds.

    Raises HTTPException, ExpiredFormError, DropTooLargeError.
    """
    refuse_lookers(request)
    if "content-length" not in request.headers:
        raise HTTPException(411, "The length of what is sent is missing.")
    if _number(request.headers["content-length"]) > MOST_DROP_BYTES:
        raise DropTooLargeError(f"This is too much at once: at most {MOST_DROP_BYTES:,} bytes are taken together.")
    with read_whole():
        form = await request.form(max_files=MOST_FILES)
    try:
        refuse_expired(request, {name: value for name, value in form.items() if isinstance(value, str)})
        yield form
    finally:
        await form.close()


def _files_in(form: FormData) -> list[UploadFile]:
    return [file for file in form.getlist("files") if isinstance(file, UploadFile) and file.filename]


def _upload_of(request: Request) -> tuple[str, str]:
    return request.path_params["drop_id"], request.path_params["upload_id"]


def _metadata(header: str) -> Mapping[str, str]:
    """Return what `Upload-Metadata` says. Raises HTTPException for what is none."""
    found = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise HTTPException(400, "Upload-Metadata cannot be read.") from None
    return found


def _credits(given: object) -> Decimal | None:
    """Return the price that a person saw; None for what is no number."""
    try:
        said = Decimal(str(given))
    except InvalidOperation:
        return None
    return said if said.is_finite() else None


def _number(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise HTTPException(400, "The length or the offset of the upload is missing.")
    return int(text)
