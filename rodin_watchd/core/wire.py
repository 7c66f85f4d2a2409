"""The vendor's requests and replies as data: what is sent, and what an answer means. Nothing here sends anything.

Every `read_*` takes a complete HTTP answer and either returns a value or raises the error that says who can correct it
and whether it may be repeated. Answers are hostile: their size, depth and types are checked, and what they say to people
is cleaned and bounded. An error's code outranks the HTTP status, because it is more exact (API contract, Errors).
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from rodin_watchd.core.file_kinds import IMAGE_EXTENSIONS, MODEL_EXTENSIONS
from rodin_watchd.core.kinds import JobKind
from rodin_watchd.core.names import split_name
from rodin_watchd.core.options import declared, text_of, words_of
from rodin_watchd.core.waits import LONGEST_WAIT_SECONDS
from rodin_watchd.errors import (
    KeyRefusedError,
    NetworkError,
    NoCreditsError,
    OutcomeUnknownError,
    RodinWatchdError,
    ServiceError,
    TaskLimitError,
    TaskLostError,
    ThrottledError,
    UnknownCodeError,
    VendorAnswerError,
    VendorDownError,
    VendorRefusedError,
)
from rodin_watchd.model import Answer, Link, OptionValue, Task

# ---- Text that comes with the vendor's answers: made fit for people, or judged before it is used --------------------


MESSAGE_LIMIT: Final = 300
"""The most characters of a vendor's message that are shown."""

RETRY_AFTER_LIMIT_SECONDS: Final = LONGEST_WAIT_SECONDS
"""The longest wait that one answer can ask for; after it the vendor may ask again."""

_URL_LIMIT = 8192
_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?", re.ASCII)
_MOST_CREDITS: Final = Decimal(10) ** 12
_FINEST_EXPONENT: Final = -30  # a server that adds binary fractions says 11.500000000000002


