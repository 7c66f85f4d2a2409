"""Text that comes with the vendor's answers: made fit for people, or judged before it is used."""

from __future__ import annotations

import ipaddress
import math
import re
from datetime import UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

MESSAGE_LIMIT: Final = 300
"""The most characters of a vendor's message that are shown."""

RETRY_AFTER_LIMIT_SECONDS: Final = 3600.0
"""The longest wait that one answer can ask for; after it the vendor may ask again."""

_URL_LIMIT = 8192
_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")

_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,30})?", re.ASCII)
_MOST_CREDITS: Final = Decimal(10) ** 12
_FINEST_EXPONENT: Final = -30  # a server that adds binary fractions says 11.500000000000002


def plain(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text` on one line, without control characters, at most `limit` characters long."""
    clean = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: limit * 4]).split())
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
    """Tell whether `url` may be called: https; or http on this machine if `loopback`. Never with a user in it."""
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
    """Tell whether `host` is this machine: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
