"""Who may see and do what: the name that a request is for, the page that it comes from, the person, and the headers of every answer.

A request passes four doors: its `Host` is a name of this page (a hostile page can lead its own name to this address), what
changes something comes from this page itself (`Origin`), somebody is known by a session, a token or a proxy where that is
needed, and what changes something carries the session's own token. Sessions are signed; only those that were ended are kept here.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rodin_watchd.config import WebSection
from rodin_watchd.core.wire import is_loopback
from rodin_watchd.errors import ConfigError
from rodin_watchd.settings import CREDENTIALS_VARIABLE
from rodin_watchd.web.forms import fields_in, fields_of, is_form

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"
STATIC: Final = "/static/"
API: Final = "/api/"
VISITOR: Final = "rodin_watchd.visitor"
KEPT: Final = "rodin_watchd.kept"
CSRF_HEADER: Final = "X-CSRF-Token"

SESSION_SECONDS: Final = 30 * 24 * 3600
LEAST_TOKEN_CHARACTERS: Final = 16
MOST_FAILURES: Final = 5
"""So many wrong tokens may come from one address within `FAILURE_SECONDS`."""

FAILURE_SECONDS: Final = 60.0
MOST_ADDRESSES: Final = 1000
MOST_ENDED: Final = 10_000
_MOST_TOKEN_BYTES: Final = 4096
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_CHANGING_METHODS: Final = frozenset({"POST", "PATCH", "DELETE"})

_SOURCES: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    **dict.fromkeys(("script-src", "style-src", "img-src", "connect-src", "font-src", "form-action"), "'self'"),
    **dict.fromkeys(("frame-ancestors", "base-uri"), "'none'"),
}


def policy(more: Mapping[str, str]) -> str:
    """Return the Content-Security-Policy of a page that needs more sources than the others, by their directives."""
    names = [*_SOURCES, *(name for name in more if name not in _SOURCES)]
    return "; ".join(" ".join(filter(None, (name, _SOURCES.get(name), more.get(name)))) for name in names)


_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": policy({}),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""


class Rights(Enum):
    """What a visitor may do."""

    NONE = 0
    LOOK = 1
    ACT = 2


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks."""

    rights: Rights
    csrf: str = ""  # what a form of this visitor's carries
    name: str = ""  # as the proxy says
    has_session: bool = False  # of a login, which can be ended
    by_token: bool = False  # each request carries the token itself: no other page can make one

    @property
    def may_act(self) -> bool:
        """Whether the visitor may change something."""
        return self.rights is Rights.ACT


NOBODY: Final = Visitor(Rights.NONE)


def visitor_of(request: HTTPConnection) -> Visitor:
    """Return who asks."""
    found = request.scope[VISITOR]
    assert isinstance(found, Visitor)  # noqa: S101 - the middleware below has put it there
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """A form that somebody has sent whose session had ended: it is kept in the login's own form, and sent again after it."""

    target: str  # where it was sent to
    fields: Mapping[str, str]
    why: str = ""  # why the login has to be repeated
    session: str = ""  # the cookie's value once the person has logged in


def kept_of(request: HTTPConnection) -> Kept | None:
    """Return the form that is kept over the login, None if there is none."""
    found = request.scope.get(KEPT)
    assert found is None or isinstance(found, Kept)  # noqa: S101 - the middleware below has put it there
    return found


# ---- What the configuration says ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """What people log in with; "" for none."""

    acts: str = ""
    looks: str = ""

    def __bool__(self) -> bool:
        return bool(self.acts or self.looks)

    def rights_of(self, given: str) -> Rights:
        """Return what a token allows, in a time that says nothing of how much of it is right."""
        data = given.encode("utf-8", "replace")
        acts = hmac.compare_digest(data, self.acts.encode()) and bool(self.acts)
        looks = hmac.compare_digest(data, self.looks.encode()) and bool(self.looks)
        return Rights.ACT if acts else Rights.LOOK if looks else Rights.NONE

    def key(self) -> bytes:
        """Return what signs sessions: other tokens end all of them. Without a login it is new for each process."""
        if not self:
            return secrets.token_bytes(32)
        return hashlib.sha256(f"session\0{self.acts}\0{self.looks}".encode()).digest()


TOKEN_CREDENTIAL: Final = "rodin-web-token"  # noqa: S105 - a name
VIEWER_CREDENTIAL: Final = "rodin-web-viewer-token"
NO_TOKEN: Final = "none"  # noqa: S105 - what the units say with SetCredential= for a file that is missing


def credentials_in(environ: Mapping[str, str]) -> Mapping[str, Path]:
    """Return the credentials with tokens that systemd, or a container, has given to this process."""
    folder = environ.get(CREDENTIALS_VARIABLE)
    paths = {name: Path(folder, name) for name in (TOKEN_CREDENTIAL, VIEWER_CREDENTIAL)} if folder else {}
    return {name: path for name, path in paths.items() if path.exists()}


