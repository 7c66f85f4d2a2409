"""How bytes travel over `requests`: connections that nothing can hold for ever, bounded bodies, plain words for failures.

No `requests.Session` is used, only its adapters (pools of connections, safe to share between threads): a session would
add cookies, redirects, `.netrc` and look-ups in the environment, and none of them is wanted near an API key. Nothing
here repeats a request.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import http.client
import io
import os
import re
import select
import shutil
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # typeshed lacks the second; unlike requests' own look-up
    getproxies,
    proxy_bypass_environment,  # it does not write to os.environ
)

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse
from urllib3.util.ssl_ import create_urllib3_context

from rodin_watchd.core.wire import is_loopback, is_public, plain
from rodin_watchd.errors import DiskError, DownloadError, RoomError

if TYPE_CHECKING:
    import socket

    from urllib3.connectionpool import ConnectionPool

# ---- Sending a body while the other side may already speak. Linux reports what its system has taken; elsewhere nothing is waited for -


ANSWER_GRACE_SECONDS: Final = 2.0
"""So long an answer that is on its way is waited for, when a body was broken off before its end."""

_SIOCOUTQ: Final = 0x5411  # tcp(7): the bytes of the send queue, those on their way and not acknowledged among them
LAST_BYTES_SECONDS: Final = 20.0
"""How long the system may try to bring the last bytes of a submit to the other system; it goes on after the process has ended.

A proof by the balance reads it last after `budget.settle_seconds`: bytes that arrive later would be charged after it.
"""

_LONGEST_PAUSE_MS = 20
_PIECE_BYTES = 64 * 1024
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Withheld:
    """A body whose last bytes wait until all before them were taken; `goes_over` says on which connection."""

    def __init__(self) -> None:
        self._line: BodyConnection | None = None
        self._seconds = 0.0
        self.closing_left = False  # whether the last bytes were handed out

    def goes_over(self, line: BodyConnection, seconds: float) -> None:
        """Note the connection that it is sent on, and how long the other side may take for a block."""
        self._line, self._seconds = line, seconds

    def wait_until_taken(self) -> None:
        """Wait until the other side has taken all that was sent; the system tries for LAST_BYTES_SECONDS to send what comes then.

        Before it is sent, nothing is to be waited for.
        """
        if self._line is not None:
            self._line.wait_until_taken(BLOCK_BYTES, self._seconds)
            self._line.limit_delay(LAST_BYTES_SECONDS)


class HungUpError(BrokenPipeError):
    """The other side has answered, or has ended the connection: as for any broken pipe, urllib3 then reads the answer."""


class BodyConnection:
    """A connection on which a body is sent; what the other side says meanwhile is kept in `come`.

    `sock` is a TCP connection, plain or TLS, or TLS inside a proxy's TLS; `is_answer` says whether bytes hold the beginning of a final answer. For one
    thread. Readable bytes of a TLS connection may hold nothing for us (session tickets): only what is decrypted counts.
    """

    def __init__(self, sock: Any, is_answer: Callable[[bytes], bool]) -> None:  # noqa: ANN401 - urllib3's TLS in TLS is no socket
        self.come = bytearray()
        self._sock = sock
        self._is_answer = is_answer

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of it.

        Raises HungUpError as soon as an answer has begun or the other side will send no more, TimeoutError when it takes
        longer than `seconds`, OSError when the connection breaks.
        """
        if not isinstance(self._sock, socket.socket):  # TLS in TLS loses what it cannot send at once
            self._sock.settimeout(seconds)
            self._sock.sendall(data)
            self._listen()
            return
        rest, ends_at = memoryview(data), time.monotonic() + seconds
        while rest:
            self._listen()
            try:
                rest = rest[self._sock.send(rest) :]
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, ends_at)
            except _NOT_NOW:
                self._wait(select.POLLIN | select.POLLOUT, ends_at)

    def wait_until_taken(self, block_bytes: int, seconds: float) -> None:
        """Return when all that was sent has been acknowledged by the other system.

        Raises HungUpError as `send` does, TimeoutError when a block, or the rest, takes longer than `seconds`.
        """
        self._listen()
        if sys.platform != "linux":
            return
        mark, ends_at, pause_ms = self._untaken_bytes(), time.monotonic() + seconds, 0
        while left := self._untaken_bytes():
            if left <= mark - block_bytes:
                mark, ends_at = left, time.monotonic() + seconds
            pause_ms = min(pause_ms + 1, _LONGEST_PAUSE_MS)
            self._wait(select.POLLIN, ends_at, pause_ms)
            self._listen()

    def limit_delay(self, seconds: float) -> None:
        """Have the system drop what it cannot bring to the other system within so long, also when the process has ended by then."""
        if sys.platform == "linux":  # tcp(7); it is said where there is no such limit (docs/reliability.md)
            self._carrier.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))

    def is_answered(self, seconds: float) -> bool:
        """Return whether any byte has come, after the body was broken off.

        Says to the other side that no more will come, so that it need not be waited for, and waits for at most `seconds`
        until it speaks or ends the connection.
        """
        with suppress(OSError):
            socket.socket.shutdown(self._carrier, socket.SHUT_WR)  # the method of a TLS socket would forget its keys
        ends_at = time.monotonic() + seconds
        with suppress(OSError):
            while not self.come and (left := ends_at - time.monotonic()) > 0:
                self._sock.settimeout(left)
                piece = self._sock.recv(_PIECE_BYTES)
                self.come += piece
                if not piece:
                    break
        return bool(self.come)

    def _listen(self) -> None:
        """Take what has come, without waiting; raises HungUpError when the rest of the body is of no use any more."""
        self._sock.settimeout(0)
        if sys.platform == "linux":  # a side that waits for an acknowledgment before it sends its answer may be closing
            self._carrier.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        with suppress(*_NOT_NOW):
            while piece := self._sock.recv(_PIECE_BYTES):
                self.come += piece
                if self._is_answer(bytes(self.come)):
                    break
            raise HungUpError

    def _wait(self, events: int, ends_at: float, longest_ms: float = float("inf")) -> None:
        left_ms = (ends_at - time.monotonic()) * 1000
        if left_ms <= 0:
            raise TimeoutError("the vendor received the data too slowly")
        line = select.poll()
        line.register(self._sock, events)
        line.poll(min(left_ms, longest_ms))

    def _untaken_bytes(self) -> int:
        """Return how many bytes are not acknowledged; 0 where the system does not say: then there is nothing to wait for."""
        try:
            (left,) = struct.unpack("i", fcntl.ioctl(self._sock, _SIOCOUTQ, bytes(4)))
        except OSError:
            return 0
        return int(left)

    @property
    def _carrier(self) -> socket.socket:
        """The connection itself, below a TLS inside another."""
        return self._sock if isinstance(self._sock, socket.socket) else self._sock.socket


