"""What a browser or a program sends: forms and JSON, read within a limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MOST_BYTES: Final = 65_536
_MOST_FIELDS: Final = 100
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_UNREADABLE: Final = "This cannot be read."


MOST_SECONDS: Final = 20.0
"""So long a form may take to arrive."""


@contextlib.contextmanager
def read_whole() -> Iterator[None]:
    """Raise HTTPException where the client leaves before all that it announced is here."""
    try:
        yield
    except ClientDisconnect:
        raise HTTPException(400, _UNREADABLE) from None


async def fields_of(request: Request) -> Mapping[str, Any]:
    """Return what a form or a JSON object holds. Raises HTTPException for anything else, for too much and for too slow."""
    data = b""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            with read_whole():
                async for piece in request.stream():
                    data += piece
                    if len(data) > MOST_BYTES:
                        raise HTTPException(413, "This is more than a form can hold.")
    except TimeoutError:
        raise HTTPException(408, "This came too slowly: please send it once more.") from None
    try:
        if _kind_of(request) == _JSON:
            return _object(json.loads(data or b"{}"))
        if is_form(request) or not data:
            return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except (ValueError, RecursionError):
        raise HTTPException(400, _UNREADABLE) from None
    raise HTTPException(415, "This must be JSON, or a form.")


def _kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_form(request: Request) -> bool:
    """Return whether a request carries a plain form, without files."""
    return _kind_of(request) == _FORM


def fields_in(text: str) -> Mapping[str, str]:
    """Return the fields of a form that was kept in a field of another one; none for any other text."""
    try:
        found = _object(json.loads(text))
    except (ValueError, RecursionError, HTTPException):
        return {}
    return {name: str(value) for name, value in found.items()}


def _object(data: object) -> Mapping[str, Any]:
    """Return a JSON object whose texts can be names of files: others, which are no Unicode, raise ValueError."""
    if not isinstance(data, dict):
        raise HTTPException(400, "This must be a JSON object.")
    os.fsencode(json.dumps(data, ensure_ascii=False))
    return data
