"""Faults on request: `NAME[=VALUE][@N]`.

Each fault is one entry of the table: the calls it strikes, whether instead of them or after they were carried out, and
its effect. `@N` picks the Nth such call, counted from 1. Without it every call is struck. A fault that needs no VALUE
of its own takes the number of calls as VALUE: `status-503=3` strikes the first three, `status-503=3@5` the fifth to
the seventh.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from rodin_watchd.emulator import effects
from rodin_watchd.emulator.effects import EVIL_NAMES, edited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rodin_watchd.emulator.effects import Effect


class Site(StrEnum):
    """What a fault strikes: one of the calls, or the accepted task itself."""

    SUBMIT = "submit"
    STATUS = "status"
    DOWNLOAD = "download"
    BALANCE = "balance"
    FILE = "file"
    TASK = "task"


API_SITES = (Site.SUBMIT, Site.STATUS, Site.DOWNLOAD, Site.BALANCE)
CALL_SITES = (*API_SITES, Site.FILE)


@dataclass(frozen=True, slots=True)
class Terms:
    """How an accepted order is charged: `price` in credits, None for the list price; `late_seconds` after it was accepted."""

    price: Decimal | None = None
    late_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One entry of the table.

    `instead`: the call is not carried out. `default`: the VALUE when none is given; None when VALUE is the number of
    calls. `check` raises ValueError or KeyError for a VALUE that makes no sense. `end`: the status word of a struck task, `leaves_model`: whether its model can be downloaded all the same.
    `terms` changes how a struck order is charged, by VALUE.
    """

    site: Site
    meaning: str
    effect: Effect | None = None
    instead: bool = False
    default: str | None = None
    check: Callable[[str], object] = str
    end: str = "Done"
    leaves_model: bool = False
    terms: Callable[[Terms, str], Terms] | None = None


@dataclass(frozen=True, slots=True)
class EmulatedFault:
    """A fault as it was asked for. `times` is None for no end."""

    name: str
    value: str = ""
    first: int = 1
    times: int | None = None

    @property
    def kind(self) -> FaultKind:
        """Its entry in the table."""
        return KINDS[self.name]

    def strikes(self, turn: int) -> bool:
        """Return whether it strikes the call with this number, counted from 1."""
        return turn >= self.first and (self.times is None or turn < self.first + self.times)


class FaultPlan:
    """Counts the calls of each site and says which faults strike. `strike` is for the event loop's thread alone."""

    def __init__(self, faults: tuple[EmulatedFault, ...], struck: Counter[str]) -> None:
        self._faults = faults
        self._struck = struck
        self._turns: Counter[Site] = Counter()

    def replace(self, faults: tuple[EmulatedFault, ...]) -> None:
        """Take other faults from the next call on, and count the calls again. Any thread."""
        self._faults, self._turns = (), Counter()  # a call that comes just now is counted, and struck by none
        self._faults = faults

    def strike(self, site: Site) -> tuple[EmulatedFault, ...]:
        """Count one call and give the faults that strike it."""
        self._turns[site] += 1
        striking = tuple(
            fault for fault in self._faults if fault.kind.site == site and fault.strikes(self._turns[site])
        )
        self._struck.update(fault.name for fault in striking)
        return striking


def terms_of(striking: Iterable[EmulatedFault]) -> Terms:
    """Return how the order that these faults strike is charged."""
    terms = Terms()
    for fault in striking:
        terms = fault.kind.terms(terms, fault.value) if fault.kind.terms else terms
    return terms


def parse_fault(text: str) -> EmulatedFault:
    """Read `NAME[=VALUE][@N]`. Raises ValueError with the names allowed, or with what is wrong with the rest."""
    match = re.fullmatch(r"(?P<name>[^=@]*)(?:=(?P<value>.*?))?(?:@(?P<turn>[1-9]\d{0,8}))?", text)
    if match is None:
        raise ValueError(f"{text!r} is no fault: write NAME, NAME=VALUE, NAME@N or NAME=VALUE@N, with N from 1")
    name, value, turn = match["name"], match["value"], match["turn"]
    if name not in KINDS:
        raise ValueError(_unknown(name))
    once = 1 if turn else None
    if KINDS[name].default is None:
        return EmulatedFault(name, "", int(turn or 1), once if value is None else _count(name, value))
    return EmulatedFault(name, _checked(name, value), int(turn or 1), once)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no fault {name!r}.{hint} Allowed: {', '.join(sorted(KINDS))}."