def plain(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text` on one line, without control characters, at most `limit` characters long."""
    clean = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 4]).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def described(status: int, code: str, message: object) -> str:
    """Return what an answer said, for people: `HTTP 402, INSUFFICIENT_FUND: "not enough credits"`."""
    said = f"HTTP {status}, {plain(code, 60)}" if code else f"HTTP {status}"
    return f'{said}: "{plain(message)}"' if isinstance(message, str) and message.strip() else said


def without_query(url: str) -> str:
    """Return scheme, host, port and path of `url` alone: its query, its user and its password are secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an unreadable address)"
    return plain(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def usable_url(url: str, *, loopback: bool) -> bool:
    """Return whether `url` may be called: https; or http on this machine if `loopback`. Never with a user in it."""
    if len(url) > _URL_LIMIT or not url.isprintable() or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        host_and_port = (parts.hostname, parts.port)
    except ValueError:
        return False
    if not host_and_port[0] or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or _plain_and_near(parts, loopback=loopback)


def _plain_and_near(parts: SplitResult, *, loopback: bool) -> bool:
    return loopback and parts.scheme == "http" and is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet: not of this machine, a private network, or this link.

    An IPv4 address inside an IPv6 one counts as itself. False for what is no address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if found in _NAT64 or (inside is None and found in _COMPATIBLE):
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return is_public(str(inside)) if inside else found.is_global and not found.is_multicast
    return found.is_global and not found.is_multicast


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Return the wait that a Retry-After header asks for, as seconds or as a date (RFC 9110, section 10.2.3).

    `now` is UTC epoch seconds. None if there is no usable header; never negative, never above the limit.
    """
    text = (header or "").strip()
    wait = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)
    return None if wait is None or math.isnan(wait) else min(max(wait, 0.0), RETRY_AFTER_LIMIT_SECONDS)


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def credits_of(value: object, *, below_zero: bool = False) -> Decimal | None:
    """Return an amount of credits, exactly, or None for what is no plain, finite amount (API contract, Check Balance).

    `below_zero`: whether it may be less than nothing, as the balance of an overdrawn account is.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    exponent = number.as_tuple().exponent  # a word, not a number, for NaN and the infinities
    fine = isinstance(exponent, int) and exponent >= _FINEST_EXPONENT and number.copy_abs() <= _MOST_CREDITS
    return number if fine and (below_zero or number >= 0) else None


BODY_LIMIT_BYTES: Final = 1 << 20
"""A JSON answer longer than this is not read: real ones hold a few kilobytes."""

LIST_LIMIT_BYTES: Final = 8 << 20
"""The same for a list of results: thousands of signed links are some megabytes."""

_RESULT_EXTENSIONS: Final = (
    *(*sorted(MODEL_EXTENSIONS), *sorted(IMAGE_EXTENSIONS)),
    *(
        ".bin",
        ".exr",
        ".gltf",
        ".hdr",
        ".json",
        ".mtl",
        ".ply",
        ".tga",
        ".tif",
        ".tiff",
        ".txt",
        ".usd",
        ".usda",
        ".usdc",
        ".zip",
    ),
)
"""What the names of results end with."""

MOST_CONSUMED: Final = Decimal(100)
"""No job costs so much: an answer that says more is not believed, and the list price holds."""

_Reply: TypeAlias = Mapping[str, Any]
_Failure = TypeVar("_Failure", bound=RodinWatchdError)

_SERVICE_CODES: Final[Mapping[str, type[ServiceError]]] = {
    "INSUFFICIENT_FUND": NoCreditsError,
    "INSUFFICIENT_FUNDS": NoCreditsError,
    "NO_ACTIVE_SUBSCRIPTION": NoCreditsError,
    "SUBSCRIPTION_PLAN_TOO_LOW": NoCreditsError,
    "USER_NOT_FOUND": KeyRefusedError,
    "GROUP_NOT_FOUND": KeyRefusedError,
    "PERMISSION_DENIED": KeyRefusedError,
    "PARALLELISM_LIMIT_REACHED": TaskLimitError,
}
_IMAGE_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "IMAGE_CONTENT_VIOLATION": (
        "The vendor's rules do not allow what the image shows",
        "Use another image, one without nudity, violence, hate symbols or protected brands; then drop the set into the inbox again.",
    ),
    "OBJECT_NOT_FOUND_ON_IMAGE": (
        "The vendor finds no object in the image",
        "Use an image in which one object is large, whole and sharp, on a plain background; then drop the set into the inbox again.",
    ),
    "IMAGE_LABEL_LENGTH_TOO_LONG": (
        "The vendor cannot describe what the image shows in few enough words",
        "Use a simpler image: one object, no text, a plain background; then drop the set into the inbox again.",
    ),
}
"""What is wrong with the image, and what to change in it, in plain words."""
_DOCUMENTED: Final = frozenset({*_SERVICE_CODES, *_IMAGE_CODES, "INVALID_REQUEST"})
"""Codes of refusals that the API contract lists, as free of charge; all codes are here without `API_` in front."""
_OF_THE_SET: Final = frozenset({400, 409, 410, 411, 412, 413, 414, 415, 417, 422, 431})
"""Statuses that concern the request itself, where no code says more (API contract, Errors; RFC 9110, section 15.5)."""
_CODE: Final = re.compile(r"[A-Z0-9_]+", re.ASCII)
_PHRASES: Final[Mapping[str, int]] = {
    "BAD REQUEST": 400,
    "UNAUTHORIZED": 401,
    "PAYMENT REQUIRED": 402,
    "FORBIDDEN": 403,
    "NOT FOUND": 404,
    "METHOD NOT ALLOWED": 405,
    "REQUEST TIMEOUT": 408,
    "CONFLICT": 409,
    "GONE": 410,
    "LENGTH REQUIRED": 411,
    "PRECONDITION FAILED": 412,
    "CONTENT TOO LARGE": 413,
    "PAYLOAD TOO LARGE": 413,
    "REQUEST ENTITY TOO LARGE": 413,
    "UNSUPPORTED MEDIA TYPE": 415,
    "EXPECTATION FAILED": 417,
    "UNPROCESSABLE CONTENT": 422,
    "UNPROCESSABLE ENTITY": 422,
    "TOO MANY REQUESTS": 429,
    "REQUEST HEADER FIELDS TOO LARGE": 431,
}
"""The statuses by their reason phrases, as web frameworks say them instead of a code (RFC 9110, section 15)."""
_SERVICE_STATUSES: Final[Mapping[int, type[ServiceError]]] = {
    401: KeyRefusedError,
    402: NoCreditsError,
    403: KeyRefusedError,
    407: NetworkError,  # said by a proxy
    408: NetworkError,  # the request did not arrive in time (RFC 9110, section 15.5.9): no set's fault
    429: ThrottledError,
}
_WRONG_ADDRESS: Final[Mapping[int, str]] = {
    **dict.fromkeys((301, 307, 308), "The vendor's address has moved: the call was redirected and not carried out"),
    **dict.fromkeys((404, 405), "The vendor's address does not know this call"),
}
_WAITING, _DONE = "Waiting", "Done"
_FAILED: Final = frozenset({"Failed", "Canceled", "Cancelled", "Error"})
_TERMINAL: Final = _FAILED | {_DONE}
_KNOWN: Final = _TERMINAL | {_WAITING, "Generating"}


_LONGEST_QUEUE: Final = 1_000_000_000


class TaskState(Enum):
    """What the statuses of a task's parts say about the task."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """The statuses of a task's parts ("jobs" in the vendor's words), as they were said (API contract, Check Status)."""

    statuses: tuple[str, ...]
    queue_length: int | None = None  # what the vendor says of the queue that the first waiting part is in

    @property
    def verdict(self) -> TaskState:
        """The task is over when all parts are, and there is one; it failed when any part did. All else is "not yet"."""
        if not self.statuses or not _TERMINAL.issuperset(self.statuses):
            return TaskState.WORKING
        return TaskState.DONE if _FAILED.isdisjoint(self.statuses) else TaskState.FAILED

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """The first ten different statuses that the contract does not name, cleaned for a log line."""
        strange = dict.fromkeys(plain(word, 40) or "(empty)" for word in self.statuses if word not in _KNOWN)
        return tuple(strange)[:10]

    @property
    def flaw(self) -> str:
        """Say how many parts failed, for people."""
        failed = sum(word in _FAILED for word in self.statuses)
        return f"The vendor reports that {failed} of {len(self.statuses)} parts of the task failed."

    @property
    def progress(self) -> str:
        """A short phrase for people."""
        if all(word == _WAITING for word in self.statuses):
            length = "" if self.queue_length is None else f", whose length is {self.queue_length}"
            return f"waiting in the vendor's queue{length}"
        strange = f" (the vendor says: {', '.join(self.unknown_words)})" if self.unknown_words else ""
        return f"{self.statuses.count(_DONE)} of {len(self.statuses)} parts done{strange}"


def submit_fields(kind: JobKind, options: Mapping[str, OptionValue]) -> tuple[tuple[str, str], ...]:
    """Return the text parts of a submit in the order of their declaration, numbers in plain digits (Generate Texture).

    Text without any word is not sent: it means the same as none, and is the same purchase (`core.dedup`). Raises ValueError for a key that is not declared, which would be paid for and not sent, and for a number that is not
    finite.
    """
    known = declared(kind.options)
    if strange := sorted(options.keys() - known.keys()):
        raise ValueError(f"no such option: {', '.join(strange)}")
    texts = ((sent.part, text_of(options[key])) for key, sent in known.items() if key in options)
    return tuple((part, text) for part, text in texts if words_of(text))


def read_submit(answer: Answer, submitted_at: float, *, early: bool = False) -> Task:
    """Return the task that the vendor accepted; `submitted_at` is UTC epoch seconds (API contract, Generate Texture).

    Never to be repeated on its own after OutcomeUnknownError: 5xx, a 2xx answer without a readable task, and any refusal
    that names a task all the same. Every other error is a refusal: the vendor's word alone that nothing was charged ("When
    a submit fails"; docs/money.md, Refusals).

    `early` is an answer that came before the whole body was sent. What leaves the outcome unknown after that refuses the
    submit then, for all sets alike: 5xx and any redirect are VendorDownError, unless they name a task.

    A redirect is never followed. 301, 307 and 308 say that the call belongs elsewhere and was not carried out (RFC 9110,
    section 15.4), for all sets alike: VendorDownError. 302 and 303 are also what a server says *after* it has carried
    out a POST, so they, and any other status outside 2xx and 4xx, leave the outcome unknown.

    404 and 405 without a code that says more ("Not Found" does not) say that the address knows no such call, for all sets alike, too.

    `consumed` is what the task took, in credits; anything but a plain number from 0 to MOST_CONSUMED counts as not said.

    A `uuid` without a `subscription_key` is accepted and paid for: the task has an empty key. Its status cannot be asked
    then, but its results can.
    """
    reply = _json_object(answer.body)
    uuid, code = _word(reply, "uuid"), _error_code(reply)
    if not uuid and _refuses(answer.status, code):
        raise _refused(answer, reply, code)
    if not uuid and early and answer.status >= 300:
        raise _failed(VendorDownError, answer, reply, "The vendor stopped before it had the whole set")
    if not 200 <= answer.status < 300 or code or not uuid:
        raise _failed(OutcomeUnknownError, answer, reply)
    return Task(uuid, _subscription_key(reply), submitted_at, _consumed(reply))


def _refuses(status: int, code: str) -> bool:
    """Return whether an answer without a task refuses the submit: a code under 2xx, a moved address, 4xx."""
    if 200 <= status < 300:
        return _meaning(code) not in {"", "UNKNOWN"}
    return 400 <= status < 500 or (status in _WRONG_ADDRESS and not code)


def _repeats(status: int, code: str) -> bool:
    """Return whether a code says no more than the status: none, or its reason phrase."""
    return not code or _PHRASES.get(code.replace("_", " ")) == status


def _refused(answer: Answer, reply: _Reply | None, code: str) -> RodinWatchdError:
    if answer.status in _WRONG_ADDRESS and _repeats(answer.status, code):
        advice = "Set `api.base_url` to the vendor's present address; the service tries again by itself."
        return _failed(VendorDownError, answer, reply, _WRONG_ADDRESS[answer.status], advice=advice)
    meaning = _meaning(code)
    documented = meaning in _DOCUMENTED
    if kind := _service_error(answer, reply):
        return _failed(kind, answer, reply, documented=documented)
    if meaning in _IMAGE_CODES:
        text, advice = _IMAGE_CODES[meaning]
        return _failed(VendorRefusedError, answer, reply, text, advice=advice, documented=documented)
    at_fault = documented or (answer.status in _OF_THE_SET and (_repeats(answer.status, code) or not _is_code(code)))
    return _failed(VendorRefusedError if at_fault else UnknownCodeError, answer, reply, documented=documented)


def _is_code(error: str) -> bool:
    """Return whether an error is a code; else it is a sentence about the request."""
    return _CODE.fullmatch(error) is not None


def consumed(answer: Answer) -> Decimal | None:
    """Return the credits that any answer to a submit says it took, also one that names no task; None where it says nothing."""
    return _consumed(_json_object(answer.body))


def _consumed(reply: _Reply | None) -> Decimal | None:
    """Return the credits that the vendor says it took; None where it says nothing that can be believed."""
    found = credits_of((reply or {}).get("consumed"))
    return None if found is None or found > MOST_CONSUMED else Decimal(format(abs(found).normalize(), "f"))


def _subscription_key(reply: _Reply | None) -> str:
    jobs = (reply or {}).get("jobs")
    return _word(jobs, "subscription_key") if isinstance(jobs, Mapping) else ""


def read_status(answer: Answer) -> TaskStatus:
    """Return the statuses of a task's parts; missing or empty `jobs` are an empty status, "not yet" (Check Status).

    Raises KeyRefusedError, NoCreditsError, ThrottledError or NetworkError (service), TaskLostError for a task that the
    vendor does not know (it may be known a while later), VendorAnswerError for all else. May always be repeated.
    """
    jobs = _list(_task_reply(answer), "jobs")
    queues = (_queue_length(job) for job in jobs)
    return TaskStatus(tuple(_status_word(job) for job in jobs), next((n for n in queues if n is not None), None))


def _queue_length(job: object) -> int | None:
    length = job.get("queue_length") if isinstance(job, Mapping) else None
    return length if type(length) is int and 0 <= length <= _LONGEST_QUEUE else None


def _status_word(job: object) -> str:
    word = job.get("status") if isinstance(job, Mapping) else None
    return word if isinstance(word, str) else ""


def read_links(answer: Answer, *, loopback: bool = True) -> tuple[Link, ...]:
    """Return the list of results, which may be empty or incomplete for a while (API contract, Download Results).

    Every URL must be https, or http on this machine where `loopback` allows it. Names are as hostile as they came; one
    without the extension of a result gets that of its URL's path, and a missing one is no more than that. Raises what `read_status` raises, VendorAnswerError also for a list with an entry that cannot be
    used: without it the result would be delivered in part. May always be repeated.
    """
    return tuple(_link(entry, loopback) for entry in _list(_task_reply(answer, LIST_LIMIT_BYTES), "list"))


def _link(entry: object, loopback: bool) -> Link:
    if not isinstance(entry, Mapping):
        raise VendorAnswerError("The vendor's list of results has an entry that is not an object.")
    name, url = entry.get("name"), entry.get("url")
    if not isinstance(name, str | None):
        raise VendorAnswerError("The vendor's list of results has a file whose name is not text.")
    if not isinstance(url, str) or not usable_url(url, loopback=loopback):
        where = without_query(url) if isinstance(url, str) else "none"
        raise VendorAnswerError(
            f'The vendor\'s link to "{plain(name or "", 80)}" is not a usable https address: {where}.'
        )
    return Link(name=_with_extension(name or "", url), url=url)


def _with_extension(name: str, url: str) -> str:
    """Return a name with the extension of its URL's path, where it has none that results have: names are for people (Download Results)."""
    if name.lower().endswith(_RESULT_EXTENSIONS):
        return name
    extension = split_name(unquote(urlsplit(url).path).rpartition("/")[2])[1]
    return name.rstrip(". ") + extension if extension in _RESULT_EXTENSIONS else name


def has_model(links: tuple[Link, ...]) -> bool:
    """Return whether the list holds a model file; without one it is incomplete (API contract, Download Results)."""
    return any(link.name.lower().endswith(tuple(MODEL_EXTENSIONS)) for link in links)


def read_balance(answer: Answer) -> Decimal:
    """Return the account's credits, exactly: whole, with a fraction, or as text (API contract, Check Balance).

    Below zero where the account is overdrawn.

    Raises what `read_status` raises, but for TaskLostError. May always be repeated.
    """
    balance = credits_of(_reply(answer).get("balance"), below_zero=True)
    if balance is None:
        raise VendorAnswerError("The vendor's answer about the balance has no usable number.")
    return balance


# ---- replies in general ---------------------------------------------------------------------------------------------


def _task_reply(answer: Answer, limit_bytes: int = BODY_LIMIT_BYTES) -> _Reply:
    reply = _json_object(answer.body, limit_bytes)
    if _meaning(_error_code(reply)) == "NO_SUCH_TASK" or (
        answer.status == 404 and _service_error(answer, reply) is None
    ):
        raise _failed(TaskLostError, answer, reply)
    return _reply(answer, limit_bytes)


def _reply(answer: Answer, limit_bytes: int = BODY_LIMIT_BYTES) -> _Reply:
    reply = _json_object(answer.body, limit_bytes)
    service_error = _service_error(answer, reply)
    if service_error:
        raise _failed(service_error, answer, reply)
    if reply is None or not 200 <= answer.status < 300 or _error_code(reply):
        raise _failed(VendorAnswerError, answer, reply)
    return reply


def _service_error(answer: Answer, reply: _Reply | None) -> type[ServiceError] | None:
    code = _error_code(reply)
    said = _PHRASES.get(code.replace("_", " "), 0) if 200 <= answer.status < 300 else 0
    return _SERVICE_CODES.get(_meaning(code)) or _SERVICE_STATUSES.get(said or answer.status)


def _failed(
    kind: type[_Failure],
    answer: Answer,
    reply: _Reply | None,
    text: str = "",
    *,
    advice: str = "",
    documented: bool = False,
) -> _Failure:
    lead = (text or kind().message).rstrip(".")
    message = f"{lead} ({described(answer.status, _error_code(reply), (reply or {}).get('message'))})."
    return kind(message, advice=advice, retry_after_seconds=answer.retry_after_seconds, documented=documented)


def _json_object(body: bytes, limit_bytes: int = BODY_LIMIT_BYTES) -> _Reply | None:
    """Return the JSON object that `body` holds, or None; NaN and the infinities become Decimals, as all fractions do."""
    if len(body) > limit_bytes:
        return None
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # Decimal raises the second for absurd exponents
        return None
    return value if isinstance(value, dict) else None


def _error_code(reply: _Reply | None) -> str:
    """Return the error's code, "" for success: `null`, "", "OK", or absent (API contract, Errors)."""
    error = (reply or {}).get("error")
    if error is None or error is False:
        return ""
    code = error.strip().upper() if isinstance(error, str) else "UNKNOWN"
    return "" if code == "OK" else code


def _meaning(code: str) -> str:
    """Return a code as it is listed here: the vendor says each with and without `API_` in front."""
    return code.removeprefix("API_")


def _list(reply: _Reply, key: str) -> list[object]:
    value = reply.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise VendorAnswerError(f"The vendor's answer has `{key}`, but it is not a list.")
    return value


def _word(reply: _Reply | None, key: str) -> str:
    """Return a token of the reply, "" if there is none that can be used."""
    value = (reply or {}).get(key)
    return value if isinstance(value, str) and value.isprintable() and len(value) <= 8192 else ""


# ---- Secrets: what an answer may say of them before it is logged or kept ---------------------------------------------

_SHORTEST_SECRET: Final = 8
"""A word that is shorter is let be: it stands for itself too often."""


def redacted(body: bytes, secrets: Mapping[str, str]) -> bytes:
    """Return an answer's body with each secret replaced by what stands for it, as JSON and addresses spell it, too."""
    for secret, instead in secrets.items():
        if len(secret) >= _SHORTEST_SECRET:
            for spelling in dict.fromkeys(_spellings(secret)):
                body = body.replace(spelling.encode(), instead.encode())
    return body


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield quote(secret, safe="")