def find_tokens(web: WebSection, credentials: Mapping[str, Path]) -> Tokens:
    """Return the tokens of the configured files, or else of the credentials. Raises ConfigError, which repeats nothing of them."""
    found = []
    for path, name, key in (
        (web.token_file, TOKEN_CREDENTIAL, "web.token_file"),
        (web.viewer_token_file, VIEWER_CREDENTIAL, "web.viewer_token_file"),
    ):
        if path is not None:
            found.append(_token_from(path, f"the file that {key} names"))
        elif name in credentials:
            origin = f"the credential {name}"
            token = _text_of(credentials[name], origin)
            found.append("" if token == NO_TOKEN else _checked_token(token, origin))
        else:
            found.append("")
    tokens = Tokens(*found)
    if tokens.acts and tokens.acts == tokens.looks:
        raise ConfigError("The two tokens of the page are the same: nobody could be known as one who only looks.")
    return tokens


def _token_from(path: Path, origin: str) -> str:
    return _checked_token(_text_of(path, origin), origin)


def _text_of(path: Path, origin: str) -> str:
    try:
        mode = path.stat().st_mode
        token = path.read_bytes()[: _MOST_TOKEN_BYTES + 1].decode("utf-8-sig", "replace").strip()
    except OSError as error:
        advice = "Make the file, or give the user of the service the right to read it."
        raise ConfigError(f"The token of the page cannot be read: {origin}: {error.strerror}.", advice=advice) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"Everybody on this machine can read or change the token of the page: {origin}.")
    return token


def _checked_token(token: str, origin: str) -> str:
    if not LEAST_TOKEN_CHARACTERS <= len(token) <= _MOST_TOKEN_BYTES or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"The token of the page must be one line of at least {LEAST_TOKEN_CHARACTERS} plain characters: {origin}.",
            advice="`openssl rand -hex 24` makes one.",
        )
    return token


def refuse_open(web: WebSection, tokens: Tokens) -> None:
    """Raise ConfigError for a page that other machines could reach and where nobody logs in."""
    if not is_loopback(web.address[0]) and not tokens and not web.proxy_header:
        raise ConfigError(
            f"The page would listen on {web.listen}, and everybody who reaches this address could spend credits: there is no login.",
            advice=f"Name a file with a token in web.token_file, or give a systemd service the credential {TOKEN_CREDENTIAL}; or name a "
            "reverse proxy in web.proxy_header and web.proxy_from; or listen on 127.0.0.1.",
        )


# ---- Sessions -------------------------------------------------------------------------------------------------------


