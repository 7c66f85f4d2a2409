"""What a browser or a program sends: forms and JSON, read within a limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

MOST_BYTES: Final = 65_536
_MOST_FIELDS: Final = 100
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"


async def fields_of(request: Request) -> Mapping[str, Any]:
    """Return what a form or a JSON object holds. Raises HTTPException for anything else, and for too much."""
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BYTES:
            raise HTTPException(413, "This is more than a form can hold.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _JSON:
            return _object(json.loads(data or b"{}"))
        if kind == _FORM or not data:
            return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except (ValueError, RecursionError):
        raise HTTPException(400, "This cannot be read.") from None
    raise HTTPException(415, "This must be JSON, or a form.")


def _object(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise HTTPException(400, "This must be a JSON object.")
    return data
