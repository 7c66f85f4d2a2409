"""The one way in which the emulator says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.requests import Request


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
