"""Requests as the emulator reads them, whole or not at all: the key, JSON, form fields, multipart (RFC 7578); and how it refuses them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request


# ---- The one way in which the emulator says no -----------------------------------------------------------------------


class EmulatedRefusal(Exception):  # noqa: N818 - an answer of the API, not a fault of the program
    """A call is refused: HTTP status, error code and message as in the API contract, Errors."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> JSONResponse:
        """Give it as the API does."""
        return JSONResponse({"error": self.code, "message": self.message}, status_code=self.status)


def invalid(message: str, status: int = 400) -> EmulatedRefusal:
    """Give the refusal of a request that is wrong in itself."""
    return EmulatedRefusal(status, "INVALID_REQUEST", message)


def unauthorized() -> EmulatedRefusal:
    """Give the refusal of a missing or unknown API key."""
    return EmulatedRefusal(401, "PERMISSION_DENIED", "The API key is missing or not accepted.")


def check_key(request: Request, api_keys: tuple[str, ...]) -> str:
    """Give the Bearer key of the call. Raises EmulatedRefusal (401) when it is none of those accepted."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() not in api_keys:
        raise unauthorized()
    return key.strip()


# ---- Requests: multipart forms, JSON bodies, and their limits -------------------------------------------------------


BODY_LIMIT = 64_000_000
"""Bytes of a request body that are taken at most; more is read and thrown away, so that the client sees the answer."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body. A part with a file name is a file; one without is text."""

    name: str
    file_name: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of a body. A text part that has a file name is a file, so its text is not seen (API contract)."""

    parts: tuple[Part, ...]

    def files(self, name: str) -> tuple[bytes, ...]:
        """Give the content of all files of that name."""
        return tuple(part.data for part in self.parts if part.name == name and part.file_name is not None)

    def listed(self, name: str) -> tuple[str, ...]:
        """Give the text parts of one name, in their order: an option that is a list of words has one for each."""
        return tuple(
            part.data.decode(errors="replace") for part in self.parts if part.name == name and part.file_name is None
        )

    def texts(self) -> dict[str, str]:
        """Give the text parts; of several with one name the last."""
        return {part.name: part.data.decode(errors="replace") for part in self.parts if part.file_name is None}


async def read_body(request: Request) -> bytes:
    """Read the body to its end.

    Raises EmulatedRefusal when it is larger than BODY_LIMIT, and starlette's ClientDisconnect when the connection ends before
    the body does: a cut upload is never taken for a request.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT:
            chunks.append(chunk)
    if size > BODY_LIMIT:
        raise invalid(f"the request is larger than {BODY_LIMIT:,} bytes", status=413)
    return b"".join(chunks)


def parse_multipart(body: bytes, content_type: str) -> Form:
    """Take a multipart body apart. Raises EmulatedRefusal when it is none, or its closing boundary is missing."""
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
        raise invalid("the request is no multipart/form-data", status=415)
    collected = _Collector()
    try:
        MultipartParser(parameters[b"boundary"], collected.callbacks()).write(body)
    except FormParserError as error:
        raise invalid("the multipart body cannot be read") from error
    if not collected.closed:
        raise invalid("the multipart body ends before its closing boundary")
    return Form(tuple(collected.parts))


def parse_fields(body: bytes, content_type: str) -> dict[str, str]:
    """Read the few words of a status or download call, sent as JSON, as form fields or as multipart.

    Raises EmulatedRefusal when the body is none of them.
    """
    kind, _ = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        return parse_multipart(body, content_type).texts()
    if kind == b"application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode(errors="replace")))
    return _json_fields(body)


def _json_fields(body: bytes) -> dict[str, str]:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise invalid("the body is neither JSON nor a form") from error
    if not isinstance(fields, dict):
        raise invalid("the body is no JSON object")
    return {key: value for key, value in fields.items() if isinstance(value, str)}


class _Collector:
    """Gathers the parts of one multipart body from the parser's callbacks."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.closed = False
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._data: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._close,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, []

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        file_name = options.get(b"filename")
        self.parts.append(
            Part(
                options.get(b"name", b"").decode(errors="replace"),
                None if file_name is None else file_name.decode(errors="replace"),
                b"".join(self._data),
            )
        )

    def _close(self) -> None:
        self.closed = True
