"""What all of the page's parts share: the configuration, the store, the words, and one place that makes endpoints."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from rodin_watchd.adapters.spool.beneath import Anchor
from rodin_watchd.adapters.spool.mounts import Mounts
from rodin_watchd.adapters.thumbnails import Thumbnails
from rodin_watchd.client.data import number
from rodin_watchd.client.journal import place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.store import StoreReader
from rodin_watchd.model import Job
from rodin_watchd.service.mounts import inbox_anchor
from rodin_watchd.web.access import CSRF_HEADER, local_target, visitor_of
from rodin_watchd.web.forms import fields_of
from rodin_watchd.web.words import Words, language_of

Fields: TypeAlias = Mapping[str, Any]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Website:
    """What answers are made of. Any thread."""

    config: Config
    zone: tzinfo
    words: Mapping[str, Words]  # by language
    thumbnails: Thumbnails

    def words_for(self, request: Request) -> Words:
        """Return the words in the language that a browser asks for."""
        return self.words[language_of(request.headers.get("accept-language", ""))]

    @contextlib.contextmanager
    def journal(self) -> Iterator[StoreReader]:
        """Give the store, opened for this look alone. Raises JournalError."""
        with reader(self.config) as journal:
            yield journal

    def inbox(self) -> Anchor:
        """Return where a path into the inbox starts; its folders are checked as the service checks them. Raises JournalError."""
        with self.journal() as journal:
            return inbox_anchor(Mounts(self.config.folders.root), journal, place_of(self.config))

    def job(self, journal: StoreReader, request: Request) -> Job:
        """Return the job that an address names. Raises HTTPException where there is none."""
        job = journal.job(request.path_params["job_id"])
        if job is None:
            raise HTTPException(404, "There is no set of this number.")
        return job

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - what it shows
        """Return a whole page for a visitor."""
        shown = {"visitor": visitor_of(request), "path": request.url.path, **values}
        words = self.words_for(request)
        text = words.page(template, **shown).encode("utf-8", "backslashreplace")  # names that are not UTF-8
        return HTMLResponse(text, status, {"Content-Language": words.language, "Vary": "Accept-Language, Cookie"})

    def once_more(self, request: Request, status: int, target: str, given: Mapping[str, str]) -> Response:
        """Return a page with a form whose session had ended, for the person to send again."""
        return self.page(request, "again.html", status, target=local_target(target), given=given, message=EXPIRED)


def acting(act: Callable[[Request, Fields], Response]) -> Endpoint:
    """Return the endpoint of something that changes something: for those who may, with the token of their session, in a thread.

    The endpoint raises HTTPException for all others.
    """

    async def endpoint(request: Request) -> Response:
        refuse_lookers(request)
        given = await fields_of(request)
        refuse_expired(request, given)
        return await run_in_threadpool(act, request, given)

    return endpoint


def refuse_lookers(request: Request) -> None:
    """Raise HTTPException for whoever may change nothing: before anything that was sent is read."""
    if not visitor_of(request).may_act:
        raise HTTPException(403, "You may look, and change nothing.")


def refuse_expired(request: Request, given: Fields) -> None:
    """Raise ExpiredFormError for a request without the token of its session, in a header or in what is given."""
    visitor = visitor_of(request)
    token = request.headers.get(CSRF_HEADER) or str(given.get("csrf", ""))
    if not visitor.by_token and not hmac.compare_digest(token.encode(), visitor.csrf.encode()):
        raise ExpiredFormError(given)


EXPIRED: Final = "This page was open for too long, or the service has started again: please send it once more."


class ExpiredFormError(HTTPException):
    """A form of a session that has ended: what it holds is kept, for the person to send again."""

    def __init__(self, given: Fields) -> None:
        super().__init__(403, EXPIRED)
        self.given = {name: str(value) for name, value in given.items() if name != "csrf"}


class DataResponse(Response):
    """JSON; names that are not UTF-8 come as lone surrogates, escaped (PEP 383)."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
        """Return the text."""
        return json.dumps(content, ensure_ascii=True, separators=(",", ":"), default=number).encode()