class Sessions:
    """Signs and reads session cookies, makes the token of a session's forms, and keeps which were ended. The event loop's alone."""

    def __init__(self, key: bytes, port: int) -> None:
        self._key = key
        self._ended: OrderedDict[str, float] = (
            OrderedDict()
        )  # by their signature: until when they would have been valid
        self.cookie = f"rodin-watchd-{port}"  # cookies are shared by all ports of a host

    def begin(self, rights: Rights, now: float) -> str:
        """Return the value of a new session's cookie; one without rights only distinguishes browsers."""
        text = f"{rights.value}.{int(now) + SESSION_SECONDS}.{secrets.token_urlsafe(18)}"
        return f"{text}.{self._mac(text)}"

    def rights_of(self, value: str, now: float) -> Rights | None:
        """Return what a session allows, None for one that has ended or is none of ours."""
        text, _, mac = value.rpartition(".")
        if not hmac.compare_digest(self._mac(text).encode(), mac.encode("utf-8", "replace")) or mac in self._ended:
            return None
        rights, until, _ = text.split(".", 2)
        return Rights(int(rights)) if now < int(until) else None

    def end(self, value: str, now: float) -> None:
        """Make a session's cookie worth nothing, as long as this process lives; may be repeated, and given what is none."""
        if self.rights_of(value, now) is None:
            return
        text, _, mac = value.rpartition(".")
        self._ended[mac] = float(text.split(".", 2)[1])
        while self._ended and (len(self._ended) > MOST_ENDED or next(iter(self._ended.values())) < now):
            self._ended.popitem(last=False)

    def csrf(self, value: str) -> str:
        """Return what the forms of this session carry."""
        return self._mac(f"csrf.{value}")

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Attempts:
    """Counts wrong tokens by address, so that nobody can try many. The event loop's alone."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """Return how long this address has to wait before its next try."""
        failures = self._failures.get(address, deque())
        while failures and failures[0] <= now - FAILURE_SECONDS:
            failures.popleft()
        return failures[0] + FAILURE_SECONDS - now if len(failures) >= MOST_FAILURES else 0.0

    def failed(self, address: str, now: float) -> None:
        """Note a wrong token."""
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(now)
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)


# ---- The doors ------------------------------------------------------------------------------------------------------


class Access:
    """Lets a request through to the page, or answers it; and gives each answer its headers (an ASGI middleware)."""

    def __init__(self, app: ASGIApp, web: WebSection, tokens: Tokens) -> None:
        self._app = app
        self._web = web
        self._tokens = tokens
        self._hosts = _hosts(web)
        self._attempts = Attempts()
        self.sessions = Sessions(tokens.key(), web.address[1])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, begun = Request(scope, receive), ""
        refusal = self._refusal(request)
        if refusal is None:
            scope[VISITOR], begun = self._visitor(request)
            try:
                refusal = await self._not_known(request) or await self._session_answer(request)
            except HTTPException as error:  # the application's own handlers are behind this door
                refusal = PlainTextResponse(f"{error.detail}\n", error.status_code)

        if kept := kept_of(request):
            begun = kept.session

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if begun and not request.url.path.startswith(STATIC):  # what is the same for all may be kept by others
                    headers.append("set-cookie", self._cookie(request, begun))
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """Return what is answered to a request that is for another name, or that another page has made."""
        host = request.headers.get("host", "")
        if _name_of(host) not in self._hosts:
            return PlainTextResponse(
                "This page is not known by that name. Whoever runs the service can allow it: web.allowed_hosts in its config.\n",
                421,
            )
        if request.method not in _SAFE_METHODS | _CHANGING_METHODS:
            return PlainTextResponse(
                "This page has nothing of that kind.\n",
                405,
                {"Allow": ", ".join(sorted(_SAFE_METHODS | _CHANGING_METHODS))},
            )
        if request.method in _CHANGING_METHODS and not self._is_from_here(request.headers, host):
            return PlainTextResponse("Another page has sent this request: nothing was done.\n", 403)
        return None

    def _is_from_here(self, headers: Headers, host: str) -> bool:
        """Return whether this page itself has sent a request; a program that names the token is no page."""
        origin = headers.get("origin")
        if origin is not None:
            return _split(origin).netloc.lower() == host.lower()
        return headers.get("sec-fetch-site") == "same-origin" or "authorization" in headers

    def _visitor(self, request: Request) -> tuple[Visitor, str]:
        """Return who asks, and the cookie of a session that begins by it, if one does."""
        found, begun = self._known(request)
        if self._web.read_only and found.rights is Rights.ACT:
            found = Visitor(Rights.LOOK, found.csrf, found.name, found.has_session, found.by_token)
        return found, begun

    def _known(self, request: Request) -> tuple[Visitor, str]:
        now, value = time.time(), request.cookies.get(self.sessions.cookie, "")
        if by_proxy := self._by_proxy(request):
            name, rights = by_proxy
            value, begun = self._session(value, now)
            return Visitor(rights, self.sessions.csrf(value), name), begun
        if token := _bearer(request.headers):
            return Visitor(self._checked(request, token), by_token=True), ""
        if self._tokens:
            return Visitor(
                self.sessions.rights_of(value, now) or Rights.NONE, self.sessions.csrf(value), has_session=True
            ), ""
        if self._web.proxy_header:
            return NOBODY, ""
        value, begun = self._session(value, now)
        return Visitor(Rights.ACT, self.sessions.csrf(value)), begun

    def _session(self, value: str, now: float) -> tuple[str, str]:
        """Return the session of a visitor whose rights come from elsewhere, and its cookie if it begins now."""
        if self.sessions.rights_of(value, now) is not None:
            return value, ""
        begun = self.sessions.begin(Rights.NONE, now)
        return begun, begun

    def _by_proxy(self, request: Request) -> tuple[str, Rights] | None:
        """Return whom the reverse proxy names, and what that person may do; None if it names nobody."""
        names = request.headers.getlist(self._web.proxy_header) if self._web.proxy_header else []
        name = names[0] if len(names) == 1 else ""  # of two, a browser has sent one
        if not name or _address_of(request) not in self._web.proxy_from:
            return None
        actors = self._web.proxy_actors
        return name, Rights.ACT if actors is None or name in actors else Rights.LOOK

    async def _not_known(self, request: Request) -> Response | None:
        """Return what is answered to somebody who has to log in first."""
        path = request.url.path
        if visitor_of(request).rights is not Rights.NONE or path in (LOGIN, LOGOUT) or path.startswith(STATIC):
            return None
        if path.startswith(API) or not self._tokens:
            return JSONResponse({"error": "Who are you? Log in, or send the token (Authorization: Bearer)."}, 401)
        if request.method not in _SAFE_METHODS:
            return await self._without_session(request)
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{LOGIN}?next={quote(path + query, safe='')}", 303)

    async def _without_session(self, request: Request) -> Response | None:
        """Keep what was filled in; where nothing was, or files were sent, lead to the login and then to the first page."""
        given = await fields_of(request) if is_form(request) else {}
        if fields := {name: str(value) for name, value in given.items() if name != "csrf"}:
            return self._to_login(request, Kept(request.url.path, fields))
        return RedirectResponse(LOGIN, 303)

    @staticmethod
    def _to_login(request: Request, kept: Kept) -> None:
        """Have the application answer with the page of the login, which keeps a form."""
        request.scope.update({KEPT: kept, "path": LOGIN, "method": "GET"})

    # ---- logging in -------------------------------------------------------------------------------------------------

    def _checked(self, request: Request, token: str) -> Rights:
        """Return what a token allows; `NONE` also where this address has to wait."""
        now, address = time.monotonic(), self._origin_of(request)
        if self._attempts.wait_seconds(address, now):
            return Rights.NONE
        rights = self._tokens.rights_of(token)
        if rights is Rights.NONE:
            self._attempts.failed(address, now)
        return rights

    def _origin_of(self, request: Request) -> str:
        """Return where an attempt comes from: behind a named proxy, from the last address that its header says and that is no proxy's.

        What a browser itself has sent stands before that. A proxy that says none, or no address, stands for all behind it.
        """
        peer, header, proxies = _address_of(request), self._web.proxy_address_header, self._web.proxy_from
        said = ",".join(request.headers.getlist(header)).split(",") if header and peer in proxies else []
        for one in reversed(said):
            if (address := _known_address(one.strip())) is None:
                break
            if str(address) not in proxies:
                return _counted_as(address)
        return _counted_as(address) if (address := _known_address(peer)) else peer

    async def _session_answer(self, request: Request) -> Response | None:
        """Answer what begins or ends a session; None for anything else."""
        if request.method == "POST" and request.url.path == LOGIN:
            return await self._login(request)
        if request.method == "POST" and request.url.path == LOGOUT:
            self.sessions.end(request.cookies.get(self.sessions.cookie, ""), time.time())
            answer = RedirectResponse(LOGIN, 303)
            answer.delete_cookie(self.sessions.cookie, httponly=True, samesite="strict")
            return answer
        return None

    async def _login(self, request: Request) -> Response | None:
        """Answer a login: a session, or once more the form; None for the application's page of the login, with what is kept."""
        given = await fields_of(request)
        wait = self._attempts.wait_seconds(self._origin_of(request), time.monotonic())
        rights = self._checked(request, str(given.get("token", "")))
        target = local_target(str(given.get("next", "")))
        why = "" if rights is not Rights.NONE else "wait" if wait else "wrong"
        session = "" if why else self.sessions.begin(rights, time.time())
        if "kept" in given:
            request.scope[VISITOR] = Visitor(rights, self.sessions.csrf(session), has_session=True)
            return self._to_login(request, Kept(target, fields_in(str(given["kept"])), why, session))
        if why:
            return RedirectResponse(f"{LOGIN}?why={why}&next={quote(target, safe='')}", 303)
        answer = RedirectResponse(target, 303)
        answer.headers.append("set-cookie", self._cookie(request, session))
        return answer

    def _cookie(self, request: Request, value: str) -> str:
        secure = "; Secure" if self._is_https(request) else ""
        return f"{self.sessions.cookie}={value}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict{secure}"

    def _is_https(self, request: Request) -> bool:
        by_proxy = _address_of(request) in self._web.proxy_from
        return request.url.scheme == "https" or (by_proxy and request.headers.get("x-forwarded-proto") == "https")