def _count(name: str, value: str) -> int:
    if re.fullmatch(r"[1-9]\d{0,8}", value) is None:
        raise ValueError(f"{name}={value}: the VALUE of {name} is how many calls it strikes, a number from 1")
    return int(value)


def _checked(name: str, value: str | None) -> str:
    kind = KINDS[name]
    given = kind.default or "" if value is None else value
    try:
        kind.check(given)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{name}={given}: this VALUE makes no sense. {kind.meaning}") from error
    return given


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise ValueError(text)
    return seconds


def _count_of_answers(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 1000:
        raise ValueError(text)
    return count


def _redirect(text: str) -> int:
    status = int(text)
    if status not in REDIRECTS:
        raise ValueError(text)
    return status


def _credits(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except ArithmeticError as error:
        raise ValueError(text) from error
    if not (price.is_finite() and 0 <= price <= 1000):
        raise ValueError(text)
    return price


def _late(text: str) -> tuple[float, int | None]:
    """Read `SECONDS` or `SECONDS:STATUS`."""
    seconds, _, status = text.partition(":")
    if status and not 400 <= int(status) <= 599:
        raise ValueError(text)
    return _seconds(seconds), int(status) if status else None


def _header_text(text: str) -> None:
    if not (text.isascii() and text.isprintable()) and text:
        raise ValueError(text)


def _of_calls(site: Site) -> dict[str, FaultKind]:
    """Give the faults that every call can have."""
    message = f"{site}: "
    return {
        f"{site}-429": FaultKind(
            site, message + "HTTP 429; VALUE is the Retry-After header, none without it", effects.too_many,
            instead=True, default="", check=_header_text,
        ),
        **{
            f"{site}-{status}": FaultKind(
                site, message + f"HTTP {status} with an HTML page; not carried out", effects.outage(status, reason), instead=True
            )
            for status, reason in OUTAGES.items()
        },
        f"{site}-closed": FaultKind(
            site, message + "the connection is closed before the request is read", effects.drop, instead=True
        ),
        f"{site}-html": FaultKind(site, message + "carried out, but an HTML page under the status of success", effects.html),
        f"{site}-truncated": FaultKind(site, message + "carried out, but only half of the answer's body", effects.truncated),
        f"{site}-empty": FaultKind(site, message + "carried out, but the answer's body is empty", effects.emptied),
        f"{site}-redirect": FaultKind(
            site, message + f"HTTP VALUE (default 307; one of {', '.join(map(str, REDIRECTS))}), which leads to the file host; not carried out",
            effects.redirected, instead=True, default="307", check=_redirect,
        ),
        f"{site}-interim": FaultKind(
            site, message + "carried out; VALUE answers of 102, 103 and 100 (default 1) come before the real one", effects.interim,
            default="1", check=_count_of_answers,
        ),
        f"{site}-slow": FaultKind(
            site, message + "carried out, but answered VALUE seconds later (default 30)", effects.late, default="30", check=_seconds
        ),
    }  # fmt: skip


def _of_api_calls(site: Site) -> dict[str, FaultKind]:
    """Give the faults that every call of the API can have, but not the file host."""
    key_refused = effects.refused(401, "PERMISSION_DENIED", "The API key is not accepted.")
    return {
        f"{site}-key-refused": FaultKind(site, f"{site}: HTTP 401, the key is refused", key_refused, instead=True),
        f"{site}-error": FaultKind(
            site,
            f"{site}: the error code VALUE (default UNKNOWN) under HTTP 201; not carried out",
            effects.error_in_success,
            instead=True,
            default="UNKNOWN",
        ),
    }


OUTAGES = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
REDIRECTS = (301, 302, 303, 307, 308)
CHARGED = {
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    429: "Too Many Requests",
    503: OUTAGES[503],
}
NO_SUCH_TASK = effects.refused(404, "NO_SUCH_TASK", "There is no such task.")
OF_ONE_CALL = {
    "lost-answer": FaultKind(
        Site.SUBMIT, "submit: accepted and charged, then the connection is closed without an answer", effects.drop
    ),
    **{
        f"charged-{status}": FaultKind(
            Site.SUBMIT,
            f"submit: accepted and charged, then answered with HTTP {status}: the error code VALUE, an HTML page without it",
            effects.charged(status, reason),
            default="",
            check=_header_text,
        )
        for status, reason in CHARGED.items()
    },
    "charged-error": FaultKind(
        Site.SUBMIT,
        "submit: accepted and charged, then answered with the error code VALUE (default UNKNOWN) under HTTP 201",
        effects.error_in_success,
        default="UNKNOWN",
    ),
    "late-charge": FaultKind(
        Site.SUBMIT,
        "submit: accepted, and charged later; VALUE is SECONDS (default 30): then the connection is closed without an answer; "
        "or SECONDS:STATUS: then it is answered with that HTTP status",
        effects.charged_late,
        default="30",
        check=_late,
        terms=lambda terms, value: replace(terms, late_seconds=_late(value)[0]),
    ),
    "repeated-uuid": FaultKind(
        Site.SUBMIT,
        "submit: accepted and charged, but answered with the uuid of the newest task that an answer has named since the "
        "faults were set",
        effects.repeated_uuid,
    ),
    "consumed": FaultKind(
        Site.SUBMIT,
        "submit: accepted, VALUE credits are charged (default 0.5), and the answer says so as `consumed`",
        effects.edited(lambda reply, value: reply | {"consumed": float(value)}),
        default="0.5",
        check=_credits,
        terms=lambda terms, value: replace(terms, price=_credits(value)),
    ),
    "no-uuid": FaultKind(
        Site.SUBMIT, "submit: accepted and charged, but the answer has no uuid", effects.without("uuid")
    ),
    "no-subscription-key": FaultKind(
        Site.SUBMIT, "submit: accepted and charged, but the answer has no jobs and so no key", effects.without("jobs")
    ),
    "status-404": FaultKind(Site.STATUS, "status: the task is not known", NO_SUCH_TASK, instead=True),
    "empty-jobs": FaultKind(Site.STATUS, "status: the list of jobs is empty", effects.with_empty("jobs")),
    "missing-jobs": FaultKind(Site.STATUS, "status: there is no list of jobs", effects.without("jobs")),
    "unknown-status": FaultKind(
        Site.STATUS,
        "status: all jobs have the status VALUE (default Queued)",
        edited(effects.unknown_status),
        default="Queued",
    ),
    "download-404": FaultKind(Site.DOWNLOAD, "download: the task is not known", NO_SUCH_TASK, instead=True),
    "empty-list": FaultKind(Site.DOWNLOAD, "download: the list of files is empty", effects.with_empty("list")),
    "missing-list": FaultKind(Site.DOWNLOAD, "download: there is no list of files", effects.without("list")),
    "partial-list": FaultKind(Site.DOWNLOAD, "download: only the preview is listed", edited(effects.partial_list)),
    "evil-names": FaultKind(
        Site.DOWNLOAD, "download: the model is listed again under each evil name", edited(effects.evil_names)
    ),
    "evil-name": FaultKind(
        Site.DOWNLOAD,
        f"download: the model has an evil name; VALUE is one of {', '.join(EVIL_NAMES)} (default traversal)",
        edited(effects.evil_name),
        default="traversal",
        check=EVIL_NAMES.__getitem__,
    ),
    "same-names": FaultKind(Site.DOWNLOAD, "download: all files have the same name", edited(effects.same_names)),
    "sub-folders": FaultKind(
        Site.DOWNLOAD,
        "download: all files are named by paths; VALUE is the folder (default base/basic)",
        edited(effects.sub_folders),
        default="base/basic",
    ),
    "expired-link": FaultKind(Site.FILE, "file: the link has expired, HTTP 403", effects.expired, instead=True),
    "cut-download": FaultKind(
        Site.FILE, "file: the Content-Length promises all, half comes, the connection is closed", effects.cut
    ),
    "failed-job": FaultKind(Site.TASK, "task: its last job ends Failed", end="Failed"),
    "failed-part": FaultKind(
        Site.TASK,
        "task: its last job ends Failed, and all but the preview can be downloaded",
        end="Failed",
        leaves_model=True,
    ),
    "cancelled-job": FaultKind(Site.TASK, "task: its last job ends Cancelled", end="Cancelled"),
    "error-job": FaultKind(Site.TASK, "task: its last job ends Error", end="Error"),
    "canceled-job": FaultKind(Site.TASK, "task: its last job ends Canceled", end="Canceled"),
}

KINDS: dict[str, FaultKind] = {
    **{name: kind for site in CALL_SITES for name, kind in _of_calls(site).items()},
    **{name: kind for site in API_SITES for name, kind in _of_api_calls(site).items()},
    **OF_ONE_CALL,
}

FAULTS: dict[str, str] = {name: kind.meaning for name, kind in KINDS.items()}
"""Each fault's name and what it does in one line, for --help."""
