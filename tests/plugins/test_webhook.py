"""`webhook`: signed messages to an address that may be called, over real connections."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from receiving import Receiver, serving
from refusing import refusal
from rodin_watchd_plugins.webhook import may_call, signed_headers

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Arguments, Finished, OpenPlugin
from rodin_watchd.v1 import Event

PLUGIN = "rodin_watchd_plugins.webhook"
EVENT = Event("job-1", "delivered", 1000.0, "suzi: outbox/suzi")
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of this test alone
HERE = ["127.0.0.0/8"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver that is there."""
    found = Receiver()
    with serving(found):
        yield found


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    """Give the file with the secret."""
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return str(path)


def test_the_receiver_can_prove_the_signature(
    receiver: Receiver, secret_file: str, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """The HMAC-SHA256 over id, time and body is right, the time is now, the id is the event's, the job is whole."""
    plugin = rodin_plugin(PLUGIN, url=receiver.url, secret_file=secret_file, allow_networks=HERE)
    plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=EVENT)
    [(path, headers, body)] = receiver.requests
    signed = b".".join([b"job-1", headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (path, headers["webhook-id"], headers["content-type"]) == (
        "/hook?token=hidden-token",
        "job-1",
        "application/json",
    )
    assert headers["host"] == receiver.url.split("/")[2]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    told = json.loads(body)
    assert (told["moment"], told["event"]["id"], told["job"]["name"]) == ("delivered", "job-1", "suzi")
    assert told["job"]["results"][0]["sha256"]


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries comes out to the letter; another second has another signature."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, secret)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265331, body, secret) != headers


def test_every_moment_is_told_or_left_out(
    receiver: Receiver, secret_file: str, rodin_plugin: OpenPlugin, rodin_arguments: Arguments
) -> None:
    """`on` chooses among all that is told."""
    plugin = rodin_plugin(
        PLUGIN, url=receiver.url, secret_file=secret_file, allow_networks=HERE, on=["failed", "waiting", "service"]
    )
    for hook in ("rodin_delivered", "rodin_held", "rodin_failed", "rodin_waiting", "rodin_service"):
        plugin.call(hook, **rodin_arguments(hook))
    told = [json.loads(body) for _, _, body in receiver.requests]
    assert [message["moment"] for message in told] == ["failed", "waiting", "service"]
    assert told[0]["job"]["problem"]["code"] == "file-refused"
    assert told[1]["waiting"]["reason"].startswith("waits for an image")
    assert told[2]["event"]["kind"] == "paused"


@pytest.mark.parametrize(("status", "told"), [(500, "500 Internal Server Error"), (404, "404 Not Found"), (307, "307")])
def test_what_is_not_taken_is_a_failing_call(
    status: int, told: str, receiver: Receiver, secret_file: str, rodin_plugin: OpenPlugin
) -> None:
    """An error or a redirect is told, without the address's query; the repetition has the same id."""
    receiver.statuses = [status, 200]
    plugin = rodin_plugin(PLUGIN, url=receiver.url, secret_file=secret_file, allow_networks=HERE)
    with pytest.raises(PluginError, match=told) as caught:
        plugin.call("rodin_service", event=EVENT)
    assert "hidden-token" not in f"{caught.value.message}{caught.value.trace}{caught.value.output}"
    plugin.call("rodin_service", event=EVENT)
    assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == ["job-1", "job-1"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://127.0.0.1/hook", "it is not public: 127.0.0.1"),
        ("https://169.254.169.254/latest", "it is not public: 169.254.169.254"),
        ("https://[::ffff:10.0.0.1]/", "it is not public"),
        ("http://93.184.215.14/", "http:// is for networks in allow_networks alone"),
        ("ftp://example.com/", "url: .*https://HOST"),
        ("https://me:word@example.com/", "url: .*cannot hold a user"),
        ("https://example.com:99999/", "url: .*https://HOST"),
        ("https://example.com/a b", "url: .*plain characters"),
    ],
)
def test_an_address_that_is_not_called_is_refused_at_the_start(url: str, told: str, secret_file: str) -> None:
    """Private addresses, and what is no https:// address, with the reason."""
    assert re.search(told, refusal(PLUGIN, {"url": url, "secret_file": secret_file}))


def test_a_name_of_a_private_address_is_not_called(
    receiver: Receiver, secret_file: str, rodin_plugin: OpenPlugin
) -> None:
    """What a name leads to is looked at when it is called; nothing arrives."""
    plugin = rodin_plugin(PLUGIN, url=receiver.url.replace("127.0.0.1", "localhost"), secret_file=secret_file)
    with pytest.raises(PluginError, match=r"localhost is not called: .*127\.0\.0\.1"):
        plugin.call("rodin_service", event=EVENT)
    assert receiver.requests == []


def test_a_name_of_an_allowed_address_is_called(receiver: Receiver, secret_file: str, rodin_plugin: OpenPlugin) -> None:
    """Of several addresses of a name only the allowed one is used."""
    url = receiver.url.replace("127.0.0.1", "localhost")
    rodin_plugin(PLUGIN, url=url, secret_file=secret_file, allow_networks=HERE).call("rodin_service", event=EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("address", "allowed", "may"),
    [
        ("8.8.8.8", [], True),
        ("2606:4700::1111", [], True),
        ("10.1.2.3", [], False),
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("192.168.0.1", ["10.0.0.0/8"], False),
        ("100.64.0.1", [], False),
        ("0.0.0.0", [], False),
        ("224.0.0.1", [], False),
        ("::1", [], False),
        ("fe80::1", [], False),
        ("fd00::1", ["fd00::/8"], True),
        ("::ffff:127.0.0.1", [], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("64:ff9b::7f00:1", [], False),
        ("2002:7f00:1::", [], False),
    ],
)
def test_which_addresses_may_be_called(address: str, allowed: list[str], may: bool) -> None:
    """Public ones and allowed ones, also where an IPv6 address hides an IPv4 one."""
    networks = [ipaddress.ip_network(network) for network in allowed]
    assert may_call(ipaddress.ip_address(address), networks, public=True) is may


def test_a_server_that_is_silent_or_gone_is_a_failing_call(secret_file: str, rodin_plugin: OpenPlugin) -> None:
    """The wait has an end, and what was wrong is said."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        settings: dict[str, Any] = {"secret_file": secret_file, "allow_networks": HERE, "wait_seconds": 0.2}
        plugin = rodin_plugin(PLUGIN, url=url, **settings)
        with pytest.raises(PluginError, match="did not answer in time"):
            plugin.call("rodin_service", event=EVENT)
    with pytest.raises(PluginError, match="could not be told"):
        plugin.call("rodin_service", event=EVENT)


def test_https_needs_a_trusted_certificate(secret_file: str, rodin_plugin: OpenPlugin, tmp_path: Path) -> None:
    """A studio's own certificate is trusted when it is named, and not otherwise."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-out", str(pem), "-keyout", str(key)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    receiver = Receiver()
    with serving(receiver) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        settings: dict[str, Any] = {"secret_file": secret_file, "allow_networks": HERE}
        settings["url"] = f"https://localhost:{server.server_port}/"
        with pytest.raises(PluginError, match="certificate is not trusted"):
            rodin_plugin(PLUGIN, **settings).call("rodin_service", event=EVENT)
        rodin_plugin(PLUGIN, **settings, ca_file=str(pem)).call("rodin_service", event=EVENT)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        (SECRET, 0o644, "run: chmod o-rw"),
        ("short", 0o600, "shorter than 16 bytes"),
        ("", 0o600, "is empty"),
        ("whsec_???", 0o600, "not base64"),
    ],
)
def test_a_secret_that_is_none_is_refused(text: str, mode: int, told: str, tmp_path: Path) -> None:
    """At the start, and what it says is not repeated."""
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(mode)
    said = refusal(PLUGIN, {"url": "https://example.com/", "secret_file": str(path)})
    assert re.search(told, said)
    assert SECRET not in said


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({}, "give one of secret_file and secret_environment"),
        ({"secret_file": "/a", "secret_environment": "B"}, "give one of secret_file and secret_environment"),
        ({"secret_file": "/nowhere/none"}, "cannot be read: No such file"),
        (
            {"secret_environment": "RODIN_HOOK_SECRET"},
            r"RODIN_HOOK_SECRET .* is not set; name it in plugins.pass_environment",
        ),
    ],
)
def test_a_secret_has_to_be_named(named: dict[str, str], told: str) -> None:
    """Neither none nor two; a file or a variable that is not there is said."""
    assert re.search(told, refusal(PLUGIN, {"url": "https://example.com/", **named}))
