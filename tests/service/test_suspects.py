"""Whose fault a service error is: the service's, or that of the one job which alone meets it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from workshop import Vendor, Workshop, image, model, workshop

from rodin_watchd.core.pauses import Suspects
from rodin_watchd.errors import Lane
from rodin_watchd.model import State


def test_the_first_error_is_the_services() -> None:
    """Nobody is blamed before the lane was seen to work for others."""
    suspects = Suspects()
    suspects.begin("a")
    assert not suspects.is_own("a", Lane.DISK)
    assert not suspects.is_own("a", Lane.DISK)


def test_an_error_is_the_jobs_own_when_the_lane_works_for_others() -> None:
    """A failed, B was handed out later and worked, A fails again: it is A; B's first error is the service's."""
    suspects = Suspects()
    suspects.begin("a")
    assert not suspects.is_own("a", Lane.DISK)
    suspects.begin("b")
    suspects.worked("b", [Lane.DISK])
    suspects.begin("a")
    assert suspects.is_own("a", Lane.DISK)
    assert not suspects.is_own("b", Lane.DISK)


def test_what_was_under_way_before_proves_nothing() -> None:
    """A step that was handed out before the failure may have met a service that still worked."""
    suspects = Suspects()
    suspects.begin("b")
    suspects.begin("a")
    assert not suspects.is_own("a", Lane.API)
    suspects.worked("b", [Lane.API])
    assert not suspects.is_own("a", Lane.API)


def test_another_lane_proves_nothing() -> None:
    """A disk that works says nothing about the vendor."""
    suspects = Suspects()
    suspects.is_own("a", Lane.API)
    suspects.begin("b")
    suspects.worked("b", [Lane.DISK])
    assert not suspects.is_own("a", Lane.API)


def test_success_and_the_end_wipe_the_slate() -> None:
    """A job that worked in the lane, or that has ended, begins anew."""
    suspects = Suspects()
    for wipe in (partial(suspects.worked, "a", [Lane.API]), partial(suspects.forget, "a")):
        suspects.is_own("a", Lane.API)
        suspects.begin("b")
        suspects.worked("b", [Lane.API])
        wipe()
        assert not suspects.is_own("a", Lane.API)
        suspects.forget("a")


class _Choosy(BaseHTTPRequestHandler):
    """A vendor that refuses one resolution to this account's plan, and hands all else to the emulator."""

    protocol_version = "HTTP/1.1"
    behind = ""

    def do_POST(self) -> None:  # http.server's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"High" in body:
            self._say(402, b'{"error": "SUBSCRIPTION_PLAN_TOO_LOW", "message": "4K is not in your plan."}')
            return
        self._pass_on("POST", body)

    def do_GET(self) -> None:  # http.server's name
        self._pass_on("GET", b"")

    def _pass_on(self, method: str, body: bytes) -> None:
        line = HTTPConnection(urlsplit(self.behind).netloc)
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]}
        line.request(method, self.path, body, headers)
        answer = line.getresponse()
        self._say(answer.status, answer.read())
        line.close()

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def choosy(vendor: Vendor) -> Iterator[str]:
    """Give the address of the choosy vendor."""
    handler = type("Handler", (_Choosy,), {"behind": vendor.emulator.base_url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_one_set_that_the_plan_does_not_allow_stops_nobody(tmp_path: Path, vendor: Vendor, choosy: str) -> None:
    """A set whose options need another plan fails in the end, with the code; the others are delivered meanwhile."""
    with workshop(tmp_path, choosy) as shop:
        shop.has_seen_the_balance_fall()
        shop.drop_set("wish", 'resolution = "High"\n')
        shop.until(lambda: "ATTENTION" in shop.status())
        for number in range(14):
            drop_twin(shop, f"plain-{number}")
            began = shop.hands.seconds
            shop.until(shop.is_in(f"plain-{number}", State.ARCHIVED))
            assert shop.hands.seconds - began < 20
            shop.hands.seconds += 310 * (number > 3)
        shop.until(shop.is_in("wish", State.FAILED), step_seconds=30)
        assert "SUBSCRIPTION_PLAN_TOO_LOW" in shop.report("wish")
        shop.idle()
        assert "Paused" not in shop.status()
        assert vendor.uploads == 14
        assert "What it cost:   no credits." in shop.report("wish")
        shop.assert_nothing_lost()


def drop_twin(shop: Workshop, name: str) -> None:
    """Drop a set of always the same content, which the emulator knows by heart."""
    shop.drop(f"{name}.obj", model("twin"))
    shop.drop(f"{name}.png", image("twin"))
    shop.drop(f"{name}.toml", f'again = "{name}"\n'.encode())


def test_one_locked_work_folder_stops_nobody(tmp_path: Path, vendor: Vendor) -> None:
    """A job whose own folder cannot be written is tried again later and later; the others are delivered meanwhile."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        shop.drop_set("locked")
        shop.until(shop.is_in("locked", State.SUBMITTING))
        folder = tmp_path / ".rodin-watchd" / "work" / shop.job("locked").id
        if not (shutil.which("chattr") and _chattr("+i", folder)):
            pytest.skip("needs root and a filesystem with immutable folders")
        try:
            for number in range(3):
                shop.drop_set(f"set-{number}")
                shop.until(shop.is_in(f"set-{number}", State.ARCHIVED))
                assert shop.hands.seconds < 60
            shop.ticks(30, step_seconds=10)
            assert shop.job("locked").state is State.GENERATED
            assert "trying again" in shop.status()
            assert shop.job("locked").attempts < 12
        finally:
            _chattr("-i", folder)
        shop.until(shop.is_in("locked", State.ARCHIVED), step_seconds=10)
        assert vendor.charges == 4
        shop.assert_nothing_lost()


def _chattr(flag: str, folder: Path) -> bool:
    return subprocess.run(["chattr", flag, folder], check=False, capture_output=True).returncode == 0
