"""The Rodin API and its file host, over `requests`."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from requests.models import PreparedRequest

from rodin_watchd import __version__
from rodin_watchd.adapters.rodin_client import transfer
from rodin_watchd.adapters.rodin_client.upload import Upload, UploadBody
from rodin_watchd.core import wire
from rodin_watchd.core.formats import is_proven
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.names import split_name
from rodin_watchd.core.wire import is_loopback, plain, redacted, retry_after_seconds, usable_url, without_query
from rodin_watchd.errors import ConfigError, DownloadError, NetworkError, OutcomeUnknownError, VendorAnswerError
from rodin_watchd.model import Answer, Link

__all__ = ["RodinClient", "Route", "Timeouts", "Upload"]

# ---- The calls to the Rodin API and to its file host (API contract, all sections), over `requests` ------------------


STATUS_PATH: Final = "/api/v2/status"
LINKS_PATH: Final = "/api/v2/download"
BALANCE_PATH: Final = "/api/v2/check_balance"

NO_ANSWER: Final = "none"
"""What a call is counted as that got no answer; one that did is counted by its HTTP status."""

log = logging.getLogger("rodin_watchd")

_CALLS: Final = {
    **{kind.path: "submit" for kind in KINDS.values()},
    STATUS_PATH: "status",
    LINKS_PATH: "links",
    BALANCE_PATH: "balance",
}
_KEY = re.compile(r"[!-~]+")
_REDIRECTS = 3
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({403, 404, 410})
_WHOLE = frozenset({200, 203})  # 203: a proxy has changed something about the answer
_CODINGS = frozenset(
    [
        "gzip",
        "x-gzip",
        "deflate",
        "br",
        "zstd",
        "compress",
        "x-compress",
        "pack200-gzip",
        "exi",
        "aes128gcm",
        "dcb",
        "dcz",
    ]
)  # all that are registered; another word in that place, a charset or none at all, changes no byte


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the other side may stay silent: while connecting, and while it takes a block or answers."""

    connect_seconds: float
    read_seconds: float


@dataclass(frozen=True, slots=True)
class Route:
    """How calls reach the other side: proxies by scheme (None: those of the environment), and the CA certificates (True, or the path of a bundle).

    `private_links`: whether result links may lead to addresses of this machine and of private networks; None: where the API is on
    this machine.
    """

    proxies: Mapping[str, str] | None = None
    verify: Literal[True] | str = True
    private_links: bool | None = None


USUAL_ROUTE = Route()

_PERSON = b"rodin_watchd"
"""What keeps the fingerprint of an account apart from any other hash of a key."""