def _split(address: str) -> SplitResult:
    """Return the parts of an address; none for what cannot be one."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


def local_target(target: str) -> str:
    """Return where to go after a login: a place of this page, and of no other."""
    parts = _split(target)
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if is_local and target.isascii() and target.isprintable() else "/"


def _hosts(web: WebSection) -> frozenset[str]:
    """Return the names by which a browser may ask for the page."""
    host = web.address[0]
    own = {"localhost", "127.0.0.1", "[::1]"} if is_loopback(host) else {f"[{host}]" if ":" in host else host}
    return frozenset({*own, *web.allowed_hosts})


def _name_of(host: str) -> str:
    """Return the name in a Host header, without the port; "" for one that is none."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        parts.port  # noqa: B018 - raises ValueError for one that is no number
    except ValueError:
        return ""
    if parts.netloc != host or "@" in host or host.endswith(":"):
        return ""
    return f"[{name}]" if ":" in name else name


def _address_of(request: HTTPConnection) -> str:
    """Return the address of whoever is at the other end of the connection."""
    return request.client.host if request.client else ""


def _known_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _counted_as(address: IPv4Address | IPv6Address) -> str:
    """Return what attempts from an address are counted by: whoever has one of IPv6 has all of its network."""
    return str(ip_network((address, 64), strict=False) if address.version == 6 else address)


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