BLOCK_BYTES: Final = 256 * 1024
"""How much of an upload is read and sent at a time: the fewest CPU cycles for little memory."""

SLOWEST_BYTES_PER_SECOND: Final = 4096
"""A body may take the read time-out and a second more for each of these bytes; its head the read time-out alone."""

HEAD_LIMIT_BYTES: Final = 256 * 1024
"""The heads of an answer, interim ones included, may be so large in all."""

NETWORK_ERRORS: Final = (requests.RequestException, urllib3_errors.HTTPError, OSError, http.client.HTTPException)
"""What a transfer raises when the line, the other side or a proxy fails."""

_COPY_BYTES = 1 << 20
_STATUS = re.compile(rb"[ \t]*HTTP/(?P<version>[0-9]+(\.[0-9]+)?)[ \t]+(?P<code>[0-9]{3})(?![0-9])", re.IGNORECASE)
_INTERIM = re.compile(rb"HTTP/1\.[01] 1")
_BLANK: Final = (b"\r\n", b"\n")
_FIELDS: Final = frozenset(
    b"connection content-encoding content-length keep-alive location proxy-connection retry-after transfer-encoding".split()
)
_CONNECTING = (
    urllib3_errors.ConnectTimeoutError,
    urllib3_errors.ProxyError,
    urllib3_errors.SSLError,
    ssl.SSLError,
    requests.exceptions.SSLError,
)


class UnreadableBundleError(requests.exceptions.SSLError):
    """The bundle of CA certificates cannot be read: nothing was sent."""


_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (urllib3_errors.NameResolutionError, "its name cannot be resolved"),
    (UnreadableBundleError, "the bundle of CA certificates cannot be read"),
    (ConnectionRefusedError, "it refuses connections"),
    (ssl.SSLCertVerificationError, "its TLS certificate cannot be verified"),
    (requests.exceptions.InvalidSchema, "the proxy setting cannot be used"),
    (urllib3_errors.ProxyError, "the proxy refuses the call"),
    (urllib3_errors.SSLError, "TLS failed"),
    (urllib3_errors.ConnectTimeoutError, "no connection could be made in time"),
    (urllib3_errors.TimeoutError, "it took too long"),
    (TimeoutError, "it took too long"),
)


