"""POST what happens to an address of yours as JSON, signed so that the receiver can verify that it comes from here.

The signature is that of the Standard Webhooks specification 1.0: the headers `webhook-id` (the event's id, the same for
each repetition), `webhook-timestamp` (UTC seconds) and `webhook-signature` (`v1,` and the base64 of the HMAC-SHA256 over
`ID.TIMESTAMP.BODY`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rodin_watchd.v1 import Event, hookimpl, to_data
from rodin_watchd_plugins.moments import (
    Moment,
    rodin_chosen,
    rodin_delivered,
    rodin_failed,
    rodin_held,
    rodin_service,
    rodin_waiting,
)
from rodin_watchd_plugins.secret import secret_text

__all__ = [
    "Settings",
    "may_call",
    "rodin_chosen",
    "rodin_configure",
    "rodin_delivered",
    "rodin_failed",
    "rodin_held",
    "rodin_service",
    "rodin_waiting",
    "signed_headers",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_BASE64_SECRET: Final = "whsec_"  # noqa: S105 - the prefix that the specification gives to secrets in base64
_FEWEST_SECRET_BYTES: Final = 16
_HEADERS: Final = {"content-type": "application/json", "user-agent": "rodin-watchd", "connection": "close"}
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last four bytes


class Settings(BaseModel):
    """The table [plugins.webhook]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        description="Where to: https://…; http://… only to addresses in allow_networks. Redirects are not followed.",
        examples=["https://pipeline.example/rodin"],
    )
    secret_file: Path | None = Field(
        default=None, description="A file with the secret of the signature; nobody else may be able to read it."
    )
    secret_environment: str | None = Field(
        default=None,
        description="Or an environment variable with the secret; name it in plugins.pass_environment, too.",
    )
    on: list[Moment] = Field(
        default=["delivered", "failed", "held", "waiting", "service"],
        description="The moments that are sent. There is also chosen: a person chose one of several results, or took that back.",
    )
    allow_networks: list[Network] = Field(
        default=[],
        description="Private networks that may be called, 10.0.0.0/8 say; without it only public addresses are.",
    )
    ca_file: Path | None = Field(
        default=None, description="The certificates to trust, in PEM, instead of the system's: for a studio's own."
    )
    wait_seconds: float = Field(
        default=30.0, gt=0, le=300, description="How long to wait for the connection, and for each part of the answer."
    )

    @field_validator("url")
    @classmethod
    def _callable(cls, url: str) -> str:
        """Refuse what cannot be called; the address may hold a secret, so it is not repeated."""
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname or not _is_port(parts):
            raise ValueError("it must be https://HOST[:PORT]/PATH")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("it cannot hold a user, a password or a fragment")
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("it must be plain characters without spaces")
        return url

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.secret_file is None) == (self.secret_environment is None):
            raise ValueError("give one of secret_file and secret_environment")
        return self

    def send(self, moment: Moment, event: Event, about: Mapping[str, Any], directory: Path | None = None) -> None:
        """Post it, without the folder: an answer that is not 2xx is a failed call, which the service repeats."""
        del directory
        if moment in self.on:
            _post(self, event, {"moment": moment, "event": to_data(event), **about})


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Read the secret and the certificates now, and refuse an address that cannot be called."""
    _secret(settings)
    _tls(settings)
    host = str(urlsplit(settings.url).hostname)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass  # a name: it is looked up for each call
    else:
        _addresses(host, settings)


# ---- the message ----------------------------------------------------------------------------------------------------


def _post(settings: Settings, event: Event, said: Mapping[str, Any]) -> None:
    body = json.dumps(said).encode()
    status = _posted(settings, body, signed_headers(event.id, int(time.time()), body, _secret(settings)))
    host = urlsplit(settings.url).hostname
    if 300 <= status < 400:
        raise RuntimeError(f"{host} answered {status}: it points elsewhere, and redirects are not followed")
    if not 200 <= status < 300:
        raise RuntimeError(f"{host} answered {status} {http.client.responses.get(status, '')}".rstrip())


def signed_headers(event_id: str, timestamp: int, body: bytes, secret: bytes) -> dict[str, str]:
    """Return the headers that prove where a body comes from, and when it was sent (Standard Webhooks 1.0, Signature scheme)."""
    signature = hmac.digest(secret, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _secret(settings: Settings) -> bytes:
    text = secret_text(settings.secret_file, settings.secret_environment, "the webhook's secret")
    try:
        coded = text.startswith(_BASE64_SECRET)
        secret = base64.b64decode(text.removeprefix(_BASE64_SECRET), validate=True) if coded else text.encode()
    except binascii.Error:
        raise RuntimeError(f"the webhook's secret begins with {_BASE64_SECRET}, but is not base64") from None
    if len(secret) < _FEWEST_SECRET_BYTES:
        raise RuntimeError(
            f"the webhook's secret is shorter than {_FEWEST_SECRET_BYTES} bytes; try: openssl rand -hex 32"
        )
    return secret


# ---- the connection -------------------------------------------------------------------------------------------------


def _posted(settings: Settings, body: bytes, headers: Mapping[str, str]) -> int:
    """Send the body over a connection of its own, through no proxy, and return the answer's status."""
    parts = urlsplit(settings.url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    connection = http.client.HTTPConnection(str(parts.hostname), _port(parts), timeout=settings.wait_seconds)
    try:
        connection.sock = _connected(settings, parts)
        connection.request(
            "POST",
            target,
            body,
            {**headers, **_HEADERS, "host": parts.netloc},
        )
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise RuntimeError(f"{parts.hostname} could not be told: {_why(error)}") from None
    finally:
        connection.close()


def _connected(settings: Settings, parts: SplitResult) -> socket.socket:
    """Connect to an address that was looked up and found good, and to no other."""
    host = str(parts.hostname)
    problem: OSError = OSError("no address")
    for address in _addresses(host, settings):
        try:
            plain = socket.create_connection((str(address), _port(parts)), settings.wait_seconds)
        except OSError as error:
            problem = error
            continue
        return _secured(plain, settings, host) if parts.scheme == "https" else plain
    raise problem


def _secured(plain: socket.socket, settings: Settings, host: str) -> socket.socket:
    try:
        return _tls(settings).wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise RuntimeError(f"the certificates in {settings.ca_file} cannot be used: {_why(error)}") from None


def _why(error: Exception) -> str:
    """Say what went wrong without what the other side said."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__


# ---- the address ----------------------------------------------------------------------------------------------------


def _addresses(host: str, settings: Settings) -> Sequence[Address]:
    """Look a host up; return those of its addresses that may be called. Raises RuntimeError when there is none."""
    found = list(dict.fromkeys(_looked_up(host)))
    is_plain = urlsplit(settings.url).scheme == "http"
    good = [address for address in found if may_call(address, settings.allow_networks, public=not is_plain)]
    if good:
        return good
    kind = "http:// is for networks in allow_networks alone, and" if is_plain else "it is not public:"
    raise RuntimeError(f"{host} is not called: {kind} {', '.join(map(str, found))} is in none of allow_networks")


def _looked_up(host: str) -> Iterator[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RuntimeError(f"the address of {host} cannot be looked up: {_why(error)}") from None
    return (ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)


def may_call(address: Address, allowed: Sequence[Network], *, public: bool) -> bool:
    """Return whether an address is in an allowed network, or is public where that will do."""
    real = _embedded(address)
    if any(one.version == network.version and one in network for network in allowed for one in (address, real)):
        return True
    return public and all(one.is_global and not one.is_multicast for one in (address, real))


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to (mapped, 6to4, NAT64); the address itself if there is none."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)