class RodinClient:
    """The API under `base_url` (https, or http on this machine) with `key`; may be used by several threads at once.

    `max_calls` is the number of calls at once, and so of connections that are kept. `count` is called with each call and what came of it, in
    any thread. The `route` holds for all calls; without
    proxies in it, those of the environment at construction do. Nothing else of the environment is read: no `.netrc`, no `REQUESTS_CA_BUNDLE`. No call is
    repeated, and no redirect of the API is followed. `account` is a fingerprint of address and key: it distinguishes one account
    from another, and nothing else. Raises ConfigError for a base URL or a key that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeouts: Timeouts,
        max_calls: int,
        route: Route = USUAL_ROUTE,
        count: Callable[[str, str], None] = lambda _call, _result: None,
    ) -> None:
        if isinstance(route.verify, str) and not Path(route.verify).exists():
            raise ConfigError(f"There is no bundle of CA certificates at {route.verify}.")
        self._count = count
        self._template = _template(base_url, key)
        self._key = key
        self.account = hashlib.blake2b(f"{base_url}\n{key}".encode(), digest_size=8, person=_PERSON).hexdigest()
        self._loopback = is_loopback(urlsplit(base_url).hostname or "")
        self._private_links = self._loopback if route.private_links is None else route.private_links
        self._timeouts = timeouts
        self._proxies = transfer.Proxies(route.proxies)
        self._verify = route.verify
        self._api = self._adapter(max_calls)
        self._file_host = self._adapter(max_calls, is_public_only=not self._private_links)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # below, it logs links with their queries

    def close(self) -> None:
        """Close the connections that are kept."""
        self._api.close()
        self._file_host.close()

    # ---- the API ----------------------------------------------------------------------------------------------------

    def submit(
        self,
        path: str,
        uploads: Sequence[Upload],
        fields: Sequence[tuple[str, str]],
        before_closing: Callable[[], None],
    ) -> Answer:
        """Send a set to the path of its kind of job and return the answer, for `read_submit`. **Costs credits** (API contract).

        `before_closing` is called when all but the closing boundary line has arrived at the other system (where this one
        reports it: on Linux); when it raises, the connection is dropped, the error passes, and nothing was submitted. It is
        not called when the server answers before that: the answer is returned, and may have been charged like any other.

        May be repeated after NetworkError, DiskError, ChangedWhileTakenError and what `before_closing` raised: nothing was
        submitted. Never on its own after OutcomeUnknownError (the closing line has left, or an answer has begun, and what it
        says is not known), or when the process dies after `before_closing` has returned. An answer whose body was cut is returned as far as it came: a JSON object that was
        cut cannot be read as one, and one that can be read is as good as whole.
        """
        with closing(self._adapter(1)) as fresh, UploadBody(uploads, fields, before_closing) as body:
            return self._submitted(fresh, path, body)

    def _submitted(self, fresh: transfer.PacedAdapter, path: str, body: UploadBody) -> Answer:
        request = self._request("POST", path, body, body.content_type)
        request.headers["Connection"] = "close"
        try:
            with closing(self._sent(fresh, request)) as response:
                return self._answer(response, transfer.bounded_body(response, wire.BODY_LIMIT_BYTES)[0], {})
        except Exception as error:  # noqa: BLE001 - whatever broke, what counts is whether the closing line had left
            failure = self._submit_failure(error, body)
        raise failure  # here, where what requests said is not its context

    def _submit_failure(self, error: Exception, body: UploadBody) -> Exception:
        if transfer.was_answered(error):
            return OutcomeUnknownError(f"The vendor answered, but the answer could not be read: {transfer.why(error)}.")
        if body.closing_left:
            return OutcomeUnknownError(f"The whole set was sent, but no answer came: {transfer.why(error)}.")
        if body.failure is not None:
            return body.failure
        return self._unreachable(error) if isinstance(error, transfer.NETWORK_ERRORS) else error

    def status(self, subscription_key: str) -> wire.TaskStatus:
        """Return how far a task is; raises what `wire.read_status` raises; NetworkError without a connection. May be repeated."""
        return wire.read_status(self._call("POST", STATUS_PATH, {"subscription_key": subscription_key}))

    def links(self, task_uuid: str) -> tuple[Link, ...]:
        """Return a task's results; raises what `wire.read_links` raises; NetworkError without a connection. May be repeated.

        Links to this machine are taken only from an API on this machine.
        """
        return wire.read_links(self._call("POST", LINKS_PATH, {"task_uuid": task_uuid}), loopback=self._loopback)

    def balance(self) -> Decimal:
        """Return the account's credits; raises what `wire.read_balance` raises, and NetworkError. May be repeated."""
        return wire.read_balance(self._call("GET", BALANCE_PATH, None))

    def _call(self, method: str, path: str, question: Mapping[str, str] | None) -> Answer:
        body = None if question is None else json.dumps(question).encode()
        request = self._request(method, path, body, "application/json")
        try:
            response = self._sent(self._api, request)
        except transfer.NETWORK_ERRORS as error:
            if transfer.never_connected(error):
                raise self._unreachable(error) from None
            raise VendorAnswerError(f"The vendor did not answer: {transfer.why(error)}.") from None
        with closing(response):
            limit_bytes = wire.LIST_LIMIT_BYTES if path == LINKS_PATH else wire.BODY_LIMIT_BYTES
            content, whole = transfer.bounded_body(response, limit_bytes)
            if not whole:
                raise VendorAnswerError("The vendor's answer is incomplete.")
            return self._answer(response, content, question or {})

    def _request(self, method: str, path: str, body: UploadBody | bytes | None, content_type: str) -> PreparedRequest:
        """Return a request made from the prepared one: a tenth of the cost of preparing each."""
        request = self._template.copy()
        request.method = method
        request.url = f"{(request.url or '').rstrip('/')}{path}"
        if body is not None:
            request.prepare_body(body, None)
            request.headers["Content-Type"] = content_type
        return request

    def _answer(self, response: requests.Response, body: bytes, asked: Mapping[str, str]) -> Answer:
        """Return the answer; the key, and the token that was asked about, are redacted in it."""
        secrets = {self._key: "[API key]", asked.get("subscription_key", ""): "[subscription key]"}
        wait = retry_after_seconds(response.headers.get("Retry-After"), time.time())
        return Answer(status=response.status_code, body=redacted(body, secrets), retry_after_seconds=wait)

    # ---- the file host ----------------------------------------------------------------------------------------------

    def fetch(self, link: Link, destination: Path, limit_bytes: int) -> tuple[int, str]:
        """Download a result to `destination`; return its size in bytes and its SHA-256 (hex). May be repeated.

        Raises DownloadError when it does not come whole: cut, empty, above `limit_bytes`, of unknown length and a format that does
        not show its end (a cut could not be noticed), refused, on a host of a private network, its host out of reach (one dead file host is no reason to stop all calls), or its link
        expired; DiskError when it cannot be written. Nothing new is then left at `destination`. The API key does not travel.
        """
        with closing(self._file(link)) as response:
            _check_head(response, link, limit_bytes)
            has_length = response.raw.length_remaining is not None or response.raw.chunked
            check = partial(_check_end, link, split_name(destination.name)[1])
            return transfer.save(response, destination, limit_bytes, _no_check if has_length else check)

    def _file(self, link: Link) -> requests.Response:
        url = link.url
        for _ in range(1 + _REDIRECTS):
            if not usable_url(url, loopback=self._loopback):
                raise DownloadError(f"{_called(link)} leads to an address that is not https: {without_query(url)}.")
            if not self._private_links and transfer.is_private_address(urlsplit(url).hostname or ""):
                raise transfer.private_host(urlsplit(url).hostname or "")
            response = self._file_response(url)
            if response.status_code not in _REDIRECT_STATUSES:
                return response
            response.close()
            url = _next(url, response)
        raise DownloadError(f"{_called(link)} is redirected more than {_REDIRECTS} times.")

    def _file_response(self, url: str) -> requests.Response:
        headers = {"User-Agent": _agent(), "Accept-Encoding": "identity"}
        try:
            return self._sent(self._file_host, requests.Request("GET", url, headers=headers).prepare())
        except transfer.NETWORK_ERRORS as error:
            raise DownloadError(f"{without_query(url)} could not be downloaded: {transfer.why(error)}.") from None

    # ---- both -------------------------------------------------------------------------------------------------------

    def _adapter(self, pool_size: int, *, is_public_only: bool = False) -> transfer.PacedAdapter:
        bundle = self._verify if isinstance(self._verify, str) else DEFAULT_CA_BUNDLE_PATH
        seconds = self._timeouts.read_seconds
        return transfer.PacedAdapter(
            pool_size=pool_size, send_seconds=seconds, bundle=bundle, is_public_only=is_public_only
        )

    def _sent(self, adapter: transfer.PacedAdapter, request: PreparedRequest) -> requests.Response:
        timeouts = (self._timeouts.connect_seconds, self._timeouts.read_seconds)
        proxies = self._proxies.to(request.url or "")
        call = "file" if adapter is self._file_host else _counted_as(request.url or "")
        try:
            response = adapter.send(request, stream=True, timeout=timeouts, verify=self._verify, proxies=proxies)
        except BaseException:
            self._count(call, NO_ANSWER)
            raise
        self._count(call, str(response.status_code))
        values = (request.method, without_query(request.url or ""), response.status_code)
        log.debug("call: %s %s: HTTP %d", *values, extra={"action": "call"})
        return response

    def _unreachable(self, error: BaseException) -> NetworkError:
        return NetworkError(f"{without_query(self._template.url or '')} cannot be reached: {transfer.why(error)}.")


