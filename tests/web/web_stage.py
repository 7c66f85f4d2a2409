"""What the page's tests share: a page as a process of its own, and a browser that does what it is told."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

from cli_stage import PROGRAM, Stage

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of the tests alone
VIEWER_TOKEN = "a-token-for-lookers-0123456789"  # noqa: S105 - as above


@dataclass(frozen=True)
class Answer:
    """What the page answered."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        """The body as people read it: without marks, with its blanks as one."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.body.decode())).split())

    @property
    def data(self) -> Any:  # noqa: ANN401 - whatever JSON holds
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Browser:
    """Asks one page, and keeps its cookies; each request may say what no browser would."""

    address: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The page's own."""
        return f"http://{self.address}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for something."""
        return self.ask(method, path, None, headers)

    def post(self, path: str, fields: Mapping[str, object], **headers: str) -> Answer:
        """Send a form as the page's own script-less forms do."""
        told = {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", path, urlencode(fields).encode(), told)

    def post_data(self, path: str, data: object, **headers: str) -> Answer:
        """Send JSON as the page's script does."""
        told = {"Origin": self.origin, "Content-Type": "application/json", "X-CSRF-Token": self.csrf(), **headers}
        return self.ask("POST", path, json.dumps(data).encode(), told)

    def csrf(self) -> str:
        """Return the token of this browser's session."""
        found = re.search(r'<meta name="csrf" content="([^"]*)">', self.get("/").body.decode())
        assert found
        return found[1]

    def seen(self, job_id: str) -> object:
        """Return what is to be seen of a set."""
        return self.get(f"/api/v1/sets/{job_id}").data["seen"]

    def ask(self, method: str, path: str, body: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> Answer:
        """Ask with these headers and this browser's own, and keep the cookie that comes."""
        cookies = (
            {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.address, timeout=30)) as connection:
            connection.request(method, path, body, {**self.headers, **cookies, **named})
            answer = connection.getresponse()
            found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        if cookie := found.headers.get("set-cookie"):
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return found


def free_address() -> str:
    """Return an address of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def configured(stage: Stage, address: str, **web: object) -> None:
    """Add the page's section to the stage's config."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"listen": address, **web}.items()]
    text = stage.config.read_text().partition("[web]")[0]
    stage.config.write_text(f"{text}[web]\n" + "\n".join(lines) + "\n")


@contextmanager
def page_of(stage: Stage, **web: object) -> Iterator[Browser]:
    """Serve the page of a stage in a process of its own, and give a browser that has not asked yet."""
    address = free_address()
    configured(stage, address, **web)
    command = [*PROGRAM, "web", "--config", str(stage.config)]
    with subprocess.Popen(
        command, env=stage.environment, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    ) as process:
        try:
            assert process.stdout
            assert address in process.stdout.readline()
            yield Browser(address)
        finally:
            process.terminate()
            process.wait(20)