def why(error: BaseException) -> str:
    """Return in plain words why a transfer failed; never the error's own text, which can hold a link's query."""
    causes = tuple(_causes(error))
    return next(
        (words for kind, words in _WORDS for cause in causes if isinstance(cause, kind)), "the connection broke"
    )


def never_connected(error: BaseException) -> bool:
    """Return whether a transfer failed before there was a connection: it is the network's fault, or the whole host's."""
    return any(isinstance(cause, _CONNECTING) for cause in _causes(error))


class UnreadableAnswerError(http.client.HTTPException):
    """Something has come, and no final answer could be read from it."""


def was_answered(error: BaseException) -> bool:
    """Return whether the other side had said anything to this request when a transfer failed."""
    return any(isinstance(cause, UnreadableAnswerError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it wraps: requests and urllib3 pass the cause on in `args`, `reason` or `__cause__`."""
    cause: object = error
    for _ in range(8):
        if not isinstance(cause, BaseException):
            return
        yield cause
        inner = (getattr(cause, "reason", None), *reversed(cause.args), cause.__cause__)
        cause = next((one for one in inner if isinstance(one, BaseException)), None)


# ---- connections ----------------------------------------------------------------------------------------------------


class _PacedStream(io.RawIOBase):
    """What comes out of a socket, within a time that can grow only with what came: a drip cannot hold a thread for ever.

    `come` was taken out of the socket before, and comes first.
    """

    def __init__(self, source: io.RawIOBase, sock: socket.socket, come: bytes) -> None:
        self.has_come = bool(come)  # whether there was any byte
        self._come = bytearray(come)
        self._source = source
        self._sock = sock
        self._timeout_seconds = sock.gettimeout() or 0.0
        self._seconds_per_byte = 0.0
        self._ends_at = time.monotonic() + self._timeout_seconds

    def begin_body(self) -> None:
        """Give the body a time of its own, which grows with what comes; the head has a fixed one."""
        self._seconds_per_byte = 1 / SLOWEST_BYTES_PER_SECOND
        self._ends_at = time.monotonic() + self._timeout_seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - a writable buffer; its type is named from 3.12 on
        if self._come:
            size = min(len(buffer), len(self._come))
            buffer[:size], self._come[:size] = self._come[:size], b""
            return size
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer came too slowly")
        timeout = min(left, self._timeout_seconds)
        if timeout != self._sock.gettimeout():  # setting it is a system call, and there may be thousands of pieces
            self._sock.settimeout(timeout)
        got = self._source.readinto(buffer)
        self.has_come = self.has_come or bool(got)
        self._ends_at += (got or 0) * self._seconds_per_byte
        return got

    def close(self) -> None:
        self._source.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, come: bytes, **kwargs: Any) -> None:  # noqa: ANN401 - handed on as they are
        super().__init__(sock, *args, **kwargs)
        self._stream = _PacedStream(self.fp.detach(), sock, come)
        self.fp = io.BufferedReader(self._stream)

    def begin(self) -> None:
        """Read the head of the final answer; http.client alone would take all interim answers but 100 for it.

        Raises UnreadableAnswerError for one that is cut, or is none, when anything has come, be it interim answers.
        """
        source = self.fp
        try:
            self.fp = io.BufferedReader(io.BytesIO(_final_head(source)))
            super().begin()
        except NETWORK_ERRORS as error:
            if self._stream.has_come:
                raise UnreadableAnswerError from error
            raise
        finally:
            self.fp = source
        self._stream.begin_body()


def _final_head(source: io.BufferedReader) -> bytes:
    """Return the head of the final answer, reduced to the fields that are read here or below.

    Any number of interim answers may come before it (RFC 9110, section 15.2); they say nothing, and are passed over. So
    are fields that nobody reads: http.client gives up an answer with more than a hundred. Tolerated are blank lines before a
    head (RFC 9112, section 2.2), and an interim one without the blank line at its end.

    Raises HTTPException for heads that are larger than HEAD_LIMIT_BYTES in all, for one that is cut, and for 101, which
    answers nothing that was asked.
    """
    head: list[bytes] = []
    for line in _lines(source, HEAD_LIMIT_BYTES):
        head = _grown(head, line)
        if head and line in _BLANK:
            if not _INTERIM.match(head[0]):
                return b"".join(_framed(list(_needed(head))))
            head = []
    raise http.client.RemoteDisconnected("the headers of the answer are incomplete")


def has_final_head(come: bytes) -> bool:
    """Return whether a final head has begun in what has come so far: its first line is there, or there is too much for a head."""
    head: list[bytes] = []
    try:
        for line in _lines(io.BytesIO(come), HEAD_LIMIT_BYTES):
            if not line.endswith(b"\n"):  # it may still become that of an interim answer
                return False
            head = _grown(head, line)
            if head and not _INTERIM.match(head[0]):
                return True
            if line in _BLANK:
                head = []
    except http.client.LineTooLong:
        return True
    return False


def _grown(head: list[bytes], line: bytes) -> list[bytes]:
    """Return a head with its next line; a status line begins a new one where none has begun, or where an interim one has."""
    status = _STATUS.match(line)
    if status and (not head or _INTERIM.match(head[0])):
        if status["code"] == b"101":
            raise http.client.BadStatusLine(line.decode("latin-1"))
        version = b"1.0" if status["version"] == b"1.0" else b"1.1"  # http.client knows these, and as capitals
        return [b"HTTP/%s %s" % (version, line[status.start("code") :])]
    return [*head, line] if head or line not in _BLANK else []


def _lines(source: BinaryIO | io.BufferedReader, limit_bytes: int) -> Iterator[bytes]:
    """Yield the lines of an answer, also a last one that was cut; raises LineTooLong for more than `limit_bytes` in all."""
    while line := source.readline(limit_bytes + 1):
        limit_bytes -= len(line)
        if limit_bytes < 0:
            raise http.client.LineTooLong("head")
        yield line


def _needed(head: list[bytes]) -> Iterator[bytes]:
    """Yield the status line, the fields that are needed with their folded lines, and the blank line."""
    needed = True
    for number, line in enumerate(head):
        if number and line[:1] not in (b" ", b"\t"):
            needed = line in _BLANK or _name(line) in _FIELDS
        if needed:
            yield line


def _framed(head: list[bytes]) -> list[bytes]:
    """Return a head whose codings of the transfer have the names that http.client knows: in chunks, and all others as content's.

    It takes `gzip, chunked` for no chunks at all. The transfer's codings were put on last, and so come last (RFC 9112, section 6.1).
    """
    lines = [line.partition(b":")[2] for line in head if _name(line) == b"transfer-encoding"]
    codings = [coding.strip().lower() for coding in b",".join(lines).split(b",")]
    others = [coding for coding in codings if coding not in (b"", b"chunked", b"identity")]
    if not others:
        return head
    framing = b"Transfer-Encoding: chunked\r\n" if b"chunked" in codings else b""
    fields = [line for line in head[1:-1] if _name(line) not in (b"transfer-encoding", b"content-length")]
    return [head[0], *fields, framing, b"Content-Encoding: %s\r\n" % b", ".join(others), head[-1]]


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()


class _Paced:
    """Gives each block that is sent a time of its own; urllib3 would give it what is left of the connect time-out.

    While a body whose end is withheld is sent, what the other side says is read.
    """

    response_class: Any = partial(_PacedResponse, come=b"")
    sock: socket.socket | None
    proxy: Any
    port: int
    _dns_host: str
    connect: Callable[[], None]

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - handed on as they are
        send_seconds: float,
        is_public_only: bool = False,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> None:
        self._send_seconds = send_seconds
        self._is_public_only = is_public_only
        self._line: BodyConnection | None = None
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        """Connect; where only public addresses may be called, to one that was looked up and checked here.

        A name that is looked up a second time may have another address then. Through a proxy the proxy looks it up.
        """
        if not self._is_public_only or self.proxy is not None:
            return super()._new_conn()  # type: ignore[misc, no-any-return]  # the next in line is an HTTPConnection
        name = self._dns_host
        try:
            for address in _public_addresses(name, self.port):
                self._dns_host = address
                with suppress(urllib3_errors.HTTPError):
                    return super()._new_conn()  # type: ignore[misc, no-any-return]  # as above
            raise urllib3_errors.NewConnectionError(self, "none of its addresses can be connected to")  # type: ignore[arg-type]  # as above
        finally:
            self._dns_host = name  # by it the certificate is checked

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever http.client takes
        if self._line:
            self._line.send(data, self._send_seconds)
            return
        if self.sock is not None:
            self.sock.settimeout(self._send_seconds)
        super().send(data)  # type: ignore[misc]  # the next in line is an HTTPConnection

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as inherited
        """Send a request, on a connection of its own when its end is withheld.

        Whatever breaks that one, or takes it back, before its end: an answer that has come is read all the same.
        """
        if not isinstance(body, Withheld):
            super().request(method, url, body, *args, **options)  # type: ignore[misc]  # see above
            return
        if self.sock is None:
            self.connect()
        line = self._line = BodyConnection(self.sock, has_final_head)
        body.goes_over(line, self._send_seconds)
        try:
            super().request(method, url, body, *args, **options)  # type: ignore[misc]  # see above
        except Exception as error:
            if body.closing_left or line.is_answered(min(self._send_seconds, ANSWER_GRACE_SECONDS)):
                raise HungUpError from error
            raise
        finally:
            self.response_class = partial(_PacedResponse, come=bytes(line.come))


def is_private_address(host: str) -> bool:
    """Return whether a host is this machine by name, or an address, and none of the internet."""
    if is_loopback(host):
        return True
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False  # a name: what it stands for is known when it is looked up
    return not is_public(host)


def private_host(host: str) -> DownloadError:
    """Return the error for a link to an address that only this machine or its network can reach."""
    return DownloadError(
        f"A result link leads to {plain(host, 120)}, which is an address of this machine or of a private network.",
        advice="Tell the person who runs the service. The result stays at the vendor for about seven days.",
        command="If the file host is really in your own network, set `api.allow_private_links` to true; the service then goes on by itself.",
    )


def _public_addresses(name: str, port: int) -> list[str]:
    """Look a host up and return its addresses; none where nobody knows it. Raises DownloadError when one of them is not public."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not all(map(is_public, addresses)):
        raise private_host(name)
    return addresses


class _PlainConnection(_Paced, HTTPConnection):
    """HTTP with a pace."""


class _TlsConnection(_Paced, HTTPSConnection):
    """HTTPS with a pace."""


def tls_context(bundle: str) -> ssl.SSLContext:
    """Return what verifies servers by a bundle of CA certificates (a file, or a folder): loaded once, and again when it has changed.

    To load the usual bundle takes longer than all else of a submit, and each submit has a connection of its own. From any
    thread. Raises UnreadableBundleError.
    """
    try:
        status = os.stat(bundle)  # noqa: PTH116 - of each submit
        return _loaded(bundle, status.st_ino, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UnreadableBundleError(f"{bundle} cannot be read as a bundle of CA certificates") from error


@lru_cache(maxsize=4)
def _loaded(bundle: str, *_version: int) -> ssl.SSLContext:
    context = create_urllib3_context()
    is_folder = os.path.isdir(bundle)  # noqa: PTH112 - as above
    context.load_verify_locations(None if is_folder else bundle, bundle if is_folder else None)
    return context


class PacedAdapter(HTTPAdapter):
    """Connections for requests, kept in a pool of `pool_size` for each host, with large blocks and no retries.

    `is_public_only`: no address of this machine or of a private network is called.
    `bundle` has the CA certificates by which each server, and each proxy that is called by HTTPS, is verified.
    """

    def __init__(self, *, pool_size: int, send_seconds: float, bundle: str, is_public_only: bool = False) -> None:
        self._bundle = bundle
        connections = {"http": _PlainConnection, "https": _TlsConnection}
        self._connections = {
            name: partial(kind, send_seconds=send_seconds, is_public_only=is_public_only)
            for name, kind in connections.items()
        }
        # urllib3 can repeat a call by itself. A submit must be repeated by nobody but the state machine: the API has no key
        # by which the vendor recognises a repetition.
        super().__init__(pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:  # noqa: ANN401 - as inherited
        """Set the block size; for the pools behind a proxy `proxy_manager_for` does."""
        super().init_poolmanager(connections, maxsize, block, blocksize=BLOCK_BYTES, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - as inherited
        """Set the block size, and by what a proxy is verified."""
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = tls_context(self._bundle)
        return super().proxy_manager_for(proxy, blocksize=BLOCK_BYTES, **kwargs)

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as inherited
        """Have all connections share what was loaded of the bundle."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        if host["scheme"] != "https":
            return host, pool
        return host, {"cert_reqs": "CERT_REQUIRED", "ssl_context": tls_context(self._bundle)}

    def cert_verify(self, conn: Any, url: str, *_: Any) -> None:  # noqa: ANN401 - as inherited
        """Leave it to the context, which has the certificates: urllib3 would load the bundle once more for each connection."""
        conn.cert_reqs = "CERT_REQUIRED" if url.lower().startswith("https") else "CERT_NONE"

    def close(self) -> None:
        """Close the connections that are kept; urllib3 would wait until nothing refers to their pools any more."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated: other threads use it
                manager.pools[key].close()
        super().close()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:  # noqa: ANN401 - as inherited
        """Return the pool for a request, which makes paced connections from now on."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = self._connections[pool.scheme]
        return pool  # type: ignore[no-any-return]  # it is what was inherited


class Proxies:
    """The proxy for each address, decided by what was given, or by what the environment said at construction.

    This machine is never called through a proxy: that is the one place where plain HTTP is allowed.
    """

    def __init__(self, given: Mapping[str, str] | None) -> None:
        self._proxies = dict(getproxies() if given is None else given)

    def to(self, url: str) -> dict[str, str]:
        """Return the proxies for requests to `url`, in the form that requests takes."""
        parts = urlsplit(url)
        if is_loopback(parts.hostname or "") or proxy_bypass_environment(parts.netloc, self._proxies):
            return {}
        return self._proxies


# ---- bodies ---------------------------------------------------------------------------------------------------------


def bounded_body(response: requests.Response, limit_bytes: int) -> tuple[bytes, bool]:
    """Return the body as far as it came, and whether it came whole; of one above the limit no more than proves it."""
    sent, whole = _pieces(response.raw, limit_bytes, decode_content=False)
    return _decoded(sent, response.headers.get("Content-Encoding", ""), limit_bytes), whole


def _decoded(sent: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Return a body without its encoding, though none was asked for; one that does not have it is returned as it is."""
    source = HTTPResponse(io.BytesIO(sent), {"Content-Encoding": encoding}, preload_content=False)
    return _pieces(source, limit_bytes, decode_content=True)[0] or sent


def _pieces(source: Any, limit_bytes: int, *, decode_content: bool) -> tuple[bytes, bool]:  # noqa: ANN401 - urllib3's response; requests has no type for it
    body = bytearray()
    try:
        while len(body) <= limit_bytes:
            piece = source.read1(64 * 1024, decode_content=decode_content)
            if not piece:
                return bytes(body), True
            body += piece
    except NETWORK_ERRORS:
        return bytes(body), False
    return bytes(body), True


class _Meter:
    """A file that counts and hashes what is written, up to a limit."""

    def __init__(self, file: BinaryIO, limit_bytes: int) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self._limit_bytes:
            raise too_large(self._limit_bytes)
        self.digest.update(data)
        return self._file.write(data)


def too_large(limit_bytes: int) -> DownloadError:
    """Return the error for a result above the limit."""
    return DownloadError(f"A result file is larger than the limit of {limit_bytes:,} bytes.")


def save(
    response: requests.Response, destination: Path, limit_bytes: int, check: Callable[[Path, int], None]
) -> tuple[int, str]:
    """Write the body to `destination`, durably or not at all; return its size in bytes and its SHA-256 (hex).

    It grows as `destination` + ".part" and gets its name by a rename, after `check` was called with its path then and its size
    and raised nothing. Raises DownloadError when it does not come whole
    or is above the limit, DiskError when it cannot be written.
    """
    part = destination.with_name(destination.name + ".part")
    try:
        size, digest = _written(response, part, limit_bytes)
        check(part, size)
        part.replace(destination)
        _sync_folder(destination.parent)
    except OSError as error:
        _remove(part)
        kind = RoomError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DiskError
        raise kind.of(f"A result file cannot be written to {destination.parent}", error) from error
    except BaseException:
        _remove(part)
        raise
    return size, digest


def _written(response: requests.Response, part: Path, limit_bytes: int) -> tuple[int, str]:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        meter = _Meter(file, limit_bytes)
        try:
            shutil.copyfileobj(response.raw, meter, _COPY_BYTES)
        except (urllib3_errors.HTTPError, http.client.HTTPException) as error:
            raise DownloadError(f"A result file is incomplete: {why(error)}.") from None
        os.fsync(file.fileno())
    return meter.size, meter.digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(part: Path) -> None:
    with suppress(OSError):  # it is truncated by the next try in any case
        part.unlink()