def _counted_as(url: str) -> str:
    """Return what a call of the API is counted as."""
    path = urlsplit(url).path
    return next(name for end, name in _CALLS.items() if path.endswith(end))


def _agent() -> str:
    return f"rodin-watchd/{__version__}"


def _template(base_url: str, key: str) -> PreparedRequest:
    """Return what all calls to the API have in common; raises ConfigError, without the key in its text."""
    if not _KEY.fullmatch(key):
        raise ConfigError("The API key must be one word of plain ASCII characters: no spaces, no line breaks.")
    parts = urlsplit(base_url) if usable_url(base_url, loopback=True) else None
    if parts is None or parts.query or parts.fragment:
        raise ConfigError("`api.base_url` must be an https address (http on this machine only) without user and query.")
    headers = {"Authorization": f"Bearer {key}", "User-Agent": _agent(), "Accept-Encoding": "identity"}
    try:
        return requests.Request("GET", base_url.rstrip("/"), headers=headers).prepare()
    except requests.RequestException:
        raise ConfigError(f"`api.base_url` cannot be used: {without_query(base_url)}.") from None


def _called(link: Link) -> str:
    return f'The link to the result "{plain(link.name, 120)}"'


def _next(url: str, response: requests.Response) -> str:
    """Return where a redirect leads, "" for nowhere; the address is as hostile as any word of a server."""
    try:
        return urljoin(url, response.headers.get("Location", ""))
    except ValueError:
        return ""


def _check_head(response: requests.Response, link: Link, limit_bytes: int) -> None:
    if response.status_code in _GONE:
        raise DownloadError(f"{_called(link)} has expired (HTTP {response.status_code}).")
    if response.status_code not in _WHOLE:
        wait = retry_after_seconds(response.headers.get("Retry-After"), time.time())
        message = f"{_called(link)} was answered with HTTP {response.status_code}."
        raise DownloadError(message, retry_after_seconds=wait)
    if not _CODINGS.isdisjoint(re.split(r"[\s,]+", response.headers.get("Content-Encoding", "").lower())):
        raise DownloadError(f"{_called(link)} was answered in an encoding that was not asked for.")
    length = response.raw.length_remaining
    if length == 0:
        raise DownloadError(f"{_called(link)} was answered with nothing.")
    if length is not None and length > limit_bytes:
        raise transfer.too_large(limit_bytes)


def _no_check(_path: Path, _size: int) -> None:
    pass


def _check_end(link: Link, extension: str, path: Path, size: int) -> None:
    """Raise DownloadError for what came without a length and is not whole by its own content."""
    with path.open("rb") as stream:
        if not is_proven(extension, stream, size):
            why = "was answered with no length, and its content does not show that it is whole"
            raise DownloadError(f"{_called(link)} {why}.")
